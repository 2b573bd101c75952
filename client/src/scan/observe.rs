//! Looking at paths and directories, and recording what is there.
//!
//! Owns the walk. Rows that are not on disk any more are reported as *missing*, never removed here:
//! the engine removes them when nothing else is waiting to be looked at and a settle time has
//! passed, because the other half of a rename may still turn up.

use super::Target;
use super::converted::is_all_synced;
use super::identity::{Identity, identify};
use super::spelling::stat_spelled;
use super::unsynced::{Kept, UnsyncedError, holds_nothing_synced, kept_at, kept_no_more};
use crate::context::FolderContext;
use crate::fs::bundle::database::database_of;
use crate::fs::{self, FsError, Listing, RelPath, Stat};
use crate::state::{IssueSource, LocalRow, StateError};
use client_core::ignore::IgnoreRules;
use client_core::tree::Position;
use common::ids::EntryId;
use common::name::Name;
use common::record::Kind;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Times that a directory is listed anew because it changed meanwhile.
const UNSTEADY_MAX: u32 = 3;
/// What is listed of a directory that others have deleted, and that cannot go.
const KEPT: &str = "was deleted by another device; it stays here for what in it cannot be synced";
/// Entries that are recorded in one transaction.
const TRANSACTION_ENTRIES: usize = 2_000;

/// What was found instead of a folder's root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootLoss {
    /// A directory without a marker: that below a mount, or the root without its `.driftless`.
    #[error("its marker file .driftless/root is missing")]
    Unmarked,
    /// The root of another folder.
    #[error("its marker is that of another folder")]
    Foreign,
    /// Nothing that can be read; the text says why.
    #[error("{0}")]
    Unreadable(String),
}

/// A scan that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The root is not what it was: nothing may be concluded from it.
    #[error("the folder's root is not there: {reason}")]
    RootLost {
        /// What was found instead.
        reason: RootLoss,
    },
    /// The state could not be read or written.
    #[error(transparent)]
    State(#[from] StateError),
}

/// What a scan found besides the rows that it stored.
#[derive(Debug, Default)]
pub struct ScanReport {
    /// Rows whose path is not there any more.
    pub missing: BTreeSet<EntryId>,
    /// Rows that were missing or unknown and are there.
    pub found: BTreeSet<EntryId>,
    /// Targets that have to be looked at again soon: they changed while looked at.
    pub again: BTreeSet<Target>,
    /// Files that stand at another path now: something may come back to the old one.
    pub moved: BTreeSet<EntryId>,
    /// Bundles where directories stood, with nothing in them that the server has not.
    pub converted: BTreeSet<EntryId>,
    /// Entries looked at.
    pub looked_at: u64,
    /// Whether a file of rules may have changed.
    pub rules_touched: bool,
}

struct Directory {
    entry: EntryId,
    path: RelPath,
    deep: bool,
    tries: u32,
}

/// One pass over some targets.
pub struct Scanner<'a> {
    context: &'a FolderContext,
    ignore: &'a IgnoreRules,
    queue: VecDeque<Directory>,
    report: ScanReport,
    /// Whether what was renamed, and looks as it did otherwise, holds what it held.
    trusts_renames: bool,
    /// Entries of directories that targets of this pass lie in.
    parents: BTreeMap<RelPath, EntryId>,
    /// Where no directory stands any more that was kept: believed once the root is known to be there.
    unkept: BTreeSet<String>,
}

impl<'a> Scanner<'a> {
    /// A pass under these ignore rules.
    #[must_use]
    pub fn new(context: &'a FolderContext, ignore: &'a IgnoreRules) -> Self {
        let (queue, report, parents, unkept) = Default::default();
        Self { context, ignore, queue, report, trusts_renames: true, parents, unkept }
    }

    /// The same; a file that was renamed is hashed again. A disk that lost its power may have brought back
    /// a name and a time, and kept what was written since.
    #[must_use]
    pub fn trusting_no_rename(self) -> Self {
        Self { trusts_renames: false, ..self }
    }

    /// Looks at all targets; calls `progress` with the number of entries looked at so far.
    ///
    /// # Errors
    /// [`ScanError::RootLost`]: nothing was concluded. What was stored before is true all the same.
    pub fn run(
        mut self,
        targets: &BTreeSet<Target>,
        mut progress: impl FnMut(u64),
    ) -> Result<ScanReport, ScanError> {
        check_root(self.context)?;
        self.context.state.atomically(|_| {
            for target in targets {
                self.begin(target)?;
            }
            Ok::<_, ScanError>(())
        })?;
        while !self.queue.is_empty() {
            self.context.state.atomically(|_| {
                let until = self.report.looked_at + TRANSACTION_ENTRIES as u64;
                while self.report.looked_at < until {
                    let Some(directory) = self.queue.pop_front() else { break };
                    self.directory(directory)?;
                }
                Ok::<_, ScanError>(())
            })?;
            progress(self.report.looked_at);
        }
        check_root(self.context)?;
        self.context.state.atomically(|state| {
            self.unkept.iter().try_for_each(|path| state.remove_residue(path))
        })?;
        Ok(self.report)
    }

