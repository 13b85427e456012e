use super::*;

fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).unwrap()
}

fn room(text: &str) -> RoomName {
    RoomName::parse(text.as_bytes()).unwrap()
}

fn named(identity: &mut Identity, name: Name) -> Confirmation {
    identity.replied(&Reply::Named(name), false)
}

fn ada_in_chess() -> Identity {
    Identity::new(Some(name("ada")), Some(room("chess")))
}

fn due(identity: &mut Identity) -> Vec<String> {
    let line = |request: Request| {
        let mut line = Vec::new();
        request.push_line(&mut line);
        String::from_utf8(line).unwrap()
    };
    let now = Instant::now();
    std::iter::from_fn(|| identity.take_due(now))
        .map(line)
        .collect()
}

/// Begins a new session, and returns what it requests.
fn renewed(identity: &mut Identity) -> Vec<String> {
    identity.renew(ATTEMPTS_V2);
    due(identity)
}

#[test]
fn a_refusal_is_told_once_until_the_application_asks() {
    let mut identity = ada_in_chess();
    renewed(&mut identity);
    for is_repeated in [false, true, true] {
        for sentence in ["ada is taken", "chess is full (2)"] {
            assert_eq!(identity.is_repeated_refusal(sentence), is_repeated);
        }
        identity.beat();
    }
    identity.requested(&Request::Name(name("ada")));
    assert!(!identity.is_repeated_refusal("ada is taken"));
    identity.requested(&Request::Room(room("chess")));
    assert!(!identity.is_repeated_refusal("ada is taken"));
    renewed(&mut identity);
    assert!(!identity.is_repeated_refusal("ada is taken"));
    // More than there can be are not kept.
    for number in 0..10 {
        assert!(!identity.is_repeated_refusal(&format!("no {number}")));
    }
    assert_eq!(identity.refusals.len(), MAX_REFUSALS);
    // A session that has both requests nothing by itself.
    named(&mut identity, name("ada"));
    identity.entered(room("chess"));
    assert!(!identity.is_repeated_refusal("no 0"));
}

#[test]
fn name_and_room_are_requested_in_each_session_until_they_are_confirmed() {
    let mut identity = ada_in_chess();
    assert_eq!(due(&mut identity), [""; 0], "there is no session yet");
    assert_eq!(renewed(&mut identity), ["/nick ada", "/join chess"]);
    assert_eq!(due(&mut identity), [""; 0]);
    assert_eq!(identity.entered(room("chess")), Confirmation::Changed);
    for _ in 1..ATTEMPTS_V2 {
        identity.beat();
        assert_eq!(due(&mut identity), ["/nick ada"]);
    }
    identity.beat();
    assert_eq!(due(&mut identity), [""; 0]);
    assert_eq!(identity.name(), None);
    assert_eq!(identity.room(), Some(room("chess")));
    assert_eq!(renewed(&mut identity), ["/nick ada", "/join chess"]);
    assert_eq!(identity.room(), None);
}

#[test]
fn the_last_confirmed_name_and_room_are_restored_and_nothing_else() {
    let mut identity = ada_in_chess();
    renewed(&mut identity);
    identity.requested(&Request::Name(name("bob")));
    identity.requested(&Request::Room(room("go")));
    identity.beat();
    assert_eq!(due(&mut identity), [""; 0], "the application counts more");
    // No answer, or a refusal.
    assert_eq!(renewed(&mut identity), ["/nick ada", "/join chess"]);
    identity.requested(&Request::Name(name("bob")));
    assert_eq!(named(&mut identity, name("eve")), Confirmation::Unrequested);
    assert_eq!(identity.name(), None);
    assert_eq!(named(&mut identity, name("bob")), Confirmation::Changed);
    assert_eq!(named(&mut identity, name("bob")), Confirmation::Known);
    assert_eq!(identity.entered(room("go")), Confirmation::Changed);
    assert_eq!(identity.entered(room("go")), Confirmation::Known);
    assert_eq!(identity.name(), Some(name("bob")));
    assert_eq!(renewed(&mut identity), ["/nick bob", "/join go"]);
}

