//! Labels, settings and releases in memory.
//!
//! Owns the maps' side of those traits. It must not know the rules.

use super::super::state::Label;
use super::super::store::{RetentionReads, RetentionWrites, StoreError, Stored, VersionMarks};
use super::{Folder, MemoryStore};
use crate::retention::{RegisterRelease, Release, VersionMark, Whole};
use common::ids::{EntryId, FolderId, LabelId};
use common::record::{ConflictRecord, StandingSettings};
use common::revision::Revision;
use std::ops::Bound::{Excluded, Unbounded};

impl MemoryStore {
    fn found(&self, folder: &FolderId) -> Option<&Folder> {
        self.tables.folders.get(folder)
    }
}

impl RetentionReads for MemoryStore {
    fn settings(&self, folder: &FolderId, at: Revision) -> Stored<Option<StandingSettings>> {
        let all = self.found(folder).map_or(&[][..], |folder| &folder.settings);
        Ok(all.iter().rev().find(|standing| standing.revision <= at).cloned())
    }

    fn settings_by(&self, folder: &FolderId, time_ms: u64) -> Stored<Option<StandingSettings>> {
        let all = self.found(folder).map_or(&[][..], |folder| &folder.settings);
        Ok(all.iter().rev().find(|standing| standing.time_ms <= time_ms).cloned())
    }

    fn labels(&self, folder: &FolderId) -> Stored<Vec<Label>> {
        let labels = self.found(folder).into_iter().flat_map(|folder| folder.labels.values());
        let mut labels: Vec<Label> = labels.cloned().collect();
        labels.sort_by_key(|label| (label.at, label.label));
        Ok(labels)
    }

    fn whole(&self, folder: &FolderId) -> Stored<Whole> {
        Ok(self.found(folder).map_or_else(Whole::default, |folder| folder.whole.clone()))
    }

    fn entries_with_history(
        &self,
        folder: &FolderId,
        after: Option<&EntryId>,
        limit: usize,
    ) -> Stored<Vec<EntryId>> {
        let Some(folder) = self.found(folder) else { return Ok(Vec::new()) };
        let all = folder.entries.range((after.map_or(Unbounded, Excluded), Unbounded));
        let with_history = all.filter(|(_, row)| {
            let Some(state) = row.state else { return false };
            state.deleted
                || row.places.iter().any(|it| it.revision < state.place_revision)
                || row.contents.iter().any(|it| it.revision < state.content_revision)
        });
        Ok(with_history.take(limit).map(|(entry, _)| *entry).collect())
    }

    fn conflicts_naming(&self, folder: &FolderId, entry: &EntryId) -> Stored<Vec<ConflictRecord>> {
        let conflicts = self.found(folder).into_iter().flat_map(|folder| folder.conflicts.values());
        let open = conflicts.filter(|state| state.closed.is_none());
        let records = open.map(|state| &state.record);
        Ok(records.filter(|it| it.entry == *entry || it.copy == *entry).cloned().collect())
    }

    fn version_marks(&self, folder: &FolderId, entry: &EntryId) -> Stored<VersionMarks> {
        let found = self.found(folder).and_then(|folder| folder.entries.get(entry));
        let Some(row) = found else { return Ok(VersionMarks::default()) };
        let mark = |revision, until, gone| VersionMark { revision, until, gone };
        let places = row.places.iter().rev().map(|it| mark(it.revision, it.until, it.deleted));
        let contents = row.contents.iter().rev().map(|it| mark(it.revision, it.until, it.released));
        Ok((places.collect(), contents.collect()))
    }
}

impl RetentionWrites for MemoryStore {
    fn put_settings(&mut self, folder: &FolderId, standing: &StandingSettings) -> Stored<()> {
        self.folder_mut(folder)?.settings.push(standing.clone());
        Ok(())
    }

    fn put_label(&mut self, folder: &FolderId, label: &Label) -> Stored<()> {
        self.folder_mut(folder)?.labels.insert(label.label, label.clone());
        Ok(())
    }

    fn delete_label(&mut self, folder: &FolderId, label: &LabelId) -> Stored<()> {
        self.folder_mut(folder)?.labels.remove(label);
        Ok(())
    }

    fn set_whole(&mut self, folder: &FolderId, whole: &Whole) -> Stored<()> {
        self.folder_mut(folder)?.whole = whole.clone();
        Ok(())
    }

    fn release_versions(
        &mut self,
        folder: &FolderId,
        entry: &EntryId,
        release: &Release,
    ) -> Stored<u64> {
        let found = self.folder_mut(folder)?.entries.get_mut(entry);
        let row = found.ok_or(StoreError::Corrupt { what: "entry" })?;
        let before = row.places.len() + row.contents.len();
        row.places.retain(|version| !release.places.gone.contains(&version.revision));
        row.contents.retain(|version| !release.contents.gone.contains(&version.revision));
        for version in &mut row.places {
            version.until = version.until.or(until(&release.places, version.revision));
        }
        for version in &mut row.contents {
            version.until = version.until.or(until(&release.contents, version.revision));
        }
        if let Some(hollow) = release.hollow {
            let last = row.contents.last().map(|version| version.change);
            row.contents.retain(|it| it.revision != hollow || Some(it.change) == last);
            for version in row.contents.iter_mut().filter(|it| it.revision == hollow) {
                version.content.root = None;
                version.released = true;
            }
        }
        Ok((before - row.places.len() - row.contents.len()) as u64)
    }
}

fn until(release: &RegisterRelease, revision: Revision) -> Option<Revision> {
    let found = release.until.iter().find(|(stays, _)| *stays == revision);
    found.map(|(_, until)| *until)
}
