//! Several servers as one chat, over a real bus.

#![cfg(feature = "cluster")]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::time::Instant;

use bullhorn::client::{ProtocolChoice, Session};
use common::{
    Client, Nats, OutputText, ServerProgram, answer, client_command, connect_with, expect_line,
    expect_members, has_v2_session, names, run_with_input, wait_until,
};
use nix::sys::signal::Signal;

/// Waits until a client receives a line that is `expected`, and skips those before it.
#[track_caller]
fn expect(client: &Client, expected: &str) {
    let mut received = Vec::new();
    while received.last().is_none_or(|last| last != expected) {
        assert!(received.len() < 1_000, "no {expected:?}: {received:#?}");
        received.push(client.receive_text());
    }
}

/// Takes what a client has received. Of a burst, its socket may have lost the rest.
fn drain(client: &Client) -> Vec<Vec<u8>> {
    client.socket().set_nonblocking(true).unwrap();
    let mut buffer = [0; 2_000];
    let texts = std::iter::from_fn(|| {
        let len = client.socket().recv(&mut buffer).ok()?;
        Some(buffer[..len].to_vec())
    });
    let texts = texts.collect();
    client.socket().set_nonblocking(false).unwrap();
    texts
}

/// Asks until the answer is right.
#[track_caller]
fn ask(client: &Client, command: &str, expected: &str) {
    let mut last = String::new();
    wait_until(expected, || {
        client.send(command.as_bytes());
        last = client.receive_text();
        last == expected
    });
}

#[test]
fn texts_reach_the_members_on_all_nodes_once_and_in_order() {
    let Some(nats) = Nats::start(&[]) else { return };
    let nodes = ["one", "two", "three"].map(|id| nats.node(id));
    let stock = nodes.each_ref().map(ServerProgram::registered_client);
    let [v2, other] = [&nodes[0], &nodes[2]].map(|node| {
        let session = connect_with(ProtocolChoice::V2, node.address);
        wait_until("a session", || has_v2_session(&session));
        session
    });
    stock.iter().for_each(|client| expect_members(client, 5));
    let senders = stock.each_ref().map(Client::address);
    for number in 0..50 {
        for client in &stock {
            client.send(format!("text {number}").as_bytes());
        }
    }
    let mut received: Vec<Vec<String>> = Vec::new();
    for client in &stock {
        received.push((0..150).map(|_| client.receive_text()).collect());
    }
    for session in [&v2, &other] {
        let mut lines = Vec::new();
        while lines.len() < 150 {
            let event = session.events().recv_timeout(common::TIMEOUT).unwrap();
            lines.extend(common::line_of(&event));
        }
        received.push(lines);
    }
    for lines in received {
        for sender in senders {
            let prefix = format!("{sender} ");
            let own = lines.iter().filter_map(|line| line.strip_prefix(&prefix));
            let expected = (0..50).map(|number| format!("text {number}"));
            assert!(own.map(str::to_owned).eq(expected), "{sender}: {lines:#?}");
        }
    }
    for client in &stock {
        assert!(client.inbox_is_empty(), "a text came twice");
    }
}

#[test]
fn a_room_is_one_room_on_all_nodes_and_other_rooms_do_not_hear_it() {
    let Some(nats) = Nats::start(&[]) else { return };
    let nodes = nats.two_nodes();
    let [ann, bob] = nodes.each_ref().map(ServerProgram::registered_client);
    let eve = nodes[1].registered_client();
    expect_members(&ann, 3);
    ann.send(b"/join Den");
    expect(&ann, "* you are in Den (1 here)");
    bob.send(b"/presence on");
    expect(&bob, "* presence is on");
    ask(&bob, "/rooms", "* 2 rooms: lobby (2) Den (1)");
    // The name is the same in any case, and a room is called as its creator on this node wrote it.
    bob.send(b"/join dEN");
    expect(&bob, "* you are in dEN (2 here)");
    expect(&bob, &format!("* {} joined (2 here)", bob.address()));
    ask(
        &ann,
        "/who",
        &format!("* 2 in Den: {} {}", ann.address(), bob.address()),
    );
    ann.send(b"to the den");
    bob.expect_text_from(&ann, "to the den");
    ann.expect_text_from(&ann, "to the den");
    eve.send(b"to the lobby");
    eve.expect_text_from(&eve, "to the lobby");
    bob.send(b"back");
    ann.expect_text_from(&bob, "back");
    bob.expect_text_from(&bob, "back");
    ann.send(b"/leave");
    expect(&bob, &format!("* {} left (1 here)", ann.address()));
    assert!(eve.inbox_is_empty());
}

