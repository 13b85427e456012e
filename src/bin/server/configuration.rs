//! The configuration of the server: flags, environment, file and defaults.
//!
//! A value is that of the flag, or else of the environment variable, of the file, or the default. A
//! value of the file becomes a flag of the command line, so it has the parser and the bounds of the
//! flag.

mod error;
mod file;
mod printed;

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use bullhorn::config::{Given, check_bind};
use bullhorn::net::InheritedSockets;
use bullhorn::program::{self, SERVER};
use bullhorn::server::files::shown;
use clap::builder::OsStringValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};

use crate::arguments::Arguments;
use crate::output::print;

pub(crate) use error::Error;
use file::Entry;

/// The arguments of this process, and the origin of each value.
#[derive(Clone)]
pub(crate) struct Configuration {
    arguments: Arguments,
    /// In the order of the help.
    values: Vec<Value>,
    file: Option<PathBuf>,
    /// With the environment and the defaults that the process had at its start.
    command: Command,
    words: Vec<OsString>,
}

/// The value of a flag.
#[derive(Clone)]
struct Value {
    /// Long name of the flag.
    name: String,
    /// None for an option that is not set, and one or more for a list.
    texts: Vec<OsString>,
    origin: Origin,
}

/// The origin of a value.
#[derive(Clone, Copy)]
enum Origin {
    CommandLine,
    Environment,
    /// This line of the file.
    File(usize),
    /// It follows from this.
    Derived(&'static str),
    Default,
}

impl Configuration {
    /// Returns the configuration of this process, which goes with the sockets of its service manager.
    /// Ends it with exit code 2 if that is not valid, and after `--check-config` and `--print-config`.
    pub(crate) fn read(sockets: Option<&InheritedSockets>) -> Self {
        SERVER.generate::<Arguments>();
        let answered = Self::new(env::args_os().collect(), sockets).and_then(|configuration| {
            let answer = configuration.answer()?;
            Ok((configuration, answer))
        });
        match answered {
            Ok((configuration, None)) => configuration,
            Ok((_, Some(answer))) => {
                print(io::stdout, answer);
                process::exit(0);
            }
            Err(error) => error.exit(),
        }
    }

    /// Reads the file again, and checks everything. Returns the new configuration, which is the same
    /// without a file.
    ///
    /// The arguments, the environment and the defaults stay those of the start. The flags in
    /// [`READ_ONCE`] keep their values, although [`Configuration::changes_since`] names them.
    ///
    /// # Errors
    /// One line with the file, and mostly the line in it.
    pub(crate) fn read_again(&self) -> Result<Self, Error> {
        let Some(path) = &self.file else {
            return Ok(self.clone());
        };
        let command = self
            .command
            .clone()
            .mut_args(|arg| match arg.get_id().as_str() {
                "bind" => arg.value_parser(|text: &str| check_bind(text).map(|()| text.to_owned())),
                "user" => arg.value_parser(OsStringValueParser::new()),
                _ => arg,
            });
        let (mut matches, values) = resolve(&command, &self.words)?;
        for id in READ_ONCE {
            let _ = matches.try_clear_id(id);
        }
        let mut arguments = Arguments::from_arg_matches_mut(&mut matches)?;
        let old = &self.arguments;
        arguments.server.bind.clone_from(&old.server.bind);
        arguments.sandbox.user.clone_from(&old.sandbox.user);
        let mut new = Self {
            arguments,
            values,
            file: self.file.clone(),
            command: self.command.clone(),
            words: self.words.clone(),
        };
        new.check().map_err(|error| match error {
            // The command line was valid with the file as it was.
            Error::Flags(text) => Error::file(path, text),
            error => error,
        })?;
        // They may be as many as the service manager's sockets, or as the cores of a list.
        new.arguments.server.workers = old.server.workers;
        for (value, first) in new.values.iter_mut().zip(&self.values) {
            if matches!(
                (value.origin, first.origin),
                (Origin::Default, Origin::Derived(_))
            ) {
                value.clone_from(first);
            }
        }
        Ok(new)
    }

