//! Chunks that lie in other files of this disk.
//!
//! Where they may lie is asked here, on the engine's thread; they are copied by the CPU pool, files of
//! many builds at a time, since a small file costs more calls than bytes.

use super::Fetch;
use super::build::Build;
use super::error::FetchError;
use crate::context::{FolderContext, Stopping, compute};
use crate::fs::{Fs, ReadFile, RelPath};
use crate::state::{ChunkSource, StateError};
use common::ids::EntryId;
use common::keys::FolderKeys;
use futures_util::stream::{FuturesOrdered, StreamExt};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Files that are open at a time to be copied from.
const SOURCES_OPEN_MAX: usize = 64;
/// Jobs under way at a time.
const JOBS_MAX: usize = 16;
/// Builds that one job copies for.
const BUILDS_TOGETHER: usize = 64;
/// Bytes of builds that one job copies for, one build at least.
const BYTES_TOGETHER: u64 = 8 * 1024 * 1024;

/// What other files of this disk are said to hold of what a build lacks.
#[derive(Default)]
pub(super) struct Copies {
    /// By the chunk's number, and where it begins in the file that is built.
    chunks: Vec<(usize, u64, Vec<ChunkSource>)>,
    /// Where those files are.
    paths: BTreeMap<EntryId, RelPath>,
}

/// Builds, and what came of copying for each.
pub(super) type Copied = Vec<(Build, Result<(), FetchError>)>;

/// A job that copies for some builds.
type Job = dyn Future<Output = Result<Copied, Stopping>> + Send;

/// Builds that are copied for.
#[derive(Default)]
pub(super) struct Copying {
    /// Of the next job.
    builds: Vec<(Build, Copies)>,
    bytes: u64,
    jobs: FuturesOrdered<Pin<Box<Job>>>,
}

impl Copying {
    /// Takes a build. What has been copied comes in this order.
    pub(super) fn push(&mut self, context: &FolderContext, build: Build, copies: Copies) {
        self.bytes += build.want.size;
        self.builds.push((build, copies));
        if self.builds.len() >= BUILDS_TOGETHER || self.bytes >= BYTES_TOGETHER {
            self.begin(context);
        }
    }

    /// Begins a job with the builds that wait for one.
    pub(super) fn begin(&mut self, context: &FolderContext) {
        self.bytes = 0;
        let builds = std::mem::take(&mut self.builds);
        let (fs, keys) = (Arc::clone(&context.fs), Arc::clone(&context.keys));
        let job = compute(context.environment.as_ref(), move || {
            let copy = |(mut build, copies): (Build, Copies)| {
                let copied = copies.copy(fs.as_ref(), &keys, &mut build);
                let ended = copied.and_then(|()| build.end_if_whole(fs.as_ref(), &keys));
                (build, ended)
            };
            builds.into_iter().map(copy).collect()
        });
        self.jobs.push_back(Box::pin(job));
    }

    /// Whether something is to be taken before more is begun.
    pub(super) fn is_full(&self) -> bool {
        self.jobs.len() >= JOBS_MAX
    }

    /// Waits for the next job; `None` when there is none.
    pub(super) async fn next(&mut self) -> Option<Result<Copied, Stopping>> {
        self.jobs.next().await
    }
}

impl Fetch<'_> {
    /// Where the chunks that a build lacks are said to lie.
    pub(super) fn copies_for(&self, build: &Build) -> Result<Copies, StateError> {
        let state = &self.context.state;
        let mut copies = Copies::default();
        let mut offset = 0;
        for (index, ((id, length), hash)) in build.chunks.iter().zip(&build.hashes).enumerate() {
            if hash.is_none() {
                let mut sources = state.sources(id)?;
                sources.retain(|source| source.length == *length);
                for source in &sources {
                    if let Entry::Vacant(slot) = copies.paths.entry(source.entry) {
                        let names = state.local_path(&source.entry)?;
                        let path = names.and_then(|names| RelPath::new(names).ok());
                        path.map(|path| slot.insert(path));
                    }
                }
                if !sources.is_empty() {
                    copies.chunks.push((index, offset, sources));
                }
            }
            offset += u64::from(*length);
        }
        Ok(copies)
    }
}

impl Copies {
    /// Copies what there is; what cannot be read is left to be downloaded.
    pub(super) fn copy(
        &self,
        fs: &dyn Fs,
        keys: &FolderKeys,
        build: &mut Build,
    ) -> Result<(), FetchError> {
        let mut open = BTreeMap::new();
        for (index, offset, sources) in &self.chunks {
            let bytes = sources.iter().find_map(|source| self.read(fs, &mut open, source));
            if let Some(bytes) = bytes {
                let hash = keys.plain_hash(&bytes);
                build.copied();
                build.write(fs, *index, *offset, &bytes, hash)?;
            }
        }
        Ok(())
    }

    fn read(
        &self,
        fs: &dyn Fs,
        open: &mut BTreeMap<EntryId, Option<Box<dyn ReadFile>>>,
        source: &ChunkSource,
    ) -> Option<Vec<u8>> {
        if open.len() > SOURCES_OPEN_MAX && !open.contains_key(&source.entry) {
            open.clear();
        }
        let path = self.paths.get(&source.entry)?;
        let file = open.entry(source.entry).or_insert_with(|| fs.open(path).ok()).as_ref()?;
        let mut bytes = vec![0; source.length as usize];
        (file.read_at(source.start, &mut bytes).ok()? == bytes.len()).then_some(bytes)
    }
}
