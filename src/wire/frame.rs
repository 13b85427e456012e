//! Protocol v2: frames, many of them in a datagram.
//!
//! `docs/PROTOCOL.md` is the specification; all integers are big-endian.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientFrame<'a> {
    /// Asks for a session; its datagram has at least [`MIN_HELLO_BYTES`].
    Hello,
    /// The client is alive.
    Heartbeat,
    /// The client leaves.
    Bye,
    /// A payload for everyone in the room.
    Say(&'a [u8]),
    /// Asks for a [`ServerFrame::Pong`] with the same token.
    Ping(&'a [u8]),
    /// A command, as it is typed in v1.
    Command(&'a [u8]),
}

/// What a server tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerFrame<'a> {
    /// The answer to [`ClientFrame::Hello`].
    Welcome(Welcome),
    /// Someone in the room said something.
    Message(Message<'a>),
    /// The answer to [`ClientFrame::Ping`].
    Pong(&'a [u8]),
    /// A sentence of the server.
    Notice(&'a [u8]),
    /// The server stops.
    Goodbye,
}

/// What a new session is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome {
    /// To be sent with every datagram from now on.
    pub session: u64,
    /// The session ends when nothing is heard for longer than this.
    pub timeout_ms: u32,
    /// The longest datagram that the server sends.
    pub bundle_bytes: u16,
    /// The room that the client is in.
    pub room: u32,
}

/// A message in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// The room it was said in.
    pub room: u32,
    /// Which worker of the server sent it: each counts for itself.
    pub stream: u8,
    /// Its number in this room and stream: one more than that of the message
    /// before, and 0 behind the greatest.
    pub sequence: u32,
    /// Who said it.
    pub from: SocketAddr,
    /// What was said; any bytes.
    pub payload: &'a [u8],
}

/// Why a datagram is not of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It begins with another version, or ends before the first frame.
    #[error("not a datagram of version 2")]
    Header,
    /// A frame is longer than what is left, or than its kind allows.
    #[error("a frame has a wrong length")]
    Length,
    /// A frame of a kind that this version does not have.
    #[error("a frame is of an unknown kind")]
    Kind,
}

/// The frames of a datagram from a client: the session that it is of, and an
/// iterator. All frames are checked before the first is returned.
///
/// # Errors
/// [`Malformed`]; nothing of the datagram may be used then.
pub fn parse_client(
    datagram: &[u8],
) -> Result<(u64, impl Iterator<Item = ClientFrame<'_>>), Malformed> {
    let rest = datagram.strip_prefix(&MAGIC).ok_or(Malformed::Header)?;
    let (session, frames) = rest.split_first_chunk().ok_or(Malformed::Header)?;
    let hello_fits = datagram.len() >= MIN_HELLO_BYTES;
    let check = |frame| match client_frame(frame)? {
        ClientFrame::Hello if !hello_fits => Err(Malformed::Length),
        _ => Ok(()),
    };
    Frames { rest: frames }.try_for_each(|frame| check(frame?))?;
    let frames = Frames { rest: frames };
    let parsed = frames.filter_map(|frame| frame.and_then(client_frame).ok());
    Ok((u64::from_be_bytes(*session), parsed))
}

/// The frames of a datagram from a server. All frames are checked before the
/// first is returned.
///
/// # Errors
/// [`Malformed`]; nothing of the datagram may be used then.
pub fn parse_server(datagram: &[u8]) -> Result<impl Iterator<Item = ServerFrame<'_>>, Malformed> {
    let rest = datagram.strip_prefix(&MAGIC).ok_or(Malformed::Header)?;
    Frames { rest }.try_for_each(|frame| server_frame(frame?).map(drop))?;
    let frames = Frames { rest };
    Ok(frames.filter_map(|frame| frame.and_then(server_frame).ok()))
}

/// Begins a datagram of a client.
pub fn push_client_header(session: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&session.to_be_bytes());
}

/// Begins a datagram of the server.
pub fn push_server_header(out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
}

