//! Merges between engines: which edits become one, what a person merges by hand, and what ends a
//! conflict. In the simulation, where two devices can be apart and everything that happens is seen.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client::engine::handle::{Comparison, Which};
use client::engine::labels::{LabelAsk, SettingsChange};
use client::engine::{Ask, AskError, Keep, MergeInfo, NewContent, Settlement};
use client::fs::memory::user::{MemoryUser, UserEntry};
use common::chunk::MergePolicy;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tests::sim::clock::in_virtual_time;
use tests::sim::device::{SimDevice, Stop};
use tests::sim::world::World;

const BASE: &str = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
const COPY: &str = "a (conflict 2026-11-22 device1).txt";

fn with(base: &str, from: &str, to: &str) -> String {
    base.replace(&format!("{from}\n"), &format!("{to}\n"))
}

async fn world_of<const DEVICES: usize>(policy: MergePolicy) -> (World, [Rc<SimDevice>; DEVICES]) {
    let (world, devices) = World::quiet(3).await;
    if policy != MergePolicy::Auto {
        world.settled().await;
        let change = SettingsChange { merge: Some(policy), ..SettingsChange::default() };
        let set = |answer| Ask::Labels(LabelAsk::Set(change, answer));
        devices[0].handle().unwrap().ask(set).await.unwrap();
        world.settled().await;
    }
    (world, devices)
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await; // ok: virtual time
}

/// Two devices that have made these of `a.txt`, apart from each other; the first came back first.
async fn apart(policy: MergePolicy, texts: [&str; 2]) -> (World, [Rc<SimDevice>; 2]) {
    let (world, devices) = world_of(policy).await;
    devices[0].writer.write("a.txt", BASE.as_bytes());
    world.settled_alike().await;
    devices[1].link.set_up(false);
    devices[0].writer.write("a.txt", texts[0].as_bytes());
    pass(5).await;
    devices[1].writer.write("a.txt", texts[1].as_bytes());
    pass(5).await;
    devices[1].link.set_up(true);
    world.settled_alike().await;
    (world, devices)
}

fn read(device: &SimDevice, path: &str) -> String {
    String::from_utf8(device.fs.user().read(path).unwrap()).unwrap()
}

fn paths(device: &SimDevice) -> Vec<String> {
    device.fs.user().tree().into_keys().collect()
}

fn open(device: &SimDevice) -> u64 {
    device.handle().unwrap().summary().conflicts
}

async fn resolve(device: &SimDevice, path: &str, keep: Keep) -> Result<(), AskError> {
    device.handle().unwrap().ask(|answer| Ask::Resolve(path.to_owned(), keep, answer)).await?;
    Ok(())
}

async fn resolve_with(
    device: &SimDevice,
    content: NewContent,
    seen: Option<[u64; 2]>,
) -> Result<(), AskError> {
    let settlement = Settlement { content, seen };
    let ask = |answer| Ask::ResolveWith("a.txt".to_owned(), settlement, answer);
    device.handle().unwrap().ask(ask).await?;
    Ok(())
}

async fn merge_info(device: &SimDevice) -> Result<MergeInfo, AskError> {
    device.handle().unwrap().ask(|answer| Ask::Merge("a.txt".to_owned(), answer)).await
}

/// What the history says of `a.txt`: each version's bytes, the newest first.
async fn sizes(device: &SimDevice) -> Vec<u64> {
    let handle = device.handle().unwrap();
    let log = handle.ask(|answer| Ask::Log("a.txt".to_owned(), 0, 20, answer)).await.unwrap();
    log.versions.iter().map(|version| version.size).collect()
}

