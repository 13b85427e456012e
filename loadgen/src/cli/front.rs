//! What surrounds a run: the plan before it, what is seen of it meanwhile, and the report
//! at its end.

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use signal_hook::consts::SIGPIPE;

use crate::cli::args::OutputOptions;
use crate::cli::exit::End;
use crate::cli::json_lines::JsonLines;
use crate::cli::live::LiveView;
use crate::cli::request::RunRequest;
use crate::cli::signals;
use crate::cli::summary_text::summary;
use crate::config::RunConfig;
use crate::config::word;
use crate::engine::run::RunError;
use crate::limits::capacity::{self, Capacity, CapacityError, Machine};
use crate::outcome::{Outcome, Sample};
use crate::plan::Plan;
use crate::verdict::{SloResult, Verdict};

/// What offers the load, and writes down what became of it.
pub trait Engine: Send + Sync + 'static {
    /// Offers what `config` says, and calls `observer` about once a second while it
    /// records.
    ///
    /// # Errors
    /// Why there is no outcome.
    fn run(
        &self,
        config: &RunConfig,
        observer: &mut dyn FnMut(&Sample<'_>),
    ) -> Result<Outcome, RunError>;

    /// Ends the load early, from any thread: [`Engine::run`] waits for what is under way,
    /// and returns an outcome that has the signal.
    fn stop(&self, signal: i32);

    /// Writes the files that were asked for.
    ///
    /// # Errors
    /// When the files cannot be written.
    fn report(
        &self,
        request: &RunRequest,
        outcome: &Outcome,
        verdict: &Verdict,
        slo: &[SloResult],
    ) -> Result<(), AnyError>;
}

/// Any error, for people.
pub type AnyError = Box<dyn Error + Send + Sync>;

/// Says on standard error what the run will offer, unless it is to be quiet, and refuses
/// what the calibrated generator is not capable of, unless it is forced.
///
/// # Errors
/// [`CapacityError::Exceeded`].
pub fn prepare(request: &RunRequest) -> Result<(), CapacityError> {
    let plan = Plan::of(&request.config);
    let (threads, protocol) = (request.config.threads, request.config.protocol);
    let found = capacity::path()
        .and_then(|path| capacity::find(&path, &Machine::here(), threads, protocol));
    let note = capacity_note(&plan, request, found)?;
    if !request.output.quiet {
        complain(&plan.to_string());
        if let Some(note) = note {
            complain(&format!("loadgen: {note}\n"));
        }
        // Apart from what follows.
        complain("\n");
    }
    Ok(())
}

/// Runs what has been prepared, and reports on standard output: for people on a terminal,
/// and otherwise, or with `--json`, as JSON lines. If nobody reads these any more, the
/// load ends, as with a signal.
pub fn run(request: &RunRequest, engine: Arc<impl Engine>) -> End {
    let is_at_terminal = io::stdout().is_terminal();
    let output = &request.output;
    let report = Report::of(output, is_at_terminal);
    // JSON lines on the same terminal would tear the live view.
    let would_tear = is_at_terminal && report == Report::Json;
    let is_live = !output.quiet && !would_tear;
    let live = LiveView::begin(&request.config, is_live);
    let (to_stop, settle) = (Arc::clone(&engine), live.settler());
    if let Err(error) = signals::watch(move |signal| to_stop.stop(signal), settle) {
        live.end();
        return failed(&format!("cannot watch for signals: {error}"));
    }
    run_and_report(request, &*engine, report, io::stdout(), live)
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

fn run_and_report(
    request: &RunRequest,
    engine: &impl Engine,
    report: Report,
    out: impl Write,
    mut live: LiveView,
) -> End {
    let config = &request.config;
    let mut out = Output::new(report, out);
    let outcome = engine.run(config, &mut |sample| {
        live.show(sample);
        if !out.second(sample) {
            engine.stop(SIGPIPE);
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
    let verdict = Verdict::of(config, &outcome);
    // Files first: whoever sees the summary finds them.
    let written = engine.report(request, &outcome, &verdict, &slo);
    out.summary(config, &outcome, &verdict.invalid, &slo);
    if let Err(error) = written {
        return failed(&error.to_string());
    }
    match out.broken {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            failed(&format!("cannot write to standard output: {error}"))
        }
        _ => End::of(&outcome, verdict.is_valid(), &slo),
    }
}

/// Standard output, until writing to it fails.
struct Output<W> {
    report: Report,
    out: W,
    broken: Option<io::Error>,
}

impl<W: Write> Output<W> {
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

    fn summary(
        &mut self,
        config: &RunConfig,
        outcome: &Outcome,
        invalid: &[String],
        slo: &[SloResult],
    ) {
        if self.broken.is_some() {
            return;
        }
        let written = match self.report {
            Report::Nothing => Ok(()),
            Report::Json => JsonLines::new(&mut self.out).summary(config, outcome, invalid, slo),
            Report::Text => {
                let text = summary(config, outcome, invalid, slo);
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
    let (threads, protocol) = (request.config.threads, word(&request.config.protocol));
    let capacity = match found {
        Ok(Some(capacity)) => capacity,
        Ok(None) => {
            return Ok(Some(format!(
                "not calibrated (--threads {threads}, --protocol {protocol}): see \
                 `loadgen calibrate`"
            )));
        }
        Err(error) => return Ok(Some(format!("what it is capable of is not known: {error}"))),
    };
    match capacity::check(plan, &capacity) {
        Ok(()) => Ok(None),
        Err(_) if request.is_forced => {
            let note = "forced to offer more than it was calibrated to";
            Ok(Some(note.to_owned()))
        }
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
