//! Checking all that is stored: that every reference leads somewhere, and that every byte is what it
//! was.
//!
//! Owns what is looked at and in which order. It changes nothing, and speaks in ids: a server knows no
//! names. It must not know whether a server runs.

use super::gc::{Collector, GcError, GcParts, first_of, last_of};
use super::mark::{Roots, Tracer};
use super::metadata::Metadata;
use super::pace::Pace;
use super::report::{Amount, Problem, Problems};
use crate::chunk_store::{ChunkKey, Reclaim, StoreError};
use common::ids::{ChunkId, FolderId, Head};
use common::revision::Revision;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use server_core::gc::Marks;
use server_core::metadata::{MetaReads, Stored};
use std::sync::Arc;

/// Chunks and objects that are looked up at a time.
const PAGE: usize = 1024;
/// Chunks that are read at once.
const READS: usize = 8;
/// Groups of a journal that are read at a time, and their bytes, about.
const GROUPS: usize = 256;
const GROUP_BYTES_SOFT: usize = 1024 * 1024;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Whether everything is whole.
    pub ok: bool,
    /// Folders.
    pub folders: u64,
    /// Revisions of their journals, of which each head was computed anew whose group is there.
    pub revisions: u64,
    /// Objects that versions reach.
    pub objects: u64,
    /// Chunks that were read, each verified against its id; those of the trash too.
    pub verified: Amount,
    /// What is not whole.
    #[serde(flatten)]
    pub problems: Problems,
}

/// Checks everything. Keeps garbage collection from running meanwhile; devices go on.
///
/// # Errors
/// [`GcError`] when a store does not answer. What is damaged is in the report.
pub async fn check(
    collector: &Collector,
    parts: &GcParts,
    pace: &dyn Pace,
) -> Result<CheckReport, GcError> {
    let _held = collector.hold().await;
    let meta = Metadata::new(parts.meta.clone(), Arc::clone(&parts.clock), parts.work);
    let mut check = Check { meta, chunks: &parts.chunks, report: CheckReport::default() };
    let db = parts.meta.db().clone();
    for line in check.meta.run(move || db.integrity()).await? {
        check.problem(None, None, &format!("the metadata database: {line}"));
    }
    let folders = check.meta.read(|reads| reads.all_folders()).await?;
    for folder in &folders {
        check.folder(*folder, pace).await?;
    }
    check.unknown_folders(&folders, pace).await?;
    check.report.ok = check.report.problems.is_empty();
    Ok(check.report)
}

struct Check<'a> {
    meta: Metadata,
    chunks: &'a Arc<dyn Reclaim>,
    report: CheckReport,
}

