//! The addresses of this machine: those that peers write to and are answered from, and
//! those that no peer can have.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::address::{Endpoint, PeerAddr};

/// An address of this machine, as the kernel takes it with a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocalAddr {
    pub ip: IpAddr,
    /// Index of the interface of a link-local IPv6 address. All other addresses have 0, so
    /// that the routes choose the interface of what is sent.
    pub interface: u32,
}

/// The place of an address in a [`LocalTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalIndex(NonZeroU16);

/// The local addresses that peers have written to at wildcard sockets. All workers of a
/// server share it. Addresses are added and never removed.
#[derive(Debug, Default)]
pub struct LocalTable {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    addresses: Vec<LocalAddr>,
    /// Those that cannot be sent from are `None`.
    indexes: HashMap<LocalAddr, Option<LocalIndex>>,
}

/// One thread's copy of a [`LocalTable`].
#[derive(Debug)]
pub struct LocalCache {
    table: Arc<LocalTable>,
    addresses: Vec<LocalAddr>,
    indexes: HashMap<LocalAddr, Option<LocalIndex>>,
    last: Option<(LocalAddr, Option<LocalIndex>)>,
}

/// The socket addresses of a server itself. A datagram from one of them would make the
/// server answer itself without end.
#[derive(Debug, Default)]
pub struct OwnAddresses {
    /// Those that the sockets are bound to.
    bound: Vec<IpAddr>,
    /// Each with its scope, where the kernel compares scopes.
    addresses: HashSet<(LocalAddr, u16)>,
    /// The same without scopes, whose numbers differ from machine to machine.
    unscoped: HashSet<(IpAddr, u16)>,
    /// Few, so that a linear search is fast.
    ports: Vec<u16>,
    wildcards: HashSet<(IpAddr, u16)>,
    locals: Arc<LocalTable>,
}

impl LocalAddr {
    /// Keeps the scope only where the kernel compares scopes.
    pub fn of(address: SocketAddr) -> Self {
        let scope = match address {
            SocketAddr::V6(v6) => v6.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        Self::at(address.ip(), scope)
    }

    pub(super) fn at(ip: IpAddr, interface: u32) -> Self {
        let is_scoped = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        Self {
            ip,
            interface: if is_scoped { interface } else { 0 },
        }
    }

    /// Returns `true` if a socket may be bound to the address. It may not if the address is
    /// that of a whole subnet.
    fn is_sendable(&self) -> bool {
        let address = match self.ip {
            IpAddr::V4(ip) => SocketAddr::from((ip, 0)),
            IpAddr::V6(ip) => std::net::SocketAddrV6::new(ip, 0, 0, self.interface).into(),
        };
        // Any other error says nothing about the address.
        UdpSocket::bind(address)
            .err()
            .is_none_or(|error| error.kind() != std::io::ErrorKind::AddrNotAvailable)
    }
}

impl LocalTable {
    /// Returns the place of `address`, which is added if it is new. `None`: what is sent
    /// leaves from the address that the routes choose, because the table is full, or because
    /// the kernel would refuse to send from this address.
    fn index(&self, address: LocalAddr) -> Option<LocalIndex> {
        let mut state = self.lock();
        if let Some(known) = state.indexes.get(&address) {
            return *known;
        }
        if state.indexes.len() == MAX_LOCALS {
            return None;
        }
        let index = address.is_sendable().then(|| {
            state.addresses.push(address);
            LocalIndex::of(state.addresses.len())
        });
        state.indexes.insert(address, index.flatten());
        index.flatten()
    }

    fn contains(&self, address: &LocalAddr) -> bool {
        self.lock().indexes.contains_key(address)
    }

    fn is_loopback(&self, index: LocalIndex) -> bool {
        let addresses = &self.lock().addresses;
        let address = addresses.get(index.position());
        address.is_some_and(|address| address.ip.is_loopback())
    }

