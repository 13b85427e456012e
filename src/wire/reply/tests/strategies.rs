//! Random sentences, and texts that are like sentences.

use super::*;

fn any_name() -> impl Strategy<Value = Name> {
    "[A-Za-z0-9_-]{1,24}".prop_map(|text| name(&text))
}

fn any_room() -> impl Strategy<Value = RoomName> {
    "[A-Za-z0-9_-]{1,32}".prop_map(|text| room(&text))
}

fn any_display_name() -> impl Strategy<Value = DisplayName> {
    let address = any_socket_addr().prop_map(DisplayName::Address);
    prop_oneof![1 => any_name().prop_map(DisplayName::Name), 2 => address]
}

fn any_socket_addr() -> impl Strategy<Value = SocketAddr> {
    let v4 = any::<([u8; 4], u16)>().prop_map(SocketAddr::from);
    let v6 = any::<([u16; 8], u16)>().prop_map(SocketAddr::from);
    prop_oneof![v4, v6]
}

/// No name that is a number, see above.
fn any_event() -> impl Strategy<Value = PresenceEvent> {
    let is_number = |who: &DisplayName| who.to_string().bytes().all(|byte| byte.is_ascii_digit());
    let who = || any_display_name().prop_filter("a number", move |who| !is_number(who));
    prop_oneof![
        who().prop_map(PresenceEvent::Joined),
        who().prop_map(PresenceEvent::Left),
        who().prop_map(PresenceEvent::TimedOut),
        (who(), who()).prop_map(|(who, now)| PresenceEvent::Renamed(who, now)),
    ]
}

fn any_counts() -> impl Strategy<Value = [u64; 4]> {
    let count = || prop_oneof![Just(0), 1..10_u64, any::<u64>()];
    let counts = (count(), count(), count(), count());
    let counts =
        counts.prop_map(|(joined, left, timed_out, renamed)| [joined, left, timed_out, renamed]);
    let total = |counts: &[u64; 4]| {
        counts
            .iter()
            .fold(0, |sum: u64, count| sum.saturating_add(*count))
    };
    counts.prop_filter("few", move |counts| total(counts) > MAX_NAMED_EVENTS as u64)
}

fn any_bytes() -> impl Strategy<Value = &'static [u8]> {
    prop::collection::vec(any::<u8>(), 0..50).prop_map(|bytes| &*bytes.leak())
}

fn any_word() -> impl Strategy<Value = &'static [u8]> {
    let word = any_bytes().prop_map(|bytes| {
        let is_in_word = |byte: &u8| !matches!(byte, b' ' | b'\t');
        bytes.iter().copied().filter(is_in_word).collect::<Vec<_>>()
    });
    word.prop_map(|bytes| &*bytes.leak())
}

fn any_page<E: Display + std::fmt::Debug + 'static>(
    entry: impl Strategy<Value = E>,
) -> impl Strategy<Value = Page> {
    let first = prop_oneof![Just(1), 1..1000_usize, Just(usize::MAX)];
    let entries = prop::collection::vec(entry, 0..10);
    (first, entries, 0..2000_usize).prop_map(|(first, entries, more)| {
        let total = (first - 1)
            .saturating_add(entries.len())
            .saturating_add(more);
        match first {
            usize::MAX => page::<E>(first, vec![], more),
            _ if more > 1000 => page::<E>(first, vec![], more),
            _ => page(first, entries, total),
        }
    })
}

fn any_limit() -> impl Strategy<Value = Limit> {
    let scope = prop::sample::select(&LimitScope::ALL[..]);
    (any::<u32>(), scope).prop_map(|(max, scope)| limit(max, scope))
}

pub(super) fn any_reply() -> impl Strategy<Value = Reply<'static>> {
    let entered = (any_room(), any::<usize>());
    let entered = entered.prop_map(|(room, members)| Reply::Entered { room, members });
    let members = (any_room(), any_page(any_display_name()));
    let members = members.prop_map(|(room, page)| Reply::Members(room, page));
    let rooms = (any_room(), any::<usize>());
    let rooms = any_page(rooms.prop_map(|(name, members)| summary(name.as_str(), members)));
    let sent = (any_word(), any_bytes()).prop_map(|(to, text)| Reply::Sent { to, text });
    let full = (any_room(), any::<usize>());
    // See above.
    let full = full.prop_filter("a server", |(room, _)| room.as_str() != "server");
    let full = full.prop_map(|(room, max)| Reply::RoomFull(room, max));
    let resource = prop::sample::select(&[Resource::Texts, Resource::Bytes, Resource::Work][..]);
    let budget = (resource, any::<u32>());
    let budget = budget.prop_map(|(resource, per_second)| Reply::OverBudget {
        resource,
        per_second,
    });
    let name_lost = (any_name(), any_socket_addr());
    let name_lost = name_lost.prop_map(|(name, address)| Reply::NameLost(name, address));
    let room_limit = (any_room(), any_limit());
    let room_limit = room_limit.prop_map(|(room, limit)| Reply::RoomLimit(room, limit));
    let events = prop::collection::vec(any_event(), 1..=MAX_NAMED_EVENTS);
    let changes = prop_oneof![
        events.prop_map(Changes::Events),
        any_counts().prop_map(Changes::Counts),
    ];
    let presence = (changes, any::<usize>());
    let presence = presence.prop_map(|(changes, members)| Reply::Presence { changes, members });
    prop_oneof![
        Just(Reply::Help),
        any_name().prop_map(Reply::Named),
        any_name().prop_map(Reply::NamedUnconfirmed),
        name_lost,
        entered,
        members,
        rooms.prop_map(Reply::Rooms),
        sent,
        any_bytes().prop_map(Reply::Pong),
        any::<bool>().prop_map(Reply::Subscribed),
        prop::sample::select(&Verb::ALL[..]).prop_map(Reply::Usage),
        any_limit().prop_map(Reply::PeerLimit),
        any_name().prop_map(Reply::NameTaken),
        any_limit().prop_map(Reply::NameLimit),
        full,
        room_limit,
        any_word().prop_map(Reply::NoSuchPeer),
        Just(Reply::TooManyMessages),
        Just(Reply::TooManyLists),
        budget,
        Just(Reply::Removed),
        any::<u64>().prop_map(Reply::Muted),
        Just(Reply::Unmuted),
        any_bytes().prop_map(Reply::Operator),
        any::<u64>().prop_map(Reply::Stopping),
        Just(Reply::Split),
        Just(Reply::Whole),
        Just(Reply::NoNewcomers),
        presence,
    ]
}

/// Texts that are like sentences.
pub(super) fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let parts = "you are |in |to |pong |usage: /|who|ada|den|server|5|1,000|is |\
        taken|full |(|)|: |, | |here|room|rooms|none from |on|joined|timed out|now |\
        at most |texts per second|(more: /who |limit reached |in your network|per second|\
        muted |removed |by the operator| for | s|operator: |the server stops in |\
        the cluster is |split: only peers of this server are here|whole again|\
        stopping soon, |no newcomers|(not confirmed)|\
        belongs to a peer of another server: |127.0.0.1:5";
    let part = prop_oneof![
        9 => prop::sample::select(parts.split('|').collect::<Vec<_>>())
            .prop_map(|part| part.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}
