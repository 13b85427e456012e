//! A client with a server and a clock that the test plays.

use std::fmt::Debug;
use std::time::Duration;

use super::*;
use crate::client::ticket::Ticket;
use crate::wire::reply::NoticeCode;
use crate::wire::v2::{
    BundleSize, ClientFrame, Message, Room, ServerFrame, ServerList, SessionId, Welcome,
    parse_client, push_server_frame, push_server_header,
};
use crate::wire::{FRAME_MARK, LOBBY};

mod details;
mod frames;
mod greeting;
mod limits;
mod lines;
mod membership;
mod names;
mod random;
mod rooms;
mod servers;
mod tickets;

const MS: Duration = Duration::from_millis(1);

/// The nonce of every HELLO.
const NONCE: u64 = 1 << 63;

/// The address that the client sends from.
const OWN: &str = "127.0.0.1:5";

struct Talk {
    protocol: Protocol,
    now: Instant,
    tickets: u64,
}

impl Talk {
    fn new(choice: ProtocolChoice) -> Self {
        Self::with(config(choice))
    }

    /// Returns one that wants to be ada, in the room chess.
    fn of_ada(choice: ProtocolChoice) -> Self {
        let mut config = config(choice);
        config.nick = "ada".parse().ok();
        config.room = "chess".parse().ok();
        Self::with(config)
    }

    fn with(config: SessionConfig) -> Self {
        let now = Instant::now();
        let mut protocol = Protocol::new(&config, || NONCE, now);
        protocol.set_local_addr(OWN.parse().ok());
        Self {
            protocol,
            now,
            tickets: 0,
        }
    }

    /// Returns one that speaks version 1, as nobody answered its HELLOs.
    fn fallen_back() -> Self {
        let mut talk = Self::new(ProtocolChoice::Auto);
        talk.pass(900);
        assert_eq!(talk.version(), Some(ProtocolVersion::V1));
        talk
    }

    /// Returns one with a session of version 2, after its [`Event::Up`].
    fn welcomed() -> Self {
        let mut talk = Self::new(ProtocolChoice::Auto);
        assert_eq!(talk.sent(), ["hello"]);
        assert_eq!(talk.welcome(7), [Event::Up(ProtocolVersion::V2)]);
        talk
    }

    /// Lets time pass, and returns the datagrams that are sent in it, with their times in
    /// milliseconds.
    fn pass(&mut self, time_ms: u64) -> Vec<(u128, String)> {
        let start = self.now;
        let end = start + Duration::from_millis(time_ms);
        let mut sent = Vec::new();
        for _ in 0..10_000 {
            let at = (self.now - start).as_millis();
            sent.extend(self.sent().into_iter().map(|datagram| (at, datagram)));
            let timeout = self.protocol.poll_timeout();
            if timeout > end {
                self.now = end;
                return sent;
            }
            self.now = self.now.max(timeout);
        }
        panic!("a timeout that nothing ends: {sent:?}");
    }

    /// Returns the datagrams that are sent now.
    fn sent(&mut self) -> Vec<String> {
        assert!(!self.protocol.handle_timeout(self.now, false));
        let datagrams = self.datagrams();
        datagrams
            .iter()
            .map(|datagram| describe(datagram))
            .collect()
    }

