//! Lots drawn from one seed.
//!
//! Owns the generator; whoever holds it decides what the numbers mean. It reads no randomness of
//! the machine, so that a seed always tells the same story.

use std::sync::{Arc, Mutex, PoisonError};

/// A source of numbers that clones share. `SplitMix64` (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Draw {
    state: Arc<Mutex<u64>>,
}

impl Draw {
    /// The numbers of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut draw = seed ^ 0x6a09_e667_f3bc_c908;
        next(&mut draw);
        Self { state: Arc::new(Mutex::new(draw)) }
    }

    /// A source of its own, seeded from this one.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::new(self.number())
    }

    /// Any number.
    #[must_use]
    pub fn number(&self) -> u64 {
        next(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A number below `bound`; 0 when the bound is 0.
    #[must_use]
    pub fn below(&self, bound: usize) -> usize {
        (self.number() % bound.max(1) as u64) as usize
    }

    /// True so many times in a thousand.
    #[must_use]
    pub fn per_mille(&self, share: u32) -> bool {
        self.below(1000) < share as usize
    }

    /// One of these.
    #[must_use]
    pub fn pick<'a, T>(&self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }

    /// Fills a buffer.
    pub fn fill(&self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            let number = self.number().to_le_bytes();
            part.copy_from_slice(&number[..part.len()]);
        }
    }
}

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
