//! What is said in a scene, round by round, and what it costs the worker.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bullhorn::config::ServiceKind;
use bullhorn::wire::Protocol;
use bullhorn::{Server, ServerConfig};

use crate::ALLOCATOR;
use crate::harness::Error;
use crate::harness::cpu::task_named;
use crate::harness::gate::Gate;
use crate::harness::receivers::wait_until;
use crate::harness::subject::{self, WORKER};
use crate::peers::Peers;
use crate::{COUNT, TRACE};

/// Who is there, and what each round is.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    protocol: Protocol,
    rooms: usize,
    peers_a_room: usize,
    round: Round,
}

#[derive(Clone, Copy)]
enum Round {
    /// In each room so many texts, by as many of its peers.
    Texts(usize),
    /// Every peer is alive.
    Heartbeats,
}

/// What the rounds of a scene cost the worker.
#[derive(Debug, Default)]
pub(crate) struct Cost {
    /// Texts that reached a peer, or heartbeats.
    pub(crate) deliveries: u64,
    pub(crate) syscalls: u64,
    pub(crate) allocations: u64,
}

/// A server with one worker, who is traced, and its peers.
struct Stage {
    server: Server,
    gate: Gate,
    peers: Peers,
    /// In which state the worker is, says the kernel here.
    worker_stat: PathBuf,
}

impl Scene {
    const fn new(
        name: &'static str,
        protocol: Protocol,
        rooms: usize,
        peers_a_room: usize,
        round: Round,
    ) -> Self {
        Self {
            name,
            protocol,
            rooms,
            peers_a_room,
            round,
        }
    }

    /// Plays a round to warm up, when buffers grow, and then [`ROUNDS`] that count.
    pub(crate) fn play(&self) -> Result<Cost, Error> {
        let mut stage = self.set()?;
        let mut cost = Cost::default();
        stage.play(self.round)?;
        for _ in 0..ROUNDS {
            let round = stage.play(self.round)?;
            cost.deliveries += round.deliveries;
            cost.syscalls += round.syscalls;
            cost.allocations += round.allocations;
        }
        Ok(cost)
    }

    fn set(&self) -> Result<Stage, Error> {
        let gate = Gate::default();
        let config = ServerConfig {
            no_pin: true,
            ..subject::config(ServiceKind::Chat)?
        };
        let server = Server::start_with_clock(config, gate.clock_without_calls())?;
        let peers = Peers::register(self.protocol, self.rooms, self.peers_a_room, &server)?;
        let worker = task_named(WORKER)?;
        let thread = worker.file_name().and_then(|name| name.to_str());
        ask(&format!(
            "{TRACE}{}",
            thread.ok_or("a thread without a number")?
        ))?;
        Ok(Stage {
            server,
            gate,
            peers,
            worker_stat: worker.join("stat"),
        })
    }
}

impl Stage {
    /// Plays one round, in which nothing beside the server allocates.
    fn play(&mut self, round: Round) -> Result<Cost, Error> {
        let received = self.server.stats().total().datagrams_in;
        self.wait_for_rest()?;
        let (calls, before) = (ask(COUNT)?, ALLOCATOR.stats());
        self.gate.close();
        // Wakes the worker, which then finds the same in every round: all else comes after
        // that, so that it is woken up once more when it goes to sleep.
        self.peers.live(0)?;
        wait_for("the worker to be held", || self.gate.holds())?;
        let sent = match round {
            Round::Texts(texts) => self.peers.speak(texts)?,
            Round::Heartbeats => self.peers.live_all()?,
        };
        self.gate.open();
        self.wait_for_rest()?;
        let (after, syscalls) = (ALLOCATOR.stats(), ask(COUNT)? - calls);

        let received = self.server.stats().total().datagrams_in - received;
        let heard = self.peers.hear()?;
        let deliveries = match round {
            Round::Texts(texts) => self.peers.len() * texts,
            Round::Heartbeats => 0,
        };
        if (received, heard) != (sent + 1, deliveries as u64) {
            return Err(format!(
                "{received} of {} datagrams arrived, {heard} of {deliveries} deliveries",
                sent + 1
            )
            .into());
        }
        let allocations = after.allocations + after.reallocations;
        Ok(Cost {
            deliveries: heard.max(sent),
            syscalls,
            allocations: (allocations - before.allocations - before.reallocations) as u64,
        })
    }

    /// Waits until the worker has done all that it can do, and sleeps.
    fn wait_for_rest(&self) -> Result<(), Error> {
        wait_for("the worker to sleep", || is_asleep(&self.worker_stat))
    }
}

/// Asks the parent, which answers with the system calls of the thread that it traces so far.
fn ask(question: &str) -> Result<u64, Error> {
    println!("{question}");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().parse()?)
}

fn wait_for(what: &str, done: impl FnMut() -> bool) -> Result<(), Error> {
    if wait_until(done) {
        Ok(())
    } else {
        Err(format!("waited in vain for {what}").into())
    }
}

/// Whether the thread of this `stat` file sleeps; it allocates nothing.
fn is_asleep(stat: &Path) -> bool {
    let mut text = [0; 128];
    let read = File::open(stat).and_then(|mut file| file.read(&mut text));
    let text = &text[..read.unwrap_or(0)];
    // The state stands behind the name, which stands in parentheses.
    let name_end = text.iter().rposition(|byte| *byte == b')');
    name_end.is_some_and(|end| text[end..].starts_with(b") S"))
}

/// All scenes. The texts of a round fit into one batch of receiving, with the datagram that
/// wakes the worker: when it has taken a full one it looks at the time, to begin to send if that
/// took long, which would cut the round differently from run to run.
pub(crate) const SCENES: [Scene; 6] = {
    use Protocol::{Frames, Text};
    use Round::{Heartbeats, Texts};
    [
        Scene::new("texts/one_to_1000", Text, 1, 1000, Texts(1)),
        Scene::new("texts/32_to_1000", Text, 1, 1000, Texts(32)),
        Scene::new(
            "texts/one_to_each_of_60_rooms_of_10",
            Text,
            60,
            10,
            Texts(1),
        ),
        Scene::new("frames/one_to_1000", Frames, 1, 1000, Texts(1)),
        Scene::new("frames/60_to_1000", Frames, 1, 1000, Texts(60)),
        Scene::new("heartbeats/of_1000", Text, 1, 1000, Heartbeats),
    ]
};

/// So that what is done once in a few rounds is seen.
const ROUNDS: usize = 10;
