//! Journals, cursors and the epochs after a restore (M9, rule 4).

use crate::world::{World, code, directory, edit, file, genesis, member};
use common::ids::Head;
use common::record::Change;
use common::revision::Cursor;
use common::trust::JoinKind;
use common::wire::meta::RejectionCode as Code;
use server_core::metadata::memory::MemoryStore;
use server_core::metadata::{
    Action, EpochStart, Event, FolderReads, JournalReads, UserReads, query,
};

fn world() -> World<MemoryStore> {
    World::new(MemoryStore::new())
}

#[test]
fn m9_a_cursor_reads_every_group_once_without_gaps() {
    let mut world = world();
    for number in 1..=20 {
        world.accept(0, vec![file(number, &number.to_string())]);
    }
    let mut cursor = Cursor::START;
    for bytes_soft in [1, 400, 100_000] {
        let rows = world.store.journal(&world.folder, cursor.revision, 7, bytes_soft).unwrap();
        assert!(!rows.is_empty() && rows.len() <= 7);
        for row in rows {
            assert_eq!(row.entry.revision, cursor.revision + 1);
            let digest = row.entry.group.digest(row.entry.time_ms);
            let head = cursor.head.next(&world.folder, row.epoch, row.entry.revision, &digest);
            cursor = Cursor { epoch: row.epoch, revision: row.entry.revision, head };
            assert_eq!(
                query::head_at(&world.store, &world.folder, cursor.revision).unwrap(),
                Some(head)
            );
        }
    }
    let end = world.store.folder(&world.folder).unwrap().unwrap();
    let rest = world.store.journal(&world.folder, end.revision, 7, 1).unwrap();
    assert!(rest.is_empty());
    assert_eq!(query::head_at(&world.store, &world.folder, end.revision + 1).unwrap(), None);
}

/// A world restored to where it was after one group, although it had come to three.
fn restored() -> (World<MemoryStore>, Cursor, Cursor) {
    let mut world = world();
    world.accept(0, vec![file(1, "f")]);
    let backup = world.store.clone();
    let kept = world.store.folder(&world.folder).unwrap().unwrap().cursor();
    world.accept(0, vec![directory(2, "d")]);
    world.accept(0, vec![edit(1, 1, 11)]);
    let seen = world.store.folder(&world.folder).unwrap().unwrap().cursor();
    world.store = backup;
    world.now_ms += 10_000;
    (world, kept, seen)
}

#[test]
fn m9_a_restored_backup_begins_an_epoch_that_no_life_had() {
    let (mut world, kept, _) = restored();
    let backup = world.store.clone();
    let outcome = world.apply(Action::BeginEpoch);
    let first = world.store.folder(&world.folder).unwrap().unwrap();
    assert_eq!(
        outcome.events,
        vec![Event::Folder { folder: world.folder, epoch: first.epoch, revision: 1 }]
    );
    assert!(first.epoch > kept.epoch);
    assert_eq!((first.revision, first.head), (kept.revision, kept.head));
    world.accept(0, vec![file(3, "after")]);
    // The same backup once more, later.
    world.store = backup;
    world.now_ms += 1;
    world.done(Action::BeginEpoch);
    let second = world.store.folder(&world.folder).unwrap().unwrap();
    assert!(second.epoch > first.epoch);
    let start = |epoch| EpochStart { epoch, revision: kept.revision, head: kept.head };
    let lineage = query::lineage_after(&world.store, &world.folder, kept.epoch).unwrap();
    assert_eq!(lineage, vec![start(second.epoch)]);
    // A life that this journal never had: all beginnings are told.
    let lost = query::lineage_after(&world.store, &world.folder, first.epoch).unwrap();
    assert_eq!(lost, vec![start(second.epoch)]);
    assert!(query::lineage_after(&world.store, &world.folder, second.epoch).unwrap().is_empty());
}

#[test]
fn a_restore_voids_invitations() {
    let (mut world, ..) = restored();
    let (device, record) = (world.device(0), world.invitation(2));
    world.done(Action::OpenInvitation { device, record, blob: vec![1] });
    let lookup = code(JoinKind::Bootstrap, 5).lookup();
    let expires_ms = world.now_ms + 1_000;
    world.done(Action::OpenBootstrap { lookup, expires_ms });
    world.done(Action::BeginEpoch);
    assert_eq!(world.store.invitations(None).unwrap(), 0);
    assert_eq!(world.store.invitations(Some(&world.user)).unwrap(), 0);
}

#[test]
fn a_device_repeats_records_that_the_server_has_forgotten() {
    let mut world = world();
    let backup = world.store.clone();
    world.join(2);
    let records = world.store.log_records(&world.user, 1, 10).unwrap();
    world.store = backup;
    world.now_ms += 10_000;
    world.done(Action::BeginEpoch);
    let device = world.device(0);
    for record in records {
        world.done(Action::AppendLog { device, record });
    }
    assert!(query::enrolled(&world.store, &world.device(1)).unwrap().is_some());
    // No blob came back with the invitation, so nothing can be redeemed with it.
    assert_eq!(world.store.invitations(Some(&world.user)).unwrap(), 0);
}

#[test]
fn an_epoch_is_confirmed_by_naming_where_the_lives_parted() {
    let (mut world, kept, seen) = restored();
    let early = Change::ConfirmEpoch { restored: kept, highest: seen };
    world.reject(0, vec![early.clone()], Code::UnknownHead, 0, None);
    world.done(Action::BeginEpoch);
    let wrong_head = Cursor { head: Head::from_bytes([9; 32]), ..kept };
    let wrong_place = Cursor { revision: 0, head: Head::ZERO, ..kept };
    for restored in [wrong_head, wrong_place] {
        let change = Change::ConfirmEpoch { restored, highest: seen };
        world.reject(0, vec![change], Code::UnknownHead, 0, None);
    }
    let now = world.store.folder(&world.folder).unwrap().unwrap();
    let ahead = Cursor { epoch: now.epoch, ..seen };
    let change = Change::ConfirmEpoch { restored: kept, highest: ahead };
    world.reject(0, vec![change], Code::UnknownHead, 0, None);
    let revision = world.accept(0, vec![early]);
    assert_eq!(revision, kept.revision + 1, "a revision goes on where the backup ended");
    // The same place as the beginning of the new life.
    let begun = Cursor { epoch: now.epoch, ..kept };
    world.accept(0, vec![Change::ConfirmEpoch { restored: begun, highest: seen }]);
    // What the server has forgotten is pushed again.
    world.accept(0, vec![directory(2, "d"), edit(1, 1, 11)]);
}

#[test]
fn groups_written_for_the_lost_life_are_refused() {
    let (mut world, ..) = restored();
    let group = world.group(0, vec![file(4, "x")]);
    world.done(Action::BeginEpoch);
    assert_eq!(world.send_one(0, &group).rejection(), Some(Code::WrongEpoch));
    assert_ne!(genesis(1), genesis(2));
    assert_ne!(member(1).incarnation, member(2).incarnation);
}
