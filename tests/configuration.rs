//! The configuration of the program `server`: flags, environment, file and defaults.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Lines, Process, ServerProgram, server_command};
use nix::unistd::geteuid;

/// A value for each flag, other than its default. All together are valid.
const VALUES: [(&str, &str); 36] = [
    ("accept-reflection-risk", "true"),
    ("admin", "\"[::1]:9990\""),
    ("admin-token-file", "\"/a folder/with \\\"quotes\\\"\""),
    ("allow", "[\"192.0.2.0/24\", \"2001:db8::/32\"]"),
    ("backlog", "\"250ms\""),
    ("bind", "[\"0.0.0.0:9\", \"[::]:9\"]"),
    ("bytes-per-peer", "\"32KiB\""),
    ("challenge-rate", "\"1MB\""),
    ("challenges-per-network", "51"),
    ("commands", "\"off\""),
    ("deny", "[\"192.0.2.7/32\"]"),
    ("log", "\"warn,bullhorn::text=off\""),
    ("max-names", "1001"),
    ("max-peers", "1002"),
    ("max-room-members", "1003"),
    ("max-rooms", "1004"),
    ("names-per-network", "\"off\""),
    ("no-pin", "true"),
    ("once", "true"),
    ("proof", "\"never\""),
    ("reap-interval", "\"2s\""),
    ("receive-buffer", "\"1MiB\""),
    ("registrations-per-network", "201"),
    ("rooms-per-network", "21"),
    ("sandbox", "\"off\""),
    ("send-buffer", "2000000"),
    ("service", "\"greet\""),
    ("spin", "50"),
    ("state-dir", "\"/var/lib/bullh\u{f6}rn\\u0009# \\\\\""),
    ("texts-per-peer", "22"),
    ("timeout", "\"5s\""),
    ("trust", "[\"10.0.0.0/8\"]"),
    ("user", "65534"),
    ("watchdog", "\"off\""),
    ("work-per-peer", "\"off\""),
    ("workers", "251"),
];

#[test]
fn a_flag_comes_before_the_environment_the_file_and_the_default() {
    let file = TestFile::new(
        "precedence",
        "spin = 1\nallow = [\"192.0.2.1/32\"]\nno-pin = true\n",
    );
    let path = file.path();
    let print = |file: bool, environment: bool, flag: bool| {
        let mut command = bare_command(&["--print-config"]);
        if file {
            command.env("BULLHORN_CONFIG", path);
        }
        if environment {
            command.env("BULLHORN_SPIN", "2");
            command.env("BULLHORN_ALLOW", "192.0.2.2/32,192.0.2.3/32");
            command.env("BULLHORN_NO_PIN", "no");
        }
        if flag {
            command.args(["--spin=3", "--allow=192.0.2.4/32", "--no-pin"]);
            command.arg("--allow=192.0.2.5/32");
        }
        let (code, printed, errors) = output_of(&mut command);
        assert_eq!((code, &*errors), (Some(0), ""));
        ["spin = ", "allow = ", "no-pin = "].map(|part| {
            let mut lines = printed.lines();
            lines
                .find(|line| line.trim_start_matches("# ").starts_with(part))
                .unwrap()
                .to_owned()
        })
    };
    let defaults = [
        "spin = 0  # default",
        "# allow = []",
        "no-pin = false  # default",
    ];
    let from_file = [
        format!("spin = 1  # {path}:1"),
        format!("allow = [\"192.0.2.1/32\"]  # {path}:2"),
        format!("no-pin = true  # {path}:3"),
    ];
    let from_environment = [
        "spin = 2  # BULLHORN_SPIN",
        "allow = [\"192.0.2.2/32\", \"192.0.2.3/32\"]  # BULLHORN_ALLOW",
        "no-pin = false  # BULLHORN_NO_PIN",
    ];
    let from_flags = [
        "spin = 3  # command line",
        "allow = [\"192.0.2.4/32\", \"192.0.2.5/32\"]  # command line",
        "no-pin = true  # command line",
    ];
    assert_eq!(print(false, false, false), defaults);
    assert_eq!(print(true, false, false), from_file);
    for file in [false, true] {
        assert_eq!(print(file, true, false), from_environment);
        assert_eq!(print(file, false, true), from_flags);
        assert_eq!(print(file, true, true), from_flags);
    }
}

#[test]
fn the_server_obeys_its_file() {
    let text = "bind = \"127.0.0.1:0\"\ncommands = \"off\"\nworkers = 3\n";
    let file = TestFile::new("obeys", text);
    let server = ServerProgram::start_command(server_command(&["--config", file.path()]));
    // It is a text.
    server.expect_echo(&server.client(), "/nick ada");
}

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
        (folder, "must be a regular file"),
        ("/dev/zero", "must be a regular file"),
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
    let expected = format!("error: {}: must have at most 64 KiB", file.path());
    assert_eq!(check(), (Some(2), String::new(), expected));
    fs::write(&file.0, b"max-names = 5\n# gr\xfc\xdfe\n").unwrap();
    let expected = format!("error: {}:2: must be UTF-8", file.path());
    assert_eq!(check(), (Some(2), String::new(), expected));
}

