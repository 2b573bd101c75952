//! The guard against mass deletion (S14), with real engines: what is many waits for a person, on the
//! device where it happens and on each that receives it, in whatever slices it comes.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client::engine::{Ask, AskError, HaltReason};
use client::fs::memory::RootState;
use client::fs::memory::user::UserEntry;
use client::watch::Hint;
use common::ids::EntryId;
use common::record::{Content, Kind};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;
use tests::sim::clock::in_virtual_time;
use tests::sim::device::{SimDevice, Stop};
use tests::sim::restored::Asked;
use tests::sim::world::{Make, World};

/// Long enough for several tries.
const PATIENCE: Duration = Duration::from_secs(40);

/// Two devices with so many files of one line each, in sync.
async fn with_files(seed: u64, count: usize) -> (World, [Rc<SimDevice>; 2]) {
    let world = World::new(Make { seed, devices: 2, grain_ns: 1, ..Make::default() }).await;
    let devices = [&world.devices[0], &world.devices[1]].map(Rc::clone);
    world.end_faults().await;
    for number in 0..count {
        devices[0].writer.write_new(&format!("file {number}"));
    }
    assert!(world.settle().await, "{:#?}", world.ledger.tail());
    (world, devices)
}

fn halt_of(device: &SimDevice) -> Option<HaltReason> {
    device.handle().unwrap().summary().halt
}

#[test]
fn a_mass_deletion_waits_for_a_person() {
    in_virtual_time(async {
        let world = World::new(Make { seed: 8, devices: 2, grain_ns: 1, ..Make::default() }).await;
        let [writer, reader] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
        world.end_faults().await;
        for number in 0..30 {
            writer.writer.write(&format!("file {number}"), format!("{number}").as_bytes());
        }
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        for number in 0..30 {
            writer.writer.delete(&format!("file {number}"));
        }
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        let halted = writer.handle().unwrap().summary();
        assert!(halted.halt.is_some_and(|halt| halt.can_confirm));
        assert_eq!(reader.fs.user().tree().len(), 30, "nothing is deleted before a person agrees");
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        assert!(reader.fs.user().tree().is_empty());
    });
}

/// They are found empty in many rounds, and are one mass all the same.
#[test]
fn files_emptied_one_after_another_wait_for_a_person() {
    in_virtual_time(async {
        let (world, [writer, reader]) = with_files(10, 200).await;
        for number in 0..200 {
            writer.writer.write(&format!("file {number}"), b"");
            tokio::time::sleep(Duration::from_millis(7)).await; // ok: virtual time
        }
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert!(halt_of(&writer).is_some_and(|halt| halt.message.contains("200 of 200")));
        let is_empty =
            |entry: &UserEntry| matches!(entry, UserEntry::File(bytes, _) if bytes.is_empty());
        assert!(!reader.fs.user().tree().values().any(is_empty), "nobody has agreed");
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        assert!(reader.fs.user().tree().values().all(is_empty));
    });
}

#[test]
fn a_mass_deletion_in_slices_waits_for_a_person() {
    in_virtual_time(async {
        let (world, [writer, reader]) = with_files(11, 40).await;
        for slice in 0..10 {
            for number in 0..3 {
                writer.writer.delete(&format!("file {}", slice * 3 + number));
            }
            tokio::time::sleep(Duration::from_millis(400)).await; // ok: virtual time
        }
        for _ in 0..3 {
            assert!(halt_of(&writer).is_some_and(|halt| halt.can_confirm));
            assert!(reader.fs.user().tree().len() >= 20);
            tokio::time::sleep(PATIENCE).await; // ok: virtual time
        }
        writer.confirm().await.unwrap();
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert_eq!(halt_of(&writer).map(|halt| halt.message), None);
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        assert_eq!(reader.fs.user().tree().len(), 10);
    });
}

