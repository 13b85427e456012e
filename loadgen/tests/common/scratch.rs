//! A directory for a test, which goes with it.

#![allow(dead_code, reason = "every test program uses a part of this")]
#![allow(
    clippy::unwrap_used,
    reason = "what helps a test may panic as a test may"
)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("loadgen-test-{}-{number}", process::id());
        let dir = env::temp_dir().join(name);
        fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.0
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A directory that is left behind is no reason to fail.
        let _ = fs::remove_dir_all(&self.0);
    }
}
