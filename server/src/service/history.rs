//! Requests about what a folder was: versions, timelines, past states, deleted entries, names.
//!
//! Owns their bounds and wire shapes. A request is answered by one frame, that for a past state by
//! some, and each says where to go on. It must not change anything.

use super::Service;
use super::access::{self, Denied};
use super::refusal::bad_id;
use super::replies::cut;
use common::ids::{DeviceId, EntryId, FolderId, NameTag};
use common::limits::{NAMED_MAX, REPLY_BYTES_SOFT, REPLY_ITEMS_MAX};
use common::record::{EarlierMessage, RegistersMessage};
use common::revision::Revision;
use common::wire::meta::{
    DeletedRead, MomentRead, MomentReply, NamedEntry, NamedRead, NamedReply, PastPart, PastRead,
    PlaceBefore, Refusal, RefusalCode, Reply, TimelineRead, Version, VersionsPart, VersionsRead,
};
use prost::Message;
use server_core::metadata::{LAST_REVISION, MetaReads, VersionRow, query};

/// Pages of a past state that answer one request: a few megabytes, while which the asker opens those
/// before.
const PAST_PAGES: usize = 16;

pub(super) async fn versions(
    service: &Service,
    peer: DeviceId,
    request: VersionsRead,
) -> Result<Reply, Refusal> {
    let folder = FolderId::from_slice(&request.folder).map_err(bad_id)?;
    let entry = EntryId::from_slice(&request.entry).map_err(bad_id)?;
    let (at, limit) = (at_or_before(request.at_or_before), limit(request.limit));
    let read = move |reads: &dyn MetaReads| {
        access::folder(reads, &peer, &folder)?;
        if reads.entry(&folder, &entry)?.is_none() {
            let refusal = Refusal::new(RefusalCode::NotFound, "the folder has no such entry");
            return Err(Denied::Refused(refusal));
        }
        Ok(query::versions(reads, &folder, &entry, at, limit)?)
    };
    let (rows, more) = service.inner.meta.read(read).await?;
    let (versions, cut) = fitting(rows, |row, newer| row.revision != newer.revision);
    Ok(Reply::Versions(VersionsPart {
        versions,
        more: more || cut.is_some(),
        ..VersionsPart::default()
    }))
}

pub(super) async fn timeline(
    service: &Service,
    peer: DeviceId,
    request: TimelineRead,
) -> Result<Reply, Refusal> {
    let folder = FolderId::from_slice(&request.folder).map_err(bad_id)?;
    let below = optional(&request.below)?;
    let from = (at_or_before(request.at_or_before), optional(&request.after)?);
    let limit = limit(request.limit);
    let read = move |reads: &dyn MetaReads| {
        access::folder(reads, &peer, &folder)?;
        Ok(query::timeline_page(reads, &folder, from, below.as_ref(), limit)?)
    };
    let (rows, mut next) = service.inner.meta.read(read).await?;
    let is_other = |row: &VersionRow, newer: &VersionRow| {
        (row.revision, row.registers.entry) != (newer.revision, newer.registers.entry)
    };
    let (versions, cut) = fitting(rows, is_other);
    next = cut.map(|last| (last.revision, Some(last.registers.entry))).or(next);
    Ok(Reply::Versions(VersionsPart {
        versions,
        more: next.is_some(),
        next_revision: next.map_or(0, |(revision, _)| revision),
        next_entry: next.and_then(|(_, entry)| entry).map_or_else(Vec::new, |it| it.to_vec()),
    }))
}

pub(super) async fn deleted(
    service: &Service,
    peer: DeviceId,
    request: DeletedRead,
) -> Result<Reply, Refusal> {
    let folder = FolderId::from_slice(&request.folder).map_err(bad_id)?;
    let after = optional(&request.after)?;
    let read = move |reads: &dyn MetaReads| {
        access::folder(reads, &peer, &folder)?;
        Ok(query::deleted_page(reads, &folder, after.as_ref(), REPLY_ITEMS_MAX)?)
    };
    let (rows, mut next) = service.inner.meta.read(read).await?;
    let (versions, cut) = fitting(rows, |_, _| true);
    next = cut.map(|last| last.registers.entry).or(next);
    Ok(Reply::Versions(VersionsPart {
        versions,
        more: next.is_some(),
        next_revision: 0,
        next_entry: next.map_or_else(Vec::new, |entry| entry.to_vec()),
    }))
}

/// Where the telling of what a folder was goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct PastFrom {
    folder: FolderId,
    at: Revision,
    known: Revision,
    after: Option<EntryId>,
    /// Pages that are still told in this answer.
    pages: usize,
}

impl PastFrom {
    pub(super) fn asked(request: &PastRead) -> Result<Self, Refusal> {
        Ok(Self {
            folder: FolderId::from_slice(&request.folder).map_err(bad_id)?,
            at: at_or_before(request.at),
            known: at_or_before(request.known),
            after: optional(&request.after)?,
            pages: PAST_PAGES,
        })
    }
}

