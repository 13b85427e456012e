//! Forged datagrams, sessions that join and move, and more than one room.

use super::*;
use crate::client::event::Refusal;

#[test]
fn what_carries_neither_the_session_nor_the_nonce_does_nothing_and_is_counted() {
    let mut talk = Talk::welcomed();
    let ada = "ada".parse().unwrap();
    let frames = [
        ServerFrame::Goodbye,
        ServerFrame::UnknownSession,
        ServerFrame::Pong(b"?"),
        ServerFrame::Notice(NoticeCode::Refused, b"peer limit reached (2)"),
        ServerFrame::Private(ada, b"psst"),
        room(3, "den"),
        welcome(9, 10),
        ServerFrame::Subscribed(den()),
        message(0, b"hi"),
    ];
    for receiver in [0, 6, 8, u64::MAX] {
        for frame in &frames {
            assert_eq!(
                talk.hear(&datagram_to(receiver, &[*frame])),
                [],
                "{frame:?}"
            );
        }
        // Messages do not vouch for what goes with them.
        let mixed = [message(0, b"hi"), ServerFrame::Goodbye];
        assert_eq!(talk.hear(&datagram_to(receiver, &mixed)), []);
    }
    assert_eq!(talk.hear(b"eve a line of version 1"), []);
    assert_eq!(talk.protocol.stats.forged, 4 * 10 + 1);
    assert_eq!(talk.next(), (5000, vec!["7: heartbeat + ping".to_owned()]));
    assert_eq!(talk.down(), None);
    assert_eq!(talk.protocol.status().room, "lobby".parse().ok());
}

#[test]
fn a_welcome_without_the_nonce_gives_no_session() {
    let mut talk = Talk::new(ProtocolChoice::V2);
    talk.sent();
    for receiver in [0, 7, NONCE + 1] {
        talk.hear(&datagram_to(receiver, &[welcome(7, 10_000)]));
    }
    assert_eq!(talk.protocol.stats.forged, 3);
    assert_eq!(talk.next(), (300, vec!["hello".to_owned()]));
    assert_eq!(talk.welcome(7), [Event::Up(ProtocolVersion::V2)]);
}

#[test]
fn the_first_datagram_is_repeated_until_the_room_comes() {
    let mut talk = Talk::new(ProtocolChoice::V2);
    talk.sent();
    talk.hear_frames(&[welcome(7, 10_000)]);
    assert_eq!(talk.version(), None, "it is not registered");
    talk.say("hi");
    let sent = talk.pass(2000);
    let times = [0, 100, 300, 700, 1500];
    assert_eq!(sent, times.map(|at| (at, "7: heartbeat".to_owned())));
    assert_eq!(talk.events(), []);
    let events = talk.hear_frames(&[room(0, "lobby")]);
    assert_eq!(events, [Event::Up(ProtocolVersion::V2)]);
    assert_eq!(talk.sent(), ["7: say hi"]);

    // Without it, the server counts as down, and is greeted again.
    let mut talk = Talk::new(ProtocolChoice::V2);
    talk.sent();
    talk.hear_frames(&[welcome(7, 10_000)]);
    talk.pass(3000);
    assert_eq!(talk.down(), Some(DownReason::NoAnswer(3000 * MS)));
    assert_eq!(talk.next().1, ["hello"]);
}

#[test]
fn the_options_go_with_the_first_datagram() {
    let mut config = config(ProtocolChoice::V2);
    (config.echo, config.receive) = (false, false);
    let mut talk = Talk::with(config);
    talk.sent();
    talk.hear_frames(&[welcome(7, 10_000)]);
    let datagram = &talk.datagrams()[0];
    let (_, mut frames) = parse_client(datagram).unwrap();
    let Some(ClientFrame::Hello(hello)) = frames.next() else {
        panic!("no options");
    };
    assert_eq!((hello.options.echo, hello.options.receive), (false, false));
    talk.hear_frames(&[room(0, "lobby")]);
    // What it says is delivered when the network has not refused it.
    let ticket = talk.say("hi");
    talk.pass(1000);
    talk.events();
    assert_result(&ticket, Ok(()));
    assert_eq!(talk.hear_frames(&[message(0, b"hi")]), []);
}

