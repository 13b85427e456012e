//! Rules that rustc and clippy do not check: the layers of the library, the place of
//! `unsafe`, the length of files, and the wording of comments.
//!
//! A second test runs each rule on examples, so a rule that never fires is noticed.

use std::fs;
use std::path::Path;

/// The files and folders, and the rules that they follow.
const COVERED: [(&str, &[Rule]); 11] = [
    ("benches", BASIC),
    ("examples", BASIC),
    ("loadgen", BASIC),
    ("src/bin/client", BASIC),
    ("src/bin/server.rs", BASIC),
    ("src/client", BASIC),
    ("src/lib.rs", ALL),
    ("src/net", BASIC),
    ("src/server", BASIC),
    ("src/wire", BASIC),
    ("tests", ALL),
];
const BASIC: &[Rule] = &[keep_unsafe_in_net, number_todos, use_lower_layers];
const ALL: &[Rule] = &[
    avoid_path_attributes,
    keep_files_short,
    keep_unsafe_in_net,
    number_todos,
    open_docs_plainly,
    use_lower_layers,
];

/// The exceptions: the file, a part of the message, and the reason.
#[rustfmt::skip]
const EXCEPTIONS: [(&str, &str, &str); 2] = [
    ("src/server/ingress/mod.rs", "server::worker", "the worker declares the trait `Service`"),
    ("src/server/ops/console.rs", "server::ServerHandle", "the console stops the server"),
];

/// The layers of the library, lowest first. A module uses its own layer and lower ones;
/// `client` uses `wire` and `net` only.
const LAYERS: [&str; 13] = [
    "wire",
    "net",
    "server::clock",
    "server::ops::log server::ops::stats server::ops::supervise",
    "server::registry",
    "server::history",
    "server::egress",
    "server::ingress",
    "server::edge",
    "server::worker",
    "server::ops::admin server::ops::console server::ops::signals",
    "server",
    "client",
];
const UNSAFE_FOLDERS: [&str; 3] = ["benches/harness/bare/", "loadgen/src/net/", "src/net/"];
const MAX_LINES: usize = 500;
const BAD_OPENINGS: &str = "False: How Of True: What Where Whether Which Who Whoever Whose Why";

/// Returns the mistake in the line with this index, and the remedy.
type Rule = fn(&File<'_>, usize) -> Option<String>;

struct File<'a> {
    path: &'a str,
    lines: Vec<&'a str>,
}

