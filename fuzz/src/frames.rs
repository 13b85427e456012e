//! Version 2: what clients send, and what servers send.

use std::net::{SocketAddr, SocketAddrV6};
use std::num::NonZeroU16;

use arbitrary::{Result, Unstructured};
use bullhorn::net::datagrams;
use bullhorn::wire::v2::{
    BundleSize, ClientFrame, HEADER_BYTES, Hello, MAX_PAYLOAD_BYTES, Message, Move, NoticeCode,
    Own, Room, ServerFrame, ServerList, SessionId, SessionOptions, Welcome, message_bytes,
    parse_client, parse_server, push_client_frame, push_client_header, push_padding,
    push_server_frame, push_server_header,
};
use bullhorn::wire::{DisplayName, Label, MAX_TOKEN_BYTES, Reply};

/// Decodes a datagram of a client, and writes and decodes again what it means. Then does the same
/// with frames that the bytes choose.
pub fn decode_client_v2(data: &[u8]) {
    if let Ok((session, frames)) = parse_client(data) {
        let frames: Vec<_> = frames.collect();
        assert_client_frames(session, &frames, data);
        // A datagram that is cut short is refused, or has fewer frames, and no other ones.
        let cut = data.len() - data.len().min(1 + usize::from(data[HEADER_BYTES - 1]) % 32);
        if let Ok((_, fewer)) = parse_client(&data[..cut]) {
            assert!(fewer.zip(&frames).all(|(one, other)| one == *other));
        }
    }
    let Ok((session, frames)) = any_client_frames(&mut Unstructured::new(data)) else {
        return;
    };
    let mut datagram = Vec::new();
    push_client_header(session, &mut datagram);
    for frame in &frames {
        push_client_frame(frame, &mut datagram);
    }
    push_padding(0, datagram.len().max(256), &mut datagram);
    let (parsed_session, parsed) = parse_client(&datagram).expect("what was written");
    assert_eq!(parsed_session, session);
    assert_eq!(parsed.collect::<Vec<_>>(), frames);
}

/// Decodes a datagram of the server, as [`decode_client_v2`] does, and its sentences. Then cuts it
/// into the datagrams that the kernel may have joined.
pub fn decode_server_v2(data: &[u8]) {
    if let Ok(frames) = parse_server(data) {
        let receiver = frames.receiver();
        let frames: Vec<_> = frames.collect();
        let again = server_datagram(receiver, &frames);
        // Frames and options of later versions are left out.
        assert!(again.len() <= data.len());
        let parsed = parse_server(&again).expect("what was written");
        assert_eq!(parsed.receiver(), receiver);
        assert_eq!(parsed.collect::<Vec<_>>(), frames);
        frames.iter().for_each(assert_server_frame);
    }
    let mut input = Unstructured::new(data);
    if let Ok((receiver, frames)) = any_server_frames(&mut input) {
        let datagram = server_datagram(receiver, &frames);
        let parsed = parse_server(&datagram).expect("what was written");
        assert_eq!(parsed.receiver(), receiver);
        assert_eq!(parsed.collect::<Vec<_>>(), frames);
    }
    if let Some((segment_bytes, joined)) = data.split_first() {
        let segment_bytes = NonZeroU16::new((*segment_bytes).into());
        let parts: Vec<_> = datagrams(joined, segment_bytes).collect();
        assert_eq!(parts.concat(), joined);
        let (_, full) = parts.split_last().expect("one at least");
        let is_full = |part: &&[u8]| Some(part.len()) == segment_bytes.map(|it| it.get().into());
        assert!(full.iter().all(is_full));
    }
}

