//! Protocol v2 with a server, to the byte: its replies, and the datagrams that it drops
//! without an effect on the session.

mod common;

use bullhorn::stats::DropReason;
use bullhorn::wire::MAX_TOKEN_BYTES;
use bullhorn::wire::v2::{ClientFrame, MAX_PAYLOAD_BYTES, ServerFrame, parse_server};
use common::v2_peer::{V2Peer, datagram, hello, welcome};
use common::{Client, TestServer, Time, V4, V6, config, wait_until, with_each_server};

#[test]
fn malformed_datagrams_are_dropped_without_an_effect_on_the_session() {
    for (address, workers) in [(V4, 1), (V6, 2)] {
        let server = TestServer::start(config(workers, &[address]));
        let session = V2Peer::open(server.unregistered_client());
        let own = session.number;
        let whole = datagram(own, &[ClientFrame::Say(b"never to be heard")]);
        // The header alone is a complete datagram as well.
        let cuts = (1..whole.len()).filter(|cut| *cut != HEADER_BYTES);
        let mut malformed: Vec<Vec<u8>> = cuts.map(|cut| whole[..cut].to_vec()).collect();
        for (kind, claimed, body) in [
            (HELLO, 7, &b"\0\0\0\0\0\0\0"[..]),
            // Half an option.
            (HELLO, 9, b"\0\0\0\0\0\0\0\0\x01"),
            (HEARTBEAT, 1, b"\0"),
            (BYE, 1, b"\0"),
            (SAY, 3, b"hi"),
            (SAY, u16::MAX, b"hi"),
            (SAY, TOO_LONG as u16, &[b'x'; TOO_LONG]),
            (
                PING,
                MAX_TOKEN_BYTES as u16 + 1,
                &[b'x'; MAX_TOKEN_BYTES + 1],
            ),
            (COMMAND, 1, b""),
            (SUBSCRIBE, 3, b"a b"),
            (UNSUBSCRIBE, 0, b""),
            (SAY_TO, 3, b"\0\0\0"),
            (MOVE, 8, b"\0\0\0\0\0\0\0\x01"),
            // Those of servers.
            (0x81, 0, b""),
            (0x83, 2, b"hi"),
            (0xFF, 0, b""),
        ] {
            malformed.push(raw(own, kind, claimed, body));
        }
        for version in [0, 1, 3, 0xFF] {
            let mut other = whole.clone();
            other[1] = version;
            malformed.push(other);
        }
        let mut short_hello = hello();
        short_hello.pop();
        malformed.push(short_hello);
        malformed.push(datagram(own, &[ClientFrame::Say(&[b'x'; 65_490])]));
        malformed.push([0xFF; 65_507].to_vec());
        for bad in malformed {
            expect_drop(&server, &session, &bad, DropReason::Malformed);
        }
        assert_eq!(server.stats().total().truncated, 2);
    }
}

#[test]
fn an_empty_text_in_another_room_than_the_text_before_it_is_sent() {
    let server = TestServer::start(config(1, &[V4]));
    let session = V2Peer::open(server.unregistered_client());
    let frames = [
        ClientFrame::Say(b"to nobody"),
        ClientFrame::Command(b"/join den"),
        ClientFrame::Say(b""),
    ];
    session.send(&frames);
    session.client.receive();
    let datagram = session.client.receive();
    let frame = parse_server(&datagram).unwrap().next();
    let is_empty =
        |frame| matches!(frame, ServerFrame::Message(message) if message.payload.is_empty());
    assert!(frame.is_some_and(is_empty), "{frame:?}");
    session.expect_intact("the worker goes on");
}

#[test]
fn wrong_sessions_and_texts_from_a_v2_peer_are_dropped() {
    for (address, workers) in [(V4, 1), (V6, 2)] {
        let server = TestServer::start(config(workers, &[address]));
        let session = V2Peer::open(server.unregistered_client());
        let frames = [ClientFrame::Say(b"never to be heard"), ClientFrame::Bye];
        let mut wrong: Vec<Vec<u8>> = (0..64)
            .map(|bit| datagram(session.number ^ 1 << bit, &frames))
            .collect();
        wrong.push(datagram(0, &frames));
        wrong.push(datagram(0, &[]));
        wrong.push(datagram(0, &[ClientFrame::Heartbeat(None)]));
        wrong.push(b"never to be heard".to_vec());
        wrong.push(b"@im@".to_vec());
        wrong.push([b'x'; 65_507].to_vec());
        for bad in wrong {
            expect_drop(&server, &session, &bad, DropReason::WrongSession);
        }
        // A text leave with the forged address of a v2 peer does not end its session.
        for bad in [&b""[..], b"quit"] {
            let before = server.stats().total().leaves;
            session.client.send(bad);
            wait_until("the leave", || server.stats().total().leaves > before);
            session.expect_intact("still here");
        }
        // Another client cannot use the session.
        let before = server.stats().total().dropped(DropReason::UnknownSession);
        server
            .unregistered_client()
            .send(&datagram(session.number, &frames));
        let dropped = || server.stats().total().dropped(DropReason::UnknownSession);
        wait_until("the drop", || dropped() == before + 1);
        session.expect_intact("still here");
        assert_eq!(server.stats().peers, 1);
    }
}

