//! The few words of NATS's client protocol that the comparison speaks. Text, each word
//! with a line end.

/// What a server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word<'a> {
    /// Something was published on a subject that this client subscribed.
    Message(&'a [u8]),
    /// To be answered with [`PONG`].
    Ping,
    Pong,
    /// The server's greeting, or that something is well.
    Other,
    /// What is wrong; the server closes the connection after it.
    Trouble(&'a [u8]),
}

/// The first word in `bytes`, and how long it is, if it is there as a whole.
pub(crate) fn first_word(bytes: &[u8]) -> Option<(Word<'_>, usize)> {
    let line_len = bytes
        .windows(2)
        .take(MAX_LINE_BYTES)
        .position(|two| two == b"\r\n");
    let Some(line_len) = line_len else {
        let is_too_long = bytes.len() > MAX_LINE_BYTES;
        return is_too_long.then_some((Word::Trouble(b"a line without an end"), bytes.len()));
    };
    let (line, start) = (&bytes[..line_len], line_len + 2);
    let word = match line {
        [b'M', b'S', b'G', b' ', ..] => {
            let Some(len) = last_number(line) else {
                return Some((Word::Trouble(line), start));
            };
            // A line end stands behind the payload.
            let payload = bytes.get(start..start + len + 2)?;
            return Some((Word::Message(&payload[..len]), start + len + 2));
        }
        b"PING" => Word::Ping,
        b"PONG" => Word::Pong,
        [b'-', ..] => Word::Trouble(line),
        _ => Word::Other,
    };
    Some((word, start))
}

/// What a client says first: who it is, and which subject it wants to hear.
pub(crate) fn push_connect(subject: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n");
    if let Some(subject) = subject {
        out.extend_from_slice(format!("SUB {subject} 1\r\n").as_bytes());
    }
}

pub(crate) fn push_publish(subject: &str, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("PUB {subject} {}\r\n", payload.len()).as_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// The number at the end, of up to seven digits: `max_payload` is 1 MB.
fn last_number(line: &[u8]) -> Option<usize> {
    let digits = line.rsplit(|&byte| byte == b' ').next()?;
    if digits.is_empty() || digits.len() > 7 {
        return None;
    }
    digits.iter().try_fold(0, |number, byte| {
        let is_digit = byte.is_ascii_digit();
        is_digit.then(|| number * 10 + usize::from(byte - b'0'))
    })
}

pub(crate) const PING: &[u8] = b"PING\r\n";
pub(crate) const PONG: &[u8] = b"PONG\r\n";

/// The server's greeting has less than 1 KB.
const MAX_LINE_BYTES: usize = 4096;
