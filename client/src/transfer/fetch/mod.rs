//! Building files in `.driftless/staging`: from bytes that lie on this disk, and from the server.
//!
//! Owns the check that a staged file is the version that was asked for: every object verifies
//! against its id and key, the lengths add up, and the content tag over all chunks is the one in the
//! entry's sealed attributes. Bytes taken from local files are only believed once that tag agrees.
//! Each file is a `build`; what a cut leaves of it is for `resume`.

mod build;
mod error;
mod local;
mod pen;
mod pieces;
mod resume;

pub use error::FetchError;

use super::manifest::Manifest;
use crate::context::{FolderContext, Stopping, compute};
use crate::fs::{FsError, RelPath, Stat};
use crate::state::RemoteRow;
use build::Build;
use bytes::Bytes;
use common::chunk::open_chunk;
use common::ids::{ChunkId, ContentTag, EntryId};
use common::record::Root;
use futures_util::stream::{FuturesOrdered, StreamExt};
use local::{Copied, Copying};
use pieces::{Files, Opened, Piece, plan_requests, write_out};
use resume::Kept;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Requests for chunks under way at a time.
const GETS_MAX: usize = 3;
/// Files of so many chunks stay open until they are whole, and are written by the CPU pool.
const LARGE_CHUNKS: usize = 16;
/// After so many bytes it is remembered how far downloads have come.
const KEEP_BYTES: u64 = 8 * 1024 * 1024;

/// A version that is wanted as a file.
#[derive(Clone, Debug)]
pub struct Want {
    /// Of which entry.
    pub entry: EntryId,
    /// Top of its bytes; `None` for an empty file.
    pub root: Option<Root>,
    /// Its length in bytes.
    pub size: u64,
    /// Its content tag.
    pub tag: ContentTag,
    /// Permission bits for the file.
    pub mode: u16,
    /// Modification time for the file.
    pub mtime_ns: i64,
}

impl From<&RemoteRow> for Want {
    /// What the server has for an entry.
    fn from(row: &RemoteRow) -> Self {
        let content = row.node.content;
        Self {
            entry: row.node.entry,
            root: row.root,
            size: row.size,
            tag: content.tag,
            mode: content.mode,
            mtime_ns: content.mtime_ns,
        }
    }
}

/// A file in staging that is complete and verified, not synced yet.
pub struct Built {
    /// Of which entry.
    pub entry: EntryId,
    /// Where it is.
    pub path: RelPath,
    /// How it looks.
    pub stat: Stat,
    /// Its chunks in order.
    pub chunks: Vec<(ChunkId, u32)>,
}

/// What became of a batch of files.
#[must_use = "finished files are the caller's, whatever ended the batch"]
#[derive(Default)]
pub struct Batch {
    /// Files that are finished or have failed by themselves.
    pub done: Vec<(EntryId, Result<Built, FetchError>)>,
    /// Why the batch ended early, if it did. What has arrived of the other files is kept.
    pub cut: Option<FetchError>,
}

/// Builds files of one folder.
pub struct Fetch<'a> {
    context: &'a FolderContext,
    /// Whether it goes on with cut downloads, and leaves some.
    resumes: bool,
    /// The disk had no room for a file: the next ones show that they fit before they are asked for.
    full: Cell<bool>,
    /// Entries whose staged files are not to give way to others: they are being built, or are not
    /// handed over yet.
    under_way: RefCell<BTreeSet<EntryId>>,
}

impl<'a> Fetch<'a> {
    /// For this folder: goes on with downloads that were cut, and leaves those that are.
    #[must_use]
    pub fn new(context: &'a FolderContext) -> Self {
        Self { context, resumes: true, full: Cell::new(false), under_way: RefCell::default() }
    }

    /// For versions that are wanted once: a cut leaves nothing, and nothing that was left by others
    /// is touched.
    #[must_use]
    pub fn once(context: &'a FolderContext) -> Self {
        Self { resumes: false, ..Self::new(context) }
    }

    /// Builds a batch of files. A failure of one file is its own; one that does not belong to one
    /// file alone ends the batch. What is finished is to be [handed over](Self::hand_over).
    pub async fn build(&self, wants: Vec<Want>, mut progress: impl FnMut(u64)) -> Batch {
        let mut done = Vec::with_capacity(wants.len());
        let mut builds = Vec::new();
        let mut cut = self.run(wants, &mut builds, &mut done, &mut progress).await.err();
        if cut.is_some() {
            note(&mut cut, self.part_from(&mut builds));
        }
        done.extend(builds.into_iter().filter_map(|mut build| {
            let entry = build.want.entry;
            build.end.take().map(|end| (entry, end))
        }));
        Batch { done, cut }
    }

