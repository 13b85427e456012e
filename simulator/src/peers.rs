//! The peers of a simulated server: stock clients, sessions of the client library, programs that use
//! every frame, and attackers.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use bullhorn::client::SessionConfig;
use bullhorn::net::PeerAddr;
use bullhorn::wire::v2::{
    BundleSize, ClientFrame, Hello, Move, ServerFrame, SessionId, SessionOptions, parse_server,
    push_client_frame, push_client_header, push_hello, push_padding,
};
use bullhorn::wire::{Name, RoomName};
use fastrand::Rng;

use crate::model::room_name;
use crate::session::Session;

/// A host that sends to the server.
pub(crate) struct Actor {
    pub(crate) address: PeerAddr,
    kind: Kind,
    rng: Rng,
    /// The mean time between two actions.
    pub(crate) pace_ms: u64,
    /// The session that it was given last, and the one before with its address.
    session: Option<u64>,
    former: Option<(u64, PeerAddr)>,
    rooms: Vec<u32>,
    /// The line that a server of version 1 asks it to say.
    proof: Option<Vec<u8>>,
    said: u32,
}

enum Kind {
    Stock { ends_lines: bool },
    Session(Box<Session>),
    Program,
    Attacker { heard: Vec<(PeerAddr, Vec<u8>)> },
}

/// Datagrams, each with its source.
pub(crate) type Outbox = Vec<(PeerAddr, Vec<u8>)>;

impl Actor {
    pub(crate) fn new(address: PeerAddr, mut rng: Rng, is_attacker: bool, now: Instant) -> Self {
        let kind = match rng.u8(0..10) {
            _ if is_attacker => Kind::Attacker { heard: Vec::new() },
            0..4 => Kind::Stock {
                ends_lines: rng.bool(),
            },
            4..7 => Kind::Session(Box::new(session(&mut rng, now))),
            _ => Kind::Program,
        };
        Self {
            address,
            kind,
            pace_ms: 10 << rng.u32(3..9),
            rng,
            session: None,
            former: None,
            rooms: vec![0],
            proof: None,
            said: 0,
        }
    }

    /// Makes it a stock client that only beats and seldom speaks, one of a crowd.
    pub(crate) fn join_crowd(&mut self) {
        self.kind = Kind::Stock { ends_lines: false };
        self.pace_ms = 4_000;
    }

    pub(crate) fn is_attacker(&self) -> bool {
        matches!(self.kind, Kind::Attacker { .. })
    }

    /// Returns true if it is a session of the client library that is down.
    pub(crate) fn is_down(&self) -> bool {
        matches!(&self.kind, Kind::Session(session) if !session.is_up())
    }

    /// Lets an attacker see what another peer has sent.
    pub(crate) fn overhear(&mut self, from: PeerAddr, datagram: &[u8]) {
        if let Kind::Attacker { heard } = &mut self.kind {
            if heard.len() < 64 {
                heard.push((from, datagram.to_vec()));
            } else {
                let at = self.rng.usize(..heard.len());
                heard[at] = (from, datagram.to_vec());
            }
        }
    }

    /// Sends from another address from now on.
    pub(crate) fn relocate(&mut self, address: PeerAddr, now: Instant) {
        if let Some(session) = self.session.take() {
            self.former = Some((session, self.address));
        }
        self.address = address;
        if let Kind::Session(session) = &mut self.kind {
            session.handle_reroute(now);
        }
    }

    pub(crate) fn receive(&mut self, datagram: &[u8], now: Instant, out: &mut Outbox) {
        if let Kind::Session(session) = &mut self.kind {
            with_random(&mut self.rng, || session.handle_datagram(datagram, now));
            return self.run_session(now, out);
        }
        if let Some(token) = datagram.strip_prefix(b"* say /in ") {
            self.proof = Some([b"/in ", token].concat());
        }
        for frame in parse_server(datagram).into_iter().flatten() {
            match frame {
                ServerFrame::Welcome(welcome) => self.session = Some(welcome.session.get()),
                ServerFrame::Room(room) | ServerFrame::Subscribed(room) if self.rooms.len() < 8 => {
                    self.rooms.push(room.number);
                }
                ServerFrame::UnknownSession | ServerFrame::Goodbye if self.rng.u8(0..4) > 0 => {
                    self.session = None;
                }
                _ => {}
            }
        }
    }

