//! Folders, epochs, checkpoints and the garbage collection's generation.
//!
//! Owns their statements. It must not know the rules.

use super::{SqliteStore, int, size, uint};
use common::ids::{DeviceId, FolderId, Head, UserId};
use common::revision::Revision;
use rusqlite::{Row, params};
use server_core::metadata::{EpochStart, FolderReads, FolderState, FolderWrites, Stored};

const FOLDER: &str = "SELECT f.id, u.id, f.genesis, f.epoch, f.revision, f.head, f.time_ms
    FROM folders f JOIN users u ON u.number = f.user";

fn folder_row(row: &Row<'_>) -> rusqlite::Result<(FolderId, FolderState)> {
    let state = FolderState {
        user: UserId::from_bytes(row.get(1)?),
        genesis: row.get(2)?,
        epoch: uint(row, 3)?,
        revision: uint(row, 4)?,
        head: Head::from_bytes(row.get(5)?),
        time_ms: uint(row, 6)?,
    };
    Ok((FolderId::from_bytes(row.get(0)?), state))
}

impl FolderReads for SqliteStore {
    fn folder(&self, folder: &FolderId) -> Stored<Option<FolderState>> {
        let sql = format!("{FOLDER} WHERE f.id = ?1");
        Ok(self.one(&sql, [folder.as_bytes()], folder_row)?.map(|(_, state)| state))
    }

    fn folders(
        &self,
        user: &UserId,
        after: Option<&FolderId>,
        limit: usize,
    ) -> Stored<Vec<(FolderId, FolderState)>> {
        let Some(number) = self.user_number(user)? else { return Ok(Vec::new()) };
        let after = after.map(|folder| folder.as_bytes().to_vec()).unwrap_or_default();
        let sql = format!("{FOLDER} WHERE f.user = ?1 AND f.id > ?2 ORDER BY f.id LIMIT ?3");
        self.all(&sql, params![number, after, size(limit)], folder_row)
    }

    fn all_folders(&self) -> Stored<Vec<FolderId>> {
        let sql = "SELECT id FROM folders ORDER BY id";
        self.all(sql, [], |row| Ok(FolderId::from_bytes(row.get(0)?)))
    }

    fn positions(&self, folder: &FolderId) -> Stored<Vec<(DeviceId, Revision)>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(Vec::new()) };
        let sql = "SELECT device, revision FROM positions WHERE folder = ?1 ORDER BY device";
        self.all(sql, [number], |row| Ok((DeviceId::from_bytes(row.get(0)?), uint(row, 1)?)))
    }

    fn lineage(&self, folder: &FolderId) -> Stored<Vec<EpochStart>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(Vec::new()) };
        let sql = "SELECT epoch, revision, head FROM epochs WHERE folder = ?1 ORDER BY epoch";
        self.all(sql, [number], |row| {
            Ok(EpochStart {
                epoch: uint(row, 0)?,
                revision: uint(row, 1)?,
                head: Head::from_bytes(row.get(2)?),
            })
        })
    }

    fn checkpoint(&self, folder: &FolderId) -> Stored<Option<(Revision, Vec<u8>)>> {
        let sql = "SELECT checkpoint_revision, checkpoint FROM folders
            WHERE id = ?1 AND checkpoint IS NOT NULL";
        self.one(sql, [folder.as_bytes()], |row| Ok((uint(row, 0)?, row.get(1)?)))
    }

    fn generation(&self) -> Stored<u64> {
        let sql = "SELECT value FROM service WHERE name = 'generation'";
        Ok(self.one(sql, [], |row| uint(row, 0))?.unwrap_or(0))
    }
}

impl FolderWrites for SqliteStore {
    fn insert_folder(&mut self, folder: &FolderId, state: &FolderState) -> Stored<()> {
        let user = self.user_row(&state.user)?;
        let sql = "INSERT INTO folders (id, user, genesis, epoch, revision, head, time_ms)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        self.run(
            sql,
            params![
                folder.as_bytes(),
                user,
                state.genesis,
                int(state.epoch),
                int(state.revision),
                state.head.as_bytes(),
                int(state.time_ms)
            ],
        )
    }

    fn advance_folder(&mut self, folder: &FolderId, state: &FolderState) -> Stored<()> {
        let number = self.folder_row(folder)?;
        let sql = "UPDATE folders SET epoch = ?2, revision = ?3, head = ?4, time_ms = ?5
            WHERE number = ?1";
        self.run(
            sql,
            params![
                number,
                int(state.epoch),
                int(state.revision),
                state.head.as_bytes(),
                int(state.time_ms)
            ],
        )
    }

    fn insert_epoch(&mut self, folder: &FolderId, start: &EpochStart) -> Stored<()> {
        let number = self.folder_row(folder)?;
        let sql = "INSERT INTO epochs (folder, epoch, revision, head) VALUES (?1, ?2, ?3, ?4)";
        let (epoch, revision) = (int(start.epoch), int(start.revision));
        self.run(sql, params![number, epoch, revision, start.head.as_bytes()])
    }

    fn put_position(&mut self, folder: &FolderId, device: &DeviceId, at: Revision) -> Stored<()> {
        let number = self.folder_row(folder)?;
        let sql = "INSERT OR REPLACE INTO positions (folder, device, revision) VALUES (?1, ?2, ?3)";
        self.run(sql, params![number, device.as_bytes(), int(at)])
    }

    fn put_checkpoint(&mut self, folder: &FolderId, at: Revision, bytes: &[u8]) -> Stored<()> {
        let number = self.folder_row(folder)?;
        let sql = "UPDATE folders SET checkpoint_revision = ?2, checkpoint = ?3
            WHERE number = ?1";
        self.run(sql, params![number, int(at), bytes])
    }

    fn set_generation(&mut self, generation: u64) -> Stored<()> {
        self.run("UPDATE service SET value = ?1 WHERE name = 'generation'", [int(generation)])
    }
}
