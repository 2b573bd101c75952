//! Questions over the metadata that take more than one row.
//!
//! Owns snapshots as of a revision, what a folder was, version lists, timelines, lineages and the
//! register digest. Every
//! function reads a store that does not change meanwhile; pages of one snapshot may come from
//! different states of the store, for what was at a revision stays so. It must not write.

use super::state::{
    ContentVersion, DeviceState, EpochStart, JournalMark, PlaceVersion, VersionRow,
};
use super::store::{
    FolderReads, JournalReads, LAST_REVISION, MetaReads, RegisterReads, RetentionReads, StoreError,
    Stored, UserReads,
};
use common::ids::{ConflictId, DeviceId, EntryId, FolderId, Head};
use common::limits::{DEPTH_MAX, GROUP_CONTENTS_MAX, REPLY_ITEMS_MAX};
use common::record::{Earlier, Kind, RegisterDigest, Registers};
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

/// Registers that were live as of `at`, a moment that is whole ([`RetentionReads::whole`]), in
/// ascending order of entry, after `after`: about `limit` of them, and where to go on, `None` at the
/// end.
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
        page.extend(registers_at(reads, folder, &entry, kind, at)?);
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
/// exist; a revision that closed a conflict of it, and set no register, is told like one. A group that merged gives one row for each content it set; a page ends with the last of
/// them, unless they alone are more than the limit. Of a thinned history those
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
        let closings = reads.closings(folder, entry, at, page)?;
        let floor = floor(&places, &contents, &closings, page);
        let set = places.iter().map(|version| version.revision);
        let set = set.chain(contents.iter().map(|version| version.revision));
        let set: BTreeSet<_> = set.chain(closings.iter().copied()).collect();
        for revision in set.range(floor..).rev() {
            if rows.len() > limit {
                break;
            }
            for (place, content) in standing_at(*revision, &places, &contents) {
                // A conflict of what is gone is closed without news of it.
                if place.deleted && place.revision < *revision {
                    continue;
                }
                let mark = reads.mark(folder, *revision)?;
                let mark = mark.ok_or(StoreError::Corrupt { what: "journal mark of a version" })?;
                let row = version_row((*entry, state.kind), *revision, &mark, place, content);
                let before = before(&places, place, *revision);
                let attributes_before = attributes_before(&contents, content, *revision);
                let settled = closings.contains(revision);
                rows.push(VersionRow { before, attributes_before, settled, ..row });
            }
        }
        if floor == 0 || rows.len() > limit {
            break;
        }
        at = floor - 1;
    }
    let Some(cut) = rows.get(limit).map(|row| row.revision) else { return Ok((rows, false)) };
    rows.truncate(limit);
    // A reader goes on below the last revision of a page: one that does not fit comes with the next.
    let whole = rows.partition_point(|row| row.revision > cut);
    if whole > 0 {
        rows.truncate(whole);
    }
    Ok((rows, true))
}

/// The revision from which on a page of versions tells all; 0 when nothing is left beyond it.
fn floor(
    places: &[PlaceVersion],
    contents: &[ContentVersion],
    closings: &[Revision],
    page: usize,
) -> Revision {
    let closing = closings.last().filter(|_| closings.len() >= page).map_or(0, |last| *last);
    let place = places.last().filter(|_| places.len() >= page).map_or(0, |last| last.revision);
    let content = contents.last().filter(|_| contents.len() >= page);
    // The contents of the last revision may go on in the next page, and what its place replaced may
    // be there.
    let beyond = |last: Revision| if last == 0 { 0 } else { last + 1 };
    beyond(place.max(content.map_or(0, |last| last.revision)).max(closing))
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
        before: None,
        attributes_before: None,
        settled: false,
    }
}

/// The place that a revision replaced, if it set one and that is known. Places come newest first.
fn before(places: &[PlaceVersion], place: &PlaceVersion, at: Revision) -> Option<PlaceVersion> {
    let older = places.get(places.partition_point(|version| version.revision >= at))?;
    // What retention has released in between is not guessed.
    (place.revision == at && older.until.is_none()).then(|| older.clone())
}

/// The attributes of the content that a revision replaced, as [`before`] tells its place.
fn attributes_before(
    contents: &[ContentVersion],
    content: &ContentVersion,
    at: Revision,
) -> Option<Vec<u8>> {
    let older = contents.get(contents.partition_point(|version| version.revision >= at))?;
    let is_it = content.revision == at && older.until.is_none();
    is_it.then(|| older.content.attributes.clone())
}

/// The last revision at or before a time, 0 before the first.
///
/// # Errors
/// What the store says.
pub fn revision_at(
    reads: &(impl FolderReads + JournalReads + ?Sized),
    folder: &FolderId,
    time_ms: u64,
) -> Stored<Revision> {
    let last = reads.folder(folder)?.map_or(0, |state| state.revision);
    Ok(first_at(reads, folder, last, time_ms.saturating_add(1))? - 1)
}

