//! Bytes to frames.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::frame::{
    BYE, BundleSize, COMMAND, ClientFrame, FIRST_SERVER_KIND, FROM_NAME, FROM_V4, FROM_V6,
    FROM_V6_ZONE, GOODBYE, HEARTBEAT, HELLO, Hello, MAGIC, MAX_PAYLOAD_BYTES, MESSAGE,
    MIN_HELLO_BYTES, MOVE, Malformed, Message, Move, NOTICE, OPTION_BUNDLE_BYTES, OPTION_ECHO,
    OPTION_RECEIVE, OPTION_SERVERS, OWN, Own, PAD, PING, PONG, PRIVATE, ROOM, Room, SAY, SAY_TO,
    SUBSCRIBE, SUBSCRIBED, ServerFrame, SessionId, UNKNOWN_SESSION, UNSUBSCRIBE, UNSUBSCRIBED,
    Unknown, WELCOME, Welcome,
};
use super::servers::ServerList;
use crate::wire::name::{DisplayName, Name, RoomName};
use crate::wire::protocol::MAX_TOKEN_BYTES;
use crate::wire::reply::NoticeCode;

/// Returns the session and the frames of a datagram from a client. They end with the first that
/// this version does not have.
///
/// # Errors
/// [`Malformed`] if the header or one of the frames is malformed.
pub fn parse_client(datagram: &[u8]) -> Result<(Option<SessionId>, ClientFrames<'_>), Malformed> {
    let (session, rest) = split_header(datagram)?;
    let session = SessionId::new(session);
    let hello_fits = session.is_some() || datagram.len() >= MIN_HELLO_BYTES;
    let frames = ClientFrames(Frames { rest });
    for frame in (Frames { rest }) {
        let (kind, body) = frame?;
        let is_right = match kind {
            SAY | COMMAND => body.len() <= MAX_PAYLOAD_BYTES,
            PING => body.len() <= MAX_TOKEN_BYTES,
            HEARTBEAT => matches!(body.len(), 0 | 4),
            BYE => body.is_empty(),
            _ => match rare_client_frame(kind, body) {
                Some(ClientFrame::Unknown(_)) => break,
                Some(ClientFrame::Hello(_)) => hello_fits,
                frame => frame.is_some(),
            },
        };
        if !is_right {
            return Err(Malformed::Body);
        }
    }
    Ok((session, frames))
}

/// The frames of a datagram from a client.
#[derive(Clone)]
pub struct ClientFrames<'a>(Frames<'a>);

impl ClientFrames<'_> {
    /// Returns true if padding follows the last frame. Call this after that frame.
    pub fn is_padded(&self) -> bool {
        !self.0.rest.is_empty()
    }
}

impl<'a> Iterator for ClientFrames<'a> {
    type Item = ClientFrame<'a>;

    fn next(&mut self) -> Option<ClientFrame<'a>> {
        // All were checked.
        let (kind, body) = self.0.next()?.ok()?;
        match kind {
            SAY => Some(ClientFrame::Say(body)),
            PING => Some(ClientFrame::Ping(body)),
            HEARTBEAT => Some(ClientFrame::Heartbeat(number(body))),
            COMMAND => Some(ClientFrame::Command(body)),
            BYE => Some(ClientFrame::Bye),
            _ => self.next_rare(kind, body),
        }
    }
}

impl<'a> ClientFrames<'a> {
    #[cold]
    fn next_rare(&mut self, kind: u8, body: &'a [u8]) -> Option<ClientFrame<'a>> {
        let frame = rare_client_frame(kind, body);
        if let Some(ClientFrame::Unknown(_)) = frame {
            self.0.rest = &[];
        }
        frame
    }
}

/// Returns the frames of a datagram from the server. Those that this version does not have are
/// skipped.
///
/// # Errors
/// [`Malformed`] if the header or one of the frames is malformed.
pub fn parse_server(datagram: &[u8]) -> Result<ServerFrames<'_>, Malformed> {
    let (receiver, rest) = split_header(datagram)?;
    let frames = Frames { rest };
    { frames }.try_for_each(|frame| server_frame(frame?).map(drop))?;
    Ok(ServerFrames { receiver, frames })
}

