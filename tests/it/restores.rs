//! Bringing back what was, with real engines: where it meets what a person has done meanwhile, and
//! what others do at the same time.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client::engine::handle::{Listing, Moment, RestoreInfo, Sent, Which};
use client::engine::{Ask, AskError};
use client::fs::memory::user::UserEntry;
use client_core::past::Change;
use common::revision::Revision;
use std::collections::BTreeMap;
use std::time::Duration;
use tests::sim::clock::in_virtual_time;
use tests::sim::device::SimDevice;
use tests::sim::world::World;

/// Long enough for several tries.
const PATIENCE: Duration = Duration::from_secs(40);

/// Random folders that are brought back.
const SEEDS: u64 = 12;

type Disk = BTreeMap<String, UserEntry>;

fn revision(device: &SimDevice) -> Revision {
    device.handle().unwrap().summary().cursor.unwrap().revision
}

async fn restore(device: &SimDevice, path: &str, at: Revision) -> Result<RestoreInfo, AskError> {
    device.restore(path, Which::At(Moment::Revision(at))).await
}

async fn dry(device: &SimDevice, path: &str, at: Revision) -> Vec<(String, Change)> {
    let which = Which::At(Moment::Revision(at));
    let ask = |answer| Ask::Restore(path.to_owned(), which, true, answer);
    let info = device.handle().unwrap().ask(ask).await.unwrap();
    assert_eq!(info.sent, Sent::default());
    info.differences.into_iter().map(|it| (it.path, it.change)).collect()
}

async fn listed(device: &SimDevice, path: &str, what: Listing) -> Vec<String> {
    let ask = |answer| Ask::List(path.to_owned(), what, answer);
    let info = device.handle().unwrap().ask(ask).await.unwrap();
    info.entries.into_iter().map(|it| it.path).collect()
}

fn disk(device: &SimDevice) -> Disk {
    device.fs.user().tree()
}

fn bytes(device: &SimDevice, path: &str) -> Vec<u8> {
    device.fs.user().read(path).unwrap()
}

#[test]
fn a_folder_is_what_it_was_on_every_device() {
    in_virtual_time(async {
        let (world, [one, two]) = World::quiet(31).await;
        one.writer.make_directory("d");
        one.writer.make_directory("d/e");
        one.writer.write("d/e/file", b"first");
        one.writer.write("d/other", b"other");
        world.settled().await;
        let (then, at) = (disk(&one), revision(&one));
        two.writer.write("d/e/file", b"second");
        two.writer.rename("d/other", "moved out");
        two.writer.rename("d/e", "f");
        world.settled().await;
        one.writer.action("rm -r", "f", |user| user.remove_all("f"));
        one.writer.write("d/new", b"new");
        world.settled().await;
        let now = disk(&one);
        let told = dry(&two, "", at).await;
        let expected = [
            ("d/e", Change::Added),
            ("d/e/file", Change::Added),
            ("d/new", Change::Deleted),
            ("d/other", Change::Moved),
        ];
        let told: Vec<_> = told.iter().map(|(path, change)| (path.as_str(), *change)).collect();
        assert_eq!(told, expected);
        assert_eq!((disk(&one), disk(&two)), (now.clone(), now), "a dry run does nothing");
        restore(&two, "", at).await.unwrap();
        world.settled().await;
        assert_eq!(disk(&one), then);
        assert_eq!(disk(&two), then);
        assert_eq!(restore(&one, "", at).await.unwrap().differences, []);
    });
}

/// Bytes of the list of fewer than twenty chunks; no chunk of the files in question is as small.
const LIST_BYTES_MAX: u64 = 1_000;