#[test]
fn a_merge_has_both_edits_in_the_history() {
    in_virtual_time(async {
        let (one, two) = (with(BASE, "1", "one"), with(BASE, "9", "nine or so"));
        let (world, devices) = apart(MergePolicy::Auto, [&one, &two]).await;
        let merged = with(&one, "9", "nine or so");
        for device in &devices {
            assert_eq!(read(device, "a.txt"), merged);
            assert_eq!(paths(device), ["a.txt"]);
            assert_eq!(open(device), 0);
            let lengths = [&merged, &two, &one, BASE].map(|text: &str| text.len() as u64);
            assert_eq!(sizes(device).await, lengths);
            // Of the one revision that merged, both can be read.
            let handle = device.handle().unwrap();
            let log = |answer| Ask::Log("a.txt".to_owned(), 0, 20, answer);
            let log = handle.ask(log).await.unwrap().versions;
            let told: Vec<_> = log.iter().map(|it| (it.change, it.older)).collect();
            assert_eq!(told, [("merged", 0), ("edited", 1), ("edited", 0), ("created", 0)]);
            let (at, directory) = (log[0].revision, tempfile::tempdir().unwrap());
            for (which, text) in [(Which::Revision(at), &merged), (Which::Older(at, 1), &two)] {
                let to = directory.path().join(text.len().to_string());
                let export =
                    |answer| Ask::Export("a.txt".to_owned(), which, to.clone().into(), answer);
                handle.ask(export).await.unwrap();
                assert_eq!(std::fs::read_to_string(&to).unwrap(), *text);
            }
            let none = |answer| {
                Ask::Export(
                    "a.txt".to_owned(),
                    Which::Older(at, 2),
                    PathBuf::from("/nowhere").into(),
                    answer,
                )
            };
            assert!(matches!(handle.ask(none).await, Err(AskError::NoSuchRevision { .. })));
        }
        assert_eq!(world.ledger.merge_count(), 1);
    });
}

#[test]
fn edits_that_touch_or_are_no_text_are_a_conflict() {
    in_virtual_time(async {
        for texts in [
            [with(BASE, "4", "x"), with(BASE, "5", "y")],
            [with(BASE, "1", "a\0b"), with(BASE, "9", "y")],
        ] {
            let (world, devices) = apart(MergePolicy::Auto, [&texts[0], &texts[1]]).await;
            for device in &devices {
                assert_eq!(read(device, "a.txt"), texts[0]);
                assert_eq!(read(device, COPY), texts[1]);
                assert_eq!(open(device), 1);
            }
            assert_eq!(world.ledger.merge_count(), 0);
        }
    });
}

#[test]
fn edits_of_three_devices_come_together() {
    in_virtual_time(async {
        let (world, devices) = world_of::<3>(MergePolicy::Auto).await;
        devices[0].writer.write("a.txt", BASE.as_bytes());
        world.settled_alike().await;
        for (device, (from, to)) in devices.iter().zip([("1", "one"), ("5", "five"), ("9", "nine")])
        {
            device.link.set_up(false);
            device.writer.write("a.txt", with(BASE, from, to).as_bytes());
        }
        pass(5).await;
        for device in &devices {
            device.link.set_up(true);
        }
        world.settled_alike().await;
        let merged = with(&with(&with(BASE, "1", "one"), "5", "five"), "9", "nine");
        for device in &devices {
            assert_eq!(read(device, "a.txt"), merged);
            assert_eq!(paths(device), ["a.txt"]);
        }
        assert_eq!(world.ledger.merge_count(), 2);
    });
}

#[test]
fn a_merge_takes_the_mode_that_was_changed_and_the_later_time() {
    in_virtual_time(async {
        let (world, devices) = world_of::<2>(MergePolicy::Auto).await;
        devices[0].writer.write("a.txt", BASE.as_bytes());
        world.settled_alike().await;
        devices[1].link.set_up(false);
        devices[0].writer.write("a.txt", with(BASE, "1", "one").as_bytes());
        devices[0].writer.action("chmod", "a.txt", |user| user.chmod("a.txt", 0o755));
        pass(5).await;
        devices[1].writer.write("a.txt", with(BASE, "9", "nine").as_bytes());
        let later = devices[1].fs.user().stat("a.txt").unwrap().mtime_ns;
        devices[1].link.set_up(true);
        world.settled_alike().await;
        for device in &devices {
            let tree = device.fs.user().tree();
            let merged = with(&with(BASE, "1", "one"), "9", "nine").into_bytes();
            assert_eq!(tree["a.txt"], UserEntry::File(merged, 0o755));
            assert_eq!(device.fs.user().stat("a.txt").unwrap().mtime_ns, later);
        }
    });
}

