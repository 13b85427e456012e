//! Clients of a broker over TCP, with a connection each.

use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use crate::clients::{Clients, Received, text_of};
use crate::codec::{Codec, Event, PONG};
use crate::harness::Error;
use crate::harness::peers::allow_files;

pub(crate) struct TcpClients {
    codec: Codec,
    connections: Vec<Connection>,
    /// The buffer that every connection reads to.
    buffer: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// The beginning of a message whose rest is yet to come.
    begun: Vec<u8>,
    /// What the connection has not taken yet.
    unsent: VecDeque<u8>,
}

impl TcpClients {
    /// Connects `count` clients, which subscribe to all texts.
    pub(crate) fn connect(codec: Codec, server: SocketAddr, count: usize) -> Result<Self, Error> {
        allow_files(count)?;
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = TcpStream::connect(server) {
            if Instant::now() > deadline {
                return Err(error.into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        let connect = |client| -> Result<Connection, Error> {
            let stream = TcpStream::connect(server)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut hello = Vec::new();
            codec.push_hello(client, &mut hello);
            let (begun, unsent) = (Vec::new(), VecDeque::new());
            let mut connection = Connection {
                stream,
                begun,
                unsent,
            };
            connection.send(&hello)?;
            Ok(connection)
        };
        Ok(Self {
            codec,
            connections: (0..count).map(connect).collect::<Result<_, _>>()?,
            buffer: vec![0; READ_BYTES],
        })
    }
}

impl Clients for TcpClients {
    fn len(&self) -> usize {
        self.connections.len()
    }

    fn register(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn send(&mut self, stamps: &[u64]) -> Result<(), Error> {
        let mut bytes = Vec::new();
        for &stamp in stamps {
            self.codec.push_text(&text_of(stamp), &mut bytes);
        }
        self.connections[0].send(&bytes)
    }

    fn receive(&mut self, client: usize, received: &mut Received) -> Result<(), Error> {
        let connection = &mut self.connections[client];
        let len = match recv(
            connection.stream.as_raw_fd(),
            &mut self.buffer,
            MsgFlags::MSG_DONTWAIT,
        ) {
            Ok(0) | Err(Errno::ECONNRESET) => return Err("the server closed a connection".into()),
            Ok(len) => len,
            Err(Errno::EAGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let bytes = &self.buffer[..len];
        if connection.begun.is_empty() {
            let taken = connection.take(self.codec, bytes, received)?;
            connection.begun.extend_from_slice(&bytes[taken..]);
        } else {
            let mut begun = std::mem::take(&mut connection.begun);
            begun.extend_from_slice(bytes);
            let taken = connection.take(self.codec, &begun, received)?;
            begun.drain(..taken);
            connection.begun = begun;
        }
        Ok(())
    }

    fn is_reliable(&self) -> bool {
        true
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.connections.iter_mut().try_for_each(Connection::flush)
    }
}

impl Connection {
    /// Sends `bytes` after all that is still unsent.
    fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.unsent.extend(bytes);
        self.flush()?;
        if self.unsent.len() > MAX_UNSENT_BYTES {
            return Err("a connection takes nothing more".into());
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        while !self.unsent.is_empty() {
            match self.stream.write(self.unsent.as_slices().0) {
                Ok(len) => drop(self.unsent.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes all complete messages of `bytes`, and returns their length.
    fn take(
        &mut self,
        codec: Codec,
        bytes: &[u8],
        received: &mut Received,
    ) -> Result<usize, Error> {
        let mut taken = 0;
        while let Some((event, len)) = codec.first(&bytes[taken..]) {
            taken += len;
            match event {
                Event::Text(payload) => received.text(payload),
                Event::Ping => self.send(PONG)?,
                Event::Other => {}
                Event::Refusal(bytes) => {
                    return Err(format!("the server refuses: {}", bytes.escape_ascii()).into());
                }
            }
        }
        Ok(taken)
    }
}

/// Enough for a server to start.
const PATIENCE: Duration = Duration::from_secs(5);

/// A client takes all that is under way to it in one read.
const READ_BYTES: usize = 256 * 1024;

/// Far more than the load leaves waiting.
const MAX_UNSENT_BYTES: usize = 16 << 20;
