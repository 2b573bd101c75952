//! Outcomes of requests and the windows in which they are kept.
//!
//! Owns their statements. It must not know the rules.

use super::{SqliteStore, int, out_of_range, uint};
use common::ids::{DeviceId, EntryId, FolderId, Head, RequestId};
use common::wire::meta::RejectionCode;
use rusqlite::{Row, params};
use server_core::metadata::{
    GroupOutcome, KeptOutcome, Rejection, RequestReads, RequestWindow, RequestWrites, Stored,
};

fn outcome_row(row: &Row<'_>) -> rusqlite::Result<KeptOutcome> {
    let digest = Head::from_bytes(row.get(0)?);
    let revision = uint(row, 1)?;
    let Some(code) = row.get::<_, Option<i32>>(4)? else {
        let outcome =
            GroupOutcome::Accepted { revision, time_ms: uint(row, 2)?, epoch: uint(row, 3)? };
        return Ok(KeptOutcome { digest, outcome });
    };
    let code = RejectionCode::try_from(code).map_err(|_| out_of_range(4, i64::from(code)))?;
    let rejection = Rejection {
        code,
        change: row.get(5)?,
        entry: row.get::<_, Option<[u8; 16]>>(6)?.map(EntryId::from_bytes),
        message: row.get(7)?,
        revision,
    };
    Ok(KeptOutcome { digest, outcome: GroupOutcome::Rejected(rejection) })
}

fn window_row(row: &Row<'_>) -> rusqlite::Result<(u64, RequestWindow)> {
    let incarnation: i64 = row.get(0)?;
    let window =
        RequestWindow { order: uint(row, 1)?, highest: uint(row, 2)?, closed: row.get(3)? };
    Ok((incarnation.cast_unsigned(), window))
}

impl RequestReads for SqliteStore {
    fn outcome(
        &self,
        folder: &FolderId,
        device: &DeviceId,
        request: &RequestId,
    ) -> Stored<Option<KeptOutcome>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(None) };
        let sql = "SELECT digest, revision, time_ms, epoch, code, change, entry, message
            FROM outcomes
            WHERE folder = ?1 AND device = ?2 AND incarnation = ?3 AND counter = ?4";
        let incarnation = request.incarnation.cast_signed();
        let counter = int(request.counter);
        self.one(sql, params![number, device.as_bytes(), incarnation, counter], outcome_row)
    }

    fn window(
        &self,
        folder: &FolderId,
        device: &DeviceId,
        incarnation: u64,
    ) -> Stored<Option<RequestWindow>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(None) };
        let sql = "SELECT incarnation, first_seen, highest, closed FROM windows
            WHERE folder = ?1 AND device = ?2 AND incarnation = ?3";
        let key = params![number, device.as_bytes(), incarnation.cast_signed()];
        Ok(self.one(sql, key, window_row)?.map(|(_, window)| window))
    }

    fn windows(&self, folder: &FolderId, device: &DeviceId) -> Stored<Vec<(u64, RequestWindow)>> {
        let Some(number) = self.folder_number(folder)? else { return Ok(Vec::new()) };
        let sql = "SELECT incarnation, first_seen, highest, closed FROM windows
            WHERE folder = ?1 AND device = ?2 ORDER BY first_seen";
        self.all(sql, params![number, device.as_bytes()], window_row)
    }
}

impl RequestWrites for SqliteStore {
    fn put_outcome(
        &mut self,
        folder: &FolderId,
        device: &DeviceId,
        request: &RequestId,
        kept: &KeptOutcome,
    ) -> Stored<()> {
        let number = self.folder_row(folder)?;
        let (incarnation, counter) = (request.incarnation.cast_signed(), int(request.counter));
        let (device, digest) = (device.as_bytes(), kept.digest.as_bytes());
        match &kept.outcome {
            GroupOutcome::Accepted { revision, time_ms, epoch } => {
                let sql = "INSERT OR REPLACE INTO outcomes
                    (folder, device, incarnation, counter, digest, revision, time_ms, epoch)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
                let (revision, time, epoch) = (int(*revision), int(*time_ms), int(*epoch));
                let key =
                    params![number, device, incarnation, counter, digest, revision, time, epoch];
                self.run(sql, key)
            }
            GroupOutcome::Rejected(rejection) => {
                let sql = "INSERT OR REPLACE INTO outcomes
                    (folder, device, incarnation, counter, digest, revision, code, change, entry,
                    message) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
                self.run(
                    sql,
                    params![
                        number,
                        device,
                        incarnation,
                        counter,
                        digest,
                        int(rejection.revision),
                        rejection.code as i32,
                        rejection.change,
                        rejection.entry.as_ref().map(EntryId::as_bytes),
                        rejection.message
                    ],
                )
            }
        }
    }

    fn put_window(
        &mut self,
        folder: &FolderId,
        device: &DeviceId,
        incarnation: u64,
        window: &RequestWindow,
    ) -> Stored<()> {
        let number = self.folder_row(folder)?;
        let sql = "INSERT OR REPLACE INTO windows
            (folder, device, incarnation, first_seen, highest, closed)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let (order, highest) = (int(window.order), int(window.highest));
        let incarnation = incarnation.cast_signed();
        let device = device.as_bytes();
        self.run(sql, params![number, device, incarnation, order, highest, window.closed])
    }

    fn drop_outcomes(
        &mut self,
        folder: &FolderId,
        device: &DeviceId,
        incarnation: u64,
        up_to: u64,
    ) -> Stored<()> {
        let number = self.folder_row(folder)?;
        let sql = "DELETE FROM outcomes
            WHERE folder = ?1 AND device = ?2 AND incarnation = ?3 AND counter <= ?4";
        let key = params![number, device.as_bytes(), incarnation.cast_signed(), int(up_to)];
        self.run(sql, key)
    }
}
