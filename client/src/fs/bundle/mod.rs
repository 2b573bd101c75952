//! Bundles as files: a root in which every directory that only makes sense whole is one file.
//!
//! Owns that illusion, over any other implementation of the traits (decision 060): what is above sees a
//! regular file whose bytes are the directory's archive ([`common::archive`]) and whose mode has
//! [`common::archive::MODE_BUNDLE`]; it is read, compared, exchanged, displaced and removed whole. What
//! is inside cannot be reached. [`Bundled::unpack`] makes one from an archive.
//!
//! A database of SQLite and the files beside it are one file too (decision 061); what that means is
//! `database`'s, and [`Bundled::settle`] makes it one on the disk.

mod archive;
pub(crate) mod database;
mod git_index;
mod look;
mod read;
#[cfg(test)]
mod tests;
mod unpack;

use super::error::FsError;
use super::path::{Area, RelPath};
use super::stat::{FreeSpace, Kind, Listing, RootIdentity, Stat};
use super::traits::{Fs, Look, ReadFile, Root, SYNC_EACH_MAX, StagedFile, Swap};
use client_core::bundles::BundleRules;
use common::archive::{ArchiveError, Index};
use common::name::Name;
use database::Databases;
use read::BundleFile;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use unpack::{Unpack, remove_all};

pub use archive::Archive;

/// What a parked bundle's name ends with, which tells it from a parked directory.
pub(crate) const PARKED_SUFFIX: &str = ".bundle";

/// A root with its bundles as files.
pub struct Bundled {
    inner: Arc<dyn Fs>,
    databases: Databases,
    rules: RwLock<Arc<BundleRules>>,
}

/// What a path is to this layer.
enum Place {
    /// A bundle's directory.
    Bundle,
    /// Something in one.
    Inside,
    /// Anything else, or nothing.
    Plain,
}

impl Bundled {
    /// This root, with the rules that hold in every folder.
    #[must_use]
    pub fn new(inner: Arc<dyn Fs>) -> Self {
        let databases = Databases::new(Arc::clone(&inner));
        Self { inner, databases, rules: RwLock::default() }
    }

