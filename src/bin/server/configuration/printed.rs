//! A configuration as the file that gives it.

use std::ffi::OsString;
use std::fmt::Write;

use bullhorn::server::files::shown;
use clap::Arg;

use super::{Configuration, Error, Origin, Value, in_help_order, is_list, is_switch, name};

/// Returns a line per flag, with the origin of its value as a comment. An option that is not set is
/// a comment.
///
/// # Errors
/// A path that is not UTF-8 cannot stand in a file.
pub(super) fn as_toml(configuration: &Configuration) -> Result<String, Error> {
    let mut toml = String::new();
    let flags = in_help_order(&configuration.command);
    for (arg, value) in flags.into_iter().zip(&configuration.values) {
        let name = name(arg);
        let line = match value_of(arg, &value.texts) {
            Ok(Some(text)) => format!("{name} = {text}  # {}", origin(configuration, arg, value)),
            Ok(None) => format!("# {name} = {}", placeholder(arg)),
            Err(text) => {
                let text = format!("--{name} {text:?} is not UTF-8, and cannot stand in a file");
                return Err(Error::Flags(text));
            }
        };
        let _ = writeln!(toml, "{line}");
    }
    Ok(toml)
}

fn origin(configuration: &Configuration, arg: &Arg, value: &Value) -> String {
    match (value.origin, &configuration.file) {
        (Origin::File(line), Some(path)) => format!("{}:{line}", shown(path)),
        (Origin::Environment, _) => {
            let variable = arg.get_env().unwrap_or_default();
            variable.display().to_string()
        }
        (Origin::CommandLine, _) => "command line".into(),
        (Origin::Derived(from), _) => format!("from {from}"),
        (Origin::Default | Origin::File(_), _) => "default".into(),
    }
}

/// Returns a value, or `None` if it is not set. A text that is not UTF-8 is an error.
fn value_of<'a>(arg: &Arg, texts: &'a [OsString]) -> Result<Option<String>, &'a OsString> {
    let texts = texts.iter().map(|text| text.to_str().ok_or(text));
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    Ok(match &texts[..] {
        [] => None,
        [text] if is_switch(arg) => Some((*text).to_owned()),
        texts if is_list(arg) => {
            let texts: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
            Some(format!("[{}]", texts.join(", ")))
        }
        [text, ..] => Some(match text.parse::<i64>() {
            Ok(number) if number.to_string() == *text => (*text).to_owned(),
            _ => quoted(text),
        }),
    })
}

/// Returns a value that shows the type of a flag without one.
fn placeholder(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    match (is_list(arg), names.first()) {
        (true, _) => "[]".into(),
        (false, name) => quoted(name.map_or("", |name| name.as_str())),
    }
}

/// Returns a string of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            char if char.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(char));
            }
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}
