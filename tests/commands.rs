//! Commands: rooms, names, presence and direct messages.

mod common;

use bullhorn::ServerConfig;
use bullhorn::config::Switch;
use bullhorn::wire::v2::{
    BUNDLE_BYTES, ClientFrame, MAX_PAYLOAD_BYTES, NoticeCode, Room, ServerFrame, parse_server,
};
use bullhorn::wire::{DisplayName, Name, RoomName};
use common::v2_peer::V2Peer;
use common::{Client, TestServer, V4, config, wait_until, with_each_server};

#[test]
fn a_text_goes_to_its_room_only() {
    with_each_server(|server| {
        let [ann, bob, cem] = server.clients();
        expect_reply(&ann, "/join chess", "you are in chess (1 here)");
        expect_reply(&bob, "/JOIN Chess\r\n", "you are in chess (2 here)");
        cem.send(b"lobby only");
        cem.expect_text_from(&cem, "lobby only");
        ann.send(b"e4");
        for receiver in [&ann, &bob] {
            receiver.expect_text_from(&ann, "e4");
        }
        expect_reply(&bob, "/leave", "you are in lobby (2 here)");
        ann.send(b"alone");
        ann.expect_text_from(&ann, "alone");
        bob.send(b"back");
        for receiver in [&bob, &cem] {
            receiver.expect_text_from(&bob, "back");
        }
        assert!(ann.inbox_is_empty() && cem.inbox_is_empty());
        assert_eq!(server.stats().rooms, 2);
        ann.send(b"quit");
        wait_until("the removal of the room", || server.stats().rooms == 1);
    });
}

#[test]
fn a_name_replaces_the_address_and_is_unique() {
    with_each_server(|server| {
        let [ann, bob] = server.clients();
        expect_reply(&ann, "/nick Ada", "you are Ada");
        expect_reply(&bob, "/nick aDA", "aDA is taken");
        expect_reply(&ann, "/nick ADA", "you are ADA");
        ann.send(b"hi");
        assert_eq!(bob.receive_text(), "ADA hi");
        assert_eq!(ann.receive_text(), "ADA hi");
        ann.send(b"quit");
        wait_until("the name to be free", || {
            bob.send(b"/nick ada");
            bob.receive_text() == "* you are ada"
        });
    });
}

#[test]
fn only_peers_that_send_line_ends_receive_them() {
    with_each_server(|server| {
        let (netcat, stock) = (server.unregistered_client(), server.client());
        netcat.send(b"hi\n");
        assert_eq!(netcat.receive_text(), format!("{} hi\n", netcat.address()));
        stock.expect_text_from(&netcat, "hi");
        stock.send(b"and hi\n");
        assert_eq!(
            netcat.receive_text(),
            format!("{} and hi\n", stock.address())
        );
        stock.expect_text_from(&stock, "and hi");
        netcat.send(b"/nick ada\n");
        assert_eq!(netcat.receive_text(), "* you are ada\n");
        expect_reply(&stock, "/msg ada psst", "to ada: psst");
        assert_eq!(
            netcat.receive_text(),
            format!("* {} to you: psst\n", stock.address())
        );
        netcat.send(b"/presence on\r\n");
        assert_eq!(netcat.receive_text(), "* presence is on\n");
        stock.send(b"quit");
        assert_eq!(
            netcat.receive_text(),
            format!("* {} left (1 here)\n", stock.address())
        );
        netcat.send(&[&[b'x'; 3000][..], b"\n"].concat());
        assert_eq!(netcat.receive().len(), 1025, "one more for the line end");
    });
}

#[test]
fn a_direct_message_reaches_one_peer_only() {
    with_each_server(|server| {
        let [ann, bob, cem] = server.clients();
        expect_reply(&ann, "/nick ada", "you are ada");
        expect_reply(&bob, "/join den", "you are in den (1 here)");
        expect_reply(&bob, "/msg ADA psst  you", "to ADA: psst  you");
        assert_eq!(
            ann.receive_text(),
            format!("* {} to you: psst  you", bob.address())
        );
        let address = bob.address();
        expect_reply(
            &ann,
            &format!("/msg {address} yes"),
            &format!("to {address}: yes"),
        );
        assert_eq!(bob.receive_text(), "* ada to you: yes");
        expect_reply(&ann, "/msg eve hi", "no such peer: eve");
        expect_reply(&ann, "/msg \x1b[2J hi", "no such peer: \\x1b[2J");
        cem.send(b"end");
        cem.expect_text_from(&cem, "end");
    });
}

