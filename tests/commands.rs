//! Commands, as anyone types them: rooms, names, presence and direct messages.

mod common;

use bullhorn::ServerConfig;
use bullhorn::config::Switch;
use bullhorn::wire::v2::{
    BUNDLE_BYTES, ClientFrame, MAX_PAYLOAD_BYTES, NoticeCode, ServerFrame, parse_server,
};
use bullhorn::wire::{DisplayName, Name, RoomName};
use common::v2_peer::Session;
use common::{Client, TestServer, V4, config, everywhere, wait_until};

/// Sends a command, and checks the one line that is answered.
#[track_caller]
fn asks(client: &Client, command: &str, answer: &str) {
    client.send(command.as_bytes());
    assert_eq!(client.hear(), format!("* {answer}"), "{command}");
}

/// What the notices are, of which the next datagram consists.
#[track_caller]
fn notice_codes(session: &Session) -> Vec<NoticeCode> {
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

#[test]
fn a_text_is_heard_in_its_room_alone() {
    everywhere(|server| {
        let [ann, bob, cem] = server.clients();
        asks(&ann, "/join chess", "you are in chess (1 here)");
        asks(&bob, "/JOIN Chess\r\n", "you are in chess (2 here)");
        cem.send(b"lobby only");
        cem.hears(&cem, "lobby only");
        ann.send(b"e4");
        for listener in [&ann, &bob] {
            listener.hears(&ann, "e4");
        }
        asks(&bob, "/leave", "you are in lobby (2 here)");
        ann.send(b"alone");
        ann.hears(&ann, "alone");
        bob.send(b"back");
        for listener in [&bob, &cem] {
            listener.hears(&bob, "back");
        }
        assert!(ann.heard_nothing() && cem.heard_nothing());
        assert_eq!(server.stats().rooms, 2);
        ann.send(b"quit");
        wait_until("the room to vanish", || server.stats().rooms == 1);
    });
}

#[test]
fn a_name_stands_in_front_of_texts_and_belongs_to_one_peer() {
    everywhere(|server| {
        let [ann, bob] = server.clients();
        asks(&ann, "/nick Ada", "you are Ada");
        asks(&bob, "/nick aDA", "aDA is taken");
        asks(&ann, "/nick ADA", "you are ADA");
        ann.send(b"hi");
        assert_eq!(bob.hear(), "ADA hi");
        assert_eq!(ann.hear(), "ADA hi");
        ann.send(b"quit");
        wait_until("the name to be free", || {
            bob.send(b"/nick ada");
            bob.hear() == "* you are ada"
        });
    });
}

#[test]
fn who_sends_line_ends_gets_them_and_the_others_do_not() {
    everywhere(|server| {
        let (netcat, stock) = (server.stranger(), server.client());
        netcat.send(b"hi\n");
        assert_eq!(netcat.hear(), format!("{} hi\n", netcat.address()));
        stock.hears(&netcat, "hi");
        stock.send(b"and hi\n");
        assert_eq!(netcat.hear(), format!("{} and hi\n", stock.address()));
        stock.hears(&stock, "and hi");
        netcat.send(b"/nick ada\n");
        assert_eq!(netcat.hear(), "* you are ada\n");
        asks(&stock, "/msg ada psst", "to ada: psst");
        assert_eq!(
            netcat.hear(),
            format!("* {} to you: psst\n", stock.address())
        );
        netcat.send(b"/presence on\r\n");
        assert_eq!(netcat.hear(), "* presence is on\n");
        stock.send(b"quit");
        assert_eq!(
            netcat.hear(),
            format!("* {} left (1 here)\n", stock.address())
        );
        netcat.send(&[&[b'x'; 3000][..], b"\n"].concat());
        assert_eq!(netcat.receive().len(), 1025, "one more for the line end");
    });
}

#[test]
fn a_direct_message_reaches_one_peer_alone() {
    everywhere(|server| {
        let [ann, bob, cem] = server.clients();
        asks(&ann, "/nick ada", "you are ada");
        asks(&bob, "/join den", "you are in den (1 here)");
        asks(&bob, "/msg ADA psst  you", "to ADA: psst  you");
        assert_eq!(ann.hear(), format!("* {} to you: psst  you", bob.address()));
        let address = bob.address();
        asks(
            &ann,
            &format!("/msg {address} yes"),
            &format!("to {address}: yes"),
        );
        assert_eq!(bob.hear(), "* ada to you: yes");
        asks(&ann, "/msg eve hi", "no such peer: eve");
        asks(&ann, "/msg \x1b[2J hi", "no such peer: \\x1b[2J");
        cem.send(b"end");
        cem.hears(&cem, "end");
    });
}

#[test]
fn v2_peers_use_the_same_commands_and_get_them_as_frames() {
    everywhere(|server| {
        let ann = server.client();
        let bob = Session::open(server.stranger());
        asks(&ann, "/nick ada", "you are ada");
        asks(&ann, "/join den", "you are in den (1 here)");
        bob.send(&[ClientFrame::Command(b"/join den")]);
        let den = RoomName::parse(b"den").unwrap();
        let datagram = bob.client.receive();
        let frames: Vec<_> = parse_server(&datagram).unwrap().collect();
        let number = match frames[..] {
            [ServerFrame::Room(number, room), answer] => {
                assert_eq!(room, den);
                let text = b"you are in den (2 here)";
                assert_eq!(answer, ServerFrame::Notice(NoticeCode::Done, text));
                number
            }
            _ => panic!("{frames:?}"),
        };
        ann.send(b"hi");
        ann.hear();
        let ada = DisplayName::Name(Name::parse(b"ada").unwrap());
        let datagram = bob.client.receive();
        match parse_server(&datagram).unwrap().next() {
            Some(ServerFrame::Message(message)) => {
                assert_eq!((message.room, message.from), (number, ada));
                assert_eq!(message.payload, b"hi");
            }
            other => panic!("{other:?}"),
        }
        let told = |frame: ServerFrame<'_>| {
            let datagram = bob.client.receive();
            let frames: Vec<_> = parse_server(&datagram).unwrap().collect();
            assert_eq!(frames, [frame]);
        };
        let address = bob.client.address();
        asks(
            &ann,
            &format!("/msg {address} psst"),
            &format!("to {address}: psst"),
        );
        told(ServerFrame::Private(ada, b"psst"));
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
            told(ServerFrame::Notice(code, text.as_bytes()));
        }
        // Who asks again for a session is told where it is.
        bob.client.send(&common::v2_peer::hello());
        assert_eq!(common::v2_peer::welcome(&bob.client.receive()).room, number);
        // A verb that is not known is a text, as in v1.
        bob.send(&[ClientFrame::Command(b"/dance")]);
        ann.hears(&bob.client, "/dance");
    });
}

