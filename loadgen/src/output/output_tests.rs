use super::*;
use crate::outcome::Latencies;
use crate::testing::sample_run::{SampleRun, config};
use crate::testing::scratch::Scratch;

/// Has `run` written to `dir`.
fn output(dir: &Path, overwrite: bool, run: &SampleRun) -> Result<Summary, OutputError> {
    let mut output = Output::create(dir, overwrite)?;
    for sample in run.samples() {
        output.sample(&sample).unwrap();
    }
    let config = config();
    output.finish(&Run {
        command: &["loadgen".to_owned(), "--rate".to_owned(), "1k/s".to_owned()],
        config: &config,
        outcome: &run.outcome,
        verdict: &Verdict::of(&config, &run.outcome, &[]),
        slos: &[],
    })
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn a_run_leaves_its_files_and_nothing_else() {
    let scratch = Scratch::new();
    let dir = scratch.path("runs/first");
    let summary = output(&dir, false, &SampleRun::of(10)).unwrap();
    let expected = [
        "answer-closed-loop.hgrm",
        "answer-from-send.hgrm",
        "answer.hgrm",
        "delivery-from-send.hgrm",
        "delivery.hgrm",
        "latency.hlog",
        "receive-lag.hgrm",
        "report.html",
        "send-lag.hgrm",
        "summary.json",
    ];
    assert_eq!(names(&dir), expected);
    let text = fs::read_to_string(dir.join("summary.json")).unwrap();
    let read: Summary = serde_json::from_str(&text).unwrap();
    assert_eq!(read, summary);
    assert!(text.ends_with("}\n"));
}

#[test]
fn another_run_is_overwritten_only_if_one_says_so() {
    let scratch = Scratch::new();
    let dir = scratch.dir();
    output(dir, false, &SampleRun::of(3)).unwrap();
    let before = fs::read(dir.join(SUMMARY)).unwrap();
    let log = fs::read(dir.join(LOG)).unwrap();
    let error = Output::create(dir, false).err().unwrap();
    assert!(matches!(&error, OutputError::Taken { dir: taken, .. } if taken == dir));
    assert!(error.to_string().contains("--overwrite"), "{error}");
    assert_eq!(fs::read(dir.join(SUMMARY)).unwrap(), before);

    // One that is begun, and comes to nothing, leaves the other one as it was.
    drop(Output::create(dir, true).unwrap());
    assert_eq!(fs::read(dir.join(SUMMARY)).unwrap(), before);
    assert_eq!(fs::read(dir.join(LOG)).unwrap(), log);

    let mut quiet = SampleRun::of(2);
    quiet.outcome.latencies.answer = Latencies::new().answer;
    output(dir, true, &quiet).unwrap();
    assert_ne!(fs::read(dir.join(SUMMARY)).unwrap(), before);
    let names = names(dir);
    assert!(!names.contains(&"answer.hgrm".to_owned()), "{names:?}");
    assert!(names.contains(&"delivery.hgrm".to_owned()), "{names:?}");
}

#[test]
fn what_a_broken_run_left_is_in_nobodys_way() {
    let scratch = Scratch::new();
    let mut broken = Output::create(scratch.dir(), false).unwrap();
    let run = SampleRun::of(1);
    for sample in run.samples() {
        broken.sample(&sample).unwrap();
    }
    drop(broken);
    assert_eq!(names(scratch.dir()), [GROWING_LOG]);
    output(scratch.dir(), false, &run).unwrap();
    assert!(!names(scratch.dir()).contains(&GROWING_LOG.to_owned()));
}

#[test]
fn a_directory_that_cannot_be_is_named() {
    let scratch = Scratch::new();
    let file = scratch.path("file");
    fs::write(&file, "").unwrap();
    let error = Output::create(&file.join("run"), false).err().unwrap();
    let expected = format!("cannot write {}: ", file.join("run").display());
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[test]
fn a_run_that_recorded_nothing_is_written_all_the_same() {
    let scratch = Scratch::new();
    let mut run = SampleRun::of(0);
    run.outcome.signal = Some(2);
    let summary = output(scratch.dir(), false, &run).unwrap();
    assert!(!summary.verdict.is_valid());
    assert_eq!(summary.rates.pace.offered_per_s, 0.0);
    assert_eq!(names(scratch.dir()), [LOG, REPORT, SUMMARY]);
}

/// The summary of `run`, without having it written.
pub(super) fn summary_of(run: &SampleRun) -> Summary {
    let mut timeline = Timeline::default();
    run.samples().for_each(|sample| timeline.add(&sample));
    let config = config();
    let run = Run {
        command: &["loadgen".to_owned()],
        config: &config,
        outcome: &run.outcome,
        verdict: &Verdict::of(&config, &run.outcome, &[]),
        slos: &[],
    };
    Summary::new(&run, timeline.into_intervals(), Environment::read())
}

#[test]
fn a_shell_takes_a_line_apart_into_the_same_words() {
    let plain = ["loadgen", "--rate", "1.5M", "127.0.0.1:9999"].map(str::to_owned);
    let line = shell_line(&plain);
    assert_eq!(line, "loadgen --rate 1.5M 127.0.0.1:9999");
    let words = [
        "",
        "two words",
        "it's",
        "$HOME `id` \\",
        "a\nb",
        "*",
        "~",
        "\"",
        "é",
        "#",
        "a;b&c",
    ];
    let words = words.map(str::to_owned);
    let script = format!(r"printf '%s\0' {}", shell_line(&words));
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .output();
    let out = String::from_utf8(output.unwrap().stdout).unwrap();
    let received: Vec<_> = out.split_terminator('\0').collect();
    assert_eq!(received, words);
}
