//! What `.driftlessignore` names stays where it is: it is never sent, and in nobody's way.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client::engine::handle::WhyInfo;
use client::engine::{Ask, PathIssue};
use common::ids::EntryId;
use common::record::Change;
use std::collections::BTreeSet;
use std::rc::Rc;
use tests::sim::clock::in_virtual_time;
use tests::sim::device::{SimDevice, Stop};
use tests::sim::world::{Make, World};

async fn world(devices: usize) -> World {
    let world = World::new(Make { seed: 5, devices, grain_ns: 1, ..Make::default() }).await;
    world.end_faults().await;
    world
}

async fn settle(world: &World) {
    assert!(world.settle().await, "{:#?}", world.ledger.tail());
}

/// A device that ignores keys, has one, and is in sync.
async fn with_a_key(world: &World) -> Rc<SimDevice> {
    let device = Rc::clone(&world.devices[0]);
    device.writer.write(".driftlessignore", b"*.key\n");
    device.writer.write("my.key", b"for nobody else");
    settle(world).await;
    device
}

/// Entries that are live at the server, whoever sees them.
fn live(world: &World) -> usize {
    let mut live: BTreeSet<EntryId> = BTreeSet::new();
    for row in world.journal() {
        for change in row.entry.group.decode().unwrap().changes {
            match change {
                Change::Create { entry, .. } | Change::Revive { entry, .. } => live.insert(entry),
                Change::Delete { entry, .. } => live.remove(&entry),
                _ => false,
            };
        }
    }
    live.len()
}

fn paths(device: &SimDevice) -> Vec<String> {
    device.fs.user().tree().into_keys().collect()
}

/// The server deletes no directory that holds something, and nobody sees what is ignored in it.
#[test]
fn a_directory_is_deleted_with_what_has_been_ignored_in_it_since() {
    in_virtual_time(async {
        let world = world(2).await;
        let [one, two] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
        one.writer.make_directory("build");
        one.writer.make_directory("build/cache");
        one.writer.write("build/cache/a.log", b"ignored later");
        one.writer.write("build/b.txt", b"not ignored");
        settle(&world).await;
        one.writer.write(".driftlessignore", b"*.log\ncache/\n");
        settle(&world).await;
        assert_eq!(live(&world), 5);
        one.writer.delete("build");
        settle(&world).await;
        assert_eq!(live(&world), 1);
        assert_eq!(paths(&one), [".driftlessignore"]);
        let kept = [".driftlessignore", "build", "build/cache", "build/cache/a.log"];
        assert_eq!(paths(&two), kept, "what is ignored is not deleted");
        assert!(two.handle().unwrap().summary().issues.is_empty());
    });
}

/// Two devices, of which the second keeps `p/sub/z.log` and the directories above it, which the first has
/// deleted.
async fn with_kept_directories(seed: u64) -> (World, [Rc<SimDevice>; 2]) {
    let (world, [one, two]) = World::quiet(seed).await;
    one.writer.write(".driftlessignore", b"*.log\n");
    one.writer.make_directory("p");
    one.writer.make_directory("p/sub");
    one.writer.write("p/sub/a.txt", b"synced");
    world.settled().await;
    two.writer.write("p/sub/z.log", b"ignored");
    one.writer.delete("p");
    world.settled().await;
    assert_eq!(paths(&one), [".driftlessignore"]);
    assert_eq!(paths(&two), [".driftlessignore", "p", "p/sub", "p/sub/z.log"]);
    (world, [one, two])
}

async fn why(device: &SimDevice, path: &str) -> WhyInfo {
    let ask = |answer| Ask::Why(path.to_owned(), answer);
    device.handle().unwrap().ask(ask).await.unwrap()
}

