//! The commands: their effects and their replies.

use std::sync::Arc;

use super::cost;
use crate::net::PeerAddr;
use crate::server::egress::replies::{Replies, TooMany};
use crate::server::ops::stats::Counters;
use crate::server::registry::{
    NameError, Peer, PeerRates, Registry, Renamed, Request, Room, RoomError,
};
use crate::wire::reply::{Page, Thousands};
use crate::wire::v2::ServerFrame;
use crate::wire::{Command, DisplayName, Misuse, Name, Protocol, Reply, RoomName};

/// Executes the commands of one peer, and replies to them.
pub(super) struct Commands<'a> {
    pub(super) registry: &'a Registry,
    pub(super) replies: &'a mut Replies,
    pub(super) counters: &'a Counters,
    pub(super) rates: &'a PeerRates,
    pub(super) now_ms: u64,
    pub(super) from: PeerAddr,
    pub(super) peer: &'a Peer,
}

/// The sender is not registered any more.
struct Expired;

impl Commands<'_> {
    pub(super) fn execute(&mut self, command: Result<Command<'_>, Misuse>) {
        let result = match command {
            Err(Misuse(verb)) => self.reply(&Reply::Usage(verb)),
            Ok(Command::Help) => self.reply(&Reply::Help),
            Ok(Command::Nick(name)) => self.rename(name),
            Ok(Command::Join(name)) => self.join(name),
            Ok(Command::Leave) => self.join(*self.registry.lobby().name()),
            Ok(Command::Who(_) | Command::Rooms(_)) if self.replies.take_list().is_err() => {
                self.reply(&Reply::TooManyLists)
            }
            Ok(Command::Who(first)) => self.list_members(first),
            Ok(Command::Rooms(first)) => self.list_rooms(first),
            Ok(Command::Msg { to, text }) => self.send_private(to, text),
            Ok(Command::Ping(token)) => self.reply(&Reply::Pong(token)),
            Ok(Command::Presence(is_on)) => self.set_presence(is_on),
        };
        if let Err(Expired) = result {
            self.counters.commands_expired.add(1);
        }
    }

    /// Replies to a proof of the address, which is right, or not needed any more.
    pub(super) fn confirm_proof(&mut self) {
        let room = self.peer.room();
        let entered = Reply::Entered {
            room: *room.name(),
            members: room.all_members(),
        };
        self.replies.reply(self.peer.protocol(), &entered);
    }

    fn rename(&mut self, name: Name) -> Result<(), Expired> {
        let renamed = self.registry.rename(&self.from, name).ok_or(Expired)?;
        if renamed.is_ok() {
            self.charge_notices(&[&self.peer.room()]);
        }
        self.reply(&match renamed {
            Ok(Renamed::Yes) => Reply::Named(name),
            Ok(Renamed::Unconfirmed) => Reply::NamedUnconfirmed(name),
            // The thread of the cluster replies.
            Ok(Renamed::Pending) => return Ok(()),
            Err(error) => error.into(),
        })
    }

    fn join(&mut self, name: RoomName) -> Result<(), Expired> {
        let before = self.peer.room();
        let room = match self.registry.join(&self.from, name).ok_or(Expired)? {
            Ok(room) => room,
            Err(error) => return self.reply(&error.into()),
        };
        if !Arc::ptr_eq(&before, &room) {
            self.charge_notices(&[&before, &room]);
        }
        if let Protocol::Frames(_) = self.peer.protocol() {
            self.replies.add_frame(&ServerFrame::Room(room.frame()));
        }
        self.reply(&Reply::Entered {
            room: *room.name(),
            members: room.all_members(),
        })
    }

    fn list_members(&mut self, first: usize) -> Result<(), Expired> {
        let room = self.peer.room();
        let mut page = Page::new(first);
        let max_bytes = self.peer.protocol().page_bytes();
        let push = |member: DisplayName| page.push(member, max_bytes).is_some();
        page.total = self.registry.visit_members(&room, first - 1, push);
        self.reply(&Reply::Members(*room.name(), page))
    }

    fn list_rooms(&mut self, first: usize) -> Result<(), Expired> {
        let mut page = Page::new(first);
        let max_bytes = self.peer.protocol().page_bytes();
        let push = |name: RoomName, members: usize| {
            let members = Thousands(members as u64);
            page.push(format_args!("{name} ({members})"), max_bytes)
                .is_some()
        };
        page.total = self.registry.visit_rooms(first - 1, push);
        self.reply(&Reply::Rooms(page))
    }

    fn send_private(&mut self, to: &[u8], text: &[u8]) -> Result<(), Expired> {
        if self.peer.is_muted() {
            self.counters.messages_muted.add(1);
            return Ok(());
        }
        let from = self.peer.display_name(&self.from);
        let sent = match self.registry.find(to, &self.from) {
            Some(receiver) => self.replies.private(&receiver, from, text),
            None => match self.send_to_node(to, from, text) {
                Some(sent) => sent,
                None => return self.reply(&Reply::NoSuchPeer(to)),
            },
        };
        match sent {
            Ok(()) => self.reply(&Reply::Sent { to, text }),
            Err(TooMany) => self.reply(&Reply::TooManyMessages),
        }
    }

    /// Sends a direct message to a peer of another server. Returns `None` if there is none.
    fn send_to_node(
        &mut self,
        to: &[u8],
        from: DisplayName,
        text: &[u8],
    ) -> Option<Result<(), TooMany>> {
        let requests = self.registry.requests()?;
        let to = DisplayName::parse(to)?;
        let node = self.registry.remote().find(&to)?;
        if let Err(error) = self.replies.take_private() {
            return Some(Err(error));
        }
        let text = text.into();
        let private = Request::Private {
            node,
            from,
            to,
            text,
        };
        Some(match requests.push(private) {
            true => Ok(()),
            false => Err(TooMany),
        })
    }

    fn set_presence(&mut self, is_on: bool) -> Result<(), Expired> {
        let set = self.registry.set_presence(&self.from, is_on);
        set.ok_or(Expired)?;
        self.reply(&Reply::Subscribed(is_on))
    }

    /// Charges the peer for the presence notices that a change in these rooms leads to.
    fn charge_notices(&self, rooms: &[&Room]) {
        if let Some(budget) = self.peer.budget() {
            budget.charge_work(cost::notices(rooms), self.rates, self.now_ms);
        }
    }

    fn reply(&mut self, reply: &Reply<'_>) -> Result<(), Expired> {
        self.replies.reply(self.peer.protocol(), reply);
        Ok(())
    }
}

