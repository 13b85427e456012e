//! A server that tells its limits.

use super::*;
use crate::wire::reply::Resource;

const TEN: &str = "at most 10 texts per second";

/// The time after which the session goes on, in milliseconds.
const PAUSE_MS: u128 = 1000;

fn limited(resource: Resource, per_second: u32) -> Event {
    Event::Limited {
        resource,
        per_second,
    }
}

fn notice(text: &str) -> Event {
    Event::Notice {
        code: NoticeCode::Refused,
        text: text.to_owned(),
    }
}

fn talk(choice: ProtocolChoice, repeat_limited: bool) -> Talk {
    let mut config = config(choice);
    config.repeat_limited = repeat_limited;
    let mut talk = Talk::with(config);
    talk.sent();
    match choice {
        ProtocolChoice::V1 => {
            talk.hear(b"ann hi");
        }
        _ => {
            talk.welcome(7);
        }
    }
    talk
}

/// Lets time pass while the server is there.
fn wait(talk: &mut Talk, seconds: u32) {
    for _ in 0..seconds {
        talk.pass(1000);
        talk.hear_notice(NoticeCode::Presence, "eve left (1 here)");
    }
}

/// Takes the texts with their times from what was sent.
fn texts(sent: Vec<(u128, String)>) -> Vec<(u128, String)> {
    let text = |datagram: String| {
        let text = datagram.strip_prefix("7: ").unwrap_or(&datagram);
        let is_other = ["heartbeat", "@im@", "/join", "/ping", "hello"];
        let is_other = is_other.iter().any(|start| text.starts_with(start));
        (!is_other).then(|| text.to_owned())
    };
    let texts = sent.into_iter();
    texts
        .filter_map(|(at, datagram)| Some((at, text(datagram)?)))
        .collect()
}

#[test]
fn texts_are_sent_slowly_after_a_pause() {
    let mut talk = talk(ProtocolChoice::V2, false);
    let told = talk.hear_notice(NoticeCode::Refused, TEN);
    assert_eq!(told, [notice(TEN), limited(Resource::Texts, 10)]);
    assert_eq!(talk.protocol.status().texts_per_second, Some(10));
    for text in ["a", "b", "c"] {
        talk.say(text);
    }
    assert_eq!(
        texts(talk.pass(1500)),
        [
            (PAUSE_MS, "say a"),
            (PAUSE_MS + 111, "say b"),
            (PAUSE_MS + 222, "say c")
        ]
        .map(|(at, text)| (at, text.to_owned()))
    );
    // What was not used for a while may be used at once, but for no longer than a second.
    wait(&mut talk, 5);
    for number in 0..12 {
        talk.say(&number.to_string());
    }
    let at_once = "say 0 + say 1 + say 2 + say 3 + say 4 + say 5 + say 6 + say 7 + say 8 + say 9";
    let sent = texts(talk.pass(200));
    assert_eq!(sent[0], (0, at_once.to_owned()));
    assert_eq!(sent[1].1, "say 10");
    assert!(sent[1].0 >= 100, "{sent:?}");
}

#[test]
fn texts_that_the_server_dropped_are_lost() {
    let mut talk = talk(ProtocolChoice::V2, false);
    let dropped = talk.say("dropped");
    talk.sent();
    talk.hear_notice(NoticeCode::Refused, TEN);
    talk.say("next");
    assert_eq!(texts(talk.pass(3000)), [(PAUSE_MS, "say next".to_owned())]);
    assert!(talk.events().contains(&undelivered(&["dropped"], true)));
    assert_result(&dropped, Err(RequestError::NoAnswer));
}

#[test]
fn texts_that_the_server_dropped_are_said_again_in_their_order() {
    for choice in [ProtocolChoice::V1, ProtocolChoice::V2] {
        let mut talk = talk(choice, true);
        let tickets = ["a", "b", "c"].map(|text| talk.say(text));
        talk.sent();
        let echo = |talk: &mut Talk, sequence: u32, text: &str| match choice {
            ProtocolChoice::V1 => talk.hear(format!("{OWN} {text}").as_bytes()),
            _ => talk.hear_frames(&[message(sequence, text.as_bytes())]),
        };
        echo(&mut talk, 0, "a");
        match choice {
            ProtocolChoice::V1 => talk.hear(format!("* {TEN}").as_bytes()),
            _ => talk.hear_notice(NoticeCode::Refused, TEN),
        };
        let next = talk.say("d");
        // The echo was on its way.
        echo(&mut talk, 1, "b");
        if choice == ProtocolChoice::V1 {
            talk.hear(b"* you are in lobby (2 here)");
        }
        let sent: Vec<_> = texts(talk.pass(1200))
            .into_iter()
            .map(|(_, text)| text)
            .collect();
        let expected = ["c", "d"].map(|text| match choice {
            ProtocolChoice::V1 => text.to_owned(),
            _ => format!("say {text}"),
        });
        assert_eq!(sent, expected, "{choice:?}");
        echo(&mut talk, 2, "c");
        echo(&mut talk, 3, "d");
        for ticket in tickets.iter().chain([&next]) {
            assert_result(ticket, Ok(()));
        }
    }
}

