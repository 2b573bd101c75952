//! The conflict table of the design, row by row, between two engines that were offline from each
//! other: what one did and what the other did, and what both hold once they agree.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client::engine::{Ask, AskError, Keep};
use client::fs::memory::user::{MemoryUser, UserEntry};
use std::rc::Rc;
use tests::sim::clock::in_virtual_time;
use tests::sim::device::SimDevice;
use tests::sim::invariants;
use tests::sim::merges::learn_merges;
use tests::sim::world::{Make, World};

type Step = fn(&SimDevice);

/// What two devices did apart from each other, and what both hold afterwards. The second comes back
/// when the first has pushed.
#[derive(Clone, Copy)]
struct Row {
    before: Step,
    first: Step,
    second: Step,
    /// Of a link: an arrow and its target.
    files: &'static [(&'static str, &'static [u8])],
    directories: &'static [&'static str],
    conflicts: u64,
}

fn check(row: &Row) {
    in_virtual_time(async {
        apart(row).await;
    });
}

/// What is the same in most rows.
const QUIET: Row = Row {
    before: |_| {},
    first: |_| {},
    second: |_| {},
    files: &[],
    directories: &[],
    conflicts: 0,
};

/// Checks a row of which it does not matter who comes back first.
fn check_both_orders(row: Row) {
    check(&row);
    check(&Row { first: row.second, second: row.first, ..row });
}

async fn apart(row: &Row) -> World {
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
    learn_merges(&world);
    invariants::s1_no_lost_update(&world);
    invariants::s4_convergence(&world);
    invariants::s11_a_tree_stays_a_tree(&world);
    assert_eq!(world.ledger.violations(), Vec::<String>::new());
    for device in [&one, &two] {
        let user = device.fs.user();
        for (path, bytes) in row.files {
            assert_eq!(held(&user, path), *bytes, "{path}");
        }
        let tree = user.tree();
        for path in row.directories {
            assert!(tree.contains_key(*path), "{path} is not in {:?}", tree.keys());
        }
        let expected = row.files.len() + row.directories.len();
        assert_eq!(tree.len(), expected, "{:?}", tree.keys());
        assert_eq!(device.handle().unwrap().summary().conflicts, row.conflicts);
    }
    world
}

fn held(user: &MemoryUser, path: &str) -> Vec<u8> {
    match user.tree().get(path) {
        Some(UserEntry::File(bytes, _)) => bytes.clone(),
        Some(UserEntry::Symlink(target)) => [b"-> ", &target[..]].concat(),
        other => panic!("{path}: {other:?}"),
    }
}

/// Makes a link, or gives one another target as programs do: by a new link in its place.
fn link(device: &SimDevice, path: &str, target: &str) {
    let is_there = device.fs.user().tree().contains_key(path);
    device.writer.action("symlink", path, |user| {
        if is_there {
            user.remove(path)?;
        }
        user.symlink(target, path)
    });
}

const COPY: &str = "a (conflict 2026-11-22 device1).txt";
const COPY_OF_A_LINK: &str = "l (conflict 2026-11-22 device1)";

fn base(device: &SimDevice) {
    device.writer.write("a.txt", b"base");
}

fn directory_with_a_file(device: &SimDevice) {
    device.writer.make_directory("d");
    device.writer.write("d/a.txt", b"base");
}

fn nested_directories(device: &SimDevice) {
    device.writer.make_directory("d");
    device.writer.make_directory("d/e");
}

#[test]
fn edit_and_edit_with_the_same_bytes_are_one_version() {
    in_virtual_time(async {
        let world = apart(&Row {
            before: base,
            first: |device| device.writer.write("a.txt", b"same"),
            second: |device| device.writer.write("a.txt", b"same"),
            files: &[("a.txt", b"same")],
            ..QUIET
        })
        .await;
        for device in &world.devices {
            let handle = device.handle().unwrap();
            let log =
                handle.ask(|answer| Ask::Log("a.txt".to_owned(), 0, 10, answer)).await.unwrap();
            let changes: Vec<&str> = log.versions.iter().map(|version| version.change).collect();
            assert_eq!(changes, ["edited", "created"]);
        }
    });
}

