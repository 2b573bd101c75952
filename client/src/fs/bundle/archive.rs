//! An archive, open: what it lists, and the bytes of the files in it.
//!
//! Owns that nothing of it is believed before its index is checked as a whole. It must not know what
//! is made of it.

use crate::fs::error::FsError;
use crate::fs::path::RelPath;
use crate::fs::traits::{Look, ReadFile};
use common::archive::{ArchiveError, FOOTER_BYTES, Index, Item, ItemKind};

/// Bytes that are copied or compared at a time.
pub(super) const COPY_BYTES: usize = 256 * 1024;

/// An archive that is read.
pub struct Archive {
    file: Box<dyn ReadFile>,
    path: RelPath,
    index: Index,
}

impl Archive {
    /// Opens an archive, or a bundle as one, and reads its index.
    ///
    /// # Errors
    /// [`FsError::Unfit`] for what is none, and those of the disk.
    pub fn open(fs: &(impl Look + ?Sized), path: &RelPath) -> Result<Self, FsError> {
        let (file, path) = (fs.open(path)?, path.clone());
        let mut archive = Self { file, path, index: Index::default() };
        archive.index = archive.read_index()?;
        Ok(archive)
    }

    /// One of these parts.
    pub(crate) fn of(file: Box<dyn ReadFile>, index: Index) -> Self {
        Self { file, path: RelPath::root(), index }
    }

    /// What lies in the bundle.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Everything that is listed, in the order of the index, and where the bytes of each file begin.
    pub fn parts(&self) -> impl Iterator<Item = (&Item, u64)> {
        self.index.items().iter().scan(0, |next, item| {
            let start = *next;
            if let ItemKind::File(size) = item.kind {
                *next += size;
            }
            Some((item, start))
        })
    }

    /// Gives `size` bytes from an offset on, piece by piece, with each piece's offset among them.
    ///
    /// # Errors
    /// Those of reading, [`FsError::Unfit`] if there are fewer, and the taker's own.
    pub fn copy<E: From<FsError>>(
        &self,
        start: u64,
        size: u64,
        mut take: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut buffer = vec![0; COPY_BYTES.min(usize::try_from(size).unwrap_or(COPY_BYTES))];
        let mut done = 0;
        while done < size {
            let length = usize::try_from(size - done).unwrap_or(usize::MAX).min(buffer.len());
            let piece = buffer.get_mut(..length).unwrap_or_default();
            self.read_exactly(start + done, piece)?;
            take(done, piece)?;
            done += length as u64;
        }
        Ok(())
    }

    /// Why it is no archive.
    pub(super) fn unfit(&self, reason: ArchiveError) -> FsError {
        FsError::Unfit { path: self.path.clone(), reason }
    }

    /// Fills a buffer from an offset on.
    pub(super) fn read_exactly(&self, offset: u64, buffer: &mut [u8]) -> Result<(), FsError> {
        match self.file.read_at(offset, buffer)? {
            read if read == buffer.len() => Ok(()),
            _ => Err(self.unfit(ArchiveError::Lengths)),
        }
    }

    fn read_index(&self) -> Result<Index, FsError> {
        let total = self.file.stat()?.size;
        let at = total.checked_sub(FOOTER_BYTES as u64);
        let at = at.ok_or_else(|| self.unfit(ArchiveError::Footer))?;
        let mut footer = [0; FOOTER_BYTES];
        self.read_exactly(at, &mut footer)?;
        let (start, length) = Index::locate(footer, total).map_err(|error| self.unfit(error))?;
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.read_exactly(start, &mut bytes)?;
        Index::decode(&bytes, start).map_err(|error| self.unfit(error))
    }
}
