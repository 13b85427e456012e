//! A server that does what bytes say, for a fuzzer.

use std::net::Ipv4Addr;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use bullhorn::ServerConfig;
use bullhorn::config::{LimitsConfig, PerSecond, Proof, Trust};
use bullhorn::net::PeerAddr;
use bullhorn::wire::v2::{
    BundleSize, ClientFrame, Hello, Move, ServerFrame, SessionId, SessionOptions, parse_server,
    push_client_frame, push_client_header, push_hello,
};

use crate::host::{Host, Ruling};
use crate::peers::{name, room};

/// Runs a server by these bytes: datagrams, silence, workers that get stuck, and the operator.
///
/// # Panics
/// If the server does something wrong.
pub fn run(data: &[u8]) {
    let mut bytes = Unstructured::new(data);
    let Ok(config) = config(&mut bytes) else {
        return;
    };
    let mut script = Script {
        workers: usize::from(config.workers),
        host: Host::new(&config, 7, false),
        sessions: [None; PEERS],
        tokens: Default::default(),
    };
    // The bytes end in the middle of an action.
    while !bytes.is_empty() && script.act(&mut bytes).is_ok() {}
    script.host.finish();
}

struct Script {
    host: Host,
    workers: usize,
    /// The session of each peer.
    sessions: [Option<SessionId>; PEERS],
    tokens: [Vec<u8>; PEERS],
}

impl Script {
    fn act(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        let peer = usize::from(bytes.arbitrary::<u8>()?) % PEERS;
        match bytes.int_in_range(0..=19)? {
            0..5 => {
                let datagram = self.datagram(peer, bytes)?;
                self.send(peer, datagram);
            }
            5..9 => {
                let line = self.line(peer, bytes)?;
                self.send(peer, line);
            }
            9 => {
                let len = bytes.int_in_range(0..=200)?;
                let datagram = bytes.bytes(bytes.len().min(len))?.to_vec();
                self.send(peer, datagram);
            }
            10 => self.send(peer, b"@im@\n".to_vec()),
            11 => {
                let mut datagram = Vec::new();
                push_hello(&hello(bytes)?, &mut datagram);
                self.send(peer, datagram);
            }
            12 => self.send(peer, self.tokens[peer].clone()),
            13 => self.host.advance(bytes.int_in_range(0..=3_000)?),
            14 => {
                self.host.reap();
                self.host.notify();
            }
            15 => self.host.stall(bytes.int_in_range(50..=400)?),
            16 => self.host.congest(bytes.int_in_range(1..=4)?),
            17 => self.rule(peer, bytes)?,
            _ => {
                let worker = usize::from(bytes.arbitrary::<u8>()?) % self.workers;
                self.turn(worker, bytes.int_in_range(0..=3)?);
            }
        }
        Ok(())
    }

    fn send(&mut self, peer: usize, datagram: Vec<u8>) {
        let worker = peer % self.workers;
        self.host.arrive(worker, address(peer), datagram);
        // Mostly at once, so that short scripts do much.
        if !peer.is_multiple_of(4) {
            self.turn(worker, 2);
        }
    }

    fn turn(&mut self, worker: usize, sends: u32) {
        self.host.turn(worker, sends);
        for (to, datagram) in std::mem::take(&mut self.host.sent) {
            let Some(peer) = (0..PEERS).find(|peer| address(*peer) == to) else {
                continue;
            };
            if let Some(token) = datagram.strip_prefix(b"* say /in ") {
                self.tokens[peer] = [b"/in ", token].concat();
            }
            for frame in parse_server(&datagram).into_iter().flatten() {
                if let ServerFrame::Welcome(welcome) = frame {
                    self.sessions[peer] = Some(welcome.session);
                }
            }
        }
    }

