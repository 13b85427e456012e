//! Frames to bytes.

use std::net::IpAddr;

use super::{
    BYE, COMMAND, ClientFrame, FROM_NAME, FROM_V4, FROM_V6, GOODBYE, HEARTBEAT, HELLO, MAGIC,
    MAX_FROM_BYTES, MESSAGE, MIN_HELLO_BYTES, Message, NOTICE, PAD, PING, PONG, PRIVATE, ROOM, SAY,
    ServerFrame, SessionId, WELCOME,
};
use crate::wire::name::DisplayName;
use crate::wire::reply::Reply;

/// Begins a datagram of a client. A client without a session requests one.
pub fn push_client_header(session: Option<SessionId>, out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    let number = session.map_or(0, SessionId::get);
    out.extend_from_slice(&number.to_be_bytes());
}

/// Appends a datagram that requests a session. It has [`MIN_HELLO_BYTES`].
pub fn push_hello(out: &mut Vec<u8>) {
    let start = out.len();
    push_client_header(None, out);
    push_client_frame(&ClientFrame::Hello, out);
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
        ServerFrame::Message(message) => {
            let Message {
                room,
                stream,
                sequence,
                from,
                payload,
            } = message;
            let (room, sequence) = (room.to_be_bytes(), sequence.to_be_bytes());
            let from = EncodedFrom::of(from);
            let parts = [&room[..], &[*stream], &sequence, from.bytes(), payload];
            push_frame(MESSAGE, &parts, out);
        }
        ServerFrame::Pong(token) => push_frame(PONG, &[token], out),
        ServerFrame::Notice(code, text) => push_frame(NOTICE, &[&[code.byte()], text], out),
        ServerFrame::Goodbye => push_frame(GOODBYE, &[], out),
        ServerFrame::Room(number, name) => {
            push_frame(ROOM, &[&number.to_be_bytes(), name.as_bytes()], out);
        }
        ServerFrame::Private(from, payload) => {
            push_frame(PRIVATE, &[EncodedFrom::of(from).bytes(), payload], out);
        }
    }
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
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let len = u16::try_from(len).expect(BODY_FITS);
    out.push(kind);
    out.extend_from_slice(&len.to_be_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Encoded sender of a message, stored inline.
struct EncodedFrom {
    bytes: [u8; MAX_FROM_BYTES],
    len: usize,
}

impl EncodedFrom {
    fn of(sender: &DisplayName) -> Self {
        let mut encoded = Self {
            bytes: [0; MAX_FROM_BYTES],
            len: 0,
        };
        match sender {
            DisplayName::Address(address) => {
                match address.ip() {
                    IpAddr::V4(ip) => encoded.push(&[FROM_V4]).push(&ip.octets()),
                    IpAddr::V6(ip) => encoded.push(&[FROM_V6]).push(&ip.octets()),
                };
                encoded.push(&address.port().to_be_bytes());
            }
            DisplayName::Name(name) => {
                let name = name.as_bytes();
                encoded.push(&[FROM_NAME, name.len() as u8]).push(name);
            }
        }
        encoded
    }

    fn push(&mut self, bytes: &[u8]) -> &mut Self {
        let end = self.len + bytes.len();
        self.bytes[self.len..end].copy_from_slice(bytes);
        self.len = end;
        self
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

const BODY_FITS: &str = "a frame's body is at most 65,535 bytes";
