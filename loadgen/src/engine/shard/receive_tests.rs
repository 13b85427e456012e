//! Datagrams that a client receives, at times that the tests choose.

use std::net::UdpSocket;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bullhorn::wire::v2::ServerFrame;
use hdrhistogram::Histogram;

use super::*;
use crate::config::{Protocol, RunConfig};
use crate::engine::partition;
use crate::engine::shard::Shard;
use crate::engine::shard::testing::*;
use crate::outcome::Counts;

/// Of what the first client sent first, half a millisecond late.
fn first_stamp(shard: &Shard) -> Stamp {
    Stamp {
        run: shard.clients.run.id,
        client: 0,
        sequence: 0,
        due_ns: 1_000_000,
        lag_ns: 500_000,
    }
}

/// The batch was begun at this nanosecond, and nothing of it came before.
#[test]
fn what_comes_before_it_was_sent_is_stray() {
    let mut shard = begun();
    shard.clients.client(0).next_ask = 1;
    shard.clients.run.rooms.speak(0, None);
    let stamp = first_stamp(&shard);
    let (sent_ns, end_ns) = (stamp.sent_ns(), shard.clients.run.end_ns);
    let never_due = Stamp {
        due_ns: end_ns,
        ..stamp
    };
    for head in [PONG, SAID] {
        let genuine = stamped(head, stamp);
        assert_eq!(counted(&mut shard, &genuine, sent_ns - 1), stray());
        let after_all = stamped(head, never_due);
        assert_eq!(counted(&mut shard, &after_all, 2 * end_ns), stray());
        let counts = counted(&mut shard, &genuine, sent_ns);
        assert_eq!((counts.answered + counts.delivered, counts.stray), (1, 0));
    }
    let seconds = shard.clients.recorder.finish().2;
    assert_eq!((seconds[0].answered, seconds[0].delivered), (1, 1));
}

/// Neither the number nor the client, nor the run.
#[test]
fn what_nobody_sent_is_stray() {
    let mut shard = begun();
    shard.clients.client(0).next_ask = 1;
    shard.clients.run.rooms.speak(0, None);
    let stamp = first_stamp(&shard);
    let forged = [
        Stamp {
            sequence: 1,
            ..stamp
        },
        Stamp { client: 2, ..stamp },
        Stamp {
            run: stamp.run ^ 1,
            ..stamp
        },
    ];
    for stamp in forged {
        for head in [PONG, SAID] {
            let datagram = stamped(head, stamp);
            assert_eq!(counted(&mut shard, &datagram, 2_000_000), stray());
        }
    }
}

/// So many others have come since that nobody remembers whether this one had.
#[test]
fn what_comes_behind_all_that_is_remembered_is_too_late_and_nothing_else() {
    let mut shard = begun();
    let remembered = partition::texts_remembered(&shard.clients.run.config);
    assert_eq!(
        remembered,
        partition::asks_remembered(&shard.clients.run.config)
    );
    shard.clients.client(0).next_ask = remembered + 2;
    for _ in 0..remembered + 2 {
        shard.clients.run.rooms.speak(0, None);
    }
    let first = first_stamp(&shard);
    let came = |counts: Counts| (counts.delivered + counts.answered, counts.too_late);
    for head in [PONG, SAID] {
        let mut numbered = |sequence| {
            let stamp = Stamp { sequence, ..first };
            came(counted(&mut shard, &stamped(head, stamp), LATER_NS))
        };
        assert_eq!(numbered(remembered), (1, 0));
        assert_eq!(numbered(1), (1, 0), "the last one that is remembered");
        assert_eq!(numbered(remembered + 1), (1, 0));
        assert_eq!(numbered(1), (0, 1), "it had come, and nobody knows");
        assert_eq!(numbered(0), (0, 1), "it had not, and nobody knows");
    }
    let latencies = shard.clients.recorder.latencies();
    assert_eq!((latencies.delivery.len(), latencies.answer.len()), (3, 3));
}

