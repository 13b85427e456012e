use super::*;
use Arrival::{New, Reordered, Repeated, TooLate};
use proptest::prelude::*;

impl Sequences {
    /// Takes the number of a message that comes in a datagram of its own.
    fn comes(&mut self, room: u32, stream: u8, sequence: u32) -> Arrival {
        self.begin_datagram();
        self.arrived(room, stream, sequence)
    }

    /// The room, the number and the counts of each stream that goes on.
    pub(crate) fn streams(&self) -> impl Iterator<Item = (u32, u8, SequenceCounts)> {
        let streams = self.streams.iter();
        streams.map(|((room, number), stream)| (*room, *number, stream.counts()))
    }
}

fn after(numbers: &[u32]) -> (Vec<Arrival>, SequenceCounts) {
    let mut sequences = Sequences::default();
    let arrive = |number: &u32| sequences.comes(1, 0, *number);
    let arrivals = numbers.iter().map(arrive).collect();
    (arrivals, sequences.total())
}

fn counts(counts: [u64; 6]) -> SequenceCounts {
    let [expected, received, lost, repeated, reordered, too_late] = counts;
    SequenceCounts {
        expected,
        received,
        lost,
        repeated,
        reordered,
        too_late,
    }
}

#[test]
fn the_first_one_sets_the_base() {
    assert_eq!(after(&[700]).1, counts([1, 1, 0, 0, 0, 0]));
    assert_eq!(after(&[700, 701]).1, counts([2, 2, 0, 0, 0, 0]));
}

#[test]
fn what_is_missing_is_lost_until_it_comes() {
    assert_eq!(after(&[5, 9]).1, counts([5, 2, 3, 0, 0, 0]));
    let (arrivals, late) = after(&[5, 9, 7]);
    assert_eq!(arrivals, [New, New, Reordered]);
    assert_eq!(late, counts([5, 3, 2, 0, 1, 0]));
}

#[test]
fn what_comes_again_is_repeated_however_it_came_first() {
    let (arrivals, total) = after(&[5, 7, 6, 6, 5, 7]);
    assert_eq!(
        arrivals,
        [New, New, Reordered, Repeated, Repeated, Repeated]
    );
    assert_eq!(total, counts([3, 3, 0, 3, 1, 0]));
}

#[test]
fn one_that_was_overtaken_by_the_first_moves_the_base_down() {
    let (arrivals, total) = after(&[5, 3, 4, 3]);
    assert_eq!(arrivals, [New, Reordered, Reordered, Repeated]);
    assert_eq!(total, counts([3, 3, 0, 1, 2, 0]));
    assert_eq!(after(&[0, u32::MAX]).1, counts([2, 2, 0, 0, 1, 0]));
}

#[test]
fn numbers_wrap() {
    let (arrivals, total) = after(&[u32::MAX - 1, 1, u32::MAX, 0, 2]);
    assert_eq!(arrivals, [New, New, Reordered, Reordered, New]);
    assert_eq!(total, counts([5, 5, 0, 0, 2, 0]));
}

#[test]
fn the_window_ends_where_it_says() {
    let last_in = 5000 - (WINDOW as u32 - 1);
    let (arrivals, total) = after(&[1, 5000, last_in, last_in, last_in - 1]);
    assert_eq!(arrivals, [New, New, Reordered, Repeated, TooLate]);
    assert_eq!(total, counts([5000, 3, 4997, 1, 1, 1]));
}

#[test]
fn places_in_the_window_are_taken_over_clean() {
    let window = WINDOW as u32;
    // 3 has the place of 3 + window, which has not come.
    let (arrivals, _) = after(&[3, 4 + window, 3 + window]);
    assert_eq!(arrivals, [New, New, Reordered]);
    let (arrivals, _) = after(&[3, 2 + window, 4 + window, 3 + window]);
    assert_eq!(arrivals, [New, New, New, Reordered]);
    let (arrivals, _) = after(&[3, 100_000, 3 + 97 * window]);
    assert_eq!(arrivals, [New, New, Reordered]);
}

#[test]
fn a_stream_that_begins_anew_is_heard_again_and_no_count_goes_back() {
    let mut sequences = Sequences::default();
    sequences.comes(1, 0, 10_000);
    sequences.comes(1, 0, 10_002);
    for number in 0..MAX_LATE_IN_A_ROW - 1 {
        assert_eq!(sequences.comes(1, 0, number), TooLate);
    }
    let refused = u64::from(MAX_LATE_IN_A_ROW - 1);
    assert_eq!(sequences.total(), counts([3, 2, 1, 0, 0, refused]));
    assert_eq!(sequences.comes(1, 0, MAX_LATE_IN_A_ROW), New);
    assert_eq!(sequences.comes(1, 0, MAX_LATE_IN_A_ROW + 2), New);
    assert_eq!(sequences.total(), counts([6, 4, 2, 0, 0, refused]));
}

