//! Directories that become bundles, and bundles that become directories, by the folder's rules: in the
//! simulation, where two devices and all that happens are seen.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client::engine::Ask;
use client::engine::handle::Listing;
use client::fs::memory::OperationKind;
use std::rc::Rc;
use std::sync::Arc;
use tests::sim::bundles::is_archive;
use tests::sim::clock::in_virtual_time;
use tests::sim::device::SimDevice;
use tests::sim::invariants;
use tests::sim::world::{Make, World};

const RULES: &str = ".driftlessbundles";
/// Files in the directory: by far the most of the folder.
const FILES: usize = 150;

async fn world() -> (World, Vec<Rc<SimDevice>>) {
    let world = World::new(Make { seed: 5, devices: 2, grain_ns: 1, ..Make::default() }).await;
    world.end_faults().await;
    let devices: Vec<Rc<SimDevice>> = world.devices.iter().map(Rc::clone).collect();
    devices[0].writer.write("other.txt", b"other");
    devices[0].writer.make_directory("P.photos");
    devices[0].writer.make_directory("P.photos/sub");
    for number in 0..FILES {
        let path = format!("P.photos/sub/{number}");
        devices[0].writer.write(&path, format!("photo {number}").as_bytes());
    }
    settled(&world).await;
    (world, devices)
}

async fn settled(world: &World) {
    settled_with(world, 0).await;
}

async fn settled_with(world: &World, conflicts: u64) {
    assert!(world.settle().await, "{:#?}", world.ledger.tail());
    for device in &world.devices {
        let summary = device.handle().unwrap().summary();
        assert_eq!(summary.issues, [], "device {}", device.number);
        assert_eq!(summary.conflicts, conflicts, "device {}", device.number);
    }
    assert_eq!(world.confirmations.get(), 0, "nothing is lost, so nobody is asked");
    invariants::s4_convergence(world);
    assert_eq!(world.ledger.violations(), Vec::<String>::new());
}

/// What the folder holds at the server, by kind.
async fn listed(device: &SimDevice) -> Vec<String> {
    let handle = device.handle().unwrap();
    let listing =
        handle.ask(|answer| Ask::List(String::new(), Listing::Now, answer)).await.unwrap();
    listing.entries.into_iter().map(|entry| entry.path).collect()
}

#[test]
fn a_directory_becomes_a_bundle_and_one_again() {
    in_virtual_time(async {
        let (world, devices) = world().await;
        let tree = devices[0].fs.user().tree();
        assert_eq!(listed(&devices[1]).await.len(), FILES + 3);

        devices[0].writer.write(RULES, b"*.photos\n");
        settled(&world).await;
        for device in &devices {
            let names = listed(device).await;
            assert_eq!(names, [RULES, "P.photos", "other.txt"], "one entry for all of it");
            let mut now = device.fs.user().tree();
            now.remove(RULES);
            assert_eq!(now, tree, "and on the disk nothing is touched");
        }
        devices[1].writer.write("P.photos/sub/7", b"another photo");
        settled(&world).await;
        let read = devices[0].fs.user().read("P.photos/sub/7").unwrap();
        assert_eq!(read, b"another photo");

        devices[1].writer.write(RULES, b"");
        settled(&world).await;
        let tree = devices[0].fs.user().tree();
        assert_eq!(listed(&devices[0]).await.len(), FILES + 4);
        assert_eq!(tree.len(), FILES + 4);
        assert!(!is_archive(&devices[0].fs.user().read("P.photos/sub/8").unwrap()));
    });
}

/// A directory that is filled and named a bundle while it is on its way: nobody else makes a bundle of the
/// half that has arrived.
#[test]
fn a_new_directory_becomes_a_bundle_at_any_moment() {
    in_virtual_time(async {
        for pause_ms in (0..1_500).step_by(50) {
            let (world, devices) = world().await;
            let writer = &devices[0].writer;
            writer.make_directory("Q.photos");
            writer.make_directory("Q.photos/sub");
            for number in 0..3 {
                writer.write(&format!("Q.photos/sub/{number}"), b"a photo");
            }
            tokio::time::sleep(std::time::Duration::from_millis(pause_ms)).await; // ok: virtual time
            writer.write(RULES, b"Q.photos\n");
            settled(&world).await;
            let names = listed(&devices[1]).await;
            assert_eq!(names.len(), FILES + 5, "{pause_ms}: {names:?}");
            assert!(names.contains(&"Q.photos".to_owned()), "{pause_ms}");
            let tree = devices[1].fs.user().tree();
            assert_eq!(tree, devices[0].fs.user().tree(), "{pause_ms}");
        }
    });
}

/// Who names a directory a bundle elsewhere, and is gone before it sends one, keeps nobody waiting for ever;
/// and what was changed in it here goes out at once.
#[test]
fn a_bundle_that_its_author_never_sends_is_sent_by_another() {
    in_virtual_time(async {
        for edits in [false, true] {
            let (world, devices) = world().await;
            let base = devices[0].fs.user().tree();
            devices[0].writer.write(RULES, b"*.photos\n");
            // The rules have left, the bundle rests.
            while devices[1].fs.user().read(RULES).is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await; // ok: virtual time
            }
            devices[0].link.set_up(false);
            if edits {
                devices[1].writer.write("P.photos/sub/7", b"another photo");
            }
            let seconds = if edits { 10 } else { 90 };
            tokio::time::sleep(std::time::Duration::from_secs(seconds)).await; // ok: virtual time
            assert_eq!(listed(&devices[1]).await, [RULES, "P.photos", "other.txt"]);
            devices[0].link.set_up(true);
            settled(&world).await;
            let tree = devices[0].fs.user().tree();
            assert_eq!(tree.len(), base.len() + 1);
            assert_eq!(tree, devices[1].fs.user().tree());
        }
    });
}

