//! Questions over the metadata that take more than one row.
//!
//! Owns snapshots as of a revision, version lists, lineages and the register digest. Every
//! function reads a store that does not change meanwhile; pages of one snapshot may come from
//! different states of the store, for what was at a revision stays so. It must not write.

use super::state::{ContentVersion, DeviceState, EpochStart, VersionRow};
use super::store::{
    FolderReads, JournalReads, MetaReads, RegisterReads, StoreError, Stored, UserReads,
};
use common::ids::{ConflictId, DeviceId, EntryId, FolderId, Head};
use common::limits::REPLY_ITEMS_MAX;
use common::record::{RegisterDigest, Registers};
use common::revision::{Epoch, Revision};

/// The device's state if it is enrolled now.
///
/// # Errors
/// What the store says.
pub fn enrolled(
    reads: &(impl UserReads + ?Sized),
    device: &DeviceId,
) -> Stored<Option<DeviceState>> {
    Ok(reads.device(device)?.filter(|state| !state.revoked))
}

/// The head of the journal's chain at a revision; `None` when the journal does not reach it.
///
/// # Errors
/// What the store says.
pub fn head_at(
    reads: &(impl JournalReads + ?Sized),
    folder: &FolderId,
    at: Revision,
) -> Stored<Option<Head>> {
    if at == 0 {
        return Ok(Some(Head::ZERO));
    }
    Ok(reads.mark(folder, at)?.map(|mark| mark.head))
}

/// How the epochs after `epoch` began. When the folder never had that epoch (it was lived on a
/// server that has been restored away), all but the first are given: which of them the reader
/// descends from is then for its own heads to say.
///
/// # Errors
/// What the store says.
pub fn lineage_after(
    reads: &(impl FolderReads + ?Sized),
    folder: &FolderId,
    epoch: Epoch,
) -> Stored<Vec<EpochStart>> {
    let lineage = reads.lineage(folder)?;
    let known = lineage.iter().any(|start| start.epoch == epoch);
    let later = |start: &EpochStart| if known { start.epoch > epoch } else { start.epoch > 1 };
    Ok(lineage.into_iter().filter(later).collect())
}

/// Registers that were live as of `at`, in ascending order of entry, after `after`: about `limit`
/// of them, and where to go on, `None` at the end.
///
/// # Errors
/// What the store says.
pub fn snapshot_page(
    reads: &(impl RegisterReads + ?Sized),
    folder: &FolderId,
    at: Revision,
    after: Option<&EntryId>,
    limit: usize,
) -> Stored<(Vec<Registers>, Option<EntryId>)> {
    let entries = reads.entries(folder, after, limit)?;
    let next = if entries.len() < limit { None } else { entries.last().map(|(entry, _)| *entry) };
    let mut page = Vec::with_capacity(entries.len());
    for (entry, kind) in entries {
        let Some(place) = reads.places(folder, &entry, at, 1)?.pop() else { continue };
        if place.deleted {
            continue;
        }
        let content = reads
            .contents(folder, &entry, at, 1)?
            .pop()
            .ok_or(StoreError::Corrupt { what: "content of a live entry" })?;
        page.push(Registers {
            entry,
            kind,
            place_revision: place.revision,
            place: place.place,
            content_revision: content.revision,
            content: content.content,
        });
    }
    Ok((page, next))
}

/// The digest of all registers and open conflicts as of `at`: what a checkpoint signs. Costs a
/// pass over the folder.
///
/// # Errors
/// What the store says.
pub fn register_digest(
    reads: &(impl RegisterReads + ?Sized),
    folder: &FolderId,
    at: Revision,
) -> Stored<Head> {
    let mut digest = RegisterDigest::new(folder);
    let mut after: Option<EntryId> = None;
    loop {
        let (page, next) = snapshot_page(reads, folder, at, after.as_ref(), REPLY_ITEMS_MAX)?;
        for registers in &page {
            digest.entry(&registers.entry, &RegisterDigest::row(registers));
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    let mut last: Option<ConflictId> = None;
    loop {
        let page = reads.conflicts_open(folder, at, last.as_ref(), REPLY_ITEMS_MAX)?;
        for record in &page {
            digest.conflict(record);
        }
        last = page.last().map(|record| record.conflict);
        if page.len() < REPLY_ITEMS_MAX {
            return Ok(digest.finish());
        }
    }
}

/// Versions of an entry at or before `at`, newest first, at most `limit`, and whether older ones
/// exist. A group that merged gives one row for each content it set.
///
/// # Errors
/// What the store says.
pub fn versions(
    reads: &(impl MetaReads + ?Sized),
    folder: &FolderId,
    entry: &EntryId,
    at: Revision,
    limit: usize,
) -> Stored<(Vec<VersionRow>, bool)> {
    let Some(state) = reads.entry(folder, entry)? else {
        return Ok((Vec::new(), false));
    };
    let places = reads.places(folder, entry, at, limit.saturating_add(2))?;
    let contents = reads.contents(folder, entry, at, limit.saturating_add(2))?;
    let mut rows = Vec::new();
    let (mut place, mut content) = (0, 0);
    while rows.len() <= limit {
        let newest = (
            places.get(place).map(|version| version.revision),
            contents.get(content).map(|version| version.revision),
        );
        let Some(revision) = newest.0.max(newest.1) else { break };
        let place_changed = newest.0 == Some(revision);
        let content_changed = newest.1 == Some(revision);
        let stands = places.get(place).zip(contents.get(content));
        let Some((place_now, content_now)) = stands else { break };
        let mark = reads
            .mark(folder, revision)?
            .ok_or(StoreError::Corrupt { what: "journal mark of a version" })?;
        rows.push(VersionRow {
            time_ms: mark.time_ms,
            device: mark.device,
            revision,
            place_changed,
            content_changed,
            deleted: place_now.deleted,
            registers: Registers {
                entry: *entry,
                kind: state.kind,
                place_revision: place_now.revision,
                place: place_now.place.clone(),
                content_revision: content_now.revision,
                content: content_now.content.clone(),
            },
        });
        let again = content_changed && repeats(&contents, content);
        content += usize::from(content_changed);
        // A content that the same revision set before stands with the same place.
        place += usize::from(place_changed && !again);
    }
    let more = rows.len() > limit;
    rows.truncate(limit);
    Ok((rows, more))
}

/// Whether the next older content was set by the same revision.
fn repeats(contents: &[ContentVersion], at: usize) -> bool {
    contents.get(at).zip(contents.get(at + 1)).is_some_and(|(a, b)| a.revision == b.revision)
}
