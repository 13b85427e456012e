//! A group of sockets that no other process can join.
//!
//! Any process of the same user may bind a socket to the address of a group
//! (`SO_REUSEPORT`), and then receives a share of its datagrams. When the kernel binds a
//! socket, it looks for one with the same address and compares with the first that it finds.
//! The *guard* is that first one. It does not share its address, so the kernel refuses. It is
//! bound to a network interface that does not exist, so it receives nothing, and the kernel
//! passes over it when it looks for the receiver of a datagram.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};
use std::net::{IpAddr, SocketAddr};

use nix::sys::socket::setsockopt;
use nix::{setsockopt_impl, sockopt_impl};
use socket2::{SockRef, Socket};

use super::socket::{
    BindError, BufferSizes, REUSE_PORT, SocketGroup, bind_member, check_broadcast, explain,
    in_call, new_socket, open_group, share_with_all,
};
use super::spare::{Sharing, Spares, bind_spares, share_spares};

/// The sockets of one endpoint, which no other process can join.
#[derive(Debug)]
pub struct ClosedGroup {
    pub group: SocketGroup,
    /// One for each thread that sends. An error if this system permits none. Then the sockets
    /// work, but bad paths are not isolated.
    pub spares: io::Result<Vec<Spares>>,
    /// The guard, or an error if this kernel cannot close the group, as those before Linux 5.7
    /// without `CAP_NET_RAW`.
    pub guard: io::Result<Guard>,
}

/// Keeps a group closed for as long as it lives.
#[derive(Debug)]
pub struct Guard {
    /// `None` if nobody can join the group anyway.
    _socket: Option<Socket>,
    address: SocketAddr,
    /// Number of sockets at the address, with this one.
    own_sockets: usize,
    /// The list of all UDP sockets. It stays open, so that the server opens no file later.
    list: io::Result<File>,
}

/// Opens `count` sockets on `address`, as [`bind_group`](super::bind_group) does, with spares
/// for the threads of these sockets and for one more, and closes the group.
///
/// # Errors
/// [`BindError`], if the system refuses the address or a socket.
pub fn bind_closed_group(
    address: SocketAddr,
    count: usize,
    wanted: BufferSizes,
) -> Result<ClosedGroup, BindError> {
    let bind = if address.is_ipv4() {
        bind_guard_last
    } else {
        bind_guard_first
    };
    let (group, spares, guard) =
        bind(address, count, wanted).map_err(|error| explain(address, error))?;
    let group = check_broadcast(group)?;
    let own_sockets = count + spares.as_ref().map_or(0, Vec::len) + 1;
    let guard = guard.map(|socket| Guard {
        _socket: Some(socket),
        address: group.local_addr,
        own_sockets,
        list: open_list(group.local_addr),
    });
    Ok(ClosedGroup {
        spares: spares.map(|spares| share_spares(group.local_addr, spares)),
        group,
        guard,
    })
}

/// A group, its spares and its guard.
type Parts = (SocketGroup, io::Result<Vec<Socket>>, io::Result<Socket>);

/// Binds the guard after the group, as the kernel finds the last IPv4 socket first.
fn bind_guard_last(address: SocketAddr, count: usize, wanted: BufferSizes) -> io::Result<Parts> {
    let group = open_group(address, count, wanted, true)?;
    let spares = bind_spares(group.local_addr, count + 1, wanted, Sharing::WithGroup);
    let bind = || {
        let guard = new_socket(group.local_addr, wanted)?;
        stop_receiving(&guard)?;
        bind_member(&guard, group.local_addr)?;
        share(&guard, false)?;
        Ok(guard)
    };
    let guard = bind();
    stop_sharing(&spares)?;
    Ok((group, spares, guard))
}

/// Binds the guard before the group, as the kernel finds that IPv6 socket first which was bound
/// without `SO_REUSEPORT`.
fn bind_guard_first(address: SocketAddr, count: usize, wanted: BufferSizes) -> io::Result<Parts> {
    let guard = new_socket(address, wanted)?;
    guard.bind(&address.into()).map_err(in_call("bind"))?;
    // Before its interface replaces the scope of a link-local address.
    let mut group = SocketGroup::of(&guard)?;
    if let Err(error) = stop_receiving(&guard) {
        drop(guard);
        let group = open_group(address, count, wanted, true)?;
        let spares = bind_spares(group.local_addr, count + 1, wanted, Sharing::WithGroup);
        return Ok((group, spares, Err(error)));
    }
    share(&guard, true)?;
    for _ in 0..count {
        let socket = new_socket(group.local_addr, wanted)?;
        bind_member(&socket, group.local_addr)?;
        group.push(socket);
    }
    let spares = bind_spares(group.local_addr, count + 1, wanted, Sharing::WithGroup);
    stop_sharing(&spares)?;
    Ok((group, spares, share(&guard, false).map(|()| guard)))
}

/// Opens spares for a group that another process has opened, and closes the group.
///
/// Its sockets may belong to another user, with whom no address is shared by `SO_REUSEPORT`. So all
/// share it by `SO_REUSEADDR` for a moment, as systemd leaves them, and then no more.
///
/// # Errors
/// The group would stay open to all users.
pub(super) fn close_inherited(group: SocketGroup, wanted: BufferSizes) -> io::Result<ClosedGroup> {
    let (address, count) = (group.local_addr, group.sockets.len());
    let share_group = |is_shared| {
        let mut sockets = group.sockets.iter();
        sockets.try_for_each(|socket| share_with_all(&SockRef::from(socket), is_shared))
    };
    share_group(true)?;
    let spares = bind_spares(address, count + 1, wanted, Sharing::WithAll);
    let guard = match &spares {
        // Others may not open more sockets either. The port is one of root's.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        _ => bind_shared_guard(address).map(Some),
    };
    share_group(false)?;
    let mut others = spares.iter().flatten().chain(guard.iter().flatten());
    others.try_for_each(|socket| share_with_all(&SockRef::from(socket), false))?;
    let own_sockets = count + spares.as_ref().map_or(0, Vec::len);
    let guard = guard.map(|socket| Guard {
        own_sockets: own_sockets + usize::from(socket.is_some()),
        _socket: socket,
        address,
        list: open_list(address),
    });
    Ok(ClosedGroup {
        spares: spares.map(|spares| share_spares(address, spares)),
        group,
        guard,
    })
}

