//! Rules that hold whatever the application, the server and the network do.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::wire::v2::BUNDLE_BYTES;

#[derive(Clone, Debug)]
enum Step {
    Say(usize),
    Request(usize),
    Line(usize),
    Frames(Vec<usize>),
    /// The server echoes the text that was said last.
    Echo,
    Refusal,
    Reroute,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..700_usize).prop_map(Step::Say),
        (0..REQUESTS).prop_map(Step::Request),
        (0..LINES.len()).prop_map(Step::Line),
        prop::collection::vec(0..FRAMES, 0..4).prop_map(Step::Frames),
        Just(Step::Echo),
        Just(Step::Refusal),
        Just(Step::Reroute),
        prop_oneof![0..400_u64, 0..8000_u64].prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn the_rules_hold(
        choice in prop::sample::select(
            &[ProtocolChoice::Auto, ProtocolChoice::V1, ProtocolChoice::V2][..]
        ),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut talk = Talk::of_ada(choice);
        let mut seen = Seen::default();
        for (number, step) in steps.into_iter().enumerate() {
            take(&mut talk, &mut seen, number, step);
            prop_assert_eq!(talk.protocol.status().is_up, seen.is_up.flatten().is_some());
            prop_assert_eq!(talk.down().is_some(), seen.is_up == Some(None));
        }
        talk.protocol.end();
        seen.take_events(&mut talk);
        prop_assert_eq!(&seen.answered, &seen.requested);
        for (number, ticket) in &seen.texts {
            let is_told = seen.undelivered.contains(number);
            match ticket.wait(Duration::ZERO) {
                Ok(()) => prop_assert!(!is_told),
                Err(RequestError::Ended) => {}
                Err(_) => prop_assert!(is_told),
            }
        }
    }
}

fn take(talk: &mut Talk, seen: &mut Seen, number: usize, step: Step) {
    match step {
        Step::Say(len) if talk.protocol.has_space() => {
            seen.last_text = format!("{number} {}", "x".repeat(len));
            let ticket = talk.say(&seen.last_text);
            seen.texts.push((number, ticket));
        }
        Step::Request(index) if talk.protocol.has_space() => {
            let ticket: Ticket<()> = talk.request(request(index));
            seen.requested.insert(ticket.id().0);
        }
        Step::Say(_) | Step::Request(_) => {}
        Step::Line(index) => {
            let line = LINES[index].as_bytes();
            talk.protocol.handle_datagram(line, true, talk.now);
        }
        Step::Frames(indices) => {
            let frames: Vec<_> = indices.iter().map(|index| frame(*index, number)).collect();
            let datagram = talk.datagram_of(&frames);
            talk.protocol.handle_datagram(&datagram, true, talk.now);
        }
        Step::Echo => {
            let text = seen.last_text.clone();
            let line = [b"127.0.0.1:5 ", text.as_bytes()].concat();
            let datagram = match talk.version() {
                Some(ProtocolVersion::V1) => line,
                _ => talk.datagram_of(&[message(number as u32, text.as_bytes())]),
            };
            talk.protocol.handle_datagram(&datagram, true, talk.now);
        }
        Step::Refusal => {
            let kind = io::ErrorKind::ConnectionRefused;
            talk.protocol.handle_refusal(kind, talk.now);
        }
        Step::Reroute => talk.protocol.handle_reroute(talk.now),
        Step::Pass(time_ms) => {
            talk.pass(time_ms);
        }
    }
    talk.protocol.handle_timeout(talk.now, false);
    for datagram in talk.datagrams() {
        let is_frames = datagram.starts_with(&[FRAME_MARK]);
        assert!(!is_frames || datagram.len() <= BUNDLE_BYTES);
        assert!(!is_frames || talk.protocol.config.protocol != ProtocolChoice::V1);
        assert!(is_frames || talk.protocol.config.protocol != ProtocolChoice::V2);
    }
    seen.take_events(talk);
}

/// The events so far.
#[derive(Default)]
struct Seen {
    /// The version of the last [`Event::Up`], or `None` in it after an [`Event::Down`].
    is_up: Option<Option<ProtocolVersion>>,
    requested: HashSet<u64>,
    answered: HashSet<u64>,
    texts: Vec<(usize, Ticket<()>)>,
    last_text: String,
    undelivered: HashSet<usize>,
}

impl Seen {
    fn take_events(&mut self, talk: &mut Talk) {
        for event in talk.events() {
            match event {
                Event::Up(version) => {
                    assert_ne!(self.is_up.replace(Some(version)), Some(Some(version)));
                }
                Event::Down(_) => assert_ne!(self.is_up.replace(None), Some(None)),
                Event::Message(_) | Event::Private(_) | Event::Notice { .. } | Event::Room(_) => {
                    assert!(self.is_up.is_some(), "{event:?}");
                }
                Event::Answer { ticket, .. } => assert!(self.answered.insert(ticket.0)),
                Event::Undelivered { payloads, .. } => {
                    for payload in payloads {
                        let text = String::from_utf8(payload).unwrap();
                        let number = text.split(' ').next().unwrap().parse().unwrap();
                        assert!(self.undelivered.insert(number), "{number}");
                    }
                }
                _ => {}
            }
        }
    }
}

fn request(index: usize) -> Request {
    match index {
        0 => Request::Name("bob".parse().unwrap()),
        1 => Request::Room("den".parse().unwrap()),
        2 => Request::Members(1),
        3 => Request::ping(),
        _ => Request::Presence(true),
    }
}

fn frame(index: usize, number: usize) -> ServerFrame<'static> {
    let den = "den".parse().unwrap();
    match index {
        0 => welcome(7, 10_000),
        1 => welcome(8, 10_000),
        2 => ServerFrame::Goodbye,
        3 => message(number as u32, b"hi"),
        4 => room_frame(3, den),
        5 => ServerFrame::Notice(NoticeCode::Done, b"you are ada"),
        6 => ServerFrame::Notice(NoticeCode::Done, b"you are bob"),
        7 => ServerFrame::Notice(NoticeCode::Done, b"you are in den (2 here)"),
        8 => ServerFrame::Notice(NoticeCode::Refused, b"bob is taken"),
        9 => ServerFrame::Private("eve".parse().unwrap(), b"psst"),
        10 => ServerFrame::Notice(NoticeCode::Refused, b"peer limit reached (2)"),
        _ => ServerFrame::Pong(b"?"),
    }
}

const REQUESTS: usize = 5;

const FRAMES: usize = 12;

const LINES: [&str; 10] = [
    "",
    "eve hi",
    "welcome",
    "* you are ada",
    "* you are bob",
    "* you are in den (2 here)",
    "* presence is on",
    "* peer limit reached (2)",
    "127.0.0.1:5 /nick ada",
    "127.0.0.1:5 /who 1",
];
