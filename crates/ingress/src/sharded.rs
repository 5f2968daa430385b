//! A map that is copied in no time and changed in little: the parts that a change does not touch are
//! shared with the copies.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

type Shard<K, V> = HashMap<K, V, RandomState>;

/// A hash map in `SHARDS` parts. A change after a copy was made copies one part and the list of
/// parts, whatever the number of entries.
#[derive(Debug)]
pub(crate) struct Sharded<K, V, const SHARDS: usize = 256> {
    hasher: RandomState,
    shards: Arc<Vec<Arc<Shard<K, V>>>>,
    length: usize,
}

impl<K, V, const SHARDS: usize> Default for Sharded<K, V, SHARDS> {
    fn default() -> Self {
        let hasher = RandomState::new();
        // An empty part takes no memory, and they all are the same one.
        let empty = Arc::new(HashMap::with_hasher(hasher.clone()));
        Self {
            shards: Arc::new((0..SHARDS.max(1)).map(|_| Arc::clone(&empty)).collect()),
            hasher,
            length: 0,
        }
    }
}

impl<K, V, const SHARDS: usize> Clone for Sharded<K, V, SHARDS> {
    fn clone(&self) -> Self {
        Self {
            hasher: self.hasher.clone(),
            shards: Arc::clone(&self.shards),
            length: self.length,
        }
    }
}

impl<K: Eq + Hash + Clone, V: Clone, const SHARDS: usize> Sharded<K, V, SHARDS> {
    fn place<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        let shards = u64::try_from(self.shards.len()).unwrap_or(1);
        // The parts themselves go by the lowest and the highest bits.
        usize::try_from((self.hasher.hash_one(key) >> 24) % shards).unwrap_or(0)
    }

    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.shards[self.place(key)].get(key)
    }

    pub(crate) fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.get(key).is_some()
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        let place = self.place(&key);
        let shard = Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[place]);
        self.length += usize::from(shard.insert(key, value).is_none());
    }

    /// Takes the entry out if it is there and `is_meant`.
    pub(crate) fn remove_if<Q>(&mut self, key: &Q, is_meant: impl FnOnce(&V) -> bool)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if self.get(key).is_some_and(is_meant) {
            let place = self.place(key);
            Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[place]).remove(key);
            self.length -= 1;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_says_what_a_plain_map_says_and_copies_stay_as_they_were() {
        let mut map: Sharded<u64, u64, 16> = Sharded::default();
        let mut plain: BTreeMap<u64, u64> = BTreeMap::new();
        let mut copies = Vec::new();
        for step in 0..5_000 {
            let key = fastrand::u64(0..300);
            if fastrand::bool() {
                map.insert(key, step);
                plain.insert(key, step);
            } else {
                let limit = fastrand::u64(0..5_000);
                map.remove_if(&key, |value| *value < limit);
                if plain.get(&key).is_some_and(|value| *value < limit) {
                    plain.remove(&key);
                }
            }
            if step % 500 == 0 {
                copies.push((map.clone(), plain.clone()));
            }
        }
        copies.push((map, plain));
        for (map, plain) in copies {
            assert_eq!((map.len(), map.is_empty()), (plain.len(), plain.is_empty()));
            assert!(plain.iter().all(|(key, value)| map.get(key) == Some(value)));
            let all: BTreeMap<u64, u64> = map.iter().map(|(key, value)| (*key, *value)).collect();
            assert_eq!(all, plain);
        }
    }
}