/// One page of what a folder was, and where the same answer goes on. What it was can be told only
/// while all of it is there: each page looks again.
pub(super) fn past(
    reads: &dyn MetaReads,
    peer: &DeviceId,
    from: PastFrom,
) -> Result<(Vec<Reply>, Option<PastFrom>), Denied> {
    let PastFrom { folder, at, known, after, pages } = from;
    access::folder(reads, peer, &folder)?;
    if !reads.whole(&folder)?.contains(at) {
        let text = "retention has released a part of that moment";
        return Err(Denied::Refused(Refusal::new(RefusalCode::NotFound, text)));
    }
    let range = (at, known);
    let (told, next) = query::past_page(reads, &folder, range, after.as_ref(), REPLY_ITEMS_MAX)?;
    let told = told.into_iter().map(|it| (it.entry, EarlierMessage::from(&it))).collect();
    let frames = cut(told, |(_, message)| message.encoded_len());
    let mut parts: Vec<PastPart> = Vec::with_capacity(frames.len().max(1));
    for frame in frames {
        let last = frame.last().map(|(entry, _)| entry.to_vec()).unwrap_or_default();
        let entries = frame.into_iter().map(|(_, message)| message).collect();
        parts.push(PastPart { entries, next: last });
    }
    if parts.is_empty() {
        parts.push(PastPart::default());
    }
    if let (None, Some(last)) = (next, parts.last_mut()) {
        last.next.clear();
    }
    let rest = next.filter(|_| pages > 1);
    let rest = rest.map(|after| PastFrom { after: Some(after), pages: pages - 1, ..from });
    Ok((parts.into_iter().map(Reply::Past).collect(), rest))
}

pub(super) async fn moment(
    service: &Service,
    peer: DeviceId,
    request: MomentRead,
) -> Result<Reply, Refusal> {
    let folder = FolderId::from_slice(&request.folder).map_err(bad_id)?;
    let MomentRead { revision, time_ms, .. } = request;
    let read = move |reads: &dyn MetaReads| {
        access::folder(reads, &peer, &folder)?;
        let last = reads.folder(&folder)?.map_or(0, |state| state.revision);
        let asked = match revision {
            0 => query::revision_at(reads, &folder, time_ms)?,
            revision => revision.min(last),
        };
        // Of what retention has thinned, the last moment before it that is still whole.
        let whole = reads.whole(&folder)?;
        let revision = whole.at_or_before(asked).unwrap_or(0);
        let first = whole.kept.first().copied().unwrap_or(whole.horizon).min(last);
        let time =
            |at: Revision| Ok::<_, Denied>(reads.mark(&folder, at)?.map_or(0, |m| m.time_ms));
        Ok(MomentReply {
            revision,
            time_ms: time(revision)?,
            first_ms: time(first)?,
            last_revision: last,
        })
    };
    Ok(Reply::Moment(service.inner.meta.read(read).await?))
}

pub(super) async fn named(
    service: &Service,
    peer: DeviceId,
    request: NamedRead,
) -> Result<Reply, Refusal> {
    let folder = FolderId::from_slice(&request.folder).map_err(bad_id)?;
    let parent = EntryId::from_slice(&request.parent).map_err(bad_id)?;
    let name_tag = NameTag::from_slice(&request.name_tag).map_err(bad_id)?;
    let read = move |reads: &dyn MetaReads| {
        access::folder(reads, &peer, &folder)?;
        Ok(reads.named_ever(&folder, &parent, &name_tag, NAMED_MAX)?)
    };
    let found = service.inner.meta.read(read).await?.into_iter();
    let entries = found.map(|(entry, state)| NamedEntry {
        entry: entry.to_vec(),
        kind: state.kind.code(),
        last: state.parent == parent && state.name_tag == name_tag,
        deleted: state.deleted,
        place_revision: state.place_revision,
    });
    Ok(Reply::Named(NamedReply { entries: entries.collect() }))
}

/// As many versions as fit a frame, and the last of them if there are more. A frame ends only where
/// the next row is another than the last (`is_other`), so that a reader can go on there.
fn fitting(
    rows: Vec<VersionRow>,
    is_other: impl Fn(&VersionRow, &VersionRow) -> bool,
) -> (Vec<Version>, Option<VersionRow>) {
    let mut versions = Vec::with_capacity(rows.len());
    let (mut bytes, mut last): (usize, Option<VersionRow>) = (0, None);
    for row in rows {
        let version = version(&row);
        bytes += version.encoded_len();
        if bytes > REPLY_BYTES_SOFT && last.as_ref().is_some_and(|last| is_other(&row, last)) {
            return (versions, last);
        }
        versions.push(version);
        last = Some(row);
    }
    (versions, None)
}

fn version(row: &VersionRow) -> Version {
    let before = row.before.as_ref().map(|before| PlaceBefore {
        parent: before.place.parent.to_vec(),
        name: before.place.name.clone(),
        deleted: before.deleted,
    });
    Version {
        revision: row.revision,
        time_ms: row.time_ms,
        device: row.device.to_vec(),
        place_changed: row.place_changed,
        content_changed: row.content_changed,
        deleted: row.deleted,
        registers: Some(RegistersMessage::from(&row.registers)),
        before,
        settled: row.settled,
        released: row.released,
        attributes_before: row.attributes_before.clone(),
    }
}

/// What a request says of an end, 0 for none.
fn at_or_before(revision: Revision) -> Revision {
    if revision == 0 { LAST_REVISION } else { revision.min(LAST_REVISION) }
}

fn limit(asked: u32) -> usize {
    match asked as usize {
        0 => REPLY_ITEMS_MAX,
        limit => limit.min(REPLY_ITEMS_MAX),
    }
}

fn optional(entry: &[u8]) -> Result<Option<EntryId>, Refusal> {
    if entry.is_empty() { Ok(None) } else { Ok(Some(EntryId::from_slice(entry).map_err(bad_id)?)) }
}
