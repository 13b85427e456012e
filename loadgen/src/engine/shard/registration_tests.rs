//! When a client has come.

use std::time::Duration;

use bullhorn::wire::RoomName as ServerRoomName;
use bullhorn::wire::v2::{Room, ServerFrame, SessionId, Welcome};

use super::*;
use crate::config::RunConfig;
use crate::engine::shard::testing::*;
use crate::outcome::Counts;

#[test]
fn every_room_of_every_run_has_a_name_of_its_own() {
    assert_eq!(
        RoomName::new(0xabc, 0x10).as_str(),
        "load-00000abc-00000010"
    );
    assert_eq!(
        RoomName::new(u32::MAX, 0).as_str(),
        "load-ffffffff-00000000"
    );
}

fn came() -> Counts {
    Counts {
        joined: 1,
        ..Counts::default()
    }
}

#[test]
fn a_client_has_come_when_it_is_told_of_the_room_that_it_asked_for() {
    let name = |run: u32, room: u32| format!("load-{run:08x}-{room:08x}");
    for protocol in [Protocol::V1, Protocol::V2] {
        let mut shard = joining(config(protocol));
        let run = shard.clients.run.id;
        let told = |room: &str| match protocol {
            Protocol::V1 => format!("* you are in {room} (1 here)").into_bytes(),
            Protocol::V2 => frames(&[ServerFrame::Room(Room {
                number: 3,
                incarnation: 1,
                name: ServerRoomName::parse(room.as_bytes()).unwrap(),
            })]),
        };
        for wrong in [name(run, 1), name(run ^ 1, 0)] {
            assert_eq!(counted(&mut shard, &told(&wrong), LATER_NS), stray());
        }
        // Everybody begins there, and has not come by that.
        assert_eq!(
            counted(&mut shard, &told("lobby"), LATER_NS),
            Counts::default()
        );
        // Nobody asked so who asked for a room.
        let stamp = shard.clients.admission_stamp(0);
        let pong = match protocol {
            Protocol::V1 => stamped(PONG, stamp),
            Protocol::V2 => frames(&[ServerFrame::Pong(&stamped("", stamp))]),
        };
        assert_eq!(counted(&mut shard, &pong, LATER_NS), stray());
        assert_eq!(shard.clients.client(0).phase, Phase::Joining);
        // It may have asked for one twice, and has begun to use the first.
        if protocol == Protocol::V2 {
            let again = frames(&[ServerFrame::Welcome(Welcome {
                session: SessionId::new(2).unwrap(),
                ..WELCOME
            })]);
            receive(&mut shard, &again, LATER_NS).unwrap();
            assert_eq!(shard.clients.client(0).session, Some(WELCOME.session));
        }
        let right = told(&name(run, 0));
        assert_eq!(counted(&mut shard, &right, LATER_NS), came());
        assert_eq!(shard.clients.client(0).phase, Phase::Active);
        // It may have asked twice.
        assert_eq!(counted(&mut shard, &right, LATER_NS).stray, 0);
    }
}

/// A server that had dropped its clients registers them anew, with what they send next.
#[test]
fn clients_whose_room_is_another_one_were_forgotten() {
    let mut shard = joining(config(Protocol::V2));
    let in_room = |number: u32, name: &str| {
        frames(&[ServerFrame::Room(Room {
            number,
            incarnation: 1,
            name: ServerRoomName::parse(name.as_bytes()).unwrap(),
        })])
    };
    let own = format!("load-{:08x}-00000000", shard.clients.run.id);
    assert_eq!(counted(&mut shard, &in_room(3, &own), LATER_NS), came());
    assert_eq!(shard.clients.client(0).room, Some(3));
    for _ in 0..100 {
        let told = counted(&mut shard, &in_room(0, wire::LOBBY), LATER_NS);
        assert_eq!(told, Counts::default());
    }
    assert_eq!(shard.clients.client(0).room, Some(3));
    assert!(shard.clients.run.has_restarted());
}

