//! A batch of apply steps: what can be done together is done together.
//!
//! Order within a batch: moves, deletions, directories, then files and symlinks (built, synced,
//! swapped in), one sync for all of it, one transaction for what it means.

use super::place::{Outcome, Placing};
use crate::context::{FolderContext, Stopping, compute};
use crate::fs::{FsError, RelPath, Stat};
use crate::scan::Target;
use crate::state::{IssueSource, LocalRow, RemoteRow, StateError};
use crate::transfer::{Batch, Built, Fetch, FetchError, Want};
use client_core::ignore::IgnoreRules;
use client_core::planner::Step;
use client_core::tree::{ContentState, Position, SyncedNode};
use common::archive::is_bundle;
use common::ids::{ChunkId, EntryId};
use common::name::Name;
use common::record::Kind;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

/// Bytes of files that are built together, one file at least.
const BYTES_TOGETHER: u64 = 64 * 1024 * 1024;

/// Applying that had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Contents could not be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The disk failed in a way that concerns more than one path.
    #[error("{0}")]
    Disk(#[source] FsError),
    /// The disk could not sync what was applied, or what others have written to it.
    #[error("this disk could not store what was written to it: {0}")]
    Unsynced(#[source] FsError),
    /// The state could not be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The program stops.
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

impl From<FsError> for ApplyError {
    fn from(error: FsError) -> Self {
        match error {
            FsError::Unsynced { source, .. } => Self::Unsynced(*source),
            error => Self::Disk(error),
        }
    }
}

/// What applying a batch gave.
#[derive(Debug, Default)]
pub struct Applied {
    /// Steps that were carried out.
    pub done: u64,
    /// Paths that were not as planned: to be looked at again.
    pub again: BTreeSet<Target>,
    /// Entries that cannot be applied for now; they are listed as issues.
    pub failed: BTreeSet<EntryId>,
    /// Why it ended before all was tried, if something was in the way.
    pub cut: Option<FetchError>,
    /// Whether it ended before all was tried because it was asked to.
    pub yielded: bool,
}

/// What a finished step means for the trees; recorded once it is durable.
pub(super) enum Record {
    /// The entry is at its place with the remote content.
    Held {
        path: RelPath,
        local: LocalRow,
        synced: SyncedNode,
        chunks: Vec<(ChunkId, u32)>,
        /// What it was called in staging, if it comes from there.
        staged: Option<Name>,
    },
    /// The server's version was in place, and somebody has written over it since: that is an edit
    /// of this version, even if it gives the file the bytes that it had before.
    Overtaken { path: RelPath, synced: SyncedNode, staged: Option<Name> },
    /// The entry stands there now.
    Moved { local: LocalRow, synced: Option<SyncedNode> },
    /// The entry is gone.
    Gone { entry: EntryId, residue: Option<String> },
}

/// Files that are in staging, and are being synced.
struct Staged {
    files: Vec<(Placing, Built)>,
    syncing: Pin<Box<dyn Future<Output = Result<(), ApplyError>> + Send>>,
}

/// One batch being applied.
pub struct Applying<'a> {
    pub(super) context: &'a FolderContext,
    pub(super) ignore: &'a IgnoreRules,
    fetch: Rc<Fetch<'a>>,
    pub(super) applied: Applied,
    pub(super) records: Vec<Record>,
    pub(super) touched: Vec<RelPath>,
}

impl<'a> Applying<'a> {
    /// Prepares to apply.
    #[must_use]
    pub fn new(context: &'a FolderContext, ignore: &'a IgnoreRules) -> Self {
        let (records, touched) = (Vec::new(), Vec::new());
        let fetch = Rc::new(Fetch::new(context));
        Self { context, ignore, fetch, applied: Applied::default(), records, touched }
    }

    /// Applies the steps of one batch that concern the disk; others are passed over. Between two
    /// groups of files it ends if `must_yield` says so.
    ///
    /// # Errors
    /// [`ApplyError`] when going on makes no sense. What was recorded until then is true; what was
    /// changed and not recorded shows up in the next scan.
    pub async fn run(
        mut self,
        steps: &[Step],
        progress: impl FnMut(u64),
        must_yield: impl Fn() -> bool,
    ) -> Result<Applied, ApplyError> {
        let ended = self.all(steps, progress, must_yield).await;
        // What the system could not write it may drop: no download goes on in it (decision 020).
        if let Err(ApplyError::Unsynced(_)) = &ended
            && let Err(error) = self.fetch.forget_kept()
        {
            tracing::warn!(%error, "downloads beside a failed sync could not be forgotten");
        }
        ended?;
        Ok(self.applied)
    }

    async fn all(
        &mut self,
        steps: &[Step],
        progress: impl FnMut(u64),
        must_yield: impl Fn() -> bool,
    ) -> Result<(), ApplyError> {
        for step in steps {
            match step {
                Step::Move { entry, from, to } => self.relocate(entry, from, to)?,
                Step::Delete { entry, at, seen } => self.delete(entry, at, seen.as_ref())?,
                Step::SetAttributes { entry, seen } => self.set_attributes(entry, seen)?,
                Step::Create { entry, kind: Kind::Directory, at } => self.directory(entry, at)?,
                _ => {}
            }
        }
        self.settle().await?;
        let mut staged = None;
        let ended = self.all_files(steps, &mut staged, progress, must_yield).await;
        // What is in staging is swapped in whatever ended the rest.
        if let Some(last) = staged {
            self.swap_in(last).await?;
        }
        ended
    }

    /// Builds files and symlinks in groups, and swaps them in but for the last, which is left `staged`.
    async fn all_files(
        &mut self,
        steps: &[Step],
        staged: &mut Option<Staged>,
        mut progress: impl FnMut(u64),
        must_yield: impl Fn() -> bool,
    ) -> Result<(), ApplyError> {
        let (mut wants, mut bytes) = (Vec::new(), 0);
        let together = self.context.environment.files_together();
        for step in steps {
            let (entry, at, seen) = match step {
                Step::Create { entry, kind: Kind::File | Kind::Symlink, at } => {
                    (entry, Some(at), None)
                }
                Step::Replace { entry, seen } => (entry, None, Some(seen)),
                _ => continue,
            };
            let Some(placing) = self.placing(entry, at, seen)? else { continue };
            bytes += placing.remote.size;
            wants.push(placing);
            if wants.len() >= together || bytes >= BYTES_TOGETHER {
                let group = std::mem::take(&mut wants);
                *staged = Some(self.files(group, staged.take(), &mut progress).await?);
                bytes = 0;
                self.applied.yielded = must_yield();
                if self.applied.cut.is_some() || self.applied.yielded {
                    return Ok(());
                }
            }
        }
        if !wants.is_empty() {
            *staged = Some(self.files(wants, staged.take(), &mut progress).await?);
        }
        Ok(())
    }

    /// Builds some files and symlinks and begins to sync them, and meanwhile swaps those in that were
    /// staged before.
    async fn files(
        &mut self,
        placings: Vec<Placing>,
        before: Option<Staged>,
        progress: &mut impl FnMut(u64),
    ) -> Result<Staged, ApplyError> {
        let is_file = |placing: &&Placing| placing.remote.node.kind == Kind::File;
        let wants =
            placings.iter().filter(is_file).map(|placing| Want::from(&placing.remote)).collect();
        let fetch = Rc::clone(&self.fetch);
        let swap_in = async {
            match before {
                Some(before) => self.swap_in(before).await,
                None => Ok(()),
            }
        };
        let (batch, swapped) = tokio::join!(fetch.build(wants, progress), swap_in);
        let staged = self.stage(placings, batch).await;
        swapped?;
        let files = staged?;
        // Durable before it can be seen: a power cut must never show a file without its bytes.
        let paths = files.iter().map(|(_, built)| built.path.clone()).collect();
        Ok(Staged { files, syncing: Box::pin(self.begin_sync(paths)) })
    }

    /// What is in staging as it is to be: the files that were built, symlinks, bundles.
    async fn stage(
        &mut self,
        placings: Vec<Placing>,
        batch: Batch,
    ) -> Result<Vec<(Placing, Built)>, ApplyError> {
        // What was finished before a cut is swapped in all the same: it is not fetched again.
        self.applied.cut = batch.cut;
        let mut files = std::collections::BTreeMap::new();
        for (entry, result) in batch.done {
            match result {
                Ok(built) => drop(files.insert(entry, built)),
                // The entry stays dirty, and the next round builds it without the index.
                Err(FetchError::StaleSources) => {}
                Err(error) => self.fail(&entry, &error.to_string())?,
            }
        }
        let mut staged: Vec<(Placing, Built)> = Vec::new();
        for placing in placings {
            let entry = placing.remote.node.entry;
            let built = match placing.remote.node.kind {
                Kind::Symlink => self.staged_symlink(&placing)?,
                _ => files.remove(&entry),
            };
            let built = match built {
                Some(built) if is_bundle(placing.remote.node.content.mode) => {
                    self.unpacked(&placing, built).await?
                }
                built => built,
            };
            if let Some(built) = built {
                staged.push((placing, built));
            }
        }
        Ok(staged)
    }

    /// Swaps files in once they are synced.
    async fn swap_in(&mut self, staged: Staged) -> Result<(), ApplyError> {
        let Staged { files, syncing } = staged;
        syncing.await?;
        let built = files.iter().map(|(_, built)| built.entry).collect();
        self.note_placing(&files)?;
        for (placing, built) in files {
            match self.place(placing, built)? {
                Outcome::Done => self.applied.done += 1,
                Outcome::Changed(path) => {
                    self.applied.again.insert(Target::Path(path));
                }
            }
        }
        self.fetch.hand_over(&built)?;
        self.settle().await
    }

    /// The directory that a staged archive is of, in its place in staging.
    async fn unpacked(
        &mut self,
        placing: &Placing,
        built: Built,
    ) -> Result<Option<Built>, ApplyError> {
        let bundles = Arc::clone(&self.context.bundles);
        let names = [self.context.fresh_name(), self.context.fresh_name()];
        let (archive, mode) = (built.path.clone(), placing.remote.node.content.mode);
        let replaces = placing.replaces.as_ref().filter(|row| row.stat.is_bundle());
        let current = replaces.map(|row| (placing.path.clone(), row.stat));
        let unpack = move || {
            let current = current.as_ref().map(|(path, stat)| (path, stat));
            bundles.unpack(&archive, current, names, mode)
        };
        match compute(self.context.environment.as_ref(), unpack).await? {
            Ok((path, stat)) => Ok(Some(Built { path, stat, ..built })),
            Err(error) if error.is_of_one_path() => {
                self.context.fs.remove(&built.path)?;
                self.fetch.hand_over(&BTreeSet::from([built.entry]))?;
                if matches!(error, FsError::Changed { .. }) {
                    self.look_again([placing.path.clone()]);
                } else {
                    self.fail(&built.entry, &error.to_string())?;
                }
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A symlink in staging. A filesystem that has none, or takes no target as long, is an issue of
    /// this link.
    fn staged_symlink(&mut self, placing: &Placing) -> Result<Option<Built>, ApplyError> {
        match self.stage_symlink(placing) {
            Err(ApplyError::Disk(error)) if error.is_of_one_path() => {
                self.fail(&placing.remote.node.entry, &error.to_string())?;
                Ok(None)
            }
            staged => staged,
        }
    }

    /// Makes everything done so far durable, then records it.
    async fn settle(&mut self) -> Result<(), ApplyError> {
        if self.records.is_empty() {
            return Ok(());
        }
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort();
        touched.dedup();
        self.begin_sync(touched).await?;
        let records = std::mem::take(&mut self.records);
        let records: Vec<Record> =
            records.into_iter().filter_map(|record| self.still_true(record)).collect();
        self.context.state.atomically(|_| {
            for record in &records {
                self.record(record)?;
            }
            Ok::<_, StateError>(())
        })?;
        Ok(())
    }

    /// What a record is worth after the sync. What is not at its path any more (somebody has renamed
    /// a directory above, say) was not synced with it: the next scan finds it.
    fn still_true(&mut self, record: Record) -> Option<Record> {
        let path = match &record {
            Record::Held { path, .. } | Record::Overtaken { path, .. } => path.clone(),
            Record::Moved { .. } | Record::Gone { .. } => return Some(record),
        };
        let Ok(now) = self.context.fs.stat(&path) else {
            self.applied.again.insert(Target::Path(path));
            return None;
        };
        match record {
            Record::Held { local, synced, staged, .. } if !is_still(&local, &now) => {
                self.applied.again.insert(Target::Path(path.clone()));
                Some(Record::Overtaken { path, synced, staged })
            }
            record => Some(record),
        }
    }

    /// Begins to sync paths at once; what is returned waits for the end.
    fn begin_sync(
        &self,
        paths: Vec<RelPath>,
    ) -> impl Future<Output = Result<(), ApplyError>> + Send + use<> {
        let fs = Arc::clone(&self.context.fs);
        let sync = move || if paths.is_empty() { Ok(()) } else { fs.sync(&paths) };
        let synced = compute(self.context.environment.as_ref(), sync);
        async { synced.await?.map_err(ApplyError::Unsynced) }
    }

    fn record(&self, record: &Record) -> Result<(), StateError> {
        let state = &self.context.state;
        match record {
            Record::Held { local, synced, chunks, staged, .. } => {
                if let Some(other) = state.local_row_at(&local.position)?
                    && other.entry != local.entry
                {
                    // The scanner has met our own file before this record: it is this entry.
                    state.remove_local(&other.entry)?;
                }
                state.put_local(local)?;
                state.put_synced(synced)?;
                state.put_locations(&local.entry, chunks.iter().copied())?;
                self.placed(staged.as_ref())?;
                self.clear_issue(&local.entry)
            }
            Record::Overtaken { synced, staged, .. } => {
                self.placed(staged.as_ref())?;
                if let Some(row) = state.local_row(&synced.entry)? {
                    state.put_local(&LocalRow { tag: None, racy: false, ..row })?;
                }
                state.put_synced(synced)
            }
            Record::Moved { local, synced } => {
                if let Some(other) = state.local_row_at(&local.position)?
                    && other.entry != local.entry
                {
                    state.remove_local(&other.entry)?;
                }
                state.put_local(local)?;
                synced.as_ref().map_or(Ok(()), |node| state.put_synced(node))
            }
            Record::Gone { entry, residue } => {
                crate::scan::remove_subtree(self.context, entry)?;
                if let Some(path) = residue {
                    state.put_residue(path)?;
                }
                self.clear_issue(entry)?;
                state.remove_synced(entry)
            }
        }
    }

    fn placed(&self, staged: Option<&Name>) -> Result<(), StateError> {
        staged.map_or(Ok(()), |staged| self.context.state.forget_placing(staged))
    }

    fn clear_issue(&self, entry: &EntryId) -> Result<(), StateError> {
        self.context.state.clear_issue(&self.issue_path(entry)?, IssueSource::Apply)
    }

    fn issue_path(&self, entry: &EntryId) -> Result<String, StateError> {
        let names = self.context.state.remote_path(entry)?;
        Ok(names.map_or_else(
            || entry.to_string(),
            |names| {
                let names: Vec<&str> = names.iter().map(common::name::Name::as_str).collect();
                names.join("/")
            },
        ))
    }

    /// Lists an entry that cannot be applied; the rest goes on.
    pub(super) fn fail(&mut self, entry: &EntryId, reason: &str) -> Result<(), StateError> {
        let path = self.issue_path(entry)?;
        self.context.state.put_issue(&path, IssueSource::Apply, reason)?;
        self.applied.failed.insert(*entry);
        Ok(())
    }

    /// The remote row of a step's entry, if it is still what can be applied.
    pub(super) fn remote(&self, entry: &EntryId) -> Result<Option<RemoteRow>, StateError> {
        let row = self.context.state.remote_row(entry)?;
        Ok(row.filter(|row| !row.node.deleted && row.broken.is_none()))
    }

    /// The path of a position, if its parent stands in the tree.
    pub(super) fn path_of(&self, position: &Position) -> Result<Option<RelPath>, StateError> {
        let Some(mut names) = self.context.state.local_path(&position.parent)? else {
            return Ok(None);
        };
        names.push(position.name.clone());
        Ok(RelPath::new(names).ok())
    }
}

/// Whether an entry is what was put there; what is in a directory changes its times.
fn is_still(local: &LocalRow, now: &Stat) -> bool {
    match local.kind {
        Kind::Directory => now.same_inode(&local.stat),
        Kind::File | Kind::Symlink => now.same_content(&local.stat),
    }
}

/// What the merge base becomes when an entry holds what the server has.
pub(super) fn synced_of(remote: &RemoteRow, at: Position, content: ContentState) -> SyncedNode {
    SyncedNode {
        entry: remote.node.entry,
        position: at,
        kind: remote.node.kind,
        content,
        place_revision: remote.node.place_revision,
        content_revision: remote.node.content_revision,
        held: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_sync_is_one_wherever_it_was_made() {
        let path = RelPath::root();
        let error = FsError::Changed { path: path.clone() }.of_sync(&path);
        assert!(error.ends_a_batch() && !error.is_of_one_path());
        assert!(matches!(ApplyError::from(error), ApplyError::Unsynced(FsError::Changed { .. })));
    }
}
