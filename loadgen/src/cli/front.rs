//! A run from its plan to its report.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use signal_hook::consts::SIGPIPE;

use crate::cli::exit::End;
use crate::cli::live::LiveView;
use crate::cli::request::{OtherAddresses, RunRequest};
use crate::cli::signals;
use crate::cli::stdout::{Report, Stdout, columns, page_line};
use crate::cli::summary_text::{summary, verdict_line};
use crate::engine::run::{Control, RunError};
use crate::limits::capacity::{self, Capacity, CapacityError, FORCED};
use crate::outcome::{Outcome, Sample};
use crate::output::{Output, OutputError, Run};
use crate::plan::Plan;
use crate::verdict::Verdict;

/// The reason why a run or a search does not begin. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Capacity(#[from] CapacityError),
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl Refusal {
    /// Returns true for wrong arguments, and false where the system refused something.
    pub fn is_wrong_use(&self) -> bool {
        matches!(
            self,
            Self::Capacity(_) | Self::Output(OutputError::Taken { .. })
        )
    }
}

/// Prints the plan on standard error, unless it is to be quiet. Refuses a load above the
/// calibrated capacity, unless it is forced. Creates the directory for the files, if there is one.
pub fn prepare(request: &RunRequest) -> Result<Option<Output>, Refusal> {
    let plan = Plan::of(&request.config);
    let note = capacity_note(&plan, request, capacity::look_up(&request.config))?;
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
    Ok(files)
}

/// Runs what has been prepared, and reports on standard output. If its reader goes away, the
/// load ends as with a signal.
pub fn run(request: &RunRequest, files: Option<Output>) -> End {
    let report = Report::of(&request.output);
    let at_terminals = io::stdout().is_terminal() && io::stderr().is_terminal();
    let live = LiveView::begin(&request.config, report == Report::Text && at_terminals);
    let control = Control::new();
    let (to_stop, settle) = (Arc::clone(&control), live.settler());
    if let Err(error) = signals::watch(move |signal| to_stop.stop(signal), settle) {
        live.end();
        return failed(&format!("cannot watch for signals: {error}"));
    }
    let stdout = Stdout::new(report, io::stdout());
    run_and_report(request, files, live, stdout, &control, |observe| {
        crate::engine::run::run(&request.config, &control, observe)
    })
}

/// Prints an error on standard error.
pub fn failed(error: &str) -> End {
    complain(&format!("loadgen: {error}\n"));
    End::Failed
}

/// Returns why there is no outcome. Where nobody answered, other addresses of the same name were
/// tried as well.
pub(super) fn explained(error: &RunError, other_addresses: &OtherAddresses) -> String {
    let unanswered = match error {
        RunError::NobodyListens(target) | RunError::NoAnswer { target, .. } => Some(target),
        _ => None,
    };
    let others = unanswered.and_then(|target| other_addresses.get(target));
    let others: Vec<_> = others
        .into_iter()
        .flatten()
        .map(SocketAddr::to_string)
        .collect();
    match !others.is_empty() {
        true => format!("{error}. Nor did a server answer at {}", others.join(", ")),
        false => error.to_string(),
    }
}

/// Runs `offer`, which offers the load, and reports what it observes.
fn run_and_report(
    request: &RunRequest,
    mut files: Option<Output>,
    mut live: LiveView,
    mut stdout: Stdout<impl Write>,
    control: &Control,
    offer: impl FnOnce(&mut dyn FnMut(&Sample<'_>)) -> Result<Outcome, RunError>,
) -> End {
    let config = &request.config;
    // A file that cannot be written does not stop the load and its report.
    let mut unwritten = None;
    let outcome = offer(&mut |sample| {
        if let Some(Err(error)) = files.as_mut().map(|files| files.sample(sample)) {
            unwritten.get_or_insert(error);
        }
        live.show(sample);
        if stdout.report == Report::Json && !stdout.json(|lines| lines.second(sample)) {
            control.stop(SIGPIPE);
        }
    });
    live.end();
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(RunError::Stopped(signal)) => return End::Signal(signal),
        Err(error) => return failed(&explained(&error, &request.other_addresses)),
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
    // Files come first, so that a reader of the summary finds them.
    let page = files.as_ref().map(Output::report);
    let written = match (unwritten, files) {
        (Some(error), _) => Err(format!("cannot write the log of histograms: {error}")),
        (None, Some(files)) => files
            .finish(&run)
            .map(drop)
            .map_err(|error| error.to_string()),
        (None, None) => Ok(()),
    };
    summarise(&mut stdout, &run, page.filter(|_| written.is_ok()));
    if outcome.server_said_goodbye {
        complain(&format!("loadgen: {}\n", RunError::Goodbye));
    }
    if let Err(error) = written {
        return failed(&error);
    }
    match (
        stdout.broken_end(),
        End::of(&outcome, verdict.is_valid(), &slo),
    ) {
        // Its reader ended the load, too.
        (Some(end), _) if end == End::Failed => end,
        (_, end) => {
            let is_hidden = stdout.report.hides_reasons() && end == End::Invalid;
            if is_hidden || outcome.silence.is_some() {
                complain(&format!("loadgen: {verdict}\n"));
            }
            end
        }
    }
}

/// Returns the program and its arguments.
pub(super) fn command() -> Vec<String> {
    let words = env::args_os();
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

/// Writes the summary of a run.
fn summarise(stdout: &mut Stdout<impl Write>, run: &Run<'_>, page: Option<PathBuf>) -> bool {
    match stdout.report {
        Report::Json => stdout.json(|lines| lines.summary(run)),
        Report::Verdict => stdout.text(&verdict_line(run)),
        Report::Text => stdout.text(&(summary(run, columns()) + &page_line(page))),
    }
}

/// Returns a note on the capacity, if there is something to say.
fn capacity_note(
    plan: &Plan,
    request: &RunRequest,
    found: Result<Option<Capacity>, CapacityError>,
) -> Result<Option<String>, CapacityError> {
    let capacity = match capacity::known(found, &request.config) {
        Ok(capacity) => capacity,
        Err(note) => return Ok(Some(note)),
    };
    match capacity::check(plan, &capacity) {
        Ok(()) => Ok(None),
        Err(_) if request.is_forced => Ok(Some(FORCED.to_owned())),
        Err(error) => Err(error),
    }
}

/// Writes to standard error. If nobody reads it, the exit code remains.
pub(super) fn complain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
#[path = "front_tests.rs"]
mod tests;
