//! Peers that are not trusted, and the limits of what they may send.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use bullhorn::stats::DropReason;
use bullhorn::wire::v2::{ClientFrame, NoticeCode, ServerFrame, parse_server};

use common::v2_peer::{V2Peer, hello};
use common::{
    Client, Strangers, TestServer, V4, proved, strict_config, unpinned_config, wait_until,
};

#[test]
fn a_flooder_is_told_once_and_others_hear_a_burst_of_it() {
    Strangers::in_both_modes(|strangers| {
        let server = strangers.start();
        let (flooder, other) = (strangers.proved(&server), strangers.proved(&server));
        for _ in 0..300 {
            flooder.send(b"flood");
        }
        wait_until("the flood", || {
            let total = server.stats().total();
            total.texts + total.dropped(DropReason::TextLimit) == 300
        });
        other.send(b"quiet");
        let mut texts = 0;
        while !other.receive_text().ends_with(" quiet") {
            texts += 1;
        }
        // A burst, and what the time of the test allows.
        assert_eq!(texts, server.stats().total().texts - 1);
        assert!((60..200).contains(&texts), "{texts}");
        let mut told = 0;
        loop {
            let line = flooder.receive_text();
            told += u32::from(line == "* at most 20 texts per second");
            if line.ends_with(" quiet") {
                break;
            }
        }
        assert_eq!(told, 1);
        assert_eq!(server.stats().peers, 2);
    });
}

#[test]
fn a_session_is_told_in_a_notice_and_a_datagram_full_of_frames_is_cut() {
    let server = TestServer::start(strict_config(1, V4));
    let peer = V2Peer::open(Client::connect(server.local_addr()));
    peer.send(&[ClientFrame::Say(b""); 470]);
    let sentence = b"at most 20 texts per second";
    let mut is_told = false;
    while !is_told {
        let datagram = peer.client.receive();
        is_told = parse_server(&datagram)
            .unwrap()
            .any(|frame| frame == ServerFrame::Notice(NoticeCode::Refused, sentence));
    }
    let total = server.stats().total();
    assert_eq!((total.messages, total.frames_limited), (60, 1));
}

#[test]
fn a_trusted_peer_has_no_budget() {
    let server = TestServer::start(unpinned_config(1, V4));
    let peer = server.client();
    for number in 0..500 {
        peer.send(&[b'x'; 1_000]);
        assert!(peer.receive().len() > 1_000, "text {number}");
    }
    for _ in 0..500 {
        peer.send(b"/who");
        assert!(peer.receive_text().starts_with("* 1 in lobby"));
    }
    assert_eq!(server.stats().total().dropped_total(), 0);
}

/// As they are behind a NAT: one address, and a port for each.
#[test]
fn a_hundred_programs_of_one_address_are_not_limited() {
    let server = TestServer::start(strict_config(2, V4));
    let programs: Vec<Client> = (0..100)
        .map(|_| proved(Client::connect(server.local_addr())))
        .collect();
    for (number, program) in programs.iter().enumerate() {
        program.send(format!("/nick n{number}").as_bytes());
        program.send(format!("/join room-{}", number / 2).as_bytes());
        for _ in 0..2 {
            program.receive();
        }
    }
    for round in 0..45 {
        for (number, program) in programs.iter().enumerate() {
            program.send(format!("{round}").as_bytes());
            for receiver in [number, number ^ 1] {
                let line = programs[receiver].receive_text();
                assert_eq!(line, format!("n{number} {round}"));
            }
        }
    }
    let total = server.stats().total();
    let dropped = total.dropped_total() - total.dropped(DropReason::Unproven);
    assert_eq!((dropped, total.messages_shed), (0, 0));
}

#[test]
fn a_flood_of_hellos_is_answered_a_hundred_times_per_second() {
    let server = TestServer::start(strict_config(1, V4));
    let flooder = Client::connect(server.local_addr());
    for _ in 0..1_000 {
        flooder.send(&hello());
    }
    wait_until("the flood", || {
        let total = server.stats().total();
        total.frames + total.dropped(DropReason::HelloLimit) == 1_000
    });
    let total = server.stats().total();
    // A burst, and what the time of the test allows.
    assert!((200..900).contains(&total.frames), "{}", total.frames);
    V2Peer::open(Client::connect(server.local_addr()));
    let server = TestServer::start(unpinned_config(1, V4));
    let trusted = server.unregistered_client();
    for _ in 0..1_000 {
        trusted.send(&hello());
        trusted.receive();
    }
}
