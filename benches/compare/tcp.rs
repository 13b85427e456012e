//! Clients that speak over TCP, a connection each: NATS or MQTT.

use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use crate::clients::{BURST, Clients, Heard, text_of, wait_for};
use crate::codec::mqtt::{self, Packet, first_packet};
use crate::codec::nats::{self, Word, first_word};
use crate::harness::Error;
use crate::harness::peers::allow_files;

/// What they say and hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Nats,
    Mqtt,
}

pub(crate) struct TcpClients {
    protocol: Protocol,
    connections: Vec<Connection>,
    /// Where every connection reads to.
    buffer: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// The beginning of a message whose rest is yet to come.
    begun: Vec<u8>,
    /// What the connection has not taken yet.
    unsent: VecDeque<u8>,
    /// The stamps of what it has asked: answers come in the same order.
    asked: VecDeque<u64>,
    /// Confirmations of the server: that it is connected, and subscribed.
    confirmed: usize,
}

/// What a client reads, in either protocol.
enum Event<'a> {
    Text(&'a [u8]),
    Answer,
    Ping,
    Confirmed,
    Other,
    Trouble(String),
}

impl TcpClients {
    /// Connects `count` clients; those that are `listening` subscribe what client 0 says.
    pub(crate) fn connect(
        protocol: Protocol,
        server: SocketAddr,
        count: usize,
        listening: bool,
    ) -> Result<Self, Error> {
        allow_files(count)?;
        wait_for("the server listens", || Ok(TcpStream::connect(server).ok()))?;
        let mut clients = Self {
            protocol,
            connections: Vec::new(),
            buffer: vec![0; READ_BYTES],
        };
        for index in 0..count {
            let stream = TcpStream::connect(server)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            clients.connections.push(Connection {
                stream,
                begun: Vec::new(),
                unsent: VecDeque::new(),
                asked: VecDeque::new(),
                confirmed: 0,
            });
            clients.introduce(index, listening)?;
        }
        Ok(clients)
    }

    /// Says who a client is and what it wants, and waits until the server has taken it.
    fn introduce(&mut self, index: usize, listening: bool) -> Result<(), Error> {
        let mut hello = Vec::new();
        let confirmations = match self.protocol {
            Protocol::Nats => {
                nats::push_connect(listening.then_some(SUBJECT), &mut hello);
                hello.extend_from_slice(nats::PING);
                1
            }
            Protocol::Mqtt => {
                mqtt::push_connect(&format!("c{index}"), &mut hello);
                if listening {
                    mqtt::push_subscribe(SUBJECT, &mut hello);
                }
                1 + usize::from(listening)
            }
        };
        self.connections[index].send(&hello)?;
        let mut heard = Heard::default();
        wait_for("the server takes a connection", || {
            self.hear(index, &mut heard)?;
            let is_done = match self.protocol {
                Protocol::Nats => heard.count as usize,
                Protocol::Mqtt => self.connections[index].confirmed,
            } >= confirmations;
            Ok(is_done.then_some(()))
        })
    }

    fn publication(&self, subject: &str, payload: &[u8], out: &mut Vec<u8>) {
        match self.protocol {
            Protocol::Nats => nats::push_publish(subject, payload, out),
            Protocol::Mqtt => mqtt::push_publish(subject, payload, out),
        }
    }
}

impl Clients for TcpClients {
    fn len(&self) -> usize {
        self.connections.len()
    }

    fn say(&mut self, stamps: &[u64]) -> Result<(), Error> {
        let mut bytes = Vec::new();
        for &stamp in stamps {
            self.publication(SUBJECT, &text_of(stamp), &mut bytes);
        }
        self.connections[0].send(&bytes)
    }

    fn ask(&mut self, client: usize, stamp: u64) -> Result<(), Error> {
        let question = match self.protocol {
            Protocol::Nats => nats::PING,
            Protocol::Mqtt => &mqtt::PINGREQ,
        };
        let connection = &mut self.connections[client];
        connection.asked.push_back(stamp);
        connection.send(question)
    }

    fn beat(&mut self, client: usize) -> Result<bool, Error> {
        if self.connections[client].flush()? > 0 {
            return Ok(false);
        }
        let mut bytes = Vec::new();
        self.publication(NOBODYS_SUBJECT, b"@im@", &mut bytes);
        self.connections[client].send(&bytes.repeat(BURST as usize))?;
        Ok(true)
    }

