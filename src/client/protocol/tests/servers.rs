//! Servers that are gone, and others in their place.

mod v1;

use std::net::SocketAddr;

use super::*;
use crate::client::event::{Joined, Refusal};
use crate::wire::v2::{MAX_OTHER_SERVERS, push_servers};

const FIRST: &str = "127.0.0.1:9999";
const OTHER: &str = "127.0.0.2:9999";

impl Talk {
    /// Returns one that is ada in the room chess and receives presence notices, at the first of
    /// two servers.
    fn at_first_of_two(choice: ProtocolChoice) -> Self {
        let mut talk = Self::of_ada(choice);
        let first = address(FIRST);
        talk.protocol.begin_at(Some(first), first, first);
        talk.protocol.set_ways(2, true);
        talk
    }

    fn in_chess() -> Self {
        let mut talk = Self::at_first_of_two(ProtocolChoice::V2);
        talk.sent();
        assert_eq!(talk.welcome(7), [Event::Up(ProtocolVersion::V2)]);
        assert_eq!(talk.sent(), ["7: /nick ada", "7: /join chess"]);
        talk.hear_notice(NoticeCode::Done, "you are ada");
        talk.hear_frames(&[room_frame(3, chess())]);
        talk.settle_path();
        let ticket: Ticket<()> = talk.request(Request::Presence(true));
        assert_eq!(talk.sent(), ["7: /presence on"]);
        talk.hear_notice(NoticeCode::Done, "presence is on");
        assert_result(&ticket, Ok(()));
        talk
    }

    /// Goes to the other server, as the engine does.
    fn go_to(&mut self, server: &str) {
        self.protocol.change_way(address(server), address(server));
        self.protocol.handle_reroute(self.now);
    }

    /// Loses the first server, and is in the lobby of the other one.
    fn at_other() -> Self {
        let mut talk = Self::in_chess();
        assert_eq!(talk.hear_frames(&[ServerFrame::Goodbye]).len(), 1);
        talk.go_to(OTHER);
        assert_eq!(talk.sent(), ["hello"]);
        let up = Event::Up(ProtocolVersion::V2);
        talk.hear_frames(&[welcome(8, 10_000)]);
        // No MOVE, as the other server does not know the session.
        assert_eq!(talk.sent(), ["8: heartbeat"]);
        let events = talk.hear_frames(&[room_frame(0, LOBBY.parse().unwrap())]);
        let requests = ["8: /nick ada", "8: /join chess", "8: /presence on"];
        assert_eq!(talk.settle_path(), requests);
        assert_eq!(events, [Event::ServerChanged(address(OTHER)), up]);
        talk
    }

    /// Answers the first PING of the search for what passes the path. Returns what is sent before.
    fn settle_path(&mut self) -> Vec<String> {
        let token = NONCE.to_be_bytes();
        let sent = self.sent();
        assert_eq!(self.hear_frames(&[ServerFrame::Pong(&token)]), []);
        sent
    }

    /// Lets time pass in which the server is alive. Returns what is sent.
    fn pass_alive(&mut self, time_ms: u64) -> Vec<(u128, String)> {
        let mut sent = Vec::new();
        for start in (0..time_ms).step_by(100) {
            let part = self.pass(100.min(time_ms - start));
            let since = |(at, line)| (u128::from(start) + at, line);
            sent.extend(part.into_iter().map(since));
            self.hear_frames(&[ServerFrame::Unsubscribed(99)]);
        }
        sent
    }

