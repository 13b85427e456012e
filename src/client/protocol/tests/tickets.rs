//! The results of requests and texts.

use super::*;
use crate::client::event::{Joined, Members, Refusal, TicketId};

#[test]
fn a_request_is_answered_in_either_version() {
    for mut talk in both() {
        let joined: Ticket<Joined> = talk.request(Request::Room(den()));
        let named: Ticket<()> = talk.request(Request::Name("ada".parse().unwrap()));
        assert_eq!(talk.sent().len(), 2);
        let room = den();
        let answer = Answer::Joined(Joined { room, members: 2 });
        let events = reply(&mut talk, NoticeCode::Done, "you are in den (2 here)");
        assert!(events.contains(&result(&joined, Ok(answer))), "{events:?}");
        assert_eq!(lines(&events), ["* you are in den (2 here)"]);
        assert_result(&joined, Ok(Joined { room, members: 2 }));
        assert_eq!(talk.protocol.status().room, Some(room));

        let events = reply(&mut talk, NoticeCode::Refused, "ada is taken");
        let taken = Refusal::NameTaken("ada".parse().unwrap());
        let taken = RequestError::Refused(taken);
        assert!(events.contains(&result(&named, Err(taken.clone()))));
        assert_result(&named, Err(taken));
        assert_eq!(talk.protocol.status().name, None);
    }
}

#[test]
fn a_request_without_a_reply_fails_after_the_time_limit() {
    for mut talk in both() {
        let who: Ticket<Members> = talk.request(Request::Members(1));
        talk.sent();
        for _ in 0..2 {
            // The server is there.
            talk.pass(1000);
            reply(&mut talk, NoticeCode::Presence, "eve joined (2 here)");
        }
        talk.pass(999);
        assert_waits(&talk, &who);
        reply(&mut talk, NoticeCode::Presence, "eve left (1 here)");
        talk.pass(1);
        assert_eq!(talk.events(), [result(&who, Err(RequestError::NoAnswer))]);
        assert_result(&who, Err(RequestError::NoAnswer));
        assert_eq!(talk.down(), None);
    }
}

#[test]
fn a_v1_server_that_tells_the_command_to_everyone_has_not_understood_it() {
    let mut talk = Talk::fallen_back();
    let who: Ticket<Members> = talk.request(Request::Members(1));
    assert_eq!(talk.sent(), ["/who 1"]);
    let events = talk.hear(b"127.0.0.1:5 /who 1");
    assert_result(&who, Err(RequestError::NotUnderstood));
    let not_understood = result(&who, Err(RequestError::NotUnderstood));
    assert!(events.contains(&not_understood), "{events:?}");
}

#[test]
fn requests_fail_when_the_server_is_down() {
    for mut talk in both() {
        let who: Ticket<Members> = talk.request(Request::Members(1));
        talk.sent();
        let down = || RequestError::Down(refused());
        let events = talk.refused();
        let expected = [Event::Down(refused()), result(&who, Err(down()))];
        assert_eq!(events, expected);
        assert_result(&who, Err(down()));
    }
    // It is down already.
    let mut talk = Talk::welcomed();
    talk.refused();
    let who: Ticket<Members> = talk.request(Request::Members(1));
    let down = || RequestError::Down(refused());
    assert_eq!(talk.events(), [result(&who, Err(down()))]);
    assert_result(&who, Err(down()));
    assert_eq!(talk.protocol.stats.unsent, 1);
}

#[test]
fn requests_and_texts_fail_at_the_end_of_the_session() {
    let mut talk = Talk::welcomed();
    let who: Ticket<Members> = talk.request(Request::Members(1));
    let said = talk.say("hi");
    talk.sent();
    let waiting: Ticket<Duration> = talk.request(Request::ping());
    talk.protocol.end();
    talk.events();
    assert_result(&who, Err(RequestError::Ended));
    assert_result(&said, Err(RequestError::Ended));
    assert_result(&waiting, Err(RequestError::Ended));
}