/// A test of version 2 without rooms.
#[test]
fn a_client_has_come_when_it_is_told_of_the_lobby() {
    let mut shard = joining(RunConfig {
        scenario: Scenario::Ping,
        ..config(Protocol::V2)
    });
    let lobby = ServerFrame::Room(Room {
        number: 0,
        incarnation: 1,
        name: ServerRoomName::parse(wire::LOBBY.as_bytes()).unwrap(),
    });
    let to_another = frames_to(WELCOME.session.get() + 1, &[lobby]);
    assert_eq!(counted(&mut shard, &to_another, LATER_NS), stray());
    assert_eq!(counted(&mut shard, &frames(&[lobby]), LATER_NS), came());
    assert_eq!(shard.clients.client(0).room, Some(0));
}

/// A client of version 1 answers once, and asks again for what was dropped.
#[test]
fn a_client_proves_its_address_once_per_challenge_of_the_server() {
    let mut shard = joining(config(Protocol::V1));
    // Others cannot make it say anything.
    let text = b"127.0.0.1:5 * say /in 00000005";
    assert_eq!(counted(&mut shard, text, LATER_NS), stray());
    assert!(shard.registration.challenged.is_empty());
    let nothing = counted(&mut shard, b"* say /in 00000005", LATER_NS);
    assert_eq!(nothing, Counts::default());
    assert_eq!(shard.registration.challenged.len(), 1);
    let (clients, batch) = (&mut shard.clients, &mut shard.batch);
    let now_ns = START_NS + LATER_NS;
    shard.registration.turn(clients, batch, now_ns).unwrap();
    assert!(shard.registration.challenged.is_empty());
    assert_eq!(shard.clients.client(0).phase, Phase::Joining);
}

/// A test without rooms.
#[test]
fn a_client_has_come_when_its_own_ping_is_answered() {
    let mut shard = joining(RunConfig {
        scenario: Scenario::Ping,
        ..config(Protocol::V1)
    });
    let stamp = shard.clients.admission_stamp(0);
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
    assert_eq!(shard.clients.client(0).phase, Phase::Joining);
    let counts = counted(&mut shard, &stamped(PONG, stamp), LATER_NS);
    assert_eq!(counts, came());
    assert_eq!(shard.clients.client(0).phase, Phase::Active);
}

#[test]
fn who_comes_before_the_recording_is_not_counted() {
    let mut shard = joining(RunConfig {
        warmup: Duration::from_nanos(LATER_NS),
        ..config(Protocol::V1)
    });
    let run = shard.clients.run.id;
    let told = format!("* you are in load-{run:08x}-00000000 (1 here)");
    let counts = counted(&mut shard, told.as_bytes(), LATER_NS - 1);
    assert_eq!(counts, Counts::default());
    assert_eq!(shard.clients.client(0).phase, Phase::Active);
}

/// What is said to a greeting service is no ping.
#[test]
fn who_asks_to_be_greeted_comes_with_no_pong() {
    let mut shard = joining(RunConfig {
        scenario: Scenario::Greet,
        ..config(Protocol::V1)
    });
    let pong = stamped(PONG, shard.clients.admission_stamp(0));
    assert_eq!(counted(&mut shard, &pong, LATER_NS), stray());
    assert_eq!(shard.clients.client(0).phase, Phase::Joining);
}

/// Its target knows it at once, and another one a moment later, which sends what it should
/// receive.
#[test]
fn a_client_that_comes_back_to_a_node_takes_part_when_the_others_know_it() {
    let mut shard = joining(config_of_nodes(Protocol::V1));
    let room = shard.clients.room_name(0).as_str().to_owned();
    let told = format!("* you are in {room} (1 here)").into_bytes();
    assert_eq!(counted(&mut shard, &told, LATER_NS), Counts::default());
    assert_eq!(shard.clients.client(0).phase, Phase::Arriving);
    let begin_ns = START_NS + LATER_NS;
    for (now_ns, phase) in [
        (begin_ns + ARRIVAL_NS - 1, Phase::Arriving),
        (begin_ns + ARRIVAL_NS, Phase::Active),
    ] {
        // A text that is said before it takes part is not for it.
        let text = shard.clients.run.rooms.speak(0, None);
        let (clients, batch) = (&mut shard.clients, &mut shard.batch);
        shard.registration.turn(clients, batch, now_ns).unwrap();
        assert_eq!((clients.client(0).phase, text.expected), (phase, 0));
    }
    assert_eq!(shard.clients.client(0).owed_from, 2);
    assert_eq!(shard.clients.run.rooms.members(0), 1);
}
