//! The datagrams of `tests/vectors/v2.txt`, parsed and written.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use bullhorn::wire::DisplayName;
use bullhorn::wire::v2::{
    ClientFrame, NoticeCode, Room, ServerFrame, SessionId, parse_client, parse_server,
    push_client_frame, push_client_header, push_server_frame, push_server_header,
};
use common::python_script;

#[test]
fn the_datagrams_mean_what_the_file_says() {
    for (name, bytes, meaning) in vectors() {
        let (words, again) = match bytes[10] < 0x80 {
            true => of_client(&bytes),
            false => of_server(&bytes),
        };
        // Of options, this version writes only those that it knows.
        let options = name
            .contains("option")
            .then(|| meaning.rsplit_once(' ').unwrap().0);
        assert_eq!(words, options.unwrap_or(&meaning), "{name}");
        if options.is_none() {
            assert_eq!(again, bytes[..again.len()], "{name}");
            assert!(
                bytes[again.len()..].iter().all(|padding| *padding == 0),
                "{name}"
            );
        }
    }
}

#[test]
fn the_python_client_reads_the_same() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/", "tests/vectors/v2.txt");
    let mut script = python_script("examples/v2.py", &["--vectors", path]);
    for (name, _, _) in vectors() {
        assert_eq!(script.output.next(), name);
    }
    assert!(script.exit_status().success());
}

fn vectors() -> Vec<(String, Vec<u8>, String)> {
    let lines = include_str!("vectors/v2.txt").lines();
    let rows = lines.filter(|line| !line.starts_with('#')).map(|line| {
        let [name, digits, meaning] = line.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("not a vector: {line}");
        };
        (name.to_owned(), bytes_of(digits), meaning.to_owned())
    });
    let rows: Vec<_> = rows.collect();
    assert!(rows.len() >= 24, "one for each frame");
    rows
}

fn bytes_of(digits: &str) -> Vec<u8> {
    let starts = (0..digits.len()).step_by(2);
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    starts.map(byte).collect()
}

/// Returns the meaning of a datagram, and what this version writes for it.
fn of_client(bytes: &[u8]) -> (String, Vec<u8>) {
    let (session, frames) = parse_client(bytes).unwrap();
    let mut words = vec![format!("{:016x}", session.map_or(0, SessionId::get))];
    let mut again = Vec::new();
    push_client_header(session, &mut again);
    for frame in frames {
        push_client_frame(&frame, &mut again);
        words.push(match frame {
            ClientFrame::Hello(hello) => format!("HELLO {:016x}", hello.nonce),
            ClientFrame::Heartbeat(None) => "HEARTBEAT".to_owned(),
            ClientFrame::Heartbeat(Some(room)) => format!("HEARTBEAT {room}"),
            ClientFrame::Bye => "BYE".to_owned(),
            ClientFrame::Say(payload) => format!("SAY {}", hex(payload)),
            ClientFrame::Ping(token) => format!("PING {}", hex(token)),
            ClientFrame::Command(line) => format!("COMMAND {}", hex(line)),
            ClientFrame::Subscribe(name) => format!("SUBSCRIBE {name}"),
            ClientFrame::Unsubscribe(room) => format!("UNSUBSCRIBE {room}"),
            ClientFrame::SayTo(room, payload) => format!("SAY_TO {room} {}", hex(payload)),
            ClientFrame::Move(from) => {
                let address = from_text(DisplayName::Address(from.address));
                format!("MOVE {:016x} {address}", from.session.get())
            }
            ClientFrame::Unknown(unknown) => panic!("{unknown:?}"),
        });
    }
    (words.join("; "), again)
}

fn of_server(bytes: &[u8]) -> (String, Vec<u8>) {
    let frames = parse_server(bytes).unwrap();
    let mut words = vec![format!("{:016x}", frames.receiver())];
    let mut again = Vec::new();
    push_server_header(frames.receiver(), &mut again);
    let room_text = |room: Room| format!("{} {:016x} {}", room.number, room.incarnation, room.name);
    for frame in frames {
        push_server_frame(&frame, &mut again);
        words.push(match frame {
            ServerFrame::Welcome(welcome) => format!(
                "WELCOME {:016x} {} {} {}",
                welcome.session.get(),
                welcome.timeout_ms,
                welcome.bundle_bytes,
                from_text(DisplayName::Address(welcome.address)),
            ),
            ServerFrame::Message(message) => {
                let from = from_text(message.from);
                let (room, stream, sequence) = (message.room, message.stream, message.sequence);
                let payload = hex(message.payload);
                let text = format!("MESSAGE {room} {stream} {sequence} {from} {payload}");
                text.trim_end().to_owned()
            }
            ServerFrame::Pong(token) => format!("PONG {}", hex(token)),
            ServerFrame::Notice(code, text) => {
                assert_eq!(code, NoticeCode::Refused);
                format!("NOTICE 02{}", hex(text))
            }
            ServerFrame::Goodbye => "GOODBYE".to_owned(),
            ServerFrame::Room(room) => format!("ROOM {}", room_text(room)),
            ServerFrame::Private(from, payload) => {
                format!("PRIVATE {} {}", from_text(from), hex(payload))
            }
            ServerFrame::UnknownSession => "UNKNOWN".to_owned(),
            ServerFrame::Subscribed(room) => format!("SUBSCRIBED {}", room_text(room)),
            ServerFrame::Unsubscribed(room) => format!("UNSUBSCRIBED {room}"),
            ServerFrame::Own(own) => {
                format!(
                    "OWN {} {} {} {}",
                    own.room, own.stream, own.sequence, own.count
                )
            }
        });
    }
    (words.join("; "), again)
}

fn from_text(from: DisplayName) -> String {
    match from {
        DisplayName::Name(name) => name.to_string(),
        DisplayName::Address(address) => format!("{} {}", address.ip(), address.port()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
