//! What we are called and which room we are in, so that a server that does not know
//! us any more can be told again. No I/O and no clock.
//!
//! What was set at the start is asked for in every new session, until the server
//! has confirmed another one: from then on, that one is. What it did not confirm
//! is asked for again with the next heartbeats, as a command may be lost, and the
//! name may still be that of our last session, which times out.

use std::fmt::Display;

use crate::wire::{Command, LOBBY, Name, Reply, RoomName, ServerLine, parse_command};

/// A session's name and room.
#[derive(Debug)]
pub(crate) struct Identity {
    nick: Wish<Name>,
    room: Wish<RoomName>,
    /// What the server has refused in this session while it was asked again and
    /// again; a sentence for the name and one for the room.
    refusals: Vec<String>,
}

#[derive(Debug)]
struct Wish<T> {
    /// What a new session is to have.
    standing: Option<T>,
    /// What the user has asked for, and the server has not confirmed yet.
    asked: Option<T>,
    /// What this session has, as the server has confirmed.
    confirmed: Option<T>,
    /// How often the standing one may still be asked for in this session.
    tries: u32,
    is_due: bool,
}

impl Identity {
    /// To be called `nick`, and to be in `room`.
    pub(crate) fn new(nick: Option<Name>, room: Option<RoomName>) -> Self {
        Self {
            nick: Wish::new(nick),
            room: Wish::new(room),
            refusals: Vec::new(),
        }
    }

    /// The name that the server has confirmed in this session.
    pub(crate) fn nick(&self) -> Option<Name> {
        self.nick.confirmed
    }

    /// The room that the server has confirmed in this session.
    pub(crate) fn room(&self) -> Option<RoomName> {
        self.room.confirmed
    }

    /// The server does not know us, or not any more. It may be asked so often.
    pub(crate) fn renew(&mut self, tries: u32) {
        self.nick.renew(tries);
        self.room.renew(tries);
        self.refusals.clear();
    }

    /// A heartbeat goes out: what was not confirmed so far is due again.
    pub(crate) fn beat(&mut self) {
        self.nick.is_due = self.nick.tries > 0;
        self.room.is_due = self.room.tries > 0;
    }

    /// The next command that is due, and takes it for sent.
    pub(crate) fn take_due(&mut self) -> Option<String> {
        let nick = self.nick.take_due(NICK);
        nick.or_else(|| self.room.take_due(JOIN))
    }

    /// The user says this. A name or a room that the user asks for counts more than
    /// those that were set.
    pub(crate) fn says(&mut self, text: &str) {
        // Its answer is the user's to hear.
        self.refusals.clear();
        match parse_command(text.as_bytes()) {
            Some(Ok(Command::Nick(name))) => self.nick.ask(Some(name)),
            Some(Ok(Command::Join(room))) => self.room.ask(Some(room)),
            Some(Ok(Command::Leave)) => self.room.ask(None),
            _ => {}
        }
    }

    /// Someone said this. If it is a command of ours, the server knows none, and is
    /// not to be asked again.
    pub(crate) fn heard(&mut self, text: &[u8]) {
        self.nick.heard(NICK, text);
        self.room.heard(JOIN, text);
    }

    /// The server has said that we have this name.
    pub(crate) fn is_named(&mut self, name: Name) {
        if self.nick.asked == Some(name) || self.nick.standing == Some(name) {
            self.nick.confirm(name);
        }
    }

    /// The server has refused something. True: it did so before, and is only being
    /// asked again; the user knows.
    pub(crate) fn is_refused_again(&mut self, why: &str) -> bool {
        if self.nick.confirmed.is_some() && self.room.confirmed.is_some() {
            return false;
        }
        if self.refusals.iter().any(|refusal| refusal == why) {
            return true;
        }
        if self.refusals.len() < MAX_REFUSALS {
            self.refusals.push(why.to_owned());
        }
        false
    }

    /// The server has said which room we are in.
    pub(crate) fn is_in(&mut self, room: RoomName) {
        self.room.confirm(room);
        // There, every session begins.
        if room.as_str().eq_ignore_ascii_case(LOBBY) {
            self.room.standing = None;
        }
    }

    /// A line of v1 came.
    pub(crate) fn line_came(&mut self, line: &str) {
        match ServerLine::parse(line.as_bytes()) {
            Some(ServerLine::Notice(sentence)) => match Reply::parse_uncoded(sentence) {
                Some(Reply::Named(name)) => self.is_named(name),
                Some(Reply::Entered { room, .. }) => self.is_in(room),
                _ => {}
            },
            Some(ServerLine::Text { text, .. }) => self.heard(text),
            Some(ServerLine::Private { .. }) | None => {}
        }
    }
}

impl<T: Copy + Display> Wish<T> {
    fn new(standing: Option<T>) -> Self {
        Self {
            standing,
            asked: None,
            confirmed: None,
            tries: 0,
            is_due: false,
        }
    }

    fn renew(&mut self, tries: u32) {
        self.asked = None;
        self.confirmed = None;
        self.tries = if self.standing.is_some() { tries } else { 0 };
        self.is_due = self.tries > 0;
    }

    fn take_due(&mut self, verb: &str) -> Option<String> {
        if !std::mem::take(&mut self.is_due) {
            return None;
        }
        self.tries -= 1;
        self.standing.map(|standing| format!("{verb}{standing}"))
    }

    fn ask(&mut self, asked: Option<T>) {
        self.asked = asked;
        self.stop();
    }

    fn confirm(&mut self, confirmed: T) {
        self.asked = None;
        self.confirmed = Some(confirmed);
        self.standing = Some(confirmed);
        self.stop();
    }

