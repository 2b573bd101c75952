//! Users, devices, keyrings and invitations.
//!
//! Owns their statements. It must not know the rules.

use super::{SqliteStore, failed, int, size, uint};
use common::ids::{DeviceId, Head, LookupId, UserId};
use rusqlite::{Row, params};
use server_core::metadata::{
    DeviceState, InvitationState, Quota, Stored, Usage, UserReads, UserState, UserWrites,
};

const DEVICE: &str = "SELECT d.device, u.id, d.position, d.revoked, d.seen_ms, d.revoked_ms
    FROM devices d JOIN users u ON u.number = d.user";

fn device_row(row: &Row<'_>) -> rusqlite::Result<(DeviceId, DeviceState)> {
    let seen_ms: Option<i64> = row.get(4)?;
    let revoked_ms: Option<i64> = row.get(5)?;
    let state = DeviceState {
        user: UserId::from_bytes(row.get(1)?),
        position: uint(row, 2)?,
        revoked: row.get(3)?,
        revoked_ms: revoked_ms.map(|_| uint(row, 5)).transpose()?,
        seen_ms: seen_ms.map(|_| uint(row, 4)).transpose()?,
    };
    Ok((DeviceId::from_bytes(row.get(0)?), state))
}

fn user_row(row: &Row<'_>) -> rusqlite::Result<UserState> {
    Ok(UserState {
        created_ms: uint(row, 0)?,
        log_len: uint(row, 1)?,
        log_head: Head::from_bytes(row.get(2)?),
        keyring_version: uint(row, 3)?,
        quota: Quota {
            bytes_max: uint(row, 4)?,
            entries_max: uint(row, 5)?,
            objects_max: uint(row, 6)?,
            versions_max: uint(row, 7)?,
        },
        usage: Usage {
            bytes: uint(row, 8)?,
            entries: uint(row, 9)?,
            objects: uint(row, 10)?,
            versions: uint(row, 11)?,
        },
    })
}

