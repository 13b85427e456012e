//! The files of a search: its tries and its answer, for programs and on a page.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::environment::Environment;
use super::{
    FIND_MAX, FIND_MAX_PAGE, OutputError, at, page, remove, shell_line, write_json, write_page,
};
use crate::config::RunConfig;
use crate::limits::find_max::{Ceiling, FindMax, FoundMax, Try};
use crate::limits::search::Search;
use crate::units::thousandths;

/// The directory of one search.
pub struct SearchOutput {
    dir: PathBuf,
    began_at: SystemTime,
}

/// A search that is over.
#[derive(Debug, Clone, Copy)]
pub struct SearchRun<'a> {
    /// The program and its arguments.
    pub command: &'a [String],
    /// The search.
    pub find_max: &'a FindMax,
    /// The reason for its highest rate.
    pub ceiling: Ceiling,
    /// Its result.
    pub found: &'a FoundMax,
}

/// `find-max.json`. docs/LOADGEN.md has its schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FindMaxSummary {
    /// [`FIND_MAX_SCHEMA`].
    pub schema: String,
    /// The start of the search in UTC (RFC 3339).
    pub began_at: String,
    /// The same in seconds since 1970.
    pub began_at_unix_s: f64,
    /// The length of the search, in seconds.
    pub took_s: f64,
    /// The command that repeats the search, quoted for a shell.
    pub command: String,
    /// The objectives, as they were written.
    pub slo: String,
    /// The settings of the first try. The others differ in their rate alone.
    pub config: RunConfig,
    /// The rates that could be tried.
    pub search: SearchSettings,
    /// The machine.
    pub environment: Environment,
    /// The answer.
    pub found: Answer,
    /// All tries, in their order.
    pub tries: Vec<Try>,
}

/// A [`Search`] and the reason for its highest rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SearchSettings {
    /// The range.
    #[serde(flatten)]
    pub search: Search,
    /// The reason for its highest rate.
    pub ceiling: Ceiling,
}

/// A [`FoundMax`], without its tries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The highest good rate in datagrams per second, if a rate was good.
    pub rate_per_s: Option<f64>,
    /// The lowest bad rate above it, if a rate was bad.
    pub bad_rate_per_s: Option<f64>,
    /// Set if it was the generator that fell short at the bad rate.
    pub is_generators_limit: bool,
    /// The same as a sentence.
    pub sentence: String,
}

impl SearchOutput {
    /// Creates `dir`, and checks that files can be written there. The files of an earlier
    /// search stay until [`Self::finish`] replaces them.
    pub fn create(dir: &Path, overwrite: bool) -> Result<Self, OutputError> {
        fs::create_dir_all(dir).map_err(at(dir))?;
        if !overwrite && dir.join(FIND_MAX).exists() {
            return Err(OutputError::TakenBySearch(dir.to_owned()));
        }
        // An error after a search of hours would be too late.
        let probe = dir.join(PROBE);
        File::create(&probe).map_err(at(&probe))?;
        remove(&probe)?;
        Ok(Self {
            dir: dir.to_owned(),
            began_at: SystemTime::now(),
        })
    }

    /// Writes both files, the page first. A directory with a `find-max.json` is complete.
    pub fn finish(self, run: &SearchRun<'_>) -> Result<FindMaxSummary, OutputError> {
        let Self { dir, began_at } = self;
        let summary = FindMaxSummary::new(run, began_at, Environment::read());
        remove(&dir.join(FIND_MAX))?;
        write_page(&dir.join(FIND_MAX_PAGE), page::of_search(&summary))?;
        write_json(&dir.join(FIND_MAX), &summary)?;
        Ok(summary)
    }

    /// Returns the path of the page.
    pub fn page(&self) -> PathBuf {
        self.dir.join(FIND_MAX_PAGE)
    }
}

impl FindMaxSummary {
    /// Returns the summary of `run`, which has just ended.
    pub fn new(run: &SearchRun<'_>, began_at: SystemTime, environment: Environment) -> Self {
        let since_1970 = began_at.duration_since(SystemTime::UNIX_EPOCH);
        Self {
            schema: FIND_MAX_SCHEMA.to_owned(),
            began_at: humantime::format_rfc3339_millis(began_at).to_string(),
            began_at_unix_s: thousandths(since_1970.unwrap_or_default().as_secs_f64()),
            took_s: thousandths(began_at.elapsed().unwrap_or_default().as_secs_f64()),
            command: shell_line(run.command),
            slo: run.find_max.slo.to_string(),
            config: run.find_max.config.clone(),
            search: SearchSettings {
                search: run.find_max.search,
                ceiling: run.ceiling,
            },
            environment,
            found: Answer::of(run.found, run.ceiling),
            tries: run.found.tries.clone(),
        }
    }
}

impl Answer {
    /// Returns the answer of a search whose highest rate has this reason.
    pub fn of(found: &FoundMax, ceiling: Ceiling) -> Self {
        Self {
            rate_per_s: found.rate_per_s,
            bad_rate_per_s: found.bad_rate_per_s,
            is_generators_limit: found.is_generators_limit,
            sentence: found.answer(ceiling),
        }
    }
}

/// The format of `find-max.json`. The number rises when a field goes or changes its meaning,
/// and not for a new field.
pub const FIND_MAX_SCHEMA: &str = "bullhorn-loadgen-find-max/1";

/// A name that nothing else has.
const PROBE: &str = "find-max.json.new";

#[cfg(test)]
#[path = "find_max_tests.rs"]
mod tests;
