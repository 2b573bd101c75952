//! What garbage collection asks of the index: the trash, surveys, and what segments are still worth.
//!
//! Owns their SQL. It must not decide what is garbage: each change says on which conditions it is
//! made, and they are looked at in its own transaction.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Index, IndexError, IndexReader, Location, Totals, VERSION, find, number, set_totals};
use crate::chunk_store::ChunkKey;
use crate::chunk_store::reclaim::{Reclaimed, Surveyed, TrashStamp};
use crate::chunk_store::record::HEADER_BYTES;
use common::ids::{ChunkId, FolderId};

/// Points chunks to their copies, where they still lie at the first place.
pub(super) fn relocate(
    transaction: &Connection,
    moved: &[(ChunkKey, Location, Location)],
) -> Result<(), IndexError> {
    let mut relocate = transaction.prepare_cached(
        "UPDATE chunks SET segment = ?3, position = ?4
         WHERE folder = ?1 AND id = ?2 AND segment = ?5 AND position = ?6",
    )?;
    for (key, from, to) in moved {
        relocate.execute(params![
            key.folder.as_bytes(),
            key.id.as_bytes(),
            to.segment,
            to.position as i64,
            from.segment,
            from.position as i64
        ])?;
    }
    Ok(())
}

/// Takes chunks out of the trash.
pub(super) fn untrash<'a>(
    transaction: &Connection,
    keys: impl Iterator<Item = &'a ChunkKey>,
) -> Result<(), IndexError> {
    let mut untrash =
        transaction.prepare_cached("DELETE FROM trash WHERE folder = ?1 AND id = ?2")?;
    for key in keys {
        untrash.execute(params![key.folder.as_bytes(), key.id.as_bytes()])?;
    }
    Ok(())
}

fn trash_of(
    connection: &Connection,
    key: &ChunkKey,
    stamp_floor: u64,
) -> Result<Option<TrashStamp>, IndexError> {
    let mut statement = connection
        .prepare_cached("SELECT since_ms, generation FROM trash WHERE folder = ?1 AND id = ?2")?;
    let found = statement.query_row(params![key.folder.as_bytes(), key.id.as_bytes()], |row| {
        Ok(TrashStamp { since_ms: number(row, 0)?, generation: number(row, 1)? })
    });
    Ok(found.optional()?.filter(|trash| trash.generation > stamp_floor))
}

