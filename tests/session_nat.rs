//! A session behind a router that translates its address, and forgets the translation.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::process::Command;

use bullhorn::client::{Event, ProtocolChoice, Session};
use common::{
    Network, TestServer, answer, connect_with, names, parse, unpinned_config, wait_until,
    with_networks,
};

#[test]
fn a_session_keeps_its_name_and_rooms_when_its_translation_changes() {
    if !has("nft") || !has("python3") {
        println!("skipped: no nft or no python3");
        return;
    }
    with_networks(|| {
        let [server_side, router, client_side] = [(); 3].map(|()| Network::new());
        router.cable(
            ("out", &["10.78.0.1/24"]),
            &server_side,
            ("eth0", &["10.78.0.2/24"]),
        );
        router.cable(
            ("in", &["10.79.0.1/24"]),
            &client_side,
            ("eth0", &["10.79.0.2/24"]),
        );
        client_side.ip("route add default via 10.79.0.1");
        router.sysctl("ipv4/ip_forward", "1");
        if !translate(&router, "20000-20999") {
            println!("skipped: this kernel does not translate addresses");
            return;
        }
        let server = server_side.run(|| TestServer::start(unpinned_config(2, "10.78.0.2:9999")));
        let address = parse("10.78.0.2:9999");
        let connect = || connect_with(ProtocolChoice::V2, address);
        let session: Session = client_side.run(connect);
        answer(session.nick("ada".parse().unwrap()));
        answer(session.join("den".parse().unwrap()));
        answer(session.subscribe("yard".parse().unwrap()));
        for (sessions, ports) in [(2, "30000-30999"), (3, "40000-40999")] {
            assert!(translate(&router, ports));
            // The server does not know where this comes from.
            drop(session.ping().unwrap());
            wait_until("the move", || session.stats().sessions == sessions);
            wait_until("the room", || session.protocol().is_some());
            assert_eq!(session.name(), "ada".parse().ok());
            answer(session.say_to("yard".parse().unwrap(), b"here"));
            let members = answer(session.who());
            assert_eq!(members.room, "den".parse().unwrap());
            assert_eq!(names(&members), ["ada"]);
            assert_eq!(server.stats().peers, 1, "no ghost");
        }
        let is_down = |event| matches!(event, Event::Down(_));
        assert!(!session.events().try_iter().any(is_down));
    });
}

/// Translates to these ports from now on, and forgets what was translated before. Returns false if
/// the kernel cannot.
fn translate(router: &Network, ports: &str) -> bool {
    let rules = format!(
        "flush ruleset; table ip nat {{ chain post {{ type nat hook postrouting priority 100; \
         oifname \"out\" ip protocol udp snat to 10.78.0.1:{ports}; }}; }}"
    );
    let run = |program: &str, arguments: &[&str]| {
        let status = router.run(|| Command::new(program).args(arguments).output());
        status.is_ok_and(|output| output.status.success())
    };
    run("nft", &[&rules]) && run("python3", &["-c", FLUSH])
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// Deletes all entries of conntrack, by one message to netlink: IPCTNL_MSG_CT_DELETE, acknowledged.
const FLUSH: &str = "
import socket, struct
netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
netlink.send(struct.pack('=IHHIIBBH', 20, 0x102, 5, 1, 0, 2, 0, 0))
answer = netlink.recv(4096)
assert struct.unpack_from('=i', answer, 16)[0] == 0, answer
";
