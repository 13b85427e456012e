use std::fmt::Debug;

use super::*;
use crate::client::event::{Joined, Members};
use crate::client::ticket::Ticket;
use crate::wire::reply::NoticeCode;

const MS: Duration = Duration::from_millis(1);
const DONE: Answer = Answer::Done;

fn ada() -> Name {
    "ada".parse().unwrap()
}

fn den() -> RoomName {
    "den".parse().unwrap()
}

fn private(to: &str) -> Request {
    Request::Private {
        to: to.parse().unwrap(),
        text: "psst".to_owned(),
    }
}

/// Begins requests at the same time, and returns the lines.
fn send(requests: &mut Requests, sent: &[Request], now: Instant) -> Vec<String> {
    let begin = |(number, request): (usize, &Request)| {
        let mut line = Vec::new();
        let (responder, _) = Responder::new::<()>(number as u64);
        requests.push_line(request.clone(), responder, now, &mut line);
        String::from_utf8(line).unwrap()
    };
    sent.iter().enumerate().map(begin).collect()
}

/// Hands over a sentence of a server of version 1, and returns the results with the indices
/// of their requests.
fn reply(requests: &mut Requests, sentence: &str) -> Vec<(u64, Result<Answer, RequestError>)> {
    let reply = Reply::parse_uncoded(sentence.as_bytes()).unwrap();
    let is_answer = requests.replied(&reply);
    let results: Vec<_> = results(requests);
    assert_eq!(is_answer, !results.is_empty());
    results
}

fn results(requests: &mut Requests) -> Vec<(u64, Result<Answer, RequestError>)> {
    let results = requests.take_results();
    let respond = |(responder, result): (Responder, Result<Answer, RequestError>)| {
        let id = responder.id.0;
        responder.respond(result.clone());
        (id, result)
    };
    results.map(respond).collect()
}

#[track_caller]
fn assert_result<T: TryFrom<Answer> + Debug + PartialEq>(
    ticket: &Ticket<T>,
    expected: Result<T, RequestError>,
) {
    assert_eq!(ticket.wait(Duration::ZERO), expected);
}

#[test]
fn each_request_is_a_command() {
    let all = [
        (Request::Name(ada()), "/nick ada"),
        (Request::Room(den()), "/join den"),
        (private("bob"), "/msg bob psst"),
        (private("1.2.3.4:5"), "/msg 1.2.3.4:5 psst"),
        (Request::Members(1), "/who 1"),
        (Request::Rooms(7), "/rooms 7"),
        (Request::Presence(true), "/presence on"),
        (Request::Presence(false), "/presence off"),
        (Request::Ping, "/ping 000000000000abce"),
    ];
    for (request, expected) in all {
        let mut requests = Requests::new(0xABCD);
        let lines = send(
            &mut requests,
            std::slice::from_ref(&request),
            Instant::now(),
        );
        assert_eq!(lines, [expected]);
        let command = parse_command(lines[0].as_bytes());
        assert!(command.is_some_and(|command| command.is_ok()), "{expected}");
    }
}

#[test]
fn each_reply_is_the_result_of_its_request() {
    let all = [
        Request::Name(ada()),
        Request::Room(den()),
        private("bob"),
        Request::Members(1),
        Request::Rooms(1),
        Request::Presence(true),
    ];
    let refused = |refusal| Err(RequestError::Refused(refusal));
    let bob = || "bob".parse().unwrap();
    for (sentence, index, result) in [
        ("you are ada", 0, Ok(DONE)),
        ("ada is taken", 0, refused(Refusal::NameTaken(ada()))),
        ("name limit reached (5)", 0, refused(Refusal::NameLimit(5))),
        (
            "you are in den (1,234 here)",
            1,
            Ok(Answer::Joined(Joined {
                room: den(),
                members: 1234,
            })),
        ),
        ("den is full (2)", 1, refused(Refusal::RoomFull(den(), 2))),
        (
            "cannot create \"den\": room limit reached (3)",
            1,
            refused(Refusal::RoomLimit(den(), 3)),
        ),
        ("to bob: psst", 2, Ok(DONE)),
        ("no such peer: bob", 2, refused(Refusal::NoSuchPeer(bob()))),
        (
            "too many messages in one datagram",
            2,
            refused(Refusal::TooManyMessages),
        ),
        (
            "2 in den: ada 1.2.3.4:5",
            3,
            Ok(Answer::Members(Members {
                room: den(),
                list: Listing {
                    entries: vec!["ada".parse().unwrap(), "1.2.3.4:5".parse().unwrap()],
                    first: 1,
                    total: 2,
                },
            })),
        ),
        (
            "too many lists in one datagram",
            3,
            refused(Refusal::TooManyLists),
        ),
        (
            "9 rooms, 3 to 3: den (1) (more: /rooms 4)",
            4,
            Ok(Answer::Rooms(Listing {
                entries: vec![den()],
                first: 3,
                total: 9,
            })),
        ),
        ("presence is on", 5, Ok(DONE)),
        ("usage: /presence on|off", 5, refused(Refusal::Misuse)),
    ] {
        let mut requests = Requests::new(0);
        send(&mut requests, &all, Instant::now());
        assert_eq!(reply(&mut requests, sentence), [(index, result)]);
        assert_eq!(requests.pending.len(), all.len() - 1);
    }
}

