//! The local tree: what the scanner observed.

use super::{FolderState, StateError, row};
use crate::fs::{self, Stat};
use client_core::tree::{ContentState, LocalNode, Position};
use common::ids::{ContentTag, EntryId};
use common::name::Name;
use common::record::{Kind, Root};
use rusqlite::{Row, params};

/// A row of the local tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalRow {
    /// Which entry this is taken to be.
    pub entry: EntryId,
    /// Where it is.
    pub position: Position,
    /// What it is.
    pub kind: Kind,
    /// How it looked when last observed.
    pub stat: Stat,
    /// What it holds; `None` until hashed since it last changed.
    pub tag: Option<ContentTag>,
    /// Top of its sealed bytes, when they are known to be sealed.
    pub root: Option<Root>,
    /// Target of a symlink.
    pub target: Option<Vec<u8>>,
    /// Hashed so soon after it was written that a later write could carry the same times.
    pub racy: bool,
}

impl LocalRow {
    /// What the planner compares, once hashed.
    #[must_use]
    pub fn content(&self) -> Option<ContentState> {
        self.tag.map(|tag| ContentState {
            tag,
            mode: if self.kind == Kind::Symlink { 0o777 } else { self.stat.mode },
            mtime_ns: if self.kind == Kind::Directory { 0 } else { self.stat.mtime_ns },
        })
    }

    /// The planner's view of it. What was hashed too soon is not known yet: a write during the
    /// reading could have carried the same times, and no file ever held what was read (S9).
    #[must_use]
    pub fn node(&self) -> LocalNode {
        LocalNode {
            entry: self.entry,
            position: self.position.clone(),
            kind: self.kind,
            content: self.content().filter(|_| !self.racy),
        }
    }
}

const COLUMNS: &str = "entry, parent, name, kind, size, mtime_ns, ctime_ns, inode, device, \
                       birth_ns, mode, links, tag, root, level, target, racy";

fn read(row: &Row<'_>) -> rusqlite::Result<LocalRow> {
    let kind = row::kind(row, 3)?;
    Ok(LocalRow {
        entry: row::entry(row, 0)?,
        position: Position { parent: row::entry(row, 1)?, name: row::name(row, 2)? },
        kind,
        stat: Stat {
            kind: match kind {
                Kind::Directory => fs::Kind::Directory,
                Kind::File => fs::Kind::File,
                Kind::Symlink => fs::Kind::Symlink,
            },
            size: row::unsigned(row, 4)?,
            mtime_ns: row.get(5)?,
            ctime_ns: row.get(6)?,
            inode: row::bits(row, 7)?,
            device: row::bits(row, 8)?,
            birth_ns: row.get(9)?,
            mode: row.get(10)?,
            nlink: row::unsigned(row, 11)?,
        },
        tag: row::optional_tag(row, 12)?,
        root: row::root(row, 13)?,
        target: row.get(15)?,
        racy: row.get(16)?,
    })
}

