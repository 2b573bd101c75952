//! Garbage collection: mark, condemn, trash, re-check, purge, compact.
//!
//! Owns the order of these steps; `docs/decisions/030-what-garbage-collection-may-take.md` says why
//! it loses nothing, whatever devices do meanwhile and wherever it is interrupted. One run goes at a
//! time. A run that is dropped or fails leaves a state from which the next one is right. It must not
//! decide what is garbage.

use super::mark::{Roots, Tracer};
use super::metadata::Metadata;
use super::pace::Pace;
use super::report::GcReport;
use crate::chunk_store::{ChunkKey, Due, Reclaim, Reclaimed, StoreError, Surveyed, TrashStamp};
use crate::meta_store::{MetaError, MetaHandle};
use crate::service::{Clock, Work};
use common::ids::{ChunkId, FolderId};
use server_core::gc::{Marks, Rules, Segment, Stored, Verdict, judge_stored, worth_compacting};
use server_core::metadata::Action;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::{Mutex, MutexGuard};

/// Chunks that are looked at, and changed in one transaction, at a time.
pub(super) const CHUNKS: usize = 1024;

/// Why a run, a check or a copy stopped. What it did so far stands.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// The metadata did not answer.
    #[error(transparent)]
    Metadata(#[from] MetaError),
    /// The chunk store did not answer.
    #[error(transparent)]
    Chunks(#[from] StoreError),
}

/// What a collector works on.
#[derive(Clone)]
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
    pub(super) meta: Metadata,
    pub(super) chunks: Arc<dyn Reclaim>,
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

    /// Which of some objects the versions of a folder name, as far as its pages can be read.
    ///
    /// # Errors
    /// [`GcError`].
    pub(crate) async fn named_of(
        &self,
        folder: FolderId,
        ids: &BTreeSet<ChunkId>,
    ) -> Result<BTreeSet<ChunkId>, GcError> {
        let tracer = self.tracer(folder);
        let (mut marks, mut roots, mut named) = (Marks::new(), Roots::new(), BTreeSet::new());
        loop {
            let page = roots.next(&tracer).await?;
            if page.is_empty() {
                return Ok(named);
            }
            for root in page {
                let mut note = |id, _| {
                    if ids.contains(&id) {
                        named.insert(id);
                    }
                };
                // A page that cannot be read is one of them, or beneath one.
                tracer.reach(&root, &mut marks, &mut note, &mut Vec::new()).await?;
            }
        }
    }

    async fn generation(&self) -> Result<u64, GcError> {
        let logged = self.meta.read(|reads| reads.generation()).await?;
        Ok(logged.max(self.chunks.generation()))
    }

    /// Logs a new generation, and has chunks stamped with it from then on. In this order: a receipt
    /// is never of a generation that the metadata does not know. What an earlier run has logged comes
    /// first: were the metadata two ahead, it would refuse every receipt.
    async fn begin_generation(&self) -> Result<u64, GcError> {
        let logged = self.meta.read(|reads| reads.generation()).await?;
        self.chunks.raise_generation(logged).await?;
        let generation = self.chunks.generation().max(logged).saturating_add(1);
        self.meta.apply(Action::BeginGeneration { generation }).await?;
        self.chunks.raise_generation(generation).await?;
        Ok(generation)
    }

    async fn folders(&self) -> Result<Vec<FolderId>, GcError> {
        Ok(self.meta.read(|reads| reads.all_folders()).await?)
    }

    pub(super) fn tracer(&self, folder: FolderId) -> Tracer<'_> {
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

    pub(super) async fn segments(&self) -> Result<Vec<Segment>, GcError> {
        let segments = self.chunks.segments().await?.into_iter();
        Ok(segments
            .map(|segment| Segment {
                number: segment.segment,
                live_bytes: segment.live_bytes,
                file_bytes: segment.file_bytes,
            })
            .collect())
    }
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
pub(super) const fn first_of(folder: FolderId) -> ChunkKey {
    ChunkKey { folder, id: ChunkId::from_bytes([0; 32]) }
}

/// After all chunks of a folder.
pub(super) const fn last_of(folder: FolderId) -> ChunkKey {
    ChunkKey { folder, id: ChunkId::from_bytes([0xff; 32]) }
}