/// Neither of two devices deletes a mass, and a third receives one.
#[test]
fn a_mass_deletion_by_several_devices_waits_where_it_is_received() {
    in_virtual_time(async {
        let (mut world, [writer, reader]) = with_files(12, 40).await;
        let third = world.add_device(true, None).await;
        third.start().await;
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        for number in 0..15 {
            writer.writer.delete(&format!("file {number}"));
        }
        tokio::time::sleep(Duration::from_secs(1)).await; // ok: virtual time
        assert_eq!(reader.fs.user().tree().len(), 25);
        for number in 15..30 {
            third.writer.delete(&format!("file {number}"));
        }
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert!(halt_of(&reader).is_some_and(|halt| halt.can_confirm));
        assert_eq!(reader.fs.user().tree().len(), 25);
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        assert_eq!(reader.fs.user().tree().len(), 10);
    });
}

/// Also where something else waits for ever, as a name does that clashes on this disk.
#[test]
fn a_person_agrees_to_what_waits_and_to_nothing_later() {
    let make = Make { seed: 9, devices: 2, grain_ns: 1, folding: Some(1), ..Make::default() };
    in_virtual_time(async {
        let world = World::new(make).await;
        let [plain, folding] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
        world.end_faults().await;
        plain.writer.write("Foo", b"one of two");
        plain.writer.write("foo", b"two of two");
        for agreed in [1, 2] {
            plain.writer.make_directory("many");
            for number in 0..30 {
                plain.writer.write_new(&format!("many/{number}"));
            }
            assert!(world.settle().await, "{:#?}", world.ledger.tail());
            folding.deletions.set_confirmed(false);
            folding.writer.delete("many");
            tokio::time::sleep(PATIENCE).await; // ok: virtual time
            let halt = folding.handle().unwrap().summary().halt;
            assert!(halt.is_some_and(|halt| halt.can_confirm), "time {agreed}");
            assert_eq!(plain.fs.user().tree().len(), 33, "time {agreed}");
            assert!(world.settle().await, "{:#?}", world.ledger.tail());
            assert_eq!(plain.fs.user().tree().len(), 2, "time {agreed}");
        }
    });
}

async fn undo(device: &SimDevice) -> u64 {
    device.handle().unwrap().ask(Ask::Undo).await.unwrap()
}

/// The same where a part was let through, which is restored.
async fn undo_all(world: &World, device: &SimDevice) -> u64 {
    let restore = world.ledger.restore_begins(Asked::of_some_moment(device.device()));
    let count = undo(device).await;
    world.ledger.restore_ends(restore);
    count
}

/// On the device where it happened the files come back from the server, on one that received it
/// they go back there.
#[test]
fn a_mass_deletion_is_taken_back_where_it_happened_and_where_it_is_received() {
    in_virtual_time(async {
        let (world, [writer, reader]) = with_files(21, 40).await;
        let before = writer.fs.user().tree();
        for number in 0..30 {
            writer.writer.delete(&format!("file {number}"));
        }
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        let halt = halt_of(&writer).unwrap();
        assert_eq!(halt.entries.len(), 30);
        assert!(halt.entries.contains(&"file 7".to_owned()) && halt.since_ms.is_some());
        assert_eq!(undo(&writer).await, 30);
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert_eq!(halt_of(&writer), None);
        assert_eq!(writer.fs.user().tree(), before);
        assert_eq!(reader.fs.user().tree(), before);

        for number in 0..30 {
            writer.writer.delete(&format!("file {number}"));
        }
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        writer.confirm().await.unwrap();
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert_eq!(writer.fs.user().tree().len(), 10);
        assert_eq!(halt_of(&reader).unwrap().entries.len(), 30);
        assert_eq!(undo(&reader).await, 30);
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        assert_eq!(reader.fs.user().tree(), before);
        assert_eq!(writer.fs.user().tree(), before);
    });
}

#[test]
fn a_mass_of_emptied_files_is_taken_back_where_it_happened_and_where_it_is_received() {
    in_virtual_time(async {
        let (world, [writer, reader]) = with_files(22, 40).await;
        let before = writer.fs.user().tree();
        let empty = || (0..30).for_each(|n| writer.writer.write(&format!("file {n}"), b""));
        empty();
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert_eq!(undo(&writer).await, 30);
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert_eq!(halt_of(&writer), None);
        assert_eq!(writer.fs.user().tree(), before);

        empty();
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        writer.confirm().await.unwrap();
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert_eq!(undo(&reader).await, 30);
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        assert_eq!(writer.fs.user().tree(), before);
        assert_eq!(reader.fs.user().tree(), before);
    });
}

