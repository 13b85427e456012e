//! Programs that send more than the bytes of a text: padding, byte order marks, and blanks.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use common::{Client, TestServer, wait_until, with_each_server};

#[test]
fn a_program_that_sends_whole_buffers_chats_as_any_other() {
    with_each_server(|server| {
        let ann = server.client();
        let padded = server.unregistered_client();
        send_buffer(&padded, "@im@");
        wait_until("the registration", || server.stats().peers == 2);
        send_buffer(&padded, "hi all");
        for receiver in [&ann, &padded] {
            receiver.expect_text_from(&padded, "hi all");
        }
        send_buffer(&padded, "/ping 1");
        assert_eq!(padded.receive_text(), "* pong 1");
        expect_leave(&server, &padded, &buffer("quit"));
        let total = server.stats().total();
        assert_eq!((total.heartbeats, total.leaves), (2, 1));
        // The heartbeat and the leave would be the next texts.
        ann.send(b"alone");
        ann.expect_text_from(&ann, "alone");
    });
}

#[test]
fn a_program_that_sends_the_end_of_each_string_chats_as_any_other() {
    with_each_server(|server| {
        let ann = server.client();
        let other = server.unregistered_client();
        other.send(b"@im@\0");
        wait_until("the registration", || server.stats().peers == 2);
        other.send(b"\0");
        wait_until("a heartbeat", || server.stats().total().heartbeats == 3);
        other.send(b"hi\0");
        for receiver in [&ann, &other] {
            receiver.expect_text_from(&other, "hi");
        }
        expect_leave(&server, &other, b"quit\0");
        ann.send(b"alone");
        ann.expect_text_from(&ann, "alone");
    });
}

#[test]
fn a_line_end_before_padding_asks_for_line_ends() {
    with_each_server(|server| {
        let client = server.unregistered_client();
        send_buffer(&client, "@im@\n");
        wait_until("the registration", || server.stats().peers == 1);
        send_buffer(&client, "hi\r\n");
        assert_eq!(client.receive_text(), format!("{} hi\n", client.address()));
    });
}

#[test]
fn a_byte_order_mark_and_blanks_around_a_word_are_ignored() {
    with_each_server(|server| {
        let ann = server.client();
        let other = server.unregistered_client();
        for (number, heartbeat) in ["\u{feff}@im@", "\u{feff}", " @im@ \r\n", "\t@IM@"]
            .iter()
            .enumerate()
        {
            other.send(heartbeat.as_bytes());
            wait_until("a heartbeat", || {
                server.stats().total().heartbeats == number as u64 + 2
            });
        }
        other.send("\u{feff}/ping 1".as_bytes());
        assert_eq!(other.receive_text(), "* pong 1");
        other.send("\u{feff} /ping 1 ".as_bytes());
        for receiver in [&ann, &other] {
            receiver.expect_text_from(&other, " /ping 1 ");
        }
        expect_leave(&server, &other, b" quit ");
        ann.send(b"alone");
        ann.expect_text_from(&ann, "alone");
    });
}

/// Sends a datagram, after which the server has one peer left.
#[track_caller]
fn expect_leave(server: &TestServer, client: &Client, datagram: &[u8]) {
    assert_eq!(server.stats().peers, 2);
    client.send(datagram);
    wait_until("the leave", || server.stats().peers == 1);
}

#[track_caller]
fn send_buffer(client: &Client, text: &str) {
    client.send(&buffer(text));
}

/// Returns the buffer of a C program: `char buffer[64] = "text"`.
fn buffer(text: &str) -> [u8; 64] {
    let mut buffer = [0; 64];
    buffer[..text.len()].copy_from_slice(text.as_bytes());
    buffer
}
