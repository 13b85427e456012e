//! How much memory a peer takes: all that the table and the room keep of it,
//! the snapshots of the room included.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

use std::alloc::System;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bullhorn::net::PeerAddr;
use bullhorn::server::ops::stats::WorkerId;
use bullhorn::server::registry::{AddressHash, Directory, EventQueue, Names, Registry, RoomLimits};
use bullhorn::wire::{Protocol, RoomName};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What is promised for each.
const BYTES_A_PEER: usize = 300;
const BYTES_A_ROOM: usize = 400;

#[test]
fn a_peer_takes_at_most_300_bytes() {
    let _alone = alone();
    // 115,000 is where the table has just doubled, 135,000 where the room has.
    for count in [200_000, 115_000, 135_000] {
        let resident_before = resident_bytes();
        let region = Region::new(ALLOCATOR);
        let used = |what: &str| {
            let change = region.change();
            let bytes = change.bytes_allocated - change.bytes_deallocated;
            println!("{count} peers, {what}: {} bytes a peer", bytes / count);
            bytes / count
        };
        let peers = registry(count + 1);
        for number in 0..count {
            peers.touch(&address(number), Protocol::Text, WorkerId(0), 0);
        }
        used("table and room");
        let outdated = peers.lobby().members();
        assert_eq!(outdated.len(), count);
        assert!(used("with a snapshot") <= BYTES_A_PEER);

        // One more comes during a fan-out, which holds the snapshot it began with.
        peers.touch(&address(count), Protocol::Text, WorkerId(0), 0);
        assert_eq!(peers.lobby().members().len(), count + 1);
        assert!(used("with a snapshot and an outdated one") <= BYTES_A_PEER);
        assert_eq!(outdated.len(), count);

        // The same as the system sees it, with what the allocator adds. Later
        // rounds take again what the first one gave back.
        let resident = resident_bytes().saturating_sub(resident_before) / count;
        println!("{count} peers, resident: {resident} bytes a peer more than before");
        assert!(resident <= BYTES_A_PEER);
    }
}

#[test]
fn a_room_takes_at_most_400_bytes_beside_its_members() {
    const PEERS: usize = 100_000;
    let _alone = alone();
    for rooms_count in [10_000, 50_000] {
        let region = Region::new(ALLOCATOR);
        let peers = registry(PEERS);
        for number in 0..PEERS {
            peers.touch(&address(number), Protocol::Text, WorkerId(0), 0);
            let room = format!("room-{}", number % rooms_count);
            let room = RoomName::parse(room.as_bytes()).unwrap();
            // Said in each, so that each has a snapshot.
            let room = peers.join(&address(number), room).unwrap().unwrap();
            assert!(!room.members().is_empty());
        }
        assert_eq!(peers.directory().len(), 1 + rooms_count);
        let change = region.change();
        let bytes = change.bytes_allocated - change.bytes_deallocated;
        let beside = bytes.saturating_sub(PEERS * BYTES_A_PEER) / rooms_count;
        println!(
            "{PEERS} peers in {rooms_count} rooms: {} bytes a peer in all, \
             or {BYTES_A_PEER} a peer and {beside} a room",
            bytes / PEERS
        );
        assert!(beside <= BYTES_A_ROOM);

        // Nothing is kept of rooms that have vanished.
        for number in 0..PEERS {
            peers.leave(&address(number), None);
        }
        assert_eq!((peers.len(), peers.directory().len()), (0, 1));
        let change = region.change();
        let kept = change.bytes_allocated - change.bytes_deallocated;
        assert!(kept < PEERS * 100, "{kept} bytes are kept");
    }
}

/// The allocator counts for all threads: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn registry(max_peers: usize) -> Registry {
    let limits = RoomLimits {
        max_rooms: 1_000_000,
        max_members: 1_000_000,
    };
    let (hash, events) = (AddressHash::random(), EventQueue::new(Box::new(|| {})));
    let directory = Directory::new(1, limits, hash, events);
    Registry::new(directory, Names::new(1), max_peers, hash)
}

/// Any number of peers with addresses of their own.
fn address(number: usize) -> PeerAddr {
    let ip = Ipv4Addr::from_bits(0x7F00_0000 + number as u32 / 50_000);
    let port = 10_000 + (number % 50_000) as u16;
    PeerAddr::new(SocketAddr::from((ip, port)), 0)
}

/// Memory of this process that is not on disk: /proc/self/statm, second field.
fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages = statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
    pages * 4096
}
