//! Servers that speak version 1.

use super::*;

#[test]
fn in_v1_a_server_that_answers_commands_is_asked_and_texts_wait_for_its_answer() {
    let mut talk = Talk::at_first_of_two(ProtocolChoice::V1);
    assert_eq!(talk.sent(), ["@im@", "/nick ada", "/join chess"]);
    talk.hear(b"* you are ada");
    talk.hear(b"* you are in chess (1 here)");
    talk.refused();
    talk.go_to(OTHER);
    let sent = talk.sent();
    assert_eq!(sent[0], "@im@");
    assert!(sent[1].starts_with("/ping "), "{sent:?}");
    talk.say("secret of chess");
    assert_eq!(talk.sent(), [""; 0], "not to the lobby");
    let pong = format!("* pong {}", &sent[1]["/ping ".len()..]);
    let events = talk.hear(pong.as_bytes());
    let up = Event::Up(ProtocolVersion::V1);
    assert_eq!(events, [Event::ServerChanged(address(OTHER)), up]);
    // The heartbeats begin anew.
    let sent = talk.sent();
    assert_eq!(sent[2..], ["/nick ada", "/join chess", "secret of chess"]);
    // The name is requested again, without a word.
    assert_eq!(talk.hear(b"* ada is taken"), []);
    assert_eq!(talk.next(), (500, vec!["/nick ada".to_owned()]));
    let events = talk.hear(b"* you are ada");
    assert_eq!(lines(&events), ["* you are ada"]);
}

#[test]
fn in_v1_another_server_gets_a_proof_at_once() {
    let mut talk = Talk::at_first_of_two(ProtocolChoice::V1);
    talk.sent();
    talk.hear(b"* say /in 00000005");
    assert!(talk.sent().contains(&"/in 00000005".to_owned()));
    talk.refused();
    talk.go_to(OTHER);
    talk.sent();
    talk.hear(b"* say /in 00000006");
    assert!(talk.sent().contains(&"/in 00000006".to_owned()));
}

#[test]
fn in_v1_another_server_that_does_not_refuse_counts_as_up() {
    let mut talk = Talk::at_first_of_two(ProtocolChoice::V1);
    talk.sent();
    talk.refused();
    talk.go_to(OTHER);
    assert_eq!(talk.sent(), ["@im@"], "it may know no commands");
    let sent = talk.pass(1000);
    let up = Event::Up(ProtocolVersion::V1);
    assert_eq!(talk.events(), [Event::ServerChanged(address(OTHER)), up]);
    let requests = ["@im@", "/nick ada", "/join chess"];
    let requests = requests.map(|request| (1000, request.to_owned()));
    assert_eq!(sent, requests);
}
