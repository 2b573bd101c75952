//! Power cuts between what a device was told and what its disk has kept: what the server or the
//! other devices build on must not be taken back by the disk and then pushed as a change (rule 6).

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client::engine::Ask;
use client::fs::memory::user::UserEntry;
use client::fs::memory::{Fault, Hook, OperationKind};
use common::record::Change;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tests::sim::clock::in_virtual_time;
use tests::sim::device::{CrashNow, SimDevice, Stop};
use tests::sim::invariants;
use tests::sim::world::{Make, World};

/// Each loses other parts of what was not synced.
const SEEDS: u64 = 24;
/// Until a device has noticed what was done.
const SOON: Duration = Duration::from_secs(5);

/// Two devices in sync do something; the second loses its power at the end of it, and comes back.
fn check(before: fn(&SimDevice), act: fn(&SimDevice, &SimDevice), path: &str) {
    check_with(before, act, path, |expected, after| assert_eq!(after, expected));
}

type Nodes = BTreeMap<String, UserEntry>;

/// The same; `compare` gets the tree before the cut and the one in the end.
fn check_with(
    before: fn(&SimDevice),
    act: fn(&SimDevice, &SimDevice),
    path: &str,
    compare: fn(&Nodes, &Nodes),
) {
    for seed in 1..=SEEDS {
        in_virtual_time(async {
            let world = World::new(Make { seed, devices: 2, grain_ns: 1, ..Make::default() }).await;
            let [one, two] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
            world.end_faults().await;
            before(&one);
            assert!(world.settle().await, "{:#?}", world.ledger.tail());
            act(&one, &two);
            tokio::time::sleep(SOON).await; // ok: virtual time
            for device in [&one, &two, &one] {
                device.link.set_up(true);
                assert_eq!(device.handle().unwrap().ask(Ask::Sync).await, Ok(true));
            }
            let expected = one.fs.user().tree();
            assert_eq!(expected, two.fs.user().tree(), "in sync before the cut");
            assert!(expected.contains_key(path), "{expected:?}");
            two.stop(Stop::PowerCut).await;
            two.fs.set_hook(None);
            world.end_faults().await;
            assert!(world.settle().await, "{:#?}", world.ledger.tail());
            invariants::s1_no_lost_update(&world);
            invariants::s4_convergence(&world);
            assert_eq!(world.ledger.violations(), Vec::<String>::new(), "seed {seed}");
            compare(&expected, &one.fs.user().tree());
        });
    }
}

#[test]
fn an_exchange_stands_though_the_displaced_file_cannot_be_reviewed() {
    check(
        |one| one.writer.write("a", b"old"),
        |one, two| {
            two.fs.set_hook(Some(Arc::new(|_, operation| {
                (operation.kind == OperationKind::WriterAbsent).then_some(Fault::Io)
            })));
            one.writer.write("a", b"new and longer");
        },
        "a",
    );
}

#[test]
fn what_two_devices_wrote_alike_is_durable_before_it_is_the_base() {
    check(
        |one| one.writer.write("a", b"old"),
        |one, two| {
            for device in [one, two] {
                device.link.set_up(false);
                for path in ["a", "b"] {
                    device.writer.write(path, b"the same on both");
                    // As if both had unpacked the same archive.
                    device.writer.action("touch", path, |user| user.set_mtime(path, 1));
                }
            }
        },
        "b",
    );
}

#[test]
fn a_symlink_and_a_directory_are_durable_before_they_are_pushed() {
    check(
        |one| one.writer.write("a", b"old"),
        |_, two| {
            two.writer.action("symlink", "link", |user| user.symlink("a", "link"));
            two.writer.make_directory("empty");
        },
        "link",
    );
}

/// The sync after a batch names a path that is another by then.
#[test]
fn what_was_renamed_while_it_was_put_in_place_is_synced_where_it_is() {
    check(
        |one| {
            one.writer.make_directory("d");
            one.writer.write("d/a", b"old");
        },
        |one, two| {
            let done = AtomicBool::new(false);
            two.fs.set_hook(Some(Arc::new(move |user, operation| {
                let displaced = operation.kind == OperationKind::WriterAbsent;
                if displaced && !done.swap(true, Ordering::Relaxed) {
                    user.rename("d", "e").unwrap();
                }
                None
            })));
            one.writer.write("d/a", b"new and longer");
        },
        "e/a",
    );
}

