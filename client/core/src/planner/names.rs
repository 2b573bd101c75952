//! Who gets a name when two want it.
//!
//! Owns adoption (two devices made the same thing), claims on names that the server has given to
//! another, and the ids of conflict copies. It must not know how steps are ordered.

use super::Policy;
use super::merge::{Fate, Placement};
use super::round::Round;
use crate::tree::{Kind, Position};
use common::ids::{ConflictId, ContentTag, EntryId};
use common::revision::Revision;
use std::collections::BTreeMap;

const COPY_CONTEXT: &str = "driftless 2026 conflict copy id v1";
const RECORD_CONTEXT: &str = "driftless 2026 conflict record id v1";
const FRESH_CONTEXT: &str = "driftless 2026 detached entry id v1";

/// What an entry gets that is to be placed at the server where it stands here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The name: nobody has it.
    Free,
    /// The name, once this entry has left it, together with it.
    With(EntryId),
    /// A conflict name and a record; this entry keeps the name.
    Copy(EntryId),
    /// A conflict name, here first.
    Rename,
    /// Nothing yet.
    Wait,
}

/// Finds local nodes that are the remote entry of another id at the same position: directories
/// and equal files that both sides made. Returns how deep in adopted directories each lies.
pub(super) fn adopt(round: &mut Round<'_>) -> BTreeMap<EntryId, usize> {
    let mut found: BTreeMap<EntryId, Option<(EntryId, usize)>> = BTreeMap::new();
    for entry in round.planned() {
        let mut chain = Vec::new();
        for up in std::iter::once(entry).chain(round.trees.local_ancestors(&entry)) {
            if found.contains_key(&up) || !may_be_adopted(round, &up) {
                break;
            }
            chain.push(up);
        }
        for local in chain.into_iter().rev() {
            let match_ = remote_twin(round, &local, &found);
            found.insert(local, match_);
        }
    }
    let mut depths = BTreeMap::new();
    for (local, match_) in found {
        let Some((remote, depth)) = match_ else { continue };
        round.fates.insert(local, Fate::Adopt(remote));
        round.fates.insert(remote, Fate::Adopted);
        round.renumbered.insert(local);
        depths.insert(local, depth);
    }
    depths
}

fn may_be_adopted(round: &Round<'_>, entry: &EntryId) -> bool {
    matches!(round.fates.get(entry), Some(Fate::Upload | Fate::Revive { .. } | Fate::DeleteLocal))
}

/// The remote entry that a local node is, and the depth of its adoption.
fn remote_twin(
    round: &Round<'_>,
    entry: &EntryId,
    found: &BTreeMap<EntryId, Option<(EntryId, usize)>>,
) -> Option<(EntryId, usize)> {
    let trio = round.trees.get(entry);
    let local = trio.local.as_ref()?;
    let content = local.content.as_ref()?;
    let parent = found.get(&local.position.parent).copied().flatten();
    let (parent, depth) = match parent {
        Some((remote, depth)) => (remote, depth + 1),
        None => (local.position.parent, 0),
    };
    let position = Position { parent, name: local.position.name.clone() };
    let twin = round.trees.other_remote_at(&position, entry)?;
    let twin_trio = round.trees.get(&twin);
    let remote = twin_trio.live()?;
    let same = remote.kind == local.kind
        && (local.kind == Kind::Directory || remote.content.tag == content.tag);
    // What was deleted here is not the new thing at its name: its deletion is pushed.
    (same && round.fate(&twin) == Fate::Download).then_some((twin, depth))
}

/// What an entry gets that claims `position` at the server.
pub(super) fn claim(round: &Round<'_>, entry: &EntryId, position: &Position) -> Claim {
    let Some(holder) = round.trees.other_remote_at(position, entry) else {
        return Claim::Free;
    };
    match round.fate(&holder) {
        Fate::DeleteRemote | Fate::Both { place: Placement::Local, .. } => Claim::With(holder),
        Fate::Both { place: Placement::Remote, .. } => Claim::Rename,
        Fate::Download if is_copied(round, entry) => Claim::Copy(holder),
        Fate::Download => Claim::Rename,
        _ => Claim::Wait,
    }
}

/// Whether an entry that loses a new name becomes a conflict copy, with a record. What the server
/// knows elsewhere is renamed instead, and so is a directory that it has ever known: its content is
/// in no doubt.
fn is_copied(round: &Round<'_>, entry: &EntryId) -> bool {
    let trio = round.trees.get(entry);
    let is_directory = trio.local.as_ref().is_some_and(|node| node.kind == Kind::Directory);
    if is_directory { trio.remote.is_none() } else { trio.live().is_none() && trio.local.is_some() }
}

/// What a conflict is about; equal conflicts get equal ids, so that planning again is harmless.
pub(super) struct Dispute {
    pub(super) local: EntryId,
    pub(super) entry: EntryId,
    pub(super) base: Option<Revision>,
    pub(super) theirs: Revision,
    pub(super) tag: ContentTag,
}

impl Dispute {
    /// The ids of the copy and of the record. A directory keeps its id: what is in it has it for a
    /// parent.
    pub(super) fn ids(&self, round: &Round<'_>, kind: Kind) -> (EntryId, ConflictId) {
        if kind == Kind::Directory {
            let record = self.derive(RECORD_CONTEXT, round.policy, 0);
            return (self.local, ConflictId::from_bytes(record));
        }
        let mut turn = 0_u64;
        loop {
            let copy = EntryId::from_bytes(self.derive(COPY_CONTEXT, round.policy, turn));
            if !round.trees.knows(&copy) {
                let record = self.derive(RECORD_CONTEXT, round.policy, turn);
                return (copy, ConflictId::from_bytes(record));
            }
            turn += 1;
        }
    }

    fn derive(&self, context: &str, policy: &Policy, turn: u64) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(policy.folder.as_bytes());
        hasher.update(policy.device.as_bytes());
        hasher.update(self.local.as_bytes());
        hasher.update(self.entry.as_bytes());
        // 0 is before the first revision, so it can stand for none.
        hasher.update(&self.base.unwrap_or(0).to_le_bytes());
        hasher.update(&self.theirs.to_le_bytes());
        hasher.update(self.tag.as_bytes());
        hasher.update(&turn.to_le_bytes());
        first_half(&hasher)
    }
}

/// The id of a local node that is no longer the entry it was taken for.
pub(super) fn fresh_id(round: &Round<'_>, entry: &EntryId, kind: Kind) -> EntryId {
    let mut turn = 0_u64;
    loop {
        let mut hasher = blake3::Hasher::new_derive_key(FRESH_CONTEXT);
        hasher.update(round.policy.folder.as_bytes());
        hasher.update(round.policy.device.as_bytes());
        hasher.update(entry.as_bytes());
        hasher.update(&kind.code().to_le_bytes());
        hasher.update(&turn.to_le_bytes());
        let fresh = EntryId::from_bytes(first_half(&hasher));
        if !round.trees.knows(&fresh) {
            return fresh;
        }
        turn += 1;
    }
}

fn first_half(hasher: &blake3::Hasher) -> [u8; 16] {
    let mut half = [0; 16];
    hasher.finalize_xof().fill(&mut half);
    half
}
