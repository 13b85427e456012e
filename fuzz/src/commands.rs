//! Commands, names, and text that is made printable.

use bullhorn::wire::{
    Command, DisplayName, Label, ProofToken, parse_command, parse_proof, push_printable,
};

use crate::printable::assert_printable;

/// Parses a line in each way in which the server and the client parse one.
pub fn commands(data: &[u8]) {
    if let Some(Ok(command)) = parse_command(data) {
        assert_eq!(parse_command(&line_of(&command)), Some(Ok(command)));
        let verb = data.iter().position(|byte| matches!(byte, b' ' | b'\t'));
        let (verb, arguments) = data.split_at(verb.unwrap_or(data.len()));
        let loud = [&verb.to_ascii_uppercase(), arguments].concat();
        assert_eq!(parse_command(&loud), Some(Ok(command)));
    }
    label::<24>(data);
    label::<32>(data);
    display_name(data);
    proof(data);
    printable(data);
}

fn line_of(command: &Command<'_>) -> Vec<u8> {
    let words = |verb: &str, word: &[u8]| [verb.as_bytes(), word].concat();
    match command {
        Command::Help => b"/help".to_vec(),
        Command::Nick(name) => format!("/nick {name}").into_bytes(),
        Command::Join(room) => format!("/join {room}").into_bytes(),
        Command::Leave => b"/leave".to_vec(),
        Command::Who(first) => format!("/who {first}").into_bytes(),
        Command::Rooms(first) => format!("/rooms {first}").into_bytes(),
        Command::Msg { to, text } => words("/msg ", &[to, &b" "[..], text].concat()),
        Command::Ping(token) => words("/ping ", token),
        Command::Presence(true) => b"/presence on".to_vec(),
        Command::Presence(false) => b"/presence off".to_vec(),
    }
}

fn label<const MAX: usize>(data: &[u8]) {
    let Some(label) = Label::<MAX>::parse(data) else {
        return;
    };
    assert!((1..=MAX).contains(&data.len()));
    assert_eq!(label.as_bytes(), data);
    assert_eq!(label.as_str().parse(), Ok(label));
    assert_eq!(label.folded(), label.folded().folded());
    let shout = Label::<MAX>::parse(&data.to_ascii_uppercase()).expect("a label");
    assert_eq!(shout.folded(), label.folded());
}

fn display_name(data: &[u8]) {
    let Some(name) = DisplayName::parse(data) else {
        return;
    };
    let mut written = Vec::new();
    name.push(&mut written);
    assert_eq!(written, name.to_string().into_bytes());
    assert!(!written.contains(&b' '));
    assert_eq!(DisplayName::parse(&written), Some(name));
}

fn proof(data: &[u8]) {
    if let Some(Some(token)) = parse_proof(data) {
        let line = format!("/in {token}");
        assert_eq!(parse_proof(line.as_bytes()), Some(Some(token)));
        assert_eq!(ProofToken::parse(&line.as_bytes()[4..]), Some(token));
        // No proof is taken for a command, and said to the room.
        assert_eq!(parse_command(data), None);
    }
}

/// The first byte is the space for the result.
fn printable(data: &[u8]) {
    let Some((max_len, text)) = data.split_first() else {
        return;
    };
    let max_len = usize::from(*max_len);
    let (mut whole, mut cut) = (Vec::new(), Vec::new());
    push_printable(text, usize::MAX, &mut whole);
    push_printable(text, max_len, &mut cut);
    assert!(cut.len() <= max_len && whole.starts_with(&cut));
    // No more is cut than a character that does not fit, and a joiner before it.
    assert!(whole.len() == cut.len() || max_len - cut.len() < 9);
    assert!(whole.len() <= 9 * text.len());
    assert_printable(&cut);
    let written = assert_printable(&whole);
    if text.is_ascii() && !text.iter().any(u8::is_ascii_control) {
        assert_eq!(written.as_bytes(), text);
    }
}