    /// Takes the rules of the folder. Directories that become files by them, or the other way round,
    /// show as such from now on.
    pub fn set_rules(&self, rules: BundleRules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// Makes a staged directory from a staged archive, which is removed; returns where it is and how
    /// it looks. It is not synced. `current` is the bundle that it will take the place of, and how that
    /// is to look then: read-only files that are the same are linked. `names` are two free names in
    /// staging.
    ///
    /// # Errors
    /// [`FsError::Unfit`] for what is no archive, [`FsError::Changed`] if the bundle that is here is not
    /// what it was, and those of the disk: then no directory is left.
    pub fn unpack(
        &self,
        archive: &RelPath,
        current: Option<(&RelPath, &Stat)>,
        names: [Name; 2],
        mode: u16,
    ) -> Result<(RelPath, Stat), FsError> {
        let [name, scratch] = names;
        let into = RelPath::inside(Area::Staging, name);
        let (fs, scratch) = (self.inner.as_ref(), &scratch);
        let unpack = Unpack { fs, archive, current, into: &into, scratch, mode: mode & 0o777 };
        let stat = unpack.run()?;
        self.inner.remove(archive)?;
        Ok((into, stat))
    }

    /// The paths of what lies in a bundle.
    ///
    /// # Errors
    /// [`FsError::Unfit`] if no archive can hold it, and those of looking.
    pub fn contents(&self, bundle: &RelPath) -> Result<BTreeSet<String>, FsError> {
        let unfit = |reason| FsError::Unfit { path: bundle.clone(), reason };
        let index = look::look(self.inner.as_ref(), bundle)?.index.map_err(unfit)?;
        Ok(index.items().iter().map(|item| item.path.clone()).collect())
    }

    /// What lies in a bundle by its path in it, as it looks without the bundle: a directory as one, a lock
    /// as any file, a database with the files beside it as one file. What is never synced is left out.
    ///
    /// # Errors
    /// [`FsError::Changed`] while it is being changed, [`FsError::Unfit`] for what has no name here, and
    /// those of looking.
    pub fn looks_in(&self, bundle: &RelPath) -> Result<BTreeMap<String, Stat>, FsError> {
        let (mut looks, mut directories) = (BTreeMap::new(), vec![(bundle.clone(), String::new())]);
        while let Some((directory, above)) = directories.pop() {
            let mut listing = self.inner.list(&directory)?;
            self.databases.fold(&directory, &mut listing)?;
            if !listing.steady {
                return Err(FsError::Changed { path: bundle.clone() });
            }
            for listed in listing.entries.iter().filter(|listed| listed.stat.kind != Kind::Other) {
                let inside = format!("{above}{}", String::from_utf8_lossy(&listed.name));
                let name = Name::from_bytes(&listed.name).ok();
                let Some(path) = name.and_then(|name| directory.join(&name).ok()) else {
                    let reason = ArchiveError::Path(inside);
                    return Err(FsError::Unfit { path: bundle.clone(), reason });
                };
                if listed.stat.kind == Kind::Directory {
                    directories.push((path, format!("{inside}/")));
                }
                looks.insert(inside, listed.stat);
            }
        }
        Ok(looks)
    }

    /// Copies what was added to a private bundle since it had only these paths in it into another one,
    /// where nothing stands, durably: a program that was at work while the two changed places for a moment
    /// has put it there, and may build on it where it began. What it has changed there is not copied: in
    /// the other one that was never there, or was taken away. Nor is what is still being written: half of
    /// a file where its writer looks for the whole would be taken for it. `scratch` is a free name in
    /// staging.
    ///
    /// # Errors
    /// Those of the disk; what was copied until then is there.
    pub fn carry_over(
        &self,
        from: &RelPath,
        to: &RelPath,
        built: &BTreeSet<String>,
        scratch: &Name,
    ) -> Result<(), FsError> {
        let fs = self.inner.as_ref();
        let index = look::look(fs, from)?.index;
        let mut carried = Vec::new();
        // One that no archive can hold is kept as it is.
        for item in index.iter().flat_map(Index::items).filter(|item| !built.contains(&item.path)) {
            let (Ok(from), Ok(to)) = (read::below(from, &item.path), read::below(to, &item.path))
            else {
                continue;
            };
            if fs.stat(&to).is_ok() || !fs.writer_absent(&from).unwrap_or(false) {
                continue;
            }
            match unpack::copy(fs, item, &from, &to, scratch) {
                Ok(()) => carried.push(to),
                // It went or changed, or something came where it was to be.
                Err(error) if error.is_stale_view() => {}
                Err(error) => return Err(error),
            }
        }
        if carried.is_empty() {
            return Ok(());
        }
        fs.sync(&carried).map_err(|error| error.of_sync(to))
    }

    /// The bundle that a path lies in, or the path itself.
    #[must_use]
    pub fn whole(&self, path: &RelPath) -> RelPath {
        match self.place(path) {
            Ok(Place::Inside) => above(path, self.names_to_bundle(path).unwrap_or(usize::MAX)),
            _ => path.clone(),
        }
    }

    /// The lock that says that a program is at work in a bundle.
    #[must_use]
    pub fn lock_in(&self, bundle: &RelPath) -> Option<String> {
        match self.place(bundle) {
            Ok(Place::Bundle) => {
                let seen = look::look(self.inner.as_ref(), bundle).ok()?;
                seen.locks.into_iter().next().map(|lock| lock.path)
            }
            _ => None,
        }
    }

    /// Whether files lie beside a database, so that it has to be [settled](Self::settle) before it is
    /// replaced, moved, deleted or given attributes.
    ///
    /// # Errors
    /// Those of looking.
    pub fn is_unsettled(&self, path: &RelPath) -> Result<bool, FsError> {
        Ok(!self.enter(path)? && !self.databases.beside(path)?.is_empty())
    }

    /// Makes a database of the tree one plain file with the same content, without files beside it, and
    /// says how that looks; `None` if it is one, or no database. `away` gives free names in the displaced
    /// area to what lies there meanwhile, and stays there to be reviewed if this is cut short: each time
    /// it looks like one of these two. `scratch` is a free name in staging.
    ///
    /// # Errors
    /// [`FsError::Changed`] if it is not what was expected, or somebody has written to it since;
    /// [`FsError::Busy`] while a program has it open, or where nothing can tell; [`FsError::Unsupported`]
    /// where files cannot be exchanged. Then it holds all that it held and what was written to it since,
    /// but it may be another file than it was, and without some of those beside it.
    pub fn settle(
        &self,
        path: &RelPath,
        expected: &Stat,
        away: &dyn Fn([&Stat; 2]) -> RelPath,
        scratch: &Name,
    ) -> Result<Option<Stat>, FsError> {
        if self.enter(path)? || path.is_private() {
            return Ok(None);
        }
        self.databases.settle(path, expected, away, scratch)
    }

    /// What is synced with a path.
    fn parts(&self, path: &RelPath) -> Result<Vec<RelPath>, FsError> {
        match self.place(path)? {
            Place::Bundle => read::everything(self.inner.as_ref(), path),
            Place::Inside | Place::Plain => {
                let log = self.databases.log_of(path)?;
                Ok(std::iter::once(path.clone()).chain(log).collect())
            }
        }
    }

    fn rules(&self) -> Arc<BundleRules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many names lead to the bundle that a path would lie in, if there are directories.
    fn names_to_bundle(&self, path: &RelPath) -> Option<usize> {
        match path.area() {
            Area::Tree => self.rules().root_of(path.names()),
            Area::Staging | Area::Displaced => (!path.is_root()).then_some(1),
            Area::Parked => {
                let first = path.names().first()?;
                first.as_str().ends_with(PARKED_SUFFIX).then_some(1)
            }
        }
    }

    fn place(&self, path: &RelPath) -> Result<Place, FsError> {
        let Some(count) = self.names_to_bundle(path) else { return Ok(Place::Plain) };
        let root = above(path, count);
        let is_directory = match self.inner.stat(&root) {
            Ok(stat) => stat.kind == Kind::Directory,
            Err(error) if error.is_stale_view() => false,
            Err(error) => return Err(error),
        };
        Ok(match (is_directory, root == *path) {
            (false, _) => Place::Plain,
            (true, true) => Place::Bundle,
            (true, false) => Place::Inside,
        })
    }

    /// Refuses what lies inside a bundle; says whether the path is one.
    fn enter(&self, path: &RelPath) -> Result<bool, FsError> {
        match self.place(path)? {
            Place::Bundle => Ok(true),
            Place::Plain => Ok(false),
            Place::Inside => Err(FsError::new(path, Errno::NOTDIR)),
        }
    }

    /// A bundle as one look shows it. One that cannot be looked into is there all the same: reading it
    /// tells why.
    fn shown(&self, path: &RelPath, directory: &Stat) -> Stat {
        look::look(self.inner.as_ref(), path).map_or_else(
            |_| Stat {
                kind: Kind::File,
                size: 0,
                mode: directory.mode | common::archive::MODE_BUNDLE,
                nlink: 1,
                ..*directory
            },
            |seen| seen.stat,
        )
    }
}

/// The path that these first names of a path lead to.
fn above(path: &RelPath, count: usize) -> RelPath {
    let mut root = path.clone();
    while root.names().len() > count
        && let Some(parent) = root.parent()
    {
        root = parent;
    }
    root
}

impl Look for Bundled {
    fn list(&self, directory: &RelPath) -> Result<Listing, FsError> {
        if self.enter(directory)? {
            return Err(FsError::new(directory, Errno::NOTDIR));
        }
        let mut listing = self.inner.list(directory)?;
        self.databases.fold(directory, &mut listing)?;
        for listed in listing.entries.iter_mut().filter(|it| it.stat.kind == Kind::Directory) {
            let name = Name::from_bytes(&listed.name).ok();
            let Some(path) = name.and_then(|name| directory.join(&name).ok()) else { continue };
            if self.names_to_bundle(&path) == Some(path.names().len()) {
                listed.stat = self.shown(&path, &listed.stat);
            }
        }
        Ok(listing)
    }