#[test]
fn presence_names_and_direct_messages_span_nodes() {
    let Some(nats) = Nats::start(&[]) else { return };
    let nodes = nats.two_nodes();
    let [ann, bob] = nodes.each_ref().map(ServerProgram::registered_client);
    // By their addresses, as the last peer that was here may not have left yet.
    for (client, other) in [(&ann, &bob), (&bob, &ann)] {
        let expected = format!("* 2 in lobby: {} {}", client.address(), other.address());
        ask(client, "/who", &expected);
    }
    bob.send(b"/presence on");
    expect(&bob, "* presence is on");
    ann.send(b"/nick Ann");
    expect(&ann, "* you are Ann");
    expect(&bob, &format!("* {} is now Ann (2 here)", ann.address()));
    bob.send(b"/nick aNN");
    expect(&bob, "* aNN is taken");
    bob.send(b"/msg ann hi");
    expect(&ann, &format!("* {} to you: hi", bob.address()));
    expect(&bob, "* to ann: hi");
    ann.send(format!("/msg {} ho", bob.address()).as_bytes());
    expect(&bob, "* Ann to you: ho");
    ann.send(b"/msg nobody ho");
    expect(&ann, "* no such peer: nobody");
    ann.send(b"/nick Cat");
    expect(&bob, "* Ann is now Cat (2 here)");
    wait_until("the name is free", || {
        bob.send(b"/nick ann");
        bob.receive_text() == "* you are ann"
    });
    ann.send(b"quit");
    // The notice may begin with the name of bob.
    wait_until("Cat is gone", || {
        bob.receive_text().ends_with("Cat left (1 here)")
    });
    ask(&bob, "/who", "* 1 in lobby: ann");
}

#[test]
fn sessions_claim_names_and_list_members_over_nodes() {
    let Some(nats) = Nats::start(&[]) else { return };
    let nodes = nats.two_nodes();
    let sessions: Vec<Session> = nodes
        .iter()
        .map(|node| connect_with(ProtocolChoice::V2, node.address))
        .collect();
    let [ann, bob] = &sessions[..] else { panic!() };
    for session in [ann, bob] {
        wait_until("a session", || has_v2_session(session));
    }
    let name = |text: &str| text.parse().unwrap();
    answer(ann.nick(name("Ann")));
    wait_until("the name is there", || {
        names(&answer(bob.who())).contains(&"Ann".to_owned())
    });
    let refused = bob.nick(name("ann")).unwrap().wait(common::TIMEOUT);
    assert!(refused.is_err(), "{refused:?}");
    answer(ann.say("hi"));
    expect_line(bob, "Ann hi");
}

