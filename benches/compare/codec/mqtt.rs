//! The few packets of MQTT 3.1.1 that the comparison speaks, with QoS 0: a fixed header
//! of one byte, the length of the rest in up to four, and the rest.

/// What a broker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    /// The connection is accepted.
    Connected,
    Subscribed,
    /// Something was published on a topic that this client subscribed.
    Publish(&'a [u8]),
    Pong,
    /// A refusal, or what this client knows nothing of: the first byte.
    Trouble(u8),
}

/// The first packet in `bytes`, and how long it is, if it is there as a whole.
pub(crate) fn first_packet(bytes: &[u8]) -> Option<(Packet<'_>, usize)> {
    let (&kind, rest) = bytes.split_first()?;
    let (len, len_bytes) = length(rest)?;
    let Some(len) = len else {
        return Some((Packet::Trouble(kind), bytes.len()));
    };
    let start = 1 + len_bytes;
    let body = bytes.get(start..start + len)?;
    let packet = match (kind, body) {
        (CONNACK, [_, 0]) => Packet::Connected,
        // The identifier of the subscription, and the QoS granted.
        (SUBACK, [_, _, 0]) => Packet::Subscribed,
        (PINGRESP, []) => Packet::Pong,
        (PUBLISH, [high, low, rest @ ..]) => {
            let topic_len = usize::from(u16::from_be_bytes([*high, *low]));
            rest.get(topic_len..)
                .map_or(Packet::Trouble(kind), Packet::Publish)
        }
        _ => Packet::Trouble(kind),
    };
    Some((packet, start + len))
}

/// Asks for a clean session without a time limit for silence.
pub(crate) fn push_connect(client: &str, out: &mut Vec<u8>) {
    let mut body = Vec::new();
    push_string("MQTT", &mut body);
    body.extend_from_slice(&[PROTOCOL_LEVEL, CLEAN_SESSION]);
    body.extend_from_slice(&[0, 0]);
    push_string(client, &mut body);
    push_packet(CONNECT, &body, out);
}

pub(crate) fn push_subscribe(topic: &str, out: &mut Vec<u8>) {
    let mut body = vec![0, 1];
    push_string(topic, &mut body);
    body.push(0);
    push_packet(SUBSCRIBE, &body, out);
}

pub(crate) fn push_publish(topic: &str, payload: &[u8], out: &mut Vec<u8>) {
    out.push(PUBLISH);
    push_length(2 + topic.len() + payload.len(), out);
    push_string(topic, out);
    out.extend_from_slice(payload);
}

fn push_packet(kind: u8, body: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    push_length(body.len(), out);
    out.extend_from_slice(body);
}

fn push_string(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn push_length(mut len: usize, out: &mut Vec<u8>) {
    while len >= 128 {
        out.push((len % 128) as u8 | 128);
        len /= 128;
    }
    out.push(len as u8);
}

/// The length at the beginning of `bytes` and how many bytes tell it; no length when
/// these are more than four, and nothing when they are not all there.
fn length(bytes: &[u8]) -> Option<(Option<usize>, usize)> {
    let mut len = 0;
    for index in 0..4 {
        let byte = *bytes.get(index)?;
        len |= usize::from(byte & 127) << (7 * index);
        if byte < 128 {
            return Some((Some(len), index + 1));
        }
    }
    Some((None, 4))
}

pub(crate) const PINGREQ: [u8; 2] = [0xC0, 0];

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
/// QoS 0, not retained.
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
const PINGRESP: u8 = 0xD0;

/// MQTT 3.1.1.
const PROTOCOL_LEVEL: u8 = 4;
const CLEAN_SESSION: u8 = 2;
