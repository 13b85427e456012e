//! The choice of the version, and the way to a server that was down.

use super::*;

#[test]
fn a_server_that_answers_is_spoken_to_in_v2() {
    let mut talk = Talk::new(ProtocolChoice::Auto);
    assert_eq!(talk.pass(0), [(0, "hello".to_owned())]);
    assert_eq!(talk.version(), None);
    assert!(!talk.protocol.status().is_up);
    assert_eq!(talk.welcome(7), [Event::Up(ProtocolVersion::V2)]);
    assert_eq!(talk.version(), Some(ProtocolVersion::V2));
    assert!(talk.protocol.status().is_up);
    talk.say("hi");
    assert_eq!(talk.sent(), ["7: say hi"]);
}

#[test]
fn a_server_that_understands_no_hello_is_spoken_to_in_v1() {
    let mut talk = Talk::new(ProtocolChoice::Auto);
    let sent = talk.pass(1000);
    let expected = [(0, "hello"), (300, "hello"), (600, "hello"), (900, "@im@")];
    assert_eq!(sent, expected.map(|(at, sent)| (at, sent.to_owned())));
    assert_eq!(talk.version(), Some(ProtocolVersion::V1));
    assert_eq!(talk.down(), None);
    assert!(!talk.protocol.status().is_up, "it has not shown that it is");
    talk.say("hi");
    assert_eq!(talk.sent(), ["hi"]);
    let events = talk.hear(b"1.2.3.4:5 hi");
    assert_eq!(events[0], Event::Up(ProtocolVersion::V1));
    assert_eq!(lines(&events), ["1.2.3.4:5 hi"]);
    assert!(talk.protocol.status().is_up);
}

#[test]
fn the_configuration_can_require_one_version() {
    let mut talk = Talk::new(ProtocolChoice::V1);
    assert_eq!(talk.pass(0), [(0, "@im@".to_owned())]);
    assert_eq!(talk.version(), Some(ProtocolVersion::V1));

    let mut talk = Talk::new(ProtocolChoice::V2);
    talk.pass(899);
    assert_eq!(talk.down(), None);
    let sent = talk.pass(60_000);
    assert!(sent.iter().all(|(_, sent)| sent == "hello"), "{sent:?}");
    let silent = DownReason::NoAnswer(900 * MS);
    assert_eq!(talk.down(), Some(silent.clone()));
    assert_eq!(talk.events(), [Event::Down(silent)]);
    assert!(talk.hear(b"1.2.3.4:5 hi").is_empty());
    assert_eq!(talk.protocol.stats.malformed, 1);
}

#[test]
fn texts_wait_until_the_version_is_known() {
    let mut talk = Talk::new(ProtocolChoice::Auto);
    talk.pass(0);
    talk.say("one");
    talk.say("two");
    assert_eq!(talk.sent(), [""; 0]);
    assert!(talk.protocol.is_holding());
    talk.welcome(7);
    assert_eq!(talk.sent(), ["7: say one + say two"]);
    assert!(!talk.protocol.is_holding());

    let mut talk = Talk::new(ProtocolChoice::Auto);
    talk.say("one");
    let bytes = talk.say_bytes(b"\xff");
    talk.say("two");
    let sent = talk.pass(900);
    assert_eq!(
        sent[3..],
        ["@im@", "one", "two"].map(|sent| (900, sent.to_owned()))
    );
    assert_eq!(talk.protocol.stats.unsent, 1);
    let unsent = Event::Undelivered {
        payloads: vec![b"\xff".to_vec()],
        were_sent: false,
    };
    assert_eq!(talk.events(), [unsent]);
    assert_result(&bytes, Err(RequestError::TextOnly));
}

#[test]
fn texts_that_wait_are_bounded_and_do_not_outlast_the_server() {
    let mut talk = Talk::new(ProtocolChoice::Auto);
    for _ in 0..MAX_QUEUED {
        assert!(talk.protocol.has_space());
        talk.say("hi");
    }
    assert!(!talk.protocol.has_space());
    let events = talk.refused();
    assert_eq!(events.len(), MAX_QUEUED + 1);
    assert_eq!(events[0], Event::Down(refused()));
    assert_eq!(events[1], undelivered(&["hi"], false));
    assert!(!talk.protocol.is_holding());
    assert_eq!(talk.protocol.stats.unsent, MAX_QUEUED as u64);
    let late = talk.say("late");
    assert_eq!(talk.events(), [undelivered(&["late"], false)]);
    assert_result(&late, Err(RequestError::Down(refused())));
}