/// Neither the device that wrote it nor the one that only has it asks the server for a chunk that lies
/// on its disk already; the list of a file's chunks may be asked for.
#[test]
fn what_is_still_on_disk_elsewhere_comes_back_without_a_download() {
    in_virtual_time(async {
        let (world, [one, two]) = World::quiet(42).await;
        // Of one chunk, and of several with a list of them.
        let files = [("small", 5_000), ("large", 900_000)].map(|(name, length)| {
            let mut bytes = vec![0; length];
            blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
            (name, bytes)
        });
        for directory in ["kept", "gone"] {
            one.writer.make_directory(directory);
            for (name, bytes) in &files {
                one.writer.write(&format!("{directory}/{name}"), bytes);
            }
        }
        world.settled().await;
        let (then, at) = (disk(&one), revision(&one));
        let got = |device: &SimDevice| {
            let got = device.link.traffic().got;
            got.bytes_once() + got.bytes_again()
        };
        assert!(got(&two) > 900_000, "what is downloaded is counted");
        for device in [&one, &two] {
            device.writer.action("rm -r", "gone", |user| user.remove_all("gone"));
            world.settled().await;
            let before = [got(&one), got(&two)];
            let told = restore(device, "gone", at).await.unwrap();
            assert_eq!(told.differences.len(), 3);
            world.settled().await;
            assert_eq!((disk(&one), disk(&two)), (then.clone(), then.clone()));
            for (device, before) in [&one, &two].into_iter().zip(before) {
                let more = got(device) - before;
                assert!(more <= LIST_BYTES_MAX, "{more} bytes were downloaded");
            }
        }
    });
}

/// Much has happened since: files and directories took each other's places on both devices.
#[test]
fn a_random_folder_is_what_it_was() {
    for seed in 0..SEEDS {
        in_virtual_time(async move {
            let (world, devices) = World::quiet::<2>(seed).await;
            let mut moments = Vec::new();
            for _ in 0..6 {
                for (number, device) in devices.iter().enumerate() {
                    (0..12).for_each(|_| device.writer.act());
                    device.writer.close_all();
                    if number == 0 && seed % 2 == 0 {
                        world.settled().await;
                    }
                }
                world.settled().await;
                moments.push((disk(&devices[1]), revision(&devices[1])));
            }
            for (number, (then, at)) in moments.iter().enumerate().rev() {
                let device = &devices[number % 2];
                let told = restore(device, "", *at).await;
                assert!(told.is_ok(), "seed {seed}, moment {number}: {told:?}");
                world.settled().await;
                for device in &devices {
                    assert_eq!(&disk(device), then, "seed {seed}, moment {number}");
                }
            }
        });
    }
}

/// Nothing is taken away from where it is now.
#[test]
fn what_was_moved_out_of_a_directory_stays_and_a_copy_comes_back() {
    in_virtual_time(async {
        let (world, [one, two]) = World::quiet(32).await;
        one.writer.make_directory("d");
        one.writer.write("d/a", b"a");
        world.settled().await;
        let at = revision(&one);
        one.writer.rename("d/a", "a");
        world.settled().await;
        restore(&two, "d", at).await.unwrap();
        world.settled().await;
        for device in [&one, &two] {
            assert_eq!((bytes(device, "d/a"), bytes(device, "a")), (b"a".to_vec(), b"a".to_vec()));
        }
    });
}

#[test]
fn an_edit_that_is_not_synced_is_never_restored_over() {
    in_virtual_time(async {
        let (world, [one, two]) = World::quiet(33).await;
        one.writer.write("file", b"first");
        world.settled().await;
        let at = revision(&one);
        one.writer.write("file", b"second");
        world.settled().await;
        two.link.set_up(false);
        two.writer.write("file", b"third, not synced");
        two.writer.write("new", b"not synced either");
        two.link.set_up(true);
        for path in ["file", ""] {
            let refused = restore(&two, path, at).await;
            assert!(matches!(&refused, Err(AskError::Unsynced(at)) if at == "file"), "{refused:?}");
        }
        world.settled().await;
        assert_eq!(bytes(&one, "file"), b"third, not synced");
        assert_eq!(bytes(&one, "new"), b"not synced either");
    });
}

/// What stands only on this disk, where something is to come back to, stays.
#[test]
fn a_file_that_is_not_synced_keeps_its_place() {
    in_virtual_time(async {
        let (world, [one, two]) = World::quiet(34).await;
        one.writer.write("file", b"first");
        world.settled().await;
        let at = revision(&one);
        one.writer.delete("file");
        world.settled().await;
        two.link.set_up(false);
        two.writer.write("file", b"another, not synced");
        two.link.set_up(true);
        let refused = restore(&two, "file", at).await;
        assert!(matches!(&refused, Err(AskError::Unsynced(at)) if at == "file"), "{refused:?}");
        world.settled().await;
        assert_eq!(bytes(&one, "file"), b"another, not synced");
        two.writer.delete("file");
        two.writer.make_directory("file");
        world.settled().await;
        let refused = restore(&one, "file", at).await;
        assert!(matches!(&refused, Err(AskError::InTheWay(_))), "{refused:?}");
    });
}