/// What had gone before it was seen to be a mass belongs to it, and is named with it.
#[test]
fn what_was_let_through_of_a_mass_deletion_is_taken_back_with_it() {
    in_virtual_time(async {
        let (world, [writer, reader]) = with_files(23, 36).await;
        writer.writer.make_directory("d");
        (0..4).for_each(|number| writer.writer.write_new(&format!("d/{number}")));
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        let before = writer.fs.user().tree();
        writer.writer.action("rm -r", "d", |user| user.remove_all("d"));
        (0..5).for_each(|number| writer.writer.delete(&format!("file {number}")));
        tokio::time::sleep(Duration::from_secs(2)).await; // ok: virtual time
        assert_eq!(reader.fs.user().tree().len(), 31, "a few are no mass");
        (5..30).for_each(|number| writer.writer.delete(&format!("file {number}")));
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        let halt = halt_of(&writer).unwrap();
        let expected = "25 more of 31 entries, after 10 in the 10 seconds before";
        assert!(halt.message.contains(expected), "{}", halt.message);
        // What was made anew under a name that had gone is not replaced.
        writer.writer.write("file 0", b"another");
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert_eq!(undo_all(&world, &writer).await, 34);
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        let mut expected = before;
        let another = writer.fs.user().tree()["file 0"].clone();
        assert!(matches!(&another, UserEntry::File(bytes, _) if bytes == b"another"));
        expected.insert("file 0".to_owned(), another);
        assert_eq!(writer.fs.user().tree(), expected);
        assert_eq!(reader.fs.user().tree(), expected);
    });
}

#[test]
fn what_was_let_through_of_a_mass_of_emptied_files_is_taken_back_with_it() {
    in_virtual_time(async {
        let (world, [writer, reader]) = with_files(24, 40).await;
        let before = writer.fs.user().tree();
        let empty = |number| writer.writer.write(&format!("file {number}"), b"");
        (0..10).for_each(empty);
        tokio::time::sleep(Duration::from_secs(3)).await; // ok: virtual time
        (10..30).for_each(empty);
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        let halt = halt_of(&writer).unwrap();
        assert!(halt.message.contains("20 more of 40 entries, after 10"), "{}", halt.message);
        assert_eq!(undo_all(&world, &writer).await, 30);
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        assert_eq!(writer.fs.user().tree(), before);
        assert_eq!(reader.fs.user().tree(), before);
    });
}

#[test]
fn what_was_let_through_of_a_mass_that_is_received_is_taken_back_with_it() {
    in_virtual_time(async {
        let (mut world, [writer, reader]) = with_files(25, 40).await;
        let third = world.add_device(true, None).await;
        third.start().await;
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        let before = reader.fs.user().tree();
        (0..15).for_each(|number| writer.writer.delete(&format!("file {number}")));
        tokio::time::sleep(Duration::from_secs(1)).await; // ok: virtual time
        (15..30).for_each(|number| third.writer.delete(&format!("file {number}")));
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        let halt = halt_of(&reader).unwrap();
        assert!(halt.message.contains("15 more of 25 entries, after 15"), "{}", halt.message);
        // Without the server none of it is taken back, and it can be asked for again.
        reader.link.set_up(false);
        assert!(reader.handle().unwrap().ask(Ask::Undo).await.is_err());
        assert!(halt_of(&reader).is_some());
        reader.link.set_up(true);
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert_eq!(undo_all(&world, &reader).await, 30);
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        for device in [&writer, &reader, &third] {
            assert_eq!(device.fs.user().tree(), before);
        }
    });
}