    /// Acts once, and does nothing odd if `is_calm`.
    pub(crate) fn act(
        &mut self,
        is_calm: bool,
        others: &[PeerAddr],
        now: Instant,
        out: &mut Outbox,
    ) {
        match &mut self.kind {
            Kind::Stock { ends_lines } => {
                let end: &[u8] = if *ends_lines { b"\n" } else { b"" };
                let line = match self.proof.take() {
                    Some(proof) if self.rng.u8(0..8) > 0 => proof,
                    _ => self.line(is_calm, others),
                };
                out.push((self.address, [&line, end].concat()));
            }
            Kind::Session(session) => {
                let text = format!("s{} {}", self.said, self.address.port());
                self.said += 1;
                with_random(&mut self.rng, || match random_u8() % 12 {
                    0 => session.nick(name(random_u8())),
                    1 => session.join(room(random_u8())),
                    2 => session.subscribe(room(random_u8())),
                    3 => session.presence(random_u8() < 128),
                    _ => session.say(&text),
                });
                self.run_session(now, out);
            }
            Kind::Program => {
                let datagram = self.program(is_calm, others);
                out.push((self.address, datagram));
            }
            Kind::Attacker { .. } => self.attack(others, out),
        }
    }

    /// Lets a session of the client library do what is due.
    pub(crate) fn run_session(&mut self, now: Instant, out: &mut Outbox) {
        if let Kind::Session(session) = &mut self.kind {
            let mut datagram = Vec::new();
            while with_random(&mut self.rng, || session.poll_transmit(now, &mut datagram)) {
                out.push((self.address, std::mem::take(&mut datagram)));
            }
        }
    }

    /// Leaves the server.
    pub(crate) fn leave(&mut self, out: &mut Outbox) {
        let mut datagram = Vec::new();
        match &self.kind {
            Kind::Session(session) => _ = session.push_leave(&mut datagram),
            Kind::Program => {
                push_client_header(self.session.and_then(SessionId::new), &mut datagram);
                push_client_frame(&ClientFrame::Bye, &mut datagram);
            }
            Kind::Stock { .. } | Kind::Attacker { .. } => datagram.extend_from_slice(b"quit"),
        }
        out.push((self.address, datagram));
    }

    /// A line of version 1.
    fn line(&mut self, is_calm: bool, others: &[PeerAddr]) -> Vec<u8> {
        match self.rng.u8(0..20) {
            0..5 => b"@im@".to_vec(),
            5..12 => self.text(),
            12..18 => self.command(others),
            18 if !is_calm => b"quit".to_vec(),
            19 if !is_calm => Vec::new(),
            _ => b" @IM@ ".to_vec(),
        }
    }

    /// A text that nobody has said before, of any length.
    fn text(&mut self) -> Vec<u8> {
        self.said += 1;
        let mut text = format!("t{} {} ", self.said, self.address.port()).into_bytes();
        let filler: &[u8] = match self.rng.u8(0..8) {
            0 => "ä🎉\u{202e}".as_bytes(),
            1 => b"\x1b[2J\xff\x80",
            _ => b"x",
        };
        let repeats = match self.rng.u8(0..12) {
            0 => self.rng.usize(..400),
            1 => self.rng.usize(..1_300),
            _ => self.rng.usize(..8),
        };
        text.extend(filler.repeat(repeats));
        text.truncate(1_400);
        text
    }

    fn command(&mut self, others: &[PeerAddr]) -> Vec<u8> {
        let (number, whom) = (self.rng.u8(..), self.rng.choice(others));
        let line = match self.rng.u8(0..14) {
            0..3 => format!("/nick {}", name(number)),
            3..7 => format!("/join {}", room(number)),
            7 => "/leave".to_owned(),
            8 => format!("/who {}", number % 4),
            9 => "/rooms".to_owned(),
            10 => format!("/presence {}", if number % 3 > 0 { "on" } else { "off" }),
            11 => format!("/msg {} p{}", name(number), self.said),
            12 => whom.map_or_else(String::new, |whom| format!("/msg {whom} private")),
            _ => "/ping 7".to_owned(),
        };
        line.into_bytes()
    }

    /// A datagram of version 2.
    fn program(&mut self, is_calm: bool, others: &[PeerAddr]) -> Vec<u8> {
        let mut datagram = Vec::new();
        let Some(session) = self.session.and_then(SessionId::new) else {
            push_hello(&self.hello(), &mut datagram);
            return datagram;
        };
        push_client_header(Some(session), &mut datagram);
        if let Some((former, address)) = self.former.take()
            && let Some(session) = SessionId::new(former)
        {
            let address = address.socket_addr();
            push_client_frame(&ClientFrame::Move(Move { session, address }), &mut datagram);
        }
        let count = if self.rng.u8(0..6) == 0 {
            self.rng.usize(1..40)
        } else {
            1
        };
        for _ in 0..count {
            let (text, line) = (self.text(), self.command(others));
            let text = &text[..text.len().min(1_152)];
            let (number, room_number) = (self.rng.u8(..), self.rng.choice(&self.rooms).copied());
            let room_number = room_number.unwrap_or(0);
            let frame = match self.rng.u8(0..24) {
                0..3 => ClientFrame::Heartbeat(Some(room_number)),
                3 => ClientFrame::Heartbeat(None),
                4..10 => ClientFrame::Say(text),
                10..15 => ClientFrame::Command(&line),
                15 => ClientFrame::Ping(b"token"),
                16 => ClientFrame::Subscribe(room(number)),
                17 => ClientFrame::Unsubscribe(room_number),
                18..20 => ClientFrame::SayTo(room_number, text),
                20 => ClientFrame::Hello(self.hello()),
                21 if !is_calm => ClientFrame::Bye,
                22 => ClientFrame::Command(text),
                _ => ClientFrame::Heartbeat(Some(0)),
            };
            let before = datagram.len();
            push_client_frame(&frame, &mut datagram);
            if datagram.len() > 1_400 {
                datagram.truncate(before);
                break;
            }
        }
        if self.rng.u8(0..10) == 0 && datagram.len() < 1_200 {
            push_padding(0, 1_200, &mut datagram);
        }
        datagram
    }

