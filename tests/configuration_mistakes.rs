//! Mistakes in the configuration of the program `server`: their text, place and exit code.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
#[cfg(feature = "cluster")]
use std::process::Command;

use common::{TestFile, bare_command, output_of};

#[test]
fn a_mistake_in_a_line_is_told_with_the_line_and_a_remedy() {
    let file = TestFile::new("mistakes", "");
    for (line, error) in [
        // Values.
        (
            "timeout = 10",
            "timeout: must be a number with a unit, such as 10s or 250ms",
        ),
        ("workers = 2.5", "workers: must be a whole number"),
        (
            "workers = 0x100000000000000000000000000000000",
            "workers: must be a whole number",
        ),
        ("workers = true", "workers: must be a string or a number"),
        ("workers = [2]", "workers: must be a string or a number"),
        (
            "workers = 2026-01-31",
            "workers: must be a string or a number",
        ),
        (
            "timeout.max = \"5s\"",
            "timeout: must be a string or a number",
        ),
        (
            "commands = true",
            "commands: must be one of \"on\", \"off\"",
        ),
        (
            "commands = \"yes\"",
            "commands: must be one of \"on\", \"off\"",
        ),
        ("once = \"true\"", "once: must be true or false"),
        ("state-dir = \"\"", "state-dir: must not be empty"),
        (
            "bind = []",
            "bind: must not be empty: leave it out for the default, 127.0.0.1:9999",
        ),
        (
            "allow = [[\"192.0.2.1\"]]",
            "allow: must be a list of strings, such as [\"a\", \"b\"], or a string",
        ),
        (
            "deny = [\"192.0.2.1\", \"me\"]",
            "deny: must be a network such as 10.0.0.0/8 or 2001:db8::/32",
        ),
        // A value that a flag replaces.
        ("spin = -1", "spin: must be a whole number"),
        // Values that do not go together, or are out of bounds.
        ("workers = 257", "--workers must lie between 1 and 256"),
        (
            "receive-buffer = 1",
            "--receive-buffer must lie between 4.0 KiB and 1.0 GiB",
        ),
        ("once = true", "--once goes with --service greet"),
        (
            "trust = [\"none\", \"10.0.0.0/8\"]",
            "--trust none stands alone",
        ),
        (
            "cluster = \"nats://10.0.0.5\"",
            "--cluster needs --cluster-name NAME: servers with the same name are one chat",
        ),
        ("node-id = \"a\"", "--node-id goes with --cluster"),
        (
            "cluster = \"http://10.0.0.5\"",
            "cluster: must be nats://HOST:PORT or tls://HOST:PORT, such as nats://10.0.0.5:4222",
        ),
        (
            "node-id = \"a b\"",
            "node-id: must be 1 to 32 of A-Z a-z 0-9 _ -",
        ),
        // Keys.
        (
            "timeuot = \"5s\"",
            "timeuot: unknown key: did you mean timeout?",
        ),
        (
            "max_peers = 5",
            "max_peers: unknown key: did you mean max-peers?",
        ),
        (
            "qqqqqq = 5",
            "qqqqqq: unknown key: the keys are the names of the flags in --help",
        ),
        // Similar to the name of a flag that is no key.
        (
            "confg = 1",
            "confg: unknown key: the keys are the names of the flags in --help",
        ),
        (
            "\"\\u0007=\" = 5",
            "\\u{7}=: unknown key: the keys are the names of the flags in --help",
        ),
        (
            "\"\" = 5",
            ": unknown key: the keys are the names of the flags in --help",
        ),
        (
            "config = \"/a\"",
            "config: stands on the command line only, not in a file",
        ),
        (
            "check-config = true",
            "check-config: stands on the command line only, not in a file",
        ),
        (
            "print-config = true",
            "print-config: stands on the command line only, not in a file",
        ),
        (
            "help = true",
            "help: stands on the command line only, not in a file",
        ),
        (
            "version = true",
            "version: stands on the command line only, not in a file",
        ),
        (
            "generate = \"man\"",
            "generate: stands on the command line only, not in a file",
        ),
        (
            "[server]\nworkers = 1",
            "server: must not be a table: the keys are the names of the flags in --help",
        ),
        // TOML.
        (
            "timeout = 5s",
            "string values must be quoted, expected literal string: 5s",
        ),
        (
            "commands = off",
            "string values must be quoted, expected literal string: off",
        ),
        ("workers 5", "key with no value, expected `=`"),
        ("log = \"info", "invalid basic string, expected `\"`"),
        ("max-rooms = 6", "duplicate key: max-rooms"),
    ] {
        file.write(&format!(
            "# A comment.\nmax-rooms = 5\n\n{line}\nmax-names = 5\n"
        ));
        for action in ["--check-config", "--print-config", "--no-pin"] {
            let arguments = ["--config", file.path(), "--spin=3", action];
            let (code, printed, errors) = output_of(&mut bare_command(&arguments));
            assert_eq!((code, &*printed), (Some(2), ""), "{line}");
            assert_eq!(
                errors,
                format!("error: {}:4: {error}", file.path()),
                "{line}"
            );
        }
    }
}

