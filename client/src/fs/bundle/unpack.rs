//! A directory made from an archive, in staging.
//!
//! Owns that nothing is written but inside the staged directory, whatever the archive says, and that a
//! directory that cannot be finished is taken away. Read-only files that this disk has already, byte
//! for byte, are linked: nobody changes them where they are, and a repository's packs are most of it.

use super::archive::{Archive, COPY_BYTES};
use super::look::look;
use super::read::below;
use crate::fs::error::FsError;
use crate::fs::path::{Area, RelPath};
use crate::fs::stat::{Kind, Stat};
use crate::fs::traits::Fs;
use common::archive::{Index, Item, ItemKind};
use common::name::Name;

/// Mode of a directory while it is filled.
const FILLING_MODE: u16 = 0o700;
/// The bits that let anybody write.
const WRITABLE: u16 = 0o222;

/// Where the parts of a new bundle come from, and where it is made.
pub(super) struct Unpack<'a> {
    pub(super) fs: &'a dyn Fs,
    /// The staged archive.
    pub(super) archive: &'a RelPath,
    /// The bundle that it is to take the place of, if there is one, and how that is to look then.
    pub(super) current: Option<(&'a RelPath, &'a Stat)>,
    /// The staged directory.
    pub(super) into: &'a RelPath,
    /// A name for files in staging before they are where they belong.
    pub(super) scratch: &'a Name,
    /// Mode of the directory itself.
    pub(super) mode: u16,
}

