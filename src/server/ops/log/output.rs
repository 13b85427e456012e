//! The selection, the form and the place of the log's lines.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock, PoisonError};

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

use super::{SERVER, TARGETS, TEXT};

/// The flags of the log.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Operation")]
pub struct LogConfig {
    /// Log level: off, error, warn, info, debug or trace, or levels by target, such as
    /// `info,bullhorn::peer=off`
    ///
    /// Targets: bullhorn::text for texts, bullhorn::peer for peers that register, leave and
    /// expire, bullhorn::greet for greetings, bullhorn::server for all else.
    #[arg(long = "log", env = "BULLHORN_LOG", value_name = "LEVEL", default_value = "info",
          value_parser = parse_filter)]
    pub filter: Targets,

    /// Form of the log's lines
    #[arg(long = "log-format", env = "BULLHORN_LOG_FORMAT", value_enum, value_name = "FORMAT",
          default_value_t = LogFormat::Text)]
    pub format: LogFormat,

    /// Log the texts that peers send, as the tutorial's server does
    #[arg(long = "log-texts", env = "BULLHORN_LOG_TEXTS", value_enum, value_name = "WHEN",
          default_value_t = LogTexts::Auto)]
    pub texts: LogTexts,
}

/// A value of [`LogConfig::format`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    Text,
    /// An object of JSON per line, with timestamp, level, target and message
    Json,
}

/// A value of [`LogConfig::texts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogTexts {
    /// Only while every address of --bind is a loopback address
    Auto,
    /// Always
    On,
    /// Never
    Off,
}

impl LogTexts {
    /// Returns true if a server at these addresses logs texts.
    pub fn are_on(self, binds: &[SocketAddr]) -> bool {
        match self {
            Self::Auto => binds.iter().all(|bind| bind.ip().is_loopback()),
            Self::On => true,
            Self::Off => false,
        }
    }
}

/// Writes the lines that `config` selects to standard error, or as [`write_to`] says. `logs_texts` is
/// [`LogTexts::are_on`]. A program calls this once, at its start.
pub fn install(config: LogConfig, logs_texts: bool) {
    let (filter, handle) = reload::Layer::new(own_lines(&config.filter, logs_texts));
    let _ = OUTPUT.set(Installed {
        handle,
        logs_texts,
        is_json: config.format == LogFormat::Json,
    });
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| Output)
        // The report of a failed write would fail too, and panic.
        .log_internal_errors(false);
    let lines = match config.format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .init();
}

/// Changes what is logged. Texts are logged only if they were at the start.
///
/// # Errors
/// A sentence that says what is right. Nothing changes.
pub fn set_filter(filter: &str) -> Result<(), String> {
    let targets = parse_filter(filter)?;
    let output = OUTPUT.get().ok_or("this program has no log")?;
    if !output.logs_texts && names_texts(filter) {
        return Err("texts are not logged: start the server with --log-texts on".into());
    }
    reload_filter(targets);
    Ok(())
}

/// Changes what is logged, as [`set_filter`] does. A program without a log has nothing to change.
pub fn reload_filter(filter: Targets) {
    if let Some(output) = OUTPUT.get() {
        let filter = own_lines(&filter, output.logs_texts);
        // It fails only in a thread that has panicked while it logged.
        let _ = output.handle.reload(filter);
    }
}

/// Writes the reason why the program ends as a line of JSON, if those of the log are. Returns false if
/// it did not.
pub fn write_error(text: &str) -> bool {
    let is_json = OUTPUT.get().is_some_and(|output| output.is_json);
    let is_written = is_json && tracing::enabled!(target: SERVER, tracing::Level::ERROR);
    if is_written {
        tracing::error!(target: SERVER, "{text}");
    }
    is_written
}

/// Makes `write` the way to standard error from now on, such as by a line editor. Where it fails, the
/// lines go there directly.
pub fn write_to(write: WriteLines) {
    *WRITE.lock().unwrap_or_else(PoisonError::into_inner) = Some(write);
}

