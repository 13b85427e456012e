//! The limits of networks that are not trusted: their rates, and their shares of peers, names and
//! rooms. The sources are in networks of their own on the loopback interface, and the server's clock
//! stands still, so all happens at once.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZero;

use bullhorn::ServerConfig;
use bullhorn::config::{LimitsConfig, PerSecond, Proof, Trust};
use bullhorn::stats::DropReason;
use bullhorn::wire::v2::{ClientFrame, NoticeCode, ServerFrame, parse_server};
use bytesize::ByteSize;
use common::v2_peer::{V2Peer, datagram, hello, welcome};
use common::{Client, TestServer, Time, V4, strict_config, wait_until};

#[test]
fn others_get_in_while_one_network_takes_all_that_it_can() {
    let server = start(ServerConfig {
        max_peers: 300,
        max_names: 300,
        max_rooms: 300,
        ..open_config()
    });
    let mut greedy = Vec::new();
    let refusal = loop {
        let client = client(&server, 66, 1 + greedy.len() / 100);
        match register(&client) {
            refusal if refusal.contains("limit") => break refusal,
            _ => greedy.push(client),
        }
    };
    assert_eq!(refusal, "* peer limit reached (150 in your network)");
    assert_eq!(greedy.len(), 150);
    let v2 = client(&server, 66, 3);
    v2.send(&hello());
    let refusal_v2 = v2.receive();
    assert!(refusal_v2.len() <= hello().len());
    let notices: Vec<_> = parse_server(&refusal_v2)
        .unwrap()
        .filter_map(notice)
        .collect();
    assert_eq!(notices, ["peer limit reached (150 in your network)"]);
    for (number, client) in greedy.iter().enumerate() {
        let name = request(client, &format!("/nick g{number}"));
        assert_eq!(name, format!("* you are g{number}"));
        let room = request(client, &format!("/join g{number}"));
        assert_eq!(room, format!("* you are in g{number} (1 here)"));
    }
    // Ten networks, each with ten.
    let others: Vec<_> = (0..100)
        .map(|number| {
            let other = client(&server, 100 + number / 10, 1);
            assert_eq!(register(&other), "* you are in lobby (1 here)", "{number}");
            let name = request(&other, &format!("/nick o{number}"));
            assert_eq!(name, format!("* you are o{number}"));
            let room = request(&other, &format!("/join o{number}"));
            assert_eq!(room, format!("* you are in o{number} (1 here)"));
            other
        })
        .collect();
    assert_eq!(server.stats().peers, 250);
    assert_eq!(server.stats().total().dropped(DropReason::NetworkFull), 2);
    // What it gives back, others may have, and itself.
    greedy.drain(..100).for_each(|client| client.send(b"quit"));
    wait_until("the leaves", || server.stats().peers == 150);
    assert_eq!(server.stats().rooms, 1 + 150);
    let again = client(&server, 66, 9);
    assert_eq!(register(&again), "* you are in lobby (1 here)");
    assert_eq!(request(&again, "/nick again"), "* you are again");
    let room = request(&again, "/join again");
    assert_eq!(room, "* you are in again (1 here)");
    drop(others);
}

#[test]
fn names_and_rooms_have_shares_of_their_own() {
    let server = start(ServerConfig {
        max_names: 6,
        max_rooms: 4,
        ..open_config()
    });
    let greedy: Vec<_> = (0..5).map(|_| registered(&server, 66, 1)).collect();
    let ask = |index: usize, line: &str| request(&greedy[index], line);
    for (index, name, reply) in [
        (0, "a", "* you are a"),
        (1, "b", "* you are b"),
        (2, "c", "* you are c"),
        (3, "d", "* name limit reached (3 in your network)"),
        (2, "e", "* you are e"),
        (2, "E", "* you are E"),
        (3, "c", "* name limit reached (3 in your network)"),
    ] {
        assert_eq!(ask(index, &format!("/nick {name}")), reply);
    }
    for (index, room, reply) in [
        (0, "a", "* you are in a (1 here)"),
        (1, "b", "* you are in b (1 here)"),
        (
            2,
            "c",
            "* cannot create \"c\": room limit reached (2 in your network)",
        ),
        (2, "a", "* you are in a (2 here)"),
    ] {
        assert_eq!(ask(index, &format!("/join {room}")), reply);
    }
    let dan = V2Peer::open(client(&server, 66, 2));
    dan.send(&[ClientFrame::Subscribe("c".parse().unwrap())]);
    let answer = dan.client.receive();
    let notice = parse_server(&answer).unwrap().next();
    let sentence = b"cannot create \"c\": room limit reached (2 in your network)";
    assert_eq!(
        notice,
        Some(ServerFrame::Notice(NoticeCode::Refused, sentence))
    );
    let other = registered(&server, 67, 1);
    assert_eq!(request(&other, "/nick c"), "* you are c");
    assert_eq!(request(&other, "/join c"), "* you are in c (1 here)");
    // A room is its creator's until it is gone.
    assert_eq!(ask(0, "/join c"), "* you are in c (2 here)");
    let share = "* cannot create \"d\": room limit reached (2 in your network)";
    assert_eq!(ask(3, "/join d"), share);
    assert_eq!(ask(2, "/leave"), "* you are in lobby (4 here)");
    assert_eq!(ask(3, "/join d"), "* you are in d (1 here)");
}