/// Binds the guard of an inherited group. The kernel finds the last socket first that was bound
/// without `SO_REUSEPORT`.
fn bind_shared_guard(address: SocketAddr) -> io::Result<Socket> {
    let guard = new_socket(address, NO_BUFFERS)?;
    share_with_all(&SockRef::from(&guard), true)?;
    let bind = || guard.bind(&address.into()).map_err(in_call("bind"));
    // The interface of an IPv6 socket must exist while its address is bound.
    if address.is_ipv4() {
        stop_receiving(&guard)?;
        bind()?;
    } else {
        bind()?;
        stop_receiving(&guard)?;
    }
    Ok(guard)
}

/// Makes the kernel refuse a stranger that it compares with one of the spares first.
fn stop_sharing(spares: &io::Result<Vec<Socket>>) -> io::Result<()> {
    let mut spares = spares.iter().flatten();
    spares.try_for_each(|spare| share(spare, false))
}

fn share(socket: &Socket, is_shared: bool) -> io::Result<()> {
    let result = socket.set_reuse_port(is_shared);
    result.map_err(in_call(REUSE_PORT))
}

impl Guard {
    /// Returns the address of the group.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tries to join the group as another process would. Returns `true` if that succeeds. The
    /// socket that tries receives nothing, except for a moment if it succeeds with IPv6.
    ///
    /// # Errors
    /// The system refuses the socket for another reason than its address.
    pub fn is_open(&self) -> io::Result<bool> {
        let socket = new_socket(self.address, NO_BUFFERS)?;
        if self.address.is_ipv4() {
            stop_receiving(&socket)?;
        }
        match bind_member(&socket, self.address) {
            // The interface of an IPv6 socket must exist while its address is bound.
            Ok(()) if self.address.is_ipv6() => stop_receiving(&socket).map(|()| true),
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns the number of its sockets that overlap with `address`.
    pub fn own_sockets_at(&self, address: SocketAddr) -> usize {
        if overlap(self.address, address) {
            self.own_sockets
        } else {
            0
        }
    }

    /// Returns the number of all sockets that overlap with the group. It may miss some while
    /// other sockets are closed. It reads the list of all UDP sockets, which takes 1 ms for a
    /// thousand.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn overlapping_sockets(&self) -> io::Result<usize> {
        let mut list = self.list.as_ref().map_err(io::Error::kind)?;
        list.rewind()?;
        // The list may have changed between two reads of it, and then it shows some twice.
        let mut inodes = HashSet::new();
        for line in BufReader::new(list).lines() {
            let line = line?;
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next().and_then(parse_local);
            if local.is_some_and(|local| overlap(local, self.address)) {
                inodes.insert(fields.nth(7).map(str::to_owned));
            }
        }
        Ok(inodes.len())
    }
}

#[cfg(test)]
impl Guard {
    /// Returns one that watches a group and does not close it.
    pub(crate) fn of_open_group(group: &SocketGroup) -> Self {
        Self {
            _socket: Some(new_socket(group.local_addr, NO_BUFFERS).expect("a socket")),
            address: group.local_addr,
            own_sockets: group.sockets.len(),
            list: open_list(group.local_addr),
        }
    }
}

fn open_list(address: SocketAddr) -> io::Result<File> {
    File::open(if address.is_ipv4() {
        "/proc/thread-self/net/udp"
    } else {
        "/proc/thread-self/net/udp6"
    })
}

fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_wildcard = one.ip().is_unspecified() || other.ip().is_unspecified();
    let is_same_ip = one.is_ipv4() == other.is_ipv4() && (is_wildcard || one.ip() == other.ip());
    one.port() == other.port() && is_same_ip
}

/// Parses an address as `/proc/net/udp` shows it: words of 32 bits in the order of this
/// machine, and the port as a number.
fn parse_local(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        Some(
            u32::from_str_radix(ip.get(at..at + 8)?, 16)
                .ok()?
                .to_ne_bytes(),
        )
    };
    let ip = if ip.len() == 8 {
        IpAddr::from(word(0)?)
    } else {
        let words = [word(0)?, word(8)?, word(16)?, word(24)?];
        // A socket with a mapped address receives IPv4 only.
        IpAddr::from(<[u8; 16]>::try_from(words.concat()).ok()?).to_canonical()
    };
    Some(SocketAddr::new(ip, port))
}

/// Binds a socket to an interface that does not exist. The kernel does not look for it.
fn stop_receiving(socket: &Socket) -> io::Result<()> {
    setsockopt(socket, BindToInterface, &NO_INTERFACE)
        .map_err(|error| in_call("setsockopt SO_BINDTOIFINDEX")(error.into()))
}

sockopt_impl!(
    /// Binds a socket to the interface with this index.
    BindToInterface,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_BINDTOIFINDEX,
    libc::c_int
);

/// The kernel numbers interfaces from 1, and never comes so far.
const NO_INTERFACE: libc::c_int = libc::c_int::MAX;

/// The smallest buffers that the kernel grants, for a socket that neither sends nor receives.
const NO_BUFFERS: BufferSizes = BufferSizes {
    receive_bytes: 0,
    send_bytes: 0,
};

#[cfg(test)]
mod tests;
