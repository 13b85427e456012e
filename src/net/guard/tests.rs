use super::*;
use crate::net::bind_group;
use socket2::{Domain, Protocol, Type};
use std::time::Duration;

const WANTED: BufferSizes = BufferSizes {
    receive_bytes: 65_536,
    send_bytes: 65_536,
};

/// Tries to bind a socket as a process that shares its addresses with others.
fn join(address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn both(spares: &Spares) -> [&mio::net::UdpSocket; 2] {
    [&spares.spare, &spares.apart]
}

/// The addresses that overlap with each bound address.
const OVERLAPS: [(&str, &[&str]); 4] = [
    ("127.0.0.1:0", &["127.0.0.1", "0.0.0.0"]),
    ("0.0.0.0:0", &["127.0.0.1", "127.0.0.9", "0.0.0.0"]),
    ("[::1]:0", &["::1", "::"]),
    ("[::]:0", &["::1", "::"]),
];

#[test]
fn nobody_joins_a_closed_group_and_its_sockets_receive_everything() {
    for (address, overlaps) in OVERLAPS {
        // More than ten sockets at one port make the kernel look in another table.
        for count in [1, 3, 12] {
            let address = address.parse().unwrap();
            let closed = bind_closed_group(address, count, WANTED).unwrap();
            let (group, guard) = (closed.group, closed.guard.expect("Linux 5.7"));
            let all_spares = closed.spares.unwrap();
            assert_eq!(all_spares.len(), count + 1);
            let spares = || all_spares.iter().flat_map(both);
            // Those of a wildcard address are bound to the loopback address.
            let needs_source = group.local_addr.ip().is_unspecified();
            assert!(all_spares.iter().all(|it| it.needs_source == needs_source));
            let port = group.local_addr.port();
            for ip in overlaps {
                let stranger = join(SocketAddr::new(ip.parse().unwrap(), port));
                let error = stranger.map(|_| ip).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{ip} at {address}");
            }
            assert!(!guard.is_open().unwrap());
            assert!(counts(&guard, guard.own_sockets));

            let to = SocketAddr::new(overlaps[0].parse().unwrap(), port);
            for _ in 0..100 {
                let peer = std::net::UdpSocket::bind((to.ip(), 0)).unwrap();
                peer.send_to(b"x", to).unwrap();
            }
            let receive = |socket: &mio::net::UdpSocket| {
                std::iter::from_fn(|| socket.recv(&mut [0]).ok()).count()
            };
            assert_eq!(group.sockets.iter().map(receive).sum::<usize>(), 100);
            assert_eq!(spares().map(receive).sum::<usize>(), 0);
            if !group.local_addr.ip().is_unspecified() {
                let peer = std::net::UdpSocket::bind((to.ip(), 0)).unwrap();
                peer.set_read_timeout(Some(Duration::from_secs(10)))
                    .unwrap();
                for spare in spares() {
                    spare.send_to(b"y", peer.local_addr().unwrap()).unwrap();
                    assert_eq!(peer.recv_from(&mut [0]).unwrap().1, group.local_addr);
                }
            }
        }
    }
}

#[test]
fn an_open_group_is_noticed_and_its_strangers_are_counted() {
    for (address, overlaps) in OVERLAPS {
        let group = bind_group(address.parse().unwrap(), 2, WANTED).unwrap();
        let guard = Guard::of_open_group(&group);
        assert!(guard.is_open().unwrap());
        let join = |ip: &&str| {
            join(SocketAddr::new(
                ip.parse().unwrap(),
                group.local_addr.port(),
            ))
        };
        let strangers: Vec<_> = overlaps.iter().map(join).collect();
        assert!(strangers.iter().all(Result::is_ok), "{strangers:?}");
        assert!(counts(&guard, guard.own_sockets + strangers.len()));
    }
}

/// Returns `true` once the guard counts this many sockets. While other tests close theirs, it may
/// miss some.
fn counts(guard: &Guard, sockets: usize) -> bool {
    (0..100).any(|_| guard.overlapping_sockets().unwrap() == sockets)
}

#[test]
fn addresses_of_the_list_of_sockets_are_parsed() {
    if cfg!(target_endian = "little") {
        for (text, address) in [
            ("0100007F:270F", "127.0.0.1:9999"),
            ("00000000000000000000000001000000:0050", "[::1]:80"),
            ("0000000000000000FFFF00000100007F:0050", "127.0.0.1:80"),
        ] {
            assert_eq!(parse_local(text), Some(address.parse().unwrap()));
        }
    }
    for text in [
        "local_address",
        "",
        "0100007F",
        "0100007F:X",
        "01:270F",
        "é100007F:0050",
    ] {
        assert_eq!(parse_local(text), None, "{text}");
    }
}
