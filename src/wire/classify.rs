//! What a datagram from a peer means.

/// One datagram from a peer, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// The peer leaves: an empty datagram, or `quit` in any case.
    Leave,
    /// The peer is alive: `@im@` in any case, or nothing but a line end.
    Heartbeat,
    /// A text for the peer's room, without the one line end it may have had.
    Text(&'a [u8]),
    /// A datagram of v2 (first byte [`FRAME_MARK`]).
    Frames(&'a [u8]),
}

/// Tells what `datagram` means. Total: every sequence of bytes means something.
pub fn classify(datagram: &[u8]) -> Incoming<'_> {
    if datagram.is_empty() {
        return Incoming::Leave;
    }
    if datagram[0] == FRAME_MARK {
        return Incoming::Frames(datagram);
    }
    let line = without_line_end(datagram);
    if line.is_empty() || line.eq_ignore_ascii_case(HEARTBEAT) {
        Incoming::Heartbeat
    } else if line.eq_ignore_ascii_case(QUIT) {
        Incoming::Leave
    } else {
        Incoming::Text(line)
    }
}

/// Drops one line end (`\n` or `\r\n`): netcat sends it with every line.
fn without_line_end(datagram: &[u8]) -> &[u8] {
    let line = datagram.strip_suffix(b"\n").unwrap_or(datagram);
    if line.len() < datagram.len() {
        line.strip_suffix(b"\r").unwrap_or(line)
    } else {
        line
    }
}

/// The tutorial's heartbeat: registers the sender, or refreshes it.
pub const HEARTBEAT: &[u8] = b"@im@";
/// The tutorial's word for leaving.
pub const QUIT: &[u8] = b"quit";
/// How every datagram of v2 begins, and no text: never a byte of UTF-8 (RFC 3629,
/// section 1).
pub const FRAME_MARK: u8 = 0xFF;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_datagram_and_quit_in_any_case_leave() {
        for datagram in [&b""[..], b"quit", b"QUIT", b"Quit\n", b"qUIt\r\n"] {
            assert_eq!(classify(datagram), Incoming::Leave, "{datagram:?}");
        }
    }

    #[test]
    fn a_heartbeat_in_any_case_and_a_lone_line_end_keep_alive() {
        for datagram in [&b"@im@"[..], b"@IM@", b"@Im@\n", b"\n", b"\r\n"] {
            assert_eq!(classify(datagram), Incoming::Heartbeat, "{datagram:?}");
        }
    }

    #[test]
    fn all_else_is_a_text_without_its_one_line_end() {
        for (datagram, text) in [
            (&b"hi"[..], &b"hi"[..]),
            (b"hi\n", b"hi"),
            (b"hi\r\n", b"hi"),
            (b"hi\n\n", b"hi\n"),
            (b"hi\r", b"hi\r"),
            (b"\r", b"\r"),
            (b" quit", b" quit"),
            (b"quitx", b"quitx"),
            (b"@im@ ", b"@im@ "),
            (b"\xfe", b"\xfe"),
        ] {
            assert_eq!(classify(datagram), Incoming::Text(text), "{datagram:?}");
        }
    }

    #[test]
    fn the_first_byte_alone_makes_a_frame() {
        assert_eq!(classify(b"\xff"), Incoming::Frames(b"\xff"));
        assert_eq!(classify(b"\xff\n"), Incoming::Frames(b"\xff\n"));
        assert_eq!(classify(b"a\xff"), Incoming::Text(b"a\xff"));
    }
}
