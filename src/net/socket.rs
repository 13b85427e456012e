//! The sockets of one endpoint: one per worker, all on one address.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use mio::net::UdpSocket;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

/// The sockets of one endpoint. The kernel gives every datagram to one of them, chosen by
/// a hash of both addresses, so one client always reaches the same socket.
#[derive(Debug)]
pub struct SocketGroup {
    /// The address that all are bound to. The port is never 0.
    pub local_addr: SocketAddr,
    /// One per worker.
    pub sockets: Vec<UdpSocket>,
    /// The buffers that the kernel granted to each socket.
    pub granted: BufferSizes,
}

/// The sizes of a socket's buffers, as a user counts them. The kernel itself counts twice
/// as many bytes, for its own bookkeeping (socket(7), `SO_RCVBUF`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferSizes {
    pub receive_bytes: usize,
    pub send_bytes: usize,
}

/// The reason why an endpoint cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another socket has the address.
    #[error(
        "{address} is already in use: is another server running? choose another address with --bind IP:PORT"
    )]
    InUse { address: SocketAddr },
    /// The address belongs to no interface of this machine.
    #[error(
        "{address} is not an address of this machine: --bind takes one that is, or 0.0.0.0 or [::] for all"
    )]
    NotLocal { address: SocketAddr },
    #[error("cannot listen on {address}: {source}")]
    Other {
        address: SocketAddr,
        source: io::Error,
    },
}

/// Opens `count` sockets on `address`. Port 0 takes a free one.
///
/// The first is bound without `SO_REUSEPORT` and gets it afterwards, if there are more. So the
/// address is refused if any other socket has it, even one that would share it.
///
/// # Errors
/// [`BindError`], if the system refuses the address or a socket.
pub fn bind_group(
    address: SocketAddr,
    count: usize,
    wanted: BufferSizes,
) -> Result<SocketGroup, BindError> {
    open_group(address, count, wanted, count > 1).map_err(|source| explain(address, source))
}

pub(super) fn explain(address: SocketAddr, source: io::Error) -> BindError {
    match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address },
        io::ErrorKind::AddrNotAvailable => BindError::NotLocal { address },
        _ => BindError::Other { address, source },
    }
}

pub(super) fn open_group(
    address: SocketAddr,
    count: usize,
    wanted: BufferSizes,
    is_shared: bool,
) -> io::Result<SocketGroup> {
    let first = new_socket(address, wanted)?;
    first.bind(&address.into()).map_err(in_call("bind"))?;
    let mut group = SocketGroup::of(&first)?;
    if is_shared {
        first.set_reuse_port(true).map_err(in_call(REUSE_PORT))?;
    }
    group.push(first);
    while group.sockets.len() < count {
        let next = new_socket(group.local_addr, wanted)?;
        bind_member(&next, group.local_addr)?;
        group.push(next);
    }
    Ok(group)
}

/// Binds a socket to an address that others share.
pub(super) fn bind_member(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    socket.set_reuse_port(true).map_err(in_call(REUSE_PORT))?;
    socket.bind(&address.into()).map_err(in_call("bind"))
}

impl SocketGroup {
    /// Returns a group without sockets, with the address and the buffers of `first`.
    pub(super) fn of(first: &Socket) -> io::Result<Self> {
        let local_addr = first.local_addr().map_err(in_call("getsockname"))?;
        let local_addr = local_addr
            .as_socket()
            .ok_or_else(|| io::Error::other("the socket has no IP address"))?;
        Ok(Self {
            local_addr,
            sockets: Vec::new(),
            granted: granted(first).map_err(in_call("getsockopt SO_RCVBUF"))?,
        })
    }

    pub(super) fn push(&mut self, socket: Socket) {
        self.sockets.push(UdpSocket::from_std(socket.into()));
    }
}

