//! The files of a run: a directory with its summary, its histograms and a report. And the
//! files of a search. docs/LOADGEN.md describes them.

mod find_max;
mod histograms;
mod page;
mod summary;
mod timeline;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use crate::config::RunConfig;
use crate::outcome::{Outcome, Sample};
use crate::verdict::{SloResult, Verdict};

pub use crate::machine::Environment;
pub use find_max::{FIND_MAX_SCHEMA, FindMaxSummary, SearchOutput, SearchSettings};
pub use histograms::{HistogramLog, write_percentiles};
pub(crate) use summary::latencies;
pub use summary::{LatencySummary, Pace, Rates, Ratios, SCHEMA, ServerSummary, Summary};
pub use timeline::{Interval, Timeline};

/// The directory of one run.
pub struct Output {
    dir: PathBuf,
    log: HistogramLog,
    timeline: Timeline,
}

/// A run that is over.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// The program and its arguments.
    pub command: &'a [String],
    /// Its settings.
    pub config: &'a RunConfig,
    /// Its outcome.
    pub outcome: &'a Outcome,
    /// The verdict on its figures.
    pub verdict: &'a Verdict,
    /// The objectives, and what was measured.
    pub slos: &'a [SloResult],
}

/// The reason why files could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error(
        "{} holds another {what}, as there is a {file}: name another directory, or give \
         --overwrite to replace that {what}",
        .dir.display()
    )]
    Taken {
        dir: PathBuf,
        file: &'static str,
        what: &'static str,
    },
    #[error("cannot write {}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
}

impl Output {
    /// Creates `dir`, and begins a log of histograms in it. The files of an earlier run stay
    /// until [`Self::finish`] replaces them.
    pub fn create(dir: &Path, overwrite: bool) -> Result<Self, OutputError> {
        open_dir(dir, overwrite, SUMMARY, "run")?;
        let path = dir.join(GROWING_LOG);
        // The recording begins later, and the end of the run corrects this.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let log = HistogramLog::create(&path, now.unwrap_or_default()).map_err(at(&path))?;
        Ok(Self {
            dir: dir.to_owned(),
            log,
            timeline: Timeline::default(),
        })
    }

    /// Adds an interval.
    pub fn sample(&mut self, sample: &Sample<'_>) -> io::Result<()> {
        self.timeline.add(sample);
        self.log.write(sample)
    }

    /// Writes all files, the summary last. A directory that has it is complete.
    pub fn finish(self, run: &Run<'_>) -> Result<Summary, OutputError> {
        let Self { dir, log, timeline } = self;
        let summary = Summary::new(run, timeline.into_intervals(), Environment::read());
        let latencies = &run.outcome.latencies;
        remove(&dir.join(SUMMARY))?;

        let began_at = run.outcome.began_at;
        place(&dir.join(LOG), |path| log.finish(path, began_at))?;
        remove(&dir.join(GROWING_LOG))?;
        for (name, histogram) in latencies.named() {
            let path = dir.join(format!("{name}.hgrm"));
            if histogram.is_empty() {
                // An earlier run may have left one.
                remove(&path)?;
                continue;
            }
            write(&path, |file| write_percentiles(histogram, file))?;
        }
        write_page(&dir.join(REPORT), page::of_run(&summary, latencies))?;
        write_json(&dir.join(SUMMARY), &summary)?;
        Ok(summary)
    }

    /// Returns the path of the report.
    pub fn report(&self) -> PathBuf {
        self.dir.join(REPORT)
    }
}

/// Creates `dir`. Refuses one that has `file`, which is written last, unless `overwrite`.
fn open_dir(
    dir: &Path,
    overwrite: bool,
    file: &'static str,
    what: &'static str,
) -> Result<(), OutputError> {
    fs::create_dir_all(dir).map_err(at(dir))?;
    match !overwrite && dir.join(file).exists() {
        true => Err(OutputError::Taken {
            dir: dir.to_owned(),
            file,
            what,
        }),
        false => Ok(()),
    }
}

/// Quotes `words` as one line for a POSIX shell.
fn shell_line(words: &[String]) -> String {
    let words = words.iter().map(String::as_str);
    // No argument of a program has the NUL byte that it refuses.
    shlex::try_join(words).unwrap_or_default()
}

fn write_page(path: &Path, page: serde_json::Result<String>) -> Result<(), OutputError> {
    write(path, |file| file.write_all(page?.as_bytes()))
}

fn write_json(path: &Path, summary: &impl Serialize) -> Result<(), OutputError> {
    write(path, |file| {
        serde_json::to_writer_pretty(&mut *file, summary)?;
        file.write_all(b"\n")
    })
}

/// Writes the whole file at `path`, or nothing.
fn write(
    path: &Path,
    contents: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), OutputError> {
    place(path, |path| {
        let mut file = BufWriter::new(File::create(path)?);
        contents(&mut file)?;
        file.flush()
    })
}

/// Creates a file under another name and renames it, so that a reader of `path` finds the
/// old file or the whole new one.
fn place(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), OutputError> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    make(&new).map_err(at(&new))?;
    fs::rename(&new, path).map_err(at(path))
}

/// Removes the file at `path`, if there is one.
fn remove(path: &Path) -> Result<(), OutputError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> OutputError {
    let path = path.to_owned();
    move |source| OutputError::File { path, source }
}

const SUMMARY: &str = "summary.json";
const FIND_MAX: &str = "find-max.json";
const FIND_MAX_PAGE: &str = "find-max.html";
const REPORT: &str = "report.html";
const LOG: &str = "latency.hlog";

/// The log while the run goes on, which a run that was cut off leaves behind.
const GROWING_LOG: &str = "latency.hlog.growing";

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
