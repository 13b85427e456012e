//! The ways to the servers of a session, and the one in use. No I/O.

use std::net::{IpAddr, SocketAddr};

/// The addresses of all servers that a session may use.
#[derive(Debug)]
pub(super) struct Route {
    ways: Vec<Way>,
    /// The index of the way in use.
    current: usize,
    /// Number of ways behind it that have not been tried.
    untried: usize,
    /// True if something came on the way in use.
    is_proven: bool,
}

/// An address of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) address: SocketAddr,
    /// The first address of the same server.
    pub(super) server: SocketAddr,
    /// True if the application gave it. A server has named the others.
    is_given: bool,
}

impl Route {
    /// Returns the route by the addresses of each server that the application gave, of which there is
    /// one at least.
    pub(super) fn new(servers: &[Vec<SocketAddr>]) -> Self {
        let ways = ways_of(servers);
        Self {
            untried: ways.len() - 1,
            ways,
            current: 0,
            is_proven: false,
        }
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.ways.iter().map(|way| way.address).collect()
    }

    pub(super) fn current(&self) -> Way {
        self.ways[self.current]
    }

    pub(super) fn way(&self, index: usize) -> Way {
        self.ways[index]
    }

    pub(super) fn len(&self) -> usize {
        self.ways.len()
    }

    /// Returns true if there is a way to another server than the one in use.
    pub(super) fn has_other_servers(&self) -> bool {
        self.ways.iter().any(|way| !self.is_same_server(way))
    }

    pub(super) fn has_untried(&self) -> bool {
        self.untried > 0
    }

    /// Returns the indices of the ways that have not been tried, and counts them as tried.
    pub(super) fn take_untried(&mut self) -> std::ops::Range<usize> {
        let first = self.current + 1;
        first..first + std::mem::take(&mut self.untried)
    }

    /// Something came on the way in use.
    pub(super) fn answered(&mut self) {
        self.is_proven = true;
        self.untried = 0;
    }

    /// Takes the way with this index. Those behind it have not been tried if `is_first_round`.
    pub(super) fn take(&mut self, index: usize, is_first_round: bool) {
        self.current = index;
        self.untried = match is_first_round {
            true => self.ways.len() - 1 - index,
            false => 0,
        };
        self.is_proven = false;
    }

    /// Returns the indices of the ways for the next attempt, in the order in which they are to be
    /// tried. The way in use is the first if something came on it, and else the last.
    pub(super) fn next(&self, choice: Choice) -> Vec<usize> {
        let first = self.current + usize::from(!self.is_proven);
        let turn = (first..first + self.len()).map(|index| index % self.len());
        let is_here = |index: &usize| self.is_same_server(&self.ways[*index]);
        let (here, elsewhere): (Vec<_>, Vec<_>) = match choice {
            Choice::Any => return turn.collect(),
            Choice::OtherServerFirst | Choice::SameServer => turn.partition(is_here),
        };
        match choice {
            Choice::SameServer => here,
            _ => elsewhere.into_iter().chain(here).collect(),
        }
    }

    /// Takes the servers that the one in use has named, in the place of those that were named
    /// before.
    pub(super) fn set_named(&mut self, named: &[SocketAddr]) {
        let current = self.current();
        self.ways
            .retain(|way| way.is_given || way.address == current.address);
        let may_be_local = current.address.ip().to_canonical().is_loopback();
        for address in named.iter().filter(|it| is_usable(it, may_be_local)) {
            if self.ways.iter().all(|way| way.address != *address) {
                self.ways.push(Way {
                    address: *address,
                    server: *address,
                    is_given: false,
                });
            }
        }
        let is_current = |way: &Way| way.address == current.address;
        self.current = self.ways.iter().position(is_current).unwrap_or(0);
    }

    fn is_same_server(&self, way: &Way) -> bool {
        way.server == self.current().server
    }
}

/// The servers that the next attempt may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Any,
    /// The one in use has said that it stops.
    OtherServerFirst,
    /// The one in use has removed the client.
    SameServer,
}

/// Returns the ways to servers by the addresses of each, without those that came before.
fn ways_of(servers: &[Vec<SocketAddr>]) -> Vec<Way> {
    let mut ways = Vec::<Way>::new();
    for addresses in servers {
        for address in addresses {
            if ways.iter().all(|way| way.address != *address) {
                ways.push(Way {
                    address: *address,
                    server: addresses[0],
                    is_given: true,
                });
            }
        }
    }
    ways
}

/// Returns true for an address that a server may name. One on another host cannot make its clients
/// send to their own, and the zone of a link-local address is only known on its own host.
fn is_usable(address: &SocketAddr, may_be_local: bool) -> bool {
    let ip = address.ip().to_canonical();
    let is_zoned = matches!(address, SocketAddr::V6(address) if address.scope_id() != 0);
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    let is_peer = !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast;
    is_peer && !is_zoned && address.port() != 0 && (may_be_local || !ip.is_loopback())
}

#[cfg(test)]
mod tests;
