//! Garbage collection: mark, condemn, trash, re-check, purge, compact.
//!
//! Owns the order of these steps; `docs/decisions/030-what-garbage-collection-may-take.md` says why
//! it loses nothing, whatever devices do meanwhile and wherever it is interrupted. One run goes at a
//! time. A run that is dropped or fails leaves a state from which the next one is right. It must not
//! decide what is garbage.

use super::mark::{Roots, Tracer};
use super::metadata::Metadata;
use super::pace::Pace;
use crate::chunk_store::{ChunkKey, Due, Reclaim, Reclaimed, StoreError, Surveyed, TrashStamp};
use crate::meta_store::{MetaError, MetaHandle};
use crate::service::{Clock, Work};
use common::ids::{ChunkId, FolderId};
use serde::{Deserialize, Serialize};
use server_core::gc::{
    Known, Marks, Rules, Segment, Stored, Verdict, judge_known, judge_stored, worth_compacting,
};
use server_core::metadata::{Action, ObjectChange, ObjectState};
use std::sync::Arc;
use tokio::sync::{Mutex, MutexGuard};

/// Chunks that are looked at, and changed in one transaction, at a time.
const CHUNKS: usize = 1024;
/// Known objects that are looked at at a time.
const OBJECTS: usize = 4096;
/// Problems that a report lists; the rest is counted.
const PROBLEMS_MAX: usize = 100;

/// Why a run stopped. What it did so far stands.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// The metadata did not answer.
    #[error("garbage collection: {0}")]
    Metadata(#[from] MetaError),
    /// The chunk store did not answer.
    #[error("garbage collection: {0}")]
    Chunks(#[from] StoreError),
}

/// What was found wrong, by ids alone: a server knows no names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// In which folder.
    pub folder: String,
    /// With which chunk or page; empty when with the folder as a whole.
    pub object: String,
    /// What.
    pub problem: String,
}

impl Problem {
    pub(super) fn new(folder: &FolderId, object: Option<&ChunkId>, problem: &str) -> Self {
        Self {
            folder: folder.to_string(),
            object: object.map(ToString::to_string).unwrap_or_default(),
            problem: problem.to_owned(),
        }
    }
}

/// Chunks and their bytes, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// How many.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, more: Reclaimed) {
        self.chunks += more.chunks;
        self.bytes += more.bytes;
    }

    fn add_one(&mut self, length: u32) {
        self.chunks += 1;
        self.bytes += u64::from(length);
    }
}

/// What a run did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcReport {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The generation that it began, or would begin.
    pub generation: u64,
    /// Folders that were traced.
    pub folders: u64,
    /// Objects that versions reach.
    pub marked: u64,
    /// Objects that no commit may name any more without proof.
    pub condemned: u64,
    /// Objects that turned out to be reached after all, and are known again.
    pub reinstated: u64,
    /// Put into the trash.
    pub trashed: Amount,
    /// Taken out of the trash, as a version reaches them.
    pub untrashed: Amount,
    /// Gone for good.
    pub purged: Amount,
    /// In the trash, for a while yet.
    pub waiting: Amount,
    /// Reached by nothing, and perhaps part of an upload in flight.
    pub leased: Amount,
    /// Of folders that the metadata does not know; they are left alone.
    pub unknown: Amount,
    /// Segment files that were copied.
    pub compacted: u64,
    /// Bytes of chunks that were copied for it.
    pub moved_bytes: u64,
    /// Segment files that were removed.
    pub dropped: u64,
    /// Bytes that the disk got back.
    pub freed_bytes: u64,
    /// Bytes that compaction lacked on the disk; 0 when it had room.
    pub lacked_bytes: u64,
    /// What kept folders from being traced, and damaged chunks that keep their segment.
    pub problems: Vec<Problem>,
    /// Problems beyond those.
    pub problems_more: u64,
}

