//! Replies to senders that have proven nothing.

use super::core::Core;
use super::*;
use crate::wire::v2::{ClientFrame, Hello, Move, Unknown, push_client_frame, push_client_header};

/// Returns what a forger may send. Nothing in it is a valid proof.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let frame = prop_oneof![
        any::<u64>().prop_map(|nonce| encoded(&ClientFrame::Hello(Hello {
            nonce,
            ..Hello::default()
        }))),
        (4_u8.., any::<u64>())
            .prop_map(|(kind, nonce)| encoded(&ClientFrame::Unknown(Unknown::Option(kind, nonce)))),
        (11_u8..128).prop_map(|kind| encoded(&ClientFrame::Unknown(Unknown::Frame(kind)))),
        any::<Option<u32>>().prop_map(|room| encoded(&ClientFrame::Heartbeat(room))),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|say| encoded(&ClientFrame::Say(&say))),
        Just(encoded(&ClientFrame::Command(b"/who"))),
        Just(encoded(&ClientFrame::Move(Move {
            session: crate::wire::v2::SessionId::new(7).unwrap(),
            address: "127.0.0.1:5000".parse().unwrap(),
        }))),
        Just(encoded(&ClientFrame::Bye)),
    ];
    let session = prop_oneof![Just(0), Just(7), any::<u64>()];
    let padded = prop_oneof![Just(0), Just(255), Just(256), 0_usize..1200];
    let frames = (session, prop::collection::vec(frame, 0..4), padded);
    let frames = frames.prop_map(|(session, frames, padded)| {
        let mut out = Vec::new();
        push_client_header(crate::wire::v2::SessionId::new(session), &mut out);
        frames.iter().for_each(|frame| out.extend_from_slice(frame));
        out.resize(out.len().max(padded), 0);
        out
    });
    let text = (
        prop::sample::select(&WORDS[..]),
        prop::sample::select(&["", "\n", "\0"][..]),
    );
    let text = text.prop_map(|(word, end)| format!("{word}{end}").into_bytes());
    prop_oneof![
        4 => frames,
        3 => text,
        1 => prop::collection::vec(any::<u8>(), 0..100),
    ]
}

fn encoded(frame: &ClientFrame<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    push_client_frame(frame, &mut out);
    out
}

#[test]
fn no_reply_to_an_unproven_sender_is_longer_than_three_times_its_datagram() {
    let (log, _writer) = Log::new();
    let mut core = Core::new(LIMITS, Proof::Always, &log);
    let replied = RefCell::new(0);
    let config = ProptestConfig {
        cases: 3_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let core = RefCell::new(&mut core);
    let result = TestRunner::new(config).run(&(0..PEERS, datagram()), |(peer, datagram)| {
        let mut core = core.borrow_mut();
        // So that each may be answered.
        core.wait(15_000);
        core.receive(peer, &datagram);
        let headers = address(peer).header_bytes();
        for (to, reply) in core.sent() {
            prop_assert_eq!(to, address(peer));
            prop_assert!(reply.len() + headers <= 3 * (datagram.len() + headers));
            // In version 2 it is not longer than the datagram.
            prop_assert!(!datagram.starts_with(b"\xFF\x02") || reply.len() <= datagram.len());
            *replied.borrow_mut() += 1;
        }
        prop_assert_eq!(core.registry.len(), 0);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!(*replied.borrow() > 500, "{} replies", replied.borrow());
}

const WORDS: [&str; 9] = [
    "",
    "@im@",
    "hi",
    "quit",
    "/in",
    "/in 00000000",
    "/rooms",
    "* hi",
    "/msg a b",
];