/// A name is held at the server by what no device can read, and so none shows it.
#[test]
fn what_was_let_through_comes_back_into_a_directory_that_waits() {
    in_virtual_time(async {
        let (mut world, [writer, reader]) = with_files(27, 4).await;
        let third = world.add_device(true, None).await;
        third.start().await;
        writer.writer.make_directory("d");
        (0..25).for_each(|number| writer.writer.write_new(&format!("d/{number}")));
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        let before = reader.fs.user().tree();
        (0..10).for_each(|number| writer.writer.delete(&format!("d/{number}")));
        tokio::time::sleep(Duration::from_secs(1)).await; // ok: virtual time
        third.writer.delete("d");
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        let halt = halt_of(&reader).unwrap();
        assert!(halt.message.contains("16 more of 20 entries, after 10"), "{}", halt.message);
        assert_eq!(undo_all(&world, &reader).await, 26);
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        for device in [&writer, &reader, &third] {
            assert_eq!(device.fs.user().tree(), before);
        }
    });
}

#[test]
fn what_cannot_come_back_of_a_mass_deletion_keeps_nothing_else_from_it() {
    in_virtual_time(async {
        let (world, [writer, reader]) = with_files(26, 35).await;
        writer.writer.make_directory("d");
        (0..5).for_each(|number| writer.writer.write_new(&format!("d/{number}")));
        let rogue = world.add_rogue().await;
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        let before = writer.fs.user().tree();
        writer.writer.action("rm -r", "d", |user| user.remove_all("d"));
        (0..4).for_each(|number| writer.writer.delete(&format!("file {number}")));
        tokio::time::sleep(Duration::from_secs(2)).await; // ok: virtual time
        let entry = rogue.fresh();
        let unreadable = Content { attributes: vec![7; 64], ..rogue.directory(&entry) };
        let place = rogue.place(&entry, EntryId::ROOT, b"d");
        let holds = rogue.create(entry, Kind::Directory, place, unreadable);
        rogue.commit(vec![holds]).await.unwrap();
        (4..30).for_each(|number| writer.writer.delete(&format!("file {number}")));
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert!(halt_of(&writer).unwrap().message.contains("after 10"));
        let restore = world.ledger.restore_begins(Asked::of_some_moment(writer.device()));
        let error = writer.handle().unwrap().ask(Ask::Undo).await.unwrap_err().to_string();
        world.ledger.restore_ends(restore);
        assert!(error.contains("d and 5 more cannot be brought back"), "{error}");
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert_eq!(halt_of(&writer), None);
        let mut expected = before;
        expected.retain(|path, _| path != "d" && !path.starts_with("d/"));
        assert_eq!(writer.fs.user().tree(), expected);
        assert_eq!(reader.fs.user().tree(), expected);
    });
}

/// Long enough for a slice, and too short for another mass.
const SLICE: Duration = Duration::from_millis(400);

fn clock_ms(device: &SimDevice) -> u64 {
    u64::try_from(device.clock.now_ns() / 1_000_000).unwrap()
}

/// Stops a device, and starts it again after a while.
async fn restart(device: &SimDevice) {
    device.stop(Stop::Kill).await;
    tokio::time::sleep(PATIENCE).await; // ok: virtual time
    device.start().await;
}

/// Deletes thirty of forty files in slices; returns when it may have been seen to be a mass.
async fn delete_in_slices(writer: &SimDevice) -> RangeInclusive<u64> {
    let mut seen = clock_ms(writer)..=0;
    for slice in 0..10 {
        if halt_of(writer).is_none() {
            seen = clock_ms(writer)..=0;
        }
        (0..3).for_each(|number| writer.writer.delete(&format!("file {}", slice * 3 + number)));
        tokio::time::sleep(SLICE).await; // ok: virtual time
        if halt_of(writer).is_some() && *seen.end() == 0 {
            seen = *seen.start()..=clock_ms(writer);
        }
    }
    assert_ne!(*seen.end(), 0, "it halts in the middle");
    seen
}

/// Fifteen files are deleted by each of two devices, which a third receives; returns when.
async fn delete_on_two(writers: [&SimDevice; 2], reader: &SimDevice) -> RangeInclusive<u64> {
    (0..15).for_each(|number| writers[0].writer.delete(&format!("file {number}")));
    tokio::time::sleep(Duration::from_secs(1)).await; // ok: virtual time
    let before = clock_ms(reader);
    (15..30).for_each(|number| writers[1].writer.delete(&format!("file {number}")));
    tokio::time::sleep(Duration::from_secs(2)).await; // ok: virtual time
    before..=clock_ms(reader)
}

