//! The doors through which scanner and apply reach one synced root.
//!
//! Owns the traits and their promises; [`super::disk`] and [`super::memory`] keep them, and one
//! contract suite checks both. All calls block; none follows a symlink, leaves the root or enters
//! another filesystem below it; none does part of its work and reports success.

use super::error::FsError;
use super::path::RelPath;
use super::stat::{FreeSpace, Listing, RootIdentity, Stat};
use common::name::Name;

/// Everything that the sync engine needs of a root.
pub trait Fs: Look + Swap + Root {}

impl<T: Look + Swap + Root + ?Sized> Fs for T {}

/// Looking without changing anything.
pub trait Look: Send + Sync {
    /// Lists a directory and looks at each entry. `.driftless` is left out of the root's list.
    ///
    /// # Errors
    /// Any error means that nothing is known about the directory's content, least of all that
    /// something is gone. [`FsError::CrossDevice`]: another filesystem is mounted there.
    fn list(&self, directory: &RelPath) -> Result<Listing, FsError>;

    /// Looks at one path; a symlink is looked at itself. A directory on which another filesystem
    /// is mounted shows that filesystem's `device`.
    ///
    /// # Errors
    /// [`FsError::NotFound`] is the one answer that means absence.
    fn stat(&self, path: &RelPath) -> Result<Stat, FsError>;

    /// Whether all that an earlier look at a path saw is still there. More may have been added, if
    /// what was there before can be told from it: as to a database that is read with its log.
    ///
    /// # Errors
    /// Those of looking.
    fn holds(&self, path: &RelPath, seen: &Stat) -> Result<bool, FsError> {
        Ok(self.stat(path)?.same_content(seen))
    }

    /// Reads a symlink's target: at most [`common::limits::SYMLINK_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`FsError::WrongKind`] if it is none; [`FsError::NameRefused`] if it is longer.
    fn read_link(&self, path: &RelPath) -> Result<Vec<u8>, FsError>;

    /// Opens a regular file for reading; never waits, whatever is there.
    ///
    /// # Errors
    /// [`FsError::WrongKind`] for anything but a regular file.
    fn open(&self, path: &RelPath) -> Result<Box<dyn ReadFile>, FsError>;
}

/// Changing the tree. Nothing is durable before [`Root::sync`].
pub trait Swap: Send + Sync {
    /// Creates the empty file `.driftless/staging/NAME`, readable by its owner only.
    ///
    /// # Errors
    /// [`FsError::Exists`] if the name is taken; [`FsError::NotFound`] if the root has no
    /// `.driftless` (its area is made anew, the private directory is not).
    fn stage(&self, name: &Name) -> Result<Box<dyn StagedFile>, FsError>;

    /// Opens the file `.driftless/staging/NAME` again to go on with it, readable and writable by its
    /// owner only from now on. What it holds is what whoever had it last, and perhaps a power cut,
    /// left there; it is for the caller to check.
    ///
    /// # Errors
    /// [`FsError::NotFound`]; [`FsError::WrongKind`] for anything but a regular file;
    /// [`FsError::Changed`] for one that has another name too, by which somebody may see what is
    /// written, or that is another one now. Nothing was done.
    fn reopen(&self, name: &Name) -> Result<Box<dyn StagedFile>, FsError>;

    /// Makes a directory with exactly these permission bits (and the setgid bit that the parent
    /// may hand down).
    ///
    /// # Errors
    /// [`FsError::Exists`] if the path is taken by anything.
    fn make_directory(&self, path: &RelPath, mode: u16) -> Result<(), FsError>;

    /// Makes a symlink in a private area and sets its time. The target is stored as it is and
    /// never looked at.
    ///
    /// # Errors
    /// [`FsError::Exists`]; [`FsError::Misplaced`] outside the private areas, where it could be
    /// seen before it has its time.
    fn make_symlink(&self, path: &RelPath, target: &[u8], mtime_ns: i64) -> Result<(), FsError>;

    /// Gives a regular file a second name, in a private area.
    ///
    /// # Errors
    /// [`FsError::Exists`] if `to` is taken; [`FsError::Misplaced`] in the tree;
    /// [`FsError::WrongKind`] for anything but a regular file; [`FsError::Unsupported`] or
    /// [`FsError::Denied`] where there are no links.
    fn link(&self, from: &RelPath, to: &RelPath) -> Result<(), FsError>;

    /// Renames, and never replaces anything.
    ///
    /// # Errors
    /// [`FsError::Exists`] if `to` is taken; [`FsError::NotFound`] with the path that is missing;
    /// [`FsError::Unsupported`] if the filesystem cannot promise it (nothing was done).
    fn rename_noreplace(&self, from: &RelPath, to: &RelPath) -> Result<(), FsError>;

    /// Exchanges what two paths name, in one step; the kinds may differ.
    ///
    /// # Errors
    /// [`FsError::NotFound`] unless both exist; [`FsError::Unsupported`] if the filesystem cannot
    /// (nothing was done).
    fn exchange(&self, one: &RelPath, two: &RelPath) -> Result<(), FsError>;

    /// Removes a file or symlink that lies in a private area.
    ///
    /// # Errors
    /// [`FsError::Misplaced`] in the tree: what a user can see is displaced first;
    /// [`FsError::WrongKind`] for a directory.
    fn remove(&self, path: &RelPath) -> Result<(), FsError>;

    /// Removes an empty directory, in the tree or a private area.
    ///
    /// # Errors
    /// [`FsError::NotEmpty`], whatever it is that the directory still holds.
    fn remove_directory(&self, path: &RelPath) -> Result<(), FsError>;