impl GcReport {
    /// Adds what a second look at a folder did; what it counted was counted before.
    fn add_recheck(&mut self, second: Self) {
        self.condemned += second.condemned;
        self.reinstated += second.reinstated;
        for (sum, more) in [
            (&mut self.trashed, second.trashed),
            (&mut self.untrashed, second.untrashed),
            (&mut self.purged, second.purged),
        ] {
            sum.chunks += more.chunks;
            sum.bytes += more.bytes;
        }
        self.problems_more += second.problems_more;
        second.problems.into_iter().for_each(|problem| self.problem(problem));
    }

    fn problem(&mut self, problem: Problem) {
        tracing::error!(
            folder = problem.folder,
            object = problem.object,
            problem = problem.problem,
            "garbage collection leaves something alone"
        );
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        } else {
            self.problems_more += 1;
        }
    }
}

/// What a collector works on.
pub struct GcParts {
    /// The metadata.
    pub meta: MetaHandle,
    /// The chunks.
    pub chunks: Arc<dyn Reclaim>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Where reads run.
    pub work: Work,
}

/// Collects the garbage of a server.
pub struct Collector {
    meta: Metadata,
    chunks: Arc<dyn Reclaim>,
    turn: Mutex<()>,
}

/// Keeps garbage collection from running until it is dropped.
pub struct Held<'a> {
    _turn: MutexGuard<'a, ()>,
}

/// What is done to one folder's chunks, and by which rules.
struct Sweep<'a> {
    folder: FolderId,
    marks: &'a Marks,
    rules: Rules,
}

impl Collector {
    /// A collector. There is one for a server.
    #[must_use]
    pub fn new(parts: GcParts) -> Self {
        let GcParts { meta, chunks, clock, work } = parts;
        Self { meta: Metadata::new(meta, clock, work), chunks, turn: Mutex::default() }
    }

