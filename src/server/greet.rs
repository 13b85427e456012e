//! The greeting service: every datagram is answered with a greeting.

use std::sync::Arc;

use crate::net::{Datagram, Transmit};
use crate::server::egress::replies::Answers;
use crate::server::ops::log::Journal;
use crate::server::ops::stats::{DropReason, WorkerInfo};
use crate::server::ops::supervise::StopSignal;
use crate::server::worker::Service;
use crate::wire::{GREETING_START, push_greeting};

/// The greeting service of one worker.
pub(super) struct Greet {
    answers: Answers,
    /// With `--once`, what the first answer stops the server with.
    once: Option<Arc<StopSignal>>,
    journal: Journal,
    info: Arc<WorkerInfo>,
}

impl Greet {
    /// A service that stops the server through `once`, if given, after the
    /// first answer.
    pub(super) fn new(
        once: Option<Arc<StopSignal>>,
        journal: Journal,
        info: Arc<WorkerInfo>,
    ) -> Self {
        Self {
            answers: Answers::default(),
            once,
            journal,
            info,
        }
    }
}

impl Service for Greet {
    fn take(&mut self, datagram: Datagram<'_>, _now_ms: u64) {
        let Datagram { from, payload, .. } = datagram;
        let counters = &self.info.counters;
        if payload.starts_with(GREETING_START) {
            return counters.drop_datagram(DropReason::Greeting);
        }
        // The stop takes effect when the answers of this round are sent.
        if self.once.as_ref().is_some_and(|stop| !stop.stop()) {
            return counters.drop_datagram(DropReason::Stopping);
        }
        counters.greetings.add(1);
        counters.deliveries_planned.add(1);
        self.journal.greeted(from);
        self.answers.begin(from);
        self.answers
            .answer(|out| push_greeting(from.socket_addr(), out));
    }

    fn send_some(&mut self, outlet: &mut impl Transmit) -> bool {
        let tally = self.answers.send(outlet);
        self.info.counters.add_tally(tally);
        false
    }

    fn stop(&mut self, _outlet: &mut impl Transmit) {}
}