/// One side's text already is what both come to; what the other side did to the mode is not in it.
#[test]
fn a_merge_of_which_one_side_has_all_the_text_takes_the_others_mode_and_time() {
    in_virtual_time(async {
        for (mine_has_all, theirs_is_later) in [(true, false), (true, true), (false, true)] {
            let (world, devices) = world_of::<2>(MergePolicy::Auto).await;
            devices[0].writer.write("a.txt", BASE.as_bytes());
            world.settled_alike().await;
            devices[1].link.set_up(false);
            let one = with(BASE, "1", "one");
            let both = with(&one, "9", "nine");
            let texts = if mine_has_all { [&one, &both] } else { [&both, &one] };
            devices[0].writer.write("a.txt", texts[0].as_bytes());
            devices[0].writer.action("chmod", "a.txt", |user| user.chmod("a.txt", 0o755));
            pass(5).await;
            devices[1].writer.write("a.txt", texts[1].as_bytes());
            let mut later = devices[1].fs.user().stat("a.txt").unwrap().mtime_ns;
            if theirs_is_later {
                later += 60_000_000_000;
                devices[0].writer.action("touch", "a.txt", |user| user.set_mtime("a.txt", later));
                pass(5).await;
            }
            devices[1].link.set_up(true);
            world.settled_alike().await;
            for device in &devices {
                let tree = device.fs.user().tree();
                assert_eq!(tree["a.txt"], UserEntry::File(both.clone().into_bytes(), 0o755));
                assert_eq!(device.fs.user().stat("a.txt").unwrap().mtime_ns, later);
                assert_eq!((paths(device).len(), open(device)), (1, 0));
            }
        }
    });
}

/// What a merge at once would have kept is kept by a person's merge too, whichever side changed it.
#[test]
fn a_conflict_settled_by_a_merge_takes_the_mode_that_was_changed() {
    in_virtual_time(async {
        let one = with(BASE, "1", "one");
        let merged = with(&one, "9", "nine");
        let given = || Some(NewContent::Bytes(b"given\n".to_vec()));
        // The last are no texts, of which there are no three to merge.
        for (side, content, theirs, expected) in [
            (0, None, with(BASE, "9", "nine"), merged.clone()),
            (1, None, with(BASE, "9", "nine"), merged.clone()),
            (0, None, merged.clone(), merged.clone()),
            (1, given(), with(BASE, "9", "nine"), "given\n".to_owned()),
            (0, given(), with(BASE, "9", "a\0b"), "given\n".to_owned()),
            (1, given(), with(BASE, "9", "a\0b"), "given\n".to_owned()),
        ] {
            let (world, devices) = world_of::<2>(MergePolicy::Ask).await;
            devices[0].writer.write("a.txt", BASE.as_bytes());
            world.settled_alike().await;
            devices[1].link.set_up(false);
            devices[0].writer.write("a.txt", one.as_bytes());
            pass(5).await;
            devices[1].writer.write("a.txt", theirs.as_bytes());
            let chmod = |user: &MemoryUser| user.chmod("a.txt", 0o755);
            devices[side].writer.action("chmod", "a.txt", chmod);
            pass(5).await;
            devices[1].link.set_up(true);
            world.settled_alike().await;
            assert_eq!(open(&devices[0]), 1);
            world.ledger.written(expected.as_bytes(), "a person");
            match content {
                None => resolve(&devices[0], "a.txt", Keep::Merged).await.unwrap(),
                Some(content) => resolve_with(&devices[0], content, None).await.unwrap(),
            }
            world.settled_alike().await;
            for device in &devices {
                let file = UserEntry::File(expected.clone().into_bytes(), 0o755);
                assert_eq!(device.fs.user().tree()["a.txt"], file, "{side} {theirs:?}");
                assert_eq!((paths(device).len(), open(device)), (1, 0));
            }
        }
    });
}

