//! The greeting service: the exact answer, and `--once`.

mod common;

use bullhorn::ServerConfig;
use bullhorn::config::ServiceKind;
use bullhorn::stats::DropReason;
use common::{Client, ServerProgram, TestServer, V4, V6, config};

fn greeter(workers: u16, address: &str) -> ServerConfig {
    ServerConfig {
        service: ServiceKind::Greet,
        ..config(workers, &[address])
    }
}

/// What the client must be told: its address as Python prints it.
fn greeting(client: &Client) -> String {
    let port = client.address().port();
    match client.address().is_ipv4() {
        true => format!("hello,('127.0.0.1', {port})"),
        false => format!("hello,('::1', {port}, 0, 0)"),
    }
}

#[test]
fn every_datagram_is_answered_with_its_senders_address() {
    for address in [V4, V6] {
        for workers in [1, 2, 8] {
            let server = TestServer::start(greeter(workers, address));
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
fn who_asks_hears_nothing_of_the_others() {
    let server = TestServer::start(greeter(2, V4));
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
fn a_greeting_is_not_greeted() {
    for address in [V4, V6] {
        let server = TestServer::start(greeter(2, address));
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
fn once_answers_exactly_one_of_many() {
    let server = TestServer::start(ServerConfig {
        once: true,
        ..greeter(8, V4)
    });
    let clients: Vec<Client> = (0..200).map(|_| server.unregistered_client()).collect();
    for client in &clients {
        // The server may be gone already: then the kernel says so.
        let _ = client.socket().send(b"hello");
    }
    let handle = server.handle();
    server.wait_for_end().unwrap();

    // Over loopback, what was sent before the end is there.
    let mut buffer = [0; 64];
    let mut answers = 0;
    for client in &clients {
        client.socket().set_nonblocking(true).unwrap();
        while let Ok(len) = client.socket().recv(&mut buffer) {
            assert_eq!(buffer[..len], *greeting(client).as_bytes());
            answers += 1;
        }
    }
    assert_eq!(answers, 1);
    let total = handle.stats().total();
    assert_eq!((total.greetings, total.deliveries), (1, 1));
}

#[test]
fn the_program_greets_once_and_exits_with_0() {
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
fn without_once_the_program_greets_on() {
    let mut server = ServerProgram::start(&["--service", "greet"]);
    let [first, second] = [server.client(), server.client()];
    for client in [&first, &second, &first] {
        client.send(b"hello");
        assert_eq!(client.receive_text(), greeting(client));
    }
    assert!(server.is_running());
}