/// A device that was away has the directory as it was, and finds the rules and the bundle at once. Where
/// the bundle was edited meanwhile, it is given that.
#[test]
fn who_was_away_meanwhile_comes_to_the_same() {
    in_virtual_time(async {
        for edits in [false, true] {
            let (world, devices) = world().await;
            devices[1].link.set_up(false);
            devices[0].writer.write(RULES, b"*.photos\n");
            tokio::time::sleep(std::time::Duration::from_secs(5)).await; // ok: virtual time
            if edits {
                devices[0].writer.write("P.photos/sub/7", b"another photo");
                tokio::time::sleep(std::time::Duration::from_secs(5)).await; // ok: virtual time
            }
            devices[1].link.set_up(true);
            settled(&world).await;
            assert_eq!(listed(&devices[0]).await, [RULES, "P.photos", "other.txt"]);
            let read = devices[1].fs.user().read("P.photos/sub/7").unwrap();
            assert_eq!(read, if edits { &b"another photo"[..] } else { b"photo 7" });
        }
    });
}

/// What git keeps for one disk alone, and a bundle hides, is no reason for two devices to send it at once.
#[test]
fn a_repository_becomes_a_bundle() {
    in_virtual_time(async {
        let (world, devices) = world().await;
        for directory in ["Q.photos", "Q.photos/objects", "Q.photos/refs"] {
            devices[0].writer.make_directory(directory);
        }
        for file in ["HEAD", "index", "refs/old.lock"] {
            devices[0].writer.write(&format!("Q.photos/{file}"), file.as_bytes());
        }
        settled(&world).await;
        devices[0].writer.write(RULES, b"Q.photos\n");
        devices[0].writer.write("Q.photos/HEAD", b"a commit");
        settled(&world).await;
        for device in &devices {
            assert!(listed(device).await.contains(&"Q.photos".to_owned()));
            assert_eq!(device.fs.user().read("Q.photos/HEAD").unwrap(), b"a commit");
        }
    });
}

/// Somebody edits a file of the directory when the rules come, in a way that neither its size nor its mtime
/// tells, and nothing hints at: it is in a version, beside the other device's.
#[test]
fn an_edit_that_nobody_has_seen_does_not_yield_to_another_bundle() {
    in_virtual_time(async {
        let (_world, devices) = world().await;
        let mtime_ns = devices[1].fs.user().stat("P.photos/sub/7").unwrap().mtime_ns;
        devices[1].fs.set_hook(Some(Arc::new(move |user, operation| {
            let to = operation.to.as_ref().map(ToString::to_string);
            if operation.kind == OperationKind::Rename && to.as_deref() == Some(RULES) {
                user.write("P.photos/sub/7", b"PHOTO 7").unwrap();
                user.set_mtime("P.photos/sub/7", mtime_ns).unwrap();
            }
            None
        })));
        devices[0].writer.write(RULES, b"*.photos\n");
        tokio::time::sleep(std::time::Duration::from_secs(200)).await; // ok: virtual time
        for device in &devices {
            let user = device.fs.user();
            let edited = |path: &String| user.read(path).is_ok_and(|it| it == b"PHOTO 7");
            let paths = user.paths();
            assert!(paths.iter().any(edited), "device {}: {paths:?}", device.number);
        }
    });
}

/// Rules go by being deleted, too: then what they had kept from being a bundle becomes one.
#[test]
fn who_deletes_the_rules_sends_the_bundles_that_come_of_it() {
    in_virtual_time(async {
        let (world, devices) = world().await;
        devices[0].writer.write(RULES, b"!*.app\n");
        devices[0].writer.make_directory("X.app");
        devices[0].writer.write("X.app/a", b"a part");
        settled(&world).await;
        devices[0].writer.delete(RULES);
        while devices[1].fs.user().read(RULES).is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await; // ok: virtual time
        }
        devices[0].link.set_up(false);
        devices[0].writer.write("X.app/a", b"another part");
        tokio::time::sleep(std::time::Duration::from_secs(10)).await; // ok: virtual time
        devices[0].link.set_up(true);
        settled(&world).await;
        assert_eq!(devices[1].fs.user().read("X.app/a").unwrap(), b"another part");
    });
}

/// What is in a bundle may be newer than the present: a clock elsewhere is ahead, or this one was set back.
/// It rests all the same before it is read.
#[test]
fn a_bundle_rests_whatever_the_clock_says() {
    in_virtual_time(async {
        let (world, devices) = world().await;
        devices[0].writer.make_directory("X.app");
        devices[0].writer.write("X.app/a", b"first");
        settled(&world).await;
        devices[0].clock.jump(-3_600_000_000_000);
        for part in ["X.app/b", "X.app/c", "X.app/d"] {
            devices[0].writer.write(part, b"a part");
            tokio::time::sleep(std::time::Duration::from_millis(120)).await; // ok: virtual time
        }
        settled(&world).await;
        let ask = |answer| Ask::Log("X.app".to_owned(), 0, 10, answer);
        let log = devices[1].handle().unwrap().ask(ask).await.unwrap();
        assert_eq!(log.versions.len(), 2, "{:?}", log.versions);
        assert_eq!(devices[1].fs.user().read("X.app/d").unwrap(), b"a part");
    });
}
