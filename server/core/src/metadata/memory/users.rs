//! Users and folders in memory.
//!
//! Owns the maps' side of those traits. It must not know the rules.

use super::super::state::{
    DeviceState, EpochStart, FolderState, InvitationState, Quota, Usage, UserState,
};
use super::super::store::{FolderReads, FolderWrites, StoreError, Stored, UserReads, UserWrites};
use super::{Folder, MemoryStore, User};
use crate::retention::Whole;
use common::ids::{DeviceId, FolderId, Head, LookupId, UserId};
use common::revision::Revision;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

impl MemoryStore {
    fn user_state_mut(&mut self, user: &UserId) -> Stored<&mut UserState> {
        self.user_mut(user)?.state.as_mut().ok_or(StoreError::Corrupt { what: "user" })
    }
}

impl UserReads for MemoryStore {
    fn user(&self, user: &UserId) -> Stored<Option<UserState>> {
        Ok(self.tables.users.get(user).and_then(|user| user.state))
    }

    fn device(&self, device: &DeviceId) -> Stored<Option<DeviceState>> {
        Ok(self.tables.devices.get(device).copied())
    }

    fn devices(&self, user: &UserId) -> Stored<Vec<(DeviceId, DeviceState)>> {
        let all = self.tables.devices.iter().filter(|(_, state)| state.user == *user);
        Ok(all.map(|(device, state)| (*device, *state)).collect())
    }

    fn log_records(&self, user: &UserId, from: u64, limit: usize) -> Stored<Vec<Vec<u8>>> {
        let skipped = usize::try_from(from).unwrap_or(usize::MAX);
        let log = self.tables.users.get(user).map_or(&[][..], |user| &user.log);
        Ok(log.iter().skip(skipped).take(limit).map(|(record, _)| record.clone()).collect())
    }

    fn log_knows(&self, user: &UserId, head: &Head) -> Stored<bool> {
        let user = self.tables.users.get(user);
        Ok(user.is_some_and(|user| user.log.iter().any(|(_, known)| known == head)))
    }

    fn keyring(&self, user: &UserId) -> Stored<(u64, Vec<u8>)> {
        let Some(user) = self.tables.users.get(user) else { return Ok((0, Vec::new())) };
        Ok((user.state.map_or(0, |state| state.keyring_version), user.keyring.clone()))
    }

    fn invitation(&self, lookup: &LookupId) -> Stored<Option<InvitationState>> {
        Ok(self.tables.invitations.get(lookup).cloned())
    }

    fn invitations(&self, user: Option<&UserId>) -> Stored<usize> {
        let all = self.tables.invitations.values();
        Ok(all.filter(|invitation| invitation.user.as_ref() == user).count())
    }

    fn invitations_expired(
        &self,
        time_ms: u64,
        limit: usize,
    ) -> Stored<Vec<(LookupId, Option<UserId>)>> {
        let all = self.tables.invitations.iter();
        let expired = all.filter(|(_, invitation)| invitation.expires_ms <= time_ms);
        Ok(expired.take(limit).map(|(lookup, state)| (*lookup, state.user)).collect())
    }
}

impl UserWrites for MemoryStore {
    fn insert_user(&mut self, user: &UserId, created_ms: u64, quota: &Quota) -> Stored<()> {
        let state = UserState {
            created_ms,
            log_len: 0,
            log_head: Head::ZERO,
            keyring_version: 0,
            quota: *quota,
            usage: Usage::default(),
        };
        self.write()?.users.insert(*user, User { state: Some(state), ..User::default() });
        Ok(())
    }

    fn set_quota(&mut self, user: &UserId, quota: &Quota) -> Stored<()> {
        self.user_state_mut(user)?.quota = *quota;
        Ok(())
    }

    fn set_usage(&mut self, user: &UserId, usage: &Usage) -> Stored<()> {
        self.user_state_mut(user)?.usage = *usage;
        Ok(())
    }

    fn append_log(&mut self, user: &UserId, record: &[u8], head: &Head) -> Stored<()> {
        let state = self.user_state_mut(user)?;
        state.log_len += 1;
        state.log_head = *head;
        self.user_mut(user)?.log.push((record.to_vec(), *head));
        Ok(())
    }

