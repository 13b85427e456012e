//! The name and the room of a session.

use super::*;

#[test]
fn name_and_room_are_requested_first_in_every_new_session() {
    let mut talk = Talk::of_ada(ProtocolChoice::Auto);
    assert_eq!(talk.pass(0).len(), 1);
    talk.say("hi");
    assert_eq!(talk.sent(), [""; 0]);
    talk.welcome(7);
    assert_eq!(talk.sent(), ["7: /nick ada", "7: /join chess", "7: say hi"]);
    let chess = "chess".parse().unwrap();
    let events = talk.hear_frames(&[room_frame(3, chess)]);
    assert_eq!(events, [Event::Room(chess)]);
    assert_eq!(talk.protocol.status().room, Some(chess));
    talk.hear_frames(&[message_in(3, 0, b"hi")]);
    let taken = talk.hear_notice(NoticeCode::Refused, "ada is taken");
    assert_eq!(lines(&taken), ["* ada is taken"]);
    let (_, sent) = talk.next();
    assert_eq!(sent, ["7: heartbeat in 3 + ping", "7: /nick ada"]);
    let taken = talk.hear_notice(NoticeCode::Refused, "ada is taken");
    assert_eq!(taken, [], "it was told");
    // Only the reply to a command confirms.
    for code in [NoticeCode::Presence, NoticeCode::Refused] {
        talk.hear_notice(code, "you are ada");
    }
    assert_eq!(talk.protocol.status().name, None);
    talk.hear_notice(NoticeCode::Done, "you are ada");
    assert_eq!(talk.protocol.status().name, "ada".parse().ok());
    assert_eq!(talk.next().1, ["7: heartbeat in 3 + ping"]);

    // The same session, which the server still knows.
    talk.refused();
    talk.pass(500);
    talk.hear_frames(&[welcome(7, 10_000)]);
    assert_eq!(talk.sent(), ["7: heartbeat"]);
    let events = talk.hear_frames(&[room_frame(3, chess)]);
    assert_eq!(events, [Event::Up(ProtocolVersion::V2), Event::Room(chess)]);
    assert_eq!(talk.sent(), [""; 0]);
    assert_eq!(talk.protocol.status().name, "ada".parse().ok());
    talk.hear_frames(&[ServerFrame::Goodbye]);
    talk.welcome(8);
    assert_eq!(talk.sent(), ["8: /nick ada", "8: /join chess"]);
    assert_eq!(talk.protocol.status().name, None);
}

#[test]
fn in_v1_name_and_room_follow_the_first_heartbeat_and_each_return() {
    let mut talk = Talk::of_ada(ProtocolChoice::V1);
    assert_eq!(talk.sent(), ["@im@", "/nick ada", "/join chess"]);
    assert_eq!(
        talk.next(),
        (5000, vec!["@im@".to_owned()]),
        "commands may be unknown"
    );
    let _: Ticket<()> = talk.request(Request::Room("go".parse().unwrap()));
    assert_eq!(talk.sent(), ["/join go"]);
    let events = talk.hear(b"* you are in go (1 here)");
    assert!(events.contains(&Event::Room("go".parse().unwrap())));
    assert_eq!(talk.refused(), [Event::Down(refused())]);
    assert_eq!(talk.next(), (500, vec!["@im@".to_owned()]));
    let events = talk.hear(b"1.2.3.4:5 hi");
    assert_eq!(events[0], Event::Up(ProtocolVersion::V1));
    assert_eq!(talk.sent(), ["/nick ada", "/join go"]);

    // From another address, the session is a new one to the server.
    talk.protocol.handle_reroute(talk.now);
    assert_eq!(talk.sent(), ["@im@", "/nick ada", "/join go"]);

    let mut talk = Talk::of_ada(ProtocolChoice::Auto);
    talk.pass(899);
    talk.now += MS;
    assert_eq!(talk.sent(), ["@im@", "/nick ada", "/join chess"]);
}

#[test]
fn in_v1_a_session_that_was_forgotten_requests_its_name_and_room() {
    let mut talk = confirmed();
    talk.say("one");
    assert_eq!(talk.sent(), ["one"]);
    assert_eq!(payloads(&talk.hear(b"ada one")), ["one"]);
    let two = talk.say("two");
    assert_eq!(talk.sent(), ["two"]);
    let events = talk.hear(b"127.0.0.1:5 two");
    assert_eq!(payloads(&events), ["two"]);
    assert!(events.contains(&Event::Forgotten));
    assert_result(&two, Ok(()));
    assert_eq!(talk.protocol.status().name, None);
    assert_eq!(talk.protocol.status().room, None);
    assert_eq!(talk.sent(), ["/nick ada", "/join chess"]);
    // Once is enough.
    talk.say("three");
    assert_eq!(talk.sent(), ["three"]);
    assert_eq!(payloads(&talk.hear(b"127.0.0.1:5 three")), ["three"]);
    assert_eq!(talk.hear(b"* you are ada").len(), 1);
    let events = talk.hear(b"* you are in chess (1 here)");
    assert_eq!(events[0], Event::Room("chess".parse().unwrap()));
}