/// The first revision at or after a time, of those up to `last`; the one after them when there is none.
/// Times of revisions never go back, so it is found by halving.
///
/// # Errors
/// What the store says.
pub(super) fn first_at(
    reads: &(impl JournalReads + ?Sized),
    folder: &FolderId,
    last: Revision,
    time_ms: u64,
) -> Stored<Revision> {
    let (mut low, mut high) = (1, last + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let mark = reads.mark(folder, middle)?;
        let mark = mark.ok_or(StoreError::Corrupt { what: "journal mark" })?;
        if mark.time_ms < time_ms { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

/// What the entries of which a register was set after `at`, a moment that is whole, were then, for one
/// who knows the folder as of `known`: in the store's order, after one, at most `limit`, and where to
/// go on, `None` at the end.
///
/// # Errors
/// What the store says.
pub fn past_page(
    reads: &(impl RegisterReads + ?Sized),
    folder: &FolderId,
    range: (Revision, Revision),
    after: Option<&EntryId>,
    limit: usize,
) -> Stored<(Vec<Earlier>, Option<EntryId>)> {
    let page = reads.earlier(folder, range, after, limit)?;
    let next = if page.len() < limit { None } else { page.last().map(|last| last.entry) };
    Ok((page, next))
}

/// Both registers of an entry as of a revision; `None` when it was not there.
fn registers_at(
    reads: &(impl RegisterReads + ?Sized),
    folder: &FolderId,
    entry: &EntryId,
    kind: Kind,
    at: Revision,
) -> Stored<Option<Registers>> {
    let Some(place) = reads.places(folder, entry, at, 1)?.pop() else { return Ok(None) };
    if place.deleted {
        return Ok(None);
    }
    let content = reads
        .contents(folder, entry, at, 1)?
        .pop()
        .ok_or(StoreError::Corrupt { what: "content of a live entry" })?;
    Ok(Some(Registers {
        entry: *entry,
        kind,
        place_revision: place.revision,
        place: place.place,
        content_revision: content.revision,
        content: content.content,
    }))
}

/// Where a timeline goes on: at a revision, after an entry of it.
pub type TimelineNext = (Revision, Option<EntryId>);

/// Versions of all entries from `from` on, newest first, at most `limit`, and where to go on,
/// `None` at the end. With `below` only those of entries that were in that directory then, at any
/// depth, or are it; then at most `limit` versions are looked at, and fewer or none may be found.
///
/// # Errors
/// What the store says.
pub fn timeline_page(
    reads: &(impl MetaReads + ?Sized),
    folder: &FolderId,
    from: TimelineNext,
    below: Option<&EntryId>,
    limit: usize,
) -> Stored<(Vec<VersionRow>, Option<TimelineNext>)> {
    let changes = reads.timeline(folder, from.0, from.1.as_ref(), limit)?;
    let last = changes.last().filter(|_| changes.len() == limit);
    let next = last.map(|(revision, entry)| (*revision, Some(*entry)));
    let mut rows = Vec::new();
    for (revision, entry) in changes {
        if let Some(below) = below
            && !was_below(reads, folder, &entry, below, revision)?
        {
            continue;
        }
        let (mut found, _) = versions(reads, folder, &entry, revision, 2)?;
        found.retain(|row| row.revision == revision);
        if found.len() > 1 {
            // A merge sets several contents at one revision.
            found = versions(reads, folder, &entry, revision, GROUP_CONTENTS_MAX)?.0;
            found.retain(|row| row.revision == revision);
        }
        rows.append(&mut found);
    }
    Ok((rows, next))
}

/// Whether an entry was in a directory as of a revision, or is it. One that was deleted then was
/// where it was before; one that was moved was also where it had been.
fn was_below(
    reads: &(impl RegisterReads + ?Sized),
    folder: &FolderId,
    entry: &EntryId,
    directory: &EntryId,
    at: Revision,
) -> Stored<bool> {
    if entry == directory {
        return Ok(true);
    }
    for place in reads.places(folder, entry, at, 2)? {
        let is_now = place.revision == at;
        let mut above = place.place.parent;
        for _ in 0..DEPTH_LOOKED_AT {
            if above == *directory {
                return Ok(true);
            }
            if above == EntryId::ROOT {
                break;
            }
            let Some(place) = reads.places(folder, &above, at, 1)?.pop() else { break };
            above = place.place.parent;
        }
        if !is_now {
            break;
        }
    }
    Ok(false)
}

/// Directories above an entry that are looked at: more than any device can have made.
const DEPTH_LOOKED_AT: usize = 4 * DEPTH_MAX;

/// Deleted entries after one, each with the version that ended it, at most `limit`, and where to go
/// on, `None` at the end.
///
/// # Errors
/// What the store says.
pub fn deleted_page(
    reads: &(impl MetaReads + ?Sized),
    folder: &FolderId,
    after: Option<&EntryId>,
    limit: usize,
) -> Stored<(Vec<VersionRow>, Option<EntryId>)> {
    let entries = reads.deleted(folder, after, limit)?;
    let next = if entries.len() < limit { None } else { entries.last().copied() };
    let mut rows = Vec::with_capacity(entries.len());
    for entry in entries {
        let (mut last, _) = versions(reads, folder, &entry, LAST_REVISION, 1)?;
        rows.append(&mut last);
    }
    Ok((rows, next))
}
