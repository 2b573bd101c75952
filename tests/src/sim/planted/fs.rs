//! A filesystem that breaks its promises.
//!
//! Owns the lies between the engine and the filesystem in memory; the user's door stays honest.

use super::Planted;
use client::fs::{
    Area, FreeSpace, FsError, Listing, Look, MemoryFs, ReadFile, RelPath, Root, RootIdentity,
    StagedFile, Stat, Swap,
};
use client::scan::stat_spelled;
use common::name::Name;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Bytes beyond which a short write stops.
const SHORT_WRITE_BYTES: usize = 100;
/// Longer than the devices take to agree that something is deleted.
const BURIED_TIME: Duration = Duration::from_secs(140);

/// The filesystem in memory with one broken promise.
pub struct PlantedFs {
    inner: MemoryFs,
    planted: Planted,
    seen: Mutex<BTreeMap<RelPath, Stat>>,
    lies: Mutex<BTreeMap<u64, Stat>>,
    /// How files that changed while they were read look, and how they looked before.
    steady: Arc<Mutex<BTreeMap<u64, (Stat, Stat)>>>,
    /// Files that were to be synced through their handles and were not.
    unsynced: Arc<Mutex<BTreeSet<RelPath>>>,
    /// How many files were put in place, and the last of them.
    placed: Mutex<(u64, Option<RelPath>)>,
    /// What was deleted, when and where.
    buried: Mutex<VecDeque<(Instant, RelPath, Vec<u8>)>>,
}

impl PlantedFs {
    /// Breaks one promise of a filesystem.
    #[must_use]
    pub fn new(inner: MemoryFs, planted: Planted) -> Self {
        let (seen, lies, steady, unsynced) = Default::default();
        let (placed, buried) = Default::default();
        Self { inner, planted, seen, lies, steady, unsynced, placed, buried }
    }

    /// A write in the middle of a read shows in no time of the file.
    fn steady(&self, stat: Stat) -> Stat {
        let lie = lock(&self.steady).get(&stat.inode).filter(|(now, _)| *now == stat).copied();
        lie.map_or(stat, |(_, before)| before)
    }

    /// What went aside looks as its path did when it was last looked at.
    fn lie_of(&self, path: &RelPath, aside: &RelPath) {
        let expected = lock(&self.seen).get(path).copied();
        if let (Some(expected), Ok(displaced)) = (expected, self.inner.stat(aside)) {
            lock(&self.lies).insert(displaced.inode, expected);
        }
    }

    /// Lets what was just put in place change places with the file before it, now and then.
    fn mix_up(&self, placed: &RelPath) {
        let (number, before) = {
            let mut last = lock(&self.placed);
            last.0 += 1;
            (last.0, last.1.replace(placed.clone()))
        };
        let is_file = |path: &RelPath| {
            self.inner.stat(path).is_ok_and(|it| it.kind == client::fs::Kind::File)
        };
        if let Some(before) = before
            && number % 4 == 0
            && before != *placed
            && is_file(&before)
        {
            drop(self.inner.exchange(&before, placed));
        }
    }

    /// Keeps what is deleted.
    fn bury(&self, path: &RelPath, aside: &RelPath) {
        if let Ok(bytes) = self.inner.user().read(aside.to_string()) {
            lock(&self.buried).push_back((Instant::now(), path.clone(), bytes)); // ok: virtual time
        }
    }

    /// Puts back what was deleted long ago, if its place is free.
    fn dig_up(&self) {
        let old = |(at, ..): &mut (Instant, RelPath, Vec<u8>)| at.elapsed() > BURIED_TIME; // ok: virtual time
        if let Some((_, path, bytes)) = lock(&self.buried).pop_front_if(old)
            && self.inner.stat(&path).is_err_and(|error| error.is_not_found())
        {
            drop(self.inner.user().write(path.to_string(), &bytes));
        }
    }

    fn staged(&self, inner: Box<dyn StagedFile>) -> Box<dyn StagedFile> {
        match self.planted {
            Planted::ShortWrites | Planted::SyncWithoutSyncing => {
                Box::new(PlantedStaged { inner, planted: self.planted })
            }
            _ => inner,
        }
    }