#[test]
fn in_v1_the_same_text_of_another_peer_is_no_echo() {
    let mut talk = confirmed();
    let hi = talk.say("hi");
    talk.sent();
    let events = talk.hear(b"bob hi");
    assert_eq!(payloads(&events), ["hi"]);
    assert!(!events.contains(&Event::Forgotten));
    assert_waits(&talk, &hi);
    talk.hear(b"ada hi");
    assert_result(&hi, Ok(()));
    assert_eq!(talk.protocol.status().name, "ada".parse().ok());
}

#[test]
fn in_v1_name_and_room_are_checked_before_a_text_after_a_pause() {
    let mut talk = confirmed();
    talk.now += 250 * MS;
    talk.say("one");
    assert_eq!(talk.sent(), ["one"], "no server restarts as fast");
    talk.hear(b"ada one");
    talk.now += 251 * MS;
    talk.say("two");
    talk.say("three");
    assert_eq!(talk.sent(), ["/nick ada", "/join chess", "two", "three"]);
    // The replies are not shown.
    assert_eq!(talk.hear(b"* you are ada"), []);
    assert_eq!(talk.hear(b"* you are in chess (3 here)"), []);
    assert_eq!(talk.protocol.status().name, "ada".parse().ok());
    for line in [&b"ada two"[..], b"ada three"] {
        assert_eq!(talk.hear(line).len(), 1);
    }
    // A refusal is.
    talk.now += 251 * MS;
    talk.say("four");
    talk.sent();
    assert_eq!(lines(&talk.hear(b"* ada is taken")), ["* ada is taken"]);
    assert!(talk.hear(b"127.0.0.1:5 four").contains(&Event::Forgotten));
}

#[test]
fn in_v1_the_reply_to_a_request_is_shown_also_if_nothing_changes() {
    let mut talk = confirmed();
    let ticket: Ticket<()> = talk.request(Request::Name("ada".parse().unwrap()));
    assert_eq!(talk.sent(), ["/nick ada"]);
    let events = talk.hear(b"* you are ada");
    assert_eq!(lines(&events), ["* you are ada"]);
    assert_result(&ticket, Ok(()));
}

#[test]
fn in_v1_a_session_without_a_name_checks_its_room() {
    let mut config = config(ProtocolChoice::V1);
    config.room = "chess".parse().ok();
    let mut talk = Talk::with(config);
    talk.sent();
    talk.hear(b"* you are in chess (1 here)");
    let mut sent = Vec::new();
    for _ in 0..2 {
        talk.now += 200 * MS;
        talk.say("hi");
        sent.extend(talk.sent());
        // This does not tell in which room it is.
        talk.hear(b"127.0.0.1:5 hi");
    }
    assert_eq!(sent, ["hi", "/join chess", "hi"]);
}

#[test]
fn in_v1_a_server_without_commands_is_not_asked_again() {
    let mut talk = Talk::of_ada(ProtocolChoice::V1);
    talk.sent();
    talk.hear(b"127.0.0.1:5 /nick ada");
    talk.hear(b"127.0.0.1:5 /join chess");
    for _ in 0..2 {
        talk.now += 400 * MS;
        talk.say("hi");
        assert_eq!(talk.sent(), ["hi"]);
        assert!(!talk.hear(b"127.0.0.1:5 hi").contains(&Event::Forgotten));
    }
}

#[test]
fn an_echo_under_a_requested_name_is_one_before_its_confirmation() {
    let mut talk = Talk::welcomed();
    let _: Ticket<()> = talk.request(Request::Name("ada".parse().unwrap()));
    let hi = talk.say("hi");
    talk.sent();
    // The reply was lost.
    talk.hear_frames(&[message_from("ada", 0, 0, b"hi")]);
    assert_result(&hi, Ok(()));
}

/// Returns one of version 1 that is ada, in the room chess.
fn confirmed() -> Talk {
    let mut talk = Talk::of_ada(ProtocolChoice::V1);
    assert_eq!(talk.sent(), ["@im@", "/nick ada", "/join chess"]);
    let events = talk.hear(b"* you are ada");
    assert_eq!(events[0], Event::Up(ProtocolVersion::V1));
    assert_eq!(lines(&events), ["* you are ada"]);
    let events = talk.hear(b"* you are in chess (1 here)");
    assert_eq!(events[0], Event::Room("chess".parse().unwrap()));
    assert_eq!(lines(&events), ["* you are in chess (1 here)"]);
    talk
}
