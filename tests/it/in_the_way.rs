//! Something that is not synced stands where the server has an entry: an issue, no endless work,
//! and the entry comes when the way is free.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client::engine::Ask;
use client::engine::handle::Listing;
use client::fs::memory::{Fault, OperationKind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tests::sim::clock::in_virtual_time;
use tests::sim::device::SimDevice;
use tests::sim::world::{Make, World};

/// Longer than a device waits before it tries again what failed.
const A_WHILE: Duration = Duration::from_secs(150);
/// Rounds of a device in that time that has nothing to do.
const ROUNDS_MAX: u64 = 40;

/// Two devices, of which the second holds an ignored file in a directory that the first deletes.
async fn with_a_kept_directory() -> (World, [Rc<SimDevice>; 2]) {
    let world = World::new(Make { seed: 3, devices: 2, grain_ns: 1, ..Make::default() }).await;
    let [one, two] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
    world.end_faults().await;
    one.writer.write(".driftlessignore", b"*.o\n");
    one.writer.make_directory("d");
    one.writer.write("d/a.txt", b"source");
    assert!(world.settle().await, "{:#?}", world.ledger.tail());
    two.writer.write("d/a.o", b"object");
    one.writer.delete("d/a.txt");
    one.writer.action("rmdir", "d", |user| user.remove("d"));
    assert!(world.settle().await, "{:#?}", world.ledger.tail());
    assert!(!one.fs.user().tree().contains_key("d"));
    assert_eq!(two.fs.user().read("d/a.o").unwrap(), b"object");
    (world, [one, two])
}

fn run(test: impl Future<Output = ()>) {
    in_virtual_time(test);
}

#[test]
fn a_file_onto_a_directory_kept_for_ignored_files_is_an_issue_until_that_is_gone() {
    run(async {
        let (_world, [one, two]) = with_a_kept_directory().await;
        one.writer.write("d", b"a file now");
        one.writer.write("other", b"goes on");
        two.steps.set(0);
        tokio::time::sleep(A_WHILE).await; // ok: virtual time
        let user = two.fs.user();
        assert_eq!(user.read("other").unwrap(), b"goes on");
        assert_eq!(user.read("d/a.o").unwrap(), b"object", "what is ignored is not deleted");
        let issues = two.handle().unwrap().summary().issues;
        let issue = issues.iter().find(|issue| issue.path == "d").expect("an issue");
        assert!(issue.reason.contains("holds ignored files"), "{issue:?}");
        assert!(two.steps.get() < ROUNDS_MAX, "{} rounds", two.steps.get());

        user.remove("d/a.o").unwrap();
        two.writer.action("rmdir", "d", |user| user.remove("d"));
        tokio::time::sleep(A_WHILE).await; // ok: virtual time
        assert_eq!(user.read("d").unwrap(), b"a file now");
        assert!(two.handle().unwrap().summary().issues.is_empty());
    });
}

#[test]
fn a_directory_onto_one_kept_for_ignored_files_becomes_it() {
    run(async {
        let (_world, [one, two]) = with_a_kept_directory().await;
        one.writer.make_directory("d");
        one.writer.write("d/b.txt", b"again");
        tokio::time::sleep(A_WHILE).await; // ok: virtual time
        let user = two.fs.user();
        assert_eq!(user.read("d/b.txt").unwrap(), b"again");
        assert_eq!(user.read("d/a.o").unwrap(), b"object");
        assert!(!one.fs.user().tree().contains_key("d/a.o"));
        assert!(two.handle().unwrap().summary().issues.is_empty());
    });
}

#[test]
fn a_file_onto_a_fifo_is_an_issue_and_nothing_is_replaced() {
    run(async {
        let (_world, [one, two]) = with_a_kept_directory().await;
        two.writer.action("mkfifo", "pipe", |user| user.make_other("pipe"));
        one.writer.write("pipe", b"a file of that name");
        two.steps.set(0);
        tokio::time::sleep(A_WHILE).await; // ok: virtual time
        let issues = two.handle().unwrap().summary().issues;
        assert!(issues.iter().any(|issue| issue.path == "pipe"), "{issues:?}");
        assert!(two.fs.user().read("pipe").is_err(), "no file took its place");
        assert!(two.steps.get() < ROUNDS_MAX, "{} rounds", two.steps.get());
    });
}

#[test]
fn what_was_wrong_in_a_directory_is_no_issue_once_that_is_elsewhere() {
    run(async {
        let world = World::new(Make { seed: 3, devices: 1, grain_ns: 1, ..Make::default() }).await;
        let device = Rc::clone(&world.devices[0]);
        world.end_faults().await;
        device.writer.make_directory("d");
        device.writer.make_directory("d/e");
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        let user = device.fs.user();
        user.set_unreadable("d/e", true).unwrap();
        let listed = || -> Vec<String> {
            let issues = device.handle().unwrap().summary().issues;
            issues.into_iter().map(|issue| issue.path).collect()
        };
        world.settle().await;
        assert_eq!(listed(), ["d/e"]);
        user.set_unreadable("d/e", false).unwrap();
        device.writer.rename("d", "elsewhere");
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        assert_eq!(listed(), Vec::<String>::new());
    });
}

#[test]
fn s13_a_name_that_clashes_is_an_issue_until_one_of_the_two_is_renamed() {
    run(async {
        let folding = Make { folding: Some(1), ..Make::default() };
        let world = World::new(Make { seed: 3, devices: 2, grain_ns: 1, ..folding }).await;
        let [one, two] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
        world.end_faults().await;
        one.writer.write("Foo", b"first");
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        one.writer.write("foo", b"second");
        two.steps.set(0);
        tokio::time::sleep(A_WHILE).await; // ok: virtual time
        let listed = || -> Vec<String> {
            let issues = two.handle().unwrap().summary().issues;
            issues.into_iter().map(|issue| issue.path).collect()
        };
        assert_eq!(listed(), ["foo"]);
        assert!(two.steps.get() < ROUNDS_MAX, "{} rounds", two.steps.get());
        assert_eq!(two.fs.user().read("Foo").unwrap(), b"first");
        one.writer.rename("foo", "bar");
        tokio::time::sleep(A_WHILE).await; // ok: virtual time
        assert_eq!(two.fs.user().read("bar").unwrap(), b"second");
        assert_eq!(listed(), Vec::<String>::new());
    });
}

/// The watcher missed that a directory was replaced by a file; a step that fails on it finds out.
#[test]
fn a_file_in_the_place_of_a_directory_above_is_found_by_the_step_that_it_stops() {
    run(async {
        let world = World::new(Make { seed: 3, devices: 2, grain_ns: 1, ..Make::default() }).await;
        let [one, two] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
        world.end_faults().await;
        one.writer.make_directory("d");
        one.writer.write("b.txt", b"moves");
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        let user = two.fs.user();
        user.remove("d").unwrap();
        user.write("d", b"a file now").unwrap();
        two.steps.set(0);
        one.writer.rename("b.txt", "d/b.txt");
        tokio::time::sleep(Duration::from_secs(30)).await; // ok: virtual time
        assert!(two.steps.get() < ROUNDS_MAX, "{} rounds", two.steps.get());
        assert_eq!(one.fs.user().tree(), user.tree());
        let files = user.tree().into_values().collect::<Vec<_>>();
        assert_eq!(files.len(), 3, "the directory, what moved into it, and the file: {files:?}");
        assert_eq!(user.read("d/b.txt").unwrap(), b"moves");
    });
}

/// It was being written to when it was first read, and cannot be opened any more.
#[test]
fn a_file_that_changed_while_it_was_read_and_cannot_be_opened_then_is_no_endless_work() {
    run(async {
        let world = World::new(Make { seed: 3, devices: 1, grain_ns: 1, ..Make::default() }).await;
        let device = Rc::clone(&world.devices[0]);
        world.end_faults().await;
        let written = AtomicBool::new(false);
        device.fs.set_hook(Some(Arc::new(move |user, operation| {
            if operation.path.to_string() != "file" {
                return None;
            }
            match operation.kind {
                OperationKind::Read if !written.swap(true, Ordering::Relaxed) => {
                    user.write("file", b"written while it was read").unwrap();
                    None
                }
                OperationKind::Open if written.load(Ordering::Relaxed) => Some(Fault::Io),
                _ => None,
            }
        })));
        device.writer.write("file", b"first");
        device.steps.set(0);
        tokio::time::sleep(A_WHILE).await; // ok: virtual time
        assert!(device.steps.get() < ROUNDS_MAX, "{} rounds", device.steps.get());
        let issues = device.handle().unwrap().summary().issues;
        assert!(issues.iter().any(|issue| issue.path == "file"), "{issues:?}");
    });
}

/// Each try would be refused, and would leave a line in the server's log.
#[test]
fn a_file_that_changed_while_it_was_read_waits_for_room_at_the_server_without_endless_work() {
    run(async {
        let world = World::new(Make { seed: 3, devices: 2, grain_ns: 1, ..Make::default() }).await;
        let [one, two] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
        world.end_faults().await;
        let written = AtomicBool::new(false);
        one.fs.set_hook(Some(Arc::new(move |user, operation| {
            let read = operation.kind == OperationKind::Read;
            if read
                && operation.path.to_string() == "file"
                && !written.swap(true, Ordering::Relaxed)
            {
                user.write("file", b"written while it was read").unwrap();
            }
            None
        })));
        one.link.set_full(true);
        one.writer.write("file", b"first");
        one.steps.set(0);
        tokio::time::sleep(A_WHILE).await; // ok: virtual time
        assert!(one.steps.get() < ROUNDS_MAX, "{} rounds", one.steps.get());
        let issues = one.handle().unwrap().summary().issues;
        assert!(issues.iter().any(|issue| issue.path == "file"), "{issues:?}");
        one.link.set_full(false);
        tokio::time::sleep(A_WHILE).await; // ok: virtual time
        assert_eq!(two.fs.user().read("file").unwrap(), b"written while it was read");
    });
}

/// A long download is no reason to hang.
#[test]
fn a_question_is_answered_between_two_groups_of_files() {
    run(async {
        let world = World::new(Make { seed: 6, devices: 2, grain_ns: 1, ..Make::default() }).await;
        let [writer, reader] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
        world.end_faults().await;
        reader.link.set_up(false);
        for number in 1..=5 {
            // Two of them make a group.
            writer.writer.write(&format!("{number}"), &vec![number; 33 * 1024 * 1024]);
        }
        tokio::time::sleep(Duration::from_secs(20)).await; // ok: virtual time
        reader.link.set_up(true);
        while reader.fs.user().paths().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await; // ok: virtual time
        }
        let handle = reader.handle().unwrap();
        handle.ask(|answer| Ask::List(String::new(), Listing::Now, answer)).await.unwrap();
        assert_eq!(reader.fs.user().paths().len(), 4, "of five");
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        assert_eq!(reader.fs.user().paths().len(), 5);
    });
}
