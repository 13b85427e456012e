//! What peers do, at random.

use proptest::prelude::*;

use super::{PEERS, TIMEOUT_MS, address};
use crate::wire::v2::ClientFrame;

/// One step of a case.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A peer does some things, v2 peers in one datagram; oddly, it does them in the
    /// protocol that it does not speak, or with a wrong session.
    Act {
        peer: usize,
        actions: Vec<Action>,
        is_odd: bool,
    },
    /// A peer asks for a session.
    Hello(usize),
    /// Time passes.
    Wait(u64),
    /// All that waits is sent.
    Settle,
}

/// What a peer does.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    Heartbeat,
    /// PING of v2; in v1 a line end.
    Ping,
    Bye,
    /// A text of this length, or as long as its number.
    Say(usize),
    Help,
    Nick(&'static str),
    Join(&'static str),
    Leave,
    Who(usize),
    Rooms(usize),
    /// To whom, and how long.
    Msg(Whom, usize),
    /// `/ping` with a token of this length.
    Token(usize),
    Presence(bool),
    /// A known verb, wrongly used, and what is right.
    Wrong(&'static str, &'static str),
    /// What looks like a command, and is a text.
    NoCommand(&'static str),
}

/// To whom a private message is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Whom {
    Called(&'static str),
    At(usize),
}

/// The steps of a case: some peers come at once, and then one thing follows the other.
pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let crowd = prop_oneof![2 => Just(0), 3 => 2_usize..8, 2 => 13..=PEERS];
    let come = |crowd: usize| (0..crowd).map(come).chain([Step::Settle]);
    (crowd, prop::collection::vec(step(), 1..40))
        .prop_map(move |(crowd, steps)| come(crowd).chain(steps.into_iter().flatten()).collect())
}

impl Action {
    /// What is said by it, if it is thing number `number`.
    pub(super) fn line(&self, number: usize) -> String {
        match self {
            Self::Heartbeat | Self::Bye => String::new(),
            Self::Ping => number.to_string(),
            Self::Say(len) => padded(number, *len),
            Self::Help => "/help me".to_owned(),
            Self::Nick(name) if number.is_multiple_of(3) => format!("/NICK \t {name} "),
            Self::Nick(name) => format!("/nick {name}"),
            Self::Join(name) if number.is_multiple_of(3) => format!("/Join {name}"),
            Self::Join(name) => format!("/join {name}"),
            Self::Leave => "/leave".to_owned(),
            Self::Who(1) => "/who".to_owned(),
            Self::Who(first) => format!("/who {first}"),
            Self::Rooms(1) => "/rooms".to_owned(),
            Self::Rooms(first) => format!("/rooms {first}"),
            Self::Msg(Whom::Called(name), len) => format!("/msg {name} {}", padded(number, *len)),
            Self::Msg(Whom::At(peer), len) => {
                let at = address(*peer).socket_addr();
                format!("/msg {at} {}", padded(number, *len))
            }
            Self::Token(len) => format!("/ping {}", "t".repeat(*len)),
            Self::Presence(true) => "/presence on".to_owned(),
            Self::Presence(false) => "/presence off".to_owned(),
            Self::Wrong(line, _) => (*line).to_owned(),
            Self::NoCommand(start) => format!("{start}{number}"),
        }
    }

    /// The datagram of v1 for it, with a line end or without.
    pub(super) fn datagram(&self, line: &str, number: usize) -> Vec<u8> {
        let end = ["", "\n", "\r\n"][number % 3];
        match self {
            Self::Heartbeat => format!("@im@{end}"),
            Self::Ping => "\n".to_owned(),
            Self::Bye if number.is_multiple_of(2) => String::new(),
            Self::Bye => format!("Quit{end}"),
            _ => format!("{line}{end}"),
        }
        .into_bytes()
    }

    /// The frame of v2 for it.
    pub(super) fn frame<'a>(&self, line: &'a [u8]) -> ClientFrame<'a> {
        match self {
            Self::Heartbeat => ClientFrame::Heartbeat,
            Self::Ping => ClientFrame::Ping(line),
            Self::Bye => ClientFrame::Bye,
            Self::Say(_) => ClientFrame::Say(line),
            _ => ClientFrame::Command(line),
        }
    }
}

/// A heartbeat of a peer; one that speaks v2 asks for a session first.
fn come(peer: usize) -> Step {
    Step::Act {
        peer,
        actions: vec![Action::Heartbeat],
        is_odd: false,
    }
}

