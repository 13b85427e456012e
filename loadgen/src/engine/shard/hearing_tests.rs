//! What a client hears, at times that the tests choose.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bullhorn::wire::RoomName;
use bullhorn::wire::frame::{ServerFrame, Welcome, push_server_frame, push_server_header};
use crossbeam::channel::bounded;

use super::*;
use crate::config::{Mix, Protocol, RunConfig};
use crate::engine::common::{Control, Run};
use crate::engine::ports::Ports;
use crate::engine::recorder::{Channel, Report};
use crate::engine::shape;
use crate::engine::shard::Shard;
use crate::engine::stamp::STAMP_BYTES;
use crate::outcome::Counts;
use crate::testing;

/// A thread whose clients are there, two in a room; its load began at [`START_NS`], and it
/// recorded from then on, for a second.
fn begun() -> Shard {
    let mut shard = shard(config(Protocol::V1));
    for client in 0..2 {
        shard.people.enter(client);
    }
    shard.people.run.start_ns.store(START_NS, Relaxed);
    shard.people.start_ns = Some(START_NS);
    shard
}

/// A thread whose load began at [`START_NS`], and that records from [`LATER_NS`] after on.
fn warming_up() -> Shard {
    let mut shard = shard(RunConfig {
        warmup: Duration::from_nanos(LATER_NS),
        ..config(Protocol::V1)
    });
    shard.people.enter(0);
    shard.people.run.start_ns.store(START_NS, Relaxed);
    shard.people.start_ns = Some(START_NS);
    shard
}

fn config(protocol: Protocol) -> RunConfig {
    RunConfig {
        clients: 2,
        scenario: Scenario::Mixed,
        mix: Mix {
            ping: 1.0,
            text: 1.0,
            heartbeat: 0.0,
        },
        room_size: 2,
        warmup: Duration::ZERO,
        protocol,
        ..testing::config()
    }
}

/// A thread whose first client has asked to come, while it records.
fn joining(config: RunConfig) -> Shard {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut shard = shard(RunConfig {
        target: server.local_addr().unwrap(),
        ..config
    });
    shard.people.run.start_ns.store(START_NS, Relaxed);
    shard.people.start_ns = Some(START_NS);
    let (people, mail) = (&mut shard.people, &mut shard.mail);
    shard.admission.turn(people, mail, START_NS).unwrap();
    if shard.people.client(0).phase == Phase::Hello {
        let welcome = frames(&[ServerFrame::Welcome(WELCOME)]);
        hear(&mut shard, &welcome, 0).unwrap();
    }
    assert_eq!(shard.people.client(0).phase, Phase::Joining);
    shard
}

/// A thread whose clients have not come.
fn shard(config: RunConfig) -> Shard {
    let part = shape::parts(&config)[0];
    let ports = Ports::open(
        config.sockets,
        config.gro,
        config.target,
        part.first,
        part.clients,
    )
    .unwrap();
    let channel = Channel {
        filled: bounded(1).0,
        emptied: bounded::<Box<Report>>(1).1,
    };
    let run = Arc::new(Run::new(&config, &Control::new(), 1));
    Shard::new(run, 0, part, ports, channel).unwrap()
}

/// The first client hears something, so long after the load began.
fn hear(shard: &mut Shard, datagram: &[u8], elapsed_ns: u64) -> Result<(), RunError> {
    let now_ns = START_NS + elapsed_ns;
    shard.people.last_heard_ns = now_ns;
    shard.people.hear(0, datagram, now_ns, &mut shard.admission)
}

/// What is counted when the first client hears this.
#[track_caller]
fn counted(shard: &mut Shard, datagram: &[u8], elapsed_ns: u64) -> Counts {
    let before = shard.people.recorder.counts;
    hear(shard, datagram, elapsed_ns).unwrap();
    shard.people.recorder.counts.since(&before)
}

fn stray() -> Counts {
    Counts {
        stray: 1,
        ..Counts::default()
    }
}

fn came() -> Counts {
    Counts {
        joined: 1,
        ..Counts::default()
    }
}

