//! The greeting server: it replies to every datagram with a greeting.

use std::io;
use std::sync::Arc;

use super::assembly::Assembly;
use super::config::ServerConfig;
use super::egress::Progress;
use super::egress::replies::Replies;
use super::ingress::admission::{Admission, Verdict};
use super::ops::log::Log;
use super::ops::stats::{DropReason, WorkerInfo};
use super::ops::supervise::StopSignal;
use super::settings::{Settings, rules};
use super::worker::Service;
use crate::net::{Datagram, Transmit};
use crate::wire::{GREETING_START, push_greeting};

struct Greet {
    replies: Replies,
    admission: Arc<Admission>,
    /// With `--once`, the signal to send at the first reply.
    once: Option<Arc<StopSignal>>,
    log: Log,
    info: Arc<WorkerInfo>,
}

pub(super) fn start(config: &ServerConfig, mut assembly: Assembly<'_>) -> io::Result<Settings> {
    let stop = Arc::clone(assembly.supervisor.stop_signal());
    let log = assembly.log.clone();
    let admission = Arc::new(Admission::new(
        rules(config),
        Arc::default(),
        Arc::clone(&assembly.shared.own_addresses),
    ));
    let settings = Settings::of_greeting(&admission);
    let services = assembly.seats.iter().map(|seat| Greet {
        replies: Replies::default(),
        admission: Arc::clone(&admission),
        once: config.once.then(|| Arc::clone(&stop)),
        log: log.clone(),
        info: Arc::clone(&seat.info),
    });
    let services = services.collect();
    assembly.spawn_workers(services)?;
    Ok(settings)
}

impl Service for Greet {
    fn handle_datagram(&mut self, datagram: Datagram<'_>, _now_ms: u64) {
        let Datagram { from, payload, .. } = datagram;
        let counters = &self.info.counters;
        if payload.starts_with(GREETING_START) {
            return counters.drop_datagram(DropReason::Greeting);
        }
        if let Verdict::Refuse(reason) = self.admission.judge(&from) {
            return counters.drop_datagram(reason);
        }
        // The worker sends the replies of this round before it stops.
        if self.once.as_ref().is_some_and(|stop| !stop.stop()) {
            return counters.drop_datagram(DropReason::Stopping);
        }
        counters.greetings.add(1);
        counters.deliveries_planned.add(1);
        self.log.greeted(from);
        self.replies.begin(from, payload.len());
        self.replies
            .set_reply(|out| push_greeting(from.socket_addr(), out));
    }

    fn poll_transmit(&mut self, transmit: &mut impl Transmit, _now_ms: u64) -> Progress {
        let tally = self.replies.send(transmit);
        self.info.counters.add_tally(tally);
        Progress::Idle
    }

    fn stop(&mut self, _transmit: &mut impl Transmit) {}
}
