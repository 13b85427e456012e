//! What surrounds a run: the plan before it, what is seen of it meanwhile, and the report
//! at its end.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use signal_hook::consts::SIGPIPE;

use crate::cli::args::OutputOptions;
use crate::cli::capable::{self, FORCED};
use crate::cli::exit::End;
use crate::cli::json_lines::JsonLines;
use crate::cli::live::LiveView;
use crate::cli::request::RunRequest;
use crate::cli::signals;
use crate::cli::summary_text::summary;
use crate::engine::run::{Control, RunError};
use crate::limits::capacity::{self, Capacity, CapacityError};
use crate::outcome::{Outcome, Sample};
use crate::output::{Output, OutputError, Run};
use crate::plan::Plan;
use crate::verdict::Verdict;

/// A run that may begin.
pub struct Prepared {
    /// Where its files go, if there are to be any.
    files: Option<Output>,
}

/// Why a run, or a search, does not begin: nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The generator is not capable of what is asked for.
    #[error(transparent)]
    Capacity(#[from] CapacityError),
    /// The results could not be kept.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl Refusal {
    /// Whether other arguments would be accepted; otherwise the system refused something.
    pub fn is_wrong_use(&self) -> bool {
        use OutputError::{Taken, TakenBySearch};
        matches!(
            self,
            Self::Capacity(_) | Self::Output(Taken(_) | TakenBySearch(_))
        )
    }
}

/// Says on standard error what the run will offer, unless it is to be quiet, and refuses
/// what the calibrated generator is not capable of, unless it is forced. Makes the
/// directory for the files.
///
/// # Errors
/// [`Refusal`].
pub fn prepare(request: &RunRequest) -> Result<Prepared, Refusal> {
    let plan = Plan::of(&request.config);
    let note = capacity_note(&plan, request, capable::look_up(&request.config))?;
    let files = match &request.output.out {
        Some(dir) => Some(Output::create(dir, request.output.overwrite)?),
        None => None,
    };
    if !request.output.quiet {
        complain(&plan.to_string());
        if let Some(note) = note {
            complain(&format!("loadgen: {note}\n"));
        }
        // Apart from what follows.
        complain("\n");
    }
    Ok(Prepared { files })
}

/// Runs what has been prepared, and reports on standard output: for people on a terminal,
/// and otherwise, or with `--json`, as JSON lines. If nobody reads these any more, the
/// load ends, as with a signal.
pub fn run(request: &RunRequest, prepared: Prepared) -> End {
    let is_at_terminal = io::stdout().is_terminal();
    let output = &request.output;
    let report = Report::of(output, is_at_terminal);
    // JSON lines on the same terminal would tear the live view.
    let would_tear = is_at_terminal && report == Report::Json;
    let is_live = !output.quiet && !would_tear;
    let live = LiveView::begin(&request.config, is_live);
    let control = Control::new();
    let (to_stop, settle) = (Arc::clone(&control), live.settler());
    if let Err(error) = signals::watch(move |signal| to_stop.stop(signal), settle) {
        live.end();
        return failed(&format!("cannot watch for signals: {error}"));
    }
    let stdout = Stdout::new(report, io::stdout());
    run_and_report(request, prepared, live, stdout, &control, |observe| {
        crate::engine::run::run(&request.config, &control, observe)
    })
}

/// Says on standard error what went wrong.
pub fn failed(error: &str) -> End {
    complain(&format!("loadgen: {error}\n"));
    End::Failed
}

/// What standard output has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    Text,
    Json,
    Nothing,
}

impl Report {
    pub(super) fn of(output: &OutputOptions, is_at_terminal: bool) -> Self {
        if output.json || (!is_at_terminal && !output.quiet) {
            Self::Json
        } else if output.quiet {
            Self::Nothing
        } else {
            Self::Text
        }
    }
}