#[test]
fn a_valid_configuration_is_confirmed_in_a_line() {
    let (code, printed, errors) = output_of(&mut bare_command(&["--check-config"]));
    assert_eq!((code, &*errors), (Some(0), ""));
    assert_eq!(printed, "the configuration is valid, without a file");
    let file = TestFile::new("valid", "\u{feff}max-names = 5 # as a test\n");
    let arguments = ["--check-config", "--config", file.path()];
    let (code, printed, errors) = output_of(&mut bare_command(&arguments));
    assert_eq!((code, &*errors), (Some(0), ""));
    assert_eq!(
        printed,
        format!("the configuration with {} is valid", file.path())
    );
}

#[test]
fn the_printed_configuration_is_a_file_that_gives_the_same() {
    let known = |line: &str| {
        let key = key_of(line);
        VALUES
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| *value)
    };
    let defaults = printed(&[]);
    for line in defaults.lines() {
        let value = known(line).unwrap_or_else(|| panic!("VALUES has no value for {line}"));
        let is_default = line.starts_with(&format!("{} = {value}  # ", key_of(line)));
        assert!(!is_default, "{line}");
    }
    // Only root can become another user.
    let may_stand = |line: &&str| key_of(line) != "user" || geteuid().is_root();
    let lines: Vec<_> = defaults.lines().filter(may_stand).collect();
    let text: String = lines
        .iter()
        .map(|line| format!("{} = {}\n", key_of(line), known(line).unwrap()))
        .collect();
    let file = TestFile::new("all", &text);
    let from_file = printed(&["--config", file.path()]);
    let expected = text.lines().enumerate();
    let expected = expected.map(|(index, line)| format!("{line}  # {}:{}", file.path(), index + 1));
    let set: Vec<_> = from_file
        .lines()
        .filter(may_stand)
        .map(str::to_owned)
        .collect();
    assert_eq!(set, expected.collect::<Vec<_>>());

    for text in [defaults, from_file] {
        let again = TestFile::new("again", &text);
        let values = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| !line.starts_with("# "));
            lines
                .map(|line| line.rsplit_once("  # ").unwrap().0.to_owned())
                .collect()
        };
        let reprinted = printed(&["--config", again.path()]);
        assert_eq!(values(&reprinted), values(&text));
        assert_eq!(reprinted.lines().count(), text.lines().count());
    }
}

#[test]
fn the_printed_configuration_has_every_flag_in_the_order_of_the_help() {
    let (_, help, _) = output_of(&mut bare_command(&["--help"]));
    let flags = help.lines().filter_map(|line| {
        let flag = line
            .trim_start()
            .trim_start_matches("-h, ")
            .trim_start_matches("-V, ");
        flag.strip_prefix("--")?.split(' ').next()
    });
    let no_keys = [
        "check-config",
        "config",
        "generate",
        "help",
        "print-config",
        "version",
    ];
    let flags: Vec<_> = flags.filter(|flag| !no_keys.contains(flag)).collect();
    let printed = printed(&[]);
    let keys: Vec<_> = printed.lines().map(key_of).collect();
    assert_eq!(keys, flags);
}

#[test]
fn an_option_that_is_not_set_is_printed_as_a_comment() {
    let printed = printed(&[]);
    for line in [
        "# allow = []",
        "# state-dir = \"DIR\"",
        "# user = \"USER[:GROUP]\"",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}");
    }
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
fn the_file_in_the_documentation_is_valid() {
    let page = include_str!("../docs/USING.md");
    let (_, after) = page.split_once("\n## Configuration").expect("the section");
    let (_, after) = after.split_once("\n```toml\n").expect("the file");
    let (text, _) = after.split_once("\n```\n").expect("its end");
    let file = TestFile::new("documentation", text);
    let (code, _, errors) = output_of(&mut bare_command(&[
        "--config",
        file.path(),
        "--check-config",
    ]));
    assert_eq!((code, &*errors), (Some(0), ""));
}

/// A file that is removed on drop.
struct TestFile(PathBuf);

impl TestFile {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("configuration_{name}.toml");
        let file = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).unwrap();
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Returns the key of a printed line, which may be a comment.
fn key_of(line: &str) -> &str {
    let line = line.trim_start_matches("# ");
    line.split_once(" = ").unwrap().0
}

#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let (code, printed, errors) = output_of(bare_command(&["--print-config"]).args(arguments));
    assert_eq!((code, &*errors), (Some(0), ""));
    printed
}

/// Returns a command without settings from the environment.
fn bare_command(arguments: &[&str]) -> Command {
    let mut command = server_command(arguments);
    command.env_remove("BULLHORN_SANDBOX");
    command
}

fn output_of(command: &mut Command) -> (Option<i32>, String, String) {
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::spawn(command);
    let output = Lines::new(process.child.stdout.take().unwrap());
    let errors = Lines::new(process.child.stderr.take().unwrap());
    let code = process.exit_status().code();
    (code, output.rest().join("\n"), errors.rest().join("\n"))
}