#[test]
fn the_replies_to_other_requests_are_no_results() {
    let all = [
        Request::Name(ada()),
        Request::Room(den()),
        private("bob"),
        Request::Presence(true),
        Request::Ping,
    ];
    let mut requests = Requests::new(0);
    send(&mut requests, &all, Instant::now());
    for sentence in [
        "you are eve",
        "eve is taken",
        "you are in go (2 here)",
        "go is full (2)",
        "to eve: psst",
        "no such peer: eve",
        "1 in den: ada",
        "1 room: den (1)",
        "presence is off",
        "usage: /who [FROM]",
        "ada joined (2 here)",
        "pong 77",
    ] {
        assert_eq!(reply(&mut requests, sentence), [], "{sentence}");
    }
    assert_eq!(requests.pending.len(), all.len());
}

#[test]
fn a_room_has_the_same_name_in_any_case() {
    let mut requests = Requests::new(0);
    send(&mut requests, &[Request::Room(den())], Instant::now());
    let joined = Answer::Joined(Joined {
        room: "Den".parse().unwrap(),
        members: 2,
    });
    let results = reply(&mut requests, "you are in Den (2 here)");
    assert_eq!(results, [(0, Ok(joined))]);
}

#[test]
fn the_oldest_of_equal_requests_is_answered_first() {
    let mut requests = Requests::new(0);
    send(
        &mut requests,
        &[Request::Members(1), Request::Members(40)],
        Instant::now(),
    );
    for index in [0, 1] {
        let results = reply(&mut requests, "1 in den: ada");
        assert_eq!(results.len(), 1);
        assert_eq!(results[0].0, index);
    }
    assert_eq!(reply(&mut requests, "1 in den: ada"), []);
}

#[test]
fn a_ticket_has_the_answer_in_the_type_of_its_request() {
    let mut requests = Requests::new(0);
    let now = Instant::now();
    let mut out = Vec::new();
    let (responder, joined) = Responder::new::<Joined>(1);
    requests.push_line(Request::Room(den()), responder, now, &mut out);
    let (responder, members) = Responder::new::<Members>(2);
    requests.push_line(Request::Members(1), responder, now, &mut out);
    let (responder, rooms) = Responder::new::<Listing<RoomName>>(3);
    requests.push_line(Request::Rooms(1), responder, now, &mut out);
    let (responder, named) = Responder::new::<()>(4);
    requests.push_line(Request::Name(ada()), responder, now, &mut out);
    assert_result(&joined, Err(RequestError::Waiting));
    for sentence in [
        "you are in den (2 here)",
        "1 in den: ada",
        "1 room: den (1)",
        "you are ada",
    ] {
        reply(&mut requests, sentence);
    }
    let room = den();
    assert_result(&joined, Ok(Joined { room, members: 2 }));
    let members = members.wait(Duration::ZERO).unwrap();
    assert_eq!((members.room, members.list.total), (room, 1));
    assert_eq!(rooms.wait(Duration::ZERO).unwrap().entries, [room]);
    assert_result(&named, Ok(()));
}

#[test]
fn a_request_expires_without_an_answer() {
    let mut requests = Requests::new(0);
    let now = Instant::now();
    send(&mut requests, &[Request::Members(1), Request::Ping], now);
    send(&mut requests, &[Request::Rooms(1)], now + MS);
    assert_eq!(requests.oldest(), Some(now));
    requests.expire(now - MS);
    assert_eq!(results(&mut requests), []);
    requests.expire(now);
    let no_answer = || Err(RequestError::NoAnswer);
    assert_eq!(results(&mut requests), [(0, no_answer()), (1, no_answer())]);
    assert_eq!(requests.oldest(), Some(now + MS));
    requests.fail_all(&RequestError::Ended);
    assert_eq!(results(&mut requests), [(0, Err(RequestError::Ended))]);
    assert_eq!(requests.oldest(), None);
}

