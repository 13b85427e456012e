//! The operator lists, removes and mutes peers.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::time::Duration;

use bullhorn::moderation::{MAX_LISTED_PEERS, ModerationError, Page, PeerInfo};
use bullhorn::stats::DropReason;
use bullhorn::wire::Reply;
use bullhorn::wire::v2::{ClientFrame, Hello, Move, ServerFrame, SessionId, SessionOptions};
use common::v2_peer::{V2Peer, datagram, hello};
use common::{
    Client, HOUR, Moderated, V4, expect_frames, notice, proved, request, strict_config, wait_until,
};

#[test]
fn peers_are_listed_by_a_part_of_their_address_name_or_room() {
    let host = Moderated::start();
    let ada = host.named("Ada");
    let bob = V2Peer::open(host.server.unregistered_client());
    bob.send(&[ClientFrame::Command(b"/join den")]);
    bob.client.receive();
    host.moderation().mute("ada", HOUR).unwrap();
    host.time.set(3_999);
    bob.send(&[ClientFrame::Ping(b"1")]);
    bob.client.receive();

    let of_ada = PeerInfo {
        address: ada.address(),
        name: Some("Ada".parse().unwrap()),
        room: "lobby".parse().unwrap(),
        version: 1,
        is_trusted: true,
        is_muted: true,
        silent_s: 3,
    };
    let of_bob = PeerInfo {
        address: bob.client.address(),
        name: None,
        room: "den".parse().unwrap(),
        version: 2,
        is_trusted: true,
        is_muted: false,
        silent_s: 0,
    };
    let (port, both) = (bob.client.address().port().to_string(), "127.0.0.1");
    for (part, expected) in [
        ("aDA", vec![&of_ada]),
        ("LOBB", vec![&of_ada]),
        ("den", vec![&of_bob]),
        (&port, vec![&of_bob]),
        ("eve", vec![]),
        (both, vec![&of_ada, &of_bob]),
        ("", vec![&of_ada, &of_bob]),
    ] {
        let list = host.moderation().peers(part, Page::FIRST);
        let mut expected: Vec<_> = expected.into_iter().cloned().collect();
        expected.sort_by_key(|peer| peer.address);
        assert_eq!(
            (list.total, list.peers),
            (expected.len(), expected),
            "{part}"
        );
    }
}

#[test]
fn peers_are_listed_a_page_at_a_time_and_all_are_counted() {
    let host = Moderated::start();
    let clients: Vec<_> = (0..103).map(|_| host.server.client()).collect();
    let list = host.moderation().peers("127.0.0.1", Page::FIRST);
    assert_eq!((list.peers.len(), list.total), (MAX_LISTED_PEERS, 103));
    let mut addresses: Vec<_> = clients.iter().map(Client::address).collect();
    addresses.sort();
    for (first, max) in [(0, 100), (0, 103), (50, 3), (100, 100), (103, 10), (500, 1)] {
        let list = host.moderation().peers("", Page::new(first, max).unwrap());
        let listed: Vec<_> = list.peers.iter().map(|peer| peer.address).collect();
        let page = addresses.iter().copied().skip(first).take(max);
        assert_eq!((listed, list.total), (page.collect(), 103), "{first}");
    }
}

#[test]
fn rooms_are_listed_by_their_members_a_page_at_a_time() {
    let host = Moderated::start();
    let clients: [Client; 4] = host.server.clients();
    for (client, room) in clients.iter().zip(["Den", "garden", "chess", "garden"]) {
        client.send(format!("/join {room}").as_bytes());
        client.receive_text();
    }
    let bob = V2Peer::open(host.server.unregistered_client());
    bob.send(&[ClientFrame::Subscribe("chess".parse().unwrap())]);
    bob.client.receive();
    let list = |part: &str, first, max| {
        let list = host
            .moderation()
            .rooms(part, Page::new(first, max).unwrap());
        let rooms = list.rooms.into_iter();
        let rooms = rooms.map(|room| format!("{}={}+{}", room.name, room.v1, room.v2));
        (rooms.collect::<Vec<_>>(), list.total)
    };
    let all = ["chess=1+1", "garden=2+0", "Den=1+0", "lobby=0+1"];
    assert_eq!(list("", 0, 100), (all.map(str::to_owned).to_vec(), 4));
    assert_eq!(
        list("", 1, 2),
        (all[1..3].iter().map(ToString::to_string).collect(), 4)
    );
    assert_eq!(
        list("DEN", 0, 100),
        (all[1..3].iter().map(ToString::to_string).collect(), 2)
    );
    assert_eq!(list("x", 0, 100), (vec![], 0));
    let rooms = host.moderation().rooms("chess", Page::FIRST).rooms;
    assert_eq!(rooms[0].members, 2);
}

