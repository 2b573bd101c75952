//! One file being built: what it still lacks, and how it ends.
//!
//! Owns the check over all chunks, the content tag, without which nothing leaves staging; and what
//! becomes of the staged file when the build fails. It must not know where chunks come from.

use super::error::FetchError;
use super::pen::Pen;
use super::{Built, Want};
use crate::context::FolderContext;
use crate::fs::Fs;
use crate::state::{FolderState, KeptChunk, StateError};
use common::ids::{ChunkId, PlainHash};
use common::keys::FolderKeys;
use common::name::Name;
use std::sync::Arc;

/// A file being built. It is open only from its first bytes to its last: a batch may have more
/// files than a process may hold open.
pub(super) struct Build {
    pub(super) want: Want,
    /// What its file in staging is called if one is made.
    name: Name,
    pub(super) staged: Option<Arc<Pen>>,
    pub(super) chunks: Vec<(ChunkId, u32)>,
    pub(super) hashes: Vec<Option<PlainHash>>,
    pub(super) end: Option<Result<Built, FetchError>>,
    /// Whether the state names its staged file, so that the download goes on after a cut.
    pub(super) is_kept: bool,
    left: usize,
    from_disk: bool,
    /// Chunks that were written since the state was told; `None` if it is never told.
    news: Option<Vec<KeptChunk>>,
}

impl Build {
    /// A build of which nothing is there. `resumes`: a cut is to leave what has arrived.
    pub(super) fn new(want: Want, name: Name, chunks: Vec<(ChunkId, u32)>, resumes: bool) -> Self {
        let (left, hashes) = (chunks.len(), vec![None; chunks.len()]);
        let (staged, from_disk, end) = (None, false, None);
        let news = resumes.then(Vec::new);
        Self { want, name, staged, chunks, hashes, end, is_kept: false, left, from_disk, news }
    }

    /// The file in staging, made now if there is none yet.
    pub(super) fn staged(&mut self, fs: &dyn Fs) -> Result<&Arc<Pen>, FetchError> {
        let slot = match &mut self.staged {
            Some(staged) => return Ok(staged),
            slot => slot,
        };
        let staged = slot.insert(Arc::new(Pen::new(fs.stage(&self.name)?)));
        // Found out now, it takes no room from others and is not downloaded in vain.
        if self.chunks.len() > 1 {
            staged.preallocate(self.want.size)?;
        }
        Ok(staged)
    }

    /// Writes the chunk `index` to where it belongs.
    pub(super) fn write(
        &mut self,
        fs: &dyn Fs,
        index: usize,
        offset: u64,
        bytes: &[u8],
        hash: PlainHash,
    ) -> Result<(), FetchError> {
        self.staged(fs)?.write_at(offset, bytes)?;
        self.written(index, offset, hash);
        Ok(())
    }

    /// A chunk was copied from a file of this disk, which may have changed meanwhile.
    pub(super) fn copied(&mut self) {
        self.from_disk = true;
    }

    /// A chunk is in its place.
    pub(super) fn written(&mut self, index: usize, offset: u64, hash: PlainHash) {
        let (Some((id, length)), Some(slot)) =
            (self.chunks.get(index).copied(), self.hashes.get_mut(index))
        else {
            return;
        };
        if slot.replace(hash).is_none() {
            self.left -= 1;
            if let Some(news) = &mut self.news {
                news.push(KeptChunk { start: offset, length, id, hash });
            }
        }
    }

    /// A chunk of a cut download stands in its place, as the state says.
    pub(super) fn stands(&mut self, index: usize, hash: PlainHash) {
        if let Some(slot) = self.hashes.get_mut(index)
            && slot.replace(hash).is_none()
        {
            self.left -= 1;
            self.from_disk = true;
        }
    }