/// The disk says once that it has lost what was written, and takes the next sync as done: what is
/// left of it after a power cut is no edit and no deletion.
#[test]
fn what_a_failed_sync_has_lost_is_not_pushed_after_a_power_cut() {
    check_with(
        |one| one.writer.write("a", b"old"),
        |_, two| {
            let failures = AtomicU32::new(0);
            two.fs.set_hook(Some(Arc::new(move |_, operation| {
                let fails = operation.kind == OperationKind::Sync
                    && failures.fetch_add(1, Ordering::Relaxed) < 3;
                fails.then_some(Fault::Io)
            })));
            two.writer.write("a", b"new and longer");
            two.writer.write("b", b"another");
        },
        "b",
        |expected, after| {
            // What the disk has left of them may stand beside as the side of a conflict.
            for (path, node) in expected {
                assert_eq!(after.get(path), Some(node), "{path} in {after:?}");
            }
        },
    );
}

/// A crash between moving aside what takes another's place and the note of it; the database may be
/// lost with that.
#[test]
fn s1_what_a_crash_left_aside_goes_back_to_its_place() {
    for is_database_lost in [false, true] {
        in_virtual_time(async {
            let make = Make { seed: 3, devices: 2, grain_ns: 1, ..Make::default() };
            let world = World::new(make).await;
            let [one, two] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
            world.end_faults().await;
            one.writer.write("a", b"of both");
            assert!(world.settle().await, "{:#?}", world.ledger.tail());
            let group = world.journal()[0].entry.group.decode().unwrap();
            let Change::Create { entry, .. } = group.changes[0] else { panic!("{group:?}") };

            two.stop(Stop::Kill).await;
            two.writer.write("a", b"edited and not scanned");
            two.fs.user().rename("a", format!(".driftless/parked/{entry}")).unwrap();
            if is_database_lost {
                two.lose_state();
            }
            two.start().await;
            assert!(world.settle().await, "{:#?}", world.ledger.tail());
            // Without the database the server's version took the place before it was known.
            let path = if is_database_lost { "a (kept 1)" } else { "a" };
            for device in [&one, &two] {
                assert_eq!(device.fs.user().read(path).unwrap(), b"edited and not scanned");
            }
            assert_eq!(world.ledger.violations(), Vec::<String>::new());
        });
    }
}

/// Lets something happen once, at the first such operation on the file after it was exchanged.
fn after_the_exchange(
    kind: OperationKind,
    act: impl Fn() -> Option<Fault> + Send + Sync + 'static,
) -> Hook {
    let (exchanged, over) = (AtomicBool::new(false), AtomicBool::new(false));
    Arc::new(move |_, operation| {
        if operation.kind == OperationKind::Exchange {
            exchanged.store(true, Ordering::Relaxed);
        }
        let is_it = operation.kind == kind
            && operation.path.to_string() == "a"
            && exchanged.load(Ordering::Relaxed);
        if is_it && !over.swap(true, Ordering::Relaxed) { act() } else { None }
    })
}

/// Two devices with the same old file; the second gets a hook, and the first writes a new one, which the
/// second is putting in place when the hook stops it.
async fn stopped_at(
    seed: u64,
    hook: impl FnOnce(&SimDevice) -> Hook,
) -> (World, Rc<SimDevice>, Rc<SimDevice>) {
    let world = World::new(Make { seed, devices: 2, grain_ns: 1, ..Make::default() }).await;
    let [one, two] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
    world.end_faults().await;
    write_old(&one);
    assert!(world.settle().await, "{:#?}", world.ledger.tail());
    two.fs.set_hook(Some(hook(&two)));
    one.writer.write("a", b"new and longer");
    tokio::time::sleep(SOON).await; // ok: virtual time
    two.fs.set_hook(None);
    (world, one, two)
}

fn write_old(one: &SimDevice) {
    one.writer.write("a", b"old");
    one.writer.action("touch", "a", |user| user.set_mtime("a", 1));
}

/// Between the exchange and the record of it comes a crash; then another device brings the old content back,
/// which is what the merge base still is: what was put in place is no edit of it.
#[test]
fn s1_what_was_put_in_place_before_a_crash_is_not_pushed_over_the_old_content_that_came_back() {
    for kind in [OperationKind::Stat, OperationKind::Sync] {
        in_virtual_time(async {
            let kill = || std::panic::resume_unwind(Box::new(CrashNow(Stop::Kill)));
            let (world, one, two) = stopped_at(1, |_| after_the_exchange(kind, kill)).await;
            assert!(!two.is_running(), "it was not killed at {kind:?}");
            assert_eq!(two.fs.user().read("a").unwrap(), b"new and longer", "it was exchanged");
            write_old(&one);
            assert_eq!(one.handle().unwrap().ask(Ask::Sync).await, Ok(true));
            two.start().await;
            assert!(world.settle().await, "{:#?}", world.ledger.tail());
            for device in [&one, &two] {
                let tree = device.fs.user().tree();
                assert_eq!(tree.keys().collect::<Vec<_>>(), ["a"], "after {kind:?}");
                assert_eq!(device.fs.user().read("a").unwrap(), b"old", "after {kind:?}");
            }
        });
    }
}

