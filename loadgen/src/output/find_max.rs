//! The files of a search: its tries and its answer, for programs and on a page.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{
    Environment, FIND_MAX, FIND_MAX_PAGE, OutputError, at, open_dir, page, remove, shell_line,
    write_json, write_page,
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
    pub found: FoundMax,
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

impl SearchOutput {
    /// Creates `dir`, and checks that files can be written there. The files of an earlier
    /// search stay until [`Self::finish`] replaces them.
    pub fn create(dir: &Path, overwrite: bool) -> Result<Self, OutputError> {
        open_dir(dir, overwrite, FIND_MAX, "search")?;
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
    pub fn finish(
        self,
        command: &[String],
        find_max: &FindMax,
        found: &FoundMax,
    ) -> Result<FindMaxSummary, OutputError> {
        let Self { dir, began_at } = self;
        let summary = FindMaxSummary::new(command, find_max, found, began_at);
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
    /// Returns the summary of a search that began at `began_at`, and has just ended.
    fn new(command: &[String], find_max: &FindMax, found: &FoundMax, began_at: SystemTime) -> Self {
        let since_1970 = began_at.duration_since(SystemTime::UNIX_EPOCH);
        Self {
            schema: FIND_MAX_SCHEMA.to_owned(),
            began_at: humantime::format_rfc3339_millis(began_at).to_string(),
            began_at_unix_s: thousandths(since_1970.unwrap_or_default().as_secs_f64()),
            took_s: thousandths(began_at.elapsed().unwrap_or_default().as_secs_f64()),
            command: shell_line(command),
            slo: find_max.slo.to_string(),
            config: find_max.config.clone(),
            search: SearchSettings {
                search: find_max.search,
                ceiling: find_max.ceiling,
            },
            environment: Environment::read(),
            found: found.clone(),
            tries: found.tries.clone(),
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