#[test]
fn a_server_that_starts_is_greeted_before_it_counts_as_one_of_v1() {
    let mut talk = Talk::new(ProtocolChoice::Auto);
    talk.pass(0);
    assert_eq!(talk.refused(), [Event::Down(refused())]);
    assert!(talk.protocol.may_reroute(talk.protocol.poll_timeout()));
    // The next one is not refused.
    let sent = talk.pass(1400);
    let expected = [
        (500, "hello"),
        (800, "hello"),
        (1100, "hello"),
        (1400, "@im@"),
    ];
    assert_eq!(sent, expected.map(|(at, sent)| (at, sent.to_owned())));
    assert_eq!(talk.events(), [Event::Up(ProtocolVersion::V1)]);
    assert_eq!(talk.down(), None);
    assert_eq!(talk.version(), Some(ProtocolVersion::V1));

    // From then on, a line is a sign that it is back.
    assert_eq!(talk.refused(), [Event::Down(refused())]);
    let events = talk.hear(b"1.2.3.4:5 hi");
    assert_eq!(events[0], Event::Up(ProtocolVersion::V1));
    assert_eq!(lines(&events), ["1.2.3.4:5 hi"]);
    assert_eq!(talk.down(), None);
}

#[test]
fn an_attempt_that_seems_to_have_reached_a_server_is_not_cut_short() {
    let mut talk = Talk::new(ProtocolChoice::Auto);
    talk.refused();
    talk.pass(500);
    assert!(!talk.protocol.may_reroute(talk.protocol.poll_timeout()));
    talk.refused();
    assert!(!talk.protocol.may_reroute(talk.now), "it is not due");
    assert!(talk.protocol.may_reroute(talk.protocol.poll_timeout()));
}

#[test]
fn a_v1_server_that_was_down_may_be_another_one() {
    let mut talk = Talk::fallen_back();
    assert_eq!(talk.refused(), [Event::Down(refused())]);
    // The attempts at 500 and 1500 ms are not refused, which is enough after a second.
    let sent = talk.pass(1499);
    assert_eq!(sent, ["hello", "@im@"].map(|sent| (500, sent.to_owned())));
    assert!(talk.down().is_some());
    talk.pass(1);
    assert_eq!(talk.events(), [Event::Up(ProtocolVersion::V1)]);
    assert_eq!(payloads(&talk.hear(b"1.2.3.4:5 hi")), ["hi"]);
    talk.welcome(7);
    assert_eq!(talk.version(), Some(ProtocolVersion::V2));

    let mut talk = Talk::fallen_back();
    talk.refused();
    talk.pass(500);
    assert_eq!(talk.welcome(7), [Event::Up(ProtocolVersion::V2)]);
    assert_eq!(talk.version(), Some(ProtocolVersion::V2));
}

#[test]
fn a_server_that_must_be_spoken_to_in_v1_hears_no_hello() {
    let mut talk = Talk::new(ProtocolChoice::V1);
    talk.pass(0);
    talk.refused();
    let sent = talk.pass(20_000);
    assert!(sent.iter().all(|(_, sent)| sent == "@im@"), "{sent:?}");
}

#[test]
fn a_late_answer_to_the_greeting_counts() {
    let mut talk = Talk::fallen_back();
    talk.welcome(7);
    assert_eq!(talk.version(), Some(ProtocolVersion::V2));

    // The answer was lost, but to the server there is a session.
    let mut talk = Talk::fallen_back();
    talk.hear_notice(NoticeCode::Done, "hi");
    assert_eq!(talk.version(), None);
    assert_eq!(talk.pass(0), [(0, "hello".to_owned())]);

    // Whoever sends back what it receives has not understood it.
    let mut talk = Talk::fallen_back();
    let mut hello = vec![0xFF, 2];
    hello.resize(64, 0);
    talk.hear(&hello);
    assert_eq!(talk.version(), Some(ProtocolVersion::V1));
}

#[test]
fn a_line_during_the_greeting_is_from_a_v1_server() {
    let mut talk = Talk::new(ProtocolChoice::Auto);
    talk.pass(0);
    let events = talk.hear(b"1.2.3.4:5 hi");
    assert_eq!(events[0], Event::Up(ProtocolVersion::V1));
    assert_eq!(lines(&events), ["1.2.3.4:5 hi"]);
    assert_eq!(talk.sent(), ["@im@"]);
}

#[test]
fn nothing_is_heard_before_the_first_welcome() {
    let mut talk = Talk::new(ProtocolChoice::Auto);
    talk.pass(0);
    // The WELCOME was lost.
    assert_eq!(talk.hear_frames(&[message(0, b"hi")]), []);
    assert_eq!(talk.welcome(7), [Event::Up(ProtocolVersion::V2)]);
    assert_eq!(payloads(&talk.hear_frames(&[message(1, b"ho")])), ["ho"]);
    // In one datagram, the order is that of the frames.
    let mut talk = Talk::new(ProtocolChoice::V2);
    talk.sent();
    talk.hear_frames(&[welcome(7, 10_000)]);
    let lobby = room_frame(0, LOBBY.parse().unwrap());
    let events = talk.hear_frames(&[message(0, b"early"), lobby, message(1, b"hi")]);
    assert_eq!(events[0], Event::Up(ProtocolVersion::V2));
    assert_eq!(payloads(&events), ["hi"]);
}

