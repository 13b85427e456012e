//! The addresses and ports of the clients, on few sockets or on one each.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use bullhorn::net::{BindError, BufferSizes, bind_group, receive_drops, set_gro};
use mio::net::UdpSocket;

use crate::config::Sockets;
use crate::engine::partition::Targets;
use crate::net::{set_arrival_stamps, set_local_addresses};
use crate::units::{count, counted};

/// The clients of one thread, known by their numbers from 0.
#[derive(Debug)]
pub struct Ports {
    sockets: Vec<UdpSocket>,
    /// Neighbours are on one socket, so that what they send goes out in one call.
    clients_a_socket: u32,
    /// The number of the first client among those of all threads.
    first: u32,
    clients: u32,
    targets: Targets,
    kind: Sockets,
    /// The last count of drops of each socket.
    last_drops: Vec<u32>,
    next_asked: usize,
    drops_found: u64,
}

/// The source of a client's datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// The socket, by its place.
    pub socket: u32,
    /// The address, where the socket has many.
    pub from: Option<Ipv4Addr>,
    /// The target of the client, by its place.
    pub target: usize,
}

/// The reason why there are no sockets.
#[derive(Debug, thiserror::Error)]
pub enum PortsError {
    #[error(
        "{} need {} ports of net.ipv4.ip_local_port_range, which has {}; {advice}",
        counted((*clients).into(), "client"),
        count((*needed).into()),
        count((*available).into())
    )]
    NoPort {
        clients: u32,
        needed: u32,
        available: u32,
        advice: &'static str,
    },
    #[error("a socket for clients cannot be opened: {0}")]
    Open(io::Error),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("a socket for clients cannot be set up: {0}")]
    Socket(#[from] io::Error),
}

impl PortsError {
    /// Explains the error to the user of a run with these targets and so many clients.
    pub fn explained(self, targets: &[SocketAddr], clients: u32) -> Self {
        let is_v4_loopback =
            |target: &SocketAddr| matches!(target.ip(), IpAddr::V4(ip) if ip.is_loopback());
        let (needed, advice) = match targets.iter().all(is_v4_loopback) {
            true => (clients.min(CLIENTS_A_HOST), "use --sockets shared"),
            false => (clients, "use fewer clients, or widen that range"),
        };
        match self {
            // Clients ask for any free port, and there is none.
            Self::Bind(BindError::InUse { .. }) => Self::NoPort {
                clients,
                needed,
                available: available_ports(),
                advice,
            },
            Self::Bind(BindError::NotLocal { .. }) => {
                Self::Open(io::ErrorKind::AddrNotAvailable.into())
            }
            Self::Bind(BindError::Other { source, .. }) => Self::Open(source),
            explained => explained,
        }
    }
}

/// Returns the number of ports that the system gives away by itself.
fn available_ports() -> u32 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = range
        .split_whitespace()
        .map_while(|end| end.parse::<u32>().ok());
    match (ends.next(), ends.next()) {
        (Some(first), Some(last)) => (last + 1).saturating_sub(first),
        _ => 0,
    }
}

impl Ports {
    /// Opens ports for `clients` clients, the first of which has number `first` among
    /// those of all threads; with `gro` they take several datagrams as one packet.
    pub fn open(
        kind: Sockets,
        gro: bool,
        targets: &Targets,
        first: u32,
        clients: u32,
    ) -> Result<Self, PortsError> {
        let (sockets, clients_a_socket) = match kind {
            Sockets::Shared => Self::open_shared(gro, clients)?,
            Sockets::PerClient => (Self::open_each(gro, targets, first, clients)?, 1),
        };
        Ok(Self {
            last_drops: vec![0; sockets.len()],
            sockets,
            clients_a_socket,
            first,
            clients,
            targets: targets.clone(),
            kind,
            next_asked: 0,
            drops_found: 0,
        })
    }

    /// Returns the sockets, and the clients on each.
    fn open_shared(gro: bool, clients: u32) -> Result<(Vec<UdpSocket>, u32), PortsError> {
        let (first, granted) = open_shared_socket(gro)?;
        let wanted = clients as usize * BYTES_A_CLIENT;
        let count = wanted.div_ceil(granted.max(1)).clamp(1, MAX_SHARED);
        let mut sockets = vec![first];
        while sockets.len() < count {
            sockets.push(open_shared_socket(gro)?.0);
        }
        let clients_a_socket = clients.div_ceil(sockets.len() as u32).max(1);
        Ok((sockets, clients_a_socket))
    }

    fn open_each(
        gro: bool,
        targets: &Targets,
        first: u32,
        clients: u32,
    ) -> Result<Vec<UdpSocket>, PortsError> {
        let open = |client: u32| -> Result<UdpSocket, PortsError> {
            let target = targets.addresses()[targets.place_of(first + client)];
            let local = local_address(target, first + client);
            let mut group = bind_group(local, 1, OWN_BUFFERS)?;
            let socket = group.sockets.remove(0);
            // What others send to it does not come.
            socket.connect(target)?;
            set_up(&socket, gro)?;
            Ok(socket)
        };
        (0..clients).map(open).collect()
    }

