//! Rules that rustc and clippy do not check: the layers of the library, the place of
//! `unsafe`, the length of files, and the wording of comments.

use std::fs;
use std::path::Path;

/// The folders that follow every rule. The others follow only those of [`EVERYWHERE`].
const COVERED: [&str; 10] = [
    "src/bin/client",
    "src/bin/server",
    "src/client",
    "src/lib.rs",
    "src/net",
    "src/program",
    "src/server",
    "src/sync",
    "src/wire",
    "tests",
];
const EVERYWHERE: [Rule; 3] = [lower_layers, unsafe_in_net, numbered_todos];
const COVERED_ONLY: [Rule; 3] = [short_files, no_path_attributes, plain_docs];

/// The layers of the library, lowest first. A module uses its own layer and lower ones.
/// `client` uses the first [`LAYERS_OF_CLIENT`] only.
const LAYERS: [&[&str]; 13] = [
    &["VERSION", "sync", "wire"],
    &["net"],
    &[
        "server::clock",
        "server::files",
        "server::keys",
        "server::rate",
    ],
    &[
        "server::ops::histogram",
        "server::ops::log",
        "server::ops::stats",
        "server::ops::supervise",
        "server::ops::turns",
        "server::ops::watchdog",
    ],
    &["server::registry"],
    &["server::history"],
    &["server::egress"],
    &["server::ingress"],
    &["server::edge"],
    &["server::worker"],
    &["server::moderation"],
    &["server::ops"],
    &["server"],
];
const LAYERS_OF_CLIENT: usize = 2;
const UNSAFE_FOLDERS: [&str; 3] = ["benches/harness/bare/", "loadgen/src/net/", "src/net/"];
const MAX_LINES: usize = 500;
const BAD_OPENINGS: [&str; 13] = [
    "What", "Whether", "How", "Who", "Whose", "Whoever", "Which", "Where", "Why", "Of", "True:",
    "False:", "None:",
];

/// Returns the mistake in a line of a file, and the remedy. The arguments are the file's path,
/// its lines, and the index of the line.
type Rule = fn(&str, &[&str], usize) -> Option<String>;

#[test]
fn files_are_tidy() {
    let mut report = String::new();
    for path in rust_files(".") {
        let text = fs::read_to_string(root().join(&path)).expect(&path);
        report += &check(&path, &text);
    }
    assert!(report.is_empty(), "\n{report}");
}

#[test]
fn every_rule_finds_its_mistakes() {
    for (path, text, mistakes) in [
        (
            "src/net/a.rs",
            "unsafe { f() }\n/// A name.\n/// What it is.",
            0,
        ),
        ("src/server/a.rs", "unsafe { f() }", 1),
        (
            "src/server/a.rs",
            "/// What it is.\n//! Of a kind.\n    /// True: it is.",
            3,
        ),
        (
            "src/server/a.rs",
            "#[path = \"b.rs\"]\n// TODO later\n// TODO(#1)",
            2,
        ),
        ("loadgen/src/a.rs", "#[path = \"b.rs\"]\n/// What it is.", 0),
        ("src/server/a.rs", &"\n".repeat(MAX_LINES + 1), 1),
        (
            "src/server/registry/a.rs",
            "use super::Room;\nuse crate::wire::Name;",
            0,
        ),
        (
            "src/server/registry/a.rs",
            "use crate::server::egress::Plan;\ncrate::client::f()",
            2,
        ),
        (
            "src/server/worker.rs",
            "use super::config::X;\nuse crate::server::clock::Clock;",
            1,
        ),
        (
            "src/server/registry/a.rs",
            "use crate::server::{egress, worker};",
            1,
        ),
        (
            "src/client/a.rs",
            "use crate::{net, wire};\nuse crate::server::clock;",
            1,
        ),
        (
            "src/wire/a.rs",
            "#[cfg(test)]\nmod tests {\nuse crate::server;\n}",
            0,
        ),
    ] {
        let report = check(path, text);
        assert_eq!(report.lines().count(), mistakes, "{path}: {text}\n{report}");
    }
}