/// Appends a frame to a datagram that [`push_client_header`] began. What it
/// carries must be no longer than 65,535 bytes.
pub fn push_client_frame(frame: &ClientFrame<'_>, out: &mut Vec<u8>) {
    let (kind, body): (u8, &[u8]) = match frame {
        ClientFrame::Hello => (HELLO, &[0]),
        ClientFrame::Heartbeat => (HEARTBEAT, &[]),
        ClientFrame::Bye => (BYE, &[]),
        ClientFrame::Say(payload) => (SAY, payload),
        ClientFrame::Ping(token) => (PING, token),
        ClientFrame::Command(text) => (COMMAND, text),
    };
    push_frame(kind, &[body], out);
}

/// Appends a frame to a datagram that [`push_server_header`] began. What it
/// carries must be no longer than 65,535 bytes.
pub fn push_server_frame(frame: &ServerFrame<'_>, out: &mut Vec<u8>) {
    match frame {
        ServerFrame::Welcome(welcome) => push_frame(
            WELCOME,
            &[
                &welcome.session.to_be_bytes(),
                &welcome.timeout_ms.to_be_bytes(),
                &welcome.bundle_bytes.to_be_bytes(),
                &welcome.room.to_be_bytes(),
            ],
            out,
        ),
        ServerFrame::Message(message) => {
            let Message {
                room,
                stream,
                sequence,
                from,
                payload,
            } = message;
            let (room, sequence) = (room.to_be_bytes(), sequence.to_be_bytes());
            let port = from.port().to_be_bytes();
            let (v4, v6);
            let (family, ip): (_, &[u8]) = match from.ip() {
                std::net::IpAddr::V4(ip) => {
                    v4 = ip.octets();
                    (FROM_V4, &v4)
                }
                std::net::IpAddr::V6(ip) => {
                    v6 = ip.octets();
                    (FROM_V6, &v6)
                }
            };
            let head = [room[0], room[1], room[2], room[3], *stream];
            push_frame(
                MESSAGE,
                &[&head, &sequence, &[family], ip, &port, payload],
                out,
            );
        }
        ServerFrame::Pong(token) => push_frame(PONG, &[token], out),
        ServerFrame::Notice(text) => push_frame(NOTICE, &[text], out),
        ServerFrame::Goodbye => push_frame(GOODBYE, &[], out),
    }
}

/// Fills the datagram that began at `start` up to `datagram_bytes`.
pub fn push_padding(start: usize, datagram_bytes: usize, out: &mut Vec<u8>) {
    let end = start + datagram_bytes;
    debug_assert!(out.len() <= end);
    out.resize(end.max(out.len()), PAD);
}

fn push_frame(kind: u8, parts: &[&[u8]], out: &mut Vec<u8>) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let len = u16::try_from(len).expect("a frame's body is at most 65,535 bytes");
    out.push(kind);
    out.extend_from_slice(&len.to_be_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Cuts a datagram into frames, by their lengths alone.
#[derive(Clone, Copy)]
struct Frames<'a> {
    rest: &'a [u8],
}

struct RawFrame<'a> {
    kind: u8,
    body: &'a [u8],
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<RawFrame<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&kind, rest) = self.rest.split_first()?;
        self.rest = &[];
        if kind == PAD {
            return None;
        }
        let Some((len, rest)) = rest.split_first_chunk() else {
            return Some(Err(Malformed::Length));
        };
        let len = usize::from(u16::from_be_bytes(*len));
        let Some((body, rest)) = rest.split_at_checked(len) else {
            return Some(Err(Malformed::Length));
        };
        self.rest = rest;
        Some(Ok(RawFrame { kind, body }))
    }
}

