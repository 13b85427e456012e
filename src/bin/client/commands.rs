//! The meaning of a line that the user enters.

use bullhorn::wire::{Command, QUIT, Verb, parse_command};

/// The meaning of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// A blank line.
    Nothing,
    /// A text to the room.
    Text(&'a str),
    /// A command. That of a ping has no token.
    Command(Command<'a>),
    Quit,
    /// A line that is not sent, and the reason.
    Mistake(String),
}

/// Parses a line. Blanks around it do not count.
pub(super) fn parse_line(line: &str) -> Line<'_> {
    let line = line.trim();
    if line.is_empty() {
        return Line::Nothing;
    }
    if line.as_bytes().eq_ignore_ascii_case(QUIT) {
        return Line::Quit;
    }
    let Some(command) = line.strip_prefix('/') else {
        return Line::Text(line);
    };
    if command.starts_with('/') {
        return Line::Text(command);
    }
    let word = command.split_ascii_whitespace().next().unwrap_or_default();
    match word.to_ascii_lowercase().as_str() {
        "quit" | "q" | "exit" => Line::Quit,
        "help" => Line::Command(Command::Help),
        "ping" => Line::Command(Command::Ping(b"")),
        // Clients show it as an action of the sender.
        "me" if word.len() < command.len() => Line::Text(line),
        "me" => Line::Mistake("usage: /me TEXT".to_owned()),
        word => match parse_command(line.as_bytes()) {
            Some(Ok(command)) => Line::Command(command),
            Some(Err(misuse)) => Line::Mistake(usage(misuse.0)),
            None => Line::Mistake(unknown(word)),
        },
    }
}

/// The words after `/`, for completion.
pub(super) fn words() -> impl Iterator<Item = &'static str> {
    let verbs = Verb::ALL.into_iter().map(Verb::as_str);
    verbs.chain(OWN_WORDS)
}

fn usage(verb: Verb) -> String {
    let mut sentence = Vec::new();
    bullhorn::wire::Reply::Usage(verb).push(&mut sentence);
    String::from_utf8_lossy(&sentence).into_owned()
}

fn unknown(word: &str) -> String {
    let distance = |known: &&str| strsim::damerau_levenshtein(word, known);
    let nearest = words().min_by_key(distance);
    match nearest.filter(|known| distance(known) <= MAX_DISTANCE.min(word.len() / 2)) {
        Some(known) => {
            format!("unknown command /{word}: did you mean /{known}? //{word} says it as a text")
        }
        None => format!("unknown command /{word}: /help lists all. //{word} says it as a text"),
    }
}

/// Words that the server does not know.
const OWN_WORDS: [&str; 4] = ["me", "quit", "q", "exit"];

/// Maximum number of typing errors in a command for which another one is proposed.
const MAX_DISTANCE: usize = 2;

/// The commands, a line each.
pub(super) const HELP: &str = "\
/nick NAME        take a name
/join ROOM        go to a room, which is created if it does not exist
/leave            go back to the lobby
/who [FROM]       list the members of the room
/rooms [FROM]     list the rooms
/msg NAME TEXT    say something to one peer
/me TEXT          say that you do something
/presence on|off  be told who comes and goes
/ping             measure the round trip and the losses
/quit             leave; so do quit, /q and /exit
//TEXT            say a text that begins with /
";

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Line<'_> {
        Line::Text(text)
    }

    #[test]
    fn texts_are_what_is_no_command() {
        assert_eq!(parse_line(" \t"), Line::Nothing);
        assert_eq!(parse_line("  hi all "), text("hi all"));
        assert_eq!(parse_line("//join den"), text("/join den"));
        assert_eq!(parse_line("///"), text("//"));
        assert_eq!(parse_line("/me waves"), text("/me waves"));
        assert_eq!(parse_line("quite"), text("quite"));
    }

    #[test]
    fn commands_are_typed_with_blanks_around_them_and_in_any_case() {
        for (line, command) in [
            (" /NICK ada", Command::Nick("ada".parse().unwrap())),
            ("/join den", Command::Join("den".parse().unwrap())),
            ("/leave", Command::Leave),
            ("/who", Command::Who(1)),
            ("/rooms 9", Command::Rooms(9)),
            ("/presence off", Command::Presence(false)),
        ] {
            assert_eq!(parse_line(line), Line::Command(command));
        }
        for ping in ["/ping", "/ping 77", " /PING "] {
            let command = Command::Ping(b"");
            assert_eq!(parse_line(ping), Line::Command(command), "{ping}");
        }
        let (to, text) = (&b"ada"[..], &b"psst you"[..]);
        let private = Line::Command(Command::Msg { to, text });
        assert_eq!(parse_line("/msg ada psst you"), private);
        for quit in ["quit", " QuiT ", "/quit", "/q", "/EXIT"] {
            assert_eq!(parse_line(quit), Line::Quit, "{quit}");
        }
        assert_eq!(parse_line("/help"), Line::Command(Command::Help));
    }

    #[test]
    fn mistakes_are_explained() {
        for (line, reason) in [
            ("/mgs bob secret", "did you mean /msg?"),
            ("/qiut", "did you mean /quit?"),
            ("/usr/bin/env", "/help lists all"),
            ("/", "/help lists all"),
            (
                "/join a b",
                "usage: /join ROOM (1 to 32 of A-Z a-z 0-9 _ -)",
            ),
            ("/me", "usage: /me TEXT"),
        ] {
            match parse_line(line) {
                Line::Mistake(mistake) => assert!(mistake.contains(reason), "{mistake}"),
                other => panic!("{line}: {other:?}"),
            }
        }
    }
}