#[test]
fn a_text_is_not_said_again_in_another_room() {
    let mut talk = talk(ProtocolChoice::V2, true);
    let dropped = talk.say("for the lobby");
    talk.request::<crate::client::Joined>(Request::Room("den".parse().unwrap()));
    talk.sent();
    talk.hear_notice(NoticeCode::Refused, TEN);
    talk.hear_frames(&[room_frame(1, "den".parse().unwrap())]);
    assert_eq!(texts(talk.pass(2000)), []);
    talk.events();
    assert_result(&dropped, Err(RequestError::NoAnswer));
}

#[test]
fn a_server_that_goes_on_telling_limits_is_not_asked_for_ever() {
    let mut talk = talk(ProtocolChoice::V2, true);
    let dropped = talk.say("a");
    assert_eq!(texts(talk.pass(0)).len(), 1);
    for _ in 0..3 {
        talk.hear_notice(NoticeCode::Refused, TEN);
        assert_eq!(texts(talk.pass(1100)), [(PAUSE_MS, "say a".to_owned())]);
    }
    talk.hear_notice(NoticeCode::Refused, TEN);
    assert_eq!(texts(talk.pass(2900)), []);
    talk.hear_notice(NoticeCode::Presence, "eve left (1 here)");
    talk.pass(200);
    talk.events();
    assert_result(&dropped, Err(RequestError::NoAnswer));
}

#[test]
fn requests_and_long_texts_are_sent_slowly_as_well() {
    let mut talk = talk(ProtocolChoice::V2, false);
    talk.hear_notice(NoticeCode::Refused, "at most 100 units of work per second");
    for _ in 0..2 {
        talk.request::<crate::client::Members>(Request::Members(1));
    }
    talk.say("not a request");
    let sent: Vec<_> = talk
        .pass(1500)
        .into_iter()
        .filter(|(_, text)| text.contains("/who"))
        .collect();
    let times: Vec<_> = sent.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [PAUSE_MS, PAUSE_MS + 111]);

    let mut talk = self::talk(ProtocolChoice::V2, false);
    talk.hear_notice(NoticeCode::Refused, "at most 1,000 bytes per second");
    for text in ["x", "y"] {
        talk.say(&text.repeat(900));
    }
    let sent = texts(talk.pass(3000));
    let times: Vec<_> = sent.iter().map(|(at, _)| *at).collect();
    assert_eq!(times[0], PAUSE_MS);
    assert!((2050..2100).contains(&times[1]), "{times:?}");
}

#[test]
fn another_session_has_no_limits_before_the_server_tells_them() {
    let mut talk = talk(ProtocolChoice::V2, false);
    talk.hear_notice(NoticeCode::Refused, TEN);
    let unknown = datagram_to(7, &[ServerFrame::UnknownSession]);
    talk.hear(&unknown);
    assert_eq!(talk.sent(), ["hello"]);
    talk.welcome(8);
    assert_eq!(talk.protocol.status().texts_per_second, None);
    talk.say("at once");
    assert_eq!(talk.sent(), ["8: say at once"]);
}

#[test]
fn a_payload_that_version_1_cannot_say_is_still_one_when_it_is_said_again() {
    let mut talk = talk(ProtocolChoice::V2, true);
    // In version 1, an empty datagram leaves the server.
    let _ticket = talk.say_bytes(b"");
    talk.sent();
    talk.hear_notice(NoticeCode::Refused, TEN);
    talk.protocol
        .handle_timeout(talk.now + 2 * Duration::from_millis(PAUSE_MS as u64), false);
    let again = talk.protocol.queue.front().map(|(command, _)| command);
    assert!(
        matches!(again, Some(Outgoing::Say { is_text: false, .. })),
        "{again:?}"
    );
}