/// `rm` and at once `restore`: the deletion has not been believed yet, let alone been sent.
#[test]
fn what_was_deleted_a_moment_ago_comes_back() {
    in_virtual_time(async {
        let (world, [one, two]) = World::quiet(35).await;
        one.writer.make_directory("d");
        one.writer.write("d/file", b"first");
        one.writer.write("d/other", b"other");
        world.settled().await;
        let at = revision(&one);
        let then = disk(&one);
        one.writer.write("d/file", b"second");
        world.settled().await;
        for wait in [0, 100, 200, 2_000] {
            let last = revision(&one);
            one.writer.delete("d/file");
            tokio::time::sleep(Duration::from_millis(wait)).await; // ok: virtual time
            restore(&one, "d/file", last).await.unwrap();
            world.settled().await;
            assert_eq!(bytes(&one, "d/file"), b"second", "after {wait} ms");
            assert_eq!(disk(&one), disk(&two));
            one.writer.action("rm -r", "d", |user| user.remove_all("d"));
            tokio::time::sleep(Duration::from_millis(wait)).await; // ok: virtual time
            restore(&one, "", at).await.unwrap();
            world.settled().await;
            assert_eq!(disk(&one), then, "after {wait} ms");
            assert_eq!(disk(&two), then, "after {wait} ms");
            one.writer.write("d/file", b"second");
            world.settled().await;
        }
    });
}

/// The server has both still, so that nothing changes there: it is told all the same.
#[test]
fn what_was_deleted_here_and_comes_back_is_told() {
    in_virtual_time(async {
        let (world, [one, _two]) = World::quiet(41).await;
        one.writer.make_directory("d");
        one.writer.write("d/a", b"a");
        one.writer.write("d/b", b"b");
        one.writer.make_directory("empty");
        world.settled().await;
        let (then, at) = (disk(&one), revision(&one));
        let dry = async |path: &str, at| {
            let which = Which::At(Moment::Revision(at));
            let ask = |answer| Ask::Restore(path.to_owned(), which, true, answer);
            one.handle().unwrap().ask(ask).await.unwrap()
        };
        one.writer.action("rm -r", "d", |user| user.remove_all("d"));
        one.writer.action("rmdir", "empty", |user| user.remove("empty"));
        for (path, absent) in [("d/a", &["d", "d/a"][..]), ("empty", &["empty"])] {
            let told = dry(path, at).await;
            assert_eq!(told.differences, []);
            assert_eq!(told.absent, absent, "{path}");
        }
        assert_eq!(dry("", at).await.absent, ["d", "d/a", "d/b", "empty"]);
        assert!(disk(&one).is_empty(), "a dry run does nothing");
        assert_eq!(restore(&one, "d", at).await.unwrap().absent, ["d", "d/a", "d/b"]);
        assert_eq!(restore(&one, "empty", at).await.unwrap().absent, ["empty"]);
        world.settled().await;
        assert_eq!(disk(&one), then);
        let again = restore(&one, "", at).await.unwrap();
        assert_eq!((again.differences, again.absent), (vec![], vec![]));

        // A mass deletion waits for a person, who is told what becomes of it.
        (0..40).for_each(|number| one.writer.write(&format!("{number}"), &[number]));
        world.settled().await;
        let (then, at) = (disk(&one), revision(&one));
        (0..40).for_each(|number| one.writer.delete(&format!("{number}")));
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        let halt = || one.handle().unwrap().summary().halt;
        assert!(halt().is_some_and(|halt| halt.can_confirm));
        let dry = dry("7", at).await;
        assert_eq!((dry.absent.as_slice(), dry.of_halt), (&["7".to_owned()][..], Some((1, 40))));
        assert!(halt().is_some(), "a dry run does nothing");
        let told = restore(&one, "", at).await.unwrap();
        assert_eq!((told.absent.len(), told.of_halt), (40, Some((40, 40))));
        world.settled().await;
        assert_eq!((disk(&one), halt()), (then, None));
    });
}

/// A person has asked for it here; the others ask theirs.
#[test]
fn a_restore_that_deletes_many_waits_where_nobody_asked_for_it() {
    in_virtual_time(async {
        let (world, [one, two]) = World::quiet(36).await;
        one.writer.write("file", b"first");
        world.settled().await;
        let at = revision(&one);
        for number in 0..40 {
            one.writer.write(&format!("{number}"), format!("{number}").as_bytes());
        }
        world.settled().await;
        restore(&one, "", at).await.unwrap();
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        assert_eq!(one.handle().unwrap().summary().halt, None);
        assert_eq!(disk(&one).len(), 1);
        assert!(two.handle().unwrap().summary().halt.is_some_and(|halt| halt.can_confirm));
        assert_eq!(disk(&two).len(), 41);
        world.settled().await;
        assert_eq!(disk(&two).len(), 1);
    });
}