#[test]
fn what_is_written_to_a_file_while_its_merge_is_on_its_way_is_merged_too() {
    in_virtual_time(async {
        let (world, devices) = world_of::<2>(MergePolicy::Auto).await;
        devices[0].writer.write("a.txt", BASE.as_bytes());
        world.settled_alike().await;
        devices[1].link.set_up(false);
        devices[0].writer.write("a.txt", with(BASE, "1", "one").as_bytes());
        pass(5).await;
        let mine = with(BASE, "9", "nine");
        devices[1].writer.write("a.txt", mine.as_bytes());
        devices[1].link.set_up(true);
        // As soon as its merge is accepted, and before it has come back.
        while world.ledger.merge_count() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await; // ok: virtual time
        }
        assert_eq!(read(&devices[1], "a.txt"), mine);
        devices[1].writer.write("a.txt", with(&mine, "5", "five").as_bytes());
        world.settled_alike().await;
        let merged = with(&with(&mine, "5", "five"), "1", "one");
        for device in &devices {
            assert_eq!(read(device, "a.txt"), merged);
            assert_eq!(open(device), 0);
        }
    });
}

#[test]
fn a_folder_that_asks_or_never_merges_has_a_conflict_which_can_be_merged() {
    in_virtual_time(async {
        for policy in [MergePolicy::Ask, MergePolicy::Never] {
            let texts = [with(BASE, "1", "one"), with(BASE, "9", "nine")];
            let (world, devices) = apart(policy, [&texts[0], &texts[1]]).await;
            let handle = devices[0].handle().unwrap();
            let listed = handle.ask(|it| Ask::ConflictsIn(String::new(), false, it)).await.unwrap();
            assert_eq!((listed.len(), listed[0].mergeable), (1, Some(true)));
            assert_eq!(listed[0].base_version.as_ref().unwrap().size, BASE.len() as u64);
            // Only who is asked is told so.
            let told = |count| (policy == MergePolicy::Ask).then_some(count);
            let mergeable = |device: &SimDevice| device.handle().unwrap().summary().mergeable;
            assert_eq!((mergeable(&devices[0]), mergeable(&devices[1])), (told(1), told(1)));
            // It is known of what both sides are now.
            devices[1].writer.write(COPY, with(&texts[1], "1", "two").as_bytes());
            world.settled_alike().await;
            assert_eq!((mergeable(&devices[0]), mergeable(&devices[1])), (told(0), told(0)));
            devices[1].writer.write(COPY, texts[1].as_bytes());
            world.settled_alike().await;
            assert_eq!((mergeable(&devices[0]), mergeable(&devices[1])), (told(1), told(1)));
            // Whoever settles a conflict writes what comes of it.
            world.ledger.written(with(&texts[0], "9", "nine").as_bytes(), "a person");
            resolve(&devices[0], COPY, Keep::Merged).await.unwrap();
            world.settled_alike().await;
            for device in &devices {
                assert_eq!(mergeable(device), told(0));
                assert_eq!(read(device, "a.txt"), with(&texts[0], "9", "nine"));
                assert_eq!(paths(device), ["a.txt"]);
                assert_eq!(open(device), 0);
                assert_eq!(sizes(device).await.len(), 4, "both edits are in the history");
            }
            let again = resolve(&devices[1], "a.txt", Keep::Merged).await;
            assert_eq!(again, Err(AskError::NoConflict("a.txt".to_owned())));
        }
    });
}

