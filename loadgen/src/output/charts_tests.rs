use super::*;
use crate::output::tests::summary_of;
use crate::testing::sample_run::SampleRun;

fn titles(figures: &[Figure]) -> Vec<&str> {
    figures.iter().map(|figure| figure.title).collect()
}

fn figures_of(run: &SampleRun) -> Vec<Figure> {
    figures(&summary_of(run), &run.outcome.latencies)
}

/// The figure with this title.
fn figure<'a>(figures: &'a [Figure], title: &str) -> &'a Figure {
    let found = figures.iter().find(|figure| figure.title == title);
    found.unwrap()
}

fn curve<'a>(figure: &'a Figure, name: &str) -> &'a Curve {
    let found = figure.plot.curves.iter().find(|curve| curve.name == name);
    found.unwrap()
}

#[test]
fn a_run_of_everything_has_all_figures_with_a_point_a_second() {
    let figures = figures_of(&SampleRun::of(20));
    let expected = [
        "Delivery latency by percentile",
        "Delivery latency over time",
        "Answer latency by percentile",
        "Answer latency over time",
        "Datagrams offered",
        "Deliveries",
        "Answers",
        "Losses",
    ];
    assert_eq!(titles(&figures), expected);
    for (title, name) in [
        ("Delivery latency over time", "max"),
        ("Answer latency over time", "median"),
        ("Datagrams offered", "due"),
        ("Deliveries", "delivered"),
        ("Answers", "answered"),
        ("Losses", "deliveries lost"),
    ] {
        let [piece] = &curve(figure(&figures, title), name).pieces[..] else {
            panic!("{title} has gaps");
        };
        let times: Vec<_> = piece.iter().map(|(time_s, _)| *time_s).collect();
        let expected: Vec<_> = (0..20).map(|second| f64::from(second) + 0.5).collect();
        assert_eq!(times, expected, "{title}");
    }
}

#[test]
fn curves_say_what_the_figures_say() {
    let run = SampleRun::of(20);
    let figures = figures_of(&run);
    let deliveries = &curve(figure(&figures, "Deliveries"), "delivered").pieces[0];
    assert_eq!((deliveries[5].1, deliveries[6].1), (4_500.0, 4_463.0));
    let losses = &curve(figure(&figures, "Losses"), "deliveries lost").pieces[0];
    assert_eq!((losses[5].1, losses[16].1), (0.0, 37.0 / 4_500.0));

    let by_percentile = figure(&figures, "Answer latency by percentile");
    let answer = &run.outcome.latencies.answer;
    let points = &curve(by_percentile, "from due").pieces[0];
    let [first, .., last] = points[..] else {
        panic!("{points:?}");
    };
    assert_eq!(first, (0.0, log_us(answer.min() as f64 / 1e3)));
    assert_eq!(last.1, log_us(answer.max() as f64 / 1e3));
    assert!((last.0 - (answer.len() as f64).log10()).abs() < 1e-9);
    // The server stood still: that is in what counts from when things were due, and
    // hardly in what a generator sees that waits.
    let closed = &curve(by_percentile, "closed loop").pieces[0];
    let decades = last.1 - closed[closed.len() - 1].1;
    assert!(decades > 1.0, "{decades}");
}

#[test]
fn all_points_are_within_their_axes() {
    let latencies = &SampleRun::of(1).outcome.latencies;
    let long = figures(&long_summary(2_000), latencies);
    for figure in [
        figures_of(&SampleRun::of(1)),
        figures_of(&SampleRun::of(7)),
        long,
    ]
    .concat()
    {
        let Plot { x, y, curves, .. } = &figure.plot;
        let mut count = 0;
        for (at, height) in curves
            .iter()
            .flat_map(|curve| curve.pieces.iter().flatten())
        {
            let is_within = (x.range.start..=x.range.end).contains(at)
                && (y.range.start - 1e-6..=y.range.end + 1e-6).contains(height);
            assert!(is_within, "{}: {at}, {height}", figure.title);
            count += 1;
        }
        assert!(count > 0, "{} is empty", figure.title);
    }
}