    async fn run(
        &self,
        wants: Vec<Want>,
        builds: &mut Vec<Build>,
        done: &mut Vec<(EntryId, Result<Built, FetchError>)>,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), FetchError> {
        self.under_way.borrow_mut().extend(wants.iter().map(|want| want.entry));
        let mut copying = Copying::default();
        let mut taken = self.begin_all(wants, builds, done, &mut copying).await;
        // What is under way comes to its end, whatever ended the rest: it is not built twice.
        copying.begin(self.context);
        while let Some(copied) = copying.next().await {
            taken = taken.and(self.take_copied(builds, copied));
        }
        taken?;
        self.download(builds, progress).await
    }

    /// Takes what lies on this disk already: what was kept of cut downloads, and chunks of other files.
    async fn begin_all(
        &self,
        wants: Vec<Want>,
        builds: &mut Vec<Build>,
        done: &mut Vec<(EntryId, Result<Built, FetchError>)>,
        copying: &mut Copying,
    ) -> Result<(), FetchError> {
        for want in self.in_order(wants)? {
            let entry = want.entry;
            match self.begin(want).await {
                Ok((build, Some(kept))) => {
                    builds.push(build);
                    if let Some(build) = builds.last_mut() {
                        let taken = self.go_on_here(build, kept).await;
                        self.settle(build, taken)?;
                    }
                }
                Ok((build, None)) => {
                    let copies = self.copies_for(&build)?;
                    copying.push(self.context, build, copies);
                }
                Err(error) if error.is_of_one_file() => {
                    self.under_way.borrow_mut().remove(&entry);
                    done.push((entry, Err(error)));
                }
                Err(error) => return Err(error),
            }
            if copying.is_full()
                && let Some(copied) = copying.next().await
            {
                self.take_copied(builds, copied)?;
            }
        }
        Ok(())
    }

    fn take_copied(
        &self,
        builds: &mut Vec<Build>,
        copied: Result<Copied, Stopping>,
    ) -> Result<(), FetchError> {
        let (copied, results): (Vec<Build>, Vec<_>) = copied?.into_iter().unzip();
        let first = builds.len();
        builds.extend(copied);
        let new = builds.iter_mut().skip(first);
        new.zip(results).try_for_each(|(build, result)| self.settle(build, result))
    }

    /// Those first that go on with a kept download: it gives way to the others if they cannot.
    fn in_order(&self, mut wants: Vec<Want>) -> Result<Vec<Want>, FetchError> {
        if self.resumes {
            let partials = self.context.state.partials()?;
            let kept: BTreeSet<EntryId> = partials.into_iter().map(|(entry, _)| entry).collect();
            wants.sort_by_key(|want| !kept.contains(&want.entry));
        }
        Ok(wants)
    }

    async fn begin(&self, want: Want) -> Result<(Build, Option<Kept>), FetchError> {
        let kept = self.reopen(&want)?;
        // Before its chunk list is read: what the disk can hold bounds that too.
        self.require_room(want.size, kept.as_ref().map_or(0, Kept::held_bytes))?;
        let Manifest { chunks } =
            Manifest::read(self.context, want.root.as_ref(), want.size).await?;
        Ok((Build::new(want, self.context.fresh_name(), chunks, self.resumes), kept))
    }

    /// Goes on with what was kept, here: the state names its file, and no job may outlive this.
    async fn go_on_here(&self, build: &mut Build, kept: Kept) -> Result<(), FetchError> {
        self.go_on(build, kept).await?;
        self.copies_for(build)?.copy(self.context.fs.as_ref(), &self.context.keys, build)
    }

    fn settle(&self, build: &mut Build, result: Result<(), FetchError>) -> Result<(), FetchError> {
        if matches!(result, Err(FetchError::Disk(FsError::NoSpace { .. }))) {
            self.full.set(true);
            // The next try may then have more luck.
            self.give_way(build.want.size)?;
        }
        build.settle(self.context, result)?;
        if matches!(build.end, Some(Err(_))) {
            self.under_way.borrow_mut().remove(&build.want.entry);
        }
        Ok(())
    }