    /// Waits for a run to end, and keeps others from beginning.
    pub async fn hold(&self) -> Held<'_> {
        Held { _turn: self.turn.lock().await }
    }

    /// One whole run. What has been in the trash for `grace_ms` is re-checked and purged; with 0 that
    /// includes what this run puts there, after a second walk. Cancelling it leaves what was done.
    ///
    /// # Errors
    /// [`GcError`].
    pub async fn run(&self, grace_ms: u64, pace: &dyn Pace) -> Result<GcReport, GcError> {
        let _turn = self.turn.lock().await;
        let generation = self.begin_generation().await?;
        let mut report = GcReport { generation, ..GcReport::default() };
        let now_ms = self.meta.now_ms();
        let rules = Rules { generation, trashed_before: generation, now_ms, grace_ms };
        let folders = self.folders().await?;
        let mut again = Vec::new();
        for folder in &folders {
            let trashed = report.trashed.chunks;
            self.collect(*folder, rules, &mut report, pace).await?;
            if grace_ms == 0 && report.trashed.chunks > trashed {
                again.push(*folder);
            }
        }
        let recheck = Rules { trashed_before: generation.saturating_add(1), ..rules };
        for folder in again {
            let mut second = GcReport::default();
            self.collect(folder, recheck, &mut second, pace).await?;
            report.add_recheck(second);
        }
        self.count_unknown(&folders, &mut report, pace).await?;
        self.compact(&mut report, pace).await?;
        Ok(report)
    }

    /// What a run would do now. Changes nothing, and does not know what will be named meanwhile.
    ///
    /// # Errors
    /// [`GcError`].
    pub async fn preview(&self, grace_ms: u64, pace: &dyn Pace) -> Result<GcReport, GcError> {
        let _turn = self.turn.lock().await;
        let generation = self.generation().await?.saturating_add(1);
        let mut report = GcReport { dry_run: true, generation, ..GcReport::default() };
        let now_ms = self.meta.now_ms();
        let trashed_before = generation;
        let rules = Rules { generation, trashed_before, now_ms, grace_ms };
        let folders = self.folders().await?;
        for folder in &folders {
            let tracer = self.tracer(*folder);
            let marks = match tracer.mark(pace).await? {
                Ok(marks) => marks,
                Err(problem) => {
                    report.problem(problem);
                    continue;
                }
            };
            report.folders += 1;
            report.marked += marks.len() as u64;
            report.condemned += self.judge_objects(*folder, &marks, pace).await?.wrong;
            let sweep = Sweep { folder: *folder, marks: &marks, rules };
            self.sweep(&sweep, &mut report, pace).await?;
        }
        self.count_unknown(&folders, &mut report, pace).await?;
        let plan = worth_compacting(self.segments().await?);
        report.compacted = plan.len() as u64;
        report.moved_bytes = plan.iter().map(|segment| segment.live_bytes).sum();
        Ok(report)
    }

    async fn generation(&self) -> Result<u64, GcError> {
        let logged = self.meta.read(|reads| reads.generation()).await?;
        Ok(logged.max(self.chunks.generation()))
    }

    /// Logs a new generation, and has chunks stamped with it from then on. In this order: a receipt
    /// is never of a generation that the metadata does not know.
    async fn begin_generation(&self) -> Result<u64, GcError> {
        let generation = self.generation().await?.saturating_add(1);
        self.meta.apply(Action::BeginGeneration { generation }).await?;
        self.chunks.raise_generation(generation).await?;
        Ok(generation)
    }

    async fn folders(&self) -> Result<Vec<FolderId>, GcError> {
        Ok(self.meta.read(|reads| reads.all_folders()).await?)
    }

    fn tracer(&self, folder: FolderId) -> Tracer<'_> {
        Tracer { meta: &self.meta, chunks: &self.chunks, folder }
    }

    /// Marks a folder, brings what is known of its objects up to that, and sweeps its chunks.
    async fn collect(
        &self,
        folder: FolderId,
        rules: Rules,
        report: &mut GcReport,
        pace: &dyn Pace,
    ) -> Result<(), GcError> {
        let marks = match self.tracer(folder).mark(pace).await? {
            Ok(marks) => marks,
            Err(problem) => {
                report.problem(problem);
                return Ok(());
            }
        };
        report.folders += 1;
        report.marked += marks.len() as u64;
        let judged = self.judge_objects(folder, &marks, pace).await?;
        if judged.right < marks.len() as u64 && !self.reinstate(folder, report, pace).await? {
            // Something that is reached is not stored: no time to throw anything away.
            return Ok(());
        }
        self.condemn(folder, &marks, judged, report, pace).await?;
        self.sweep(&Sweep { folder, marks: &marks, rules }, report, pace).await
    }

    /// Holds what is known of a folder's objects against its marks.
    async fn judge_objects(
        &self,
        folder: FolderId,
        marks: &Marks,
        pace: &dyn Pace,
    ) -> Result<Judged, GcError> {
        let mut judged = Judged::default();
        let mut after = None;
        loop {
            let objects = self.objects(folder, after).await?;
            let Some((last, _)) = objects.last() else { break };
            after = Some(*last);
            for (id, state) in objects {
                let known = judge_known(marks, &id, state.level);
                judged.wrong += u64::from(known != Known::Right);
                // A page that is known as a chunk alone is brought back as what it is.
                let is_less = state.level == 0 && marks.is_reached_as_page(&id);
                judged.right += u64::from(known == Known::Right && !is_less);
                if state.level > 0 && known != Known::Right {
                    judged.pages.push((state.level, id, known));
                }
            }
            pace.breathe().await;
        }
        Ok(judged)
    }

    async fn objects(
        &self,
        folder: FolderId,
        after: Option<ChunkId>,
    ) -> Result<Vec<(ChunkId, ObjectState)>, GcError> {
        let read = self.meta.read(move |reads| reads.objects(&folder, after.as_ref(), OBJECTS));
        Ok(read.await?)
    }

    /// Has what nothing reaches forgotten: pages first, from the top, so that what is known as a page
    /// has all beneath it known; then chunks.
    async fn condemn(
        &self,
        folder: FolderId,
        marks: &Marks,
        mut judged: Judged,
        report: &mut GcReport,
        pace: &dyn Pace,
    ) -> Result<(), GcError> {
        judged.pages.sort_unstable_by_key(|(level, id, _)| (std::cmp::Reverse(*level), *id));
        let of_chunks = judged.wrong - judged.pages.len() as u64;
        let changes = judged.pages.iter().map(|(_, id, known)| match known {
            Known::Demote => ObjectChange::Demote(*id),
            Known::Condemn | Known::Right => ObjectChange::Condemn(*id),
        });
        self.change(folder, changes.collect(), report, pace).await?;
        if of_chunks == 0 {
            return Ok(());
        }
        let mut after = None;
        loop {
            let objects = self.objects(folder, after).await?;
            let Some((last, _)) = objects.last() else { return Ok(()) };
            after = Some(*last);
            let wrong = objects.into_iter().filter(|(id, state)| {
                state.level == 0 && judge_known(marks, id, 0) == Known::Condemn
            });
            let changes = wrong.map(|(id, _)| ObjectChange::Condemn(id)).collect();
            self.change(folder, changes, report, pace).await?;
        }
    }

    async fn change(
        &self,
        folder: FolderId,
        changes: Vec<ObjectChange>,
        report: &mut GcReport,
        pace: &dyn Pace,
    ) -> Result<(), GcError> {
        for changes in changes.chunks(CHUNKS) {
            let key = |id: &ChunkId| ChunkKey { folder, id: *id };
            let condemned: Vec<ChunkKey> = changes
                .iter()
                .filter_map(|change| match change {
                    ObjectChange::Condemn(id) => Some(key(id)),
                    ObjectChange::Demote(_) | ObjectChange::Reinstate(..) => None,
                })
                .collect();
            report.condemned += condemned.len() as u64;
            // What can be named until now begins its time in the trash now: a commit may name it
            // after the marks were made.
            self.chunks.untrash(condemned).await?;
            let changes = changes.to_vec();
            self.meta.apply(Action::ChangeObjects { folder, changes }).await?;
            pace.breathe().await;
        }
        Ok(())
    }

    /// Looks for what is reached and not known, and has it known again: a commit named it while it
    /// was condemned. Chunks first, then pages from the bottom. Says whether all of it is stored.
    async fn reinstate(
        &self,
        folder: FolderId,
        report: &mut GcReport,
        pace: &dyn Pace,
    ) -> Result<bool, GcError> {
        let tracer = self.tracer(folder);
        let (mut marks, mut roots) = (Marks::new(), Roots::new());
        let (mut found, mut pages, mut whole) = (Vec::new(), Vec::new(), true);
        loop {
            let next = roots.next(&tracer).await?;
            if next.is_empty() {
                break;
            }
            for root in next {
                let mut note = |id, level| found.push((id, level));
                if let Err(problem) = tracer.reach(&root, &mut marks, &mut note).await? {
                    report.problem(problem);
                    return Ok(false);
                }
            }
            let missing = self.unknown_of(folder, std::mem::take(&mut found)).await?;
            let (chunks, more): (Vec<_>, Vec<_>) =
                missing.into_iter().partition(|(_, level)| *level == 0);
            pages.extend(more);
            whole &= self.reinstate_these(folder, &chunks, report).await?;
            pace.breathe().await;
        }
        pages.sort_unstable_by_key(|(id, level)| (*level, *id));
        if whole {
            whole = self.reinstate_these(folder, &pages, report).await?;
        }
        Ok(whole)
    }

    /// Those of some objects that are not known, or as less than they are.
    async fn unknown_of(
        &self,
        folder: FolderId,
        found: Vec<(ChunkId, u8)>,
    ) -> Result<Vec<(ChunkId, u8)>, GcError> {
        let read = self.meta.read(move |reads| {
            let mut unknown = Vec::new();
            for (id, level) in found {
                if reads.object(&folder, &id)?.is_none_or(|known| known.level < level) {
                    unknown.push((id, level));
                }
            }
            Ok(unknown)
        });
        Ok(read.await?)
    }

    /// Has objects known again that are stored: each is vouched for first, and so no trash.
    async fn reinstate_these(
        &self,
        folder: FolderId,
        objects: &[(ChunkId, u8)],
        report: &mut GcReport,
    ) -> Result<bool, GcError> {
        let mut whole = true;
        for objects in objects.chunks(CHUNKS) {
            let keys = objects.iter().map(|(id, _)| ChunkKey { folder, id: *id }).collect();
            let lengths = self.chunks.have(keys).await?;
            let mut changes = Vec::new();
            for ((id, level), length) in objects.iter().zip(lengths) {
                match length {
                    Some(length) => {
                        let state = ObjectState { level: *level, length };
                        changes.push(ObjectChange::Reinstate(*id, state));
                    }
                    None => {
                        whole = false;
                        let what = "a version names it, and it is missing or damaged";
                        report.problem(Problem::new(&folder, Some(id), what));
                    }
                }
            }
            report.reinstated += changes.len() as u64;
            self.meta.apply(Action::ChangeObjects { folder, changes }).await?;
        }
        Ok(whole)
    }

    /// Carries out, or with a dry run counts, what is to become of a folder's chunks.
    async fn sweep(
        &self,
        sweep: &Sweep<'_>,
        report: &mut GcReport,
        pace: &dyn Pace,
    ) -> Result<(), GcError> {
        let mut after = first_of(sweep.folder);
        loop {
            let page = self.chunks.survey(Some(after), CHUNKS).await?;
            let ours = page.iter().take_while(|chunk| chunk.key.folder == sweep.folder);
            let ours: Vec<Surveyed> = ours.copied().collect();
            let Some(last) = ours.last() else { return Ok(()) };
            after = last.key;
            self.sweep_these(sweep, &ours, report).await?;
            pace.breathe().await;
        }
    }

    async fn sweep_these(
        &self,
        sweep: &Sweep<'_>,
        chunks: &[Surveyed],
        report: &mut GcReport,
    ) -> Result<(), GcError> {
        let mut verdicts = Verdicts::default();
        for chunk in chunks {
            let trashed = chunk.trash.map(|trash| (trash.generation, trash.since_ms));
            let stored = Stored { stamped: chunk.generation, trashed };
            let is_reached = sweep.marks.is_reached(&chunk.key.id);
            let of = match judge_stored(&sweep.rules, is_reached, &stored) {
                Verdict::Keep if is_reached => continue,
                Verdict::Keep => {
                    report.leased.add_one(chunk.length);
                    continue;
                }
                Verdict::Wait => {
                    report.waiting.add_one(chunk.length);
                    continue;
                }
                Verdict::Trash => &mut verdicts.trash,
                Verdict::Untrash => &mut verdicts.untrash,
                Verdict::Purge => &mut verdicts.purge,
            };
            of.keys.push(chunk.key);
            of.counted.add(chunk.length);
        }
        let Rules { generation, trashed_before, now_ms, .. } = sweep.rules;
        if report.dry_run {
            report.untrashed.add(verdicts.untrash.counted);
            report.trashed.add(verdicts.trash.counted);
            report.purged.add(verdicts.purge.counted);
            return Ok(());
        }
        if !verdicts.untrash.keys.is_empty() {
            report.untrashed.add(self.chunks.untrash(verdicts.untrash.keys).await?);
        }
        if !verdicts.trash.keys.is_empty() {
            let stamp = TrashStamp { since_ms: now_ms, generation };
            report.trashed.add(self.chunks.trash(verdicts.trash.keys, stamp).await?);
        }
        if let (false, Some(since_ms_max)) =
            (verdicts.purge.keys.is_empty(), sweep.rules.since_ms_max())
        {
            let due = Due { trashed_before, since_ms_max };
            report.purged.add(self.chunks.purge(verdicts.purge.keys, due).await?);
        }
        Ok(())
    }

    /// Counts chunks of folders that the metadata does not know. They are kept: it has lost its own
    /// past, and may get it back.
    async fn count_unknown(
        &self,
        folders: &[FolderId],
        report: &mut GcReport,
        pace: &dyn Pace,
    ) -> Result<(), GcError> {
        let mut after = None;
        loop {
            let page = self.chunks.survey(after, CHUNKS).await?;
            let Some(first) = page.first() else { return Ok(()) };
            if folders.binary_search(&first.key.folder).is_ok() {
                after = Some(last_of(first.key.folder));
                continue;
            }
            for chunk in page.iter().take_while(|chunk| chunk.key.folder == first.key.folder) {
                report.unknown.add_one(chunk.length);
                after = Some(chunk.key);
            }
            pace.breathe().await;
        }
    }

    async fn segments(&self) -> Result<Vec<Segment>, GcError> {
        let segments = self.chunks.segments().await?.into_iter();
        Ok(segments
            .map(|segment| Segment {
                number: segment.segment,
                live_bytes: segment.live_bytes,
                file_bytes: segment.file_bytes,
            })
            .collect())
    }

    /// Gives the disk back what is dead in segments.
    async fn compact(&self, report: &mut GcReport, pace: &dyn Pace) -> Result<(), GcError> {
        self.drop_empty(report).await?;
        let mut plan = std::collections::VecDeque::from(worth_compacting(self.segments().await?));
        let mut retried = false;
        while let Some(segment) = plan.pop_front() {
            match self.chunks.compact(segment.number).await {
                Ok(done) => {
                    report.compacted += 1;
                    report.moved_bytes += done.moved.bytes;
                    if done.damaged > 0 {
                        let what = format!(
                            "{} damaged chunks keep segment {}",
                            done.damaged, segment.number
                        );
                        let nobody =
                            Problem { folder: String::new(), object: String::new(), problem: what };
                        report.problem(nobody);
                    }
                }
                // What was copied so far may have emptied others.
                Err(StoreError::DiskFull { .. }) if !retried => {
                    retried = true;
                    self.drop_empty(report).await?;
                    plan.push_front(segment);
                }
                Err(StoreError::DiskFull { .. }) => {
                    report.lacked_bytes = segment.live_bytes;
                    break;
                }
                Err(error) => return Err(error.into()),
            }
            pace.breathe().await;
        }
        self.drop_empty(report).await?;
        report.freed_bytes = report.freed_bytes.saturating_sub(report.moved_bytes);
        Ok(())
    }

    async fn drop_empty(&self, report: &mut GcReport) -> Result<(), GcError> {
        let dropped = self.chunks.drop_empty().await?;
        report.dropped += dropped.segments;
        report.freed_bytes += dropped.bytes;
        Ok(())
    }
}

/// How a folder's known objects stand against its marks.
#[derive(Default)]
struct Judged {
    /// Rightly known.
    right: u64,
    /// Known, and to be condemned or demoted.
    wrong: u64,
    /// Those that are pages, with their levels.
    pages: Vec<(u8, ChunkId, Known)>,
}

/// Chunks with one verdict.
#[derive(Default)]
struct Judgement {
    keys: Vec<ChunkKey>,
    counted: Reclaimed,
}

#[derive(Default)]
struct Verdicts {
    trash: Judgement,
    untrash: Judgement,
    purge: Judgement,
}

/// Before all chunks of a folder; an id of zeros is the hash of nothing that is known.
const fn first_of(folder: FolderId) -> ChunkKey {
    ChunkKey { folder, id: ChunkId::from_bytes([0; 32]) }
}

/// After all chunks of a folder.
const fn last_of(folder: FolderId) -> ChunkKey {
    ChunkKey { folder, id: ChunkId::from_bytes([0xff; 32]) }
}