    fn begin(&mut self, target: &Target) -> Result<(), ScanError> {
        let (path, deep) = match target {
            Target::Path(path) => (path, false),
            Target::Subtree(path) => (path, true),
        };
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            self.enqueue(EntryId::ROOT, path.clone(), deep);
            return Ok(());
        };
        let Some(directory) = self.entry_of(&parent)? else {
            // The parent is new itself: look at it, and so at everything in it.
            return self.begin(&Target::Subtree(parent));
        };
        match stat_spelled(self.context.fs.as_ref(), path) {
            Ok(stat) => {
                if stat.kind != fs::Kind::Directory {
                    self.unkept.extend(kept_at(self.context, path)?);
                }
                let below = self.observe(directory, &parent, name.as_str().as_bytes(), &stat)?;
                if let Some(entry) = below {
                    self.enqueue(entry, path.clone(), deep);
                }
            }
            // Something else than a directory has taken the place of the one above.
            Err(error) if error.is_stale_view() && !error.is_not_found() => {
                return self.begin(&Target::Path(parent));
            }
            Err(error) if error.is_not_found() => {
                if !parent.is_root()
                    && self.context.fs.stat(&parent).is_err_and(|error| error.is_stale_view())
                {
                    return self.begin(&Target::Path(parent));
                }
                let position = Position { parent: directory, name: name.clone() };
                match self.context.state.local_row_at(&position)? {
                    Some(row) => self.missing(&row)?,
                    None => self.unkept.extend(kept_at(self.context, path)?),
                }
                self.context.state.clear_issue(&path.to_string(), IssueSource::Scan)?;
                // What happens to a database's log happens to the database.
                let database = database_of(name).and_then(|name| parent.join(&name).ok());
                if let Some(database) = database {
                    return self.begin(&Target::Path(database));
                }
            }
            Err(error) => self.unknown(path, &error)?,
        }
        Ok(())
    }

    fn enqueue(&mut self, entry: EntryId, path: RelPath, deep: bool) {
        self.queue.push_back(Directory { entry, path, deep, tries: 0 });
    }

    fn entry_of(&mut self, path: &RelPath) -> Result<Option<EntryId>, StateError> {
        if let Some(entry) = self.parents.get(path) {
            return Ok(Some(*entry));
        }
        let mut entry = EntryId::ROOT;
        for name in path.names() {
            let position = Position { parent: entry, name: name.clone() };
            match self.context.state.local_row_at(&position)? {
                Some(row) if row.kind == Kind::Directory => entry = row.entry,
                _ => return Ok(None),
            }
        }
        self.parents.insert(path.clone(), entry);
        Ok(Some(entry))
    }

    fn directory(&mut self, directory: Directory) -> Result<(), ScanError> {
        let text = directory.path.to_string();
        let listing = match self.context.fs.list(&directory.path) {
            Ok(listing) => listing,
            Err(error) if error.is_not_found() && !directory.path.is_root() => {
                if let Some(row) = self.context.state.local_row(&directory.entry)? {
                    self.missing(&row)?;
                }
                return Ok(());
            }
            Err(error) => return self.unknown(&directory.path, &error),
        };
        let inside = if directory.path.is_root() { "" } else { text.as_str() };
        self.context.state.clear_issues(Some(inside), IssueSource::Scan)?;
        self.context.state.clear_issue(&text, IssueSource::Scan)?;
        let names = self.entries(&directory, &listing)?;
        if listing.steady {
            self.absent(&directory, &names)?;
            let (entry, path) = (directory.entry, &directory.path);
            self.unkept.extend(kept_no_more(self.context, entry, path, &listing)?);
        } else if directory.tries < UNSTEADY_MAX {
            self.queue.push_back(Directory { tries: directory.tries + 1, ..directory });
        } else {
            self.report.again.insert(Target::Path(directory.path));
        }
        Ok(())
    }

    fn entries(
        &mut self,
        directory: &Directory,
        listing: &Listing,
    ) -> Result<BTreeSet<Vec<u8>>, ScanError> {
        // Names that are known come first: a path that still exists keeps its entry, and only then
        // may an unknown name be that entry moved.
        let mut known = BTreeSet::new();
        for row in self.context.state.local_rows_in(&directory.entry)? {
            known.insert(row.position.name.as_str().as_bytes().to_vec());
        }
        let mut names = BTreeSet::new();
        for pass in [true, false] {
            for listed in &listing.entries {
                if known.contains(&listed.name) != pass {
                    continue;
                }
                names.insert(listed.name.clone());
                let (path, stat) = (&directory.path, &listed.stat);
                let is_new = !pass;
                let below = self.observe(directory.entry, path, &listed.name, stat)?;
                let (Some(entry), Ok(name)) = (below, Name::from_bytes(&listed.name)) else {
                    continue;
                };
                if (directory.deep || is_new)
                    && let Ok(child) = path.join(&name)
                {
                    self.enqueue(entry, child, true);
                }
            }
        }
        Ok(names)
    }

    fn absent(
        &mut self,
        directory: &Directory,
        names: &BTreeSet<Vec<u8>>,
    ) -> Result<(), ScanError> {
        for row in self.context.state.local_rows_in(&directory.entry)? {
            if !names.contains(row.position.name.as_str().as_bytes()) {
                self.missing(&row)?;
            }
        }
        Ok(())
    }

    fn missing(&mut self, row: &LocalRow) -> Result<(), ScanError> {
        self.report.missing.insert(row.entry);
        if row.position.parent == EntryId::ROOT && row.position.name.is_rules_file() {
            self.report.rules_touched = true;
        }
        Ok(())
    }

    /// Records one thing on disk; returns its entry when it is a directory to walk into.
    fn observe(
        &mut self,
        parent: EntryId,
        directory: &RelPath,
        name: &[u8],
        stat: &Stat,
    ) -> Result<Option<EntryId>, ScanError> {
        self.report.looked_at += 1;
        let name = match Name::from_bytes(name) {
            Ok(name) => name,
            Err(error) => {
                let shown = format!("{directory}/{}", String::from_utf8_lossy(name));
                return self.issue(shown.trim_start_matches(['.', '/']), &error.to_string());
            }
        };
        let path = match directory.join(&name) {
            Ok(path) => path,
            Err(error) => {
                let shown = format!("{directory}/{name}");
                return self.issue(&shown, &error.to_string());
            }
        };
        let Some(kind) = entry_kind(stat) else {
            return self.issue(&path.to_string(), "a FIFO, device or socket is not synced");
        };
        if stat.device != self.context.fs.identity().device {
            return self.issue(&path.to_string(), "another filesystem is mounted here");
        }
        if self.ignore.is_ignored(path.names().iter().map(Name::as_str), stat.shows_directory()) {
            self.ignored(&Position { parent, name })?;
            return Ok(None);
        }
        if kind == Kind::Directory && self.is_kept(&path)? {
            return Ok(None);
        }
        if parent == EntryId::ROOT && name.is_rules_file() {
            self.report.rules_touched = true;
        }
        self.record(Position { parent, name }, &path, kind, stat)
    }

    /// Whether a directory is still one that others have deleted and that stays here unsynced.
    fn is_kept(&mut self, path: &RelPath) -> Result<bool, ScanError> {
        let (state, text) = (&self.context.state, path.to_string());
        if !state.is_residue(&text)? {
            return Ok(false);
        }
        match holds_nothing_synced(self.context, self.ignore, path) {
            Ok(Some(Kept::Unsyncable)) => drop(self.issue(&text, KEPT)?),
            Ok(Some(Kept::Nothing | Kept::Ignored)) => {
                state.clear_issue(&text, IssueSource::Scan)?;
            }
            Ok(None) => {
                state.remove_residue(&text)?;
                return Ok(false);
            }
            Err(UnsyncedError::Disk(error)) if error.is_stale_view() => {
                self.report.again.insert(Target::Path(path.clone()));
            }
            Err(UnsyncedError::Disk(error)) => self.unknown(path, &error)?,
            Err(UnsyncedError::State(error)) => return Err(error.into()),
        }
        Ok(true)
    }

    fn record(
        &mut self,
        position: Position,
        path: &RelPath,
        kind: Kind,
        stat: &Stat,
    ) -> Result<Option<EntryId>, ScanError> {
        let state = &self.context.state;
        let standing = state.local_row_at(&position)?;
        let directory = standing.as_ref().filter(|row| row.kind == Kind::Directory);
        let is_converted = match directory.filter(|_| stat.is_bundle()) {
            Some(row) => is_all_synced(self.context, &row.entry, path)?,
            None => false,
        };
        let (row, moved) = match standing {
            Some(row) if row.kind == kind => (row, false),
            other => {
                if let Some(row) = other {
                    // Another kind of thing took the path: what was here is gone, at once, because
                    // one path cannot hold two rows.
                    remove_subtree(self.context, &row.entry)?;
                }
                match identify(self.context, &position, kind, stat)? {
                    Identity::Moved(row) => {
                        if kind == Kind::File {
                            self.report.moved.insert(row.entry);
                        }
                        (LocalRow { position, ..*row }, true)
                    }
                    Identity::Returned { row, fresh } => {
                        state.rename_local(&row.entry, &fresh)?;
                        (LocalRow { position, tag: None, racy: false, ..*row }, false)
                    }
                    Identity::Back(entry) | Identity::New(entry) => (
                        LocalRow {
                            entry,
                            position,
                            kind,
                            stat: *stat,
                            tag: None,
                            root: None,
                            target: None,
                            racy: false,
                        },
                        false,
                    ),
                }
            }
        };
        let entry = row.entry;
        self.report.found.insert(entry);
        if is_converted {
            self.report.converted.insert(entry);
        }
        let seen = self.refreshed(row, path, stat, moved)?;
        if let Some(seen) = seen
            && state.local_row(&entry)?.as_ref() != Some(&seen)
        {
            state.put_local(&seen)?;
        }
        Ok((kind == Kind::Directory).then_some(entry))
    }

    /// The row as it looks now: content is kept when nothing speaks of a change, read when that is
    /// cheap, and dropped for `transfer` to hash otherwise.
    fn refreshed(
        &mut self,
        mut row: LocalRow,
        path: &RelPath,
        stat: &Stat,
        moved: bool,
    ) -> Result<Option<LocalRow>, ScanError> {
        let before = row.stat;
        row.stat = *stat;
        match row.kind {
            Kind::Directory => row.tag = Some(self.context.keys.directory_tag()),
            Kind::Symlink => match self.context.fs.read_link(path) {
                Ok(target) => {
                    row.tag = Some(self.context.keys.symlink_tag(&target));
                    row.target = Some(target);
                }
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) => {
                    self.unknown(path, &error)?;
                    return Ok(None);
                }
            },
            Kind::File => {
                // A chmod changes the ctime alone, but so does a write that resets the mtime, which
                // is why a changed ctime means hashing again. A rename always changes it.
                let is_renamed = moved && self.trusts_renames;
                let unchanged =
                    before.same_content(stat) && (is_renamed || before.ctime_ns == stat.ctime_ns);
                if !unchanged {
                    row.tag = None;
                    row.racy = false;
                }
            }
        }
        Ok(Some(row))
    }

    /// A path that is ignored now: it is neither deleted nor synced any more (rule 8).
    fn ignored(&mut self, position: &Position) -> Result<(), ScanError> {
        if let Some(row) = self.context.state.local_row_at(position)? {
            drop_ignored(self.context, &row.entry)?;
        }
        Ok(())
    }

    fn unknown(&mut self, path: &RelPath, error: &FsError) -> Result<(), ScanError> {
        if error.is_retryable() {
            self.report.again.insert(Target::Subtree(path.clone()));
        }
        self.issue(&path.to_string(), &format!("cannot be read: {error}"))?;
        Ok(())
    }

    fn issue(&self, path: &str, reason: &str) -> Result<Option<EntryId>, ScanError> {
        self.context.state.put_issue(path, IssueSource::Scan, reason)?;
        Ok(None)
    }
}