/// An error is no content (S7), and so nothing that anybody has made (S5).
#[test]
fn a_directory_kept_for_what_is_ignored_stays_away_from_others_while_it_cannot_be_listed() {
    for hidden in ["p", "p/sub"] {
        in_virtual_time(async {
            let (world, [one, two]) = with_kept_directories(91).await;
            let user = two.fs.user();
            user.set_unreadable(hidden, true).unwrap();
            two.writer.action("chmod", "p", |user| user.chmod("p", 0o700));
            tokio::time::sleep(std::time::Duration::from_secs(5)).await; // ok: virtual time
            let issues = two.handle().unwrap().summary().issues;
            let is_told =
                |issue: &PathIssue| issue.path == "p" && issue.reason.contains("cannot be read");
            assert!(issues.iter().any(is_told), "{issues:?}");
            assert_eq!(why(&two, "p").await.state, "failed");
            assert_eq!((paths(&one), live(&world)), (vec![".driftlessignore".to_owned()], 1));
            user.set_unreadable(hidden, false).unwrap();
            two.writer.action("chmod", "p", |user| user.chmod("p", 0o755));
            world.settled().await;
            assert_eq!((paths(&one), live(&world)), (vec![".driftlessignore".to_owned()], 1));
            assert_eq!(two.handle().unwrap().summary().issues, []);
            assert_eq!(why(&two, "p").await.state, "deleted");
        });
    }
}

/// What was ignored in it is cleaned away: nobody has made a directory.
#[test]
fn directories_that_were_kept_stay_away_from_others_when_what_kept_them_is_gone() {
    in_virtual_time(async {
        let (world, [one, two]) = with_kept_directories(92).await;
        two.writer.action("rm", "p/sub/z.log", |user| user.remove("p/sub/z.log"));
        world.settled().await;
        assert_eq!((paths(&one), live(&world)), (vec![".driftlessignore".to_owned()], 1));
        let said = why(&two, "p").await;
        assert!(said.state == "deleted" && said.reasons[0].contains("nothing is left"), "{said:?}");
        let issues = two.handle().unwrap().summary().issues;
        assert!(issues.is_empty(), "{issues:?}");
        two.writer.make_directory("p/new");
        world.settled().await;
        assert_eq!(paths(&one), [".driftlessignore", "p", "p/new"], "a directory that is made is");
    });
}

/// Whoever makes a directory where one was kept has made it.
#[test]
fn a_directory_is_synced_that_is_made_where_one_was_kept_that_is_gone() {
    for (instead, is_off) in [(None, false), (Some("p"), false), (None, true)] {
        in_virtual_time(async {
            let (world, [one, two]) = with_kept_directories(93).await;
            if is_off {
                two.stop(Stop::Kill).await;
            }
            two.writer.delete("p");
            if let Some(file) = instead {
                two.writer.write(file, b"a file for a while");
            }
            if is_off {
                two.start().await;
            }
            world.settled().await;
            if let Some(file) = instead {
                two.writer.delete(file);
                world.settled().await;
            }
            assert_eq!((paths(&one), live(&world)), (vec![".driftlessignore".to_owned()], 1));
            two.writer.make_directory("p");
            two.writer.make_directory("p/sub");
            world.settled().await;
            assert_eq!(paths(&one), [".driftlessignore", "p", "p/sub"]);
            assert_eq!(why(&two, "p").await.state, "synced");
        });
    }
}

/// The same in a directory that was synced, and that goes with what was kept in it.
#[test]
fn a_directory_is_synced_that_is_made_where_one_was_kept_in_another_that_is_gone() {
    in_virtual_time(async {
        let (world, [one, two]) = with_kept_directories(94).await;
        one.writer.make_directory("p");
        world.settled().await;
        assert_eq!(paths(&two), [".driftlessignore", "p", "p/sub", "p/sub/z.log"]);
        two.writer.delete("p");
        world.settled().await;
        assert_eq!(paths(&one), [".driftlessignore"]);
        two.writer.make_directory("p");
        two.writer.make_directory("p/sub");
        world.settled().await;
        assert_eq!(paths(&one), [".driftlessignore", "p", "p/sub"]);
    });
}

/// Nobody else can know of a FIFO: it keeps no device from being in sync, and is not deleted.
#[test]
fn a_directory_that_others_delete_stays_for_what_cannot_be_synced_and_is_listed() {
    in_virtual_time(async {
        let world = world(2).await;
        let [one, two] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
        one.writer.make_directory("build");
        one.writer.write("build/src", b"synced");
        one.writer.write("other", b"stays");
        settle(&world).await;
        two.writer.action("mkfifo", "build/pipe", |user| user.make_other("build/pipe"));
        one.writer.delete("build");
        settle(&world).await;
        assert_eq!(live(&world), 1);
        assert_eq!(paths(&two), ["build", "build/pipe", "other"]);
        let issues = two.handle().unwrap().summary().issues;
        let is_told = |issue: &PathIssue| issue.path == "build" && issue.reason.contains("deleted");
        assert!(issues.iter().any(is_told), "{issues:?}");
        two.writer.write("build/new", b"the directory is somebody's again");
        settle(&world).await;
        assert_eq!(paths(&one), ["build", "build/new", "other"]);
        two.writer.action("rm", "build/pipe", |user| user.remove("build/pipe"));
        two.writer.delete("build");
        settle(&world).await;
        assert_eq!(paths(&two), ["other"]);
        assert!(two.handle().unwrap().summary().issues.is_empty());
    });
}