#[test]
fn an_unknown_session_moves_with_its_name_and_room() {
    let mut talk = in_chess();
    assert_eq!(talk.hear_frames(&[ServerFrame::UnknownSession]), []);
    assert_eq!(talk.sent(), ["hello"]);
    talk.hear_frames(&[welcome(8, 10_000)]);
    for _ in 0..3 {
        assert_eq!(talk.next().1, ["8: move 7 + heartbeat"], "until ROOM comes");
    }
    assert_eq!(talk.protocol.status().name, "ada".parse().ok());
    let events = talk.hear_frames(&[room(3, "chess")]);
    assert_eq!(events, [Event::Room("chess".parse().unwrap())]);
    // To make sure, as the room alone does not tell it.
    assert_eq!(talk.sent(), ["8: /nick ada"]);
    assert_eq!(talk.hear_notice(NoticeCode::Done, "you are ada"), []);
    assert_eq!(talk.protocol.status().name, "ada".parse().ok());
    assert_eq!(talk.next().1, ["8: heartbeat in 3 + ping"]);
}

#[test]
fn a_session_that_could_not_move_takes_its_name_and_room_again() {
    let mut talk = in_chess();
    talk.hear_frames(&[ServerFrame::UnknownSession]);
    talk.sent();
    talk.welcome(8);
    assert_eq!(talk.protocol.status().name, None);
    assert_eq!(talk.sent(), ["8: /nick ada", "8: /join chess"]);
    let events = talk.hear_frames(&[room(3, "chess")]);
    assert_eq!(events, [Event::Room("chess".parse().unwrap())]);
}

#[test]
fn a_message_of_another_room_makes_it_ask_at_most_every_200_ms() {
    let mut talk = Talk::welcomed();
    talk.hear_frames(&[message_in(3, 0, b"a"), message_in(3, 1, b"b")]);
    assert_eq!(talk.sent(), ["7: heartbeat"]);
    talk.hear_frames(&[message_in(3, 2, b"c")]);
    assert_eq!(talk.next(), (200, vec!["7: heartbeat".to_owned()]));
    talk.hear_frames(&[room(3, "den")]);
    let events = talk.hear_frames(&[message_in(3, 3, b"d")]);
    assert_eq!(talk.sent(), [""; 0]);
    let Event::Message(message) = &events[0] else {
        panic!("{events:?}");
    };
    assert_eq!(message.room, "den".parse().ok());
}

#[test]
fn a_subscription_is_requested_until_it_is_answered_and_again_in_a_new_session() {
    let mut talk = Talk::welcomed();
    let ticket: Ticket<()> = talk.request(Request::Subscribe("den".parse().unwrap()));
    let told = say_to(&mut talk, "den", b"hi");
    assert_eq!(talk.sent(), ["7: subscribe den"]);
    assert_eq!(talk.next(), (300, vec!["7: subscribe den".to_owned()]));
    talk.hear_frames(&[ServerFrame::Subscribed(den())]);
    assert_result(&ticket, Ok(()));
    assert_eq!(
        talk.sent(),
        ["7: say to 3 hi"],
        "it has waited for the number"
    );
    // The same text in the own room is another one.
    talk.hear_frames(&[message(0, b"hi")]);
    assert_waits(&talk, &told);
    let events = talk.hear_frames(&[message_in(3, 0, b"hi")]);
    assert_result(&told, Ok(()));
    assert!(matches!(&events[0], Event::Message(hi) if hi.room == "den".parse().ok()));

    talk.hear_frames(&[ServerFrame::Goodbye]);
    talk.pass(500);
    talk.welcome(8);
    assert_eq!(talk.sent(), ["8: subscribe den"]);
    talk.hear_frames(&[ServerFrame::Subscribed(den())]);

    let end: Ticket<()> = talk.request(Request::Unsubscribe("den".parse().unwrap()));
    assert_eq!(talk.sent(), ["8: unsubscribe 3"]);
    talk.hear_frames(&[ServerFrame::Unsubscribed(3)]);
    assert_result(&end, Ok(()));
    let refused = say_to(&mut talk, "den", b"hi");
    talk.sent();
    talk.events();
    let error = RequestError::Refused(Refusal::NotInRoom("den".parse().unwrap()));
    assert_result(&refused, Err(error));
}