/// Whoever asked for one thing is told of that one, whatever else there is to do here.
#[test]
fn what_was_restored_is_waited_for_and_nothing_else() {
    in_virtual_time(async {
        let (world, [one, two]) = World::quiet(37).await;
        one.writer.write("file", b"first");
        one.writer.write("other", b"first");
        world.settled().await;
        let at = revision(&one);
        one.writer.write("file", b"second");
        one.writer.write("other", b"second");
        world.settled().await;
        // What another device makes there can never come, and something here never comes to rest.
        one.fs.user().make_other("barred").unwrap();
        two.writer.write("barred", b"theirs");
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        let writing = one.writer.clone();
        let busy = tokio::task::spawn_local(async move {
            for number in 0_u64.. {
                writing.write("busy", &number.to_le_bytes());
                tokio::time::sleep(Duration::from_millis(5)).await; // ok: virtual time
            }
        });
        let handle = one.handle().unwrap();
        for path in ["file", "other"] {
            let sent = restore(&one, path, at).await.unwrap().sent;
            let held = handle.ask(|answer| Ask::Settled(sent, answer));
            let held = tokio::time::timeout(PATIENCE, held).await.expect("an answer");
            assert!(held.unwrap(), "{path}");
            assert_eq!(bytes(&one, path), b"first");
        }
        assert!(handle.summary().issues.iter().any(|issue| issue.path == "barred"));
        busy.abort();
        one.fs.user().remove("barred").unwrap();
        world.settled().await;
        assert_eq!(disk(&one), disk(&two));
    });
}

/// What cannot be on this disk is not waited for without end, nor what lies below it.
#[test]
fn who_restores_what_cannot_be_here_is_told() {
    in_virtual_time(async {
        let (world, [one, _two]) = World::quiet(38).await;
        one.writer.make_directory("d");
        one.writer.write("d/file", b"first");
        world.settled().await;
        let at = revision(&one);
        one.writer.action("rm -r", "d", |user| user.remove_all("d"));
        world.settled().await;
        one.fs.user().make_other("d").unwrap();
        let sent = restore(&one, "d", at).await.unwrap().sent;
        let handle = one.handle().unwrap();
        let held = handle.ask(|answer| Ask::Settled(sent, answer));
        let held = tokio::time::timeout(PATIENCE, held).await.expect("an answer");
        assert!(!held.unwrap());
        assert!(handle.summary().issues.iter().any(|issue| issue.path == "d"));
    });
}

/// Both are wanted: one is the file's content, the other an open conflict's side.
#[test]
fn an_edit_on_another_device_meanwhile_is_not_lost() {
    in_virtual_time(async {
        let (world, [one, two]) = World::quiet(37).await;
        one.writer.write("file", b"first");
        world.settled().await;
        let at = revision(&one);
        one.writer.write("file", b"second");
        world.settled().await;
        two.link.set_up(false);
        two.writer.write("file", b"third, offline");
        restore(&one, "file", at).await.unwrap();
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        two.link.set_up(true);
        world.settled().await;
        assert_eq!(disk(&one), disk(&two));
        let held: Vec<Vec<u8>> = disk(&one)
            .into_values()
            .filter_map(|entry| match entry {
                UserEntry::File(bytes, _) => Some(bytes.to_vec()),
                _ => None,
            })
            .collect();
        assert!(held.contains(&b"first".to_vec()), "{held:?}");
        assert!(held.contains(&b"third, offline".to_vec()), "{held:?}");
    });
}

