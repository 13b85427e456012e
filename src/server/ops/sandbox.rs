//! The sandbox of the program `server`, which takes from the process the rights that it does not
//! need.
//!
//! Landlock confines files and connections, and seccomp confines system calls. [`Feature`] is the
//! table of what each part of the server needs. All else is refused with `EPERM` or `EACCES`, and
//! a refused call is logged by name. Code that an attacker injects has the rights of the table, and
//! no others.

mod calls;
mod features;
mod folders;
mod paths;
mod refusals;
mod user;

use std::io;

use clap::builder::ValueParser;
use clap::{Args, ValueEnum};
use nix::unistd::geteuid;

use self::paths::Paths;
use super::log::Log;

pub use self::features::Feature;
pub use self::refusals::Refusals;
pub use self::user::User;

/// The flags of the sandbox.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Operation")]
pub struct SandboxConfig {
    /// Take all rights from the server that it does not need, by Landlock and seccomp
    #[arg(long = "sandbox", env = "BULLHORN_SANDBOX", value_enum, value_name = "MODE",
          default_value_t = SandboxMode::On)]
    pub mode: SandboxMode,

    /// User to become when all sockets are open, by name or number, such as nobody or 1000:1000
    ///
    /// Without a group, the user's own. It has no other groups. Only root can become someone else.
    #[arg(long, env = "BULLHORN_USER", value_name = "USER[:GROUP]",
          value_parser = ValueParser::new(User::parse))]
    pub user: Option<User>,
}

/// A value of [`SandboxConfig::mode`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum SandboxMode {
    /// No sandbox
    Off,
    /// All that this kernel has. A refused system call fails
    #[default]
    On,
    /// Both, or the server does not start. A refused system call ends the server
    Strict,
}

/// The threads that [`Sandbox::close`] confines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// All threads of the process.
    All,
    /// The calling thread, and those that it starts.
    Calling,
}

/// A reason why a server is not in its sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// `--user` is given by a user who may not become another one.
    #[error("--user: only root can become another user")]
    NotRoot,
    /// A part of the sandbox is not in force.
    #[error("--sandbox strict: {part} is not in force: {reason}")]
    Missing {
        /// Landlock or seccomp.
        part: &'static str,
        /// The reason.
        reason: String,
    },
    /// The process has not become the user of `--user`.
    #[error("--user: {0}")]
    User(io::Error),
}

/// A sandbox whose files are confined, and whose system calls are not yet.
#[derive(Debug)]
pub struct Sandbox {
    config: SandboxConfig,
    features: Vec<Feature>,
    /// Landlock, or the reason why it is not in force. `None` with `--sandbox off`.
    paths: Option<Result<Paths, String>>,
}

impl SandboxConfig {
    /// Checks that the flags can be obeyed.
    ///
    /// # Errors
    /// [`SandboxError::NotRoot`].
    pub fn check(&self) -> Result<(), SandboxError> {
        if self.user.is_some() && !geteuid().is_root() {
            return Err(SandboxError::NotRoot);
        }
        Ok(())
    }
}

impl Sandbox {
    /// Confines the files and connections of the calling thread, and of those that it starts. A
    /// program calls this before it starts the first thread.
    ///
    /// # Errors
    /// [`SandboxError::Missing`].
    pub fn enter(config: &SandboxConfig, features: Vec<Feature>) -> Result<Self, SandboxError> {
        let enter = || Paths::enter(&features);
        let paths = (config.mode != SandboxMode::Off).then(enter);
        if let (SandboxMode::Strict, Some(Err(reason))) = (config.mode, &paths) {
            return Err(missing(LANDLOCK, reason));
        }
        Ok(Self {
            config: config.clone(),
            features,
            paths,
        })
    }

    /// Drops root, confines the system calls of `threads`, and logs what is in force. A server
    /// calls this when all its sockets are open.
    ///
    /// # Errors
    /// [`SandboxError`].
    pub fn close(self, threads: Threads, log: &Log) -> Result<(), SandboxError> {
        if let Some(user) = &self.config.user {
            user.assume().map_err(SandboxError::User)?;
            log.info(format!("running as {user}"));
        }
        let Some(paths) = self.paths else {
            log.info("sandbox: off".into());
            return Ok(());
        };
        let is_strict = self.config.mode == SandboxMode::Strict;
        let calls = calls::confine(&self.features, threads, is_strict);
        if let (true, Err(reason)) = (is_strict, &calls) {
            return Err(missing(SECCOMP, reason));
        }
        match (&paths, &calls) {
            (Ok(paths), Ok(calls)) => {
                log.info(format!("sandbox: {paths} and {calls}"));
            }
            (Ok(paths), Err(reason)) => {
                log.warn_at_start(format!("sandbox: {paths}, without {SECCOMP}: {reason}"));
            }
            (Err(reason), Ok(calls)) => {
                log.warn_at_start(format!("sandbox: {calls}, without {LANDLOCK}: {reason}"));
            }
            (Err(one), Err(other)) => log.warn_at_start(format!(
                "sandbox: none, without {LANDLOCK}: {one}, and without {SECCOMP}: {other}"
            )),
        }
        Ok(())
    }
}

fn missing(part: &'static str, reason: &str) -> SandboxError {
    let reason = reason.to_owned();
    SandboxError::Missing { part, reason }
}

impl From<SandboxError> for io::Error {
    fn from(error: SandboxError) -> Self {
        Self::other(error)
    }
}

const LANDLOCK: &str = "Landlock";
const SECCOMP: &str = "seccomp";