    /// Returns the source of a client's datagrams.
    pub fn of(&self, client: u32) -> Port {
        let from = match self.kind {
            Sockets::PerClient => None,
            Sockets::Shared => {
                let host = FIRST_HOST + client % self.clients_a_socket;
                Some(Ipv4Addr::from_bits(host))
            }
        };
        Port {
            socket: client / self.clients_a_socket,
            from,
            target: self.target_of(client),
        }
    }

    /// Returns the target of a client, by its place.
    pub fn target_of(&self, client: u32) -> usize {
        self.targets.place_of(self.first + client)
    }

    /// Returns the target of a client of any thread, by its number among those of all threads.
    pub fn target_of_any(&self, client: u32) -> usize {
        self.targets.place_of(client)
    }

    /// Returns the target that the errors of a socket are about, by its place. Only the socket
    /// of one client is told of a target where nothing listens.
    pub fn target_at(&self, socket: u32) -> usize {
        self.target_of(socket * self.clients_a_socket)
    }

    /// The client whom a datagram was for that came to a socket, and there to `local`.
    pub fn client_at(&self, socket: u32, local: Option<Ipv4Addr>) -> Option<u32> {
        let place = match (self.kind, local) {
            (Sockets::PerClient, _) => 0,
            (Sockets::Shared, Some(local)) => local.to_bits().checked_sub(FIRST_HOST)?,
            (Sockets::Shared, None) => return None,
        };
        let client = socket * self.clients_a_socket + place;
        (place < self.clients_a_socket && client < self.clients).then_some(client)
    }

    /// A socket.
    pub fn socket(&self, socket: u32) -> &UdpSocket {
        &self.sockets[socket as usize]
    }

    pub fn sockets_mut(&mut self) -> &mut [UdpSocket] {
        &mut self.sockets
    }

    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Datagrams that the kernel was found to have dropped at these sockets, as nobody
    /// read them in time: as of when each was last asked. It is the count that
    /// `SO_RXQ_OVFL` adds to datagrams; asked for apart, it costs the datagrams nothing.
    pub fn drops(&self) -> u64 {
        self.drops_found
    }

    /// Asks the next `count` sockets, in turn, how many they have dropped.
    pub fn ask_for_drops(&mut self, count: usize) {
        for _ in 0..count.min(self.sockets.len()) {
            let socket = self.next_asked;
            self.next_asked = (socket + 1) % self.sockets.len();
            let drops = receive_drops(self.sockets[socket].as_fd()).unwrap_or(0);
            // The kernel counts in 32 bits, and begins anew behind them.
            let more = drops.wrapping_sub(self.last_drops[socket]);
            self.last_drops[socket] = drops;
            self.drops_found += u64::from(more);
        }
    }
}

/// A socket that has every address, and the size of its receive buffer.
fn open_shared_socket(gro: bool) -> Result<(UdpSocket, usize), PortsError> {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let mut group = bind_group(any, 1, SHARED_BUFFERS)?;
    let socket = group.sockets.remove(0);
    set_local_addresses(&socket)?;
    set_up(&socket, gro)?;
    Ok((socket, group.granted.receive_bytes))
}

/// Sets the options that every socket of a client has.
fn set_up(socket: &UdpSocket, gro: bool) -> io::Result<()> {
    set_arrival_stamps(socket)?;
    if gro {
        // Kernels without it hand over one datagram at a time.
        let _ = set_gro(socket);
    }
    Ok(())
}

/// Returns the address that a client's own socket is bound to. A loopback address has ports for
/// about 28,000 clients, so clients there have several.
fn local_address(target: SocketAddr, client: u32) -> SocketAddr {
    let host: IpAddr = match target.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => {
            Ipv4Addr::from_bits(FIRST_HOST + client / CLIENTS_A_HOST).into()
        }
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    (host, 0).into()
}

/// 127.1.0.0: all of 127.0.0.0/8 are the loopback interface's, and who looks at the
/// traffic can tell the clients from others.
const FIRST_HOST: u32 = u32::from_be_bytes([127, 1, 0, 0]);

/// A part of the 28,000 ports that Linux gives away by itself.
const CLIENTS_A_HOST: u32 = 20_000;

/// Room for two small datagrams per client. The kernel counts 768 bytes for each, and holds twice
/// the size that it says it grants.
const BYTES_A_CLIENT: usize = 1024;

/// Few enough to be far from the usual limit of 1024 files, with some threads.
pub(crate) const MAX_SHARED: usize = 128;

/// The sizes of the server's own sockets. Only root gets more.
const SHARED_BUFFERS: BufferSizes = BufferSizes {
    receive_bytes: 4 << 20,
    send_bytes: 1 << 20,
};