impl FolderState {
    /// Rows whose directory has no row: nothing on disk stands for them any more.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn local_orphans(&self) -> Result<Vec<EntryId>, StateError> {
        self.all(
            "SELECT entry FROM local WHERE parent NOT IN (?1, ?2)
             AND parent NOT IN (SELECT entry FROM local) ORDER BY entry",
            params![row::blob(&EntryId::ROOT), row::blob(&client_core::tree::PARKED)],
            |found| row::entry(found, 0),
        )
    }

    /// The local row of an entry.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn local_row(&self, entry: &EntryId) -> Result<Option<LocalRow>, StateError> {
        self.local.get(entry, || {
            let sql = format!("SELECT {COLUMNS} FROM local WHERE entry = ?1");
            self.find(&sql, [row::blob(entry)], read)
        })
    }

    /// The local row at a position.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn local_row_at(&self, position: &Position) -> Result<Option<LocalRow>, StateError> {
        let sql = format!("SELECT {COLUMNS} FROM local WHERE parent = ?1 AND name = ?2");
        self.find(&sql, params![row::blob(&position.parent), position.name.as_str()], read)
    }

    /// The local entry at a position.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn local_entry_at(&self, position: &Position) -> Result<Option<EntryId>, StateError> {
        self.find(
            "SELECT entry FROM local WHERE parent = ?1 AND name = ?2",
            params![row::blob(&position.parent), position.name.as_str()],
            |found| row::entry(found, 0),
        )
    }

    /// The local rows in a directory, in ascending order of name.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn local_rows_in(&self, parent: &EntryId) -> Result<Vec<LocalRow>, StateError> {
        let sql = format!("SELECT {COLUMNS} FROM local WHERE parent = ?1 ORDER BY name");
        self.all(&sql, [row::blob(parent)], read)
    }

    /// The local rows with an inode number.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn local_rows_of_inode(
        &self,
        inode: u64,
        device: u64,
    ) -> Result<Vec<LocalRow>, StateError> {
        let sql = format!("SELECT {COLUMNS} FROM local WHERE inode = ?1 AND device = ?2");
        self.all(&sql, [inode.cast_signed(), device.cast_signed()], read)
    }

    /// At most `limit` files that have to be hashed.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn local_unhashed(&self, limit: usize) -> Result<Vec<LocalRow>, StateError> {
        let sql = format!("SELECT {COLUMNS} FROM local WHERE tag IS NULL ORDER BY entry LIMIT ?1");
        self.all(&sql, [i64::try_from(limit).unwrap_or(i64::MAX)], read)
    }

    /// Files that were hashed too soon after they were written.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn local_racy(&self) -> Result<Vec<LocalRow>, StateError> {
        self.all(&format!("SELECT {COLUMNS} FROM local WHERE racy != 0 ORDER BY entry"), [], read)
    }

    /// Has every file hashed anew.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn forget_local_contents(&self) -> Result<(), StateError> {
        self.local.clear();
        self.execute("UPDATE local SET tag = NULL, racy = 0 WHERE kind = 2", [])?;
        Ok(())
    }

    /// Stores a local row and marks its entry for planning.
    ///
    /// # Errors
    /// [`StateError`]; two rows at one position are an error.
    pub fn put_local(&self, local: &LocalRow) -> Result<(), StateError> {
        // Compared, for indexes are written anew for every column that a statement names.
        let before = self.local_row(&local.entry)?;
        self.local.forget(&local.entry);
        if before.is_some_and(|before| stands_still(&before, local)) {
            self.update_local(local)?;
        } else {
            self.insert_local(local)?;
        }
        self.local.keep(&local.entry, Some(local.clone()));
        self.mark_dirty(&local.entry)
    }

    /// Writes what a file that stays where it is can change: the indexes of the rest are let alone.
    fn update_local(&self, local: &LocalRow) -> Result<(), StateError> {
        let stat = &local.stat;
        let changed = self.execute(
            "UPDATE local SET size = ?2, mtime_ns = ?3, ctime_ns = ?4, birth_ns = ?5, mode = ?6,
                 links = ?7, tag = ?8, root = ?9, level = ?10, target = ?11, racy = ?12
             WHERE entry = ?1",
            params![
                row::blob(&local.entry),
                row::signed(stat.size),
                stat.mtime_ns,
                stat.ctime_ns,
                stat.birth_ns,
                stat.mode,
                row::signed(stat.nlink),
                local.tag.as_ref().map(|tag| tag.as_bytes().as_slice()),
                local.root.as_ref().map(|root| root.id.as_bytes().as_slice()),
                local.root.map_or(0, |root| root.level),
                local.target,
                local.racy,
            ],
        )?;
        if changed == 1 { Ok(()) } else { Err(StateError::Corrupt { what: "local row" }) }
    }

    fn insert_local(&self, local: &LocalRow) -> Result<(), StateError> {
        let stat = &local.stat;
        self.execute(
            "INSERT INTO local (entry, parent, name, kind, size, mtime_ns, ctime_ns, inode, device,
                 birth_ns, mode, links, tag, root, level, target, racy)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
             ON CONFLICT (entry) DO UPDATE SET parent = ?2, name = ?3, kind = ?4, size = ?5,
                 mtime_ns = ?6, ctime_ns = ?7, inode = ?8, device = ?9, birth_ns = ?10, mode = ?11,
                 links = ?12, tag = ?13, root = ?14, level = ?15, target = ?16, racy = ?17",
            params![
                row::blob(&local.entry),
                row::blob(&local.position.parent),
                local.position.name.as_str(),
                local.kind.code(),
                row::signed(stat.size),
                stat.mtime_ns,
                stat.ctime_ns,
                stat.inode.cast_signed(),
                stat.device.cast_signed(),
                stat.birth_ns,
                stat.mode,
                row::signed(stat.nlink),
                local.tag.as_ref().map(|tag| tag.as_bytes().as_slice()),
                local.root.as_ref().map(|root| root.id.as_bytes().as_slice()),
                local.root.map_or(0, |root| root.level),
                local.target,
                local.racy,
            ],
        )?;
        Ok(())
    }

    /// Removes a local row, not those below it, and marks its entry for planning.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn remove_local(&self, entry: &EntryId) -> Result<(), StateError> {
        self.local.forget(entry);
        self.execute("DELETE FROM local WHERE entry = ?1", [row::blob(entry)])?;
        self.forget_locations(entry)?;
        self.mark_dirty(entry)
    }

    /// Gives a local row another id, with its children and locations; both ids become dirty.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn rename_local(&self, old: &EntryId, new: &EntryId) -> Result<(), StateError> {
        // Every child's row names its parent.
        self.local.clear();
        let both = params![row::blob(old), row::blob(new)];
        self.execute("UPDATE local SET entry = ?2 WHERE entry = ?1", both)?;
        self.execute("UPDATE local SET parent = ?2 WHERE parent = ?1", both)?;
        self.execute("UPDATE location SET entry = ?2 WHERE entry = ?1", both)?;
        for child in self.local_rows_in(new)? {
            self.mark_dirty(&child.entry)?;
        }
        self.mark_dirty(old)?;
        self.mark_dirty(new)
    }

    /// The path of a local entry from the root, `None` when its chain of parents is broken or
    /// leads aside.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn local_path(&self, entry: &EntryId) -> Result<Option<Vec<Name>>, StateError> {
        let mut names = Vec::new();
        let mut at = *entry;
        while at != EntryId::ROOT {
            if names.len() > common::limits::DEPTH_MAX {
                return Ok(None);
            }
            let Some(row) = self.local_row(&at)? else { return Ok(None) };
            names.push(row.position.name);
            at = row.position.parent;
        }
        names.reverse();
        Ok(Some(names))
    }

    /// How many local rows there are.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn local_count(&self) -> Result<u64, StateError> {
        self.count("SELECT count(*) FROM local")
    }

    /// Bytes of all local files.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn local_bytes(&self) -> Result<u64, StateError> {
        self.count("SELECT coalesce(sum(size), 0) FROM local WHERE kind = 2")
    }
}

