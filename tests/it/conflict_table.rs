//! The conflict table of the design, row by row, between two engines that were offline from each
//! other: what one did and what the other did, and what both hold once they agree.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client::engine::{Ask, AskError, Keep};
use std::rc::Rc;
use tests::sim::clock::in_virtual_time;
use tests::sim::device::SimDevice;
use tests::sim::invariants;
use tests::sim::world::{Make, World};

type Step = fn(&SimDevice);

/// What two devices did apart from each other, and what both hold afterwards.
struct Row {
    before: Step,
    first: Step,
    second: Step,
    files: &'static [(&'static str, &'static [u8])],
    directories: &'static [&'static str],
    conflicts: u64,
}

fn check(row: &Row) {
    in_virtual_time(apart(row));
}

async fn apart(row: &Row) {
    let world = World::new(Make { seed: 1, devices: 2, grain_ns: 1, ..Make::default() }).await;
    let [one, two] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
    world.end_faults().await;
    (row.before)(&one);
    assert!(world.settle().await, "{:#?}", world.ledger.tail());
    two.link.set_up(false);
    (row.first)(&one);
    tokio::time::sleep(std::time::Duration::from_secs(5)).await; // ok: virtual time
    one.link.set_up(false);
    (row.second)(&two);
    tokio::time::sleep(std::time::Duration::from_secs(5)).await; // ok: virtual time
    world.end_faults().await;
    assert!(world.settle().await, "{:#?}", world.ledger.tail());
    invariants::s1_no_lost_update(&world);
    invariants::s4_convergence(&world);
    invariants::s11_a_tree_stays_a_tree(&world);
    assert_eq!(world.ledger.violations(), Vec::<String>::new());
    for device in [&one, &two] {
        let user = device.fs.user();
        for (path, bytes) in row.files {
            let found = user.read(path).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert_eq!(found, *bytes, "{path}");
        }
        let tree = user.tree();
        for path in row.directories {
            assert!(tree.contains_key(*path), "{path} is not in {:?}", tree.keys());
        }
        let expected = row.files.len() + row.directories.len();
        assert_eq!(tree.len(), expected, "{:?}", tree.keys());
        assert_eq!(device.handle().unwrap().summary().conflicts, row.conflicts);
    }
}

const COPY: &str = "a (conflict 2026-11-22 device1).txt";

fn base(device: &SimDevice) {
    device.writer.write("a.txt", b"base");
}

#[test]
fn edit_and_edit_with_the_same_bytes_are_one_version() {
    check(&Row {
        before: base,
        first: |device| device.writer.write("a.txt", b"same"),
        second: |device| device.writer.write("a.txt", b"same"),
        files: &[("a.txt", b"same")],
        directories: &[],
        conflicts: 0,
    });
}

#[test]
fn edit_and_edit_keep_both_and_open_a_conflict() {
    check(&Row {
        before: base,
        first: |device| device.writer.write("a.txt", b"one"),
        second: |device| device.writer.write("a.txt", b"two"),
        files: &[("a.txt", b"one"), (COPY, b"two")],
        directories: &[],
        conflicts: 1,
    });
}

#[test]
fn edit_survives_a_delete_that_came_first() {
    check(&Row {
        before: base,
        first: |device| device.writer.delete("a.txt"),
        second: |device| device.writer.write("a.txt", b"edited"),
        files: &[("a.txt", b"edited")],
        directories: &[],
        conflicts: 0,
    });
}

#[test]
fn edit_survives_a_delete_that_came_second() {
    check(&Row {
        before: base,
        first: |device| device.writer.write("a.txt", b"edited"),
        second: |device| device.writer.delete("a.txt"),
        files: &[("a.txt", b"edited")],
        directories: &[],
        conflicts: 0,
    });
}

#[test]
fn move_and_edit_both_land() {
    check(&Row {
        before: base,
        first: |device| device.writer.rename("a.txt", "b.txt"),
        second: |device| device.writer.write("a.txt", b"edited"),
        files: &[("b.txt", b"edited")],
        directories: &[],
        conflicts: 0,
    });
}

#[test]
fn of_two_moves_the_first_wins() {
    check(&Row {
        before: base,
        first: |device| device.writer.rename("a.txt", "b.txt"),
        second: |device| device.writer.rename("a.txt", "c.txt"),
        files: &[("b.txt", b"base")],
        directories: &[],
        conflicts: 0,
    });
}

#[test]
fn moves_into_each_other_make_no_cycle() {
    check(&Row {
        before: |device| {
            device.writer.make_directory("x");
            device.writer.make_directory("y");
        },
        first: |device| device.writer.rename("x", "y/x"),
        second: |device| device.writer.rename("y", "x/y"),
        files: &[],
        directories: &["y", "y/x"],
        conflicts: 0,
    });
}

#[test]
fn equal_files_of_one_name_become_one() {
    check(&Row {
        before: |_| {},
        first: |device| device.writer.write("a.txt", b"same"),
        second: |device| device.writer.write("a.txt", b"same"),
        files: &[("a.txt", b"same")],
        directories: &[],
        conflicts: 0,
    });
}

