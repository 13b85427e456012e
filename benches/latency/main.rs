//! One text at a time on an idle server: how long until the last peer has it. See benches/README.md.

#[path = "../harness/mod.rs"]
mod harness;

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::thread;
use std::time::Duration;

use bullhorn::config::ServiceKind;
use bullhorn::{Server, ServerConfig};
use clap::Parser;

use harness::Error;
use harness::bare::{Drain, FanOut};
use harness::bare_thread::BareThread;
use harness::cpu::{Cores, pin};
use harness::pairs::{Spread, interleave};
use harness::peers::open_sockets;
use harness::receivers::wait_until;
use harness::report::{Goal, Row, machine, markdown};
use harness::stamps::{arrivals, clear, now, stamp_arrivals};
use harness::subject;

/// Time until the last of many peers has one text
#[derive(Parser)]
struct Arguments {
    /// Pairs of measurements for each row
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..1000))]
    pairs: u16,
    /// Texts in each measurement, the median of which counts
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..1000))]
    texts: u16,
    /// Peers in the room; the goals are for 1000
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(2..10_001))]
    peers: u16,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// Whoever sends a text on to all peers.
struct Side {
    address: SocketAddr,
    /// Who speaks to it.
    speaker: UdpSocket,
}

fn main() -> Result<(), Error> {
    let Arguments {
        pairs,
        texts,
        peers,
        ..
    } = Arguments::parse();
    let cores = Cores::plan()?;
    let how = format!(
        "median (min..max) of {pairs} interleaved pairs, each the median of {texts} texts to {peers} peers"
    );
    println!("{}\n{how}\n", machine());
    let rows = thread::spawn(move || measure(cores, pairs.into(), texts.into(), peers.into()));
    let rows = rows.join().map_err(|_| "the measurement panicked")??;
    let command = "cargo bench --bench latency";
    print!("As Markdown:\n\n{}", markdown(&rows, command, &how));
    Ok(())
}

fn measure(cores: Cores, pairs: usize, texts: usize, peers: usize) -> Result<Vec<Row>, Error> {
    let config = subject::config(ServiceKind::Chat)?;
    let two = Server::start(ServerConfig {
        workers: 2,
        ..config.clone()
    })?;
    let one = Server::start(config)?;
    pin(cores.load)?;
    let peers = open_sockets(peers)?;
    peers.iter().try_for_each(stamp_arrivals)?;
    let addresses: Vec<SocketAddrV4> = peers.iter().map(v4_addr).collect::<Result<_, _>>()?;
    let (mut drain, mut fan_out) = (Drain::new(), FanOut::new(&addresses, &[b'x'; 48]));
    let bare = BareThread::start(cores.subject, subject::buffers(), move |socket| {
        let texts = drain.wait(socket)?;
        for _ in 0..texts {
            fan_out.send(socket)?;
        }
        Ok(texts)
    })?;
    register(&peers, &one)?;
    register(&peers, &two)?;
    let one = Side::new(one.local_addr(), &peers, &one)?;
    let two = Side::new(two.local_addr(), &peers, &two)?;
    let bare = Side {
        address: bare.local_addr(),
        speaker: UdpSocket::bind("127.0.0.1:0")?,
    };

    let mut rows = Vec::new();
    for (name, subject, beside, goal) in [
        ("one worker, beside the bare kernel", &one, &bare, 1.15),
        ("two workers, beside one worker", &two, &one, 0.6),
    ] {
        let pairs = interleave(pairs, |is_subject| {
            let side = if is_subject { subject } else { beside };
            let mut times = Vec::new();
            for _ in 0..texts {
                times.push(side.time_to_last(&peers)?);
            }
            let median = Spread::of(times).ok_or("no text was sent")?.median;
            Ok(Ok(median))
        })?;
        let row = Row {
            name,
            unit: "ms until the last peer has a text",
            goal: Goal::AtMost(goal),
            pairs,
            note: "stamped by the kernel when it arrives; nobody waits at the peers' sockets"
                .into(),
        };
        println!("{}", row.text());
        rows.push(row);
    }
    Ok(rows)
}

impl Side {
    /// A server, with a speaker that its first worker hears: the one on the core
    /// that the load does not have.
    fn new(address: SocketAddr, peers: &[UdpSocket], server: &Server) -> Result<Self, Error> {
        for _ in 0..100 {
            let speaker = UdpSocket::bind("127.0.0.1:0")?;
            let heard = || server.stats().workers[0].counts.datagrams_in;
            let before = (heard(), server.stats().total().datagrams_in);
            // Of an unknown peer this does nothing.
            speaker.send_to(b"quit", address)?;
            wait_until(|| server.stats().total().datagrams_in > before.1);
            if heard() > before.0 {
                speaker.send_to(b"@im@", address)?;
                wait_until(|| server.stats().peers == peers.len() + 1);
                return Ok(Self { address, speaker });
            }
        }
        Err("no speaker was heard by the first worker".into())
    }

    /// Says one text, and returns the milliseconds until the last peer has it.
    fn time_to_last(&self, peers: &[UdpSocket]) -> Result<f64, Error> {
        clear(peers);
        thread::sleep(TO_REST);
        let sent = now()?;
        self.speaker.send_to(TEXT, self.address)?;
        let mut stamps = Vec::new();
        for _ in 0..LOOKS {
            // Asleep, so that no one takes time from a second worker.
            thread::sleep(TO_ARRIVE);
            stamps.extend(arrivals(peers)?);
            if stamps.len() == peers.len() {
                break;
            }
        }
        if stamps.len() != peers.len() {
            return Err(format!("{} of {} peers heard", stamps.len(), peers.len()).into());
        }
        let last = stamps.into_iter().max().ok_or("no peers")?;
        Ok((last.saturating_sub(sent)).as_secs_f64() * 1e3)
    }
}

fn register(peers: &[UdpSocket], server: &Server) -> Result<(), Error> {
    for peer in peers {
        peer.send_to(b"@im@", server.local_addr())?;
    }
    if !wait_until(|| server.stats().peers == peers.len()) {
        return Err(format!(
            "{} of {} peers registered",
            server.stats().peers,
            peers.len()
        )
        .into());
    }
    Ok(())
}

fn v4_addr(socket: &UdpSocket) -> Result<SocketAddrV4, Error> {
    match socket.local_addr()? {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(_) => Err("the sockets were bound to IPv4".into()),
    }
}

/// With the speaker's address in front 48 bytes, as the bare kernel sends.
const TEXT: &[u8] = b"the quick brown fox jumps over l";

/// So that everyone sleeps when the text comes.
const TO_REST: Duration = Duration::from_millis(5);

/// Several times what it takes on a quiet machine.
const TO_ARRIVE: Duration = Duration::from_millis(40);

/// Who has nothing after so many looks has lost it.
const LOOKS: usize = 25;
