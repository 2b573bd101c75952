//! What the simulation relies on: that the memory is as hostile as it claims, and deterministic.

use super::user::UserEntry;
use super::{Fault, MemoryFs, MemoryOptions, OperationKind, RootState};
use crate::fs::contract::{assert_refused, name, path};
use crate::fs::{FsError, Look, RelPath, Root, Swap};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

fn memory_with(options: MemoryOptions) -> MemoryFs {
    let time = AtomicI64::new(1_000);
    let fs =
        MemoryFs::with_options(Arc::new(move || time.fetch_add(1, Ordering::Relaxed)), options);
    fs.init_root(b"marker").unwrap();
    fs
}

fn memory() -> MemoryFs {
    memory_with(MemoryOptions::default())
}

#[test]
fn the_lowest_free_inode_is_used_again_at_once() {
    let fs = memory();
    let user = fs.user();
    user.write("a", b"1").unwrap();
    user.write("b", b"2").unwrap();
    let first = user.stat("a").unwrap();
    user.remove("a").unwrap();
    user.write("c", b"3").unwrap();
    let again = user.stat("c").unwrap();
    assert_eq!(again.inode, first.inode);
    assert!(!again.same_inode(&first), "birth time tells them apart");
    let held = user.open_write("c").unwrap();
    user.remove("c").unwrap();
    user.write("d", b"4").unwrap();
    assert_ne!(user.stat("d").unwrap().inode, first.inode, "an open file keeps its number");
    drop(held);
    user.write("e", b"5").unwrap();
    assert_eq!(user.stat("e").unwrap().inode, first.inode);
}

#[test]
fn rename_and_chmod_change_ctime_alone() {
    let fs = memory();
    let user = fs.user();
    user.write("a", b"1").unwrap();
    let before = user.stat("a").unwrap();
    user.rename("a", "b").unwrap();
    let renamed = user.stat("b").unwrap();
    assert!(renamed.same_content(&before) && renamed.ctime_ns > before.ctime_ns);
    user.chmod("b", 0o600).unwrap();
    let changed = user.stat("b").unwrap();
    assert!(changed.same_content(&renamed) && changed.ctime_ns > renamed.ctime_ns);
    user.link("b", "c").unwrap();
    assert_eq!(user.stat("c").unwrap().nlink, 2);
}

#[test]
fn faults_strike_the_operation_they_are_meant_for() {
    let fs = memory();
    let next = fs.operations() + 1;
    fs.fail_operation(next + 1, Fault::Io);
    fs.stat(&RelPath::root()).unwrap();
    assert_refused!(fs.stat(&RelPath::root()), Io, RelPath::root());
    fs.stat(&RelPath::root()).unwrap();
    fs.fail_operation(fs.operations() + 1, Fault::TooManyOpenFiles);
    assert_refused!(fs.list(&RelPath::root()), TooManyOpenFiles, RelPath::root());
    fs.set_capacity(100);
    let staged = fs.stage(&name("s")).unwrap();
    assert_refused!(staged.write_at(0, &[0; 200]), NoSpace, *staged.path());
    assert_refused!(staged.preallocate(101), NoSpace, *staged.path());
    staged.write_at(0, &[0; 50]).unwrap();
    assert_eq!(fs.free_space().unwrap().free_bytes, 100 - 50 - 6);
}

#[test]
fn the_hook_acts_between_our_operations() {
    let fs = memory();
    fs.user().write("file", b"old").unwrap();
    let seen = fs.stat(&path("file")).unwrap();
    let staged = fs.stage(&name("s")).unwrap();
    let strikes = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&strikes);
    fs.set_hook(Some(Arc::new(move |user, operation| {
        if operation.kind == OperationKind::Exchange {
            counted.fetch_add(1, Ordering::Relaxed);
            user.write("file", b"in between").unwrap();
        }
        None
    })));
    fs.exchange(staged.path(), &path("file")).unwrap();
    fs.set_hook(None);
    assert_eq!(strikes.load(Ordering::Relaxed), 1);
    assert!(!fs.stat(staged.path()).unwrap().same_content(&seen));
    assert_eq!(fs.user().read(".driftless/staging/s").unwrap(), b"in between");
}

