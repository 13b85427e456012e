//! The other side of one row: nats-server, which delivers over TCP to the
//! subscribers of one subject. Its protocol is text, and the few words of it
//! that this needs are here.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use crate::harness::Error;
use crate::harness::cpu::ProcessMeter;
use crate::harness::pairs::Outcome;
use crate::harness::peers::allow_files;
use crate::harness::process::{Process, free_tcp_address};
use crate::harness::receivers::wait_until;

/// What the server calls itself, if there is one on the `PATH`.
pub(crate) fn version() -> Result<Option<String>, Error> {
    match Command::new(SERVER).arg("--version").output() {
        Ok(output) => Ok(Some(String::from_utf8(output.stdout)?.trim().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A server that runs until this is dropped, its publisher and its subscribers.
pub(crate) struct Nats {
    core: CoreId,
    meter: ProcessMeter,
    publisher: Client,
    subscribers: Vec<Client>,
    /// [`BURST`] messages as the publisher writes them.
    burst: Vec<u8>,
    /// Where every client reads to.
    buffer: Vec<u8>,
    /// Held to be stopped.
    _server: Process,
}

struct Client {
    stream: TcpStream,
}

impl Nats {
    /// Starts a server on `core`, with so many subscribers.
    pub(crate) fn start(core: CoreId, subscribers: usize) -> Result<Self, Error> {
        allow_files(subscribers)?;
        let address = free_tcp_address()?;
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let mut command = Command::new(SERVER);
        command.args(["-a", &host, "-p", &port]);
        command.env("GOMAXPROCS", "1");
        let server = Process::start(core, command)?;
        if !wait_until(|| TcpStream::connect(address).is_ok()) {
            return Err(format!("{SERVER} does not answer at {address}").into());
        }
        let subscribe = format!("SUB {SUBJECT} 1\r\n");
        let subscriber = |_| Client::start(address, &subscribe);
        let payload = "x".repeat(PAYLOAD_BYTES);
        let publication = format!("PUB {SUBJECT} {PAYLOAD_BYTES}\r\n{payload}\r\n");
        Ok(Self {
            core,
            meter: ProcessMeter::of(server.id()),
            publisher: Client::start(address, "")?,
            subscribers: (0..subscribers).map(subscriber).collect::<Result<_, _>>()?,
            burst: publication.repeat(BURST as usize).into_bytes(),
            buffer: vec![0; READ_BYTES],
            _server: server,
        })
    }

    /// Million deliveries for each second of the server's CPU time. Does not
    /// count when a client was dropped or not everything was delivered.
    pub(crate) fn measure(&mut self, window: Duration) -> Result<Outcome, Error> {
        let outcome = self.rate(window).map_err(|error| error.to_string());
        if outcome.is_err() {
            // The next measurement finds all subscribers again.
            *self = Self::start(self.core, self.subscribers.len())?;
        }
        Ok(outcome)
    }

    fn rate(&mut self, window: Duration) -> Result<f64, Error> {
        self.flood(WARM_UP)?;
        let before = self.meter.read_at_rest()?;
        let deliveries = self.flood(window)?;
        let cpu = self.meter.read_at_rest()?.since(before).cpu;
        Ok(deliveries as f64 / 1e6 / cpu.as_secs_f64())
    }

    /// Publishes for as long as `window`, and reads until every subscriber has
    /// all of it. Returns how many deliveries that were.
    fn flood(&mut self, window: Duration) -> Result<i64, Error> {
        let subscribers = self.subscribers.len() as i64;
        let burst_bytes = BURST * MESSAGE_BYTES * subscribers;
        let max_missing_bytes = IN_FLIGHT * MESSAGE_BYTES * subscribers;
        let (start, mut last_heard) = (Instant::now(), Instant::now());
        let (mut deliveries, mut missing_bytes) = (0, 0);
        loop {
            let is_open = start.elapsed() < window;
            if is_open && missing_bytes + burst_bytes <= max_missing_bytes {
                self.publisher.stream.write_all(&self.burst)?;
                deliveries += BURST * subscribers;
                missing_bytes += burst_bytes;
            }
            if !is_open && missing_bytes == 0 {
                return Ok(deliveries);
            }
            let heard_bytes = self.sweep()?;
            missing_bytes -= heard_bytes;
            if heard_bytes != 0 {
                last_heard = Instant::now();
            } else if last_heard.elapsed() > PATIENCE {
                let missing = missing_bytes / MESSAGE_BYTES;
                return Err(format!("{missing} of {deliveries} deliveries never came").into());
            }
            thread::sleep(SWEEP_PAUSE);
        }
    }

    /// Lets every client read once, and returns how many bytes of messages came.
    fn sweep(&mut self) -> Result<i64, Error> {
        let mut heard_bytes = self.publisher.read(&mut self.buffer)?;
        for subscriber in &mut self.subscribers {
            heard_bytes += subscriber.read(&mut self.buffer)?;
        }
        Ok(heard_bytes)
    }
}

impl Client {
    /// Connects, says `subscription`, and waits until the server has taken it.
    fn start(address: SocketAddr, subscription: &str) -> Result<Self, Error> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let options = r#"{"verbose":false,"pedantic":false,"echo":false}"#;
        let hello = format!("CONNECT {options}\r\n{subscription}PING\r\n");
        stream.write_all(hello.as_bytes())?;
        let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
        while !answer.ends_with(PONG) {
            let len = stream.read(&mut buffer)?;
            if len == 0 {
                let answer = answer.escape_ascii();
                return Err(format!("{SERVER} closed a new connection: {answer}").into());
            }
            answer.extend_from_slice(&buffer[..len]);
        }
        Ok(Self { stream })
    }

    /// Reads what is there, answers pings, and returns how many bytes of
    /// messages it was: below zero when the rest of a ping is yet to come.
    fn read(&mut self, buffer: &mut [u8]) -> Result<i64, Error> {
        let len = match recv(self.stream.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) | Err(Errno::ECONNRESET) => return Err(DROPPED.into()),
            Ok(len) => len,
            Err(Errno::EAGAIN) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        // No message has this letter in it, and each ping has it once.
        let pings = buffer[..len].iter().filter(|&&byte| byte == b'P').count();
        for _ in 0..pings {
            self.stream.write_all(PONG)?;
        }
        Ok(len as i64 - (pings * PING.len()) as i64)
    }
}

const SERVER: &str = "nats-server";
const PING: &[u8] = b"PING\r\n";
const PONG: &[u8] = b"PONG\r\n";
const DROPPED: &str = "nats-server closed a connection, as it does with slow consumers";

/// Short, as each delivery repeats it.
const SUBJECT: &str = "room";

/// As much as the speakers of the subject say.
const PAYLOAD_BYTES: usize = 32;

/// Of a delivery: all are of one length.
const MESSAGE_BYTES: i64 = ("MSG room 1 32\r\n".len() + PAYLOAD_BYTES + "\r\n".len()) as i64;

/// Messages in one write: 47 KB, somewhat less than the server reads at once.
const BURST: i64 = 1000;

/// Messages published and not yet with every subscriber. The server sends what it
/// has read in one write for each subscriber, so that more is faster: 3.5 million
/// deliveries a CPU-second with 100, 4.8 with 500, 7.3 with 2000, 7.6 with 5000.
/// With 10,000 they were 6.7: its queues outgrow the caches.
const IN_FLIGHT: i64 = 5000;

/// 5000 messages: a subscriber takes all that is in flight to it in one read.
const READ_BYTES: usize = 256 * 1024;

/// Before each measurement: TCP's windows and Go's heap are small after a pause.
const WARM_UP: Duration = Duration::from_millis(200);

/// As long as for the subject's receivers: seldom enough that there is much to read.
const SWEEP_PAUSE: Duration = Duration::from_millis(1);

/// It delivers all that is in flight in less than a second, and gives up a
/// subscriber that has not read for 10 s.
const PATIENCE: Duration = Duration::from_secs(5);
