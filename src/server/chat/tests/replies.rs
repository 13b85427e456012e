//! The replies of the model, and its direct messages.

use super::Received;
use super::model::{Cause, Model, truncate};
use crate::wire::v2::NoticeCode;

impl Model {
    pub(super) fn confirm(&mut self, peer: usize, kind: &'static str, text: &str) {
        self.reply_notice(peer, kind, NoticeCode::Done, text);
    }

    pub(super) fn refuse(&mut self, peer: usize, kind: &'static str, text: &str) {
        self.reply_notice(peer, kind, NoticeCode::Refused, text);
    }

    pub(super) fn misuse(&mut self, peer: usize, usage: &str) {
        self.reply_notice(peer, "misuse", NoticeCode::Misuse, usage);
    }

    fn reply_notice(&mut self, peer: usize, kind: &'static str, code: NoticeCode, text: &str) {
        self.count(kind);
        let notice = self.notice(peer, code, text);
        self.reply(peer, notice);
    }

    pub(super) fn notice(&self, to: usize, code: NoticeCode, text: &str) -> Received {
        if self.peers[&to].session.is_some() {
            Received::Notice(code, text.to_owned())
        } else {
            self.line(to, &format!("* {text}"))
        }
    }

    /// Returns the datagram that a v1 peer receives.
    pub(super) fn line(&self, to: usize, text: &str) -> Received {
        let end = if self.peers[&to].has_line_ends {
            "\n"
        } else {
            ""
        };
        Received::Line(truncate(text, MAX_LINE) + end)
    }

    /// Begins the reply to the next datagram. All its parts are in one datagram.
    pub(super) fn begin(&mut self) {
        self.reply_bytes = 10;
        self.privates_left = 8;
        self.lists_left = 8;
    }

    /// Replies to `peer`, unless the datagram would be longer than a bundle.
    pub(super) fn reply(&mut self, peer: usize, reply: Received) {
        let body = match &reply {
            Received::Welcome { .. } => 21,
            Received::Pong(token) => token.len(),
            Received::Notice(_, text) => 1 + text.len(),
            Received::Room(_, name) => 12 + name.len(),
            _ => 0,
        };
        let len = self.reply_bytes + 3 + body;
        if len > MAX_REPLY {
            self.shed += 1;
            return self.count("reply too long");
        }
        self.reply_bytes = len;
        self.outbox[peer].push((Cause::Request(peer), reply));
    }

    /// Sends a direct message.
    pub(super) fn send_private(&mut self, from: usize, to: usize, text: &str) {
        let name = self.display_name(from);
        let message = if self.peers[&to].session.is_some() {
            Received::Private(name, text.to_owned())
        } else {
            self.line(to, &format!("* {name} to you: {text}"))
        };
        self.outbox[to].push((Cause::Private(from), message));
    }
}

/// Maximum length of a datagram to a v1 peer, without its line end.
const MAX_LINE: usize = 1024;

/// Maximum length of a datagram to a v2 peer.
const MAX_REPLY: usize = 1200;
