//! Sessions of the client library, of both versions, with a server that wants proof of every
//! address.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use bullhorn::client::{Event, ProtocolChoice, Session, SessionConfig};
use common::{TIMEOUT, TestServer, V4, answer, connect_with, strict_config, wait_until};

#[test]
fn the_first_texts_of_both_versions_arrive_in_their_room_under_their_name() {
    for choice in [ProtocolChoice::V1, ProtocolChoice::V2] {
        let server = TestServer::start(strict_config(2, V4));
        let other = connect_with(ProtocolChoice::V2, server.local_addr());
        answer(other.join("den".parse().unwrap()));
        let mut config = SessionConfig::new(server.local_addr().into());
        config.protocol = choice;
        config.nick = "ada".parse().ok();
        config.room = "den".parse().ok();
        config.greeting_timeout = TIMEOUT;
        config.answer_timeout = TIMEOUT;
        let session = Session::connect(config).unwrap();
        let tickets = ["one", "two"].map(|text| session.say(text).unwrap());
        for ticket in tickets {
            assert_eq!(ticket.wait(TIMEOUT), Ok(()), "{choice:?}");
        }
        let mut texts = Vec::new();
        while texts.len() < 2 {
            if let Event::Message(message) = common::next_event(&other) {
                assert_eq!(message.from, "ada".parse().unwrap());
                texts.push(message.text().into_owned());
            }
        }
        texts.sort();
        assert_eq!(texts, ["one", "two"]);
        wait_until("the room", || session.room() == "den".parse().ok());
        let challenges = u64::from(choice == ProtocolChoice::V1);
        assert_eq!(server.stats().total().challenges, challenges);
    }
}
