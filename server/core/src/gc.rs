//! Garbage collection: which chunks are garbage, when they may go, and which segments are worth
//! copying.
//!
//! Owns these decisions as pure functions over what a survey of the chunk store and a walk of the
//! metadata say. Why they lose nothing is told in `docs/decisions/030-what-garbage-collection-may-take.md`.
//! It must not know how a store is asked, nor carry anything out.

use common::ids::ChunkId;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of an id that a mark keeps. Two ids that share them are kept both, so what is saved in
/// memory can cost room and never a chunk.
const MARK_BYTES: usize = 16;

type Mark = [u8; MARK_BYTES];

fn mark_of(id: &ChunkId) -> Mark {
    let mut mark = [0; MARK_BYTES];
    mark.copy_from_slice(&id.as_bytes()[..MARK_BYTES]);
    mark
}

/// What the versions of one folder reach: about 30 bytes an object.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    reached: BTreeSet<Mark>,
    /// Pages that were reached as such, with all beneath them, by their whole ids: a page that is
    /// taken for another would hide what it names. With their levels.
    pages: BTreeMap<ChunkId, u8>,
}

impl Marks {
    /// Nothing reached.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Marks an object that is reached at a level, 0 for a chunk. Says whether it is a page that has
    /// to be walked: one that was not reached as a page before.
    pub fn reach(&mut self, id: &ChunkId, level: u8) -> bool {
        self.reached.insert(mark_of(id));
        level > 0 && self.pages.insert(*id, level).is_none()
    }

    /// Whether an object is reached, at any level.
    #[must_use]
    pub fn is_reached(&self, id: &ChunkId) -> bool {
        self.reached.contains(&mark_of(id))
    }

    /// Whether an object is reached as a page, so that all beneath it is reached too.
    #[must_use]
    pub fn is_reached_as_page(&self, id: &ChunkId) -> bool {
        self.pages.contains_key(id)
    }

    /// Objects that are reached; a few less when marks are shared.
    #[must_use]
    pub fn len(&self) -> usize {
        self.reached.len()
    }

    /// Whether nothing is reached.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reached.is_empty()
    }
}

/// What the metadata remembers of an object, against what is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is rightly known.
    Right,
    /// It is known as a page with all beneath it, but reached as a chunk alone: what is beneath may
    /// go, so no commit may name it as a page without proof.
    Demote,
    /// Nothing reaches it: no commit may name it without proof.
    Condemn,
}

/// Judges an object that the metadata knows at a level.
#[must_use]
pub fn judge_known(marks: &Marks, id: &ChunkId, level: u8) -> Known {
    if !marks.is_reached(id) {
        Known::Condemn
    } else if level > 0 && !marks.is_reached_as_page(id) {
        Known::Demote
    } else {
        Known::Right
    }
}

/// When chunks may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The generation that was logged before the marks were made.
    pub generation: u64,
    /// What is in the trash since a generation before this one was put there before the marks were
    /// made: they are its re-check.
    pub trashed_before: u64,
    /// Now, in milliseconds since 1970.
    pub now_ms: u64,
    /// How long a chunk stays in the trash, in milliseconds.
    pub grace_ms: u64,
}

impl Rules {
    /// The latest time at which a chunk that may go now was put into the trash; `None` when none
    /// may.
    #[must_use]
    pub const fn since_ms_max(&self) -> Option<u64> {
        self.now_ms.checked_sub(self.grace_ms)
    }

    /// Whether a receipt may still prove the presence of a chunk that was stamped then: such a chunk
    /// may be part of an upload in flight.
    #[must_use]
    pub const fn is_leased(&self, stamped: u64) -> bool {
        stamped.saturating_add(1) >= self.generation
    }
}

/// What a survey says of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Generation of its last stamp.
    pub stamped: u64,
    /// Since when it is in the trash, if it is: generation and milliseconds since 1970.
    pub trashed: Option<(u64, u64)>,
}

/// What is to be done with a stored chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: it is wanted, or may be.
    Keep,
    /// Nothing: it is in the trash, and its time has not come.
    Wait,
    /// It goes into the trash.
    Trash,
    /// It is wanted: it leaves the trash.
    Untrash,
    /// It goes for good.
    Purge,
}

/// Judges a stored chunk that is or is not reached.
#[must_use]
pub fn judge_stored(rules: &Rules, is_reached: bool, stored: &Stored) -> Verdict {
    match (is_reached, stored.trashed) {
        (true, None) => Verdict::Keep,
        (true, Some(_)) => Verdict::Untrash,
        (false, None) if rules.is_leased(stored.stamped) => Verdict::Keep,
        (false, None) => Verdict::Trash,
        (false, Some((generation, since_ms))) => {
            let is_due = rules.since_ms_max().is_some_and(|latest| since_ms <= latest);
            let is_rechecked = generation < rules.trashed_before;
            if is_due && is_rechecked && !rules.is_leased(stored.stamped) {
                Verdict::Purge
            } else {
                Verdict::Wait
            }
        }
    }
}

/// What a segment file is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number.
    pub number: u32,
    /// Bytes in it that are wanted.
    pub live_bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
}

