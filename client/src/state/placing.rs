//! What is being put in place: noted before it is, so that a crash, or a look that fails, leaves nothing to
//! guess.
//!
//! Owns where that is stored. It must not look at the disk.

use super::{FolderState, StateError, row};
use crate::fs::{self, Stat};
use client_core::tree::ContentState;
use common::ids::EntryId;
use common::name::Name;
use common::record::Kind;
use rusqlite::{Row, params};

/// Something staged that takes its place in the tree, or is about to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placing {
    /// Its name in staging.
    pub staged: Name,
    /// Whose content it is.
    pub entry: EntryId,
    /// How it looked when it was finished; of this, what [`Stat::same_content`] compares.
    pub stat: Stat,
    /// The server's content that it is.
    pub content: ContentState,
    /// The revision that set this content; 0 when nothing can be concluded from it any more.
    pub content_revision: u64,
}

const COLUMNS: &str = "staged, entry, inode, device, birth_ns, kind, size, mtime_ns, tag, mode, \
                       content_mtime_ns, content_revision";

fn read(row: &Row<'_>) -> rusqlite::Result<Placing> {
    let mode = row.get(9)?;
    Ok(Placing {
        staged: row::name(row, 0)?,
        entry: row::entry(row, 1)?,
        stat: Stat {
            kind: match row::kind(row, 5)? {
                Kind::Symlink => fs::Kind::Symlink,
                _ => fs::Kind::File,
            },
            size: row::unsigned(row, 6)?,
            mtime_ns: row.get(7)?,
            ctime_ns: 0,
            inode: row::bits(row, 2)?,
            device: row::bits(row, 3)?,
            mode,
            nlink: 1,
            birth_ns: row.get(4)?,
        },
        content: ContentState { tag: row::tag(row, 8)?, mode, mtime_ns: row.get(10)? },
        content_revision: row::unsigned(row, 11)?,
    })
}

impl FolderState {
    /// Notes what is about to be put in place.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn put_placing(&self, placing: &Placing) -> Result<(), StateError> {
        let Placing { staged, entry, stat, content, content_revision } = placing;
        let kind = match stat.kind {
            fs::Kind::Symlink => Kind::Symlink,
            _ => Kind::File,
        };
        self.execute(
            "INSERT OR REPLACE INTO placing (staged, entry, inode, device, birth_ns, kind, size, mtime_ns,
                 tag, mode, content_mtime_ns, content_revision)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                staged.as_str(),
                row::blob(entry),
                stat.inode.cast_signed(),
                stat.device.cast_signed(),
                stat.birth_ns,
                kind.code(),
                row::signed(stat.size),
                stat.mtime_ns,
                content.tag.as_bytes().as_slice(),
                content.mode,
                content.mtime_ns,
                row::signed(*content_revision),
            ],
        )?;
        Ok(())
    }

    /// All that was noted and not forgotten, by name.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn placings(&self) -> Result<Vec<Placing>, StateError> {
        self.all(&format!("SELECT {COLUMNS} FROM placing ORDER BY staged"), [], read)
    }

    /// Concludes nothing any more from what was set after revision `shared`: the server has forgotten it.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn doubt_placings(&self, shared: u64) -> Result<(), StateError> {
        let sql = "UPDATE placing SET content_revision = 0 WHERE content_revision > ?1";
        self.execute(sql, [row::signed(shared)])?;
        Ok(())
    }

    /// Forgets one: what it means is recorded, or nothing of it is left.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn forget_placing(&self, staged: &Name) -> Result<(), StateError> {
        self.execute("DELETE FROM placing WHERE staged = ?1", [staged.as_str()])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::ContentTag;

    #[test]
    fn what_is_being_put_in_place_is_known_until_it_is_forgotten() {
        let state = FolderState::open_in_memory().unwrap();
        let placing = |text: &str, kind, mode, content_revision| Placing {
            staged: Name::new(text).unwrap(),
            entry: EntryId::from_bytes([7; 16]),
            stat: Stat {
                kind,
                size: 5,
                mtime_ns: -3,
                ctime_ns: 0,
                inode: u64::MAX,
                device: 1 << 63,
                mode,
                nlink: 1,
                birth_ns: (mode == 0o600).then_some(9),
            },
            content: ContentState { tag: ContentTag::from_bytes([1; 32]), mode, mtime_ns: -4 },
            content_revision,
        };
        let file = placing("b", fs::Kind::File, 0o600, 12);
        let link = placing("a", fs::Kind::Symlink, 0o777, 13);
        state.put_placing(&file).unwrap();
        state.put_placing(&link).unwrap();
        assert_eq!(state.placings().unwrap(), [link.clone(), file.clone()]);
        state.doubt_placings(12).unwrap();
        let doubted = Placing { content_revision: 0, ..link };
        assert_eq!(state.placings().unwrap(), [doubted, file.clone()]);
        state.forget_placing(&file.staged).unwrap();
        assert_eq!(state.placings().unwrap().len(), 1);
    }
}