    fn heard(&mut self, verb: &str, text: &[u8]) {
        // Looked at only while it may matter: this is called for each message.
        if self.tries > 0
            && let Some(standing) = self.standing
            && text == format!("{verb}{standing}").as_bytes()
        {
            self.stop();
        }
    }

    fn stop(&mut self) {
        self.tries = 0;
        self.is_due = false;
    }
}

/// In v2 an answer tells whether a command has come. With heartbeats every 5 s these
/// are longer than a server remembers a session that has ended without a word, 10 s.
pub(crate) const TRIES_V2: u32 = 4;

/// In v1 a server may know no commands, and would tell them to everyone.
pub(crate) const TRIES_V1: u32 = 1;

/// One of the name and one of the room.
const MAX_REFUSALS: usize = 2;

const NICK: &str = "/nick ";
const JOIN: &str = "/join ";

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).unwrap()
    }

    fn room(text: &str) -> RoomName {
        RoomName::parse(text.as_bytes()).unwrap()
    }

    fn ada_in_chess() -> Identity {
        Identity::new(Some(name("ada")), Some(room("chess")))
    }

    /// What a new session is told.
    fn renewed(identity: &mut Identity) -> Vec<String> {
        identity.renew(TRIES_V2);
        due(identity)
    }

    #[test]
    fn a_refusal_is_told_once_until_the_user_asks() {
        let mut identity = ada_in_chess();
        renewed(&mut identity);
        for again in [false, true, true] {
            assert_eq!(identity.is_refused_again("ada is taken"), again);
            assert_eq!(identity.is_refused_again("chess is full (2)"), again);
            identity.beat();
        }
        identity.says("/nick ada");
        assert!(!identity.is_refused_again("ada is taken"));
        renewed(&mut identity);
        assert!(!identity.is_refused_again("ada is taken"), "a new session");
        // More than there can be are not kept.
        for number in 0..10 {
            assert!(!identity.is_refused_again(&format!("no {number}")));
        }
        assert_eq!(identity.refusals.len(), MAX_REFUSALS);
    }

    fn due(identity: &mut Identity) -> Vec<String> {
        std::iter::from_fn(|| identity.take_due()).collect()
    }

    #[test]
    fn what_was_set_is_asked_for_in_each_session_until_it_is_confirmed() {
        let mut identity = ada_in_chess();
        assert_eq!(due(&mut identity), [""; 0], "there is no session yet");
        assert_eq!(renewed(&mut identity), ["/nick ada", "/join chess"]);
        assert_eq!(due(&mut identity), [""; 0]);
        identity.is_in(room("chess"));
        for _ in 1..TRIES_V2 {
            identity.beat();
            assert_eq!(due(&mut identity), ["/nick ada"]);
        }
        identity.beat();
        assert_eq!(due(&mut identity), [""; 0]);
        assert_eq!(identity.nick(), None);
        assert_eq!(identity.room(), Some(room("chess")));
        assert_eq!(renewed(&mut identity), ["/nick ada", "/join chess"]);
        assert_eq!(identity.room(), None);
    }

    #[test]
    fn what_was_confirmed_last_is_restored_and_nothing_else() {
        let mut identity = ada_in_chess();
        renewed(&mut identity);
        identity.says("/nick bob");
        identity.says("/join go");
        identity.beat();
        assert_eq!(due(&mut identity), [""; 0], "the user counts more");
        // No answer, or a refusal.
        assert_eq!(renewed(&mut identity), ["/nick ada", "/join chess"]);
        identity.says("/NICK bob ");
        identity.is_named(name("eve"));
        assert_eq!(identity.nick(), None);
        identity.is_named(name("bob"));
        identity.is_in(room("go"));
        assert_eq!(identity.nick(), Some(name("bob")));
        assert_eq!(renewed(&mut identity), ["/nick bob", "/join go"]);
    }

    #[test]
    fn who_has_gone_to_the_lobby_stays_there() {
        let mut identity = ada_in_chess();
        renewed(&mut identity);
        identity.says("/leave");
        identity.is_in(room("Lobby"));
        assert_eq!(identity.room(), Some(room("Lobby")));
        assert_eq!(renewed(&mut identity), ["/nick ada"]);
    }

    #[test]
    fn what_was_asked_in_a_session_that_is_over_is_not_confirmed_in_the_next() {
        let mut identity = ada_in_chess();
        renewed(&mut identity);
        identity.says("/nick bob");
        renewed(&mut identity);
        identity.is_named(name("bob"));
        assert_eq!(identity.nick(), None);
        assert_eq!(renewed(&mut identity), ["/nick ada", "/join chess"]);
    }

    #[test]
    fn lines_of_v1_confirm_too() {
        let mut identity = Identity::new(None, None);
        assert_eq!(renewed(&mut identity), [""; 0]);
        identity.says("/nick ada");
        for not_it in [
            "eve you are ada",
            "* you are",
            "* eve to you: you are ada",
            "* you are in no room",
        ] {
            identity.line_came(not_it);
        }
        assert_eq!(identity.nick(), None);
        identity.line_came("* you are ada");
        identity.line_came("* you are in chess (1,000 here)");
        assert_eq!(renewed(&mut identity), ["/nick ada", "/join chess"]);
    }

    #[test]
    fn a_server_that_knows_no_commands_is_asked_once() {
        let mut identity = ada_in_chess();
        renewed(&mut identity);
        identity.line_came("127.0.0.1:7 /nick ada");
        identity.heard(b"/join chess");
        identity.beat();
        assert_eq!(due(&mut identity), [""; 0]);
    }
}