#[test]
fn a_merge_that_is_not_clean_is_for_a_person_and_changes_nothing() {
    in_virtual_time(async {
        let texts = [with(BASE, "5", "mine"), with(BASE, "5", "theirs")];
        let (world, devices) = apart(MergePolicy::Auto, [&texts[0], &texts[1]]).await;
        let refused = resolve(&devices[0], "a.txt", Keep::Merged).await;
        assert_eq!(refused, Err(AskError::NotClean { path: "a.txt".into(), conflicts: 1 }));
        let info = merge_info(&devices[1]).await.unwrap();
        assert_eq!((info.mine, info.theirs), (texts[1].clone().into(), texts[0].clone().into()));
        assert_eq!((info.base, info.path.as_str()), (BASE.into(), "a.txt"));
        assert_eq!(open(&devices[0]), 1);

        // Somebody edits a side: what was merged from it is not taken.
        devices[0].writer.write("a.txt", with(&texts[0], "9", "nine").as_bytes());
        world.settled_alike().await;
        world.ledger.written(b"by hand\n", "a person");
        let by_hand = || NewContent::Bytes(b"by hand\n".to_vec());
        let stale = resolve_with(&devices[1], by_hand(), Some(info.seen)).await;
        assert!(matches!(stale, Err(AskError::Refused(_))), "{stale:?}");
        assert_eq!(open(&devices[1]), 1);

        let seen = merge_info(&devices[1]).await.unwrap().seen;
        resolve_with(&devices[1], by_hand(), Some(seen)).await.unwrap();
        world.settled_alike().await;
        for device in &devices {
            assert_eq!(read(device, "a.txt"), "by hand\n");
            assert_eq!(paths(device), ["a.txt"]);
            assert_eq!(open(device), 0);
        }
    });
}

#[test]
fn two_devices_that_resolve_at_once_end_in_one_answer() {
    in_virtual_time(async {
        let texts = [with(BASE, "5", "mine"), with(BASE, "5", "theirs")];
        for other in [Keep::Mine, Keep::Theirs, Keep::Both] {
            let (world, devices) = apart(MergePolicy::Auto, [&texts[0], &texts[1]]).await;
            world.ledger.written(b"given\n", "a person");
            let given = NewContent::Bytes(b"given\n".to_vec());
            let (one, two) = futures_util::future::join(
                resolve_with(&devices[0], given, None),
                resolve(&devices[1], "a.txt", other),
            )
            .await;
            assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
            world.settled_alike().await;
            let (tree, open_there) = (devices[0].fs.user().tree(), open(&devices[1]));
            assert_eq!(tree, devices[1].fs.user().tree());
            assert_eq!((open(&devices[0]), open_there), (0, 0));
            let expected = match (&one, other) {
                (Ok(()), _) => "given\n",
                (Err(_), Keep::Mine) => &texts[1],
                (Err(_), _) => &texts[0],
            };
            assert_eq!(read(&devices[0], "a.txt"), expected);
            assert_eq!(tree.len(), if one.is_err() && other == Keep::Both { 2 } else { 1 });
        }
    });
}

#[test]
fn a_conflict_of_others_is_settled_by_where_its_sides_stand() {
    in_virtual_time(async {
        for (keep, expected) in [(Keep::Original, "one"), (Keep::Copy, "two")] {
            let (world, devices) = world_of::<3>(MergePolicy::Auto).await;
            devices[0].writer.write("a.txt", b"base");
            world.settled_alike().await;
            devices[1].link.set_up(false);
            devices[0].writer.write("a.txt", b"one");
            pass(5).await;
            devices[1].writer.write("a.txt", b"two");
            devices[1].link.set_up(true);
            world.settled_alike().await;
            for mine in [Keep::Mine, Keep::Theirs] {
                let refused = resolve(&devices[2], "a.txt", mine).await;
                let Err(AskError::NotMine { original_by, copy_by, .. }) = refused else {
                    panic!("{refused:?}");
                };
                assert_eq!([original_by, copy_by], [devices[0].device(), devices[1].device()]);
            }
            resolve(&devices[2], "a.txt", keep).await.unwrap();
            world.settled_alike().await;
            assert_eq!(read(&devices[1], "a.txt"), expected);
            assert_eq!(paths(&devices[1]), ["a.txt"]);
        }
    });
}

