//! The keys that docs/LOADGEN.md has, and those that are printed: they are the same.
//!
//! A key is written as its path: `counts.due`, `slos.measured.of`. Those of lists are the
//! keys of all entries, and those of any latency are `latencies.NAME.p50_us`.

use std::collections::BTreeSet;

use serde_json::Value;

/// All keys in any of `values`.
pub(crate) fn printed<'a>(values: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for value in values {
        collect(value, "", &mut keys);
    }
    keys
}

/// All keys in the tables below `heading`, up to the next one.
///
/// A table of keys has `key` at its head. The paragraph above it begins with the names of
/// the objects, in backticks, whose keys they are; or with other words if they are those
/// of the whole. A key that is there `as in [summary.json]`, or as `another` there, has
/// the keys of that one, too.
pub(crate) fn documented(heading: &str) -> BTreeSet<String> {
    let section = section(heading);
    let mut keys = BTreeSet::new();
    let mut paragraphs = section.split("\n\n").peekable();
    while let Some(intro) = paragraphs.next() {
        let Some(table) = paragraphs.next_if(|next| next.starts_with("| key |")) else {
            continue;
        };
        let objects = words_at_the_beginning(intro);
        for row in table.lines().skip(2) {
            let (names, meaning) = row[1..].split_once('|').unwrap();
            for name in words_at_the_beginning(names.trim()) {
                let whole = [""];
                let objects = if objects.is_empty() {
                    &whole[..]
                } else {
                    &objects
                };
                for object in objects {
                    let path = join(object, name);
                    keys.extend(borrowed(&path, name, meaning));
                    keys.insert(path);
                }
            }
        }
    }
    keys
}

/// The text below `heading`, up to the next one.
fn section(heading: &str) -> &'static str {
    let document = include_str!("../../../docs/LOADGEN.md");
    let begins = document.find(&format!("\n{heading}\n"));
    let section = &document[begins.expect(heading) + 1..];
    &section[..section.find("\n#").unwrap_or(section.len())]
}

/// Fails unless all that is printed is documented, and all that is documented printed.
#[track_caller]
pub(crate) fn assert_same(printed: &BTreeSet<String>, documented: &BTreeSet<String>) {
    let undocumented: Vec<_> = printed.difference(documented).collect();
    let never_printed: Vec<_> = documented.difference(printed).collect();
    assert!(
        undocumented.is_empty() && never_printed.is_empty(),
        "not in docs/LOADGEN.md: {undocumented:?}; there and never printed: {never_printed:?}"
    );
}

/// Fails unless the table of `object` in summary.json has the sentence of each key.
#[track_caller]
pub(crate) fn assert_meanings(object: &str, meanings: &[(&str, &str)]) {
    let section = section("### summary.json");
    let table = section.split("\n\n").skip_while(|intro| {
        let objects = words_at_the_beginning(intro);
        !objects.contains(&object)
    });
    let table = table.skip(1).find(|text| text.starts_with("| key |"));
    let table = table.unwrap_or_else(|| panic!("no table of {object}"));
    for (key, meaning) in meanings {
        let row = format!("| `{key}` | {meaning} |");
        assert!(table.lines().any(|line| line == row), "{object}: {row}");
    }
}

fn collect(value: &Value, path: &str, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let within = join(path, key);
                let is_any = path == "latencies";
                let any = join(path, "NAME");
                collect(value, if is_any { &any } else { &within }, keys);
                keys.insert(within);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, path, keys)),
        _ => {}
    }
}

/// The keys that `path` has if its `meaning` is that of a key of summary.json.
fn borrowed(path: &str, name: &str, meaning: &str) -> Vec<String> {
    let Some((words, _)) = meaning.split_once(" in [summary.json](#summaryjson)") else {
        return Vec::new();
    };
    let last = words.rsplit(' ').next().unwrap();
    let lent = match last {
        "as" => name,
        _ => last.trim_matches('`'),
    };
    let within = format!("{lent}.");
    let all = documented("### summary.json");
    assert!(all.contains(lent), "summary.json has no {lent}");
    all.iter()
        .filter_map(|key| key.strip_prefix(&within))
        .map(|key| join(path, key))
        .collect()
}

/// Of "`a`, `b`: and more", `a` and `b`.
fn words_at_the_beginning(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some((word, behind)) = rest
        .strip_prefix('`')
        .and_then(|begun| begun.split_once('`'))
    {
        words.push(word);
        rest = behind.strip_prefix(", ").unwrap_or_default();
    }
    words
}

fn join(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        _ => format!("{path}.{key}"),
    }
}
