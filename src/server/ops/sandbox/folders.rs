//! The folders of files that others replace while the server runs.
//!
//! A rule of Landlock holds for a file and not for its name, so a new file needs the rule of its folder.

use std::fs;
use std::path::{Path, PathBuf};

use super::features::Access;

/// Returns the folder of a file, and that of its target if it is a symbolic link.
pub(super) fn of(file: &Path) -> Vec<(PathBuf, Access)> {
    let mut folders = vec![(parent(file), Access::Read)];
    if let Ok(target) = fs::canonicalize(file)
        && target.is_file()
    {
        folders.push((parent(&target), Access::Read));
    }
    folders
}

/// Returns the folder of the target, if the file is a symbolic link to another folder. Its own folder
/// stays closed.
pub(super) fn of_target(file: &Path) -> Option<(PathBuf, Access)> {
    let folder = parent(&fs::canonicalize(file).ok()?);
    (Some(&*folder) != file.parent()).then_some((folder, Access::Read))
}

fn parent(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if folder != "" => folder.to_owned(),
        _ => ".".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::{env, process};

    use super::*;

    #[test]
    fn a_link_has_the_folder_of_its_target_too() {
        let root = env::temp_dir().join(format!("bullhorn-folders-{}", process::id()));
        let [etc, run] = ["etc", "run"].map(|name| root.join(name));
        for folder in [&etc, &run] {
            fs::create_dir_all(folder).unwrap();
        }
        let target = run.join("resolv.conf");
        let [link, file] = ["link", "file"].map(|name| etc.join(name));
        fs::write(&target, "").unwrap();
        fs::write(&file, "").unwrap();
        symlink("../run/resolv.conf", &link).unwrap();
        let [etc, run] = [etc, run].map(|folder| (folder, Access::Read));
        assert_eq!(of(&link), [etc.clone(), run.clone()]);
        assert_eq!(of(&file), [etc.clone(), etc.clone()]);
        assert_eq!(of_target(&link), Some(run));
        assert_eq!(of_target(&file), None);
        assert_eq!(of_target(&root.join("nothing")), None);
        assert_eq!(of(Path::new("server.toml"))[0].0, Path::new("."));
        fs::remove_dir_all(&root).unwrap();
    }
}