#[test]
fn a_conflict_follows_its_sides_wherever_they_are_moved_by_hand() {
    in_virtual_time(async {
        let texts = [with(BASE, "1", "one"), with(BASE, "9", "nine")];
        let (world, devices) = apart(MergePolicy::Ask, [&texts[0], &texts[1]]).await;
        devices[0].writer.make_directory("d");
        devices[0].writer.rename(COPY, "d/other.txt");
        devices[1].writer.rename("a.txt", "b.txt");
        world.settled_alike().await;
        let handle = devices[1].handle().unwrap();
        let listed = handle.ask(|it| Ask::ConflictsIn(String::new(), false, it)).await.unwrap();
        let shown: Vec<_> = listed.iter().map(|it| (it.path.as_str(), it.copy.as_str())).collect();
        assert_eq!(shown, [("b.txt", "d/other.txt")]);
        for (under, count) in [("", 1), ("d", 1), ("b.txt", 1), ("d/other.txt", 1)] {
            let ask = |answer| Ask::ConflictsIn(under.to_owned(), true, answer);
            let found = handle.ask(ask).await.unwrap();
            assert_eq!(found.len(), count, "{under}");
            assert!(found.iter().all(|it| it.compared.is_some()));
        }
        let none = handle.ask(|answer| Ask::ConflictsIn("b".to_owned(), true, answer)).await;
        assert!(matches!(none, Err(AskError::NoSuchPath(path)) if path == "b"));
        world.ledger.written(with(&texts[0], "9", "nine").as_bytes(), "a person");
        resolve(&devices[1], "d/other.txt", Keep::Merged).await.unwrap();
        world.settled_alike().await;
        assert_eq!(paths(&devices[0]), ["b.txt", "d"]);
        assert_eq!(read(&devices[0], "b.txt"), with(&texts[0], "9", "nine"));
    });
}

#[test]
fn what_cannot_be_the_result_of_a_conflict_changes_nothing() {
    in_virtual_time(async {
        let texts = [with(BASE, "5", "mine"), with(BASE, "5", "theirs")];
        let (_world, devices) = apart(MergePolicy::Auto, [&texts[0], &texts[1]]).await;
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        for file in [directory.path().to_owned(), directory.path().join("none"), fifo] {
            let refused = resolve_with(&devices[0], NewContent::File(file), None).await;
            assert!(matches!(refused, Err(AskError::BadContent(_))), "{refused:?}");
        }
        assert_eq!(open(&devices[0]), 1);
        assert_eq!(read(&devices[0], "a.txt"), texts[0]);
    });
}

#[test]
fn a_base_that_cannot_be_had_is_no_reason_to_guess() {
    in_virtual_time(async {
        // Both were new: there is nothing that both started from.
        let (world, devices) = world_of::<2>(MergePolicy::Auto).await;
        devices[1].link.set_up(false);
        devices[0].writer.write("a.txt", BASE.as_bytes());
        pass(5).await;
        devices[1].writer.write("a.txt", with(BASE, "9", "nine").as_bytes());
        devices[1].link.set_up(true);
        world.settled_alike().await;
        assert_eq!(world.ledger.merge_count(), 0);
        assert_eq!(open(&devices[0]), 1);
        let refused = resolve(&devices[0], "a.txt", Keep::Merged).await;
        assert!(matches!(refused, Err(AskError::NotClean { .. })), "{refused:?}");
        devices[0].stop(Stop::Kill).await;
    });
}