#[test]
fn a_piped_line_waits_for_the_name_which_another_node_may_grant() {
    let Some(nats) = Nats::start(&[]) else { return };
    let nodes = nats.two_nodes();
    // About half of the names are decided by each node.
    for number in 0..8 {
        let (node, name) = (&nodes[number % 2], format!("ada-{number}"));
        let mut command = client_command();
        command.args([&node.address.to_string(), "--nick", &name]);
        let output = run_with_input(&mut command, &["hi".to_owned()]);
        assert_eq!(output.text(), format!("* you are {name}\n{name} hi\n"));
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn the_members_of_a_killed_node_time_out_and_of_a_stopped_one_leave() {
    let Some(nats) = Nats::start(&[]) else { return };
    let mut nodes = ["one", "two", "three"].map(|id| nats.node(id));
    let [ann, bob, cat] = nodes.each_ref().map(ServerProgram::registered_client);
    for client in [&ann, &bob, &cat] {
        expect_members(client, 3);
    }
    cat.send(b"/presence on");
    expect(&cat, "* presence is on");
    let start = Instant::now();
    nodes[0].signal(Signal::SIGKILL);
    expect(&cat, &format!("* {} timed out (2 here)", ann.address()));
    println!("gone after {:?}", start.elapsed());
    nodes[1].signal(Signal::SIGTERM);
    nodes[1].expect_success();
    expect(&cat, &format!("* {} left (1 here)", bob.address()));
    // Another process with its name begins without members.
    nodes[0] = nats.node("one");
    let ann = nodes[0].registered_client();
    expect(&cat, &format!("* {} joined (2 here)", ann.address()));
    expect_members(&ann, 2);
    ann.send(b"back");
    cat.expect_text_from(&ann, "back");
}

#[test]
fn without_its_bus_a_node_serves_its_peers_and_joins_again() {
    let Some(mut nats) = Nats::start(&[]) else {
        return;
    };
    let mut nodes = nats.two_nodes();
    let logs = nodes.each_mut().map(ServerProgram::log);
    let [ann, bob] = nodes.each_ref().map(ServerProgram::registered_client);
    let near = nodes[0].registered_client();
    for client in [&ann, &bob, &near] {
        expect_members(client, 3);
    }
    nats.kill();
    for log in &logs {
        log.find("the bus is away");
    }
    ann.send(b"to my node");
    near.expect_text_from(&ann, "to my node");
    ann.expect_text_from(&ann, "to my node");
    let split = "* the cluster is split: only peers of this server are here";
    for client in [&ann, &bob, &near] {
        assert_eq!(client.receive_text(), split);
    }
    expect_members(&ann, 2);
    // Nobody can be asked, so both have it for now.
    for client in [&ann, &bob] {
        client.send(b"/nick ada");
        expect(client, "* you are ada (not confirmed)");
    }
    nats.resume();
    for client in [&ann, &near] {
        assert_eq!(client.receive_text(), "* the cluster is whole again");
    }
    // The later claim is lost.
    let mut lines = [bob.receive_text(), bob.receive_text()];
    lines.sort();
    let lost = format!(
        "* ada belongs to a peer of another server: you are {}",
        bob.address()
    );
    assert_eq!(lines, [lost, "* the cluster is whole again".to_owned()]);
    expect_members(&ann, 3);
    ask(&near, "/msg ada hi", "* to ada: hi");
    expect(&ann, &format!("* {} to you: hi", near.address()));
    bob.send(b"whole");
    ann.expect_text_from(&bob, "whole");
    assert!(near.receive_text().ends_with(" whole"));
}

#[test]
fn a_stopped_bus_makes_nobody_wait() {
    let Some(nats) = Nats::start(&[]) else { return };
    let nodes = nats.two_nodes();
    let [ann, bob] = nodes.each_ref().map(ServerProgram::registered_client);
    expect_members(&ann, 2);
    expect_members(&bob, 2);
    nats.signal(Signal::SIGSTOP);
    // More than the connection holds.
    for _ in 0..2_000 {
        ann.send(&[b'x'; 1_000]);
        // On a busy machine it lasts so long that the cluster is split, which ann is told.
        while !ann.receive_text().ends_with('x') {}
    }
    nats.signal(Signal::SIGCONT);
    wait_until("texts reach the other node again", || {
        ann.send(b"again");
        ann.receive();
        drain(&bob).iter().any(|text| text.ends_with(b" again"))
    });
}

#[test]
fn of_two_servers_with_the_same_name_the_older_stays() {
    let Some(nats) = Nats::start(&[]) else { return };
    let [mut old, other] = nats.two_nodes();
    let mut young = nats.node("one");
    let text =
        "cluster: another server has the name one in this cluster: give each its own --node-id";
    assert!(old.log().find(text).ends_with("(this one stays)"));
    assert!(
        young
            .log()
            .find(text)
            .ends_with("(this one does not take part)")
    );
    let [ann, bob] = [&old, &other].map(ServerProgram::registered_client);
    expect_members(&ann, 2);
    expect_members(&bob, 2);
    // It takes part when the older one has gone.
    old.signal(Signal::SIGTERM);
    old.expect_success();
    let cat = young.registered_client();
    expect_members(&cat, 2);
}

#[test]
fn clusters_with_other_names_are_other_chats() {
    let Some(nats) = Nats::start(&[]) else { return };
    let nodes = nats.two_nodes();
    let url = nats.url();
    let arguments = [
        "--bind",
        "127.0.0.1:0",
        "--no-pin",
        "--cluster",
        &url,
        "--cluster-name",
        "Test",
    ];
    let stranger = ServerProgram::start_command(common::server_command(&arguments));
    let [ann, bob] = nodes.each_ref().map(ServerProgram::registered_client);
    let eve = stranger.registered_client();
    expect_members(&ann, 2);
    expect_members(&bob, 2);
    expect_members(&eve, 1);
    ann.send(b"hi");
    ann.expect_text_from(&ann, "hi");
    bob.expect_text_from(&ann, "hi");
    eve.send(b"/ping still alone");
    assert_eq!(eve.receive_text(), "* pong still alone");
}
