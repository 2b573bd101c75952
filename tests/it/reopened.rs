//! Conflicts that are opened again: what was settled on one device while its copy was edited on another,
//! and what a server has forgotten that was restored from a backup.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client::engine::{Ask, AskError, ConflictInfo, Keep};
use server_core::metadata::{Action, Command, Quota};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;
use tests::sim::clock::in_virtual_time;
use tests::sim::device::{SimDevice, Stop};
use tests::sim::world::World;

const COPY: &str = "a (conflict 2026-11-22 device1).txt";

async fn conflicts(device: &SimDevice) -> Vec<ConflictInfo> {
    let ask = |answer| Ask::ConflictsIn(String::new(), false, answer);
    device.handle().unwrap().ask(ask).await.unwrap()
}

async fn a_while() {
    tokio::time::sleep(Duration::from_secs(5)).await; // ok: virtual time
}

/// Two devices that have edited `a.txt` apart from each other; the copy is the second's.
async fn in_conflict(seed: u64) -> (World, [Rc<SimDevice>; 2]) {
    let (world, [one, two]) = World::quiet(seed).await;
    one.writer.write("a.txt", b"base");
    world.settled().await;
    conflict(&world, &one, &two).await;
    (world, [one, two])
}

async fn conflict(world: &World, one: &SimDevice, two: &SimDevice) {
    two.link.set_up(false);
    one.writer.write("a.txt", b"one");
    two.writer.write("a.txt", b"two");
    a_while().await;
    two.link.set_up(true);
    world.settled().await;
}

/// Checks that all list this conflict alone, and who wrote which side of it.
async fn is_open(devices: [&SimDevice; 2], copy_by: &SimDevice) {
    for device in devices {
        let open = conflicts(device).await;
        let [conflict] = open.as_slice() else { panic!("not one: {open:?}") };
        assert_eq!((conflict.path.as_str(), conflict.copy.as_str()), ("a.txt", COPY));
        assert_eq!(conflict.sides[1].device, copy_by.device());
    }
}

async fn keep(device: &SimDevice, keep: Keep) {
    let ask = |answer| Ask::Resolve("a.txt".to_owned(), keep, answer);
    device.handle().unwrap().ask(ask).await.unwrap();
}

fn hold(devices: [&SimDevice; 2], files: &[(&str, &[u8])]) {
    for device in devices {
        let user = device.fs.user();
        assert_eq!(user.tree().len(), files.len(), "{:?}", user.tree().keys());
        for (path, bytes) in files {
            assert_eq!(user.read(path).unwrap(), *bytes, "{path}");
        }
    }
}

#[test]
fn a_copy_edited_while_it_is_deleted_elsewhere_comes_back_with_its_conflict() {
    in_virtual_time(async {
        let (world, [one, two]) = in_conflict(61).await;
        two.link.set_up(false);
        one.writer.delete(COPY);
        a_while().await;
        assert_eq!(conflicts(&one).await, [], "it is settled there");
        two.writer.write(COPY, b"two, later");
        a_while().await;
        two.link.set_up(true);
        world.settled().await;
        hold([&one, &two], &[("a.txt", b"one"), (COPY, b"two, later")]);
        is_open([&one, &two], &two).await;
        keep(&two, Keep::Mine).await;
        world.settled().await;
        hold([&one, &two], &[("a.txt", b"two, later")]);
        for device in [&one, &two] {
            assert_eq!(conflicts(device).await, []);
        }
    });
}

/// What is kept would not have it, and what is deleted would.
#[test]
fn a_conflict_is_not_settled_over_an_edit_that_is_only_on_this_disk() {
    in_virtual_time(async {
        let (world, [one, two]) = in_conflict(64).await;
        for (path, settle) in [(COPY, Keep::Mine), (COPY, Keep::Original), ("a.txt", Keep::Copy)] {
            two.writer.write(path, format!("late, for {settle:?}").as_bytes());
            let ask = |answer| Ask::Resolve("a.txt".to_owned(), settle, answer);
            let refused = two.handle().unwrap().ask(ask).await;
            assert!(matches!(&refused, Err(AskError::Unsynced(of)) if of == path), "{refused:?}");
            world.settled().await;
            is_open([&one, &two], &two).await;
        }
        keep(&two, Keep::Mine).await;
        world.settled().await;
        hold([&one, &two], &[("a.txt", b"late, for Original")]);
    });
}

/// Each device deletes another side by hand, the second while it is off or away: the deletion that came first
/// stands, and what it left comes back.
#[test]
fn a_conflict_whose_sides_are_deleted_on_two_devices_leaves_the_side_that_was_kept_first() {
    for (seed, one_deletes, two_deletes) in
        [(66, COPY, "a.txt"), (67, "a.txt", COPY), (68, COPY, "a.txt"), (69, "a.txt", COPY)]
    {
        in_virtual_time(async {
            let (world, [one, two]) = in_conflict(seed).await;
            let is_off = seed >= 68;
            if is_off {
                two.stop(Stop::Kill).await;
            } else {
                two.link.set_up(false);
            }
            two.writer.delete(two_deletes);
            one.writer.delete(one_deletes);
            a_while().await;
            if is_off {
                two.start().await;
            } else {
                two.link.set_up(true);
            }
            world.settled().await;
            let bytes: &[u8] = if two_deletes == COPY { b"two" } else { b"one" };
            hold([&one, &two], &[(two_deletes, bytes)]);
        });
    }
}