#[test]
fn files_are_tidy() {
    let mut report = String::new();
    for (folder, rules) in COVERED {
        for path in rust_files(folder) {
            let text = fs::read_to_string(root().join(&path)).expect(&path);
            let found = rules.iter().flat_map(|rule| mistakes(&path, &text, *rule));
            for (line, mistake) in found {
                let is_meant = |(file, part, _)| path == file && mistake.contains(part);
                if !EXCEPTIONS.into_iter().any(is_meant) {
                    report += &format!("{path}:{line}: {mistake}\n");
                }
            }
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

/// In the examples, `//~` marks a line with a mistake.
#[test]
fn each_rule_finds_its_mistakes_and_nothing_else() {
    let long = "\n".repeat(MAX_LINES) + "//~\n\n";
    #[rustfmt::skip]
    let examples: [(Rule, &str, &str); 9] = [
        (avoid_path_attributes, "src/lib.rs", "// #[path]\n    #[path = \"a.rs\"] //~"),
        (keep_files_short, "src/lib.rs", &long),
        (keep_unsafe_in_net, "src/lib.rs", "// unsafe\n#![deny(unsafe_code)]\nunsafe { f() } //~"),
        (keep_unsafe_in_net, "src/net/send.rs", "unsafe { f() }"),
        (number_todos, "src/lib.rs", "// TODO(#12)\n// TODO //~\n/// FIXME(me) //~"),
        (open_docs_plainly, "src/lib.rs", "/// What it is. //~\n/// Why it is.\n\n/// A name.\n/// How so."),
        (use_lower_layers, "src/server/registry/room.rs", ROOM),
        (use_lower_layers, "src/server/registry/tests.rs", "use crate::server;"),
        (use_lower_layers, "src/client/v1.rs", "use crate::{net, wire};\nuse crate::server::clock; //~"),
    ];
    for (rule, path, text) in examples {
        let found = mistakes(path, text, rule).into_iter().map(|(line, _)| line);
        let lines = (1..).zip(text.lines());
        let marked = lines.filter(|(_, line)| line.contains("//~"));
        assert!(found.eq(marked.map(|(line, _)| line)), "{path}:\n{text}");
    }
}

const ROOM: &str = "use crate::server::{clock::Clock, ops::{log, stats::Stats}};
use crate::server::egress::Plan; //~
use crate::server::{ //~
    ops::{log, console},
};
use super::Peer;
use super::super::{worker}; //~
use crate::ServerConfig; //~
/// See crate::server.
fn f() -> crate::net::Packet { crate::client::f() } //~
mod tests {
    use crate::server;
}
use crate::server; //~";

/// Returns the mistakes in a file, with the numbers of their lines.
fn mistakes(path: &str, text: &str, rule: Rule) -> Vec<(usize, String)> {
    let lines = text.lines().collect();
    let file = File { path, lines };
    let mistake = |index| Some((index + 1, rule(&file, index)?));
    (0..file.lines.len()).filter_map(mistake).collect()
}

/// Returns the Rust files at or below `path`, which must exist, without this one.
fn rust_files(path: &str) -> Vec<String> {
    if root().join(path).is_file() {
        let is_checked = path.ends_with(".rs") && path != file!();
        return Vec::from_iter(is_checked.then(|| path.to_owned()));
    }
    let entries = fs::read_dir(root().join(path)).expect(path);
    let names = entries.map(|entry| entry.expect(path).file_name());
    let paths = names.map(|name| format!("{path}/{}", name.display()));
    paths.flat_map(|path| rust_files(&path)).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Checks imports and inline paths. Tests may use anything.
fn use_lower_layers(file: &File<'_>, index: usize) -> Option<String> {
    let module = file.path.trim_start_matches("src/").trim_end_matches(".rs");
    let module = module.trim_end_matches("/mod").replace('/', "::");
    let layer = layer_of(&module)?;
    let mut before = file.lines[..index].iter();
    let edge = before.rfind(|line| ["mod tests {", "}"].contains(line));
    if module.contains("tests") || edge == Some(&"mod tests {") {
        return None;
    }
    let wrong = used_paths(file, index, &module).into_iter().find(|path| {
        let used = layer_of(path).unwrap_or(LAYERS.len());
        used > layer || LAYERS[layer] == "client" && (2..layer).contains(&used)
    })?;
    let mistake = format!("`{module}` uses `{wrong}`: use lower layers, see LAYERS");
    Some(mistake)
}

fn layer_of(path: &str) -> Option<usize> {
    let contains = |module| format!("{path}::").starts_with(&format!("{module}::"));
    // The layer `server` comes after those that are parts of it.
    let mut layers = LAYERS.iter();
    layers.position(|layer| layer.split(' ').any(contains))
}

/// Returns the paths from the root that begin in a line of `module`, with groups such as
/// `crate::wire::{Name, v2::{self, Pong}}` taken apart.
fn used_paths(file: &File<'_>, index: usize, module: &str) -> Vec<String> {
    let parts: Vec<&str> = module.split("::").collect();
    let above = |levels: usize| match parts.len() {
        // At the first level, `super` leads out of an inline module.
        1 => module.to_owned(),
        len => parts[..len - levels.min(len)].join("::"),
    };
    let line = code(file.lines[index])
        .replace("super::super::", &format!("crate::{}::", above(2)))
        .replace("super::", &format!("crate::{}::", above(1)))
        .replace("crate::::", "crate::");
    let mut paths = Vec::new();
    for tree in line.split("crate::").skip(1) {
        let (mut path, mut prefixes) = (String::new(), Vec::new());
        let next_lines = file.lines[index + 1..].iter().copied().map(code);
        for char in tree.chars().chain(next_lines.flat_map(str::chars)) {
            match char {
                '{' => prefixes.push(path.clone()),
                ',' | '}' if !prefixes.is_empty() => {
                    paths.push(path);
                    path = prefixes[prefixes.len() - 1].clone();
                    prefixes.truncate(prefixes.len() - usize::from(char == '}'));
                }
                ' ' if !prefixes.is_empty() => {}
                ':' | '_' | '*' | '0'..='9' | 'A'..='Z' | 'a'..='z' => path.push(char),
                _ => break,
            }
        }
        paths.push(path);
    }
    paths.retain(|path| !path.is_empty() && !path.ends_with("::"));
    paths
}

fn keep_unsafe_in_net(file: &File<'_>, index: usize) -> Option<String> {
    let is_allowed = UNSAFE_FOLDERS.map(|folder| file.path.starts_with(folder));
    let mut words = code(file.lines[index]).split(|c: char| c != '_' && !c.is_alphanumeric());
    let is_wrong = !is_allowed.contains(&true) && words.any(|word| word == "unsafe");
    is_wrong.then(|| "`unsafe`: move it to `src/net`".to_owned())
}

fn keep_files_short(_: &File<'_>, index: usize) -> Option<String> {
    let is_wrong = index == MAX_LINES;
    is_wrong.then(|| format!("more than {MAX_LINES} lines: split the file"))
}

fn avoid_path_attributes(file: &File<'_>, index: usize) -> Option<String> {
    let is_wrong = file.lines[index].trim_start().starts_with("#[path");
    is_wrong.then(|| "`#[path]`: put the module in the folder of its parent".to_owned())
}

fn open_docs_plainly(file: &File<'_>, index: usize) -> Option<String> {
    let is_doc = |line: &&str| line.starts_with("///") || line.starts_with("//!");
    let before = file.lines[index.saturating_sub(1)].trim_start();
    let line = file.lines[index].trim_start();
    let word = line.split([' ', ',']).nth(1)?;
    let is_bad = BAD_OPENINGS.split(' ').any(|bad| bad == word);
    let is_first = index == 0 || !is_doc(&before);
    let is_wrong = is_doc(&line) && is_first && is_bad;
    is_wrong.then(|| format!("`{line}`: begin with a noun or a verb"))
}

fn number_todos(file: &File<'_>, index: usize) -> Option<String> {
    let comment = &file.lines[index][code(file.lines[index]).len()..];
    let numbered = comment.replace("TODO(#", "").replace("FIXME(#", "");
    let is_wrong = numbered.contains("TODO") || numbered.contains("FIXME");
    is_wrong.then(|| "no number of an issue: write `TODO(#12)`".to_owned())
}

/// Returns a line without its comment.
fn code(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}