#[test]
fn edits_of_other_lines_of_one_text_are_merged_and_both_are_in_the_history() {
    in_virtual_time(async {
        let world = apart(&Row {
            before: |device| device.writer.write("a.txt", b"1\n2\n3\n4\n"),
            first: |device| device.writer.write("a.txt", b"one\n2\n3\n4\n"),
            second: |device| device.writer.write("a.txt", b"1\n2\n3\nfour\n"),
            files: &[("a.txt", b"one\n2\n3\nfour\n")],
            ..QUIET
        })
        .await;
        assert_eq!(world.ledger.merge_count(), 1);
        invariants::s10_history_is_readable(&world, false);
        assert_eq!(world.ledger.violations(), Vec::<String>::new());
    });
}

#[test]
fn a_link_with_two_new_targets_is_a_conflict_and_with_one_is_not() {
    let row = Row {
        before: |device| link(device, "l", "old"),
        first: |device| link(device, "l", "one"),
        second: |device| link(device, "l", "one"),
        files: &[("l", b"-> one")],
        ..QUIET
    };
    check(&row);
    let files: &[(&str, &[u8])] = &[("l", b"-> one"), (COPY_OF_A_LINK, b"-> two")];
    check(&Row { second: |device| link(device, "l", "two"), files, conflicts: 1, ..row });
}

#[test]
fn edit_and_edit_keep_both_and_open_a_conflict() {
    check(&Row {
        before: base,
        first: |device| device.writer.write("a.txt", b"one"),
        second: |device| device.writer.write("a.txt", b"two"),
        files: &[("a.txt", b"one"), (COPY, b"two")],
        conflicts: 1,
        ..QUIET
    });
}

#[test]
fn an_edit_survives_a_delete_that_came_first_or_second() {
    check_both_orders(Row {
        before: base,
        first: |device| device.writer.delete("a.txt"),
        second: |device| device.writer.write("a.txt", b"edited"),
        files: &[("a.txt", b"edited")],
        ..QUIET
    });
}

#[test]
fn a_new_target_of_a_link_survives_a_delete() {
    check_both_orders(Row {
        before: |device| link(device, "l", "old"),
        first: |device| link(device, "l", "new"),
        second: |device| device.writer.delete("l"),
        files: &[("l", b"-> new")],
        ..QUIET
    });
}

#[test]
fn an_edit_survives_a_delete_of_its_directory() {
    check_both_orders(Row {
        before: directory_with_a_file,
        first: |device| device.writer.write("d/a.txt", b"edited"),
        second: |device| device.writer.delete("d"),
        files: &[("d/a.txt", b"edited")],
        directories: &["d"],
        ..QUIET
    });
}

#[test]
fn move_and_edit_both_land() {
    check_both_orders(Row {
        before: base,
        first: |device| device.writer.rename("a.txt", "b.txt"),
        second: |device| device.writer.write("a.txt", b"edited"),
        files: &[("b.txt", b"edited")],
        ..QUIET
    });
}

#[test]
fn an_edit_goes_along_with_its_moved_directory() {
    check_both_orders(Row {
        before: directory_with_a_file,
        first: |device| device.writer.rename("d", "e"),
        second: |device| device.writer.write("d/a.txt", b"edited"),
        files: &[("e/a.txt", b"edited")],
        directories: &["e"],
        ..QUIET
    });
}

#[test]
fn two_edits_of_which_one_also_moved_are_a_conflict_at_the_new_name() {
    check(&Row {
        before: base,
        first: |device| {
            device.writer.write("a.txt", b"one");
            device.writer.rename("a.txt", "b.txt");
        },
        second: |device| device.writer.write("a.txt", b"two"),
        files: &[("b.txt", b"one"), ("b (conflict 2026-11-22 device1).txt", b"two")],
        conflicts: 1,
        ..QUIET
    });
}

#[test]
fn two_moves_to_one_place_are_one() {
    check(&Row {
        before: base,
        first: |device| device.writer.rename("a.txt", "b.txt"),
        second: |device| device.writer.rename("a.txt", "b.txt"),
        files: &[("b.txt", b"base")],
        ..QUIET
    });
}

#[test]
fn of_two_moves_of_a_directory_the_first_wins() {
    check(&Row {
        before: directory_with_a_file,
        first: |device| device.writer.rename("d", "e"),
        second: |device| device.writer.rename("d", "f"),
        files: &[("e/a.txt", b"base")],
        directories: &["e"],
        ..QUIET
    });
}

