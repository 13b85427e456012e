//! The costs of what a peer sends, in texts and in units of work. A peer that is not trusted pays
//! them from its budget.
//!
//! A unit is about the time to reply, some microseconds. docs/PROTOCOL.md has the same table.

use super::line::Line;
use crate::server::registry::{Peer, Room};
use crate::wire::Command;
use crate::wire::v2::ClientFrame;

/// The cost of a text, a command or a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) texts: u32,
    pub(super) work: u32,
}

impl Cost {
    /// The cost of a line.
    pub(super) fn of_line(line: &Line<'_>) -> Self {
        match line {
            Line::Text(_) => TEXT,
            Line::Proof => REPLY,
            Line::Command(Err(_) | Ok(Command::Help | Command::Ping(_))) => REPLY,
            Line::Command(Ok(Command::Nick(_) | Command::Join(_) | Command::Leave)) => CHANGE,
            Line::Command(Ok(Command::Presence(_))) => CHANGE,
            Line::Command(Ok(Command::Who(_) | Command::Rooms(_))) => LIST,
            Line::Command(Ok(Command::Msg { .. })) => PRIVATE,
        }
    }

    /// The cost of a frame of a session. A COMMAND costs what its line does.
    pub(super) fn of_frame(frame: &ClientFrame<'_>, peer: &Peer) -> Self {
        match frame {
            ClientFrame::Heartbeat(Some(room)) if peer.is_in(*room) => NOTHING,
            ClientFrame::Bye | ClientFrame::Command(_) => NOTHING,
            ClientFrame::Say(_) | ClientFrame::SayTo(..) => TEXT,
            ClientFrame::Heartbeat(_) | ClientFrame::Ping(_) | ClientFrame::Unknown(_) => REPLY,
            ClientFrame::Subscribe(_) | ClientFrame::Unsubscribe(_) => CHANGE,
            ClientFrame::Hello(_) | ClientFrame::Move(_) => CHANGE,
        }
    }
}

/// The units of work of the presence notices that a change in these rooms leads to.
pub(super) fn notices(rooms: &[&Room]) -> u32 {
    let subscribers: usize = rooms.iter().map(|room| room.presence_subscribers()).sum();
    u32::try_from(subscribers / NOTICES_PER_UNIT).unwrap_or(u32::MAX)
}

const NOTHING: Cost = Cost { texts: 0, work: 0 };

/// The backlog bounds the work of sending it.
const TEXT: Cost = Cost { texts: 1, work: 0 };

const REPLY: Cost = Cost { texts: 0, work: 1 };

/// It takes locks that all workers share, and the members of a room are copied again.
const CHANGE: Cost = Cost { texts: 0, work: 4 };

/// It visits up to 512 members.
const LIST: Cost = Cost { texts: 0, work: 10 };

/// A datagram to the receiver, and the reply.
const PRIVATE: Cost = Cost { texts: 1, work: 2 };

/// The notices of 100 ms are sent as one, and many of them with one system call.
const NOTICES_PER_UNIT: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn cost_of(line: &str, has_commands: bool) -> Cost {
        Cost::of_line(&Line::parse(line.as_bytes(), has_commands))
    }

    #[test]
    fn a_line_costs_what_it_makes_the_server_do() {
        for (line, cost) in [
            ("hi", TEXT),
            ("", TEXT),
            ("/dance", TEXT),
            ("/help", REPLY),
            ("/ping 1", REPLY),
            ("/nick", REPLY),
            ("/in 00000000", REPLY),
            ("/nick ada", CHANGE),
            ("/join den", CHANGE),
            ("/leave", CHANGE),
            ("/presence on", CHANGE),
            ("/who", LIST),
            ("/rooms 7", LIST),
            ("/msg ada hi", PRIVATE),
        ] {
            assert_eq!(cost_of(line, true), cost, "{line}");
        }
        assert_eq!(cost_of("/join den", false), TEXT);
        assert_eq!(cost_of("/in 00000000", false), REPLY);
    }
}
