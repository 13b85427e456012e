//! One thread of the load: it sends what is due, receives what comes, and keeps its
//! clients where they belong, each in a turn of a few hundred microseconds at most.

mod check;
mod churn;
mod keepalive;
mod members;
mod pause;
mod receive;
mod registration;
mod send;
#[cfg(test)]
mod testing;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use self::check::Check;
use self::churn::Churn;
use self::keepalive::Keepalive;
use self::members::MembersWait;
use self::pause::Pause;
use self::receive::Receiving;
use self::registration::Registration;
use self::send::Sending;
use crate::engine::client::{Client, Phase};
use crate::engine::codec::Receiver;
use crate::engine::common::{Run, RunError};
use crate::engine::partition::{self, Part, Targets};
use crate::engine::ports::Ports;
use crate::engine::pulse::Pulse;
use crate::engine::recorder::{Channel, Recorder, ShardResult};
use crate::engine::schedule::nanoseconds;
use crate::engine::send_batch::SendBatch;
use crate::engine::window::Windows;

/// One thread, before it runs.
pub(crate) struct Shard {
    clients: Clients,
    batch: SendBatch,
    sending: Option<Sending>,
    receiving: Receiving,
    registration: Registration,
    keepalive: Keepalive,
    churn: Churn,
    pause: Pause,
}

/// The clients of a thread, and all that is known of them: what every part of the
/// thread works on.
pub(crate) struct Clients {
    run: Arc<Run>,
    thread: usize,
    /// The number of the first one among those of all threads.
    first: u32,
    all: Vec<Client>,
    ports: Ports,
    /// Requests that were answered.
    asks: Windows,
    /// Texts that arrived.
    texts: Windows,
    recorder: Recorder,
    /// The start of the load by the run's clock, once it is known.
    start_ns: Option<u64>,
    /// The time of the last datagram received, by the run's clock.
    last_received_ns: u64,
    /// Clients that are there.
    active: u32,
    check: Check,
    /// The wait for the members at other targets.
    members_wait: Option<MembersWait>,
    /// The last error with which the kernel refused to send.
    send_error: Option<i32>,
}

impl Shard {
    pub(crate) fn new(
        run: Arc<Run>,
        thread: usize,
        part: Part,
        mut ports: Ports,
        channel: Channel,
    ) -> Result<Self, RunError> {
        let config = &run.config;
        let clients = part.clients as usize;
        let warmup_ns = nanoseconds(config.warmup);
        let seconds = config.duration.as_secs_f64().ceil() as usize;
        Ok(Self {
            pause: Pause::new(ports.sockets_mut(), config.spin)?,
            batch: SendBatch::new(&run.targets),
            receiving: Receiving::new(ports.len(), run.targets.len()),
            registration: Registration::new(part.clients),
            keepalive: Keepalive::new(config.heartbeat),
            churn: Churn::new(config, thread, part),
            sending: part.share.map(|share| Sending::new(config, share)),
            clients: Clients {
                thread,
                first: part.first,
                all: vec![Client::new(); clients],
                ports,
                asks: Windows::new(clients, partition::asks_remembered(config) as usize),
                texts: Windows::new(clients, partition::texts_remembered(config) as usize),
                recorder: Recorder::new(thread, warmup_ns, run.end_ns, seconds, channel),
                start_ns: None,
                last_received_ns: 0,
                active: 0,
                check: Check::new(&Targets::of(config), part),
                members_wait: None,
                send_error: None,
                run,
            },
        })
    }

    /// Lets all clients come, offers the load, waits for what is still under way, and
    /// lets them go. None: the run has failed, and knows why.
    pub(crate) fn run(mut self) -> Option<ShardResult> {
        let result = self.offer_all();
        let ended_ns = result.map_err(|error| self.clients.run.fail(error)).ok();
        // What comes while they leave is of no interest, and not read.
        self.clients.recorder.close(&mut self.clients.ports);
        self.leave();
        let ended_ns = ended_ns?;
        let clients = self.clients;
        let client_bytes = size_of_val(&*clients.all)
            + clients.asks.bytes()
            + clients.texts.bytes()
            + self.registration.bytes();
        let (report, counts, seconds) = clients.recorder.finish();
        Some(ShardResult {
            report,
            counts,
            seconds,
            ended_ns,
            largest_burst: self.sending.map_or(0, |sending| sending.largest_burst()),
            client_bytes,
            send_error: clients.send_error,
        })
    }

