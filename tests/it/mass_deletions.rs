//! The guard against mass deletion (S14), with real engines: what is many waits for a person, on the
//! device where it happens and on each that receives it, in whatever slices it comes.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client::engine::Ask;
use client::fs::memory::user::UserEntry;
use common::ids::EntryId;
use common::record::{Content, Kind};
use std::rc::Rc;
use std::time::Duration;
use tests::sim::clock::in_virtual_time;
use tests::sim::masses::{PATIENCE, halt_of, undo, undo_all, with_files};
use tests::sim::restored::Asked;
use tests::sim::world::{Make, World};

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
