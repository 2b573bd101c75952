//! Merging two edits of one text: the three texts, and the merge as a content of the server's.
//!
//! Owns where base, mine and theirs come from, and the group that a merge is made of. It must not know
//! the rule by which lines are merged (`client_core::merge`), and it writes nothing to the folder: what
//! was merged comes back with the journal and is applied like any other edit, so that what a user
//! writes meanwhile is never overwritten.

use super::history::author;
use super::online::RoundError;
use super::run::Engine;
use crate::apply::ApplyError;
use crate::context::compute;
use crate::fs::{Area, RelPath};
use crate::push::{self, Prepared};
use crate::state::{RemoteRow, StateError};
use crate::transfer::{Fetch, FetchError, Ingest, Ingested, Reading, Want};
use client_core::merge::{Labels, MERGE_BYTES_MAX, Merged, Unmergeable, merge};
use client_core::planner::{Change as Planned, PushGroup};
use client_core::tree::SyncedNode;
use common::archive::is_bundle;
use common::chunk::{Attributes, MergePolicy, open_attributes, seal_attributes};
use common::ids::{ContentTag, DeviceId, EntryId};
use common::limits::GROUP_CONTENTS_MAX;
use common::record::{Change, Content, Kind, Registers, Root};
use common::revision::Revision;
use common::wire::meta::{Reply, Request, VersionsRead};

/// Merges that one round makes; others wait for the next.
const MERGES_TOGETHER: usize = 64;

/// A content of a file, as far as it takes to have its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    pub(super) root: Option<Root>,
    pub(super) size: u64,
    pub(super) tag: ContentTag,
    pub(super) mode: u16,
    pub(super) mtime_ns: i64,
}

impl Stored {
    /// What is fetched to have it as a file of an entry.
    pub(super) fn want(&self, entry: &EntryId) -> Want {
        let Self { root, size, tag, mode, mtime_ns } = *self;
        Want { entry: *entry, root, size, tag, mode, mtime_ns }
    }

    /// Whether both are one in all that a user sees; the same bytes may be stored in two ways.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let seen = |it: &Self| (it.tag, it.mode, it.mtime_ns);
        seen(self) == seen(other)
    }
}

impl From<&RemoteRow> for Stored {
    fn from(row: &RemoteRow) -> Self {
        let content = row.node.content;
        let (mode, mtime_ns) = (content.mode, content.mtime_ns);
        Self { root: row.root, size: row.size, tag: content.tag, mode, mtime_ns }
    }
}

/// A conflict that the planner wants to open, of which both sides are edits of one file.
struct Edits {
    entry: EntryId,
    mine: Stored,
    theirs: Stored,
    base: SyncedNode,
    planned: PushGroup,
}

impl Engine {
    /// Takes out of planned groups the conflicts that need not be: those that a merge settles.
    /// Returns the other groups, and the merges.
    pub(super) async fn merge_edits(
        &mut self,
        groups: Vec<PushGroup>,
    ) -> Result<(Vec<PushGroup>, Vec<Prepared>), RoundError> {
        if self.preferences()?.merge != MergePolicy::Auto {
            return Ok((groups, Vec::new()));
        }
        let (mut others, mut merges) = (Vec::new(), Vec::new());
        for group in groups {
            let Some(edits) = self.edits(&group)? else {
                others.push(group);
                continue;
            };
            if merges.len() >= MERGES_TOGETHER {
                // It stays dirty, and is planned again.
                self.busy = true;
                continue;
            }
            match self.merged(edits).await? {
                Some(merge) => merges.push(merge),
                None => others.push(group),
            }
        }
        Ok((others, merges))
    }

    /// The two edits of a group that opens a conflict between them, if both are small enough.
    fn edits(&self, group: &PushGroup) -> Result<Option<Edits>, StateError> {
        let [change] = group.changes.as_slice() else { return Ok(None) };
        let Planned::ConflictCopy { local, entry, base: Some(base), theirs, content, .. } = change
        else {
            return Ok(None);
        };
        if local != entry {
            return Ok(None);
        }
        let state = &self.context.state;
        let (Some(local), Some(remote), Some(synced)) =
            (state.local_row(entry)?, state.remote_row(entry)?, state.synced_node(entry)?)
        else {
            return Ok(None);
        };
        let is_as_planned = local.content() == Some(*content)
            && remote.node.content_revision == *theirs
            && synced.content_revision == *base;
        let are_files = local.kind == Kind::File
            && remote.node.kind == Kind::File
            && synced.kind == Kind::File
            && !remote.node.deleted
            && remote.broken.is_none();
        // What is in bundles is never mixed, whatever their bytes look like.
        let are_plain = [*content, remote.node.content, synced.content]
            .iter()
            .all(|content| !is_bundle(content.mode));
        let are_small = local.stat.size <= MERGE_BYTES_MAX && remote.size <= MERGE_BYTES_MAX;
        if !is_as_planned || !are_files || !are_plain || !are_small {
            return Ok(None);
        }
        let mine = Stored {
            root: local.root,
            size: local.stat.size,
            tag: content.tag,
            mode: content.mode,
            mtime_ns: content.mtime_ns,
        };
        let edit = Planned::Edit { entry: *entry, content: *content, base: *theirs };
        let planned = PushGroup { changes: vec![edit] };
        let theirs = Stored::from(&remote);
        Ok(Some(Edits { entry: *entry, mine, theirs, base: synced, planned }))
    }

