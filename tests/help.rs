//! The help, the version, the manual page and the completions of the programs `server` and `client`.
//! `loadgen/tests/help.rs` has the same for the load generator.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The path of each program, its word in `tests/options.txt`, and its headings.
const PROGRAMS: [(&str, &str, &[&str]); 2] = [
    (
        env!("CARGO_BIN_EXE_server"),
        "server",
        &[
            "Network",
            "Peers and rooms",
            "Proof and trust",
            "Operation",
            "Performance",
            "Tutorial",
        ],
    ),
    (
        env!("CARGO_BIN_EXE_client"),
        "client",
        &["Chat", "Connection", "Output", "Tutorial"],
    ),
];

#[test]
fn the_version_says_what_the_program_is_and_which_build() {
    for (path, word, _) in PROGRAMS {
        let version = output(path, &["--version"]);
        let start = format!("bullhorn-{word} {} (", env!("CARGO_PKG_VERSION"));
        assert!(version.starts_with(&start), "{version}");
        assert!(version.ends_with(")\n"), "{version}");
    }
}

#[test]
fn help_has_headings_and_tutorial_modes_apart() {
    for (path, word, headings) in PROGRAMS {
        let help = output(path, &["--help"]);
        for heading in headings {
            assert!(
                help.contains(&format!("\n{heading}:\n")),
                "{word}: {heading}"
            );
        }
        let tutorial = help.split("\nTutorial:\n").nth(1).unwrap();
        let modes: &[&str] = match word {
            "server" => &["--service", "--once"],
            _ => &["--greet", "--attempts"],
        };
        for mode in modes {
            assert!(tutorial.contains(mode), "{word}: {mode}");
        }
    }
}

#[test]
fn pages_and_completions_have_each_flag() {
    for (path, word, _) in PROGRAMS {
        let help = output(path, &["--help"]);
        let flags = flags(&help);
        assert!(flags.len() > 10, "{flags:?}");
        for kind in ["man", "bash", "zsh", "fish"] {
            let text = output(path, &["--generate", kind]).replace("\\-", "-");
            assert!(text.contains(&format!("bullhorn-{word}")), "{word} {kind}");
            for (flag, _) in &flags {
                let written = match kind {
                    "fish" => format!("-l {flag}"),
                    _ => format!("--{flag}"),
                };
                assert!(text.contains(&written), "{word} {kind}: {flag}");
            }
        }
    }
}

#[test]
fn the_flag_for_packages_is_in_no_help_and_refuses_other_kinds() {
    for (path, _, _) in PROGRAMS {
        assert!(!output(path, &["--help"]).contains("--generate"));
        let refused = Command::new(path).args(["--generate", "csh"]).output();
        let refused = refused.unwrap();
        assert_eq!(refused.status.code(), Some(2));
        let errors = String::from_utf8(refused.stderr).unwrap();
        assert!(errors.contains("man, bash, zsh, fish"), "{errors}");
    }
}

#[test]
fn a_page_that_cannot_be_written_ends_a_program_with_exit_code_1() {
    for (path, word, _) in PROGRAMS {
        for kind in ["man", "bash", "zsh", "fish"] {
            let full = File::options().write(true).open("/dev/full").unwrap();
            let mut command = Command::new(path);
            command.args(["--generate", kind]).stdout(full);
            let code = command.status().unwrap().code();
            assert_eq!(code, Some(1), "{word} {kind}");
        }
    }
}

#[test]
fn usage_errors_and_examples_have_the_name_that_was_called() {
    for (path, word, _) in PROGRAMS {
        let name = format!("bullhorn-{word}");
        let run = |argument| Command::new(path).arg0(&name).arg(argument).output();
        let help = String::from_utf8(run("--help").unwrap().stdout).unwrap();
        assert!(
            help.contains(&format!("\nUsage: {name} [OPTIONS]")),
            "{help}"
        );
        let refused = String::from_utf8(run("--nonsense").unwrap().stderr).unwrap();
        assert!(refused.contains(&format!("Usage: {name} ")), "{refused}");
        assert!(!help.contains(&format!("  {word} ")), "{help}");
    }
}

#[test]
fn flags_have_one_meaning_in_all_programs() {
    let table = include_str!("options.txt");
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    let rows: Vec<Vec<&str>> = lines
        .map(|line| line.split_whitespace().collect())
        .collect();
    let names: BTreeSet<&str> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(names.len(), rows.len(), "a flag has one line");
    for (path, word, _) in PROGRAMS {
        let expected = rows.iter().filter(|row| row[2..].contains(&word));
        let expected: BTreeSet<_> = expected
            .map(|row| (row[0].to_owned(), row[1].to_owned()))
            .collect();
        assert_eq!(flags(&output(path, &["--help"])), expected, "{word}");
    }
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

fn output(path: &str, arguments: &[&str]) -> String {
    let output = Command::new(path).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}