/// A datagram of version 2.
fn frames(frames: &[ServerFrame<'_>]) -> Vec<u8> {
    let mut datagram = Vec::new();
    push_server_header(&mut datagram);
    for frame in frames {
        push_server_frame(frame, &mut datagram);
    }
    datagram
}

/// As version 1 has it behind `head`.
fn stamped(head: &str, stamp: Stamp) -> Vec<u8> {
    let mut bytes = [0; STAMP_BYTES];
    stamp.encode(&mut bytes);
    [head.as_bytes(), &bytes].concat()
}

/// Of what the first client sent first, half a millisecond late.
fn first_stamp(shard: &Shard) -> Stamp {
    Stamp {
        run: shard.people.run.id,
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
    shard.people.client(0).next_ask = 1;
    shard.people.run.rooms.speak(0, None);
    let stamp = first_stamp(&shard);
    let (sent_ns, end_ns) = (stamp.sent_ns(), shard.people.run.end_ns);
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
    let seconds = shard.people.recorder.finish().2;
    assert_eq!((seconds[0].answered, seconds[0].delivered), (1, 1));
}

/// Neither the number nor the client, nor the run.
#[test]
fn what_nobody_sent_is_stray() {
    let mut shard = begun();
    shard.people.client(0).next_ask = 1;
    shard.people.run.rooms.speak(0, None);
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
    let remembered = shape::texts_remembered(&shard.people.run.config);
    assert_eq!(remembered, shape::asks_remembered(&shard.people.run.config));
    shard.people.client(0).next_ask = remembered + 2;
    for _ in 0..remembered + 2 {
        shard.people.run.rooms.speak(0, None);
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
    let latencies = shard.people.recorder.latencies();
    assert_eq!((latencies.delivery.len(), latencies.answer.len()), (3, 3));
}

/// Another thread may begin sooner, and say something to all in the lobby.
#[test]
fn a_text_that_comes_before_this_thread_knows_of_the_beginning_has_its_time() {
    let mut shard = begun();
    shard.people.run.rooms.speak(0, None);
    let stamp = Stamp {
        client: 1,
        ..first_stamp(&shard)
    };
    let text = stamped(SAID, stamp);
    shard.people.run.start_ns.store(0, Relaxed);
    shard.people.start_ns = None;
    hear(&mut shard, &text, 3_000_000).unwrap();
    assert_eq!(shard.people.recorder.counts.delivered, 0, "nobody began");
    shard.people.run.start_ns.store(START_NS, Relaxed);
    hear(&mut shard, &text, 3_000_000).unwrap();
    let recorder = &mut shard.people.recorder;
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

#[test]
fn a_client_has_come_when_it_is_told_of_the_room_that_it_asked_for() {
    let name = |run: u32, room: u32| format!("load-{run:08x}-{room:08x}");
    for protocol in [Protocol::V1, Protocol::V2] {
        let mut shard = joining(config(protocol));
        let run = shard.people.run.id;
        let told = |room: &str| match protocol {
            Protocol::V1 => format!("* you are in {room} (1 here)").into_bytes(),
            Protocol::V2 => frames(&[ServerFrame::Room(
                3,
                RoomName::parse(room.as_bytes()).unwrap(),
            )]),
        };
        for wrong in [name(run, 1), name(run ^ 1, 0), "lobby".into()] {
            assert_eq!(counted(&mut shard, &told(&wrong), LATER_NS), stray());
        }
        // Nobody asked so who asked for a room.
        let stamp = shard.people.admission_stamp(0);
        let pong = match protocol {
            Protocol::V1 => stamped(PONG, stamp),
            Protocol::V2 => frames(&[ServerFrame::Pong(&stamped("", stamp))]),
        };
        assert_eq!(counted(&mut shard, &pong, LATER_NS), stray());
        assert_eq!(shard.people.client(0).phase, Phase::Joining);
        // It may have asked for one twice, and has begun to use the first.
        if protocol == Protocol::V2 {
            let again = frames(&[ServerFrame::Welcome(Welcome {
                session: 2,
                ..WELCOME
            })]);
            hear(&mut shard, &again, LATER_NS).unwrap();
            assert_eq!(shard.people.client(0).session, WELCOME.session);
        }
        let right = told(&name(run, 0));
        assert_eq!(counted(&mut shard, &right, LATER_NS), came());
        assert_eq!(shard.people.client(0).phase, Phase::Active);
        // It may have asked twice.
        assert_eq!(counted(&mut shard, &right, LATER_NS).stray, 0);
    }
}

/// Where there are no rooms.
#[test]
fn a_client_has_come_when_its_own_ping_is_answered() {
    let mut shard = joining(RunConfig {
        scenario: Scenario::Ping,
        ..config(Protocol::V1)
    });
    let stamp = shard.people.admission_stamp(0);
    let wrong = [
        Stamp { client: 1, ..stamp },
        Stamp {
            run: stamp.run ^ 1,
            ..stamp
        },
        Stamp { due_ns: 1, ..stamp },
        Stamp { lag_ns: 1, ..stamp },
        // Of the load, of which it has asked nothing.
        Stamp {
            sequence: 0,
            ..stamp
        },
    ];
    for stamp in wrong {
        let pong = stamped(PONG, stamp);
        assert_eq!(counted(&mut shard, &pong, LATER_NS), stray());
    }
    // It asked for no room.
    let room = format!("* you are in load-{:08x}-00000000 (2 here)", stamp.run);
    assert_eq!(counted(&mut shard, room.as_bytes(), LATER_NS), stray());
    assert_eq!(shard.people.client(0).phase, Phase::Joining);
    let counts = counted(&mut shard, &stamped(PONG, stamp), LATER_NS);
    assert_eq!(counts, came());
    assert_eq!(shard.people.client(0).phase, Phase::Active);
}

#[test]
fn who_comes_before_the_recording_is_not_counted() {
    let mut shard = joining(RunConfig {
        warmup: Duration::from_nanos(LATER_NS),
        ..config(Protocol::V1)
    });
    let run = shard.people.run.id;
    let told = format!("* you are in load-{run:08x}-00000000 (1 here)");
    let counts = counted(&mut shard, told.as_bytes(), LATER_NS - 1);
    assert_eq!(counts, Counts::default());
    assert_eq!(shard.people.client(0).phase, Phase::Active);
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
    shard.people.enter(0);
    shard.people.client(0).next_ask = 1;
    let start_ns = shard.people.run.now_ns().max(1);
    shard.people.run.start_ns.store(start_ns, Relaxed);
    shard.people.start_ns = Some(start_ns);
    let pong = stamped(
        PONG,
        Stamp {
            due_ns: 0,
            lag_ns: 0,
            ..first_stamp(&shard)
        },
    );
    let port = shard.people.ports.of(0);
    let local = shard.people.ports.socket(port.socket).local_addr().unwrap();
    let client = (port.from.expect("one of many"), local.port());
    for (from, expected) in [(&stranger, (0, 1)), (&server, (1, 1))] {
        from.send_to(&pong, client).unwrap();
        let (people, admission) = (&mut shard.people, &mut shard.admission);
        let packets = shard.hearing.receive(port.socket, people, admission);
        assert_eq!(packets.unwrap(), 1, "on loopback it is there at once");
        let counts = people.recorder.counts;
        assert_eq!((counts.answered, counts.stray), expected);
    }
    let hear_lag = &shard.people.recorder.latencies().hear_lag;
    assert_eq!(hear_lag.len(), 2, "the kernel says when it had each");
}

/// What is said to a greeting service is no ping.
#[test]
fn who_asks_to_be_greeted_comes_with_no_pong() {
    let mut shard = joining(RunConfig {
        scenario: Scenario::Greet,
        ..config(Protocol::V1)
    });
    let pong = stamped(PONG, shard.people.admission_stamp(0));
    assert_eq!(counted(&mut shard, &pong, LATER_NS), stray());
    assert_eq!(shard.people.client(0).phase, Phase::Joining);
}

/// It is an error as long as there is nothing to keep.
#[test]
fn a_goodbye_ends_the_run_in_good_order_once_it_records() {
    let mut shard = joining(RunConfig {
        warmup: Duration::from_nanos(LATER_NS),
        ..config(Protocol::V2)
    });
    let goodbye = frames(&[ServerFrame::Goodbye]);
    let result = hear(&mut shard, &goodbye, LATER_NS - 1);
    assert!(matches!(result, Err(RunError::Goodbye)), "{result:?}");
    assert!(!shard.people.run.is_cut_short());
    hear(&mut shard, &goodbye, LATER_NS).unwrap();
    assert!(shard.people.run.is_cut_short());
}

/// Of all that came with the first packet of a batch, which had waited longest.
#[test]
fn how_long_it_waited_is_recorded_of_each_packet_that_comes_while_it_is_recorded() {
    let mut shard = warming_up();
    let people = &mut shard.people;
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let (waited, ahead) = (Duration::from_secs(2), Duration::from_secs(3600));
    let begun_ns = START_NS + LATER_NS;
    people.record_hear_lag(Some(now - waited), 5, begun_ns - 1);
    people.record_hear_lag(None, 5, begun_ns);
    assert_eq!(people.recorder.latencies().hear_lag.len(), 0);
    people.record_hear_lag(Some(now - waited), 3, begun_ns);
    let hear_lag = &people.recorder.latencies().hear_lag;
    assert_eq!(hear_lag.len(), 3);
    // As exactly as the histogram tells it.
    assert!(hear_lag.min() >= 1_990_000_000, "{}", hear_lag.min());
    // The system's clock was set back.
    people.record_hear_lag(Some(now + ahead), 1, begun_ns);
    let hear_lag = &people.recorder.latencies().hear_lag;
    assert_eq!((hear_lag.len(), hear_lag.min()), (4, 0));
}

#[test]
fn what_is_no_datagram_of_the_protocol_is_stray_from_the_recording_on() {
    let mut shard = warming_up();
    let nothing = counted(&mut shard, b"* ?", LATER_NS - 1);
    assert_eq!(nothing, Counts::default());
    assert_eq!(counted(&mut shard, b"* ?", LATER_NS), stray());
}

/// By the run's clock.
const START_NS: u64 = 5_000_000_000;

/// While it is recorded.
const LATER_NS: u64 = 500_000_000;

const WELCOME: Welcome = Welcome {
    session: 1,
    timeout_ms: 10_000,
    bundle_bytes: 1200,
    room: 0,
};

const PONG: &str = "* pong ";

const SAID: &str = "127.0.0.1:5 ";