fn entry_kind(stat: &Stat) -> Option<Kind> {
    match stat.kind {
        fs::Kind::File => Some(Kind::File),
        fs::Kind::Directory => Some(Kind::Directory),
        fs::Kind::Symlink => Some(Kind::Symlink),
        fs::Kind::Other => None,
    }
}

/// Checks that the root is the one that was set up: its marker is there and says so.
///
/// # Errors
/// [`ScanError::RootLost`].
pub fn check_root(context: &FolderContext) -> Result<(), ScanError> {
    let reason = match context.fs.read_marker() {
        Ok(Some(marker)) if marker == context.marker => return Ok(()),
        Ok(Some(_)) => RootLoss::Foreign,
        Ok(None) => RootLoss::Unmarked,
        Err(error) => RootLoss::Unreadable(error.to_string()),
    };
    Err(ScanError::RootLost { reason })
}

/// Removes a local row and everything below it: gone from disk.
///
/// # Errors
/// [`StateError`].
pub fn remove_subtree(context: &FolderContext, entry: &EntryId) -> Result<(), StateError> {
    for child in context.state.local_rows_in(entry)? {
        remove_subtree(context, &child.entry)?;
    }
    context.state.remove_local(entry)
}

fn drop_ignored(context: &FolderContext, entry: &EntryId) -> Result<(), StateError> {
    for child in context.state.local_rows_in(entry)? {
        drop_ignored(context, &child.entry)?;
    }
    context.state.remove_local(entry)?;
    context.state.remove_synced(entry)
}