#[test]
fn moves_of_three_directories_make_no_cycle() {
    check(&Row {
        before: |device| ["x", "y", "z"].iter().for_each(|path| device.writer.make_directory(path)),
        first: |device| {
            device.writer.rename("x", "y/x");
            device.writer.rename("y", "z/y");
        },
        second: |device| device.writer.rename("z", "x/z"),
        directories: &["z", "z/y", "z/y/x"],
        ..QUIET
    });
}

#[test]
fn of_two_moves_the_first_wins() {
    check(&Row {
        before: base,
        first: |device| device.writer.rename("a.txt", "b.txt"),
        second: |device| device.writer.rename("a.txt", "c.txt"),
        files: &[("b.txt", b"base")],
        ..QUIET
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
        directories: &["y", "y/x"],
        ..QUIET
    });
}

#[test]
fn equal_files_of_one_name_become_one() {
    check(&Row {
        first: |device| device.writer.write("a.txt", b"same"),
        second: |device| device.writer.write("a.txt", b"same"),
        files: &[("a.txt", b"same")],
        ..QUIET
    });
}

#[test]
fn other_files_of_one_name_are_a_conflict() {
    check(&Row {
        first: |device| device.writer.write("a.txt", b"one"),
        second: |device| device.writer.write("a.txt", b"two"),
        files: &[("a.txt", b"one"), (COPY, b"two")],
        conflicts: 1,
        ..QUIET
    });
}

#[test]
fn directories_of_one_name_merge() {
    check(&Row {
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
        ..QUIET
    });
}

#[test]
fn equal_links_and_empty_files_of_one_name_become_one() {
    let row = Row {
        first: |device| link(device, "l", "there"),
        second: |device| link(device, "l", "there"),
        files: &[("l", b"-> there")],
        ..QUIET
    };
    check(&row);
    let empty: Step = |device| device.writer.write("l", b"");
    check(&Row { first: empty, second: empty, files: &[("l", b"")], ..row });
}

#[test]
fn a_link_and_another_or_a_file_of_one_name_are_a_conflict() {
    let row = Row {
        first: |device| link(device, "l", "one"),
        second: |device| link(device, "l", "two"),
        files: &[("l", b"-> one"), (COPY_OF_A_LINK, b"-> two")],
        conflicts: 1,
        ..QUIET
    };
    check(&row);
    let file: Step = |device| device.writer.write("l", b"file");
    check(&Row { second: file, files: &[("l", b"-> one"), (COPY_OF_A_LINK, b"file")], ..row });
    let files: &[(&str, &[u8])] = &[("l", b"file"), (COPY_OF_A_LINK, b"-> two")];
    check(&Row { first: file, files, ..row });
}

#[test]
fn a_file_or_link_of_a_directorys_name_is_a_conflict() {
    let row = Row {
        first: |device| {
            device.writer.make_directory("l");
            device.writer.write("l/inside", b"inside");
        },
        second: |device| device.writer.write("l", b"file"),
        files: &[("l/inside", b"inside"), (COPY_OF_A_LINK, b"file")],
        directories: &["l"],
        conflicts: 1,
        ..QUIET
    };
    check(&row);
    let files: &[(&str, &[u8])] = &[("l/inside", b"inside"), (COPY_OF_A_LINK, b"-> there")];
    check(&Row { second: |device| link(device, "l", "there"), files, ..row });
    // The directory comes second: all of it is the copy.
    let (file, directory) = (row.second, row.first);
    let files: &[(&str, &[u8])] =
        &[("l", b"file"), ("l (conflict 2026-11-22 device1)/inside", b"inside")];
    let directories = &[COPY_OF_A_LINK];
    check(&Row { first: file, second: directory, files, directories, ..row });
}

#[test]
fn what_directories_of_one_name_hold_merges_or_is_a_conflict_as_elsewhere() {
    let row = Row {
        first: |device| {
            nested_directories(device);
            device.writer.write("d/e/a.txt", b"one");
        },
        second: |device| {
            nested_directories(device);
            device.writer.write("d/e/a.txt", b"one");
        },
        files: &[("d/e/a.txt", b"one")],
        directories: &["d", "d/e"],
        ..QUIET
    };
    check(&row);
    check(&Row {
        second: |device| {
            nested_directories(device);
            device.writer.write("d/e/a.txt", b"two");
        },
        files: &[("d/e/a.txt", b"one"), ("d/e/a (conflict 2026-11-22 device1).txt", b"two")],
        conflicts: 1,
        ..row
    });
}