/// Of a revision that merged, what it came to is what both sides have seen: their changes are those
/// since, whoever of the two made the merge.
#[test]
fn the_base_of_a_conflict_after_a_merge_is_what_was_merged() {
    in_virtual_time(async {
        for second in [0, 1] {
            let (one, two) = (with(BASE, "1", "one"), with(BASE, "9", "nine"));
            let (world, devices) = apart(MergePolicy::Auto, [&one, &two]).await;
            assert_eq!(world.ledger.merge_count(), 1);
            let merged = with(&one, "9", "nine");
            let texts = [with(&merged, "5", "first"), with(&merged, "5", "second")];
            // The second device is the one that merged; either comes back last, and has the copy.
            devices[second].link.set_up(false);
            devices[1 - second].writer.write("a.txt", texts[0].as_bytes());
            pass(5).await;
            devices[second].writer.write("a.txt", texts[1].as_bytes());
            devices[second].link.set_up(true);
            world.settled_alike().await;
            for device in &devices {
                assert_eq!(open(device), 1);
                let info = merge_info(device).await.unwrap();
                assert_eq!(String::from_utf8(info.base).unwrap(), merged, "{second} has the copy");
                let listed = |answer| Ask::ConflictsIn(String::new(), true, answer);
                let listed = device.handle().unwrap().ask(listed).await.unwrap().remove(0);
                let Some(Comparison::Texts { base, .. }) = &listed.compared else {
                    panic!("{listed:?}")
                };
                assert_eq!(base.as_deref(), Some(merged.as_bytes()));
                assert_eq!(listed.base_version.unwrap().size, merged.len() as u64);
            }
        }
    });
}

/// What its user writes over a file whose merge has not come back yet was not made of the merge: with
/// that as the base, what the other side brought would look as if it had been taken away.
#[test]
fn the_base_of_a_conflict_with_a_merge_on_its_way_is_what_was_there_before_it() {
    in_virtual_time(async {
        let (world, devices) = world_of::<2>(MergePolicy::Auto).await;
        devices[0].writer.write("a.txt", BASE.as_bytes());
        world.settled_alike().await;
        devices[1].link.set_up(false);
        devices[0].writer.write("a.txt", with(BASE, "1", "one").as_bytes());
        pass(5).await;
        let mine = with(BASE, "9", "nine");
        devices[1].writer.write("a.txt", mine.as_bytes());
        devices[1].link.set_up(true);
        while world.ledger.merge_count() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await; // ok: virtual time
        }
        assert_eq!(read(&devices[1], "a.txt"), mine);
        devices[1].writer.write("a.txt", with(&mine, "1", "uno").as_bytes());
        world.settled_alike().await;
        for device in &devices {
            assert_eq!(open(device), 1);
            let info = merge_info(device).await.unwrap();
            assert_eq!(String::from_utf8(info.base).unwrap(), mine);
        }
    });
}

#[test]
fn a_result_with_marks_left_in_it_changes_nothing() {
    in_virtual_time(async {
        let headline = |line: &str| format!("title\n=======\n{}", with(BASE, "5", line));
        let texts = [headline("mine"), headline("theirs")];
        let (world, devices) = apart(MergePolicy::Auto, [&texts[0], &texts[1]]).await;
        let marked = format!("<<<<<<< HEAD\n{}=======\n{}>>>>>>> x\n", texts[0], texts[1]);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("result");
        for (device, seen) in [(0, None), (1, Some(()))] {
            let device = &devices[device];
            std::fs::write(&file, &marked).unwrap();
            let seen = match seen {
                Some(()) => Some(merge_info(device).await.unwrap().seen),
                None => None,
            };
            let given = [NewContent::File(file.clone()), NewContent::Bytes(marked.clone().into())];
            for content in given {
                let refused = resolve_with(device, content, seen).await;
                assert_eq!(refused, Err(AskError::MarksLeft("a.txt".to_owned())));
            }
            assert_eq!(open(device), 1);
        }
        assert_eq!(read(&devices[0], "a.txt"), texts[0]);
        // What looks like a mark and was there before is none.
        let result = headline("both");
        std::fs::write(&file, &result).unwrap();
        world.ledger.written(result.as_bytes(), "a person");
        resolve_with(&devices[0], NewContent::File(file), None).await.unwrap();
        world.settled_alike().await;
        for device in &devices {
            assert_eq!((read(device, "a.txt"), open(device)), (result.clone(), 0));
        }
    });
}