#[test]
fn strangers_are_not_trusted() {
    let host = Moderated::start_with(strict_config(1, V4));
    let _ann = proved(host.server.unregistered_client());
    assert!(!host.moderation().peers("", Page::FIRST).peers[0].is_trusted);
}

#[test]
fn a_v1_peer_is_removed_and_its_address_is_refused_for_half_a_minute() {
    let host = Moderated::start();
    let (ada, bob) = (host.named("ada"), host.named("bob"));
    request(&bob, "/presence on", "* presence is on");
    let kicked = host.moderation().kick("ADA").unwrap();
    assert_eq!(
        (kicked.address, kicked.name),
        (ada.address(), "ada".parse().ok())
    );
    assert_eq!(ada.receive_text(), "* removed by the operator");
    assert_eq!(bob.receive_text(), "* ada left (1 here)");
    request(&bob, "/nick ada", "* you are ada");
    assert_eq!(host.server.stats().peers, 1);

    host.expect_drop(&ada, b"@im@", DropReason::Removed);
    host.time.set(30_000);
    host.expect_drop(&ada, b"hi", DropReason::Removed);
    host.expect_drop(&ada, &hello(), DropReason::Removed);
    // Others of the same host may come.
    host.server.client();
    host.time.set(31_000);
    request(&ada, "/ping 1", "* pong 1");
    assert_eq!(
        host.moderation().kick("eve"),
        Err(ModerationError::NoSuchPeer("eve".parse().unwrap()))
    );
    assert_eq!(
        host.moderation().kick("a b"),
        Err(ModerationError::NotAPeer("a b".into()))
    );
}

#[test]
fn a_session_is_told_that_it_was_removed_and_ends() {
    let host = Moderated::start();
    let ann = V2Peer::open(host.server.unregistered_client());
    ann.send(&[ClientFrame::Command(b"/nick ann")]);
    ann.client.receive();
    host.moderation()
        .kick(&ann.client.address().to_string())
        .unwrap();
    let mut text = Vec::new();
    let removed = notice(&Reply::Removed, &mut text);
    expect_frames(&ann, &[removed, ServerFrame::Goodbye]);
    let heartbeat = datagram(ann.number, &[ClientFrame::Heartbeat(None)]);
    host.expect_drop(&ann.client, &heartbeat, DropReason::Removed);
    host.expect_drop(&ann.client, &hello(), DropReason::Removed);

    // It may come from another port, but its session is gone.
    let again = V2Peer::open(host.server.unregistered_client());
    again.send(&[ClientFrame::Move(former(&ann)), ClientFrame::Ping(b"1")]);
    again.client.receive();
    let list = host.moderation().peers("", Page::FIRST);
    assert_eq!(list.peers.len(), 1);
    assert_eq!(list.peers[0].name, None);
}

#[test]
fn a_session_of_a_banned_network_is_told_and_ends() {
    let host = Moderated::start();
    let ann = V2Peer::open(host.server.unregistered_client());
    let net = "127.0.0.0/8".parse().unwrap();
    assert_eq!(host.moderation().ban(net, None).unwrap().removed, 1);
    let mut text = Vec::new();
    let removed = notice(&Reply::Removed, &mut text);
    expect_frames(&ann, &[removed, ServerFrame::Goodbye]);
}

#[test]
fn rooms_are_listed_by_their_members_and_then_by_their_names() {
    let host = Moderated::start();
    let mut peers = Vec::new();
    for (name, room, reply) in [
        ("ada", "zeta", "* you are in zeta (1 here)"),
        ("bob", "zeta", "* you are in zeta (2 here)"),
        ("fay", "gamma", "* you are in gamma (1 here)"),
        ("eve", "Delta", "* you are in Delta (1 here)"),
        ("gus", "epsilon", "* you are in epsilon (1 here)"),
        ("cem", "beta", "* you are in beta (1 here)"),
        ("dan", "Alpha", "* you are in Alpha (1 here)"),
    ] {
        let peer = host.named(name);
        request(&peer, &format!("/join {room}"), reply);
        peers.push(peer);
    }
    let list = host.moderation().rooms("", Page::FIRST);
    let rooms = list.rooms.iter();
    let rooms: Vec<_> = rooms
        .map(|room| (room.name.to_string(), room.members))
        .collect();
    let expected = [
        ("zeta", 2),
        ("Alpha", 1),
        ("beta", 1),
        ("Delta", 1),
        ("epsilon", 1),
        ("gamma", 1),
        ("lobby", 0),
    ];
    assert_eq!(
        rooms,
        expected.map(|(name, count)| (name.to_owned(), count))
    );
    assert_eq!(list.total, 7);
}