    fn hear_servers(&mut self, session: u64, servers: &[&str]) {
        let addresses: Vec<_> = servers.iter().map(|text| address(text)).collect();
        let mut list = Vec::new();
        push_servers(&addresses, &mut list);
        let ServerFrame::Welcome(mut welcome) = welcome(session, 10_000) else {
            panic!("another frame");
        };
        welcome.servers = ServerList::parse(&list).unwrap();
        let receiver = match self.protocol.membership.session() {
            Some(session) => session.get(),
            None => NONCE,
        };
        self.hear(&datagram_to(receiver, &[ServerFrame::Welcome(welcome)]));
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn chess() -> RoomName {
    "chess".parse().unwrap()
}

#[test]
fn name_room_and_presence_are_requested_from_the_other_server() {
    let mut talk = Talk::at_other();
    assert_eq!(talk.protocol.status().name, None);
    talk.hear_notice(NoticeCode::Done, "you are ada");
    let events = talk.hear_frames(&[room_frame(5, chess())]);
    assert_eq!(events, [Event::Room(chess())]);
    assert_eq!(talk.protocol.status().name, "ada".parse().ok());
    assert_eq!(talk.pass(3500).len(), 3, "only heartbeats follow");
}

#[test]
fn subscriptions_are_taken_along_and_streams_begin_anew() {
    let mut talk = Talk::in_chess();
    let den: RoomName = "den".parse().unwrap();
    let _: Ticket<()> = talk.request(Request::Subscribe(den));
    talk.sent();
    let room = Room {
        number: 4,
        incarnation: 1,
        name: den,
    };
    talk.hear_frames(&[ServerFrame::Subscribed(room)]);
    for number in 10..13 {
        talk.hear_frames(&[message_in(3, number, b"a"), message_in(4, number, b"b")]);
    }
    let said = talk.say("unanswered");
    talk.sent();
    let events = talk.refused();
    assert_eq!(
        events,
        [Event::Down(refused()), undelivered(&["unanswered"], true)]
    );
    assert_result(&said, Err(RequestError::Down(refused())));
    talk.go_to(OTHER);
    talk.sent();
    talk.hear_frames(&[welcome(8, 10_000)]);
    assert_eq!(talk.sent(), ["8: heartbeat"], "no MOVE");
    talk.hear_frames(&[room_frame(0, LOBBY.parse().unwrap())]);
    let sent = talk.sent();
    assert_eq!(sent[3..], ["8: subscribe den"]);
    assert!(!sent.concat().contains("unanswered"), "nobody knows");
    let room = Room { number: 9, ..room };
    talk.hear_frames(&[ServerFrame::Subscribed(room), room_frame(5, chess())]);
    // Neither the numbers nor the gap are those of the first server.
    let events = talk.hear_frames(&[message_in(5, 10, b"c"), message_in(9, 900, b"d")]);
    assert_eq!(payloads(&events), ["c", "d"]);
    let total = talk.protocol.losses.total();
    assert_eq!((total.received, total.lost, total.repeated), (8, 0, 0));
}

#[test]
fn the_same_server_is_no_other_one_and_gets_its_session_back() {
    let mut talk = Talk::in_chess();
    talk.refused();
    talk.go_to(OTHER);
    talk.sent();
    talk.refused();
    talk.go_to(FIRST);
    assert_eq!(talk.sent(), ["hello"]);
    talk.hear_frames(&[welcome(9, 10_000)]);
    assert_eq!(talk.sent(), ["9: move 7 + heartbeat"]);
    let events = talk.hear_frames(&[room_frame(3, chess())]);
    assert_eq!(
        events,
        [Event::Up(ProtocolVersion::V2), Event::Room(chess())]
    );
}

#[test]
fn a_taken_name_is_requested_twice_a_second_for_ten_seconds_and_then_reported() {
    let mut talk = Talk::at_other();
    talk.hear_frames(&[room_frame(5, chess())]);
    talk.hear_notice(NoticeCode::Done, "presence is on");
    let mut times = Vec::new();
    let mut told = Vec::new();
    let refusals = [
        "ada is taken",
        "name limit reached (20 per second in your network)",
    ];
    for at in (0..20_000).step_by(100) {
        let is_asked = |(_, sent): &(u128, String)| sent == "8: /nick ada";
        if at == 0 || talk.pass_alive(100).iter().any(is_asked) {
            times.push(at);
            let refusal = refusals[times.len() % 2];
            told.extend(talk.hear_notice(NoticeCode::Refused, refusal));
        }
        if !told.is_empty() {
            break;
        }
    }
    let expected: Vec<_> = (0..=20).map(|number| number * 500).collect();
    assert_eq!(times, expected);
    assert_eq!(lines(&told).len(), 1, "it is reported once");
    let after = talk.pass_alive(30_000);
    let asks = after.iter().filter(|(_, sent)| sent == "8: /nick ada");
    assert_eq!(asks.count(), 4, "as in any new session");
}

#[test]
fn a_name_that_is_free_soon_is_taken_without_a_word_of_its_refusals() {
    let mut talk = Talk::at_other();
    for _ in 0..7 {
        assert_eq!(talk.hear_notice(NoticeCode::Refused, "ada is taken"), []);
        talk.pass_alive(500);
    }
    let events = talk.hear_notice(NoticeCode::Done, "you are ada");
    assert_eq!(lines(&events), ["* you are ada"]);
    assert!(
        !talk
            .pass_alive(20_000)
            .iter()
            .any(|(_, sent)| sent.contains("/nick"))
    );

    // A reply that is lost is asked for again.
    let mut talk = Talk::at_other();
    let sent = talk.pass(1000);
    assert!(
        sent.contains(&(1000, "8: /nick ada".to_owned())),
        "{sent:?}"
    );

    // One that never replies to it is not asked for ever.
    let mut talk = Talk::at_other();
    let sent = talk.pass_alive(60_000);
    let last = sent.iter().rfind(|(_, sent)| sent == "8: /nick ada");
    assert!((10_000..45_000).contains(&last.unwrap().0), "{last:?}");

    // The application has taken another one meanwhile.
    let mut talk = Talk::at_other();
    talk.hear_notice(NoticeCode::Refused, "ada is taken");
    let eve: Ticket<()> = talk.request(Request::Name("eve".parse().unwrap()));
    talk.sent();
    assert!(!talk.pass(2000).iter().any(|(_, sent)| sent.contains("ada")));
    talk.hear_notice(NoticeCode::Done, "you are eve");
    assert_result(&eve, Ok(()));
}

#[test]
fn a_name_that_is_taken_at_the_same_server_is_reported_at_once() {
    let mut talk = Talk::in_chess();
    talk.hear_frames(&[ServerFrame::Goodbye]);
    talk.pass(700);
    talk.welcome(8);
    talk.sent();
    let events = talk.hear_notice(NoticeCode::Refused, "ada is taken");
    assert_eq!(lines(&events), ["* ada is taken"]);
}

#[test]
fn an_idle_session_sends_something_each_second_if_there_is_another_server() {
    let mut talk = Talk::in_chess();
    let times: Vec<_> = talk.pass(4900).into_iter().collect();
    let heartbeat = |at| (at, "7: heartbeat in 3".to_owned());
    assert_eq!(times, [1000, 2000, 3000, 4000].map(heartbeat));
    // Without another one it does not.
    let mut talk = Talk::in_chess();
    talk.protocol.set_ways(1, false);
    assert_eq!(talk.pass(4900), []);
    // In version 1 as well.
    let mut talk = Talk::at_first_of_two(ProtocolChoice::V1);
    talk.sent();
    assert_eq!(talk.next(), (1000, vec!["@im@".to_owned()]));
}

#[test]
fn the_attempts_follow_each_other_sooner_if_there_is_another_server() {
    let mut talk = Talk::in_chess();
    talk.refused();
    let mut waits = Vec::new();
    for _ in 0..6 {
        waits.push(talk.next().0);
        talk.refused();
        let server = if waits.len() % 2 == 0 { FIRST } else { OTHER };
        talk.protocol.change_way(address(server), address(server));
    }
    // Each way twice as late as before.
    assert_eq!(waits, [125, 125, 250, 250, 500, 500]);
    // A HELLO has the time for its answer.
    let mut talk = Talk::in_chess();
    talk.refused();
    assert_eq!(talk.next(), (125, vec!["hello".to_owned()]));
    talk.go_to(OTHER);
    talk.sent();
    let wait = talk.protocol.poll_timeout() - talk.now;
    assert_eq!(wait.as_millis(), 300);
    // All clients hear a goodbye at the same moment.
    let mut talk = Talk::in_chess();
    talk.hear_frames(&[ServerFrame::Goodbye]);
    assert_eq!(talk.next().0, 500);
}

#[test]
fn silence_of_another_server_is_no_version_1() {
    let mut config = config(ProtocolChoice::Auto);
    config.nick = "ada".parse().ok();
    let mut talk = Talk::with(config);
    let first = address(FIRST);
    talk.protocol.begin_at(Some(first), first, first);
    talk.protocol.set_ways(2, true);
    talk.sent();
    talk.welcome(7);
    talk.refused();
    talk.go_to(OTHER);
    for _ in 0..10 {
        assert_eq!(talk.next().1, ["hello"]);
    }
    assert_eq!(talk.version(), None);
    assert!(talk.protocol.is_down());
    assert!(talk.protocol.may_reroute(talk.protocol.poll_timeout()));
}

#[test]
fn a_named_server_is_handed_over_when_the_list_changes() {
    let mut talk = Talk::in_chess();
    assert_eq!(talk.protocol.take_named(), None);
    talk.hear_servers(7, &[OTHER, "127.0.0.3:1"]);
    let mut named = talk.protocol.take_named().unwrap();
    named.sort();
    assert_eq!(named, [address(OTHER), address("127.0.0.3:1")]);
    talk.hear_servers(7, &["127.0.0.3:1", OTHER]);
    assert_eq!(talk.protocol.take_named(), None, "they are the same");
    // It is asked for now and then, and for nothing else.
    let hello = |sent: &(u128, String)| sent.1 == "7: hello";
    let mut asked = Vec::new();
    for _ in 0..130 {
        talk.hear_frames(&[room_frame(3, chess())]);
        let sent = talk.pass(500);
        if sent.iter().any(hello) {
            asked.push(talk.now);
            talk.hear_servers(7, &[]);
        }
        talk.hear_frames(&[message(0, b"alive")]);
    }
    assert_eq!(asked.len(), 1, "a server that names none is not asked");
    assert_eq!(talk.protocol.take_named(), Some(vec![]));
}

#[test]
fn no_more_servers_are_taken_than_a_server_may_name() {
    let mut talk = Talk::in_chess();
    let many = ["127.0.0.2:1", "127.0.0.3:1", "127.0.0.4:1", "127.0.0.5:1"];
    talk.hear_servers(7, &many);
    let named = talk.protocol.take_named().unwrap();
    assert_eq!(named.len(), MAX_OTHER_SERVERS);
}

#[test]
fn only_the_own_session_or_the_answer_to_a_hello_names_servers() {
    let mut talk = Talk::in_chess();
    let mut list = Vec::new();
    push_servers(&[address(OTHER)], &mut list);
    let ServerFrame::Welcome(mut forged) = welcome(7, 10_000) else {
        panic!("another frame");
    };
    forged.servers = ServerList::parse(&list).unwrap();
    let forged = ServerFrame::Welcome(forged);
    talk.hear(&datagram_to(99, &[forged]));
    // Anybody may see a HELLO that is long answered.
    talk.hear(&datagram_to(NONCE, &[forged]));
    assert_eq!(talk.protocol.take_named(), None);
}

#[test]
fn a_late_answer_of_the_lost_server_gives_no_session() {
    let mut talk = Talk::in_chess();
    talk.refused();
    talk.next();
    talk.protocol.change_way(address(OTHER), address(OTHER));
    talk.protocol.handle_reroute(talk.now);
    let late = datagram_to(NONCE, &[welcome(9, 10_000)]);
    assert!(!talk.protocol.handle_datagram(&late, true, talk.now));
    assert_eq!(talk.sent(), ["hello"]);
    assert!(talk.protocol.handle_datagram(&late, true, talk.now));
}

#[test]
fn a_first_server_that_is_not_there_is_told_but_no_reason_to_insist_on_a_name() {
    let mut talk = Talk::of_ada(ProtocolChoice::V2);
    talk.protocol
        .begin_at(Some(address(FIRST)), address(OTHER), address(OTHER));
    talk.protocol.set_ways(2, true);
    talk.sent();
    let up = Event::Up(ProtocolVersion::V2);
    let events = talk.welcome(7);
    assert_eq!(events, [Event::ServerChanged(address(OTHER)), up]);
    talk.sent();
    let events = talk.hear_notice(NoticeCode::Refused, "ada is taken");
    assert_eq!(lines(&events), ["* ada is taken"]);
}

#[test]
fn whom_the_operator_has_removed_stays_until_the_server_is_gone() {
    let mut talk = Talk::in_chess();
    assert!(!talk.protocol.is_removed());
    let removed = ServerFrame::Notice(NoticeCode::Refused, b"removed by the operator");
    talk.hear_frames(&[removed, ServerFrame::Goodbye]);
    assert!(talk.protocol.is_removed() && talk.protocol.is_dismissed());
    talk.refused();
    assert!(!talk.protocol.is_removed());
}

#[test]
fn a_name_that_is_not_confirmed_is_the_name() {
    let mut talk = Talk::welcomed();
    let eve: Ticket<()> = talk.request(Request::Name("eve".parse().unwrap()));
    let den: Ticket<Joined> = talk.request(Request::Room("den".parse().unwrap()));
    talk.sent();
    talk.hear_frames(&[
        room_frame(3, "den".parse().unwrap()),
        ServerFrame::Notice(NoticeCode::Done, b"you are in den (1 here)"),
    ]);
    assert!(den.wait(Duration::ZERO).is_ok(), "it was answered before");
    assert_waits(&talk, &eve);
    let events = talk.hear_notice(NoticeCode::Done, "you are eve (not confirmed)");
    assert_eq!(lines(&events), ["* you are eve (not confirmed)"]);
    assert_result(&eve, Ok(()));
    assert_eq!(talk.protocol.status().name, "eve".parse().ok());
}

#[test]
fn replies_to_names_may_come_in_another_order() {
    let mut talk = Talk::welcomed();
    let [ada, bob] = ["ada", "bob"].map(|name| {
        let ticket: Ticket<()> = talk.request(Request::Name(name.parse().unwrap()));
        talk.sent();
        ticket
    });
    talk.hear_notice(NoticeCode::Refused, "bob is taken");
    let taken = Refusal::NameTaken("bob".parse().unwrap());
    assert_result(&bob, Err(RequestError::Refused(taken)));
    talk.hear_notice(NoticeCode::Done, "you are ada");
    assert_result(&ada, Ok(()));
    assert_eq!(talk.protocol.status().name, "ada".parse().ok());
}

#[test]
fn a_name_that_is_lost_is_not_requested_again() {
    let lost = "ada belongs to a peer of another server: you are 127.0.0.1:5";
    let mut talk = Talk::in_chess();
    let events = talk.hear_notice(NoticeCode::Refused, lost);
    assert_eq!(lines(&events), [format!("* {lost}")]);
    assert_eq!(events[1..], [Event::NameLost("ada".parse().unwrap())]);
    assert_eq!(talk.protocol.status().name, None);
    assert!(!talk.pass(900).iter().any(|(_, sent)| sent.contains("ada")));
    talk.hear_frames(&[ServerFrame::Goodbye]);
    talk.go_to(OTHER);
    talk.sent();
    talk.welcome(8);
    assert_eq!(talk.sent(), ["8: /join chess", "8: /presence on"]);
    // The name of somebody else is none of its business.
    let mut talk = Talk::in_chess();
    let events = talk.hear_notice(NoticeCode::Refused, &lost.replace("ada", "eve"));
    assert_eq!(events.len(), 1);
    assert_eq!(talk.protocol.status().name, "ada".parse().ok());
    // Version 1 has the same words.
    let mut talk = Talk::of_ada(ProtocolChoice::V1);
    talk.sent();
    talk.hear(b"* you are ada");
    let events = talk.hear(format!("* {lost}").as_bytes());
    assert_eq!(events[1..], [Event::NameLost("ada".parse().unwrap())]);
    talk.now += 300 * MS;
    talk.say("hi");
    assert!(!talk.sent().contains(&"/nick ada".to_owned()));
}
