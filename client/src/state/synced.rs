//! The synced tree: the merge base.

use super::{FolderState, StateError, row};
use client_core::tree::{ContentState, Position, SyncedNode};
use common::ids::EntryId;
use rusqlite::{Row, params};

const COLUMNS: &str =
    "entry, parent, name, kind, tag, mode, mtime_ns, place_revision, content_revision, held";

fn read(row: &Row<'_>) -> rusqlite::Result<SyncedNode> {
    Ok(SyncedNode {
        entry: row::entry(row, 0)?,
        position: Position { parent: row::entry(row, 1)?, name: row::name(row, 2)? },
        kind: row::kind(row, 3)?,
        content: ContentState { tag: row::tag(row, 4)?, mode: row.get(5)?, mtime_ns: row.get(6)? },
        place_revision: row::unsigned(row, 7)?,
        content_revision: row::unsigned(row, 8)?,
        held: row.get(9)?,
    })
}

impl FolderState {
    /// The synced node of an entry.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn synced_node(&self, entry: &EntryId) -> Result<Option<SyncedNode>, StateError> {
        self.synced.get(entry, || {
            let sql = format!("SELECT {COLUMNS} FROM synced WHERE entry = ?1");
            self.find(&sql, [row::blob(entry)], read)
        })
    }

    /// The synced nodes at a position, in ascending order of entry: mostly none or one.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn synced_nodes_at(&self, position: &Position) -> Result<Vec<SyncedNode>, StateError> {
        let sql =
            format!("SELECT {COLUMNS} FROM synced WHERE parent = ?1 AND name = ?2 ORDER BY entry");
        self.all(&sql, params![row::blob(&position.parent), position.name.as_str()], read)
    }

    /// The synced nodes in a directory, in ascending order of name.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn synced_nodes_in(&self, parent: &EntryId) -> Result<Vec<SyncedNode>, StateError> {
        let sql = format!("SELECT {COLUMNS} FROM synced WHERE parent = ?1 ORDER BY name, entry");
        self.all(&sql, [row::blob(parent)], read)
    }

    /// Stores a synced node and marks its entry for planning.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn put_synced(&self, node: &SyncedNode) -> Result<(), StateError> {
        self.synced.forget(&node.entry);
        self.execute(
            "INSERT OR REPLACE INTO synced (entry, parent, name, kind, tag, mode, mtime_ns,
                 place_revision, content_revision, held)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                row::blob(&node.entry),
                row::blob(&node.position.parent),
                node.position.name.as_str(),
                node.kind.code(),
                node.content.tag.as_bytes().as_slice(),
                node.content.mode,
                node.content.mtime_ns,
                row::signed(node.place_revision),
                row::signed(node.content_revision),
                node.held,
            ],
        )?;
        self.synced.keep(&node.entry, Some(node.clone()));
        self.mark_dirty(&node.entry)
    }

    /// Removes a synced node and marks its entry for planning.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn remove_synced(&self, entry: &EntryId) -> Result<(), StateError> {
        self.synced.forget(entry);
        self.execute("DELETE FROM synced WHERE entry = ?1", [row::blob(entry)])?;
        self.mark_dirty(entry)
    }

    /// Entries of all synced nodes, in ascending order.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn synced_entries(&self) -> Result<Vec<EntryId>, StateError> {
        self.all("SELECT entry FROM synced ORDER BY entry", [], |row| row::entry(row, 0))
    }

    /// Counts no synced node as materialised here any more: what is at the server and what is on
    /// disk are compared without a merge base.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn release_synced(&self) -> Result<(), StateError> {
        self.synced.clear();
        self.execute("UPDATE synced SET held = 0", [])?;
        self.doubt_placings(0)
    }

    /// How many synced nodes are held.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn held_count(&self) -> Result<u64, StateError> {
        self.count("SELECT count(*) FROM synced WHERE held != 0")
    }
}
