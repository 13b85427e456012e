//! A search from its range to its answer.

use std::fmt;
use std::io::{self, Write};

use signal_hook::consts::SIGPIPE;

use crate::cli::exit::End;
use crate::cli::find_max_lines::Lines;
use crate::cli::front::{Refusal, command, complain, explained, failed};
use crate::cli::request::{FindMaxRequest, OtherAddresses};
use crate::cli::signals;
use crate::cli::stdout::Report;
use crate::config::{Rate, RunConfig};
use crate::engine::run::{Control, RunError};
use crate::limits::capacity::{self, Capacity, CapacityError, FORCED};
use crate::limits::find_max::{Ceiling, FindMax, FoundMax, Try};
use crate::limits::search::Search;
use crate::output::SearchOutput;
use crate::plan::Plan;
use crate::units::{self, RATE_MAX};

/// A search that may begin.
pub struct Prepared {
    find_max: FindMax,
    /// The highest rate that the generator was calibrated to, if it was.
    capable_per_s: Option<f64>,
    other_addresses: OtherAddresses,
    files: Option<SearchOutput>,
}

/// Prints on standard error what will be tried, unless it is to be quiet.
pub fn prepare(request: &FindMaxRequest) -> Result<Prepared, Refusal> {
    let range = Range::of(request, capacity::look_up(&request.config))?;
    let files = match &request.output.out {
        Some(dir) => Some(SearchOutput::create(dir, request.output.overwrite)?),
        None => None,
    };
    let find_max = FindMax {
        config: at(request, range.search.from),
        slo: request.slo.clone(),
        search: range.search,
        ceiling: range.ceiling,
    };
    if !request.output.quiet {
        complain(&format!("{}{range}\n", Plan::of(&find_max.config)));
    }
    Ok(Prepared {
        find_max,
        capable_per_s: range.capable_per_s,
        other_addresses: request.other_addresses.clone(),
        files,
    })
}

/// Searches, and reports on standard output. If its reader goes away, the search ends as with a
/// signal, and leaves no files.
pub fn run(request: &FindMaxRequest, prepared: Prepared) -> End {
    let report = Report::of(&request.output);
    let control = Control::new();
    let to_stop = control.clone();
    if let Err(error) = signals::watch(move |signal| to_stop.stop(signal), || ()) {
        return failed(&format!("cannot watch for signals: {error}"));
    }
    let lines = Lines::new(report, &request.config, io::stdout());
    search_and_report(prepared, lines, |find_max, tried| {
        find_max.find(&control, |one| {
            if !tried(one) {
                control.stop(SIGPIPE);
            }
        })
    })
}

/// The rates that may be tried.
#[derive(Debug)]
struct Range {
    search: Search,
    ceiling: Ceiling,
    /// The highest rate that the generator was calibrated to, if it was.
    capable_per_s: Option<f64>,
    /// A note on the generator.
    note: Option<String>,
}

impl Range {
    fn of(
        request: &FindMaxRequest,
        found: Result<Option<Capacity>, CapacityError>,
    ) -> Result<Self, CapacityError> {
        let mut first = request.config.rate.from;
        let duration_s = request.config.duration.as_secs_f64();
        let (mut highest, mut ceiling) = match request.to {
            Some(to) => (to, Ceiling::Asked),
            None => (RATE_MAX, Ceiling::Any),
        };
        let (mut note, mut capable_per_s) = (None, None);
        match capacity::known(found, &request.config) {
            Ok(_) if request.is_forced => note = Some(format!("{FORCED}, if need be")),
            Ok(capacity) => {
                let mut capable = capacity::highest_rate(&request.config, &capacity);
                capable_per_s = Some(capable);
                let is_too_little = capable * duration_s < 1.0 || request.from.is_some();
                if capable < first && is_too_little {
                    capacity::check(&Plan::of(&request.config), &capacity)?;
                    capable = first;
                }
                if capable < highest {
                    (highest, ceiling) = (capable, Ceiling::Calibrated);
                }
                first = first.min(highest);
            }
            Err(unknown) => note = Some(unknown),
        }
        let search = Search {
            from: first,
            lowest: request.from.or(Some(first.min(FEWEST / duration_s))),
            highest: Some(highest),
            precision: PRECISION,
        };
        Ok(Self {
            search,
            ceiling,
            capable_per_s,
            note,
        })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Search {
            lowest, highest, ..
        } = self.search;
        let rate = |rate: Option<f64>| rate.map_or_else(String::new, units::rate);
        let why = match self.ceiling {
            Ceiling::Calibrated => ", which the generator was calibrated to",
            Ceiling::Asked | Ceiling::Any => "",
        };
        writeln!(
            f,
            "  search   this is the first try; others offer {} to {}{why}",
            rate(lowest),
            rate(highest)
        )?;
        match &self.note {
            Some(note) => writeln!(f, "loadgen: {note}"),
            None => Ok(()),
        }
    }
}

fn at(request: &FindMaxRequest, rate: f64) -> RunConfig {
    RunConfig {
        rate: Rate::constant(rate),
        ..request.config.clone()
    }
}

fn search_and_report(
    prepared: Prepared,
    mut lines: Lines<impl Write>,
    find: impl FnOnce(&FindMax, &mut dyn FnMut(&Try) -> bool) -> Result<FoundMax, RunError>,
) -> End {
    let Prepared {
        find_max,
        capable_per_s,
        other_addresses,
        files,
    } = prepared;
    let found = find(&find_max, &mut |one| lines.tried(one));
    if let Some(end) = lines.broken_end() {
        return end;
    }
    let found = match found {
        Ok(found) => found,
        Err(RunError::Stopped(signal)) => {
            complain("loadgen: stopped before the answer was found\n");
            return End::Signal(signal);
        }
        Err(error) => return failed(&explained(&error, &other_addresses)),
    };
    // Files come first, so that a reader of the answer finds them.
    let page = files.as_ref().map(SearchOutput::page);
    if let Some(files) = files
        && let Err(error) = files.finish(&command(), &find_max, &found)
    {
        return failed(&error.to_string());
    }
    let note = busy_note(&found, capable_per_s);
    lines.found(&found, &note, page);
    lines.broken_end().unwrap_or_else(|| end_of(&found))
}

/// Returns the end of a search. It has no answer on the server if the generator was the limit.
fn end_of(found: &FoundMax) -> End {
    match (found.is_generators_limit, found.rate_per_s) {
        (true, _) => End::Invalid,
        (false, Some(_)) => End::Good,
        (false, None) => End::SloMissed,
    }
}

/// Returns a note on a generator that fell short far below its calibration.
fn busy_note(found: &FoundMax, capable_per_s: Option<f64>) -> String {
    match (found.bad_rate_per_s, capable_per_s) {
        (Some(bad), Some(capable)) if bad < capable * FAR_BELOW => format!(
            " It was calibrated to {}: the machine was busy with something else.",
            units::rate(capable)
        ),
        _ => String::new(),
    }
}

/// One run repeats another hardly closer than this.
const PRECISION: f64 = 1.05;

/// The share of its calibration that a generator on an idle machine exceeds.
const FAR_BELOW: f64 = 0.5;

/// Datagrams of a try: of fewer, there is no 99th percentile.
const FEWEST: f64 = 100.0;

#[cfg(test)]
#[path = "find_max_tests.rs"]
mod tests;
