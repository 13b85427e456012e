//! Stock clients, written in Python by who knows nothing of this server: they
//! must find in it what they find in the tutorial's server, and nothing that
//! they cannot take.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

mod common;

use std::net::SocketAddr;

use common::{Lines, Program, Script, script};

/// A chat client and the address that it speaks from.
struct Stock {
    script: Script,
    address: String,
}

impl Stock {
    /// Types a command, and checks the answer.
    #[track_caller]
    fn asks(&mut self, command: &str, answer: &str) {
        self.script.type_line(command);
        let heard = self.script.output.next();
        assert_eq!(heard, format!("* {answer}"), "{command}");
    }
}

/// Starts a chat client, which registers by its first heartbeat.
fn stock_client(server: &Program, log: &Lines) -> Stock {
    let script = chat_client(server.address);
    let line = log.find(" is here");
    let mut words = line.split_whitespace().rev().skip(2);
    let address = words.next().unwrap().to_owned();
    Stock { script, address }
}

fn chat_client(server: SocketAddr) -> Script {
    let (host, port) = (server.ip().to_string(), server.port().to_string());
    // Each heartbeat after the first would come long after the test.
    script("chat_client.py", &[&host, &port, "--interval", "3600"])
}

#[test]
fn two_stock_clients_hear_each_other() {
    let mut server = Program::start(&["--workers", "2"]);
    let log = server.log();
    let mut ann = stock_client(&server, &log);
    let mut bob = stock_client(&server, &log);
    ann.script.type_line("hello, Grüße 🎉");
    for listener in [&ann, &bob] {
        let heard = listener.script.output.next();
        assert_eq!(heard, format!("{} hello, Grüße 🎉", ann.address));
    }
    bob.script.type_line("hi ann");
    for listener in [&ann, &bob] {
        let heard = listener.script.output.next();
        assert_eq!(heard, format!("{} hi ann", bob.address));
    }

    bob.script.type_line("QUIT");
    assert_eq!(bob.script.output.next(), "bye bye");
    assert_eq!(bob.script.exit_status().code(), Some(0));
    log.find(&format!("{} is down", bob.address));
    ann.script.type_line("bye bob");
    let heard = ann.script.output.next();
    assert_eq!(heard, format!("{} bye bob", ann.address));
}

#[test]
fn stock_clients_use_rooms_by_typing_commands() {
    let mut server = Program::start(&["--workers", "2"]);
    let log = server.log();
    let mut ann = stock_client(&server, &log);
    let mut bob = stock_client(&server, &log);
    let (anns, bobs) = (ann.address.clone(), bob.address.clone());
    ann.asks("/nick ada", "you are ada");
    ann.asks("/join den", "you are in den (1 here)");
    ann.asks("/who", "1 in den: ada");
    bob.asks("/who", &format!("1 in lobby: {bobs}"));
    bob.asks("/rooms", "2 rooms: lobby (1) den (1)");
    // Whatever comes first from now on would be the other's text, if he heard it.
    ann.script.type_line("den only");
    assert_eq!(ann.script.output.next(), "ada den only");
    bob.script.type_line("lobby only");
    assert_eq!(bob.script.output.next(), format!("{bobs} lobby only"));
    bob.asks("/msg ada psst", "to ada: psst");
    assert_eq!(ann.script.output.next(), format!("* {bobs} to you: psst"));
    ann.asks("/presence on", "presence is on");
    bob.asks("/join den", "you are in den (2 here)");
    assert_eq!(
        ann.script.output.next(),
        format!("* {bobs} joined (2 here)")
    );
    ann.script.type_line("both of us");
    for listener in [&ann, &bob] {
        assert_eq!(listener.script.output.next(), "ada both of us");
    }
    bob.asks("/nick", "usage: /nick NAME (1 to 24 of A-Z a-z 0-9 _ -)");
    bob.asks("/msg eve hi", "no such peer: eve");
    ann.script.type_line("/shrug");
    for listener in [&ann, &bob] {
        assert_eq!(listener.script.output.next(), "ada /shrug");
    }
    // A heartbeat keeps room and name, and quitting gives them up.
    ann.script.type_line("@im@");
    ann.asks("/who", &format!("2 in den: ada {bobs}"));
    ann.script.type_line("quit");
    assert_eq!(ann.script.output.next(), "bye bye");
    log.find(&format!("{anns} is down"));
    bob.asks("/nick Ada", "you are Ada");
    bob.asks("/leave", "you are in lobby (1 here)");
}