/// A step, after most of which all is sent.
fn step() -> impl Strategy<Value = Vec<Step>> {
    // A few do most of it, so that each of them does much.
    let peer = || prop_oneof![3 => 0_usize..6, 1 => 0..PEERS];
    let whispers = (0..PEERS).prop_map(|to| Action::Msg(Whom::At(to), 0));
    let actions = prop_oneof![
        40 => prop::collection::vec(action(), 1..4),
        1 => prop::collection::vec(whispers, 8..16),
        1 => prop::collection::vec(Just(Action::Help), 8..13),
        1 => prop::collection::vec(Just(Action::Rooms(2)), 8..13),
    ];
    let act = (peer(), actions, prop::bool::weighted(0.05));
    let act = act.prop_map(|(peer, actions, is_odd)| Step::Act {
        peer,
        actions,
        is_odd,
    });
    let step = prop_oneof![
        20 => act,
        2 => peer().prop_map(Step::Hello),
        1 => prop::sample::select(&WAITS[..]).prop_map(Step::Wait),
    ];
    let settles = prop::bool::weighted(0.6);
    (step, settles).prop_map(|(step, settles)| {
        let settle = settles.then_some(Step::Settle);
        [step].into_iter().chain(settle).collect()
    })
}

fn action() -> impl Strategy<Value = Action> {
    let len = || prop_oneof![12 => Just(0), 1 => 1100..1210_usize, 1 => 1000_usize..1030, 1 => Just(2000)];
    let first = || prop_oneof![3 => Just(1), 3 => 2..5_usize, 1 => Just(usize::MAX)];
    prop_oneof![
        1 => Just(Action::Heartbeat),
        1 => Just(Action::Ping),
        1 => Just(Action::Bye),
        6 => len().prop_map(Action::Say),
        1 => Just(Action::Help),
        6 => prop::sample::select(&NAMES[..]).prop_map(Action::Nick),
        1 => prop::sample::select(&NO_NAMES[..]).prop_map(Action::Nick),
        8 => prop::sample::select(&ROOMS[..]).prop_map(Action::Join),
        1 => prop::sample::select(&NO_ROOMS[..]).prop_map(Action::Join),
        2 => Just(Action::Leave),
        2 => first().prop_map(Action::Who),
        2 => first().prop_map(Action::Rooms),
        3 => (whom(), len()).prop_map(|(whom, len)| Action::Msg(whom, len)),
        1 => prop::sample::select(&[0, 1, 2, 31, 32, 33][..]).prop_map(Action::Token),
        3 => prop::bool::weighted(0.7).prop_map(Action::Presence),
        1 => prop::sample::select(&WRONG[..]).prop_map(|(line, right)| Action::Wrong(line, right)),
        1 => prop::sample::select(&NO_COMMANDS[..]).prop_map(Action::NoCommand),
    ]
}

fn whom() -> impl Strategy<Value = Whom> {
    prop_oneof![
        prop::sample::select(&NAMES[..]).prop_map(Whom::Called),
        (0..PEERS).prop_map(Whom::At),
    ]
}

fn padded(number: usize, len: usize) -> String {
    format!("{number:x<len$}")
}

/// Some of them are just short enough to be heard in time, or just too long.
const WAITS: [u64; 5] = [1, 4_000, 5_000, TIMEOUT_MS, TIMEOUT_MS + 1];

/// Some differ in case alone, and one is as long as may be.
const NAMES: [&str; 9] = [
    "ada",
    "ADA",
    "Ada",
    "bob",
    "Bob",
    "eve",
    "-",
    "abcdefghijklmnopqrstuvwx",
    "ABCDEFGHIJKLMNOPQRSTUVWX",
];

const NO_NAMES: [&str; 4] = ["", "a b", "a.b", "abcdefghijklmnopqrstuvwxy"];

/// Some differ in case alone, and one is as long as may be.
const ROOMS: [&str; 10] = [
    "lobby",
    "LOBBY",
    "chess",
    "Chess",
    "CHESS",
    "chesS",
    "go",
    "tea",
    "a-room-of-32-bytes-its-name-ends",
    "A-ROOM-OF-32-bytes-its-name-ends",
];

const NO_ROOMS: [&str; 4] = ["", "a b", "a/b", "a-room-of-33-bytes-its-name-ends-"];

const WRONG: [(&str, &str); 9] = [
    ("/leave now", "usage: /leave"),
    ("/who 0", WHO),
    ("/who me", WHO),
    ("/who 1 2", WHO),
    ("/rooms -1", ROOMS_RIGHT),
    ("/msg", "usage: /msg NAME TEXT"),
    ("/msg ada ", "usage: /msg NAME TEXT"),
    ("/presence", "usage: /presence on|off"),
    ("/PRESENCE maybe", "usage: /presence on|off"),
];

const WHO: &str = "usage: /who [FROM]";
const ROOMS_RIGHT: &str = "usage: /rooms [FROM]";

const NO_COMMANDS: [&str; 5] = ["/", "//", " /help", "/whom", "/nick-"];