fn assert_client_frames(session: Option<SessionId>, frames: &[ClientFrame<'_>], data: &[u8]) {
    let bytes = data.len();
    assert!(frames.len() <= bytes / 3);
    let mut again = Vec::new();
    push_client_header(session, &mut again);
    for frame in frames {
        assert!(body_bytes(frame) <= MAX_PAYLOAD_BYTES);
        push_client_frame(frame, &mut again);
    }
    // Options that say what is so anyway are left out. A HELLO needs a long datagram.
    assert!(again.len() <= bytes);
    if frames.iter().all(has_one_form) {
        let (written, padding) = data.split_at(again.len());
        assert_eq!(written, again);
        assert!(matches!(padding, [] | [0, ..]));
    }
    push_padding(0, bytes, &mut again);
    let (parsed_session, parsed) = parse_client(&again).expect("what was written");
    assert_eq!(parsed_session, session);
    assert_eq!(parsed.collect::<Vec<_>>(), frames);
    let unknown = frames
        .iter()
        .position(|frame| matches!(frame, ClientFrame::Unknown(_)));
    assert!(unknown.is_none_or(|at| at + 1 == frames.len()));
}

/// Returns true for a frame that is always encoded to the same bytes.
fn has_one_form(frame: &ClientFrame<'_>) -> bool {
    match frame {
        ClientFrame::Hello(_) | ClientFrame::Unknown(_) => false,
        // An address may have a zone that is 0.
        ClientFrame::Move(from) => from.address.is_ipv4(),
        _ => true,
    }
}

fn body_bytes(frame: &ClientFrame<'_>) -> usize {
    match frame {
        ClientFrame::Say(bytes) | ClientFrame::SayTo(_, bytes) => bytes.len(),
        ClientFrame::Command(bytes) => bytes.len(),
        ClientFrame::Ping(token) => {
            assert!(token.len() <= MAX_TOKEN_BYTES);
            token.len()
        }
        _ => 0,
    }
}

fn server_datagram(receiver: u64, frames: &[ServerFrame<'_>]) -> Vec<u8> {
    let mut datagram = Vec::new();
    push_server_header(receiver, &mut datagram);
    for frame in frames {
        let before = datagram.len();
        push_server_frame(frame, &mut datagram);
        if let ServerFrame::Message(message) = frame {
            let bytes = message_bytes(&message.from, message.payload.len());
            assert_eq!(datagram.len() - before, bytes);
        }
    }
    datagram
}

fn assert_server_frame(frame: &ServerFrame<'_>) {
    if let ServerFrame::Notice(code, sentence) = frame
        && let Some(reply) = Reply::parse(*code, sentence)
    {
        let mut again = Vec::new();
        reply.push(&mut again);
        assert_eq!((reply.code(), &again[..]), (*code, *sentence));
    }
}

fn any_client_frames<'a>(
    input: &mut Unstructured<'a>,
) -> Result<(Option<SessionId>, Vec<ClientFrame<'a>>)> {
    let session = SessionId::new(input.arbitrary()?);
    let count = input.int_in_range(0..=8)?;
    let frames = (0..count)
        .map(|_| any_client_frame(input))
        .collect::<Result<_>>()?;
    Ok((session, frames))
}

fn any_client_frame<'a>(input: &mut Unstructured<'a>) -> Result<ClientFrame<'a>> {
    Ok(match input.int_in_range(0..=9)? {
        0 => ClientFrame::Hello(Hello {
            nonce: input.arbitrary()?,
            options: SessionOptions {
                bundle_size: *input.choose(&BundleSize::ALL)?,
                echo: input.arbitrary()?,
                receive: input.arbitrary()?,
            },
        }),
        1 => ClientFrame::Heartbeat(input.arbitrary()?),
        2 => ClientFrame::Bye,
        3 => ClientFrame::Say(any_bytes(input, MAX_PAYLOAD_BYTES)?),
        4 => ClientFrame::Ping(any_bytes(input, MAX_TOKEN_BYTES)?),
        5 => ClientFrame::Command(any_bytes(input, MAX_PAYLOAD_BYTES)?),
        6 => ClientFrame::Subscribe(any_label(input)?),
        7 => ClientFrame::Unsubscribe(input.arbitrary()?),
        8 => ClientFrame::SayTo(input.arbitrary()?, any_bytes(input, MAX_PAYLOAD_BYTES)?),
        _ => ClientFrame::Move(Move {
            session: any_session(input)?,
            address: any_address(input)?,
        }),
    })
}

fn any_server_frames<'a>(input: &mut Unstructured<'a>) -> Result<(u64, Vec<ServerFrame<'a>>)> {
    let receiver = input.arbitrary()?;
    let count = input.int_in_range(0..=8)?;
    let frames = (0..count)
        .map(|_| any_server_frame(input))
        .collect::<Result<_>>()?;
    Ok((receiver, frames))
}

