//! Version 1.

use super::*;

#[test]
fn texts_are_received_and_anything_else_is_ignored() {
    let mut talk = Talk::new(ProtocolChoice::V1);
    talk.sent();
    for empty in [&b""[..], b"\n", b"\r\n"] {
        let events = talk.hear(empty);
        assert!(lines(&events).is_empty(), "{events:?}");
    }
    for (line, expected) in [
        (&b"ada hi\n"[..], "ada hi"),
        (b"1.2.3.4:5 hi\r\n", "1.2.3.4:5 hi"),
        (b"[::1]:5 hi", "[::1]:5 hi"),
        (b"ada a \xff\xfe b", "ada a \u{fffd}\u{fffd} b"),
    ] {
        let events = talk.hear(line);
        assert!(matches!(events[..], [Event::Message(_)]), "{events:?}");
        assert_eq!(lines(&events), [expected]);
    }
    // Other servers may write anything.
    for line in [&b"welcome"[..], b"<ada> a \xff b"] {
        let events = talk.hear(line);
        assert!(matches!(events[..], [Event::Notice { .. }]), "{events:?}");
    }
    let private = talk.hear(b"* ada to you: psst");
    assert!(matches!(private[..], [Event::Private(_)]), "{private:?}");
    assert_eq!(lines(&private), ["* ada to you: psst"]);
    let notice = talk.hear(b"* the server is tired");
    assert_eq!(lines(&notice), ["* the server is tired"]);
}

#[test]
fn a_long_line_may_be_cut_and_no_more_than_that_is_read() {
    let mut talk = Talk::new(ProtocolChoice::V1);
    talk.sent();
    for (bytes, may_be_cut) in [(1015, false), (1016, true), (1024, true), (60_000, true)] {
        let line = format!("ada {}", "x".repeat(bytes - 4));
        let events = talk.hear(line.as_bytes());
        let Some(Event::Message(message)) = events.last() else {
            panic!("{events:?}");
        };
        assert_eq!(message.may_be_cut, may_be_cut, "{bytes}");
        assert_eq!(message.payload.len(), bytes.min(1024) - 4);
    }
}

#[test]
fn texts_are_sent_as_they_are_but_for_commands() {
    let mut talk = Talk::new(ProtocolChoice::V1);
    talk.sent();
    for (text, expected) in [
        (" spaces ", " spaces "),
        ("quit it", "quit it"),
        ("@im@ not", "@im@ not"),
        ("ümlaut", "ümlaut"),
        ("/shrug", "/shrug"),
        ("/who", " /who"),
        ("/NICK eve", " /NICK eve"),
        ("/msg", " /msg"),
        (" /who", " /who"),
    ] {
        let ticket = talk.say(text);
        assert_eq!(talk.sent(), [expected]);
        let events = talk.hear(format!("127.0.0.1:5 {expected}").as_bytes());
        assert_eq!(payloads(&events), [expected]);
        assert_result(&ticket, Ok(()));
    }
}

#[test]
fn in_v2_a_text_that_begins_with_a_verb_is_one_as_it_is() {
    let mut talk = Talk::welcomed();
    talk.say("/who");
    talk.say_bytes(b"/leave");
    assert_eq!(talk.sent(), ["7: say /who + say /leave"]);
}

#[test]
fn a_request_is_a_line() {
    let mut talk = Talk::fallen_back();
    let _: Ticket<()> = talk.request(Request::Members(1));
    talk.say("hi");
    assert_eq!(talk.sent(), ["/who 1", "hi"]);
}

#[test]
fn a_server_that_sends_no_echoes_delivers_what_is_sent() {
    let mut config = config(ProtocolChoice::V1);
    config.expects_echo = false;
    let mut talk = Talk::with(config);
    let ticket = talk.say("hi");
    assert_eq!(talk.sent(), ["@im@", "hi"]);
    talk.pass(999);
    assert_waits(&talk, &ticket);
    talk.pass(1);
    assert_eq!(talk.events(), []);
    assert_result(&ticket, Ok(()));
    talk.pass(10_000);
    assert_eq!(talk.down(), None);
    assert_eq!(talk.events(), []);
    // The refusal comes after the text was sent.
    let refused_text = talk.say("hi");
    talk.sent();
    let expected = [Event::Down(refused()), undelivered(&["hi"], true)];
    assert_eq!(talk.refused(), expected);
    assert_result(&refused_text, Err(RequestError::Down(refused())));
}

