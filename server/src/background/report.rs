//! What work in the background tells: amounts, problems, what a run of the garbage collection did.
//!
//! Owns the shapes, which are printed as JSON: fields are only ever added. It must not know how they
//! came about.

use crate::chunk_store::Reclaimed;
use common::ids::{ChunkId, FolderId};
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// Problems that a report lists; the rest is counted.
const PROBLEMS_MAX: usize = 100;

/// What was found wrong, by ids alone: a server knows no names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// In which folder; empty when in none.
    pub folder: String,
    /// With which chunk or page; empty when with the folder as a whole.
    pub object: String,
    /// What.
    pub problem: String,
}

impl Problem {
    pub(crate) fn new(folder: Option<&FolderId>, object: Option<&ChunkId>, problem: &str) -> Self {
        Self {
            folder: folder.map(ToString::to_string).unwrap_or_default(),
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

impl AddAssign for Amount {
    fn add_assign(&mut self, more: Self) {
        self.chunks += more.chunks;
        self.bytes += more.bytes;
    }
}

impl Amount {
    pub(super) fn add(&mut self, more: Reclaimed) {
        self.chunks += more.chunks;
        self.bytes += more.bytes;
    }

    pub(super) fn add_one(&mut self, length: u32) {
        self.chunks += 1;
        self.bytes += u64::from(length);
    }
}

/// Problems, as many as are listed, and how many more there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problems {
    /// The first ones.
    pub problems: Vec<Problem>,
    /// How many more.
    pub problems_more: u64,
}

impl Problems {
    pub(crate) fn push(&mut self, problem: Problem) {
        tracing::error!(
            folder = problem.folder,
            object = problem.object,
            problem = problem.problem,
            "something stored is not whole"
        );
        self.note(problem);
    }

    /// Lists one that the log has told of, or that is not of what is stored.
    pub(crate) fn note(&mut self, problem: Problem) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        } else {
            self.problems_more += 1;
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }
}

/// What a run did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcReport {
    /// Versions that retention released before.
    #[serde(default)]
    pub thinned: u64,
    /// Folders that retention leaves as they are for now, as the server was restored lately.
    #[serde(default)]
    pub held: u64,
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
    /// What kept folders from being thinned or traced, and damaged chunks that keep their segment.
    #[serde(flatten)]
    pub problems: Problems,
}

impl GcReport {
    /// Adds what a second look at a folder did; what it counted was counted before.
    pub(super) fn add_recheck(&mut self, second: Self) {
        self.condemned += second.condemned;
        self.reinstated += second.reinstated;
        self.trashed += second.trashed;
        self.untrashed += second.untrashed;
        self.purged += second.purged;
        self.problems.problems_more += second.problems.problems_more;
        second.problems.problems.into_iter().for_each(|problem| self.problem(problem));
    }

    pub(super) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }
}
