//! Labels, settings and thinning as the service answers and does them, on a clock that tests set.

use super::world::{Became, DAY_MS, Device, World, code_of, now};
use common::ids::{EntryId, FolderId, LabelId};
use common::limits::RETENTION_GRACE_DAYS;
use common::record::{Change, Retention, Settings, StandingSettings};
use common::revision::Revision;
use common::trust::Checkpoint;
use common::wire::meta::{self, RefusalCode, Reply, Request};
use common::wire::retention::{
    LabelsRead, LabelsReply, RetentionPreviewRead, RetentionPreviewReply, RetentionWindows,
};
use server_core::metadata::{Action, Command, query};

fn revision(became: &[Became]) -> Revision {
    let [Became::Accepted(revision)] = became else { panic!("{became:?}") };
    *revision
}

impl Device {
    fn change(&mut self, folder: &FolderId, change: Change) -> Revision {
        self.counter += 1;
        let group = self.group(folder, vec![change]);
        revision(&self.commit(folder, Vec::new(), vec![group]))
    }

    fn set(&mut self, folder: &FolderId, base: Revision, keep_all_ms: u64) -> Revision {
        let retention = Retention { keep_all_ms, daily_ms: 0, monthly_ms: 0 };
        let settings = Settings { retention, sealed: vec![1] };
        self.change(folder, Change::SetSettings { base, settings })
    }

    /// A file with `edits` later contents; gives the revision of the first one.
    fn edited(&mut self, folder: &FolderId, edits: usize) -> Revision {
        let first = revision(&[self.create(folder, &format!("file {}", self.counter))]);
        let mut entry = [0; 16];
        entry[..8].copy_from_slice(&self.counter.to_le_bytes());
        entry[8..].copy_from_slice(&self.id().as_bytes()[..8]);
        let mut base = first;
        for _ in 0..edits {
            let group = self.edit(folder, EntryId::from_bytes(entry), base);
            base = revision(&self.commit(folder, Vec::new(), vec![group]));
        }
        first
    }

    fn labels(&self, folder: &FolderId) -> LabelsReply {
        let request = LabelsRead { folder: folder.to_vec() };
        let Reply::Labels(reply) = self.ask_one(Request::Labels(request)) else { panic!() };
        reply
    }

    fn preview(
        &self,
        folder: &FolderId,
        retention: Option<RetentionWindows>,
    ) -> RetentionPreviewReply {
        let request = RetentionPreviewRead { folder: folder.to_vec(), retention };
        let reply = self.ask_one(Request::RetentionPreview(request));
        let Reply::RetentionPreview(reply) = reply else { panic!("{reply:?}") };
        reply
    }

    fn checkpoint(&self, world: &World, folder: &FolderId) -> Reply {
        let read = |reads: &dyn server_core::metadata::MetaReads| {
            let cursor = reads.folder(folder)?.unwrap().cursor();
            Ok((cursor, query::register_digest(reads, folder, cursor.revision)?))
        };
        let (cursor, digest) = world.meta.read(read).unwrap();
        let checkpoint = Checkpoint { folder: *folder, cursor, digest, device: self.id() };
        let checkpoint = checkpoint.sign(&self.keys.signing);
        self.ask_one(Request::CheckpointPut(meta::CheckpointPut { checkpoint }))
    }
}

#[test]
fn labels_come_with_their_times_and_settings_with_what_is_obeyed_beside_them() {
    let world = World::new();
    let mut device = world.bootstrap(1);
    let folder = device.create_folder(1);
    let begun_ms = world.service.now_ms();
    let made = device.edited(&folder, 0);
    world.advance(5);
    let label = LabelId::from_bytes([7; 16]);
    device.change(&folder, Change::AddLabel { label, at: made, name: vec![8] });
    let reply = device.labels(&folder);
    let [found] = reply.labels.as_slice() else { panic!("{reply:?}") };
    assert_eq!((found.at, found.at_ms, found.added_ms), (made, begun_ms, begun_ms + 5));
    assert_eq!((&found.device, &found.name), (&device.id().to_vec(), &vec![8]));
    assert_eq!((reply.settings, reply.alone_from_ms, reply.horizon), (None, 0, 1));
    assert_eq!(reply.horizon_ms, begun_ms);

    let first = device.set(&folder, 0, 2 * DAY_MS);
    let alone_from_ms = begun_ms + 5 + RETENTION_GRACE_DAYS * DAY_MS;
    let reply = device.labels(&folder);
    assert_eq!((reply.settled, reply.alone_from_ms), (None, alone_from_ms));
    world.advance(RETENTION_GRACE_DAYS * DAY_MS);
    assert_eq!(device.labels(&folder).alone_from_ms, 0);
    let second = device.set(&folder, first, DAY_MS);
    let reply = device.labels(&folder);
    let read = |it: Option<_>| StandingSettings::try_from(it.unwrap()).unwrap();
    let (newest, settled) = (read(reply.settings), read(reply.settled));
    assert_eq!((newest.revision, settled.revision), (second, first));
    assert_eq!(settled.settings.retention.keep_all_ms, 2 * DAY_MS);
}

