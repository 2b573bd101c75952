//! Questions over the metadata that take more than one row.
//!
//! Owns snapshots as of a revision, version lists, lineages and the register digest. Every
//! function reads a store that does not change meanwhile; pages of one snapshot may come from
//! different states of the store, for what was at a revision stays so. It must not write.

use super::state::{
    ContentVersion, DeviceState, EpochStart, JournalMark, PlaceVersion, VersionRow,
};
use super::store::{
    FolderReads, JournalReads, MetaReads, RegisterReads, RetentionReads, StoreError, Stored,
    UserReads,
};
use common::ids::{ConflictId, DeviceId, EntryId, FolderId, Head};
use common::limits::{GROUP_CONTENTS_MAX, REPLY_ITEMS_MAX};
use common::record::{Kind, RegisterDigest, Registers};
use common::revision::{Epoch, Revision};
use std::collections::BTreeSet;

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

/// Registers that were live as of `at`, a moment that is whole ([`RetentionReads::whole`]), in ascending order of entry, after `after`: about `limit`
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

/// The digest of all registers, open conflicts and settings as of `at`, a moment that is whole: what
/// a checkpoint signs. Costs a pass over the folder.
///
/// # Errors
/// What the store says.
pub fn register_digest(
    reads: &(impl RegisterReads + RetentionReads + ?Sized),
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
            break;
        }
    }
    if let Some(standing) = reads.settings(folder, at)? {
        digest.settings(standing.revision, &standing.settings);
    }
    Ok(digest.finish())
}

/// Versions of an entry at or before `at`, newest first, at most `limit`, and whether older ones
/// exist. A group that merged gives one row for each content it set. Of a thinned history those
/// revisions are told of which both registers are known: what stood at the others is not guessed.
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
    // A page ends within the contents of one revision at worst.
    let page = limit.saturating_add(GROUP_CONTENTS_MAX + 2);
    let (mut rows, mut at) = (Vec::new(), at);
    loop {
        let places = reads.places(folder, entry, at, page)?;
        let contents = reads.contents(folder, entry, at, page)?;
        let floor = floor(&places, &contents, page);
        let set = places.iter().map(|version| version.revision);
        let set: BTreeSet<_> = set.chain(contents.iter().map(|version| version.revision)).collect();
        for revision in set.range(floor..).rev() {
            if rows.len() > limit {
                break;
            }
            for (place, content) in standing_at(*revision, &places, &contents) {
                let mark = reads.mark(folder, *revision)?;
                let mark = mark.ok_or(StoreError::Corrupt { what: "journal mark of a version" })?;
                rows.push(version_row((*entry, state.kind), *revision, &mark, place, content));
            }
        }
        if floor == 0 || rows.len() > limit {
            break;
        }
        at = floor - 1;
    }
    let more = rows.len() > limit;
    rows.truncate(limit);
    Ok((rows, more))
}

/// The revision from which on a page of versions tells all; 0 when nothing is left beyond it.
fn floor(places: &[PlaceVersion], contents: &[ContentVersion], page: usize) -> Revision {
    let place = places.last().filter(|_| places.len() >= page).map_or(0, |last| last.revision);
    let content = contents.last().filter(|_| contents.len() >= page);
    // The contents of the last revision may go on in the next page.
    place.max(content.map_or(0, |last| last.revision + 1))
}

/// Both registers as of a revision, once for each content that it set; nothing when retention has
/// released one of them. Both lists come newest first.
fn standing_at<'a>(
    revision: Revision,
    places: &'a [PlaceVersion],
    contents: &'a [ContentVersion],
) -> Vec<(&'a PlaceVersion, &'a ContentVersion)> {
    let stands = |until: Option<Revision>| until.is_none_or(|until| until > revision);
    let place = places.get(places.partition_point(|version| version.revision > revision));
    let Some(place) = place.filter(|place| stands(place.until)) else { return Vec::new() };
    let from = contents.partition_point(|version| version.revision > revision);
    let older = contents.get(from..).unwrap_or_default();
    let set = older.iter().take_while(|version| version.revision == revision).count();
    let standing = older.iter().take(set.max(1)).filter(|version| stands(version.until));
    standing.map(|content| (place, content)).collect()
}

fn version_row(
    (entry, kind): (EntryId, Kind),
    revision: Revision,
    mark: &JournalMark,
    place: &PlaceVersion,
    content: &ContentVersion,
) -> VersionRow {
    VersionRow {
        time_ms: mark.time_ms,
        device: mark.device,
        revision,
        place_changed: place.revision == revision,
        content_changed: content.revision == revision,
        deleted: place.deleted,
        registers: Registers {
            entry,
            kind,
            place_revision: place.revision,
            place: place.place.clone(),
            content_revision: content.revision,
            content: content.content.clone(),
        },
        released: content.released,
    }
}
