//! Peers to send from and to: each with an address of its own, and many on one
//! socket where there are more of them than files that a process may open.

use std::fs;
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use bullhorn::net::{BufferSizes, bind_group};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};

use super::Error;

/// Loopback addresses, and the sockets that they are reached at.
pub(crate) struct Peers {
    sockets: Vec<UdpSocket>,
    /// Of each peer, in the order in which they take turns on the sockets.
    addresses: Vec<SocketAddrV4>,
}

impl Peers {
    /// Opens `count` peers with a socket each.
    pub(crate) fn open(count: usize) -> Result<Self, Error> {
        let sockets = open_sockets(count)?;
        let addresses = sockets.iter().map(v4_addr).collect::<Result<_, _>>()?;
        Ok(Self { sockets, addresses })
    }

    /// Opens `count` peers on sockets for `peers_a_socket` each, with buffers for
    /// a text to all of them. Neighbours are on different sockets. Written out,
    /// all addresses are as long as that of a socket on 127.0.0.1.
    pub(crate) fn open_sharing(count: usize, peers_a_socket: usize) -> Result<Self, Error> {
        let sockets = count.div_ceil(peers_a_socket);
        allow_files(sockets)?;
        let sockets = (0..sockets).map(|_| open_shared_socket(peers_a_socket));
        let sockets: Vec<UdpSocket> = sockets.collect::<Result<_, _>>()?;
        let ports = sockets.iter().map(|socket| Ok(v4_addr(socket)?.port()));
        let ports: Vec<u16> = ports.collect::<Result<_, Error>>()?;
        let address = |index| -> Result<SocketAddrV4, Error> {
            let host = short_host(index / ports.len())?;
            Ok(SocketAddrV4::new(host, ports[index % ports.len()]))
        };
        let addresses = (0..count).map(address).collect::<Result<_, _>>()?;
        Ok(Self { sockets, addresses })
    }

    /// Their sockets, to receive.
    pub(crate) fn sockets(&self) -> &[UdpSocket] {
        &self.sockets
    }

    /// Their addresses; peers are known by their places among them.
    pub(crate) fn addresses(&self) -> &[SocketAddrV4] {
        &self.addresses
    }

    /// How many they are.
    pub(crate) fn len(&self) -> usize {
        self.addresses.len()
    }

    /// How many are on one socket, at most.
    pub(crate) fn a_socket(&self) -> usize {
        self.len().div_ceil(self.sockets.len().max(1))
    }

    /// Sends one datagram from the address of one peer.
    pub(crate) fn send(&self, peer: usize, payload: &[u8], to: SocketAddr) -> Result<(), Error> {
        let socket = &self.sockets[peer % self.sockets.len()];
        let nowhere = libc::in_addr { s_addr: 0 };
        let from = libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr {
                s_addr: u32::from(*self.addresses[peer].ip()).to_be(),
            },
            ipi_addr: nowhere,
        };
        sendmsg(
            socket.as_raw_fd(),
            &[IoSlice::new(payload)],
            &[ControlMessage::Ipv4PacketInfo(&from)],
            MsgFlags::empty(),
            Some(&SockaddrStorage::from(to)),
        )?;
        Ok(())
    }
}

/// Opens `count` sockets on as many loopback addresses as their ports take,
/// and raises the limit of open files for them if needed.
pub(crate) fn open_sockets(count: usize) -> Result<Vec<UdpSocket>, Error> {
    allow_files(count)?;
    let open = |index: usize| {
        let host = u8::try_from(index / PORTS_A_HOST)?;
        Ok(UdpSocket::bind((Ipv4Addr::new(127, 0, host, 1), 0))?)
    };
    (0..count).map(open).collect()
}

/// Opens a socket that receives at every address, and holds a text to each of
/// `peers`.
fn open_shared_socket(peers: usize) -> Result<UdpSocket, Error> {
    let wanted = BufferSizes {
        receive_bytes: peers * DATAGRAM_BYTES,
        send_bytes: SEND_BYTES,
    };
    let mut group = bind_group("0.0.0.0:0".parse()?, 1, wanted)?;
    let granted = group.granted.receive_bytes;
    if granted < wanted.receive_bytes {
        let wanted = wanted.receive_bytes;
        return Err(format!(
            "a receive buffer has {granted} bytes: sysctl -w net.core.rmem_max={wanted}"
        )
        .into());
    }
    let socket: UdpSocket = group.sockets.pop().ok_or("no socket")?.into();
    // As the others are: to send waits for space.
    socket.set_nonblocking(false)?;
    Ok(socket)
}

/// Host `index` of those with one digit in each place, 127.1.0.0 to 127.9.9.9.
fn short_host(index: usize) -> Result<Ipv4Addr, Error> {
    let number = SHORT_HOSTS.start + index;
    if !SHORT_HOSTS.contains(&number) {
        let hosts = SHORT_HOSTS.len();
        return Err(format!("a socket can have {hosts} peers, and no more").into());
    }
    let digit = |unit: usize| (number / unit % 10) as u8;
    Ok(Ipv4Addr::new(127, digit(100), digit(10), digit(1)))
}

fn v4_addr(socket: &UdpSocket) -> Result<SocketAddrV4, Error> {
    match socket.local_addr()? {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(_) => Err("the sockets were bound to IPv4".into()),
    }
}

/// Sees to it that `count` more files may be open.
pub(crate) fn allow_files(count: usize) -> Result<(), Error> {
    let open = fs::read_dir("/proc/self/fd")?.count();
    let files = (open + count) as u64 + OTHER_FILES;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < files {
        setrlimit(Resource::RLIMIT_NOFILE, files, hard.max(files)).map_err(|error| {
            format!("{files} files must be open, and only {hard} may (see ulimit -Hn): {error}")
        })?;
    }
    Ok(())
}

/// Of the 28,000 ports that Linux gives away by itself.
const PORTS_A_HOST: usize = 20_000;

/// The three places as one number. From 100 on: 127.0.0.0 is no host.
const SHORT_HOSTS: std::ops::Range<usize> = 100..1000;

/// Of a buffer, for each small datagram: the kernel counts 768 bytes for it, and
/// grants twice what is asked for, so this holds a second text, too.
const DATAGRAM_BYTES: usize = 1024;

/// A peer sends one small datagram at a time.
const SEND_BYTES: usize = 65_536;

/// What else may be opened meanwhile.
const OTHER_FILES: u64 = 100;
