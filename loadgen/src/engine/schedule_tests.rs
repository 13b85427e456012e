use super::*;
use crate::testing;

fn config(rate: Rate, arrival: Arrival, seconds: u64) -> RunConfig {
    RunConfig {
        rate,
        arrival,
        duration: Duration::from_secs(seconds),
        ..testing::config()
    }
}

fn times(config: &RunConfig, share: usize, shares: usize) -> Vec<u64> {
    let mut schedule = Schedule::new(config, share, shares);
    let next = || {
        let due = schedule.due_ns()?;
        schedule.advance();
        Some(due)
    };
    std::iter::from_fn(next).collect()
}

#[test]
fn equal_distances_are_counted_from_the_beginning_and_never_summed_up() {
    // A rate whose distance is no whole number of nanoseconds.
    let config = config(Rate::constant(30_000.0), Arrival::Uniform, 99);
    let times = times(&config, 0, 1);
    assert_eq!(times.len(), 3_000_000);
    for (index, due) in times.iter().enumerate() {
        let exact = index as u128 * 1_000_000_000 / 30_000;
        assert!(exact.abs_diff(u128::from(*due)) <= 1, "{index}: {due}");
    }
}

#[test]
fn the_threads_share_the_schedule_also_when_they_are_more_than_a_second_has_datagrams() {
    let config = config(Rate::constant(5.0), Arrival::Uniform, 9);
    let mut together: Vec<u64> = (0..8).flat_map(|share| times(&config, share, 8)).collect();
    together.sort_unstable();
    assert_eq!(together, times(&config, 0, 1));
    assert_eq!(together.len(), 50);
}

#[test]
fn a_rate_below_one_a_second_is_kept() {
    let config = config(Rate::constant(0.25), Arrival::Uniform, 11);
    assert_eq!(
        times(&config, 0, 1),
        [0, 4_000_000_000, 8_000_000_000],
        "in 12 s"
    );
}

#[test]
fn a_ramp_has_the_first_rate_while_it_warms_up_and_then_goes_up_to_the_second() {
    let ramp = Rate {
        from: 1000.0,
        to: 3000.0,
    };
    let times = times(&config(ramp, Arrival::Uniform, 10), 0, 1);
    let in_second = |second: u64| {
        let range = second * 1_000_000_000..(second + 1) * 1_000_000_000;
        times.iter().filter(|due| range.contains(due)).count() as i64
    };
    assert!((in_second(0) - 1000).abs() <= 1);
    for second in 1..=10 {
        // The mean rate of that second.
        let expected = 1000 + 200 * (second as i64 - 1) + 100;
        assert!((in_second(second) - expected).abs() <= 1, "{second}");
    }
}

#[test]
fn a_ramp_down_ends_where_it_should() {
    let ramp = Rate {
        from: 2000.0,
        to: 1.0,
    };
    let times = times(&config(ramp, Arrival::Uniform, 10), 0, 1);
    let count = times.len() as i64;
    assert!((count - 2000 - 10_005).abs() <= 2, "{count}");
}

#[test]
fn poisson_arrivals_have_the_rate_and_the_scatter_of_strangers() {
    let config = config(Rate::constant(10_000.0), Arrival::Poisson, 99);
    let together: Vec<Vec<u64>> = (0..2).map(|share| times(&config, share, 2)).collect();
    let mut times: Vec<u64> = together.concat();
    times.sort_unstable();
    // Four standard deviations of the count of a Poisson process: 4 × √10⁶.
    assert!(times.len().abs_diff(1_000_000) < 4000, "{}", times.len());
    let gaps: Vec<f64> = times
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) as f64)
        .collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
    // Of exponential gaps the standard deviation is the mean.
    assert!((variance.sqrt() / mean - 1.0).abs() < 0.02);
}

#[test]
fn the_seed_decides_and_nothing_else() {
    let with_seed = |seed| RunConfig {
        seed,
        ..config(Rate::constant(1000.0), Arrival::Poisson, 1)
    };
    assert_eq!(times(&with_seed(1), 0, 1), times(&with_seed(1), 0, 1));
    assert_ne!(times(&with_seed(1), 0, 1), times(&with_seed(2), 0, 1));
}
