//! The few messages of NATS and of MQTT 3.1.1 that the comparison needs, as bytes.

/// The protocol of a broker over TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// Lines of text.
    Nats,
    /// MQTT 3.1.1 with QoS 0.
    Mqtt,
}

/// A message from a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// A text that a client published.
    Text(&'a [u8]),
    /// A question that wants [`PONG`] for an answer.
    Ping,
    /// A refusal, after which the broker closes the connection.
    Refusal(&'a [u8]),
    /// A confirmation.
    Other,
}

impl Codec {
    /// Writes what a client says first. It subscribes to all texts.
    pub(crate) fn push_hello(self, client: usize, out: &mut Vec<u8>) {
        match self {
            Self::Nats => {
                out.extend_from_slice(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n");
                out.extend_from_slice(format!("SUB {SUBJECT} 1\r\n").as_bytes());
            }
            Self::Mqtt => {
                // The protocol's name and level, a clean session, and no limit of silence.
                let mut connect = b"\0\x04MQTT\x04\x02\0\0".to_vec();
                push_string(&format!("c{client}"), &mut connect);
                push_packet(CONNECT, &[&connect], out);
                // The number of the subscription before, and the QoS after the topic.
                let mut subscribe = vec![0, 1];
                push_string(SUBJECT, &mut subscribe);
                subscribe.push(0);
                push_packet(SUBSCRIBE, &[&subscribe], out);
            }
        }
    }

    /// Writes a text for all clients.
    pub(crate) fn push_text(self, text: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Nats => {
                out.extend_from_slice(format!("PUB {SUBJECT} {}\r\n", text.len()).as_bytes());
                out.extend_from_slice(text);
                out.extend_from_slice(b"\r\n");
            }
            Self::Mqtt => {
                let mut topic = Vec::new();
                push_string(SUBJECT, &mut topic);
                push_packet(PUBLISH, &[&topic, text], out);
            }
        }
    }

    /// Returns the first message in `bytes` and its length, if it is complete.
    pub(crate) fn first(self, bytes: &[u8]) -> Option<(Event<'_>, usize)> {
        match self {
            Self::Nats => first_line(bytes),
            Self::Mqtt => first_packet(bytes),
        }
    }
}

fn first_line(bytes: &[u8]) -> Option<(Event<'_>, usize)> {
    let len = bytes.windows(2).position(|two| two == b"\r\n")?;
    let (line, start) = (&bytes[..len], len + 2);
    let event = match line {
        [b'M', b'S', b'G', b' ', ..] => {
            let digits = line.rsplit(|&byte| byte == b' ').next()?;
            let digits = std::str::from_utf8(digits).ok();
            let Some(len) = digits.and_then(|digits| digits.parse::<u32>().ok()) else {
                return Some((Event::Refusal(line), start));
            };
            let end = start + len as usize;
            // A line end follows the payload.
            bytes.get(..end + 2)?;
            return Some((Event::Text(&bytes[start..end]), end + 2));
        }
        b"PING" => Event::Ping,
        [b'-', ..] => Event::Refusal(line),
        _ => Event::Other,
    };
    Some((event, start))
}

/// A packet is a kind, the length of the rest in seven bits per byte, and the rest.
fn first_packet(bytes: &[u8]) -> Option<(Event<'_>, usize)> {
    let (&kind, rest) = bytes.split_first()?;
    let len_bytes = rest.iter().take(MAX_LEN_BYTES);
    let Some(last) = len_bytes.clone().position(|&byte| byte < 128) else {
        let is_endless = rest.len() >= MAX_LEN_BYTES;
        return is_endless.then_some((Event::Refusal(bytes), bytes.len()));
    };
    let groups = rest[..=last].iter().rev();
    let len = groups.fold(0, |len, &byte| len << 7 | usize::from(byte & 127));
    let body = rest.get(last + 1..last + 1 + len)?;
    let event = match (kind, body) {
        (CONNACK, [_, 0]) | (SUBACK, [_, _, 0]) => Event::Other,
        (PUBLISH, [high, low, rest @ ..]) => {
            let topic_len = usize::from(u16::from_be_bytes([*high, *low]));
            rest.get(topic_len..)
                .map_or(Event::Refusal(body), Event::Text)
        }
        _ => Event::Refusal(body),
    };
    Some((event, 1 + last + 1 + len))
}

fn push_packet(kind: u8, parts: &[&[u8]], out: &mut Vec<u8>) {
    out.push(kind);
    let mut len: usize = parts.iter().map(|part| part.len()).sum();
    while len >= 128 {
        out.push((len % 128) as u8 | 128);
        len /= 128;
    }
    out.push(len as u8);
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

fn push_string(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// The answer to [`Event::Ping`]. Only NATS asks.
pub(crate) const PONG: &[u8] = b"PONG\r\n";

/// Short, because each delivery repeats it.
const SUBJECT: &str = "room";

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
/// QoS 0, not retained.
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;

/// MQTT allows four bytes of length.
const MAX_LEN_BYTES: usize = 4;
