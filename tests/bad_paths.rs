//! Peers with bad paths, in networks that the tests make. The others receive each text. Without
//! the right to make networks, the tests are skipped.

mod common;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bullhorn::ServerConfig;
use bullhorn::server::ops::stats::Stats;
use bytesize::ByteSize;
use common::{
    Client, Network, TestServer, parse, stranger, trust_all, two_machines, unpinned_config,
    wait_until, wildcard_config, with_networks,
};

#[test]
fn neighbors_that_do_not_answer_cost_others_nothing() {
    with_networks(|| {
        for (workers, bad) in [(1, 1), (1, 2), (2, 10), (2, 50), (1, 50)] {
            for address in [
                "10.77.0.1:9999",
                "0.0.0.0:9999",
                "[fd77::1]:9999",
                "[::]:9999",
            ] {
                let setting = format!("{bad} bad neighbors, {workers} workers at {address}");
                println!("{setting}");
                let [machine, _clients] = two_machines();
                let server = start(&machine, workers, address);
                let (own, to) = if address.contains('.') {
                    ("10.77.0.1:0", V4)
                } else {
                    ("[fd77::1]:0", V6)
                };
                let bad_peers = register_at(&machine, &server, parse(to), bad);
                let live = join(&machine, &server, own, to, LIVE);
                talk(&live);
                // A neighbor for itself cannot fill the buffer.
                if bad > 1 {
                    wait_for_suspects(&server, &live);
                }
                let stats = server.stats();
                assert_only_bad_peers_lose(&stats, &setting);
                let found = stats.total().peers_set_apart;
                // Each worker sends to all of them, and finds them by itself.
                let most = bad as u64 * u64::from(workers);
                assert!(found <= most, "{found} of {setting}");
                drop(bad_peers);
            }
        }
    });
}

#[test]
fn a_neighbor_that_answers_again_receives_again() {
    with_networks(|| {
        let [machine, _clients] = two_machines();
        let server = start(&machine, 1, "0.0.0.0:9999");
        let bad = register_at(&machine, &server, parse(V4), 10);
        let live = join(&machine, &server, "10.77.0.1:0", V4, LIVE);
        talk(&live);
        wait_for_suspects(&server, &live);
        let address = bad[0].local_addr().expect("it is bound").ip();
        machine.ip(&format!("route add local {address}/32 dev lo"));
        wait_until("a datagram after its return", || {
            say(&live, TEXTS);
            bad[0].recv(&mut [0; 100]).is_ok()
        });
    });
}

#[test]
fn a_slow_link_costs_others_nothing() {
    with_networks(|| {
        for queue in [
            "tbf rate 1mbit burst 10kb limit 1000000",
            "tbf rate 1mbit burst 10kb limit 30000",
        ] {
            let [machine, clients] = two_machines();
            let end = ("eth1", &["10.78.0.9/24"][..]);
            machine.cable(("eth1", &["10.78.0.1/24"]), &clients, end);
            machine.command("tc", &format!("qdisc add dev eth1 root {queue}"));
            let server = start(&machine, 2, "0.0.0.0:9999");
            let _slow = join(&clients, &server, "10.78.0.9:0", "10.78.0.1:9999", LIVE);
            let live = join(&clients, &server, "10.77.0.9:0", V4, LIVE);
            for _ in 0..3 {
                talk(&live);
            }
            assert_only_bad_peers_lose(&server.stats(), queue);
        }
    });
}

#[test]
fn closed_ports_and_peers_that_never_read_cost_others_nothing() {
    with_networks(|| {
        let [machine, clients] = two_machines();
        let server = start(&machine, 2, "0.0.0.0:9999");
        // At another address, so that no other peer gets one of their ports.
        let closed = join(&clients, &server, "10.77.0.8:0", V4, 100);
        drop(closed);
        let _silent = join(&clients, &server, "10.77.0.9:0", V4, 100);
        let live = join(&clients, &server, "10.77.0.9:0", V4, LIVE);
        talk(&live);
        wait_until("all deliveries", || {
            let total = server.stats().total();
            total.deliveries == total.deliveries_planned
        });
        assert_eq!(server.stats().total().peers_set_apart, 0);
    });
}

#[test]
fn a_stranger_on_a_named_interface_is_refused_or_an_alarm() {
    with_networks(|| {
        // With more than ten sockets at its port, the kernel compares fewer of them.
        for (workers, address) in [
            (1, "0.0.0.0:9999"),
            (8, "0.0.0.0:9999"),
            (1, "[::]:9999"),
            (8, "10.77.0.1:9999"),
        ] {
            let [machine, _clients] = two_machines();
            let server = start(&machine, workers, address);
            assert_eq!(server.stats().group_alarms, 0);
            match machine.run(|| stranger(parse(address))) {
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::AddrInUse),
                Ok(_stranger) => wait_until("an alarm", || server.stats().group_alarms == 1),
            }
        }
    });
}

