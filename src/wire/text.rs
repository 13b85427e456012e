//! What the server says in protocol v1.

use std::fmt::{self, Display};
use std::io::Write;
use std::net::SocketAddr;

use super::MAX_TEXT_DATAGRAM;
use super::printable::push_printable;

/// Appends to `out` the datagram in which a room hears `text` from `speaker`:
/// `ip:port text` or `name text`, printable, never empty, at most
/// [`MAX_TEXT_DATAGRAM`] bytes.
pub fn push_text(speaker: impl Display, text: &[u8], out: &mut Vec<u8>) {
    let limit = out.len() + MAX_TEXT_DATAGRAM;
    push_display(format_args!("{speaker} "), out);
    push_printable(text, limit, out);
}

/// Appends to `out` the datagram in which the server itself says `text`: after
/// `* `, which no speaker is called.
pub fn push_notice(text: &[u8], out: &mut Vec<u8>) {
    let limit = out.len() + MAX_TEXT_DATAGRAM;
    out.extend_from_slice(NOTICE.as_bytes());
    push_printable(text, limit, out);
}

/// Appends to `out` the datagram in which `text` from `speaker` reaches one peer
/// alone.
pub fn push_private(speaker: impl Display, text: &[u8], out: &mut Vec<u8>) {
    let limit = out.len() + MAX_TEXT_DATAGRAM;
    push_display(format_args!("{NOTICE}{speaker} to you: "), out);
    push_printable(text, limit, out);
}

/// Appends to `out` the greeting service's answer to `peer`,
/// `hello,('127.0.0.1', 51859)`.
pub fn push_greeting(peer: SocketAddr, out: &mut Vec<u8>) {
    out.extend_from_slice(GREETING_WORD);
    push_python_address(peer, out);
}

/// How a text begins that another server answers with, when the server at
/// `own` is one of its peers: a chat server repeats what `own` said, a greeting
/// server greets it. Taken for texts, these would go back and forth for ever.
pub fn echo_prefixes(own: SocketAddr) -> [Vec<u8>; 2] {
    let mut greeting = Vec::new();
    push_greeting(own, &mut greeting);
    [format!("{own} ").into_bytes(), greeting]
}

/// Appends `address` in the form in which Python prints the address tuple of a
/// socket: `('127.0.0.1', 51859)`, and `('::1', 51859, 0, 0)` for IPv6 with
/// its flow information and scope.
pub fn push_python_address(address: SocketAddr, out: &mut Vec<u8>) {
    match address {
        SocketAddr::V4(v4) => push_display(format_args!("('{}', {})", v4.ip(), v4.port()), out),
        SocketAddr::V6(v6) => push_display(
            format_args!(
                "('{}', {}, {}, {})",
                v6.ip(),
                v6.port(),
                v6.flowinfo(),
                v6.scope_id()
            ),
            out,
        ),
    }
}

/// A number with a comma between each three digits: `10,300`.
pub struct Thousands(pub u64);

impl Display for Thousands {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number) = *self;
        if number < 1000 {
            return number.fmt(out);
        }
        write!(out, "{},{:03}", Self(number / 1000), number % 1000)
    }
}

fn push_display(text: impl Display, out: &mut Vec<u8>) {
    write!(out, "{text}").expect("writing to a Vec never fails");
}

/// What stands behind a datagram to a v1 peer that puts it behind its own.
pub const LINE_END: &str = "\n";

/// How a datagram to a v1 peer begins that the server itself has to say.
pub const NOTICE: &str = "* ";

/// How every greeting begins.
pub const GREETING_START: &[u8] = b"hello,('";

const GREETING_WORD: &[u8] = b"hello,";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text_from(speaker: &str, text: &[u8]) -> Vec<u8> {
        let speaker: SocketAddr = speaker.parse().unwrap();
        let mut out = b"what another peer said".to_vec();
        let start = out.len();
        push_text(speaker, text, &mut out);
        out.split_off(start)
    }

    #[test]
    fn a_text_follows_its_speakers_address() {
        assert_eq!(
            text_from("127.0.0.1:5000", b"hi all"),
            b"127.0.0.1:5000 hi all"
        );
        assert_eq!(text_from("[::1]:5000", b"hi"), b"[::1]:5000 hi");
    }

    #[test]
    fn a_text_longer_than_fits_is_cut_to_exactly_what_fits() {
        let datagram = text_from("127.0.0.1:5000", &[b'x'; 4000]);
        assert_eq!(datagram.len(), MAX_TEXT_DATAGRAM);
        let datagram = text_from("127.0.0.1:5000", "ü".repeat(2000).as_bytes());
        assert_eq!(datagram.len(), MAX_TEXT_DATAGRAM - 1, "cut at a character");
    }

    #[test]
    fn a_greeting_names_the_peer_as_python_would() {
        let mut out = Vec::new();
        push_greeting("127.0.0.1:51859".parse().unwrap(), &mut out);
        assert_eq!(out, b"hello,('127.0.0.1', 51859)");
        out.clear();
        push_greeting("[::1]:51859".parse().unwrap(), &mut out);
        assert_eq!(out, b"hello,('::1', 51859, 0, 0)");
        assert!(out.starts_with(GREETING_START));
    }

    #[test]
    fn what_another_server_would_make_of_our_messages_is_known() {
        let own: SocketAddr = "127.0.0.1:9999".parse().unwrap();
        let prefixes = echo_prefixes(own);
        let mut greeting = Vec::new();
        push_greeting(own, &mut greeting);
        for echo in [text_from("127.0.0.1:9999", b"127.0.0.1:5 hi"), greeting] {
            assert!(
                prefixes.iter().any(|prefix| echo.starts_with(prefix)),
                "{echo:?}"
            );
        }
        let other = text_from("127.0.0.1:9998", b"hi");
        assert!(!prefixes.iter().any(|prefix| other.starts_with(prefix)));
    }

    #[test]
    fn numbers_have_a_comma_between_each_three_digits() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_002_030, "1,002,030"),
        ] {
            assert_eq!(Thousands(number).to_string(), text);
        }
    }

    #[test]
    fn the_server_itself_speaks_behind_a_star() {
        let mut out = Vec::new();
        push_notice(b"no\x1b", &mut out);
        assert_eq!(out, b"* no\\x1b");
        out.clear();
        push_private("ada", b"psst", &mut out);
        assert_eq!(out, b"* ada to you: psst");
        out.clear();
        push_notice(&[b'x'; 3000], &mut out);
        assert_eq!(out.len(), MAX_TEXT_DATAGRAM);
    }

    proptest! {
        #[test]
        fn whatever_is_said_goes_out_bounded_valid_and_with_its_speaker(
            text in prop::collection::vec(any::<u8>(), 0..3000),
        ) {
            let datagram = text_from("[fe80::1%3]:65535", &text);
            prop_assert!(datagram.len() <= MAX_TEXT_DATAGRAM);
            let datagram = String::from_utf8(datagram).unwrap();
            prop_assert!(datagram.starts_with("[fe80::1%3]:65535 "));
            prop_assert!(datagram.chars().all(|char| char == '\t' || !char.is_control()));
        }
    }
}
