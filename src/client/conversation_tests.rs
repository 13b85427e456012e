use std::io::ErrorKind::ConnectionRefused;
use std::time::Duration;

use super::super::v1::NotAText;
use super::*;
use crate::wire::v2::{ServerFrame, SessionId, Welcome, push_server_frame, push_server_header};

const MS: Duration = Duration::from_millis(1);

struct Talk {
    conversation: Conversation,
    now: Instant,
    out: Vec<u8>,
}

impl Talk {
    fn new(choice: ProtocolChoice) -> Self {
        Self::with(choice, Identity::new(None, None))
    }

    fn with(choice: ProtocolChoice, identity: Identity) -> Self {
        let limits = Limits {
            heartbeat: 5000 * MS,
            answer: 3000 * MS,
            retry: 500 * MS,
            settle: 1000 * MS,
            greet: 900 * MS,
        };
        let now = Instant::now();
        Self {
            conversation: Conversation::new(choice, limits, identity, now),
            now,
            out: Vec::new(),
        }
    }

    /// One that has come to v1, as nothing answered.
    fn fallen_back() -> Self {
        let mut talk = Self::new(ProtocolChoice::Auto);
        talk.pass(900);
        assert_eq!(talk.protocol(), Some(Protocol::V1));
        talk
    }

    /// Lets so much time pass, and returns the first byte of each datagram that
    /// was sent in it, with its time.
    fn pass(&mut self, time_ms: u64) -> Vec<(u128, u8)> {
        let start = self.now;
        let end = start + Duration::from_millis(time_ms);
        let mut sent = Vec::new();
        loop {
            self.conversation.advance(self.now);
            while self.conversation.is_due(self.now) {
                self.conversation.push_due(self.now, &mut self.out);
                sent.push(((self.now - start).as_millis(), self.out[0]));
            }
            if self.conversation.deadline() > end {
                self.now = end;
                return sent;
            }
            self.now = self.now.max(self.conversation.deadline());
        }
    }

    fn hear(&mut self, datagram: &[u8]) -> Vec<String> {
        let mut heard = Vec::new();
        self.conversation
            .received(datagram, true, self.now, &mut |what| {
                heard.push(match what {
                    Heard::Text(text) | Heard::Notice(_, text) => text.into_owned(),
                    Heard::Message { payload, .. } | Heard::Private { payload, .. } => {
                        String::from_utf8_lossy(payload).into_owned()
                    }
                    Heard::Room(room) => format!("in {room}"),
                    Heard::Pong(round_trip) => format!("pong after {round_trip:?}"),
                });
            });
        heard
    }

    fn hear_frame(&mut self, frame: &ServerFrame<'_>) -> Vec<String> {
        let mut datagram = Vec::new();
        push_server_header(&mut datagram);
        push_server_frame(frame, &mut datagram);
        self.hear(&datagram)
    }

    fn welcome(&mut self) {
        self.welcome_to(7);
    }

    fn welcome_to(&mut self, session: u64) {
        self.hear_frame(&ServerFrame::Welcome(Welcome {
            session: SessionId::new(session).unwrap(),
            timeout_ms: 10_000,
            bundle_bytes: 1200,
            room: 0,
        }));
    }

    fn say(&mut self, text: &str) -> Result<Say, CannotSay> {
        self.conversation
            .say(Payload::Text(text), self.now, &mut self.out)
    }

    fn say_bytes(&mut self, bytes: &[u8]) -> Result<Say, CannotSay> {
        self.conversation
            .say(Payload::Bytes(bytes), self.now, &mut self.out)
    }

    fn protocol(&self) -> Option<Protocol> {
        self.conversation.protocol()
    }

    fn is_down(&self) -> bool {
        self.conversation.down().is_some()
    }
}

#[test]
fn a_server_that_answers_is_spoken_to_in_v2() {
    let mut talk = Talk::new(ProtocolChoice::Auto);
    assert_eq!(talk.pass(0), [(0, FRAME_MARK)]);
    assert_eq!(talk.protocol(), None);
    talk.welcome();
    assert_eq!(talk.protocol(), Some(Protocol::V2));
    assert_eq!(talk.say("hi"), Ok(Say::Send));
    assert_eq!(talk.out[0], FRAME_MARK);
}

