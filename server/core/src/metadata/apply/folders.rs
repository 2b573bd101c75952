//! Folders: their making, checkpoints, epochs and the garbage collection's generation.
//!
//! Owns what happens to a folder as a whole. It must not know what is inside.

use super::super::outcome::{Event, Refused};
use super::super::query::head_at;
use super::super::state::{EpochStart, FolderState};
use super::super::store::{MetaReads, MetaStore};
use super::{Stop, user_of};
use common::ids::{DeviceId, FolderId, Head};
use common::limits::FOLDERS_MAX;
use common::revision::Revision;
use common::trust::{Checkpoint, FolderGenesis};

/// First epoch of every folder.
const EPOCH_FIRST: u64 = 1;

/// Notes what devices hold of folders, as far as both are known.
pub(super) fn note_positions(
    store: &mut dyn MetaStore,
    positions: &[(FolderId, DeviceId, Revision)],
) -> Result<(), Stop> {
    for (folder, device, at) in positions {
        match own_folder(store, device, folder) {
            Ok(state) => store.put_position(folder, device, (*at).min(state.revision))?,
            // Revoked meanwhile, or of a folder that is gone: there is nothing to note.
            Err(Stop::Refused(_)) => {}
            Err(stop) => return Err(stop),
        }
    }
    Ok(())
}

/// A folder of the device's user; another's is answered as one that does not exist.
pub(super) fn own_folder(
    store: &(impl MetaReads + ?Sized),
    device: &DeviceId,
    folder: &FolderId,
) -> Result<FolderState, Stop> {
    let user = user_of(store, device)?;
    match store.folder(folder)? {
        Some(state) if state.user == user => Ok(state),
        _ => Err(Refused::NoSuchFolder.into()),
    }
}

pub(super) fn create(
    store: &mut dyn MetaStore,
    time_ms: u64,
    device: &DeviceId,
    genesis: &[u8],
    events: &mut Vec<Event>,
) -> Result<(), Stop> {
    let user = user_of(store, device)?;
    let (folder, opened) = FolderGenesis::open(genesis).map_err(Refused::DocumentInvalid)?;
    if opened.user != user {
        return Err(Refused::DocumentForeign.into());
    }
    if store.folder(&folder)?.is_some() {
        // The id is the hash of the genesis: it is this very folder.
        return Ok(());
    }
    // A folder that a restored server has forgotten may be put back by another device of its user
    // than the one that made it, revoked ones included: they are in the log all the same.
    if store.device(&opened.device)?.is_none_or(|author| author.user != user) {
        return Err(Refused::DocumentForeign.into());
    }
    if store.folders(&user, None, FOLDERS_MAX)?.len() >= FOLDERS_MAX {
        return Err(Refused::TooMany { what: "folders", limit: FOLDERS_MAX }.into());
    }
    let state = FolderState {
        user,
        genesis: genesis.to_vec(),
        epoch: EPOCH_FIRST,
        revision: 0,
        head: Head::ZERO,
        time_ms,
    };
    store.insert_folder(&folder, &state)?;
    store
        .insert_epoch(&folder, &EpochStart { epoch: EPOCH_FIRST, revision: 0, head: Head::ZERO })?;
    events.push(Event::Folder { folder, epoch: state.epoch, revision: state.revision });
    Ok(())
}

pub(super) fn put_checkpoint(
    store: &mut dyn MetaStore,
    device: &DeviceId,
    bytes: &[u8],
) -> Result<(), Stop> {
    let checkpoint = Checkpoint::open(bytes).map_err(Refused::DocumentInvalid)?;
    let folder = own_folder(store, device, &checkpoint.folder)?;
    let cursor = checkpoint.cursor;
    let on_chain = head_at(store, &checkpoint.folder, cursor.revision)? == Some(cursor.head);
    let epoch_known =
        store.lineage(&checkpoint.folder)?.iter().any(|start| start.epoch == cursor.epoch);
    if checkpoint.device != *device
        || !on_chain
        || !epoch_known
        || cursor.revision > folder.revision
    {
        return Err(Refused::DocumentForeign.into());
    }
    let newest = store.checkpoint(&checkpoint.folder)?;
    if newest.is_none_or(|(at, _)| at < cursor.revision) {
        if !store.whole(&checkpoint.folder)?.contains(cursor.revision) {
            return Err(Refused::CheckpointThinned(cursor.revision).into());
        }
        store.put_checkpoint(&checkpoint.folder, cursor.revision, bytes)?;
    }
    Ok(())
}

/// After a restore: what devices saw of the time since the backup is no part of this journal, so
/// it goes on under a number that no earlier life had. The clock's milliseconds are one, however
/// often the same backup is restored.
pub(super) fn begin_epoch(
    store: &mut dyn MetaStore,
    time_ms: u64,
    events: &mut Vec<Event>,
) -> Result<(), Stop> {
    for folder in store.all_folders()? {
        let Some(mut state) = store.folder(&folder)? else { continue };
        state.epoch = state.epoch.saturating_add(1).max(time_ms);
        store.advance_folder(&folder, &state)?;
        let start = EpochStart { epoch: state.epoch, revision: state.revision, head: state.head };
        store.insert_epoch(&folder, &start)?;
        events.push(Event::Folder { folder, epoch: state.epoch, revision: state.revision });
    }
    store.delete_invitations()?;
    // Receipts of the time since the backup tell of chunks that went with it, and the generations of
    // that time are not known here. The clock's milliseconds are beyond any that were counted.
    let generation = store.generation()?.saturating_add(2).max(time_ms);
    store.set_generation(generation)?;
    Ok(())
}

pub(super) fn begin_generation(store: &mut dyn MetaStore, given: u64) -> Result<(), Stop> {
    let stored = store.generation()?;
    if given < stored {
        return Err(Refused::GenerationBack { given, stored }.into());
    }
    store.set_generation(given)?;
    Ok(())
}