fn former(peer: &V2Peer) -> Move {
    Move {
        session: SessionId::new(peer.number).unwrap(),
        address: peer.client.address(),
    }
}

#[test]
fn a_muted_peer_is_told_once_and_only_its_messages_are_dropped() {
    let host = Moderated::start();
    let (ada, bob) = (host.named("ada"), host.named("bob"));
    host.moderation().mute("ada", MINUTE).unwrap();
    assert_eq!(ada.receive_text(), "* muted by the operator for 60 s");
    host.expect_muted(&ada, b"hi");
    host.expect_muted(&ada, b"/msg bob hi");
    request(&ada, "/nick eve", "* you are eve");
    request(&ada, "/join den", "* you are in den (1 here)");
    host.expect_muted(&ada, b"hi den");
    // It receives as before.
    request(&bob, "/msg eve hi", "* to eve: hi");
    assert_eq!(ada.receive_text(), "* bob to you: hi");

    host.time.set(60_000);
    ada.send(b"hi again");
    assert_eq!(ada.receive_text(), "eve hi again");
    assert!(bob.inbox_is_empty());
    assert_eq!(
        host.moderation().unmute("eve"),
        Err(ModerationError::NotMuted("eve".parse().unwrap()))
    );
}

#[test]
fn a_peer_that_leaves_and_comes_back_is_still_muted() {
    let host = Moderated::start();
    let ada = host.server.client();
    let address = ada.address().to_string();
    host.moderation().mute(&address, MINUTE).unwrap();
    ada.receive_text();
    ada.send(b"quit");
    host.expect_muted(&ada, b"hi");
    ada.send(b"quit");
    wait_until("it has left", || host.server.stats().peers == 0);
    // The address is enough.
    host.moderation().unmute(&address).unwrap();
    ada.send(b"hi");
    ada.expect_text_from(&ada, "hi");
}

#[test]
fn a_session_stays_muted_when_its_options_or_its_address_change() {
    let host = Moderated::start();
    let ann = V2Peer::open(host.server.unregistered_client());
    let mute = || {
        host.moderation()
            .mute(&ann.client.address().to_string(), MINUTE)
    };
    mute().unwrap();
    let mut text = Vec::new();
    expect_frames(&ann, &[notice(&Reply::Muted(60), &mut text)]);
    let say = |peer: &V2Peer| datagram(peer.number, &[ClientFrame::Say(b"hi")]);
    host.expect_muted(&ann.client, &say(&ann));
    let options = Hello {
        options: SessionOptions {
            echo: false,
            ..Default::default()
        },
        ..Default::default()
    };
    ann.send(&[ClientFrame::Hello(options)]);
    ann.client.receive();
    host.expect_muted(&ann.client, &say(&ann));

    let moved = V2Peer::open(host.server.unregistered_client());
    moved.send(&[ClientFrame::Move(former(&ann))]);
    moved.client.receive();
    host.expect_muted(&moved.client, &say(&moved));
    // It is muted at both addresses, and cannot take over a session that is not.
    let other = V2Peer::open(host.server.unregistered_client());
    moved.send(&[ClientFrame::Move(former(&other))]);
    moved.client.receive();
    host.expect_muted(&moved.client, &say(&moved));
    moved.send(&[ClientFrame::Bye]);
    wait_until("it has left", || host.server.stats().peers == 0);
    for client in [&ann.client, &moved.client] {
        host.expect_muted(client, b"back");
    }
}

#[test]
fn an_unmuted_peer_is_told_and_heard() {
    let host = Moderated::start();
    let ada = host.named("ada");
    host.moderation().mute("ada", MINUTE).unwrap();
    ada.receive_text();
    host.expect_muted(&ada, b"hi");
    let unmuted = host.moderation().unmute("ada").unwrap();
    assert_eq!(unmuted.to_string(), format!("ada at {}", ada.address()));
    assert_eq!(ada.receive_text(), "* not muted any more");
    ada.send(b"hi");
    assert_eq!(ada.receive_text(), "ada hi");
    for time in [Duration::ZERO, Duration::MAX] {
        assert_eq!(
            host.moderation().mute("ada", time),
            Err(ModerationError::Time)
        );
    }
}

const MINUTE: Duration = Duration::from_secs(60);