    /// Returns what is sent now, but for the search of the path, which has tests of its own.
    fn datagrams(&mut self) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        let mut out = Vec::new();
        while self.protocol.poll_transmit(self.now, &mut out) {
            assert!(!out.is_empty());
            if !is_path_probe(&out) {
                datagrams.push(out.clone());
            }
        }
        datagrams
    }

    /// Waits until a datagram is sent, and returns the time in milliseconds as well.
    fn next(&mut self) -> (u128, Vec<String>) {
        let start = self.now;
        let datagrams = self.next_datagrams();
        let sent = datagrams.iter().map(|datagram| describe(datagram));
        ((self.now - start).as_millis(), sent.collect())
    }

    fn next_datagrams(&mut self) -> Vec<Vec<u8>> {
        for _ in 0..10_000 {
            assert!(!self.protocol.handle_timeout(self.now, false));
            let datagrams = self.datagrams();
            if !datagrams.is_empty() {
                return datagrams;
            }
            self.now = self.now.max(self.protocol.poll_timeout());
        }
        panic!("nothing is sent");
    }

    fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(output) = self.protocol.poll_output() {
            match output {
                Output::Event(event) => events.push(event),
                Output::Result(responder, result) => responder.respond(result),
            }
        }
        events
    }

    /// Hands over a datagram, and returns the events.
    fn hear(&mut self, datagram: &[u8]) -> Vec<Event> {
        self.protocol.handle_datagram(datagram, true, self.now);
        self.events()
    }

    /// Hands over frames with the number in the header that they must have.
    fn hear_frames(&mut self, frames: &[ServerFrame<'_>]) -> Vec<Event> {
        let datagram = self.datagram_of(frames);
        self.hear(&datagram)
    }

    fn datagram_of(&self, frames: &[ServerFrame<'_>]) -> Vec<u8> {
        let receiver = match self.protocol.membership.session() {
            Some(session) if !matches!(frames, [ServerFrame::Welcome(_), ..]) => session.get(),
            _ => NONCE,
        };
        datagram_to(receiver, frames)
    }

    fn hear_notice(&mut self, code: NoticeCode, sentence: &str) -> Vec<Event> {
        self.hear_frames(&[ServerFrame::Notice(code, sentence.as_bytes())])
    }

    /// Gives a session and answers its first datagram with the lobby, and returns the events.
    fn welcome(&mut self, session: u64) -> Vec<Event> {
        assert_eq!(self.hear_frames(&[welcome(session, 10_000)]), []);
        let sent = self.sent();
        assert!(sent[0].starts_with(&format!("{session}: ")) && sent[0].ends_with("heartbeat"));
        assert_eq!(sent.len(), 1);
        self.hear_frames(&[room_frame(0, LOBBY.parse().unwrap())])
    }

    /// Answers the PING of the next heartbeat, and returns the time that it took.
    fn pong(&mut self) -> u128 {
        let start = self.now;
        let token = ping_token(&self.next_datagrams()[0]);
        assert!(self.hear_frames(&[ServerFrame::Pong(&token)]).is_empty());
        (self.now - start).as_millis()
    }

    fn refused(&mut self) -> Vec<Event> {
        self.protocol
            .handle_refusal(io::ErrorKind::ConnectionRefused, self.now);
        self.events()
    }

    fn command<T>(&mut self, command: Outgoing) -> Ticket<T> {
        self.tickets += 1;
        let (responder, ticket) = Responder::new(self.tickets);
        self.protocol.handle_command(command, responder);
        ticket
    }

    fn say(&mut self, text: &str) -> Ticket<()> {
        self.command(Outgoing::Say {
            room: None,
            payload: text.as_bytes().to_vec(),
            is_text: true,
        })
    }

    fn say_bytes(&mut self, bytes: &[u8]) -> Ticket<()> {
        self.command(Outgoing::Say {
            room: None,
            payload: bytes.to_vec(),
            is_text: false,
        })
    }

    fn request<T>(&mut self, request: Request) -> Ticket<T> {
        self.command(Outgoing::Request(request))
    }

    fn version(&self) -> Option<ProtocolVersion> {
        self.protocol.status().version
    }

    fn down(&self) -> Option<DownReason> {
        self.protocol.status().down
    }
}

fn config(choice: ProtocolChoice) -> SessionConfig {
    let mut config = SessionConfig::new("127.0.0.1:9999".parse().unwrap());
    config.protocol = choice;
    config.greeting_timeout = 900 * MS;
    config
}

/// Returns a line of version 1 as it is, and the frames of a datagram of version 2.
fn describe(datagram: &[u8]) -> String {
    if !datagram.starts_with(&[FRAME_MARK]) {
        return String::from_utf8(datagram.to_vec()).unwrap();
    }
    let (session, frames) = parse_client(datagram).unwrap();
    let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    let frames: Vec<_> = frames
        .map(|frame| match frame {
            ClientFrame::Hello(hello) => match hello.options.bundle_size {
                BundleSize::Full => "hello".to_owned(),
                BundleSize::Small => "small hello".to_owned(),
            },
            ClientFrame::Heartbeat(None | Some(0)) => "heartbeat".to_owned(),
            ClientFrame::Heartbeat(Some(room)) => format!("heartbeat in {room}"),
            ClientFrame::Move(from) => format!("move {}", from.session.get()),
            ClientFrame::Subscribe(name) => format!("subscribe {name}"),
            ClientFrame::Unsubscribe(room) => format!("unsubscribe {room}"),
            ClientFrame::SayTo(room, payload) => format!("say to {room} {}", text(payload)),
            ClientFrame::Bye => "bye".to_owned(),
            ClientFrame::Say(payload) => format!("say {}", text(payload)),
            ClientFrame::Ping(_) => "ping".to_owned(),
            ClientFrame::Command(line) => text(line),
            frame => format!("{frame:?}"),
        })
        .collect();
    let frames = frames.join(" + ");
    match session {
        Some(session) => format!("{}: {frames}", session.get()),
        None => frames,
    }
}

/// Returns true for a PING that searches the path. The pings of the liveness are longer.
fn is_path_probe(datagram: &[u8]) -> bool {
    datagram.starts_with(&[FRAME_MARK]) && datagram.get(10..13) == Some(&[5, 0, 8])
}

fn datagram_to(receiver: u64, frames: &[ServerFrame<'_>]) -> Vec<u8> {
    let mut datagram = Vec::new();
    push_server_header(receiver, &mut datagram);
    for frame in frames {
        push_server_frame(frame, &mut datagram);
    }
    datagram
}

fn welcome(session: u64, timeout_ms: u32) -> ServerFrame<'static> {
    ServerFrame::Welcome(Welcome {
        session: SessionId::new(session).unwrap(),
        timeout_ms,
        bundle_bytes: 1200,
        address: OWN.parse().unwrap(),
        servers: ServerList::EMPTY,
    })
}

fn room_frame(number: u32, name: RoomName) -> ServerFrame<'static> {
    ServerFrame::Room(Room {
        number,
        incarnation: 1,
        name,
    })
}