    /// Downloads what the builds still lack, and ends each with its last bytes.
    async fn download(
        &self,
        builds: &mut [Build],
        progress: &mut impl FnMut(u64),
    ) -> Result<(), FetchError> {
        let mut requests = plan_requests(builds).into_iter();
        let mut replies = FuturesOrdered::new();
        let mut since_kept_bytes = 0_u64;
        loop {
            while replies.len() < GETS_MAX
                && let Some(request) = requests.next()
            {
                let pieces = self.still_wanted(builds, request)?;
                let files = self.large_files(builds, &pieces)?;
                replies.push_back(self.request(pieces, files));
            }
            let Some(reply) = replies.next().await else { return Ok(()) };
            for (piece, opened) in reply? {
                let Some(build) = builds.get_mut(piece.build) else { continue };
                if build.end.is_some() {
                    // It has failed while this piece was on its way.
                    continue;
                }
                let written = opened.and_then(|(hash, bytes)| {
                    let Some(bytes) = bytes else {
                        build.written(piece.index, piece.offset, hash);
                        return Ok(());
                    };
                    build.write(self.context.fs.as_ref(), piece.index, piece.offset, &bytes, hash)
                });
                if written.is_ok() {
                    since_kept_bytes += u64::from(piece.length);
                    progress(u64::from(piece.length));
                }
                self.settle(build, written)?;
            }
            if since_kept_bytes >= KEEP_BYTES {
                since_kept_bytes = 0;
                self.keep(builds)?;
            }
        }
    }

    /// The pieces of files that have not failed meanwhile, and for which there is room.
    fn still_wanted(
        &self,
        builds: &mut [Build],
        mut request: Vec<Piece>,
    ) -> Result<Vec<Piece>, FetchError> {
        for piece in &request {
            let Some(build) = builds.get_mut(piece.build) else { continue };
            if self.full.get() && build.end.is_none() && build.staged.is_none() {
                let fits = self.require_room(build.want.size, 0);
                self.settle(build, fits)?;
            }
        }
        request.retain(|piece| builds.get(piece.build).is_some_and(|build| build.end.is_none()));
        Ok(request)
    }

    /// The files of these pieces that are large enough to be written where they are opened.
    fn large_files(&self, builds: &mut [Build], pieces: &[Piece]) -> Result<Files, FetchError> {
        let mut files = Files::new();
        for piece in pieces {
            let Some(build) = builds.get_mut(piece.build) else { continue };
            if build.chunks.len() < LARGE_CHUNKS || build.end.is_some() {
                continue;
            }
            match build.staged(self.context.fs.as_ref()).map(Arc::clone) {
                Ok(file) => drop(files.insert(piece.build, file)),
                Err(error) => self.settle(build, Err(error))?,
            }
        }
        Ok(files)
    }

    /// Fetches and opens pieces, and writes those of large files. A file of one chunk is open for
    /// the moment of its writing alone, so its bytes are returned.
    async fn request(&self, pieces: Vec<Piece>, files: Files) -> Result<Vec<Opened>, FetchError> {
        if pieces.is_empty() {
            return Ok(Vec::new());
        }
        let ids = pieces.iter().map(|piece| piece.id).collect();
        let stored = self.context.remote.get(self.context.folder, ids).await?;
        let (keys, folder) = (Arc::clone(&self.context.keys), self.context.folder);
        let opened = compute(self.context.environment.as_ref(), move || {
            let open = |(piece, stored): (Piece, Option<Bytes>)| {
                let opened = match stored {
                    None => Err(FetchError::Absent(piece.id)),
                    Some(stored) => open_chunk(&keys, &folder, &piece.id, &stored)
                        .map_err(|source| FetchError::Object { id: piece.id, source })
                        .and_then(|bytes| {
                            let hash = keys.plain_hash(&bytes);
                            Ok((hash, write_out(&piece, bytes, files.get(&piece.build))?))
                        }),
                };
                (piece, opened)
            };
            pieces.into_iter().zip(stored).map(open).collect()
        });
        Ok(opened.await?)
    }
}

/// The first error ends a batch; what goes wrong after it is logged.
fn note(cut: &mut Option<FetchError>, result: Result<(), FetchError>) {
    match (result, &cut) {
        (Ok(()), _) => {}
        (Err(error), None) => *cut = Some(error),
        (Err(error), Some(_)) => tracing::warn!(%error, "a cut download could not be kept"),
    }
}
