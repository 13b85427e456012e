//! A stand-in for the crate `arc-swap`.
//!
//! It assumes that a store is a release, that a load is an acquire, and that a value which was
//! replaced and given back to its owner is not returned any more. The crate documents more: a total
//! order of all its operations. Nothing here relies on that.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use loom::sync::atomic::{AtomicUsize, Ordering};

pub(crate) type ArcSwap<T> = ArcSwapAny<Arc<T>>;
pub(crate) type ArcSwapOption<T> = ArcSwapAny<Option<Arc<T>>>;

/// All values that were ever stored, of which a load may return an earlier one.
pub(crate) struct ArcSwapAny<T> {
    current: AtomicUsize,
    /// `None` for a value that was replaced and given back. The lock is of the standard library, so
    /// it must not be held where loom may run another thread: the count of a `T` may be changed
    /// there.
    values: Mutex<Vec<Option<Arc<T>>>>,
}

/// A pointer that can be stored.
pub(crate) trait Stored: Clone {
    /// Returns true if its owner needs it back, because the owner reads its count.
    fn is_counted(&self) -> bool;
}

pub(crate) struct Guard<T>(Arc<T>);

impl<T: Stored> ArcSwapAny<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            current: AtomicUsize::new(0),
            values: Mutex::new(vec![Some(Arc::new(value))]),
        }
    }

    pub(crate) fn load(&self) -> Guard<T> {
        let mut index = self.current.load(Ordering::Acquire);
        loop {
            let value = self.values.lock().unwrap()[index].clone();
            if let Some(value) = value {
                return Guard(value);
            }
            // This returns the newest value.
            index = self.current.fetch_add(0, Ordering::AcqRel);
        }
    }

    pub(crate) fn load_full(&self) -> T {
        T::clone(&self.load())
    }

    pub(crate) fn store(&self, value: T) {
        let value = Arc::new(value);
        let index = {
            let mut values = self.values.lock().unwrap();
            values.push(Some(value));
            values.len() - 1
        };
        let before = self.current.swap(index, Ordering::AcqRel);
        // Until here, others may still load the value that was there before.
        let _ = self.current.load(Ordering::Relaxed);
        let replaced = {
            let place = &mut self.values.lock().unwrap()[before];
            place.take_if(|value| value.is_counted())
        };
        drop(replaced);
    }
}

impl<T> ArcSwapAny<Option<T>>
where
    Option<T>: Stored,
{
    pub(crate) fn empty() -> Self {
        Self::new(None)
    }
}

impl<T: Stored + Default> Default for ArcSwapAny<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Deref for Guard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Stored for Arc<T> {
    fn is_counted(&self) -> bool {
        false
    }
}

impl<T> Stored for Option<Arc<T>> {
    fn is_counted(&self) -> bool {
        false
    }
}

impl<T> Stored for Option<loom::sync::Arc<T>> {
    fn is_counted(&self) -> bool {
        self.is_some()
    }
}