#[test]
fn stragglers_among_others_do_not_begin_a_stream_anew() {
    let mut sequences = Sequences::default();
    sequences.comes(1, 0, 9_999);
    sequences.comes(1, 0, 10_000);
    for number in 0..2 * MAX_LATE_IN_A_ROW {
        assert_eq!(sequences.comes(1, 0, number), TooLate);
        assert_eq!(sequences.comes(1, 0, 10_001 + number), New);
    }
    assert_eq!(sequences.total().lost, 0);
}

#[test]
fn streams_and_rooms_count_for_themselves() {
    let mut sequences = Sequences::default();
    for (room, stream, number) in [(1, 0, 5), (1, 1, 900), (1, 0, 7), (1, 1, 901), (2, 0, 7)] {
        assert_eq!(sequences.comes(room, stream, number), New);
    }
    let mut streams: Vec<_> = sequences.streams().collect();
    streams.sort_by_key(|(room, stream, _)| (*room, *stream));
    let expected = [
        (1, 0, counts([3, 2, 1, 0, 0, 0])),
        (1, 1, counts([2, 2, 0, 0, 0, 0])),
        (2, 0, counts([1, 1, 0, 0, 0, 0])),
    ];
    assert_eq!(streams, expected);
    sequences.restart();
    sequences.moved_to(1);
    assert_eq!(sequences.comes(1, 0, 0), New);
    assert_eq!(sequences.total(), counts([7, 6, 1, 0, 0, 0]));
}

/// One who is in room 1, and has heard the messages from 10 to 12 of it.
fn in_room_1() -> Sequences {
    let mut sequences = Sequences::default();
    sequences.restart();
    sequences.moved_to(1);
    for number in 10..=12 {
        sequences.comes(1, 0, number);
    }
    sequences
}

/// Messages of a stream arrive, of which none has come before.
fn arrive(sequences: &mut Sequences, room: u32, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        let arrival = sequences.comes(room, 0, number);
        assert!(matches!(arrival, New | Reordered), "{number}: {arrival:?}");
    }
}

#[test]
fn what_was_said_in_a_room_while_we_were_elsewhere_is_not_lost() {
    for absent in [1, 50, WINDOW as u32 + 7, 1 << 20] {
        let mut sequences = in_room_1();
        sequences.moved_to(2);
        arrive(&mut sequences, 2, [0, 1]);
        sequences.moved_to(1);
        let back = 13 + absent;
        arrive(&mut sequences, 1, [back, back + 1]);
        assert_eq!(sequences.total(), counts([7, 7, 0, 0, 0, 0]), "{absent}");
        // From here on, a gap is a loss again.
        arrive(&mut sequences, 1, [back + 3]);
        assert_eq!(sequences.total(), counts([9, 8, 1, 0, 0, 0]));
        arrive(&mut sequences, 1, [back + 2]);
        assert_eq!(sequences.total(), counts([9, 9, 0, 0, 1, 0]));
    }
}

#[test]
fn what_comes_of_a_room_that_was_left_is_told_apart_and_no_gap_of_it_is_a_loss() {
    let mut sequences = in_room_1();
    arrive(&mut sequences, 1, [15]);
    sequences.moved_to(2);
    arrive(&mut sequences, 1, [13, 16]);
    assert_eq!(sequences.comes(1, 0, 13), Repeated);
    assert_eq!(sequences.comes(1, 0, 11), Repeated);
    arrive(&mut sequences, 1, [20]);
    assert_eq!(sequences.total(), counts([8, 7, 1, 2, 1, 0]));
    // One of another worker, from which nothing had come.
    assert_eq!(sequences.comes(1, 1, 500), New);
    assert_eq!(sequences.comes(1, 1, 510), New);
    assert_eq!(sequences.total(), counts([10, 9, 1, 2, 1, 0]));
}

#[test]
fn one_that_was_skipped_and_comes_after_all_was_sent_to_us() {
    let mut sequences = in_room_1();
    sequences.moved_to(2);
    sequences.moved_to(1);
    arrive(&mut sequences, 1, [20, 18, 13]);
    assert_eq!(sequences.comes(1, 0, 18), Repeated);
    assert_eq!(sequences.total(), counts([6, 6, 0, 1, 2, 0]));
}