    fn is(&self, planted: Planted) -> bool {
        self.planted == planted
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Look for PlantedFs {
    fn list(&self, directory: &RelPath) -> Result<Listing, FsError> {
        match self.inner.list(directory) {
            Err(error) if self.is(Planted::ErrorsAsAbsence) && !error.is_not_found() => {
                let directory = self.inner.stat(directory)?;
                Ok(Listing { directory, entries: Vec::new(), steady: true })
            }
            Ok(mut listing) if self.is(Planted::SteadyReads) => {
                listing.entries.iter_mut().for_each(|it| it.stat = self.steady(it.stat));
                Ok(listing)
            }
            answer => answer,
        }
    }

    fn stat(&self, path: &RelPath) -> Result<Stat, FsError> {
        let answer = self.inner.stat(path);
        match answer {
            Err(error) if self.is(Planted::ErrorsAsAbsence) && !path.is_private() => {
                let source = std::io::Error::other(error.to_string());
                Err(FsError::NotFound { path: path.clone(), source })
            }
            Ok(stat)
                if self.is(Planted::ExchangeWithoutComparing)
                    || self.is(Planted::DeleteWithoutComparing) =>
            {
                if path.is_private()
                    && let Some(lie) = lock(&self.lies).get(&stat.inode)
                {
                    return Ok(*lie);
                }
                lock(&self.seen).insert(path.clone(), stat);
                Ok(stat)
            }
            Ok(stat) if self.is(Planted::SteadyReads) => Ok(self.steady(stat)),
            answer => answer,
        }
    }

    fn read_link(&self, path: &RelPath) -> Result<Vec<u8>, FsError> {
        self.inner.read_link(path)
    }

    fn open(&self, path: &RelPath) -> Result<Box<dyn ReadFile>, FsError> {
        let file = self.inner.open(path)?;
        match self.planted {
            Planted::SteadyReads => {
                let first = self.steady(file.stat()?);
                Ok(Box::new(SteadyFile { inner: file, first, steady: Arc::clone(&self.steady) }))
            }
            Planted::SyncWithoutSyncing | Planted::PushWithoutSyncing => {
                let (path, unsynced) = (path.clone(), Arc::clone(&self.unsynced));
                Ok(Box::new(UnsyncedFile { inner: file, path, unsynced }))
            }
            _ => Ok(file),
        }
    }
}

impl Swap for PlantedFs {
    fn stage(&self, name: &Name) -> Result<Box<dyn StagedFile>, FsError> {
        self.inner.stage(name).map(|inner| self.staged(inner))
    }

    fn reopen(&self, name: &Name) -> Result<Box<dyn StagedFile>, FsError> {
        self.inner.reopen(name).map(|inner| self.staged(inner))
    }

    fn make_directory(&self, path: &RelPath, mode: u16) -> Result<(), FsError> {
        self.inner.make_directory(path, mode)
    }

    fn make_symlink(&self, path: &RelPath, target: &[u8], mtime_ns: i64) -> Result<(), FsError> {
        self.inner.make_symlink(path, target, mtime_ns)
    }

    fn link(&self, from: &RelPath, to: &RelPath) -> Result<(), FsError> {
        self.inner.link(from, to)
    }

    fn rename_noreplace(&self, from: &RelPath, to: &RelPath) -> Result<(), FsError> {
        if self.is(Planted::RenameReplaces) && !to.is_private() {
            let is_file = |stat: &Stat| stat.kind == client::fs::Kind::File;
            if self.inner.stat(from).is_ok_and(|stat| is_file(&stat))
                && self.inner.stat(to).is_ok_and(|stat| is_file(&stat))
            {
                self.inner.user().rename(from.to_string(), to.to_string()).ok();
                if self.inner.stat(from).is_err() {
                    return Ok(());
                }
                self.inner.exchange(from, to)?;
                return self.inner.remove(from);
            }
        }
        if self.is(Planted::SpellingReplaces)
            && self.inner.stat(to).is_ok()
            && stat_spelled(&self.inner, to).is_err()
            && self.inner.user().rename(from.to_string(), to.to_string()).is_ok()
        {
            return Ok(());
        }
        self.inner.rename_noreplace(from, to)?;
        if self.is(Planted::FilesMixedUp) && from.area() == Area::Staging && !to.is_private() {
            self.mix_up(to);
        }
        if self.is(Planted::DeletedComesBack) {
            match (from.area(), to.area()) {
                (Area::Tree, Area::Displaced) => self.bury(from, to),
                (Area::Staging, Area::Tree) => self.dig_up(),
                _ => {}
            }
        }
        if self.is(Planted::DeleteWithoutComparing) && to.area() == Area::Displaced {
            self.lie_of(from, to);
        }
        Ok(())
    }

    fn exchange(&self, one: &RelPath, two: &RelPath) -> Result<(), FsError> {
        let are_directories = || {
            let is_one =
                |path| self.inner.stat(path).is_ok_and(|it| it.kind == client::fs::Kind::Directory);
            is_one(one) && is_one(two)
        };
        if self.is(Planted::BundlesInParts) && are_directories() {
            for listed in self.inner.list(one)?.entries.iter().step_by(2) {
                let Ok(name) = Name::from_bytes(&listed.name) else { continue };
                let (Ok(from), Ok(to)) = (one.join(&name), two.join(&name)) else { continue };
                self.inner
                    .exchange(&from, &to)
                    .or_else(|_| self.inner.rename_noreplace(&from, &to))?;
            }
            return Ok(());
        }
        self.inner.exchange(one, two)?;
        if self.is(Planted::ExchangeWithoutComparing) {
            self.lie_of(two, one);
        }
        Ok(())
    }

    fn remove(&self, path: &RelPath) -> Result<(), FsError> {
        if let Ok(stat) = self.inner.stat(path) {
            lock(&self.lies).remove(&stat.inode);
        }
        self.inner.remove(path)
    }

    fn remove_directory(&self, path: &RelPath) -> Result<(), FsError> {
        self.inner.remove_directory(path)
    }

    fn set_attributes(
        &self,
        path: &RelPath,
        expected: &Stat,
        mode: Option<u16>,
        mtime_ns: Option<i64>,
    ) -> Result<Stat, FsError> {
        self.inner.set_attributes(path, expected, mode, mtime_ns)
    }

    fn writer_absent(&self, displaced: &RelPath) -> Result<bool, FsError> {
        if self.is(Planted::WritersIgnored) {
            return Ok(true);
        }
        self.inner.writer_absent(displaced)
    }
}

impl Root for PlantedFs {
    fn init_root(&self, marker: &[u8]) -> Result<(), FsError> {
        self.inner.init_root(marker)
    }

    fn read_marker(&self) -> Result<Option<Vec<u8>>, FsError> {
        self.inner.read_marker()
    }

    fn identity(&self) -> RootIdentity {
        self.inner.identity()
    }

    fn sync(&self, paths: &[RelPath]) -> Result<(), FsError> {
        // A push syncs through handles and then by their paths; nothing else does both.
        let unsynced = std::mem::take(&mut *lock(&self.unsynced));
        let is_push = paths.iter().all(|path| unsynced.contains(path));
        if self.is(Planted::SyncWithoutSyncing) || (self.is(Planted::PushWithoutSyncing) && is_push)
        {
            return Ok(());
        }
        self.inner.sync(paths)
    }

    fn free_space(&self) -> Result<FreeSpace, FsError> {
        self.inner.free_space()
    }

    fn folds_names(&self) -> bool {
        let unnoticed =
            matches!(self.planted, Planted::FoldingUnnoticed | Planted::SpellingReplaces);
        !unnoticed && self.inner.folds_names()
    }

    fn boot_id(&self) -> Result<String, FsError> {
        self.inner.boot_id()
    }
}

/// Looks as it did when it was opened, and goes on looking so until it is written again.
struct SteadyFile {
    inner: Box<dyn ReadFile>,
    first: Stat,
    steady: Arc<Mutex<BTreeMap<u64, (Stat, Stat)>>>,
}

impl Drop for SteadyFile {
    fn drop(&mut self) {
        if let Ok(now) = self.inner.stat()
            && now.size == self.first.size
        {
            lock(&self.steady).insert(now.inode, (now, self.first));
        }
    }
}

impl ReadFile for SteadyFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FsError> {
        self.inner.read_at(offset, buffer)
    }

    fn stat(&self) -> Result<Stat, FsError> {
        Ok(self.first)
    }

    fn sync(&self) -> Result<(), FsError> {
        self.inner.sync()
    }
}

/// Syncs nothing.
struct UnsyncedFile {
    inner: Box<dyn ReadFile>,
    path: RelPath,
    unsynced: Arc<Mutex<BTreeSet<RelPath>>>,
}

impl ReadFile for UnsyncedFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FsError> {
        self.inner.read_at(offset, buffer)
    }