#[test]
fn a_mass_deletion_waits_on_when_its_author_starts_again() {
    in_virtual_time(async {
        let (world, [writer, reader]) = with_files(31, 40).await;
        let seen = delete_in_slices(&writer).await;
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        let waits = halt_of(&writer).unwrap();
        assert!(seen.contains(&waits.since_ms.unwrap()), "{waits:?} {seen:?}");
        let left = reader.fs.user().tree().len();
        assert!(left >= 20);
        for _ in 0..2 {
            writer.link.set_up(false);
            restart(&writer).await;
            tokio::time::sleep(SLICE).await; // ok: virtual time
            assert_eq!(halt_of(&writer).as_ref(), Some(&waits), "without the server too");
            writer.link.set_up(true);
            tokio::time::sleep(PATIENCE).await; // ok: virtual time
            assert_eq!(halt_of(&writer).as_ref(), Some(&waits));
            assert_eq!(reader.fs.user().tree().len(), left, "nobody has agreed");
        }
        writer.confirm().await.unwrap();
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert_eq!(halt_of(&writer), None);
        assert_eq!(reader.fs.user().tree().len(), 10);
        restart(&writer).await;
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert_eq!(halt_of(&writer), None, "it is over");
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
    });
}

#[test]
fn a_mass_deletion_waits_on_when_its_receiver_starts_again() {
    in_virtual_time(async {
        let (mut world, [writer, reader]) = with_files(33, 40).await;
        let third = world.add_device(true, None).await;
        third.start().await;
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        let seen = delete_on_two([&writer, &third], &reader).await;
        let waits = halt_of(&reader).unwrap();
        assert!(seen.contains(&waits.since_ms.unwrap()), "{waits:?} {seen:?}");
        restart(&reader).await;
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert_eq!(halt_of(&reader).as_ref(), Some(&waits));
        assert_eq!(reader.fs.user().tree().len(), 25, "nobody has agreed");
        reader.confirm().await.unwrap();
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert_eq!(halt_of(&reader), None);
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        assert_eq!(reader.fs.user().tree().len(), 10);
    });
}

#[test]
fn slices_of_a_mass_deletion_are_one_when_the_device_starts_again_between_them() {
    in_virtual_time(async {
        let (world, [writer, reader]) = with_files(34, 40).await;
        let before = writer.fs.user().tree();
        (0..15).for_each(|number| writer.writer.delete(&format!("file {number}")));
        tokio::time::sleep(Duration::from_secs(2)).await; // ok: virtual time
        assert_eq!(reader.fs.user().tree().len(), 25, "they are no mass");
        writer.stop(Stop::Kill).await;
        writer.start().await;
        tokio::time::sleep(Duration::from_secs(1)).await; // ok: virtual time
        (15..30).for_each(|number| writer.writer.delete(&format!("file {number}")));
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        let halt = halt_of(&writer).unwrap();
        assert!(halt.message.contains("15 more of 25 entries, after 15"), "{}", halt.message);
        assert_eq!(reader.fs.user().tree().len(), 25);
        assert_eq!(undo_all(&world, &writer).await, 30);
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        assert_eq!(reader.fs.user().tree(), before);
    });
}

/// What is deleted so long after another that it is no part of a mass is none after a restart either.
#[test]
fn what_was_let_through_long_ago_does_not_count_after_a_restart() {
    in_virtual_time(async {
        let (world, [writer, reader]) = with_files(35, 40).await;
        (0..15).for_each(|number| writer.writer.delete(&format!("file {number}")));
        tokio::time::sleep(Duration::from_secs(2)).await; // ok: virtual time
        restart(&writer).await;
        (15..30).for_each(|number| writer.writer.delete(&format!("file {number}")));
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert_eq!(halt_of(&writer), None);
        assert_eq!(reader.fs.user().tree().len(), 10);
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
    });
}

