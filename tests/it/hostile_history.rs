//! Histories that are not the one this device has seen, and authors who are none, against a real
//! engine: an alarm or a question to a person, and nothing is lost or made up.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client::engine::FolderStatus;
use common::ids::{EntryId, FolderId, Head, UserId};
use common::keys::SigningKey;
use common::record::{Change, Group, SignedGroup};
use common::wire::meta::{JournalBatch, Reply};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tests::sim::device::{SimDevice, Stop};
use tests::sim::network::Hostile;
use tests::sim::rogue::Past;
use tests::sim::scene::{BEFORE, Scene, play};
use tests::sim::server::Backup;

const ROOT: EntryId = EntryId::ROOT;

/// One history for this device and another for everybody else, both signed: the next group of an
/// author who saw the other one tells.
#[test]
fn two_histories_raise_the_alarm() {
    play(async |scene: &Scene| {
        let here = vec![scene.rogue.touch(ROOT, b"here", b"shown to this device").await];
        let there = vec![scene.rogue.touch(ROOT, b"there", b"shown to the other").await];
        scene.victim.link.set_up(false);
        assert!(scene.rogue.commit(there).await.is_ok());
        scene.wait().await;
        let forked = scene.rogue.sign(here);
        scene.victim.link.set_hostile(Some(std::sync::Arc::new(Forked(forked))));
        scene.victim.link.set_up(true);
        scene.wait().await;
        scene.shows(&[BEFORE, "here"]);
        scene.honest.writer.write("next", b"by one who saw the other history");
        scene.wait().await;
        scene.halts_with(&[BEFORE, "here"], "has seen another revision");
    });
}

/// Instead of the rogue's honest group, its other one.
struct Forked(SignedGroup);

impl Hostile for Forked {
    fn batch(&self, mut batch: JournalBatch) -> JournalBatch {
        let ours = self.0.decode().unwrap().device;
        for group in &mut batch.groups {
            let signature = common::ids::Signature::from_slice(&group.signature).unwrap();
            let signed = SignedGroup { body: group.body.clone(), signature };
            if signed.decode().unwrap().device == ours {
                group.body.clone_from(&self.0.body);
                group.signature = self.0.signature.to_vec();
            }
        }
        batch
    }
}

/// The server goes back to a head that everybody has passed, says nothing, and goes on from there.
#[test]
fn an_older_head_replayed_raises_the_alarm() {
    play(async |scene: &Scene| {
        let old = scene.rogue.touch(ROOT, b"old", b"before the old head").await;
        assert!(scene.rogue.commit(vec![old]).await.is_ok());
        scene.wait().await;
        let last = scene.world.journal().last().unwrap().entry.clone();
        scene.honest.writer.write("seen", b"after the old head");
        scene.wait().await;
        // The group at the old head once more, as if it were the newest.
        scene.lie(Past::new(vec![last.group]));
        scene.wait().await;
        scene.halts_with(&[BEFORE, "old", "seen"], "exists");
    });
}

/// As long as a database is kept, its cursor is what the server is held to.
#[test]
fn a_head_other_than_the_pinned_one_raises_the_alarm() {
    play(async |scene: &Scene| {
        scene.honest.writer.write("seen", b"pinned by the one that is attacked");
        scene.wait().await;
        scene.victim.stop(tests::sim::device::Stop::Kill).await;
        scene.victim.lose_state();
        // The time that the service stamps is part of the chain.
        scene.victim.link.set_hostile(Some(std::sync::Arc::new(OtherTime)));
        scene.victim.start().await;
        scene.wait().await;
        scene.halts_with(&[BEFORE, "seen"], "is not what this device has pinned");
    });
}

struct OtherTime;

impl Hostile for OtherTime {
    fn batch(&self, mut batch: JournalBatch) -> JournalBatch {
        if let Some(group) = batch.groups.last_mut() {
            group.time_ms += 1;
        }
        batch
    }
}