    /// Returns the names of the flags whose values have other texts than in `old`, in the order of the
    /// help.
    pub(crate) fn changes_since(&self, old: &Self) -> Vec<String> {
        let both = self.values.iter().zip(&old.values);
        let changed = both.filter(|(new, old)| new.texts != old.texts);
        changed.map(|(new, _)| new.name.clone()).collect()
    }

    /// Returns a line for the log.
    pub(crate) fn summary(&self, logs_texts: bool) -> String {
        let texts = if logs_texts { "are" } else { "are not" };
        match &self.file {
            Some(path) => format!("configuration: {}; texts {texts} logged", shown(path)),
            None => format!("configuration: no file; texts {texts} logged"),
        }
    }

    pub(crate) fn arguments(&self) -> &Arguments {
        &self.arguments
    }

    pub(crate) fn config_file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    fn new(words: Vec<OsString>, sockets: Option<&InheritedSockets>) -> Result<Self, Error> {
        let command = SERVER.command::<Arguments>();
        let (mut matches, values) = resolve(&command, &words)?;
        let arguments = Arguments::from_arg_matches_mut(&mut matches)?;
        let mut configuration = Self {
            file: arguments.config.clone(),
            arguments,
            values,
            command,
            words,
        };
        let given = Given {
            workers: configuration.is_given("workers"),
            bind: configuration.is_given("bind"),
        };
        let completed = configuration.arguments.server.complete(given, sockets);
        completed.map_err(|error| configuration.blame(error.to_string()))?;
        configuration.derive(sockets.is_some());
        configuration.check()?;
        let sandbox = configuration.arguments.sandbox.check();
        sandbox.map_err(|error| configuration.blame(error.to_string()))?;
        Ok(configuration)
    }

    /// Replaces the values of flags that are not given and follow from others.
    fn derive(&mut self, has_sockets: bool) {
        let server = &self.arguments.server;
        let from = match (has_sockets, &server.cores) {
            (true, _) => "the sockets of the service manager",
            (false, Some(_)) => "--cores",
            (false, None) => return,
        };
        let workers = vec![server.workers.to_string().into()];
        let bind = server.bind.iter().map(|bind| bind.to_string().into());
        let bind = has_sockets.then(|| bind.collect());
        for (name, texts) in [("workers", Some(workers)), ("bind", bind)] {
            let mut values = self.values.iter_mut();
            let value = values.find(|value| value.name == name);
            if let (Some(value), Some(texts)) = (value, texts)
                && matches!(value.origin, Origin::Default)
            {
                value.texts = texts;
                value.origin = Origin::Derived(from);
            }
        }
    }

    fn is_given(&self, name: &str) -> bool {
        let value = self.value(name);
        value.is_some_and(|value| !matches!(value.origin, Origin::Default))
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|value| value.name == name)
    }

    fn check(&self) -> Result<(), Error> {
        let checked = self.arguments.server.check();
        checked.map_err(|error| self.blame(error.to_string()))
    }

    /// Returns the error with the line of the first flag in `text` whose value is from the file.
    fn blame(&self, text: String) -> Error {
        let line = line_of_flag(&text, |flag| match self.value(flag)?.origin {
            Origin::File(line) => Some(line),
            _ => None,
        });
        match (&self.file, line) {
            (Some(path), Some(line)) => Error::line(path, line, text),
            _ => Error::Flags(text),
        }
    }

    /// Returns the answer to `--check-config` or `--print-config`.
    fn answer(&self) -> Result<Option<String>, Error> {
        let Arguments {
            check_config,
            print_config,
            ..
        } = self.arguments;
        if print_config {
            return printed::as_toml(self).map(Some);
        }
        let whole = match &self.file {
            Some(path) => format!("the configuration with {} is valid\n", shown(path)),
            None => "the configuration is valid, without a file\n".to_owned(),
        };
        Ok(check_config.then_some(whole))
    }
}