/// The same as a command; and who has deleted both sides wants neither.
#[test]
fn a_side_that_was_kept_elsewhere_comes_back_unless_both_were_deleted() {
    for (seed, deleted) in [(70, &["a.txt"][..]), (71, &["a.txt", COPY][..])] {
        in_virtual_time(async {
            let (world, [one, two]) = in_conflict(seed).await;
            two.link.set_up(false);
            deleted.iter().for_each(|path| two.writer.delete(path));
            keep(&one, Keep::Original).await;
            a_while().await;
            two.link.set_up(true);
            world.settled().await;
            let files: &[(&str, &[u8])] = &[("a.txt", b"one")];
            hold([&one, &two], if deleted.len() == 1 { files } else { &[] });
            for device in [&one, &two] {
                assert_eq!(conflicts(device).await, []);
            }
        });
    }
}

#[test]
fn a_copy_edited_while_its_conflict_is_settled_elsewhere_comes_back_with_it() {
    in_virtual_time(async {
        for (seed, settle) in [(62, Keep::Original), (63, Keep::Both)] {
            let (world, [one, two]) = in_conflict(seed).await;
            two.link.set_up(false);
            keep(&one, settle).await;
            two.writer.write(COPY, b"two, later");
            a_while().await;
            two.link.set_up(true);
            world.settled().await;
            hold([&one, &two], &[("a.txt", b"one"), (COPY, b"two, later")]);
            match settle {
                Keep::Both => assert_eq!(conflicts(&two).await, [], "both were to stay"),
                _ => is_open([&one, &two], &two).await,
            }
        }
    });
}

/// Also where it is another device on which a person agrees to go on.
#[test]
fn a_conflict_that_a_restored_server_has_forgotten_is_opened_again() {
    in_virtual_time(async {
        for (seed, agrees) in [(64, 0), (65, 1)] {
            let (world, [one, two]) = World::quiet(seed).await;
            one.writer.write("a.txt", b"base");
            world.settled().await;
            let backup = world.server.back_up();
            conflict(&world, &one, &two).await;
            is_open([&one, &two], &two).await;
            world.server.restore(backup);
            world.ledger.forget_accepted(BTreeSet::new());
            one.link.cut();
            two.link.cut();
            tokio::time::sleep(Duration::from_secs(40)).await; // ok: virtual time
            [&one, &two][agrees].confirm().await.unwrap();
            tokio::time::sleep(Duration::from_secs(40)).await; // ok: virtual time
            world.settled().await;
            hold([&one, &two], &[("a.txt", b"one"), (COPY, b"two")]);
            is_open([&one, &two], &two).await;
            keep(&two, Keep::Mine).await;
            world.settled().await;
            hold([&one, &two], &[("a.txt", b"two")]);
            assert_eq!(conflicts(&one).await, []);
        }
    });
}

fn allow(world: &World, more_versions: Option<u64>) {
    let meta = world.server.meta();
    let folder = meta.read(|reads| reads.folder(&world.folder())).unwrap().unwrap();
    let used = meta.read(|reads| reads.user(&folder.user)).unwrap().unwrap().usage.versions;
    let versions_max = more_versions.map_or(u64::MAX, |more| used + more);
    let quota = Quota { versions_max, ..Quota::UNLIMITED };
    let action = Action::SetQuota { user: folder.user, quota };
    let command = Command { time_ms: folder.time_ms, action };
    meta.apply_here(&command).unwrap();
}

#[test]
fn a_refusal_that_passes_leaves_a_conflict_to_be_opened_again() {
    in_virtual_time(async {
        let (world, [one, two]) = in_conflict(66).await;
        two.link.set_up(false);
        one.writer.delete(COPY);
        a_while().await;
        two.writer.write(COPY, b"two, later");
        a_while().await;
        // There is room for the copy that comes back and its content, and not for the conflict.
        allow(&world, Some(2));
        two.link.set_up(true);
        tokio::time::sleep(Duration::from_secs(60)).await; // ok: virtual time
        hold([&one, &two], &[("a.txt", b"one"), (COPY, b"two, later")]);
        assert_eq!(conflicts(&two).await, [], "there was no room for it");
        allow(&world, None);
        tokio::time::sleep(Duration::from_secs(120)).await; // ok: virtual time
        world.settled().await;
        is_open([&one, &two], &two).await;
    });
}

/// The server has forgotten both files, and who had opened the conflict has only the copy.
#[test]
fn a_side_that_another_device_still_pushes_is_waited_for() {
    in_virtual_time(async {
        let (world, [one, two]) = World::quiet(67).await;
        let backup = world.server.back_up();
        one.writer.write("a.txt", b"base");
        world.settled().await;
        conflict(&world, &one, &two).await;
        one.link.set_up(false);
        world.server.restore(backup);
        world.ledger.forget_accepted(BTreeSet::new());
        two.link.cut();
        tokio::time::sleep(Duration::from_secs(40)).await; // ok: virtual time
        two.writer.delete("a.txt");
        two.confirm().await.unwrap();
        tokio::time::sleep(Duration::from_secs(40)).await; // ok: virtual time
        hold([&two, &two], &[(COPY, b"two")]);
        one.link.set_up(true);
        tokio::time::sleep(Duration::from_secs(40)).await; // ok: virtual time
        world.settled().await;
        hold([&one, &two], &[("a.txt", b"one"), (COPY, b"two")]);
        is_open([&one, &two], &two).await;
    });
}
