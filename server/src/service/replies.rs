//! Replies of many frames, read page by page as they are sent.
//!
//! Owns how device logs, folder lists, snapshots and past states are cut into frames. One page at most is in
//! memory. Each page checks again that the peer is enrolled. It must not know how frames are sent.

use super::Service;
use super::access::{self, Denied};
use super::admission::Admitted;
use super::history::{self, PastFrom};
use super::refusal::{bad_id, busy};
use common::ids::{ConflictId, DeviceId, EntryId, FolderId, UserId};
use common::limits::{REPLY_BYTES_SOFT, REPLY_ITEMS_MAX};
use common::record::{ConflictMessage, RegistersMessage, StandingSettingsMessage};
use common::revision::Revision;
use common::wire::meta::{
    DeviceLogPart, FolderListPart, FolderState, Refusal, Reply, SnapshotPart, SnapshotRead,
};
use prost::Message;
use server_core::metadata::{MetaReads, query};
use std::collections::VecDeque;

/// Records of a device log read at once; each has at most 256 KiB.
const LOG_RECORDS_PAGE: usize = 8;
/// Folders read at once; each has a genesis of at most 256 KiB, a few hundred bytes as a rule.
const FOLDERS_PAGE: usize = 16;
/// Entries of a snapshot read at once; each has at most 9 KiB.
const ENTRIES_PAGE: usize = 256;

/// What has not been read yet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rest {
    /// Records of a user's device log from a number on. The first part is sent even when empty.
    DeviceLog { user: UserId, from: u64, begun: bool },
    /// Folders of a user after one.
    Folders { user: UserId, after: Option<FolderId>, begun: bool },
    /// Live entries as of a revision, after one; then conflicts.
    Entries { folder: FolderId, at: Revision, after: Option<EntryId> },
    /// What a folder was, for a peer.
    Past { peer: DeviceId, from: PastFrom },
    /// Conflicts as of a revision, after one.
    Conflicts { folder: FolderId, at: Revision, after: Option<ConflictId> },
}

/// The frames of one page, and what comes after them.
type Page = (VecDeque<Reply>, Option<Rest>);

/// The frames of a reply, in order.
pub struct Replies {
    service: Service,
    /// Whose enrolment each page checks; none of a joiner, who has none yet.
    peer: Option<DeviceId>,
    ready: VecDeque<Reply>,
    rest: Option<Rest>,
    _admitted: Option<Admitted>,
}

impl Replies {
    /// Frames that are there already, then what is to be read.
    pub(super) fn new(
        service: &Service,
        peer: Option<DeviceId>,
        admitted: Admitted,
        ready: impl IntoIterator<Item = Reply>,
        rest: Option<Rest>,
    ) -> Self {
        let ready = ready.into_iter().collect();
        Self { service: service.clone(), peer, ready, rest, _admitted: Some(admitted) }
    }

    /// A refusal and nothing else.
    pub(super) fn refused(service: &Service, refusal: Refusal) -> Self {
        let ready = VecDeque::from([Reply::Refused(refusal)]);
        Self { service: service.clone(), peer: None, ready, rest: None, _admitted: None }
    }

    /// The next frame; `None` after the last, or after a refusal. A page that fails to be read ends
    /// the run with a refusal, so a run without its end is never taken for whole. When cancelled,
    /// drop this.
    pub async fn next(&mut self) -> Option<Reply> {
        while self.ready.is_empty() {
            let rest = self.rest.take()?;
            let peer = self.peer;
            let read = move |reads: &dyn MetaReads| {
                if let Some(peer) = &peer {
                    access::device(reads, peer)?;
                }
                read_page(reads, rest)
            };
            match self.service.inner.meta.read(read).await {
                Ok((ready, rest)) => {
                    self.ready = ready;
                    self.rest = rest;
                }
                Err(refusal) => self.ready.push_back(Reply::Refused(refusal)),
            }
        }
        self.ready.pop_front()
    }

    /// All frames that are left.
    pub(super) async fn collect(mut self) -> Vec<Reply> {
        let mut all = Vec::new();
        while let Some(reply) = self.next().await {
            all.push(reply);
        }
        all
    }
}

impl std::fmt::Debug for Replies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replies")
            .field("ready", &self.ready.len())
            .field("rest", &self.rest)
            .finish_non_exhaustive()
    }
}

fn read_page(reads: &dyn MetaReads, rest: Rest) -> Result<Page, Denied> {
    match rest {
        Rest::DeviceLog { user, from, begun } => device_log(reads, user, from, begun),
        Rest::Folders { user, after, begun } => folders(reads, user, after, begun),
        Rest::Entries { folder, at, after } => entries(reads, folder, at, after),
        Rest::Conflicts { folder, at, after } => conflicts(reads, folder, at, after),
        Rest::Past { peer, from } => {
            let (frames, rest) = history::past(reads, &peer, from)?;
            Ok((frames.into(), rest.map(|from| Rest::Past { peer, from })))
        }
    }
}

fn device_log(
    reads: &dyn MetaReads,
    user: UserId,
    mut from: u64,
    begun: bool,
) -> Result<Page, Denied> {
    let records = reads.log_records(&user, from, LOG_RECORDS_PAGE)?;
    let whole = records.len() < LOG_RECORDS_PAGE;
    let mut frames = VecDeque::new();
    for records in cut(records, Vec::len) {
        let count = records.len() as u64;
        frames.push_back(Reply::DeviceLog(DeviceLogPart { from, records }));
        from += count;
    }
    if frames.is_empty() && !begun {
        frames.push_back(Reply::DeviceLog(DeviceLogPart { from, records: Vec::new() }));
    }
    Ok((frames, (!whole).then_some(Rest::DeviceLog { user, from, begun: true })))
}

