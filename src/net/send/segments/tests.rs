use super::*;

fn peer(number: usize) -> PeerAddr {
    let [_, _, high, low] = (number as u32).to_be_bytes();
    PeerAddr::new(([10, 0, high, low], 9).into(), 0)
}

#[test]
fn a_refusal_is_forgotten_after_a_while() {
    let now = Instant::now();
    let mut segments = Segments::default();
    assert!(segments.is_whole());
    segments.refuse(&peer(1), now);
    assert!(!segments.is_whole());
    assert!(segments.is_refused(&peer(1), now) && !segments.is_refused(&peer(2), now));
    assert!(!segments.is_refused(&peer(1), now + REFUSED_TIME));
    for until in segments.refused.values_mut() {
        *until -= REFUSED_TIME;
    }
    segments.next_cleanup = None;
    assert!(segments.is_whole());
}

#[test]
fn refusals_that_are_over_take_no_space() {
    let now = Instant::now();
    let mut segments = Segments::default();
    for number in 0..MAX_REFUSED {
        segments.refuse(&peer(number), now);
    }
    segments.refuse(&peer(7777), now + REFUSED_TIME);
    assert_eq!((segments.refused.len(), segments.take_stops()), (1, 0));
}

#[test]
fn segmenting_stops_when_many_peers_refuse_and_none_takes_a_packet() {
    let now = Instant::now();
    let mut segments = Segments::default();
    for number in 0..MAX_REFUSED {
        segments.refuse(&peer(number), now);
    }
    assert!(segments.off_until.is_none());
    segments.taken(|| true);
    // A new one has no space, but another peer's packet was taken in between.
    segments.refuse(&peer(MAX_REFUSED), now);
    assert!(segments.off_until.is_none());
    assert_eq!(segments.refused.len(), MAX_REFUSED);

    segments.in_a_row = MAX_REFUSED - 1;
    // Packets that were not segmented prove nothing.
    segments.taken(|| false);
    segments.refuse(&peer(MAX_REFUSED), now);
    assert!(!segments.is_whole() && segments.is_refused(&peer(7777), now));
    segments.off_until = Some(Instant::now());
    assert!(segments.is_whole());
    assert_eq!([segments.take_stops(), segments.take_stops()], [1, 0]);
}