/// Another thread may begin sooner, and say something to all in the lobby.
#[test]
fn a_text_that_comes_before_this_thread_knows_of_the_beginning_has_its_time() {
    let mut shard = begun();
    shard.clients.run.rooms.speak(0, None);
    let stamp = Stamp {
        client: 1,
        ..first_stamp(&shard)
    };
    let text = stamped(SAID, stamp);
    shard.clients.run.start_ns.store(0, Relaxed);
    shard.clients.start_ns = None;
    receive(&mut shard, &text, 3_000_000).unwrap();
    assert_eq!(shard.clients.recorder.counts.delivered, 0, "nobody began");
    shard.clients.run.start_ns.store(START_NS, Relaxed);
    receive(&mut shard, &text, 3_000_000).unwrap();
    let recorder = &mut shard.clients.recorder;
    assert_eq!(recorder.counts.delivered, 1);
    let latencies = recorder.latencies();
    assert!(
        latencies
            .delivery
            .equivalent(latencies.delivery.max(), 2_000_000)
    );
    assert!(
        latencies
            .delivery_from_send
            .equivalent(latencies.delivery_from_send.max(), 1_500_000)
    );
}

/// It is known by its sender, whichever copy it is.
#[test]
fn deliveries_at_the_senders_own_node_are_told_from_others() {
    for (sender, expected) in [(0, [1, 0]), (1, [0, 1])] {
        let mut shard = shard(config_of_nodes(Protocol::V1));
        for client in 0..2 {
            shard.clients.enter(client);
        }
        shard.clients.run.start_ns.store(START_NS, Relaxed);
        shard.clients.start_ns = Some(START_NS);
        shard.clients.run.rooms.speak(0, None);
        let stamp = Stamp {
            client: sender,
            ..first_stamp(&shard)
        };
        let counts = counted(&mut shard, &stamped(SAID, stamp), LATER_NS);
        assert_eq!((counts.delivered, counts.stray), (1, 0));
        let latencies = shard.clients.recorder.latencies();
        let nodes = [
            &latencies.delivery_same_node,
            &latencies.delivery_other_node,
        ];
        assert_eq!(nodes.map(Histogram::len), expected);
        assert_eq!(latencies.delivery.len(), 1);
    }
}

/// A client has one target, and nothing to do with the others.
#[test]
fn what_another_target_sends_is_stray() {
    let [own, other] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let mut shard = shard(RunConfig {
        target: own.local_addr().unwrap(),
        other_targets: vec![other.local_addr().unwrap()],
        duration: Duration::from_secs(600),
        ..config(Protocol::V1)
    });
    let start_ns = shard.clients.run.now_ns().max(1);
    shard.clients.run.start_ns.store(start_ns, Relaxed);
    shard.clients.start_ns = Some(start_ns);
    shard.clients.enter(0);
    shard.clients.run.rooms.speak(0, None);
    let text = stamped(
        SAID,
        Stamp {
            due_ns: 0,
            lag_ns: 0,
            ..first_stamp(&shard)
        },
    );
    let port = shard.clients.ports.of(0);
    let socket = shard.clients.ports.socket(port.socket);
    let local = socket.local_addr().unwrap().port();
    let client = (port.from.expect("one of many"), local);
    for (from, expected, unheard) in [(&other, (0, 1), vec![0, 1]), (&own, (1, 1), vec![1])] {
        from.send_to(&text, client).unwrap();
        let (clients, registration) = (&mut shard.clients, &mut shard.registration);
        let pause = &mut shard.pause;
        while !shard.receiving.turn(clients, registration, pause).unwrap() {}
        let counts = shard.clients.recorder.counts;
        assert_eq!((counts.delivered, counts.stray), expected);
        assert!(shard.receiving.unheard().eq(unheard));
    }
}

