//! What a person is told of a path and of the next round, with real engines.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client::engine::handle::{PlanInfo, WhyInfo};
use client::engine::{Ask, AskError};
use std::collections::BTreeSet;
use std::time::Duration;
use tests::sim::clock::in_virtual_time;
use tests::sim::device::SimDevice;
use tests::sim::world::World;

async fn why(device: &SimDevice, path: &str) -> WhyInfo {
    let ask = |answer| Ask::Why(path.to_owned(), answer);
    device.handle().unwrap().ask(ask).await.unwrap()
}

async fn plan(device: &SimDevice) -> PlanInfo {
    device.handle().unwrap().ask(Ask::Plan).await.unwrap()
}

#[test]
fn a_path_is_explained() {
    in_virtual_time(async {
        let (world, [one, two]) = World::quiet(51).await;
        one.writer.write(".driftlessignore", b"# mine\n*.tmp\n/build/\n");
        one.writer.make_directory("build");
        one.writer.write("build/out", b"out");
        one.writer.write("x.tmp", b"x");
        one.writer.write("file", b"file");
        world.settled().await;
        let file = why(&one, "file").await;
        assert_eq!((file.state, file.revision), ("synced", file.held));
        assert!(file.revision.is_some());
        let has = |why: &WhyInfo| why.devices.iter().all(|(_, at)| Some(*at) >= why.revision);
        let listed: Vec<_> = file.devices.iter().map(|(device, _)| *device).collect();
        assert!(listed == [two.device()] && has(&file), "the other one, not this disk: {file:?}");
        assert_eq!(why(&one, "").await.state, "synced");
        let out = why(&one, "build/out").await;
        assert_eq!(out.state, "ignored");
        assert!(out.reasons[0].contains("build matches line 3"), "{:?}", out.reasons);
        assert_eq!(why(&one, "x.tmp").await.ignored.unwrap().line, 2);

        two.link.set_up(false);
        tokio::time::sleep(Duration::from_secs(60)).await; // ok: virtual time
        two.writer.write("offline", b"offline");
        tokio::time::sleep(Duration::from_secs(2)).await; // ok: virtual time
        let offline = why(&two, "offline").await;
        assert_eq!((offline.state, offline.revision), ("waiting", None));
        assert!(offline.devices.is_empty(), "nobody can be asked");
        one.writer.write("file", b"while the other is away");
        tokio::time::sleep(Duration::from_secs(2)).await; // ok: virtual time
        let file = why(&one, "file").await;
        let [(device, at)] = file.devices[..] else { panic!("one other device: {file:?}") };
        assert!(device == two.device() && Some(at) < file.revision, "{file:?}");
        assert_eq!(file.held, file.revision, "this disk has it: {file:?}");
        let said = offline.reasons.join("; ");
        assert!(
            said.contains("no connection") && said.contains("server does not have it"),
            "{said}"
        );
        two.link.set_up(true);
        world.settled().await;
        assert_eq!(why(&one, "offline").await.state, "synced");

        one.writer.delete("offline");
        world.settled().await;
        assert_eq!(why(&two, "offline").await.state, "deleted");
        let none = |answer| Ask::Why("never".to_owned(), answer);
        let none = one.handle().unwrap().ask(none).await;
        assert_eq!(none, Err(AskError::NoSuchPath("never".to_owned())));

        two.link.set_up(false);
        for (device, bytes) in [(&one, b"one"), (&two, b"two")] {
            device.writer.write("file", bytes);
        }
        tokio::time::sleep(Duration::from_secs(2)).await; // ok: virtual time
        two.link.set_up(true);
        world.settled().await;
        assert_eq!(why(&one, "file").await.state, "conflict");
    });
}

#[test]
fn what_stands_in_the_way_is_named() {
    in_virtual_time(async {
        let (world, [one, two]) = World::quiet(52).await;
        one.writer.write(".driftlessignore", b"*.o\n");
        one.writer.make_directory("d");
        one.writer.write("d/a.txt", b"a");
        world.settled().await;
        two.writer.write("d/a.o", b"object");
        one.writer.action("rm -r", "d", |user| user.remove_all("d"));
        world.settled().await;
        one.writer.write("d", b"a file now");
        tokio::time::sleep(Duration::from_secs(30)).await; // ok: virtual time
        let why = why(&two, "d").await;
        assert_eq!(why.state, "failed");
        assert!(why.reasons[0].contains("holds ignored files"), "{:?}", why.reasons);
        assert!(why.revision.is_some() && why.held.is_none());
    });
}