#[test]
fn what_a_device_that_joins_has_lying_there_is_not_sent_if_the_folder_ignores_it() {
    in_virtual_time(async {
        let mut world = world(1).await;
        let one = Rc::clone(&world.devices[0]);
        one.writer.write(".driftlessignore", b"*.secret\n");
        one.writer.write("shared", b"in the folder");
        settle(&world).await;
        let two = world.add_device(true, None).await;
        two.writer.write("mine.secret", b"for nobody else");
        two.writer.write("mine", b"for all");
        two.start().await;
        settle(&world).await;
        assert_eq!(paths(&one), [".driftlessignore", "mine", "shared"]);
        assert_eq!(paths(&two), [".driftlessignore", "mine", "mine.secret", "shared"]);
        assert_eq!(live(&world), 3, "it was sent, though nobody sees it");
    });
}

/// An error is not an empty file (S7).
#[test]
fn rules_that_cannot_be_read_stay_as_they_were() {
    in_virtual_time(async {
        let world = world(1).await;
        let one = with_a_key(&world).await;
        assert_eq!(live(&world), 1);
        let user = one.fs.user();
        user.set_unreadable(".driftlessignore", true).unwrap();
        one.writer
            .action("touch", ".driftlessignore", |user| user.chmod(".driftlessignore", 0o600));
        one.writer.write("other", b"goes on");
        tokio::time::sleep(std::time::Duration::from_secs(5)).await; // ok: virtual time
        assert_eq!(live(&world), 2);
        let issues = one.handle().unwrap().summary().issues;
        assert!(
            issues.iter().any(|issue| issue.reason.contains("stay as they were")),
            "{issues:?}"
        );
        user.set_unreadable(".driftlessignore", false).unwrap();
        one.writer.write(".driftlessignore", b"# nothing any more\n");
        settle(&world).await;
        assert_eq!(live(&world), 3);
    });
}

/// A program that writes the file anew empties it first.
#[test]
fn rules_that_are_being_written_are_waited_for() {
    in_virtual_time(async {
        let world = world(1).await;
        let one = with_a_key(&world).await;
        one.writer.write(".driftlessignore", b"");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await; // ok: virtual time
        one.writer.write(".driftlessignore", b"*.key\n*.o\n");
        settle(&world).await;
        assert_eq!(live(&world), 1);
    });
}

/// What is ignored still has its name at the server.
#[test]
fn a_file_in_the_place_of_an_ignored_directory_is_listed_and_the_rest_goes_on() {
    in_virtual_time(async {
        let world = world(1).await;
        let one = Rc::clone(&world.devices[0]);
        one.writer.make_directory("build");
        one.writer.write("build/a.o", b"ignored later");
        settle(&world).await;
        one.writer.write(".driftlessignore", b"build/\n");
        settle(&world).await;
        one.writer.delete("build");
        one.writer.write("build", b"a file, which no rule names");
        tokio::time::sleep(std::time::Duration::from_secs(5)).await; // ok: virtual time
        one.writer.write("other", b"goes on");
        tokio::time::sleep(std::time::Duration::from_secs(5)).await; // ok: virtual time
        let issues = one.handle().unwrap().summary().issues;
        let is_told = |issue: &PathIssue| issue.path == "build" && issue.reason.contains("refuses");
        assert!(issues.iter().any(is_told), "{issues:?}");
        assert_eq!(one.handle().unwrap().ask(Ask::Sync).await, Ok(false));
        assert_eq!(live(&world), 4);
        one.writer.rename("build", "a file");
        settle(&world).await;
        assert_eq!(live(&world), 5);
    });
}