impl From<NameError> for Reply<'_> {
    fn from(error: NameError) -> Self {
        match error {
            NameError::Taken(name) => Self::NameTaken(name),
            NameError::LimitReached(limit) => Self::NameLimit(limit),
        }
    }
}

impl From<RoomError> for Reply<'_> {
    fn from(error: RoomError) -> Self {
        match error {
            RoomError::Full { name, max } => Self::RoomFull(name, max as usize),
            RoomError::LimitReached { name, limit } => Self::RoomLimit(name, limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::ops::stats::WorkerId;
    use crate::server::registry::Touch;
    use crate::wire::parse_command;

    #[test]
    fn a_command_of_an_expired_peer_is_counted_and_has_no_effect() {
        let registry = Registry::plain(1, 10);
        let from = PeerAddr::new(([127, 0, 0, 1], 5000).into(), 0);
        let Touch::Registered(peer) = registry.touch(&from, Protocol::Text, WorkerId(0), 0) else {
            panic!("the registry is empty");
        };
        registry.expire(&[900], |_| {});
        let (mut replies, counters) = (Replies::default(), Counters::default());
        let rates = PeerRates::none();
        for line in ["/nick ada", "/join den", "/presence on"] {
            let mut commands = Commands {
                registry: &registry,
                replies: &mut replies,
                counters: &counters,
                rates: &rates,
                now_ms: 0,
                from,
                peer: &peer,
            };
            commands.execute(parse_command(line.as_bytes()).unwrap());
        }
        assert_eq!(counters.read().commands_expired, 3);
        assert_eq!((registry.len(), registry.directory().len()), (0, 1));
        assert_eq!(peer.name(), None);
    }
}
