//! One step on disk: swap in, move, delete, make a directory, set attributes.
//!
//! Owns S6 and rule 5: the target's identity is what the local tree says, before and after; what
//! turns out to be something else is put back.

use super::displaced;
use super::parked::{parked_name, parked_path};
use super::run::{ApplyError, Applying, Record, synced_of};
use crate::fs::{Area, FsError, RelPath, Stat};
use crate::scan::{Target, UnsyncedError, holds_nothing_synced, unsynced_at};
use crate::state::{LocalRow, RemoteRow, StateError};
use crate::transfer::Built;
use client_core::planner::Destination;
use client_core::tree::{ContentState, PARKED, Position, SyncedNode};
use common::ids::EntryId;
use common::record::Kind;

/// A file or symlink to be swapped in.
pub(super) struct Placing {
    pub(super) remote: RemoteRow,
    /// Where.
    pub(super) at: Position,
    pub(super) path: RelPath,
    /// What may be replaced; `None` when the place is free.
    pub(super) replaces: Option<LocalRow>,
}

/// How a swap ended.
pub(super) enum Outcome {
    /// It is in place.
    Done,
    /// The path was not as planned; nothing of the user's was changed.
    Changed(RelPath),
}

impl Applying<'_> {
    /// Looks once more whether a file can be created or replaced as planned.
    pub(super) fn placing(
        &mut self,
        entry: &EntryId,
        at: Option<&Position>,
        seen: Option<&ContentState>,
    ) -> Result<Option<Placing>, StateError> {
        let Some(remote) = self.remote(entry)? else { return Ok(None) };
        // It may have moved on at the server since the plan was made.
        if at.is_some_and(|at| *at != remote.node.position) {
            return Ok(None);
        }
        let replaces = match seen {
            None => None,
            Some(seen) => match self.context.state.local_row(entry)? {
                Some(row) if row.content() == Some(*seen) => Some(row),
                _ => return Ok(None),
            },
        };
        let at = at.cloned().or_else(|| replaces.as_ref().map(|row| row.position.clone()));
        let Some(at) = at else { return Ok(None) };
        let Some(path) = self.path_of(&at)? else { return Ok(None) };
        if replaces.is_none() && self.is_obstructed(entry, &path)? {
            return Ok(None);
        }
        Ok(Some(Placing { remote, at, path, replaces }))
    }

    /// A symlink in staging, like a built file.
    pub(super) fn stage_symlink(&mut self, placing: &Placing) -> Result<Option<Built>, ApplyError> {
        let node = &placing.remote.node;
        let path = RelPath::inside(Area::Staging, self.context.fresh_name());
        let target = placing.remote.target.as_deref().unwrap_or_default();
        self.context.fs.make_symlink(&path, target, node.content.mtime_ns)?;
        let stat = self.context.fs.stat(&path)?;
        Ok(Some(Built { entry: node.entry, path, stat, chunks: Vec::new() }))
    }

    /// Swaps a staged file in.
    pub(super) fn place(&mut self, placing: Placing, built: Built) -> Result<Outcome, ApplyError> {
        let swapped = match &placing.replaces {
            None => self.create(&placing, &built),
            Some(row) => self.exchange(&placing, row, &built),
        };
        match swapped {
            Ok(true) => {}
            Ok(false) => {
                self.discard(&built.path)?;
                return Ok(Outcome::Changed(placing.path));
            }
            Err(error) if error.is_stale_view() => {
                self.discard(&built.path)?;
                return Ok(Outcome::Changed(placing.path));
            }
            Err(error) if error.ends_a_batch() => {
                return Err(error.into());
            }
            Err(error) => {
                self.discard(&built.path)?;
                self.fail(&placing.remote.node.entry, &error.to_string())?;
                return Ok(Outcome::Changed(placing.path));
            }
        }
        match self.context.fs.stat(&placing.path) {
            Ok(stat) if stat.same_content(&built.stat) => {
                self.held(placing, stat, built);
                Ok(Outcome::Done)
            }
            // Somebody was faster: what is there now was made over ours, and is an edit of it.
            Ok(_) => Ok(self.overtaken(&placing, &built)),
            // It is somewhere else by now, or cannot be seen.
            Err(_) => Ok(Outcome::Changed(placing.path)),
        }
    }

    /// Whether something stands at a path that no scan will ever list: then looking again is no
    /// answer, and the entry is listed as an issue.
    fn is_obstructed(&mut self, entry: &EntryId, path: &RelPath) -> Result<bool, StateError> {
        let Some(reason) = unsynced_at(self.context, self.ignore, path)? else { return Ok(false) };
        self.fail(entry, reason)?;
        Ok(true)
    }

    fn overtaken(&mut self, placing: &Placing, built: &Built) -> Outcome {
        let synced = self.synced_after(placing);
        self.touched.push(placing.path.clone());
        let (path, staged) = (placing.path.clone(), built.path.name().cloned());
        self.records.push(Record::Overtaken { path, synced, staged });
        Outcome::Changed(placing.path.clone())
    }

    /// The merge base once the server's version is in place.
    fn synced_after(&self, placing: &Placing) -> SyncedNode {
        let Placing { remote, at, replaces, .. } = placing;
        let content = remote.node.content;
        if replaces.is_some()
            && let Ok(Some(node)) = self.context.state.synced_node(&remote.node.entry)
        {
            // A replacement says nothing of the place.
            let content_revision = remote.node.content_revision;
            return SyncedNode { content, content_revision, held: true, ..node };
        }
        synced_of(remote, at.clone(), content)
    }

    fn held(&mut self, placing: Placing, stat: Stat, built: Built) {
        let synced = self.synced_after(&placing);
        let Placing { remote, at, path, .. } = placing;
        let local = LocalRow {
            entry: remote.node.entry,
            position: at,
            kind: remote.node.kind,
            stat,
            tag: Some(remote.node.content.tag),
            root: remote.root,
            target: remote.target,
            racy: false,
        };
        self.touched.push(path.clone());
        let staged = built.path.is_private().then(|| built.path.name().cloned()).flatten();
        self.records.push(Record::Held { path, local, synced, chunks: built.chunks, staged });
    }

    fn create(&self, placing: &Placing, built: &Built) -> Result<bool, FsError> {
        self.context.fs.rename_noreplace(&built.path, &placing.path)?;
        Ok(true)
    }

    fn exchange(&self, placing: &Placing, row: &LocalRow, built: &Built) -> Result<bool, FsError> {
        let row = displaced::settle(self.context, &placing.path, row.clone())?;
        displaced::replace(self.context, &built.path, &built.stat, &placing.path, &row)
    }

    /// Removes what was staged and did not come to its place. It is forgotten before: what half a removal
    /// leaves is nobody's.
    fn discard(&self, staged: &RelPath) -> Result<(), ApplyError> {
        if let Some(name) = staged.name() {
            self.context.state.forget_placing(name)?;
        }
        match self.context.fs.remove(staged) {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Moves a local entry to where the server has it, or aside.
    pub(super) fn relocate(
        &mut self,
        entry: &EntryId,
        from: &Position,
        to: &Destination,
    ) -> Result<(), ApplyError> {
        let Some(row) = self.context.state.local_row(entry)? else { return Ok(()) };
        if row.position != *from {
            return Ok(());
        }
        let Some(old) = self.standing(&row)? else { return Ok(()) };
        let position = match to {
            Destination::Position(position) => position.clone(),
            Destination::Parked => Position { parent: PARKED, name: parked_name(entry) },
        };
        let new = match to {
            Destination::Position(position) => match self.path_of(position)? {
                Some(path) if self.is_obstructed(entry, &path)? => return Ok(()),
                Some(path) => path,
                None => return Ok(()),
            },
            Destination::Parked => parked_path(&row),
        };
        let fs = &self.context.fs;
        let moved = displaced::settle(self.context, &old, row).and_then(|row| {
            if !fs.stat(&old)?.same_inode(&row.stat) {
                return Ok(None);
            }
            fs.rename_noreplace(&old, &new)?;
            let stat = fs.stat(&new)?;
            Ok(stat.same_inode(&row.stat).then_some((row, stat)))
        });
        match moved {
            Ok(Some((row, stat))) => self.moved(row, position, stat, [old, new])?,
            Ok(None) => self.look_again([old, new]),
            Err(error) if error.is_stale_view() => self.look_again([old, new]),
            Err(error) if error.ends_a_batch() => {
                return Err(error.into());
            }
            Err(error) => self.fail(entry, &error.to_string())?,
        }
        Ok(())
    }

    fn moved(
        &mut self,
        row: LocalRow,
        position: Position,
        stat: Stat,
        paths: [RelPath; 2],
    ) -> Result<(), StateError> {
        let remote = self.remote(&row.entry)?;
        let synced = match (self.context.state.synced_node(&row.entry)?, remote) {
            (Some(mut node), Some(remote)) if remote.node.position == position => {
                node.position = position.clone();
                node.place_revision = remote.node.place_revision;
                Some(node)
            }
            _ => None,
        };
        // A write between the last look and the rename shows in size or mtime: hash it then.
        let tag = row.tag.filter(|_| stat.same_content(&row.stat) || row.kind == Kind::Directory);
        let local = LocalRow { position, stat, tag, ..row };
        self.touched.extend(paths);
        self.records.push(Record::Moved { local, synced });
        self.applied.done += 1;
        Ok(())
    }

    pub(super) fn look_again(&mut self, paths: impl IntoIterator<Item = RelPath>) {
        let in_tree = paths.into_iter().filter(|path| !path.is_private());
        self.applied.again.extend(in_tree.map(Target::Path));
    }

    /// The path at which a row stands, in the tree or aside.
    fn standing(&self, row: &LocalRow) -> Result<Option<RelPath>, StateError> {
        if row.position.parent == PARKED {
            return Ok(Some(parked_path(row)));
        }
        self.path_of(&row.position)
    }

    /// Deletes a local entry that is still what the plan saw.
    pub(super) fn delete(
        &mut self,
        entry: &EntryId,
        at: &Position,
        seen: Option<&ContentState>,
    ) -> Result<(), ApplyError> {
        let Some(row) = self.context.state.local_row(entry)? else { return Ok(()) };
        if self.remote(entry)?.is_some() {
            // It came back at the server since the plan was made.
            return Ok(());
        }
        if row.position != *at || (row.kind != Kind::Directory && row.content().as_ref() != seen) {
            return Ok(());
        }
        let Some(path) = self.standing(&row)? else { return Ok(()) };
        let removed = match row.kind {
            Kind::Directory => match self.delete_directory(&path) {
                Ok(removed) => Ok(removed),
                Err(UnsyncedError::Disk(error)) => Err(error),
                Err(UnsyncedError::State(error)) => return Err(error.into()),
            },
            Kind::File | Kind::Symlink => self.delete_file(&path, &row).map(|gone| (gone, None)),
        };
        match removed {
            Ok((true, residue)) => {
                self.touched.push(path);
                self.records.push(Record::Gone { entry: *entry, residue });
                self.applied.done += 1;
            }
            Ok((false, _)) => self.look_again([path]),
            Err(error) if error.is_not_found() => {
                self.touched.push(path);
                self.records.push(Record::Gone { entry: *entry, residue: None });
            }
            Err(FsError::NotEmpty { .. }) => match self.context.fs.list(&path) {
                // What is in it cannot be seen: looking again at once would show no more.
                Err(error) if !error.is_stale_view() => self.fail(entry, &error.to_string())?,
                _ => drop(self.applied.again.insert(Target::Subtree(path))),
            },
            Err(error) if error.is_stale_view() => self.look_again([path]),
            Err(error) if error.ends_a_batch() => {
                return Err(error.into());
            }
            Err(error) => self.fail(entry, &error.to_string())?,
        }
        Ok(())
    }

    fn delete_directory(&self, path: &RelPath) -> Result<(bool, Option<String>), UnsyncedError> {
        match self.context.fs.remove_directory(path) {
            Ok(()) => Ok((true, None)),
            Err(FsError::NotEmpty { .. })
                if holds_nothing_synced(self.context, self.ignore, path)?.is_some() =>
            {
                Ok((true, Some(path.to_string())))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn delete_file(&self, path: &RelPath, row: &LocalRow) -> Result<bool, FsError> {
        let fs = &self.context.fs;
        let row = &displaced::settle(self.context, path, row.clone())?;
        if !fs.stat(path)?.same_content(&row.stat) {
            return Ok(false);
        }
        let aside = displaced::path(self.context, row);
        fs.rename_noreplace(path, &aside)?;
        if !fs.stat(&aside)?.same_content(&row.stat) {
            displaced::put_back(self.context, &aside, path)?;
            return Ok(false);
        }
        displaced::review_soon(self.context, &aside);
        Ok(true)
    }

    /// Makes a directory.
    pub(super) fn directory(&mut self, entry: &EntryId, at: &Position) -> Result<(), ApplyError> {
        let Some(remote) = self.remote(entry)?.filter(|row| row.node.position == *at) else {
            return Ok(());
        };
        let Some(path) = self.path_of(at)? else { return Ok(()) };
        // A directory that was kept for what is ignored becomes the entry.
        self.context.state.remove_residue(&path.to_string())?;
        if self.is_obstructed(entry, &path)? {
            return Ok(());
        }
        let made = self
            .context
            .fs
            .make_directory(&path, remote.node.content.mode)
            .and_then(|()| self.context.fs.stat(&path));
        match made {
            Ok(stat) => {
                let placing = Placing { remote, at: at.clone(), path, replaces: None };
                let chunks = Vec::new();
                let built = Built { entry: *entry, path: placing.path.clone(), stat, chunks };
                self.held(placing, stat, built);
                self.applied.done += 1;
                // Children of the same plan need their parent in the local tree.
                Ok(())
            }
            Err(error) if error.is_stale_view() => {
                self.look_again([path]);
                Ok(())
            }
            Err(error) if error.ends_a_batch() => Err(error.into()),
            Err(error) => Ok(self.fail(entry, &error.to_string())?),
        }
    }

    /// Sets mode and mtime of an entry whose bytes are right already.
    pub(super) fn set_attributes(
        &mut self,
        entry: &EntryId,
        seen: &ContentState,
    ) -> Result<(), ApplyError> {
        let Some(remote) = self.remote(entry)? else { return Ok(()) };
        let Some(row) = self.context.state.local_row(entry)? else { return Ok(()) };
        if row.content() != Some(*seen) || seen.tag != remote.node.content.tag {
            return Ok(());
        }
        let Some(path) = self.standing(&row)? else { return Ok(()) };
        let content = remote.node.content;
        let mode = (row.kind != Kind::Symlink).then_some(content.mode);
        let mtime_ns = (row.kind != Kind::Directory).then_some(content.mtime_ns);
        let set = displaced::settle(self.context, &path, row).and_then(|row| {
            let stat = self.context.fs.set_attributes(&path, &row.stat, mode, mtime_ns)?;
            Ok((row, stat))
        });
        match set {
            Ok((row, stat)) => {
                let at = row.position.clone();
                let chunks = Vec::new();
                let locations_stay = row.clone();
                let placing = Placing { remote, at, path: path.clone(), replaces: Some(row) };
                let built = Built { entry: *entry, path, stat, chunks };
                self.held(placing, stat, built);
                self.keep_locations(&locations_stay);
                self.applied.done += 1;
            }
            Err(error) if error.is_stale_view() => self.look_again([path]),
            Err(error) if error.ends_a_batch() => {
                return Err(error.into());
            }
            Err(error) => self.fail(entry, &error.to_string())?,
        }
        Ok(())
    }

    /// Attributes alone changed: where the chunks lie stays as it was.
    fn keep_locations(&mut self, row: &LocalRow) {
        if let Some(Record::Held { local, synced, .. }) = self.records.pop() {
            let local = LocalRow { root: row.root, ..local };
            self.records.push(Record::Moved { local, synced: Some(synced) });
        }
    }
}
