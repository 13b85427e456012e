//! The sockets of one endpoint: one per worker, all on one address.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd};

use mio::net::UdpSocket;
use nix::sys::socket::{setsockopt, sockopt};
use nix::{setsockopt_impl, sockopt_impl};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

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
    /// The address stands for all machines of a subnet.
    #[error("{address} is a broadcast address: --bind takes an address of this machine alone")]
    Broadcast { address: SocketAddr },
    /// The zone of the address has no interface.
    #[error("{address} has a zone that is no interface of this machine: list them with `ip link`")]
    NoInterface { address: SocketAddr },
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
    let group = open_group(address, count, wanted, count > 1);
    let group = group.map_err(|source| explain(address, source))?;
    check_broadcast(group)
}

pub(super) fn explain(address: SocketAddr, source: io::Error) -> BindError {
    match os_error(&source) {
        Some(libc::EADDRINUSE) => BindError::InUse { address },
        Some(libc::EADDRNOTAVAIL) => BindError::NotLocal { address },
        Some(libc::ENODEV) => BindError::NoInterface { address },
        _ => BindError::Other { address, source },
    }
}

/// Refuses a group that is bound to a broadcast address. The kernel lets only sockets with
/// `SO_BROADCAST` send to one.
pub(super) fn check_broadcast(group: SocketGroup) -> Result<SocketGroup, BindError> {
    let address = group.local_addr;
    let connect = || UdpSocket::bind(UNSPECIFIED_V4)?.connect((address.ip(), 9).into());
    let is_broadcast = address.is_ipv4()
        && connect().is_err_and(|error: io::Error| error.raw_os_error() == Some(libc::EACCES));
    if is_broadcast {
        return Err(BindError::Broadcast { address });
    }
    Ok(group)
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

/// Makes a socket share its address with those of all users that share it, too, or no more.
pub(super) fn share_with_all(socket: &SockRef<'_>, is_shared: bool) -> io::Result<()> {
    let result = socket.set_reuse_address(is_shared);
    result.map_err(in_call("setsockopt SO_REUSEADDR"))
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
    set_options(&socket, address)?;
    set_receive_buffer(&socket, wanted.receive_bytes);
    set_send_buffer(&socket, wanted.send_bytes);
    Ok(socket)
}

/// Sets what all sockets of a server have in common. That can also be set on a socket that is bound.
pub(super) fn set_options(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    let result = socket.set_nonblocking(true);
    result.map_err(in_call("fcntl O_NONBLOCK"))?;
    // Where it is refused, the server works on, as all servers did before Linux 3.15.
    let _ = ignore_path_mtu(socket, address.is_ipv6());
    if address.ip().is_unspecified() {
        let result = set_packet_info(socket, address.is_ipv4());
        result.map_err(in_call("setsockopt IP_PKTINFO"))?;
    }
    Ok(())
}

/// Sets the receive buffer, with `CAP_NET_ADMIN` past the limit of the sysctl, else up to it. If
/// neither is permitted, the granted size shows it.
pub(super) fn set_receive_buffer(socket: &Socket, bytes: usize) {
    let bytes = bytes.min(MAX_BUFFER_BYTES);
    if setsockopt(socket, sockopt::RcvBufForce, &bytes).is_err() {
        let _ = socket.set_recv_buffer_size(bytes);
    }
}

/// Sets the send buffer in the same way.
pub(super) fn set_send_buffer(socket: &Socket, bytes: usize) {
    let bytes = bytes.min(MAX_BUFFER_BYTES);
    if setsockopt(socket, sockopt::SndBufForce, &bytes).is_err() {
        let _ = socket.set_send_buffer_size(bytes);
    }
}

/// A system call that failed.
#[derive(Debug, thiserror::Error)]
#[error("{call}: {source}")]
struct CallError {
    call: &'static str,
    source: io::Error,
}

/// Returns a function that names the system call of an error.
pub fn in_call(call: &'static str) -> impl Fn(io::Error) -> io::Error {
    move |source| io::Error::new(source.kind(), CallError { call, source })
}

/// Returns the error number, of an error with the name of its call, too.
fn os_error(error: &io::Error) -> Option<i32> {
    let call = error
        .get_ref()
        .and_then(|it| it.downcast_ref::<CallError>());
    call.map_or(error, |it| &it.source).raw_os_error()
}

/// Makes the kernel send datagrams without "don't fragment", and ignore what ICMP says about
/// the MTU of a path. Nobody repeats a datagram that is too long for its path, so a router
/// should cut it. The other modes that permit that (`IP_PMTUDISC_DONT`, `WANT`) believe ICMP.
/// With them, the kernel refuses to segment packets on a path whose MTU it was told.
fn ignore_path_mtu(socket: &Socket, is_v6: bool) -> nix::Result<()> {
    if is_v6 {
        setsockopt(socket, Ipv6MtuDiscover, &libc::IPV6_PMTUDISC_OMIT)
    } else {
        setsockopt(socket, IpMtuDiscover, &libc::IP_PMTUDISC_OMIT)
    }
}

/// Makes the kernel hand over the local address of each datagram with it.
///
/// # Errors
/// The socket has another family.
pub fn set_packet_info(socket: impl AsFd, is_v4: bool) -> io::Result<()> {
    Ok(if is_v4 {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)
    } else {
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)
    }?)
}

