//! The file of a configuration: TOML whose keys are the long names of flags.

use std::error::Error as _;
use std::ffi::OsString;
use std::path::Path;

use bullhorn::server::files;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command};
use toml::de::{DeTable, DeValue};

use super::{Error, in_help_order, is_list, is_switch, may_be_key, name};

/// A key of the file, and its value.
pub(super) struct Entry {
    /// The flag's id.
    pub(super) id: String,
    /// Number of the line, from 1.
    pub(super) line: usize,
    /// The flag's long name.
    pub(super) key: String,
    /// Several for a list.
    texts: Vec<String>,
    is_switch: bool,
}

impl Entry {
    /// Returns the words of a command line that has the value.
    pub(super) fn words(&self) -> Vec<OsString> {
        let Self { key, texts, .. } = self;
        let words = texts
            .iter()
            .filter_map(|text| match (self.is_switch, &**text) {
                (true, "true") => Some(format!("--{key}").into()),
                (true, _) => None,
                (false, text) => Some(format!("--{key}={text}").into()),
            });
        words.collect()
    }
}

/// Reads the file, and checks each key and value by itself, also those that a flag replaces.
///
/// # Errors
/// The first mistake, with its line.
pub(super) fn read(path: &Path, command: &Command) -> Result<Vec<Entry>, Error> {
    let text = text_of(path)?;
    let table = DeTable::parse(&text).map_err(|error| syntax_error(path, &text, &error))?;
    let mut pairs: Vec<_> = table.into_inner().into_iter().collect();
    pairs.sort_by_key(|(key, _)| key.span().start);
    let entries = pairs.into_iter().map(|(key, value)| {
        let line = line_at(&text, key.span().start);
        let entry = entry(key.get_ref(), value.get_ref(), line, command);
        entry.map_err(|text| {
            Error::line(
                path,
                line,
                format!("{}: {text}", key.get_ref().escape_debug()),
            )
        })
    });
    entries.collect()
}

/// Returns an error of the parser in one line, with the text that it is about.
fn syntax_error(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let message = error.message().replace(char::is_control, " ");
    let Some(span) = error.span() else {
        return Error::file(path, message);
    };
    let line = line_at(text, span.start);
    let part = text.get(span).and_then(|part| part.lines().next());
    match part.unwrap_or_default() {
        "" => Error::line(path, line, message),
        part => Error::line(path, line, format!("{message}: {}", part.escape_debug())),
    }
}

/// Returns the content of the file.
fn text_of(path: &Path) -> Result<String, Error> {
    let bytes = files::read(path, MAX_BYTES)
        .map_err(|error| Error::file(path, format!("cannot be read: {error}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let (valid_len, bytes) = (error.utf8_error().valid_up_to(), error.into_bytes());
        let valid = String::from_utf8_lossy(&bytes[..valid_len]);
        Error::line(path, line_at(&valid, valid_len), "must be UTF-8")
    })
}

/// Returns the number of the line that has the byte at `offset`.
fn line_at(text: &str, offset: usize) -> usize {
    let before = text.bytes().take(offset);
    before.filter(|byte| *byte == b'\n').count() + 1
}

/// Returns a valid entry.
///
/// # Errors
/// A sentence about the key.
fn entry(key: &str, value: &DeValue<'_>, line: usize, command: &Command) -> Result<Entry, String> {
    let mut flags = in_help_order(command).into_iter();
    let Some(arg) = flags.find(|arg| name(arg) == key) else {
        return Err(unknown(key, value, command));
    };
    let entry = Entry {
        id: arg.get_id().to_string(),
        line,
        key: key.to_owned(),
        texts: texts(arg, value)?,
        is_switch: is_switch(arg),
    };
    let words = [OsString::new()].into_iter().chain(entry.words());
    let parsed = command.clone().try_get_matches_from(words);
    parsed.map_err(|error| reason(&error))?;
    Ok(entry)
}

/// Returns the texts of a value, as they stand on a command line.
fn texts(arg: &Arg, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let texts = match value {
        DeValue::Boolean(value) if is_switch(arg) => Some(vec![value.to_string()]),
        _ if is_switch(arg) => None,
        DeValue::Array(values) if is_list(arg) => {
            let texts = values.iter().map(|value| scalar(value.get_ref()));
            texts.collect()
        }
        value => scalar(value).map(|text| vec![text]),
    };
    let texts = texts.ok_or_else(|| right_type(arg))?;
    let defaults = arg.get_default_values().iter();
    let defaults: Vec<_> = defaults.map(|value| value.to_string_lossy()).collect();
    match texts.is_empty() && !defaults.is_empty() {
        true => Err(format!(
            "must not be empty: leave it out for the default, {}",
            defaults.join(", ")
        )),
        false => Ok(texts),
    }
}

/// Returns the text of a string or number.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            // In decimal, unless it exceeds all bounds.
            let parsed = i128::from_str_radix(number.as_str(), number.radix());
            Some(parsed.map_or_else(|_| number.to_string(), |number| number.to_string()))
        }
        DeValue::Float(number) => Some(number.to_string()),
        _ => None,
    }
}

fn right_type(arg: &Arg) -> String {
    let words = arg.get_possible_values();
    let words: Vec<_> = words
        .iter()
        .map(|word| format!("{:?}", word.get_name()))
        .collect();
    match (is_switch(arg), is_list(arg), &words[..]) {
        (true, ..) => "must be true or false".into(),
        (_, true, _) => "must be a list of strings, such as [\"a\", \"b\"], or a string".into(),
        (.., []) => "must be a string or a number".into(),
        (.., words) => format!("must be one of {}", words.join(", ")),
    }
}

/// Returns the mistake in a key that is no flag.
fn unknown(key: &str, value: &DeValue<'_>, command: &Command) -> String {
    let is_flag = command.get_arguments().any(|arg| name(arg) == key);
    if is_flag || !(may_be_key(key) || key.is_empty()) {
        return "stands on the command line only, not in a file".into();
    }
    if let DeValue::Table(_) = value {
        return "must not be a table: the keys are the names of the flags in --help".into();
    }
    let words = ["", &format!("--{key}=")];
    let suggested = command.clone().try_get_matches_from(words).err();
    let suggested = suggested.and_then(|error| match error.get(ContextKind::SuggestedArg) {
        Some(ContextValue::String(flag)) => flag.strip_prefix("--").map(str::to_owned),
        _ => None,
    });
    match suggested.filter(|name| may_be_key(name)) {
        Some(name) => format!("unknown key: did you mean {name}?"),
        None => "unknown key: the keys are the names of the flags in --help".into(),
    }
}

/// Returns the reason why a flag's parser refuses a text.
fn reason(error: &clap::Error) -> String {
    if let Some(source) = error.source() {
        return source.to_string();
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(valid)) if !valid.is_empty() => {
            let valid: Vec<_> = valid.iter().map(|word| format!("{word:?}")).collect();
            format!("must be one of {}", valid.join(", "))
        }
        _ if error.get(ContextKind::InvalidValue).is_some() => "must not be empty".into(),
        _ => error.kind().to_string(),
    }
}

/// Maximum size of the file. It has space for every flag and 3,000 networks.
const MAX_BYTES: u64 = 64 << 10;