    /// Tells the state what has come of this file. Of one that is whole and was never kept nothing
    /// is told: it is in other hands at once.
    pub(super) fn keep(&mut self, state: &FolderState) -> Result<(), StateError> {
        let Some(news) = self.news.as_mut().filter(|news| !news.is_empty()) else { return Ok(()) };
        let name: Option<&Name> = match (&self.end, &self.staged) {
            (None, Some(staged)) => staged.path().name(),
            (Some(Ok(built)), _) if self.is_kept => built.path.name(),
            _ => None,
        };
        let Some(name) = name else { return Ok(()) };
        state.keep_partial(&self.want.entry, name, news)?;
        news.clear();
        self.is_kept = true;
        Ok(())
    }

    /// Removes the staged file of a build that goes no further, and forgets it.
    pub(super) fn discard(&mut self, context: &FolderContext) -> Result<(), FetchError> {
        if let Some(staged) = self.close() {
            context.fs.remove(staged.path())?;
        }
        // Last: on a full disk it may need the room that the file had.
        if std::mem::take(&mut self.is_kept) {
            context.state.forget_partial(&self.want.entry)?;
        }
        Ok(())
    }

    /// Lets go of the staged file: what is still on its way to it is not written any more.
    fn close(&mut self) -> Option<Arc<Pen>> {
        let staged = self.staged.take();
        if let Some(staged) = &staged {
            staged.close();
        }
        staged
    }

    /// Ends the build when nothing is left to write, or with what went wrong.
    pub(super) fn settle(
        &mut self,
        context: &FolderContext,
        result: Result<(), FetchError>,
    ) -> Result<(), FetchError> {
        let fs = context.fs.as_ref();
        match result.and_then(|()| self.end_if_whole(fs, &context.keys)) {
            _ if self.end.is_some() => {}
            Ok(()) => {}
            Err(error) if !error.is_of_one_file() => return Err(error),
            // What is kept of it waits for room as well; who needs that room more is given it.
            Err(error) if error.is_want_of_room() && self.is_kept => {
                self.close();
                self.end = Some(Err(error));
            }
            // Of a file that failed nothing stays: others may need the room.
            Err(error) => {
                if matches!(error, FetchError::StaleSources) {
                    context.state.forget_sources(self.chunks.iter().map(|(id, _)| id))?;
                }
                self.discard(context)?;
                self.end = Some(Err(error));
            }
        }
        Ok(())
    }

    /// Ends the build well when nothing is left to write.
    pub(super) fn end_if_whole(
        &mut self,
        fs: &dyn Fs,
        keys: &FolderKeys,
    ) -> Result<(), FetchError> {
        if self.left == 0 && self.end.is_none() {
            let built = self.finish(fs, keys)?;
            self.close();
            self.end = Some(Ok(built));
        }
        Ok(())
    }

    fn finish(&mut self, fs: &dyn Fs, keys: &FolderKeys) -> Result<Built, FetchError> {
        let mut tag = keys.content_tag_of(self.want.mode);
        for ((_, length), hash) in self.chunks.iter().zip(&self.hashes) {
            let hash = hash.as_ref().ok_or(FetchError::Mismatch("a chunk is missing"))?;
            tag.chunk(hash, *length);
        }
        if tag.finish() != self.want.tag {
            // What was taken from local files had changed: without the index all is downloaded.
            if self.from_disk {
                return Err(FetchError::StaleSources);
            }
            return Err(FetchError::Mismatch("the content tag is another"));
        }
        let staged = Arc::clone(self.staged(fs)?);
        staged.set_attributes(self.want.mode, self.want.mtime_ns)?;
        let stat = staged.stat()?;
        if stat.size != self.want.size {
            return Err(FetchError::Mismatch("the size is another"));
        }
        let path = staged.path().clone();
        let chunks = std::mem::take(&mut self.chunks);
        Ok(Built { entry: self.want.entry, path, stat, chunks })
    }
}

/// A batch that is dropped in the middle leaves its files to whoever goes on with them.
impl Drop for Build {
    fn drop(&mut self) {
        self.close();
    }
}