#[test]
fn mounts_and_closed_doors_are_errors_and_not_absences() {
    let fs = memory();
    let user = fs.user();
    user.mkdir("d").unwrap();
    user.write("d/file", b"1").unwrap();
    user.set_mounted("d", true).unwrap();
    assert_ne!(fs.stat(&path("d")).unwrap().device, fs.identity().device);
    assert_refused!(fs.list(&path("d")), CrossDevice, path("d"));
    assert_refused!(fs.stat(&path("d/file")), CrossDevice, path("d/file"));
    user.set_mounted("d", false).unwrap();
    user.set_unreadable("d", true).unwrap();
    assert_refused!(fs.list(&path("d")), Denied, path("d"));
    user.set_unreadable("d", false).unwrap();
    user.set_unreadable("d/file", true).unwrap();
    assert_refused!(fs.open(&path("d/file")), Denied, path("d/file"));
    fs.set_root_state(RootState::Empty);
    assert!(fs.list(&RelPath::root()).unwrap().entries.is_empty());
    assert_eq!(fs.read_marker().unwrap(), None);
    fs.set_root_state(RootState::Gone);
    assert!(matches!(fs.read_marker(), Err(FsError::RootGone { .. })));
    assert_refused!(fs.stat(&path("d")), Io, path("d"));
    fs.set_root_state(RootState::Present);
    assert_eq!(fs.list(&RelPath::root()).unwrap().entries.len(), 1);
}

#[test]
fn case_can_be_ignored_and_abilities_missing() {
    let options = MemoryOptions {
        case_insensitive: true,
        exchange: false,
        leases: false,
        ..MemoryOptions::default()
    };
    let fs = memory_with(options);
    fs.user().write("Foo", b"1").unwrap();
    assert_eq!(fs.stat(&path("foo")).unwrap(), fs.stat(&path("FOO")).unwrap());
    fs.user().write("other", b"2").unwrap();
    assert_refused!(fs.rename_noreplace(&path("other"), &path("fOO")), Exists, path("fOO"));
    fs.rename_noreplace(&path("Foo"), &path("foo")).unwrap();
    assert_eq!(fs.list(&RelPath::root()).unwrap().entries[0].name, b"foo");
    assert_refused!(fs.exchange(&path("foo"), &path("other")), Unsupported, path("foo"));
    assert_refused!(fs.writer_absent(&path("foo")), Unsupported, path("foo"));
}

/// One run of a small program with a power cut at the end.
fn crashed(seed: u64, sync: bool) -> MemoryFs {
    let fs = memory();
    let user = fs.user();
    user.write("old", b"old content").unwrap();
    user.mkdir("d").unwrap();
    user.write("d/x", b"x").unwrap();
    fs.sync(&[path("old"), path("d/x"), path("d")]).unwrap();
    user.write("old", b"new, longer content").unwrap();
    user.write("made", b"made").unwrap();
    user.rename("d/x", "moved").unwrap();
    user.remove("d").unwrap();
    user.mkdir("e").unwrap();
    user.write("e/y", b"y").unwrap();
    if sync {
        fs.sync(&[path("old"), path("made"), path("moved"), path("e/y"), path("e")]).unwrap();
    }
    fs.crash(seed);
    fs
}

#[test]
fn what_was_synced_survives_any_power_cut() {
    for seed in 0..200 {
        let tree = crashed(seed, true).user().tree();
        let file = |bytes: &[u8]| Some(UserEntry::File(bytes.to_vec(), 0o644));
        assert_eq!(tree.get("old").cloned(), file(b"new, longer content"), "seed {seed}");
        assert_eq!(tree.get("made").cloned(), file(b"made"), "seed {seed}");
        assert_eq!(tree.get("moved").cloned(), file(b"x"), "seed {seed}");
        assert_eq!(tree.get("e/y").cloned(), file(b"y"), "seed {seed}");
        assert_eq!(tree.get("d"), None, "seed {seed}");
    }
}