#[test]
fn a_device_that_came_later_sees_and_restores_what_was_deleted_before() {
    in_virtual_time(async {
        let (mut world, [one, _]) = World::quiet(38).await;
        one.writer.make_directory("d");
        one.writer.write("d/gone", b"gone");
        world.settled().await;
        let (at, then) = (revision(&one), disk(&one));
        one.writer.action("rm -r", "d", |user| user.remove_all("d"));
        one.writer.write("stays", b"stays");
        world.settled().await;
        let checkpoint = one.handle().unwrap().ask(Ask::Checkpoint).await.unwrap();
        assert!(checkpoint.is_some());
        let late = world.add_device(true, None).await;
        late.start().await;
        world.settled().await;
        assert_eq!(listed(&late, "", Listing::Deleted).await, ["d", "d/gone"]);
        assert_eq!(listed(&late, "d", Listing::Deleted).await, ["d", "d/gone"]);
        let past = Listing::At(Moment::Revision(at));
        assert_eq!(listed(&late, "", past).await, ["d", "d/gone"]);
        assert_eq!(listed(&late, "d", past).await, ["d/gone"]);
        let log = |answer| Ask::Log("d/gone".to_owned(), 0, 10, answer);
        let log = late.handle().unwrap().ask(log).await.unwrap();
        let changes: Vec<&str> = log.versions.iter().map(|version| version.change).collect();
        assert_eq!(changes, ["deleted", "created"]);
        restore(&late, "d", at).await.unwrap();
        world.settled().await;
        for device in [&one, &late] {
            let mut now = disk(device);
            assert!(now.remove("stays").is_some());
            assert_eq!(now, then);
        }
    });
}

#[test]
fn a_timeline_in_pages_is_the_whole_timeline() {
    in_virtual_time(async {
        let (world, [one, two]) = World::quiet(39).await;
        one.writer.make_directory("d");
        for number in 0..12 {
            one.writer.write(&format!("d/{number}"), format!("{number}").as_bytes());
            if number % 3 == 0 {
                world.settled().await;
                one.writer.rename(&format!("d/{number}"), &format!("moved {number}"));
            }
        }
        world.settled().await;
        let page = async |path: &str, before, limit| {
            let ask = |answer| Ask::Log(path.to_owned(), before, limit, answer);
            two.handle().unwrap().ask(ask).await.unwrap()
        };
        for path in ["", "d"] {
            let whole = page(path, 0, 10_000).await;
            assert!(!whole.more);
            assert!(whole.versions.is_sorted_by_key(|it| std::cmp::Reverse(it.revision)));
            for limit in [1, 2, 5] {
                let (mut found, mut before) = (Vec::new(), 0);
                loop {
                    let part = page(path, before, limit).await;
                    assert!(!part.versions.is_empty());
                    before = part.versions.last().unwrap().revision;
                    found.extend(part.versions);
                    if !part.more {
                        break;
                    }
                }
                assert_eq!(found, whole.versions, "{path:?} in pages of {limit}");
            }
        }
        let whole = page("", 0, 10_000).await.versions;
        let moved = whole.iter().find(|it| it.path == "moved 3").unwrap();
        assert_eq!((moved.change, moved.from.as_deref()), ("moved", Some("d/3")));
        let below = page("d", 0, 10_000).await.versions;
        assert!(below.iter().any(|it| it.path == "moved 3"), "it was in there before");
        assert_eq!(below.len(), whole.len(), "all of it happened in there");
    });
}

#[test]
fn what_cannot_be_is_told_and_changes_nothing() {
    in_virtual_time(async {
        let (world, [one, _]) = World::quiet(40).await;
        one.writer.write("a", b"a");
        one.writer.write("b", b"b");
        world.settled().await;
        one.writer.write("a", b"a, edited");
        world.settled().await;
        let (now, last) = (disk(&one), revision(&one));
        let handle = one.handle().unwrap();
        let ask = async |path: &str, which| {
            handle.ask(|answer| Ask::Restore(path.to_owned(), which, false, answer)).await
        };
        let of_a = last;
        let refused = ask("b", Which::Revision(of_a)).await;
        assert!(matches!(refused, Err(AskError::NoSuchRevision { .. })), "{refused:?}");
        let refused = ask("none", Which::Revision(1)).await;
        assert!(matches!(refused, Err(AskError::NoSuchPath(_))), "{refused:?}");
        let refused = ask("", Which::At(Moment::Revision(last + 1))).await;
        assert!(matches!(refused, Err(AskError::NoMoment { .. })), "{refused:?}");
        let refused = ask("", Which::At(Moment::Time(1))).await;
        assert!(matches!(refused, Err(AskError::BeforeBeginning { .. })), "{refused:?}");
        one.writer.write("later", b"later");
        world.settled().await;
        let refused = ask("later", Which::At(Moment::Revision(last))).await;
        assert!(matches!(refused, Err(AskError::NotThere { .. })), "{refused:?}");
        one.writer.delete("later");
        world.settled().await;
        assert_eq!(disk(&one), now);
    });
}
