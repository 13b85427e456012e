//! Configuration files, and servers that end by themselves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Lines, Process, server_command};

/// A configuration file that is removed on drop.
pub(crate) struct TestFile(pub(crate) PathBuf);

impl TestFile {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let id = std::process::id();
        let name = format!("configuration_{name}_{id}.toml");
        let file = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        file.write(text);
        file
    }

    pub(crate) fn write(&self, text: &str) {
        fs::write(&self.0, text).unwrap();
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Returns a command without settings from the environment.
pub(crate) fn bare_command(arguments: &[&str]) -> Command {
    let mut command = server_command(arguments);
    command.env_remove("BULLHORN_SANDBOX");
    command
}

/// Returns the exit code of a command that ends by itself, its output and its errors.
pub(crate) fn output_of(command: &mut Command) -> (Option<i32>, String, String) {
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::spawn(command);
    let output = Lines::new(process.child.stdout.take().unwrap());
    let errors = Lines::new(process.child.stderr.take().unwrap());
    let code = process.exit_status().code();
    (code, output.rest().join("\n"), errors.rest().join("\n"))
}
