//! What is printed around a run, and how it ends.

use serde_json::Value;

use super::*;
use crate::cli::args::OutputOptions;
use crate::config::Protocol;
use crate::outcome::Counts;
use crate::slo::Slo;
use crate::testing;
use crate::testing::scratch::Scratch;

/// How a run goes that has three seconds of samples.
#[derive(Default)]
struct Scripted {
    /// It is stopped in its first second.
    signal: Option<i32>,
    /// Before all clients had come.
    stopped_early: Option<i32>,
    fails: bool,
    /// The server goes while it records.
    ends_with_goodbye: bool,
    own_drops: u64,
    /// Each datagram is sent so late, and answered 1 ms after it was due.
    send_lag_ns: Option<u64>,
}

impl Scripted {
    fn run(
        &self,
        control: &Control,
        observe: &mut dyn FnMut(&Sample<'_>),
    ) -> Result<Outcome, RunError> {
        if let Some(signal) = self.stopped_early {
            return Err(RunError::Stopped(signal));
        }
        if self.fails {
            return Err(RunError::Goodbye);
        }
        if let Some(signal) = self.signal {
            control.stop(signal);
        }
        let mut outcome = testing::outcome();
        outcome.latencies.answer = testing::recorded(&[1_000_000]);
        if let Some(send_lag_ns) = self.send_lag_ns {
            outcome.latencies.send_lag = testing::recorded(&[send_lag_ns]);
        }
        (outcome.counts.due, outcome.counts.sent) = (1, 1);
        outcome.counts.asked = 1;
        outcome.counts.own_drops = self.own_drops;
        for second in 0..3 {
            let sample = testing::sample(second, Counts::default(), &outcome.latencies);
            observe(&sample);
        }
        outcome.signal = control.signal();
        outcome.server_said_goodbye = self.ends_with_goodbye;
        Ok(outcome)
    }
}

/// Takes some writes, and fails from there on.
struct Breaking {
    writes_left: u32,
    kind: io::ErrorKind,
}

impl Write for Breaking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.writes_left.checked_sub(1) {
            Some(left) => {
                self.writes_left = left;
                Ok(bytes.len())
            }
            None => Err(self.kind.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn request(slo: Option<&str>) -> RunRequest {
    RunRequest {
        config: testing::pings(100.0),
        other_addresses: Default::default(),
        slo: slo.map(|slo| Slo::parse(slo).unwrap()),
        output: OutputOptions {
            out: None,
            overwrite: false,
            json: true,
            quiet: false,
        },
        is_forced: false,
    }
}

fn end_with_files(
    script: &Scripted,
    slo: Option<&str>,
    files: Option<Output>,
    report: Report,
    out: impl Write,
) -> End {
    let request = request(slo);
    let live = LiveView::begin(&request.config, false);
    let stdout = Stdout::new(report, out);
    let control = Control::new();
    run_and_report(&request, files, live, stdout, &control, |observe| {
        script.run(&control, observe)
    })
}

fn end(script: &Scripted, slo: Option<&str>, report: Report, out: impl Write) -> End {
    end_with_files(script, slo, None, report, out)
}

#[test]
fn an_objective_that_the_generator_may_have_missed_is_no_verdict_on_the_server() {
    for (send_lag_ns, expected) in [(400_000, End::SloMissed), (600_000, End::Invalid)] {
        let script = Scripted {
            send_lag_ns: Some(send_lag_ns),
            ..Scripted::default()
        };
        let ended = end(&script, Some("max<500us"), Report::Json, Vec::new());
        assert_eq!(ended, expected, "{send_lag_ns}");
    }
}

fn printed(script: &Scripted, slo: Option<&str>, report: Report) -> (End, String) {
    let mut out = Vec::new();
    let end = end(script, slo, report, &mut out);
    (end, String::from_utf8(out).unwrap())
}

#[test]
fn json_lines_are_the_seconds_and_the_summary() {
    let (end, lines) = printed(&Scripted::default(), Some("p99<2ms"), Report::Json);
    assert_eq!(end, End::Good);
    let values: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let kinds: Vec<&Value> = values.iter().map(|value| &value["kind"]).collect();
    assert_eq!(kinds, ["second", "second", "second", "summary"]);
    assert_eq!(values[1]["start_s"], 1.0);
    assert_eq!(values[3]["slos"][0]["is_met"], true);
}

#[test]
fn people_get_the_summary_alone_and_the_quiet_the_verdict() {
    let (end, text) = printed(&Scripted::default(), Some("p99<1us"), Report::Text);
    assert_eq!(end, End::SloMissed);
    assert!(text.starts_with("valid: 10 s of ping"), "{text}");
    assert!(text.contains("MISSED"), "{text}");
    let (end, text) = printed(&Scripted::default(), None, Report::Verdict);
    assert_eq!((end, text.as_str()), (End::Good, "valid\n"));
}

#[test]
fn what_ends_badly_says_so_in_its_code() {
    let mut script = Scripted {
        own_drops: 1,
        ..Scripted::default()
    };
    let (end, text) = printed(&script, Some("p99<1us"), Report::Text);
    assert_eq!(end, End::Invalid);
    assert!(text.contains("INVALID"), "{text}");
    let (end, line) = printed(&script, None, Report::Verdict);
    assert_eq!((end, line.lines().count()), (End::Invalid, 1));
    assert!(
        line.starts_with("INVALID: The generator's own sockets"),
        "{line}"
    );
    script.signal = Some(2);
    assert_eq!(printed(&script, None, Report::Text).0, End::Signal(2));
    script.stopped_early = Some(15);
    assert_eq!(
        printed(&script, None, Report::Json),
        (End::Signal(15), String::new())
    );
    script.stopped_early = None;
    script.fails = true;
    assert_eq!(
        printed(&script, None, Report::Json),
        (End::Failed, String::new())
    );
}

#[test]
fn the_files_have_all_samples_and_what_cannot_be_written_fails_the_run() {
    let scratch = Scratch::new();
    let script = Scripted::default();
    let written = |is_removed: bool| {
        let dir = scratch.path("run");
        let files = Output::create(&dir, true).unwrap();
        if is_removed {
            std::fs::remove_dir_all(&dir).unwrap();
        }
        let mut out = Vec::new();
        let end = end_with_files(&script, None, Some(files), Report::Text, &mut out);
        let told = String::from_utf8(out).unwrap();
        assert!(told.starts_with("valid"), "told all the same: {told}");
        let path = format!("Report: {}\n", dir.join("report.html").display());
        assert_eq!(told.ends_with(&path), !is_removed, "{told}");
        (end, std::fs::read(dir.join("summary.json")).ok())
    };
    let (end, summary) = written(false);
    let summary: Value = serde_json::from_slice(&summary.unwrap()).unwrap();
    assert_eq!(end, End::Good);
    assert_eq!(summary["intervals"].as_array().unwrap().len(), 3);
    assert_eq!(written(true), (End::Failed, None));
}

#[test]
fn what_was_recorded_when_the_server_said_goodbye_is_told_and_kept() {
    let scratch = Scratch::new();
    let script = Scripted {
        ends_with_goodbye: true,
        ..Scripted::default()
    };
    let (end, text) = printed(&script, Some("p99<2ms"), Report::Text);
    assert_eq!(end, End::Failed);
    let told = "\n  The server said goodbye after 10 s of 10 s.\n";
    assert!(text.contains(told), "{text}");
    let files = Output::create(scratch.dir(), true).unwrap();
    let mut out = Vec::new();
    let end = end_with_files(&script, None, Some(files), Report::Json, &mut out);
    assert_eq!(end, End::Failed);
    let line = String::from_utf8(out).unwrap();
    let line: Value = serde_json::from_str(line.lines().last().unwrap()).unwrap();
    let file = std::fs::read(scratch.path("summary.json")).unwrap();
    let file: Value = serde_json::from_slice(&file).unwrap();
    assert_eq!(line["server_said_goodbye"], true);
    assert_eq!(file["server_said_goodbye"], true);
}

#[test]
fn a_reader_that_has_gone_ends_the_load_quietly() {
    let out = Breaking {
        writes_left: 1,
        kind: io::ErrorKind::BrokenPipe,
    };
    let end = end(&Scripted::default(), None, Report::Json, out);
    assert_eq!(end, End::Signal(SIGPIPE));
    assert_eq!(end.code(), 141);
}

#[test]
fn an_output_that_fails_otherwise_fails_the_run() {
    for (report, writes_left) in [(Report::Json, 1), (Report::Json, 3), (Report::Text, 0)] {
        let out = Breaking {
            writes_left,
            kind: io::ErrorKind::StorageFull,
        };
        assert_eq!(end(&Scripted::default(), None, report, out), End::Failed);
    }
}

#[test]
fn what_the_generator_is_capable_of_is_said_or_refused() {
    let mut request = request(None);
    let plan = Plan::of(&request.config);
    let note = |request: &RunRequest, found| capacity_note(&plan, request, found);
    let capable_of = |handled_per_s| Ok(Some(Capacity::here(1, Protocol::V1, handled_per_s)));
    let unknown = note(&request, Ok(None)).unwrap().unwrap();
    assert!(unknown.starts_with("not calibrated (--threads 1, --protocol v1)"));
    let damaged = note(&request, Err(CapacityError::NoHome)).unwrap().unwrap();
    assert!(damaged.starts_with("what it is capable of is not known"));
    // 100 pings and their answers.
    assert_eq!(note(&request, capable_of(200.0)).unwrap(), None);
    assert!(note(&request, capable_of(199.0)).is_err());
    request.is_forced = true;
    let forced = note(&request, capable_of(199.0)).unwrap().unwrap();
    assert!(forced.starts_with("forced to offer more"));
}
