//! Frames to bytes.

use std::net::SocketAddr;

use super::frame::{
    BYE, BundleSize, COMMAND, ClientFrame, FROM_NAME, FROM_V4, FROM_V6, FROM_V6_ZONE, GOODBYE,
    HEARTBEAT, HELLO, MAGIC, MAX_FROM_BYTES, MESSAGE, MESSAGE_OVERHEAD_BYTES, MIN_HELLO_BYTES,
    NOTICE, PAD, PING, PONG, PRIVATE, ROOM, SAY, ServerFrame, SessionId, UNKNOWN_SESSION, WELCOME,
};
use crate::wire::name::DisplayName;
use crate::wire::reply::Reply;

/// Begins a datagram of a client. A client without a session requests one.
pub fn push_client_header(session: Option<SessionId>, out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    let number = session.map_or(0, SessionId::get);
    out.extend_from_slice(&number.to_be_bytes());
}

/// Appends a datagram that requests a session with full bundles. It has [`MIN_HELLO_BYTES`].
pub fn push_hello(out: &mut Vec<u8>) {
    push_hello_in(None, BundleSize::Full, out);
}

/// Appends a datagram that requests bundles of this size, in a new session or in this one. It
/// has [`MIN_HELLO_BYTES`].
pub fn push_hello_in(session: Option<SessionId>, size: BundleSize, out: &mut Vec<u8>) {
    let start = out.len();
    push_client_header(session, out);
    push_client_frame(&ClientFrame::Hello(size), out);
    push_padding(start, MIN_HELLO_BYTES, out);
}

/// Begins a datagram of the server.
pub fn push_server_header(out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
}

/// Appends a frame to a datagram that [`push_client_header`] began.
///
/// # Panics
/// If the body is longer than 65,535 bytes.
pub fn push_client_frame(frame: &ClientFrame<'_>, out: &mut Vec<u8>) {
    let flags;
    let (kind, body): (u8, &[u8]) = match frame {
        ClientFrame::Hello(size) => {
            flags = [size.flags()];
            (HELLO, &flags)
        }
        ClientFrame::Heartbeat => (HEARTBEAT, &[]),
        ClientFrame::Bye => (BYE, &[]),
        ClientFrame::Say(payload) => (SAY, payload),
        ClientFrame::Ping(token) => (PING, token),
        ClientFrame::Command(text) => (COMMAND, text),
    };
    push_frame(kind, &[body], out);
}

/// Appends a frame to a datagram that [`push_server_header`] began.
///
/// # Panics
/// If the body is longer than 65,535 bytes.
pub fn push_server_frame(frame: &ServerFrame<'_>, out: &mut Vec<u8>) {
    match frame {
        ServerFrame::Welcome(welcome) => push_frame(
            WELCOME,
            &[
                &welcome.session.get().to_be_bytes(),
                &welcome.timeout_ms.to_be_bytes(),
                &welcome.bundle_bytes.to_be_bytes(),
                &welcome.room.to_be_bytes(),
            ],
            out,
        ),
        ServerFrame::Message(message) => push_frame_with(
            MESSAGE,
            |out| {
                out.extend_from_slice(&message.room.to_be_bytes());
                out.push(message.stream);
                out.extend_from_slice(&message.sequence.to_be_bytes());
                push_from(&message.from, out);
                out.extend_from_slice(message.payload);
            },
            out,
        ),
        ServerFrame::Pong(token) => push_frame(PONG, &[token], out),
        ServerFrame::Notice(code, text) => push_frame(NOTICE, &[&[code.byte()], text], out),
        ServerFrame::Goodbye => push_frame(GOODBYE, &[], out),
        ServerFrame::Room(number, name) => {
            push_frame(ROOM, &[&number.to_be_bytes(), name.as_bytes()], out);
        }
        ServerFrame::Private(from, payload) => push_frame_with(
            PRIVATE,
            |out| {
                push_from(from, out);
                out.extend_from_slice(payload);
            },
            out,
        ),
        ServerFrame::UnknownSession(session) => {
            push_frame(UNKNOWN_SESSION, &[&session.get().to_be_bytes()], out);
        }
    }
}

/// Returns the number of bytes of a [`ServerFrame::Message`] in a datagram, after its
/// [`SERVER_HEADER_BYTES`](super::SERVER_HEADER_BYTES).
pub fn message_bytes(from: &DisplayName, payload_bytes: usize) -> usize {
    let from_bytes = match from {
        DisplayName::Address(SocketAddr::V4(_)) => 1 + 4 + 2,
        DisplayName::Address(SocketAddr::V6(address)) if address.scope_id() == 0 => 1 + 16 + 2,
        DisplayName::Address(SocketAddr::V6(_)) => 1 + 16 + 2 + 4,
        DisplayName::Name(name) => 2 + name.as_bytes().len(),
    };
    MESSAGE_OVERHEAD_BYTES - MAX_FROM_BYTES + from_bytes + payload_bytes
}

/// Appends a [`ClientFrame::Say`] with the payload that `fill` appends.
pub fn push_say(fill: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
    push_frame_with(SAY, fill, out);
}

/// Appends a [`ServerFrame::Notice`] with the sentence of a reply.
pub fn push_reply(reply: &Reply<'_>, out: &mut Vec<u8>) {
    let fill = |out: &mut Vec<u8>| {
        out.push(reply.code().byte());
        reply.push(out);
    };
    push_frame_with(NOTICE, fill, out);
}

/// Pads the datagram that began at `start` to `datagram_bytes`.
pub fn push_padding(start: usize, datagram_bytes: usize, out: &mut Vec<u8>) {
    let end = start + datagram_bytes;
    debug_assert!(out.len() <= end);
    out.resize(end.max(out.len()), PAD);
}

fn push_frame_with(kind: u8, fill: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
    out.extend_from_slice(&[kind, 0, 0]);
    let start = out.len();
    fill(out);
    let len = u16::try_from(out.len() - start).expect(BODY_FITS);
    out[start - 2..start].copy_from_slice(&len.to_be_bytes());
}

fn push_frame(kind: u8, parts: &[&[u8]], out: &mut Vec<u8>) {
    let fill = |out: &mut Vec<u8>| parts.iter().for_each(|part| out.extend_from_slice(part));
    push_frame_with(kind, fill, out);
}

/// Appends the sender of a message, at most [`MAX_FROM_BYTES`].
fn push_from(from: &DisplayName, out: &mut Vec<u8>) {
    match from {
        DisplayName::Address(SocketAddr::V4(address)) => {
            out.push(FROM_V4);
            out.extend_from_slice(&address.ip().octets());
            out.extend_from_slice(&address.port().to_be_bytes());
        }
        DisplayName::Address(SocketAddr::V6(address)) => {
            let zone = address.scope_id();
            out.push(if zone == 0 { FROM_V6 } else { FROM_V6_ZONE });
            out.extend_from_slice(&address.ip().octets());
            out.extend_from_slice(&address.port().to_be_bytes());
            if zone != 0 {
                out.extend_from_slice(&zone.to_be_bytes());
            }
        }
        DisplayName::Name(name) => {
            let name = name.as_bytes();
            out.extend_from_slice(&[FROM_NAME, name.len() as u8]);
            out.extend_from_slice(name);
        }
    }
}

const BODY_FITS: &str = "a frame's body is at most 65,535 bytes";
