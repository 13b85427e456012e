//! A search from its range to its answer.

use std::fmt;
use std::io::{self, Write};

use signal_hook::consts::SIGPIPE;

use crate::cli::capable::{self, FORCED};
use crate::cli::exit::End;
use crate::cli::find_max_lines::Lines;
use crate::cli::front::{Refusal, command, complain, failed};
use crate::cli::request::FindMaxRequest;
use crate::cli::signals;
use crate::cli::stdout::Report;
use crate::config::{Rate, RunConfig};
use crate::engine::run::{Control, RunError};
use crate::limits::capacity::{self, Capacity, CapacityError};
use crate::limits::find_max::{Ceiling, FindMax, FoundMax, Try};
use crate::limits::search::Search;
use crate::output::{SearchOutput, SearchRun};
use crate::plan::Plan;
use crate::units::{self, RATE_MAX};

/// A search that may begin.
pub struct Prepared {
    find_max: FindMax,
    ceiling: Ceiling,
    files: Option<SearchOutput>,
}

/// Prints on standard error what will be tried, unless it is to be quiet.
pub fn prepare(request: &FindMaxRequest) -> Result<Prepared, Refusal> {
    let range = Range::of(request, capable::look_up(&request.config))?;
    let files = match &request.output.out {
        Some(dir) => Some(SearchOutput::create(dir, request.output.overwrite)?),
        None => None,
    };
    let find_max = FindMax {
        config: at(request, range.search.from),
        slo: request.slo.clone(),
        search: range.search,
    };
    if !request.output.quiet {
        complain(&format!("{}{range}\n", Plan::of(&find_max.config)));
    }
    Ok(Prepared {
        find_max,
        ceiling: range.ceiling,
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
    /// A note on the generator.
    note: Option<String>,
}

impl Range {
    fn of(
        request: &FindMaxRequest,
        found: Result<Option<Capacity>, CapacityError>,
    ) -> Result<Self, CapacityError> {
        let mut first = match request.config.rate {
            Rate::Constant(rate) | Rate::Ramp { from: rate, .. } => rate,
        };
        let duration_s = request.config.duration.as_secs_f64();
        let (mut highest, mut ceiling) = match request.to {
            Some(to) => (to, Ceiling::Asked),
            None => (RATE_MAX, Ceiling::Any),
        };
        let mut note = None;
        match capable::known(found, &request.config) {
            Ok(_) if request.is_forced => note = Some(format!("{FORCED}, if need be")),
            Ok(capacity) => {
                let mut capable = capacity::highest_rate(&request.config, &capacity);
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
        rate: Rate::Constant(rate),
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
        ceiling,
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
        Err(error) => return failed(&error.to_string()),
    };
    // Files come first, so that a reader of the answer finds them.
    let page = files.as_ref().map(SearchOutput::page);
    if let Some(files) = files {
        let written = files.finish(&SearchRun {
            command: &command(),
            find_max: &find_max,
            ceiling,
            found: &found,
        });
        if let Err(error) = written {
            return failed(&error.to_string());
        }
    }
    lines.found(&found, ceiling, page);
    lines.broken_end().unwrap_or_else(|| end_of(&found))
}

/// A missed objective is the server's, unless the generator fell short as well.
fn end_of(found: &FoundMax) -> End {
    match (found.rate_per_s, found.is_generators_limit) {
        (Some(_), _) => End::Good,
        (None, true) => End::Invalid,
        (None, false) => End::SloMissed,
    }
}

/// One run repeats another hardly closer than this.
const PRECISION: f64 = 1.05;

/// Datagrams of a try: of fewer, there is no 99th percentile.
const FEWEST: f64 = 100.0;

#[cfg(test)]
#[path = "find_max_tests.rs"]
mod tests;
