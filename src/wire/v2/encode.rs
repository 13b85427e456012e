//! Frames to bytes.

use std::net::SocketAddr;

use super::frame::{
    BYE, COMMAND, ClientFrame, FROM_NAME, FROM_V4, FROM_V6, FROM_V6_ZONE, GOODBYE, HEARTBEAT,
    HELLO, Hello, MAGIC, MAX_FROM_BYTES, MESSAGE, MESSAGE_OVERHEAD_BYTES, MIN_HELLO_BYTES, MOVE,
    NOTICE, OPTION_BUNDLE_BYTES, OPTION_ECHO, OPTION_RECEIVE, OPTION_SERVERS, OWN, PAD, PING, PONG,
    PRIVATE, ROOM, Room, SAY, SAY_TO, SUBSCRIBE, SUBSCRIBED, ServerFrame, SessionId,
    SessionOptions, UNKNOWN_SESSION, UNSUBSCRIBE, UNSUBSCRIBED, Unknown, WELCOME,
};
use super::servers::ServerList;
use crate::wire::name::DisplayName;
use crate::wire::reply::Reply;

/// Begins a datagram of a client. A client without a session requests one.
pub fn push_client_header(session: Option<SessionId>, out: &mut Vec<u8>) {
    push_header(session.map_or(0, SessionId::get), out);
}

/// Appends a datagram that requests a session. It has [`MIN_HELLO_BYTES`].
pub fn push_hello(hello: &Hello, out: &mut Vec<u8>) {
    let start = out.len();
    push_client_header(None, out);
    push_client_frame(&ClientFrame::Hello(*hello), out);
    push_padding(start, MIN_HELLO_BYTES, out);
}

/// Begins a datagram of the server. `receiver` is the session of the client, or the nonce of its
/// HELLO in the reply to a HELLO without a session.
pub fn push_server_header(receiver: u64, out: &mut Vec<u8>) {
    push_header(receiver, out);
}

/// Appends a frame to a datagram that [`push_client_header`] began. An option that has its default
/// takes no space.
///
/// # Panics
/// If the body is longer than 65,535 bytes.
pub fn push_client_frame(frame: &ClientFrame<'_>, out: &mut Vec<u8>) {
    match frame {
        ClientFrame::Hello(hello) => push_frame_with(
            HELLO,
            |out| {
                out.extend_from_slice(&hello.nonce.to_be_bytes());
                push_options(&hello.options, out);
            },
            out,
        ),
        ClientFrame::Heartbeat(None) => push_frame(HEARTBEAT, &[], out),
        ClientFrame::Heartbeat(Some(room)) => push_frame(HEARTBEAT, &[&room.to_be_bytes()], out),
        ClientFrame::Bye => push_frame(BYE, &[], out),
        ClientFrame::Say(payload) => push_frame(SAY, &[payload], out),
        ClientFrame::Ping(token) => push_frame(PING, &[token], out),
        ClientFrame::Command(text) => push_frame(COMMAND, &[text], out),
        ClientFrame::Subscribe(name) => push_frame(SUBSCRIBE, &[name.as_bytes()], out),
        ClientFrame::Unsubscribe(room) => push_frame(UNSUBSCRIBE, &[&room.to_be_bytes()], out),
        ClientFrame::SayTo(room, payload) => {
            push_frame(SAY_TO, &[&room.to_be_bytes(), payload], out);
        }
        ClientFrame::Move(from) => push_frame_with(
            MOVE,
            |out| {
                out.extend_from_slice(&from.session.get().to_be_bytes());
                push_from(&DisplayName::Address(from.address), out);
            },
            out,
        ),
        ClientFrame::Unknown(Unknown::Frame(kind)) => push_frame(*kind, &[], out),
        ClientFrame::Unknown(Unknown::Option(kind, nonce)) => {
            push_frame(HELLO, &[&nonce.to_be_bytes(), &[*kind, 0]], out);
        }
    }
}

/// Appends a frame to a datagram that [`push_server_header`] began.
///
/// # Panics
/// If the body is longer than 65,535 bytes.
pub fn push_server_frame(frame: &ServerFrame<'_>, out: &mut Vec<u8>) {
    match frame {
        ServerFrame::Welcome(welcome) => push_frame_with(
            WELCOME,
            |out| {
                out.extend_from_slice(&welcome.session.get().to_be_bytes());
                out.extend_from_slice(&welcome.timeout_ms.to_be_bytes());
                out.extend_from_slice(&welcome.bundle_bytes.to_be_bytes());
                push_from(&DisplayName::Address(welcome.address), out);
                push_server_list(welcome.servers, out);
            },
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
        ServerFrame::Room(room) => push_room(ROOM, room, out),
        ServerFrame::Private(from, payload) => push_frame_with(
            PRIVATE,
            |out| {
                push_from(from, out);
                out.extend_from_slice(payload);
            },
            out,
        ),
        ServerFrame::UnknownSession => push_frame(UNKNOWN_SESSION, &[], out),
        ServerFrame::Subscribed(room) => push_room(SUBSCRIBED, room, out),
        ServerFrame::Unsubscribed(room) => push_frame(UNSUBSCRIBED, &[&room.to_be_bytes()], out),
        ServerFrame::Own(own) => push_frame(
            OWN,
            &[
                &own.room.to_be_bytes(),
                &[own.stream],
                &own.sequence.to_be_bytes(),
                &own.count.to_be_bytes(),
            ],
            out,
        ),
    }
}

/// Returns the number of bytes of a [`ServerFrame::Message`] in a datagram, after its
/// [`HEADER_BYTES`](super::HEADER_BYTES).
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

fn push_header(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&number.to_be_bytes());
}

fn push_options(options: &SessionOptions, out: &mut Vec<u8>) {
    let SessionOptions {
        bundle_size,
        echo,
        receive,
    } = *options;
    let default = SessionOptions::default();
    if bundle_size != default.bundle_size {
        out.extend_from_slice(&[OPTION_BUNDLE_BYTES, 2]);
        out.extend_from_slice(&(bundle_size.bytes() as u16).to_be_bytes());
    }
    if echo != default.echo {
        out.extend_from_slice(&[OPTION_ECHO, 1, echo.into()]);
    }
    if receive != default.receive {
        out.extend_from_slice(&[OPTION_RECEIVE, 1, receive.into()]);
    }
}

fn push_server_list(servers: ServerList<'_>, out: &mut Vec<u8>) {
    if !servers.is_empty() {
        out.extend_from_slice(&[OPTION_SERVERS, servers.bytes().len() as u8]);
        out.extend_from_slice(servers.bytes());
    }
}

fn push_room(kind: u8, room: &Room, out: &mut Vec<u8>) {
    let (number, incarnation) = (room.number.to_be_bytes(), room.incarnation.to_be_bytes());
    push_frame(kind, &[&number, &incarnation, room.name.as_bytes()], out);
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
pub(super) fn push_from(from: &DisplayName, out: &mut Vec<u8>) {
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
