//! Clients whose server is gone, and another server in its place.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use bullhorn::client::{
    Changes, DownReason, Event, PresenceEvent, ProtocolChoice, ProtocolVersion, RequestError,
    Session, SessionConfig,
};
use bullhorn::stats::DropReason;
use bullhorn::wire::v2::{BundleSize, MIN_HELLO_BYTES};
use common::v2_peer::{V2Peer, hello, hello_in};
use common::{
    ClientProgram, Moderated, ServerProgram, TIMEOUT, TestServer, V4, V4_UNSHARED, V6, answer,
    client_command, connection_refused, expect_line, line_of, next_event, quick_config, request,
    run_with_input, server_command, undelivered, unpinned_config, wait_until,
};
use nix::sys::signal::Signal;

#[test]
fn a_welcome_names_other_servers_with_and_without_a_session() {
    let server = TestServer::start(unpinned_config(1, V4));
    let peer = V2Peer::open(server.unregistered_client());
    let newcomer = server.unregistered_client();
    let named = |client: &common::Client, datagram: Vec<u8>| {
        client.send(&datagram);
        let answer = client.receive();
        assert!(answer.len() <= MIN_HELLO_BYTES, "{}", answer.len());
        let servers = common::v2_peer::welcome(&answer).servers.iter();
        servers.map(|server| server.to_string()).collect::<Vec<_>>()
    };
    let all = || {
        [
            named(&newcomer, hello()),
            named(&peer.client, hello()),
            named(&peer.client, hello_in(peer.number, BundleSize::Full)),
        ]
    };
    assert_eq!(all(), [[""; 0]; 3]);
    let addresses = ["10.0.0.2:9999", "[fe80::2%3]:1", "[fe80::3%3]:65535"];
    let addresses = addresses.map(|address| address.parse().unwrap());
    server.handle().set_other_servers(&addresses);
    let addresses = addresses.map(|address: SocketAddr| address.to_string());
    assert_eq!(all(), [(); 3].map(|()| addresses.to_vec()));
    server.handle().set_other_servers(&[]);
    assert_eq!(all(), [[""; 0]; 3]);
}

#[test]
fn a_server_that_stops_leads_to_one_that_it_has_named() {
    let [first, second] = servers();
    first.handle().set_other_servers(&[second.local_addr()]);
    let mut config = ada_in_den(first.local_addr());
    config.protocol = ProtocolChoice::V2;
    let session = Session::connect(config).unwrap();
    answer(session.presence(true));
    answer(session.subscribe("hall".parse().unwrap()));
    answer(session.say("before"));
    let bob = member_of_den(&second);
    skip_to(&session, &Event::BundleSize(0), Duration::ZERO);
    first.stop();

    assert_eq!(next_event(&session), Event::Down(DownReason::Goodbye));
    expect_change(&session, second.local_addr(), ProtocolVersion::V2);
    let events = skip_to(&session, &room("den"), TIMEOUT);
    let is_again = |event: &Event| matches!(event, Event::Message(_) | Event::Private(_));
    assert!(!events.iter().any(is_again), "{events:?}");
    expect_line(&session, "* presence is on");
    wait_until("the name", || session.name() == "ada".parse().ok());
    answer(session.say_to("hall".parse().unwrap(), b"in hall"));
    answer(session.say("after"));
    assert_eq!(bob.receive_text(), "ada after");
    bob.send(b"hi");
    assert_eq!(bob.receive_text(), format!("{} hi", bob.address()));
    bob.send(b"quit");
    let lines = ["hall in hall", "den after", "den hi"];
    let mut messages = Vec::new();
    loop {
        match next_event(&session) {
            Event::Message(message) => {
                messages.push(format!("{} {}", message.room.unwrap(), message.text()));
            }
            Event::Presence { changes, .. } => match changes {
                Changes::Events(events) if matches!(events[..], [.., PresenceEvent::Left(_)]) => {
                    break;
                }
                _ => {}
            },
            _ => {}
        }
    }
    assert_eq!(messages, lines, "each of them once");
    let counts = session.stats().messages;
    assert_eq!((counts.lost, counts.repeated), (0, 0));
}

