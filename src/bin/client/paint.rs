//! Colours for lines on a terminal. No I/O.
//!
//! Only what is ours is put around what was received, which has been escaped
//! before: so nobody can colour or drive the terminal of someone else.

use std::io::{self, IsTerminal};

use bullhorn::client::Event;
use bullhorn::wire::{DisplayName, NOTICE, ServerLine};

/// Whether lines are to be coloured: on a terminal that can do it, unless the user
/// does not want it (<https://no-color.org>).
pub(super) fn may_paint() -> bool {
    let is_set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let is_dumb = is_set("TERM").is_none_or(|terminal| terminal == "dumb");
    is_set("NO_COLOR").is_none() && !is_dumb && io::stdout().is_terminal()
}

/// The line of an event with its speaker coloured, or dim if the server itself says
/// it.
pub(super) fn paint(event: &Event, line: &str) -> String {
    match event {
        Event::Message(_) => paint_after("", line),
        Event::Private(_) => paint_after(NOTICE, line),
        Event::Text(_) => match ServerLine::parse(line.as_bytes()) {
            Some(ServerLine::Notice(_)) => dim(line),
            Some(ServerLine::Private { .. }) => paint_after(NOTICE, line),
            Some(ServerLine::Text { .. }) | None => paint_after("", line),
        },
        _ => dim(line),
    }
}

fn dim(line: &str) -> String {
    format!("{DIM}{line}{PLAIN}")
}

/// Colours the speaker whose name or address stands after `start`, up to a blank.
fn paint_after(start: &str, line: &str) -> String {
    let painted = line.strip_prefix(start).and_then(|rest| {
        let (speaker, text) = rest.split_once(' ')?;
        let colour = colour_of(&speaker.parse().ok()?);
        Some(format!("{start}{colour}{speaker}{PLAIN} {text}"))
    });
    painted.unwrap_or_else(|| line.to_owned())
}

/// The same for one speaker each time, everywhere.
fn colour_of(speaker: &DisplayName) -> &'static str {
    // FNV-1a, as the standard library promises no hash that stays the same.
    let hash = speaker.to_string().bytes().fold(FNV_OFFSET, |hash, byte| {
        (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(FNV_PRIME)
    });
    // The upper half is mixed better than the lower.
    PALETTE[(hash >> 16) as usize % PALETTE.len()]
}

/// The colours of 16 that can be read on black and on white: red, green, yellow,
/// magenta, cyan, and a blue that is not the dark one.
const PALETTE: [&str; 6] = [
    "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[35m", "\x1b[36m", "\x1b[94m",
];

const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// Of the 32-bit hash, as its authors give them.
const FNV_OFFSET: u32 = 0x811C_9DC5;
const FNV_PRIME: u32 = 0x0100_0193;

#[cfg(test)]
mod tests {
    use super::*;
    use bullhorn::client::Message;
    use bullhorn::client::escape;
    use bullhorn::wire::v2::NoticeCode;
    use proptest::prelude::*;

    fn painted(event: &Event) -> String {
        paint(event, &event.line().unwrap())
    }

    fn message(from: &str, payload: &[u8]) -> Message {
        Message {
            from: from.parse().unwrap(),
            payload: payload.to_vec(),
        }
    }

    #[test]
    fn a_speaker_has_a_colour_and_the_server_is_dim() {
        let ada = colour_of(&"ada".parse().unwrap());
        let said = painted(&Event::Message(message("ada", b"hi all")));
        assert_eq!(said, format!("{ada}ada{PLAIN} hi all"));
        let private = painted(&Event::Private(message("ada", b"psst")));
        assert_eq!(private, format!("* {ada}ada{PLAIN} to you: psst"));
        let code = NoticeCode::Done;
        let text = "you are ada".to_owned();
        let notice = painted(&Event::Notice { code, text });
        assert_eq!(notice, format!("{DIM}* you are ada{PLAIN}"));
        for (line, same) in [
            ("ada hi all", said),
            ("* ada to you: psst", private),
            ("* you are ada", notice),
        ] {
            assert_eq!(painted(&Event::Text(line.to_owned())), same);
        }
        for plain in ["hello", "what's this", ""] {
            assert_eq!(painted(&Event::Text(plain.to_owned())), plain);
        }
    }

    #[test]
    fn a_name_has_one_colour_in_any_case_and_all_colours_are_used() {
        let colour = |name: &str| colour_of(&name.parse().unwrap());
        assert_eq!(colour("Ada"), colour("aDA"));
        let mut used: Vec<_> = (0..100)
            .map(|port| colour(&format!("127.0.0.1:{port}")))
            .collect();
        used.sort_unstable();
        used.dedup();
        assert_eq!(used.len(), PALETTE.len());
    }

    proptest! {
        #[test]
        fn nobody_can_bring_in_an_escape(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let text = String::from_utf8_lossy(&payload).into_owned();
            let code = NoticeCode::Done;
            for event in [
                Event::Message(message("ada", &payload)),
                Event::Private(message("ada", &payload)),
                Event::Notice { code, text: text.clone() },
                Event::Text(text.clone()),
                Event::Text(format!("ada {text}")),
                Event::Text(format!("* ada to you: {text}")),
            ] {
                let line = event.line().unwrap();
                let mut plain = paint(&event, &line);
                for ours in PALETTE.iter().chain(&[DIM, PLAIN]) {
                    plain = plain.replacen(ours, "", 1);
                }
                prop_assert_eq!(&plain, &line);
                prop_assert_eq!(escape(&plain), plain.as_str());
            }
        }
    }
}