#[test]
fn other_files_of_one_name_are_a_conflict() {
    check(&Row {
        before: |_| {},
        first: |device| device.writer.write("a.txt", b"one"),
        second: |device| device.writer.write("a.txt", b"two"),
        files: &[("a.txt", b"one"), (COPY, b"two")],
        directories: &[],
        conflicts: 1,
    });
}

#[test]
fn directories_of_one_name_merge() {
    check(&Row {
        before: |_| {},
        first: |device| {
            device.writer.make_directory("d");
            device.writer.write("d/one", b"one");
        },
        second: |device| {
            device.writer.make_directory("d");
            device.writer.write("d/two", b"two");
        },
        files: &[("d/one", b"one"), ("d/two", b"two")],
        directories: &["d"],
        conflicts: 0,
    });
}

#[test]
fn a_directory_survives_its_delete_when_something_was_created_inside() {
    check(&Row {
        before: |device| device.writer.make_directory("d"),
        first: |device| device.writer.delete("d"),
        second: |device| device.writer.write("d/new", b"new"),
        files: &[("d/new", b"new")],
        directories: &["d"],
        conflicts: 0,
    });
}

#[test]
fn a_delete_of_a_directory_spares_what_was_created_inside_before() {
    check(&Row {
        before: |device| device.writer.make_directory("d"),
        first: |device| device.writer.write("d/new", b"new"),
        second: |device| device.writer.delete("d"),
        files: &[("d/new", b"new")],
        directories: &["d"],
        conflicts: 0,
    });
}

#[test]
fn a_move_survives_a_delete_that_came_first() {
    check(&Row {
        before: base,
        first: |device| device.writer.delete("a.txt"),
        second: |device| device.writer.rename("a.txt", "b.txt"),
        files: &[("b.txt", b"base")],
        directories: &[],
        conflicts: 0,
    });
}

#[test]
fn a_move_survives_a_delete_that_came_second() {
    check(&Row {
        before: base,
        first: |device| device.writer.rename("a.txt", "b.txt"),
        second: |device| device.writer.delete("a.txt"),
        files: &[("b.txt", b"base")],
        directories: &[],
        conflicts: 0,
    });
}

async fn ask_to_keep(device: &SimDevice, path: &str, keep: Keep) -> Result<(), AskError> {
    let handle = device.handle().unwrap();
    handle.ask(|answer| Ask::Resolve(path.to_owned(), keep, answer)).await
}

/// A conflict of which `gone` is deleted by hand; then what the second device, whose content is the
/// copy's, and the first do about it, and what all hold in the end.
fn one_sided(
    gone: &str,
    settle_it: impl AsyncFnOnce(&World, &SimDevice, &SimDevice),
    files: &[(&str, &[u8])],
) {
    in_virtual_time(async {
        let world = World::new(Make { seed: 1, devices: 2, grain_ns: 1, ..Make::default() }).await;
        let [one, two] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
        world.end_faults().await;
        base(&one);
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        two.link.set_up(false);
        one.writer.write("a.txt", b"one");
        two.writer.write("a.txt", b"two");
        tokio::time::sleep(std::time::Duration::from_secs(5)).await; // ok: virtual time
        two.link.set_up(true);
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        one.writer.delete(gone);
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        settle_it(&world, &one, &two).await;
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        for device in [&one, &two] {
            let user = device.fs.user();
            assert_eq!(user.tree().len(), files.len(), "{:?}", user.tree().keys());
            for (path, bytes) in files {
                assert_eq!(user.read(path).unwrap(), *bytes, "{path}");
            }
            assert_eq!(device.handle().unwrap().summary().conflicts, 0);
        }
    });
}

#[test]
fn a_copy_that_was_deleted_by_hand_comes_back_in_place_when_it_is_kept() {
    let theirs = async |_: &World, one: &SimDevice, _: &SimDevice| {
        ask_to_keep(one, "a.txt", Keep::Theirs).await.unwrap();
    };
    one_sided(COPY, theirs, &[("a.txt", b"two")]);
    let mine = async |_: &World, one: &SimDevice, _: &SimDevice| {
        ask_to_keep(one, COPY, Keep::Mine).await.unwrap();
    };
    one_sided(COPY, mine, &[("a.txt", b"one")]);
}

#[test]
fn a_side_that_was_deleted_by_hand_is_never_said_to_be_kept() {
    let both = async |world: &World, one: &SimDevice, _: &SimDevice| {
        let refused = ask_to_keep(one, "a.txt", Keep::Both).await;
        let Err(AskError::SideGone { path, revision: Some(revision) }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(path, COPY);
        assert_eq!(one.handle().unwrap().summary().conflicts, 1);
        let handle = one.handle().unwrap();
        handle.ask(|answer| Ask::Restore(path, revision, answer)).await.unwrap();
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        ask_to_keep(one, "a.txt", Keep::Both).await.unwrap();
    };
    one_sided(COPY, both, &[("a.txt", b"one"), (COPY, b"two")]);
    let original = async |_: &World, _: &SimDevice, two: &SimDevice| {
        let refused = ask_to_keep(two, COPY, Keep::Theirs).await;
        assert!(
            matches!(&refused, Err(AskError::SideGone { path, revision: Some(_) }) if path == "a.txt"),
            "{refused:?}"
        );
        ask_to_keep(two, COPY, Keep::Mine).await.unwrap();
    };
    one_sided("a.txt", original, &[(COPY, b"two")]);
}