/// Whether a row keeps its place, its kind and its inode.
fn stands_still(before: &LocalRow, after: &LocalRow) -> bool {
    before.position == after.position
        && before.kind == after.kind
        && before.stat.same_inode(&after.stat)
}

#[cfg(test)]
mod tests {
    use super::*;
    use client_core::tree::View;
    use common::ids::ContentTag;
    use common::name::Name;

    /// A write during the reading can carry the time of the write before it; what was read then was
    /// never in the file, and must not be pushed (S9).
    #[test]
    fn s9_what_was_hashed_too_soon_is_not_known_to_the_planner() {
        let stat = Stat {
            kind: fs::Kind::File,
            size: 1,
            mtime_ns: 1,
            ctime_ns: 1,
            inode: 1,
            device: 1,
            mode: 0o644,
            nlink: 1,
            birth_ns: None,
        };
        let entry = EntryId::from_bytes([1; 16]);
        let name = Name::new("f").unwrap();
        let position = Position { parent: EntryId::ROOT, name };
        let (kind, tag) = (Kind::File, Some(ContentTag::from_bytes([2; 32])));
        let state = FolderState::open_in_memory().unwrap();
        for racy in [true, false] {
            let (position, target) = (position.clone(), None);
            let row = LocalRow { entry, position, kind, stat, tag, root: None, target, racy };
            state.put_local(&row).unwrap();
            let content = state.view().local(&entry).unwrap().content;
            assert_eq!(content.is_some(), !racy);
        }
    }
}