#[test]
fn an_unknown_session_is_echoed_once_per_second_in_13_bytes() {
    for (address, workers) in [(V4, 1), (V6, 2)] {
        let time = Time::default();
        let server = TestServer::start_with_clock(config(workers, &[address]), time.clock());
        let [ann, bob] = [server.unregistered_client(), server.unregistered_client()];
        let reply = |session: u64| [&[0xFF, 2][..], &session.to_be_bytes(), &[0x89, 0, 0]].concat();
        let heartbeat = |session| datagram(session, &[ClientFrame::Heartbeat(None)]);
        let mut drops = 0;
        let mut send = |client: &Client, bytes: &[u8]| {
            client.send(bytes);
            drops += 1;
            let dropped = || server.stats().total().dropped(DropReason::UnknownSession);
            wait_until("the drop", || dropped() == drops);
        };
        for (second, session) in [1, 0x0102_0304_0506_0708, u64::MAX].into_iter().enumerate() {
            time.set(1_000 * second as u64);
            for client in [&ann, &bob] {
                // One without a frame, which the reply would exceed. After it the worker reads
                // the time again.
                send(client, &datagram(session, &[]));
                send(client, &heartbeat(session));
                assert_eq!(client.receive(), reply(session));
                send(client, &heartbeat(session));
            }
        }
        // Only a session that is unknown has the reply.
        let dan = V2Peer::open(server.unregistered_client());
        dan.client.send(&heartbeat(dan.number ^ 1));
        dan.expect_intact("still here");
        assert!(ann.inbox_is_empty() && bob.inbox_is_empty());
    }
}

#[test]
fn a_v1_peer_is_never_sent_frames_whatever_comes_from_its_address() {
    let server = TestServer::start(config(1, &[V4]));
    let ann = server.client();
    let dan = V2Peer::open(server.unregistered_client());
    ann.send(b"/nick ada");
    assert_eq!(ann.receive_text(), "* you are ada");
    // As a stranger may send them in the name of ann.
    let wrong = || server.stats().total().dropped(DropReason::WrongSession);
    for forged in [hello(), datagram(77, &[ClientFrame::Say(b"hi")])] {
        let before = wrong();
        ann.send(&forged);
        wait_until("the drop", || wrong() > before);
    }
    dan.send(&[ClientFrame::Command(b"/msg ada psst")]);
    let psst = format!("* {} to you: psst", dan.client.address());
    assert_eq!(ann.receive_text(), psst);
    dan.send(&[ClientFrame::Say(b"hi")]);
    ann.expect_text_from(&dan.client, "hi");
    ann.send(b"hi");
    assert_eq!(ann.receive_text(), "ada hi");
    // They are counted after they were sent.
    let sent = || server.stats().total();
    wait_until("the deliveries", || sent().deliveries >= 4);
    assert_eq!((sent().replies_failed, sent().deliveries), (0, 4));
    server.stop();
    assert!(ann.inbox_is_empty(), "no goodbye");
}

#[test]
fn a_hello_opens_one_session_and_its_reply_is_shorter() {
    with_each_server(|server| {
        let client = server.unregistered_client();
        let mut numbers = Vec::new();
        for round in 0..5 {
            if round == 3 {
                // Until now the server knows nothing of it.
                assert_eq!(server.stats().peers, 0);
                client.send(&datagram(numbers[0], &[ClientFrame::Heartbeat(None)]));
                client.receive();
            }
            client.send(&hello());
            let reply = client.receive();
            assert!(reply.len() < hello().len(), "{}", reply.len());
            let welcome = welcome(&reply);
            assert_eq!(welcome.timeout_ms, 10_000);
            assert_eq!(welcome.address, client.address());
            assert_eq!(welcome.bundle_bytes, 1200);
            numbers.push(welcome.session.get());
        }
        assert!(numbers[0] != 0 && numbers.iter().all(|number| *number == numbers[0]));
        let other = V2Peer::open(server.unregistered_client());
        assert_ne!(other.number, numbers[0]);
        assert_eq!(server.stats().peers, 2);
        let total = server.stats().total();
        assert_eq!((total.registered, total.frames), (2, 8));
    });
}

#[test]
fn a_ping_is_answered_with_its_token_to_its_sender_only() {
    with_each_server(|server| {
        let [ann, bob] = [0; 2].map(|_| V2Peer::open(server.unregistered_client()));
        for token in [&b""[..], b"12345678", &[0xFF; MAX_TOKEN_BYTES]] {
            ann.send(&[ClientFrame::Ping(token)]);
            let reply = ann.client.receive();
            let mut frames = parse_server(&reply).expect("it is v2");
            assert_eq!(frames.next(), Some(ServerFrame::Pong(token)));
            assert_eq!(frames.next(), None);
        }
        assert!(bob.client.inbox_is_empty());
    });
}

