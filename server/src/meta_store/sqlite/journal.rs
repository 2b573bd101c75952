//! Journals: marks and bodies.
//!
//! Owns their statements. It must not know the rules.

use super::{SqliteStore, failed, int, uint};
use common::ids::{DeviceId, FolderId, Head, Signature};
use common::record::{JournalEntry, SignedGroup};
use common::revision::Revision;
use rusqlite::{Row, params};
use server_core::metadata::{JournalMark, JournalReads, JournalRow, JournalWrites, Stored};

fn journal_row(row: &Row<'_>) -> rusqlite::Result<JournalRow> {
    let group = SignedGroup { body: row.get(4)?, signature: Signature::from_bytes(row.get(3)?) };
    let entry = JournalEntry { revision: uint(row, 0)?, time_ms: uint(row, 2)?, group };
    Ok(JournalRow { epoch: uint(row, 1)?, entry })
}

impl JournalReads for SqliteStore {
    fn mark(&self, folder: &FolderId, at: Revision) -> Stored<Option<JournalMark>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(None) };
        let sql = "SELECT epoch, time_ms, device, head FROM marks
            WHERE folder = ?1 AND revision = ?2";
        self.one(sql, params![number, int(at)], |row| {
            Ok(JournalMark {
                epoch: uint(row, 0)?,
                time_ms: uint(row, 1)?,
                device: DeviceId::from_bytes(row.get(2)?),
                head: Head::from_bytes(row.get(3)?),
            })
        })
    }

    fn journal(
        &self,
        folder: &FolderId,
        after: Revision,
        limit: usize,
        bytes_soft: usize,
    ) -> Stored<Vec<JournalRow>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(Vec::new()) };
        let sql = "SELECT m.revision, m.epoch, m.time_ms, b.signature, b.body
            FROM marks m JOIN bodies b ON b.folder = m.folder AND b.revision = m.revision
            WHERE m.folder = ?1 AND m.revision > ?2 ORDER BY m.revision";
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let mut found = statement.query(params![number, int(after)]).map_err(failed)?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        // Read one by one: bodies are large, and no more are wanted once `bytes_soft` is reached.
        while rows.len() < limit && (bytes < bytes_soft || rows.is_empty()) {
            let Some(row) = found.next().map_err(failed)? else { break };
            let row = journal_row(row).map_err(failed)?;
            bytes += row.entry.group.body.len();
            rows.push(row);
        }
        Ok(rows)
    }
}

impl JournalWrites for SqliteStore {
    fn append_group(
        &mut self,
        folder: &FolderId,
        revision: Revision,
        mark: &JournalMark,
        group: &SignedGroup,
    ) -> Stored<()> {
        let number = self.folder_row(folder)?;
        let sql = "INSERT INTO marks (folder, revision, epoch, time_ms, device, head)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        self.run(
            sql,
            params![
                number,
                int(revision),
                int(mark.epoch),
                int(mark.time_ms),
                mark.device.as_bytes(),
                mark.head.as_bytes()
            ],
        )?;
        let sql = "INSERT INTO bodies (folder, revision, signature, body)
            VALUES (?1, ?2, ?3, ?4)";
        self.run(sql, params![number, int(revision), group.signature.as_bytes(), group.body])
    }
}
