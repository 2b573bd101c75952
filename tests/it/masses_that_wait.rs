//! Mass deletions that wait (S14), with real engines: neither a restart nor a lost root nor a restored
//! server makes a device forget what it asks a person about.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client::engine::handle::{Moment, Which};
use client::engine::{Ask, AskError};
use client::fs::memory::RootState;
use client::fs::memory::user::UserEntry;
use client::watch::Hint;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;
use tests::sim::clock::in_virtual_time;
use tests::sim::device::{SimDevice, Stop};
use tests::sim::masses::{PATIENCE, halt_of, undo_all, with_files};

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

/// Nothing tells a device by itself, while its connection seems to be there.
#[test]
fn a_restored_server_is_seen_before_it_is_said_that_nothing_waits() {
    in_virtual_time(async {
        let (world, [writer, _reader]) = with_files(41, 4).await;
        let ask = || async { writer.handle().unwrap().ask(Ask::Halt).await };
        assert_eq!(ask().await.unwrap(), None);
        let backup = world.server.back_up();
        writer.writer.write("since", b"since");
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        world.server.restore(backup);
        world.ledger.forget_accepted(BTreeSet::new());
        let halt = ask().await.unwrap().unwrap();
        assert!(halt.can_confirm && halt.message.contains("from a backup"), "{halt:?}");
        writer.confirm().await.unwrap();
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        writer.link.set_up(false);
        let error = ask().await.unwrap_err();
        assert!(matches!(error, AskError::Offline(_)), "{error}");
    });
}

/// One where it is on both sides, and one where it is gone.
#[test]
fn a_restore_names_the_mass_deletion_that_it_meets_and_waits_for_what_it_brings_back() {
    in_virtual_time(async {
        let (world, [writer, reader]) = with_files(42, 60).await;
        for directory in ["d", "d/e", "d/e/f"] {
            writer.writer.make_directory(directory);
            (0..4).for_each(|number| writer.writer.write_new(&format!("{directory}/{number}")));
        }
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        let before = writer.fs.user().tree();
        let then = Which::At(Moment::Revision(writer.pinned().unwrap().revision));
        (0..50).for_each(|number| writer.writer.delete(&format!("file {number}")));
        writer.writer.action("rm -r", "d", |user| user.remove_all("d"));
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert!(halt_of(&writer).is_some());
        let info = writer.restore("d", then).await.unwrap();
        assert_eq!(info.of_halt, Some((15, 65)));
        let settled = writer.handle().unwrap().ask(|answer| Ask::Settled(info.sent, answer)).await;
        assert_eq!(settled, Ok(true));
        assert_eq!(writer.fs.user().tree()["d/e/f/3"], before["d/e/f/3"]);
        assert_eq!(halt_of(&writer).unwrap().entries.len(), 50);
        writer.confirm().await.unwrap();
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert!(halt_of(&reader).unwrap().entries.contains(&"file 4".to_owned()));
        let error = reader.restore("file 4", then).await.unwrap_err().to_string();
        assert!(error.contains("file 4: is still on this disk"), "{error}");
        assert!(error.contains("`driftless confirm --undo`"), "{error}");
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        assert_eq!(reader.fs.user().tree().len(), 25);
    });
}

#[test]
fn that_the_server_was_not_reached_is_told_no_longer_than_it_is_true() {
    in_virtual_time(async {
        let (world, [writer, _reader]) = with_files(43, 4).await;
        let trouble = || writer.handle().unwrap().summary().trouble;
        let backup = world.server.back_up();
        writer.writer.write("since", b"since");
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        let unreached = async || {
            writer.link.set_up(false);
            tokio::time::sleep(PATIENCE).await; // ok: virtual time
            assert!(trouble().is_some());
            writer.link.set_up(true);
        };
        let halted = async || {
            writer.hint(Hint::Everything);
            tokio::time::sleep(PATIENCE).await; // ok: virtual time
            assert!(halt_of(&writer).is_some());
            assert_eq!(trouble(), None);
        };
        unreached().await;
        writer.fs.set_root_state(RootState::Gone);
        halted().await;
        writer.mend();
        unreached().await;
        world.server.restore(backup);
        world.ledger.forget_accepted(BTreeSet::new());
        halted().await;
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
    });
}

/// What is looked at again is in no plan: the rest of what a person is asked about waits for it.
#[test]
fn nothing_of_a_mass_deletion_goes_while_a_part_of_it_is_looked_at_again() {
    in_virtual_time(async {
        let (world, [writer, reader]) = with_files(41, 40).await;
        (0..35).for_each(|number| writer.writer.delete(&format!("file {number}")));
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        writer.confirm().await.unwrap();
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        let waits = halt_of(&reader).unwrap();
        for number in 0..18 {
            let path = format!("file {number}");
            reader.writer.action("chmod", &path, |user| user.chmod(&path, 0o644));
        }
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert_eq!(reader.fs.user().tree().len(), 40, "nobody has agreed");
        assert_eq!(halt_of(&reader), Some(waits));
        reader.confirm().await.unwrap();
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        assert_eq!(reader.fs.user().tree().len(), 5);
    });
}

#[test]
fn what_is_left_of_a_mass_deletion_waits_for_an_answer_however_little_it_is() {
    in_virtual_time(async {
        let (world, [writer, reader]) = with_files(42, 40).await;
        (0..30).for_each(|number| writer.writer.delete(&format!("file {number}")));
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        writer.confirm().await.unwrap();
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert!(halt_of(&reader).is_some());
        (0..25).for_each(|number| reader.writer.write_new(&format!("file {number}")));
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert_eq!(reader.fs.user().tree().len(), 40, "nobody has agreed");
        assert!(halt_of(&reader).is_some(), "five are left of it");
        reader.confirm().await.unwrap();
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        for device in [&writer, &reader] {
            assert_eq!(device.fs.user().tree().len(), 35);
        }
    });
}

/// A second mass is found before the first has gone: what was agreed to, and came back, is not agreed to
/// when it goes again.
#[test]
fn consent_ends_with_what_it_was_given_to_although_another_mass_deletion_waits() {
    in_virtual_time(async {
        let (world, [writer, reader]) = with_files(43, 100).await;
        (0..60).for_each(|number| writer.writer.delete(&format!("file {number}")));
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert!(halt_of(&writer).is_some());
        writer.confirm().await.unwrap();
        (60..95).for_each(|number| writer.writer.delete(&format!("file {number}")));
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert!(halt_of(&writer).is_some(), "of the second nobody has agreed");
        reader.confirm().await.unwrap();
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert_eq!(reader.fs.user().tree().len(), 40);
        let handle = reader.handle().unwrap();
        let log = handle.ask(|it| Ask::Log("file 0".to_owned(), 0, 10, it)).await.unwrap();
        let created = log.versions.last().unwrap().revision;
        for number in 0..30 {
            let path = format!("file {number}");
            handle.ask(|it| Ask::Restore(path, Which::Revision(created), false, it)).await.unwrap();
        }
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert!(writer.fs.user().read("file 29").is_ok(), "they are back");
        (0..30).for_each(|number| writer.writer.delete(&format!("file {number}")));
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert_eq!(reader.fs.user().tree().len(), 70, "nobody has agreed");
        writer.confirm().await.unwrap();
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        if halt_of(&reader).is_some() {
            reader.confirm().await.unwrap();
        }
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        assert_eq!(reader.fs.user().tree().len(), 5);
    });
}