    fn stat(&self, path: &RelPath) -> Result<Stat, FsError> {
        if self.enter(path)? {
            return look::look(self.inner.as_ref(), path).map(|seen| seen.stat);
        }
        self.databases.stat(path)
    }

    fn holds(&self, path: &RelPath, seen: &Stat) -> Result<bool, FsError> {
        if self.enter(path)? {
            return Ok(self.stat(path)?.same_content(seen));
        }
        self.databases.holds(path, seen)
    }

    fn read_link(&self, path: &RelPath) -> Result<Vec<u8>, FsError> {
        if self.enter(path)? {
            return Err(FsError::new(path, Errno::ISDIR));
        }
        self.inner.read_link(path)
    }

    fn open(&self, path: &RelPath) -> Result<Box<dyn ReadFile>, FsError> {
        if self.enter(path)? {
            return Ok(Box::new(BundleFile::open(Arc::clone(&self.inner), path)?));
        }
        self.databases.open(path)
    }
}

impl Swap for Bundled {
    fn stage(&self, name: &Name) -> Result<Box<dyn StagedFile>, FsError> {
        self.inner.stage(name)
    }

    fn reopen(&self, name: &Name) -> Result<Box<dyn StagedFile>, FsError> {
        self.inner.reopen(name)
    }

    fn make_directory(&self, path: &RelPath, mode: u16) -> Result<(), FsError> {
        self.enter(path)?;
        if self.names_to_bundle(path) == Some(path.names().len()) {
            // Of the server's entries this one is no bundle, and here it would be one.
            return Err(FsError::new(path, Errno::ILSEQ));
        }
        if self.databases.is_beside(path)? {
            // SQLite could not open its log there.
            return Err(FsError::new(path, Errno::ILSEQ));
        }
        self.inner.make_directory(path, mode)
    }

