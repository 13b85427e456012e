//! A folder of a test, such as for the state of a server.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A folder that is removed on drop. `name` is that of the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    #[track_caller]
    pub(crate) fn new(name: &str) -> Self {
        // Others than root must reach it.
        let id = std::process::id();
        let path = std::env::temp_dir().join(format!("bullhorn_{name}_{id}"));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// The file of the bans.
    pub(crate) fn bans(&self) -> PathBuf {
        self.0.join("bans")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
