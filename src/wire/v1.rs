//! Version 1, text: one message per datagram.

use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;

use super::command::split_at_blank;
use super::name::DisplayName;
use super::printable::{make_printable, push_printable};
use super::protocol::{LINE_END, MAX_TEXT_DATAGRAM, Protocol};
use super::reply::Reply;
use super::v2::FRAME_MARK;

/// A datagram from a peer, by its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientDatagram<'a> {
    /// The peer leaves: an empty datagram, or `quit` in any case.
    Leave,
    /// The peer is alive: `@im@` in any case, or nothing but a line end, padding or a byte
    /// order mark.
    Heartbeat,
    /// A text to the peer's room, or a command. Padding, one line end and a byte order mark
    /// are removed.
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
    let (Some(first), Some(last)) = (datagram.first(), datagram.last()) else {
        return ClientDatagram::Leave;
    };
    // Most datagrams have nothing to remove.
    if (b'!'..BYTE_ORDER_MARK[0]).contains(first) && *last > b' ' {
        return classify_line(datagram, datagram);
    }
    if *first == FRAME_MARK {
        return ClientDatagram::Frames(datagram);
    }
    let line = without_line_end(without_padding(datagram));
    if line.is_empty() || line == BYTE_ORDER_MARK {
        return ClientDatagram::Heartbeat;
    }
    let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
    classify_line(line, without_blanks(line))
}

#[inline]
fn classify_line<'a>(line: &'a [u8], word: &[u8]) -> ClientDatagram<'a> {
    if word.eq_ignore_ascii_case(HEARTBEAT) {
        ClientDatagram::Heartbeat
    } else if word.eq_ignore_ascii_case(QUIT) {
        ClientDatagram::Leave
    } else {
        ClientDatagram::Text(line)
    }
}

/// Returns the form in which the server sends to a peer whose first datagram is this one, of
/// v1. A peer that ends its lines receives lines with an end.
pub fn line_protocol(datagram: &[u8]) -> Protocol {
    if without_padding(datagram).ends_with(LINE_END.as_bytes()) {
        Protocol::Lines
    } else {
        Protocol::Text
    }
}

/// Appends a text to the room of its sender: `ip:port text` or `name text`. The datagram
/// is printable, not empty, and at most [`MAX_TEXT_DATAGRAM`] bytes long.
pub fn push_text(from: impl Into<DisplayName>, text: &[u8], out: &mut Vec<u8>) {
    let limit = out.len() + MAX_TEXT_DATAGRAM;
    from.into().push(out);
    out.push(b' ');
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

/// Removes NUL bytes from the end. C programs send the end of a string, or a whole buffer.
fn without_padding(mut datagram: &[u8]) -> &[u8] {
    while let [rest @ .., 0] = datagram {
        datagram = rest;
    }
    datagram
}

/// Removes blanks and tabs from both ends.
fn without_blanks(mut line: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = line {
        line = rest;
    }
    line
}

/// Removes one line end, `\n` or `\r\n`, which netcat sends with every line.
pub(crate) fn without_line_end(datagram: &[u8]) -> &[u8] {
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

/// U+FEFF in UTF-8, which PowerShell sends before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

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