#[test]
fn a_root_that_is_lost_for_a_moment_lets_no_mass_deletion_go() {
    in_virtual_time(async {
        for (seed, state) in [(36, RootState::Gone), (37, RootState::Empty)] {
            let (world, [writer, reader]) = with_files(seed, 40).await;
            delete_in_slices(&writer).await;
            let waits = halt_of(&writer).unwrap();
            let left = reader.fs.user().tree().len();
            writer.fs.set_root_state(state);
            writer.hint(Hint::Everything);
            tokio::time::sleep(PATIENCE).await; // ok: virtual time
            let lost = halt_of(&writer).unwrap();
            assert!(!lost.can_confirm && lost.message.contains("root is not there"), "{lost:?}");
            let error = writer.handle().unwrap().ask(Ask::Confirm).await.unwrap_err();
            assert!(matches!(error, AskError::NothingToConfirm), "{error}");
            writer.mend();
            tokio::time::sleep(PATIENCE).await; // ok: virtual time
            assert_eq!(halt_of(&writer).as_ref(), Some(&waits));
            assert_eq!(reader.fs.user().tree().len(), left, "nobody has agreed");
            assert!(world.settle().await, "{:#?}", world.ledger.tail());
            assert_eq!(reader.fs.user().tree().len(), 10);
        }
    });
}

#[test]
fn a_mass_deletion_is_taken_back_whole_after_a_restart() {
    in_virtual_time(async {
        let (mut world, [writer, reader]) = with_files(38, 40).await;
        let third = world.add_device(true, None).await;
        third.start().await;
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        let before = writer.fs.user().tree();
        delete_in_slices(&writer).await;
        restart(&writer).await;
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert_eq!(undo_all(&world, &writer).await, 30);
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        assert_eq!(reader.fs.user().tree(), before);

        delete_on_two([&writer, &third], &reader).await;
        restart(&reader).await;
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert_eq!(undo_all(&world, &reader).await, 30);
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        restart(&reader).await;
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        assert_eq!(halt_of(&reader), None, "it is over");
        for device in [&writer, &reader, &third] {
            assert_eq!(device.fs.user().tree(), before);
        }
    });
}

/// A person is asked again: more than what they agreed to never goes.
#[test]
fn a_consent_that_a_crash_overtakes_is_asked_for_again() {
    in_virtual_time(async {
        let (world, [writer, reader]) = with_files(39, 40).await;
        delete_in_slices(&writer).await;
        let left = reader.fs.user().tree().len();
        writer.link.set_up(false);
        writer.handle().unwrap().ask(Ask::Confirm).await.unwrap();
        tokio::time::sleep(SLICE).await; // ok: virtual time
        writer.stop(Stop::Kill).await;
        (30..36).for_each(|number| writer.writer.delete(&format!("file {number}")));
        writer.link.set_up(true);
        writer.start().await;
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert!(halt_of(&writer).unwrap().can_confirm);
        assert_eq!(reader.fs.user().tree().len(), left);
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        assert_eq!(reader.fs.user().tree().len(), 4);
    });
}

/// What waits is left out of a plan while it is read again; that does not say that it waits no longer.
#[test]
fn files_that_are_touched_while_a_person_is_asked_are_not_deleted() {
    in_virtual_time(async {
        let (mut world, [writer, reader]) = with_files(40, 40).await;
        let third = world.add_device(true, None).await;
        third.start().await;
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        delete_on_two([&writer, &third], &reader).await;
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        let waits = halt_of(&reader).unwrap();
        let tree = reader.fs.user().tree();
        for (path, entry) in &tree {
            let UserEntry::File(bytes, _) = entry else { continue };
            let mtime_ns = reader.fs.user().stat(path).unwrap().mtime_ns;
            reader.fs.user().write(path, bytes).unwrap();
            reader.fs.user().set_mtime(path, mtime_ns).unwrap();
        }
        reader.hint(Hint::Everything);
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert_eq!(halt_of(&reader).as_ref(), Some(&waits));
        assert_eq!(reader.fs.user().tree(), tree);
    });
}