    fn stat(&self) -> Result<Stat, FsError> {
        self.inner.stat()
    }

    fn sync(&self) -> Result<(), FsError> {
        lock(&self.unsynced).insert(self.path.clone());
        Ok(())
    }
}

/// Loses the end of what is written, or syncs nothing.
struct PlantedStaged {
    inner: Box<dyn StagedFile>,
    planted: Planted,
}

impl StagedFile for PlantedStaged {
    fn path(&self) -> &RelPath {
        self.inner.path()
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), FsError> {
        let short = self.planted == Planted::ShortWrites && bytes.len() > SHORT_WRITE_BYTES;
        let kept = if short { &bytes[..SHORT_WRITE_BYTES] } else { bytes };
        self.inner.write_at(offset, kept)?;
        if short { self.inner.truncate(offset + bytes.len() as u64) } else { Ok(()) }
    }

    fn preallocate(&self, size: u64) -> Result<(), FsError> {
        self.inner.preallocate(size)
    }

    fn held_bytes(&self) -> Result<u64, FsError> {
        self.inner.held_bytes()
    }

    fn truncate(&self, size: u64) -> Result<(), FsError> {
        self.inner.truncate(size)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FsError> {
        self.inner.read_at(offset, buffer)
    }

    fn set_attributes(&self, mode: u16, mtime_ns: i64) -> Result<(), FsError> {
        self.inner.set_attributes(mode, mtime_ns)
    }

    fn sync(&self) -> Result<(), FsError> {
        if self.planted == Planted::SyncWithoutSyncing { Ok(()) } else { self.inner.sync() }
    }

    fn stat(&self) -> Result<Stat, FsError> {
        self.inner.stat()
    }
}
