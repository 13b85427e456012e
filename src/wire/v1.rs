//! Version 1, text: one message per datagram.

use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;

use super::command::split_at_blank;
use super::name::DisplayName;
use super::printable::{make_printable, push_printable};
use super::protocol::MAX_TEXT_DATAGRAM;
use super::reply::Reply;
use super::v2::FRAME_MARK;

/// A datagram from a peer, by its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientDatagram<'a> {
    /// The peer leaves: an empty datagram, or `quit` in any case.
    Leave,
    /// The peer is alive: `@im@` in any case, or only a line end.
    Heartbeat,
    /// A text to the peer's room, or a command. One line end is removed.
    Text(&'a [u8]),
    /// A datagram of version 2, which starts with [`FRAME_MARK`].
    Frames(&'a [u8]),
}

/// A datagram from the server to a v1 peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerLine<'a> {
    /// A text to the room: `name text` or `ip:port text`.
    Text {
        /// The sender. A [`DisplayName`] if this server wrote it; others may write
        /// something else.
        from: &'a [u8],
        /// The text, printable and cut to the length of a datagram.
        text: &'a [u8],
    },
    /// A direct message: `* name to you: text`.
    Private {
        /// The sender.
        from: DisplayName,
        /// The text, printable and cut to the length of a datagram.
        text: &'a [u8],
    },
    /// A sentence of the server: `* sentence`. [`Reply::parse_uncoded`] parses it.
    Notice(&'a [u8]),
}

/// Returns the meaning of a datagram from a peer. Every sequence of bytes has one.
pub fn classify(datagram: &[u8]) -> ClientDatagram<'_> {
    if datagram.is_empty() {
        return ClientDatagram::Leave;
    }
    if datagram[0] == FRAME_MARK {
        return ClientDatagram::Frames(datagram);
    }
    let line = without_line_end(datagram);
    if line.is_empty() || line.eq_ignore_ascii_case(HEARTBEAT) {
        ClientDatagram::Heartbeat
    } else if line.eq_ignore_ascii_case(QUIT) {
        ClientDatagram::Leave
    } else {
        ClientDatagram::Text(line)
    }
}

/// Appends a text to the room of its sender: `ip:port text` or `name text`. The datagram
/// is printable, not empty, and at most [`MAX_TEXT_DATAGRAM`] bytes long.
pub fn push_text(from: impl Display, text: &[u8], out: &mut Vec<u8>) {
    let limit = out.len() + MAX_TEXT_DATAGRAM;
    push_display(format_args!("{from} "), out);
    push_printable(text, limit, out);
}

/// Appends a sentence of the server: `* sentence`. No peer's name starts with `*`.
pub fn push_reply(reply: &Reply<'_>, out: &mut Vec<u8>) {
    let limit = out.len() + MAX_TEXT_DATAGRAM;
    out.extend_from_slice(NOTICE.as_bytes());
    let start = out.len();
    reply.push(out);
    make_printable(start, limit, out);
}

/// Appends a direct message: `* name to you: text`.
pub fn push_private(from: impl Display, text: &[u8], out: &mut Vec<u8>) {
    let limit = out.len() + MAX_TEXT_DATAGRAM;
    push_display(format_args!("{NOTICE}{from} {TO_YOU}"), out);
    push_printable(text, limit, out);
}

/// Appends the greeting service's reply to `peer`: `hello,('127.0.0.1', 51859)`.
pub fn push_greeting(peer: SocketAddr, out: &mut Vec<u8>) {
    out.extend_from_slice(GREETING_WORD);
    push_python_address(peer, out);
}

/// Appends an address as Python prints that of a socket: `('127.0.0.1', 51859)`, or
/// `('::1', 51859, 0, 0)` with the flow information and scope of IPv6.
pub fn push_python_address(address: SocketAddr, out: &mut Vec<u8>) {
    let (ip, port) = (address.ip(), address.port());
    match address {
        SocketAddr::V4(_) => push_display(format_args!("('{ip}', {port})"), out),
        SocketAddr::V6(v6) => {
            let (flow, scope) = (v6.flowinfo(), v6.scope_id());
            push_display(format_args!("('{ip}', {port}, {flow}, {scope})"), out);
        }
    }
}

impl<'a> ServerLine<'a> {
    /// Parses a datagram from the server, without its line end. Returns `None` if it has
    /// only one word.
    ///
    /// The reply to a ping is ambiguous. `* pong to you: x` is parsed as a direct message.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let Some(sentence) = line.strip_prefix(NOTICE.as_bytes()) else {
            let (from, text) = split_at_blank(line)?;
            return Some(Self::Text { from, text });
        };
        Some(parse_private(sentence).unwrap_or(Self::Notice(sentence)))
    }
}

fn parse_private(sentence: &[u8]) -> Option<ServerLine<'_>> {
    let (from, rest) = split_at_blank(sentence)?;
    let text = rest.strip_prefix(TO_YOU.as_bytes())?;
    let from = DisplayName::parse(from)?;
    Some(ServerLine::Private { from, text })
}

/// Removes one line end, `\n` or `\r\n`, which netcat sends with every line.
fn without_line_end(datagram: &[u8]) -> &[u8] {
    let line = datagram.strip_suffix(b"\n").unwrap_or(datagram);
    if line.len() < datagram.len() {
        line.strip_suffix(b"\r").unwrap_or(line)
    } else {
        line
    }
}

fn push_display(text: impl Display, out: &mut Vec<u8>) {
    write!(out, "{text}").expect("writing to a Vec never fails");
}

/// Registers its sender, or keeps it registered. In any case.
pub const HEARTBEAT: &[u8] = b"@im@";

/// Ends the registration of its sender. In any case.
pub const QUIT: &[u8] = b"quit";

/// Start of a datagram that is not a text to the room.
pub const NOTICE: &str = "* ";

/// Between the sender and the text of a direct message.
const TO_YOU: &str = "to you: ";

/// Start of every greeting.
pub const GREETING_START: &[u8] = b"hello,('";

const GREETING_WORD: &[u8] = b"hello,";

#[cfg(test)]
mod tests;
