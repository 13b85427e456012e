//! The bus as NATS has it, and the thread of the cluster.
//!
//! NATS core delivers a message at most once, to those who are connected and have subscribed. A connection
//! that ends is given up with all that waits in it. The next one begins with the subscriptions of the node.

mod connect;
mod link;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::Event;
use tokio::runtime::{self, Runtime};
use tokio::sync::Notify;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout, timeout_at};

use self::connect::Connector;
use self::link::{Link, Operation, Operations};
use super::bus::{Bus, Subject};
use super::engine::{Engine, Now, TICK_MS};
use super::shared::{ClusterShared, add};
use crate::server::ops::log::Log;
use crate::server::ops::supervise::{StopSignal, Wake};
use crate::wire::cluster::{ClusterName, NodeId};

pub use connect::{Address, AddressError, Security};

/// The thread of a cluster, before it runs.
pub struct Thread {
    runtime: Runtime,
    cluster: ClusterName,
    connector: Connector,
    signals: Arc<Signals>,
}

/// The signals that wake the thread.
#[derive(Default)]
pub struct Signals {
    /// The workers have changes or requests, or the server stops.
    engine: Notify,
    /// The workers have texts.
    texts: Arc<Notify>,
}

/// The bus as the engine sees it.
struct Nats {
    /// The subjects that the engine has subscribed to.
    subjects: BTreeSet<Subject>,
    /// The way to the connection, while there is one.
    operations: Option<Arc<Operations>>,
    shared: Arc<ClusterShared>,
}

impl Thread {
    /// Returns the thread of a node in `cluster`. Opens the files that it sleeps on, before the server
    /// gives up the right to do so.
    ///
    /// # Errors
    /// The system has no more files.
    pub fn new(
        cluster: ClusterName,
        node: NodeId,
        addresses: Vec<Address>,
        security: Security,
    ) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MAX_LOOKUPS)
            .build()?;
        Ok(Self {
            runtime,
            cluster,
            connector: Connector::new(addresses, security, format!("bullhorn {cluster}.{node}")),
            signals: Arc::default(),
        })
    }

    /// Returns the functions that wake the thread: when there is something for the engine, and when there
    /// are texts.
    pub fn wakes(&self) -> [Wake; 2] {
        let (engine, texts) = (Arc::clone(&self.signals), Arc::clone(&self.signals));
        [
            Arc::new(move || engine.engine.notify_one()),
            Arc::new(move || texts.texts.notify_one()),
        ]
    }

    /// Runs a node until the stop. It never fails, but every supervised thread returns a result.
    pub fn run(
        self,
        engine: Engine,
        shared: &Arc<ClusterShared>,
        log: Log,
        stop: &StopSignal,
    ) -> io::Result<()> {
        let mut ticks = {
            let _guard = self.runtime.enter();
            interval(Duration::from_millis(TICK_MS))
        };
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let running = Running {
            engine,
            bus: Nats {
                subjects: BTreeSet::new(),
                operations: None,
                shared: Arc::clone(shared),
            },
            cluster: self.cluster,
            signals: self.signals,
            start: Instant::now(),
            ticks,
            log,
            reported: VecDeque::new(),
            stop,
        };
        self.runtime.block_on(running.run(self.connector));
        // A look-up that still waits does not hold up the stop.
        self.runtime.shutdown_background();
        Ok(())
    }
}

/// The end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The bus is gone, or the server stops.
    Lost,
    /// The bus does not let this node use its subjects.
    Refused,
}

/// A node that runs.
struct Running<'a> {
    engine: Engine,
    bus: Nats,
    cluster: ClusterName,
    signals: Arc<Signals>,
    start: Instant,
    ticks: Interval,
    log: Log,
    /// The last warnings, and their times.
    reported: VecDeque<(String, Instant)>,
    stop: &'a StopSignal,
}