impl Index {
    /// Puts chunks into the trash that are stored, not in it yet, and stamped before `stamped_before`.
    pub(in crate::chunk_store) fn trash(
        &mut self,
        keys: &[ChunkKey],
        trash: TrashStamp,
        stamped_before: u64,
    ) -> Result<Reclaimed, IndexError> {
        let mut done = Reclaimed::default();
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO trash (folder, id, since_ms, generation) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (folder, id) DO UPDATE SET since_ms = excluded.since_ms,
                    generation = excluded.generation WHERE trash.generation <= ?5",
            )?;
            for key in keys {
                let Some(entry) = find(&transaction, key, self.stamp_floor)? else { continue };
                if entry.generation >= stamped_before {
                    continue;
                }
                let inserted = insert.execute(params![
                    key.folder.as_bytes(),
                    key.id.as_bytes(),
                    trash.since_ms as i64,
                    trash.generation as i64,
                    self.stamp_floor as i64
                ])?;
                if inserted > 0 {
                    done.add(entry.location.length);
                }
            }
        }
        transaction.commit()?;
        self.has_trash |= done.chunks > 0;
        self.write_back()?;
        Ok(done)
    }

    /// Takes chunks out of the trash, without a new stamp.
    pub(in crate::chunk_store) fn untrash(
        &mut self,
        keys: &[ChunkKey],
    ) -> Result<Reclaimed, IndexError> {
        let mut done = Reclaimed::default();
        if !self.has_trash {
            return Ok(done);
        }
        let transaction = self.connection.transaction()?;
        for key in keys {
            if trash_of(&transaction, key, self.stamp_floor)?.is_some()
                && let Some(entry) = find(&transaction, key, 0)?
            {
                done.add(entry.location.length);
            }
        }
        untrash(&transaction, keys.iter())?;
        transaction.commit()?;
        self.write_back()?;
        Ok(done)
    }

    /// Forgets chunks that are in the trash since a generation before `trashed_before` and a time
    /// not after `since_ms_max`, and are stamped before `stamped_before`. Says which.
    pub(in crate::chunk_store) fn purge(
        &mut self,
        keys: &[ChunkKey],
        (trashed_before, since_ms_max): (u64, u64),
        stamped_before: u64,
    ) -> Result<(Vec<ChunkKey>, Reclaimed, Totals), IndexError> {
        let mut totals = self.totals()?;
        let (mut purged, mut done) = (Vec::new(), Reclaimed::default());
        let transaction = self.connection.transaction()?;
        {
            let mut forget =
                transaction.prepare_cached("DELETE FROM chunks WHERE folder = ?1 AND id = ?2")?;
            for key in keys {
                let Some(trash) = trash_of(&transaction, key, self.stamp_floor)? else { continue };
                let Some(entry) = find(&transaction, key, self.stamp_floor)? else { continue };
                let is_due = trash.generation < trashed_before && trash.since_ms <= since_ms_max;
                if !is_due || entry.generation >= stamped_before {
                    continue;
                }
                forget.execute(params![key.folder.as_bytes(), key.id.as_bytes()])?;
                totals.chunks = totals.chunks.saturating_sub(1);
                totals.bytes = totals.bytes.saturating_sub(u64::from(entry.location.length));
                done.add(entry.location.length);
                purged.push(*key);
            }
        }
        untrash(&transaction, purged.iter())?;
        set_totals(&transaction, &totals)?;
        transaction.commit()?;
        self.write_back()?;
        Ok((purged, done, totals))
    }

    /// Makes everything so far durable: what comes next on the disk relies on it.
    pub(super) fn sync(&mut self) -> Result<(), IndexError> {
        self.connection.pragma_update(None, "synchronous", "full")?;
        // A commit syncs the log, and with it all commits before; but only one that writes a page,
        // which an UPDATE to what is there already does not.
        let synced = self.connection.pragma_update(None, "user_version", VERSION);
        self.connection.pragma_update(None, "synchronous", "normal")?;
        synced?;
        Ok(())
    }

    /// Forgets segments, which no chunk lies in any more, durably with everything before.
    pub(in crate::chunk_store) fn forget_empty_segments(
        &mut self,
        segments: &[u32],
    ) -> Result<(), IndexError> {
        for segment in segments {
            self.connection.execute("DELETE FROM segments WHERE number = ?1", params![segment])?;
        }
        self.sync()
    }
}

impl IndexReader {
    /// Chunks after one in order of key, at most `limit`, with their stamps and their trash.
    pub(in crate::chunk_store) fn survey(
        &self,
        after: Option<&ChunkKey>,
        limit: usize,
    ) -> Result<Vec<Surveyed>, IndexError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT c.folder, c.id, c.length, c.generation, t.since_ms, t.generation
             FROM chunks c LEFT JOIN trash t
                ON t.folder = c.folder AND t.id = c.id AND t.generation > ?4
             WHERE (c.folder, c.id) > (?1, ?2) ORDER BY c.folder, c.id LIMIT ?3",
        )?;
        let (folder, id) = match after {
            Some(key) => (key.folder.as_bytes().to_vec(), key.id.as_bytes().to_vec()),
            None => (Vec::new(), Vec::new()),
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let floor = self.stamp_floor as i64;
        let rows =
            statement.query_map(params![folder, id, limit, floor], |row| self.surveyed(row))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn surveyed(&self, row: &Row<'_>) -> rusqlite::Result<Surveyed> {
        let key = ChunkKey {
            folder: FolderId::from_bytes(row.get(0)?),
            id: ChunkId::from_bytes(row.get(1)?),
        };
        let since: Option<i64> = row.get(4)?;
        let trash = match since {
            Some(_) => Some(TrashStamp { since_ms: number(row, 4)?, generation: number(row, 5)? }),
            None => None,
        };
        let generation = number(row, 3)?.max(self.stamp_floor);
        Ok(Surveyed { key, length: row.get(2)?, generation, trash })
    }

    /// What is still wanted of each segment that anything is wanted of: chunks and their bytes with
    /// headers. Costs a pass over the index.
    pub(in crate::chunk_store) fn segment_uses(
        &self,
    ) -> Result<BTreeMap<u32, (u64, u64)>, IndexError> {
        let mut statement = self.connection.prepare_cached("SELECT segment, length FROM chunks")?;
        let mut rows = statement.query([])?;
        let mut uses: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let (chunks, bytes) = uses.entry(row.get(0)?).or_default();
            *chunks += 1;
            *bytes += HEADER_BYTES as u64 + number(row, 1)?;
        }
        Ok(uses)
    }
}
