use super::*;
use crate::wire::reply::NoticeCode;
use crate::wire::{Limit, LimitScope, parse_command};

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

/// A result, with the number of its request.
type Numbered = (u64, Result<Answer, RequestError>);

/// Requests that were sent at the same time, with their indices as numbers.
fn asked(sent: &[Request], now: Instant) -> Unanswered<Asked> {
    let mut requests = Unanswered::default();
    for (number, request) in sent.iter().enumerate() {
        let (responder, _) = Responder::new::<()>(number as u64);
        let asked = Asked {
            request: request.clone(),
            sent_at: now,
            responder: Some(responder),
        };
        requests.push(now, asked);
    }
    requests
}

fn answered((asked, result): (Asked, Result<Answer, RequestError>)) -> Numbered {
    numbered((asked.responder, result))
}

fn numbered((responder, result): Answered) -> Numbered {
    (responder.unwrap().id.0, result)
}

/// Hands over a sentence of a server of version 1, and returns the result.
fn reply(requests: &mut Unanswered<Asked>, sentence: &str) -> Option<Numbered> {
    let reply = Reply::parse_uncoded(sentence.as_bytes()).unwrap();
    requests.replied(&reply, Instant::now()).map(answered)
}

fn line(request: &Request) -> String {
    let mut line = Vec::new();
    request.push_line(&mut line);
    String::from_utf8(line).unwrap()
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
        (Request::Ping(0xabce), "/ping 000000000000abce"),
    ];
    for (request, expected) in all {
        let line = line(&request);
        assert_eq!(line, expected);
        assert!(request.is_command(line.as_bytes()));
        let command = parse_command(line.as_bytes());
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
    let in_network = |max| Limit {
        max,
        scope: LimitScope::Network,
    };
    let bob = || "bob".parse().unwrap();
    for (sentence, index, result) in [
        ("you are ada", 0, Ok(DONE)),
        ("ada is taken", 0, refused(Refusal::NameTaken(ada()))),
        (
            "name limit reached (5)",
            0,
            refused(Refusal::NameLimit(Limit::of_server(5))),
        ),
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
            "cannot create \"den\": room limit reached (3 in your network)",
            1,
            refused(Refusal::RoomLimit(den(), in_network(3))),
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
        let mut requests = asked(&all, Instant::now());
        assert_eq!(reply(&mut requests, sentence), Some((index, result)));
        assert_eq!(requests.len(), all.len() - 1);
    }
}

#[test]
fn the_replies_to_other_requests_are_no_results() {
    let all = [
        Request::Name(ada()),
        Request::Room(den()),
        private("bob"),
        Request::Presence(true),
        Request::Ping(1),
    ];
    let mut requests = asked(&all, Instant::now());
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
        assert_eq!(reply(&mut requests, sentence), None, "{sentence}");
    }
    assert_eq!(requests.len(), all.len());
}

#[test]
fn a_room_has_the_same_name_in_any_case() {
    let mut requests = asked(&[Request::Room(den())], Instant::now());
    let joined = Answer::Joined(Joined {
        room: "Den".parse().unwrap(),
        members: 2,
    });
    let result = reply(&mut requests, "you are in Den (2 here)");
    assert_eq!(result, Some((0, Ok(joined))));
}

#[test]
fn the_oldest_of_equal_requests_is_answered_first() {
    let equal = [Request::Members(1), Request::Members(40)];
    let mut requests = asked(&equal, Instant::now());
    for index in [0, 1] {
        let (number, _) = reply(&mut requests, "1 in den: ada").unwrap();
        assert_eq!(number, index);
    }
    assert_eq!(reply(&mut requests, "1 in den: ada"), None);
}

#[test]
fn a_server_that_says_the_command_to_everyone_has_not_understood_it() {
    let now = Instant::now();
    let all = [Request::Name(ada()), private("bob"), Request::Ping(1)];
    let mut requests = asked(&all, now);
    for text in ["hi", "/nick eve", "/msg bob", "/who 1", "/ping 77", "/"] {
        assert!(
            requests.text_received(text.as_bytes(), now).is_none(),
            "{text}"
        );
    }
    let round_trip = Ok(Answer::RoundTrip(MS));
    for (index, expected) in [
        (1, Err(RequestError::NotUnderstood)),
        (0, Err(RequestError::NotUnderstood)),
        // The echo of a ping tells as much as its reply.
        (2, round_trip),
    ] {
        let line = line(&all[index]);
        let result = requests.text_received(line.as_bytes(), now + MS);
        assert_eq!(result.map(numbered), Some((index as u64, expected)));
    }
}

#[test]
fn a_pong_ends_its_own_round_trip_once() {
    let now = Instant::now();
    let mut requests = asked(&[Request::Ping(0xabce), Request::Ping(u64::MAX)], now);
    let mut pong = |token: &str, ms: u32| {
        let reply = Reply::Pong(token.as_bytes());
        requests.replied(&reply, now + ms * MS).map(answered)
    };
    for not_it in ["", "77", "x", "abce", "000000000000abcf"] {
        assert_eq!(pong(not_it, 1), None);
    }
    let second = Ok(Answer::RoundTrip(2 * MS));
    assert_eq!(pong("ffffffffffffffff", 2), Some((1, second)));
    let first = Ok(Answer::RoundTrip(3 * MS));
    assert_eq!(pong("000000000000abce", 3), Some((0, first)));
    assert_eq!(pong("000000000000abce", 4), None);
}

#[test]
fn pings_have_numbers_of_their_own() {
    assert_ne!(Request::ping(), Request::ping());
}

#[test]
fn replies_of_both_versions_are_parsed_alike() {
    let mut requests = asked(&[Request::Name(ada())], Instant::now());
    let sentence = b"ada is taken";
    for wrong_code in [NoticeCode::Done, NoticeCode::Presence] {
        assert_eq!(Reply::parse(wrong_code, sentence), None);
    }
    let reply = Reply::parse(NoticeCode::Refused, sentence).unwrap();
    assert!(requests.replied(&reply, Instant::now()).is_some());
}
