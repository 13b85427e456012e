use std::time::Duration;

use super::*;
use crate::client::ticket::Ticket;

const MS: Duration = Duration::from_millis(1);

fn say(echoes: &mut Echoes, text: impl AsRef<[u8]>, now: Instant) -> Ticket<()> {
    let (responder, ticket) = Responder::new(1);
    echoes.said(text.as_ref().to_vec(), responder, now);
    ticket
}

fn payloads(payloads: &[&str]) -> Vec<Vec<u8>> {
    let payloads = payloads.iter();
    payloads
        .map(|payload| payload.as_bytes().to_vec())
        .collect()
}

fn is_delivered(ticket: &Ticket<()>) -> bool {
    ticket.wait(Duration::ZERO) == Ok(())
}

/// Hands the results to the tickets, as the session does.
fn respond(echoes: &mut Echoes) {
    for (responder, result) in echoes.results.drain(..) {
        responder.respond(result);
    }
}

#[test]
fn an_echo_delivers_its_text_once() {
    let mut echoes = Echoes::default();
    let now = Instant::now();
    let tickets = ["one", "two", "one"].map(|text| say(&mut echoes, text, now));
    assert_eq!(echoes.message_received(b"other", true), None);
    for (text, ticket) in ["one", "two", "one"].into_iter().zip(&tickets) {
        assert_eq!(echoes.message_received(text.as_bytes(), true), Some(vec![]));
        respond(&mut echoes);
        assert!(is_delivered(ticket));
    }
    assert_eq!(echoes.message_received(b"one", true), None);
    assert_eq!(echoes.oldest(), None);
}

#[test]
fn an_echo_stands_for_the_lost_ones_before_it() {
    let mut echoes = Echoes::default();
    let now = Instant::now();
    let tickets = ["one", "two", "three", "four"].map(|text| say(&mut echoes, text, now));
    let missing = echoes.message_received(b"three", true);
    assert_eq!(missing, Some(payloads(&["one", "two"])));
    respond(&mut echoes);
    let results = tickets.each_ref().map(|ticket| ticket.wait(Duration::ZERO));
    let lost = Err(RequestError::NoAnswer);
    assert_eq!(results[..3], [lost.clone(), lost, Ok(())]);
    assert_eq!(echoes.message_received(b"four", true), Some(vec![]));
}

#[test]
fn the_text_of_another_peer_may_be_an_echo_but_proves_no_loss() {
    let mut echoes = Echoes::default();
    let now = Instant::now();
    let tickets = ["one", "two"].map(|text| say(&mut echoes, text, now));
    assert_eq!(echoes.message_received(b"two", false), Some(vec![]));
    respond(&mut echoes);
    assert!(is_delivered(&tickets[1]));
    assert_eq!(echoes.message_received(b"one", true), Some(vec![]));
    respond(&mut echoes);
    assert!(is_delivered(&tickets[0]));
}

#[test]
fn in_v1_the_echo_is_printable() {
    let mut echoes = Echoes::default();
    let ticket = say(&mut echoes, "a\x1b[2J ümlaut", Instant::now());
    assert_eq!(echoes.text_received(b"a\x1b[2J", 30, true), None);
    let echo = "a\\x1b[2J ümlaut".as_bytes();
    assert_eq!(echoes.text_received(echo, 40, true), Some(vec![]));
    respond(&mut echoes);
    assert!(is_delivered(&ticket));
}

#[test]
fn in_v1_the_echo_of_a_long_text_is_cut() {
    let mut echoes = Echoes::default();
    let long = "x".repeat(1100);
    for cut_bytes in 0..=7 {
        let ticket = say(&mut echoes, &long, Instant::now());
        let line_bytes = MAX_TEXT_DATAGRAM - cut_bytes;
        let text = &long.as_bytes()[..line_bytes - "1.2.3.4:5 ".len()];
        assert_eq!(echoes.text_received(text, line_bytes, true), Some(vec![]));
        respond(&mut echoes);
        assert!(is_delivered(&ticket));
    }
    say(&mut echoes, &long, Instant::now());
    let short = &long.as_bytes()[..500];
    assert_eq!(echoes.text_received(short, 510, true), None, "another text");
    let other = "y".repeat(1014);
    assert_eq!(echoes.text_received(other.as_bytes(), 1024, true), None);
}

#[test]
fn without_an_echo_a_text_expires() {
    let mut echoes = Echoes::default();
    let now = Instant::now();
    let tickets = [0, 0, 1].map(|ms| say(&mut echoes, ms.to_string(), now + ms * MS));
    assert_eq!(echoes.oldest(), Some(now));
    assert!(echoes.expire(now - MS).is_empty());
    assert_eq!(echoes.expire(now), payloads(&["0", "0"]));
    assert_eq!(echoes.oldest(), Some(now + MS));
    respond(&mut echoes);
    assert_eq!(tickets[0].wait(Duration::ZERO), Err(RequestError::NoAnswer));
}

#[test]
fn the_number_of_missing_echoes_is_bounded() {
    let mut echoes = Echoes::default();
    let now = Instant::now();
    for _ in 0..MAX_PENDING {
        assert!(echoes.has_space());
        say(&mut echoes, "hi", now);
    }
    assert!(!echoes.has_space());
    echoes.message_received(b"hi", true);
    assert!(echoes.has_space());
}