#[test]
fn what_was_deleted_here_is_not_said_to_be_still_to_come() {
    in_virtual_time(async {
        let (world, [one, two]) = World::quiet(54).await;
        for number in 0..30 {
            one.writer.write(&format!("file {number}"), format!("{number}").as_bytes());
        }
        world.settled().await;
        two.link.set_up(false);
        tokio::time::sleep(Duration::from_secs(60)).await; // ok: virtual time
        two.writer.delete("file 0");
        tokio::time::sleep(Duration::from_secs(2)).await; // ok: virtual time
        let gone = why(&two, "file 0").await;
        let said = gone.reasons.join("; ");
        assert!(said.contains("it was deleted here, and the server"), "{said}");
        assert!(gone.revision.is_some() && gone.held.is_none(), "this disk has it no more");
        two.link.set_up(true);
        world.settled().await;

        for number in 1..30 {
            one.writer.delete(&format!("file {number}"));
        }
        tokio::time::sleep(Duration::from_secs(40)).await; // ok: virtual time
        let gone = why(&one, "file 7").await;
        assert_eq!(gone.state, "waiting");
        let said = gone.reasons.join("; ");
        assert!(said.contains("it was deleted here with many others"), "{said}");
        assert!(said.contains("driftless confirm --undo"), "{said}");
        assert!(!said.contains("has not come"), "{said}");
        assert!(why(&two, "file 7").await.state == "synced", "nobody has agreed");
    });
}

#[test]
fn the_whole_folder_is_explained_by_its_revisions() {
    in_virtual_time(async {
        let (world, [one, two]) = World::quiet(55).await;
        one.writer.write("file", b"file");
        world.settled().await;
        tokio::time::sleep(Duration::from_secs(2)).await; // ok: virtual time
        let whole = why(&one, "").await;
        assert_eq!((whole.state, whole.revision), ("synced", whole.held));
        assert_eq!(whole.devices.len(), 1, "the other one, not this disk: {whole:?}");
        let has_all = |(_, at): &(_, u64)| Some(*at) >= whole.revision;
        assert!(whole.revision.is_some() && whole.devices.iter().all(has_all), "{whole:?}");
        assert_eq!(whole.devices[0].0, two.device());
    });
}

#[test]
fn what_lies_beside_a_database_is_part_of_it() {
    in_virtual_time(async {
        let (world, [one, _two]) = World::quiet(56).await;
        one.writer.make_directory("db");
        one.writer.write("db/y.db", b"");
        one.writer.write("db/y.db-wal", b"a log");
        one.writer.write("db/notes-wal", b"no log");
        world.settled().await;
        let log = why(&one, "db/y.db-wal").await;
        assert_eq!(log.state, "synced");
        assert!(log.reasons[0].contains("part of the database db/y.db"), "{:?}", log.reasons);
        let notes = why(&one, "db/notes-wal").await;
        assert_eq!(notes.reasons, ["this disk and the server hold the same"]);
    });
}

#[test]
fn the_next_round_is_told_and_not_begun() {
    in_virtual_time(async {
        let (world, [one, two]) = World::quiet(53).await;
        one.writer.make_directory("d");
        one.writer.write("d/a", b"a");
        one.writer.write("b", b"b");
        one.writer.write("c", b"c");
        world.settled().await;
        assert_eq!(plan(&two).await, PlanInfo::default());
        let handle = two.handle().unwrap();
        handle.ask(Ask::Pause).await.unwrap();
        two.writer.write("new", b"new");
        two.writer.rename("b", "e");
        two.writer.delete("c");
        tokio::time::sleep(Duration::from_secs(5)).await; // ok: virtual time
        let told = plan(&two).await;
        let told: Vec<String> = told
            .steps
            .iter()
            .map(|step| format!("{} {} {:?}", step.action, step.path, step.from))
            .collect();
        for expected in ["create new None", "move e Some(\"b\")", "delete c None"] {
            assert!(told.contains(&expected.to_owned()), "{told:?}");
        }
        assert_eq!(one.fs.user().tree().len(), 4, "nothing was done");
        let stopped = plan(&two).await.stopped.unwrap();
        assert!(stopped.starts_with("paused: `driftless resume`"), "{stopped}");
        handle.ask(Ask::Resume).await.unwrap();
        world.settled().await;
        assert_eq!(plan(&two).await, PlanInfo::default());
    });
}