/// Room for about 300 datagrams in and out.
const OWN_BUFFERS: BufferSizes = BufferSizes {
    receive_bytes: 128 << 10,
    send_bytes: 32 << 10,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RunConfig;
    use crate::net::MultihomedReceiver;
    use bullhorn::net::{Gso, Packet, PeerAddr, Sender, max_segments};
    use std::collections::BTreeSet;
    use std::net::ToSocketAddrs;
    use std::num::NonZeroU16;

    const TARGET: &str = "127.0.0.1:9999";

    /// The only target of all clients.
    fn target(address: impl ToSocketAddrs) -> Targets {
        let address = address.to_socket_addrs().unwrap().next().unwrap();
        Targets::of(&RunConfig::new(address))
    }

    #[test]
    fn every_client_has_a_place_of_its_own_and_is_found_there() {
        for (kind, clients) in [(Sockets::Shared, 10_000), (Sockets::PerClient, 20)] {
            let ports = Ports::open(kind, true, &target(TARGET), 0, clients).unwrap();
            let mut places = BTreeSet::new();
            for client in 0..clients {
                let port = ports.of(client);
                assert!(places.insert((port.socket, port.from)), "{port:?} twice");
                assert_eq!(ports.client_at(port.socket, port.from), Some(client));
            }
            assert!(kind == Sockets::PerClient || ports.len() <= MAX_SHARED);
        }
    }

    #[test]
    fn at_other_addresses_there_is_nobody() {
        let ports = Ports::open(Sockets::Shared, true, &target(TARGET), 0, 3).unwrap();
        for stranger in [[127, 0, 0, 1], [127, 1, 0, 3], [127, 2, 0, 0]] {
            assert_eq!(ports.client_at(0, Some(stranger.into())), None);
        }
        assert_eq!(ports.client_at(0, None), None);
    }

    #[test]
    fn clients_with_sockets_of_their_own_spread_over_loopback_addresses() {
        let hosts =
            [0, 19_999, 20_000].map(|client| local_address(TARGET.parse().unwrap(), client));
        assert_eq!(hosts[0], hosts[1]);
        assert_ne!(hosts[1], hosts[2]);
        let elsewhere = local_address("10.0.0.1:1".parse().unwrap(), 20_000);
        assert!(elsewhere.ip().is_unspecified());
    }

    #[test]
    fn too_few_ports_are_explained_without_words_for_servers() {
        let explained = |target: &str, clients| {
            let address = "127.1.0.0:0".parse().unwrap();
            let error = PortsError::from(BindError::InUse { address });
            error
                .explained(&[target.parse().unwrap()], clients)
                .to_string()
        };
        let available = count(available_ports().into());
        assert_eq!(
            explained("[::1]:9999", 30_000),
            format!(
                "30,000 clients need 30,000 ports of net.ipv4.ip_local_port_range, which has \
                 {available}; use fewer clients, or widen that range"
            )
        );
        let loopback = explained(TARGET, 200);
        assert!(
            loopback.starts_with("200 clients need 200 ports"),
            "{loopback}"
        );
        assert!(loopback.ends_with("use --sockets shared"), "{loopback}");
    }

    #[test]
    fn packets_are_taken_whole_only_if_they_may() {
        if max_segments() == 1 {
            return;
        }
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for kind in [Sockets::Shared, Sockets::PerClient] {
            for (gro, packets) in [(true, 1), (false, 3)] {
                let target = target(server.local_addr().unwrap());
                let ports = Ports::open(kind, gro, &target, 0, 1).unwrap();
                let port = ports.sockets[0].local_addr().unwrap().port();
                let to = PeerAddr::new((Ipv4Addr::from_bits(FIRST_HOST), port).into(), 0);
                let packet = Packet {
                    to: &to,
                    payload: b"one two six",
                    segment_bytes: NonZeroU16::new(4),
                    deliveries: 3,
                    tag: None,
                };
                assert_eq!(Sender::new(Gso::On).send(&server, [packet]).sent, 3);
                let mut receiver = MultihomedReceiver::new();
                let received = receiver.receive(&ports.sockets[0]).unwrap();
                assert_eq!(received, packets, "{kind:?}");
                assert_eq!(receiver.datagrams().count(), 3);
            }
        }
    }

    /// Asked in turn, one at a time, as a run does that has many.
    #[test]
    fn drops_are_those_of_all_sockets_each_counted_once() {
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = target(server.local_addr().unwrap());
        let mut ports = Ports::open(Sockets::PerClient, true, &target, 0, 2).unwrap();
        ports.ask_for_drops(2);
        assert_eq!(ports.drops(), 0);
        let mut lost = 0;
        // The second time each has dropped some before.
        for sent in [[3_000, 2_000], [1_000, 0]] {
            for (socket, sent) in ports.sockets.iter().zip(sent) {
                for _ in 0..sent {
                    server.send_to(b"x", socket.local_addr().unwrap()).unwrap();
                }
                let mut received = 0;
                while socket.recv(&mut [0; 2]).is_ok() {
                    received += 1;
                }
                lost += sent - received;
            }
            ports.ask_for_drops(1);
            assert!(
                ports.drops() < lost || sent[1] == 0,
                "of the first one alone"
            );
            ports.ask_for_drops(1);
            assert_eq!(ports.drops(), lost);
            assert!(lost > 1_000, "{lost}: their buffers hold some hundred");
        }
    }
}
