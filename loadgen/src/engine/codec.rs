//! The datagrams that clients send and receive, in both versions of the protocol. No I/O.

use bullhorn::wire::reply::Resource;
use bullhorn::wire::v2::{
    ClientFrame, Hello, NoticeCode, Room, ServerFrame, SessionId, Welcome, parse_server,
    push_client_frame, push_client_header, push_hello, push_say,
};
use bullhorn::wire::{
    GREETING_START, HEARTBEAT, MAX_ROOM_NAME_BYTES, PROOF_VERB, ProofToken, QUIT, Reply, RoomName,
    ServerLine,
};

use crate::config::Protocol;
use crate::engine::stamp::{STAMP_BYTES, Stamp};

/// A datagram that a client sends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Say<'a> {
    /// Asks to be a client: the first datagram of version 2, with a nonce.
    Hello(u64),
    /// Proves its address, in version 1.
    Prove(ProofToken),
    /// Goes to a room.
    Join(&'a str),
    /// Asks for an answer that carries the same stamp.
    Ask(&'a Stamp),
    /// A text to its room: a stamp, filled up to this length.
    Text(&'a Stamp, usize),
    /// Is alive, and in the room with this number, if it is known in version 2.
    Heartbeat(Option<u32>),
    /// Leaves.
    Leave,
}

/// A message that a client receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received<'a> {
    /// The answer to [`Say::Hello`].
    Welcome(Welcome<'a>),
    /// The server asks for [`Say::Prove`] with this token.
    Challenge(ProofToken),
    /// The answer to [`Say::Join`] in version 1: it is in this room, with so many members.
    Joined(RoomName, usize),
    /// The room that it is in, in version 2.
    Room(Room),
    /// The number of members of its room, in version 2. It goes with [`Self::Room`].
    Members(RoomName, usize),
    /// The answer to [`Say::Join`]: it is not, and why.
    Refused(&'a [u8]),
    /// It sent more than the server takes of one peer, which drops what exceeds this per second.
    Limited(Resource, u32),
    /// The answer to [`Say::Ask`].
    Answer(Stamp),
    /// The answer of the greeting service, to whatever it was.
    Greeting,
    /// A text that somebody said.
    Text(Stamp),
    /// The request of a v1 client as a text to its room: there are no commands.
    Echo,
    /// The server stops.
    Goodbye,
    /// The server does not know this session.
    Forgotten(SessionId),
    /// A message that this program did not ask for.
    Stray,
}

/// The possible contents of the header of a datagram to a client, in version 2.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Receiver {
    pub(crate) session: Option<SessionId>,
    /// The nonce of its HELLO.
    pub(crate) nonce: u64,
}

impl Receiver {
    fn is(self, number: u64) -> bool {
        number == self.nonce || self.session.is_some_and(|session| session.get() == number)
    }
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

/// Calls `each` with what is in a datagram to `receiver`. A datagram to another one is stray.
pub(crate) fn read<'a>(
    protocol: Protocol,
    receiver: Receiver,
    datagram: &'a [u8],
    mut each: impl FnMut(Received<'a>),
) {
    match protocol {
        Protocol::V1 => each(read_text(datagram)),
        Protocol::V2 => match parse_server(datagram) {
            Ok(frames) if receiver.is(frames.receiver()) => {
                let number = frames.receiver();
                let read = |frame| read_frame(number, frame);
                frames.filter_map(read).for_each(each);
            }
            Err(_) if datagram.starts_with(GREETING_START) => each(Received::Greeting),
            _ => each(Received::Stray),
        },
    }
}

fn write_text(say: Say<'_>, out: &mut Vec<u8>) {
    match say {
        Say::Hello(_) | Say::Heartbeat(_) => out.extend_from_slice(HEARTBEAT),
        Say::Prove(token) => {
            out.extend_from_slice(PROOF_VERB);
            out.extend_from_slice(format!(" {token}").as_bytes());
        }
        Say::Join(room) => {
            out.extend_from_slice(b"/join ");
            out.extend_from_slice(room.as_bytes());
        }
        Say::Ask(stamp) => {
            out.extend_from_slice(b"/ping ");
            out.extend_from_slice(&encoded(stamp));
        }
        Say::Text(stamp, bytes) => push_filled(stamp, bytes, out),
        Say::Leave => out.extend_from_slice(QUIT),
    }
}

fn write_frame(session: Option<SessionId>, say: Say<'_>, out: &mut Vec<u8>) {
    match say {
        Say::Hello(nonce) => {
            let hello = Hello {
                nonce,
                ..Hello::default()
            };
            push_hello(&hello, out);
        }
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
            // Filled in place, so that the payload is not written twice.
            push_say(|out| push_filled(stamp, bytes, out), out);
        }
        Say::Heartbeat(room) => {
            push_client_header(session, out);
            push_client_frame(&ClientFrame::Heartbeat(room), out);
        }
        // A session is the proof.
        Say::Prove(_) => {}
        Say::Leave => {
            push_client_header(session, out);
            push_client_frame(&ClientFrame::Bye, out);
        }
    }
}

fn read_text(datagram: &[u8]) -> Received<'_> {
    let stamped = |bytes: &[u8], received: fn(Stamp) -> Received<'static>| {
        Stamp::decode(bytes).map_or(Received::Stray, received)
    };
    if datagram.starts_with(GREETING_START) {
        return Received::Greeting;
    }
    match ServerLine::parse(datagram) {
        Some(ServerLine::Notice(sentence)) => match Reply::parse_uncoded(sentence) {
            Some(Reply::Prove(token)) => Received::Challenge(token),
            Some(Reply::Pong(token)) => stamped(token, Received::Answer),
            Some(Reply::Entered { room, members }) => Received::Joined(room, members),
            Some(reply) if is_refusal(reply.code()) => read_refusal(&reply, sentence),
            _ => Received::Stray,
        },
        Some(ServerLine::Text { text, .. }) if is_command(text) => Received::Echo,
        Some(ServerLine::Text { text, .. }) => stamped(text, Received::Text),
        Some(ServerLine::Private { .. }) | None => Received::Stray,
    }
}

