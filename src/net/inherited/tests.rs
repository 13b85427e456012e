use super::*;
use socket2::{Domain, Type};
use std::net::{Ipv4Addr, UdpSocket};

const WANTED: BufferSizes = BufferSizes {
    receive_bytes: 65_536,
    send_bytes: 65_536,
};

/// Opens a socket as systemd does, which shares the addresses of all its sockets.
fn open(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None).unwrap();
    if address.is_ipv6() {
        socket.set_only_v6(true).unwrap();
    }
    socket.set_reuse_port(true).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}

fn open_group(address: &str, count: usize) -> Vec<Socket> {
    let first = open(address.parse().unwrap());
    let bound = address_of(&first);
    let others = (1..count).map(|_| open(bound));
    std::iter::once(first)
        .chain(others.collect::<Vec<_>>())
        .collect()
}

fn address_of(socket: &Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}

/// Tries to bind a socket as a process that shares its addresses with others.
fn join(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[test]
fn inherited_groups_are_closed_and_receive_everything() {
    for (address, to) in [
        ("127.0.0.1:0", "127.0.0.1"),
        ("0.0.0.0:0", "127.0.0.1"),
        ("[::1]:0", "::1"),
        ("[::]:0", "::1"),
    ] {
        // More than ten sockets at one port make the kernel look in another table.
        for count in [1, 4, 12] {
            let sockets = InheritedSockets::new(open_group(address, count)).unwrap();
            assert_eq!(sockets.sockets_per_address(), count);
            let [address] = sockets.addresses()[..] else {
                panic!("{:?}", sockets.addresses());
            };
            drop(join(address).expect("it is open"));
            let closed = sockets.into_closed_groups(WANTED).unwrap().remove(0);
            let to = SocketAddr::new(to.parse().unwrap(), address.port());
            for address in [address, to] {
                let error = join(address).map(drop).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{address}");
            }
            let guard = closed.guard.expect("Linux 5.7");
            assert!(!guard.is_open().unwrap());
            let others = closed.spares.expect("the port is free").len() + 2;
            assert_eq!(guard.own_sockets_at(address), count + others);

            for _ in 0..100 {
                let peer = UdpSocket::bind((to.ip(), 0)).unwrap();
                peer.send_to(b"x", to).unwrap();
            }
            let receive = |socket: &mio::net::UdpSocket| {
                std::iter::from_fn(|| socket.recv(&mut [0]).ok()).count()
            };
            let counts: Vec<usize> = closed.group.sockets.iter().map(receive).collect();
            assert_eq!(counts.iter().sum::<usize>(), 100, "{address}");
            assert!(count == 1 || counts.iter().all(|count| *count < 100));
        }
    }
}

#[test]
fn a_single_socket_need_not_share_its_address() {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).unwrap();
    let address = address_of(&socket);
    let sockets = InheritedSockets::new(vec![socket]).unwrap();
    let closed = sockets.into_closed_groups(WANTED).unwrap().remove(0);
    assert_eq!(closed.spares.unwrap().len(), 2);
    assert!(join(address).is_err());
}

#[test]
fn options_and_buffers_are_those_of_own_sockets_but_larger_buffers_stay() {
    let sockets = open_group("0.0.0.0:0", 3);
    sockets[1].set_recv_buffer_size(131_072).unwrap();
    for set_size in [Socket::set_recv_buffer_size, Socket::set_send_buffer_size] {
        set_size(&sockets[2], 8_192).unwrap();
    }
    let sockets = InheritedSockets::new(sockets).unwrap();
    let closed = sockets.into_closed_groups(WANTED).unwrap().remove(0);
    let (mut buffers, mut send_buffers) = (Vec::new(), Vec::new());
    for socket in &closed.group.sockets {
        let socket = socket2::SockRef::from(socket);
        assert!(socket.nonblocking().unwrap());
        assert!(!socket.reuse_address().unwrap());
        buffers.push(socket.recv_buffer_size().unwrap() / 2);
        send_buffers.push(socket.send_buffer_size().unwrap() / 2);
    }
    assert!(buffers[0] >= WANTED.receive_bytes, "{buffers:?}");
    assert_eq!(buffers[1], 131_072);
    // Small ones grow.
    assert_eq!(buffers[2], WANTED.receive_bytes);
    assert_eq!(send_buffers[2], WANTED.send_bytes);
}

#[test]
fn sockets_that_are_not_those_of_a_server_are_refused_with_the_remedy() {
    let refuse = |sockets: Vec<Socket>, expected: &str| {
        let error = InheritedSockets::new(sockets).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let mut uneven = open_group("127.0.0.1:0", 2);
    uneven.extend(open_group("[::1]:0", 1));
    refuse(uneven, "give ListenDatagram= as many times for each");

    let connected = open_group("127.0.0.1:0", 1);
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    connected[0].connect(&peer.into()).unwrap();
    refuse(connected, "is connected to 127.0.0.1:9");

    let unshared = open_group("127.0.0.1:0", 2);
    unshared[1].set_reuse_port(false).unwrap();
    refuse(unshared, "set ReusePort=yes");

    let both_families = Socket::new(Domain::IPV6, Type::DGRAM, None).unwrap();
    both_families.set_only_v6(false).unwrap();
    let all: SocketAddr = "[::]:0".parse().unwrap();
    both_families.bind(&all.into()).unwrap();
    refuse(vec![both_families], "set BindIPv6Only=ipv6-only");
}