#[test]
fn a_mistake_of_the_command_line_is_not_told_as_one_of_the_file() {
    let file = TestFile::new("blameless", "max-names = 5\n");
    let (code, _, errors) = output_of(&mut bare_command(&["--config", file.path(), "--once"]));
    assert_eq!(code, Some(2));
    assert!(
        errors.starts_with("error: --once goes with --service greet\n"),
        "{errors}"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = env!("CARGO_TARGET_TMPDIR");
    let missing = format!("{folder}/no such file");
    for (path, error) in [
        (
            &*missing,
            "cannot be read: No such file or directory (os error 2)",
        ),
        (folder, "cannot be read: it must be a regular file"),
        ("/dev/zero", "cannot be read: it must be a regular file"),
    ] {
        let (code, _, errors) = output_of(&mut bare_command(&["--config", path]));
        let expected = format!("error: {path}: {error}");
        assert_eq!((code, errors), (Some(2), expected));
    }
    let file = TestFile::new("unreadable", &"#".repeat(64 << 10));
    let check = || {
        output_of(&mut bare_command(&[
            "--config",
            file.path(),
            "--check-config",
        ]))
    };
    assert_eq!(check().0, Some(0));
    file.write(&"#".repeat((64 << 10) + 1));
    let expected = format!(
        "error: {}: cannot be read: it must have at most 64 KiB",
        file.path()
    );
    assert_eq!(check(), (Some(2), String::new(), expected));
    fs::write(&file.0, b"max-names = 5\n# gr\xfc\xdfe\n").unwrap();
    let expected = format!("error: {}:2: must be UTF-8", file.path());
    assert_eq!(check(), (Some(2), String::new(), expected));
}

#[test]
fn a_path_with_control_characters_is_shown_in_one_line_without_them() {
    let file = TestFile::new("control\n\u{1b}[2J\u{7}", "");
    let shown = file.path().replace(char::is_control, "?");
    let action_with = |action: &str| {
        let (code, printed, errors) =
            output_of(&mut bare_command(&["--config", file.path(), action]));
        (code.unwrap(), printed, errors)
    };
    let valid = format!("the configuration with {shown} is valid");
    assert_eq!(action_with("--check-config"), (0, valid, String::new()));
    file.write("spin = 3");
    let (_, printed, _) = action_with("--print-config");
    let line = format!("spin = 3  # {shown}:1");
    assert!(printed.lines().any(|printed| printed == line), "{printed}");
    file.write("spin = -1");
    let error = format!("error: {shown}:1: spin: must be a whole number");
    assert_eq!(action_with("--check-config"), (2, String::new(), error));
    fs::remove_file(&file.0).unwrap();
    let error = format!("error: {shown}: cannot be read: No such file or directory (os error 2)");
    assert_eq!(action_with("--check-config"), (2, String::new(), error));
}

#[test]
fn a_path_that_is_not_utf8_is_not_printed() {
    let mut command = bare_command(&["--print-config", "--state-dir"]);
    let (code, printed, errors) = output_of(command.arg(OsStr::from_bytes(b"/\xff")));
    assert_eq!((code, &*printed), (Some(2), ""));
    let expected = "error: --state-dir \"/\\xFF\" is not UTF-8, and cannot stand in a file\n";
    assert!(errors.starts_with(expected), "{errors}");
}

#[test]
fn a_mistake_in_an_environment_variable_is_told_with_its_name() {
    let check = |arguments: &[&str]| {
        let mut command = bare_command(arguments);
        let (code, _, errors) = output_of(command.env("BULLHORN_TIMEOUT", "5"));
        assert_eq!(code, Some(2));
        assert!(errors.contains("for '--timeout <DURATION>'"), "{errors}");
        errors.contains("tip: the value is that of BULLHORN_TIMEOUT")
    };
    assert!(check(&["--check-config"]));
    assert!(!check(&["--check-config", "--timeout", "6"]));
}

#[cfg(feature = "cluster")]
#[test]
fn a_password_in_an_address_with_a_mistake_is_not_shown() {
    let told = |command: &mut Command| {
        let (code, printed, errors) = output_of(command);
        assert_eq!((code, &*printed), (Some(2), ""));
        assert!(!errors.contains("secret"), "{errors}");
        assert!(errors.contains("must be nats://HOST:PORT"), "{errors}");
        errors
    };
    // The comma parts it in two.
    for address in ["nats:/ada:secret@10.0.0.5", "nats://ada:secret,secret@h:1"] {
        let errors = told(&mut bare_command(&["--cluster", address]));
        assert!(errors.contains("'--cluster <URL>'"), "{errors}");
        let mut command = bare_command(&[]);
        let errors = told(command.env("BULLHORN_CLUSTER", address));
        assert!(errors.contains("of BULLHORN_CLUSTER"), "{errors}");
        let file = TestFile::new("password", &format!("cluster = [\"{address}\"]"));
        let errors = told(&mut bare_command(&["--config", file.path()]));
        assert!(errors.contains(":1: cluster: "), "{errors}");
    }
}

#[cfg(feature = "cluster")]
#[test]
fn the_files_for_a_bus_are_read_before_the_start() {
    let other = TestFile::new("no_pem", "text");
    let file = other.path();
    for (flags, wrong) in [
        (
            &["credentials"][..],
            "it must have credentials as nsc writes them",
        ),
        (&["ca"], "it must have certificates in PEM"),
        (&["certificate", "key"], "it must have a certificate in PEM"),
    ] {
        let flag = format!("--cluster-{}", flags[0]);
        for (path, why) in [("/nowhere", "No such file or directory"), (file, wrong)] {
            let flags = flags.iter().map(|flag| format!("--cluster-{flag}={path}"));
            let mut command = bare_command(&["--cluster", "h", "--cluster-name", "c"]);
            let (code, printed, errors) = output_of(command.args(flags));
            assert_eq!((code, &*printed), (Some(2), ""));
            let error = format!("error: {flag} {path}: {why}");
            assert!(errors.starts_with(&error), "{errors}");
        }
    }
}