#[test]
fn every_bound_is_refused_with_what_it_is() {
    let server = TestServer::start(ServerConfig {
        max_rooms: 2,
        max_room_members: 2,
        max_names: 2,
        ..config(1, &[V4])
    });
    let [ann, bob, cem] = server.clients();
    asks(&ann, "/join one", "you are in one (1 here)");
    asks(&bob, "/join one", "you are in one (2 here)");
    asks(&cem, "/join ONE", "one is full (2)");
    asks(&cem, "/join two", "you are in two (1 here)");
    asks(
        &bob,
        "/join three",
        "cannot create \"three\": room limit reached (2)",
    );
    asks(&bob, "/join two", "you are in two (2 here)");
    asks(
        &ann,
        "/join three",
        "cannot create \"three\": room limit reached (2)",
    );
    asks(&ann, "/leave", "you are in lobby (1 here)");
    asks(&ann, "/join three", "you are in three (1 here)");
    asks(&ann, "/nick a", "you are a");
    asks(&bob, "/nick b", "you are b");
    asks(&cem, "/nick c", "name limit reached (2)");
    asks(&bob, "/nick c", "you are c");
    asks(&cem, "/nick b", "name limit reached (2)");
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
        let page = asker.hear();
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
    asks(asker, "/who 61", "60 in lobby, none from 61 on");
    asks(asker, "/rooms", "1 room: lobby (60)");
    asks(&clients[1], "/join den", "you are in den (1 here)");
    asks(asker, "/rooms", "2 rooms: lobby (59) den (1)");
    asks(asker, "/rooms 2", "2 rooms, 2 to 2: den (1)");
    let enormous = format!("/who {}", usize::MAX);
    asks(
        asker,
        &enormous,
        &format!("59 in lobby, none from {} on", usize::MAX),
    );
}

