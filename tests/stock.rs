//! Stock clients, which are Python programs written for the server of a tutorial. For them
//! this server must behave as that one does, and send nothing that they cannot handle.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::net::SocketAddr;

use common::{Lines, Script, ServerProgram, stock_script};

#[test]
fn two_stock_clients_receive_texts_of_each_other() {
    let mut server = ServerProgram::start(&["--workers", "2"]);
    let log = server.log();
    let mut ann = registered_client(&server, &log);
    let mut bob = registered_client(&server, &log);
    ann.script.type_line("hello, Grüße 🎉");
    for receiver in [&ann, &bob] {
        let line = receiver.script.output.next();
        assert_eq!(line, format!("{} hello, Grüße 🎉", ann.address));
    }
    bob.script.type_line("hi ann");
    for receiver in [&ann, &bob] {
        let line = receiver.script.output.next();
        assert_eq!(line, format!("{} hi ann", bob.address));
    }

    bob.script.type_line("QUIT");
    assert_eq!(bob.script.output.next(), "bye bye");
    assert_eq!(bob.script.exit_status().code(), Some(0));
    log.find(&format!("{} is down", bob.address));
    ann.script.type_line("bye bob");
    let line = ann.script.output.next();
    assert_eq!(line, format!("{} bye bob", ann.address));
}

#[test]
fn stock_clients_use_rooms_by_typing_commands() {
    let mut server = ServerProgram::start(&["--workers", "2"]);
    let log = server.log();
    let mut ann = registered_client(&server, &log);
    let mut bob = registered_client(&server, &log);
    let (anns, bobs) = (ann.address.clone(), bob.address.clone());
    ann.expect_reply("/nick ada", "you are ada");
    ann.expect_reply("/join den", "you are in den (1 here)");
    ann.expect_reply("/who", "1 in den: ada");
    bob.expect_reply("/who", &format!("1 in lobby: {bobs}"));
    bob.expect_reply("/rooms", "2 rooms: lobby (1) den (1)");
    // A text that reached the wrong room would be the next line of its receiver.
    ann.script.type_line("den only");
    assert_eq!(ann.script.output.next(), "ada den only");
    bob.script.type_line("lobby only");
    assert_eq!(bob.script.output.next(), format!("{bobs} lobby only"));
    bob.expect_reply("/msg ada psst", "to ada: psst");
    assert_eq!(ann.script.output.next(), format!("* {bobs} to you: psst"));
    ann.expect_reply("/presence on", "presence is on");
    bob.expect_reply("/join den", "you are in den (2 here)");
    assert_eq!(
        ann.script.output.next(),
        format!("* {bobs} joined (2 here)")
    );
    ann.script.type_line("both of us");
    for receiver in [&ann, &bob] {
        assert_eq!(receiver.script.output.next(), "ada both of us");
    }
    bob.expect_reply("/nick", "usage: /nick NAME (1 to 24 of A-Z a-z 0-9 _ -)");
    bob.expect_reply("/msg eve hi", "no such peer: eve");
    ann.script.type_line("/shrug");
    for receiver in [&ann, &bob] {
        assert_eq!(receiver.script.output.next(), "ada /shrug");
    }
    // A heartbeat keeps name and room. A leave releases them.
    ann.script.type_line("@im@");
    ann.expect_reply("/who", &format!("2 in den: ada {bobs}"));
    ann.script.type_line("quit");
    assert_eq!(ann.script.output.next(), "bye bye");
    log.find(&format!("{anns} is down"));
    bob.expect_reply("/nick Ada", "you are Ada");
    bob.expect_reply("/leave", "you are in lobby (1 here)");
}

