//! A database of SQLite and the files beside it as one file.
//!
//! Owns which files belong together, and what a database shows of itself (decision 061): its content is
//! what SQLite would make of it when the next program opens it, the pages of its log in their places.
//! The files beside it are hidden. A database with nothing in its log is a file like any other, and only
//! one that has a file of such a name beside it is ever opened to see what it is.

mod log;
mod read;
mod settle;
#[cfg(test)]
mod tests;

use crate::fs::error::{DatabaseProblem, FsError};
use crate::fs::path::{Area, RelPath};
use crate::fs::stat::{Kind, Listing, Stat};
use crate::fs::traits::{Fs, ReadFile};
use common::name::Name;
use log::Log;
use read::{DatabaseFile, Moment};
use rustix::io::Errno;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// What the write-ahead log of a database is called after it.
const WAL: &str = "-wal";
/// What its rollback journal is called.
const JOURNAL: &str = "-journal";
/// The files beside a database, in the order in which they are taken away: the index of the log
/// (`-shm`) says nothing without the log.
const SIDES: [&str; 3] = [WAL, JOURNAL, "-shm"];
/// What a database begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// What an empty database is called.
const ENDINGS: [&str; 4] = [".sqlite", ".sqlite3", ".db", ".db3"];
/// Bytes of the smallest database that holds anything: a page.
const SMALLEST_BYTES: u64 = 512;
/// Looks at a database whose log goes meanwhile.
const LOOKS_MAX: u32 = 4;
/// Logs whose size is remembered, and moments at which databases were read.
const REMEMBERED: usize = 64;

/// The name of the database that a file of this name would lie beside.
pub(crate) fn database_of(name: &Name) -> Option<Name> {
    let stem = SIDES.iter().find_map(|suffix| name.as_str().strip_suffix(suffix))?;
    Name::new(stem).ok()
}

/// A root's databases.
pub(super) struct Databases {
    fs: Arc<dyn Fs>,
    /// Looks at logs, and how many bytes the database has by each. One that was opened is remembered
    /// anew: two contents of a log may look the same for a moment.
    logs: Mutex<VecDeque<(Stat, Option<u64>)>>,
    /// Looks at databases that were opened, and what they were looks at.
    moments: Mutex<VecDeque<(Stat, Moment)>>,
}

/// Where the content of a file is.
enum Content {
    /// In it alone.
    Plain,
    /// In it and in the log that looks like this.
    Logged(Stat),
    /// Nowhere: the journal that looks like this says what to undo first.
    Unfinished(Stat),
}

impl Databases {
    pub(super) fn new(fs: Arc<dyn Fs>) -> Self {
        Self { fs, logs: Mutex::default(), moments: Mutex::default() }
    }

    /// Takes what lies beside databases out of a listing, and shows them as what they hold.
    pub(super) fn fold(&self, directory: &RelPath, listing: &mut Listing) -> Result<(), FsError> {
        let mut databases = BTreeSet::new();
        for listed in listing.entries.iter().filter(|listed| listed.stat.kind == Kind::File) {
            let name = Name::from_bytes(&listed.name).ok();
            databases.extend(name.as_ref().and_then(database_of));
        }
        let mut hidden = BTreeSet::new();
        for name in databases {
            let place =
                listing.entries.iter_mut().find(|listed| listed.name == name.as_str().as_bytes());
            let (Some(listed), Ok(path)) = (place, directory.join(&name)) else { continue };
            if !self.is_database(&path, &listed.stat)? {
                continue;
            }
            hidden.extend(SIDES.map(|suffix| format!("{name}{suffix}").into_bytes()));
            match self.shown(&path, listed.stat) {
                Ok(stat) => listed.stat = stat,
                Err(error) if error.is_stale_view() => listing.steady = false,
                Err(error) => return Err(error),
            }
        }
        listing
            .entries
            .retain(|listed| listed.stat.kind != Kind::File || !hidden.contains(&listed.name));
        Ok(())
    }

    pub(super) fn stat(&self, path: &RelPath) -> Result<Stat, FsError> {
        let stat = self.fs.stat(path)?;
        if stat.kind == Kind::File && self.is_beside(path)? {
            return Err(FsError::new(path, Errno::NOENT));
        }
        self.shown(path, stat)
    }