#[test]
fn everything_deleted_by_another_device_waits_for_a_person() {
    play(async |scene: &Scene| {
        let mut changes = Vec::new();
        for number in 0..30 {
            let name = format!("file {number}");
            changes.push(scene.rogue.touch(ROOT, name.as_bytes(), name.as_bytes()).await);
        }
        let entries: Vec<EntryId> = changes.iter().filter_map(created).collect();
        let base = scene.rogue.commit(changes).await.unwrap();
        scene.wait().await;
        assert_eq!(scene.paths().len(), 31);
        let delete = |entry| Change::Delete { entry, place_base: base, content_base: base };
        let deletes = entries.into_iter().map(delete).collect();
        assert!(scene.rogue.commit(deletes).await.is_ok());
        scene.wait().await;
        let summary = scene.summary();
        assert_eq!(summary.status, FolderStatus::Halted);
        assert!(summary.halt.is_some_and(|halt| halt.can_confirm), "a person may agree");
        assert_eq!(scene.paths().len(), 31, "until then all is kept");
        scene.victim.confirm().await.unwrap();
        scene.wait().await;
        scene.shows(&[BEFORE]);
    });
}

fn created(change: &Change) -> Option<EntryId> {
    match change {
        Change::Create { entry, .. } => Some(*entry),
        _ => None,
    }
}

#[test]
fn a_restored_backup_waits_for_a_person_and_loses_nothing() {
    play(async |scene: &Scene| {
        let backup = scene.world.server.back_up();
        scene.honest.writer.write("since", b"written since the backup");
        scene.wait().await;
        let all = [BEFORE, "since"];
        scene.shows(&all);
        scene.world.server.restore(backup);
        scene.world.ledger.forget_accepted(std::collections::BTreeSet::new());
        scene.honest.link.cut();
        scene.victim.link.cut();
        scene.wait().await;
        let summary = scene.summary();
        assert_eq!(summary.status, FolderStatus::Halted);
        assert!(summary.halt.is_some_and(|halt| halt.can_confirm), "a person may agree");
        scene.shows(&all);
        scene.victim.confirm().await.unwrap();
        assert!(scene.world.settle().await, "{:#?}", scene.world.ledger.tail());
        scene.shows(&all);
        assert_eq!(scene.honest.fs.user().read("since").unwrap(), b"written since the backup");
        scene.goes_on().await;
    });
}

/// A group that somebody signs who may not.
async fn foreign(
    scene: &Scene,
    alter: impl FnOnce(&mut Group),
    signer: Option<SigningKey>,
) -> Past {
    let change = scene.rogue.touch(ROOT, b"planted", b"by nobody").await;
    let mut group = scene.rogue.sign(vec![change]).decode().unwrap();
    alter(&mut group);
    Past::new(vec![SignedGroup::sign(&group, &signer.unwrap_or_else(|| scene.rogue.signer()))])
}

#[test]
fn a_device_that_was_never_enrolled_raises_the_alarm() {
    play(async |scene: &Scene| {
        let stranger = SigningKey::from_seed([66; 32]);
        let device = stranger.device();
        let past = foreign(scene, |group| group.device = device, Some(stranger)).await;
        scene.lie(past);
        scene.wait().await;
        scene.halts("is not in the user's device log");
    });
}

#[test]
fn a_group_that_names_another_device_raises_the_alarm() {
    play(async |scene: &Scene| {
        let honest = scene.honest.device();
        scene.lie(foreign(scene, |group| group.device = honest, None).await);
        scene.wait().await;
        scene.halts("the group's signature is not that of its author");
    });
}

#[test]
fn a_group_of_another_user_raises_the_alarm() {
    play(async |scene: &Scene| {
        let user = UserId::from_bytes([3; 32]);
        scene.lie(foreign(scene, |group| group.user = user, None).await);
        scene.wait().await;
        scene.halts("its author is not a member");
    });
}

#[test]
fn a_group_for_another_folder_raises_the_alarm() {
    play(async |scene: &Scene| {
        let folder = FolderId::from_bytes([3; 32]);
        scene.lie(foreign(scene, |group| group.folder = folder, None).await);
        scene.wait().await;
        scene.halts("it was written for another folder");
    });
}