#[test]
fn a_server_that_understands_no_hello_is_spoken_to_in_v1() {
    let mut talk = Talk::new(ProtocolChoice::Auto);
    let sent = talk.pass(1000);
    let expected = [
        (0, FRAME_MARK),
        (300, FRAME_MARK),
        (600, FRAME_MARK),
        (900, b'@'),
    ];
    assert_eq!(sent, expected);
    assert_eq!(talk.protocol(), Some(Protocol::V1));
    assert!(!talk.is_down());
    assert_eq!(talk.say("hi"), Ok(Say::Send));
    assert_eq!(talk.out, b"hi");
    assert_eq!(talk.hear(b"1.2.3.4:5 hi"), ["1.2.3.4:5 hi"]);
}

#[test]
fn who_must_speak_v1_or_v2_does() {
    let mut talk = Talk::new(ProtocolChoice::V1);
    assert_eq!(talk.pass(0), [(0, b'@')]);
    assert_eq!(talk.protocol(), Some(Protocol::V1));

    let mut talk = Talk::new(ProtocolChoice::V2);
    talk.pass(899);
    assert!(!talk.is_down());
    let sent = talk.pass(60_000);
    assert!(
        sent.iter().all(|(_, first)| *first == FRAME_MARK),
        "{sent:?}"
    );
    assert!(talk.is_down());
    assert!(talk.hear(b"1.2.3.4:5 hi").is_empty());
    assert_eq!(talk.conversation.v2().malformed, 1);
}

#[test]
fn texts_wait_until_it_is_clear_how_to_say_them() {
    let mut talk = Talk::new(ProtocolChoice::Auto);
    talk.pass(0);
    assert_eq!(talk.say("one"), Ok(Say::Held));
    assert_eq!(talk.say("two\n"), Ok(Say::Held));
    assert!(!talk.conversation.push_held(talk.now, &mut talk.out));
    talk.welcome();
    for text in ["one", "two"] {
        assert!(talk.conversation.push_held(talk.now, &mut talk.out));
        assert!(talk.out.ends_with(text.as_bytes()));
    }
    assert!(!talk.conversation.push_held(talk.now, &mut talk.out));
    assert!(!talk.conversation.is_holding());

    let mut talk = Talk::new(ProtocolChoice::Auto);
    assert_eq!(talk.say("one"), Ok(Say::Held));
    assert_eq!(talk.say_bytes(b"\xff"), Ok(Say::Held));
    assert_eq!(talk.say("two"), Ok(Say::Held));
    talk.pass(900);
    for text in ["one", "two"] {
        assert!(talk.conversation.push_held(talk.now, &mut talk.out));
        assert_eq!(talk.out, text.as_bytes());
    }
    assert!(!talk.conversation.push_held(talk.now, &mut talk.out));
    assert_eq!(talk.conversation.unsent, 1, "v1 has texts only");
}

#[test]
fn what_waits_is_bounded_and_does_not_outlast_the_server() {
    let mut talk = Talk::new(ProtocolChoice::Auto);
    for _ in 0..HELD_MAX {
        assert_eq!(talk.say("hi"), Ok(Say::Held));
    }
    assert_eq!(talk.say("hi"), Err(CannotSay::Full));
    talk.conversation.refused(ConnectionRefused, talk.now);
    assert!(!talk.conversation.is_holding());
    assert_eq!(talk.conversation.unsent, HELD_MAX as u64);
    assert_eq!(talk.say("hi"), Err(CannotSay::Down));
}

#[test]
fn refuses_the_same_texts_in_both_protocols() {
    let mut v1 = Talk::fallen_back();
    let mut v2 = Talk::new(ProtocolChoice::Auto);
    v2.welcome();
    let heartbeat = Err(CannotSay::NotAText(NotAText::Heartbeat));
    for talk in [&mut v1, &mut v2] {
        assert_eq!(talk.say("@IM@"), heartbeat);
        let blank = talk.say("\n");
        assert_eq!(blank, Err(CannotSay::NotAText(NotAText::Blank)));
    }
    assert_eq!(v1.say_bytes(b"hi"), Err(CannotSay::TextOnly));
    assert_eq!(v2.say_bytes(b"hi"), Ok(Say::Send));
    assert_eq!(v2.say(&"x".repeat(1200)), Err(CannotSay::TooLong));
    assert_eq!(v1.say(&"x".repeat(1200)), Ok(Say::Send));
}

