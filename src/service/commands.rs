//! What each command does, and what is answered.

use std::fmt::Write;

use super::answers::Answers;
use crate::net::PeerAddr;
use crate::peers::Peers;
use crate::rooms::{Protocol, Room};
use crate::wire::frame::{NoticeCode, ServerFrame};
use crate::wire::{Command, HELP, Misuse, Name, RoomName, Speaker, Thousands};

/// Carries out commands of peers, and writes the answers.
pub(super) struct Commands<'a> {
    pub(super) peers: &'a Peers,
    pub(super) answers: &'a mut Answers,
}

/// The peer that a command is from, and what it speaks.
pub(super) type From = (PeerAddr, Protocol);

impl Commands<'_> {
    /// Carries out `command`. Every command is answered, unless the peer is gone.
    pub(super) fn perform(&mut self, from: From, command: Result<Command<'_>, Misuse>) {
        let done = |text: String| Some((NoticeCode::Done, text));
        let answer = match command {
            Err(Misuse(right)) => Some((NoticeCode::Misuse, right.to_owned())),
            Ok(Command::Help) => done(HELP.to_owned()),
            Ok(Command::Nick(name)) => self.rename(&from.0, name),
            Ok(Command::Join(name)) => return self.join(from, name),
            Ok(Command::Leave) => return self.join(from, *self.peers.lobby().name()),
            Ok(Command::Who(first)) => self.who(&from.0, first),
            Ok(Command::Rooms(first)) => done(self.rooms(first)),
            Ok(Command::Msg { to, text }) => return self.tell(from, to, text),
            Ok(Command::Ping(token)) => return self.pong(from, token),
            Ok(Command::Presence(is_on)) => self.set_presence(&from.0, is_on),
        };
        if let Some((code, text)) = answer {
            self.answers.push_notice(from, code, text.as_bytes());
        }
    }

    fn rename(&self, peer: &PeerAddr, name: Name) -> Option<(NoticeCode, String)> {
        Some(match self.peers.rename(peer, name)? {
            Ok(()) => (NoticeCode::Done, format!("you are {name}")),
            Err(error) => (NoticeCode::Refused, error.to_string()),
        })
    }

    fn join(&mut self, from: From, name: RoomName) {
        let room = match self.peers.join(&from.0, name) {
            None => return,
            Some(Err(error)) => {
                let text = error.to_string();
                return self
                    .answers
                    .push_notice(from, NoticeCode::Refused, text.as_bytes());
            }
            Some(Ok(room)) => room,
        };
        let here = Thousands(room.len() as u64);
        let text = format!("you are in {} ({here} here)", room.name());
        match from.1 {
            Protocol::Text => self.answers.push_line(from.0, text.as_bytes()),
            // In one datagram: where it is, and the answer.
            Protocol::Frames => self.answers.push_frames(
                from.0,
                &[
                    ServerFrame::Room(room.number(), *room.name()),
                    ServerFrame::Notice(NoticeCode::Done, text.as_bytes()),
                ],
            ),
        }
    }

    fn who(&self, peer: &PeerAddr, first: usize) -> Option<(NoticeCode, String)> {
        let (room, _) = self.peers.place(peer)?;
        let mut page = Page::default();
        let total = room.visit(first - 1, |speaker| page.add(format_args!("{speaker}")));
        let head = format!("{} in {}", Thousands(total as u64), room.name());
        Some((NoticeCode::Done, page.finish(&head, "/who", first, total)))
    }

    fn rooms(&self, first: usize) -> String {
        let mut page = Page::default();
        let visit = |room: &Room| {
            let members = Thousands(room.len() as u64);
            page.add(format_args!("{} ({members})", room.name()))
        };
        let total = self.peers.rooms().visit(first - 1, visit);
        let plural = if total == 1 { "" } else { "s" };
        let head = format!("{} room{plural}", Thousands(total as u64));
        page.finish(&head, "/rooms", first, total)
    }

    fn tell(&mut self, from: From, whom: &[u8], text: &[u8]) {
        let Some((_, name)) = self.peers.place(&from.0) else {
            return;
        };
        // What the peer wrote goes back byte for byte: mended it would be longer, and
        // the answer longer than a datagram to a v2 peer.
        let Some(to) = self.peers.find(whom, &from.0) else {
            let text = [b"nobody is called ", whom].concat();
            return self.answers.push_notice(from, NoticeCode::Refused, &text);
        };
        self.answers
            .push_private(to, Speaker::of(from.0.socket_addr(), name), text);
        let text = [b"to ", whom, b": ", text].concat();
        self.answers.push_notice(from, NoticeCode::Done, &text);
    }

    fn pong(&mut self, from: From, token: &[u8]) {
        let text = [b"pong ", token].concat();
        self.answers.push_notice(from, NoticeCode::Done, &text);
    }

    fn set_presence(&self, peer: &PeerAddr, is_on: bool) -> Option<(NoticeCode, String)> {
        let word = if is_on { "on" } else { "off" };
        let is_done = self.peers.set_presence(peer, is_on);
        is_done.then(|| (NoticeCode::Done, format!("presence is {word}")))
    }
}

/// As much of a long list as one answer holds.
#[derive(Default)]
struct Page {
    text: String,
    count: usize,
}

impl Page {
    /// Adds an entry. False: it was the last that fits.
    fn add(&mut self, entry: std::fmt::Arguments<'_>) -> bool {
        let len = self.text.len();
        let _ = write!(self.text, " {entry}");
        if self.text.len() > PAGE_BYTES {
            self.text.truncate(len);
            return false;
        }
        self.count += 1;
        true
    }

    /// `3 in lobby: a b c`, or with more than fit
    /// `10,000 in lobby, 1 to 40: a b c (more: /who 41)`.
    fn finish(self, head: &str, command: &str, first: usize, total: usize) -> String {
        let Self { text, count } = self;
        let next = first.saturating_add(count);
        if first == 1 && count == total {
            return format!("{head}:{text}");
        }
        if count == 0 {
            return format!("{head}, none from {first} on");
        }
        let more = if next <= total {
            format!(" (more: {command} {next})")
        } else {
            String::new()
        };
        format!("{head}, {first} to {}:{text}{more}", next - 1)
    }
}

/// With what stands around it, less than a datagram of v1 holds.
const PAGE_BYTES: usize = 900;
