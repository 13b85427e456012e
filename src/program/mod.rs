//! The names, the version, the pages and the completions of the programs.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory, Parser, ValueEnum, value_parser};
use clap_complete::Shell;

mod man;

/// A program: its command line under its names.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Name in the source, and in its own examples.
    word: &'static str,
    /// Name of an installed program.
    name: &'static str,
    /// Names of the pages that a reader may want next.
    see_also: &'static str,
}

/// The chat and fan-out server.
pub const SERVER: Program = Program {
    word: "server",
    name: "bullhorn-server",
    see_also: "bullhorn-client(1), bullhorn-loadgen(1)",
};
/// The chat client.
pub const CLIENT: Program = Program {
    word: "client",
    name: "bullhorn-client",
    see_also: "bullhorn-server(1), bullhorn-loadgen(1)",
};
/// The load generator.
pub const LOADGEN: Program = Program {
    word: "loadgen",
    name: "bullhorn-loadgen",
    see_also: "bullhorn-server(1), bullhorn-client(1)",
};

/// A value of the flag `--generate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Manual page
    Man,
    /// Completions for bash
    Bash,
    /// Completions for zsh
    Zsh,
    /// Completions for fish
    Fish,
}

impl Program {
    /// Returns the arguments of this process. Ends it if they are not valid, and after `--help`,
    /// `--version` and `--generate`.
    pub fn parse<P: Parser>(&self) -> P {
        self.generate::<P>();
        let command = self.command::<P>();
        let matches = command.clone().try_get_matches();
        let mut matches = matches.unwrap_or_else(|error| complete(error, &command).exit());
        P::from_arg_matches_mut(&mut matches).unwrap_or_else(|error| error.exit())
    }

    /// Returns the command line under the name that the program was called by.
    pub fn command<P: CommandFactory>(&self) -> Command {
        self.under(P::command(), &self.called())
    }

    /// Ends this process with exit code 2, as arguments do not go together.
    pub fn refuse<P: CommandFactory>(&self, sentence: impl Display) -> ! {
        let mut command = self.command::<P>();
        command.error(ErrorKind::ArgumentConflict, sentence).exit()
    }

    /// Returns the name that the program was called by.
    pub fn called(&self) -> String {
        let path = env::args_os().next();
        let name = path.as_deref().map(Path::new).and_then(Path::file_name);
        let name = name.and_then(OsStr::to_str).unwrap_or(self.word);
        name.to_owned()
    }

    /// Prints a page or completions and ends this process, if the first argument is `--generate`.
    ///
    /// The flag is for those who make packages. It is in no help, and stands alone.
    pub fn generate<P: CommandFactory>(&self) {
        let first = env::args_os().nth(1);
        let first = first.as_deref().and_then(OsStr::to_str).unwrap_or_default();
        if first != "--generate" && !first.starts_with("--generate=") {
            return;
        }
        let kind = Arg::new("kind").long("generate").required(true);
        let kind = kind.value_name("KIND").value_parser(value_parser!(Kind));
        let matches = Command::new(self.name).arg(kind).get_matches();
        let Some(kind) = matches.get_one::<Kind>("kind") else {
            return;
        };
        let text = self.generated(*kind, P::command());
        // A reader that has gone needs nothing more.
        let is_written = io::stdout().write_all(&text).is_ok();
        process::exit(i32::from(!is_written));
    }

    fn generated(&self, kind: Kind, command: Command) -> Vec<u8> {
        let mut command = self.under(command, self.name);
        let shell = match kind {
            Kind::Man => return man::page(self, command),
            Kind::Bash => Shell::Bash,
            Kind::Zsh => Shell::Zsh,
            Kind::Fish => Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command, self.name, &mut script);
        match kind {
            Kind::Bash => self.with_subcommands(&script),
            _ => script,
        }
    }

    /// Returns a script for bash that completes the subcommands of a program with a hyphen in its name.
    /// clap_complete gives their labels another name than it looks up.
    fn with_subcommands(&self, script: &[u8]) -> Vec<u8> {
        let script = String::from_utf8_lossy(script);
        let label = self.name.replace('-', "__subcmd__");
        script
            .replace(&label, &self.name.replace('-', "__"))
            .into_bytes()
    }

    /// Returns the command line under `name`, which its examples have then, too.
    fn under(&self, command: Command, name: &str) -> Command {
        self.renamed(command, name)
            .name(self.name)
            .display_name(self.name)
            .bin_name(name)
            .version(crate::VERSION)
    }

    fn renamed(&self, mut command: Command, name: &str) -> Command {
        let new = |text: &StyledStr| StyledStr::from(self.in_text(&text.to_string(), name));
        if let Some(text) = command.get_long_about().map(new) {
            command = command.long_about(text);
        }
        if let Some(text) = command.get_after_help().map(new) {
            command = command.after_help(text);
        }
        if let Some(text) = command.get_after_long_help().map(new) {
            command = command.after_long_help(text);
        }
        command = command.mut_args(|mut arg| {
            if let Some(text) = arg.get_help().map(new) {
                arg = arg.help(text);
            }
            if let Some(text) = arg.get_long_help().map(new) {
                arg = arg.long_help(text);
            }
            arg
        });
        command.mut_subcommands(|command| self.renamed(command, name))
    }

    /// Returns the text with `name` in its commands: at the start of an example, after a backquote
    /// and after a pipe.
    fn in_text(&self, text: &str, name: &str) -> String {
        let word = self.word;
        text.replace(&format!("  {word} "), &format!("  {name} "))
            .replace(&format!("`{word} "), &format!("`{name} "))
            .replace(&format!("| {word}"), &format!("| {name}"))
    }
}

/// Completes an error about a value. Names the environment variable that it is from, and hides a value that
/// may have a password.
pub fn complete(mut error: clap::Error, command: &Command) -> clap::Error {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    // Such as `--timeout <DURATION>`.
    let flag = shown.split_whitespace().next().unwrap_or_default();
    let is_flag = |word: OsString| word.to_str().is_some_and(|word| word.starts_with(flag));
    let name = flag.trim_start_matches("--");
    let arg = command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(name));
    let Some(arg) = arg else {
        return error;
    };
    if let Some(variable) = arg.get_env()
        && env::var_os(variable).is_some()
        && !env::args_os().any(is_flag)
    {
        let tip = format!("the value is that of {}", variable.display());
        let tip = ContextValue::StyledStrs(vec![tip.into()]);
        error.insert(ContextKind::Suggested, tip);
    }
    // The help does not show it either.
    if arg.is_hide_env_values_set() && error.get(ContextKind::InvalidValue).is_some() {
        let hidden = ContextValue::String("***".into());
        error.insert(ContextKind::InvalidValue, hidden);
    }
    error
}

#[cfg(test)]
mod tests;