fn message(sequence: u32, payload: &[u8]) -> ServerFrame<'_> {
    message_in(0, sequence, payload)
}

fn message_in(room: u32, sequence: u32, payload: &[u8]) -> ServerFrame<'_> {
    message_from(OWN, room, sequence, payload)
}

fn message_from<'a>(from: &str, room: u32, sequence: u32, payload: &'a [u8]) -> ServerFrame<'a> {
    ServerFrame::Message(Message {
        room,
        stream: 0,
        sequence,
        from: from.parse().unwrap(),
        payload,
    })
}

/// Returns the token of the last PING of a datagram.
fn ping_token(datagram: &[u8]) -> Vec<u8> {
    let (_, frames) = parse_client(datagram).unwrap();
    let token = frames.filter_map(|frame| match frame {
        ClientFrame::Ping(token) => Some(token.to_vec()),
        _ => None,
    });
    token.last().expect("a PING")
}

/// Returns messages and notices as lines of version 1.
fn lines(events: &[Event]) -> Vec<String> {
    let line = |event: &Event| match event {
        Event::Message(message) => Some(format!("{} {}", message.from, message.text())),
        Event::Private(message) => Some(format!("* {} to you: {}", message.from, message.text())),
        Event::Notice { text, .. } => Some(format!("* {text}")),
        _ => None,
    };
    events.iter().filter_map(line).collect()
}

/// Returns the payloads of messages.
fn payloads(events: &[Event]) -> Vec<String> {
    let payload = |event: &Event| match event {
        Event::Message(message) | Event::Private(message) => Some(message.text().into_owned()),
        _ => None,
    };
    events.iter().filter_map(payload).collect()
}

fn undelivered(payloads: &[&str], were_sent: bool) -> Event {
    let payloads = payloads.iter().map(|payload| payload.as_bytes().to_vec());
    Event::Undelivered {
        payloads: payloads.collect(),
        were_sent,
    }
}

fn refused() -> DownReason {
    DownReason::Unreachable(io::ErrorKind::ConnectionRefused)
}

#[track_caller]
fn assert_result<T: TryFrom<Answer> + Debug + PartialEq>(
    ticket: &Ticket<T>,
    expected: Result<T, RequestError>,
) {
    assert_eq!(ticket.wait(Duration::ZERO), expected);
}

#[track_caller]
fn assert_waits<T: TryFrom<Answer> + Debug + PartialEq>(talk: &Talk, ticket: &Ticket<T>) {
    let is_pending =
        talk.protocol.is_holding() || talk.protocol.requests.len() + talk.protocol.texts.len() > 0;
    assert!(is_pending);
    assert_eq!(ticket.wait(Duration::ZERO), Err(RequestError::Waiting));
}
