//! Which open conflicts a clean merge would settle, for a folder whose policy leaves that to a person.
//!
//! Owns what was found out by now: each conflict is looked at once, and again when a side of it has
//! changed, so that whoever asks for the status costs nothing. It is not stored: an engine that starts
//! looks anew. What a merge is made of is `settling`'s.

use super::online::RoundError;
use super::run::Engine;
use super::settling::seen;
use common::chunk::MergePolicy;
use common::ids::ConflictId;
use common::revision::Revision;
use std::collections::{BTreeMap, BTreeSet};

/// Conflicts that one round looks at.
const LOOKS_TOGETHER: usize = 16;

/// What is known of open conflicts.
#[derive(Default)]
pub(super) struct Mergeable {
    /// Whether the policy leaves merges to a person.
    asks: bool,
    /// The contents that were looked at, and whether their merge is clean.
    known: BTreeMap<ConflictId, ([Revision; 2], bool)>,
}

impl Mergeable {
    /// How many are known to merge cleanly; `None` where nobody is asked.
    pub(super) fn count(&self) -> Option<u64> {
        let clean = self.known.values().filter(|(_, clean)| *clean);
        self.asks.then(|| clean.count() as u64)
    }
}

impl Engine {
    /// Looks at the open conflicts that were not looked at as they are now.
    pub(super) async fn look_at_conflicts(&mut self) -> Result<(), RoundError> {
        self.mergeable.asks = self.preferences()?.merge == MergePolicy::Ask;
        let records =
            if self.mergeable.asks { self.context.state.conflicts()? } else { Vec::new() };
        let open: BTreeSet<ConflictId> = records.iter().map(|record| record.conflict).collect();
        self.mergeable.known.retain(|conflict, _| open.contains(conflict));
        let mut looks = 0;
        for record in records {
            let conflict = record.conflict;
            let Some(sides) = self.file_sides(&record)? else {
                self.mergeable.known.remove(&conflict);
                continue;
            };
            let seen = seen(&sides);
            if self.mergeable.known.get(&conflict).is_some_and(|(looked_at, _)| *looked_at == seen)
            {
                continue;
            }
            if looks == LOOKS_TOGETHER {
                self.busy = true;
                return Ok(());
            }
            looks += 1;
            let is_clean = match self.texts(&sides).await? {
                Ok(texts) => self.merges_cleanly(&texts).await? == Some(true),
                Err(_) => false,
            };
            self.mergeable.known.insert(conflict, (seen, is_clean));
        }
        Ok(())
    }
}
