//! Building files in `.driftless/staging`: from bytes that lie on this disk, and from the server.
//!
//! Owns the check that a staged file is the version that was asked for: every object verifies
//! against its id and key, the lengths add up, and the content tag over all chunks is the one in the
//! entry's sealed attributes. Bytes taken from local files are only believed once that tag agrees.

use super::manifest::Manifest;
use crate::context::{FolderContext, Stopping, compute};
use crate::fs::{Area, FsError, ReadFile, RelPath, StagedFile, Stat};
use crate::remote::RemoteError;
use crate::state::StateError;
use bytes::Bytes;
use common::chunk::{OpenError, open_chunk};
use common::ids::{ChunkId, ContentTag, EntryId, PlainHash};
use common::record::Root;
use futures_util::stream::{FuturesOrdered, StreamExt};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Plaintext bytes that one request for chunks asks for, about.
const GET_BYTES: u64 = 4 * 1024 * 1024;
/// Most chunks that one request asks for.
const GET_CHUNKS: usize = 512;
/// Requests for chunks under way at a time.
const GETS_MAX: usize = 3;
/// Files of so many chunks stay open until they are whole, and are written by the CPU pool.
const LARGE_CHUNKS: usize = 16;
/// Downloads longer than this remember how far they have come, in bytes.
const RESUME_BYTES: u64 = 8 * 1024 * 1024;