#[test]
fn a_hundred_programs_of_one_address_start_at_the_same_time() {
    for is_v2 in [false, true] {
        let server = start(strict_config(1, V4));
        let programs: Vec<_> = (0..100).map(|_| client(&server, 66, 1)).collect();
        if is_v2 {
            programs.iter().for_each(|program| program.send(&hello()));
            let sessions = programs.iter().map(|program| {
                let session = welcome(&program.receive()).session.get();
                (program, session)
            });
            let sessions: Vec<_> = sessions.collect();
            for (number, (program, session)) in sessions.iter().enumerate() {
                let lines = [format!("/nick n{number}"), format!("/join r{number}")];
                let frames = lines
                    .each_ref()
                    .map(|line| ClientFrame::Command(line.as_bytes()));
                program.send(&datagram(*session, &frames));
            }
            for (number, (program, _)) in sessions.iter().enumerate() {
                let answer = program.receive();
                let notices: Vec<_> = parse_server(&answer).unwrap().filter_map(notice).collect();
                let expected = [
                    format!("you are n{number}"),
                    format!("you are in r{number} (1 here)"),
                ];
                assert_eq!(notices, expected);
            }
        } else {
            programs.iter().for_each(|program| program.send(b"@im@"));
            for program in &programs {
                let challenge = program.receive_text();
                let proof = challenge.strip_prefix("* say ").unwrap();
                program.send(proof.as_bytes());
            }
            for (number, program) in programs.iter().enumerate() {
                program.receive();
                program.send(format!("/nick n{number}").as_bytes());
                program.send(format!("/join r{number}").as_bytes());
            }
            for (number, program) in programs.iter().enumerate() {
                assert_eq!(program.receive_text(), format!("* you are n{number}"));
                let entered = format!("* you are in r{number} (1 here)");
                assert_eq!(program.receive_text(), entered);
            }
        }
        assert_eq!((server.stats().peers, server.stats().rooms), (100, 101));
    }
}

#[test]
fn names_rooms_and_registrations_have_a_rate_per_network() {
    let one = PerSecond(NonZero::new(1));
    let time = Time::default();
    let config = ServerConfig {
        limits: LimitsConfig {
            registrations_per_network: one,
            names_per_network: one,
            rooms_per_network: one,
            ..open_config().limits
        },
        ..open_config()
    };
    let server = TestServer::start_with_clock(config, time.clock());
    let peers: Vec<_> = (0..10).map(|_| registered(&server, 66, 1)).collect();
    let late = client(&server, 66, 2);
    late.send(b"/in");
    let proof = late.receive_text();
    let proof = proof.strip_prefix("* say ").unwrap().as_bytes();
    let dropped = || server.stats().total().dropped(DropReason::NetworkRate);
    for count in 1..=3 {
        late.send(proof);
        wait_until("the drop", || dropped() == count);
    }
    assert!(late.inbox_is_empty(), "it is not told");
    let other = registered(&server, 67, 1);
    for number in 0..10 {
        let reply = request(&peers[0], &format!("/nick n{number}"));
        assert_eq!(reply, format!("* you are n{number}"));
        let reply = request(&peers[0], &format!("/join r{number}"));
        assert_eq!(reply, format!("* you are in r{number} (1 here)"));
    }
    for (line, reply) in [
        (
            "/nick n",
            "* name limit reached (1 per second in your network)",
        ),
        ("/nick N9", "* you are N9"),
        (
            "/join r",
            "* cannot create \"r\": room limit reached (1 per second in your network)",
        ),
        ("/leave", "* you are in lobby (11 here)"),
    ] {
        assert_eq!(request(&peers[0], line), reply);
    }
    assert_eq!(request(&other, "/nick n"), "* you are n");
    assert_eq!(request(&other, "/join r"), "* you are in r (1 here)");
    // A second later one of each is left. The worker reads the time again after the first ping.
    time.set(1_000);
    for _ in 0..2 {
        assert_eq!(request(&other, "/ping 1"), "* pong 1");
    }
    late.send(proof);
    assert!(late.receive_text().starts_with("* you are in lobby"));
    assert_eq!(request(&peers[0], "/nick m"), "* you are m");
    let slower = "* name limit reached (1 per second in your network)";
    assert_eq!(request(&peers[0], "/nick k"), slower);
}

