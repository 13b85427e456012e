//! What a search leaves behind: its tries and its answer, for programs and on a page.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::environment::Environment;
use super::find_max_page::page;
use super::numbers::rounded;
use super::settings::Settings;
use super::{FIND_MAX, FIND_MAX_PAGE, OutputError, at, remove, shell, write};
use crate::limits::find_max::{Ceiling, FindMax, FoundMax, Try};

/// The directory of one search.
pub struct SearchOutput {
    dir: PathBuf,
    began_at: SystemTime,
}

/// All that is known of a search when it is over.
#[derive(Debug, Clone, Copy)]
pub struct SearchRun<'a> {
    /// The program and its arguments, to do it again.
    pub command: &'a [String],
    /// What it was told.
    pub find_max: &'a FindMax,
    /// Why it tried no higher rate than the highest.
    pub ceiling: Ceiling,
    /// What it brought to light.
    pub found: &'a FoundMax,
}

/// `find-max.json`. docs/LOADGEN.md has its schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FindMaxSummary {
    /// [`FIND_MAX_SCHEMA`].
    pub schema: String,
    /// When the search began, as people write it, in UTC.
    pub began_at: String,
    /// The same in seconds since 1970.
    pub began_at_unix_s: f64,
    /// How long it took, in seconds.
    pub took_s: f64,
    /// How to do it again, quoted for a shell.
    pub command: String,
    /// What had to hold, as it was written.
    pub slo: String,
    /// What the first try was told; the others differ in their rate alone.
    pub config: Settings,
    /// Which rates could be tried.
    pub search: SearchSettings,
    /// What it was done on.
    pub environment: Environment,
    /// The answer.
    pub found: Answer,
    /// All tries, in their order.
    pub tries: Vec<Try>,
}

/// A [`crate::limits::search::Search`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SearchSettings {
    /// No lower rate was to be tried, datagrams a second; none: a thousandth of the first.
    pub lowest_rate_per_s: Option<f64>,
    /// No higher rate was to be tried; none: there was no bound.
    pub highest_rate_per_s: Option<f64>,
    /// Why not.
    pub ceiling: Ceiling,
    /// The good rate and the bad one above it were to be apart by no more than this
    /// factor.
    pub precision_ratio: f64,
}

/// A [`FoundMax`], without its tries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The highest good rate, datagrams a second; none: no rate was good.
    pub rate_per_s: Option<f64>,
    /// The lowest bad rate above it; none: all were good, up to the highest allowed.
    pub bad_rate_per_s: Option<f64>,
    /// Whether it was the generator that failed there.
    pub is_generators_limit: bool,
    /// The same for people.
    pub sentence: String,
}

impl SearchOutput {
    /// Makes `dir`, and finds out that files can be made there. Those of a search that is
    /// there already stay until [`Self::finish`] replaces them.
    ///
    /// # Errors
    /// [`OutputError::TakenBySearch`] if there is a whole search in `dir` that may not be
    /// overwritten, and those of the file system.
    pub fn create(dir: &Path, overwrite: bool) -> Result<Self, OutputError> {
        fs::create_dir_all(dir).map_err(at(dir))?;
        if !overwrite && dir.join(FIND_MAX).exists() {
            return Err(OutputError::TakenBySearch(dir.to_owned()));
        }
        // Not first after the hours of a search.
        let probe = dir.join(PROBE);
        File::create(&probe).map_err(at(&probe))?;
        remove(&probe)?;
        Ok(Self {
            dir: dir.to_owned(),
            began_at: SystemTime::now(),
        })
    }

    /// Writes both files, the page first: a directory with a `find-max.json` is whole.
    ///
    /// # Errors
    /// [`OutputError`]; what was written until then stays.
    pub fn finish(self, run: &SearchRun<'_>) -> Result<FindMaxSummary, OutputError> {
        let Self { dir, began_at } = self;
        let summary = FindMaxSummary::new(run, began_at, Environment::read());
        remove(&dir.join(FIND_MAX))?;
        let page = page(&summary)?;
        write(&dir.join(FIND_MAX_PAGE), |file| {
            file.write_all(page.as_bytes())
        })?;
        write(&dir.join(FIND_MAX), |file| {
            serde_json::to_writer_pretty(&mut *file, &summary)?;
            file.write_all(b"\n")
        })?;
        Ok(summary)
    }
}

impl FindMaxSummary {
    /// That of `run`, which has just ended.
    pub fn new(run: &SearchRun<'_>, began_at: SystemTime, environment: Environment) -> Self {
        let since_1970 = began_at.duration_since(SystemTime::UNIX_EPOCH);
        let search = &run.find_max.search;
        Self {
            schema: FIND_MAX_SCHEMA.to_owned(),
            began_at: humantime::format_rfc3339_millis(began_at).to_string(),
            began_at_unix_s: rounded(since_1970.unwrap_or_default().as_secs_f64()),
            took_s: rounded(began_at.elapsed().unwrap_or_default().as_secs_f64()),
            command: shell::line(run.command),
            slo: run.find_max.slo.to_string(),
            config: Settings::from(&run.find_max.config),
            search: SearchSettings {
                lowest_rate_per_s: search.lowest,
                highest_rate_per_s: search.highest,
                ceiling: run.ceiling,
                precision_ratio: search.precision,
            },
            environment,
            found: Answer::of(run.found, run.ceiling),
            tries: run.found.tries.clone(),
        }
    }
}

impl Answer {
    /// That of a search with such a bound.
    pub fn of(found: &FoundMax, ceiling: Ceiling) -> Self {
        Self {
            rate_per_s: found.rate_per_s,
            bad_rate_per_s: found.bad_rate_per_s,
            is_generators_limit: found.is_generators_limit,
            sentence: found.answer(ceiling),
        }
    }
}

/// The format of `find-max.json`. The number rises when a field changes its meaning or
/// goes; a new field does not raise it.
pub const FIND_MAX_SCHEMA: &str = "bullhorn-loadgen-find-max/1";

/// Nobody else's.
const PROBE: &str = "find-max.json.new";

#[cfg(test)]
#[path = "find_max_tests.rs"]
mod tests;
