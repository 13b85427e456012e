//! Commands, as they are typed: `/verb arguments`.

use super::limits::MAX_TOKEN_BYTES;
use super::name::{Name, RoomName};

/// What a peer asks of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// `/help`: which commands there are.
    Help,
    /// `/nick NAME`: to be called that.
    Nick(Name),
    /// `/join ROOM`: to go there.
    Join(RoomName),
    /// `/leave`: to go to the lobby.
    Leave,
    /// `/who [FROM]`: who is in the room, from this number on; the first is 1.
    Who(usize),
    /// `/rooms [FROM]`: which rooms there are, from this number on.
    Rooms(usize),
    /// `/msg WHOM TEXT`: a text for one peer alone.
    Msg {
        /// A name, or an address as it stands in front of texts.
        to: &'a [u8],
        /// What to tell.
        text: &'a [u8],
    },
    /// `/ping TOKEN`: to get the token back.
    Ping(&'a [u8]),
    /// `/presence on|off`: whether to hear who comes and goes.
    Presence(bool),
}

/// A verb that is known, with arguments that are wrong: what is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Misuse(pub &'static str);

/// The command in `line`, of which one line end was dropped. `None`: it is none,
/// and so a text.
pub fn parse_command(line: &[u8]) -> Option<Result<Command<'_>, Misuse>> {
    let line = line.strip_prefix(b"/")?.trim_ascii_end();
    let (verb, arguments) = split_word(line);
    let (_, parse) = VERBS
        .iter()
        .find(|(known, _)| verb.eq_ignore_ascii_case(known.as_bytes()))?;
    Some(parse(arguments))
}

/// All verbs, as they are typed.
pub fn verbs() -> impl Iterator<Item = &'static str> {
    VERBS.iter().map(|(verb, _)| *verb)
}

/// The first word, and what follows the blanks behind it.
fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let end = text.iter().position(is_blank).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let start = rest.iter().position(|byte| !is_blank(byte));
    (word, &rest[start.unwrap_or(rest.len())..])
}

/// The number to begin with: 1 if there is none.
fn from_number(argument: &[u8], wrong: &'static str) -> Result<usize, Misuse> {
    if argument.is_empty() {
        return Ok(1);
    }
    let number = str::from_utf8(argument)
        .ok()
        .and_then(|text| text.parse().ok());
    number.filter(|number| *number >= 1).ok_or(Misuse(wrong))
}

/// What `/help` says.
pub const HELP: &str = "/nick NAME, /join ROOM, /leave to the lobby, /who [FROM], \
    /rooms [FROM], /msg NAME TEXT, /ping TOKEN, /presence on|off";

/// Makes a command of what stands behind its verb.
type Parse = for<'a> fn(&'a [u8]) -> Result<Command<'a>, Misuse>;

/// In lower case.
const VERBS: [(&str, Parse); 9] = [
    ("help", |_| Ok(Command::Help)),
    ("nick", |argument| {
        Name::parse(argument)
            .map(Command::Nick)
            .ok_or(Misuse("/nick takes 1 to 24 of A-Z a-z 0-9 _ -"))
    }),
    ("join", |argument| {
        RoomName::parse(argument)
            .map(Command::Join)
            .ok_or(Misuse("/join takes 1 to 32 of A-Z a-z 0-9 _ -"))
    }),
    ("leave", |argument| match argument {
        b"" => Ok(Command::Leave),
        _ => Err(Misuse("/leave takes nothing, and leads to the lobby")),
    }),
    ("who", |argument| {
        let wrong = "/who takes nothing, or the number to begin with";
        from_number(argument, wrong).map(Command::Who)
    }),
    ("rooms", |argument| {
        let wrong = "/rooms takes nothing, or the number to begin with";
        from_number(argument, wrong).map(Command::Rooms)
    }),
    ("msg", |arguments| match split_word(arguments) {
        (b"", _) | (_, b"") => Err(Misuse("/msg takes a name and a text")),
        (to, text) => Ok(Command::Msg { to, text }),
    }),
    ("ping", |token| match token.len() {
        1..=MAX_TOKEN_BYTES => Ok(Command::Ping(token)),
        _ => Err(Misuse("/ping takes 1 to 32 bytes, which come back")),
    }),
    ("presence", |argument| {
        match argument.to_ascii_lowercase().as_slice() {
            b"on" => Ok(Command::Presence(true)),
            b"off" => Ok(Command::Presence(false)),
            _ => Err(Misuse("/presence takes on or off")),
        }
    }),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn right(line: &str) -> Command<'_> {
        parse_command(line.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn commands_are_known_in_any_case_and_with_any_blanks() {
        let (ada, chess) = (Name::parse(b"Ada"), RoomName::parse(b"chess"));
        for (line, command) in [
            ("/help", Command::Help),
            ("/HELP me", Command::Help),
            ("/nick Ada", Command::Nick(ada.unwrap())),
            ("/Nick \t Ada  ", Command::Nick(ada.unwrap())),
            ("/join chess", Command::Join(chess.unwrap())),
            ("/leave", Command::Leave),
            ("/leave ", Command::Leave),
            ("/who", Command::Who(1)),
            ("/who 41", Command::Who(41)),
            ("/rooms", Command::Rooms(1)),
            ("/rooms 2", Command::Rooms(2)),
            ("/ping a b", Command::Ping(b"a b")),
            ("/presence ON", Command::Presence(true)),
            ("/presence off", Command::Presence(false)),
        ] {
            assert_eq!(right(line), command, "{line:?}");
        }
        let command = Command::Msg {
            to: b"127.0.0.1:5000",
            text: b"two  words",
        };
        assert_eq!(right("/msg 127.0.0.1:5000  two  words"), command);
    }

    #[test]
    fn wrong_use_of_each_verb_is_told_with_what_is_right() {
        let long = "x".repeat(33);
        for line in [
            "/nick",
            "/nick a b",
            "/nick ä",
            &format!("/nick {}", &long[..25]),
            "/join",
            "/join a/b",
            &format!("/join {long}"),
            "/leave now",
            "/who 0",
            "/who 00",
            "/who me",
            "/rooms -1",
            "/rooms 1 2",
            "/msg",
            "/msg ada",
            "/ping",
            &format!("/ping {long}"),
            "/presence",
            "/presence maybe",
        ] {
            let Misuse(right) = parse_command(line.as_bytes()).unwrap().unwrap_err();
            let verb = line.split(' ').next().unwrap();
            assert!(right.starts_with(verb), "{line:?}: {right}");
        }
    }

    #[test]
    fn all_else_is_a_text() {
        for line in [
            "", "/", "//", "/ help", "/helpme", "help", " /help", "/ok 1", "/n",
        ] {
            assert_eq!(parse_command(line.as_bytes()), None, "{line:?}");
        }
    }

    #[test]
    fn the_help_names_every_verb() {
        for verb in verbs().filter(|verb| *verb != "help") {
            assert!(HELP.contains(&format!("/{verb}")), "{verb}");
        }
    }
}
