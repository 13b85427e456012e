//! The configuration of the program `server`: flags, environment, file and defaults.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, as tests do"
)]

mod common;

use common::{ServerProgram, TestFile, bare_command, output_of, server_command};
use nix::unistd::geteuid;

/// A value for each flag, other than its default. All together are valid.
const VALUES: [(&str, &str); 48] = [
    ("accept-reflection-risk", "true"),
    ("admin", "\"[::1]:9990\""),
    ("admin-token-file", "\"/a folder/with \\\"quotes\\\"\""),
    ("advertise", "\"192.0.2.1:9999\""),
    ("allow", "[\"192.0.2.0/24\", \"2001:db8::/32\"]"),
    ("backlog", "\"250ms\""),
    ("bind", "[\"0.0.0.0:9\", \"[::]:9\"]"),
    ("bytes-per-peer", "\"32KiB\""),
    ("challenge-rate", "\"1MB\""),
    ("challenges-per-network", "51"),
    (
        "cluster",
        "[\"nats://10.0.0.5:4222\", \"tls://me:secret@bus\"]",
    ),
    ("cluster-ca", "\"tests/tls/ca.pem\""),
    ("cluster-certificate", "\"tests/tls/node.pem\""),
    ("cluster-credentials", "\"tests/credentials/node.creds\""),
    ("cluster-key", "\"tests/tls/node.key\""),
    ("cluster-name", "\"Prod\""),
    ("cluster-required", "true"),
    ("commands", "\"off\""),
    ("cores", "\"0-1\""),
    ("deny", "[\"192.0.2.7/32\"]"),
    ("log", "\"warn,bullhorn::text=off\""),
    ("log-format", "\"json\""),
    ("log-texts", "\"off\""),
    ("max-names", "1001"),
    ("max-peers", "1002"),
    ("max-room-members", "1003"),
    ("max-rooms", "1004"),
    ("names-per-network", "\"off\""),
    ("no-pin", "true"),
    ("node-id", "\"chat-1\""),
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
fn a_number_of_workers_that_follows_from_the_cores_is_printed_as_such() {
    let print = |arguments: &[&str]| {
        let (code, printed, errors) = output_of(&mut bare_command(arguments));
        assert_eq!((code, &*errors), (Some(0), ""));
        let line = printed.lines().find(|line| line.starts_with("workers = "));
        line.unwrap().to_owned()
    };
    let print = |arguments: &[&str]| print(&[&["--print-config"], arguments].concat());
    assert_eq!(print(&["--cores", "0-2,5"]), "workers = 4  # from --cores");
    let given = print(&["--cores", "0-2,5", "--workers", "3"]);
    assert_eq!(given, "workers = 3  # command line");
}

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
fn a_number_in_another_notation_is_printed_in_decimal() {
    let file = TestFile::new(
        "notation",
        "spin = 0x10\nmax-rooms = 0b101\nworkers = 0o7\n",
    );
    let printed = printed(&["--config", file.path()]);
    for line in ["max-rooms = 5  #", "spin = 16  #", "workers = 7  #"] {
        assert!(printed.lines().any(|it| it.starts_with(line)), "{printed}");
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
    let defaults = printed(&[]);
    for line in defaults.lines() {
        let value = known(line).unwrap_or_else(|| panic!("VALUES has no value for {line}"));
        let is_default = line.starts_with(&format!("{} = {value}  # ", key_of(line)));
        assert!(!is_default, "{line}");
    }
    // These exclude each other.
    let of_cluster = VALUES.map(|(key, _)| key);
    let of_cluster = of_cluster
        .into_iter()
        .filter(|key| key.starts_with("cluster") || matches!(*key, "advertise" | "node-id"));
    let of_cluster: Vec<_> = of_cluster.chain(["no-pin"]).collect();
    for left_out in [&["cores", "service", "once"][..], &of_cluster] {
        expect_round_trip(&defaults, left_out);
    }
}

/// Sets all flags but some, and reads what is printed.
#[track_caller]
fn expect_round_trip(defaults: &str, left_out: &[&str]) {
    // Only root can become another user.
    let may_stand = |line: &&str| {
        !left_out.contains(&key_of(line)) && (key_of(line) != "user" || geteuid().is_root())
    };
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

    for text in [defaults, &from_file] {
        let again = TestFile::new("again", text);
        let values = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| !line.starts_with("# "));
            lines
                .map(|line| line.rsplit_once("  # ").unwrap().0.to_owned())
                .collect()
        };
        let reprinted = printed(&["--config", again.path()]);
        assert_eq!(values(&reprinted), values(text));
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

/// Returns the value in [`VALUES`] of the flag of a printed line.
fn known(line: &str) -> Option<&'static str> {
    let mut values = VALUES.iter();
    let (_, value) = values.find(|(name, _)| *name == key_of(line))?;
    Some(value)
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
