//! The committed corpora, through the targets that they were made for. It needs no libFuzzer.

use std::fs;
use std::path::Path;

type Target = fn(&[u8]);

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name), bullhorn_fuzz::$name);
        })*

        const TARGETS: &[&str] = &[$(stringify!($name)),*];
    };
}

targets! {
    batches
    client
    commands
    decode_client_v1
    decode_client_v2
    decode_server_v2
    options
    replies
    server
    tokens
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let names = |folder: &str| {
        let entries = fs::read_dir(root().join(folder)).expect(folder);
        let stem = |path: &Path| {
            path.file_stem()
                .map(|name| name.to_string_lossy().into_owned())
        };
        let mut names: Vec<_> = entries.filter_map(|it| stem(&it.ok()?.path())).collect();
        names.sort();
        names
    };
    assert_eq!(names("fuzz_targets"), TARGETS);
    assert_eq!(names("corpus"), TARGETS);
}

#[test]
fn the_corpora_are_small() {
    for name in TARGETS {
        let files = files(name);
        let bytes: usize = files.iter().map(|(_, input)| input.len()).sum();
        assert!(files.len() <= 200, "{name}: {} files", files.len());
        assert!(bytes <= 200 << 10, "{name}: {bytes} bytes");
    }
}

fn run(name: &str, target: Target) {
    let files = files(name);
    assert!(!files.is_empty(), "{name} has no corpus");
    for (path, input) in files {
        // Shown if the target panics.
        println!("{path}");
        target(&input);
    }
    // Any bytes are an input.
    target(b"");
    target(&[0xFF; 70]);
}

fn files(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = root().join("corpus").join(name);
    let entries = fs::read_dir(folder).expect(name);
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect(name).path();
        (path.display().to_string(), fs::read(&path).expect(name))
    };
    entries.map(read).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