/// A summary with the seconds and the deliveries of a run this long.
fn long_summary(seconds: u32) -> Summary {
    let mut summary = summary_of(&SampleRun::of(10));
    summary
        .intervals
        .retain(|interval| interval.latency == "delivery");
    for start in 10..seconds {
        let mut interval = summary.intervals[start as usize % 10].clone();
        interval.start_s = f64::from(start);
        interval.max_us += f64::from(start);
        summary.intervals.push(interval);
        summary.seconds.push(summary.seconds[start as usize % 10]);
    }
    summary.recorded_s = f64::from(seconds);
    summary
}

#[test]
fn a_run_of_one_kind_has_no_figures_of_the_others() {
    let mut run = SampleRun::of(3);
    for latencies in run.intervals.iter_mut().chain([&mut run.outcome.latencies]) {
        let lag = latencies.send_lag.clone();
        *latencies = Latencies::new();
        latencies.send_lag = lag;
    }
    for second in &mut run.outcome.seconds {
        (second.asked, second.answered, second.owed, second.delivered) = (0, 0, 0, 0);
    }
    assert_eq!(titles(&figures_of(&run)), ["Datagrams offered"]);
    assert_eq!(titles(&figures_of(&SampleRun::of(0))), [""; 0]);
}

#[test]
fn a_second_in_which_nothing_came_is_a_gap() {
    let mut run = SampleRun::of(9);
    run.intervals[4].delivery.reset();
    run.outcome.seconds[4].owed = 0;
    let figures = figures_of(&run);
    for (title, name) in [
        ("Delivery latency over time", "p99"),
        ("Losses", "deliveries lost"),
    ] {
        let lengths: Vec<_> = curve(figure(&figures, title), name)
            .pieces
            .iter()
            .map(Vec::len)
            .collect();
        assert_eq!(lengths, [4, 4], "{title}");
    }
}

#[test]
fn long_runs_have_fewer_points_and_no_peak_is_lost() {
    let summary = long_summary(601);
    let figures = figures(&summary, &Latencies::new());
    let over_time = figure(&figures, "Delivery latency over time");
    let points = &curve(over_time, "max").pieces[0];
    assert_eq!(points.len(), 201);
    assert!(over_time.caption.ends_with("the worst of 3 seconds."));
    let highest = points.iter().map(|(_, height)| *height).fold(0.0, f64::max);
    let worst = summary.intervals.iter().map(|interval| interval.max_us);
    assert_eq!(highest, log_us(worst.fold(0.0, f64::max)));
    // Rates are means: the sum of all is as it was.
    let offered = &curve(figure(&figures, "Datagrams offered"), "sent").pieces[0];
    let total: f64 = offered[..200].iter().map(|(_, rate)| 3.0 * rate).sum();
    let sent = summary.seconds[..600].iter().map(|second| second.sent);
    let expected = sent.sum::<u64>() as f64;
    assert!((total - expected).abs() < 1e-3, "{total}, not {expected}");
}

#[test]
fn the_rate_of_the_last_piece_of_a_second_is_that_of_its_length() {
    let mut run = SampleRun::of(4);
    for (recorded_ms, expected) in [
        (3_600, vec![1_000.0, 1_001.0, 1_002.0, 1_666.67]),
        (3_400, vec![1_000.0, 1_001.0, 1_002.0]),
    ] {
        run.outcome.recorded = std::time::Duration::from_millis(recorded_ms);
        let figures = figures_of(&run);
        let offered = &curve(figure(&figures, "Datagrams offered"), "due").pieces[0];
        let rates: Vec<_> = offered
            .iter()
            .map(|(_, rate)| (rate * 100.0).round() / 100.0)
            .collect();
        assert_eq!(rates, expected);
    }
}
