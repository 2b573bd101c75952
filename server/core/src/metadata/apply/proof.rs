//! Proof that everything a version names is stored (M4, rule 1).
//!
//! Owns the walk from a content's root over the pages that the commit carries. An object that an
//! accepted version reaches is known, with all beneath it; every other one needs a receipt, and a
//! page also its bytes. The walk visits each new object once, so receipts bound its work; what all
//! groups of a commit visit has a bound of its own, as nothing is kept of a walk that fails. It must
//! not know what a page's sealed part says.

use super::super::commit::PreparedCommit;
use super::super::state::ObjectState;
use super::super::store::MetaReads;
use super::draft::{Fault, Stopped};
use common::ids::{ChunkId, FolderId};
use common::record::Root;
use common::wire::meta::RejectionCode;
use std::collections::BTreeMap;

/// Objects that a group is the first to name.
pub(super) struct Proof<'a> {
    reads: &'a dyn MetaReads,
    folder: FolderId,
    commit: &'a PreparedCommit,
    generation: u64,
    /// Objects that the groups of the commit may still visit.
    visits_left: &'a mut u64,
    new: BTreeMap<ChunkId, ObjectState>,
    bytes: u64,
    objects: u64,
}

impl<'a> Proof<'a> {
    pub(super) fn new(
        reads: &'a dyn MetaReads,
        folder: FolderId,
        commit: &'a PreparedCommit,
        generation: u64,
        visits_left: &'a mut u64,
    ) -> Self {
        let new = BTreeMap::new();
        Self { reads, folder, commit, generation, visits_left, new, bytes: 0, objects: 0 }
    }

    /// Walks one root.
    pub(super) fn cover(&mut self, root: &Root) -> Result<(), Stopped> {
        let mut open = vec![(root.id, root.level)];
        while let Some((id, level)) = open.pop() {
            *self.visits_left = self.visits_left.checked_sub(1).ok_or_else(|| {
                // As if unproven: a device proves anew, and sends its groups one by one.
                fault(RejectionCode::MissingChunk, "the commit names more than one can prove")
            })?;
            if self.is_known(&id, level)? {
                continue;
            }
            let length = self.receipt(&id)?;
            if level > 0 {
                let children = self.page(&id, level)?;
                open.extend(children.iter().map(|child| (*child, level - 1)));
            }
            self.new.insert(id, ObjectState { level, length });
        }
        Ok(())
    }

    /// What was found new: objects to keep, their bytes, and how many were not even known as
    /// something else.
    pub(super) fn finish(self) -> (BTreeMap<ChunkId, ObjectState>, u64, u64) {
        (self.new, self.bytes, self.objects)
    }

    fn is_known(&mut self, id: &ChunkId, level: u8) -> Result<bool, Stopped> {
        let stored = match self.new.get(id) {
            Some(object) => Some(*object),
            None => self.reads.object(&self.folder, id)?,
        };
        match stored {
            Some(object) if object.level == level => Ok(true),
            // A page that was passed off as a chunk before: what its bytes say counts from now on.
            Some(object) if object.level == 0 => Ok(false),
            Some(_) => Err(fault(RejectionCode::BadPage, "a page is named at another level")),
            None => Ok(false),
        }
    }

    fn receipt(&mut self, id: &ChunkId) -> Result<u32, Stopped> {
        let receipt = self.commit.receipts.get(id).ok_or_else(|| {
            fault(RejectionCode::MissingChunk, format!("no receipt proves that {id} is stored"))
        })?;
        if receipt.generation.saturating_add(1) < self.generation {
            let message = "a receipt is from before the last garbage collection but one";
            return Err(fault(RejectionCode::StaleReceipt, message));
        }
        let known = self.new.contains_key(id) || self.reads.object(&self.folder, id)?.is_some();
        if !known {
            self.bytes = self.bytes.saturating_add(u64::from(receipt.length));
            self.objects += 1;
        }
        Ok(receipt.length)
    }

    fn page(&self, id: &ChunkId, level: u8) -> Result<&'a [ChunkId], Stopped> {
        let page = self.commit.pages.get(id).ok_or_else(|| {
            fault(RejectionCode::MissingChunk, format!("the commit does not carry page {id}"))
        })?;
        let clear = page
            .clear
            .as_ref()
            .map_err(|error| fault(RejectionCode::BadPage, error.to_string()))?;
        if clear.level != level {
            return Err(fault(RejectionCode::BadPage, "a page says another level than its parent"));
        }
        Ok(&clear.ids)
    }
}

fn fault(code: RejectionCode, message: impl Into<String>) -> Stopped {
    Stopped::Fault(Fault { code, entry: None, message: message.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::memory::MemoryStore;
    use crate::metadata::{PreparedPage, Receipt};
    use common::chunk::ClearPage;
    use common::ids::DeviceId;

    fn id(number: u8) -> ChunkId {
        ChunkId::from_bytes([number; 32])
    }

    #[test]
    fn what_the_groups_of_a_commit_visit_is_bounded_over_all_of_them() {
        let (store, folder) = (MemoryStore::new(), FolderId::from_bytes([1; 32]));
        let clear = Ok(ClearPage { level: 1, ids: vec![id(1), id(2), id(3)] });
        let receipt = Receipt { length: 1, generation: 1 };
        // The last chunk to be visited has no receipt, so each walk fails and nothing is kept.
        let proven = [id(9), id(2), id(3)].map(|id| (id, receipt));
        let commit = PreparedCommit {
            device: DeviceId::from_bytes([2; 32]),
            folder,
            groups: Vec::new(),
            pages: BTreeMap::from([(id(9), PreparedPage { clear, length: 1 })]),
            receipts: BTreeMap::from(proven),
        };
        let mut visits_left = 10;
        let mut walk = || {
            let mut proof = Proof::new(&store, folder, &commit, 1, &mut visits_left);
            let Err(Stopped::Fault(fault)) = proof.cover(&Root { id: id(9), level: 1 }) else {
                panic!("a chunk without a receipt is proven");
            };
            assert_eq!(fault.code, RejectionCode::MissingChunk);
            let objects = proof.finish().2;
            (fault.message, objects)
        };
        let unproven = format!("no receipt proves that {} is stored", id(1));
        assert_eq!(walk(), (unproven.clone(), 3));
        assert_eq!(walk(), (unproven, 3));
        let (message, objects) = walk();
        assert_eq!((message.as_str(), objects), ("the commit names more than one can prove", 2));
        assert_eq!(visits_left, 0);
    }
}
