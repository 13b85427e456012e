//! Rooms and direct messages of version 2.

use super::*;

#[test]
fn frames_to_the_session_alone_are_received_and_prove_that_the_server_is_there() {
    let ada = "ada".parse().unwrap();
    for (frame, expected) in [
        (
            ServerFrame::Private(ada, b"psst"),
            Some("* ada to you: psst"),
        ),
        (
            ServerFrame::Notice(NoticeCode::Refused, b"no"),
            Some("* no"),
        ),
        (room(3), None),
    ] {
        let mut talk = Talk::welcomed();
        talk.next();
        let events = talk.hear_frames(&[frame]);
        match expected {
            Some(expected) => assert_eq!(lines(&events), [expected]),
            None => assert_eq!(events, [Event::Room("chess".parse().unwrap())]),
        }
        assert_eq!(talk.next().0, 5000, "{expected:?}");
    }
}

#[test]
fn a_notice_has_its_code() {
    let mut talk = Talk::welcomed();
    for code in [
        NoticeCode::Done,
        NoticeCode::Misuse,
        NoticeCode::Presence,
        NoticeCode::Other(77),
    ] {
        let text = "a sentence".to_owned();
        let events = talk.hear_notice(code, "a sentence");
        assert_eq!(events, [Event::Notice { code, text }]);
    }
}

#[test]
fn a_sentence_of_the_operator_is_also_an_event_for_programs() {
    let said = |text: &str| Event::Notice {
        code: NoticeCode::Operator,
        text: text.to_owned(),
    };
    let says = [
        ("operator: hi all", Event::Operator("hi all".to_owned())),
        ("the server stops in 90 s", Event::Stopping(90_000 * MS)),
    ];
    let (mut v2, mut v1) = (Talk::welcomed(), Talk::new(ProtocolChoice::V1));
    for (sentence, event) in says {
        let expected = [said(sentence), event];
        assert_eq!(v2.hear_notice(NoticeCode::Operator, sentence), expected);
        let heard = v1.hear(format!("* {sentence}").as_bytes());
        assert_eq!(heard[heard.len() - 2..], expected);
    }
}

#[test]
fn a_change_of_room_is_no_loss_and_neither_is_the_way_back() {
    let mut talk = Talk::welcomed();
    talk.hear_frames(&[message(10, b"a"), room(3)]);
    // Another worker sent it before.
    let late = talk.hear_frames(&[message(11, b"late")]);
    assert_eq!(payloads(&late), ["late"]);
    talk.hear_frames(&[message_in(3, 0, b"b"), message_in(3, 2, b"d")]);
    talk.hear_frames(&[room(0), message(90, b"e")]);
    assert_eq!(talk.hear_frames(&[message(90, b"e")]), []);
    let total = talk.protocol.losses.total();
    assert_eq!((total.received, total.lost, total.repeated), (5, 1, 1));
}

#[test]
fn a_change_of_room_without_a_word_is_noticed() {
    let mut talk = Talk::welcomed();
    talk.hear_frames(&[message(10, b"a")]);
    talk.hear_frames(&[message_in(3, 0, b"b"), message_in(3, 2, b"d")]);
    assert_eq!(talk.protocol.losses.total().lost, 1);
    // Nobody answers any more, and the session goes on in yet another room.
    talk.refused();
    talk.sent();
    talk.welcome(7);
    talk.hear_frames(&[
        message_in(3, 9, b"late"),
        message_in(5, 1, b"a"),
        message_in(5, 3, b"c"),
    ]);
    assert_eq!(talk.protocol.losses.total().lost, 2);
}

#[test]
fn the_streams_of_a_room_that_was_left_end_with_the_heartbeats() {
    let mut talk = Talk::welcomed();
    talk.hear_frames(&[message(10, b"a"), room(3)]);
    for streams in [1, 1, 0] {
        assert_eq!(talk.protocol.losses.streams().count(), streams);
        talk.pong();
    }
    assert_eq!(talk.protocol.losses.total().received, 1);
}

fn room(number: u32) -> ServerFrame<'static> {
    room_frame(number, "chess".parse().unwrap())
}