fn invited_user(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<UserId>> {
    Ok(row.get::<_, Option<[u8; 32]>>(column)?.map(UserId::from_bytes))
}

impl UserReads for SqliteStore {
    fn user(&self, user: &UserId) -> Stored<Option<UserState>> {
        let sql = "SELECT created_ms, log_len, log_head, keyring_version, bytes_max, entries_max,
            objects_max, versions_max, bytes, entries, objects, versions
            FROM users WHERE id = ?1";
        self.one(sql, [user.as_bytes()], user_row)
    }

    fn device(&self, device: &DeviceId) -> Stored<Option<DeviceState>> {
        let sql = format!("{DEVICE} WHERE d.device = ?1");
        Ok(self.one(&sql, [device.as_bytes()], device_row)?.map(|(_, state)| state))
    }

    fn devices(&self, user: &UserId) -> Stored<Vec<(DeviceId, DeviceState)>> {
        let Some(number) = self.user_number(user)? else { return Ok(Vec::new()) };
        let sql = format!("{DEVICE} WHERE d.user = ?1 ORDER BY d.device");
        self.all(&sql, [number], device_row)
    }

    fn log_records(&self, user: &UserId, from: u64, limit: usize) -> Stored<Vec<Vec<u8>>> {
        let Some(number) = self.user_number(user)? else { return Ok(Vec::new()) };
        let sql = "SELECT record FROM device_log WHERE user = ?1 AND position >= ?2
            ORDER BY position LIMIT ?3";
        self.all(sql, params![number, int(from), size(limit)], |row| row.get(0))
    }

    fn log_knows(&self, user: &UserId, head: &Head) -> Stored<bool> {
        let Some(number) = self.user_number(user)? else { return Ok(false) };
        let sql = "SELECT 1 FROM device_log WHERE user = ?1 AND head = ?2";
        Ok(self.one(sql, params![number, head.as_bytes()], |_| Ok(()))?.is_some())
    }

    fn keyring(&self, user: &UserId) -> Stored<(u64, Vec<u8>)> {
        let sql = "SELECT keyring_version, keyring FROM users WHERE id = ?1";
        let found = self.one(sql, [user.as_bytes()], |row| Ok((uint(row, 0)?, row.get(1)?)))?;
        Ok(found.unwrap_or_default())
    }

    fn invitation(&self, lookup: &LookupId) -> Stored<Option<InvitationState>> {
        let sql = "SELECT u.id, i.expires_ms, i.blob
            FROM invitations i LEFT JOIN users u ON u.number = i.user WHERE i.lookup = ?1";
        self.one(sql, [lookup.as_bytes()], |row| {
            let user = invited_user(row, 0)?;
            Ok(InvitationState { user, expires_ms: uint(row, 1)?, blob: row.get(2)? })
        })
    }

    fn invitations(&self, user: Option<&UserId>) -> Stored<usize> {
        let number = match user {
            Some(user) => match self.user_number(user)? {
                Some(number) => Some(number),
                None => return Ok(0),
            },
            None => None,
        };
        let sql = "SELECT count(*) FROM invitations WHERE user IS ?1";
        let count = self.one(sql, [number], |row| uint(row, 0))?.unwrap_or(0);
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    fn invitations_expired(
        &self,
        time_ms: u64,
        limit: usize,
    ) -> Stored<Vec<(LookupId, Option<UserId>)>> {
        let sql = "SELECT i.lookup, u.id
            FROM invitations i LEFT JOIN users u ON u.number = i.user
            WHERE i.expires_ms <= ?1 ORDER BY i.lookup LIMIT ?2";
        self.all(sql, params![int(time_ms), size(limit)], |row| {
            Ok((LookupId::from_bytes(row.get(0)?), invited_user(row, 1)?))
        })
    }
}

impl UserWrites for SqliteStore {
    fn insert_user(&mut self, user: &UserId, created_ms: u64, quota: &Quota) -> Stored<()> {
        let sql = "INSERT INTO users
            (id, created_ms, log_head, bytes_max, entries_max, objects_max, versions_max)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        self.run(
            sql,
            params![
                user.as_bytes(),
                int(created_ms),
                Head::ZERO.as_bytes(),
                int(quota.bytes_max),
                int(quota.entries_max),
                int(quota.objects_max),
                int(quota.versions_max)
            ],
        )
    }

    fn set_quota(&mut self, user: &UserId, quota: &Quota) -> Stored<()> {
        let sql = "UPDATE users SET bytes_max = ?2, entries_max = ?3, objects_max = ?4,
            versions_max = ?5 WHERE id = ?1";
        self.run(
            sql,
            params![
                user.as_bytes(),
                int(quota.bytes_max),
                int(quota.entries_max),
                int(quota.objects_max),
                int(quota.versions_max)
            ],
        )
    }

    fn set_usage(&mut self, user: &UserId, usage: &Usage) -> Stored<()> {
        let number = self.user_row(user)?;
        let sql = "UPDATE users SET bytes = ?2, entries = ?3, objects = ?4, versions = ?5
            WHERE number = ?1";
        self.run(
            sql,
            params![
                number,
                int(usage.bytes),
                int(usage.entries),
                int(usage.objects),
                int(usage.versions)
            ],
        )
    }

    fn append_log(&mut self, user: &UserId, record: &[u8], head: &Head) -> Stored<()> {
        let number = self.user_row(user)?;
        let sql = "INSERT INTO device_log (user, position, head, record)
            SELECT number, log_len, ?2, ?3 FROM users WHERE number = ?1";
        self.run(sql, params![number, head.as_bytes(), record])?;
        let sql = "UPDATE users SET log_len = log_len + 1, log_head = ?2 WHERE number = ?1";
        self.run(sql, params![number, head.as_bytes()])
    }

    fn put_device(&mut self, device: &DeviceId, state: &DeviceState) -> Stored<()> {
        let number = self.user_row(&state.user)?;
        let sql =
            "INSERT OR REPLACE INTO devices (device, user, position, revoked, revoked_ms, seen_ms)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let (position, seen) = (int(state.position), state.seen_ms.map(int));
        let revoked_ms = state.revoked_ms.map(int);
        let id = device.as_bytes();
        self.run(sql, params![id, number, position, state.revoked, revoked_ms, seen])
    }

    fn put_keyring(&mut self, user: &UserId, version: u64, sealed: &[u8]) -> Stored<()> {
        let number = self.user_row(user)?;
        let sql = "UPDATE users SET keyring_version = ?2, keyring = ?3 WHERE number = ?1";
        self.run(sql, params![number, int(version), sealed])
    }

    fn put_invitation(&mut self, lookup: &LookupId, state: &InvitationState) -> Stored<()> {
        let number = state.user.as_ref().map(|user| self.user_row(user)).transpose()?;
        let sql = "INSERT OR REPLACE INTO invitations (lookup, user, expires_ms, blob)
            VALUES (?1, ?2, ?3, ?4)";
        self.run(sql, params![lookup.as_bytes(), number, int(state.expires_ms), state.blob])
    }

    fn delete_invitation(&mut self, lookup: &LookupId) -> Stored<()> {
        self.run("DELETE FROM invitations WHERE lookup = ?1", [lookup.as_bytes()])
    }

    fn delete_invitations(&mut self) -> Stored<()> {
        self.connection.execute_batch("DELETE FROM invitations").map_err(failed)
    }
}
