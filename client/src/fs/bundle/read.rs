//! A bundle, open as the file that its archive is.
//!
//! Owns the order in which the files in it are read. What changes meanwhile is told by the looks of
//! whoever reads: before and after they must be the same.

use super::git_index;
use super::look::look;
use crate::fs::error::FsError;
use crate::fs::path::RelPath;
use crate::fs::stat::{Kind, Stat};
use crate::fs::traits::{Fs, ReadFile};
use common::archive::{ArchiveError, ItemKind};
use common::name::Name;
use std::sync::{Arc, Mutex, PoisonError};

/// A file in an archive: where its bytes begin, how many they are, and where it is.
struct Part {
    start: u64,
    size: u64,
    path: RelPath,
    /// What is read in its place.
    bytes: Option<Vec<u8>>,
}

/// An archive that is read from the directory itself.
pub(super) struct BundleFile {
    fs: Arc<dyn Fs>,
    root: RelPath,
    /// How it looked when it was opened: what is read is of that look or of none.
    opened: Stat,
    parts: Vec<Part>,
    /// Index and footer, and where they begin.
    tail: Vec<u8>,
    tail_start: u64,
    /// The part that was read last.
    open: Mutex<Option<(usize, Box<dyn ReadFile>)>>,
}

impl BundleFile {
    /// Opens the directory at a path.
    ///
    /// # Errors
    /// [`FsError::Changed`] while it is being changed, [`FsError::Unfit`] if no archive can hold it,
    /// and those of looking.
    pub(super) fn open(fs: Arc<dyn Fs>, root: &RelPath) -> Result<Self, FsError> {
        let seen = look(fs.as_ref(), root)?;
        if !seen.is_steady {
            return Err(FsError::Changed { path: root.clone() });
        }
        let unfit = |reason: ArchiveError| FsError::Unfit { path: root.clone(), reason };
        let index = seen.index.map_err(unfit)?;
        let (mut parts, mut start, mut kept_bytes) = (Vec::new(), 0_u64, 0_u64);
        for item in index.items() {
            let ItemKind::File(size) = item.kind else { continue };
            let path = below(root, &item.path).map_err(unfit)?;
            if size > 0 {
                let is_index = seen.is_git && git_index::is_path(&item.path);
                let is_kept = is_index && kept_bytes.saturating_add(size) <= git_index::BYTES_MAX;
                let bytes = if is_kept { without_disk(fs.as_ref(), &path, size)? } else { None };
                kept_bytes += bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
                parts.push(Part { start, size, path, bytes });
            }
            start += size;
        }
        let (root, opened, open) = (root.clone(), seen.stat, Mutex::default());
        Ok(Self { fs, root, opened, parts, tail: index.encode(), tail_start: start, open })
    }

    /// Reads some of what is at an offset: at most to the end of the part that it lies in.
    fn read_some(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FsError> {
        if let Some(at) = offset.checked_sub(self.tail_start) {
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            let rest = self.tail.get(at..).unwrap_or_default();
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            return Ok(length);
        }
        let number = self.parts.partition_point(|part| part.start + part.size <= offset);
        let changed = || FsError::Changed { path: self.root.clone() };
        let part = self.parts.get(number).ok_or_else(changed)?;
        let within = offset - part.start;
        let left = usize::try_from(part.size - within).unwrap_or(usize::MAX).min(buffer.len());
        if let Some(bytes) = &part.bytes {
            let within = usize::try_from(within).unwrap_or(usize::MAX);
            let rest = bytes.get(within..).unwrap_or_default();
            let length = rest.len().min(left);
            buffer[..length].copy_from_slice(&rest[..length]);
            return Ok(length);
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match open.take() {
            Some((held, file)) if held == number => file,
            _ => self
                .fs
                .open(&part.path)
                .map_err(|error| if error.is_stale_view() { changed() } else { error })?,
        };
        let read = file.read_at(within, &mut buffer[..left])?;
        *open = Some((number, file));
        // One that has become shorter.
        if read == 0 { Err(changed()) } else { Ok(read) }
    }
}

impl ReadFile for BundleFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FsError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_some(offset + filled as u64, &mut buffer[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }

    fn stat(&self) -> Result<Stat, FsError> {
        let seen = look(self.fs.as_ref(), &self.root)?;
        if seen.is_steady && seen.stat.untouched(&self.opened) {
            Ok(seen.stat)
        } else {
            Err(FsError::Changed { path: self.root.clone() })
        }
    }

    fn sync(&self) -> Result<(), FsError> {
        // That it cannot be looked into any more is no failed sync, and none that was made.
        let all = everything(self.fs.as_ref(), &self.root);
        self.fs.sync(&all.map_err(|_| FsError::Changed { path: self.root.clone() })?)
    }
}

/// A git index without what is of this disk, if it is one.
fn without_disk(fs: &dyn Fs, path: &RelPath, size: u64) -> Result<Option<Vec<u8>>, FsError> {
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
    let read = fs.open(path)?.read_at(0, &mut bytes)?;
    // One that has become shorter is told when the rest is read.
    Ok((read == bytes.len() && git_index::forget_disk(&mut bytes)).then_some(bytes))
}

/// The path of something in a bundle.
pub(super) fn below(root: &RelPath, inside: &str) -> Result<RelPath, ArchiveError> {
    let unfit = || ArchiveError::Path(inside.to_owned());
    inside.split('/').try_fold(root.clone(), |path, name| {
        let name = Name::new(name).map_err(|_| unfit())?;
        path.join(&name).map_err(|_| unfit())
    })
}

/// A bundle and everything in it that has a name here, whether an archive could hold it or not, but for
/// what belongs to running programs.
pub(super) fn everything(fs: &dyn Fs, root: &RelPath) -> Result<Vec<RelPath>, FsError> {
    let device = fs.stat(root)?.device;
    let (mut all, mut directories) = (vec![root.clone()], vec![root.clone()]);
    while let Some(directory) = directories.pop() {
        let listing = match fs.list(&directory) {
            Ok(listing) => listing,
            // It went while the one above was listed.
            Err(error) if error.is_stale_view() && directory != *root => continue,
            Err(error) => return Err(error),
        };
        for listed in listing.entries {
            let name = Name::from_bytes(&listed.name).ok();
            let path = name.and_then(|name| directory.join(&name).ok());
            let Some(path) = path.filter(|_| listed.stat.device == device) else { continue };
            if listed.stat.kind == Kind::Directory {
                directories.push(path.clone());
            }
            if listed.stat.kind != Kind::Other {
                all.push(path);
            }
        }
    }
    Ok(all)
}
