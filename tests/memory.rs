//! The memory per peer and per room: all that the registry stores, including the
//! snapshots of rooms.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

use std::alloc::System;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bullhorn::net::PeerAddr;
use bullhorn::server::ops::stats::WorkerId;
use bullhorn::server::registry::{AddressHash, Newcomer, Registry, RegistryLimits, Touch};
use bullhorn::wire::{Protocol, RoomName};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn a_peer_takes_at_most_320_bytes_and_64_more_if_it_is_not_trusted() {
    let _only_test = only_test();
    // At 115,000 peers the table has just doubled, at 135,000 the room has.
    for (count, is_trusted) in [
        (200_000, true),
        (115_000, true),
        (135_000, true),
        (135_000, false),
    ] {
        let max_bytes = BYTES_PER_PEER + if is_trusted { 0 } else { BYTES_PER_STRANGER };
        let resident_before = resident_bytes();
        let region = Region::new(ALLOCATOR);
        let used = |what: &str| {
            let change = region.change();
            let bytes = change.bytes_allocated - change.bytes_deallocated;
            println!("{count} peers, {what}: {} bytes per peer", bytes / count);
            bytes / count
        };
        // All are in one network, which has at most half.
        let peers = registry(2 * count + 1);
        let register = |number| register(&peers, number, is_trusted);
        (0..count).for_each(register);
        used("table and room");
        let outdated = peers.lobby().members();
        assert_eq!(outdated.len(), count);
        assert!(used("with a snapshot") <= max_bytes);

        // Another peer joins during a fan-out, which keeps its snapshot.
        register(count);
        assert_eq!(peers.lobby().members().len(), count + 1);
        assert!(used("with a snapshot and an outdated one") <= max_bytes);
        assert_eq!(outdated.len(), count);

        // The resident memory includes the overhead of the allocator. Later rounds reuse
        // the memory that the first one has released.
        let resident = resident_bytes().saturating_sub(resident_before) / count;
        println!("{count} peers, resident: {resident} bytes per peer more than before");
        assert!(resident <= max_bytes);
    }
}

#[test]
fn a_room_takes_at_most_400_bytes_in_addition_to_its_members() {
    const PEERS: usize = 100_000;
    let _only_test = only_test();
    for rooms_count in [10_000, 50_000] {
        let region = Region::new(ALLOCATOR);
        let peers = registry(PEERS);
        for number in 0..PEERS {
            register(&peers, number, true);
            let room = format!("room-{}", number % rooms_count);
            let room = RoomName::parse(room.as_bytes()).unwrap();
            // Takes a snapshot, so that each room has one.
            let room = peers.join(&address(number), room).unwrap().unwrap();
            assert!(!room.members().is_empty());
        }
        assert_eq!(peers.directory().len(), 1 + rooms_count);
        let change = region.change();
        let bytes = change.bytes_allocated - change.bytes_deallocated;
        let per_room = bytes.saturating_sub(PEERS * BYTES_PER_PEER) / rooms_count;
        println!(
            "{PEERS} peers in {rooms_count} rooms: {} bytes per peer in total, \
             or {BYTES_PER_PEER} per peer and {per_room} per room",
            bytes / PEERS
        );
        assert!(per_room <= BYTES_PER_ROOM);

        // Empty rooms keep no memory.
        for number in 0..PEERS {
            peers.leave(&address(number), None);
        }
        assert_eq!((peers.len(), peers.directory().len()), (0, 1));
        let change = region.change();
        let kept = change.bytes_allocated - change.bytes_deallocated;
        assert!(kept < PEERS * 100, "{kept} bytes remain");
    }
}

fn register(peers: &Registry, number: usize, is_trusted: bool) {
    let newcomer = Newcomer {
        address: address(number),
        protocol: Protocol::Text,
        session: None,
        options: None,
        owner: WorkerId(0),
        is_trusted,
    };
    let registered = peers.register(&newcomer, 0);
    assert!(matches!(registered, Touch::Registered(_)));
}

/// Lets one test run at a time, as the allocator counts for all threads.
fn only_test() -> MutexGuard<'static, ()> {
    static RUNNING: Mutex<()> = Mutex::new(());
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn registry(max_peers: usize) -> Registry {
    let limits = RegistryLimits {
        max_peers,
        max_names: 1,
        max_rooms: 1_000_000,
        max_room_members: 1_000_000,
    };
    Registry::new(1, limits, AddressHash::random(), Arc::new(|| {}))
}

/// Returns a different address for each number.
fn address(number: usize) -> PeerAddr {
    let ip = Ipv4Addr::from_bits(0x7F00_0000 + number as u32 / 50_000);
    let port = 10_000 + (number % 50_000) as u16;
    PeerAddr::new(SocketAddr::from((ip, port)), 0)
}

/// Returns the resident memory of this process: /proc/self/statm, second field.
fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages = statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
    pages * 4096
}

/// The documented limits.
const BYTES_PER_PEER: usize = 320;
const BYTES_PER_STRANGER: usize = 64;
const BYTES_PER_ROOM: usize = 400;
