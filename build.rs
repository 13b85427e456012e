//! Gives the programs the commit that they are built from, for `--version`.
//!
//! `BULLHORN_COMMIT` may say it, as `scripts/release` does for an archive without git. Otherwise a
//! release build asks git. A development build does not, as each commit would compile everything.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=BULLHORN_COMMIT");
    let given = env::var("BULLHORN_COMMIT").ok();
    let commit = given.filter(|commit| !commit.trim().is_empty());
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let build = match commit {
        Some(commit) => commit.trim().to_owned(),
        None if is_release => commit_of_git().unwrap_or_else(|| "commit unknown".to_owned()),
        None => "development build".to_owned(),
    };
    println!("cargo::rustc-env=BULLHORN_BUILD={build}");
}

/// Returns the commit of this folder, with `-changed` if its files are not those of the commit.
fn commit_of_git() -> Option<String> {
    let folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?);
    // This folder may lie in a repository that is not its own.
    let top = git(&folder, &["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != folder.canonicalize().ok()? {
        return None;
    }
    // The log of the head grows with each commit and checkout. A file that is not there would make
    // each build compile everything.
    let head = git(&folder, &["rev-parse", "--git-path", "logs/HEAD"])?;
    for path in [Path::new(&head), Path::new("src"), Path::new("Cargo.toml")] {
        let path = folder.join(path);
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    let describe = ["describe", "--always", "--abbrev=7", "--exclude=*"];
    git(&folder, &[&describe[..], &["--dirty=-changed"]].concat())
}

/// Returns the line that git prints.
fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command.current_dir(folder).args(arguments);
    // Others may use the repository meanwhile.
    command.env("GIT_OPTIONAL_LOCKS", "0");
    let output = command.output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}