#[test]
fn who_comes_and_goes_is_told_to_those_who_want_to_hear_it() {
    everywhere(|server| {
        let watcher = server.client();
        asks(&watcher, "/presence on", "presence is on");
        let other = server.client();
        let address = other.address();
        assert_eq!(watcher.hear(), format!("* {address} joined (2 here)"));
        other.send(b"/nick ada");
        assert_eq!(watcher.hear(), format!("* {address} is now ada (2 here)"));
        other.send(b"/join den");
        assert_eq!(watcher.hear(), "* ada left (1 here)");
        watcher.send(b"/join den");
        // It hears of itself, too: all hear the same. Two threads tell it.
        let mut told = [watcher.hear(), watcher.hear()];
        told.sort();
        let joined = format!("* {} joined (2 here)", watcher.address());
        assert_eq!(told, [joined, "* you are in den (2 here)".to_owned()]);
        other.send(b"quit");
        assert_eq!(watcher.hear(), "* ada left (1 here)");
        asks(&watcher, "/presence off", "presence is off");
        let third = server.client();
        asks(&third, "/join den", "you are in den (2 here)");
        third.send(b"bye");
        watcher.hears(&third, "bye");
        assert!(other.heard_nothing() || other.hear().starts_with("* you are"));
        wait_until("all notices are counted", || server.stats().notices == 5);
    });
}

#[test]
fn a_storm_of_joins_is_told_in_few_datagrams() {
    let server = TestServer::start(config(2, &[V4]));
    let watcher = server.client();
    asks(&watcher, "/presence on", "presence is on");
    let crowd: Vec<Client> = (0..500).map(|_| server.stranger()).collect();
    for client in &crowd {
        client.send(b"@im@");
    }
    let (mut joined, mut notices) = (0, 0);
    while joined < crowd.len() {
        let notice = watcher.hear();
        let told = notice.trim_start_matches("* ");
        joined += match told.split_once(" joined (") {
            Some((count, _)) if !count.contains(':') => count.parse().unwrap(),
            _ => told.matches(" joined").count(),
        };
        notices += 1;
    }
    assert_eq!(joined, crowd.len());
    // A notice is counted when it has gone out, which may be after it is heard.
    wait_until("all notices are counted", || {
        server.stats().notices == notices
    });
    assert!(notices < 100, "{notices} notices of 500 joins");
}

#[test]
fn without_commands_all_of_them_are_texts() {
    let server = TestServer::start(ServerConfig {
        commands: Switch::Off,
        ..config(1, &[V4])
    });
    let ann = server.client();
    let bob = Session::open(server.stranger());
    for text in ["/nick ada", "/help", "/join den"] {
        ann.send(text.as_bytes());
        ann.hears(&ann, text);
        bob.send(&[ClientFrame::Command(text.as_bytes())]);
        ann.hears(&bob.client, text);
    }
    assert_eq!(server.stats().rooms, 1);
}

#[test]
fn commands_are_counted_and_never_fanned_out() {
    let server = TestServer::start(config(1, &[V4]));
    let [ann, bob] = server.clients();
    for command in ["/help", "/ping x", "/nick", "/rooms", "/leave"] {
        ann.send(command.as_bytes());
        assert!(ann.hear().starts_with("* "));
    }
    wait_until("the answers", || server.stats().total().answers == 5);
    let counts = server.stats().total();
    assert_eq!((counts.commands, counts.texts, counts.messages), (5, 0, 0));
    assert_eq!(counts.datagrams_in, counts.heartbeats + counts.commands);
    assert!(bob.heard_nothing());
}

