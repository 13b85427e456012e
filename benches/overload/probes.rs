//! What a user would notice: how long a ping takes, and how long it takes until
//! the last peer has a text.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use bullhorn::ServerHandle;
use bullhorn::net::PeerAddr;
use bullhorn::wire::v2::{ClientFrame, push_client_frame, push_client_header};

use crate::harness::Error;
use crate::harness::flood::{Lengths, Speech, welcome};
use crate::harness::stamps::{arrival, clear, now, stamp_arrivals};

/// A v2 peer that only pings, alone in a room.
pub(crate) struct Pinger {
    socket: UdpSocket,
    ping: Vec<u8>,
}

/// A speaker, and the peer that hears it last.
pub(crate) struct Listener {
    pub(crate) sockets: [UdpSocket; 2],
}

impl Pinger {
    pub(crate) fn start(server: SocketAddr, handle: &ServerHandle) -> Result<Self, Error> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        socket.send(&Speech::Frames(Lengths::Equal(0)).registration())?;
        let session = welcome(&socket)?;
        // Where nobody speaks: whatever arrives is an answer.
        let peer = PeerAddr::new(socket.local_addr()?, 0);
        let room = PINGERS_ROOM.parse()?;
        if !matches!(handle.join(&peer, room), Some(Ok(_))) {
            return Err("the pinger is not registered".into());
        }
        stamp_arrivals(&socket)?;
        let mut ping = Vec::new();
        push_client_header(Some(session), &mut ping);
        push_client_frame(&ClientFrame::Ping(b"?"), &mut ping);
        Ok(Self { socket, ping })
    }

    /// Pings for as long as `window`, and returns the round trips in ms, those
    /// without an answer as the time limit.
    pub(crate) fn run(&self, window: Duration) -> Result<Vec<f64>, Error> {
        let start = Instant::now();
        let mut round_trips = Vec::new();
        while start.elapsed() < window {
            thread::sleep(BETWEEN_PINGS);
            let sent = now()?;
            self.socket.send(&self.ping)?;
            let answered = wait_for(&self.socket)?;
            let taken = answered.map_or(LOST_AFTER, |at| at.saturating_sub(sent));
            round_trips.push(taken.as_secs_f64() * 1e3);
        }
        Ok(round_trips)
    }
}

impl Listener {
    /// To be started when all other peers have registered: a room is sent to in
    /// the order in which they came.
    pub(crate) fn start(server: SocketAddr) -> Result<Self, Error> {
        let socket = || -> Result<UdpSocket, Error> {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(server)?;
            socket.send(b"@im@")?;
            stamp_arrivals(&socket)?;
            Ok(socket)
        };
        Ok(Self {
            sockets: [socket()?, socket()?],
        })
    }

    /// Says `texts` texts, and returns the milliseconds until the last peer had
    /// each.
    pub(crate) fn run(&self, texts: usize) -> Result<Vec<f64>, Error> {
        let [speaker, last] = &self.sockets;
        let time_to_last = |_| {
            clear(&self.sockets);
            thread::sleep(BETWEEN_PINGS);
            let sent = now()?;
            speaker.send(b"the quick brown fox jumps over l")?;
            let arrived = wait_for(last)?.ok_or("a text did not arrive")?;
            Ok(arrived.saturating_sub(sent).as_secs_f64() * 1e3)
        };
        (0..texts).map(time_to_last).collect()
    }
}

/// When the next datagram arrived at `socket`; `None`: nothing came in a second.
fn wait_for(socket: &UdpSocket) -> Result<Option<Duration>, Error> {
    let deadline = Instant::now() + LOST_AFTER;
    while Instant::now() < deadline {
        if let Some(arrived) = arrival(socket)? {
            return Ok(Some(arrived));
        }
        // The kernel has stamped it, however late it is taken.
        thread::sleep(LOOK_INTERVAL);
    }
    Ok(None)
}

const PINGERS_ROOM: &str = "pingers";

const BETWEEN_PINGS: Duration = Duration::from_millis(20);

const LOST_AFTER: Duration = Duration::from_secs(1);

const LOOK_INTERVAL: Duration = Duration::from_micros(500);
