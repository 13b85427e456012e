//! Names that are taken, in the program `client`, with a server that the test plays.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::net::SocketAddr;

use bullhorn::client::NoticeCode;
use bullhorn::wire::v2::{ClientFrame, ServerFrame, parse_client};
use common::{ClientProgram, FakeServer, client_command, datagram_to, lobby, nonce_of, welcome};

#[test]
fn a_name_that_is_taken_is_explained_once_and_only_to_who_has_none() {
    let server = FakeServer::start();
    let address = server.address().to_string();
    let mut client = ClientProgram::spawn(client_command().args(["--protocol", "v2", &address]));
    let to = server.send_welcome(7);
    let notice = |code, text: &str| {
        let frame = ServerFrame::Notice(code, text.as_bytes());
        server.send(&datagram_to(7, &[frame]), to);
    };
    client.type_in("/nick bob\n");
    await_command(&server, b"/nick bob");
    notice(NoticeCode::Refused, "bob is taken");
    client.expect_output("* bob is taken. If that was you");
    client.type_in("/nick cem\n");
    await_command(&server, b"/nick cem");
    notice(NoticeCode::Refused, "cem is taken");
    client.expect_output("* cem is taken\n");

    let mut client = ClientProgram::spawn(client_command().args([
        "--protocol",
        "v2",
        "--nick",
        "ada",
        &address,
    ]));
    let (nonce, to) = loop {
        let (datagram, from) = server.receive();
        if let Some(nonce) = nonce_of(&datagram).filter(|_| from != to) {
            break (nonce, from);
        }
    };
    server.send(&datagram_to(nonce, &[welcome(8)]), to);
    let send = |frame| server.send(&datagram_to(8, &[frame]), to);
    send(lobby());
    await_command(&server, b"/nick ada");
    send(ServerFrame::Notice(NoticeCode::Done, b"you are ada"));
    client.expect_output("* you are ada\n");
    client.type_in("/nick bob\n");
    await_command(&server, b"/nick bob");
    send(ServerFrame::Notice(NoticeCode::Refused, b"bob is taken"));
    client.expect_output("* bob is taken\n");
}

/// Receives datagrams until one has this command, and returns its sender.
fn await_command(server: &FakeServer, line: &[u8]) -> SocketAddr {
    loop {
        let (datagram, from) = server.receive();
        let (_, mut frames) = parse_client(&datagram).unwrap();
        if frames.any(|frame| frame == ClientFrame::Command(line)) {
            return from;
        }
    }
}