#[test]
fn a_datagram_of_many_commands_is_answered_once_and_costs_nobody_else_an_answer() {
    let server = TestServer::start(config(1, &[V4]));
    let flooder = Session::open(server.stranger());
    let ann = server.client();
    flooder.send(&vec![ClientFrame::Command(b"/help"); 200]);
    asks(&ann, "/ping here", "pong here");
    let answer = flooder.client.receive();
    assert!(answer.len() <= BUNDLE_BYTES);
    let answered = parse_server(&answer).unwrap().count();
    assert!(answered > 5, "{answered}");
    wait_until("the counts", || {
        let counts = server.stats().total();
        (counts.answers, counts.answers_shed) == (3, 200 - answered as u64)
    });
}

#[test]
fn a_datagram_sends_a_few_direct_messages_at_most() {
    let server = TestServer::start(config(1, &[V4]));
    let flooder = Session::open(server.stranger());
    let ann = server.client();
    let command = format!("/msg {} x", ann.address());
    flooder.send(&[ClientFrame::Command(command.as_bytes()); 10]);
    let codes = notice_codes(&flooder);
    let (done, refused) = codes.split_at(8);
    assert_eq!(done, [NoticeCode::Done; 8]);
    assert_eq!(refused, [NoticeCode::Refused; 2]);
    for _ in 0..8 {
        assert_eq!(
            ann.hear(),
            format!("* {} to you: x", flooder.client.address())
        );
    }
    asks(&ann, "/ping end", "pong end");
}

#[test]
fn a_datagram_asks_for_a_few_lists_at_most() {
    let server = TestServer::start(config(1, &[V4]));
    let flooder = Session::open(server.stranger());
    let list = [&b"/who 9"[..], b"/rooms"].map(ClientFrame::Command);
    flooder.send(&[list; 6].concat());
    let codes = notice_codes(&flooder);
    let (done, refused) = codes.split_at(8);
    assert_eq!(done, [NoticeCode::Done; 8]);
    assert_eq!(refused, [NoticeCode::Refused; 4]);
    wait_until("the count", || server.stats().total().answers_shed == 4);
    flooder.send(&list);
    let again = notice_codes(&flooder);
    assert_eq!(again, [NoticeCode::Done; 2], "the next may again");
}

#[test]
fn no_direct_message_is_longer_than_a_datagram_of_its_version() {
    let server = TestServer::start(config(1, &[V4]));
    let ann = server.client();
    let bob = Session::open(server.stranger());
    asks(
        &ann,
        &format!("/nick {}", "n".repeat(24)),
        &format!("you are {}", "n".repeat(24)),
    );
    let bobs_address = bob.client.address();
    ann.send(format!("/msg {bobs_address} {}", "x".repeat(2000)).as_bytes());
    assert_eq!(ann.receive().len(), 1024);
    let heard = bob.client.receive();
    assert!(
        (1100..=BUNDLE_BYTES).contains(&heard.len()),
        "{}",
        heard.len()
    );
    // Bytes that are not UTF-8 would grow if they were mended.
    let mut command = format!("/msg {bobs_address} ").into_bytes();
    command.resize(MAX_PAYLOAD_BYTES, 0xFE);
    bob.send(&[ClientFrame::Command(&command)]);
    let told = [bob.client.receive(), bob.client.receive()];
    assert!(told.iter().all(|datagram| datagram.len() <= BUNDLE_BYTES));
    let mut command = b"/msg ".to_vec();
    command.resize(MAX_PAYLOAD_BYTES - 2, 0xFE);
    command.extend(b" x");
    bob.send(&[ClientFrame::Command(&command)]);
    assert!(bob.client.receive().len() <= BUNDLE_BYTES);
}
