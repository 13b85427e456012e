use super::*;

fn room(number: u32, name: &str) -> Room {
    Room {
        number,
        incarnation: 1,
        name: name.parse().unwrap(),
    }
}

#[test]
fn a_room_is_requested_until_it_is_told_or_given_up() {
    let mut subscriptions = Subscriptions::default();
    let mut now = Instant::now();
    let (start, den) = (now, room(3, "den"));
    subscriptions.add(den.name, now);
    for _ in 0..MAX_ATTEMPTS {
        assert_eq!(subscriptions.number(&den.name), Number::Awaited);
        let request = subscriptions.take_due(now);
        assert_eq!(request, Some(ClientFrame::Subscribe(den.name)));
        assert_eq!(subscriptions.take_due(now), None);
        now = subscriptions.poll_timeout().unwrap_or(now);
    }
    assert_eq!(subscriptions.number(&den.name), Number::Unknown);
    assert!(now - start <= FIRST_INTERVAL * 28);
    // A late answer is one all the same.
    assert_eq!(subscriptions.subscribed(den), Some(false));
    assert_eq!(subscriptions.number(&den.name), Number::Known(3));
    subscriptions.renew(now);
    assert!(subscriptions.take_due(now).is_some());
    let again = Room {
        incarnation: 2,
        ..den
    };
    assert_eq!(
        subscriptions.subscribed(again),
        Some(false),
        "it was forgotten"
    );
    assert_eq!(subscriptions.subscribed(den), Some(true));
    assert_eq!(subscriptions.take_due(now), None);
}

#[test]
fn a_subscription_ends_when_the_server_says_so() {
    let mut subscriptions = Subscriptions::default();
    let now = Instant::now();
    let den = room(3, "Den");
    assert!(!subscriptions.end(&den.name, now));
    subscriptions.add(den.name, now);
    assert!(
        !subscriptions.end(&den.name, now),
        "the server has told nothing"
    );
    subscriptions.add(den.name, now);
    subscriptions.subscribed(den);
    assert_eq!(subscriptions.name(3), Some(den.name));
    assert!(subscriptions.end(&"dEN".parse().unwrap(), now));
    assert_eq!(
        subscriptions.take_due(now),
        Some(ClientFrame::Unsubscribe(3))
    );
    assert_eq!(subscriptions.take_due(now), None);
    assert_eq!(subscriptions.unsubscribed(3), Some(den.name));
    assert_eq!(subscriptions.unsubscribed(3), None);
    // What the application does not want any more is not requested again.
    subscriptions.add(den.name, now);
    subscriptions.subscribed(den);
    subscriptions.end(&den.name, now);
    subscriptions.renew(now);
    assert_eq!(subscriptions.take_due(now), None);
}

#[test]
fn a_refused_room_is_forgotten_unless_it_was_told() {
    let mut subscriptions = Subscriptions::default();
    let now = Instant::now();
    let den = room(3, "den");
    subscriptions.add(den.name, now);
    subscriptions.refused(&den.name);
    assert_eq!(subscriptions.poll_timeout(), None);
    subscriptions.add(den.name, now);
    subscriptions.subscribed(den);
    subscriptions.refused(&den.name);
    assert_eq!(subscriptions.number(&den.name), Number::Known(3));
    subscriptions.lost(3, now);
    assert_eq!(subscriptions.number(&den.name), Number::Awaited);
}
