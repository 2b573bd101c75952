//! A database made one plain file, before anything is done to it.
//!
//! Owns the order: at every moment what is at the path is complete, for a program that opens it and for
//! one that finds it after a power cut. The log is merged into a copy, the copy exchanged with the
//! database, and only when that is durable is the log taken away: it says nothing any more that the copy
//! does not have. A log has one name at a time, and belongs to whatever is at the path: by a second one
//! a program could begin it anew beneath a database that it does not fit to any more.

use super::{Content, Databases, unfinished};
use crate::fs::error::FsError;
use crate::fs::path::RelPath;
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
        away: &dyn Fn([&Stat; 2]) -> RelPath,
        scratch: &Name,
    ) -> Result<Option<Stat>, FsError> {
        let sides = self.beside(path)?;
        if sides.is_empty() {
            return Ok(None);
        }
        let looks = sides.iter().map(|side| self.fs.stat(side)).collect::<Result<Vec<_>, _>>()?;
        self.require_as_expected(path, expected)?;
        self.require_unused(path)?;
        let settled = match self.content(path, &self.fs.stat(path)?)? {
            Content::Plain => *expected,
            Content::Logged(_) => self.merge(path, expected, away, scratch)?,
            Content::Unfinished(_) => return Err(unfinished(path)),
        };
        for (side, seen) in sides.iter().zip(&looks) {
            self.take_away(side, seen, &away([seen, seen]))?;
        }
        // A program that came meanwhile may have committed, merged its log into what is here, and have
        // taken it away: that is its transaction, and no longer what was seen.
        self.require_as_expected(path, &settled).map(Some)
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
        match self.is_left(out, seen) {
            Ok(true) => self.fs.remove(out),
            not => {
                self.fs.rename_noreplace(out, side)?;
                not.and(Err(FsError::Busy { path: side.clone() }))
            }
        }
    }

    fn require_as_expected(&self, path: &RelPath, expected: &Stat) -> Result<Stat, FsError> {
        match self.stat(path)? {
            stat if stat.same_content(expected) => Ok(stat),
            _ => Err(FsError::Changed { path: path.clone() }),
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

    /// Exchanges a database with a copy that has the log in it, which stays beside the copy, and removes
    /// what it was. Returns how the copy looks.
    fn merge(
        &self,
        path: &RelPath,
        expected: &Stat,
        away: &dyn Fn([&Stat; 2]) -> RelPath,
        scratch: &Name,
    ) -> Result<Stat, FsError> {
        let changed = || FsError::Changed { path: path.clone() };
        let was = self.fs.stat(path)?;
        let (copy, made) = self.copy(path, scratch)?;
        // What is in staging after a crash is never a user's, so the copy goes to where the database
        // will be: one of the two lies there whenever this stops, and its name knows both.
        let aside = away([&was, &made]);
        let exchanged = self
            .require_as_expected(path, expected)
            .and_then(|_| self.require_unused(path))
            .and_then(|()| self.fs.rename_noreplace(&copy, &aside))
            .and_then(|()| self.fs.exchange(&aside, path));
        if let Err(error) = exchanged {
            self.discard(&copy, &made)?;
            self.discard(&aside, &made)?;
            return Err(error);
        }
        // The database that came out must be the one that was read, and nobody may have it open: then
        // all of it is in the copy, and what was committed since is in the log beside that.
        if !self.is_left(&aside, &was).unwrap_or(false) {
            self.fs.exchange(&aside, path)?;
            self.discard(&aside, &made)?;
            return Err(changed());
        }
        let synced = self.fs.sync(&[path.clone(), aside.clone()]);
        synced.map_err(|error| error.of_sync(path))?;
        self.fs.remove(&aside)?;
        Ok(made)
    }

    /// Whether a displaced file is what was seen of it, and nobody can write to it any more.
    fn is_left(&self, displaced: &RelPath, seen: &Stat) -> Result<bool, FsError> {
        Ok(self.fs.writer_absent(displaced)? && self.fs.stat(displaced)?.same_content(seen))
    }

    /// Removes a copy if there is one and it is still nobody's: a program that has opened it at the path
    /// meanwhile may have put there what is nowhere else. Then it is reviewed where it lies.
    fn discard(&self, copy: &RelPath, made: &Stat) -> Result<(), FsError> {
        match self.is_left(copy, made) {
            Ok(true) => self.fs.remove(copy),
            Ok(false) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes what a database holds to a new file in staging, durably; returns how that looks.
    fn copy(&self, path: &RelPath, scratch: &Name) -> Result<(RelPath, Stat), FsError> {
        let file = self.open(path)?;
        let staged = self.fs.stage(scratch)?;
        let copy = staged.path().clone();
        let made = fill(staged.as_ref(), file.as_ref()).and_then(|is_whole| match is_whole {
            true => staged.stat(),
            false => Err(FsError::Changed { path: path.clone() }),
        });
        drop(staged);
        match made {
            Ok(made) => Ok((copy, made)),
            Err(error) => {
                self.fs.remove(&copy)?;
                Err(error)
            }
        }
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