#[test]
fn trusted_peers_have_no_limit_of_their_network() {
    let one = PerSecond(NonZero::new(1));
    let server = start(ServerConfig {
        trust: vec![Trust::Net("127.0.66.0/24".parse().unwrap())],
        max_peers: 100,
        max_names: 100,
        max_rooms: 100,
        limits: LimitsConfig {
            challenges_per_network: one,
            registrations_per_network: one,
            names_per_network: one,
            rooms_per_network: one,
            ..LimitsConfig::default()
        },
        ..open_config()
    });
    let peers: Vec<_> = (0..100).map(|_| registered(&server, 66, 1)).collect();
    for (number, peer) in peers.iter().enumerate() {
        let name = request(peer, &format!("/nick n{number}"));
        assert_eq!(name, format!("* you are n{number}"));
        let room = request(peer, &format!("/join r{number}"));
        assert_eq!(room, format!("* you are in r{number} (1 here)"));
    }
    let other = client(&server, 67, 1);
    assert_eq!(register(&other), "* peer limit reached (100)");
}

#[test]
fn five_hundred_of_a_network_are_asked_for_a_proof_at_once_and_not_five_thousand() {
    let server = start(ServerConfig {
        limits: LimitsConfig::default(),
        ..open_config()
    });
    let total = || server.stats().total();
    let mut sent = 0;
    // Twenty ports of each of 250 addresses.
    let mut send_from_all = || {
        for number in 0..5_000 {
            let port = FIRST_PORT + (number / 250) as u16;
            let own = SocketAddr::from((Ipv4Addr::new(127, 0, 66, 1 + (number % 250) as u8), port));
            Client::connect_from(own, server.local_addr()).send(b"@im@");
            sent += 1;
            if sent % 250 == 0 {
                wait_until("the datagrams", || total().datagrams_in == sent);
            }
        }
    };
    send_from_all();
    // The other half of the burst is for those that come again.
    assert_eq!(total().challenges, 250);
    send_from_all();
    assert_eq!(total().challenges, 500);
    assert_eq!(total().dropped(DropReason::Unproven), 10_000);
    for network in 100..110 {
        registered(&server, network, 1);
    }
}

fn notice(frame: ServerFrame<'_>) -> Option<String> {
    match frame {
        ServerFrame::Notice(_, text) => Some(String::from_utf8(text.to_vec()).unwrap()),
        _ => None,
    }
}

/// Returns the reply to a command.
#[track_caller]
fn request(client: &Client, line: &str) -> String {
    client.send(line.as_bytes());
    client.receive_text()
}

/// Registers a client by a proof. Returns the last reply.
#[track_caller]
fn register(client: &Client) -> String {
    let challenge = request(client, "/in");
    request(client, challenge.strip_prefix("* say ").unwrap())
}

#[track_caller]
fn registered(server: &TestServer, network: usize, host: usize) -> Client {
    let client = client(server, network, host);
    let reply = register(&client);
    assert!(reply.starts_with("* you are in lobby"), "{reply}");
    client
}

/// Returns a client at an address of the network 127.0.`network`.0/24.
fn client(server: &TestServer, network: usize, host: usize) -> Client {
    let ip = Ipv4Addr::new(127, 0, network as u8, host as u8);
    Client::connect_from((ip, 0).into(), server.local_addr())
}

/// Returns the configuration of a chat that trusts nobody, and asks anybody for a proof as often as
/// it takes.
fn open_config() -> ServerConfig {
    ServerConfig {
        proof: Proof::Always,
        challenge_rate: ByteSize::gib(1),
        limits: LimitsConfig {
            challenges_per_network: PerSecond(None),
            ..LimitsConfig::default()
        },
        ..strict_config(1, V4)
    }
}

/// Starts a server whose clock stands still.
fn start(config: ServerConfig) -> TestServer {
    TestServer::start_with_clock(config, Time::default().clock())
}

/// Below the ports that the system chooses.
const FIRST_PORT: u16 = 20_001;