#[test]
fn v2_peers_use_the_same_commands_and_receive_frames() {
    with_each_server(|server| {
        let ann = server.client();
        let bob = V2Peer::open(server.unregistered_client());
        expect_reply(&ann, "/nick ada", "you are ada");
        expect_reply(&ann, "/join den", "you are in den (1 here)");
        bob.send(&[ClientFrame::Command(b"/join den")]);
        let den = RoomName::parse(b"den").unwrap();
        let datagram = bob.client.receive();
        let frames: Vec<_> = parse_server(&datagram).unwrap().collect();
        let number = match frames[..] {
            [ServerFrame::Room(Room { number, name, .. }), answer] => {
                assert_eq!(name, den);
                let text = b"you are in den (2 here)";
                assert_eq!(answer, ServerFrame::Notice(NoticeCode::Done, text));
                number
            }
            _ => panic!("{frames:?}"),
        };
        ann.send(b"hi");
        ann.receive_text();
        let ada = DisplayName::Name(Name::parse(b"ada").unwrap());
        let datagram = bob.client.receive();
        match parse_server(&datagram).unwrap().next() {
            Some(ServerFrame::Message(message)) => {
                assert_eq!((message.room, message.from), (number, ada));
                assert_eq!(message.payload, b"hi");
            }
            other => panic!("{other:?}"),
        }
        let expect_frame = |frame: ServerFrame<'_>| {
            let datagram = bob.client.receive();
            let frames: Vec<_> = parse_server(&datagram).unwrap().collect();
            assert_eq!(frames, [frame]);
        };
        let address = bob.client.address();
        expect_reply(
            &ann,
            &format!("/msg {address} psst"),
            &format!("to {address}: psst"),
        );
        expect_frame(ServerFrame::Private(ada, b"psst"));
        for (command, code, text) in [
            (
                &b"/nick a b"[..],
                NoticeCode::Misuse,
                "usage: /nick NAME (1 to 24 of A-Z a-z 0-9 _ -)",
            ),
            (b"/nick ADA", NoticeCode::Refused, "ADA is taken"),
            (b"/ping 1", NoticeCode::Done, "pong 1"),
        ] {
            bob.send(&[ClientFrame::Command(command)]);
            expect_frame(ServerFrame::Notice(code, text.as_bytes()));
        }
        // A heartbeat without the number of the room asks for it.
        bob.send(&[
            ClientFrame::Heartbeat(Some(number)),
            ClientFrame::Ping(b"1"),
        ]);
        expect_frame(ServerFrame::Pong(b"1"));
        for wrong in [None, Some(number + 1)] {
            bob.send(&[ClientFrame::Heartbeat(wrong)]);
            let datagram = bob.client.receive();
            match parse_server(&datagram).unwrap().next() {
                Some(ServerFrame::Room(room)) => {
                    assert_eq!((room.number, room.name), (number, den));
                }
                other => panic!("{other:?}"),
            }
        }
        // An unknown command is a text, as in v1.
        bob.send(&[ClientFrame::Command(b"/dance")]);
        ann.expect_text_from(&bob.client, "/dance");
    });
}

#[test]
fn every_refusal_names_its_limit() {
    let server = TestServer::start(ServerConfig {
        max_rooms: 2,
        max_room_members: 2,
        max_names: 2,
        ..config(1, &[V4])
    });
    let [ann, bob, cem] = server.clients();
    expect_reply(&ann, "/join one", "you are in one (1 here)");
    expect_reply(&bob, "/join one", "you are in one (2 here)");
    expect_reply(&cem, "/join ONE", "one is full (2)");
    expect_reply(&cem, "/join two", "you are in two (1 here)");
    expect_reply(
        &bob,
        "/join three",
        "cannot create \"three\": room limit reached (2)",
    );
    expect_reply(&bob, "/join two", "you are in two (2 here)");
    expect_reply(
        &ann,
        "/join three",
        "cannot create \"three\": room limit reached (2)",
    );
    expect_reply(&ann, "/leave", "you are in lobby (1 here)");
    expect_reply(&ann, "/join three", "you are in three (1 here)");
    expect_reply(&ann, "/nick a", "you are a");
    expect_reply(&bob, "/nick b", "you are b");
    expect_reply(&cem, "/nick c", "name limit reached (2)");
    expect_reply(&bob, "/nick c", "you are c");
    expect_reply(&cem, "/nick b", "name limit reached (2)");
}

