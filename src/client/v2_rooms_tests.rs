//! Rooms, and what is said to one peer alone.

use super::*;
use crate::wire::RoomName;
use crate::wire::v2::NoticeCode;

#[test]
fn what_the_server_says_to_us_alone_is_heard_and_proves_that_it_is_there() {
    let ada = "ada".parse().unwrap();
    for (frame, expected) in [
        (ServerFrame::Private(ada, b"psst"), "ada to you: psst"),
        (
            ServerFrame::Notice(NoticeCode::Refused, b"no"),
            "Refused: no",
        ),
        (room(3), "in chess"),
    ] {
        let mut pair = Pair::open(7);
        pair.next();
        assert_eq!(pair.hear(&[frame]), [expected]);
        assert_eq!(pair.next().0, 5000, "{expected}");
    }
}

#[test]
fn a_change_of_room_is_no_loss_and_neither_is_the_way_back() {
    let mut pair = Pair::open(7);
    pair.hear(&[message(10, b"a"), room(3)]);
    // Another worker's, sent before.
    assert_eq!(pair.hear(&[message(11, b"late")]), ["late"]);
    pair.hear(&[message_in(3, 0, b"b"), message_in(3, 2, b"d")]);
    pair.hear(&[room(0), message(90, b"e")]);
    assert!(pair.hear(&[message(90, b"e")]).is_empty());
    let total = pair.v2.sequences.total();
    assert_eq!((total.received, total.lost, total.repeated), (5, 1, 1));
}

#[test]
fn a_change_of_room_that_is_not_told_is_noticed() {
    let mut pair = Pair::open(7);
    pair.hear(&[message(10, b"a")]);
    pair.hear(&[message_in(3, 0, b"b"), message_in(3, 2, b"d")]);
    assert_eq!(pair.v2.sequences.total().lost, 1);
    // Nobody answers any more, and the session goes on in yet another room.
    pair.v2.refused(ConnectionRefused, pair.now);
    pair.hear(&[ServerFrame::Welcome(Welcome {
        session: SessionId::new(7).unwrap(),
        timeout_ms: 10_000,
        bundle_bytes: 1200,
        room: 5,
    })]);
    pair.hear(&[
        message_in(3, 9, b"late"),
        message_in(5, 1, b"a"),
        message_in(5, 3, b"c"),
    ]);
    assert_eq!(pair.v2.sequences.total().lost, 2);
}

#[test]
fn the_streams_of_a_room_that_was_left_end_with_the_heartbeats() {
    let mut pair = Pair::open(7);
    pair.hear(&[message(10, b"a"), room(3)]);
    for streams in [1, 1, 0] {
        assert_eq!(pair.v2.sequences.streams().count(), streams);
        let sent = pair.next().1;
        let [Sent::Probe { token, .. }] = &sent[..] else {
            panic!("{sent:?}");
        };
        assert!(pair.hear(&[ServerFrame::Pong(token)]).is_empty());
    }
    assert_eq!(pair.hear(&[ServerFrame::Pong(b"other")]), ["pong other"]);
    assert_eq!(pair.v2.sequences.total().received, 1);
}

fn room(number: u32) -> ServerFrame<'static> {
    ServerFrame::Room(number, RoomName::parse(b"chess").unwrap())
}
