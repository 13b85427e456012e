//! Coarse monotonic time in milliseconds. Workers read it once per batch.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// The clock of the server's threads. Tests use [`Clock::from_fn`].
#[derive(Clone)]
pub struct Clock {
    read: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Clock {
    pub fn monotonic() -> Self {
        let start = Instant::now();
        Self::from_fn(move || u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Returns a clock that reads milliseconds from `read`. The values must never decrease.
    pub fn from_fn(read: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self {
            read: Arc::new(read),
        }
    }

    pub fn now_ms(&self) -> u64 {
        (self.read)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").finish_non_exhaustive()
    }
}