/// The frames of a datagram from the server.
#[derive(Clone)]
pub struct ServerFrames<'a> {
    receiver: u64,
    frames: Frames<'a>,
}

impl ServerFrames<'_> {
    /// The number in the header: the session of the client, or the nonce of its HELLO in the reply
    /// to a HELLO without a session.
    pub fn receiver(&self) -> u64 {
        self.receiver
    }
}

impl<'a> Iterator for ServerFrames<'a> {
    type Item = ServerFrame<'a>;

    fn next(&mut self) -> Option<ServerFrame<'a>> {
        // All were checked.
        self.frames
            .find_map(|frame| server_frame(frame.ok()?).ok()?)
    }
}

/// Cuts a datagram into kinds and bodies of frames.
#[derive(Clone, Copy)]
struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<(u8, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&kind, rest) = self.rest.split_first()?;
        if kind == PAD {
            // The padding is left.
            return None;
        }
        self.rest = &[];
        let frame = split_body(rest).map(|(body, rest)| {
            self.rest = rest;
            (kind, body)
        });
        Some(frame.ok_or(Malformed::Body))
    }
}

/// Returns the number in the header, and what follows.
fn split_header(datagram: &[u8]) -> Result<(u64, &[u8]), Malformed> {
    let rest = datagram.strip_prefix(&MAGIC).ok_or(Malformed::Header)?;
    let (number, rest) = rest.split_first_chunk().ok_or(Malformed::Header)?;
    Ok((u64::from_be_bytes(*number), rest))
}

/// Returns the body of a frame after its length, and what follows.
fn split_body(frame: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = frame.split_first_chunk()?;
    rest.split_at_checked(u16::from_be_bytes(*len).into())
}

/// Returns a frame that few datagrams have, or `None` if its body is malformed.
#[cold]
fn rare_client_frame(kind: u8, body: &[u8]) -> Option<ClientFrame<'_>> {
    let mut fields = Body { rest: body };
    match kind {
        HELLO => hello(fields),
        SUBSCRIBE => RoomName::parse(body).map(ClientFrame::Subscribe),
        UNSUBSCRIBE => number(body).map(ClientFrame::Unsubscribe),
        SAY_TO => {
            let room = u32::from_be_bytes(fields.take()?);
            let payload = fields.rest;
            (payload.len() <= MAX_PAYLOAD_BYTES).then_some(ClientFrame::SayTo(room, payload))
        }
        MOVE => {
            let session = SessionId::new(u64::from_be_bytes(fields.take()?))?;
            let address = fields.take_address()?;
            let from = Move { session, address };
            fields.rest.is_empty().then_some(ClientFrame::Move(from))
        }
        // What a server sent, and another one has received, has no reply.
        FIRST_SERVER_KIND.. => None,
        _ => Some(ClientFrame::Unknown(Unknown::Frame(kind))),
    }
}

fn hello(mut body: Body<'_>) -> Option<ClientFrame<'static>> {
    let nonce = u64::from_be_bytes(body.take()?);
    let mut hello = Hello {
        nonce,
        ..Hello::default()
    };
    let options = &mut hello.options;
    let mut unknown = None;
    while !body.rest.is_empty() {
        let (kind, value) = body.take_option()?;
        match kind {
            OPTION_BUNDLE_BYTES => {
                let bytes = u16::from_be_bytes(value.try_into().ok()?);
                options.bundle_size = BundleSize::of(bytes.into());
            }
            OPTION_ECHO => options.echo = flag(value)?,
            OPTION_RECEIVE => options.receive = flag(value)?,
            _ => unknown = unknown.or(Some(Unknown::Option(kind, nonce))),
        }
    }
    Some(unknown.map_or(ClientFrame::Hello(hello), ClientFrame::Unknown))
}

/// Returns `None` for a kind that this version does not have.
fn server_frame((kind, body): (u8, &[u8])) -> Result<Option<ServerFrame<'_>>, Malformed> {
    let mut fields = Body { rest: body };
    let frame = match kind {
        WELCOME => welcome(fields).map(ServerFrame::Welcome),
        MESSAGE => message(fields).map(ServerFrame::Message),
        PONG => Some(ServerFrame::Pong(body)),
        NOTICE => body
            .split_first()
            .map(|(code, text)| ServerFrame::Notice(NoticeCode::of(*code), text)),
        GOODBYE => body.is_empty().then_some(ServerFrame::Goodbye),
        ROOM => room(fields).map(ServerFrame::Room),
        PRIVATE => fields
            .take_from()
            .map(|from| ServerFrame::Private(from, fields.rest)),
        UNKNOWN_SESSION => body.is_empty().then_some(ServerFrame::UnknownSession),
        SUBSCRIBED => room(fields).map(ServerFrame::Subscribed),
        UNSUBSCRIBED => number(body).map(ServerFrame::Unsubscribed),
        OWN => own(fields).map(ServerFrame::Own),
        _ => return Ok(None),
    };
    frame.map(Some).ok_or(Malformed::Body)
}

