//! Details of both versions.

use super::*;

fn confirmed_v1() -> Talk {
    let mut talk = Talk::of_ada(ProtocolChoice::V1);
    talk.sent();
    talk.hear(b"* you are ada");
    talk.hear(b"* you are in chess (1 here)");
    talk
}

#[test]
fn in_v1_nothing_is_requested_from_a_server_that_is_down() {
    let mut talk = Talk::of_ada(ProtocolChoice::V1);
    let mut out = Vec::new();
    assert!(talk.protocol.poll_transmit(talk.now, &mut out));
    assert_eq!(talk.refused(), [Event::Down(refused())]);
    assert_eq!(talk.sent(), [""; 0]);
}

#[test]
fn in_v1_a_text_just_after_the_name_was_requested_is_not_checked() {
    let mut talk = confirmed_v1();
    talk.refused();
    talk.pass(400);
    talk.hear(b"bob hi");
    let due = talk.sent();
    assert!(due.contains(&"/nick ada".to_owned()), "{due:?}");
    talk.hear(b"* you are ada");
    talk.hear(b"* you are in chess (1 here)");
    talk.say("one");
    assert_eq!(talk.sent(), ["one"]);
}

#[test]
fn a_full_room_called_server_is_no_full_server() {
    for choice in [ProtocolChoice::V1, ProtocolChoice::V2] {
        let mut talk = Talk::new(choice);
        talk.sent();
        if choice == ProtocolChoice::V1 {
            talk.hear(b"bob hi");
        } else {
            talk.welcome(7);
        }
        let room: RoomName = "server".parse().unwrap();
        let ticket: Ticket<crate::client::event::Joined> = talk.request(Request::Room(room));
        talk.sent();
        let sentence = "server is full (2)";
        let events = match choice {
            ProtocolChoice::V1 => talk.hear(format!("* {sentence}").as_bytes()),
            _ => talk.hear_notice(NoticeCode::Refused, sentence),
        };
        assert_eq!(lines(&events), ["* server is full (2)"]);
        let refusal = crate::client::event::Refusal::RoomFull(room, 2);
        assert_result(&ticket, Err(RequestError::Refused(refusal)));
        assert_eq!(talk.down(), None);
    }
}

#[test]
fn a_refusal_of_a_request_is_told_each_time() {
    let mut talk = Talk::welcomed();
    for _ in 0..2 {
        let to = "bob".parse().unwrap();
        let text = "psst".to_owned();
        let _: Ticket<()> = talk.request(Request::Private { to, text });
        talk.sent();
        let events = talk.hear_notice(NoticeCode::Refused, "no such peer: bob");
        assert_eq!(lines(&events), ["* no such peer: bob"]);
    }
}

#[test]
fn a_session_that_goes_another_way_has_no_session_to_leave() {
    let mut talk = Talk::welcomed();
    let mut out = Vec::new();
    assert!(talk.protocol.push_leave(&mut out));
    talk.protocol.handle_reroute(talk.now);
    assert!(
        !talk.protocol.push_leave(&mut out),
        "another server does not know it"
    );
    talk.sent();
    talk.welcome(7);
    assert_eq!(talk.protocol.stats.sessions, 2);
}

#[test]
fn a_new_session_has_no_pings_yet() {
    let mut talk = Talk::welcomed();
    talk.pong();
    talk.pong();
    talk.hear_frames(&[ServerFrame::Goodbye]);
    talk.pass(500);
    talk.welcome(9);
    talk.say("hi");
    talk.sent();
    let before = talk.protocol.poll_timeout();
    talk.hear_frames(&[ServerFrame::Pong(&10_u64.to_be_bytes())]);
    assert_eq!(talk.protocol.poll_timeout(), before, "it proves nothing");
}

#[test]
fn a_message_below_the_window_is_dropped() {
    let mut talk = Talk::welcomed();
    assert_eq!(talk.hear_frames(&[message(5000, b"new")]).len(), 1);
    assert_eq!(talk.hear_frames(&[message(5001, b"newer")]).len(), 1);
    assert_eq!(talk.hear_frames(&[message(1, b"old")]), []);
    assert_eq!(talk.protocol.losses.total().too_late, 1);
}

#[test]
fn each_of_the_last_three_probes_proves_that_the_server_is_there() {
    for answered in 0..3 {
        let mut talk = Talk::welcomed();
        let mut tokens = Vec::new();
        while tokens.len() < 3 {
            talk.now = talk.protocol.poll_timeout();
            assert!(!talk.protocol.handle_timeout(talk.now, false));
            tokens.extend(talk.datagrams().iter().map(|datagram| ping_token(datagram)));
        }
        talk.hear_frames(&[ServerFrame::Pong(&tokens[answered])]);
        talk.now += 3000 * MS;
        talk.now = talk.now.min(talk.protocol.poll_timeout());
        assert!(!talk.protocol.handle_timeout(talk.now, false));
        assert_eq!(talk.down(), None, "{answered}");
    }
}

#[test]
fn in_v1_an_echo_under_the_name_is_a_check_of_the_session() {
    let mut talk = confirmed_v1();
    for _ in 0..3 {
        talk.now += 200 * MS;
        talk.say("hi");
        assert_eq!(talk.sent(), ["hi"]);
        talk.hear(b"ada hi");
    }
}

#[test]
fn in_v1_a_request_must_be_answered() {
    let mut talk = Talk::new(ProtocolChoice::V1);
    talk.sent();
    let _: Ticket<Duration> = talk.request(Request::ping());
    talk.pass(3000);
    assert_eq!(talk.down(), Some(DownReason::NoAnswer(3000 * MS)));
}
