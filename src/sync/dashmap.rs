//! A stand-in for the crate `dashmap`: a map with two shards, that of a key given by its hash.
//!
//! It assumes that the lock of a shard is a lock, and that each call holds it while it reads or
//! changes the shard. Iterating holds it for a copy only, so others may come in between sooner.

use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;
use std::ops::Deref;

use loom::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

pub(crate) struct DashMap<K, V, S> {
    shards: [RwLock<Shard<K, V>>; SHARDS],
    hasher: S,
}

pub(crate) const SHARDS: usize = 2;

/// In the order of insertion, which is the same in every run.
type Shard<K, V> = Vec<(K, V)>;

pub(crate) struct Ref<'a, K, V> {
    shard: RwLockReadGuard<'a, Shard<K, V>>,
    place: usize,
}

pub(crate) struct RefMut<'a, K, V> {
    shard: RwLockWriteGuard<'a, Shard<K, V>>,
    place: usize,
}

pub(crate) struct RefMulti<K, V>(K, V);

/// The table of a shard, of which only the memory is changed. There is none to change.
pub(crate) struct Table<K, V>(PhantomData<(K, V)>);

pub(crate) enum Entry<'a, K, V> {
    Occupied(OccupiedEntry<'a, K, V>),
    Vacant(VacantEntry<'a, K, V>),
}

pub(crate) struct OccupiedEntry<'a, K, V>(RefMut<'a, K, V>);

pub(crate) struct VacantEntry<'a, K, V> {
    shard: RwLockWriteGuard<'a, Shard<K, V>>,
    key: K,
}

impl<K: Eq + Hash + Clone, V: Clone, S: BuildHasher> DashMap<K, V, S> {
    pub(crate) fn with_hasher_and_shard_amount(hasher: S, _shards: usize) -> Self {
        Self {
            shards: [(); SHARDS].map(|()| RwLock::new(Vec::new())),
            hasher,
        }
    }

    fn shard(&self, key: &K) -> &RwLock<Shard<K, V>> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }

    pub(crate) fn get(&self, key: &K) -> Option<Ref<'_, K, V>> {
        let shard = self.shard(key).read().unwrap();
        let place = place(&shard, key)?;
        Some(Ref { shard, place })
    }

    pub(crate) fn get_mut(&self, key: &K) -> Option<RefMut<'_, K, V>> {
        let shard = self.shard(key).write().unwrap();
        let place = place(&shard, key)?;
        Some(RefMut { shard, place })
    }

    pub(crate) fn entry(&self, key: K) -> Entry<'_, K, V> {
        let shard = self.shard(&key).write().unwrap();
        match place(&shard, &key) {
            Some(place) => Entry::Occupied(OccupiedEntry(RefMut { shard, place })),
            None => Entry::Vacant(VacantEntry { shard, key }),
        }
    }

    pub(crate) fn remove_if(
        &self,
        key: &K,
        condition: impl FnOnce(&K, &V) -> bool,
    ) -> Option<(K, V)> {
        let mut shard = self.shard(key).write().unwrap();
        let place = place(&shard, key)?;
        let (key, value) = &shard[place];
        condition(key, value).then(|| shard.remove(place))
    }

    pub(crate) fn len(&self) -> usize {
        self.iter().count()
    }

    pub(crate) fn shards(&self) -> &[Table<K, V>] {
        &[]
    }

    pub(crate) fn iter(&self) -> std::vec::IntoIter<RefMulti<K, V>> {
        let mut copies = Vec::new();
        for shard in &self.shards {
            let shard = shard.read().unwrap();
            let entries = shard.iter().cloned();
            copies.extend(entries.map(|(key, value)| RefMulti(key, value)));
        }
        copies.into_iter()
    }
}

impl<K, V> Table<K, V> {
    pub(crate) fn read(&self) -> Self {
        Self(PhantomData)
    }

    pub(crate) fn write(&self) -> Self {
        Self(PhantomData)
    }

    pub(crate) fn len(&self) -> usize {
        0
    }

    pub(crate) fn buckets(&self) -> usize {
        0
    }

    pub(crate) fn shrink_to(&mut self, _: usize, _: impl Fn(&(K, V)) -> u64) {}
}

fn place<K: Eq, V>(shard: &Shard<K, V>, key: &K) -> Option<usize> {
    shard.iter().position(|(known, _)| known == key)
}

impl<K: Eq + Hash + Clone, V: Clone, S: BuildHasher> IntoIterator for &DashMap<K, V, S> {
    type Item = RefMulti<K, V>;
    type IntoIter = std::vec::IntoIter<RefMulti<K, V>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<K, V> Deref for Ref<'_, K, V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.shard[self.place].1
    }
}

impl<K, V> Deref for RefMut<'_, K, V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.shard[self.place].1
    }
}

impl<K, V> Deref for RefMulti<K, V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.1
    }
}

impl<K, V> RefMulti<K, V> {
    pub(crate) fn key(&self) -> &K {
        &self.0
    }

    pub(crate) fn value(&self) -> &V {
        &self.1
    }
}

impl<K, V> OccupiedEntry<'_, K, V> {
    pub(crate) fn get(&self) -> &V {
        &self.0
    }

    pub(crate) fn insert(&mut self, value: V) {
        let place = self.0.place;
        self.0.shard[place].1 = value;
    }
}

impl<K, V> VacantEntry<'_, K, V> {
    pub(crate) fn key(&self) -> &K {
        &self.key
    }

    pub(crate) fn insert(mut self, value: V) {
        self.shard.push((self.key, value));
    }
}
