//! Coarse monotonic time, in milliseconds, read once a batch.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// Where the server's threads read the time.
///
/// A test hands in a clock that it moves itself, with [`Clock::from_fn`].
#[derive(Clone)]
pub struct Clock {
    read: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Clock {
    /// The system's monotonic clock, counted from now.
    pub fn monotonic() -> Self {
        let start = Instant::now();
        Self::from_fn(move || u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// A clock that asks `read` for the milliseconds since some fixed moment.
    /// What it returns must never go back.
    pub fn from_fn(read: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self {
            read: Arc::new(read),
        }
    }

    /// Milliseconds since the clock's own beginning.
    pub fn now_ms(&self) -> u64 {
        (self.read)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::monotonic()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").finish_non_exhaustive()
    }
}