#[test]
fn a_server_that_says_the_command_to_everyone_has_not_understood_it() {
    let mut requests = Requests::new(0);
    let now = Instant::now();
    let all = [Request::Name(ada()), private("bob"), Request::Ping];
    let lines = send(&mut requests, &all, now);
    for text in ["hi", "/nick eve", "/msg bob", "/who 1", "/ping 77", "/"] {
        requests.text_received(text.as_bytes(), now);
        assert_eq!(results(&mut requests), [], "{text}");
    }
    for index in [1, 0] {
        let line = lines[index].as_bytes();
        requests.text_received(line, now);
        let expected = Err(RequestError::NotUnderstood);
        assert_eq!(results(&mut requests), [(index as u64, expected)]);
    }
    // The echo of a ping tells as much as its reply.
    requests.text_received(lines[2].as_bytes(), now + MS);
    assert_eq!(results(&mut requests), [(2, Ok(Answer::RoundTrip(MS)))]);
}

#[test]
fn a_pong_ends_its_own_round_trip_once() {
    let mut requests = Requests::new(u64::MAX);
    let now = Instant::now();
    let [first, second] =
        [now, now + MS].map(|now| requests.ping_token(Responder::new::<Duration>(1).0, now));
    assert_eq!(requests.token_received(&second, now + 3 * MS), Some(2 * MS));
    assert_eq!(requests.token_received(&first, now + 3 * MS), Some(3 * MS));
    assert_eq!(requests.token_received(&first, now + 4 * MS), None);
    for not_it in [&b""[..], b"?", b"12345678", b"?12345678"] {
        assert_eq!(requests.token_received(not_it, now), None);
    }
}

#[test]
fn in_v1_a_pong_is_a_line() {
    let mut requests = Requests::new(0xABCD);
    let now = Instant::now();
    let lines = send(&mut requests, &[Request::Ping, Request::Ping], now);
    assert_eq!(lines[1], "/ping 000000000000abcf");
    for not_it in [&b""[..], b"77", b"x", b"000000000000abd0"] {
        assert_eq!(requests.line_token_received(not_it, now), None);
    }
    let token = b"000000000000abcf";
    let round_trip = requests.line_token_received(token, now + MS);
    assert_eq!(round_trip, Some(MS));
    assert_eq!(requests.line_token_received(token, now), None);
    assert_eq!(results(&mut requests), [(1, Ok(Answer::RoundTrip(MS)))]);
    assert_eq!(requests.pending.len(), 1);
}

#[test]
fn only_the_tokens_of_recent_probes_are_known() {
    let mut requests = Requests::new(0x10);
    let mut line = Vec::new();
    requests.push_probe(&mut line);
    assert_eq!(line, b"/ping 0000000000000011");
    assert!(requests.is_recent_probe(b"0000000000000011"));
    for not_it in [&b"0000000000000012"[..], b"0000000000000001", b"", b"x"] {
        assert!(!requests.is_recent_probe(not_it));
    }
    assert_eq!(requests.oldest(), None, "nobody waits for it");
}

#[test]
fn replies_of_both_versions_are_parsed_alike() {
    let mut requests = Requests::new(0);
    send(&mut requests, &[Request::Name(ada())], Instant::now());
    let sentence = b"ada is taken";
    for wrong_code in [NoticeCode::Done, NoticeCode::Presence] {
        assert_eq!(Reply::parse(wrong_code, sentence), None);
    }
    let reply = Reply::parse(NoticeCode::Refused, sentence).unwrap();
    assert!(requests.replied(&reply));
}

#[test]
fn the_last_16_probes_are_recent() {
    let mut requests = Requests::new(5);
    let tokens: Vec<_> = (0..17)
        .map(|_| {
            let mut line = Vec::new();
            requests.push_probe(&mut line);
            line[b"/ping ".len()..].to_vec()
        })
        .collect();
    assert!(!requests.is_recent_probe(&tokens[0]));
    assert!(
        tokens[1..]
            .iter()
            .all(|token| requests.is_recent_probe(token))
    );
}
