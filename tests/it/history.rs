//! History that outlives a deletion, and a save that keeps what was there before.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client::engine::handle::{Moment, Which};
use client::engine::{Ask, AskError, FolderHandle};
use client::fs::memory::user::UserEntry;
use common::ids::{ConflictId, EntryId};
use common::limits::REPLY_BYTES_SOFT;
use common::record::{Change, Content, Kind};
use common::revision::Revision;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;
use std::time::Duration;
use tests::sim::clock::in_virtual_time;
use tests::sim::device::SimDevice;
use tests::sim::scene::{Scene, play};
use tests::sim::world::{Make, World};

async fn revisions(handle: &FolderHandle, path: &str) -> Vec<Revision> {
    let versions = handle.ask(|answer| Ask::Log(path.to_owned(), 0, 100, answer)).await.unwrap();
    versions.versions.into_iter().map(|version| version.revision).collect()
}

#[test]
fn a_deleted_file_that_is_restored_keeps_its_history() {
    in_virtual_time(async {
        let world = World::new(Make { seed: 2, devices: 2, grain_ns: 1, ..Make::default() }).await;
        let [one, two] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
        world.end_faults().await;
        one.writer.make_directory("d");
        one.writer.write("d/file", b"first");
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        one.writer.write("d/file", b"second, longer");
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        one.writer.action("rm -r", "d", |user| user.remove_all("d"));
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        let handle = two.handle().unwrap();
        let before = revisions(&handle, "d/file").await;
        assert!(before.len() >= 3, "created, edited, deleted: {before:?}");

        let first = *before.last().unwrap();
        handle
            .ask(|answer| Ask::Restore("d/file".to_owned(), Which::Revision(first), false, answer))
            .await
            .unwrap();
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        for device in [&one, &two] {
            assert_eq!(device.fs.user().read("d/file").unwrap(), b"first");
            let after = revisions(&device.handle().unwrap(), "d/file").await;
            assert!(after.len() > before.len() && after.ends_with(&before), "{after:?}");
        }
    });
}

#[test]
fn an_old_version_of_a_symlink_is_restored_as_a_link() {
    in_virtual_time(async {
        let world = World::new(Make { seed: 3, devices: 2, grain_ns: 1, ..Make::default() }).await;
        let [one, two] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
        world.end_faults().await;
        one.writer.action("ln -s", "l", |user| user.symlink("one", "l"));
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        one.writer.action("ln -sfn", "l", |user| {
            user.remove("l")?;
            user.symlink("two", "l")
        });
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        let handle = two.handle().unwrap();
        let versions = revisions(&handle, "l").await;
        assert_eq!(versions.len(), 2);
        let first = versions[1];

        let directory = tempfile::tempdir().unwrap();
        let to = directory.path().join("beside");
        let export = async || {
            handle
                .ask(|answer| {
                    Ask::Export("l".to_owned(), Which::Revision(first), to.clone().into(), answer)
                })
                .await
        };
        assert_eq!(export().await, Ok(3));
        assert_eq!(std::fs::read_link(&to).unwrap(), std::path::Path::new("one"));
        assert!(matches!(export().await, Err(AskError::Exists(_))));

        let restore = async || {
            handle
                .ask(|answer| Ask::Restore("l".to_owned(), Which::Revision(first), false, answer))
                .await
                .unwrap();
            assert!(world.settle().await, "{:#?}", world.ledger.tail());
            for device in [&one, &two] {
                let tree = device.fs.user().tree();
                assert!(matches!(&tree["l"], UserEntry::Symlink(target) if target == b"one"));
            }
        };
        restore().await;
        one.writer.delete("l");
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        restore().await;
        assert!(revisions(&handle, "l").await.ends_with(&versions));
    });
}

