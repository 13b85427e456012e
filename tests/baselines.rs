//! The naive server in Python that `scripts/compare` measures.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod common;

use common::{Client, python};

#[test]
fn the_python_server_sends_a_text_to_every_peer_and_answers_a_ping() {
    let script = python("benches/baselines/naive_server.py", &["127.0.0.1", "0"]);
    let line = script.errors.next();
    let address = line.strip_prefix("bound to ").unwrap().parse().unwrap();
    let [ann, bob, cem] = [(); 3].map(|()| Client::of(address));
    ann.send(b"@IM@");
    // The answer says that all before it is handled.
    bob.send(b"/ping a b");
    assert_eq!(bob.receive(), b"* pong a b");
    cem.send(b"hi all");
    for peer in [&ann, &bob, &cem] {
        peer.hears(&cem, "hi all");
    }
    cem.send(b"quit");
    ann.send(b"bye");
    for peer in [&ann, &bob] {
        peer.hears(&ann, "bye");
    }
    cem.send(b"/ping 1");
    assert_eq!(cem.receive(), b"* pong 1");
}