#[test]
fn the_sockets_of_the_other_family_hide_no_stranger() {
    with_networks(|| {
        let [machine, _clients] = two_machines();
        let server = machine.run(|| TestServer::start(wildcard_config()));
        // The kernel lets it in, as it is bound to an interface.
        let stranger = machine.run(|| stranger(parse("[::]:9999")));
        if let Ok(_stranger) = stranger {
            wait_until("an alarm", || server.stats().group_alarms == 1);
        }
    });
}

/// Asserts that each delivery to the living was sent, so that all others were to bad peers.
#[track_caller]
fn assert_only_bad_peers_lose(stats: &Stats, setting: &str) {
    let total = stats.total();
    let lost = total.deliveries_congested + total.deliveries_refused;
    let living = total.texts * LIVE as u64;
    assert!(
        lost <= total.deliveries_planned - living,
        "{setting}: {stats:?}"
    );
}

/// Says texts one by one. All receive each of them before the next.
fn talk(live: &[Client]) {
    for number in 0..TEXTS {
        say(live, number);
    }
}

fn say(live: &[Client], number: usize) {
    let text = format!("text {number}");
    live[0].send(text.as_bytes());
    for client in live {
        client.expect_text_from(&live[0], &text);
    }
}

/// Says texts until the server counts suspects, which it does after a search.
fn wait_for_suspects(server: &TestServer, live: &[Client]) {
    wait_until("suspects", || {
        say(live, TEXTS);
        server.stats().total().peers_set_apart > 0
    });
}

/// Registers `count` peers that live on `machine`, at its address `own`.
fn join(machine: &Network, server: &TestServer, own: &str, to: &str, count: usize) -> Vec<Client> {
    let before = server.stats().total().registered;
    let connect = |_| {
        let client = Client::connect_from(parse(own), parse(to));
        client.send(b"@im@");
        client
    };
    let clients: Vec<_> = machine.run(|| (0..count).map(connect).collect());
    let again = || clients.iter().for_each(|client| client.send(b"@im@"));
    wait_for_registrations(server, before + count as u64, again);
    clients
}

/// Waits until `count` peers have been registered. Calls `again` now and then, as a network that has
/// just been made may lose the first datagrams.
fn wait_for_registrations(server: &TestServer, count: u64, again: impl Fn()) {
    let mut sent = Instant::now();
    wait_until("registrations", || {
        if sent.elapsed() > Duration::from_millis(500) {
            again();
            sent = Instant::now();
        }
        server.stats().total().registered == count
    });
}

/// Registers peers at addresses that belong to nobody any more when this returns.
fn register_at(
    machine: &Network,
    server: &TestServer,
    to: SocketAddr,
    count: usize,
) -> Vec<UdpSocket> {
    let before = server.stats().total().registered;
    let (prefix, range) = if to.is_ipv4() {
        ("10.77.0.", "10.77.0.128/25")
    } else {
        machine.sysctl("ipv6/ip_nonlocal_bind", "1");
        ("fd77::1:", "fd77::1:0/112")
    };
    machine.ip(&format!("route add local {range} dev lo"));
    let register = |host: usize| {
        let ip = format!("{prefix}{host}");
        let peer = UdpSocket::bind((ip.as_str(), 0)).expect("an own address");
        peer.set_nonblocking(true).expect("it is a socket");
        peer.send_to(b"@im@", to).expect("the network is up");
        peer
    };
    let peers: Vec<_> = machine.run(|| (129..129 + count).map(register).collect());
    let again = || {
        for peer in &peers {
            let _ = peer.send_to(b"@im@", to);
        }
    };
    wait_for_registrations(server, before + count as u64, again);
    machine.ip(&format!("route del local {range} dev lo"));
    peers
}

/// Starts a server with the send buffer of an unprivileged process.
fn start(machine: &Network, workers: u16, address: &str) -> TestServer {
    let config = ServerConfig {
        send_buffer: ByteSize::kib(208),
        trust: trust_all(),
        ..unpinned_config(workers, address)
    };
    machine.run(|| TestServer::start(config))
}

/// Texts that fill a buffer of 208 KiB with datagrams that do not leave, several times.
const TEXTS: usize = 400;
const LIVE: usize = 50;

const V4: &str = "10.77.0.1:9999";
const V6: &str = "[fd77::1]:9999";
