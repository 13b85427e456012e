//! The histograms of a run, as the interval log of HdrHistogram (`.hlog`), which its tools read.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{
    IntervalLogWriterBuilder, IntervalLogWriterError, Tag,
};

use crate::outcome::Sample;

/// An interval log that grows while the run goes on. For each interval and each latency with a
/// record, it has a line with the latency's name as its tag. Values are in nanoseconds. The
/// intervals' times are in seconds since the recording began.
pub struct HistogramLog {
    file: BufWriter<File>,
    /// Kept for its buffers.
    serializer: V2DeflateSerializer,
    head_bytes: u64,
}

impl HistogramLog {
    /// Begins a log at `path`, of a recording that begins `began_at` after 1970. A file
    /// that is there is emptied.
    pub fn create(path: &Path, began_at: Duration) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        let mut file = BufWriter::new(file);
        write_head(&mut file, began_at)?;
        // What is there can be read at any time.
        file.flush()?;
        Ok(Self {
            head_bytes: file.stream_position()?,
            file,
            serializer: V2DeflateSerializer::new(),
        })
    }

    /// Adds an interval.
    pub fn write(&mut self, sample: &Sample<'_>) -> io::Result<()> {
        // A writer borrows all that it needs; one without a head writes nothing at first.
        let mut writer =
            IntervalLogWriterBuilder::new().begin_log_with(&mut self.file, &mut self.serializer)?;
        for (name, histogram) in sample.latencies.named() {
            if histogram.is_empty() {
                continue;
            }
            let written =
                writer.write_histogram(histogram, sample.start, sample.length, Tag::new(name));
            written.map_err(|error| match error {
                IntervalLogWriterError::IoError(error) => error,
                IntervalLogWriterError::SerializeError(error) => io::Error::other(error),
            })?;
        }
        self.file.flush()
    }

    /// Copies the log to `path` with the start of the recording, which was not known when the log
    /// began.
    pub fn finish(self, path: &Path, began_at: Duration) -> io::Result<()> {
        let mut file = self.file.into_inner()?;
        file.seek(SeekFrom::Start(self.head_bytes))?;
        let mut whole = BufWriter::new(File::create(path)?);
        write_head(&mut whole, began_at)?;
        io::copy(&mut file, &mut whole)?;
        whole.flush()
    }
}

fn write_head(file: &mut BufWriter<File>, began_at: Duration) -> io::Result<()> {
    let began_at = UNIX_EPOCH + began_at;
    IntervalLogWriterBuilder::new()
        .add_comment("[Latencies of a loadgen run, in nanoseconds; a tag for each of them]")
        .add_comment("[Histogram log format version 1.3]")
        // Both, as readers disagree on which of them intervals count from.
        .with_start_time(began_at)
        .with_base_time(began_at)
        .begin_log_with(file, &mut V2DeflateSerializer::new())?;
    writeln!(
        file,
        r#""StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram""#
    )
}

#[cfg(test)]
#[path = "histograms_tests.rs"]
mod tests;
