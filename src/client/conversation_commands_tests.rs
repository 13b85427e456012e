//! Commands, our name and our room, and pings.

use super::*;
use crate::wire::v2::parse_client;
use crate::wire::{Name, RoomName};

impl Talk {
    /// One who wants to be ada, in the room chess.
    fn of_ada(choice: ProtocolChoice) -> Self {
        let (ada, chess) = (Name::parse(b"ada"), RoomName::parse(b"chess"));
        Self::with(choice, Identity::new(ada, chess))
    }

    /// All that has waited and can be sent now, as it is written in v1.
    fn held(&mut self) -> Vec<String> {
        let mut sent = Vec::new();
        while self.conversation.push_held(self.now, &mut self.out) {
            sent.push(match self.out[0] {
                FRAME_MARK => match parse_client(&self.out).unwrap().1.next().unwrap() {
                    ClientFrame::Command(text) => String::from_utf8(text.to_vec()).unwrap(),
                    ClientFrame::Say(text) => format!("say {}", String::from_utf8_lossy(text)),
                    frame => format!("{frame:?}"),
                },
                _ => String::from_utf8(self.out.clone()).unwrap(),
            });
        }
        sent
    }
}

#[test]
fn a_command_is_a_frame_of_its_own_in_v2_and_a_text_in_v1() {
    let frame_of = |talk: &Talk| format!("{:?}", parse_client(&talk.out).unwrap().1.next());
    let mut v2 = Talk::new(ProtocolChoice::V2);
    v2.welcome();
    v2.say("/who\n").unwrap();
    assert_eq!(
        frame_of(&v2),
        format!("{:?}", Some(ClientFrame::Command(b"/who")))
    );
    v2.say_bytes(b"/who").unwrap();
    assert_eq!(
        frame_of(&v2),
        format!("{:?}", Some(ClientFrame::Say(b"/who")))
    );
    let mut v1 = Talk::fallen_back();
    v1.say("/who").unwrap();
    assert_eq!(v1.out, b"/who");
}

#[test]
fn name_and_room_are_told_first_in_every_new_session() {
    let mut talk = Talk::of_ada(ProtocolChoice::Auto);
    talk.pass(0);
    talk.say("hi").unwrap();
    assert_eq!(talk.held(), [""; 0]);
    talk.welcome();
    assert_eq!(talk.held(), ["/nick ada", "/join chess", "say hi"]);
    let chess = RoomName::parse(b"chess").unwrap();
    assert_eq!(talk.hear_frame(&ServerFrame::Room(3, chess)), ["in chess"]);
    assert_eq!(talk.conversation.identity.room(), Some(chess));
    talk.hear_frame(&ServerFrame::Notice(NoticeCode::Refused, b"ada is taken"));
    talk.pass(5000);
    assert_eq!(talk.held(), ["/nick ada"], "with the heartbeat");
    // Only an answer to a command confirms.
    let named = b"you are ada";
    for code in [NoticeCode::Presence, NoticeCode::Refused] {
        talk.hear_frame(&ServerFrame::Notice(code, named));
    }
    assert_eq!(talk.conversation.identity.nick(), None);
    talk.hear_frame(&ServerFrame::Notice(NoticeCode::Done, named));
    assert_eq!(talk.conversation.identity.nick(), Name::parse(b"ada"));
    talk.pass(1000);
    assert_eq!(talk.held(), [""; 0]);

    // The same session: the server still knows.
    talk.conversation.refused(ConnectionRefused, talk.now);
    assert_eq!(talk.say("maybe"), Ok(Say::Send), "the server may be back");
    talk.pass(0);
    assert_eq!(talk.held(), [""; 0]);
    talk.welcome();
    assert_eq!(talk.held(), [""; 0]);
    talk.hear_frame(&ServerFrame::Goodbye);
    talk.welcome_to(8);
    assert_eq!(talk.held(), ["/nick ada", "/join chess"]);
}

#[test]
fn in_v1_name_and_room_follow_the_first_heartbeat_and_each_return() {
    let mut talk = Talk::of_ada(ProtocolChoice::V1);
    assert_eq!(talk.pass(0), [(0, b'@')]);
    assert_eq!(talk.held(), ["/nick ada", "/join chess"]);
    talk.pass(5000);
    assert_eq!(talk.held(), [""; 0], "it may know no commands");
    talk.say("/join go").unwrap();
    talk.hear(b"* you are in go (1 here)");
    talk.conversation.refused(ConnectionRefused, talk.now);
    talk.pass(500);
    assert_eq!(talk.held(), [""; 0]);
    talk.hear(b"1.2.3.4:5 hi");
    assert_eq!(talk.held(), ["/nick ada", "/join go"]);

    // From another address we are someone new to the server.
    talk.conversation.rerouted(talk.now);
    assert_eq!(talk.held(), ["/nick ada", "/join go"]);

    let mut talk = Talk::of_ada(ProtocolChoice::Auto);
    talk.pass(900);
    assert_eq!(talk.protocol(), Some(Protocol::V1));
    assert_eq!(talk.held(), ["/nick ada", "/join chess"]);
}

#[test]
fn a_round_trip_is_measured_in_either_protocol() {
    let ping = |talk: &mut Talk| {
        let said = talk
            .conversation
            .say(Payload::Ping, talk.now, &mut talk.out);
        talk.now += 3 * MS;
        said
    };
    let mut v1 = Talk::fallen_back();
    assert_eq!(ping(&mut v1), Ok(Say::Send));
    let asked = String::from_utf8(v1.out.clone()).unwrap();
    let answer = asked.replace("/ping", "* pong");
    assert_eq!(v1.hear(answer.as_bytes()), ["pong after 3ms"]);
    assert_eq!(v1.hear(answer.as_bytes()), [answer], "not ours any more");

    let mut v2 = Talk::new(ProtocolChoice::V2);
    assert_eq!(ping(&mut v2), Ok(Say::Held));
    v2.welcome();
    assert!(v2.conversation.push_held(v2.now, &mut v2.out));
    v2.now += MS;
    let out = v2.out.clone();
    let Some(ClientFrame::Ping(token)) = parse_client(&out).unwrap().1.next() else {
        panic!("{out:02x?}");
    };
    assert_eq!(v2.hear_frame(&ServerFrame::Pong(token)), ["pong after 1ms"]);
    assert!(v2.hear_frame(&ServerFrame::Pong(token)).is_empty());
}
