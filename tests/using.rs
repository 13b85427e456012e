//! The programs of docs/USING.md are the examples, and the one in Python works as
//! described. Those in Rust are compiled with every test.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use common::{TestServer, V4, V6, config, python_script, wait_until};

#[test]
fn the_page_contains_the_examples_unchanged() {
    let page = include_str!("../docs/USING.md");
    let python = include_str!("../examples/v2_client.py");
    let rust = include_str!("../examples/room_bot.rs");
    for (kind, program) in [("python", python), ("rust", rust)] {
        let block = format!("\n```{kind}\n{program}```\n");
        assert!(page.contains(&block), "the {kind} program differs");
    }
}

#[test]
fn the_python_client_sends_receives_pings_and_leaves() {
    for address in [V4, V6] {
        let server = TestServer::start(config(2, &[address]));
        let other = server.client();
        let at = server.local_addr();
        let arguments = [at.ip().to_string(), at.port().to_string()];
        let mut client = python_script(
            "examples/v2_client.py",
            &[arguments[0].as_str(), arguments[1].as_str()],
        );
        client.type_line("hi all");
        let received = other.receive_text();
        let port = client.output.next();
        let port = port.strip_suffix(" b'hi all'").unwrap();
        let from = with_colon(port, at.is_ipv4());
        assert_eq!(received, format!("{from} hi all"));

        other.send("hi, gr\u{fc}\u{df}e".as_bytes());
        other.receive_text();
        let (ip, port) = (other.address().ip(), other.address().port());
        let payload = r"b'hi, gr\xc3\xbc\xc3\x9fe'";
        assert_eq!(client.output.next(), format!("{ip} {port} {payload}"));

        client.type_line("?token");
        assert_eq!(client.output.next(), "pong b'token'");
        client.type_line("/nick ada");
        assert_eq!(client.output.next(), "* b'you are ada'");
        client.type_line("hi");
        assert_eq!(client.output.next(), "ada b'hi'");
        assert_eq!(other.receive_text(), "ada hi");
        other.send(b"/msg ada psst");
        let private = format!("to you: {ip} {port} b'psst'");
        assert_eq!(client.output.next(), private);
        client.end_input();
        assert!(client.exit_status().success());
        wait_until("the client to leave", || server.stats().peers == 1);
    }
}

/// Returns `ip port` in the form that precedes texts.
fn with_colon(address: &str, is_ipv4: bool) -> String {
    let (ip, port) = address.split_once(' ').unwrap();
    if is_ipv4 {
        format!("{ip}:{port}")
    } else {
        format!("[{ip}]:{port}")
    }
}
