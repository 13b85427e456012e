//! Each crate that bullhorn depends on directly has a reason, where it is named.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_direct_dependency_has_its_reason() {
    let manifests = manifests(Path::new(env!("CARGO_MANIFEST_DIR")));
    let mut dependencies = 0;
    for path in &manifests {
        let text = fs::read_to_string(path).expect("a readable manifest");
        let (all, without) = dependencies_of(&text);
        dependencies += all;
        let name = path.display();
        assert_eq!(
            without, [""; 0],
            "{name}: a comment above each says why it is there"
        );
    }
    let few = (manifests.len(), dependencies);
    assert!(few.0 >= 4 && few.1 >= 50, "{few:?}");
}

#[test]
fn a_dependency_without_a_reason_is_found() {
    let manifest = "[package]\nname = \"a\"\n[dependencies]\n# Why.\nb = \"1\"\nc = \"1\"\n\
        [target.'cfg(unix)'.dev-dependencies]\nd = { version = \"1\" }\n#\ne.workspace = true\n\
        [features]\nf = []\n[dependencies.g]\nversion = \"1\"";
    assert_eq!(
        dependencies_of(manifest),
        (5, vec!["c", "d", "e", "[dependencies.g]"])
    );
}

/// Returns the number of the dependencies in a manifest, and those without a comment above.
fn dependencies_of(manifest: &str) -> (usize, Vec<&str>) {
    let (mut all, mut without) = (0, Vec::new());
    let mut is_inside = false;
    let mut before = "";
    for line in manifest.lines() {
        let is_table = line.starts_with('[') && line.contains("dependencies.");
        if line.starts_with('[') {
            is_inside = line.ends_with("dependencies]") && !line.starts_with("[workspace.");
        }
        let is_entry = is_inside && line.starts_with(|first: char| first.is_ascii_alphanumeric());
        if is_entry || is_table {
            all += 1;
            let has_reason = before
                .strip_prefix("# ")
                .is_some_and(|reason| !reason.is_empty());
            let name = if is_table {
                line
            } else {
                line.split([' ', '.', '=']).next().unwrap_or(line)
            };
            without.extend((!has_reason).then_some(name));
        }
        before = line;
    }
    (all, without)
}

/// The manifests of the workspace, and of the fuzz targets, which are a workspace of their own.
fn manifests(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let entry = entry.expect("a readable folder");
        let name = entry.file_name();
        if name == "Cargo.toml" {
            found.push(entry.path());
        } else if entry.path().is_dir()
            && name != "target"
            && !name.as_encoded_bytes().starts_with(b".")
        {
            found.extend(manifests(&entry.path()));
        }
    }
    found
}