impl Check<'_> {
    fn problem(&mut self, folder: Option<&FolderId>, object: Option<&ChunkId>, what: &str) {
        self.report.problems.push(Problem::new(folder, object, what));
    }

    async fn folder(&mut self, folder: FolderId, pace: &dyn Pace) -> Result<(), GcError> {
        self.report.folders += 1;
        self.journal(folder, pace).await?;
        let marks = self.versions(folder, pace).await?;
        self.report.objects += marks.len() as u64;
        self.known(folder, &marks, pace).await?;
        self.rest(folder, &marks, pace).await
    }

    /// Computes each head of the journal's chain anew whose group is there.
    async fn journal(&mut self, folder: FolderId, pace: &dyn Pace) -> Result<(), GcError> {
        let Some(state) = self.meta.read(move |reads| reads.folder(&folder)).await? else {
            return Ok(());
        };
        let mut chain = Chain { at: 0, head: Head::ZERO, wrong: Vec::new() };
        while chain.at < state.revision {
            let end = state.revision;
            chain = self.meta.read(move |reads| chain.go_on(reads, &folder, end)).await?;
            for at in std::mem::take(&mut chain.wrong) {
                self.problem(Some(&folder), None, &format!("the journal is altered at {at}"));
            }
            pace.breathe().await;
        }
        self.report.revisions += state.revision;
        if chain.head != state.head {
            self.problem(Some(&folder), None, "the journal does not end where the folder says");
        }
        Ok(())
    }

    /// Reads everything that the folder's versions reach.
    async fn versions(&mut self, folder: FolderId, pace: &dyn Pace) -> Result<Marks, GcError> {
        let (mut marks, mut roots) = (Marks::new(), Roots::new());
        loop {
            let meta = self.meta.clone();
            let tracer = Tracer { meta: &meta, chunks: self.chunks, folder };
            let page = roots.next(&tracer).await?;
            if page.is_empty() {
                return Ok(marks);
            }
            for root in page {
                let (mut found, mut problems) = (Vec::new(), Vec::new());
                let mut note = |id, _| found.push(id);
                tracer.reach(&root, &mut marks, &mut note, &mut problems).await?;
                problems.into_iter().for_each(|problem| self.report.problems.push(problem));
                self.read_all(folder, &found, "a version names it, and it").await?;
            }
            pace.breathe().await;
        }
    }

    /// Reads chunks that have to be there.
    async fn read_all(
        &mut self,
        folder: FolderId,
        ids: &[ChunkId],
        whose: &str,
    ) -> Result<(), GcError> {
        for ids in ids.chunks(READS) {
            let reads = ids.iter().map(|id| self.chunks.get(ChunkKey { folder, id: *id }));
            for (id, read) in ids.iter().zip(join_all(reads).await) {
                match read {
                    Ok(Some(bytes)) => self.report.verified.add_one(bytes.len() as u32),
                    Ok(None) => {
                        self.problem(Some(&folder), Some(id), &format!("{whose} is missing"))
                    }
                    Err(StoreError::Damaged { .. }) => {
                        self.problem(Some(&folder), Some(id), &format!("{whose} is damaged"));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Looks for objects that a commit may name without proof: they have to be stored, although no
    /// version reaches them.
    async fn known(
        &mut self,
        folder: FolderId,
        marks: &Marks,
        pace: &dyn Pace,
    ) -> Result<(), GcError> {
        let mut after = None;
        loop {
            let read = move |reads: &dyn MetaReads| reads.objects(&folder, after.as_ref(), PAGE);
            let objects = self.meta.read(read).await?;
            let Some((last, _)) = objects.last() else { return Ok(()) };
            after = Some(*last);
            for (id, _) in objects.iter().filter(|(id, _)| !marks.is_reached(id)) {
                let key = ChunkKey { folder, id: *id };
                // Whether it is whole is looked at with the rest.
                if matches!(self.chunks.get(key).await, Ok(None)) {
                    self.problem(
                        Some(&folder),
                        Some(id),
                        "a commit may name it, and it is missing",
                    );
                }
            }
            pace.breathe().await;
        }
    }

    /// Reads the chunks of a folder that no version reaches.
    async fn rest(
        &mut self,
        folder: FolderId,
        marks: &Marks,
        pace: &dyn Pace,
    ) -> Result<(), GcError> {
        let mut after = first_of(folder);
        loop {
            let page = self.chunks.survey(Some(after), PAGE).await?;
            let ours = page.into_iter().map(|chunk| chunk.key);
            let ours: Vec<ChunkKey> = ours.take_while(|key| key.folder == folder).collect();
            let Some(last) = ours.last() else { return Ok(()) };
            after = *last;
            let rest = ours.iter().map(|key| key.id).filter(|id| !marks.is_reached(id));
            let rest: Vec<ChunkId> = rest.collect();
            self.read_all(folder, &rest, "no version names it, and it").await?;
            pace.breathe().await;
        }
    }

    async fn unknown_folders(
        &mut self,
        folders: &[FolderId],
        pace: &dyn Pace,
    ) -> Result<(), GcError> {
        let mut after = None;
        while let Some(chunk) = self.chunks.survey(after, 1).await?.first() {
            let folder = chunk.key.folder;
            if folders.binary_search(&folder).is_err() {
                self.rest(folder, &Marks::new(), pace).await?;
            }
            after = Some(last_of(folder));
        }
        Ok(())
    }
}

/// A journal's chain, computed up to a revision.
struct Chain {
    at: Revision,
    head: Head,
    /// Revisions whose stored head is another.
    wrong: Vec<Revision>,
}

impl Chain {
    /// Goes on for some revisions, to `end` at most. A group whose body is gone counts by its head.
    fn go_on(mut self, reads: &dyn MetaReads, folder: &FolderId, end: Revision) -> Stored<Self> {
        let rows = reads.journal(folder, self.at, GROUPS, GROUP_BYTES_SOFT)?;
        let mut rows = rows.into_iter().peekable();
        loop {
            let next = self.at + 1;
            let mark = reads.mark(folder, next)?;
            let row = rows.next_if(|row| row.entry.revision == next);
            let computed = row.map(|row| {
                let digest = row.entry.group.digest(row.entry.time_ms);
                self.head.next(folder, row.epoch, next, &digest)
            });
            let stored = mark.map(|mark| mark.head);
            if stored.is_none() || computed.is_some_and(|computed| Some(computed) != stored) {
                self.wrong.push(next);
            }
            self.head = stored.or(computed).unwrap_or(self.head);
            self.at = next;
            if self.at >= end || rows.peek().is_none() {
                return Ok(self);
            }
        }
    }
}