#[test]
fn a_round_trip_is_measured_in_either_version() {
    let mut v1 = Talk::fallen_back();
    let ping: Ticket<Duration> = v1.request(Request::ping());
    let sent = v1.sent();
    v1.now += 3 * MS;
    let answer = sent[0].replace("/ping", "* pong");
    let round_trip = Answer::RoundTrip(3 * MS);
    let events = v1.hear(answer.as_bytes());
    let up = Event::Up(ProtocolVersion::V1);
    assert_eq!(events, [up, result(&ping, Ok(round_trip))]);
    assert_result(&ping, Ok(3 * MS));
    let other = v1.hear(b"* pong 77");
    assert_eq!(lines(&other), ["* pong 77"]);

    let mut v2 = Talk::new(ProtocolChoice::V2);
    let ping: Ticket<Duration> = v2.request(Request::ping());
    v2.now += 10 * MS;
    assert_eq!(v2.sent(), ["hello"]);
    assert_waits(&v2, &ping);
    v2.welcome(7);
    let token = ping_token(&v2.datagrams()[0]);
    v2.now += MS;
    let events = v2.hear_frames(&[ServerFrame::Pong(&token)]);
    assert_eq!(events, [result(&ping, Ok(Answer::RoundTrip(MS)))]);
    assert_eq!(v2.hear_frames(&[ServerFrame::Pong(&token)]), []);
}

#[test]
fn a_text_is_delivered_by_its_echo() {
    let mut talk = Talk::welcomed();
    let tickets = ["one", "two", "three"].map(|text| talk.say(text));
    talk.sent();
    assert_waits(&talk, &tickets[0]);
    let events = talk.hear_frames(&[message(0, b"one")]);
    assert_eq!(events.len(), 1);
    assert_result(&tickets[0], Ok(()));
    // The echo of the second text is lost. It may have been overtaken, but not for long.
    assert_eq!(
        payloads(&talk.hear_frames(&[message(2, b"three")])),
        ["three"]
    );
    assert_result(&tickets[2], Ok(()));
    talk.pass(999);
    assert_waits(&talk, &tickets[1]);
    talk.pass(1);
    assert_eq!(talk.events(), [undelivered(&["two"], true)]);
    assert_result(&tickets[1], Err(RequestError::NoAnswer));

    let mut talk = Talk::fallen_back();
    let long = "x".repeat(1100);
    let ticket = talk.say(&long);
    talk.sent();
    let line = format!("127.0.0.1:5 {long}");
    talk.hear(&line.as_bytes()[..1024]);
    assert_result(&ticket, Ok(()));
}

#[test]
fn a_result_follows_the_event_that_led_to_it() {
    for mut talk in both() {
        let ticket = talk.say("hi");
        talk.sent();
        let echo = match talk.version() {
            Some(ProtocolVersion::V1) => b"127.0.0.1:5 hi".to_vec(),
            _ => talk.datagram_of(&[message(0, b"hi")]),
        };
        talk.protocol.handle_datagram(&echo, true, talk.now);
        let first = talk.protocol.poll_output();
        assert!(
            matches!(first, Some(Output::Event(Event::Message(_)))),
            "{first:?}"
        );
        talk.events();
        assert_result(&ticket, Ok(()));
    }
}

#[test]
fn swapped_echoes_deliver_both_texts() {
    for mut talk in both() {
        let tickets = ["one", "two"].map(|text| talk.say(text));
        talk.sent();
        for (number, text) in [(1, "two"), (0, "one")] {
            talk.pass(500);
            let events = match talk.version() {
                Some(ProtocolVersion::V1) => talk.hear(format!("127.0.0.1:5 {text}").as_bytes()),
                _ => talk.hear_frames(&[message(number, text.as_bytes())]),
            };
            assert_eq!(payloads(&events), [text]);
        }
        tickets
            .iter()
            .for_each(|ticket| assert_result(ticket, Ok(())));
        talk.pass(3000);
        assert_eq!(talk.events(), []);
    }
}

#[test]
fn the_same_text_of_another_peer_is_no_echo() {
    let mut talk = Talk::welcomed();
    reply(&mut talk, NoticeCode::Done, "nothing");
    let _: Ticket<()> = talk.request(Request::Name("ada".parse().unwrap()));
    talk.sent();
    reply(&mut talk, NoticeCode::Done, "you are ada");
    let hi = talk.say("hi");
    talk.sent();
    talk.hear_frames(&[message_from("bob", 0, 0, b"hi")]);
    assert_waits(&talk, &hi);
    talk.hear_frames(&[message_from("ada", 0, 1, b"hi")]);
    assert_result(&hi, Ok(()));
}

