//! bullhorn under more load than it can carry, beside the bare kernel at its
//! fastest and beside NATS: deliveries for each second of CPU time. See
//! benches/README.md.

#[path = "../harness/mod.rs"]
mod harness;

mod nats;

use std::fmt::Write;
use std::net::SocketAddrV4;
use std::thread;
use std::time::{Duration, Instant};

use bullhorn::Server;
use bullhorn::config::ServiceKind;
use bullhorn::net::{bind_group, max_segments};
use bullhorn::wire::DisplayName;
use bullhorn::wire::v2::{BUNDLE_BYTES, Message, ServerFrame, push_padding};
use bullhorn::wire::v2::{push_server_frame, push_server_header};
use clap::Parser;

use harness::Error;
use harness::bare::FanOut;
use harness::cpu::{Cores, ThreadMeter, pin};
use harness::flood::{Flood, Lengths, Speech};
use harness::pairs::{Outcome, interleave};
use harness::peers::Peers;
use harness::receivers::{Receivers, wait_until};
use harness::report::{Goal, Row, machine, markdown};
use harness::subject;
use nats::Nats;

/// bullhorn under more load than it can carry, beside the bare kernel and NATS
#[derive(Parser)]
struct Arguments {
    /// Measure only the rows with this in their names
    #[arg(default_value = "")]
    filter: String,
    /// Pairs of measurements for each row
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..1000))]
    pairs: u16,
    /// Length of each measurement, in ms
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(50..60_000))]
    window_ms: u64,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// One row: what is offered, and what it is measured beside.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    speech: Speech,
    speakers: usize,
    other: Other,
    goal: f64,
}

/// What does the same in the subject's place.
#[derive(Clone, Copy)]
enum Other {
    Bare(Bare),
    /// nats-server, to as many subscribers as there are peers.
    Nats,
}

/// What the bare kernel sends to each peer, again and again.
#[derive(Clone, Copy)]
enum Bare {
    /// One datagram of so many bytes.
    Single(usize),
    /// Datagrams of so many bytes, as many as one GSO packet takes.
    Segments(u16),
    /// So many bundles of 1200 bytes as one GSO packet.
    Bundles(usize),
}

const CASES: [Case; 6] = [
    Case {
        name: "stock peers, equal lengths, beside GSO",
        speech: Speech::Text(Lengths::Equal(32)),
        speakers: 10,
        other: Other::Bare(Bare::Segments(48)),
        goal: 0.85,
    },
    Case {
        name: "stock peers, equal lengths, beside sendmmsg",
        speech: Speech::Text(Lengths::Equal(32)),
        speakers: 10,
        other: Other::Bare(Bare::Single(48)),
        goal: 4.0,
    },
    Case {
        name: "stock peers, lengths of 16 to 256, beside sendmmsg",
        speech: Speech::Text(Lengths::Uniform(16, 256)),
        speakers: 50,
        other: Other::Bare(Bare::Single(152)),
        goal: 1.5,
    },
    Case {
        name: "v2 peers, beside GSO over 10 bundles",
        speech: Speech::Frames(Lengths::Equal(32)),
        speakers: 5,
        other: Other::Bare(Bare::Bundles(10)),
        goal: 0.7,
    },
    Case {
        name: "v2 peers, beside GSO over 40 bundles",
        speech: Speech::Frames(Lengths::Equal(32)),
        speakers: 5,
        other: Other::Bare(Bare::Bundles(40)),
        goal: 0.7,
    },
    Case {
        name: "v2 peers, beside NATS to 1000 subscribers",
        speech: Speech::Frames(Lengths::Equal(32)),
        speakers: 5,
        other: Other::Nats,
        goal: 3.0,
    },
];

fn main() -> Result<(), Error> {
    let arguments = Arguments::parse();
    let cores = Cores::plan()?;
    let (pairs, window) = (
        arguments.pairs.into(),
        Duration::from_millis(arguments.window_ms),
    );
    let how = format!(
        "median (min..max) of {pairs} interleaved pairs of {} ms, {PEERS} peers in one room",
        arguments.window_ms
    );
    println!("{}\n{how}\n", machine());
    let mut rows = Vec::new();
    for case in CASES
        .into_iter()
        .filter(|case| case.name.contains(&arguments.filter))
    {
        if matches!(case.other, Other::Nats) && nats::version()?.is_none() {
            println!(
                "{}: skipped, since there is no nats-server on the PATH (apt-get install nats-server)\n",
                case.name
            );
            continue;
        }
        // In a thread of its own, which pins itself once the server runs.
        let row = thread::spawn(move || measure(&case, cores, pairs, window)).join();
        let row = row.map_err(|_| format!("{}: the measurement panicked", case.name))?;
        let row = row.map_err(|error| format!("{}: {error}", case.name))?;
        println!("{}", row.text());
        rows.push(row);
    }
    let command = "cargo bench --bench saturation";
    print!("As Markdown:\n\n{}", markdown(&rows, command, &how));
    Ok(())
}