/// Whoever knows an address of ours can send to it.
#[test]
fn what_others_than_the_server_send_is_stray_whatever_it_says() {
    let [server, stranger] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let mut shard = shard(RunConfig {
        target: server.local_addr().unwrap(),
        duration: Duration::from_secs(600),
        ..config(Protocol::V1)
    });
    shard.clients.enter(0);
    shard.clients.client(0).next_ask = 1;
    let start_ns = shard.clients.run.now_ns().max(1);
    shard.clients.run.start_ns.store(start_ns, Relaxed);
    shard.clients.start_ns = Some(start_ns);
    let pong = stamped(
        PONG,
        Stamp {
            due_ns: 0,
            lag_ns: 0,
            ..first_stamp(&shard)
        },
    );
    let port = shard.clients.ports.of(0);
    let local = shard
        .clients
        .ports
        .socket(port.socket)
        .local_addr()
        .unwrap();
    let client = (port.from.expect("one of many"), local.port());
    for (from, expected) in [(&stranger, (0, 1)), (&server, (1, 1))] {
        from.send_to(&pong, client).unwrap();
        let (clients, registration) = (&mut shard.clients, &mut shard.registration);
        let packets = shard.receiving.receive(port.socket, clients, registration);
        assert_eq!(packets.unwrap(), 1, "on loopback it is there at once");
        let counts = clients.recorder.counts;
        assert_eq!((counts.answered, counts.stray), expected);
    }
    let receive_lag = &shard.clients.recorder.latencies().receive_lag;
    assert_eq!(receive_lag.len(), 2, "the kernel says when it had each");
}

/// It is an error as long as there is nothing to keep.
#[test]
fn a_goodbye_ends_the_run_in_good_order_once_it_records() {
    let mut shard = joining(RunConfig {
        warmup: Duration::from_nanos(LATER_NS),
        ..config(Protocol::V2)
    });
    let goodbye = frames(&[ServerFrame::Goodbye]);
    let result = receive(&mut shard, &goodbye, LATER_NS - 1);
    assert!(matches!(result, Err(RunError::Goodbye)), "{result:?}");
    assert!(!shard.clients.run.is_cut_short());
    receive(&mut shard, &goodbye, LATER_NS).unwrap();
    assert!(shard.clients.run.is_cut_short());
}

/// Of all that came with the first packet of a batch, which had waited longest.
#[test]
fn how_long_it_waited_is_recorded_of_each_packet_that_comes_while_it_is_recorded() {
    let mut shard = warming_up();
    let clients = &mut shard.clients;
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let (waited, ahead) = (Duration::from_secs(2), Duration::from_secs(3600));
    let begun_ns = START_NS + LATER_NS;
    clients.record_hear_lag(Some(now - waited), 5, begun_ns - 1);
    clients.record_hear_lag(None, 5, begun_ns);
    assert_eq!(clients.recorder.latencies().receive_lag.len(), 0);
    clients.record_hear_lag(Some(now - waited), 3, begun_ns);
    let receive_lag = &clients.recorder.latencies().receive_lag;
    assert_eq!(receive_lag.len(), 3);
    // As exactly as the histogram tells it.
    assert!(receive_lag.min() >= 1_990_000_000, "{}", receive_lag.min());
    // The system's clock was set back.
    clients.record_hear_lag(Some(now + ahead), 1, begun_ns);
    let receive_lag = &clients.recorder.latencies().receive_lag;
    assert_eq!((receive_lag.len(), receive_lag.min()), (4, 0));
}

#[test]
fn what_is_no_datagram_of_the_protocol_is_stray_from_the_recording_on() {
    let mut shard = warming_up();
    let nothing = counted(&mut shard, b"* ?", LATER_NS - 1);
    assert_eq!(nothing, Counts::default());
    assert_eq!(counted(&mut shard, b"* ?", LATER_NS), stray());
}

/// Before the recording as after it.
#[test]
fn what_a_client_need_not_receive_is_counted_in_the_recording_alone() {
    let mut shard = warming_up();
    shard.clients.run.rooms.speak(0, None);
    let first = first_stamp(&shard);
    shard.clients.client(0).owed_from = 1;
    for (due_ns, not_expected) in [(LATER_NS - 1, 0), (LATER_NS, 1)] {
        let stamp = Stamp { due_ns, ..first };
        let counts = counted(&mut shard, &stamped(SAID, stamp), 2 * LATER_NS);
        assert_eq!((counts.not_expected, counts.stray), (not_expected, 0));
    }
}
