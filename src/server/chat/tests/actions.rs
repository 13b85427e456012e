//! Random actions of peers.

use proptest::prelude::*;

use super::model::EPOCH_MS;
use super::{PEERS, TIMEOUT_MS, address};
use crate::wire::v2::ClientFrame;

/// One step of a test case.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A peer takes some actions, with v2 in one datagram. With `is_odd` it uses the
    /// protocol that it does not speak, or a wrong session.
    Act {
        peer: usize,
        actions: Vec<Action>,
        is_odd: bool,
    },
    /// A peer asks for a session.
    Hello(usize),
    /// Time passes, in ms.
    Wait(u64),
    /// Everything that is due is sent.
    Settle,
}

/// An action of a peer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    Heartbeat,
    /// PING in v2, and a line end in v1.
    Ping,
    Bye,
    /// A text of at least this length.
    Text(usize),
    Help,
    Nick(&'static str),
    Join(&'static str),
    Leave,
    Who(usize),
    Rooms(usize),
    /// A direct message of at least this length.
    Msg(Recipient, usize),
    /// `/ping` with a token of this length.
    Token(usize),
    Presence(bool),
    /// A command with wrong arguments, and the reply to it.
    Misuse(&'static str, &'static str),
    /// A text that looks like a command.
    NotCommand(&'static str),
}

/// The recipient of a direct message.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Recipient {
    Name(&'static str),
    AddressOf(usize),
}

/// Returns the steps of a test case. Some peers arrive at once, and random steps follow.
pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let crowd = prop_oneof![2 => Just(0), 3 => 2_usize..8, 2 => 13..=PEERS];
    let arrivals = |crowd: usize| (0..crowd).map(arrival).chain([Step::Settle]);
    (crowd, prop::collection::vec(step(), 1..40)).prop_map(move |(crowd, steps)| {
        arrivals(crowd).chain(steps.into_iter().flatten()).collect()
    })
}

impl Action {
    /// Returns the text or the command of action `number`, without a line end.
    pub(super) fn line(&self, number: usize) -> String {
        match self {
            Self::Heartbeat | Self::Bye => String::new(),
            Self::Ping => number.to_string(),
            Self::Text(len) => padded(number, *len),
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
            Self::Msg(Recipient::Name(name), len) => {
                format!("/msg {name} {}", padded(number, *len))
            }
            Self::Msg(Recipient::AddressOf(peer), len) => {
                let at = address(*peer).socket_addr();
                format!("/msg {at} {}", padded(number, *len))
            }
            Self::Token(len) => format!("/ping {}", "t".repeat(*len)),
            Self::Presence(true) => "/presence on".to_owned(),
            Self::Presence(false) => "/presence off".to_owned(),
            Self::Misuse(line, _) => (*line).to_owned(),
            Self::NotCommand(start) => format!("{start}{number}"),
        }
    }

    /// Returns the v1 datagram. `number` determines its byte order mark, line end, padding and
    /// blanks.
    pub(super) fn datagram(&self, line: &str, number: usize) -> Vec<u8> {
        let end = ["", "\n", "\r\n", "\0", "\n\0\0"][number % 5];
        let mark = ["", "", "", "\u{feff}"][number % 4];
        let blank = ["", " ", "\t"][number % 3];
        match self {
            Self::Heartbeat => format!("{mark}@im@{blank}{end}"),
            Self::Ping => "\n".to_owned(),
            Self::Bye if number.is_multiple_of(2) => String::new(),
            Self::Bye => format!("{mark}{blank}Quit{end}"),
            _ => format!("{mark}{line}{end}"),
        }
        .into_bytes()
    }

    /// Returns the v2 frame.
    pub(super) fn frame<'a>(&self, line: &'a [u8]) -> ClientFrame<'a> {
        match self {
            Self::Heartbeat => ClientFrame::Heartbeat(None),
            Self::Ping => ClientFrame::Ping(line),
            Self::Bye => ClientFrame::Bye,
            Self::Text(_) => ClientFrame::Say(line),
            _ => ClientFrame::Command(line),
        }
    }
}

