//! Bytes to frames.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::frame::{
    BYE, BundleSize, COMMAND, ClientFrame, FROM_NAME, FROM_V4, FROM_V6, FROM_V6_ZONE, GOODBYE,
    HEARTBEAT, HELLO, MAGIC, MAX_PAYLOAD_BYTES, MESSAGE, MIN_HELLO_BYTES, Malformed, Message,
    NOTICE, PAD, PING, PONG, PRIVATE, ROOM, SAY, ServerFrame, SessionId, UNKNOWN_SESSION, WELCOME,
    Welcome,
};
use crate::wire::name::{DisplayName, Name, RoomName};
use crate::wire::protocol::MAX_TOKEN_BYTES;
use crate::wire::reply::NoticeCode;

/// Returns the session and the frames of a datagram from a client.
///
/// # Errors
/// [`Malformed`] if the header or one of the frames is malformed.
pub fn parse_client(datagram: &[u8]) -> Result<(Option<SessionId>, ClientFrames<'_>), Malformed> {
    let rest = datagram.strip_prefix(&MAGIC).ok_or(Malformed::Header)?;
    let (session, frames) = rest.split_first_chunk().ok_or(Malformed::Header)?;
    let hello_fits = datagram.len() >= MIN_HELLO_BYTES;
    let check = |frame| match client_frame(frame)? {
        ClientFrame::Hello(_) if !hello_fits => Err(Malformed::Body),
        _ => Ok(()),
    };
    Frames { rest: frames }.try_for_each(|frame| check(frame?))?;
    let frames = ClientFrames(Frames { rest: frames });
    Ok((SessionId::new(u64::from_be_bytes(*session)), frames))
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
        client_frame(self.0.next()?.ok()?).ok()
    }
}

/// Returns the frames of a datagram from the server.
///
/// # Errors
/// [`Malformed`] if the header or one of the frames is malformed.
pub fn parse_server(datagram: &[u8]) -> Result<impl Iterator<Item = ServerFrame<'_>>, Malformed> {
    let rest = datagram.strip_prefix(&MAGIC).ok_or(Malformed::Header)?;
    Frames { rest }.try_for_each(|frame| server_frame(frame?).map(drop))?;
    let frames = Frames { rest };
    Ok(frames.filter_map(|frame| frame.and_then(server_frame).ok()))
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

/// Returns the body of a frame after its length, and what follows.
fn split_body(frame: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = frame.split_first_chunk()?;
    rest.split_at_checked(u16::from_be_bytes(*len).into())
}

fn client_frame((kind, body): (u8, &[u8])) -> Result<ClientFrame<'_>, Malformed> {
    let frame = match kind {
        // One byte of flags. Later versions may add more.
        HELLO => ClientFrame::Hello(BundleSize::of_flags(*body.first().ok_or(Malformed::Body)?)),
        HEARTBEAT => ClientFrame::Heartbeat,
        BYE => ClientFrame::Bye,
        SAY => ClientFrame::Say(body),
        PING => ClientFrame::Ping(body),
        COMMAND => ClientFrame::Command(body),
        _ => return Err(Malformed::Kind),
    };
    let len_is_right = match frame {
        ClientFrame::Hello(_) => true,
        ClientFrame::Heartbeat | ClientFrame::Bye => body.is_empty(),
        ClientFrame::Say(_) | ClientFrame::Command(_) => body.len() <= MAX_PAYLOAD_BYTES,
        ClientFrame::Ping(_) => body.len() <= MAX_TOKEN_BYTES,
    };
    len_is_right.then_some(frame).ok_or(Malformed::Body)
}

fn server_frame((kind, body): (u8, &[u8])) -> Result<ServerFrame<'_>, Malformed> {
    let mut fields = Body { rest: body };
    match kind {
        WELCOME => welcome(fields).map(ServerFrame::Welcome),
        MESSAGE => message(fields).map(ServerFrame::Message),
        PONG => Some(ServerFrame::Pong(body)),
        NOTICE => body
            .split_first()
            .map(|(code, text)| ServerFrame::Notice(NoticeCode::of(*code), text)),
        GOODBYE => body.is_empty().then_some(ServerFrame::Goodbye),
        ROOM => room(fields),
        PRIVATE => fields
            .take_from()
            .map(|from| ServerFrame::Private(from, fields.rest)),
        UNKNOWN_SESSION => unknown_session(body),
        _ => return Err(Malformed::Kind),
    }
    .ok_or(Malformed::Body)
}

fn welcome(mut body: Body<'_>) -> Option<Welcome> {
    Some(Welcome {
        session: SessionId::new(u64::from_be_bytes(body.take()?))?,
        timeout_ms: u32::from_be_bytes(body.take()?),
        bundle_bytes: u16::from_be_bytes(body.take()?),
        room: u32::from_be_bytes(body.take()?),
    })
}

fn unknown_session(body: &[u8]) -> Option<ServerFrame<'_>> {
    let number = u64::from_be_bytes(body.try_into().ok()?);
    SessionId::new(number).map(ServerFrame::UnknownSession)
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

fn room(mut body: Body<'_>) -> Option<ServerFrame<'_>> {
    let number = u32::from_be_bytes(body.take()?);
    RoomName::parse(body.rest).map(|name| ServerFrame::Room(number, name))
}

/// Rest of a frame's body.
struct Body<'a> {
    rest: &'a [u8],
}

impl Body<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*field)
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