#[test]
fn after_v2_silence_is_no_reason_for_v1() {
    let mut talk = Talk::welcomed();
    let sent = talk.pass(60_000);
    assert_eq!(
        talk.events(),
        [Event::Down(DownReason::NoAnswer(3000 * MS))]
    );
    assert!(!sent.iter().any(|(_, sent)| sent == "@im@"), "{sent:?}");
}

#[test]
fn a_session_leaves_in_the_version_that_it_speaks() {
    let mut out = Vec::new();
    let talk = Talk::fallen_back();
    assert!(talk.protocol.push_leave(&mut out));
    assert_eq!(out, b"quit");
    let mut talk = Talk::new(ProtocolChoice::Auto);
    assert!(!talk.protocol.push_leave(&mut out));
    assert_eq!(out, b"");
    talk.sent();
    talk.welcome(7);
    assert!(talk.protocol.push_leave(&mut out));
    assert_eq!(describe(&out), "7: bye");
}

#[test]
fn a_greeting_that_nobody_answers_goes_on_to_the_next_address() {
    for choice in [ProtocolChoice::Auto, ProtocolChoice::V2] {
        let mut talk = Talk::new(choice);
        talk.say("hi");
        assert_eq!(talk.pass(899).len(), 3);
        talk.now += MS;
        assert!(talk.protocol.handle_timeout(talk.now, true));
        talk.protocol.handle_reroute(talk.now);
        assert_eq!(talk.events(), [], "no word of the first one");
        assert_eq!(talk.pass(899).len(), 3);
        talk.now += MS;
        // It was the last one.
        assert!(!talk.protocol.handle_timeout(talk.now, false));
        match choice {
            ProtocolChoice::Auto => assert_eq!(talk.sent(), ["@im@", "hi"]),
            _ => assert_eq!(talk.down(), Some(DownReason::NoAnswer(900 * MS))),
        }
    }
}

#[test]
fn a_v1_session_that_goes_another_way_stays_one() {
    let mut talk = Talk::fallen_back();
    talk.hear(b"1.2.3.4:5 hi");
    talk.say("anyone?");
    talk.pass(3000);
    assert_eq!(talk.down(), Some(DownReason::NoAnswer(3000 * MS)));
    // A server of version 1 at another address answers no HELLO.
    talk.protocol.handle_reroute(talk.now);
    assert_eq!(talk.sent(), ["hello", "@im@"]);
    assert_eq!(talk.version(), Some(ProtocolVersion::V1));
}

#[test]
fn a_full_server_is_down_until_it_has_a_place() {
    for refusal in [
        "peer limit reached (2)",
        "peer limit reached (1 in your network)",
    ] {
        is_down_until_it_has_a_place(refusal, &DownReason::Full);
    }
}

#[test]
fn a_server_that_is_about_to_stop_is_down_until_another_one_takes_its_place() {
    is_down_until_it_has_a_place("stopping soon, no newcomers", &DownReason::Stopping);
}

fn is_down_until_it_has_a_place(refusal: &str, reason: &DownReason) {
    let full = || [Event::Down(reason.clone())];
    let mut v2 = Talk::new(ProtocolChoice::Auto);
    assert_eq!(v2.sent(), ["hello"]);
    assert_eq!(v2.hear_notice(NoticeCode::Refused, refusal), full());
    for expected in [500, 1000, 2000, 4000, 5000, 5000] {
        assert_eq!(v2.next(), (expected, vec!["hello".to_owned()]));
        assert_eq!(
            v2.hear_notice(NoticeCode::Refused, refusal),
            [],
            "it was told"
        );
    }
    assert_eq!(v2.welcome(7), [Event::Up(ProtocolVersion::V2)]);

    let mut v1 = Talk::new(ProtocolChoice::V1);
    let line = format!("* {refusal}");
    assert_eq!(v1.sent(), ["@im@"]);
    let told = v1.hear(line.as_bytes());
    assert_eq!(told.last(), full().last());
    for expected in [500, 1000, 2000, 4000, 5000, 5000] {
        assert_eq!(v1.next(), (expected, vec!["@im@".to_owned()]));
        assert_eq!(v1.hear(line.as_bytes()), [], "it was told");
    }
    // A heartbeat that is not refused has a place.
    v1.pass(6000);
    assert_eq!(v1.events(), [Event::Up(ProtocolVersion::V1)]);
}
