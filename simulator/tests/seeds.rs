//! Some seeds, the same in each run. `scripts/simulate` has more.

use bullhorn::stats::{Counts, DropReason};
use fastrand::Rng;
use simulator::fuzz;
use simulator::world::{Options, run};

/// Returns a world that a debug build runs within a second.
fn options(seed: u64) -> Options {
    Options {
        seed,
        // In a few there are so many that workers share their plans.
        peers: Some(if seed % 12 == 7 {
            90
        } else {
            2 + seed as usize % 12
        }),
        seconds: Some(if seed % 12 == 7 { 4 } else { 10 }),
        is_traced: false,
    }
}

#[test]
fn no_seed_finds_anything() {
    let mut total = Counts::default();
    for seed in 0..24 {
        // The output of a test that fails names the last one.
        println!("scripts/simulate --seed {seed}, with {:?}", options(seed));
        total += run(&options(seed)).counts;
    }
    let rare = [
        total.moved,
        total.kernel_drops,
        total.frames_limited,
        total.deliveries_congested,
        total.dropped(DropReason::Unproven),
        total.dropped(DropReason::WrongSession),
        total.dropped(DropReason::PeersFull),
    ];
    assert!(!rare.contains(&0), "{rare:?} of {total:?}");
}

#[test]
fn a_seed_leads_to_the_same_datagrams_each_time() {
    for seed in [3, 4] {
        assert_eq!(run(&options(seed)), run(&options(seed)), "seed {seed}");
    }
    assert_ne!(run(&options(3)).hash, run(&options(4)).hash);
}

#[test]
fn no_script_of_random_bytes_finds_anything() {
    for seed in 0..100 {
        println!("script {seed}");
        let mut rng = Rng::with_seed(seed);
        let script: Vec<u8> = (0..600).map(|_| rng.u8(..)).collect();
        fuzz::run(&script);
    }
}
