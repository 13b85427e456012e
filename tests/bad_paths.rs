//! Peers with bad paths, in a network of its own. This needs root and `ip`. Without them, the
//! tests are skipped.

mod common;

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::thread;

use bullhorn::ServerConfig;
use bytesize::ByteSize;
use common::{Client, TestServer, config, wait_until};
use nix::sched::{CloneFlags, unshare};

/// Texts that fill a buffer of 208 KiB with datagrams that do not leave, several times.
const TEXTS: usize = 400;
const LIVE: usize = 20;
const BAD: usize = 10;

#[test]
fn neighbors_that_do_not_answer_cost_others_nothing() {
    in_a_network("10.9.0.1/24", || {
        for workers in [1, 2] {
            let server = start(workers, "10.9.0.1:0");
            register_at(
                &server,
                (2..).map(|host| format!("10.9.0.{host}")).take(BAD),
            );
            let live: Vec<_> = (0..LIVE).map(|_| server.client()).collect();
            talk(&live);
            wait_for_suspects(&server, &live);
            let stats = server.stats();
            // Each delivery to the living was sent, so these are all to the others.
            let total = stats.total();
            let lost = total.deliveries_congested + total.deliveries_refused;
            let living = total.texts * LIVE as u64;
            assert!(lost <= total.deliveries_planned - living, "{stats:?}");
            server.stop();
        }
    });
}

#[test]
fn a_neighbor_that_answers_again_receives_again() {
    in_a_network("10.9.0.1/24", || {
        let server = start(1, "10.9.0.1:0");
        let addresses: Vec<_> = (2..)
            .map(|host| format!("10.9.0.{host}"))
            .take(BAD)
            .collect();
        let bad = register_at(&server, addresses.iter().cloned());
        let live: Vec<_> = (0..LIVE).map(|_| server.client()).collect();
        talk(&live);
        wait_for_suspects(&server, &live);
        ip_command(&format!("addr add {}/32 dev lo", addresses[0]));
        wait_until("a datagram after its return", || {
            say(&live, TEXTS);
            bad[0].recv(&mut [0; 100]).is_ok()
        });
    });
}

/// Says texts, each of which all receive before the next.
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

/// Registers a peer at each address, which then belongs to nobody any more.
fn register_at(server: &TestServer, ips: impl Iterator<Item = String>) -> Vec<UdpSocket> {
    let registered = || server.stats().total().registered;
    let register = |ip: String| {
        let before = registered();
        ip_command(&format!("addr add {ip}/32 dev lo"));
        let peer = UdpSocket::bind((ip.as_str(), 0)).expect("an own address");
        peer.set_nonblocking(true).expect("it is a socket");
        peer.send_to(b"@im@", server.local_addr())
            .expect("loopback is up");
        wait_until("a registration", || registered() == before + 1);
        ip_command(&format!("addr del {ip}/32 dev lo"));
        peer
    };
    ips.map(register).collect()
}

/// Starts a server with the send buffer of an unprivileged process.
fn start(workers: u16, address: &str) -> TestServer {
    let address: SocketAddr = address.parse().expect("an address");
    TestServer::start(ServerConfig {
        bind: vec![address],
        no_pin: true,
        send_buffer: ByteSize::kib(208),
        ..config(workers, &[])
    })
}

/// Runs `test` in a new network, with an interface with this address on which nobody answers.
fn in_a_network(address: &'static str, test: impl FnOnce() + Send + 'static) {
    // The network is that of the thread, and of those that it starts.
    let in_thread = move || {
        if unshare(CloneFlags::CLONE_NEWNET).is_err() {
            println!("skipped: no right to make a network");
            return;
        }
        let commands = [
            "link set lo up",
            "link add v0 type veth peer name v1",
            "link set v0 up",
            "link set v1 up",
            &format!("addr add {address} dev v0"),
        ];
        if !commands.into_iter().all(ip) {
            println!("skipped: `ip` cannot make a pair of interfaces");
            return;
        }
        test();
    };
    if let Err(panic) = thread::spawn(in_thread).join() {
        std::panic::resume_unwind(panic);
    }
}

fn ip(arguments: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(arguments.split(' '));
    command.status().is_ok_and(|status| status.success())
}

#[track_caller]
fn ip_command(arguments: &str) {
    assert!(ip(arguments), "ip {arguments}");
}