    /// # Errors
    /// [`DatabaseProblem::Unfinished`] in the middle of a transaction, [`FsError::Changed`] while it is
    /// being written to, and those of opening.
    pub(super) fn open(&self, path: &RelPath) -> Result<Box<dyn ReadFile>, FsError> {
        if self.is_beside(path)? {
            return Err(FsError::new(path, Errno::NOENT));
        }
        let file = self.fs.open(path)?;
        let stat = file.stat()?;
        match self.content(path, &stat)? {
            Content::Plain => Ok(file),
            Content::Logged(wal) => Ok(Box::new(self.open_logged(path, &stat, &wal)?)),
            Content::Unfinished(_) => Err(unfinished(path)),
        }
    }

    /// Whether this is, or would be, a file beside a database that is there.
    pub(super) fn is_beside(&self, path: &RelPath) -> Result<bool, FsError> {
        let database = path.name().and_then(database_of).zip(path.parent());
        let database = database.and_then(|(name, parent)| parent.join(&name).ok());
        let Some(database) = database else { return Ok(false) };
        match self.fs.stat(&database) {
            Ok(stat) => self.is_database(&database, &stat),
            Err(error) if error.is_stale_view() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The files that lie beside a database, in the order in which they are taken away; none for
    /// anything else.
    pub(super) fn beside(&self, path: &RelPath) -> Result<Vec<RelPath>, FsError> {
        let stat = match self.fs.stat(path) {
            Ok(stat) if may_be_database(path, &stat) => stat,
            Ok(_) => return Ok(Vec::new()),
            Err(error) if error.is_stale_view() => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut sides = Vec::new();
        for suffix in SIDES {
            if let Some((side, _)) = self.side(path, suffix)? {
                sides.push(side);
            }
        }
        let is_database = !sides.is_empty() && self.is_database(path, &stat)?;
        Ok(if is_database { sides } else { Vec::new() })
    }

    /// The log of a database that is to be synced with it.
    pub(super) fn log_of(&self, path: &RelPath) -> Result<Option<RelPath>, FsError> {
        let Some((side, _)) = self.side(path, WAL)? else { return Ok(None) };
        match self.fs.stat(path) {
            Ok(stat) => Ok(self.is_database(path, &stat)?.then_some(side)),
            Err(error) if error.is_stale_view() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Refuses to give a file a place in the tree where a log lies that would be taken for its own.
    fn require_no_log(&self, from: &RelPath, to: &RelPath) -> Result<(), FsError> {
        let stat = self.fs.stat(from)?;
        if !may_be_database(from, &stat) {
            return Ok(());
        }
        for suffix in [WAL, JOURNAL] {
            let Some((_, side)) = self.side(to, suffix)? else { continue };
            if side.size > 0 && self.is_database(from, &stat)? {
                let reason = DatabaseProblem::ForeignLog;
                return Err(FsError::Database { path: to.clone(), reason });
            }
        }
        Ok(())
    }

    /// Refuses to exchange or move a database away from what lies beside it: it is settled first.
    fn require_settled(&self, path: &RelPath) -> Result<(), FsError> {
        if path.area() == Area::Tree && !self.beside(path)?.is_empty() {
            return Err(FsError::Busy { path: path.clone() });
        }
        Ok(())
    }

    pub(super) fn rename_noreplace(&self, from: &RelPath, to: &RelPath) -> Result<(), FsError> {
        if self.is_beside(from)? {
            return Err(FsError::new(from, Errno::NOENT));
        }
        if self.is_beside(to)? {
            return Err(FsError::new(to, Errno::ILSEQ));
        }
        if !to.is_private() {
            self.require_no_log(from, to)?;
        }
        self.require_settled(from)?;
        self.fs.rename_noreplace(from, to)
    }

    pub(super) fn exchange(&self, one: &RelPath, two: &RelPath) -> Result<(), FsError> {
        for (from, to) in [(one, two), (two, one)] {
            if self.is_beside(to)? {
                return Err(FsError::new(to, Errno::NOENT));
            }
            self.require_settled(to)?;
            if !to.is_private() {
                self.require_no_log(from, to)?;
            }
        }
        self.fs.exchange(one, two)
    }

    pub(super) fn set_attributes(
        &self,
        path: &RelPath,
        expected: &Stat,
        mode: Option<u16>,
        mtime_ns: Option<i64>,
    ) -> Result<Stat, FsError> {
        match self.content(path, &self.fs.stat(path)?)? {
            Content::Plain => self.fs.set_attributes(path, expected, mode, mtime_ns),
            Content::Logged(_) | Content::Unfinished(_) => {
                Err(FsError::Busy { path: path.clone() })
            }
        }
    }

    pub(super) fn writer_absent(&self, path: &RelPath) -> Result<bool, FsError> {
        for side in self.beside(path)? {
            match self.fs.writer_absent(&side) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        self.fs.writer_absent(path)
    }

    /// A regular file beside a path.
    fn side(&self, path: &RelPath, suffix: &str) -> Result<Option<(RelPath, Stat)>, FsError> {
        let Some(side) = side_path(path, suffix) else { return Ok(None) };
        match self.fs.stat(&side) {
            Ok(stat) => Ok((stat.kind == Kind::File).then_some((side, stat))),
            Err(error) if error.is_stale_view() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a file is a database, by what it begins with. One that cannot be read says so by its
    /// name, and so does an empty one.
    fn is_database(&self, path: &RelPath, stat: &Stat) -> Result<bool, FsError> {
        if !may_be_database(path, stat) {
            return Ok(false);
        }
        if stat.size == 0 {
            return Ok(true);
        }
        let mut start = [0; MAGIC.len()];
        match self.fs.open(path).and_then(|file| file.read_at(0, &mut start)) {
            Ok(read) => Ok(read == start.len() && start == *MAGIC),
            Err(error) if error.is_stale_view() => Ok(false),
            Err(error) if error.is_of_one_path() => Ok(is_named(path)),
            Err(error) => Err(error),
        }
    }

    /// Where the content of a file is. An empty database has none, whatever lies beside it: SQLite
    /// throws that away.
    fn content(&self, path: &RelPath, stat: &Stat) -> Result<Content, FsError> {
        if stat.size == 0 || !may_be_database(path, stat) {
            return Ok(Content::Plain);
        }
        let [wal, journal] = [self.side(path, WAL)?, self.side(path, JOURNAL)?]
            .map(|side| side.filter(|(_, stat)| stat.size > 0));
        if (wal.is_none() && journal.is_none()) || !self.is_database(path, stat)? {
            return Ok(Content::Plain);
        }
        if let Some((journal, stat)) = journal
            && self.is_hot(&journal)?
        {
            return Ok(Content::Unfinished(stat));
        }
        Ok(wal.map_or(Content::Plain, |(_, stat)| Content::Logged(stat)))
    }

    /// Whether a journal still says what to undo: the start of one that is done with is zeroed.
    fn is_hot(&self, journal: &RelPath) -> Result<bool, FsError> {
        let mut start = [0];
        match self.fs.open(journal).and_then(|file| file.read_at(0, &mut start)) {
            Ok(read) => Ok(read == 1 && start != [0]),
            Err(error) if error.is_stale_view() => Ok(false),
            Err(FsError::Denied { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// What a look at a file shows, given what it itself looks like.
    fn shown(&self, path: &RelPath, mut stat: Stat) -> Result<Stat, FsError> {
        for _ in 0..LOOKS_MAX {
            let wal = match self.content(path, &stat)? {
                Content::Plain => return Ok(stat),
                Content::Unfinished(journal) => return Ok(merged(&stat, &journal, stat.size)),
                Content::Logged(wal) => wal,
            };
            match self.logged_bytes(path, &wal) {
                Ok(bytes) => return Ok(merged(&stat, &wal, bytes.unwrap_or(stat.size))),
                Err(error) if error.is_stale_view() => stat = self.fs.stat(path)?,
                // It is there all the same: reading it tells why it cannot be.
                Err(error) if error.is_of_one_path() => return Ok(merged(&stat, &wal, stat.size)),
                Err(error) => return Err(error),
            }
        }
        Err(FsError::Changed { path: path.clone() })
    }

    /// Bytes of a database by its log, if that has a commit.
    fn logged_bytes(&self, path: &RelPath, wal: &Stat) -> Result<Option<u64>, FsError> {
        let is_it = |(seen, _): &&(Stat, _)| seen.untouched(wal);
        if let Some((_, bytes)) = self.logs().iter().find(is_it) {
            return Ok(*bytes);
        }
        let changed = || FsError::Changed { path: path.clone() };
        let beside = side_path(path, WAL).ok_or_else(changed)?;
        let file = self.fs.open(&beside)?;
        let bytes = Log::read(file.as_ref(), wal.size, &beside)?.content_bytes();
        if !file.stat()?.untouched(wal) {
            return Err(changed());
        }
        self.remember(wal, bytes);
        Ok(bytes)
    }

    fn open_logged(
        &self,
        path: &RelPath,
        stat: &Stat,
        wal: &Stat,
    ) -> Result<DatabaseFile, FsError> {
        let changed = || FsError::Changed { path: path.clone() };
        let beside = side_path(path, WAL).ok_or_else(changed)?;
        let opened = DatabaseFile::open(self.fs.as_ref(), [path, &beside], [stat, wal]);
        let file = opened.map_err(|error| if error.is_stale_view() { changed() } else { error })?;
        self.remember(&file.moment().wal, file.logged_bytes());
        let mut moments = self.moments();
        let opened = file.opened();
        moments.retain(|(seen, _)| !seen.untouched(&opened));
        moments.push_back((opened, *file.moment()));
        if moments.len() > REMEMBERED {
            moments.pop_front();
        }
        Ok(file)
    }

    /// Whether all that a look saw at a path is still there, though more may have been committed since.
    pub(super) fn holds(&self, path: &RelPath, seen: &Stat) -> Result<bool, FsError> {
        if self.stat(path)?.same_content(seen) {
            return Ok(true);
        }
        let moment = self.moments().iter().find(|(it, _)| it.untouched(seen)).map(|(_, it)| *it);
        let Some(moment) = moment else { return Ok(false) };
        let (database, side) = (self.fs.stat(path)?, self.side(path, WAL)?);
        let Some((side, wal)) = side else { return Ok(false) };
        let is_logged = matches!(self.content(path, &database)?, Content::Logged(_));
        Ok(is_logged && moment.is_kept(&database, &wal, self.fs.open(&side)?.as_ref())?)
    }

    fn moments(&self) -> std::sync::MutexGuard<'_, VecDeque<(Stat, Moment)>> {
        self.moments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, wal: &Stat, bytes: Option<u64>) {
        let mut logs = self.logs();
        logs.retain(|(seen, _)| !seen.same_inode(wal));
        logs.push_back((*wal, bytes));
        if logs.len() > REMEMBERED {
            logs.pop_front();
        }
    }

    fn logs(&self) -> std::sync::MutexGuard<'_, VecDeque<(Stat, Option<u64>)>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a file can be a database by a look at it: a database is so many pages, or empty and called
/// like one. All others cost no look at what might lie beside them.
fn may_be_database(path: &RelPath, stat: &Stat) -> bool {
    let is_pages = stat.size.is_multiple_of(SMALLEST_BYTES);
    stat.kind == Kind::File && is_pages && (stat.size > 0 || is_named(path))
}

fn is_named(path: &RelPath) -> bool {
    let name = path.name().map_or("", Name::as_str);
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

fn side_path(path: &RelPath, suffix: &str) -> Option<RelPath> {
    let name = Name::new(format!("{}{suffix}", path.name()?)).ok()?;
    path.parent()?.join(&name).ok()
}

fn unfinished(path: &RelPath) -> FsError {
    FsError::Database { path: path.clone(), reason: DatabaseProblem::Unfinished }
}

/// A database and the file beside it that has a say in its content, as one look. Whatever is written
/// to one of them shows as another inode, and a rename of both does not.
fn merged(database: &Stat, beside: &Stat, size: u64) -> Stat {
    let mut digest = blake3::Hasher::new();
    for stat in [database, beside] {
        for number in [stat.inode, stat.size] {
            digest.update(&number.to_le_bytes());
        }
        digest.update(&stat.mtime_ns.to_le_bytes());
    }
    let digest = digest.finalize();
    let inode = digest.as_bytes().first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
    Stat {
        size,
        inode,
        mtime_ns: database.mtime_ns.max(beside.mtime_ns),
        ctime_ns: database.ctime_ns.max(beside.ctime_ns),
        ..*database
    }
}
