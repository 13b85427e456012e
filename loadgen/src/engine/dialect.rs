//! What clients say and hear, in either version of the protocol. No I/O.

use bullhorn::wire::RoomName;
use bullhorn::wire::v2::{
    ClientFrame, NoticeCode, ServerFrame, SessionId, Welcome, parse_server, push_client_frame,
    push_client_header, push_hello,
};

use crate::config::Protocol;
use crate::engine::stamp::{STAMP_BYTES, Stamp};

/// What a client says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Say<'a> {
    /// Asks to be a client: the first datagram of version 2.
    Hello,
    /// Goes to a room.
    Join(&'a str),
    /// Asks for an answer that carries the same stamp.
    Ask(&'a Stamp),
    /// Says something to its room: a stamp, filled up to this length.
    Text(&'a Stamp, usize),
    /// Is alive.
    Heartbeat,
    /// Leaves.
    Leave,
}

/// What a client hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard<'a> {
    /// The answer to [`Say::Hello`].
    Welcome(Welcome),
    /// The answer to [`Say::Join`]: it is in this room.
    Joined(RoomName),
    /// The answer to [`Say::Join`]: it is not, and why.
    Refused(&'a [u8]),
    /// The answer to [`Say::Ask`].
    Answer(Stamp),
    /// The answer of the greeting service, to whatever it was.
    Greeting,
    /// A text that somebody said.
    Text(Stamp),
    /// What a client of version 1 asked for, said to its room: there are no commands.
    Echo,
    /// The server stops.
    Goodbye,
    /// Nothing that this program asked for.
    Stray,
}

/// Writes a datagram into `out`, in place of what was there.
pub(crate) fn write(
    protocol: Protocol,
    session: Option<SessionId>,
    say: Say<'_>,
    out: &mut Vec<u8>,
) {
    out.clear();
    match protocol {
        Protocol::V1 => write_text(say, out),
        Protocol::V2 => write_frame(session, say, out),
    }
}

/// Calls `each` with what is in a datagram.
pub(crate) fn read<'a>(protocol: Protocol, datagram: &'a [u8], mut each: impl FnMut(Heard<'a>)) {
    match protocol {
        Protocol::V1 => each(read_text(datagram)),
        Protocol::V2 => match parse_server(datagram) {
            Ok(frames) => frames.filter_map(read_frame).for_each(each),
            Err(_) if datagram.starts_with(GREETING) => each(Heard::Greeting),
            Err(_) => each(Heard::Stray),
        },
    }
}

fn write_text(say: Say<'_>, out: &mut Vec<u8>) {
    match say {
        Say::Hello | Say::Heartbeat => out.extend_from_slice(b"@im@"),
        Say::Join(room) => {
            out.extend_from_slice(b"/join ");
            out.extend_from_slice(room.as_bytes());
        }
        Say::Ask(stamp) => {
            out.extend_from_slice(b"/ping ");
            out.extend_from_slice(&encoded(stamp));
        }
        Say::Text(stamp, bytes) => push_filled(stamp, bytes, out),
        Say::Leave => out.extend_from_slice(b"quit"),
    }
}

fn write_frame(session: Option<SessionId>, say: Say<'_>, out: &mut Vec<u8>) {
    match say {
        Say::Hello => push_hello(out),
        Say::Join(room) => {
            let (command, bytes) = join_command(room);
            push_client_header(session, out);
            push_client_frame(&ClientFrame::Command(&command[..bytes]), out);
        }
        Say::Ask(stamp) => {
            push_client_header(session, out);
            push_client_frame(&ClientFrame::Ping(&encoded(stamp)), out);
        }
        Say::Text(stamp, bytes) => {
            push_client_header(session, out);
            let start = out.len();
            // Its payload is filled in behind a frame without one, whose length is
            // then set: what stands there is not written twice.
            push_client_frame(&ClientFrame::Say(&[]), out);
            push_filled(stamp, bytes, out);
            let len = (out.len() - start - FRAME_HEAD_BYTES) as u16;
            out[start + 1..start + FRAME_HEAD_BYTES].copy_from_slice(&len.to_be_bytes());
        }
        Say::Heartbeat => {
            push_client_header(session, out);
            push_client_frame(&ClientFrame::Heartbeat, out);
        }
        Say::Leave => {
            push_client_header(session, out);
            push_client_frame(&ClientFrame::Bye, out);
        }
    }
}

fn read_text(datagram: &[u8]) -> Heard<'_> {
    let stamped = |bytes: &[u8], heard: fn(Stamp) -> Heard<'static>| {
        Stamp::decode(bytes).map_or(Heard::Stray, heard)
    };
    if let Some(token) = datagram.strip_prefix(b"* pong ") {
        return stamped(token, Heard::Answer);
    }
    if let Some(sentence) = datagram.strip_prefix(b"* ") {
        return match sentence.strip_prefix(b"you are in ") {
            Some(place) => room_of(place).map_or(Heard::Stray, Heard::Joined),
            None => Heard::Refused(sentence),
        };
    }
    if datagram.starts_with(GREETING) {
        return Heard::Greeting;
    }
    // Behind the speaker.
    match datagram.iter().position(|byte| *byte == b' ') {
        Some(blank) if is_command(&datagram[blank + 1..]) => Heard::Echo,
        Some(blank) => stamped(&datagram[blank + 1..], Heard::Text),
        None => Heard::Stray,
    }
}

