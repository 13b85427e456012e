//! The client's side of a session, with a server, a network and an application that may do
//! anything.

use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};

use arbitrary::{Result, Unstructured};
use bullhorn::client::protocol::{Outgoing, Output, Protocol, Request, Responder};
use bullhorn::client::{Event, MAX_TEXT_BYTES, ProtocolChoice, SessionConfig, TicketId};
use bullhorn::wire::reply::Reply;
use bullhorn::wire::v2::{
    BUNDLE_BYTES, BundleSize, ClientFrame, Message, Room, ServerFrame, ServerList, SessionId,
    Welcome, parse_client, push_reply, push_server_frame, push_server_header,
};
use bullhorn::wire::{self, ClientDatagram, FRAME_MARK, classify};

use crate::frames::{any_bytes, any_display_name, any_server_frame};
use crate::replies::any_reply;
use crate::requests::{any_request, any_room_name, line_of, reply_to};

/// Plays what the bytes say, and checks the session after each step.
pub fn client(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(mut talk) = Talk::new(&mut input) else {
        return;
    };
    talk.turn();
    for _ in 0..MAX_STEPS {
        if input.is_empty() || talk.step(&mut input).is_err() {
            break;
        }
        talk.turn();
    }
    talk.protocol.end();
    talk.take_outputs();
    assert!(talk.waiting.is_empty(), "no result: {:?}", talk.waiting);
}

struct Talk {
    protocol: Protocol,
    choice: ProtocolChoice,
    now: Instant,
    /// The session that the server gave last.
    session: Option<SessionId>,
    /// The tokens of the last PINGs.
    pings: Vec<Vec<u8>>,
    requests: Vec<Request>,
    last_payload: Vec<u8>,
    sequence: u32,
    tickets: u64,
    /// The tickets without a result.
    waiting: HashSet<TicketId>,
    answered: HashSet<TicketId>,
    is_up: bool,
    is_down: bool,
    /// Messages that the server has sent, at most.
    messages: u64,
}