/// Returns the values from all sources.
fn resolve(command: &Command, words: &[OsString]) -> Result<(ArgMatches, Vec<Value>), Error> {
    let given = command.clone().try_get_matches_from(words);
    let given = given.map_err(|error| program::complete(error, command))?;
    let path = given.get_one::<PathBuf>("config");
    let entries = path.map(|path| file::read(path, command)).transpose()?;
    let entries = entries.unwrap_or_default();
    let is_open = |entry: &&Entry| {
        let source = given.value_source(&entry.id);
        !matches!(
            source,
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        )
    };
    let entries: Vec<_> = entries.iter().filter(is_open).collect();
    // In front, as the words may end with `--`.
    let (program, rest) = words.split_at(words.len().min(1));
    let from_file = entries.iter().flat_map(|entry| entry.words());
    let all = program.iter().cloned().chain(from_file);
    let all = all.chain(rest.iter().cloned());
    let matches = command.clone().try_get_matches_from(all);
    let matches = matches.map_err(|error| match path {
        Some(path) => conflict(&error, path, &entries),
        None => error.into(),
    })?;
    let values = in_help_order(command).into_iter().map(|arg| {
        let id = arg.get_id().as_str();
        let line = entries.iter().find(|entry| entry.id == id);
        let origin = match (line, given.value_source(id)) {
            (Some(entry), _) => Origin::File(entry.line),
            (None, Some(ValueSource::CommandLine)) => Origin::CommandLine,
            (None, Some(ValueSource::EnvVariable)) => Origin::Environment,
            (None, _) => Origin::Default,
        };
        let texts = match is_switch(arg) {
            true => vec![matches.get_flag(id).to_string().into()],
            false => matches
                .get_raw(id)
                .into_iter()
                .flatten()
                .map(Into::into)
                .collect(),
        };
        Value {
            name: name(arg).to_owned(),
            texts,
            origin,
        }
    });
    let values = values.collect();
    Ok((matches, values))
}

/// Returns the error for values of the file that do not go together, or not with the other flags.
fn conflict(error: &clap::Error, path: &Path, entries: &[&Entry]) -> Error {
    let text = error.to_string();
    let text = text.lines().next().unwrap_or_default();
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let line = line_of_flag(text, |flag| {
        let entry = entries.iter().find(|entry| entry.key == flag)?;
        Some(entry.line)
    });
    match line {
        Some(line) => Error::line(path, line, text),
        None => Error::file(path, text),
    }
}

/// Returns the line of the first flag in `text` that has one.
fn line_of_flag(text: &str, line: impl Fn(&str) -> Option<usize>) -> Option<usize> {
    let flags = text.split("--").skip(1);
    let end = |char: char| char != '-' && !char.is_alphanumeric();
    let mut flags = flags.filter_map(|flag| flag.split(end).next());
    flags.find_map(line)
}

/// Returns the flags that may stand in a file.
fn in_help_order(command: &Command) -> Vec<&Arg> {
    let mut flags: Vec<_> = command
        .get_arguments()
        .filter(|arg| may_be_key(name(arg)))
        .collect();
    let mut headings = vec![None];
    headings.extend(flags.iter().map(|arg| arg.get_help_heading()));
    flags.sort_by_key(|arg| headings.iter().position(|it| *it == arg.get_help_heading()));
    flags
}

fn may_be_key(name: &str) -> bool {
    !name.is_empty() && !COMMAND_LINE_ONLY.contains(&name)
}

/// Returns the long name of a flag.
fn name(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_default()
}

fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// The flags that do not describe a server, or that name the file.
const COMMAND_LINE_ONLY: [&str; 6] = [
    "check-config",
    "config",
    "generate",
    "help",
    "print-config",
    "version",
];

/// The flags whose parsers ask the system for interfaces and users, which the sandbox refuses. They
/// need a restart in any case.
const READ_ONCE: [&str; 2] = ["bind", "user"];

#[cfg(test)]
mod tests;