fn client_frame(RawFrame { kind, body }: RawFrame<'_>) -> Result<ClientFrame<'_>, Malformed> {
    let frame = match kind {
        HELLO => ClientFrame::Hello,
        HEARTBEAT => ClientFrame::Heartbeat,
        BYE => ClientFrame::Bye,
        SAY => ClientFrame::Say(body),
        PING => ClientFrame::Ping(body),
        COMMAND => ClientFrame::Command(body),
        _ => return Err(Malformed::Kind),
    };
    let len_is_right = match frame {
        // Flags, and what later versions add.
        ClientFrame::Hello => !body.is_empty(),
        ClientFrame::Heartbeat | ClientFrame::Bye => body.is_empty(),
        ClientFrame::Say(_) => body.len() <= MAX_PAYLOAD_BYTES,
        ClientFrame::Ping(_) => body.len() <= MAX_TOKEN_BYTES,
        ClientFrame::Command(_) => true,
    };
    len_is_right.then_some(frame).ok_or(Malformed::Length)
}

fn server_frame(RawFrame { kind, body }: RawFrame<'_>) -> Result<ServerFrame<'_>, Malformed> {
    match kind {
        WELCOME => welcome(body).map(ServerFrame::Welcome),
        MESSAGE => message(body).map(ServerFrame::Message),
        PONG => Some(ServerFrame::Pong(body)),
        NOTICE => Some(ServerFrame::Notice(body)),
        GOODBYE => body.is_empty().then_some(ServerFrame::Goodbye),
        _ => return Err(Malformed::Kind),
    }
    .ok_or(Malformed::Length)
}

fn welcome(body: &[u8]) -> Option<Welcome> {
    let mut body = Body { rest: body };
    Some(Welcome {
        session: u64::from_be_bytes(body.take()?),
        timeout_ms: u32::from_be_bytes(body.take()?),
        bundle_bytes: u16::from_be_bytes(body.take()?),
        room: u32::from_be_bytes(body.take()?),
    })
}

fn message(body: &[u8]) -> Option<Message<'_>> {
    let mut body = Body { rest: body };
    let room = u32::from_be_bytes(body.take()?);
    let [stream] = body.take()?;
    let sequence = u32::from_be_bytes(body.take()?);
    let ip = match body.take()? {
        [FROM_V4] => Ipv4Addr::from(body.take::<4>()?).into(),
        [FROM_V6] => Ipv6Addr::from(body.take::<16>()?).into(),
        _ => return None,
    };
    let port = u16::from_be_bytes(body.take()?);
    Some(Message {
        room,
        stream,
        sequence,
        from: SocketAddr::new(ip, port),
        payload: body.rest,
    })
}

/// What is left of a frame's body.
struct Body<'a> {
    rest: &'a [u8],
}

impl Body<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*field)
    }
}

/// The longest datagram that the server sends to a v2 peer: it passes the
/// minimum MTU of IPv6 (1280, RFC 8200, section 5) with IPv6 and UDP headers
/// and some space for a tunnel's.
pub const BUNDLE_BYTES: usize = 1200;

/// So that no answer to a HELLO is longer than the HELLO: whoever forges the
/// sender of one makes the server send no more than was sent to it.
pub const MIN_HELLO_BYTES: usize = 64;

/// The longest payload: with the header of a message from an IPv6 sender it
/// fills a bundle.
pub const MAX_PAYLOAD_BYTES: usize = BUNDLE_BYTES - MAGIC.len() - MESSAGE_OVERHEAD_BYTES;

/// The longest token of a PING: space for a time and a number.
pub const MAX_TOKEN_BYTES: usize = 32;

/// Kind, length, room, stream, sequence, family, IPv6 address, port.
const MESSAGE_OVERHEAD_BYTES: usize = 1 + 2 + 4 + 1 + 4 + 1 + 16 + 2;

/// The byte that no UTF-8 text contains, and the version.
const MAGIC: [u8; 2] = [0xFF, 0x02];

/// From here on the datagram is padding.
const PAD: u8 = 0x00;
const HELLO: u8 = 0x01;
const HEARTBEAT: u8 = 0x02;
const BYE: u8 = 0x03;
const SAY: u8 = 0x04;
const PING: u8 = 0x05;
const COMMAND: u8 = 0x06;
const WELCOME: u8 = 0x82;
const MESSAGE: u8 = 0x83;
const PONG: u8 = 0x84;
const NOTICE: u8 = 0x85;
const GOODBYE: u8 = 0x86;

/// The sender of a message has an IPv4 address, of 4 bytes.
const FROM_V4: u8 = 4;
/// The sender of a message has an IPv6 address, of 16 bytes.
const FROM_V6: u8 = 6;

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