pub(super) fn new_socket(address: SocketAddr, wanted: BufferSizes) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket =
        Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).map_err(in_call("socket"))?;
    if address.is_ipv6() {
        // So [::]:9999 and 0.0.0.0:9999 can both be bound, and no peer has an address
        // in two forms.
        let result = socket.set_only_v6(true);
        result.map_err(in_call("setsockopt IPV6_V6ONLY"))?;
    }
    let result = socket.set_nonblocking(true);
    result.map_err(in_call("fcntl O_NONBLOCK"))?;
    // With `CAP_NET_ADMIN` past the limit of the sysctl, else up to it. The sizes that were
    // granted tell if neither is permitted.
    let receive_bytes = wanted.receive_bytes.min(MAX_BUFFER_BYTES);
    if setsockopt(&socket, sockopt::RcvBufForce, &receive_bytes).is_err() {
        let _ = socket.set_recv_buffer_size(wanted.receive_bytes);
    }
    let send_bytes = wanted.send_bytes.min(MAX_BUFFER_BYTES);
    if setsockopt(&socket, sockopt::SndBufForce, &send_bytes).is_err() {
        let _ = socket.set_send_buffer_size(wanted.send_bytes);
    }
    Ok(socket)
}

/// Returns a function that names the system call of an error.
pub fn in_call(call: &'static str) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{call}: {error}"))
}

/// Returns the number of datagrams that the kernel has dropped at `socket` because its
/// receive buffer was full. The number wraps around.
///
/// # Errors
/// Fails on kernels before 4.12, which brought `SO_MEMINFO`.
pub fn receive_drops(socket: impl AsFd) -> io::Result<u32> {
    let mut info = [0_u32; libc::SK_MEMINFO_DROPS as usize + 1];
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the option is an array of `u32`, of which the kernel writes at most `len`
    // bytes.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result == 0 {
        Ok(info[libc::SK_MEMINFO_DROPS as usize])
    } else {
        Err(io::Error::last_os_error())
    }
}

fn granted(socket: &Socket) -> io::Result<BufferSizes> {
    Ok(BufferSizes {
        receive_bytes: socket.recv_buffer_size()? / 2,
        send_bytes: socket.send_buffer_size()? / 2,
    })
}

/// Maximum number of endpoints of a server. It bounds the tables that are kept for each,
/// and is far above the number of addresses that a machine has in practice.
pub const MAX_ENDPOINTS: usize = 16;

const REUSE_PORT: &str = "setsockopt SO_REUSEPORT";

/// The options are of type `int`.
const MAX_BUFFER_BYTES: usize = libc::c_int::MAX as usize;

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: BufferSizes = BufferSizes {
        receive_bytes: 65_536,
        send_bytes: 65_536,
    };

    #[test]
    fn a_group_shares_one_address_and_no_other_may_join() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let group = bind_group(address.parse().unwrap(), 3, WANTED).unwrap();
            assert_eq!(group.sockets.len(), 3);
            for socket in &group.sockets {
                assert_eq!(socket.local_addr().unwrap(), group.local_addr);
            }
            let second = bind_group(group.local_addr, 3, WANTED);
            assert!(matches!(second, Err(BindError::InUse { .. })), "{second:?}");
        }
    }

    #[test]
    fn granted_buffers_are_read_back() {
        let group = bind_group("127.0.0.1:0".parse().unwrap(), 1, WANTED).unwrap();
        assert_eq!(group.granted, WANTED);
    }

    #[test]
    fn dropped_datagrams_are_counted() {
        let group = bind_group("127.0.0.1:0".parse().unwrap(), 1, WANTED).unwrap();
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(receive_drops(&group.sockets[0]).unwrap(), 0);
        for _ in 0..1000 {
            sender.send_to(b"x", group.local_addr).unwrap();
        }
        let mut received = 0;
        while group.sockets[0].recv(&mut [0; 8]).is_ok() {
            received += 1;
        }
        assert!(received < 1000, "the buffer holds no more");
        assert_eq!(receive_drops(&group.sockets[0]).unwrap(), 1000 - received);
    }

    #[test]
    fn an_address_of_another_machine_is_refused_with_its_reason() {
        let result = bind_group("192.0.2.1:0".parse().unwrap(), 1, WANTED);
        assert!(
            matches!(result, Err(BindError::NotLocal { .. })),
            "{result:?}"
        );
    }

    #[test]
    fn an_ipv6_socket_takes_no_ipv4_and_none_blocks() {
        // Not bound yet, as binding to one address sets the option, too.
        for (address, v6_only) in [("[::]:0", Some(true)), ("0.0.0.0:0", None)] {
            let socket = new_socket(address.parse().unwrap(), WANTED).unwrap();
            assert_eq!(socket.only_v6().ok(), v6_only);
            assert!(socket.nonblocking().unwrap());
        }
    }
}