#[test]
fn what_is_foreseen_goes_and_new_settings_wait() {
    let world = World::new();
    let mut device = world.bootstrap(1);
    let folder = device.create_folder(1);
    device.edited(&folder, 3);
    world.advance(10 * DAY_MS);
    device.set(&folder, 0, DAY_MS);
    world.advance(2 * DAY_MS);
    device.edited(&folder, 0);
    let foreseen = device.preview(&folder, None);
    assert_eq!((foreseen.versions, foreseen.contents), (3, 1), "the rest is of empty files");
    let day = RetentionWindows { keep_all_ms: DAY_MS, daily_ms: 30 * DAY_MS, monthly_ms: 0 };
    let daily = device.preview(&folder, Some(day));
    assert_eq!((daily.versions, daily.kept.len()), (3, 2), "{daily:?}");
    let all = Retention::FOREVER;
    let all = RetentionWindows { keep_all_ms: all, daily_ms: all, monthly_ms: all };
    assert_eq!(device.preview(&folder, Some(all)).versions, 0);
    let thin = || now(world.service.thin_all()).unwrap().versions;
    assert_eq!(thin(), 0, "the settings are new");
    world.advance(RETENTION_GRACE_DAYS * DAY_MS);
    assert_eq!(thin(), 3);
    assert_eq!(thin(), 0);
    assert_eq!(device.preview(&folder, None).versions, 0);
}

#[test]
fn m9_after_a_restore_everything_is_kept_for_a_while_and_everybody_is_told() {
    let world = World::new();
    let mut device = world.bootstrap(1);
    let folder = device.create_folder(1);
    device.edited(&folder, 3);
    let base = device.set(&folder, 0, DAY_MS);
    world.advance(20 * DAY_MS);
    device.edited(&folder, 0);
    let restored_ms = world.service.now_ms();
    let command = Command { time_ms: restored_ms, action: Action::BeginEpoch };
    world.meta.apply_here(&command).unwrap();
    let grace_ms = RETENTION_GRACE_DAYS * DAY_MS;
    world.advance(grace_ms - 1);
    let thin = || now(world.service.thin_all()).unwrap();
    assert_eq!((thin().held, thin().versions), (1, 0));
    let reply = device.labels(&folder);
    let settled = StandingSettings::try_from(reply.settled.unwrap()).unwrap();
    assert_eq!(settled.settings.retention, Retention::EVERYTHING);
    assert_eq!(reply.alone_from_ms, restored_ms + grace_ms);
    assert_eq!(StandingSettings::try_from(reply.settings.unwrap()).unwrap().revision, base);
    assert_eq!(device.preview(&folder, None).versions, 3, "what would go without the grace");
    world.advance(1);
    let reply = device.labels(&folder);
    assert_eq!((reply.settled, reply.alone_from_ms), (None, 0));
    let thinned = thin();
    assert_eq!((thinned.held, thinned.versions), (0, 3));
}

#[test]
fn a_history_that_cannot_be_thinned_keeps_no_other_from_being_thinned() {
    let world = World::new();
    let mut device = world.bootstrap(1);
    let mut folders = [1, 2, 3].map(|seed| device.create_folder(seed));
    folders.sort_unstable();
    for folder in &folders {
        device.edited(folder, 3);
        device.set(folder, 0, 0);
        device.edited(folder, 0);
    }
    world.advance(DAY_MS);
    world.meta.db().lose_marks(&folders[0]).unwrap();
    let thinned = now(world.service.thin_all_after(0)).unwrap();
    let failed: Vec<FolderId> = thinned.failed.iter().map(|(folder, _)| *folder).collect();
    assert_eq!((thinned.folders, thinned.versions, failed), (3, 6, vec![folders[0]]));
}

#[test]
fn a_snapshot_that_is_thinned_on_the_way_is_not_taken_for_the_whole() {
    let world = World::new();
    let mut device = world.bootstrap(1);
    let folder = device.create_folder(1);
    device.edited(&folder, 0);
    assert!(matches!(device.checkpoint(&world, &folder), Reply::Done(_)));
    let request = || Request::Snapshot(meta::SnapshotRead { folder: folder.to_vec() });
    let mut old = now(world.service.replies(device.id(), request()));
    assert!(matches!(now(old.next()), Some(Reply::Snapshot(_))));
    let base = device.set(&folder, 0, 0);
    device.edited(&folder, 2);
    assert!(matches!(device.checkpoint(&world, &folder), Reply::Done(_)));
    world.advance(1);
    now(world.service.thin_all_after(0)).unwrap();
    assert_eq!(code_of(now(old.next()).unwrap()), RefusalCode::Busy);
    assert!(now(old.next()).is_none());
    // The newest one stays whole, whatever comes after it, and brings the settings.
    device.edited(&folder, 2);
    world.advance(1);
    now(world.service.thin_all_after(0)).unwrap();
    let parts = device.ask(request());
    let Some(Reply::Snapshot(last)) = parts.last() else { panic!("{parts:?}") };
    let settings = StandingSettings::try_from(last.settings.clone().unwrap()).unwrap();
    assert!(last.last && settings.revision == base, "{last:?}");
}