    fn make_symlink(&self, path: &RelPath, target: &[u8], mtime_ns: i64) -> Result<(), FsError> {
        self.enter(path)?;
        self.inner.make_symlink(path, target, mtime_ns)
    }

    fn link(&self, from: &RelPath, to: &RelPath) -> Result<(), FsError> {
        self.enter(from)?;
        self.enter(to)?;
        self.inner.link(from, to)
    }

    fn rename_noreplace(&self, from: &RelPath, to: &RelPath) -> Result<(), FsError> {
        self.enter(to)?;
        if self.enter(from)? {
            return self.inner.rename_noreplace(from, to);
        }
        self.databases.rename_noreplace(from, to)
    }

    fn exchange(&self, one: &RelPath, two: &RelPath) -> Result<(), FsError> {
        self.enter(one)?;
        self.enter(two)?;
        self.databases.exchange(one, two)
    }

    fn remove(&self, path: &RelPath) -> Result<(), FsError> {
        if self.enter(path)? && path.is_private() {
            return remove_all(self.inner.as_ref(), path);
        }
        self.inner.remove(path)
    }

    fn remove_directory(&self, path: &RelPath) -> Result<(), FsError> {
        if self.enter(path)? {
            return Err(FsError::new(path, Errno::NOTDIR));
        }
        self.inner.remove_directory(path)
    }

    fn set_attributes(
        &self,
        path: &RelPath,
        expected: &Stat,
        mode: Option<u16>,
        mtime_ns: Option<i64>,
    ) -> Result<Stat, FsError> {
        if !self.enter(path)? {
            return self.databases.set_attributes(path, expected, mode, mtime_ns);
        }
        if !self.stat(path)?.untouched(expected) {
            return Err(FsError::Changed { path: path.clone() });
        }
        // Its mtime is the newest of those in it, and as such in its archive.
        let directory = self.inner.stat(path)?;
        self.inner.set_attributes(path, &directory, mode.map(|mode| mode & 0o777), None)?;
        let after = self.stat(path)?;
        // No lease keeps writers out of a whole directory: who came meanwhile is found by looking.
        if after.same_content(expected) {
            Ok(after)
        } else {
            Err(FsError::Changed { path: path.clone() })
        }
    }

    fn writer_absent(&self, displaced: &RelPath) -> Result<bool, FsError> {
        if !self.enter(displaced)? {
            return self.databases.writer_absent(displaced);
        }
        for path in read::everything(self.inner.as_ref(), displaced)? {
            if !self.inner.writer_absent(&path)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Root for Bundled {
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
        if paths.len() > SYNC_EACH_MAX {
            // What belongs to them is synced with all else.
            return self.inner.sync(paths);
        }
        let mut all = Vec::with_capacity(paths.len());
        for path in paths {
            match self.parts(path) {
                Ok(parts) => all.extend(parts),
                // That what is a user's cannot be looked into is no failed sync, which would cast doubt
                // on all that was ever written: the next look finds it changed.
                Err(_) if !path.is_private() => all.push(path.clone()),
                Err(error) => return Err(error),
            }
        }
        self.inner.sync(&all)
    }

    fn free_space(&self) -> Result<FreeSpace, FsError> {
        self.inner.free_space()
    }

    fn folds_names(&self) -> bool {
        self.inner.folds_names()
    }

    fn boot_id(&self) -> Result<String, FsError> {
        self.inner.boot_id()
    }
}