/// Has `offer` offer the load, and tell its observer what comes.
fn run_and_report(
    request: &RunRequest,
    prepared: Prepared,
    mut live: LiveView,
    mut stdout: Stdout<impl Write>,
    control: &Control,
    offer: impl FnOnce(&mut dyn FnMut(&Sample<'_>)) -> Result<Outcome, RunError>,
) -> End {
    let config = &request.config;
    let mut files = prepared.files;
    // The load goes on, and is reported, also when its files cannot be written.
    let mut unwritten = None;
    let outcome = offer(&mut |sample| {
        if let Some(Err(error)) = files.as_mut().map(|files| files.sample(sample)) {
            unwritten.get_or_insert(error);
        }
        live.show(sample);
        if !stdout.second(sample) {
            control.stop(SIGPIPE);
        }
    });
    live.end();
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(RunError::Stopped(signal)) => return End::Signal(signal),
        Err(error) => return failed(&error.to_string()),
    };
    let slo = request.slo.as_ref();
    let slo = slo.map_or_else(Vec::new, |slo| slo.check(&outcome));
    let verdict = Verdict::of(config, &outcome, &slo);
    let run = Run {
        command: &command(),
        config,
        outcome: &outcome,
        verdict: &verdict,
        slos: &slo,
    };
    // Files first: whoever sees the summary finds them.
    let written = match (unwritten, files) {
        (Some(error), _) => Err(format!("cannot write the log of histograms: {error}")),
        (None, Some(files)) => files
            .finish(&run)
            .map(drop)
            .map_err(|error| error.to_string()),
        (None, None) => Ok(()),
    };
    stdout.summary(&run);
    if outcome.server_said_goodbye {
        complain(&format!("loadgen: {}\n", RunError::Goodbye));
    }
    if let Err(error) = written {
        return failed(&error);
    }
    match stdout.broken {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            failed(&format!("cannot write to standard output: {error}"))
        }
        _ => End::of(&outcome, verdict.is_valid(), &slo),
    }
}

/// The program and its arguments, as files keep them.
pub(super) fn command() -> Vec<String> {
    let words = env::args_os();
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

/// Standard output, until writing to it fails.
struct Stdout<W> {
    report: Report,
    out: W,
    broken: Option<io::Error>,
}

impl<W: Write> Stdout<W> {
    fn new(report: Report, out: W) -> Self {
        Self {
            report,
            out,
            broken: None,
        }
    }

    /// Whether there is still somebody to write for.
    fn second(&mut self, sample: &Sample<'_>) -> bool {
        if self.report == Report::Json && self.broken.is_none() {
            self.broken = JsonLines::new(&mut self.out).second(sample).err();
        }
        self.broken.is_none()
    }

    fn summary(&mut self, run: &Run<'_>) {
        if self.broken.is_some() {
            return;
        }
        let written = match self.report {
            Report::Nothing => Ok(()),
            Report::Json => JsonLines::new(&mut self.out).summary(run),
            Report::Text => {
                let text = summary(run.config, run.outcome, &run.verdict.invalid, run.slos);
                let written = self.out.write_all(text.as_bytes());
                written.and_then(|()| self.out.flush())
            }
        };
        self.broken = written.err();
    }
}

/// What there is to say of the capacity that was found.
fn capacity_note(
    plan: &Plan,
    request: &RunRequest,
    found: Result<Option<Capacity>, CapacityError>,
) -> Result<Option<String>, CapacityError> {
    let capacity = match capable::known(found, &request.config) {
        Ok(capacity) => capacity,
        Err(note) => return Ok(Some(note)),
    };
    match capacity::check(plan, &capacity) {
        Ok(()) => Ok(None),
        Err(_) if request.is_forced => Ok(Some(FORCED.to_owned())),
        Err(error) => Err(error),
    }
}

/// Writes to standard error, unless nobody reads there: the exit code still says it.
pub(super) fn complain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
#[path = "front_tests.rs"]
mod tests;
