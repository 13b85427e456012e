//! The help, the version, the manual page and the completions of the load generator, as
//! `tests/help.rs` has them for the other programs.

#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::process::Command;

#[test]
fn the_version_says_what_the_program_is_and_which_build() {
    let version = output(&["--version"]);
    let start = format!("bullhorn-loadgen {} (", env!("CARGO_PKG_VERSION"));
    assert!(version.starts_with(&start), "{version}");
    assert!(version.ends_with(")\n"), "{version}");
}

#[test]
fn pages_and_completions_have_each_flag_also_those_of_commands() {
    let mut all = flags(&output(&["--help"]));
    all.extend(flags(&output(&["find-max", "--help"])));
    assert!(all.iter().any(|(flag, _)| flag == "from"), "{all:?}");
    for kind in ["man", "bash", "zsh", "fish"] {
        let text = output(&["--generate", kind]).replace("\\-", "-");
        assert!(text.contains("bullhorn-loadgen"), "{kind}");
        assert!(text.contains("calibrate"), "{kind}");
        for (flag, _) in &all {
            let written = match kind {
                "fish" => format!("-l {flag}"),
                _ => format!("--{flag}"),
            };
            assert!(text.contains(&written), "{kind}: {flag}");
        }
    }
    assert!(!output(&["--help"]).contains("--generate"));
}

#[test]
fn bash_completes_the_flags_of_a_command() {
    let script = output(&["--generate", "bash"]);
    let complete = "COMP_WORDS=(bullhorn-loadgen find-max --sl) COMP_CWORD=2
        _bullhorn__loadgen bullhorn-loadgen --sl find-max
        echo \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    let completed = bash.arg("-c").arg(format!("{script}\n{complete}")).output();
    let completed = completed.unwrap();
    let words = String::from_utf8(completed.stdout).unwrap();
    let errors = String::from_utf8_lossy(&completed.stderr);
    assert_eq!(words, "--slo\n", "{errors}");
}

#[test]
fn usage_and_examples_have_the_name_that_was_called() {
    for arguments in [&["--help"][..], &["find-max", "--help"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        let help = command.arg0("bullhorn-loadgen").args(arguments).output();
        let help = String::from_utf8(help.unwrap().stdout).unwrap();
        assert!(help.contains("\nUsage: bullhorn-loadgen "), "{help}");
        assert!(
            help.contains("\n  bullhorn-loadgen find-max --slo"),
            "{help}"
        );
        assert!(!help.contains("  loadgen "), "{help}");
    }
}

#[test]
fn flags_have_the_meaning_that_they_have_in_the_other_programs() {
    let table = include_str!("../../tests/options.txt");
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    let rows = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let rows = rows.filter(|row| row[2..].contains(&"loadgen"));
    let expected: BTreeSet<_> = rows
        .map(|row| (row[0].to_owned(), row[1].to_owned()))
        .collect();
    assert_eq!(flags(&output(&["--help"])), expected);
}

/// Returns the long names of the flags in a help, and the names of their values, or `-`.
fn flags(help: &str) -> BTreeSet<(String, String)> {
    // Descriptions stand further right.
    let is_flag = |line: &&str| line.trim_start().starts_with('-') && !line.starts_with("       ");
    let lines = help.lines().filter(is_flag);
    let words = lines.filter_map(|line| line.split_once("--").map(|(_, flag)| flag));
    let flags = words.map(|flag| {
        let (name, value) = flag.split_once(' ').unwrap_or((flag, "-"));
        let value = value.trim_matches(['<', '>']);
        (name.to_owned(), value.to_owned())
    });
    flags.collect()
}

fn output(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}