#[test]
fn a_room_of_which_messages_come_is_ours_though_nobody_told_us() {
    let mut sequences = in_room_1();
    arrive(&mut sequences, 2, [100, 102]);
    assert_eq!(sequences.total(), counts([6, 5, 1, 0, 0, 0]), "2 counts");
    // Told late, which changes nothing.
    sequences.moved_to(2);
    arrive(&mut sequences, 2, [104]);
    assert_eq!(sequences.total(), counts([8, 6, 2, 0, 0, 0]));
    // Back, and not told again: a room just left may send its last messages.
    arrive(&mut sequences, 1, [40, 50]);
    assert_eq!(sequences.total(), counts([10, 8, 2, 0, 0, 0]));
    // But it does not for long.
    for _ in 0..STALE_ANSWERS {
        sequences.server_answered();
    }
    arrive(&mut sequences, 1, [70, 72]);
    assert_eq!(sequences.total(), counts([13, 10, 3, 0, 0, 0]));
    sequences.moved_to(1);
    arrive(&mut sequences, 1, [74]);
    assert_eq!(sequences.total(), counts([15, 11, 4, 0, 0, 0]));
}

#[test]
fn the_streams_of_a_room_that_was_left_end_after_a_while_and_stay_in_the_total() {
    let mut sequences = in_room_1();
    arrive(&mut sequences, 1, [14]);
    sequences.moved_to(2);
    arrive(&mut sequences, 2, [0]);
    sequences.server_answered();
    assert_eq!(sequences.streams().count(), 2);
    sequences.server_answered();
    let rooms: Vec<_> = sequences.streams().map(|(room, _, _)| room).collect();
    assert_eq!(rooms, [2]);
    assert_eq!(sequences.total(), counts([6, 5, 1, 0, 0, 0]));
    sequences.moved_to(1);
    arrive(&mut sequences, 1, [1000]);
    assert_eq!(sequences.total(), counts([7, 6, 1, 0, 0, 0]));
}

#[test]
fn a_gap_of_a_whole_window_that_was_not_sent_to_us_is_skipped_number_by_number() {
    let mut sequences = in_room_1();
    let before = sequences.total();
    sequences.moved_to(2);
    sequences.moved_to(1);
    arrive(&mut sequences, 1, [5000]);
    let skipped = sequences.total();
    assert_eq!(skipped.lost, before.lost);
    // One of them was sent to us after all.
    assert_eq!(sequences.comes(1, 0, 4990), Arrival::Reordered);
    let total = sequences.total();
    assert_eq!(
        (total.expected, total.lost),
        (skipped.expected + 1, skipped.lost)
    );
}

#[test]
fn a_stream_that_begins_with_a_last_message_of_a_room_loses_nothing_by_it() {
    let mut sequences = Sequences::default();
    sequences.moved_to(1);
    sequences.moved_to(2);
    assert_eq!(sequences.comes(1, 0, 10), Arrival::New);
    sequences.moved_to(1);
    arrive(&mut sequences, 1, [20]);
    assert_eq!(sequences.total().lost, 0);
}

#[test]
fn who_was_in_a_room_before_a_new_session_has_not_just_left_it() {
    let mut sequences = in_room_1();
    sequences.moved_to(2);
    sequences.restart();
    sequences.moved_to(0);
    // It proves that we are there.
    arrive(&mut sequences, 1, [500, 510]);
    assert_eq!(sequences.total().lost, 9);
}

#[test]
fn whatever_room_messages_are_of_what_is_watched_is_bounded() {
    let mut sequences = Sequences::default();
    for room in 0..2 * MAX_STREAMS as u32 {
        assert_eq!(sequences.comes(room, 0, 0), New);
        assert!(sequences.streams.len() <= MAX_ROOMS);
    }
    for stream in 0..=255 {
        for room in 5000..5010 {
            sequences.comes(room, stream, 0);
            assert!(sequences.streams.len() <= MAX_STREAMS);
        }
    }
    let heard = 2 * MAX_STREAMS as u64 + 2560;
    assert_eq!(sequences.total().received, heard);
    assert_eq!(sequences.total().lost, 0);
}

#[test]
fn a_jump_is_believed_when_a_second_datagram_continues_it_and_loses_nothing() {
    let mut sequences = Sequences::default();
    assert_eq!(sequences.comes(1, 0, 5), New);
    // One datagram, of which each message counts.
    sequences.begin_datagram();
    for number in 90_000..90_010 {
        assert_eq!(sequences.arrived(1, 0, number), New);
    }
    assert_eq!(sequences.comes(1, 0, 90_003), Repeated);
    assert_eq!(sequences.comes(1, 0, 6), New, "the window is where it was");
    assert_eq!(sequences.comes(1, 0, 90_010), New);
    assert_eq!(sequences.comes(1, 0, 7), New);
    // Nothing speaks against it between these two.
    assert_eq!(sequences.comes(1, 0, 90_011), New);
    assert_eq!(sequences.comes(1, 0, 90_013), New);
    assert_eq!(sequences.comes(1, 0, 8), TooLate);
    assert_eq!(sequences.comes(1, 0, 90_012), Reordered);
    assert_eq!(sequences.total(), counts([90_009, 17, 89_992, 1, 1, 1]));
}

