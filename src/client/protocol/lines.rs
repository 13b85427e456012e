//! Version 1: lines.

use std::time::Instant;

use super::Protocol;
use super::echoes::MIN_CUT_BYTES;
use super::frames::turned_away;
use super::liveness::Mode;
use crate::client::config::ProtocolChoice;
use crate::client::event::{DownReason, Event, Message};
use crate::wire::reply::NoticeCode;
use crate::wire::{DisplayName, FRAME_MARK, MAX_TEXT_DATAGRAM, ServerLine, without_line_end};

impl Protocol {
    /// Returns true if the datagram is of version 1.
    pub(super) fn is_line(&self, datagram: &[u8]) -> bool {
        match self.config.protocol {
            ProtocolChoice::V1 => true,
            ProtocolChoice::V2 => false,
            ProtocolChoice::Auto => !datagram.starts_with(&[FRAME_MARK]),
        }
    }

    /// Returns true if the server has sent the line, as far as is known.
    pub(super) fn handle_line(&mut self, datagram: &[u8], is_proof: bool, now: Instant) -> bool {
        if matches!(self.liveness.mode(), Mode::Joining { .. } | Mode::V2) {
            // A session of version 2 receives frames only.
            self.stats.forged += 1;
            return false;
        }
        if let Some(reason) = reason_in(datagram).filter(|_| !self.liveness.is_up()) {
            // It repeats this with each heartbeat. Before the first, it is no sign of life.
            self.liveness.turned_away(reason, now);
            return true;
        }
        if self.handle_challenge(datagram, now) {
            return true;
        }
        if is_proof {
            // To a client that has only sent HELLOs, a server of version 2 sends no line. But
            // anybody may, so one that spoke version 2 before is greeted some more times.
            if self.version().is_none() {
                self.fall_back(now);
                self.hellos_left = match self.stats.sessions {
                    0 => 0,
                    _ => MAX_MORE_HELLOS,
                };
            }
            self.liveness.answered();
        }
        // The application receives what comes after it was told that the server is up.
        self.update(now);
        let datagram = &datagram[..datagram.len().min(MAX_TEXT_DATAGRAM)];
        let line = without_line_end(datagram);
        let room = self.identity.room();
        let message = |room, from, text: &[u8]| Message {
            room,
            from,
            payload: text.to_vec(),
            may_be_cut: line.len() >= MIN_CUT_BYTES,
        };
        match ServerLine::parse(line) {
            _ if line.is_empty() => {}
            Some(ServerLine::Notice(sentence)) => self.handle_notice(None, sentence, now),
            Some(ServerLine::Private { from, text }) => {
                self.push_event(Event::Private(message(None, from, text)));
            }
            Some(ServerLine::Text { from, text }) => match DisplayName::parse(from) {
                Some(from) => self.handle_text(None, message(room, from, text), now),
                None => self.report_foreign_line(line),
            },
            None => self.report_foreign_line(line),
        }
        true
    }

    /// Reports a line that this server would not write.
    fn report_foreign_line(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line).into_owned();
        let code = NoticeCode::Done;
        self.push_event(Event::Notice { code, text });
    }
}

/// They go with as many heartbeats.
const MAX_MORE_HELLOS: u32 = 3;

/// Returns the reason for which a server turns this session away, if the line does so.
fn reason_in(line: &[u8]) -> Option<DownReason> {
    match ServerLine::parse(without_line_end(line))? {
        ServerLine::Notice(sentence) => turned_away(NoticeCode::Refused, sentence),
        _ => None,
    }
}