/// Returns a heartbeat. A peer that prefers v2 asks for a session instead.
fn arrival(peer: usize) -> Step {
    Step::Act {
        peer,
        actions: vec![Action::Heartbeat],
        is_odd: false,
    }
}

/// Returns a step. [`Step::Settle`] follows most of them.
fn step() -> impl Strategy<Value = Vec<Step>> {
    // A few peers take most of the actions, so that each of them takes many.
    let peer = || prop_oneof![3 => 0_usize..6, 1 => 0..PEERS];
    let private = (0..PEERS).prop_map(|to| Action::Msg(Recipient::AddressOf(to), 0));
    let actions = prop_oneof![
        40 => prop::collection::vec(action(), 1..4),
        1 => prop::collection::vec(private, 8..16),
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
        6 => len().prop_map(Action::Text),
        1 => Just(Action::Help),
        6 => prop::sample::select(&NAMES[..]).prop_map(Action::Nick),
        1 => prop::sample::select(&INVALID_NAMES[..]).prop_map(Action::Nick),
        8 => prop::sample::select(&ROOMS[..]).prop_map(Action::Join),
        1 => prop::sample::select(&INVALID_ROOMS[..]).prop_map(Action::Join),
        2 => Just(Action::Leave),
        2 => first().prop_map(Action::Who),
        2 => first().prop_map(Action::Rooms),
        3 => (recipient(), len()).prop_map(|(to, len)| Action::Msg(to, len)),
        1 => prop::sample::select(&[0, 1, 2, 31, 32, 33][..]).prop_map(Action::Token),
        3 => prop::bool::weighted(0.7).prop_map(Action::Presence),
        1 => prop::sample::select(&MISUSES[..]).prop_map(|(line, usage)| Action::Misuse(line, usage)),
        1 => prop::sample::select(&NOT_COMMANDS[..]).prop_map(Action::NotCommand),
    ]
}

fn recipient() -> impl Strategy<Value = Recipient> {
    prop_oneof![
        prop::sample::select(&NAMES[..]).prop_map(Recipient::Name),
        (0..PEERS).prop_map(Recipient::AddressOf),
    ]
}

fn padded(number: usize, len: usize) -> String {
    format!("{number:x<len$}")
}

/// Some are just short enough for a heartbeat to be in time, and some just too long. After the last
/// one, no session that was given before is one that a newcomer may use.
const WAITS: [u64; 6] = [1, 4_000, 5_000, TIMEOUT_MS, TIMEOUT_MS + 1, 2 * EPOCH_MS];

/// Some differ only in case, and some have the maximum length.
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

const INVALID_NAMES: [&str; 4] = ["", "a b", "a.b", "abcdefghijklmnopqrstuvwxy"];

/// Some differ only in case, and some have the maximum length.
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

const INVALID_ROOMS: [&str; 4] = ["", "a b", "a/b", "a-room-of-33-bytes-its-name-ends-"];

const MISUSES: [(&str, &str); 9] = [
    ("/leave now", "usage: /leave"),
    ("/who 0", WHO_USAGE),
    ("/who me", WHO_USAGE),
    ("/who 1 2", WHO_USAGE),
    ("/rooms -1", ROOMS_USAGE),
    ("/msg", "usage: /msg NAME TEXT"),
    ("/msg ada ", "usage: /msg NAME TEXT"),
    ("/presence", "usage: /presence on|off"),
    ("/PRESENCE maybe", "usage: /presence on|off"),
];

const WHO_USAGE: &str = "usage: /who [FROM]";
const ROOMS_USAGE: &str = "usage: /rooms [FROM]";

const NOT_COMMANDS: [&str; 5] = ["/", "//", " /help", "/whom", "/nick-"];
