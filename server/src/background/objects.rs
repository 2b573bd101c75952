//! What the metadata remembers of objects, brought up to what versions reach.
//!
//! Owns the order in which objects are condemned and brought back: a page goes before what is beneath
//! it, and comes back after it. A commit may name meanwhile what is being condemned; then something
//! that is reached is not known, and the next run has it known again. It must not know what becomes
//! of their chunks.

use super::gc::{CHUNKS, Collector, GcError};
use super::mark::Roots;
use super::pace::Pace;
use super::report::{GcReport, Problem};
use crate::chunk_store::ChunkKey;
use common::ids::{ChunkId, FolderId};
use server_core::gc::{Known, Marks, judge_known};
use server_core::metadata::{Action, ObjectChange, ObjectState};

/// Known objects that are looked at at a time.
const OBJECTS: usize = 4096;

/// How a folder's known objects stand against its marks.
#[derive(Default)]
pub(super) struct Judged {
    /// Rightly known.
    pub(super) right: u64,
    /// Known, and to be condemned or demoted.
    pub(super) wrong: u64,
    /// Those that are pages, with their levels.
    pages: Vec<(u8, ChunkId, Known)>,
}

impl Collector {
    /// Holds what is known of a folder's objects against its marks.
    pub(super) async fn judge_objects(
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

    /// Has what no mark reaches forgotten: pages first, from the top, so that none of them is known
    /// without what is beneath it; then chunks. What commits have named since the marks were made is
    /// not looked at.
    pub(super) async fn condemn(
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
    pub(super) async fn reinstate(
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
                let mut problems = Vec::new();
                tracer.reach(&root, &mut marks, &mut note, &mut problems).await?;
                if !problems.is_empty() {
                    problems.into_iter().for_each(|problem| report.problem(problem));
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
                        report.problem(Problem::new(Some(&folder), Some(id), what));
                    }
                }
            }
            report.reinstated += changes.len() as u64;
            self.meta.apply(Action::ChangeObjects { folder, changes }).await?;
        }
        Ok(whole)
    }
}