    fn put_device(&mut self, device: &DeviceId, state: &DeviceState) -> Stored<()> {
        self.write()?.devices.insert(*device, *state);
        Ok(())
    }

    fn put_keyring(&mut self, user: &UserId, version: u64, sealed: &[u8]) -> Stored<()> {
        self.user_state_mut(user)?.keyring_version = version;
        self.user_mut(user)?.keyring = sealed.to_vec();
        Ok(())
    }

    fn put_invitation(&mut self, lookup: &LookupId, state: &InvitationState) -> Stored<()> {
        self.write()?.invitations.insert(*lookup, state.clone());
        Ok(())
    }

    fn delete_invitation(&mut self, lookup: &LookupId) -> Stored<()> {
        self.write()?.invitations.remove(lookup);
        Ok(())
    }

    fn delete_invitations(&mut self) -> Stored<()> {
        self.write()?.invitations.clear();
        Ok(())
    }
}

impl FolderReads for MemoryStore {
    fn folder(&self, folder: &FolderId) -> Stored<Option<FolderState>> {
        Ok(self.tables.folders.get(folder).map(|folder| folder.state.clone()))
    }

    fn folders(
        &self,
        user: &UserId,
        after: Option<&FolderId>,
        limit: usize,
    ) -> Stored<Vec<(FolderId, FolderState)>> {
        let from = after.map_or(Unbounded, Excluded);
        let all = self.tables.folders.range((from, Unbounded));
        let own = all.filter(|(_, folder)| folder.state.user == *user);
        Ok(own.take(limit).map(|(id, folder)| (*id, folder.state.clone())).collect())
    }

    fn all_folders(&self) -> Stored<Vec<FolderId>> {
        Ok(self.tables.folders.keys().copied().collect())
    }

    fn positions(&self, folder: &FolderId) -> Stored<Vec<(DeviceId, Revision)>> {
        let known = self.tables.folders.get(folder).map(|folder| &folder.positions);
        Ok(known.into_iter().flatten().map(|(device, at)| (*device, *at)).collect())
    }

    fn lineage(&self, folder: &FolderId) -> Stored<Vec<EpochStart>> {
        Ok(self.tables.folders.get(folder).map_or_else(Vec::new, |folder| folder.lineage.clone()))
    }

    fn checkpoint(&self, folder: &FolderId) -> Stored<Option<(Revision, Vec<u8>)>> {
        Ok(self.tables.folders.get(folder).and_then(|folder| folder.checkpoint.clone()))
    }

    fn generation(&self) -> Stored<u64> {
        Ok(self.tables.generation)
    }
}

impl FolderWrites for MemoryStore {
    fn insert_folder(&mut self, folder: &FolderId, state: &FolderState) -> Stored<()> {
        let row = Folder {
            state: state.clone(),
            lineage: Vec::new(),
            positions: BTreeMap::new(),
            checkpoint: None,
            journal: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            windows: BTreeMap::new(),
            entries: BTreeMap::new(),
            objects: BTreeMap::new(),
            conflicts: BTreeMap::new(),
            settings: Vec::new(),
            labels: BTreeMap::new(),
            whole: Whole::default(),
        };
        self.write()?.folders.insert(*folder, row);
        Ok(())
    }

    fn advance_folder(&mut self, folder: &FolderId, state: &FolderState) -> Stored<()> {
        self.folder_mut(folder)?.state = state.clone();
        Ok(())
    }

    fn insert_epoch(&mut self, folder: &FolderId, start: &EpochStart) -> Stored<()> {
        self.folder_mut(folder)?.lineage.push(*start);
        Ok(())
    }

    fn put_position(&mut self, folder: &FolderId, device: &DeviceId, at: Revision) -> Stored<()> {
        self.folder_mut(folder)?.positions.insert(*device, at);
        Ok(())
    }

    fn put_checkpoint(&mut self, folder: &FolderId, at: Revision, bytes: &[u8]) -> Stored<()> {
        self.folder_mut(folder)?.checkpoint = Some((at, bytes.to_vec()));
        Ok(())
    }

    fn set_generation(&mut self, generation: u64) -> Stored<()> {
        self.write()?.generation = generation;
        Ok(())
    }
}
