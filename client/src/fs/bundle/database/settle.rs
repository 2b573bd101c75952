//! A database made one plain file, before anything is done to it.
//!
//! Owns the order: at every moment what is at the path is complete, for a program that opens it and for
//! one that finds it after a power cut. The log is merged into a copy, the copy exchanged with the
//! database, and only when that is durable is the log taken away: it says nothing any more that the copy
//! does not have. Database and log stay in the displaced area, together, for whoever came meanwhile.

use super::{Content, Databases, WAL, side_path, unfinished};
use crate::fs::error::FsError;
use crate::fs::path::{Area, RelPath};
use crate::fs::stat::Stat;
use crate::fs::traits::{ReadFile, StagedFile};
use common::name::Name;

/// Bytes that are copied at a time.
const COPY_BYTES: usize = 256 * 1024;

impl Databases {
    /// As [`Bundled::settle`](super::super::Bundled::settle).
    pub(in crate::fs::bundle) fn settle(
        &self,
        path: &RelPath,
        expected: &Stat,
        aside: &RelPath,
        away: &dyn Fn(&Stat) -> RelPath,
        scratch: &Name,
    ) -> Result<Option<Stat>, FsError> {
        let sides = self.beside(path)?;
        if sides.is_empty() {
            return Ok(None);
        }
        let looks = sides.iter().map(|side| self.fs.stat(side)).collect::<Result<Vec<_>, _>>()?;
        self.require_as_expected(path, expected)?;
        self.require_unused(path)?;
        match self.content(path, &self.fs.stat(path)?)? {
            Content::Plain => {}
            Content::Logged(_) => self.merge(path, expected, aside, scratch)?,
            Content::Unfinished(_) => return Err(unfinished(path)),
        }
        for (side, seen) in sides.iter().zip(&looks) {
            self.take_away(side, seen, &away(seen))?;
        }
        self.fs.stat(path).map(Some)
    }

    /// Takes a file beside a database away, whose content is in the database. A program may have come
    /// since that was found: with the path gone no other can, and who has it open shows. What somebody
    /// has written to it, or may still, goes back; `out` is in the displaced area, where it is reviewed
    /// if that fails or a crash comes first.
    fn take_away(&self, side: &RelPath, seen: &Stat, out: &RelPath) -> Result<(), FsError> {
        match self.fs.rename_noreplace(side, out) {
            Ok(()) => {}
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        }
        let is_still = self
            .fs
            .writer_absent(out)
            .and_then(|absent| Ok(absent && self.fs.stat(out)?.same_content(seen)));
        match is_still {
            Ok(true) => self.fs.remove(out),
            not => {
                self.fs.rename_noreplace(out, side)?;
                not.and(Err(FsError::Busy { path: side.clone() }))
            }
        }
    }

    fn require_as_expected(&self, path: &RelPath, expected: &Stat) -> Result<(), FsError> {
        match self.stat(path)?.same_content(expected) {
            true => Ok(()),
            false => Err(FsError::Changed { path: path.clone() }),
        }
    }

    /// Refuses a database that somebody has open for writing; all who use one do, readers too.
    fn require_unused(&self, path: &RelPath) -> Result<(), FsError> {
        match self.writer_absent(path) {
            Ok(true) => Ok(()),
            Ok(false) | Err(FsError::Unsupported { .. } | FsError::Denied { .. }) => {
                Err(FsError::Busy { path: path.clone() })
            }
            Err(error) => Err(error),
        }
    }

    /// Exchanges a database with a copy that has the log in it. The log stays beside it.
    fn merge(
        &self,
        path: &RelPath,
        expected: &Stat,
        aside: &RelPath,
        scratch: &Name,
    ) -> Result<(), FsError> {
        let copy = self.copy(path, scratch)?;
        let changed = || FsError::Changed { path: path.clone() };
        let (log, kept) = (side_path(path, WAL), side_path(aside, WAL));
        let (log, kept) = log.zip(kept).ok_or_else(changed)?;
        // What is in staging after a crash is never a user's, so the copy goes to where the database
        // will be; beside it the same log, which adds nothing to the copy.
        let exchanged = self
            .require_as_expected(path, expected)
            .and_then(|()| self.require_unused(path))
            .and_then(|()| self.fs.rename_noreplace(&copy, aside))
            .and_then(|()| self.fs.link(&log, &kept))
            .and_then(|()| self.fs.exchange(aside, path));
        if let Err(error) = exchanged {
            self.discard([&copy, aside, &kept])?;
            return Err(error);
        }
        // What came out must be what was read, and without a writer.
        let is_still = self.require_as_expected(aside, expected);
        if let Err(error) = is_still.and_then(|()| self.require_unused(aside)) {
            self.fs.exchange(aside, path)?;
            self.discard([aside, &kept])?;
            return Err(match error {
                FsError::Busy { .. } => FsError::Busy { path: path.clone() },
                _ => changed(),
            });
        }
        self.fs.sync(&[path.clone(), aside.clone(), kept])
    }

    fn discard<const N: usize>(&self, paths: [&RelPath; N]) -> Result<(), FsError> {
        paths.into_iter().try_for_each(|path| match self.fs.remove(path) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        })
    }

    /// Writes what a database holds to a new file in staging, durably.
    fn copy(&self, path: &RelPath, scratch: &Name) -> Result<RelPath, FsError> {
        let file = self.open(path)?;
        let staged = self.fs.stage(scratch)?;
        let copy = staged.path().clone();
        let written = fill(staged.as_ref(), file.as_ref());
        drop(staged);
        match written {
            Ok(true) => Ok(copy),
            Ok(false) => {
                self.fs.remove(&copy)?;
                Err(FsError::Changed { path: path.clone() })
            }
            Err(error) => {
                self.fs.remove(&copy)?;
                Err(error)
            }
        }
    }

    /// Brings a displaced database back as one file, which is whole before it can be seen.
    pub(super) fn bring_back(&self, from: &RelPath, to: &RelPath) -> Result<(), FsError> {
        let scratch = from.name().ok_or_else(|| FsError::Misplaced { path: from.clone() })?;
        // What an attempt left that was cut short.
        self.discard([&RelPath::inside(Area::Staging, scratch.clone())])?;
        let copy = self.copy(from, scratch)?;
        if let Err(error) = self.fs.rename_noreplace(&copy, to) {
            self.fs.remove(&copy)?;
            return Err(error);
        }
        self.fs.sync(std::slice::from_ref(to))?;
        self.remove(from)
    }
}

/// Copies a file that stands still meanwhile, its mode and mtime with it; `false` if it did not.
fn fill(staged: &dyn StagedFile, file: &dyn ReadFile) -> Result<bool, FsError> {
    let before = file.stat()?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut done = 0;
    loop {
        let read = file.read_at(done, &mut buffer)?;
        staged.write_at(done, buffer.get(..read).unwrap_or_default())?;
        done += read as u64;
        if read < buffer.len() {
            break;
        }
    }
    staged.set_attributes(before.mode, before.mtime_ns)?;
    staged.sync()?;
    Ok(done == before.size && file.stat()?.untouched(&before))
}