#[test]
fn a_stock_client_lives_through_whatever_others_send() {
    let mut server = Program::start(&["--workers", "2"]);
    let log = server.log();
    let mut ann = stock_client(&server, &log);
    let mut bob = stock_client(&server, &log);
    let stranger = server.client();
    let who = stranger.address();
    for (hostile, heard) in [
        (&b"\xc3\x28\xf0\x9f\x98"[..], "\u{fffd}(\u{fffd}"),
        (b"\x1b]0;owned\x07\x1b[2J", r"\x1b]0;owned\x07\x1b[2J"),
        (b"x\n127.0.0.1:1 forged", r"x\x0a127.0.0.1:1 forged"),
        (b"\0", r"\x00"),
        ("\u{202e}\u{2028}".as_bytes(), r"\u{202e}\u{2028}"),
    ] {
        stranger.send(hostile);
        for listener in [&ann, &bob] {
            let line = listener.script.output.next();
            assert_eq!(line, format!("{who} {heard}"));
        }
    }
    for char in ['x', 'ü', '世'] {
        stranger.send(String::from(char).repeat(4000 / char.len_utf8()).as_bytes());
        for listener in [&ann, &bob] {
            let line = listener.script.output.next();
            let text = line.strip_prefix(&format!("{who} ")).unwrap();
            assert!(text.chars().all(|heard| heard == char), "{text}");
            assert!((1024 - char.len_utf8() + 1..=1024).contains(&line.len()));
        }
    }
    for silent in [&b"\xff\x02\x04"[..], b"", b"quit", b"@im@", b"\n"] {
        stranger.send(silent);
    }
    stranger.send(b"enough");
    ann.script.output.find("enough");
    bob.script.output.find("enough");

    ann.script.type_line("still here");
    for listener in [&ann, &bob] {
        let line = listener.script.output.next();
        assert_eq!(line, format!("{} still here", ann.address));
    }
    for client in [&mut ann, &mut bob] {
        client.script.type_line("quit");
        assert_eq!(client.script.output.next(), "bye bye");
        assert_eq!(client.script.exit_status().code(), Some(0));
        assert_eq!(client.script.errors.rest(), [""; 0]);
    }
}

#[test]
fn a_conversation_is_the_same_as_on_the_tutorials_server() {
    let (_tutorials, address) = naive_server("chat_server.py");
    let theirs = conversation(address);
    for workers in ["1", "2", "8"] {
        let ours = Program::start(&["--workers", workers]);
        assert_eq!(conversation(ours.address), theirs);
    }
    let lines = theirs.lines().count();
    assert_eq!(lines, 25, "all of the conversation is there:\n{theirs}");
}

/// What two stock clients print while they talk, with their names in place of
/// their addresses.
fn conversation(server: SocketAddr) -> String {
    let mut ann = chat_client(server);
    let mut bob = None;
    let (mut anns, mut bobs) = (String::new(), String::new());
    fn hears(client: &Script, transcript: &mut String) {
        *transcript += &client.output.next();
        transcript.push('\n');
    }
    // Who has heard his own text is registered: from then on he hears others.
    ann.type_line("I am ann");
    hears(&ann, &mut anns);
    for line in [
        "I am bob",
        "quit it, will you?",
        "  spaces  and\ttabs\t ",
        "Grüße, 世界 🎉 👩‍🚀",
        r#"C:\x41 {}[]%s%n \u{41} & 'quotes' "and" `more`"#,
        "@im@ home",
    ] {
        let bob = bob.get_or_insert_with(|| chat_client(server));
        bob.type_line(line);
        hears(bob, &mut bobs);
        hears(&ann, &mut anns);
    }
    let mut bob = bob.unwrap();
    for line in ["hi bob", "x"] {
        // Heartbeats, which nobody hears, and a long text, which just fits.
        ann.type_line("@IM@");
        ann.type_line(line);
        hears(&ann, &mut anns);
        hears(&bob, &mut bobs);
        ann.type_line(&line.repeat(900 / line.len()));
        hears(&ann, &mut anns);
        hears(&bob, &mut bobs);
    }
    // An empty line is an empty datagram: bob leaves, and comes back.
    bob.type_line("");
    bob.type_line("back again");
    hears(&bob, &mut bobs);
    hears(&ann, &mut anns);
    for (client, transcript) in [(&mut bob, &mut bobs), (&mut ann, &mut anns)] {
        client.type_line("Quit");
        hears(client, transcript);
        assert_eq!(client.exit_status().code(), Some(0));
    }
    let address_of = |transcript: &str| transcript.split(' ').next().unwrap().to_owned();
    let (ann, bob) = (address_of(&anns), address_of(&bobs));
    assert!(ann != bob && ann.starts_with("127.0.0.1:"), "{ann} {bob}");
    (anns + &bobs).replace(&ann, "ANN").replace(&bob, "BOB")
}

#[test]
fn a_stock_client_is_greeted_as_by_the_tutorials_server() {
    let (tutorials, address) = naive_server("greet_server.py");
    let banner = tutorials.output.next();
    let theirs = greeted(address);
    assert_eq!(
        theirs,
        "before connect: ('0.0.0.0', 0)\n\
         after connect: ('127.0.0.1', PORT)\n\
         hello,('127.0.0.1', PORT)"
    );
    for workers in ["1", "2", "8"] {
        let mut ours = Program::start(&["--service", "greet", "--workers", workers]);
        for _ in 0..3 {
            assert_eq!(greeted(ours.address), theirs);
        }
        assert_eq!(ours.printed().next(), banner);
    }
}

/// What a stock client prints, with `PORT` in place of its port.
fn greeted(server: SocketAddr) -> String {
    let (host, port) = (server.ip().to_string(), server.port().to_string());
    let mut client = script("greet_client.py", &[&host, &port, "hello world"]);
    let lines = client.output.rest();
    assert_eq!(client.exit_status().code(), Some(0));
    let transcript = lines.join("\n");
    let own = lines[1].rsplit(' ').next().unwrap().trim_end_matches(')');
    transcript.replace(own, "PORT")
}

/// Starts one of the naive servers on a free port.
fn naive_server(name: &str) -> (Script, SocketAddr) {
    let server = script(name, &["127.0.0.1", "0"]);
    let bound = server.errors.find("bound to ");
    let address = bound.rsplit(' ').next().unwrap().parse().unwrap();
    (server, address)
}