#[test]
fn a_datagram_full_of_pings_is_answered_with_one_datagram() {
    with_each_server(|server| {
        let session = V2Peer::open(server.unregistered_client());
        let pong_count = |count: usize, token: &[u8]| {
            session.send(&vec![ClientFrame::Ping(token); count]);
            let reply = session.client.receive();
            assert!(reply.len() <= 1200, "{}", reply.len());
            let frames = parse_server(&reply).expect("it is v2");
            frames
                .map(|frame| assert_eq!(frame, ServerFrame::Pong(token)))
                .count()
        };
        assert_eq!(pong_count(3, b"x"), 3);
        assert_eq!(pong_count(34, &[b'x'; MAX_TOKEN_BYTES]), 34);
        assert_eq!(pong_count(35, &[b'x'; MAX_TOKEN_BYTES]), 34);
        assert_eq!(pong_count(679, b""), 396);
        session.expect_intact("that was all");
        // Those include the replies to the HELLO, to the heartbeat, and to `expect_intact`.
        wait_until("the replies", || server.stats().total().replies == 7);
        assert_eq!(server.stats().total().replies_shed, 1 + 679 - 396);
    });
}

#[test]
fn bye_ends_the_session() {
    with_each_server(|server| {
        let ann = server.client();
        let session = V2Peer::open(server.unregistered_client());
        let after = ClientFrame::Say(b"not from a peer");
        session.send(&[ClientFrame::Say(b"bye all"), ClientFrame::Bye, after]);
        ann.expect_text_from(&session.client, "bye all");
        wait_until("the end of the session", || server.stats().peers == 1);
        session.client.send(b"");
        // What comes late is not told to the lobby.
        session.expect_ended();

        // The next text is the next datagram that each of them receives.
        let session = V2Peer::open(session.client);
        session.expect_intact("back");
        ann.expect_text_from(&session.client, "back");
    });
}

#[test]
fn a_stop_sends_goodbye_to_sessions_only() {
    for address in [V4, V6] {
        for workers in [1, 2, 8] {
            let server = TestServer::start(config(workers, &[address]));
            let ann = server.client();
            let sessions = [0; 10].map(|_| V2Peer::open(server.unregistered_client()));
            let left = V2Peer::open(server.unregistered_client());
            left.send(&[ClientFrame::Bye]);
            wait_until("the leave", || server.stats().peers == 11);
            server.handle().stop();
            server.wait_for_end().expect("nothing died");
            for session in &sessions {
                let number = session.number.to_be_bytes();
                let goodbye = [&[0xFF, 2][..], &number, &[0x86, 0, 0]].concat();
                assert_eq!(session.client.receive(), goodbye);
                assert_nothing_more(&session.client);
            }
            assert_nothing_more(&ann);
            assert_nothing_more(&left.client);
        }
    }
}

/// Sends `bad`. The server must drop it for `reason`, without any other effect.
#[track_caller]
fn expect_drop(server: &TestServer, session: &V2Peer, bad: &[u8], reason: DropReason) {
    let before = server.stats().total();
    session.client.send(bad);
    wait_until("the drop", || {
        server.stats().total().dropped_total() > before.dropped_total()
    });
    // A reply is counted after it has been sent, so perhaps after it is received. By now
    // the earlier ones are counted, and the next loop waits for that of the check.
    let answers = server.stats().total().replies;
    session.expect_intact("still here");
    wait_until("the count of the reply", || {
        server.stats().total().replies > answers
    });
    let after = server.stats().total();
    assert_eq!(after.dropped(reason), before.dropped(reason) + 1, "{bad:?}");
    assert_eq!(after.dropped_total(), before.dropped_total() + 1);
    assert_eq!(
        after.messages,
        before.messages + 1,
        "only that of the check"
    );
    assert_eq!(after.replies, answers + 1);
    assert_eq!(server.stats().peers, 1);
}

/// Returns a datagram whose last frame claims a body of `claimed` bytes, but contains only
/// `body`.
fn raw(session: u64, kind: u8, claimed: u16, body: &[u8]) -> Vec<u8> {
    let mut out = datagram(session, &[ClientFrame::Say(b"never to be heard")]);
    out.push(kind);
    out.extend_from_slice(&claimed.to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// Checks that no more datagrams of a stopped server wait to be received.
#[track_caller]
fn assert_nothing_more(client: &Client) {
    client
        .socket()
        .set_nonblocking(true)
        .expect("it is a socket");
    assert!(client.socket().recv(&mut [0; 1]).is_err());
}

/// Length of mark, version and session.
const HEADER_BYTES: usize = 10;
const TOO_LONG: usize = MAX_PAYLOAD_BYTES + 1;

// The kinds of frames in docs/PROTOCOL.md.
const HELLO: u8 = 1;
const HEARTBEAT: u8 = 2;
const BYE: u8 = 3;
const SAY: u8 = 4;
const PING: u8 = 5;
const SUBSCRIBE: u8 = 7;
const UNSUBSCRIBE: u8 = 8;
const SAY_TO: u8 = 9;
const MOVE: u8 = 10;
const COMMAND: u8 = 6;