#[test]
fn a_version_is_exported_with_its_mode_and_mtime() {
    in_virtual_time(async {
        let world = World::new(Make { seed: 5, devices: 1, grain_ns: 1, ..Make::default() }).await;
        let one = Rc::clone(&world.devices[0]);
        world.end_faults().await;
        one.writer.write("file", b"secret");
        one.writer.action("chmod", "file", |user| {
            user.chmod("file", 0o640)?;
            user.set_mtime("file", 1_500_000_000_000_000_007)
        });
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        let handle = one.handle().unwrap();
        let newest = revisions(&handle, "file").await[0];
        let directory = tempfile::tempdir().unwrap();
        let to = directory.path().join("beside");
        let ask = |answer| {
            Ask::Export("file".to_owned(), Which::Revision(newest), to.clone().into(), answer)
        };
        assert_eq!(handle.ask(ask).await, Ok(6));
        assert_eq!(std::fs::read(&to).unwrap(), b"secret");
        let found = std::fs::metadata(&to).unwrap();
        assert_eq!(found.mode() & 0o7777, 0o640);
        assert_eq!((found.mtime(), found.mtime_nsec()), (1_500_000_000, 7));
    });
}

/// A program that writes without end makes more versions than one answer of the server holds.
#[test]
fn a_long_list_of_versions_comes_in_pages_and_whole() {
    /// More than fit two answers, each with a target of 4000 bytes.
    const EDITS: usize = 2 * REPLY_BYTES_SOFT / 4_000 + 20;
    play(async |scene: &Scene| {
        let rogue = &scene.rogue;
        let entry = rogue.fresh();
        let content = |edit: usize| rogue.symlink(&entry, format!("{edit:0>4000}").as_bytes());
        let place = rogue.place(&entry, EntryId::ROOT, b"link");
        let create = rogue.create(entry, Kind::Symlink, place, content(0));
        let mut made = vec![rogue.commit(vec![create]).await.unwrap()];
        for edit in 1..=EDITS {
            let (base, content) = (made[edit - 1], content(edit));
            made.push(rogue.commit(vec![Change::Edit { entry, base, content }]).await.unwrap());
        }
        scene.wait().await;
        made.reverse();
        let handle = scene.victim.handle().unwrap();
        let log = async |limit| {
            let log = handle.ask(|answer| Ask::Log("link".to_owned(), 0, limit, answer));
            log.await
                .unwrap()
                .versions
                .into_iter()
                .map(|it| (it.revision, it.change))
                .collect::<Vec<_>>()
        };
        let all = log(1_000).await;
        assert_eq!(all.iter().map(|(revision, _)| *revision).collect::<Vec<_>>(), made);
        assert_eq!(all.last().unwrap().1, "created");
        assert_eq!(log(100).await, all[..100], "no more than is asked for");
    });
}

/// A rogue device of the user's seals what no device can open.
#[test]
fn a_version_that_does_not_open_hides_no_other() {
    play(async |scene: &Scene| {
        let rogue = &scene.rogue;
        let entry = rogue.fresh();
        let content = rogue.symlink(&entry, b"one");
        let place = rogue.place(&entry, EntryId::ROOT, b"link");
        let first = rogue.commit(vec![rogue.create(entry, Kind::Symlink, place, content)]).await;
        let bad = Content {
            attributes: rogue.forge().attributes(&entry, b"none"),
            ..rogue.symlink(&entry, b"two")
        };
        let edit = |base, content| vec![Change::Edit { entry, base, content }];
        let second = rogue.commit(edit(first.unwrap(), bad)).await;
        let third = rogue.symlink(&entry, b"three");
        let third = rogue.commit(edit(second.unwrap(), third)).await;
        scene.wait().await;
        let handle = scene.victim.handle().unwrap();
        let log = handle
            .ask(|answer| Ask::Log("link".to_owned(), 0, 100, answer))
            .await
            .unwrap()
            .versions;
        let shown = log.iter().map(|it| (it.revision, it.change, it.unreadable.is_some()));
        let expected = [
            (third.unwrap(), "edited", false),
            (second.unwrap(), "edited", true),
            (first.unwrap(), "created", false),
        ];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
        assert!(log.iter().all(|version| version.name == "link" && version.device.is_some()));
        let restored = |answer| {
            Ask::Restore("link".to_owned(), Which::Revision(second.unwrap()), false, answer)
        };
        assert!(matches!(handle.ask(restored).await, Err(AskError::Unreadable(_))));

        let copy = rogue.fresh();
        let bad = Content {
            attributes: rogue.forge().attributes(&copy, b"none"),
            ..rogue.symlink(&copy, b"copy")
        };
        let (conflict, theirs) = (ConflictId::from_bytes([9; 16]), third.unwrap());
        let opened = vec![
            rogue.create(copy, Kind::Symlink, rogue.place(&copy, EntryId::ROOT, b"copy"), bad),
            Change::OpenConflict { conflict, entry, base: first.ok(), theirs, copy },
        ];
        rogue.commit(opened).await.unwrap();
        scene.wait().await;
        let conflicts = handle.ask(|it| Ask::ConflictsIn(String::new(), false, it)).await.unwrap();
        let [conflict] = conflicts.as_slice() else { panic!("{conflicts:?}") };
        let unreadable = conflict.sides.iter().map(|side| side.unreadable.is_some());
        assert_eq!(unreadable.collect::<Vec<_>>(), [false, true]);
    });
}

