//! Which stored chunks this process has verified: a bounded memory of keys.
//!
//! Owns the forgetting: when the young half is full it becomes the old half, and what was old is
//! forgotten and will be verified again. It must not know where chunks lie.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::ChunkKey;

/// Keys of verified chunks, at most about `keys_max` of them.
#[derive(Debug)]
pub(super) struct Verified {
    halves: Mutex<Halves>,
    half_max: usize,
}

#[derive(Debug, Default)]
struct Halves {
    young: HashSet<ChunkKey>,
    old: HashSet<ChunkKey>,
}

impl Verified {
    pub(super) fn new(keys_max: usize) -> Self {
        Self { halves: Mutex::default(), half_max: (keys_max / 2).max(1) }
    }

    /// Whether the chunk is known to be whole. Asking keeps it from being forgotten.
    pub(super) fn contains(&self, key: &ChunkKey) -> bool {
        let mut halves = self.lock();
        if halves.young.contains(key) {
            return true;
        }
        let was_old = halves.old.remove(key);
        if was_old {
            self.add(&mut halves, *key);
        }
        was_old
    }

    pub(super) fn insert(&self, key: ChunkKey) {
        self.add(&mut self.lock(), key);
    }

    /// Forgets a chunk that turned out damaged.
    pub(super) fn remove(&self, key: &ChunkKey) {
        let mut halves = self.lock();
        halves.young.remove(key);
        halves.old.remove(key);
    }

    fn add(&self, halves: &mut Halves, key: ChunkKey) {
        if halves.young.len() >= self.half_max {
            halves.old = std::mem::take(&mut halves.young);
        }
        halves.young.insert(key);
    }

    fn lock(&self) -> MutexGuard<'_, Halves> {
        // Nothing under this lock panics half-way through a change.
        self.halves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use common::ids::{ChunkId, FolderId};

    use super::*;

    fn key(number: u8) -> ChunkKey {
        ChunkKey { folder: FolderId::from_bytes([0; 32]), id: ChunkId::of(&[number]) }
    }

    #[test]
    fn it_forgets_the_longest_unused_and_stays_bounded() {
        let verified = Verified::new(8);
        for number in 0..100 {
            verified.insert(key(number));
            assert!(verified.contains(&key(0)), "asked for after each insert, so never forgotten");
            let halves = verified.lock();
            assert!(halves.young.len() + halves.old.len() <= 8);
        }
        assert!(!verified.contains(&key(1)));
        verified.remove(&key(0));
        assert!(!verified.contains(&key(0)));
    }
}
