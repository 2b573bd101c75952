//! What garbage collection reads and changes of the metadata.
//!
//! Owns its part of the store's contract, and the command that forgets and brings back objects. It
//! must not decide which: `gc` does.

use super::state::{ObjectState, Usage};
use super::store::{MetaStore, StoreError, Stored};
use common::ids::{ChunkId, EntryId, FolderId};
use common::record::Root;
use common::revision::Revision;

/// Where a reader of a folder's roots stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RootCursor {
    /// Of which entry.
    pub entry: EntryId,
    /// In which version.
    pub revision: Revision,
    /// By which change of that revision.
    pub change: u32,
}

/// What garbage collection reads.
pub trait ReclaimReads {
    /// Roots of all contents that are kept, older versions too, after a position, at most `limit`;
    /// contents without bytes have none.
    fn roots(
        &self,
        folder: &FolderId,
        after: Option<&RootCursor>,
        limit: usize,
    ) -> Stored<Vec<(RootCursor, Root)>>;
    /// Known objects after one, at most `limit`.
    fn objects(
        &self,
        folder: &FolderId,
        after: Option<&ChunkId>,
        limit: usize,
    ) -> Stored<Vec<(ChunkId, ObjectState)>>;
}

/// What garbage collection writes.
pub trait ReclaimWrites {
    /// Forgets an object that is known.
    fn remove_object(&mut self, folder: &FolderId, id: &ChunkId) -> Stored<()>;
}

/// What becomes of a known object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectChange {
    /// It is not known any more: a commit that names it needs proof again.
    Condemn(ChunkId),
    /// It is known as a chunk alone.
    Demote(ChunkId),
    /// It is known again; one that is known as it is, or as more, stays so.
    Reinstate(ChunkId, ObjectState),
}

/// Changes what is known of a folder's objects, and what its user occupies with them. A folder that
/// is gone has nothing to change.
pub(super) fn change_objects(
    store: &mut dyn MetaStore,
    folder: &FolderId,
    changes: &[ObjectChange],
) -> Stored<()> {
    let Some(state) = store.folder(folder)? else { return Ok(()) };
    let user = store.user(&state.user)?.ok_or(StoreError::Corrupt { what: "folder's user" })?;
    let mut usage = user.usage;
    for change in changes {
        match change {
            ObjectChange::Condemn(id) => {
                if let Some(known) = store.object(folder, id)? {
                    store.remove_object(folder, id)?;
                    usage.bytes = usage.bytes.saturating_sub(u64::from(known.length));
                    usage.objects = usage.objects.saturating_sub(1);
                }
            }
            ObjectChange::Demote(id) => {
                if let Some(known) = store.object(folder, id)? {
                    store.put_object(folder, id, &ObjectState { level: 0, ..known })?;
                }
            }
            ObjectChange::Reinstate(id, object) => {
                let known = store.object(folder, id)?;
                if known.is_none() {
                    usage.bytes = usage.bytes.saturating_add(u64::from(object.length));
                    usage.objects = usage.objects.saturating_add(1);
                }
                if known.is_none_or(|known| known.level < object.level) {
                    store.put_object(folder, id, object)?;
                }
            }
        }
    }
    set_usage(store, &state.user, &user.usage, &usage)
}

fn set_usage(
    store: &mut dyn MetaStore,
    user: &common::ids::UserId,
    before: &Usage,
    after: &Usage,
) -> Stored<()> {
    if before == after { Ok(()) } else { store.set_usage(user, after) }
}
