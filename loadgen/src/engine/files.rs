//! The limit of open files.

use std::fs;
use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The reason why there are too few.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error(
        "{needed} files must be open, and no more than {allowed} may: raise the limit with ulimit -Hn, or take fewer clients or --sockets shared"
    )]
    Limit { needed: u64, allowed: u64 },
    #[error("the limit of open files cannot be read: {0}")]
    System(#[from] io::Error),
}

/// Raises the limit so that `more` files may be opened.
pub fn allow(more: u64) -> Result<(), FilesError> {
    let open = fs::read_dir("/proc/self/fd")?.count() as u64;
    let needed = open + more;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(io::Error::from)?;
    if needed <= soft {
        return Ok(());
    }
    let raised = setrlimit(Resource::RLIMIT_NOFILE, needed, hard.max(needed));
    raised.map_err(|_| FilesError::Limit {
        needed,
        allowed: hard,
    })
}