/// Segments that are copied and dropped, in order: those of which more than two fifths are dead and
/// that have something left to copy, the cheapest first, so that a nearly full disk gets room for the
/// next. Empty ones need no copy. So dead space is at most two thirds of what is live, and a byte that
/// is freed costs at most one and a half that are copied.
#[must_use]
pub fn worth_compacting(mut segments: Vec<Segment>) -> Vec<Segment> {
    segments.retain(|segment| {
        let is_mostly_live =
            segment.live_bytes.saturating_mul(5) >= segment.file_bytes.saturating_mul(3);
        segment.live_bytes > 0 && !is_mostly_live
    });
    segments.sort_by_key(|segment| (segment.live_bytes, segment.number));
    segments
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(number: u8) -> ChunkId {
        ChunkId::from_bytes([number; 32])
    }

    const RULES: Rules = Rules { generation: 10, trashed_before: 10, now_ms: 1_000, grace_ms: 100 };

    #[test]
    fn a_stored_chunk_is_judged_by_marks_stamp_and_trash() {
        let cases = [
            (true, 1, None, Verdict::Keep),
            (true, 9, None, Verdict::Keep),
            (true, 1, Some((2, 0)), Verdict::Untrash),
            (false, 10, None, Verdict::Keep),
            (false, 9, None, Verdict::Keep),
            (false, 8, None, Verdict::Trash),
            (false, 8, Some((9, 900)), Verdict::Purge),
            (false, 8, Some((9, 901)), Verdict::Wait),
            (false, 8, Some((10, 0)), Verdict::Wait),
            (false, 9, Some((9, 0)), Verdict::Wait),
            // A clock that went back.
            (false, 1, Some((2, 5_000)), Verdict::Wait),
        ];
        for (is_reached, stamped, trashed, expected) in cases {
            let stored = Stored { stamped, trashed };
            assert_eq!(judge_stored(&RULES, is_reached, &stored), expected, "{stored:?}");
        }
        let long = Rules { grace_ms: 2_000, ..RULES };
        let stored = Stored { stamped: 1, trashed: Some((2, 0)) };
        assert_eq!(judge_stored(&long, false, &stored), Verdict::Wait);
    }

    #[test]
    fn an_object_is_known_as_what_it_is_reached_as() {
        let mut marks = Marks::new();
        assert!(!marks.reach(&id(1), 0));
        assert!(marks.reach(&id(2), 1));
        assert!(!marks.reach(&id(2), 1), "it was walked");
        assert!(!marks.reach(&id(3), 0));
        assert!(marks.reach(&id(3), 1), "a page that something took for a chunk before");
        let cases = [
            (1, 0, Known::Right),
            (1, 1, Known::Demote),
            (2, 1, Known::Right),
            (2, 0, Known::Right),
            (3, 1, Known::Right),
            (4, 0, Known::Condemn),
            (4, 1, Known::Condemn),
        ];
        for (number, level, expected) in cases {
            assert_eq!(judge_known(&marks, &id(number), level), expected, "{number} at {level}");
        }
        assert_eq!(marks.len(), 3);
    }

    #[test]
    fn ids_that_share_a_mark_are_kept_and_their_pages_told_apart() {
        let (mut first, mut second) = ([7; 32], [7; 32]);
        (first[31], second[31]) = (1, 2);
        let (first, second) = (ChunkId::from_bytes(first), ChunkId::from_bytes(second));
        let mut marks = Marks::new();
        marks.reach(&first, 1);
        assert!(marks.is_reached(&second));
        assert_eq!(judge_known(&marks, &second, 1), Known::Demote);
        assert!(marks.reach(&second, 1), "its own children are not walked yet");
    }

    #[test]
    fn segments_are_compacted_that_are_dead_enough_the_cheapest_first() {
        let segment = |number, live_bytes| Segment { number, live_bytes, file_bytes: 100 };
        let all = vec![segment(1, 59), segment(2, 60), segment(3, 0), segment(4, 10)];
        assert_eq!(worth_compacting(all), [segment(4, 10), segment(1, 59)]);
    }

    proptest! {
        #[test]
        fn n3_what_is_reached_or_leased_is_never_trashed_nor_purged(
            generation in 0_u64..6, trashed_before in 0_u64..7, now_ms in 0_u64..6,
            grace_ms in 0_u64..6, stamped in 0_u64..6, is_reached: bool,
            trashed in proptest::option::of((0_u64..6, 0_u64..6)),
        ) {
            let rules = Rules { generation, trashed_before, now_ms, grace_ms };
            let verdict = judge_stored(&rules, is_reached, &Stored { stamped, trashed });
            let goes = matches!(verdict, Verdict::Trash | Verdict::Purge);
            prop_assert!(!(goes && (is_reached || stamped + 1 >= generation)));
        }

        #[test]
        fn n4_only_what_was_in_the_trash_for_the_grace_and_is_rechecked_is_purged(
            generation in 0_u64..6, trashed_before in 0_u64..7, now_ms in 0_u64..6,
            grace_ms in 0_u64..6, stamped in 0_u64..6, is_reached: bool,
            trashed in proptest::option::of((0_u64..6, 0_u64..6)),
        ) {
            let rules = Rules { generation, trashed_before, now_ms, grace_ms };
            if judge_stored(&rules, is_reached, &Stored { stamped, trashed }) == Verdict::Purge {
                let (since, since_ms) = trashed.unwrap();
                prop_assert!(since < trashed_before && since_ms + grace_ms <= now_ms);
            }
        }
    }
}