fn check(path: &str, text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let is_covered = COVERED.iter().any(|folder| path.starts_with(folder));
    let rules = EVERYWHERE
        .iter()
        .chain(COVERED_ONLY.iter().filter(|_| is_covered));
    let mut report = String::new();
    for rule in rules {
        for index in 0..lines.len() {
            if let Some(mistake) = rule(path, &lines, index) {
                report += &format!("{path}:{}: {mistake}\n", index + 1);
            }
        }
    }
    report
}

fn lower_layers(path: &str, lines: &[&str], index: usize) -> Option<String> {
    let module = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let module = module.trim_end_matches("/mod").replace('/', "::");
    let is_test = module.contains("tests") || lines[..index].contains(&"#[cfg(test)]");
    if is_test || module == "lib" || module.starts_with("bin") {
        return None;
    }
    let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
    let line = code(lines[index]).replace("use super::", &format!("use crate::{parent}::"));
    let used = line.split("crate::").skip(1).flat_map(|rest| {
        let end = rest.find(|char: char| char != ':' && char != '_' && !char.is_alphanumeric());
        let (prefix, rest) = rest.split_at(end.unwrap_or(rest.len()));
        let group = rest.strip_prefix('{').unwrap_or_default();
        group
            .split([',', '}'])
            .map(move |item| format!("{prefix}{}", item.trim()))
    });
    let is_allowed = |used: &String| match (layer(&module), layer(used)) {
        (Some(own), Some(used)) => used <= own,
        (None, Some(used)) => used < LAYERS_OF_CLIENT,
        (own, None) => own.is_none(),
    };
    let wrong = used.into_iter().find(|used| !is_allowed(used))?;
    Some(format!(
        "`{module}` uses `{wrong}`, which is not in a lower layer"
    ))
}

/// Returns the layer of a module, or `None` for the client.
fn layer(module: &str) -> Option<usize> {
    let is_part = |folder: &&str| module == *folder || module.starts_with(&format!("{folder}::"));
    LAYERS
        .iter()
        .position(|folders| folders.iter().any(is_part))
}

fn unsafe_in_net(path: &str, lines: &[&str], index: usize) -> Option<String> {
    let is_allowed = UNSAFE_FOLDERS.iter().any(|folder| path.starts_with(folder));
    let mut words = code(lines[index]).split(|char: char| char != '_' && !char.is_alphanumeric());
    let is_wrong = !is_allowed && words.any(|word| word == "unsafe");
    is_wrong.then(|| "`unsafe` belongs in `src/net`".to_owned())
}

fn numbered_todos(_: &str, lines: &[&str], index: usize) -> Option<String> {
    let comment = lines[index][code(lines[index]).len()..].replace("TODO(#", "");
    comment
        .contains("TODO")
        .then(|| "no issue: write `TODO(#12)`".to_owned())
}

fn short_files(_: &str, _: &[&str], index: usize) -> Option<String> {
    (index == MAX_LINES).then(|| format!("more than {MAX_LINES} lines: split the file"))
}

fn no_path_attributes(_: &str, lines: &[&str], index: usize) -> Option<String> {
    let is_wrong = lines[index].trim_start().starts_with("#[path");
    is_wrong.then(|| "`#[path]`: put the file into the folder of its parent".to_owned())
}

fn plain_docs(_: &str, lines: &[&str], index: usize) -> Option<String> {
    let marker = |line: &str| line.trim_start().get(..3).map(str::to_owned);
    let is_doc = ["///", "//!"].contains(&marker(lines[index])?.as_str());
    let is_first = index == 0 || marker(lines[index - 1]) != marker(lines[index]);
    let line = lines[index].trim_start();
    let opening = line.split([' ', ',']).nth(1)?;
    let is_wrong = is_doc && is_first && BAD_OPENINGS.contains(&opening);
    is_wrong.then(|| format!("`{line}`: begin with a noun or a verb"))
}

/// Returns a line without its comment.
fn code(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

/// Returns the Rust files below `folder`, without this one.
fn rust_files(folder: &str) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root().join(folder)).expect(folder) {
        let entry = entry.expect(folder);
        let path = format!("{folder}/{}", entry.file_name().display());
        let path = path.trim_start_matches("./").to_owned();
        let is_source = entry.file_name() != "target" && !path.starts_with('.');
        if entry.path().is_dir() && is_source {
            files.extend(rust_files(&path));
        } else if path.ends_with(".rs") && path != file!() {
            files.push(path);
        }
    }
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
