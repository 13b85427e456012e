//! Clients of version 1, which the baselines speak as well, or version 2. Each has a socket.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use bullhorn::net::Receiver;
use bullhorn::wire::HEARTBEAT;
use bullhorn::wire::v2::{
    BUNDLE_BYTES, ClientFrame, Hello, ServerFrame, SessionId, parse_server, push_client_frame,
    push_client_header, push_hello,
};

use crate::clients::{Clients, Received, TEXT_BYTES, text_of};
use crate::harness::Error;
use crate::harness::peers::open_sockets;

pub(crate) struct UdpClients {
    is_v2: bool,
    sockets: Vec<UdpSocket>,
    /// The sessions of all clients, in version 2.
    sessions: Vec<Option<SessionId>>,
    /// The nonce of all HELLOs.
    nonce: u64,
    receiver: Receiver,
    datagram: Vec<u8>,
}

impl UdpClients {
    /// Opens `count` clients.
    pub(crate) fn open(is_v2: bool, server: SocketAddr, count: usize) -> Result<Self, Error> {
        let sockets = open_sockets(count)?;
        for socket in &sockets {
            socket.connect(server)?;
        }
        Ok(Self {
            is_v2,
            sockets,
            sessions: vec![None; count],
            nonce: getrandom::u64()?,
            receiver: Receiver::new(),
            datagram: Vec::new(),
        })
    }
}

impl Clients for UdpClients {
    fn len(&self) -> usize {
        self.sockets.len()
    }

    fn register(&mut self) -> Result<(), Error> {
        self.datagram.clear();
        if self.is_v2 {
            let hello = Hello {
                nonce: self.nonce,
                ..Hello::default()
            };
            push_hello(&hello, &mut self.datagram);
        } else {
            self.datagram.extend_from_slice(HEARTBEAT);
        }
        for some in self.sockets.chunks(AT_ONCE) {
            for socket in some {
                send(socket, &self.datagram)?;
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn send(&mut self, stamps: &[u64]) -> Result<(), Error> {
        if !self.is_v2 {
            for &stamp in stamps {
                send(&self.sockets[0], &text_of(stamp))?;
            }
            return Ok(());
        }
        let Some(session) = self.sessions[0] else {
            return Ok(());
        };
        for some in stamps.chunks(TEXTS) {
            self.datagram.clear();
            push_client_header(Some(session), &mut self.datagram);
            for &stamp in some {
                push_client_frame(&ClientFrame::Say(&text_of(stamp)), &mut self.datagram);
            }
            send(&self.sockets[0], &self.datagram)?;
        }
        Ok(())
    }

    fn receive(&mut self, client: usize, received: &mut Received) -> Result<(), Error> {
        // Errors of the network (ICMP, from a server that has ended) show as silence.
        let count = self.receiver.receive(&self.sockets[client], 0).unwrap_or(0);
        if count == 0 {
            return Ok(());
        }
        for datagram in self.receiver.datagrams() {
            if !self.is_v2 {
                received.text(datagram.payload);
                continue;
            }
            let frames = parse_server(datagram.payload)?;
            let session = &mut self.sessions[client];
            let own = [Some(self.nonce), session.map(SessionId::get)];
            if !own.contains(&Some(frames.receiver())) {
                // It is for another client, and not delivered.
                continue;
            }
            for frame in frames {
                match frame {
                    ServerFrame::Message(message) => received.text(message.payload),
                    ServerFrame::Welcome(welcome) => {
                        *session = Some(welcome.session);
                        // The first datagram of a session registers it.
                        self.datagram.clear();
                        push_client_header(Some(welcome.session), &mut self.datagram);
                        push_client_frame(&ClientFrame::Heartbeat(None), &mut self.datagram);
                        send(&self.sockets[client], &self.datagram)?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn is_reliable(&self) -> bool {
        false
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

fn send(socket: &UdpSocket, datagram: &[u8]) -> Result<(), Error> {
    match socket.send(datagram) {
        // The server has not started yet.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        sent => {
            sent?;
            Ok(())
        }
    }
}

/// Texts per datagram of version 2. A frame has three bytes more than its text, and the
/// datagram a header of ten.
const TEXTS: usize = (BUNDLE_BYTES - 10) / (TEXT_BYTES + 3);

/// Registrations without a pause. Linux's default socket buffer holds 277 small datagrams.
const AT_ONCE: usize = 100;

/// Longer than any server takes for these.
const PAUSE: Duration = Duration::from_millis(2);