    /// Sets permission bits and mtime (ns since 1970) of a file or directory, if it is still
    /// [untouched](Stat::untouched) since `expected` was taken, and looks at it again. `None`
    /// leaves one alone. setgid and sticky of a directory stay. Of a symlink only the mtime can
    /// be set. If the answer is not the [same content](Stat::same_content) but for an mtime set
    /// here, somebody wrote in between and the path is dirty.
    ///
    /// # Errors
    /// [`FsError::Changed`] if it was touched; [`FsError::Busy`] if a file's mtime is to be set
    /// while somebody holds it open for writing, since that could hide a write. Nothing was done.
    fn set_attributes(
        &self,
        path: &RelPath,
        expected: &Stat,
        mode: Option<u16>,
        mtime_ns: Option<i64>,
    ) -> Result<Stat, FsError>;

    /// Whether nobody holds this private file open for writing at this moment, a mapping
    /// included. Directories and symlinks have no writers.
    ///
    /// # Errors
    /// [`FsError::Unsupported`] where the filesystem cannot tell; [`FsError::Denied`] for a file
    /// of another user. In both cases a writer must be assumed.
    fn writer_absent(&self, displaced: &RelPath) -> Result<bool, FsError>;
}

/// The root as a whole.
pub trait Root: Send + Sync {
    /// Makes `.driftless`, its areas and the marker with these bytes, durably. Doing it again with
    /// the same bytes repairs missing areas.
    ///
    /// # Errors
    /// [`FsError::Exists`] if there is a marker with other bytes.
    fn init_root(&self, marker: &[u8]) -> Result<(), FsError>;

    /// Reads the marker, at most [`MARKER_BYTES_MAX`] bytes; `None` if this directory has none.
    /// Checks first that the root's own path still leads to the directory that was opened.
    ///
    /// # Errors
    /// [`FsError::RootGone`] if it does not.
    fn read_marker(&self) -> Result<Option<Vec<u8>>, FsError>;

    /// Which directory was opened.
    fn identity(&self) -> RootIdentity;

    /// Makes these paths durable: content, attributes and the entries in their directories. A
    /// directory's own entries are synced too. A path that is gone has its nearest existing
    /// directory synced, which makes a removal or the old side of a rename durable. Many paths
    /// (rule 15) make everything on the root's filesystem durable.
    ///
    /// # Errors
    /// After an error nothing may be taken as durable, and repeating the call proves nothing.
    fn sync(&self, paths: &[RelPath]) -> Result<(), FsError>;

    /// Room on the root's filesystem.
    ///
    /// # Errors
    /// Those of the system.
    fn free_space(&self) -> Result<FreeSpace, FsError>;

    /// Whether names that differ in case or normalisation alone are one name here. A lookup then
    /// finds what is there by any of its spellings; only a listing tells which one it has.
    fn folds_names(&self) -> bool;

    /// Changes whenever the machine restarts, and so whenever something not synced may be lost.
    ///
    /// # Errors
    /// Those of the system.
    fn boot_id(&self) -> Result<String, FsError>;
}

/// More paths than this are synced by syncing everything, which also flushes what others wrote.
pub(super) const SYNC_EACH_MAX: usize = 48;

/// Longest root marker, in bytes.
pub const MARKER_BYTES_MAX: usize = 4096;

/// A regular file that is open for reading. It stays the same file whatever happens to its path.
pub trait ReadFile: Send + Sync {
    /// Reads at an offset in bytes until the buffer is full or the file ends; returns the number
    /// of bytes read.
    ///
    /// # Errors
    /// Those of the system.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FsError>;

    /// Looks at the open file itself.
    ///
    /// # Errors
    /// Those of the system.
    fn stat(&self) -> Result<Stat, FsError>;

    /// Makes the content of the open file durable; not its entry in a directory.
    ///
    /// # Errors
    /// After an error nothing may be taken as durable.
    fn sync(&self) -> Result<(), FsError>;
}

/// A file in `.driftless/staging` that is open for writing. Dropping it leaves the file there.
/// While it is held, [`Swap::writer_absent`] counts it as a writer.
pub trait StagedFile: Send + Sync {
    /// Where it was created; a rename does not change the answer.
    fn path(&self) -> &RelPath;

    /// Writes all bytes at an offset in bytes.
    ///
    /// # Errors
    /// [`FsError::NoSpace`] and those of the system; part of the bytes may be written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), FsError>;

    /// Reserves room for a size in bytes; the file's size does not change. Does nothing where the
    /// filesystem has no such thing.
    ///
    /// # Errors
    /// [`FsError::NoSpace`] if the file cannot grow to this size.
    fn preallocate(&self, size: u64) -> Result<(), FsError>;

    /// Room that the file takes on its disk, in bytes: what was written and what was reserved.
    ///
    /// # Errors
    /// Those of the system.
    fn held_bytes(&self) -> Result<u64, FsError>;

    /// Sets the file's size in bytes, and so drops what was reserved or written beyond it.
    ///
    /// # Errors
    /// Those of the system.
    fn truncate(&self, size: u64) -> Result<(), FsError>;

    /// Reads back what was written, as [`ReadFile::read_at`] does.
    ///
    /// # Errors
    /// Those of the system.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FsError>;

    /// Sets the nine permission bits and the mtime (ns since 1970); to be called after the last
    /// write, which would change the mtime again.
    ///
    /// # Errors
    /// Those of the system.
    fn set_attributes(&self, mode: u16, mtime_ns: i64) -> Result<(), FsError>;

    /// Makes content, mode and mtime durable; not the entry in a directory.
    ///
    /// # Errors
    /// After an error the file must be written anew: repeating the sync proves nothing.
    fn sync(&self) -> Result<(), FsError>;

    /// Looks at the open file itself, wherever it has been renamed to.
    ///
    /// # Errors
    /// Those of the system.
    fn stat(&self) -> Result<Stat, FsError>;
}