fn is_refusal(code: NoticeCode) -> bool {
    matches!(code, NoticeCode::Misuse | NoticeCode::Refused)
}

fn read_refusal<'a>(reply: &Reply<'_>, sentence: &'a [u8]) -> Received<'a> {
    match *reply {
        Reply::OverBudget {
            resource,
            per_second,
        } => Received::Limited(resource, per_second),
        _ => Received::Refused(sentence),
    }
}

fn is_command(text: &[u8]) -> bool {
    text.starts_with(b"/join ") || text.starts_with(b"/ping ")
}

/// Returns nothing for a frame that is not expected.
fn read_frame(number: u64, frame: ServerFrame<'_>) -> Option<Received<'_>> {
    let stamped = |stamp, received: fn(Stamp) -> Received<'static>| {
        Stamp::decode(stamp).map_or(Received::Stray, received)
    };
    Some(match frame {
        ServerFrame::Welcome(welcome) => Received::Welcome(welcome),
        ServerFrame::Message(message) => stamped(message.payload, Received::Text),
        ServerFrame::Pong(token) => stamped(token, Received::Answer),
        ServerFrame::Room(room) => Received::Room(room),
        ServerFrame::Notice(code @ NoticeCode::Done, text) => match Reply::parse(code, text)? {
            Reply::Entered { room, members } => Received::Members(room, members),
            _ => return None,
        },
        ServerFrame::Notice(code, text) if is_refusal(code) => match Reply::parse(code, text) {
            Some(reply) => read_refusal(&reply, text),
            None => Received::Refused(text),
        },
        ServerFrame::Notice(..) | ServerFrame::Private(..) => Received::Stray,
        ServerFrame::Goodbye => Received::Goodbye,
        ServerFrame::UnknownSession => Received::Forgotten(SessionId::new(number)?),
        ServerFrame::Subscribed(_) | ServerFrame::Unsubscribed(_) | ServerFrame::Own(_) => {
            Received::Stray
        }
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

/// The verb, a blank, and the longest name of a room.
const MAX_JOIN_BYTES: usize = 6 + MAX_ROOM_NAME_BYTES;

/// A letter, so that texts of version 1 stay as they are.
const FILLER: u8 = b'x';

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
