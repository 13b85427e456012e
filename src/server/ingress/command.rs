//! The commands: their effects and their replies.

use std::fmt::Write;

use crate::net::PeerAddr;
use crate::server::egress::replies::Replies;
use crate::server::ops::stats::Counters;
use crate::server::registry::{Peer, Protocol, Registry, Room};
use crate::wire::v2::{NoticeCode, ServerFrame};
use crate::wire::{Command, HELP, MAX_TOKEN_BYTES, Misuse, Name, RoomName, Speaker, Thousands};

/// Executes the commands of one peer, and writes the replies.
pub(super) struct Commands<'a> {
    pub(super) registry: &'a Registry,
    pub(super) replies: &'a mut Replies,
    pub(super) counters: &'a Counters,
    /// The sender.
    pub(super) from: PeerAddr,
    pub(super) peer: &'a Peer,
}

/// The reply, or `None` if the sender is not registered any more.
type Reply = Option<(NoticeCode, Vec<u8>)>;

impl Commands<'_> {
    /// Executes `command`.
    pub(super) fn execute(&mut self, command: Result<Command<'_>, Misuse>) {
        let reply = match command {
            Err(Misuse(right)) => Some((NoticeCode::Misuse, right.into())),
            Ok(Command::Help) => done(HELP),
            Ok(Command::Nick(name)) => self.rename(name),
            Ok(Command::Join(name)) => self.join(name),
            Ok(Command::Leave) => self.join(*self.registry.lobby().name()),
            Ok(Command::Who(_) | Command::Rooms(_)) if self.replies.take_list().is_err() => {
                refused("not listed: too many lists at once")
            }
            Ok(Command::Who(first)) => self.who(first),
            Ok(Command::Rooms(first)) => self.rooms(first),
            Ok(Command::Msg { to, text }) => self.private(to, text),
            Ok(Command::Ping(token)) => return self.pong(token),
            Ok(Command::Presence(is_on)) => self.set_presence(is_on),
        };
        match reply {
            Some((code, text)) => self.replies.notice(self.peer.protocol(), code, &text),
            None => self.counters.commands_expired.add(1),
        }
    }

    /// Replies to the one command that is frequent. This does not allocate.
    fn pong(&mut self, token: &[u8]) {
        let mut text = [0; PONG.len() + MAX_TOKEN_BYTES];
        let (pong, rest) = text.split_at_mut(PONG.len());
        pong.copy_from_slice(PONG);
        rest[..token.len()].copy_from_slice(token);
        let text = &text[..PONG.len() + token.len()];
        let protocol = self.peer.protocol();
        self.replies.notice(protocol, NoticeCode::Done, text);
    }

    fn rename(&self, name: Name) -> Reply {
        match self.registry.rename(&self.from, name)? {
            Ok(()) => done(format!("you are {name}")),
            Err(error) => refused(error.to_string()),
        }
    }

    fn join(&mut self, name: RoomName) -> Reply {
        let room = match self.registry.join(&self.from, name)? {
            Ok(room) => room,
            Err(error) => return refused(error.to_string()),
        };
        if self.peer.protocol() == Protocol::Frames {
            let frame = ServerFrame::Room(room.number(), *room.name());
            self.replies.reply_frame(&frame);
        }
        let here = Thousands(room.len() as u64);
        done(format!("you are in {} ({here} here)", room.name()))
    }

    fn who(&self, first: usize) -> Reply {
        let room = self.peer.room();
        let mut page = Page::default();
        let add = |member| page.add(format_args!("{member}"));
        let total = self.registry.visit_members(&room, first - 1, add);
        let head = format!("{} in {}", Thousands(total as u64), room.name());
        done(page.finish(&head, "/who", first, total))
    }

    fn rooms(&self, first: usize) -> Reply {
        let mut page = Page::default();
        let add = |room: &Room| {
            let members = Thousands(room.len() as u64);
            page.add(format_args!("{} ({members})", room.name()))
        };
        let total = self.registry.directory().visit(first - 1, add);
        let plural = if total == 1 { "" } else { "s" };
        let head = format!("{} room{plural}", Thousands(total as u64));
        done(page.finish(&head, "/rooms", first, total))
    }

    fn private(&mut self, whom: &[u8], text: &[u8]) -> Reply {
        // What the peer wrote goes back byte for byte. Escaped it would be longer, and the
        // reply longer than a datagram to a v2 peer.
        let Some(to) = self.registry.find(whom, &self.from) else {
            return refused([b"nobody is called ", whom].concat());
        };
        let from = Speaker::of(self.from.socket_addr(), self.peer.name());
        if self.replies.private(to, from, text).is_err() {
            return refused("not sent: too many messages at once");
        }
        done([b"to ", whom, b": ", text].concat())
    }

    fn set_presence(&self, is_on: bool) -> Reply {
        self.registry.set_presence(&self.from, is_on)?;
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

/// The part of a long list that one reply holds.
#[derive(Default)]
struct Page {
    text: String,
    count: usize,
}

impl Page {
    /// Adds an entry, and returns true if it fits.
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