    fn contains_ip(&self, ip: IpAddr) -> bool {
        self.lock().indexes.keys().any(|local| local.ip == ip)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LocalIndex {
    /// Returns the place of the address with this number, counted from 1.
    pub fn of(number: usize) -> Option<Self> {
        let number = u16::try_from(number).ok();
        number.and_then(NonZeroU16::new).map(Self)
    }

    /// The number of the address, from 1.
    pub fn number(self) -> u16 {
        self.0.get()
    }

    fn position(self) -> usize {
        usize::from(self.number()) - 1
    }
}

impl LocalCache {
    pub fn new(table: Arc<LocalTable>) -> Self {
        Self {
            table,
            addresses: Vec::new(),
            indexes: HashMap::new(),
            last: None,
        }
    }

    pub fn table(&self) -> &Arc<LocalTable> {
        &self.table
    }

    /// Returns the place of the address that a datagram was sent to, see
    /// [`LocalTable::index`].
    pub fn index(&mut self, address: LocalAddr) -> Option<LocalIndex> {
        if let Some((last, index)) = self.last
            && last == address
        {
            return index;
        }
        let known = self.indexes.get(&address).copied();
        let index = known.unwrap_or_else(|| {
            let index = self.table.index(address);
            if self.indexes.len() < MAX_LOCALS {
                self.indexes.insert(address, index);
            }
            index
        });
        self.last = Some((address, index));
        index
    }

    /// Returns the address at `index`.
    pub fn address(&mut self, index: LocalIndex) -> Option<LocalAddr> {
        if index.position() >= self.addresses.len() {
            let state = self.table.lock();
            let new = &state.addresses[self.addresses.len()..];
            self.addresses.extend_from_slice(new);
        }
        self.addresses.get(index.position()).copied()
    }
}

impl OwnAddresses {
    /// Takes the addresses that the sockets are bound to, those of the interfaces, which
    /// stand for a wildcard address, and the table of those that are learned later.
    pub fn new(bound: &[SocketAddr], interfaces: &[SocketAddr], locals: Arc<LocalTable>) -> Self {
        let mut own = Self {
            locals,
            ..Self::default()
        };
        for address in bound {
            let port = address.port();
            own.bound.push(address.ip());
            own.ports.push(port);
            own.insert(*address, port);
            if address.ip().is_unspecified() {
                own.wildcards.insert((address.ip(), port));
                let same_family = |other: &&SocketAddr| other.is_ipv4() == address.is_ipv4();
                for interface in interfaces.iter().filter(same_family) {
                    own.insert(*interface, port);
                }
            }
        }
        own
    }

    fn insert(&mut self, address: SocketAddr, port: u16) {
        self.addresses.insert((LocalAddr::of(address), port));
        self.unscoped.insert((address.ip(), port));
    }

    /// Returns `true` if `peer` has an address of this server, in the sense of the kernel: a
    /// scope counts only in a link-local address.
    pub fn contains(&self, peer: &PeerAddr) -> bool {
        // Few peers have the port of a server, so the others cost no look-up.
        let port = peer.port();
        if !self.ports.contains(&port) {
            return false;
        }
        let local = LocalAddr::of(peer.socket_addr());
        self.addresses.contains(&(local, port))
            || (self.is_wildcard(local.ip, port) && self.locals.contains(&local))
    }

    /// Returns `true` if what is sent to this endpoint arrives at a loopback address.
    pub fn is_loopback(&self, endpoint: Endpoint) -> bool {
        let bound = self.bound.get(usize::from(endpoint.bind()));
        bound.is_some_and(|bound| match endpoint.local() {
            Some(local) if bound.is_unspecified() => self.locals.is_loopback(local),
            _ => bound.is_loopback(),
        })
    }

    /// Returns `true` if `address` is the address of this server as another machine writes
    /// it. That machine numbers scopes in its own way.
    pub fn contains_as_seen_elsewhere(&self, address: SocketAddr) -> bool {
        let (ip, port) = (address.ip(), address.port());
        self.unscoped.contains(&(ip, port))
            || (self.is_wildcard(ip, port) && self.locals.contains_ip(ip))
    }

    fn is_wildcard(&self, ip: IpAddr, port: u16) -> bool {
        let any = match ip {
            IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        self.wildcards.contains(&(any, port))
    }
}

/// Maximum number of addresses in a table, sendable or not. A machine whose routes make a
/// whole network its own has more. Peers that write to the others are answered from the
/// address that the routes choose.
const MAX_LOCALS: usize = 4096;

#[cfg(test)]
mod tests;