    /// A datagram of version 2, by default with the session of its peer.
    fn datagram(&self, peer: usize, bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
        let mut datagram = Vec::new();
        let of = match bytes.ratio(1, 8)? {
            true => usize::from(bytes.arbitrary::<u8>()?) % PEERS,
            false => peer,
        };
        push_client_header(self.sessions[of], &mut datagram);
        for _ in 0..bytes.int_in_range(1..=4)? {
            let number = bytes.arbitrary::<u8>()?;
            let line = self.line(peer, bytes)?;
            let former = usize::from(number) % PEERS;
            let frame = match bytes.int_in_range(0..=12)? {
                0 => ClientFrame::Heartbeat(Some(number.into())),
                1 => ClientFrame::Heartbeat(None),
                2..5 => ClientFrame::Say(&line),
                5..7 => ClientFrame::Command(&line),
                7 => ClientFrame::Subscribe(room(number)),
                8 => ClientFrame::Unsubscribe((number % 4).into()),
                9 => ClientFrame::SayTo((number % 4).into(), &line),
                10 => ClientFrame::Hello(hello(bytes)?),
                11 => ClientFrame::Bye,
                _ => match self.sessions[former] {
                    Some(session) => ClientFrame::Move(Move {
                        session,
                        address: address(former).socket_addr(),
                    }),
                    None => ClientFrame::Ping(b"x"),
                },
            };
            push_client_frame(&frame, &mut datagram);
        }
        Ok(datagram)
    }

    fn line(&self, peer: usize, bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
        let number = bytes.arbitrary::<u8>()?;
        Ok(match bytes.int_in_range(0..=11)? {
            0..4 => {
                let len = bytes.int_in_range(0..=40)?;
                bytes.bytes(bytes.len().min(len))?.to_vec()
            }
            4 => format!("/nick {}", name(number)).into_bytes(),
            5..7 => format!("/join {}", room(number)).into_bytes(),
            7 => b"/leave".to_vec(),
            8 => format!("/presence {}", if number % 2 == 0 { "on" } else { "off" }).into_bytes(),
            9 => format!("/msg {} hi", name(number)).into_bytes(),
            10 => format!("/msg {} hi", address(usize::from(number) % PEERS)).into_bytes(),
            _ => format!("{peer} {number} {}", "x".repeat(usize::from(number) * 5)).into_bytes(),
        })
    }

    fn rule(&mut self, peer: usize, bytes: &mut Unstructured<'_>) -> Result<()> {
        let whom = address(peer).socket_addr();
        self.host.rule(match bytes.int_in_range(0..=4)? {
            0 => Ruling::Kick(whom),
            1 => Ruling::Mute(whom, bytes.int_in_range(1..=20)?),
            2 => Ruling::Unmute(whom),
            3 => Ruling::Ban(whom),
            _ => Ruling::Unban(whom),
        });
        Ok(())
    }
}

fn hello(bytes: &mut Unstructured<'_>) -> Result<Hello> {
    let flags = bytes.arbitrary::<u8>()?;
    Ok(Hello {
        nonce: 1,
        options: SessionOptions {
            bundle_size: BundleSize::ALL[usize::from(flags & 1)],
            echo: flags & 6 > 0,
            receive: flags & 24 > 0,
        },
    })
}

fn config(bytes: &mut Unstructured<'_>) -> Result<ServerConfig> {
    let flags = bytes.arbitrary::<u8>()?;
    let is_small = flags & 4 > 0;
    let max = |small, default| if is_small { small } else { default };
    let limits = match flags & 8 > 0 {
        true => LimitsConfig::off(),
        false => LimitsConfig {
            texts_per_peer: PerSecond(std::num::NonZero::new(2)),
            work_per_peer: PerSecond(std::num::NonZero::new(20)),
            ..LimitsConfig::default()
        },
    };
    Ok(ServerConfig {
        workers: 1 + u16::from(flags & 3),
        max_peers: max(5, 1_000),
        max_names: max(3, 1_000),
        max_rooms: max(2, 1_000),
        max_room_members: max(3, 1_000),
        proof: [Proof::Auto, Proof::Never][usize::from(flags >> 7)],
        trust: vec![Trust::Net("10.0.0.0/8".parse().expect("a network"))],
        timeout: Duration::from_secs(5),
        limits,
        ..ServerConfig::default()
    })
}

/// Half of the peers are trusted. Two have the same address at two `--bind` addresses.
fn address(peer: usize) -> PeerAddr {
    let number = peer as u8;
    let ip = match peer {
        0..4 => Ipv4Addr::new(10, 0, 0, number),
        4..6 => Ipv4Addr::new(192, 0, 2, number),
        _ => Ipv4Addr::new(198, 51, 100, number % 7),
    };
    PeerAddr::new((ip, 5_000).into(), u8::from(peer == 7))
}

const PEERS: usize = 8;