    fn hear(&mut self, client: usize, heard: &mut Heard) -> Result<(), Error> {
        let connection = &mut self.connections[client];
        let len = match recv(
            connection.stream.as_raw_fd(),
            &mut self.buffer,
            MsgFlags::MSG_DONTWAIT,
        ) {
            Ok(0) | Err(Errno::ECONNRESET) => return Err(DROPPED.into()),
            Ok(len) => len,
            Err(Errno::EAGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if connection.begun.is_empty() {
            let taken = connection.take(self.protocol, &self.buffer[..len], heard)?;
            connection.begun.extend_from_slice(&self.buffer[taken..len]);
        } else {
            let mut bytes = std::mem::take(&mut connection.begun);
            bytes.extend_from_slice(&self.buffer[..len]);
            let taken = connection.take(self.protocol, &bytes, heard)?;
            bytes.drain(..taken);
            connection.begun = bytes;
        }
        Ok(())
    }

    fn lost_beats(&mut self) -> Result<u64, Error> {
        // The answer to a question comes when all before it is handled.
        for client in 0..self.len() {
            self.ask(client, 0)?;
        }
        let mut heard = Heard::default();
        let expected = self.len() as u64;
        wait_for("the server takes all heartbeats", || {
            self.flush()?;
            for client in 0..self.len() {
                self.hear(client, &mut heard)?;
            }
            Ok((heard.count >= expected).then_some(0))
        })
    }

    fn is_all_taken(&mut self) -> Result<bool, Error> {
        Ok(self.flush()? == 0)
    }

    fn is_reliable(&self) -> bool {
        true
    }

    fn flush(&mut self) -> Result<usize, Error> {
        let connections = self.connections.iter_mut();
        connections.map(Connection::flush).sum()
    }

    fn forget_questions(&mut self) {}
}

impl Connection {
    /// Sends `bytes` behind all that is still unsent.
    fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.unsent.extend(bytes);
        if self.flush()? > MAX_UNSENT_BYTES {
            return Err("a connection takes nothing more".into());
        }
        Ok(())
    }

    /// Sends what the connection takes, and returns how much it does not.
    fn flush(&mut self) -> Result<usize, Error> {
        while !self.unsent.is_empty() {
            match self.stream.write(self.unsent.as_slices().0) {
                Ok(len) => drop(self.unsent.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.unsent.len())
    }

    /// Takes all whole messages of `bytes`, and returns how long they are.
    fn take(
        &mut self,
        protocol: Protocol,
        bytes: &[u8],
        heard: &mut Heard,
    ) -> Result<usize, Error> {
        let mut taken = 0;
        while let Some((event, len)) = first_event(protocol, &bytes[taken..]) {
            taken += len;
            match event {
                Event::Text(payload) => heard.text(payload),
                Event::Answer => heard.answer(self.asked.pop_front()),
                Event::Ping => self.send(nats::PONG)?,
                Event::Confirmed => self.confirmed += 1,
                Event::Other => {}
                Event::Trouble(what) => return Err(format!("the server says {what}").into()),
            }
        }
        Ok(taken)
    }
}

fn first_event(protocol: Protocol, bytes: &[u8]) -> Option<(Event<'_>, usize)> {
    match protocol {
        Protocol::Nats => first_word(bytes).map(|(word, len)| {
            let event = match word {
                Word::Message(payload) => Event::Text(payload),
                Word::Pong => Event::Answer,
                Word::Ping => Event::Ping,
                Word::Other => Event::Other,
                Word::Trouble(line) => Event::Trouble(line.escape_ascii().to_string()),
            };
            (event, len)
        }),
        Protocol::Mqtt => first_packet(bytes).map(|(packet, len)| {
            let event = match packet {
                Packet::Publish(payload) => Event::Text(payload),
                Packet::Pong => Event::Answer,
                Packet::Connected | Packet::Subscribed => Event::Confirmed,
                Packet::Trouble(kind) => Event::Trouble(format!("packet {kind:#04x}")),
            };
            (event, len)
        }),
    }
}

/// What client 0 says, and all listen to. Short, as each delivery repeats it.
const SUBJECT: &str = "room";
/// Of heartbeats: nobody subscribes it.
const NOBODYS_SUBJECT: &str = "beat";

const DROPPED: &str = "the server closed a connection";

/// A client takes in one read whatever is in flight to it.
const READ_BYTES: usize = 256 * 1024;

/// Far more than the load lets wait: it holds back before.
const MAX_UNSENT_BYTES: usize = 16 << 20;