    fn hello(&mut self) -> Hello {
        let options = SessionOptions {
            bundle_size: *self.rng.choice(&BundleSize::ALL).expect("two sizes"),
            echo: self.rng.u8(0..4) > 0,
            receive: self.rng.u8(0..8) > 0,
        };
        let nonce = self.rng.u64(..);
        Hello { nonce, options }
    }

    fn attack(&mut self, others: &[PeerAddr], out: &mut Outbox) {
        let victim = self.rng.choice(others).copied().unwrap_or(self.address);
        let heard = match &mut self.kind {
            Kind::Attacker { heard } => self.rng.choice(&*heard).cloned(),
            _ => None,
        };
        let (source, datagram) = match (self.rng.u8(0..12), heard) {
            (0, _) => {
                let len = self.rng.usize(..300);
                (self.address, (0..len).map(|_| self.rng.u8(..)).collect())
            }
            (1, Some((from, mut datagram))) => {
                for _ in 0..self.rng.usize(1..4) {
                    if let Some(byte) = self.rng.choice(&mut datagram) {
                        *byte = self.rng.u8(..);
                    }
                }
                (from, datagram)
            }
            // Replays, from there and from here.
            (2..5, Some(heard)) => heard,
            (5, Some((_, datagram))) => (self.address, datagram),
            (6, _) => (victim, b"quit".to_vec()),
            (7, _) => (victim, self.line(false, others)),
            (8, _) => {
                let mut datagram = Vec::new();
                push_hello(&self.hello(), &mut datagram);
                (victim, datagram)
            }
            (9, _) => (self.address, self.program(false, others)),
            (10, _) => {
                let mut datagram = Vec::new();
                push_client_header(SessionId::new(self.rng.u64(..)), &mut datagram);
                push_client_frame(&ClientFrame::Say(b"forged"), &mut datagram);
                (victim, datagram)
            }
            _ => (self.address, self.line(false, others)),
        };
        let copies = if self.rng.u8(0..30) == 0 { 300 } else { 1 };
        out.extend(std::iter::repeat_n((source, datagram), copies));
    }
}

fn session(rng: &mut Rng, now: Instant) -> Session {
    let config = SessionConfig {
        nick: rng.bool().then(|| name(rng.u8(..))),
        room: rng.bool().then(|| room(rng.u8(..))),
        echo: rng.u8(0..4) > 0,
        heartbeat_interval: Duration::from_secs(rng.u64(1..4)),
        ..SessionConfig::new(std::net::SocketAddr::from(([192, 0, 2, 1], 9_999)).into())
    };
    with_random(rng, || Session::new(&config, random_u64, now))
}

/// One of a few names, in any case.
pub(crate) fn name(number: u8) -> Name {
    let names = ["ada", "Ada", "bob", "BOB", "cem", "dan", "12", "eve-_9"];
    let name = names[usize::from(number) % names.len()];
    Name::parse(name.as_bytes()).expect("a valid name")
}

/// One of a few rooms, in any case.
pub(crate) fn room(number: u8) -> RoomName {
    let rooms = ["den", "Den", "attic", "lobby", "LOBBY", "cellar", "z"];
    room_name(rooms[usize::from(number) % rooms.len()])
}

thread_local! {
    /// The random numbers of the session that acts. It draws them by a function without a state.
    static RANDOM: RefCell<Rng> = const { RefCell::new(Rng::with_seed(0)) };
}

fn with_random<T>(rng: &mut Rng, act: impl FnOnce() -> T) -> T {
    RANDOM.replace(rng.clone());
    let result = act();
    *rng = RANDOM.with_borrow(Rng::clone);
    result
}

fn random_u64() -> u64 {
    RANDOM.with_borrow_mut(|rng| rng.u64(..))
}

fn random_u8() -> u8 {
    random_u64() as u8
}
