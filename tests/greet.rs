//! The greeting service: the exact reply, and `--once`.

mod common;

use bullhorn::ServerConfig;
use bullhorn::config::ServiceKind;
use bullhorn::stats::DropReason;
use common::{Client, ServerProgram, TestServer, V4, V6, config};

#[test]
fn every_datagram_is_answered_with_the_address_of_its_sender() {
    for address in [V4, V6] {
        for workers in [1, 2, 8] {
            let server = TestServer::start(greeter_config(workers, address));
            for _ in 0..8 {
                let client = server.unregistered_client();
                for datagram in [&b"hello world"[..], b"", b"quit", b"\xff\x02", &[0; 3000]] {
                    client.send(datagram);
                    assert_eq!(client.receive_text(), greeting(&client));
                }
            }
        }
    }
}

#[test]
fn clients_receive_only_their_own_greeting() {
    let server = TestServer::start(greeter_config(2, V4));
    let clients: Vec<Client> = (0..20).map(|_| server.unregistered_client()).collect();
    for client in &clients {
        client.send(b"hello");
    }
    for client in &clients {
        assert_eq!(client.receive_text(), greeting(client));
    }
    server.wait_for_deliveries(20);
    assert!(clients.iter().all(Client::inbox_is_empty));
}

#[test]
fn a_greeting_is_not_answered() {
    for address in [V4, V6] {
        let server = TestServer::start(greeter_config(2, address));
        let client = server.unregistered_client();
        client.send(greeting(&client).as_bytes());
        client.send(b"hello");
        assert_eq!(client.receive_text(), greeting(&client));
        let dropped = server.stats().total().dropped(DropReason::Greeting);
        assert_eq!(dropped, 1);
        server.wait_for_deliveries(1);
    }
}

#[test]
fn once_answers_exactly_one_client() {
    let server = TestServer::start(ServerConfig {
        once: true,
        ..greeter_config(8, V4)
    });
    let clients: Vec<Client> = (0..200).map(|_| server.unregistered_client()).collect();
    for client in &clients {
        // An error means that the server has stopped already.
        let _ = client.socket().send(b"hello");
    }
    let handle = server.handle();
    server.wait_for_end().unwrap();

    // Over loopback, datagrams sent before the end have arrived.
    let mut buffer = [0; 64];
    let mut replies = 0;
    for client in &clients {
        client.socket().set_nonblocking(true).unwrap();
        while let Ok(len) = client.socket().recv(&mut buffer) {
            assert_eq!(buffer[..len], *greeting(client).as_bytes());
            replies += 1;
        }
    }
    assert_eq!(replies, 1);
    let total = handle.stats().total();
    assert_eq!((total.greetings, total.deliveries), (1, 1));
}

#[test]
fn the_program_greets_once_and_exits_with_code_0() {
    let mut server = ServerProgram::start(&["--service", "greet", "--once", "--workers", "2"]);
    let client = server.client();
    client.send(b"hello world");
    assert_eq!(client.receive_text(), greeting(&client));
    server.expect_success();
    assert_eq!(server.printed().next(), "UDP Server is Starting...");
    let port = client.address().port();
    server
        .log()
        .find(&format!("Received from ('127.0.0.1', {port})"));
}

#[test]
fn without_once_the_program_continues_to_greet() {
    let mut server = ServerProgram::start(&["--service", "greet"]);
    let [first, second] = [server.client(), server.client()];
    for client in [&first, &second, &first] {
        client.send(b"hello");
        assert_eq!(client.receive_text(), greeting(client));
    }
    assert!(server.is_running());
}

fn greeter_config(workers: u16, address: &str) -> ServerConfig {
    ServerConfig {
        service: ServiceKind::Greet,
        ..config(workers, &[address])
    }
}

/// Returns the reply to a client: its address as Python prints it.
fn greeting(client: &Client) -> String {
    let port = client.address().port();
    match client.address().is_ipv4() {
        true => format!("hello,('127.0.0.1', {port})"),
        false => format!("hello,('::1', {port}, 0, 0)"),
    }
}