impl Running<'_> {
    async fn run(mut self, mut connector: Connector) {
        self.engine.start(&mut self.bus);
        while !self.stop.is_stopping() {
            let Some(link) = self.connect(&mut connector).await else {
                break;
            };
            let start = Instant::now();
            match self.serve(link).await {
                End::Lost => connector.note_end(start.elapsed()),
                End::Refused => connector.note_refusal(),
            }
        }
    }

    /// Connects to the bus, and goes on without it meanwhile. Returns `None` if the server stops.
    async fn connect(&mut self, connector: &mut Connector) -> Option<Link> {
        loop {
            let connected = {
                let mut connect = std::pin::pin!(connector.connect());
                loop {
                    tokio::select! {
                        connected = &mut connect => break connected,
                        _ = self.ticks.tick() => {
                            self.engine.tick(now(self.start), &mut self.bus);
                        }
                        () = self.signals.engine.notified() => {
                            self.engine.wake(now(self.start), &mut self.bus);
                        }
                    }
                    if self.stop.is_stopping() {
                        return None;
                    }
                }
            };
            match connected {
                Ok((client, events)) => {
                    let outbox = Arc::clone(&self.bus.shared.outbox);
                    let texts = Arc::clone(&self.signals.texts);
                    return Some(Link::open(client, events, self.cluster, outbox, texts));
                }
                Err(error) => self.report(format!("cluster: {error}")),
            }
        }
    }

    /// Runs the node until the connection ends, or the server stops.
    async fn serve(&mut self, mut link: Link) -> End {
        self.bus.open(&link);
        if let Some(end) = self.early_end(&mut link).await {
            self.bus.operations = None;
            return end;
        }
        let mut end = End::Lost;
        self.engine
            .set_connected(true, now(self.start), &mut self.bus);
        let mut messages = Vec::with_capacity(MAX_MESSAGES_PER_CLOCK);
        while !self.stop.is_stopping() {
            tokio::select! {
                // Messages come before the tick, which would find a node silent whose message waits.
                biased;
                count = link.messages.recv_many(&mut messages, MAX_MESSAGES_PER_CLOCK) => {
                    if count == 0 {
                        break;
                    }
                    let now = now(self.start);
                    for (subject, message) in messages.drain(..) {
                        self.engine.handle(subject, message.payload, now, &mut self.bus);
                    }
                }
                event = link.events.recv() => {
                    if let Some(why) = self.take_event(event.as_ref()) {
                        end = why;
                        break;
                    }
                }
                () = self.signals.engine.notified() => {
                    self.engine.wake(now(self.start), &mut self.bus);
                }
                _ = self.ticks.tick() => {
                    if !link.is_connected() {
                        break;
                    }
                    self.engine.tick(now(self.start), &mut self.bus);
                }
            }
        }
        if self.stop.is_stopping() {
            self.engine.stop(&mut self.bus);
            let _ = timeout(MAX_GOODBYE, link.close()).await;
            return end;
        }
        self.bus.operations = None;
        self.engine
            .set_connected(false, now(self.start), &mut self.bus);
        end
    }

    /// Returns the end of a connection that the bus ends at once. It says nothing if it does not, so this
    /// waits for a moment.
    async fn early_end(&mut self, link: &mut Link) -> Option<End> {
        let limit = tokio::time::Instant::now() + MAX_REFUSAL;
        while let Ok(event) = timeout_at(limit, link.events.recv()).await {
            let end = self.take_event(event.as_ref());
            if end.is_some() {
                return end;
            }
        }
        None
    }

    /// Logs a warning, the same one once in a minute.
    fn report(&mut self, warning: String) {
        self.reported
            .retain(|(_, at)| at.elapsed() < REPORT_INTERVAL);
        if self.reported.iter().any(|(before, _)| *before == warning) {
            return;
        }
        self.reported.truncate(MAX_REPORTED - 1);
        self.reported.push_front((warning.clone(), Instant::now()));
        self.log.warn(warning);
    }

    /// Takes an event of the connection, or its end. Returns `None` if it goes on.
    fn take_event(&mut self, event: Option<&Event>) -> Option<End> {
        let event = event.filter(|it| !matches!(it, Event::Disconnected | Event::Closed));
        let Some(event) = event else {
            return Some(End::Lost);
        };
        match event {
            Event::ServerError(error) if error.to_string().contains(NO_PERMISSION) => {
                self.report(format!(
                    "cluster: the bus refuses this node, which tries again: its user must publish and \
                     subscribe to bh.{}.>: {error}",
                    self.cluster
                ));
                return Some(End::Refused);
            }
            Event::SlowConsumer(_) => {
                add(&self.bus.shared.counters.slow_consumer, 1_u64);
                self.report("cluster: messages of the bus come faster than they are taken".into());
            }
            Event::ServerError(_) | Event::ClientError(_) => {
                self.report(format!("cluster: the bus: {event}"));
            }
            _ => {}
        }
        None
    }
}

impl Nats {
    fn open(&mut self, link: &Link) {
        for subject in &self.subjects {
            link.operations.push(Operation::Subscribe(*subject));
        }
        self.operations = Some(Arc::clone(&link.operations));
    }

    fn push(&self, operation: Operation) {
        if let Some(operations) = &self.operations
            && !operations.push(operation)
        {
            add(&self.shared.counters.messages_shed, 1_u64);
        }
    }
}

impl Bus for Nats {
    fn publish(&mut self, subject: Subject, message: Vec<u8>) {
        self.push(Operation::Publish(subject, message));
    }

    fn subscribe(&mut self, subject: Subject) {
        self.subjects.insert(subject);
        self.push(Operation::Subscribe(subject));
    }

    fn unsubscribe(&mut self, subject: Subject) {
        self.subjects.remove(&subject);
        self.push(Operation::Unsubscribe(subject));
    }
}

fn now(start: Instant) -> Now {
    let us = start.elapsed().as_micros() as u64;
    Now { us }
}

/// Part of the error of a server that does not let a client use a subject, see
/// `Permissions Violation` in `server/client.go` of nats-server.
const NO_PERMISSION: &str = "Permissions Violation";

/// Time to wait for such an error of a new connection. It takes a round trip. One that comes later ends the
/// connection.
const MAX_REFUSAL: Duration = Duration::from_millis(100);

/// Time between two equal warnings.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Maximum number of warnings to compare with. A bus of three servers has one or two for each.
const MAX_REPORTED: usize = 8;

/// Maximum number of messages that are handled before the clock is read again.
const MAX_MESSAGES_PER_CLOCK: usize = 64;

/// Maximum time for the last message, a part of what the stop of a server takes.
const MAX_GOODBYE: Duration = Duration::from_millis(200);

/// Maximum number of threads that look up names.
const MAX_LOOKUPS: usize = 2;