/// Any frame that a server of this version sends.
pub(crate) fn any_server_frame<'a>(input: &mut Unstructured<'a>) -> Result<ServerFrame<'a>> {
    Ok(match input.int_in_range(0..=10)? {
        0 => ServerFrame::Welcome(Welcome {
            session: any_session(input)?,
            timeout_ms: input.arbitrary()?,
            bundle_bytes: input.arbitrary()?,
            address: any_address(input)?,
            servers: ServerList::parse(any_bytes(input, 60)?).unwrap_or_default(),
        }),
        1 => ServerFrame::Message(Message {
            room: any_number(input)?,
            stream: input.arbitrary()?,
            sequence: any_number(input)?,
            from: any_display_name(input)?,
            payload: any_bytes(input, MAX_PAYLOAD_BYTES)?,
        }),
        2 => ServerFrame::Pong(any_bytes(input, MAX_TOKEN_BYTES)?),
        3 => ServerFrame::Notice(any_code(input)?, any_bytes(input, 1000)?),
        4 => ServerFrame::Goodbye,
        5 => ServerFrame::Room(any_room(input)?),
        6 => ServerFrame::Private(any_display_name(input)?, any_bytes(input, 1000)?),
        7 => ServerFrame::UnknownSession,
        8 => ServerFrame::Subscribed(any_room(input)?),
        9 => ServerFrame::Unsubscribed(any_number(input)?),
        _ => ServerFrame::Own(Own {
            room: any_number(input)?,
            stream: input.arbitrary()?,
            sequence: any_number(input)?,
            count: input.arbitrary()?,
        }),
    })
}

/// Any code, but none of those in another spelling.
pub(crate) fn any_code(input: &mut Unstructured<'_>) -> Result<NoticeCode> {
    Ok(match input.int_in_range(0..=5)? {
        0 => NoticeCode::Done,
        1 => NoticeCode::Misuse,
        2 => NoticeCode::Refused,
        3 => NoticeCode::Presence,
        4 => NoticeCode::Operator,
        _ => NoticeCode::Other(input.int_in_range(5..=u8::MAX)?),
    })
}

/// Small numbers meet each other more often.
fn any_number(input: &mut Unstructured<'_>) -> Result<u32> {
    match input.arbitrary()? {
        byte @ 0..=250_u8 => Ok(u32::from(byte)),
        _ => input.arbitrary(),
    }
}

fn any_room(input: &mut Unstructured<'_>) -> Result<Room> {
    Ok(Room {
        number: any_number(input)?,
        incarnation: u64::from(input.arbitrary::<u8>()?),
        name: any_label(input)?,
    })
}

fn any_session(input: &mut Unstructured<'_>) -> Result<SessionId> {
    SessionId::new(input.arbitrary()?).ok_or(arbitrary::Error::IncorrectFormat)
}

pub(crate) fn any_address(input: &mut Unstructured<'_>) -> Result<SocketAddr> {
    let port = input.arbitrary()?;
    Ok(match input.arbitrary()? {
        true => SocketAddr::from((input.arbitrary::<[u8; 4]>()?, port)),
        false => {
            let (ip, zone) = input.arbitrary::<([u8; 16], u32)>()?;
            SocketAddrV6::new(ip.into(), port, 0, zone).into()
        }
    })
}

pub(crate) fn any_display_name(input: &mut Unstructured<'_>) -> Result<DisplayName> {
    Ok(match input.arbitrary()? {
        true => DisplayName::Name(any_label(input)?),
        false => DisplayName::Address(any_address(input)?),
    })
}

pub(crate) fn any_label<const MAX: usize>(input: &mut Unstructured<'_>) -> Result<Label<MAX>> {
    let len = input.int_in_range(1..=MAX)?;
    let character = |byte: &u8| LABEL_BYTES[usize::from(*byte) % LABEL_BYTES.len()];
    let text: Vec<_> = input.bytes(len)?.iter().map(character).collect();
    Ok(Label::parse(&text).expect("allowed characters"))
}

pub(crate) fn any_bytes<'a>(input: &mut Unstructured<'a>, max: usize) -> Result<&'a [u8]> {
    let len = input.int_in_range(0..=max)?.min(input.len());
    input.bytes(len)
}

const LABEL_BYTES: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