/// The same, when the look at what was put in place fails.
#[test]
fn s1_what_was_put_in_place_and_not_seen_there_is_not_pushed_over_the_old_content_that_came_back() {
    in_virtual_time(async {
        let hook = |two: &SimDevice| {
            let link = two.link.clone();
            after_the_exchange(OperationKind::Stat, move || {
                link.set_up(false);
                Some(Fault::Io)
            })
        };
        let (world, one, two) = stopped_at(1, hook).await;
        assert_eq!(two.fs.user().read("a").unwrap(), b"new and longer", "it was exchanged");
        write_old(&one);
        assert_eq!(one.handle().unwrap().ask(Ask::Sync).await, Ok(true));
        two.link.set_up(true);
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        for device in [&one, &two] {
            assert_eq!(device.fs.user().tree().keys().collect::<Vec<_>>(), ["a"]);
            assert_eq!(device.fs.user().read("a").unwrap(), b"old");
        }
    });
}

/// The sync of what was put in place fails, and its directory cannot be entered for a while.
#[test]
fn what_was_put_in_place_and_cannot_be_seen_keeps_nothing_else() {
    in_virtual_time(async {
        let world = World::new(Make { seed: 7, devices: 2, grain_ns: 1, ..Make::default() }).await;
        let [one, two] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
        world.end_faults().await;
        one.writer.make_directory("d");
        one.writer.write("d/a", b"old");
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        let (exchanged, syncs) = (AtomicBool::new(false), Arc::new(AtomicU32::new(0)));
        let seen = Arc::clone(&syncs);
        two.fs.set_hook(Some(Arc::new(move |user, operation| {
            if operation.kind == OperationKind::Exchange {
                exchanged.store(true, Ordering::Relaxed);
            }
            let is_it = operation.kind == OperationKind::Sync
                && operation.path.to_string().starts_with('d')
                && exchanged.load(Ordering::Relaxed);
            match is_it.then(|| syncs.fetch_add(1, Ordering::Relaxed))? {
                0 => Some(Fault::Io),
                1 => {
                    user.set_unreadable("d", true).unwrap();
                    Some(Fault::Denied)
                }
                _ => None,
            }
        })));
        one.writer.write("d/a", b"new and longer");
        tokio::time::sleep(SOON).await; // ok: virtual time
        assert!(seen.load(Ordering::Relaxed) > 1, "it was not synced again");
        one.writer.write("b", b"something else");
        tokio::time::sleep(SOON * 60).await; // ok: virtual time
        assert_eq!(two.fs.user().read("b").unwrap(), b"something else");
        assert_eq!(world.ledger.violations(), Vec::<String>::new());
        two.fs.set_hook(None);
        two.fs.user().make_all_readable();
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        for device in [&one, &two] {
            assert_eq!(device.fs.user().read("d/a").unwrap(), b"new and longer");
        }
    });
}

/// As a power cut does, which brings back a name and a time and keeps the bytes that were written since: that
/// the file was renamed does not explain that it was changed.
#[test]
fn s1_what_was_written_under_its_old_time_and_renamed_while_the_device_was_off_is_an_edit() {
    in_virtual_time(async {
        let world = World::new(Make { seed: 2, devices: 2, grain_ns: 1, ..Make::default() }).await;
        let [one, two] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
        world.end_faults().await;
        write_old(&one);
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        two.stop(Stop::Kill).await;
        two.writer.write("a", b"new");
        two.writer.action("touch", "a", |user| user.set_mtime("a", 1));
        two.writer.rename("a", "b");
        two.start().await;
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        for device in [&one, &two] {
            assert_eq!(device.fs.user().read("b").unwrap(), b"new");
        }
    });
}

/// A user writes into the file while it stands there; then the power goes, and with it the exchange, for the
/// disk keeps what a program has synced without the names that lead to it.
#[test]
fn s6_what_was_written_into_a_file_that_a_power_cut_took_back_into_staging_comes_back() {
    for seed in 1..=SEEDS {
        in_virtual_time(async {
            let kill = || std::panic::resume_unwind(Box::new(CrashNow(Stop::Kill)));
            let hook = |_: &SimDevice| after_the_exchange(OperationKind::Sync, kill);
            let (world, one, two) = stopped_at(seed, hook).await;
            assert!(!two.is_running(), "it was not killed");
            two.writer.write("a", b"of a person here");
            two.fs.user().open_write("a").unwrap().sync().unwrap();
            two.stop(Stop::PowerCut).await;
            two.start().await;
            assert!(world.settle().await, "{:#?}", world.ledger.tail());
            for device in [&one, &two] {
                let user = device.fs.user();
                let texts: Vec<_> =
                    user.tree().keys().map(|path| user.read(path).unwrap()).collect();
                assert!(texts.iter().any(|text| text == b"of a person here"), "{seed}: {texts:?}");
            }
        });
    }
}
