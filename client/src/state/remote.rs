//! The remote tree: what the server's journal says.

use super::{FolderState, StateError, row};
use client_core::tree::{ContentState, Position, RemoteNode};
use common::ids::{ContentTag, EntryId, Head};
use common::name::Name;
use common::record::{Kind, RegisterDigest, Root};
use common::revision::Revision;
use rusqlite::{Row, params};

/// A row of the remote tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteRow {
    /// What the planner sees of it.
    pub node: RemoteNode,
    /// Length in bytes.
    pub size: u64,
    /// Top of the file's bytes.
    pub root: Option<Root>,
    /// Target of a symlink.
    pub target: Option<Vec<u8>>,
    /// Hash of the place register as the server has it, for checkpoints.
    pub place_hash: Head,
    /// Hash of the content register as the server has it, for checkpoints.
    pub content_hash: Head,
    /// Why its place register cannot be read, if it cannot.
    pub place_issue: Option<String>,
    /// Why its content register cannot be read, if it cannot.
    pub content_issue: Option<String>,
    /// Why the planner does not see it, if it does not: one of the issues, or an ignore rule.
    pub broken: Option<String>,
}

/// Why the planner does not see a row whose path an ignore rule names.
pub const IGNORED: &str = "ignored";

const COLUMNS: &str = "entry, parent, name, kind, tag, mode, mtime_ns, size, root, level, target, \
                       place_revision, content_revision, deleted, place_hash, content_hash, \
                       broken, place_issue, content_issue";

fn read(row: &Row<'_>) -> rusqlite::Result<RemoteRow> {
    Ok(RemoteRow {
        node: RemoteNode {
            entry: row::entry(row, 0)?,
            position: Position { parent: row::entry(row, 1)?, name: row::name(row, 2)? },
            kind: row::kind(row, 3)?,
            content: ContentState {
                tag: row::tag(row, 4)?,
                mode: row.get(5)?,
                mtime_ns: row.get(6)?,
            },
            place_revision: row::unsigned(row, 11)?,
            content_revision: row::unsigned(row, 12)?,
            deleted: row.get(13)?,
        },
        size: row::unsigned(row, 7)?,
        root: row::root(row, 8)?,
        target: row.get(10)?,
        place_hash: row::head(row, 14)?,
        content_hash: row::head(row, 15)?,
        broken: row.get(16)?,
        place_issue: row.get(17)?,
        content_issue: row.get(18)?,
    })
}

impl RemoteRow {
    /// Why it cannot be materialised anywhere, if it cannot.
    #[must_use]
    pub fn issue(&self) -> Option<&String> {
        self.place_issue.as_ref().or(self.content_issue.as_ref())
    }

    /// The revision of its last change.
    #[must_use]
    pub fn newest(&self) -> Revision {
        self.node.place_revision.max(self.node.content_revision)
    }
}