fn measure(case: &Case, cores: Cores, pairs: usize, window: Duration) -> Result<Row, Error> {
    let server = subject::start(ServiceKind::Chat)?;
    pin(cores.load)?;
    let receivers = Receivers::start(Peers::open(PEERS)?, cores.load)?;
    let peers = receivers.peers();
    for peer in 0..PEERS {
        peers.send(peer, &case.speech.registration(), server.local_addr())?;
    }
    let registered = |count: usize| wait_until(|| server.stats().peers == count);
    if !registered(PEERS) {
        return Err(format!("{} of {PEERS} peers registered", server.stats().peers).into());
    }
    let mut flood = Flood::start(case.speech, case.speakers, server.local_addr())?;
    let meter = ThreadMeter::of("worker-0")?;
    let mut other = case
        .other
        .start(peers.addresses().to_vec(), cores, window)?;
    let pairs = interleave(pairs, |is_subject| {
        if is_subject {
            overload(&server, &mut flood, &meter, window).map(Ok)
        } else {
            other()
        }
    })?;
    let counts = server.stats().total();
    let mut note = format!(
        "{} messages offered, {} fanned out; {} speakers",
        counts.messages + counts.messages_shed,
        counts.messages,
        case.speakers
    );
    if let (Other::Nats, Some(version)) = (case.other, nats::version()?) {
        write!(note, "; \"bare\" is {version}")?;
    }
    Ok(Row {
        name: case.name,
        unit: "million deliveries a CPU-second",
        goal: Goal::AtLeast(case.goal),
        pairs,
        note,
    })
}

impl Other {
    /// Gets it ready, and returns what measures its deliveries once.
    fn start(
        self,
        addresses: Vec<SocketAddrV4>,
        cores: Cores,
        window: Duration,
    ) -> Result<Box<dyn FnMut() -> Result<Outcome, Error>>, Error> {
        Ok(match self {
            Self::Bare(kind) => Box::new(move || bare(kind, &addresses, cores, window).map(Ok)),
            Self::Nats => {
                let mut nats = Nats::start(cores.subject, PEERS)?;
                Box::new(move || nats.measure(window))
            }
        })
    }
}

/// Deliveries of the server for each second of its CPU time while it is flooded.
fn overload(
    server: &Server,
    flood: &mut Flood,
    meter: &ThreadMeter,
    window: Duration,
) -> Result<f64, Error> {
    let before = (server.stats().total().deliveries, meter.read_at_rest()?);
    flood.run(DATAGRAMS_A_SECOND, window)?;
    // Until all that was taken up is sent, so that the last part counts in full.
    let is_done = || {
        let counts = server.stats().total();
        let lost = counts.deliveries_congested + counts.deliveries_refused;
        counts.deliveries_planned == counts.deliveries + lost
    };
    while !wait_until(is_done) {}
    let cpu = meter.read_at_rest()?.since(before.1).cpu;
    let deliveries = server.stats().total().deliveries - before.0;
    Ok(deliveries as f64 / 1e6 / cpu.as_secs_f64())
}

/// The same of the bare kernel, in a thread on the core of the subject.
fn bare(
    bare: Bare,
    addresses: &[SocketAddrV4],
    cores: Cores,
    window: Duration,
) -> Result<f64, Error> {
    let (mut fan_out, messages) = match bare {
        Bare::Single(bytes) => (FanOut::new(addresses, &vec![b'x'; bytes]), 1),
        Bare::Segments(bytes) => {
            let count = max_segments();
            let payload = vec![b'x'; count * usize::from(bytes)];
            (FanOut::segmented(addresses, &payload, bytes), count)
        }
        Bare::Bundles(count) => {
            let (bundle, messages) = bundle();
            let payload = bundle.repeat(count);
            let fan_out = FanOut::segmented(addresses, &payload, BUNDLE_BYTES as u16);
            (fan_out, count * messages)
        }
    };
    let each = messages * addresses.len();
    let thread = thread::Builder::new().name("bare".into());
    let body = move || -> Result<f64, Error> {
        pin(cores.subject)?;
        let socket = bind_group("127.0.0.1:0".parse()?, 1, subject::buffers())?;
        let meter = ThreadMeter::of("bare")?;
        let before = meter.read_at_rest()?;
        let (start, mut deliveries) = (Instant::now(), 0);
        while start.elapsed() < window {
            fan_out.send(&socket.sockets[0])?;
            deliveries += each;
        }
        let cpu = meter.read_at_rest()?.since(before).cpu;
        Ok(deliveries as f64 / 1e6 / cpu.as_secs_f64())
    };
    thread
        .spawn(body)?
        .join()
        .map_err(|_| "the bare thread panicked")?
}

/// A full bundle of messages with 32 bytes each, and how many it has.
fn bundle() -> (Vec<u8>, usize) {
    let message = ServerFrame::Message(Message {
        room: 0,
        stream: 0,
        sequence: 0,
        from: DisplayName::Address(SocketAddrV4::new([127, 0, 0, 1].into(), 9).into()),
        payload: &[b'x'; 32],
    });
    let (mut bundle, mut messages) = (Vec::new(), 0);
    push_server_header(&mut bundle);
    loop {
        let len = bundle.len();
        push_server_frame(&message, &mut bundle);
        if bundle.len() > BUNDLE_BYTES {
            bundle.truncate(len);
            push_padding(0, BUNDLE_BYTES, &mut bundle);
            return (bundle, messages);
        }
        messages += 1;
    }
}

const PEERS: usize = 1000;

/// Ten times the texts that 1000 stock peers can be sent in a second.
const DATAGRAMS_A_SECOND: f64 = 10_000.0;
