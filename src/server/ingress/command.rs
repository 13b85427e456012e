//! Carries out the commands of a peer.

use crate::server::egress::replies::{Answers, Hearer};
use crate::server::registry::{NameError, Peers, Room, RoomError};
use crate::wire::reply::{PageBuilder, RoomSummary};
use crate::wire::v2::ServerFrame;
use crate::wire::{Command, DisplayName, Misuse, Name, Protocol, Reply, RoomName};

/// Carries out the commands of one peer.
pub(super) struct Commands<'a> {
    pub(super) peers: &'a Peers,
    pub(super) answers: &'a mut Answers,
    /// The peer that sent the command.
    pub(super) asker: Hearer,
}

impl Commands<'_> {
    /// Carries out `command`, and replies to it unless the peer has expired.
    pub(super) fn perform(&mut self, command: Result<Command<'_>, Misuse>) {
        match command {
            Err(Misuse(verb)) => self.reply(&Reply::Usage(verb)),
            Ok(Command::Help) => self.reply(&Reply::Help),
            Ok(Command::Nick(name)) => self.rename(name),
            Ok(Command::Join(name)) => self.join(name),
            Ok(Command::Leave) => self.join(*self.peers.lobby().name()),
            Ok(Command::Who(_) | Command::Rooms(_)) if !self.answers.take_list() => {
                self.reply(&Reply::TooManyLists);
            }
            Ok(Command::Who(first)) => self.list_members(first),
            Ok(Command::Rooms(first)) => self.list_rooms(first),
            Ok(Command::Msg { to, text }) => self.send(to, text),
            Ok(Command::Ping(token)) => self.reply(&Reply::Pong(token)),
            Ok(Command::Presence(is_on)) => self.set_presence(is_on),
        }
    }

    fn rename(&mut self, name: Name) {
        let Some(renamed) = self.peers.rename(&self.asker.0, name) else {
            return;
        };
        let reply = renamed.map_or_else(Reply::from, |()| Reply::Named(name));
        self.reply(&reply);
    }

    fn join(&mut self, name: RoomName) {
        let Some(joined) = self.peers.join(&self.asker.0, name) else {
            return;
        };
        let room = match joined {
            Ok(room) => room,
            Err(error) => return self.reply(&error.into()),
        };
        if self.asker.1 == Protocol::Frames {
            let frame = ServerFrame::Room(room.number(), *room.name());
            self.answers.answer_frame(&frame);
        }
        self.reply(&Reply::Entered {
            room: *room.name(),
            members: room.len(),
        });
    }

    fn list_members(&mut self, first: usize) {
        let Some((room, _)) = self.peers.room_and_name(&self.asker.0) else {
            return;
        };
        let mut buffer = Vec::new();
        let mut page = PageBuilder::new(first, &mut buffer);
        let total = room.visit(first - 1, |member| page.push(member).is_ok());
        self.reply(&Reply::Members {
            room: *room.name(),
            page: page.finish(total),
        });
    }

    fn list_rooms(&mut self, first: usize) {
        let mut buffer = Vec::new();
        let mut page = PageBuilder::new(first, &mut buffer);
        let visit = |room: &Room| {
            let summary = RoomSummary {
                name: *room.name(),
                members: room.len(),
            };
            page.push(summary).is_ok()
        };
        let total = self.peers.rooms().visit(first - 1, visit);
        self.reply(&Reply::Rooms(page.finish(total)));
    }

    fn send(&mut self, whom: &[u8], text: &[u8]) {
        let (asker, _) = self.asker;
        let Some((_, name)) = self.peers.room_and_name(&asker) else {
            return;
        };
        let Some(to) = self.peers.find(whom, &asker) else {
            return self.reply(&Reply::NoSuchPeer(whom));
        };
        let from = DisplayName::of(asker.socket_addr(), name);
        if self.answers.tell(to, from, text) {
            self.reply(&Reply::Sent { to: whom, text });
        } else {
            self.reply(&Reply::TooManyMessages);
        }
    }

    fn set_presence(&mut self, is_on: bool) {
        if self.peers.set_presence(&self.asker.0, is_on) {
            self.reply(&Reply::Subscribed(is_on));
        }
    }

    fn reply(&mut self, reply: &Reply<'_>) {
        self.answers.reply(self.asker.1, reply);
    }
}

impl From<NameError> for Reply<'_> {
    fn from(error: NameError) -> Self {
        match error {
            NameError::Taken(name) => Self::NameTaken(name),
            NameError::TooMany(max) => Self::NameLimit(max),
        }
    }
}

impl From<RoomError> for Reply<'_> {
    fn from(error: RoomError) -> Self {
        match error {
            RoomError::Full { name, max } => Self::RoomFull {
                room: name,
                max_members: max as usize,
            },
            RoomError::TooMany { name, max } => Self::RoomLimit {
                room: name,
                max_rooms: max,
            },
        }
    }
}