#[test]
fn a_group_that_has_seen_the_future_raises_the_alarm() {
    play(async |scene: &Scene| {
        let far = |group: &mut Group| group.seen_revision = u64::MAX;
        scene.lie(foreign(scene, far, None).await);
        scene.wait().await;
        scene.halts("claims to have seen");
    });
}

#[test]
fn a_group_that_has_seen_another_head_raises_the_alarm() {
    play(async |scene: &Scene| {
        let other = |group: &mut Group| {
            group.seen_revision = 1;
            group.seen_head = Head::from_bytes([3; 32]);
        };
        scene.lie(foreign(scene, other, None).await);
        scene.wait().await;
        scene.halts("has seen another revision 1");
    });
}

/// A server that always has one more batch, each as empty as the last.
struct Endless(Mutex<u64>);

impl Hostile for Endless {
    fn idle(&self) -> Option<JournalBatch> {
        *self.0.lock().unwrap() += 1;
        Some(JournalBatch { epoch: 1, last_revision: u64::MAX, ..JournalBatch::default() })
    }
}

#[test]
fn an_endless_journal_does_not_keep_this_device_from_its_work() {
    play(async |scene: &Scene| {
        let endless = std::sync::Arc::new(Endless(Mutex::new(0)));
        scene.victim.link.set_hostile(Some(endless.clone()));
        scene.victim.link.cut();
        scene.victim.writer.write("mine", b"written while it goes on");
        scene.honest.writer.write("yours", b"written while it goes on, there");
        for _ in 0..60 {
            // Each batch is a round, which the simulation would take for a circle.
            scene.victim.steps.set(0);
            tokio::time::sleep(std::time::Duration::from_secs(1)).await; // ok: virtual time
        }
        assert!(*endless.0.lock().unwrap() > 1_000);
        scene.shows(&[BEFORE, "mine", "yours"]);
        assert_eq!(scene.honest.fs.user().read("mine").unwrap(), b"written while it goes on");
        scene.victim.link.set_hostile(None);
        scene.goes_on().await;
    });
}

/// One person's word is enough: the other devices follow it.
#[test]
fn a_restored_backup_is_agreed_to_on_one_device_and_the_others_follow() {
    play(async |scene: &Scene| {
        let backup = scene.world.server.back_up();
        scene.honest.writer.write("since", b"written since the backup");
        scene.wait().await;
        scene.world.server.restore(backup);
        scene.world.ledger.forget_accepted(std::collections::BTreeSet::new());
        scene.honest.link.cut();
        scene.victim.link.cut();
        scene.wait().await;
        scene.victim.confirm().await.unwrap();
        scene.wait().await;
        let other = scene.honest.handle().unwrap().summary();
        assert_eq!(other.status, FolderStatus::Idle, "{other:?}");
        scene.goes_on().await;
    });
}

/// The server goes back, and everybody hears of it who is connected.
fn restore(scene: &Scene, backup: Backup) {
    scene.world.server.restore(backup);
    scene.world.ledger.forget_accepted(BTreeSet::new());
    scene.honest.link.cut();
    scene.victim.link.cut();
}

/// Names a revision that it does not bring: who follows a restore does not come to its end.
struct Unfinished;

impl Hostile for Unfinished {
    fn replies(&self, mut replies: Vec<Reply>) -> Vec<Reply> {
        for reply in &mut replies {
            if let Reply::Folders(part) = reply {
                part.folders.iter_mut().for_each(|folder| folder.revision += 1_000);
            }
        }
        replies
    }
}

fn status(device: &SimDevice) -> FolderStatus {
    device.handle().unwrap().summary().status
}

