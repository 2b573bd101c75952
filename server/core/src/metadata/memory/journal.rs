//! Journals and outcomes in memory.
//!
//! Owns the maps' side of those traits. It must not know the rules.

use super::super::state::{JournalMark, JournalRow, KeptOutcome, RequestWindow};
use super::super::store::{JournalReads, JournalWrites, RequestReads, RequestWrites, Stored};
use super::MemoryStore;
use common::ids::{DeviceId, FolderId, RequestId};
use common::record::{JournalEntry, SignedGroup};
use common::revision::Revision;
use std::ops::Bound::{Excluded, Unbounded};

impl JournalReads for MemoryStore {
    fn mark(&self, folder: &FolderId, at: Revision) -> Stored<Option<JournalMark>> {
        let folder = self.tables.folders.get(folder);
        Ok(folder.and_then(|folder| folder.journal.get(&at)).map(|(mark, _)| *mark))
    }

    fn journal(
        &self,
        folder: &FolderId,
        after: Revision,
        limit: usize,
        bytes_soft: usize,
    ) -> Stored<Vec<JournalRow>> {
        let Some(folder) = self.tables.folders.get(folder) else { return Ok(Vec::new()) };
        let mut bytes = 0;
        let mut rows = Vec::new();
        for (revision, (mark, group)) in folder.journal.range((Excluded(after), Unbounded)) {
            if rows.len() >= limit || bytes >= bytes_soft && !rows.is_empty() {
                break;
            }
            bytes += group.body.len();
            let entry =
                JournalEntry { revision: *revision, time_ms: mark.time_ms, group: group.clone() };
            rows.push(JournalRow { epoch: mark.epoch, entry });
        }
        Ok(rows)
    }
}

impl JournalWrites for MemoryStore {
    fn append_group(
        &mut self,
        folder: &FolderId,
        revision: Revision,
        mark: &JournalMark,
        group: &SignedGroup,
    ) -> Stored<()> {
        self.folder_mut(folder)?.journal.insert(revision, (*mark, group.clone()));
        Ok(())
    }
}

impl RequestReads for MemoryStore {
    fn outcome(
        &self,
        folder: &FolderId,
        device: &DeviceId,
        request: &RequestId,
    ) -> Stored<Option<KeptOutcome>> {
        let folder = self.tables.folders.get(folder);
        Ok(folder.and_then(|folder| folder.outcomes.get(&(*device, *request)).cloned()))
    }

    fn window(
        &self,
        folder: &FolderId,
        device: &DeviceId,
        incarnation: u64,
    ) -> Stored<Option<RequestWindow>> {
        let folder = self.tables.folders.get(folder);
        Ok(folder.and_then(|folder| folder.windows.get(&(*device, incarnation)).copied()))
    }

    fn windows(&self, folder: &FolderId, device: &DeviceId) -> Stored<Vec<(u64, RequestWindow)>> {
        let Some(folder) = self.tables.folders.get(folder) else { return Ok(Vec::new()) };
        let own = folder.windows.iter().filter(|((owner, _), _)| owner == device);
        let mut windows: Vec<_> = own.map(|((_, number), window)| (*number, *window)).collect();
        windows.sort_by_key(|(_, window)| window.order);
        Ok(windows)
    }
}

impl RequestWrites for MemoryStore {
    fn put_outcome(
        &mut self,
        folder: &FolderId,
        device: &DeviceId,
        request: &RequestId,
        kept: &KeptOutcome,
    ) -> Stored<()> {
        self.folder_mut(folder)?.outcomes.insert((*device, *request), kept.clone());
        Ok(())
    }

    fn put_window(
        &mut self,
        folder: &FolderId,
        device: &DeviceId,
        incarnation: u64,
        window: &RequestWindow,
    ) -> Stored<()> {
        self.folder_mut(folder)?.windows.insert((*device, incarnation), *window);
        Ok(())
    }

    fn drop_outcomes(
        &mut self,
        folder: &FolderId,
        device: &DeviceId,
        incarnation: u64,
        up_to: u64,
    ) -> Stored<()> {
        let first = (*device, RequestId { incarnation, counter: 0 });
        let last = (*device, RequestId { incarnation, counter: up_to });
        let folder = self.folder_mut(folder)?;
        let dropped: Vec<_> = folder.outcomes.range(first..=last).map(|(key, _)| *key).collect();
        for key in dropped {
            folder.outcomes.remove(&key);
        }
        Ok(())
    }
}