proptest! {
    /// Whatever single datagrams with far numbers are forged between those that really come, these
    /// are all received, once.
    #[test]
    fn forged_far_numbers_cost_no_message(
        start in any::<u32>(),
        is_first_forged in any::<bool>(),
        steps in prop::collection::vec((1_u32..20, prop::option::of(0_u32..200)), 1..300),
    ) {
        let mut sequences = Sequences::default();
        let mut number = start;
        if is_first_forged {
            sequences.comes(1, 0, start.wrapping_add(1 << 29));
        }
        prop_assert_eq!(sequences.comes(1, 0, number), New);
        for (step, forged) in steps {
            if let Some(forged) = forged {
                // Each is far from the window, and from the others.
                let far = start.wrapping_add(1 << 20).wrapping_add(forged * 10_000_000);
                for next in 0..3 {
                    sequences.arrived(1, 0, far.wrapping_add(next));
                }
            }
            number = number.wrapping_add(step);
            prop_assert_eq!(sequences.comes(1, 0, number), New);
            prop_assert_eq!(sequences.comes(1, 0, number), Repeated);
        }
    }

    /// Against a model that remembers everything.
    #[test]
    fn counts_are_those_of_who_remembers_all(
        start in any::<u32>(),
        offsets in prop::collection::vec(0_u32..900, 1..600),
    ) {
        let mut stream = Stream::new(start.wrapping_add(offsets[0]), true, u64::MAX);
        let mut heard = vec![offsets[0]];
        let (mut repeated, mut reordered) = (0, 0);
        for (datagram, offset) in (0..).zip(&offsets[1..]) {
            let arrival = stream.arrived(start.wrapping_add(*offset), true, datagram);
            let expected = if heard.contains(offset) {
                repeated += 1;
                Repeated
            } else if heard.iter().any(|other| other > offset) {
                reordered += 1;
                Reordered
            } else {
                New
            };
            prop_assert_eq!(arrival, expected);
            if expected != Repeated {
                heard.push(*offset);
            }
        }
        let range = heard.iter().max().unwrap() - heard.iter().min().unwrap() + 1;
        let received = heard.len() as u64;
        prop_assert_eq!(
            stream.counts(),
            counts([range.into(), received, u64::from(range) - received, repeated, reordered, 0])
        );
    }

    #[test]
    fn no_numbers_make_the_counts_contradict_each_other(
        numbers in prop::collection::vec(any::<u32>(), 1..500),
    ) {
        let total = after(&numbers).1;
        prop_assert_eq!(total.expected, total.received + total.lost);
        let heard = total.received + total.repeated + total.too_late;
        prop_assert_eq!(heard, numbers.len() as u64);
    }

    /// A walk through rooms in which no message is lost. Either the last ones of each
    /// room come late, or we are not told of every room.
    #[test]
    fn who_walks_through_rooms_and_loses_nothing_counts_no_loss(
        steps in prop::collection::vec((0_u32..3, 1_u32..40, any::<bool>(), 0_usize..3), 1..60),
        tells_all in any::<bool>(),
    ) {
        let mut sequences = Sequences::default();
        sequences.restart();
        sequences.moved_to(0);
        let mut next = [0_u32; 3];
        let mut late: Vec<(u32, u32)> = Vec::new();
        let mut sent = 0;
        for (room, count, is_told, late_count) in steps {
            if tells_all || is_told {
                sequences.moved_to(room);
            }
            let first = next[room as usize];
            // The others go on without us.
            next = next.map(|number| number + count);
            sent += u64::from(count);
            let mut said: Vec<_> = (first..first + count).map(|number| (room, number)).collect();
            let late_count = if tells_all { late_count } else { 0 };
            let under_way = said.split_off(said.len().saturating_sub(late_count));
            for (room, number) in said.into_iter().chain(std::mem::replace(&mut late, under_way)) {
                sequences.comes(room, 0, number);
            }
        }
        for (room, number) in late {
            sequences.comes(room, 0, number);
        }
        let total = sequences.total();
        prop_assert_eq!((total.received, total.lost, total.repeated), (sent, 0, 0));
    }
}
