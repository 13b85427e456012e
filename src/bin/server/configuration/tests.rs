use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use bullhorn::server::settings::RELOADED;
use clap::{ArgAction, Command, arg, value_parser};
use proptest::prelude::*;
use toml::de::{DeTable, DeValue};

use super::printed::quoted;
use super::{Configuration, resolve};

/// A file that is removed on drop.
struct TestFile(PathBuf);

impl TestFile {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("bullhorn-{name}-{}.toml", std::process::id());
        let file = Self(std::env::temp_dir().join(name));
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).expect("the folder for temporary files can be written");
    }

    fn words(&self, arguments: &[&str]) -> Vec<OsString> {
        let path = self.0.as_os_str();
        let mut words = vec!["server".into(), "--config".into(), path.to_owned()];
        words.extend(arguments.iter().map(OsString::from));
        words
    }

    fn configuration(&self, arguments: &[&str]) -> Configuration {
        Configuration::new(self.words(arguments), None).expect("it is valid")
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn the_line_for_the_log_has_the_path_in_one_line() {
    let file = TestFile::new("log\n\u{1b}[2J", "");
    let shown = file.0.display().to_string();
    let shown = shown.replace("\n\u{1b}[2J", "??[2J");
    let line = file.configuration(&[]).summary(true);
    assert_eq!(line, format!("configuration: {shown}; texts are logged"));
}

#[test]
fn a_file_that_is_read_again_changes_the_flags_that_differ() {
    let file = TestFile::new(
        "again",
        "timeout = '5s'\nmax-names = 7\nallow = ['10.0.0.0/8']",
    );
    let first = file.configuration(&["--max-peers=9", "--commands=off"]);
    assert_eq!(first.config_file(), Some(&*file.0));
    let again = first.read_again().expect("it is valid");
    assert!(again.changes_since(&first).is_empty());

    file.write("max-names = 7\nmax-peers = 10\nspin = 3\nonce = true\nservice = 'greet'");
    let second = first.read_again().expect("it is valid");
    let changed = second.changes_since(&first);
    assert_eq!(changed, ["spin", "timeout", "allow", "service", "once"]);
    let config = &second.arguments().server;
    assert_eq!(config.timeout, Duration::from_secs(10));
    assert_eq!((config.max_names, config.max_peers), (7, 9));
    assert_eq!((config.spin_us, config.once), (3, true));
    assert!(config.allow.is_empty());

    file.write("max-names = 7\nspin = 4\nonce = true\nservice = 'greet'");
    let third = second.read_again().expect("it is valid");
    assert_eq!(third.changes_since(&second), ["spin"]);
    assert_eq!(third.arguments().server.spin_us, 4);
}

#[test]
fn an_error_of_a_file_that_is_read_again_is_one_line_and_changes_nothing() {
    let file = TestFile::new("error", "max-names = 7\nservice = 'greet'");
    let configuration = file.configuration(&["--once"]);
    for (text, place, error) in [
        (
            "service = 'greet'\ntimeout = 5",
            ":2",
            "timeout: must be a number with a unit, such as 10s or 250ms",
        ),
        (
            "service = 'greet'\ntimeout = '1ms'",
            ":2",
            "--timeout must lie between 100ms and 1day",
        ),
        (
            "service = 'greet'\nbind = ['127.0.0.1:9', 'x']",
            ":2",
            "bind: must be an IP address and a port, such as 127.0.0.1:9999 or [::1]:9999",
        ),
        (
            "service = 'greet'\nworkers = 257",
            ":2",
            "--workers must lie between 1 and 256",
        ),
        (
            "\n\nservice = 'chat'",
            ":3",
            "--once goes with --service greet",
        ),
        // Without the key that the command line needs.
        ("max-names = 7", "", "--once goes with --service greet"),
        (
            "service = 'greet'\n=",
            ":2",
            "unquoted keys cannot be empty, expected letters, numbers, `-`, `_`",
        ),
    ] {
        file.write(text);
        let result = configuration.read_again().map(drop);
        let expected = format!("{}{place}: {error}", file.0.display());
        assert_eq!(result.expect_err(text).to_string(), expected);
    }
    fs::remove_file(&file.0).expect("it is there");
    let error = configuration.read_again().map(drop);
    let error = error.expect_err("it is removed").to_string();
    assert!(
        error.ends_with(": cannot be read: No such file or directory (os error 2)"),
        "{error}"
    );
    assert_eq!(configuration.arguments().server.max_names, 7);
}

#[test]
fn without_a_file_there_is_nothing_to_read_again() {
    let configuration = Configuration::new(vec!["server".into(), "--spin=3".into()], None);
    let configuration = configuration.expect("it is valid");
    assert_eq!(configuration.config_file(), None);
    let second = configuration.read_again().expect("it is valid");
    assert!(second.changes_since(&configuration).is_empty());
    assert_eq!(second.arguments().server.spin_us, 3);
}

#[test]
fn the_flags_that_a_reload_applies_may_stand_in_a_file() {
    let configuration = Configuration::new(vec!["server".into()], None).expect("it is valid");
    for flag in RELOADED {
        let mut values = configuration.values.iter();
        assert!(values.any(|value| value.name == *flag), "{flag}");
    }
}

#[test]
fn addresses_and_users_are_not_resolved_again() {
    let file = TestFile::new("once", "bind = '127.0.0.1:5'");
    let first = file.configuration(&[]);
    // No interface and no user have these names, as the system would say.
    file.write("bind = '[fe80::1%nosuchif]:9'\nuser = 'no such user'\nspin = 3");
    let second = first.read_again().expect("it is valid");
    assert_eq!(second.changes_since(&first), ["bind", "spin", "user"]);
    let arguments = second.arguments();
    assert_eq!(arguments.server.bind, first.arguments().server.bind);
    assert_eq!(arguments.sandbox.user, None);
    let error = Configuration::new(file.words(&[]), None)
        .map(|_| ())
        .expect_err("no such interface");
    let expected = format!(
        "{}:1: bind: this machine has no interface nosuchif",
        file.0.display()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn flags_that_exclude_each_other_do_so_in_a_file() {
    let flags = [
        arg!(--config <FILE>).value_parser(value_parser!(PathBuf)),
        arg!(--cores <LIST>).conflicts_with("no-pin"),
        arg!(--"no-pin").action(ArgAction::SetTrue),
    ];
    let command = Command::new("server").args(flags);
    let file = TestFile::new("conflict", "\nno-pin = true");
    let error = resolve(&command, &file.words(&["--cores=1"])).map(|_| ());
    let error = error.expect_err("they exclude each other").to_string();
    let place = format!("{}:2: ", file.0.display());
    assert!(
        error.starts_with(&place) && error.contains("cannot be used with"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1);
    file.write("no-pin = false");
    resolve(&command, &file.words(&["--cores=1"]))
        .map(|_| ())
        .expect("it is off");
}

#[test]
fn a_list_of_words_that_ends_with_dashes_takes_the_file() {
    let file = TestFile::new("dashes", "spin = 3");
    let configuration = file.configuration(&["--"]);
    assert_eq!(configuration.arguments().server.spin_us, 3);
}

#[test]
fn it_can_go_to_the_thread_that_reads_it_again() {
    fn can_go(_: impl Send + Sync + 'static) {}
    can_go(Configuration::new(vec!["server".into()], None).expect("it is valid"));
}

proptest! {
    #[test]
    fn every_text_is_quoted(text in any::<String>()) {
        let toml = format!("key = {}  # comment", quoted(&text));
        prop_assert_eq!(toml.lines().count(), 1);
        let table = DeTable::parse(&toml).expect("it is TOML").into_inner();
        let value = table.into_iter().next().expect("a key").1.into_inner();
        prop_assert!(matches!(value, DeValue::String(parsed) if parsed == text));
    }
}
