//! The programs `promtool` and `prometheus` of Debian's package `prometheus`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Returns a command that runs `program`, or `None` where it is not installed.
pub(crate) fn prometheus_command(program: &str) -> Option<Command> {
    let version = Command::new(program).arg("--version").output();
    match version {
        Ok(output) if output.status.success() => Some(Command::new(program)),
        _ => {
            println!("skipped: {program} is missing; scripts/test unpacks it");
            None
        }
    }
}

/// Runs promtool with `input` on its standard input. It must succeed and complain about nothing.
/// Returns what it prints, or `None` where it is not installed.
#[track_caller]
pub(crate) fn promtool(folder: &Path, arguments: &[&str], input: &str) -> Option<String> {
    let mut command = prometheus_command("promtool")?;
    command.args(arguments).current_dir(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it is there");
    let mut pipe = child.stdin.take().expect("it is piped");
    // It may end before it has read all, and its message says why.
    let _ = pipe.write_all(input.as_bytes());
    drop(pipe);
    let output = child.wait_with_output().expect("it is a child");
    let [printed, errors] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{printed}{errors}");
    assert_eq!(errors, "", "{printed}");
    Some(printed)
}
