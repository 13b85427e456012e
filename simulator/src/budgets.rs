//! The budgets of peers, and the costs of what they send.

use std::num::NonZero;
use std::time::Duration;

use bullhorn::config::Switch;
use bullhorn::server::rate::{Meter, Rate};
use bullhorn::stats::DropReason;
use bullhorn::wire::v2::ClientFrame;
use bullhorn::wire::{Command, RoomName, parse_command, parse_proof};

use crate::handle::Handling;

impl Handling<'_> {
    pub(crate) fn pay_bytes(&mut self, bytes: usize) -> Option<()> {
        let Some(budget) = self.peer().budget.clone() else {
            return Some(());
        };
        let rate = self.rate(self.model.config.limits.bytes_per_peer.0);
        let (units, now_ms) = ((bytes + self.header_bytes) as u32, self.model.now_ms);
        if budget.bytes.take(&rate, units, now_ms) {
            return Some(());
        }
        let slot = (self.worker, self.from.0.port() % 64);
        let flooder = (self.from, budget.bytes.next_ms(&rate));
        self.model.flooders.insert(slot, flooder);
        self.drop(DropReason::ByteLimit)
    }

    /// Pays texts and units of work.
    pub(crate) fn pay(&mut self, (texts, work): (u32, u32)) -> Result<(), DropReason> {
        let Some(budget) = self.peer().budget.clone() else {
            return Ok(());
        };
        let (limits, now_ms) = (&self.model.config.limits, self.model.now_ms);
        let take = |meter: &Meter, units, per_second| {
            units == 0 || meter.take(&self.rate(per_second), units, now_ms)
        };
        if !take(&budget.texts, texts, limits.texts_per_peer.0) {
            return Err(DropReason::TextLimit);
        }
        match take(&budget.work, work, limits.work_per_peer.0) {
            true => Ok(()),
            false => Err(DropReason::WorkLimit),
        }
    }

    pub(crate) fn charge_notices(&mut self, rooms: &[RoomName]) {
        let rate = self.rate(self.model.config.limits.work_per_peer.0);
        if let Some(budget) = &self.peer().budget {
            let work = self.model.notices_work(rooms);
            budget.work.charge(&rate, work, self.model.now_ms);
        }
    }

    pub(crate) fn rate(&self, per_second: Option<NonZero<u32>>) -> Rate {
        Rate::new(per_second, Duration::from_secs(3))
    }

    /// The texts and the units of work that docs/PROTOCOL.md asks for a line.
    pub(crate) fn cost_of_line(&self, line: &[u8]) -> (u32, u32) {
        if line.first() == Some(&b'/') && parse_proof(line).is_some() {
            return (0, 1);
        }
        let command = parse_command(line).filter(|_| self.model.config.commands == Switch::On);
        match command {
            None => (1, 0),
            Some(Err(_) | Ok(Command::Help | Command::Ping(_))) => (0, 1),
            Some(Ok(Command::Who(_) | Command::Rooms(_))) => (0, 10),
            Some(Ok(Command::Msg { .. })) => (1, 2),
            Some(Ok(_)) => (0, 4),
        }
    }

    pub(crate) fn cost_of_frame(&self, frame: &ClientFrame<'_>) -> (u32, u32) {
        let own = self.model.rooms[&self.peer().room].number;
        match frame {
            ClientFrame::Heartbeat(Some(room)) if *room == own => (0, 0),
            ClientFrame::Bye => (0, 0),
            ClientFrame::Say(_) | ClientFrame::SayTo(..) => (1, 0),
            ClientFrame::Heartbeat(_) | ClientFrame::Ping(_) | ClientFrame::Unknown(_) => (0, 1),
            ClientFrame::Command(line) => self.cost_of_line(line),
            _ => (0, 4),
        }
    }
}