impl Unpack<'_> {
    /// Makes the directory; returns how it looks as a bundle. It is not synced.
    ///
    /// # Errors
    /// [`FsError::Unfit`] for what is no archive, [`FsError::Changed`] if the bundle that is here is not
    /// what it was, and those of the disk; then nothing is left.
    pub(super) fn run(&self) -> Result<Stat, FsError> {
        let archive = Archive::open(self.fs, self.archive)?;
        let made = self.make(&archive).and_then(|()| look(self.fs, self.into));
        match made {
            Ok(seen) => Ok(seen.stat),
            Err(error) => {
                self.clear()?;
                Err(error)
            }
        }
    }

    /// Takes away what there is of it.
    fn clear(&self) -> Result<(), FsError> {
        let scratch = RelPath::inside(Area::Staging, self.scratch.clone());
        match self.fs.remove(&scratch) {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
        match remove_all(self.fs, self.into) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    fn make(&self, archive: &Archive) -> Result<(), FsError> {
        self.fs.make_directory(self.into, FILLING_MODE)?;
        for (item, start) in archive.parts() {
            let to = below(self.into, &item.path).map_err(|error| archive.unfit(error))?;
            match &item.kind {
                ItemKind::Directory => self.fs.make_directory(&to, FILLING_MODE)?,
                ItemKind::Symlink(target) => self.fs.make_symlink(&to, target, item.mtime_ns)?,
                ItemKind::File(size) => {
                    if !self.link(archive, item, start, *size, &to)? {
                        self.write(archive, item, start, *size, &to)?;
                    }
                }
            }
        }
        self.keep_locks()?;
        // Those within first: a directory that may not be written to keeps what is in it.
        let items = archive.index().items().iter();
        for item in items.rev().filter(|item| item.kind == ItemKind::Directory) {
            let path = below(self.into, &item.path).map_err(|error| archive.unfit(error))?;
            self.set_mode(&path, item.mode)?;
        }
        self.set_mode(self.into, self.mode)
    }

    /// Locks are no content: those of the bundle that is here stay as they are, whoever left them. One
    /// that has come since is not known to be left, and one that goes later shows: what was made with
    /// it does not take the place of a bundle that looks otherwise.
    fn keep_locks(&self) -> Result<(), FsError> {
        let Some((current, expected)) = self.current else { return Ok(()) };
        let changed = || FsError::Changed { path: current.clone() };
        // One that was moved or deleted is no fault of what is made: it is looked at again.
        let seen = look(self.fs, current)
            .map_err(|error| if error.is_stale_view() { changed() } else { error })?;
        if !seen.stat.same_content(expected) {
            return Err(changed());
        }
        for lock in seen.locks {
            let (Ok(from), Ok(to)) = (below(current, &lock.path), below(self.into, &lock.path))
            else {
                continue;
            };
            if to.parent().is_none_or(|parent| self.fs.stat(&parent).is_err()) {
                continue;
            }
            match copy(self.fs, &lock, &from, &to, self.scratch) {
                // Gone meanwhile, as locks are.
                Err(error) if error.is_not_found() => {}
                Err(FsError::Changed { .. }) => return Err(changed()),
                copied => copied?,
            }
        }
        Ok(())
    }

    fn set_mode(&self, path: &RelPath, mode: u16) -> Result<(), FsError> {
        if mode == FILLING_MODE {
            return Ok(());
        }
        let stat = self.fs.stat(path)?;
        self.fs.set_attributes(path, &stat, Some(mode), None).map(|_| ())
    }

    fn write(
        &self,
        archive: &Archive,
        item: &Item,
        start: u64,
        size: u64,
        to: &RelPath,
    ) -> Result<(), FsError> {
        let staged = self.fs.stage(self.scratch)?;
        archive.copy(start, size, |offset, piece| staged.write_at(offset, piece))?;
        staged.set_attributes(item.mode, item.mtime_ns)?;
        let from = staged.path().clone();
        drop(staged);
        self.fs.rename_noreplace(&from, to)
    }

    /// Links a file of the bundle that is here, if it is the same in every respect and nobody may
    /// write to it.
    fn link(
        &self,
        archive: &Archive,
        item: &Item,
        start: u64,
        size: u64,
        to: &RelPath,
    ) -> Result<bool, FsError> {
        let Some((current, _)) = self.current else { return Ok(false) };
        if item.mode & WRITABLE != 0 || size == 0 {
            return Ok(false);
        }
        let Ok(from) = below(current, &item.path) else { return Ok(false) };
        let is_like = |stat: Stat| {
            stat.kind == Kind::File
                && stat.size == size
                && stat.mode == item.mode
                && stat.mtime_ns == item.mtime_ns
        };
        if !self.fs.stat(&from).is_ok_and(is_like) {
            return Ok(false);
        }
        match self.fs.link(&from, to) {
            Ok(()) => {}
            // No links here, too many, or it is gone: then it is written.
            Err(FsError::NoSpace { path, source }) => {
                return Err(FsError::NoSpace { path, source });
            }
            Err(_) => return Ok(false),
        }
        // Compared as it lies where it was linked to: the path may have become another file's.
        if self.is_equal(archive, start, size, to)? && self.fs.stat(to).is_ok_and(is_like) {
            return Ok(true);
        }
        self.fs.remove(to)?;
        Ok(false)
    }

    fn is_equal(
        &self,
        archive: &Archive,
        start: u64,
        size: u64,
        path: &RelPath,
    ) -> Result<bool, FsError> {
        let Ok(file) = self.fs.open(path) else { return Ok(false) };
        let room = COPY_BYTES.min(usize::try_from(size).unwrap_or(COPY_BYTES));
        let (mut one, mut two) = (vec![0; room], vec![0; room]);
        let mut done = 0;
        while done < size {
            let length = usize::try_from(size - done).unwrap_or(usize::MAX).min(room);
            archive.read_exactly(start + done, &mut one[..length])?;
            if file.read_at(done, &mut two[..length])? != length || one[..length] != two[..length] {
                return Ok(false);
            }
            done += length as u64;
        }
        Ok(true)
    }
}

/// Copies one thing to a free path; a file is whole before it can be seen.
///
/// # Errors
/// [`FsError::Changed`] if a file is being written to, and those of the disk; then nothing new is at the
/// path.
pub(super) fn copy(
    fs: &dyn Fs,
    item: &Item,
    from: &RelPath,
    to: &RelPath,
    scratch: &Name,
) -> Result<(), FsError> {
    let at = RelPath::inside(Area::Staging, scratch.clone());
    let size = match &item.kind {
        ItemKind::Directory => return fs.make_directory(to, item.mode),
        ItemKind::Symlink(target) => {
            fs.make_symlink(&at, target, item.mtime_ns)?;
            return place(fs, &at, to);
        }
        ItemKind::File(size) => *size,
    };
    let changed = || FsError::Changed { path: from.clone() };
    let opened = fs.open(from)?;
    let before = opened.stat()?;
    let file = Archive::of(opened, Index::default());
    let staged = fs.stage(scratch)?;
    let written = file
        .copy(0, size, |offset, piece| staged.write_at(offset, piece))
        .and_then(|()| staged.set_attributes(item.mode, item.mtime_ns))
        .and_then(|()| match before.size == size && fs.stat(from)?.untouched(&before) {
            true => Ok(()),
            false => Err(changed()),
        });
    drop(staged);
    if let Err(error) = written {
        fs.remove(&at)?;
        // One that has become shorter.
        return Err(if matches!(error, FsError::Unfit { .. }) { changed() } else { error });
    }
    place(fs, &at, to)
}

fn place(fs: &dyn Fs, staged: &RelPath, to: &RelPath) -> Result<(), FsError> {
    fs.rename_noreplace(staged, to).or_else(|error| {
        fs.remove(staged)?;
        Err(error)
    })
}

/// Removes a private directory with everything in it.
///
/// # Errors
/// Those of removing; what was removed until then stays removed.
pub(super) fn remove_all(fs: &dyn Fs, root: &RelPath) -> Result<(), FsError> {
    let stat = fs.stat(root)?;
    if stat.kind != Kind::Directory {
        return fs.remove(root);
    }
    if stat.mode & FILLING_MODE != FILLING_MODE {
        fs.set_attributes(root, &stat, Some(stat.mode | FILLING_MODE), None)?;
    }
    for listed in fs.list(root)?.entries {
        let name = Name::from_bytes(&listed.name);
        let path = name.ok().and_then(|name| root.join(&name).ok());
        // Of a name that no path can have nothing was made here: it stays, and so does the directory.
        if let Some(path) = path {
            remove_all(fs, &path)?;
        }
    }
    fs.remove_directory(root)
}