#[test]
fn what_was_not_synced_is_lost_in_many_ways_but_never_torn_from_the_tree() {
    let mut trees = BTreeSet::new();
    let mut contents = BTreeSet::new();
    for seed in 0..400 {
        let fs = crashed(seed, false);
        let tree = fs.user().tree();
        let at_old = tree.contains_key("d/x");
        let at_new = tree.contains_key("moved");
        assert!(at_old != at_new, "a rename is kept or lost as a whole, seed {seed}");
        assert!(!tree.contains_key("e/y") || tree.contains_key("e"), "seed {seed}");
        let kept = tree.get(if at_new { "moved" } else { "d/x" });
        assert_eq!(kept, Some(&UserEntry::File(b"x".to_vec(), 0o644)), "it was synced before");
        trees.insert(tree.keys().cloned().collect::<Vec<_>>());
        contents.insert(fs.user().read("old").unwrap());
        let mut numbers = BTreeSet::new();
        for path in tree.keys() {
            assert!(numbers.insert(fs.user().stat(path).unwrap().inode), "seed {seed}");
        }
        assert_eq!(crashed(seed, false).user().tree(), tree, "one seed, one outcome");
    }
    assert!(trees.len() >= 6, "{trees:?}");
    assert!(contents.contains(&b"old content"[..]) && contents.contains(&b""[..]));
    assert!(contents.contains(&b"new, longer content"[..]) && contents.len() > 6);
}

#[test]
fn a_power_cut_ends_handles_and_changes_the_boot_id() {
    let fs = memory();
    let staged = fs.stage(&name("s")).unwrap();
    let held = fs.user().open_write("file").unwrap();
    let boot = fs.boot_id().unwrap();
    fs.crash(1);
    assert_ne!(fs.boot_id().unwrap(), boot);
    assert_refused!(staged.write_at(0, b"x"), Io, *staged.path());
    assert!(held.append(b"x").is_err());
    assert_eq!(fs.read_marker().unwrap().as_deref(), Some(&b"marker"[..]));
}

/// M8: after a failed sync the pages are clean and the bytes lost; syncing again proves nothing.
#[test]
fn a_failed_sync_loses_what_a_second_one_cannot_save() {
    let fs = memory();
    let staged = fs.stage(&name("s")).unwrap();
    fs.sync(&[RelPath::area_root(crate::fs::Area::Staging)]).unwrap();
    staged.sync().unwrap();
    staged.write_at(0, b"content").unwrap();
    fs.fail_operation(fs.operations() + 1, Fault::Io);
    staged.sync().unwrap_err();
    staged.sync().unwrap();
    fs.crash(7);
    assert_eq!(fs.user().read(".driftless/staging/s").unwrap(), b"");
}

/// A sync of many paths is one of the whole filesystem; it fails for all of them.
#[test]
fn a_failed_sync_of_many_loses_all_of_them() {
    let fs = memory();
    let user = fs.user();
    let paths: Vec<RelPath> = (0..60).map(|number| path(&format!("f{number}"))).collect();
    paths.iter().for_each(|path| user.write(path.to_string(), b"old").unwrap());
    fs.sync(&paths).unwrap();
    paths.iter().for_each(|path| user.write(path.to_string(), b"new").unwrap());
    fs.fail_operation(fs.operations() + 1, Fault::Io);
    fs.sync(&paths).unwrap_err();
    fs.sync(&paths).unwrap();
    fs.crash(3);
    for path in &paths {
        assert_eq!(user.read(path.to_string()).unwrap(), b"old", "the second sync proves nothing");
    }
}

#[test]
fn a_file_can_be_written_in_the_middle_of_a_read() {
    let fs = memory();
    fs.user().write("f", &[1; 3000]).unwrap();
    let file = fs.open(&path("f")).unwrap();
    fs.set_hook(Some(Arc::new(|user, operation| {
        if operation.kind == OperationKind::ReadOn {
            user.write("f", &[2; 3000]).unwrap();
        }
        None
    })));
    let mut bytes = vec![0; 4000];
    assert_eq!(file.read_at(0, &mut bytes).unwrap(), 3000);
    assert!(bytes.starts_with(&[1; 1024]) && bytes[1024..3000] == [2; 1976]);
}

#[test]
fn what_was_made_unreadable_can_be_made_readable_wherever_it_is() {
    let fs = memory();
    fs.user().mkdir("d").unwrap();
    fs.user().set_unreadable("d", true).unwrap();
    fs.user().rename("d", "e").unwrap();
    assert_refused!(fs.list(&path("e")), Denied, path("e"));
    fs.user().make_all_readable();
    assert!(fs.list(&path("e")).unwrap().entries.is_empty());
}