    /// Returns when the load ended, since it began.
    fn offer_all(&mut self) -> Result<u64, RunError> {
        let run = Arc::clone(&self.clients.run);
        self.turn_until(|shard| shard.registration.is_done())?;
        run.note_registered();
        if partition::has_spread_rooms(&run.config) && !run.config.members_wait.is_zero() {
            self.turn_until(|_| run.are_all_registered())?;
            self.clients.await_members(run.now_ns());
            self.turn_until(|shard| shard.clients.members_wait.is_none())?;
        }
        run.ready.fetch_add(1, Relaxed);
        while run.start_ns.load(Relaxed) == 0 {
            self.turn()?;
        }
        let start_ns = run.start_ns.load(Relaxed);
        self.clients.start_ns = Some(start_ns);
        let end_ns = run.end_ns;
        let ended_ns = loop {
            self.turn()?;
            let elapsed_ns = run.now_ns().saturating_sub(start_ns);
            if run.is_cut_short() {
                self.sending.iter_mut().for_each(Sending::stop);
                break elapsed_ns.min(end_ns);
            }
            // What came due in the last turn is sent, but by a thread that keeps up.
            let is_over = elapsed_ns >= end_ns && !self.is_due();
            if is_over || elapsed_ns >= end_ns + LATE_NS {
                break end_ns;
            }
        };
        while let Some(sending) = &mut self.sending
            && sending.give_up(&mut self.clients)
        {
            self.turn()?;
        }
        self.clients.recorder.end(ended_ns);
        run.over.fetch_add(1, Relaxed);
        self.drain(&run)?;
        Ok(ended_ns)
    }

    /// Takes turns before the load, until `is_done`.
    fn turn_until(&mut self, is_done: impl Fn(&Self) -> bool) -> Result<(), RunError> {
        while !is_done(self) {
            self.turn()?;
            if let Some(signal) = self.clients.run.control.signal() {
                return Err(RunError::Stopped(signal));
            }
        }
        Ok(())
    }

    /// One turn; it sleeps when there is nothing to do.
    fn turn(&mut self) -> Result<(), RunError> {
        if self.clients.run.is_failed.load(Relaxed) {
            // The thread that failed says why.
            return Err(RunError::Thread("another one ended".into()));
        }
        let clients = &mut self.clients;
        let mut now_ns = clients.run.now_ns();
        let begin_ns = now_ns;
        let mut is_busy = false;
        if let Some(sending) = &mut self.sending {
            is_busy |= sending.turn(clients, &mut self.batch, now_ns);
        }
        let has_received = self
            .receiving
            .turn(clients, &mut self.registration, &mut self.pause)?;
        is_busy |= has_received;
        for target in self.receiving.unheard() {
            clients.run.pulses[target].check(begin_ns);
        }
        now_ns = clients.run.now_ns();
        self.registration.turn(clients, &mut self.batch, now_ns)?;
        clients.ask_for_members(&mut self.batch, now_ns)?;
        self.keepalive.turn(clients, &mut self.batch, now_ns);
        clients.check_server(&mut self.batch, now_ns);
        self.churn
            .turn(clients, &mut self.registration, &mut self.batch, now_ns);
        if let Some((target, errno)) = self.batch.take_error() {
            clients.note_send_error(target, errno, now_ns)?;
        }
        if let Some(elapsed_ns) = clients.since_start(now_ns) {
            clients.recorder.hand_over(elapsed_ns, &mut clients.ports);
        }
        if !is_busy {
            let next_ns = self.next_due_ns(now_ns);
            self.pause
                .wait(now_ns, next_ns, &mut self.receiving.readable)?;
        }
        Ok(())
    }

    /// Returns true if some of the load is still to be sent.
    fn is_due(&self) -> bool {
        let sending = self.sending.as_ref();
        sending.is_some_and(|sending| sending.next_ns(&self.clients).is_some())
    }

    /// Returns the time of the next thing to do, whatever arrives.
    fn next_due_ns(&self, now_ns: u64) -> u64 {
        let sending = self.sending.as_ref();
        let due = sending.and_then(|sending| sending.next_ns(&self.clients));
        let is_waiting = !self.registration.is_done() || self.clients.members_wait.is_some();
        let upkeep = if is_waiting { ADMISSION_NS } else { UPKEEP_NS };
        due.unwrap_or(u64::MAX).min(now_ns + upkeep)
    }