    /// The group that a clean merge is: this device's own edit first, so that it is in the history,
    /// and then what was made of both.
    async fn merged(&mut self, edits: Edits) -> Result<Option<Prepared>, RoundError> {
        // What is not uploaded yet is so first; the next plan comes here again.
        let prepared =
            push::prepare(&self.context, &self.proofs, std::slice::from_ref(&edits.planned))?;
        let Some(mut prepared) = prepared.ready.into_iter().next() else { return Ok(None) };
        let Some(text) = self.clean_merge(&edits).await? else { return Ok(None) };
        let (mine, theirs) = (edits.mine, edits.theirs);
        let mode = merged_mode(edits.base.content.mode, mine.mode, theirs.mode);
        let mtime_ns = mine.mtime_ns.max(theirs.mtime_ns);
        let Some(merged) = self.store(&edits.entry, text.as_bytes(), mode, mtime_ns).await? else {
            return Ok(None);
        };
        tracing::debug!(entry = %edits.entry, "two edits are merged");
        if !merged.is_same(&mine) {
            let base = edits.planned.changes.iter().find_map(|change| match change {
                Planned::Edit { base, .. } => Some(*base),
                _ => None,
            });
            let Some(base) = base else { return Ok(None) };
            prepared.changes.push(self.edit_to(&edits.entry, base, &merged));
            prepared.roots.extend(merged.root);
        }
        Ok(Some(prepared))
    }

    /// The merged text of two edits, if it is clean and all three texts can be had.
    async fn clean_merge(&mut self, edits: &Edits) -> Result<Option<String>, RoundError> {
        let entry = &edits.entry;
        let versions = self.contents_at(entry, edits.base.content_revision).await?;
        let tag = edits.base.content.tag;
        let base = versions.into_iter().find(|(version, _)| version.tag == tag);
        let Some((base, _)) = base else { return Ok(None) };
        let mut texts = Vec::new();
        for stored in [edits.mine, edits.theirs, base] {
            let Some(bytes) = self.small_bytes(entry, &stored).await? else { return Ok(None) };
            if client_core::merge::text(&bytes).is_err() {
                return Ok(None);
            }
            texts.push(bytes);
        }
        let Ok([mine, theirs, base]) = <[Vec<u8>; 3]>::try_from(texts) else { return Ok(None) };
        let labels = plain_labels();
        let merged = self.merge_texts(base, mine, theirs, labels).await?;
        Ok(merged.ok().and_then(Merged::clean))
    }

    /// Merges on the CPU pool.
    pub(super) async fn merge_texts(
        &self,
        base: Vec<u8>,
        mine: Vec<u8>,
        theirs: Vec<u8>,
        labels: Labels,
    ) -> Result<Result<Merged, Unmergeable>, RoundError> {
        let work = move || merge(&base, &mine, &theirs, &labels);
        let merged = compute(self.context.environment.as_ref(), work).await;
        Ok(merged.map_err(ApplyError::from)?)
    }

    /// The bytes of a content that is small enough; `None` when they cannot be had for a reason that
    /// is in this content alone.
    pub(super) async fn small_bytes(
        &mut self,
        entry: &EntryId,
        stored: &Stored,
    ) -> Result<Option<Vec<u8>>, RoundError> {
        if stored.size > MERGE_BYTES_MAX {
            return Ok(None);
        }
        for _ in 0..2 {
            match self.bytes_of(entry, stored).await {
                Ok(bytes) => return Ok(Some(bytes)),
                // Without the local files it can be had at once.
                Err(FetchError::StaleSources) => {}
                Err(error) if error.is_of_one_file() => {
                    tracing::debug!(%entry, %error, "a version cannot be had");
                    return Ok(None);
                }
                Err(error) => return Err(ApplyError::from(error).into()),
            }
        }
        Ok(None)
    }

    /// The bytes of a content, verified.
    async fn bytes_of(&mut self, entry: &EntryId, stored: &Stored) -> Result<Vec<u8>, FetchError> {
        if stored.size == 0 {
            return Ok(Vec::new());
        }
        let want = Want { mode: stored.mode | 0o600, ..stored.want(entry) };
        let progress = &mut self.progress;
        let mut batch = Fetch::once(&self.context)
            .build(vec![want], |bytes| progress.bytes_down += bytes)
            .await;
        let built = batch.done.pop().map(|(_, built)| built).or(batch.cut.map(Err));
        let built = built.unwrap_or(Err(FetchError::Mismatch("nothing was built")))?;
        let read = self.read_staged(&built.path, stored.size);
        self.context.fs.remove(&built.path)?;
        read
    }