/// What the device had synced before the first restore is no merge base for what the server has after
/// the second, though its revision is one that the second has kept.
#[test]
fn s1_a_second_restore_while_the_first_is_followed_takes_nothing() {
    play(async |scene: &Scene| {
        let first = scene.world.server.back_up();
        scene.honest.link.set_up(false);
        scene.victim.writer.write(BEFORE, b"on this device alone");
        scene.wait().await;
        scene.victim.link.set_up(false);
        restore(scene, first);
        scene.honest.link.set_up(true);
        for number in 0..4 {
            scene.honest.writer.write(&format!("since {number}"), format!("{number}").as_bytes());
            scene.wait().await;
        }
        let second = scene.world.server.back_up();
        scene.honest.writer.write("later", b"written since the second backup");
        scene.wait().await;

        scene.victim.link.set_hostile(Some(Arc::new(Unfinished)));
        scene.victim.link.set_up(true);
        scene.wait().await;
        assert_eq!(status(&scene.victim), FolderStatus::Halted);
        drop(scene.victim.confirm().await);
        scene.wait().await;
        scene.victim.link.set_up(false);
        restore(scene, second);
        scene.wait().await;
        scene.honest.confirm().await.unwrap();
        scene.wait().await;
        scene.victim.link.set_hostile(None);
        scene.victim.link.set_up(true);
        scene.wait().await;
        for device in [&scene.victim, &scene.honest] {
            let bytes = device.fs.user().read(BEFORE).unwrap();
            assert_eq!(bytes, b"on this device alone", "device {}", device.number);
        }
        scene.goes_on().await;
    });
}

#[test]
fn who_is_cut_off_while_it_follows_a_restore_goes_on_when_the_server_is_back() {
    play(async |scene: &Scene| {
        let backup = scene.world.server.back_up();
        scene.honest.writer.write("since", b"written since the backup");
        scene.wait().await;
        restore(scene, backup);
        scene.wait().await;
        assert_eq!(status(&scene.victim), FolderStatus::Halted);
        scene.victim.link.set_hostile(Some(Arc::new(Unfinished)));
        scene.honest.confirm().await.unwrap();
        scene.wait().await;
        scene.victim.link.set_hostile(None);
        scene.victim.link.cut();
        scene.wait().await;
        scene.shows(&[BEFORE, "since"]);
        scene.goes_on().await;
    });
}

#[test]
fn what_a_person_has_agreed_to_reaches_the_others_though_the_device_is_stopped() {
    play(async |scene: &Scene| {
        let backup = scene.world.server.back_up();
        scene.honest.writer.write("since", b"written since the backup");
        scene.wait().await;
        restore(scene, backup);
        scene.wait().await;
        scene.victim.link.set_hostile(Some(Arc::new(Unfinished)));
        drop(scene.victim.confirm().await);
        scene.wait().await;
        assert_eq!(status(&scene.honest), FolderStatus::Halted, "nobody has told it");
        scene.victim.stop(Stop::Kill).await;
        scene.victim.link.set_hostile(None);
        scene.victim.start().await;
        scene.wait().await;
        assert_eq!(status(&scene.honest), FolderStatus::Idle);
        scene.shows(&[BEFORE, "since"]);
        scene.goes_on().await;
    });
}

/// Both push again what the server has forgotten, one a moment after the other: that the server knows it
/// by then does not make it another.
#[test]
fn what_two_devices_push_again_is_there_once() {
    for pause_ms in (0..60).step_by(4) {
        play(async |scene: &Scene| {
            let backup = scene.world.server.back_up();
            scene.honest.writer.make_directory("d");
            scene.honest.writer.write("d/a", b"in the directory");
            scene.wait().await;
            scene.victim.link.set_up(false);
            scene.victim.writer.rename("d", "moved");
            restore(scene, backup);
            scene.victim.link.set_up(true);
            scene.wait().await;
            scene.honest.confirm().await.unwrap();
            tokio::time::sleep(Duration::from_millis(pause_ms)).await; // ok: virtual time
            // It may have heard of the other's word by now.
            drop(scene.victim.confirm().await);
            scene.wait().await;
            let paths = scene.paths();
            let moved = [BEFORE, "moved", "moved/a"];
            assert!(paths == [BEFORE, "d", "d/a"] || paths == moved, "{pause_ms}: {paths:?}");
        });
    }
}