fn folders(
    reads: &dyn MetaReads,
    user: UserId,
    after: Option<FolderId>,
    begun: bool,
) -> Result<Page, Denied> {
    let found = reads.folders(&user, after.as_ref(), FOLDERS_PAGE)?;
    let next = found.last().filter(|_| found.len() == FOLDERS_PAGE).map(|(folder, _)| *folder);
    let states = found.into_iter().map(|(_, state)| FolderState {
        genesis: state.genesis,
        epoch: state.epoch,
        revision: state.revision,
        head: state.head.to_vec(),
    });
    let mut frames: VecDeque<Reply> = cut(states.collect(), Message::encoded_len)
        .into_iter()
        .map(|folders| Reply::Folders(FolderListPart { folders }))
        .collect();
    if frames.is_empty() && !begun {
        frames.push_back(Reply::Folders(FolderListPart::default()));
    }
    let rest = next.map(|folder| Rest::Folders { user, after: Some(folder), begun: true });
    Ok((frames, rest))
}

/// The first frame of a snapshot and what follows it.
pub(super) fn snapshot(
    reads: &dyn MetaReads,
    peer: &DeviceId,
    request: &SnapshotRead,
) -> Result<(Reply, Option<Rest>), Denied> {
    let folder = FolderId::from_slice(&request.folder).map_err(bad_id)?;
    access::folder(reads, peer, &folder)?;
    Ok(match reads.checkpoint(&folder)? {
        None => (Reply::Snapshot(SnapshotPart { last: true, ..SnapshotPart::default() }), None),
        Some((at, checkpoint)) => (
            Reply::Snapshot(SnapshotPart { checkpoint, ..SnapshotPart::default() }),
            Some(Rest::Entries { folder, at, after: None }),
        ),
    })
}

fn entries(
    reads: &dyn MetaReads,
    folder: FolderId,
    at: Revision,
    after: Option<EntryId>,
) -> Result<Page, Denied> {
    check_whole(reads, &folder, at)?;
    let (found, next) = query::snapshot_page(reads, &folder, at, after.as_ref(), ENTRIES_PAGE)?;
    let messages = found.iter().map(RegistersMessage::from).collect();
    let frames = cut(messages, Message::encoded_len)
        .into_iter()
        .map(|entries| Reply::Snapshot(SnapshotPart { entries, ..SnapshotPart::default() }))
        .collect();
    let rest = match next {
        Some(entry) => Rest::Entries { folder, at, after: Some(entry) },
        None => Rest::Conflicts { folder, at, after: None },
    };
    Ok((frames, Some(rest)))
}

fn conflicts(
    reads: &dyn MetaReads,
    folder: FolderId,
    at: Revision,
    after: Option<ConflictId>,
) -> Result<Page, Denied> {
    let found = reads.conflicts_open(&folder, at, after.as_ref(), REPLY_ITEMS_MAX)?;
    let next = found.last().filter(|_| found.len() == REPLY_ITEMS_MAX).map(|last| last.conflict);
    let conflicts = found.iter().map(ConflictMessage::from).collect();
    let last = next.is_none();
    let settings = if last { reads.settings(&folder, at)? } else { None };
    let settings = settings.as_ref().map(StandingSettingsMessage::from);
    let part = SnapshotPart { conflicts, last, settings, ..SnapshotPart::default() };
    let rest = next.map(|conflict| Rest::Conflicts { folder, at, after: Some(conflict) });
    Ok((VecDeque::from([Reply::Snapshot(part)]), rest))
}

/// A newer checkpoint lets retention thin the moment of an older one while that is being sent: what
/// is left of it is not to be taken for the whole.
fn check_whole(reads: &dyn MetaReads, folder: &FolderId, at: Revision) -> Result<(), Denied> {
    if reads.whole(folder)?.contains(at) {
        return Ok(());
    }
    Err(Denied::Refused(busy("a newer snapshot has come meanwhile")))
}

/// Cuts items into frames: one is closed before it would hold more than [`REPLY_BYTES_SOFT`] or
/// [`REPLY_ITEMS_MAX`], but holds at least one item.
pub(super) fn cut<T>(items: Vec<T>, bytes_of: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut frames: Vec<Vec<T>> = Vec::new();
    let mut bytes = 0;
    for item in items {
        let item_bytes = bytes_of(&item);
        match frames.last_mut() {
            Some(frame)
                if frame.len() < REPLY_ITEMS_MAX && bytes + item_bytes <= REPLY_BYTES_SOFT =>
            {
                bytes += item_bytes;
                frame.push(item);
            }
            _ => {
                bytes = item_bytes;
                frames.push(vec![item]);
            }
        }
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_by_bytes_and_by_items() {
        let lengths = |items: Vec<usize>| -> Vec<usize> {
            cut(items, |bytes| *bytes).iter().map(Vec::len).collect()
        };
        assert_eq!(lengths(vec![]), Vec::<usize>::new());
        assert_eq!(lengths(vec![1; REPLY_ITEMS_MAX + 1]), [REPLY_ITEMS_MAX, 1]);
        assert_eq!(lengths(vec![REPLY_BYTES_SOFT, 1, 1]), [1, 2]);
        assert_eq!(lengths(vec![1, REPLY_BYTES_SOFT]), [1, 1]);
        assert_eq!(lengths(vec![REPLY_BYTES_SOFT * 3]), [1]);
    }
}