#[test]
fn a_stock_client_survives_hostile_datagrams_of_others() {
    let mut server = ServerProgram::start(&["--workers", "2"]);
    let log = server.log();
    let mut ann = registered_client(&server, &log);
    let mut bob = registered_client(&server, &log);
    let attacker = server.client();
    let from = attacker.address();
    for (hostile, received) in [
        (&b"\xc3\x28\xf0\x9f\x98"[..], "\u{fffd}(\u{fffd}"),
        (b"\x1b]0;owned\x07\x1b[2J", r"\x1b]0;owned\x07\x1b[2J"),
        (b"x\n127.0.0.1:1 forged", r"x\x0a127.0.0.1:1 forged"),
        (b"\0x", r"\x00x"),
        ("\u{202e}\u{2028}".as_bytes(), r"\u{202e}\u{2028}"),
    ] {
        attacker.send(hostile);
        for receiver in [&ann, &bob] {
            let line = receiver.script.output.next();
            assert_eq!(line, format!("{from} {received}"));
        }
    }
    for char in ['x', 'ü', '世'] {
        attacker.send(String::from(char).repeat(4000 / char.len_utf8()).as_bytes());
        for receiver in [&ann, &bob] {
            let line = receiver.script.output.next();
            let text = line.strip_prefix(&format!("{from} ")).unwrap();
            assert!(text.chars().all(|received| received == char), "{text}");
            assert!((1024 - char.len_utf8() + 1..=1024).contains(&line.len()));
        }
    }
    for silent in [
        &b"\xff\x02\x04"[..],
        b"",
        b"quit",
        b"@im@",
        b"\n",
        b"\0",
        b" quit \0",
    ] {
        attacker.send(silent);
    }
    attacker.send(b"enough");
    ann.script.output.find("enough");
    bob.script.output.find("enough");

    ann.script.type_line("still here");
    for receiver in [&ann, &bob] {
        let line = receiver.script.output.next();
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
fn a_conversation_equals_that_on_the_server_of_the_tutorial() {
    let (_tutorial, address) = naive_server("chat_server.py");
    let theirs = conversation(address);
    for workers in ["1", "2", "8"] {
        let ours = ServerProgram::start(&["--workers", workers]);
        assert_eq!(conversation(ours.address), theirs);
    }
    let lines = theirs.lines().count();
    assert_eq!(lines, 25, "the conversation is complete:\n{theirs}");
}

/// Returns the output of two stock clients in a conversation, with their names instead of
/// their addresses.
fn conversation(server: SocketAddr) -> String {
    let mut ann = chat_client(server);
    let mut bob = None;
    let (mut anns, mut bobs) = (String::new(), String::new());
    fn receive(client: &Script, transcript: &mut String) {
        *transcript += &client.output.next();
        transcript.push('\n');
    }
    // A client that has received its own text is registered, so it receives all others.
    ann.type_line("I am ann");
    receive(&ann, &mut anns);
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
        receive(bob, &mut bobs);
        receive(&ann, &mut anns);
    }
    let mut bob = bob.unwrap();
    for line in ["hi bob", "x"] {
        // A heartbeat, which is not delivered, and a long text, which just fits.
        ann.type_line("@IM@");
        ann.type_line(line);
        receive(&ann, &mut anns);
        receive(&bob, &mut bobs);
        ann.type_line(&line.repeat(900 / line.len()));
        receive(&ann, &mut anns);
        receive(&bob, &mut bobs);
    }
    // An empty line is an empty datagram, so Bob leaves, and then returns.
    bob.type_line("");
    bob.type_line("back again");
    receive(&bob, &mut bobs);
    receive(&ann, &mut anns);
    for (client, transcript) in [(&mut bob, &mut bobs), (&mut ann, &mut anns)] {
        client.type_line("Quit");
        receive(client, transcript);
        assert_eq!(client.exit_status().code(), Some(0));
    }
    let address_of = |transcript: &str| transcript.split(' ').next().unwrap().to_owned();
    let (ann, bob) = (address_of(&anns), address_of(&bobs));
    assert!(ann != bob && ann.starts_with("127.0.0.1:"), "{ann} {bob}");
    (anns + &bobs).replace(&ann, "ANN").replace(&bob, "BOB")
}

#[test]
fn a_greeting_equals_that_of_the_server_of_the_tutorial() {
    let (tutorial, address) = naive_server("greet_server.py");
    let banner = tutorial.output.next();
    let theirs = greet(address);
    assert_eq!(
        theirs,
        "before connect: ('0.0.0.0', 0)\n\
         after connect: ('127.0.0.1', PORT)\n\
         hello,('127.0.0.1', PORT)"
    );
    for workers in ["1", "2", "8"] {
        let mut ours = ServerProgram::start(&["--service", "greet", "--workers", workers]);
        for _ in 0..3 {
            assert_eq!(greet(ours.address), theirs);
        }
        assert_eq!(ours.printed().next(), banner);
    }
}

/// Returns the output of a stock greeting client, with `PORT` instead of its port.
fn greet(server: SocketAddr) -> String {
    let (host, port) = (server.ip().to_string(), server.port().to_string());
    let mut client = stock_script("greet_client.py", &[&host, &port, "hello world"]);
    let lines = client.output.rest();
    assert_eq!(client.exit_status().code(), Some(0));
    let transcript = lines.join("\n");
    let own = lines[1].rsplit(' ').next().unwrap().trim_end_matches(')');
    transcript.replace(own, "PORT")
}

/// Starts one of the naive servers on a free port.
fn naive_server(name: &str) -> (Script, SocketAddr) {
    let server = stock_script(name, &["127.0.0.1", "0"]);
    let bound = server.errors.find("bound to ");
    let address = bound.rsplit(' ').next().unwrap().parse().unwrap();
    (server, address)
}

/// A chat client and its address.
struct StockClient {
    script: Script,
    address: String,
}

impl StockClient {
    /// Types a command. The next line must be this reply.
    #[track_caller]
    fn expect_reply(&mut self, command: &str, reply: &str) {
        self.script.type_line(command);
        let line = self.script.output.next();
        assert_eq!(line, format!("* {reply}"), "{command}");
    }
}

/// Starts a chat client, which registers by its first heartbeat.
fn registered_client(server: &ServerProgram, log: &Lines) -> StockClient {
    let script = chat_client(server.address);
    let line = log.find(" is here");
    let mut words = line.split_whitespace().rev().skip(2);
    let address = words.next().unwrap().to_owned();
    StockClient { script, address }
}

fn chat_client(server: SocketAddr) -> Script {
    let (host, port) = (server.ip().to_string(), server.port().to_string());
    // The second heartbeat would come long after the end of the test.
    stock_script("chat_client.py", &[&host, &port, "--interval", "3600"])
}