fn welcome(mut body: Body<'_>) -> Option<Welcome<'_>> {
    let mut welcome = Welcome {
        session: SessionId::new(u64::from_be_bytes(body.take()?))?,
        timeout_ms: u32::from_be_bytes(body.take()?),
        bundle_bytes: u16::from_be_bytes(body.take()?),
        address: body.take_address()?,
        servers: ServerList::EMPTY,
    };
    while !body.rest.is_empty() {
        if let (OPTION_SERVERS, value) = body.take_option()? {
            welcome.servers = ServerList::parse(value)?;
        }
    }
    Some(welcome)
}

fn message(mut body: Body<'_>) -> Option<Message<'_>> {
    let room = u32::from_be_bytes(body.take()?);
    let [stream] = body.take()?;
    let sequence = u32::from_be_bytes(body.take()?);
    Some(Message {
        room,
        stream,
        sequence,
        from: body.take_from()?,
        payload: body.rest,
    })
}

fn room(mut body: Body<'_>) -> Option<Room> {
    Some(Room {
        number: u32::from_be_bytes(body.take()?),
        incarnation: u64::from_be_bytes(body.take()?),
        name: RoomName::parse(body.rest)?,
    })
}

fn own(mut body: Body<'_>) -> Option<Own> {
    let room = u32::from_be_bytes(body.take()?);
    let [stream] = body.take()?;
    let own = Own {
        room,
        stream,
        sequence: u32::from_be_bytes(body.take()?),
        count: u16::from_be_bytes(body.take()?),
    };
    body.rest.is_empty().then_some(own)
}

/// Returns the number that is the whole body of a frame.
fn number(body: &[u8]) -> Option<u32> {
    body.try_into().ok().map(u32::from_be_bytes)
}

/// Returns the value of an option that is 0 or 1.
fn flag(value: &[u8]) -> Option<bool> {
    match value {
        [0] => Some(false),
        [1] => Some(true),
        _ => None,
    }
}

/// Rest of a frame's body.
pub(super) struct Body<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Body<'a> {
    /// Takes the type and the value of an option.
    fn take_option(&mut self) -> Option<(u8, &'a [u8])> {
        let [kind, len] = self.take()?;
        let (value, rest) = self.rest.split_at_checked(len.into())?;
        self.rest = rest;
        Some((kind, value))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*field)
    }

    pub(super) fn take_address(&mut self) -> Option<SocketAddr> {
        match self.take_from()? {
            DisplayName::Address(address) => Some(address),
            DisplayName::Name(_) => None,
        }
    }

    fn take_from(&mut self) -> Option<DisplayName> {
        let address = match self.take()? {
            [FROM_V4] => {
                let ip = Ipv4Addr::from(self.take::<4>()?);
                SocketAddr::from((ip, self.take_port()?))
            }
            [kind @ (FROM_V6 | FROM_V6_ZONE)] => {
                let ip = Ipv6Addr::from(self.take::<16>()?);
                let port = self.take_port()?;
                let zone = match kind {
                    FROM_V6 => 0,
                    _ => u32::from_be_bytes(self.take()?),
                };
                SocketAddrV6::new(ip, port, 0, zone).into()
            }
            [FROM_NAME] => {
                let [len] = self.take()?;
                let (name, rest) = self.rest.split_at_checked(len.into())?;
                self.rest = rest;
                return Name::parse(name).map(DisplayName::Name);
            }
            _ => return None,
        };
        Some(DisplayName::Address(address))
    }

    fn take_port(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }
}
