//! The lines that peers send: texts, commands and proofs.

use crate::wire::{Command, Misuse, parse_command, parse_proof};

/// A line of a v1 peer, or of a COMMAND.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// A text for the peer's room.
    Text(&'a [u8]),
    /// A proof of the address, from a peer that needs none any more. It is never broadcast, whatever
    /// the configuration is.
    Proof,
    /// A command, or one with wrong arguments.
    Command(Result<Command<'a>, Misuse>),
}

impl<'a> Line<'a> {
    /// Parses a line. Without commands, all lines are texts but a proof.
    #[inline]
    pub(super) fn parse(line: &'a [u8], has_commands: bool) -> Self {
        match line.first() {
            Some(b'/') => Self::parse_slash(line, has_commands),
            _ => Self::Text(line),
        }
    }

    fn parse_slash(line: &'a [u8], has_commands: bool) -> Self {
        if parse_proof(line).is_some() {
            return Self::Proof;
        }
        let command = has_commands.then(|| parse_command(line)).flatten();
        command.map_or(Self::Text(line), Self::Command)
    }
}
