//! What a run leaves behind: a directory with its summary, its histograms and a report;
//! and what a search does.
//! docs/LOADGEN.md says what stands in each file.

mod axes;
mod charts;
mod environment;
mod explain;
mod find_max;
mod find_max_charts;
mod find_max_page;
mod histograms;
mod html;
mod numbers;
mod plots;
mod report;
mod settings;
mod shell;
mod summary;
mod timeline;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::config::RunConfig;
use crate::outcome::{Outcome, Sample};
use crate::verdict::{SloResult, Verdict};

pub use environment::Environment;
pub use find_max::{
    Answer, FIND_MAX_SCHEMA, FindMaxSummary, SearchOutput, SearchRun, SearchSettings,
};
pub use histograms::{HistogramLog, write_percentiles};
pub use plots::PlotError;
pub use settings::{Lengths, Settings, Shares};
pub(crate) use summary::latencies;
pub use summary::{GeneratorUse, Judgement, LatencySummary, Rates, SCHEMA, Summary};
pub use timeline::{Interval, Timeline};

/// The directory of one run.
pub struct Output {
    dir: PathBuf,
    log: HistogramLog,
    timeline: Timeline,
}

/// All that is known of a run when it is over.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// The program and its arguments, to do it again.
    pub command: &'a [String],
    /// What it was told.
    pub config: &'a RunConfig,
    /// What it brought to light.
    pub outcome: &'a Outcome,
    /// Whether it says anything of the server.
    pub verdict: &'a Verdict,
    /// Whether the server was as good as was asked for.
    pub slos: &'a [SloResult],
}

/// Why a run could not be written down.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// There is another run, and nobody said that it may go.
    #[error(
        "{} holds another run, as there is a {SUMMARY}: name another directory, or give \
         --overwrite to replace that run",
        .0.display()
    )]
    Taken(PathBuf),
    /// The same of a search.
    #[error(
        "{} holds another search, as there is a {FIND_MAX}: name another directory, or give \
         --overwrite to replace that search",
        .0.display()
    )]
    TakenBySearch(PathBuf),
    /// A file or a directory could not be written.
    #[error("cannot write {}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The report could not be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
}

impl Output {
    /// Makes `dir`, and begins a log of histograms in it. The files of a run that is there
    /// already stay until [`Self::finish`] replaces them.
    ///
    /// # Errors
    /// [`OutputError::Taken`] if there is a whole run in `dir` that may not be
    /// overwritten, and those of the file system.
    pub fn create(dir: &Path, overwrite: bool) -> Result<Self, OutputError> {
        fs::create_dir_all(dir).map_err(at(dir))?;
        if !overwrite && dir.join(SUMMARY).exists() {
            return Err(OutputError::Taken(dir.to_owned()));
        }
        let path = dir.join(GROWING_LOG);
        // It is put right at the end: the recording begins some time after this.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let log = HistogramLog::create(&path, now.unwrap_or_default()).map_err(at(&path))?;
        Ok(Self {
            dir: dir.to_owned(),
            log,
            timeline: Timeline::default(),
        })
    }

    /// Takes what came in an interval.
    ///
    /// # Errors
    /// Those of the log's file.
    pub fn sample(&mut self, sample: &Sample<'_>) -> io::Result<()> {
        self.timeline.add(sample);
        self.log.write(sample)
    }

    /// Writes all files. The summary is the last one: a directory that has it is whole.
    ///
    /// # Errors
    /// [`OutputError`]; what was written until then stays.
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
                // Of the run that was here before.
                remove(&path)?;
                continue;
            }
            write(&path, |file| write_percentiles(histogram, file))?;
        }
        let page = report::page(&summary, latencies)?;
        write(&dir.join(REPORT), |file| file.write_all(page.as_bytes()))?;
        write(&dir.join(SUMMARY), |file| {
            serde_json::to_writer_pretty(&mut *file, &summary)?;
            file.write_all(b"\n")
        })?;
        Ok(summary)
    }
}

/// Writes the file at `path` whole, or not at all.
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

/// Has a file made under another name first, so that whoever looks at `path` sees the
/// file of before, or all of the new one.
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

/// The log while the run goes on, and after one that was cut off.
const GROWING_LOG: &str = "latency.hlog.growing";

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