#[test]
fn a_server_that_is_killed_leads_to_one_that_was_given() {
    for (protocol, version) in [
        (ProtocolChoice::V1, ProtocolVersion::V1),
        (ProtocolChoice::V2, ProtocolVersion::V2),
        (ProtocolChoice::Auto, ProtocolVersion::V2),
    ] {
        let mut first = server_to_kill();
        let second = TestServer::start(unpinned_config(2, V4));
        let mut config = ada_in_den(first.address);
        config.protocol = protocol;
        // A heartbeat would come too late.
        config.heartbeat_interval = 3 * TIMEOUT;
        config.other_servers = vec![second.local_addr().into()];
        let session = Session::connect(config).unwrap();
        let bob = member_of_den(&second);
        wait_until("the room", || session.room() == "den".parse().ok());
        wait_until("the name", || session.name() == "ada".parse().ok());
        skip_to(&session, &Event::BundleSize(0), Duration::ZERO);
        first.signal(Signal::SIGKILL);
        first.exit_status();
        assert_eq!(next_event(&session), Event::Down(connection_refused()));
        expect_change(&session, second.local_addr(), version);
        wait_until("the room", || session.room() == "den".parse().ok());
        wait_until("the name", || session.name() == "ada".parse().ok());
        answer(session.say("here"));
        assert_eq!(bob.receive_text(), "ada here");
        assert!(bob.inbox_is_empty());
    }
}

#[test]
fn a_text_that_the_lost_server_may_have_delivered_is_not_said_again() {
    let mut first = server_to_kill();
    let second = TestServer::start(unpinned_config(2, V4));
    let mut config = ada_in_den(first.address);
    config.other_servers = vec![second.local_addr().into()];
    config.repeat_limited = true;
    let session = Session::connect(config).unwrap();
    let bob = member_of_den(&second);
    answer(session.say("one"));
    // It does not handle what comes now.
    first.signal(Signal::SIGSTOP);
    let two = session.say("two").unwrap();
    first.signal(Signal::SIGKILL);
    first.exit_status();
    let events = skip_to(&session, &undelivered("two", true), TIMEOUT);
    let down = Event::Down(connection_refused());
    assert_eq!(events.iter().filter(|event| **event == down).count(), 1);
    let error = RequestError::Down(connection_refused());
    assert_eq!(two.wait(TIMEOUT), Err(error));
    expect_change(&session, second.local_addr(), ProtocolVersion::V2);
    answer(session.say("three"));
    assert_eq!(bob.receive_text(), "ada three");
    assert!(bob.inbox_is_empty());
}

#[test]
fn the_first_server_is_tried_again_after_the_others() {
    let [first, second] = servers();
    let address = first.local_addr();
    let mut config = ada_in_den(second.local_addr());
    config.other_servers = vec![address.into()];
    config.protocol = ProtocolChoice::V2;
    let other = second.local_addr();
    second.stop();
    // It is not there at the start, either.
    let session = Session::connect(config).unwrap();
    expect_change(&session, address, ProtocolVersion::V2);
    skip_to(&session, &room("den"), TIMEOUT);
    let second = TestServer::restart(unpinned_config(2, &other.to_string()));
    first.stop();
    skip_to(&session, &Event::Down(DownReason::Goodbye), TIMEOUT);
    expect_change(&session, other, ProtocolVersion::V2);
    skip_to(&session, &room("den"), TIMEOUT);
    let first = TestServer::restart(unpinned_config(2, &address.to_string()));
    second.stop();
    skip_to(&session, &Event::Down(DownReason::Goodbye), TIMEOUT);
    expect_change(&session, address, ProtocolVersion::V2);
    wait_until("one peer", || first.stats().peers == 1);
}

#[test]
fn a_name_that_another_peer_still_has_is_taken_later_without_a_word() {
    for (protocol, datagrams) in [(ProtocolChoice::V1, 4), (ProtocolChoice::V2, 8)] {
        let mut first = server_to_kill();
        let second = TestServer::start(unpinned_config(2, V4));
        let mut config = ada_in_den(first.address);
        config.protocol = protocol;
        config.other_servers = vec![second.local_addr().into()];
        let session = Session::connect(config).unwrap();
        wait_until("the name", || session.name() == "ada".parse().ok());
        let ghost = second.client();
        request(&ghost, "/nick ada", "* you are ada");
        let received = || {
            let total = second.stats().total();
            total.commands + total.frames
        };
        let before = received();
        first.signal(Signal::SIGKILL);
        first.exit_status();
        // The name, the room, and the name twice again. In version 2 some more come at the start.
        wait_until("refusals", || received() >= before + datagrams);
        assert_eq!(session.name(), None);
        ghost.send(b"/nick eve");
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line| line != "* you are ada") {
            let after = session.events().recv_timeout(TIMEOUT).unwrap();
            if matches!(after, Event::ServerChanged(_)) {
                lines.clear();
                lines.push("changed".to_owned());
            }
            let line = line_of(&after).filter(|_| !lines.is_empty());
            lines.extend(line);
        }
        let refused = lines.iter().filter(|line| line.contains("taken"));
        assert_eq!(refused.count(), 0, "{lines:?}");
    }
}

