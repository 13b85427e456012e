//! What each command does, and what is answered.

use std::fmt::Write;

use crate::server::egress::replies::{Answers, Hearer};
use crate::server::registry::{Peers, Room};
use crate::wire::v2::{NoticeCode, ServerFrame};
use crate::wire::{
    Command, DisplayName, HELP, MAX_TOKEN_BYTES, Misuse, Name, Protocol, RoomName, Thousands,
};

/// Carries out the commands of one peer, and writes the answers.
pub(super) struct Commands<'a> {
    pub(super) peers: &'a Peers,
    pub(super) answers: &'a mut Answers,
    /// Who asks, and what it speaks.
    pub(super) asker: Hearer,
}

/// What is answered; `None` to a peer that is gone.
type Reply = Option<(NoticeCode, Vec<u8>)>;

impl Commands<'_> {
    /// Carries out `command`.
    pub(super) fn perform(&mut self, command: Result<Command<'_>, Misuse>) {
        let reply = match command {
            Err(Misuse(right)) => Some((NoticeCode::Misuse, right.into())),
            Ok(Command::Help) => done(HELP),
            Ok(Command::Nick(name)) => self.rename(name),
            Ok(Command::Join(name)) => self.join(name),
            Ok(Command::Leave) => self.join(*self.peers.lobby().name()),
            Ok(Command::Who(_) | Command::Rooms(_)) if !self.answers.take_list() => {
                refused("not listed: too many lists at once")
            }
            Ok(Command::Who(first)) => self.who(first),
            Ok(Command::Rooms(first)) => self.rooms(first),
            Ok(Command::Msg { to, text }) => self.tell(to, text),
            Ok(Command::Ping(token)) => return self.pong(token),
            Ok(Command::Presence(is_on)) => self.set_presence(is_on),
        };
        if let Some((code, text)) = reply {
            self.answers.notice(self.asker.1, code, &text);
        }
    }

    /// Of all commands the one that comes often: it allocates nothing.
    fn pong(&mut self, token: &[u8]) {
        let mut text = [0; PONG.len() + MAX_TOKEN_BYTES];
        let (pong, rest) = text.split_at_mut(PONG.len());
        pong.copy_from_slice(PONG);
        rest[..token.len()].copy_from_slice(token);
        let text = &text[..PONG.len() + token.len()];
        self.answers.notice(self.asker.1, NoticeCode::Done, text);
    }

    fn rename(&self, name: Name) -> Reply {
        match self.peers.rename(&self.asker.0, name)? {
            Ok(()) => done(format!("you are {name}")),
            Err(error) => refused(error.to_string()),
        }
    }

    fn join(&mut self, name: RoomName) -> Reply {
        let room = match self.peers.join(&self.asker.0, name)? {
            Ok(room) => room,
            Err(error) => return refused(error.to_string()),
        };
        if self.asker.1 == Protocol::Frames {
            let frame = ServerFrame::Room(room.number(), *room.name());
            self.answers.answer_frame(&frame);
        }
        let here = Thousands(room.len() as u64);
        done(format!("you are in {} ({here} here)", room.name()))
    }

    fn who(&self, first: usize) -> Reply {
        let (room, _) = self.peers.room_and_name(&self.asker.0)?;
        let mut page = Page::default();
        let total = room.visit(first - 1, |speaker| page.add(format_args!("{speaker}")));
        let head = format!("{} in {}", Thousands(total as u64), room.name());
        done(page.finish(&head, "/who", first, total))
    }

    fn rooms(&self, first: usize) -> Reply {
        let mut page = Page::default();
        let visit = |room: &Room| {
            let members = Thousands(room.len() as u64);
            page.add(format_args!("{} ({members})", room.name()))
        };
        let total = self.peers.rooms().visit(first - 1, visit);
        let plural = if total == 1 { "" } else { "s" };
        let head = format!("{} room{plural}", Thousands(total as u64));
        done(page.finish(&head, "/rooms", first, total))
    }

    fn tell(&mut self, whom: &[u8], text: &[u8]) -> Reply {
        let (asker, _) = self.asker;
        let (_, name) = self.peers.room_and_name(&asker)?;
        // What the peer wrote goes back byte for byte: mended it would be longer, and
        // the answer longer than a datagram to a v2 peer.
        let Some(to) = self.peers.find(whom, &asker) else {
            return refused([b"nobody is called ", whom].concat());
        };
        let from = DisplayName::of(asker.socket_addr(), name);
        if !self.answers.tell(to, from, text) {
            return refused("not sent: too many messages at once");
        }
        done([b"to ", whom, b": ", text].concat())
    }

    fn set_presence(&self, is_on: bool) -> Reply {
        if !self.peers.set_presence(&self.asker.0, is_on) {
            return None;
        }
        done(if is_on {
            "presence is on"
        } else {
            "presence is off"
        })
    }
}

fn done(text: impl Into<Vec<u8>>) -> Reply {
    Some((NoticeCode::Done, text.into()))
}

fn refused(text: impl Into<Vec<u8>>) -> Reply {
    Some((NoticeCode::Refused, text.into()))
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

/// Before the token.
const PONG: &[u8] = b"pong ";

/// With what stands around it, less than a datagram of v1 holds.
const PAGE_BYTES: usize = 900;