#[test]
fn long_lists_come_in_pages_of_one_datagram() {
    let server = TestServer::start(config(1, &[V4]));
    let clients: Vec<Client> = (0..60).map(|_| server.client()).collect();
    let asker = &clients[0];
    let mut seen = Vec::new();
    loop {
        let from = seen.len() + 1;
        asker.send(format!("/who {from}").as_bytes());
        let page = asker.receive_text();
        assert!(page.len() <= 1024, "{page}");
        let (head, rest) = page.split_once(": ").unwrap();
        let (list, more) = rest.split_once(" (").unwrap_or((rest, ""));
        seen.extend(list.split(' ').map(str::to_owned));
        assert_eq!(head, format!("* 60 in lobby, {from} to {}", seen.len()));
        if more.is_empty() {
            break;
        }
        assert_eq!(more, format!("more: /who {})", seen.len() + 1));
    }
    let addresses: Vec<String> = clients
        .iter()
        .map(|client| client.address().to_string())
        .collect();
    assert_eq!(seen, addresses);
    expect_reply(asker, "/who 61", "60 in lobby, none from 61 on");
    expect_reply(asker, "/rooms", "1 room: lobby (60)");
    expect_reply(&clients[1], "/join den", "you are in den (1 here)");
    expect_reply(asker, "/rooms", "2 rooms: lobby (59) den (1)");
    expect_reply(asker, "/rooms 2", "2 rooms, 2 to 2: den (1)");
    let enormous = format!("/who {}", usize::MAX);
    expect_reply(
        asker,
        &enormous,
        &format!("59 in lobby, none from {} on", usize::MAX),
    );
}

#[test]
fn presence_notices_go_to_subscribers_only() {
    with_each_server(|server| {
        let watcher = server.client();
        expect_reply(&watcher, "/presence on", "presence is on");
        let other = server.client();
        let address = other.address();
        assert_eq!(
            watcher.receive_text(),
            format!("* {address} joined (2 here)")
        );
        other.send(b"/nick ada");
        assert_eq!(
            watcher.receive_text(),
            format!("* {address} is now ada (2 here)")
        );
        other.send(b"/join den");
        assert_eq!(watcher.receive_text(), "* ada left (1 here)");
        watcher.send(b"/join den");
        // The notice goes to the newcomer as well. It and the reply come from two threads.
        let mut received = [watcher.receive_text(), watcher.receive_text()];
        received.sort();
        let joined = format!("* {} joined (2 here)", watcher.address());
        assert_eq!(received, [joined, "* you are in den (2 here)".to_owned()]);
        other.send(b"quit");
        assert_eq!(watcher.receive_text(), "* ada left (1 here)");
        expect_reply(&watcher, "/presence off", "presence is off");
        let third = server.client();
        expect_reply(&third, "/join den", "you are in den (2 here)");
        third.send(b"bye");
        watcher.expect_text_from(&third, "bye");
        assert!(other.inbox_is_empty() || other.receive_text().starts_with("* you are"));
        wait_until("the count of notices", || server.stats().notices == 5);
    });
}

#[test]
fn many_joins_at_once_are_announced_in_few_datagrams() {
    let server = TestServer::start(config(2, &[V4]));
    let watcher = server.client();
    expect_reply(&watcher, "/presence on", "presence is on");
    let crowd: Vec<Client> = (0..500).map(|_| server.unregistered_client()).collect();
    for client in &crowd {
        client.send(b"@im@");
    }
    let (mut joined, mut notices) = (0, 0);
    while joined < crowd.len() {
        let notice = watcher.receive_text();
        let text = notice.trim_start_matches("* ");
        joined += match text.split_once(" joined (") {
            Some((count, _)) if !count.contains(':') => count.parse().unwrap(),
            _ => text.matches(" joined").count(),
        };
        notices += 1;
    }
    assert_eq!(joined, crowd.len());
    // A notice is counted after it has been sent, so perhaps after it is received.
    wait_until("the count of notices", || server.stats().notices == notices);
    assert!(notices < 100, "{notices} notices of 500 joins");
}

#[test]
fn with_commands_off_each_command_is_a_text() {
    let server = TestServer::start(ServerConfig {
        commands: Switch::Off,
        ..config(1, &[V4])
    });
    let ann = server.client();
    let bob = V2Peer::open(server.unregistered_client());
    for text in ["/nick ada", "/help", "/join den"] {
        ann.send(text.as_bytes());
        ann.expect_text_from(&ann, text);
        bob.send(&[ClientFrame::Command(text.as_bytes())]);
        ann.expect_text_from(&bob.client, text);
    }
    assert_eq!(server.stats().rooms, 1);
}

#[test]
fn commands_are_counted_and_not_delivered() {
    let server = TestServer::start(config(1, &[V4]));
    let [ann, bob] = server.clients();
    for command in ["/help", "/ping x", "/nick", "/rooms", "/leave"] {
        ann.send(command.as_bytes());
        assert!(ann.receive_text().starts_with("* "));
    }
    wait_until("the replies", || server.stats().total().replies == 5);
    let counts = server.stats().total();
    assert_eq!((counts.commands, counts.texts, counts.messages), (5, 0, 0));
    assert_eq!(counts.datagrams_in, counts.heartbeats + counts.commands);
    assert!(bob.inbox_is_empty());
}

