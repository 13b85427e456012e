//! The bare kernel as a server: this program started once more. It has no table, forgets
//! nobody, and tells only by the first byte what a datagram is.

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd;

use bullhorn::net::{Receiver, bind_group, max_segments};
use clap::ValueEnum;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::clients::TEXT_BYTES;
use crate::harness::Error;
use crate::harness::bare::{Drain, Echo, FanOut};
use crate::harness::subject::buffers;
use crate::udp::pong;

/// What it does.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Bare {
    /// Sends each text to every peer, a datagram each
    FanOut,
    /// The same with all texts that wait in one GSO packet for each peer
    FanOutGso,
    /// Answers every datagram
    Echo,
    /// Receives
    Drain,
}

/// Serves at `address` until the process is killed.
pub(crate) fn serve(bare: Bare, address: SocketAddr) -> Result<(), Error> {
    let mut group = bind_group(address, 1, buffers())?;
    let socket: UdpSocket = group.sockets.pop().ok_or("no socket")?.into();
    socket.set_nonblocking(false)?;
    match bare {
        Bare::FanOut => fan_out(&socket, 1),
        Bare::FanOutGso => fan_out(&socket, max_segments()),
        Bare::Echo => {
            // As long as the answer to a ping is.
            let mut echo = Echo::new(&pong(b"0123456789abcdef"));
            loop {
                echo.answer(&socket)?;
            }
        }
        Bare::Drain => {
            let mut drain = Drain::new();
            loop {
                drain.wait(&socket)?;
            }
        }
    }
}

/// Sends up to `segments` texts at once to everyone who has said `@im@`.
fn fan_out(socket: &UdpSocket, segments: usize) -> Result<(), Error> {
    let mut receiver = Receiver::new();
    let mut peers: Vec<SocketAddrV4> = Vec::new();
    let mut fan_out = None;
    // Each as long as bullhorn's, which has the speaker's address in front.
    let pong = pong(b"0");
    let (mut texts, mut text) = (Vec::new(), [b'x'; PREFIX_BYTES + TEXT_BYTES]);
    loop {
        poll(
            &mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)],
            PollTimeout::NONE,
        )?;
        texts.clear();
        while texts.len() < segments * text.len() && receiver.receive(socket, 0)? > 0 {
            for datagram in receiver.datagrams() {
                match datagram.payload {
                    [b'@', ..] => {
                        if let SocketAddr::V4(peer) = datagram.from.socket_addr() {
                            peers.push(peer);
                        }
                        fan_out = None;
                    }
                    [b'/', ..] => drop(socket.send_to(&pong, datagram.from.socket_addr())?),
                    payload => {
                        let len = payload.len().min(TEXT_BYTES);
                        text[PREFIX_BYTES..][..len].copy_from_slice(&payload[..len]);
                        texts.extend_from_slice(&text);
                    }
                }
            }
        }
        let fan_out = fan_out.get_or_insert_with(|| {
            let longest = vec![0; segments * text.len()];
            if segments == 1 {
                FanOut::new(&peers, &longest)
            } else {
                FanOut::segmented(&peers, &longest, text.len() as u16)
            }
        });
        for some in texts.chunks(segments * text.len()) {
            fan_out.set_payload(some);
            fan_out.send(socket)?;
        }
    }
}

/// `127.0.0.1:12345` and a blank.
const PREFIX_BYTES: usize = 16;