/// Writes whole lines.
pub type WriteLines = Box<dyn FnMut(&[u8]) -> io::Result<()> + Send>;

/// The log of this program.
struct Installed {
    handle: reload::Handle<Targets, Registry>,
    logs_texts: bool,
    is_json: bool,
}

/// The place where the lines of the log go.
struct Output;

impl Write for Output {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let mut write = WRITE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(write) = &mut *write
            && write(lines).is_ok()
        {
            return Ok(lines.len());
        }
        io::stderr().write(lines)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

static OUTPUT: OnceLock<Installed> = OnceLock::new();
static WRITE: Mutex<Option<WriteLines>> = Mutex::new(None);

/// Parses levels and `target=level`, separated by commas.
///
/// # Errors
/// A sentence that names the valid words. `Targets` itself would take an unknown word for a
/// target, and silence all others. A filter with an unknown target has a typing mistake, and may log
/// what it should not.
pub(super) fn parse_filter(text: &str) -> Result<Targets, String> {
    let is_known = |part: &str| match part.split_once('=') {
        Some((target, _)) => TARGETS.contains(&target),
        None => !part.is_empty() && part.parse::<LevelFilter>().is_ok(),
    };
    match text.parse() {
        Ok(targets) if text.split(',').all(is_known) => Ok(targets),
        _ => Err(
            "must be off, error, warn, info, debug or trace, or levels by target, such as \
             info,bullhorn::peer=off. The targets are bullhorn, bullhorn::server, bullhorn::text, \
             bullhorn::peer and bullhorn::greet"
                .into(),
        ),
    }
}

/// Returns true if a filter selects texts by their own target.
fn names_texts(filter: &str) -> bool {
    let mut parts = filter.split(',').filter_map(|part| part.split_once('='));
    parts.any(|(target, level)| target == TEXT && level.parse().ok() != Some(LevelFilter::OFF))
}

/// Returns the lines of this program, without texts unless they are logged. Those of libraries are left out.
fn own_lines(filter: &Targets, logs_texts: bool) -> Targets {
    let level = filter.default_level().unwrap_or(LevelFilter::OFF);
    let named = filter
        .iter()
        .map(|(target, level)| (target.to_owned(), level));
    let filter = Targets::new()
        .with_target(TARGETS[0], level)
        .with_targets(named);
    match logs_texts {
        true => filter,
        false => filter.with_target(TEXT, LevelFilter::OFF),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn texts_are_logged_where_only_this_machine_can_send_them() {
        let binds = |text: &str| -> Vec<SocketAddr> {
            let addresses = text.split(' ').map(|address| address.parse().unwrap());
            addresses.collect()
        };
        for (texts, bind, are_on) in [
            (LogTexts::Auto, "127.0.0.1:1 [::1]:1 127.8.0.1:2", true),
            (LogTexts::Auto, "127.0.0.1:1 192.0.2.1:1", false),
            (LogTexts::Auto, "0.0.0.0:1", false),
            (LogTexts::Auto, "[::]:1", false),
            (LogTexts::On, "0.0.0.0:1", true),
            (LogTexts::Off, "127.0.0.1:1", false),
        ] {
            assert_eq!(texts.are_on(&binds(bind)), are_on, "{texts:?} {bind}");
        }
    }

    #[test]
    fn no_filter_logs_texts_that_must_not_be_logged() {
        for filter in ["info", "trace", "bullhorn=info", "off,bullhorn::text=trace"] {
            let filter = || parse_filter(filter).unwrap();
            let logs = |filter: &Targets| filter.would_enable(TEXT, &Level::INFO);
            assert!(logs(&filter()));
            assert!(logs(&own_lines(&filter(), true)));
            assert!(!logs(&own_lines(&filter(), false)));
        }
    }
}