    /// Waits for what is under way, until all has come and nothing comes any more, or
    /// for as long as anything may be on its way.
    fn drain(&mut self, run: &Run) -> Result<(), RunError> {
        self.churn.end();
        let drain_ns = nanoseconds(run.config.drain);
        let begin_ns = run.now_ns();
        self.clients.last_received_ns = self.clients.last_received_ns.max(begin_ns);
        loop {
            self.turn()?;
            let counts = &self.clients.recorder.counts;
            let missing = (counts.expected + counts.asked) as i64
                - (counts.delivered + counts.answered) as i64;
            run.missing[self.clients.thread].store(missing, Relaxed);
            let missing: i64 = run
                .missing
                .iter()
                .map(|missing| missing.load(Relaxed))
                .sum();
            let quiet_ns = run.now_ns().saturating_sub(self.clients.last_received_ns);
            let enough_ns = if missing == 0 {
                DONE_QUIET_NS
            } else {
                LOST_QUIET_NS
            };
            if quiet_ns >= enough_ns || run.now_ns() - begin_ns >= drain_ns {
                // Once more, as this turn may have begun before the silence was long enough.
                return self.turn();
            }
        }
    }
}

impl Clients {
    /// The number of a client among those of all threads.
    fn global(&self, client: u32) -> u32 {
        self.first + client
    }

    /// Returns the possible contents of the header of a datagram to a client.
    fn receiver(&self, client: u32) -> Receiver {
        Receiver {
            session: self.all[client as usize].session,
            nonce: self.run.nonce(self.global(client)),
        }
    }

    /// The signs of life of the target of a client.
    fn pulse(&self, client: u32) -> &Pulse {
        &self.run.pulses[self.ports.target_of(client)]
    }

    fn room_of(&self, client: u32) -> u32 {
        partition::room_of(&self.run.config, self.global(client))
    }

    /// A time of the run's clock as one since the load began; none: it has not.
    fn since_start(&self, now_ns: u64) -> Option<u64> {
        now_ns.checked_sub(self.start_ns?)
    }

    /// Returns true during the recording.
    fn is_recording(&self, now_ns: u64) -> bool {
        let elapsed_ns = self.since_start(now_ns);
        elapsed_ns.is_some_and(|elapsed_ns| self.recorder.is_open(elapsed_ns))
    }

    fn client(&mut self, client: u32) -> &mut Client {
        &mut self.all[client as usize]
    }

    fn is_active(&self, client: u32) -> bool {
        self.all[client as usize].phase == Phase::Active
    }

    /// The kernel has refused to send. Before the first client is there, that fails the run.
    fn note_send_error(&mut self, target: usize, errno: i32, now_ns: u64) -> Result<(), RunError> {
        if errno == libc::ECONNREFUSED {
            self.run.pulses[target].refused(now_ns);
            return Ok(());
        }
        self.send_error = Some(errno);
        // It may have space later.
        if errno == libc::ENOBUFS || self.active > 0 || self.start_ns.is_some() {
            return Ok(());
        }
        Err(RunError::CannotSend {
            target: self.run.target(target),
            source: std::io::Error::from_raw_os_error(errno),
        })
    }

    /// A client takes part from now on.
    fn enter(&mut self, client: u32) {
        let room = self.room_of(client);
        let owed_from = self.run.rooms.join(room);
        self.texts.clear(client as usize);
        let client = self.client(client);
        client.owed_from = owed_from;
        client.owed_until = u32::MAX;
        client.received_text = owed_from;
        client.phase = Phase::Active;
        self.active += 1;
    }

    /// A client takes part no more, and need not receive what is sent from now on.
    fn withdraw(&mut self, client: u32) {
        let room = self.room_of(client);
        let owed_until = self.run.rooms.leave(room);
        let client = self.client(client);
        client.owed_until = owed_until;
        client.phase = Phase::Leaving;
        self.active -= 1;
    }
}

/// The interval at which an idle thread looks after its clients.
const UPKEEP_NS: u64 = 50_000_000;

/// And while clients come.
const ADMISSION_NS: u64 = 2_000_000;

/// The delay at the end within which datagrams are still sent. Beyond it the thread has more to do
/// than it can.
const LATE_NS: u64 = 100_000_000;

/// The wait for duplicates when everything has arrived.
const DONE_QUIET_NS: u64 = 250_000_000;

/// The time without any datagram after which the missing ones are lost.
const LOST_QUIET_NS: u64 = 1_000_000_000;
