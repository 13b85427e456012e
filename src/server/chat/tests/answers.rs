//! How things are told to peers.

use super::Heard;
use super::model::{Cause, Model};
use crate::wire::v2::NoticeCode;

impl Model {
    pub(super) fn done(&mut self, peer: usize, what: &'static str, text: &str) {
        self.answer(peer, what, NoticeCode::Done, text);
    }

    pub(super) fn refuse(&mut self, peer: usize, what: &'static str, text: &str) {
        self.answer(peer, what, NoticeCode::Refused, text);
    }

    pub(super) fn misuse(&mut self, peer: usize, right: &str) {
        self.answer(peer, "misuse", NoticeCode::Misuse, right);
    }

    fn answer(&mut self, peer: usize, what: &'static str, code: NoticeCode, text: &str) {
        self.count(what);
        let heard = self.notice(peer, code, text);
        self.tell(peer, heard);
    }

    pub(super) fn notice(&self, to: usize, code: NoticeCode, text: &str) -> Heard {
        if self.peers[&to].session.is_some() {
            Heard::Notice(code, text.to_owned())
        } else {
            self.line(to, &format!("* {text}"))
        }
    }

    /// What a peer of v1 hears.
    pub(super) fn line(&self, to: usize, text: &str) -> Heard {
        let end = if self.peers[&to].has_line_ends {
            "\n"
        } else {
            ""
        };
        Heard::Line(cut(text, MAX_LINE) + end)
    }

    /// What is answered to one datagram is one datagram.
    pub(super) fn begin(&mut self) {
        self.answer_bytes = 2;
        self.privates_left = 8;
        self.lists_left = 8;
    }

    /// Answers `peer`, in v2 as long as the datagram is no longer than a bundle.
    pub(super) fn tell(&mut self, peer: usize, heard: Heard) {
        let body = match &heard {
            Heard::Welcome { .. } => 18,
            Heard::Pong(token) => token.len(),
            Heard::Notice(_, text) => 1 + text.len(),
            Heard::Room(_, name) => 4 + name.len(),
            _ => 0,
        };
        let len = self.answer_bytes + 3 + body;
        if len > MAX_ANSWER {
            self.shed += 1;
            return self.count("answer too long");
        }
        self.answer_bytes = len;
        self.outbox[peer].push((Cause::Asked(peer), heard));
    }

    /// `to` is told something by `peer`.
    pub(super) fn whisper(&mut self, peer: usize, to: usize, text: &str) {
        let speaker = self.speaker(peer);
        let heard = if self.peers[&to].session.is_some() {
            Heard::Private(speaker, text.to_owned())
        } else {
            self.line(to, &format!("* {speaker} to you: {text}"))
        };
        self.outbox[to].push((Cause::Told(peer), heard));
    }
}

/// All that is said in the test is ASCII.
pub(super) fn cut(text: &str, max: usize) -> String {
    text[..text.len().min(max)].to_owned()
}

/// The longest datagram to a peer of v1.
const MAX_LINE: usize = 1024;

/// The longest datagram to a peer of v2.
const MAX_ANSWER: usize = 1200;