#[test]
fn whom_the_operator_has_removed_does_not_go_to_another_server() {
    let host = Moderated::start();
    let second = TestServer::start(unpinned_config(1, V4));
    let handle = host.server.handle();
    handle.set_other_servers(&[second.local_addr()]);
    let mut config = quick_config(host.server.local_addr());
    config.protocol = ProtocolChoice::V2;
    config.nick = "ada".parse().ok();
    let session = Session::connect(config).unwrap();
    wait_until("the name", || session.name() == "ada".parse().ok());
    host.moderation().kick("ada").unwrap();
    skip_to(&session, &Event::Down(DownReason::Goodbye), TIMEOUT);
    let refused = || host.total().dropped(DropReason::Removed);
    wait_until("some attempts", || refused() >= 4);
    assert_eq!(second.stats().total().frames, 0);
}

#[test]
fn the_program_says_in_one_line_that_it_is_on_another_server() {
    let mut first = server_to_kill();
    let second = TestServer::start(unpinned_config(1, V4));
    let (first_address, second_address) = (first.address, second.local_addr());
    let start = |options: &[&str]| {
        let mut command = client_command();
        command.args(options).args(["--nick", "ada"]);
        command.args([first_address, second_address].map(|address| address.to_string()));
        ClientProgram::spawn(&mut command)
    };
    let mut people = start(&[]);
    people.expect_output("* you are ada\n");
    let mut programs = client_command();
    programs.args(["--json", "--room", "den"]);
    programs.env(
        "BULLHORN_SERVER",
        format!("{first_address},{second_address}"),
    );
    let mut programs = ClientProgram::spawn(&mut programs);
    programs.expect_output("you are in den (1 here)");
    first.signal(Signal::SIGKILL);
    first.exit_status();
    let between = people.expect_output("* you are ada\n");
    assert_eq!(
        between,
        format!(
            "* {first_address} is down: nothing listens there\n\
             * now on {second_address}; messages in between may be lost\n"
        )
    );
    programs.expect_output(&format!(
        "{{\"address\":\"{second_address}\",\"event\":\"server\"}}\n"
    ));
    programs.expect_output("you are in den (1 here)");
}

#[test]
fn a_greeting_has_one_server() {
    let mut command = client_command();
    command.args(["127.0.0.1:1", "127.0.0.1:2", "--greet", "hello"]);
    let output = run_with_input(&mut command, &[]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("--greet has one server"), "{errors}");
}

#[test]
fn a_further_server_without_an_address_is_named_and_left_out() {
    let server = TestServer::start(unpinned_config(1, V4));
    let mut command = client_command();
    command.args([&server.local_addr().to_string(), "nowhere.invalid"]);
    let output = run_with_input(&mut command, &["hi".to_owned()]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let expected = "client: cannot resolve nowhere.invalid:9999: ";
    assert!(errors.starts_with(expected), "{errors}");
}

#[test]
fn servers_of_both_address_families_may_be_given() {
    let mut first = server_to_kill();
    let second = TestServer::start(unpinned_config(1, V6));
    let mut config = ada_in_den(first.address);
    config.other_servers = vec![second.local_addr().into()];
    let session = Session::connect(config).unwrap();
    skip_to(&session, &room("den"), TIMEOUT);
    first.signal(Signal::SIGKILL);
    first.exit_status();
    skip_to(&session, &Event::Down(connection_refused()), TIMEOUT);
    expect_change(&session, second.local_addr(), ProtocolVersion::V2);
}

/// Returns two servers, whose ports stay free when they have stopped.
fn servers() -> [TestServer; 2] {
    [V4_UNSHARED; 2].map(|address| TestServer::start(unpinned_config(2, address)))
}

fn server_to_kill() -> ServerProgram {
    let arguments = ["--bind", V4_UNSHARED, "--timeout", "10m"];
    ServerProgram::start_command(server_command(&arguments))
}

fn ada_in_den(server: SocketAddr) -> SessionConfig {
    let mut config = SessionConfig::new(server.into());
    config.nick = "ada".parse().ok();
    config.room = "den".parse().ok();
    // A fallback would hide a failure of version 2.
    config.greeting_timeout = TIMEOUT / 4;
    config
}

fn member_of_den(server: &TestServer) -> common::Client {
    let client = server.client();
    request(&client, "/join den", "* you are in den (1 here)");
    client
}

fn room(name: &str) -> Event {
    Event::Room(name.parse().unwrap())
}

#[track_caller]
fn expect_change(session: &Session, server: SocketAddr, version: ProtocolVersion) {
    assert_eq!(next_event(session), Event::ServerChanged(server));
    assert_eq!(next_event(session), Event::Up(version));
}

/// Takes events up to this one, and returns those before it. Without a `timeout`, it takes those that
/// are there.
#[track_caller]
fn skip_to(session: &Session, last: &Event, timeout: Duration) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        match session.events().recv_timeout(timeout) {
            Ok(event) if event == *last => return events,
            Ok(event) => events.push(event),
            Err(_) if timeout.is_zero() => return events,
            Err(error) => panic!("no {last:?}: {error}; events: {events:#?}"),
        }
    }
}