#[test]
fn peers_without_a_name_are_told_apart() {
    let mut talk = Talk::welcomed();
    let tickets = ["one", "two"].map(|text| talk.say(text));
    talk.sent();
    // It may be this session behind a translation, but nothing is lost.
    let events = talk.hear_frames(&[message_from("1.2.3.4:5", 0, 1, b"two")]);
    assert_eq!(events.len(), 1);
    assert_result(&tickets[1], Ok(()));
    let two = talk.say("two");
    talk.sent();
    assert_eq!(talk.hear_frames(&[message(2, b"one")]).len(), 1);
    assert_result(&tickets[0], Ok(()));
    // Now it is known that nothing translates the address.
    talk.hear_frames(&[message_from("1.2.3.4:5", 0, 3, b"two")]);
    assert_waits(&talk, &two);
}

#[test]
fn the_command_of_another_peer_is_no_echo_of_a_request() {
    let mut talk = Talk::fallen_back();
    let who: Ticket<Members> = talk.request(Request::Members(1));
    talk.sent();
    for line in [&b"127.0.0.1:5 hi"[..], b"127.0.0.1:7 /who 1", b"eve /who 1"] {
        talk.hear(line);
    }
    assert_waits(&talk, &who);
}

#[test]
fn a_text_without_an_echo_is_undelivered_after_the_time_limit() {
    for mut talk in both() {
        let hi = talk.say("hi");
        talk.sent();
        for _ in 0..3 {
            talk.pass(999);
            reply(&mut talk, NoticeCode::Presence, "eve joined (2 here)");
        }
        assert_waits(&talk, &hi);
        talk.pass(3);
        assert_eq!(talk.events(), [undelivered(&["hi"], true)]);
        assert_result(&hi, Err(RequestError::NoAnswer));
        assert_eq!(talk.down(), None);
    }
}

#[test]
fn texts_are_undelivered_when_the_server_is_down() {
    for mut talk in both() {
        let sent = talk.say("sent");
        talk.say("too");
        talk.sent();
        assert_eq!(
            talk.refused(),
            [Event::Down(refused()), undelivered(&["sent", "too"], true)]
        );
        assert_result(&sent, Err(RequestError::Down(refused())));
    }
    let mut talk = Talk::welcomed();
    let sent = talk.say("sent");
    talk.sent();
    let unsent = talk.say("unsent");
    assert_eq!(
        talk.refused(),
        [
            Event::Down(refused()),
            undelivered(&["sent"], true),
            undelivered(&["unsent"], false),
        ]
    );
    let down = || Err(RequestError::Down(refused()));
    assert_result(&sent, down());
    assert_result(&unsent, down());
    assert_eq!(talk.protocol.stats.unsent, 1);
}

#[test]
fn the_number_of_requests_without_a_reply_is_bounded() {
    let mut talk = Talk::welcomed();
    let mut requests = 0;
    while talk.protocol.has_space() && requests < 1_000_000 {
        let _: Ticket<Duration> = talk.request(Request::ping());
        talk.datagrams();
        requests += 1;
    }
    assert!(requests < 1_000_000);
    talk.pass(3000);
    assert!(talk.protocol.has_space());
}

/// Returns one of each version that is up.
fn both() -> [Talk; 2] {
    let mut v1 = Talk::fallen_back();
    v1.hear(b"1.2.3.4:5 hi");
    [v1, Talk::welcomed()]
}

/// Hands over a sentence of the server in the version that is spoken.
fn reply(talk: &mut Talk, code: NoticeCode, sentence: &str) -> Vec<Event> {
    match talk.version() {
        Some(ProtocolVersion::V1) => talk.hear(format!("* {sentence}").as_bytes()),
        _ => talk.hear_notice(code, sentence),
    }
}

fn result<T: TryFrom<Answer>>(ticket: &Ticket<T>, result: Result<Answer, RequestError>) -> Event {
    let ticket: TicketId = ticket.id();
    Event::Answer { ticket, result }
}

fn den() -> RoomName {
    "den".parse().unwrap()
}