/// The name in `ROOM (N here)`.
fn room_of(place: &[u8]) -> Option<RoomName> {
    let blank = place.iter().position(|byte| *byte == b' ')?;
    let (name, members) = place.split_at(blank);
    let is_whole = members.starts_with(b" (") && members.ends_with(b" here)");
    RoomName::parse(name).filter(|_| is_whole)
}

fn is_command(text: &[u8]) -> bool {
    text.starts_with(b"/join ") || text.starts_with(b"/ping ")
}

/// None: it says nothing that is waited for.
fn read_frame(frame: ServerFrame<'_>) -> Option<Heard<'_>> {
    let stamped = |stamp, heard: fn(Stamp) -> Heard<'static>| {
        Stamp::decode(stamp).map_or(Heard::Stray, heard)
    };
    Some(match frame {
        ServerFrame::Welcome(welcome) => Heard::Welcome(welcome),
        ServerFrame::Message(message) => stamped(message.payload, Heard::Text),
        ServerFrame::Pong(token) => stamped(token, Heard::Answer),
        ServerFrame::Room(_, name) => Heard::Joined(name),
        // What goes with a ROOM.
        ServerFrame::Notice(NoticeCode::Done, _) => return None,
        ServerFrame::Notice(NoticeCode::Misuse | NoticeCode::Refused, text) => Heard::Refused(text),
        ServerFrame::Notice(..) | ServerFrame::Private(..) => Heard::Stray,
        ServerFrame::Goodbye => Heard::Goodbye,
    })
}

fn encoded(stamp: &Stamp) -> [u8; STAMP_BYTES] {
    let mut bytes = [0; STAMP_BYTES];
    stamp.encode(&mut bytes);
    bytes
}

fn push_filled(stamp: &Stamp, bytes: usize, out: &mut Vec<u8>) {
    let end = out.len() + bytes.max(STAMP_BYTES);
    out.extend_from_slice(&encoded(stamp));
    out.resize(end, FILLER);
}

/// The command, and how long it is.
fn join_command(room: &str) -> ([u8; MAX_JOIN_BYTES], usize) {
    let mut command = [0; MAX_JOIN_BYTES];
    let parts = b"/join ".iter().chain(room.as_bytes());
    let mut bytes = 0;
    for (place, byte) in command.iter_mut().zip(parts) {
        *place = *byte;
        bytes += 1;
    }
    (command, bytes)
}

/// So does an answer of the greeting service begin, which knows no versions.
const GREETING: &[u8] = b"hello,(";

/// The verb, a blank, and the longest name of a room.
const MAX_JOIN_BYTES: usize = 6 + 32;

/// Kind and length.
const FRAME_HEAD_BYTES: usize = 3;

/// A letter, so that texts of version 1 stay as they are.
const FILLER: u8 = b'x';

#[cfg(test)]
#[path = "dialect_tests.rs"]
mod tests;