impl FolderState {
    /// The remote row of an entry, tombstones included.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn remote_row(&self, entry: &EntryId) -> Result<Option<RemoteRow>, StateError> {
        self.remote.get(entry, || {
            let sql = format!("SELECT {COLUMNS} FROM remote WHERE entry = ?1");
            self.find(&sql, [row::blob(entry)], read)
        })
    }

    /// Forgets what a deleted entry held: the server has it no longer, so that no content of this disk
    /// is the same. Returns whether it was remembered.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn forget_content(&self, entry: &EntryId) -> Result<bool, StateError> {
        let nothing = ContentTag::from_bytes([0; ContentTag::LEN]);
        let row = self.remote_row(entry)?;
        let Some(mut row) = row.filter(|it| it.node.deleted && it.node.content.tag != nothing)
        else {
            return Ok(false);
        };
        row.node.content.tag = nothing;
        row.root = None;
        self.put_remote(&row)?;
        self.mark_dirty(entry)?;
        Ok(true)
    }

    /// The live remote row at a position. Where a hostile server put two, the one that a fixed
    /// order finds first.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn remote_row_at(&self, position: &Position) -> Result<Option<RemoteRow>, StateError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM remote WHERE parent = ?1 AND name = ?2 AND deleted = 0
             AND broken IS NULL ORDER BY entry LIMIT 1"
        );
        self.find(&sql, params![row::blob(&position.parent), position.name.as_str()], read)
    }

    /// The live remote rows along a path, from the top, as far as it leads.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn remote_rows_along(&self, names: &[Name]) -> Result<Vec<RemoteRow>, StateError> {
        let (mut rows, mut parent) = (Vec::new(), EntryId::ROOT);
        for name in names {
            let position = Position { parent, name: name.clone() };
            let Some(row) = self.remote_row_at(&position)? else { break };
            parent = row.node.entry;
            rows.push(row);
        }
        Ok(rows)
    }

    /// The entry of the row at a position.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn remote_entry_at(&self, position: &Position) -> Result<Option<EntryId>, StateError> {
        self.find(
            "SELECT entry FROM remote WHERE parent = ?1 AND name = ?2 AND deleted = 0
             AND broken IS NULL ORDER BY entry LIMIT 1",
            params![row::blob(&position.parent), position.name.as_str()],
            |found| row::entry(found, 0),
        )
    }

    /// How many live remote rows claim a position.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn remote_count_at(&self, position: &Position) -> Result<u64, StateError> {
        let sql = "SELECT count(*) FROM remote WHERE parent = ?1 AND name = ?2 AND deleted = 0";
        let values = params![row::blob(&position.parent), position.name.as_str()];
        Ok(self.find(sql, values, |row| row::unsigned(row, 0))?.unwrap_or(0))
    }

    /// The live remote rows in a directory, in ascending order of name.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn remote_rows_in(&self, parent: &EntryId) -> Result<Vec<RemoteRow>, StateError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM remote WHERE parent = ?1 AND deleted = 0 ORDER BY name, entry"
        );
        self.all(&sql, [row::blob(parent)], read)
    }

    /// Live remote rows after an entry, in ascending order of entry, at most `limit`.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn remote_rows_live(
        &self,
        after: Option<&EntryId>,
        limit: usize,
    ) -> Result<Vec<(EntryId, Box<RemoteRow>)>, StateError> {
        // In the order in which they lie: by their positions, each would be looked up. Every id comes
        // after nothing.
        let sql = format!(
            "SELECT {COLUMNS} FROM remote WHERE entry > ?1 AND +deleted = 0 ORDER BY entry LIMIT ?2"
        );
        let after = after.map_or(&[][..], row::blob);
        let boxed = |row: &Row<'_>| read(row).map(|row| (row.node.entry, Box::new(row)));
        self.all(&sql, params![after, row::signed(limit as u64)], boxed)
    }

    /// Entries and register hashes of all live remote rows, in ascending order of entry.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn remote_hashes(&self) -> Result<Vec<(EntryId, Head)>, StateError> {
        self.all(
            "SELECT entry, place_hash, content_hash FROM remote WHERE deleted = 0 ORDER BY entry",
            [],
            |row| {
                let (place, content) = (row::head(row, 1)?, row::head(row, 2)?);
                Ok((row::entry(row, 0)?, RegisterDigest::combine(&place, &content)))
            },
        )
    }

    /// Stores a remote row and marks its entry for planning.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn put_remote(&self, remote: &RemoteRow) -> Result<(), StateError> {
        self.remote.forget(&remote.node.entry);
        self.insert_remote("remote", remote)?;
        self.remote.keep(&remote.node.entry, Some(remote.clone()));
        self.mark_dirty(&remote.node.entry)
    }

    fn insert_remote(&self, table: &str, remote: &RemoteRow) -> Result<(), StateError> {
        let node = &remote.node;
        let sql = format!(
            "INSERT OR REPLACE INTO {table} (entry, parent, name, kind, tag, mode, mtime_ns, size,
                 root, level, target, place_revision, content_revision, deleted, place_hash, content_hash,
                 broken, place_issue, content_issue)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                 ?18, ?19)"
        );
        self.execute(
            &sql,
            params![
                row::blob(&node.entry),
                row::blob(&node.position.parent),
                node.position.name.as_str(),
                node.kind.code(),
                node.content.tag.as_bytes().as_slice(),
                node.content.mode,
                node.content.mtime_ns,
                row::signed(remote.size),
                remote.root.as_ref().map(|root| root.id.as_bytes().as_slice()),
                remote.root.map_or(0, |root| root.level),
                remote.target,
                row::signed(node.place_revision),
                row::signed(node.content_revision),
                node.deleted,
                remote.place_hash.as_bytes().as_slice(),
                remote.content_hash.as_bytes().as_slice(),
                remote.broken,
                remote.place_issue,
                remote.content_issue,
            ],
        )?;
        Ok(())
    }

    /// Removes a tombstone.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn remove_remote(&self, entry: &EntryId) -> Result<(), StateError> {
        self.remote.forget(entry);
        self.execute("DELETE FROM remote WHERE entry = ?1", [row::blob(entry)])?;
        Ok(())
    }

    /// Replaces the whole remote tree: rows that were put since [`Self::begin_shadow`] become the
    /// tree. To be called in the transaction that also moves the cursor.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn swap_shadow(&self) -> Result<(), StateError> {
        self.mark_all_dirty()?;
        self.remote.clear();
        self.execute("DELETE FROM remote", [])?;
        self.execute("INSERT INTO remote SELECT * FROM shadow", [])?;
        self.execute("DELETE FROM shadow", [])?;
        self.mark_all_dirty()
    }

    /// Begins to gather a new remote tree beside the present one.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn begin_shadow(&self) -> Result<(), StateError> {
        self.connection.execute_batch(
            "CREATE TEMP TABLE IF NOT EXISTS shadow AS SELECT * FROM remote LIMIT 0;
             CREATE UNIQUE INDEX IF NOT EXISTS temp.shadow_entry ON shadow (entry);
             DELETE FROM shadow;",
        )?;
        Ok(())
    }

    /// Puts a row into the shadow tree.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn put_shadow(&self, remote: &RemoteRow) -> Result<(), StateError> {
        self.insert_remote("shadow", remote)
    }

    /// The path of a remote entry from the root, `None` when its chain of parents is broken.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn remote_path(
        &self,
        entry: &EntryId,
    ) -> Result<Option<Vec<common::name::Name>>, StateError> {
        let mut names = Vec::new();
        let mut at = *entry;
        while at != EntryId::ROOT {
            if names.len() > common::limits::DEPTH_MAX {
                return Ok(None);
            }
            let Some(row) = self.remote_row(&at)? else { return Ok(None) };
            names.push(row.node.position.name);
            at = row.node.position.parent;
        }
        names.reverse();
        Ok(Some(names))
    }
}

/// The kinds as the queries above spell them out.
const _: () = assert!(Kind::File.code() == 2);