/// What many editors do, seen by the engine half way.
#[test]
fn a_save_that_keeps_a_backup_is_an_edit_of_the_path() {
    in_virtual_time(async {
        let world = World::new(Make { seed: 4, devices: 2, grain_ns: 1, ..Make::default() }).await;
        let [one, two] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
        world.end_faults().await;
        one.writer.write("file", b"first");
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        let handle = one.handle().unwrap();
        let before = revisions(&handle, "file").await;

        one.writer.rename("file", "file~");
        tokio::time::sleep(Duration::from_millis(100)).await; // ok: virtual time
        one.writer.write("file", b"second, longer");
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        let after = revisions(&handle, "file").await;
        assert!(after.len() == before.len() + 1 && after.ends_with(&before), "{after:?}");
        assert_eq!(revisions(&handle, "file~").await.len(), 1, "the backup is new");

        two.link.set_up(false);
        two.writer.write("file", b"meanwhile, elsewhere");
        one.writer.rename("file", "file~~");
        tokio::time::sleep(Duration::from_millis(100)).await; // ok: virtual time
        one.writer.write("file", b"third, and longest of all");
        tokio::time::sleep(Duration::from_secs(5)).await; // ok: virtual time
        two.link.set_up(true);
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        for device in [&one, &two] {
            let user = device.fs.user();
            assert_eq!(user.read("file~~").unwrap(), b"second, longer");
            assert_eq!(user.read("file").unwrap(), b"third, and longest of all");
            assert_eq!(device.handle().unwrap().summary().conflicts, 1);
        }
    });
}

/// A restore takes nothing away from where it is now: the path gets another entry, whose log is new.
#[test]
fn what_is_restored_where_it_was_moved_away_from_names_where_its_history_is() {
    in_virtual_time(async {
        let (world, [one, two]) = World::quiet(6).await;
        one.writer.write("a", b"first");
        world.settled().await;
        one.writer.write("a", b"second");
        world.settled().await;
        let handle = two.handle().unwrap();
        let [second, first] = revisions(&handle, "a").await.try_into().unwrap();
        one.writer.rename("a", "b");
        world.settled().await;
        let moved = revisions(&handle, "b").await[0];
        let at = Which::At(Moment::Revision(second));
        handle.ask(|answer| Ask::Restore("a".to_owned(), at, false, answer)).await.unwrap();
        world.settled().await;
        let log = handle.ask(|answer| Ask::Log("a".to_owned(), 0, 100, answer)).await.unwrap();
        let [only] = log.versions.as_slice() else { panic!("{log:?}") };
        let told = (only.change, only.restored, only.restored_from.as_deref());
        assert_eq!(told, ("restored", Some(second), Some("b")));
        let directory = tempfile::tempdir().unwrap();
        for (revision, said) in [(first, ", but b has, which was here before"), (moved + 9, "")] {
            let to = directory.path().join("to");
            let which = Which::Revision(revision);
            let ask = |answer| Ask::Export("a".to_owned(), which, to.into(), answer);
            let error = handle.ask(ask).await.unwrap_err().to_string();
            assert_eq!(error, format!("a: has no revision {revision}{said}"));
        }
        assert_eq!(bytes_of(&two, "b"), b"second");
    });
}

