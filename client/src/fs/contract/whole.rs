//! The contract of [`crate::fs::Root`], of attributes and of leases.

use super::{Subject, assert_refused, name, path, private};
use crate::fs::{Area, FsError, RelPath};

pub(super) fn attributes_are_guarded(subject: &dyn Subject) {
    let fs = subject.fs();
    subject.write("file", b"1");
    subject.mkdir("d");
    let seen = fs.stat(&path("file")).unwrap();
    let set = fs.set_attributes(&path("file"), &seen, Some(0o600), Some(7)).unwrap();
    assert_eq!((set.mode, set.mtime_ns), (0o600, 7));
    assert!(set.same_inode(&seen));
    assert_eq!(fs.stat(&path("file")).unwrap(), set);
    let mode_only = fs.set_attributes(&path("file"), &set, Some(0o400), None).unwrap();
    assert!(mode_only.same_content(&set));
    subject.chmod("file", 0o644);
    subject.write("file", b"user's");
    let stale = fs.set_attributes(&path("file"), &mode_only, Some(0o600), Some(9));
    assert_refused!(stale, Changed, path("file"));
    let now = fs.stat(&path("file")).unwrap();
    assert_eq!(now.mode, 0o644, "nothing was done");
    let held = subject.hold("file");
    assert_refused!(fs.set_attributes(&path("file"), &now, None, Some(9)), Busy, path("file"));
    drop(held);
    assert_eq!(fs.set_attributes(&path("file"), &now, None, Some(9)).unwrap().mtime_ns, 9);
    let directory = fs.stat(&path("d")).unwrap();
    assert_eq!(fs.set_attributes(&path("d"), &directory, Some(0o711), None).unwrap().mode, 0o711);
}

/// Rule 5: displaced files go only when no writer holds them open.
pub(super) fn an_open_writer_is_seen(subject: &dyn Subject) {
    let fs = subject.fs();
    subject.write("file", b"1");
    assert!(fs.writer_absent(&path("file")).unwrap());
    let reader = fs.open(&path("file")).unwrap();
    assert!(fs.writer_absent(&path("file")).unwrap(), "readers do not matter");
    let held = subject.hold("file");
    assert!(!fs.writer_absent(&path("file")).unwrap());
    let away = private(Area::Displaced, "x");
    fs.rename_noreplace(&path("file"), &away).unwrap();
    assert!(!fs.writer_absent(&away).unwrap());
    drop(held);
    assert!(fs.writer_absent(&away).unwrap());
    drop(reader);
    let staged = fs.stage(&name("s")).unwrap();
    assert!(!fs.writer_absent(staged.path()).unwrap(), "we count ourselves");
    assert_refused!(fs.writer_absent(&path("no")), NotFound, path("no"));
    subject.mkdir("d");
    assert!(fs.writer_absent(&path("d")).unwrap());
}

pub(super) fn a_displaced_file_is_still_written_by_its_writer(subject: &dyn Subject) {
    let fs = subject.fs();
    subject.write("file", b"old");
    let mut held = subject.hold("file");
    let seen = fs.stat(&path("file")).unwrap();
    let staged = fs.stage(&name("s")).unwrap();
    staged.write_at(0, b"new").unwrap();
    fs.exchange(staged.path(), &path("file")).unwrap();
    assert!(fs.stat(staged.path()).unwrap().same_content(&seen));
    held(b" and late");
    assert!(!fs.stat(staged.path()).unwrap().same_content(&seen), "the second look sees it");
    assert_eq!(subject.read(".driftless/staging/s"), b"old and late");
    assert_eq!(subject.read("file"), b"new");
}

pub(super) fn the_marker_is_made_once(subject: &dyn Subject) {
    let fs = subject.fs();
    assert_eq!(fs.read_marker().unwrap().as_deref(), Some(&b"marker"[..]));
    fs.init_root(b"marker").unwrap();
    assert_refused!(fs.init_root(b"other"), Exists, RelPath::root());
    assert_eq!(fs.read_marker().unwrap().as_deref(), Some(&b"marker"[..]));
    subject.remove_all(".driftless");
    assert_eq!(fs.read_marker().unwrap(), None);
    fs.init_root(b"other").unwrap();
    assert_eq!(fs.read_marker().unwrap().as_deref(), Some(&b"other"[..]));
}

pub(super) fn missing_areas_are_repaired(subject: &dyn Subject) {
    subject.remove_all(".driftless/parked");
    subject.fs().init_root(b"marker").unwrap();
    assert!(subject.exists(".driftless/parked"));
    subject.remove_all(".driftless/displaced");
    subject.write("file", b"1");
    let away = private(Area::Displaced, "x");
    subject.fs().rename_noreplace(&path("file"), &away).unwrap();
    assert!(subject.exists(".driftless/displaced/x"));
}

pub(super) fn sync_takes_what_is_there_and_what_is_gone(subject: &dyn Subject) {
    let fs = subject.fs();
    subject.mkdir("d");
    subject.write("d/file", b"1");
    subject.symlink("x", "d/link");
    subject.fifo("d/fifo");
    let gone = ["d/no", "no/no/no", "d/file/no", "d/link/no"];
    let there = ["", "d", "d/file", "d/link", "d/fifo"];
    let few: Vec<RelPath> = gone.iter().chain(&there).map(|text| path(text)).collect();
    fs.sync(&few).unwrap();
    let many: Vec<RelPath> = few.iter().cycle().take(1000).cloned().collect();
    fs.sync(&many).unwrap();
    fs.sync(&[]).unwrap();
    fs.sync(&[private(Area::Staging, "no"), RelPath::area_root(Area::Parked)]).unwrap();
}

pub(super) fn tells_room_and_boot(subject: &dyn Subject) {
    let room = subject.fs().free_space().unwrap();
    assert!(room.free_bytes > 0 && room.free_bytes <= room.total_bytes);
    let boot = subject.fs().boot_id().unwrap();
    assert!(!boot.is_empty() && boot == subject.fs().boot_id().unwrap());
    let error = subject.fs().stat(&path("no")).unwrap_err();
    assert!(matches!(&error, FsError::NotFound { .. }));
    assert_eq!(error.path(), Some(&path("no")));
}

pub(super) fn tells_whether_names_fold(subject: &dyn Subject) {
    subject.write("Foo", b"1");
    assert_eq!(subject.fs().folds_names(), subject.exists("foo"));
}