#[test]
fn what_was_moved_is_not_said_to_be_gone() {
    in_virtual_time(async {
        let (world, [one, _two]) = World::quiet(57).await;
        one.writer.make_directory("d");
        one.writer.write("d/a", b"a");
        one.writer.make_directory("from");
        one.writer.write("from/f", b"f");
        world.settled().await;
        one.writer.rename("d/a", "d/b");
        one.writer.rename("from", "to");
        tokio::time::sleep(Duration::from_millis(60)).await; // ok: virtual time
        for (from, to) in [("d/a", "d/b"), ("from", "to")] {
            for path in [from, to] {
                let why = why(&one, path).await;
                assert_eq!(why.state, "waiting");
                let expected = format!("it has just been moved to {to};");
                assert!(why.reasons[0].starts_with(&expected), "{path}: {:?}", why.reasons);
                assert!(why.held.is_some(), "{path}: it is on this disk");
            }
        }
        world.settled().await;
        assert_eq!(why(&one, "d/b").await.state, "synced");
    });
}

#[test]
fn what_a_restored_server_has_lost_is_not_said_to_be_synced() {
    in_virtual_time(async {
        let (world, [one, _two]) = World::quiet(58).await;
        one.writer.write("before", b"before");
        world.settled().await;
        let backup = world.server.back_up();
        one.writer.write("since", b"since");
        world.settled().await;
        world.server.restore(backup);
        world.ledger.forget_accepted(BTreeSet::new());
        one.link.cut();
        tokio::time::sleep(Duration::from_secs(40)).await; // ok: virtual time
        let since = why(&one, "since").await;
        assert_eq!((since.state, since.revision), ("waiting", None));
        assert!(since.held.is_some() && since.devices.is_empty(), "{since:?}");
        let said = since.reasons.join("; ");
        assert!(said.contains("waits for a person") && said.contains("backup"), "{said}");
        let before = why(&one, "before").await;
        assert_eq!((before.state, before.revision), ("synced", before.held));
        assert!(before.reasons[0].contains("last followed"), "{before:?}");
        let stopped = plan(&one).await.stopped.unwrap();
        assert!(stopped.starts_with("halted: the server was restored"), "{stopped}");
        assert!(stopped.contains("sends again what the server has lost"), "{stopped}");
        one.confirm().await.unwrap();
        world.settled().await;
        assert_eq!(why(&one, "since").await.state, "synced");
        assert_eq!(plan(&one).await, PlanInfo::default());
    });
}

#[test]
fn a_directory_that_others_deleted_says_that_it_stays_for_what_is_ignored_in_it() {
    in_virtual_time(async {
        let (world, [one, two]) = World::quiet(52).await;
        one.writer.write(".driftlessignore", b"*.o\n");
        one.writer.make_directory("build");
        one.writer.write("build/src", b"synced");
        world.settled().await;
        two.writer.write("build/a.o", b"ignored");
        one.writer.delete("build");
        world.settled().await;
        let build = why(&two, "build").await;
        assert_eq!(build.state, "deleted", "{build:?}");
        assert!(build.reasons[0].contains("stays here"), "{build:?}");
        assert_eq!(why(&two, "build/a.o").await.state, "ignored");
    });
}

#[test]
fn a_device_that_deleted_something_is_not_told_to_have_it() {
    in_virtual_time(async {
        let (world, [one, two]) = World::quiet(53).await;
        for number in 0..30 {
            one.writer.write(&format!("{number}"), b"one of many");
        }
        world.settled().await;
        for number in 0..30 {
            one.writer.delete(&format!("{number}"));
        }
        tokio::time::sleep(Duration::from_secs(5)).await; // ok: virtual time
        let gone = why(&one, "7").await;
        assert_eq!((gone.state, gone.held), ("waiting", None), "{gone:?}");
        let has: Vec<_> = gone.devices.iter().map(|(device, _)| *device).collect();
        assert_eq!(has, [two.device()], "{gone:?}");
    });
}