/// A file that could not be built.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server could not be asked or refused.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The server does not have an object that the version needs, or only a damaged copy.
    #[error("the server has no whole copy of chunk {0}")]
    Absent(ChunkId),
    /// An object is not what it has to be.
    #[error("chunk {id} cannot be opened: {source}")]
    Object {
        /// Which object.
        id: ChunkId,
        /// What is wrong.
        #[source]
        source: OpenError,
    },
    /// The objects do not make up the version that its attributes describe.
    #[error("the server's chunks do not make up this version: {0}")]
    Mismatch(&'static str),
    /// The disk has less room than the file needs.
    #[error("no space left for it: the file needs {needed} bytes and {free} are left on this disk")]
    NoRoom {
        /// Its size in bytes.
        needed: u64,
        /// Free bytes.
        free: u64,
    },
    /// Bytes taken from local files were not what the index said; without it all is downloaded, so
    /// the same version can be built at once.
    #[error("local files changed while they were copied from")]
    StaleSources,
    /// The staged file could not be written.
    #[error(transparent)]
    Disk(#[from] FsError),
    /// The state could not be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The program stops.
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

impl FetchError {
    /// Whether the fault is in this one version, so that others may well be built.
    #[must_use]
    pub fn is_of_one_file(&self) -> bool {
        match self {
            Self::Absent(_)
            | Self::Object { .. }
            | Self::Mismatch(_)
            | Self::NoRoom { .. }
            | Self::StaleSources => true,
            // A smaller one may well find room.
            Self::Disk(FsError::NoSpace { .. }) => true,
            Self::Disk(error) => error.is_of_one_path(),
            Self::Remote(_) | Self::State(_) | Self::Stopping(_) => false,
        }
    }
}

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

/// A file being built. It is open only from its first bytes to its last: a batch may have more
/// files than a process may hold open.
struct Build {
    want: Want,
    staged: Option<Arc<dyn StagedFile>>,
    chunks: Vec<(ChunkId, u32)>,
    hashes: Vec<Option<PlainHash>>,
    left: usize,
    from_disk: bool,
    end: Option<Result<Built, FetchError>>,
}

impl Build {
    /// The file in staging, made now if there is none yet.
    fn staged(&mut self, context: &FolderContext) -> Result<&Arc<dyn StagedFile>, FetchError> {
        let slot = match &mut self.staged {
            Some(staged) => return Ok(staged),
            slot => slot,
        };
        let staged = slot.insert(Arc::from(context.fs.stage(&context.fresh_name())?));
        // Found out now, it takes no room from others and is not downloaded in vain.
        if self.chunks.len() > 1 {
            staged.preallocate(self.want.size)?;
        }
        Ok(staged)
    }

    fn write(
        &mut self,
        context: &FolderContext,
        index: usize,
        offset: u64,
        bytes: &[u8],
        hash: PlainHash,
    ) -> Result<(), FetchError> {
        self.staged(context)?.write_at(offset, bytes)?;
        self.written(index, hash);
        Ok(())
    }

    /// A chunk is in its place.
    fn written(&mut self, index: usize, hash: PlainHash) {
        if let Some(slot) = self.hashes.get_mut(index)
            && slot.replace(hash).is_none()
        {
            self.left -= 1;
        }
    }

    /// Ends the build when nothing is left to write, or with what went wrong.
    fn settle(
        &mut self,
        context: &FolderContext,
        result: Result<(), FetchError>,
    ) -> Result<(), FetchError> {
        if self.end.is_some() {
            return Ok(());
        }
        let end = match result {
            Ok(()) if self.left > 0 => return Ok(()),
            Ok(()) => self.finish(context),
            Err(error) => Err(error),
        };
        match end {
            Err(error) if !error.is_of_one_file() => Err(error),
            end => {
                // Of a file that failed nothing stays: others may need the room.
                if let Some(staged) = self.staged.take().filter(|_| end.is_err()) {
                    context.fs.remove(staged.path())?;
                }
                self.end = Some(end);
                Ok(())
            }
        }
    }

    fn finish(&mut self, context: &FolderContext) -> Result<Built, FetchError> {
        let mut tag = context.keys.content_tag();
        for ((_, length), hash) in self.chunks.iter().zip(&self.hashes) {
            let hash = hash.as_ref().ok_or(FetchError::Mismatch("a chunk is missing"))?;
            tag.chunk(hash, *length);
        }
        if tag.finish() != self.want.tag {
            // What was taken from local files had changed: without the index all is downloaded.
            if self.from_disk {
                context.state.remove_partial(&self.want.entry)?;
                context.state.forget_sources(self.chunks.iter().map(|(id, _)| id))?;
                return Err(FetchError::StaleSources);
            }
            return Err(FetchError::Mismatch("the content tag is another"));
        }
        let staged = match self.staged.take() {
            Some(staged) => staged,
            None => Arc::from(context.fs.stage(&context.fresh_name())?),
        };
        staged.set_attributes(self.want.mode, self.want.mtime_ns)?;
        let stat = staged.stat()?;
        if stat.size != self.want.size {
            return Err(FetchError::Mismatch("the size is another"));
        }
        context.state.remove_partial(&self.want.entry)?;
        let path = staged.path().clone();
        let chunks = std::mem::take(&mut self.chunks);
        Ok(Built { entry: self.want.entry, path, stat, chunks })
    }
}

/// Builds files of one folder.
pub struct Fetch<'a> {
    context: &'a FolderContext,
    /// The disk had no room for a file: the next ones show that they fit before they are asked for.
    full: Cell<bool>,
}

impl<'a> Fetch<'a> {
    /// For this folder.
    #[must_use]
    pub fn new(context: &'a FolderContext) -> Self {
        Self { context, full: Cell::new(false) }
    }

    /// Builds a batch of files. A failure of one file is its own; the outer error ends the batch.
    ///
    /// # Errors
    /// [`FetchError`] that does not belong to one file alone.
    pub async fn build(
        &self,
        wants: Vec<Want>,
        mut progress: impl FnMut(u64),
    ) -> Result<Vec<(EntryId, Result<Built, FetchError>)>, FetchError> {
        let mut done = Vec::with_capacity(wants.len());
        let mut builds = Vec::new();
        for want in wants {
            let entry = want.entry;
            match self.begin(want).await {
                Ok(build) => builds.push(build),
                Err(error) if error.is_of_one_file() => done.push((entry, Err(error))),
                Err(error) => return Err(error),
            }
        }
        self.download(&mut builds, &mut progress).await?;
        done.extend(builds.into_iter().filter_map(|build| {
            let entry = build.want.entry;
            build.end.map(|end| (entry, end))
        }));
        Ok(done)
    }

    async fn begin(&self, want: Want) -> Result<Build, FetchError> {
        // Before its chunk list is read: what the disk can hold bounds that too. What was kept of a
        // cut download has its room already.
        if self.context.state.partial(&want.entry, &want.tag)?.is_none() {
            let free = self.context.fs.free_space()?.free_bytes;
            if want.size > free {
                return Err(FetchError::NoRoom { needed: want.size, free });
            }
        }
        self.check_room(want.size)?;
        let Manifest { chunks } =
            Manifest::read(self.context, want.root.as_ref(), want.size).await?;
        let (left, hashes) = (chunks.len(), vec![None; chunks.len()]);
        let (staged, from_disk, end) = (None, false, None);
        let mut build = Build { want, staged, chunks, hashes, left, from_disk, end };
        let taken = self.take_local(&mut build);
        self.settle(&mut build, taken)?;
        Ok(build)
    }

    /// Whether a file of this size fits, on a disk that had no room before.
    fn check_room(&self, size: u64) -> Result<(), FetchError> {
        if !self.full.get() {
            return Ok(());
        }
        let staged = self.context.fs.stage(&self.context.fresh_name())?;
        let fits = staged.preallocate(size);
        self.context.fs.remove(staged.path())?;
        Ok(fits?)
    }

    fn settle(&self, build: &mut Build, result: Result<(), FetchError>) -> Result<(), FetchError> {
        if matches!(result, Err(FetchError::Disk(FsError::NoSpace { .. }))) {
            self.full.set(true);
            // A cut download that was kept takes room too.
            self.context.state.remove_partial(&build.want.entry)?;
        }
        build.settle(self.context, result)
    }

    /// Copies what lies on this disk already: a cut download of the same version, and chunks of
    /// other files.
    fn take_local(&self, build: &mut Build) -> Result<(), FetchError> {
        let partial = self.context.state.partial(&build.want.entry, &build.want.tag)?;
        let partial = partial.and_then(|(name, present)| {
            let path = RelPath::inside(Area::Staging, name);
            self.context.fs.open(&path).ok().map(|file| (file, present))
        });
        let mut open: BTreeMap<EntryId, Option<Box<dyn ReadFile>>> = BTreeMap::new();
        let mut offset = 0_u64;
        for index in 0..build.chunks.len() {
            let Some((id, length)) = build.chunks.get(index).copied() else { break };
            let mut bytes = None;
            if let Some((file, present)) = &partial
                && bit(present, index)
            {
                bytes = read_exactly(file.as_ref(), offset, length);
            }
            if bytes.is_none() {
                bytes = self.copy_from_others(&mut open, &id, length)?;
            }
            if let Some(bytes) = bytes {
                let hash = self.context.keys.plain_hash(&bytes);
                build.write(self.context, index, offset, &bytes, hash)?;
                build.from_disk = true;
            }
            offset += u64::from(length);
        }
        Ok(())
    }

    fn copy_from_others(
        &self,
        open: &mut BTreeMap<EntryId, Option<Box<dyn ReadFile>>>,
        id: &ChunkId,
        length: u32,
    ) -> Result<Option<Vec<u8>>, FetchError> {
        for source in self.context.state.sources(id)? {
            if source.length != length {
                continue;
            }
            if open.len() > 64 && !open.contains_key(&source.entry) {
                open.clear();
            }
            if let std::collections::btree_map::Entry::Vacant(slot) = open.entry(source.entry) {
                let names = self.context.state.local_path(&source.entry)?;
                let path = names.and_then(|names| RelPath::new(names).ok());
                slot.insert(path.and_then(|path| self.context.fs.open(&path).ok()));
            }
            if let Some(Some(file)) = open.get(&source.entry)
                && let Some(bytes) = read_exactly(file.as_ref(), source.start, length)
            {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// Downloads what the builds still lack, and ends each with its last bytes.
    async fn download(
        &self,
        builds: &mut [Build],
        progress: &mut impl FnMut(u64),
    ) -> Result<(), FetchError> {
        let mut requests = plan_requests(builds).into_iter();
        let mut replies = FuturesOrdered::new();
        let mut since_saved = 0_u64;
        loop {
            while replies.len() < GETS_MAX
                && let Some(request) = requests.next()
            {
                let pieces = self.still_wanted(builds, request)?;
                let files = self.large_files(builds, &pieces)?;
                replies.push_back(self.request(pieces, files));
            }
            let Some(reply) = replies.next().await else { return Ok(()) };
            let reply = match reply {
                Ok(reply) => reply,
                Err(error) => {
                    self.save_partials(builds)?;
                    return Err(error);
                }
            };
            for (piece, opened) in reply {
                let Some(build) = builds.get_mut(piece.build) else { continue };
                if build.end.is_some() {
                    // It has failed while this piece was on its way.
                    continue;
                }
                let written = opened.and_then(|(hash, bytes)| {
                    let Some(bytes) = bytes else {
                        build.written(piece.index, hash);
                        return Ok(());
                    };
                    build.write(self.context, piece.index, piece.offset, &bytes, hash)
                });
                if written.is_ok() {
                    since_saved += u64::from(piece.length);
                    progress(u64::from(piece.length));
                }
                self.settle(build, written)?;
            }
            if since_saved >= RESUME_BYTES {
                since_saved = 0;
                self.save_partials(builds)?;
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
            if build.end.is_none() && build.staged.is_none() {
                let fits = self.check_room(build.want.size);
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
            match build.staged(self.context).map(Arc::clone) {
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

    fn save_partials(&self, builds: &[Build]) -> Result<(), FetchError> {
        let unfinished = builds.iter().filter(|build| build.end.is_none());
        for build in unfinished.filter(|build| build.want.size > RESUME_BYTES) {
            let mut present = vec![0_u8; build.chunks.len().div_ceil(8)];
            for (index, hash) in build.hashes.iter().enumerate() {
                if let (Some(byte), true) = (present.get_mut(index / 8), hash.is_some()) {
                    *byte |= 1 << (index % 8);
                }
            }
            let Some(staged) = &build.staged else { continue };
            let Some(name) = staged.path().name() else { continue };
            let (entry, tag) = (&build.want.entry, &build.want.tag);
            self.context.state.put_partial(entry, tag, name, &present)?;
        }
        Ok(())
    }
}

/// Large files that a request's pieces belong to, by the number of their build.
type Files = BTreeMap<usize, Arc<dyn StagedFile>>;
/// A piece, and its hash with the bytes that are still to be written.
type Opened = (Piece, Result<(PlainHash, Option<Vec<u8>>), FetchError>);

fn write_out(
    piece: &Piece,
    bytes: Vec<u8>,
    file: Option<&Arc<dyn StagedFile>>,
) -> Result<Option<Vec<u8>>, FetchError> {
    if bytes.len() != piece.length as usize {
        return Err(FetchError::Mismatch("a chunk has another length"));
    }
    let Some(file) = file else { return Ok(Some(bytes)) };
    file.write_at(piece.offset, &bytes)?;
    Ok(None)
}

#[derive(Clone, Copy)]
struct Piece {
    build: usize,
    index: usize,
    offset: u64,
    length: u32,
    id: ChunkId,
}

fn plan_requests(builds: &[Build]) -> Vec<Vec<Piece>> {
    let mut requests = Vec::new();
    let (mut request, mut bytes) = (Vec::new(), 0_u64);
    for (number, build) in builds.iter().enumerate().filter(|(_, build)| build.end.is_none()) {
        let mut offset = 0;
        for (index, ((id, length), hash)) in build.chunks.iter().zip(&build.hashes).enumerate() {
            if hash.is_none() {
                let (id, length) = (*id, *length);
                request.push(Piece { build: number, index, offset, length, id });
                bytes += u64::from(length);
            }
            offset += u64::from(*length);
            if bytes >= GET_BYTES || request.len() >= GET_CHUNKS {
                requests.push(std::mem::take(&mut request));
                bytes = 0;
            }
        }
    }
    if !request.is_empty() {
        requests.push(request);
    }
    requests
}

fn bit(bits: &[u8], index: usize) -> bool {
    bits.get(index / 8).is_some_and(|byte| byte & (1 << (index % 8)) != 0)
}

fn read_exactly(file: &dyn ReadFile, offset: u64, length: u32) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length as usize];
    // A source that cannot be read is no source; the chunk is then downloaded.
    (file.read_at(offset, &mut bytes).ok()? == bytes.len()).then_some(bytes)
}