#[test]
fn a_directory_survives_its_delete_when_something_was_created_inside() {
    check_both_orders(Row {
        before: |device| device.writer.make_directory("d"),
        first: |device| device.writer.delete("d"),
        second: |device| device.writer.write("d/new", b"new"),
        files: &[("d/new", b"new")],
        directories: &["d"],
        ..QUIET
    });
}

#[test]
fn what_a_deleted_directory_held_goes_and_what_was_created_inside_stays() {
    let row = Row {
        before: directory_with_a_file,
        first: |device| device.writer.delete("d"),
        second: |device| device.writer.write("d/new", b"new"),
        files: &[("d/new", b"new")],
        directories: &["d"],
        ..QUIET
    };
    check_both_orders(row);
    let directories = &["d", "d/new"];
    let second: Step = |device| device.writer.make_directory("d/new");
    check_both_orders(Row { second, files: &[], directories, ..row });
}

#[test]
fn every_deleted_directory_above_what_was_created_survives() {
    check_both_orders(Row {
        before: nested_directories,
        first: |device| device.writer.delete("d"),
        second: |device| device.writer.write("d/e/new", b"new"),
        files: &[("d/e/new", b"new")],
        directories: &["d", "d/e"],
        ..QUIET
    });
}

#[test]
fn a_directory_survives_its_delete_when_something_was_moved_into_it() {
    check_both_orders(Row {
        before: |device| {
            base(device);
            device.writer.make_directory("d");
        },
        first: |device| device.writer.delete("d"),
        second: |device| device.writer.rename("a.txt", "d/a.txt"),
        files: &[("d/a.txt", b"base")],
        directories: &["d"],
        ..QUIET
    });
}

#[test]
fn a_move_of_a_directory_or_out_of_it_survives_its_delete() {
    let row = Row {
        before: directory_with_a_file,
        first: |device| device.writer.rename("d", "e"),
        second: |device| device.writer.delete("d"),
        files: &[("e/a.txt", b"base")],
        directories: &["e"],
        ..QUIET
    };
    check_both_orders(row);
    let first: Step = |device| device.writer.rename("d/a.txt", "a.txt");
    check_both_orders(Row { first, files: &[("a.txt", b"base")], directories: &[], ..row });
}

#[test]
fn a_move_survives_a_delete_that_came_first_or_second() {
    check_both_orders(Row {
        before: base,
        first: |device| device.writer.delete("a.txt"),
        second: |device| device.writer.rename("a.txt", "b.txt"),
        files: &[("b.txt", b"base")],
        ..QUIET
    });
}

async fn ask_to_keep(device: &SimDevice, path: &str, keep: Keep) -> Result<Vec<String>, AskError> {
    let handle = device.handle().unwrap();
    let resolve = |answer| Ask::Resolve(path.to_owned(), keep, answer);
    handle.ask(resolve).await.map(|resolved| resolved.kept)
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
fn a_copy_that_is_deleted_by_hand_closes_its_conflict() {
    let nothing = async |_: &World, one: &SimDevice, two: &SimDevice| {
        for device in [one, two] {
            let refused = ask_to_keep(device, "a.txt", Keep::Theirs).await;
            assert_eq!(refused, Err(AskError::NoConflict("a.txt".to_owned())));
        }
    };
    one_sided(COPY, nothing, &[("a.txt", b"one")]);
}

#[test]
fn a_conflict_of_which_both_sides_are_deleted_by_hand_is_closed() {
    let original_too = async |_: &World, one: &SimDevice, _: &SimDevice| {
        one.writer.delete("a.txt");
    };
    one_sided(COPY, original_too, &[]);
    let copy_too = async |_: &World, _: &SimDevice, two: &SimDevice| two.writer.delete(COPY);
    one_sided("a.txt", copy_too, &[]);
}

#[test]
fn a_side_that_was_deleted_by_hand_is_never_said_to_be_kept() {
    let original = async |_: &World, _: &SimDevice, two: &SimDevice| {
        let refused = ask_to_keep(two, COPY, Keep::Theirs).await;
        assert!(
            matches!(&refused, Err(AskError::SideGone { path, revision: Some(_) }) if path == "a.txt"),
            "{refused:?}"
        );
        // It says where that is.
        assert_eq!(ask_to_keep(two, "a.txt", Keep::Mine).await.unwrap(), [COPY]);
    };
    one_sided("a.txt", original, &[(COPY, b"two")]);
}
