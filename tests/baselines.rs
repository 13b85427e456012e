//! The naive server in Python that `scripts/compare` measures.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use common::{Client, python_script};

#[test]
fn the_python_server_delivers_texts_and_answers_pings() {
    let script = python_script("benches/baselines/naive_server.py", &["127.0.0.1", "0"]);
    let line = script.errors.next();
    let address = line.strip_prefix("bound to ").unwrap().parse().unwrap();
    let [ann, bob, cem] = [(); 3].map(|()| Client::connect(address));
    ann.send(b"@IM@");
    // The reply comes after all earlier datagrams are handled.
    bob.send(b"/ping a b");
    assert_eq!(bob.receive(), b"* pong a b");
    cem.send(b"hi all");
    for peer in [&ann, &bob, &cem] {
        peer.expect_text_from(&cem, "hi all");
    }
    cem.send(b"quit");
    ann.send(b"bye");
    for peer in [&ann, &bob] {
        peer.expect_text_from(&ann, "bye");
    }
    cem.send(b"/ping 1");
    assert_eq!(cem.receive(), b"* pong 1");
}