#[test]
fn a_datagram_of_many_commands_is_answered_with_one_datagram() {
    let server = TestServer::start(config(1, &[V4]));
    let flooder = V2Peer::open(server.unregistered_client());
    let ann = server.client();
    flooder.send(&vec![ClientFrame::Command(b"/help"); 200]);
    expect_reply(&ann, "/ping here", "pong here");
    let reply = flooder.client.receive();
    assert!(reply.len() <= BUNDLE_BYTES);
    let answered = parse_server(&reply).unwrap().count();
    assert!(answered > 5, "{answered}");
    wait_until("the counts", || {
        let counts = server.stats().total();
        (counts.replies, counts.replies_shed) == (4, 200 - answered as u64)
    });
}

#[test]
fn a_datagram_sends_at_most_8_direct_messages() {
    let server = TestServer::start(config(1, &[V4]));
    let flooder = V2Peer::open(server.unregistered_client());
    let ann = server.client();
    let command = format!("/msg {} x", ann.address());
    flooder.send(&[ClientFrame::Command(command.as_bytes()); 10]);
    let codes = notice_codes(&flooder);
    let (done, refused) = codes.split_at(8);
    assert_eq!(done, [NoticeCode::Done; 8]);
    assert_eq!(refused, [NoticeCode::Refused; 2]);
    for _ in 0..8 {
        assert_eq!(
            ann.receive_text(),
            format!("* {} to you: x", flooder.client.address())
        );
    }
    expect_reply(&ann, "/ping end", "pong end");
}

#[test]
fn a_datagram_requests_at_most_8_lists() {
    let server = TestServer::start(config(1, &[V4]));
    let flooder = V2Peer::open(server.unregistered_client());
    let list = [&b"/who 9"[..], b"/rooms"].map(ClientFrame::Command);
    flooder.send(&[list; 6].concat());
    let codes = notice_codes(&flooder);
    let (done, refused) = codes.split_at(8);
    assert_eq!(done, [NoticeCode::Done; 8]);
    assert_eq!(refused, [NoticeCode::Refused; 4]);
    wait_until("the count", || server.stats().total().replies_shed == 4);
    flooder.send(&list);
    let again = notice_codes(&flooder);
    assert_eq!(again, [NoticeCode::Done; 2], "the limit is per datagram");
}

#[test]
fn a_direct_message_fits_into_a_datagram_of_its_version() {
    let server = TestServer::start(config(1, &[V4]));
    let ann = server.client();
    let bob = V2Peer::open(server.unregistered_client());
    expect_reply(
        &ann,
        &format!("/nick {}", "n".repeat(24)),
        &format!("you are {}", "n".repeat(24)),
    );
    let bobs_address = bob.client.address();
    ann.send(format!("/msg {bobs_address} {}", "x".repeat(2000)).as_bytes());
    assert_eq!(ann.receive().len(), 1024);
    let received = bob.client.receive();
    assert!(
        (1100..=BUNDLE_BYTES).contains(&received.len()),
        "{}",
        received.len()
    );
    // Bytes that are not UTF-8 would grow if they were replaced.
    let mut command = format!("/msg {bobs_address} ").into_bytes();
    command.resize(MAX_PAYLOAD_BYTES, 0xFE);
    bob.send(&[ClientFrame::Command(&command)]);
    let replies = [bob.client.receive(), bob.client.receive()];
    assert!(
        replies
            .iter()
            .all(|datagram| datagram.len() <= BUNDLE_BYTES)
    );
    let mut command = b"/msg ".to_vec();
    command.resize(MAX_PAYLOAD_BYTES - 2, 0xFE);
    command.extend(b" x");
    bob.send(&[ClientFrame::Command(&command)]);
    assert!(bob.client.receive().len() <= BUNDLE_BYTES);
}

/// Sends a command. The next datagram must be this reply.
#[track_caller]
fn expect_reply(client: &Client, command: &str, reply: &str) {
    client.send(command.as_bytes());
    assert_eq!(client.receive_text(), format!("* {reply}"), "{command}");
}

/// Returns the codes of the notices in the next datagram.
#[track_caller]
fn notice_codes(session: &V2Peer) -> Vec<NoticeCode> {
    let datagram = session.client.receive();
    let code = |frame| match frame {
        ServerFrame::Notice(code, _) => code,
        other => panic!("{other:?}"),
    };
    parse_server(&datagram)
        .expect("it is v2")
        .map(code)
        .collect()
}