    pub(super) fn read_staged(&self, path: &RelPath, size: u64) -> Result<Vec<u8>, FetchError> {
        let file = self.context.fs.open(path)?;
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        let mut filled = 0;
        while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
            match file.read_at(filled as u64, room)? {
                0 => return Err(FetchError::Mismatch("the staged file is shorter")),
                read => filled += read,
            }
        }
        Ok(bytes)
    }

    /// Uploads bytes as a content of an entry; `None` when the server has no room for them, which is
    /// listed as an issue then.
    pub(super) async fn store(
        &mut self,
        entry: &EntryId,
        bytes: &[u8],
        mode: u16,
        mtime_ns: i64,
    ) -> Result<Option<Stored>, RoundError> {
        let name = self.context.fresh_name();
        let path = RelPath::inside(Area::Staging, name.clone());
        let staged = self.context.fs.stage(&name).map_err(ApplyError::from)?;
        let written = staged.write_at(0, bytes);
        drop(staged);
        let stored = match written {
            Ok(()) => self.store_staged(entry, &path, mode, mtime_ns).await,
            Err(error) => Err(ApplyError::from(error).into()),
        };
        self.context.fs.remove(&path).map_err(ApplyError::from)?;
        stored
    }

    /// Uploads a staged file as a content of an entry, as [`Engine::store`] does.
    pub(super) async fn store_staged(
        &mut self,
        entry: &EntryId,
        path: &RelPath,
        mode: u16,
        mtime_ns: i64,
    ) -> Result<Option<Stored>, RoundError> {
        let progress = &mut self.progress;
        let ingest = Ingest::new(&self.context, &mut self.proofs, self.recovering);
        let files = vec![(*entry, path.clone())];
        let mut read = ingest.upload(files, |bytes| progress.bytes_up += bytes).await?;
        match read.pop() {
            Some(Ingested { reading: Reading::Read { tag, stat, root, .. }, .. }) => {
                Ok(Some(Stored { root, size: stat.size, tag, mode, mtime_ns }))
            }
            Some(Ingested { reading: Reading::Failed(error), .. }) => {
                Err(ApplyError::from(error).into())
            }
            _ => Ok(None),
        }
    }

    /// A new content of an entry, as a change.
    pub(super) fn edit_to(&self, entry: &EntryId, base: Revision, stored: &Stored) -> Change {
        let (keys, folder) = (&self.context.keys, &self.context.folder);
        let Stored { root, size, tag, mode, mtime_ns } = *stored;
        let attributes = Attributes { mode, mtime_ns, size, target: None, tag, restored: None };
        let sealed = seal_attributes(keys, folder, entry, &attributes);
        let content = Content { root, tag, attributes: sealed };
        Change::Edit { entry: *entry, base, content }
    }

    /// The contents that a revision set on a file, the last first: a merge sets two; each with who did
    /// that, if the server says so. Those that do not open are left out.
    pub(super) async fn contents_at(
        &self,
        entry: &EntryId,
        revision: Revision,
    ) -> Result<Vec<(Stored, Option<DeviceId>)>, RoundError> {
        let request = VersionsRead {
            folder: self.context.folder.to_vec(),
            entry: entry.to_vec(),
            at_or_before: revision,
            limit: u32::try_from(GROUP_CONTENTS_MAX).unwrap_or(u32::MAX),
        };
        let replies = self.context.remote.request(Request::Versions(request)).await?;
        let (keys, folder) = (&self.context.keys, &self.context.folder);
        let versions = replies.into_iter().filter_map(|reply| match reply {
            Reply::Versions(part) => Some(part.versions),
            _ => None,
        });
        let opened = versions.flatten().filter_map(|version| {
            let by = author(&version);
            let registers = Registers::try_from(version.registers?).ok()?;
            if registers.content_revision != revision || registers.kind != Kind::File {
                return None;
            }
            let Content { root, tag, attributes } = registers.content;
            let attributes = open_attributes(keys, folder, entry, &attributes).ok()?;
            let Attributes { mode, mtime_ns, size, .. } = attributes;
            let stored = Stored { root, size, tag, mode, mtime_ns };
            (attributes.tag == tag).then_some((stored, by))
        });
        Ok(opened.collect())
    }
}

/// The mode that two sides come to: the one that a side has changed; where both have, the first's.
pub(super) fn merged_mode(base: u16, one: u16, other: u16) -> u16 {
    if one == base { other } else { one }
}

/// Labels for a merge of which only a clean outcome is wanted.
pub(super) fn plain_labels() -> Labels {
    Labels { mine: "mine".into(), base: "base".into(), theirs: "theirs".into() }
}