#[test]
fn messages_of_several_rooms_are_counted_each_for_itself() {
    let mut talk = Talk::welcomed();
    let _: Ticket<()> = talk.request(Request::Subscribe("den".parse().unwrap()));
    talk.sent();
    talk.hear_frames(&[ServerFrame::Subscribed(den())]);
    for number in [0, 1, 3] {
        talk.hear_frames(&[message_in(0, number, b"a")]);
        talk.hear_frames(&[message_in(3, 2 * number, b"b")]);
    }
    let total = talk.protocol.losses.total();
    assert_eq!((total.received, total.lost), (6, 1 + 4));
    assert_eq!(talk.sent(), [""; 0], "it is in both");
}

#[test]
fn a_server_of_version_1_has_one_room() {
    let mut talk = Talk::fallen_back();
    let ticket: Ticket<()> = talk.request(Request::Subscribe("den".parse().unwrap()));
    let text = say_to(&mut talk, "den", b"hi");
    talk.sent();
    talk.events();
    assert_result(&ticket, Err(RequestError::OneRoom));
    assert_result(&text, Err(RequestError::OneRoom));
}

#[test]
fn frames_of_later_versions_are_skipped() {
    let mut talk = Talk::welcomed();
    let mut later = datagram_to(7, &[]);
    later.extend_from_slice(&[0x9F, 0, 2, 1, 2]);
    push_server_frame(&message(0, b"hi"), &mut later);
    assert_eq!(payloads(&talk.hear(&later)), ["hi"]);
    assert_eq!(talk.protocol.stats.malformed, 0);
}

#[test]
fn a_far_number_costs_no_message() {
    let mut talk = Talk::welcomed();
    talk.hear_frames(&[message(0, b"0")]);
    for number in 1..300 {
        talk.hear_frames(&[message(number * 5_000_000, b"far")]);
        let text = number.to_string();
        let events = talk.hear_frames(&[message(number, text.as_bytes())]);
        assert_eq!(payloads(&events), [text]);
    }
}

#[test]
fn a_challenge_of_version_1_is_answered_once_and_what_was_dropped_is_sent_again() {
    let mut talk = Talk::of_ada(ProtocolChoice::V1);
    let text = talk.say("hi");
    assert_eq!(talk.sent(), ["@im@", "/nick ada", "/join chess", "hi"]);
    for other in ["eve * say /in 00000005", "* eve to you: say /in 00000005"] {
        talk.hear(other.as_bytes());
        assert_eq!(talk.sent(), [""; 0], "{other}");
    }
    let mut talk = Talk::of_ada(ProtocolChoice::V1);
    let hi = talk.say("hi");
    talk.sent();
    assert_eq!(talk.hear(b"* say /in 00000005"), []);
    assert_eq!(
        talk.sent(),
        ["/in 00000005", "/nick ada", "/join chess", "hi"]
    );
    assert_eq!(talk.hear(b"* say /in 00000006"), [], "too soon");
    assert_eq!(talk.sent(), [""; 0]);
    talk.hear(b"* you are in lobby (1 here)");
    talk.hear(b"* you are ada");
    talk.hear(b"* you are in chess (1 here)");
    talk.hear(b"ada hi");
    assert_result(&hi, Ok(()));
    talk.pass(1500);
    talk.hear(b"* say /in 00000005");
    assert!(
        talk.sent().iter().all(|sent| !sent.starts_with("/in")),
        "it has proved that"
    );
    talk.hear(b"* say /in 00000006");
    assert!(
        talk.sent().contains(&"/in 00000006".to_owned()),
        "a new one"
    );
    drop(text);
}

/// Returns one that is ada, in the room chess.
fn in_chess() -> Talk {
    let mut talk = Talk::of_ada(ProtocolChoice::V2);
    talk.sent();
    talk.hear_frames(&[welcome(7, 10_000)]);
    talk.sent();
    talk.hear_frames(&[room(0, "lobby")]);
    assert_eq!(talk.sent(), ["7: /nick ada", "7: /join chess"]);
    talk.hear_notice(NoticeCode::Done, "you are ada");
    talk.hear_frames(&[room(3, "chess")]);
    talk
}

fn say_to(talk: &mut Talk, room: &str, payload: &[u8]) -> Ticket<()> {
    talk.command(Outgoing::Say {
        room: room.parse().ok(),
        payload: payload.to_vec(),
        is_text: true,
    })
}

fn room(number: u32, name: &str) -> ServerFrame<'static> {
    room_frame(number, name.parse().unwrap())
}

fn den() -> Room {
    Room {
        number: 3,
        incarnation: 1,
        name: "den".parse().unwrap(),
    }
}