#[test]
fn a_server_that_comes_up_is_greeted_before_it_counts_as_v1() {
    let mut talk = Talk::new(ProtocolChoice::Auto);
    talk.pass(0);
    talk.conversation.refused(ConnectionRefused, talk.now);
    assert!(talk.is_down());
    assert!(talk.conversation.may_reroute());
    // Nothing refuses the next one, at 500 ms.
    let sent = talk.pass(1400);
    let expected = [
        (500, FRAME_MARK),
        (800, FRAME_MARK),
        (1100, FRAME_MARK),
        (1400, b'@'),
    ];
    assert_eq!(sent, expected);
    assert!(!talk.is_down());
    assert_eq!(talk.protocol(), Some(Protocol::V1));

    // The next time, what was before is forgotten.
    talk.conversation.refused(ConnectionRefused, talk.now);
    assert!(talk.is_down());
    talk.hear(b"1.2.3.4:5 hi");
    assert_eq!(talk.protocol(), None);
    assert!(!talk.is_down());
}

#[test]
fn a_try_that_seems_to_have_met_someone_is_not_cut_short() {
    let mut talk = Talk::new(ProtocolChoice::Auto);
    talk.conversation.refused(ConnectionRefused, talk.now);
    talk.pass(500);
    assert!(!talk.conversation.may_reroute());
    talk.conversation.refused(ConnectionRefused, talk.now);
    assert!(talk.conversation.may_reroute());
}

#[test]
fn a_v1_server_that_comes_back_may_be_another_one() {
    let mut talk = Talk::fallen_back();
    talk.conversation.refused(ConnectionRefused, talk.now);
    assert!(talk.is_down());
    // Its heartbeat at 500 ms is not refused, which is enough after a second.
    let sent = talk.pass(1500);
    assert_eq!(sent, [(500, b'@'), (1500, FRAME_MARK)]);
    assert!(!talk.is_down());
    assert_eq!(talk.hear(b"1.2.3.4:5 hi"), ["1.2.3.4:5 hi"], "it is heard");
    talk.welcome();
    assert_eq!(talk.protocol(), Some(Protocol::V2));
}

#[test]
fn a_late_answer_to_the_greeting_counts() {
    let mut talk = Talk::fallen_back();
    talk.welcome();
    assert_eq!(talk.protocol(), Some(Protocol::V2));

    // The answer was lost, but to the server we have a session.
    let mut talk = Talk::fallen_back();
    talk.hear_frame(&ServerFrame::Notice(NoticeCode::Done, b"hi"));
    assert_eq!(talk.protocol(), None);
    assert_eq!(talk.pass(0), [(0, FRAME_MARK)]);

    // Whoever sends back what it gets has not understood it.
    let mut talk = Talk::fallen_back();
    let mut hello = vec![0xFF, 2];
    hello.resize(64, 0);
    talk.hear(&hello);
    assert_eq!(talk.protocol(), Some(Protocol::V1));
}

#[test]
fn once_v2_was_spoken_silence_is_no_reason_for_v1() {
    let mut talk = Talk::new(ProtocolChoice::Auto);
    talk.pass(0);
    talk.welcome();
    let sent = talk.pass(60_000);
    assert!(talk.is_down());
    assert!(
        sent.iter().all(|(_, first)| *first == FRAME_MARK),
        "{sent:?}"
    );
}

#[test]
fn leaves_as_it_spoke() {
    let mut talk = Talk::fallen_back();
    assert!(talk.conversation.push_farewell(&mut talk.out));
    assert_eq!(talk.out, b"quit");
    let mut talk = Talk::new(ProtocolChoice::Auto);
    assert!(!talk.conversation.push_farewell(&mut talk.out));
    talk.welcome();
    assert!(talk.conversation.push_farewell(&mut talk.out));
    assert_eq!(talk.out[0], FRAME_MARK);
}

#[path = "conversation_commands_tests.rs"]
mod commands;