/// Files that were first pushed together have a version of the same revision.
#[test]
fn what_is_restored_from_its_own_history_names_nothing_else_that_had_the_path() {
    in_virtual_time(async {
        let (world, [one, two]) = World::quiet(7).await;
        two.link.set_up(false);
        two.writer.write("a", b"first of a");
        two.writer.write("b", b"first of b");
        two.link.set_up(true);
        world.settled().await;
        let handle = one.handle().unwrap();
        let first = revisions(&handle, "a").await;
        assert_eq!(first, revisions(&handle, "b").await, "they were pushed together");
        for (from, to) in [("b", "b.old"), ("a", "b")] {
            one.writer.rename(from, to);
            world.settled().await;
        }
        one.writer.write("b", b"second");
        world.settled().await;
        let which = Which::Revision(first[0]);
        handle.ask(|answer| Ask::Restore("b".to_owned(), which, false, answer)).await.unwrap();
        world.settled().await;
        assert_eq!(bytes_of(&two, "b"), b"first of a");
        let log = handle.ask(|answer| Ask::Log("b".to_owned(), 0, 100, answer)).await.unwrap();
        let newest = &log.versions[0];
        let told = (newest.change, newest.restored, newest.restored_from.as_deref());
        assert_eq!(told, ("restored", Some(first[0]), None));
    });
}

fn bytes_of(device: &SimDevice, path: &str) -> Vec<u8> {
    device.fs.user().read(path).unwrap()
}

#[test]
fn the_log_of_a_directory_that_was_made_again_tells_of_the_one_before() {
    in_virtual_time(async {
        let (world, [one, two]) = World::quiet(7).await;
        one.writer.make_directory("d");
        one.writer.write("d/old", b"old");
        one.writer.write("d/moved", b"moved");
        world.settled().await;
        one.writer.rename("d/moved", "moved");
        world.settled().await;
        one.writer.action("rm -r", "d", |user| user.remove_all("d"));
        world.settled().await;
        one.writer.make_directory("d");
        one.writer.write("d/new", b"new");
        world.settled().await;
        one.writer.rename("moved", "d/moved");
        world.settled().await;
        let handle = two.handle().unwrap();
        let page = async |before, limit| {
            handle.ask(|answer| Ask::Log("d".to_owned(), before, limit, answer)).await.unwrap()
        };
        let whole = page(0, 100).await;
        let told = whole.versions.iter().map(|it| format!("{} {}", it.change, it.path));
        let mut told: Vec<String> = told.collect();
        assert_eq!(told[0], "moved d/moved");
        told.sort();
        let expected = [
            "created d",
            "created d",
            "created d/moved",
            "created d/new",
            "created d/old",
            "deleted d",
            "deleted d/old",
            "moved d/moved",
            "moved moved",
        ];
        assert_eq!(told, expected);
        assert!(whole.versions.is_sorted_by_key(|it| std::cmp::Reverse(it.revision)));
        for limit in [1, 2, 3] {
            let (mut found, mut before, mut more) = (Vec::new(), 0, true);
            while more {
                let part = page(before, limit).await;
                before = part.versions.last().unwrap().revision;
                more = part.more;
                found.extend(part.versions);
            }
            assert_eq!(found, whole.versions, "in pages of {limit}");
        }
    });
}

#[test]
fn the_log_of_a_path_tells_of_what_stood_there_before_of_whatever_kind() {
    in_virtual_time(async {
        let (world, [one, two]) = World::quiet(31).await;
        let told = async || {
            let handle = two.handle().unwrap();
            let log = handle.ask(|it| Ask::Log("x".to_owned(), 0, 100, it)).await.unwrap();
            let told =
                log.versions.iter().map(|it| format!("{} {:?} {}", it.change, it.kind, it.path));
            let mut told: Vec<String> = told.collect();
            let newest = told[0].clone();
            told.sort();
            (newest, told)
        };
        one.writer.write("x", b"a file");
        world.settled().await;
        one.writer.delete("x");
        world.settled().await;
        one.writer.make_directory("x");
        one.writer.write("x/in", b"in it");
        world.settled().await;
        let first =
            ["created Directory x", "created File x", "created File x/in", "deleted File x"];
        assert_eq!(told().await.1, first);
        one.writer.action("rm -r", "x", |user| user.remove_all("x"));
        world.settled().await;
        one.writer.write("x", b"another file");
        world.settled().await;
        let (newest, all) = told().await;
        assert_eq!(newest, "created File x");
        let after = ["created File x", "deleted Directory x", "deleted File x/in"];
        let mut expected: Vec<&str> = first.into_iter().chain(after).collect();
        expected.sort_unstable();
        assert_eq!(all, expected);
    });
}