#[test]
fn a_session_that_went_to_the_lobby_stays_there() {
    let mut identity = ada_in_chess();
    renewed(&mut identity);
    identity.requested(&Request::Room(room("LOBBY")));
    identity.entered(room("Lobby"));
    assert_eq!(identity.room(), Some(room("Lobby")));
    assert_eq!(renewed(&mut identity), ["/nick ada"]);
}

#[test]
fn a_request_of_a_session_that_is_over_is_not_confirmed_in_the_next() {
    let mut identity = ada_in_chess();
    renewed(&mut identity);
    identity.requested(&Request::Name(name("bob")));
    renewed(&mut identity);
    assert_eq!(named(&mut identity, name("bob")), Confirmation::Unrequested);
    assert_eq!(identity.name(), None);
    assert_eq!(renewed(&mut identity), ["/nick ada", "/join chess"]);
}

#[test]
fn a_session_without_a_name_keeps_one_that_it_requested() {
    let mut identity = Identity::new(None, None);
    assert_eq!(renewed(&mut identity), [""; 0]);
    identity.requested(&Request::Name(name("ada")));
    named(&mut identity, name("ada"));
    identity.entered(room("chess"));
    assert_eq!(renewed(&mut identity), ["/nick ada", "/join chess"]);
}

#[test]
fn a_server_that_knows_no_commands_is_asked_once() {
    let mut identity = ada_in_chess();
    renewed(&mut identity);
    identity.text_received(b"/nick adam");
    identity.text_received(b"/join chess");
    identity.beat();
    assert_eq!(due(&mut identity), ["/nick ada"], "adam is someone else");
    identity.text_received(b"/nick ada");
    identity.beat();
    assert_eq!(due(&mut identity), [""; 0]);
}

#[test]
fn only_confirmed_names_and_rooms_are_checked() {
    let mut identity = ada_in_chess();
    identity.renew(ATTEMPTS_V1);
    due(&mut identity);
    identity.check();
    assert_eq!(due(&mut identity), [""; 0]);
    named(&mut identity, name("ada"));
    identity.check();
    assert_eq!(due(&mut identity), ["/nick ada"]);
    assert_eq!(named(&mut identity, name("ada")), Confirmation::Known);
    identity.entered(room("chess"));
    identity.check();
    assert_eq!(due(&mut identity), ["/nick ada", "/join chess"]);
    assert_eq!(identity.name(), Some(name("ada")), "until it is refused");
    // Every session begins in the lobby.
    identity.requested(&Request::Room(room("lobby")));
    identity.entered(room("lobby"));
    identity.check();
    assert_eq!(due(&mut identity), ["/nick ada"]);
}

#[test]
fn the_origin_of_a_message_is_its_name_or_address() {
    let address = |text: &str| DisplayName::Address(text.parse().unwrap());
    let mut identity = ada_in_chess();
    let ada = DisplayName::Name(name("ada"));
    assert_eq!(identity.origin(ada), Origin::Unclear);
    assert_eq!(
        identity.origin(DisplayName::Name(name("eve"))),
        Origin::Other
    );
    named(&mut identity, name("ada"));
    assert_eq!(identity.origin(ada), Origin::Own);
    identity.requested(&Request::Name(name("eve")));
    assert_eq!(
        identity.origin(DisplayName::Name(name("eve"))),
        Origin::Unclear
    );

    let [own, other] = ["[fe80::1]:5", "[fe80::1]:6"].map(address);
    assert_eq!(identity.origin(own), Origin::Unclear);
    let scoped: SocketAddr = "[fe80::1%2]:5".parse().unwrap();
    identity.set_address(Some(scoped));
    assert_eq!(identity.origin(other), Origin::Unclear, "a translation");
    assert_eq!(identity.origin(own), Origin::Own);
    assert_eq!(identity.origin(other), Origin::Other);
    identity.set_address("[fe80::1]:7".parse().ok());
    assert_eq!(identity.origin(other), Origin::Unclear);
}