#[test]
fn a_text_that_looks_like_one_of_another_server_has_a_blank_before_it() {
    let mut talk = Talk::new(ProtocolChoice::V1);
    talk.sent();
    for text in [
        "127.0.0.1:9999 is down",
        "[::1]:9999 hi",
        "hello,('127.0.0.1', 9999)",
    ] {
        let ticket = talk.say(text);
        assert_eq!(talk.sent(), [format!(" {text}")]);
        talk.hear(format!("127.0.0.1:5  {text}").as_bytes());
        assert_result(&ticket, Ok(()));
    }
    talk.say("127.0.0.1:9999");
    talk.say("127.0.0.1 is down");
    assert_eq!(talk.sent(), ["127.0.0.1:9999", "127.0.0.1 is down"]);
    // It is reported as it was said.
    talk.say("1.2.3.4:5 hi");
    talk.sent();
    let lost = undelivered(
        &["127.0.0.1:9999", "127.0.0.1 is down", "1.2.3.4:5 hi"],
        true,
    );
    assert_eq!(talk.refused(), [Event::Down(refused()), lost]);
}

#[test]
fn a_v1_server_is_probed_when_it_has_shown_that_it_knows_commands() {
    let mut talk = Talk::new(ProtocolChoice::V1);
    assert_eq!(talk.sent(), ["@im@"]);
    talk.hear(b"1.2.3.4:5 hi");
    assert_eq!(talk.next(), (5000, vec!["@im@".to_owned()]));
    // Anyone may write such a line. Only a reply shows that the server knows commands.
    talk.hear(b"* ada joined (2 here)");
    assert_eq!(talk.next(), (5000, vec!["@im@".to_owned()]));
    let _: Ticket<()> = talk.request(Request::Presence(true));
    talk.sent();
    talk.hear(b"* presence is on");
    let mut probes = Vec::new();
    for _ in 0..3 {
        let (wait, sent) = talk.next();
        assert_eq!((wait, sent[0].as_str(), sent.len()), (5000, "@im@", 2));
        let answer = sent[1].replace("/ping", "* pong");
        assert_eq!(talk.hear(answer.as_bytes()), [], "nobody asked for it");
        probes.push(sent[1].clone());
    }
    probes.dedup();
    assert_eq!(probes.len(), 3);
    // Without a reply the server is down.
    assert_eq!(talk.next().0, 5000);
    for _ in 0..2 {
        let (wait, sent) = talk.next();
        assert_eq!((wait, sent.len()), (1000, 2));
    }
    talk.pass(1000);
    assert_eq!(
        talk.events(),
        [Event::Down(DownReason::NoAnswer(3000 * MS))]
    );
    // It may be another one, which knows no commands.
    let (_, sent) = talk.next();
    assert_eq!(sent, ["@im@"]);
}

#[test]
fn a_line_that_came_before_a_refusal_proves_nothing() {
    let mut talk = Talk::new(ProtocolChoice::V1);
    talk.sent();
    talk.hear(b"1.2.3.4:5 hi");
    talk.refused();
    talk.protocol
        .handle_datagram(b"1.2.3.4:5 ho", false, talk.now);
    assert_eq!(payloads(&talk.events()), ["ho"]);
    assert_eq!(talk.down(), Some(refused()));
}

#[test]
fn a_text_to_a_v1_server_that_is_down_may_bring_the_news_that_it_is_back() {
    let mut talk = Talk::new(ProtocolChoice::V1);
    talk.sent();
    talk.refused();
    let ticket = talk.say("back?");
    assert_eq!(talk.sent(), ["back?"]);
    let events = talk.hear(b"127.0.0.1:5 back?");
    assert_eq!(events[0], Event::Up(ProtocolVersion::V1));
    assert_result(&ticket, Ok(()));
}
