use std::fs;

use super::*;
use crate::testing::documented::{assert_same, documented, printed};
use crate::testing::sample_run::{config, config_of_nodes};
use crate::testing::sample_search::{find_max, found};
use crate::testing::scratch::Scratch;
use crate::testing::search_that_missed_everything;

fn finish(output: SearchOutput) -> FindMaxSummary {
    let command = ["loadgen", "find-max", "--slo", "p99<5ms,loss<0.1%"].map(str::to_owned);
    output
        .finish(&command, &find_max(config()), &found())
        .unwrap()
}

fn names(scratch: &Scratch) -> Vec<String> {
    let entries = fs::read_dir(scratch.dir()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn a_search_leaves_its_files_and_nothing_else() {
    let scratch = Scratch::new();
    let output = SearchOutput::create(scratch.dir(), false).unwrap();
    assert!(names(&scratch).is_empty());
    let summary = finish(output);
    assert_eq!(names(&scratch), [FIND_MAX_PAGE, FIND_MAX]);
    let text = fs::read_to_string(scratch.path(FIND_MAX)).unwrap();
    let read: FindMaxSummary = serde_json::from_str(&text).unwrap();
    assert_eq!(
        serde_json::to_value(&read).unwrap(),
        serde_json::to_value(&summary).unwrap()
    );
    assert!(text.ends_with("}\n"));
    let value = serde_json::to_value(&summary).unwrap();
    assert_eq!(value["schema"], "bullhorn-loadgen-find-max/1");
    assert_eq!(
        value["command"],
        "loadgen find-max --slo 'p99<5ms,loss<0.1%'"
    );
    assert_eq!(value["slo"], "p99<5ms,loss<0.1%");
    assert_eq!(value["search"]["ceiling"], "asked");
    assert_eq!(value["config"]["rate_from_per_s"], 1_000.0);
    assert_eq!(value["found"]["rate_per_s"], 2_830.0);
    assert_eq!(value["tries"][5]["delivery"]["p99_us"], 16_000.0);
}

#[test]
fn another_search_is_overwritten_only_if_one_says_so() {
    let scratch = Scratch::new();
    finish(SearchOutput::create(scratch.dir(), false).unwrap());
    let before = fs::read(scratch.path(FIND_MAX)).unwrap();
    let error = SearchOutput::create(scratch.dir(), false).err().unwrap();
    assert!(matches!(&error, OutputError::Taken { dir, .. } if dir == scratch.dir()));
    assert!(error.to_string().contains("--overwrite"), "{error}");
    // One that comes to nothing leaves the other one as it was.
    drop(SearchOutput::create(scratch.dir(), true).unwrap());
    assert_eq!(fs::read(scratch.path(FIND_MAX)).unwrap(), before);
    finish(SearchOutput::create(scratch.dir(), true).unwrap());
    assert_eq!(names(&scratch), [FIND_MAX_PAGE, FIND_MAX]);
}

#[test]
fn a_directory_that_cannot_be_is_named_before_anything_is_tried() {
    let scratch = Scratch::new();
    let file = scratch.path("file");
    fs::write(&file, "").unwrap();
    let error = SearchOutput::create(&file, false).err().unwrap();
    let expected = format!("cannot write {}: ", file.display());
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[test]
fn every_key_is_documented_and_there() {
    let scratch = Scratch::new();
    let output = SearchOutput::create(scratch.dir(), true).unwrap();
    let found = search_that_missed_everything();
    let summary = output
        .finish(
            &["loadgen".to_owned()],
            &find_max(config_of_nodes()),
            &found,
        )
        .unwrap();
    let keys = printed([&serde_json::to_value(summary).unwrap()]);
    assert!(keys.len() > 70, "{keys:?}");
    assert_same(&keys, &documented("### find-max.json"));
}
