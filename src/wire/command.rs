//! Commands, as they are typed: `/verb arguments`.

use super::name::{Name, RoomName};
use super::protocol::MAX_TOKEN_BYTES;

/// Request of a peer to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// `/help`: asks for the list of commands.
    Help,
    /// `/nick NAME`: takes a name.
    Nick(Name),
    /// `/join ROOM`: enters a room.
    Join(RoomName),
    /// `/leave`: returns to the lobby.
    Leave,
    /// `/who [FROM]`: lists the members of the room from number FROM on, counted from 1.
    Who(usize),
    /// `/rooms [FROM]`: lists the rooms from number FROM on, counted from 1.
    Rooms(usize),
    /// `/msg WHOM TEXT`: sends a direct message.
    Msg {
        /// Name or address of the receiver.
        to: &'a [u8],
        /// Text of the message.
        text: &'a [u8],
    },
    /// `/ping TOKEN`: asks for the token back.
    Ping(&'a [u8]),
    /// `/presence on|off`: subscribes to presence notices, or unsubscribes.
    Presence(bool),
}

/// First word of a command, without the slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants of Command have them")]
pub enum Verb {
    Help,
    Nick,
    Join,
    Leave,
    Who,
    Rooms,
    Msg,
    Ping,
    Presence,
}

/// Error of parsing a command: its arguments are not those that the verb takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Misuse(pub Verb);

/// Parses a text without its line end. Returns `None` if it is not a command.
pub fn parse_command(line: &[u8]) -> Option<Result<Command<'_>, Misuse>> {
    let line = line.strip_prefix(b"/")?.trim_ascii_end();
    let (verb, arguments) = split_word(line);
    let verb = Verb::parse(verb)?;
    Some(parse_arguments(verb, arguments))
}

impl Verb {
    /// All verbs.
    pub const ALL: [Self; 9] = [
        Self::Help,
        Self::Nick,
        Self::Join,
        Self::Leave,
        Self::Who,
        Self::Rooms,
        Self::Msg,
        Self::Ping,
        Self::Presence,
    ];

    /// The verb in lower case.
    pub fn as_str(self) -> &'static str {
        WORDS[self as usize]
    }

    /// Returns the verb that `word` is, in any case.
    pub fn parse(word: &[u8]) -> Option<Self> {
        let lower = word.iter().map(u8::to_ascii_lowercase);
        let is_word = |verb: &Self| lower.clone().eq(verb.as_str().bytes());
        Self::ALL.into_iter().find(is_word)
    }
}

fn parse_arguments(verb: Verb, arguments: &[u8]) -> Result<Command<'_>, Misuse> {
    let misuse = Misuse(verb);
    match verb {
        Verb::Help => Ok(Command::Help),
        Verb::Nick => Name::parse(arguments).map(Command::Nick).ok_or(misuse),
        Verb::Join => RoomName::parse(arguments).map(Command::Join).ok_or(misuse),
        Verb::Leave if arguments.is_empty() => Ok(Command::Leave),
        Verb::Who => first_number(arguments).map(Command::Who).ok_or(misuse),
        Verb::Rooms => first_number(arguments).map(Command::Rooms).ok_or(misuse),
        Verb::Msg => match split_word(arguments) {
            (b"", _) | (_, b"") => Err(misuse),
            (to, text) => Ok(Command::Msg { to, text }),
        },
        Verb::Ping if (1..=MAX_TOKEN_BYTES).contains(&arguments.len()) => {
            Ok(Command::Ping(arguments))
        }
        Verb::Presence if arguments.eq_ignore_ascii_case(b"on") => Ok(Command::Presence(true)),
        Verb::Presence if arguments.eq_ignore_ascii_case(b"off") => Ok(Command::Presence(false)),
        Verb::Leave | Verb::Ping | Verb::Presence => Err(misuse),
    }
}

/// Returns the first word, and what follows the blanks after it.
fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let end = text.iter().position(is_blank).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let start = rest.iter().position(|byte| !is_blank(byte));
    (word, &rest[start.unwrap_or(rest.len())..])
}

/// Returns what stands before and after the first blank.
pub(super) fn split_at_blank(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = text.iter().position(|byte| *byte == b' ')?;
    Some((&text[..blank], &text[blank + 1..]))
}

/// Returns the number of the first entry to list, which is 1 by default.
fn first_number(argument: &[u8]) -> Option<usize> {
    if argument.is_empty() {
        return Some(1);
    }
    let number = str::from_utf8(argument).ok()?.parse().ok()?;
    (number >= 1).then_some(number)
}

/// The verbs in lower case, in the order of their variants.
const WORDS: [&str; 9] = [
    "help", "nick", "join", "leave", "who", "rooms", "msg", "ping", "presence",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn right(line: &str) -> Command<'_> {
        parse_command(line.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn commands_are_parsed_in_any_case_and_with_any_blanks() {
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
    fn wrong_arguments_of_each_verb_are_a_misuse_of_it() {
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
            let Misuse(verb) = parse_command(line.as_bytes()).unwrap().unwrap_err();
            let word = line[1..].split(' ').next().unwrap();
            assert_eq!(verb.as_str(), word, "{line:?}");
        }
    }

    #[test]
    fn everything_else_is_a_text() {
        for line in [
            "", "/", "//", "/ help", "/helpme", "help", " /help", "/ok 1", "/n",
        ] {
            assert_eq!(parse_command(line.as_bytes()), None, "{line:?}");
        }
    }
}