/// Returns `true` if `socket` is bound to all addresses of the machine.
pub(super) fn is_wildcard(socket: &UdpSocket) -> bool {
    socket
        .local_addr()
        .is_ok_and(|address| address.ip().is_unspecified())
}

sockopt_impl!(
    /// Path MTU discovery of IPv4.
    IpMtuDiscover,
    SetOnly,
    libc::IPPROTO_IP,
    libc::IP_MTU_DISCOVER,
    libc::c_int
);
sockopt_impl!(
    /// Path MTU discovery of IPv6.
    Ipv6MtuDiscover,
    SetOnly,
    libc::IPPROTO_IPV6,
    libc::IPV6_MTU_DISCOVER,
    libc::c_int
);

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

pub(super) fn granted(socket: &Socket) -> io::Result<BufferSizes> {
    Ok(BufferSizes {
        receive_bytes: socket.recv_buffer_size()? / 2,
        send_bytes: socket.send_buffer_size()? / 2,
    })
}

/// Maximum number of endpoints of a server. It bounds the tables that are kept for each,
/// and is far above the number of addresses that a machine has in practice.
pub const MAX_ENDPOINTS: usize = 16;

pub(super) const REUSE_PORT: &str = "setsockopt SO_REUSEPORT";

const UNSPECIFIED_V4: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

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
    fn an_address_of_no_single_machine_is_refused_with_its_reason() {
        let bind = |text: &str| bind_group(text.parse().unwrap(), 1, WANTED);
        let result = bind("127.255.255.255:0");
        assert!(
            matches!(result, Err(BindError::Broadcast { .. })),
            "{result:?}"
        );
        let result = bind("[fe80::1%4000000]:0");
        assert!(
            matches!(result, Err(BindError::NoInterface { .. })),
            "{result:?}"
        );
    }

    #[test]
    fn a_router_may_cut_what_a_server_sends() {
        for (address, level, option) in [
            ("127.0.0.1:0", libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
            ("[::1]:0", libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER),
        ] {
            let group = bind_group(address.parse().unwrap(), 1, WANTED).unwrap();
            let (mut value, mut len) = (-1, size_of::<libc::c_int>() as libc::socklen_t);
            // SAFETY: the option is an `int`, of which the kernel writes at most `len` bytes.
            let result = unsafe {
                libc::getsockopt(
                    group.sockets[0].as_raw_fd(),
                    level,
                    option,
                    (&raw mut value).cast(),
                    &raw mut len,
                )
            };
            assert_eq!((result, value), (0, libc::IP_PMTUDISC_OMIT), "{address}");
        }
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