impl Talk {
    fn new(input: &mut Unstructured<'_>) -> Result<Self> {
        let choices = [ProtocolChoice::Auto, ProtocolChoice::V1, ProtocolChoice::V2];
        let server = "127.0.0.1:9999".parse().expect("an address");
        let flags: u8 = input.arbitrary()?;
        let has = |bit: u8| flags & 1 << bit != 0;
        let choice = *input.choose(&choices)?;
        let config = SessionConfig {
            protocol: choice,
            nick: has(0).then(|| "ada".parse().expect("a name")),
            room: has(1).then(|| "chess".parse().expect("a room")),
            echo: !has(2),
            receive: !has(3),
            expects_echo: !has(4),
            repeat_limited: has(5),
            ..SessionConfig::new(server)
        };
        let now = Instant::now();
        let mut protocol = Protocol::new(&config, || NONCE, now);
        protocol.set_local_addr(OWN.parse().ok());
        Ok(Self {
            protocol,
            choice,
            now,
            session: None,
            pings: Vec::new(),
            requests: Vec::new(),
            last_payload: Vec::new(),
            sequence: 0,
            tickets: 0,
            waiting: HashSet::new(),
            answered: HashSet::new(),
            is_up: false,
            is_down: false,
            messages: 0,
        })
    }

    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        match input.int_in_range(0..=15)? {
            0 | 1 => self.say(input)?,
            2 => {
                let request = any_request(input)?;
                self.requests.push(request.clone());
                self.command(Outgoing::Request(request));
            }
            3 => self.receive(any_bytes(input, 2000)?),
            4 | 5 => {
                let count = input.int_in_range(1..=4)?;
                let mut frames = Vec::new();
                for _ in 0..count {
                    frames.push(shortened(any_server_frame(input)?));
                }
                self.receive_frames(&frames);
            }
            6 => self.receive_frames(&[ServerFrame::Welcome(Welcome {
                session: SessionId::new(input.int_in_range(1..=3)?).expect("not 0"),
                timeout_ms: 10_000,
                bundle_bytes: input.choose(&BundleSize::ALL)?.bytes() as u16,
                address: OWN.parse().expect("an address"),
                servers: ServerList::EMPTY,
            })]),
            7 => {
                let room = Room {
                    number: input.int_in_range(0..=3)?,
                    incarnation: input.int_in_range(0..=1)?,
                    name: any_room_name(input)?,
                };
                let frame = match input.arbitrary()? {
                    true => ServerFrame::Room(room),
                    false => ServerFrame::Subscribed(room),
                };
                self.receive_frames(&[frame]);
            }
            8 => self.reply(input)?,
            9 => self.echo(input)?,
            10 => {
                if !self.pings.is_empty() {
                    let token = self.pings.remove(input.choose_index(self.pings.len())?);
                    self.receive_frames(&[ServerFrame::Pong(&token)]);
                    self.receive(&[b"* pong ", &token[..]].concat());
                }
            }
            11 => {
                let kinds = [
                    io::ErrorKind::ConnectionRefused,
                    io::ErrorKind::NetworkUnreachable,
                ];
                self.protocol
                    .handle_refusal(*input.choose(&kinds)?, self.now);
            }
            12 => self.reroute(input)?,
            13 => self.pass(Duration::from_millis(input.int_in_range(0..=1 << 18)?)),
            14 => self.answer(input)?,
            _ => self.pass(Duration::from_millis(input.arbitrary::<u8>()?.into())),
        }
        Ok(())
    }

    fn say(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let payload = any_bytes(input, MAX_TEXT_BYTES)?.to_vec();
        let room = match input.int_in_range(0..=3)? {
            0 => Some(any_room_name(input)?),
            _ => None,
        };
        self.last_payload.clone_from(&payload);
        self.command(Outgoing::Say {
            is_text: classify(&payload) == ClientDatagram::Text(&payload),
            room,
            payload,
        });
        Ok(())
    }

    fn command(&mut self, command: Outgoing) {
        if !self.protocol.has_space() {
            return;
        }
        self.tickets += 1;
        let (responder, _) = Responder::new::<()>(self.tickets);
        self.waiting.insert(responder.id);
        self.protocol.handle_command(command, responder);
    }

    /// The session goes to another address, or leaves.
    fn reroute(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        match input.int_in_range(0..=2)? {
            0 => self.protocol.handle_reroute(self.now),
            1 => {
                if self.protocol.handle_timeout(self.now, true) {
                    self.protocol.handle_reroute(self.now);
                }
            }
            _ => {
                let mut leave = Vec::new();
                if self.protocol.push_leave(&mut leave) {
                    assert!(classify(&leave) == ClientDatagram::Leave || is_v2(&leave));
                }
            }
        }
        Ok(())
    }

    /// Any sentence of the server.
    fn reply(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let is_line = input.arbitrary()?;
        self.tell(&any_reply(input)?, is_line);
        Ok(())
    }

    /// The reply to a request, or its command as a text, as a server without commands sends it.
    fn answer(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let is_line = input.arbitrary()?;
        if input.int_in_range(0..=7)? == 0 {
            self.tell(&Reply::NotInRoom(input.int_in_range(0..=3)?), is_line);
            return Ok(());
        }
        let request = input
            .choose_iter(self.requests.iter().rev().take(8))?
            .clone();
        if input.int_in_range(0..=7)? == 0 {
            self.last_payload = line_of(&request).into_bytes();
            return self.echo(input);
        }
        let to = match &request {
            Request::Private { to, .. } => to.to_string(),
            _ => String::new(),
        };
        self.tell(&reply_to(&request, to.as_bytes(), input)?, is_line);
        Ok(())
    }

    /// The server sends a sentence, in either version.
    fn tell(&mut self, reply: &Reply<'_>, is_line: bool) {
        let mut datagram = Vec::new();
        if is_line {
            wire::push_reply(reply, &mut datagram);
        } else {
            push_server_header(self.receiver(&[]), &mut datagram);
            push_reply(reply, &mut datagram);
        }
        self.receive(&datagram);
    }

    /// The server sends back what was said last, maybe in another's name.
    fn echo(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let from = match input.int_in_range(0..=2)? {
            0 => OWN.parse().expect("an address"),
            1 => "ada".parse().expect("a name"),
            _ => any_display_name(input)?,
        };
        let payload = self.last_payload.clone();
        let mut line = Vec::new();
        match input.int_in_range(0..=4)? {
            0 | 1 => wire::push_text(from, &payload, &mut line),
            2 => wire::push_private(from, &payload, &mut line),
            _ => {}
        }
        if !line.is_empty() {
            self.receive(&line);
            return Ok(());
        }
        self.sequence = self.sequence.wrapping_add(input.int_in_range(0..=3)?);
        self.receive_frames(&[ServerFrame::Message(Message {
            room: input.int_in_range(0..=3)?,
            stream: 0,
            sequence: self.sequence,
            from,
            payload: &payload,
        })]);
        Ok(())
    }

    /// Hands over frames with the number in the header that makes them believed.
    fn receive_frames(&mut self, frames: &[ServerFrame<'_>]) {
        let mut datagram = Vec::new();
        push_server_header(self.receiver(frames), &mut datagram);
        for frame in frames {
            push_server_frame(frame, &mut datagram);
            match frame {
                ServerFrame::Message(_) => self.messages += 1,
                ServerFrame::Own(own) => self.messages += u64::from(own.count),
                _ => {}
            }
        }
        self.receive(&datagram);
        for frame in frames {
            if let ServerFrame::Welcome(welcome) = frame {
                self.session = Some(welcome.session);
            }
        }
    }

    fn receiver(&self, frames: &[ServerFrame<'_>]) -> u64 {
        match (frames, self.session) {
            ([ServerFrame::Welcome(_), ..], _) | (_, None) => NONCE,
            (_, Some(session)) => session.get(),
        }
    }

    fn receive(&mut self, datagram: &[u8]) {
        self.protocol.handle_datagram(datagram, true, self.now);
        let outputs = self.take_outputs();
        // Each frame has at least 3 bytes, and few events. A session that goes down or up may end
        // everything that waits.
        let max = 8 + 4 * (datagram.len() / 3) + 3 * MAX_WAITING;
        assert!(outputs <= max, "{outputs} outputs");
    }

    /// Lets time pass, as the engine does.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..MAX_TURNS {
            let timeout = self.protocol.poll_timeout();
            if timeout > end {
                break;
            }
            self.now = self.now.max(timeout);
            self.turn();
        }
        self.now = self.now.max(end);
    }

    /// Does all that is due. Then nothing may be due at this time.
    fn turn(&mut self) {
        for _ in 0..=MAX_REPEATS {
            assert!(!self.protocol.handle_timeout(self.now, false));
            self.transmit();
            self.take_outputs();
            self.check();
            if self.protocol.poll_timeout() > self.now {
                return;
            }
        }
        panic!("something is due again and again: {:?}", self.protocol);
    }

    fn transmit(&mut self) {
        let max = 2 * MAX_WAITING;
        let mut out = Vec::new();
        for _ in 0..max {
            if !self.protocol.poll_transmit(self.now, &mut out) {
                return;
            }
            self.check_datagram(&out);
        }
        panic!("more than {max} datagrams at once");
    }

    fn check_datagram(&mut self, datagram: &[u8]) {
        assert!(!datagram.is_empty());
        if datagram[0] != FRAME_MARK || !is_v2(datagram) {
            assert_ne!(self.choice, ProtocolChoice::V2);
            let token = datagram.strip_prefix(b"/ping ");
            self.pings.extend(token.map(<[u8]>::to_vec));
            return;
        }
        assert!(datagram.len() <= BUNDLE_BYTES);
        let (session, frames) = parse_client(datagram).expect("what a server takes");
        for frame in frames {
            match frame {
                ClientFrame::Ping(token) => self.pings.push(token.to_vec()),
                ClientFrame::Unknown(unknown) => panic!("{unknown:?}"),
                // It must not be in a session that the server has not given.
                ClientFrame::Say(_) | ClientFrame::SayTo(..) => assert!(session.is_some()),
                _ => {}
            }
        }
        self.pings.drain(..self.pings.len().saturating_sub(8));
    }

    /// Returns the number of outputs.
    fn take_outputs(&mut self) -> usize {
        let mut count = 0;
        while let Some(output) = self.protocol.poll_output() {
            count += 1;
            match output {
                Output::Result(responder, result) => {
                    assert!(self.waiting.remove(&responder.id), "a second result");
                    responder.respond(result);
                }
                Output::Event(Event::Answer { ticket, .. }) => {
                    assert!(self.waiting.contains(&ticket) && self.answered.insert(ticket));
                }
                Output::Event(Event::Up(_)) => (self.is_up, self.is_down) = (true, false),
                Output::Event(Event::Down(_)) => {
                    assert!(!self.is_down, "down twice");
                    (self.is_up, self.is_down) = (false, true);
                }
                Output::Event(_) => {}
            }
        }
        count
    }

    fn check(&self) {
        assert!(self.waiting.len() <= MAX_WAITING);
        let status = self.protocol.status();
        assert_eq!(
            (status.is_up, status.down.is_some()),
            (self.is_up, self.is_down)
        );
        let counts = status.stats.messages;
        assert_eq!(counts.expected, counts.received + counts.lost);
        assert!(counts.received + counts.repeated + counts.too_late <= self.messages);
        assert!(counts.reordered <= counts.received);
    }
}

/// A v1 text may begin with the mark, too.
fn is_v2(datagram: &[u8]) -> bool {
    parse_client(datagram).is_ok()
}

/// One frame can tell of 65,535 messages. So many take long, and prove no more.
fn shortened(frame: ServerFrame<'_>) -> ServerFrame<'_> {
    match frame {
        ServerFrame::Own(mut own) => {
            own.count %= MAX_OWN;
            ServerFrame::Own(own)
        }
        frame => frame,
    }
}

/// The nonce of every HELLO.
const NONCE: u64 = 1 << 63;

/// The address that the client sends from.
const OWN: &str = "127.0.0.1:5";

const MAX_STEPS: usize = 300;

/// The bounds of the session's queues together: 64 commands, 1024 requests and 4096 texts.
const MAX_WAITING: usize = 64 + 1024 + 4096;

/// More than the timeouts of four minutes without a server.
const MAX_TURNS: usize = 4096;

/// Maximum number of timeouts at one time. One may lead to another that is due at once.
const MAX_REPEATS: usize = 3;

/// Maximum number of messages of an OWN frame. The client takes them one by one, and 65,535 of them in
/// each frame would slow the search.
const MAX_OWN: u16 = 2048;
