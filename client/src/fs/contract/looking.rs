//! The contract of [`crate::fs::Look`].

use super::{Subject, assert_refused, name, path, private};
use crate::fs::{Area, Kind, RelPath};

fn names(subject: &dyn Subject, directory: &str) -> Vec<Vec<u8>> {
    let listing = subject.fs().list(&path(directory)).unwrap();
    assert!(listing.steady);
    listing.entries.into_iter().map(|entry| entry.name).collect()
}

pub(super) fn lists_all_but_its_own_directory(subject: &dyn Subject) {
    assert!(names(subject, "").is_empty());
    subject.write("b", b"1");
    subject.mkdir("a");
    subject.mkdir("a/.driftless");
    subject.symlink("nowhere", "c");
    subject.write_raw(b"\xff\xfe", b"raw");
    assert_eq!(names(subject, ""), [&b"a"[..], b"b", b"c", b"\xff\xfe"]);
    assert_eq!(names(subject, "a"), [b".driftless"], "only the root has a private directory");
    let listing = subject.fs().list(&RelPath::root()).unwrap();
    let kinds: Vec<Kind> = listing.entries.iter().map(|entry| entry.stat.kind).collect();
    assert_eq!(kinds, [Kind::Directory, Kind::File, Kind::Symlink, Kind::File]);
    assert_eq!(listing.directory.kind, Kind::Directory);
    assert_eq!(listing.entries[1].stat, subject.fs().stat(&path("b")).unwrap());
    subject.fs().stage(&name("x")).unwrap();
    let staged = subject.fs().list(&RelPath::area_root(Area::Staging)).unwrap();
    assert_eq!(staged.entries.len(), 1);
    assert_eq!(staged.entries[0].name, b"x");
}

/// S7: errors mean unknown.
pub(super) fn an_error_is_not_an_empty_list(subject: &dyn Subject) {
    subject.write("file", b"1");
    subject.mkdir("directory");
    subject.symlink("directory", "link");
    assert_refused!(subject.fs().list(&path("missing")), NotFound, path("missing"));
    assert_refused!(subject.fs().list(&path("file")), NotADirectory, path("file"));
    assert_refused!(subject.fs().list(&path("link")), Escapes, path("link"));
    assert_refused!(subject.fs().list(&path("file/x")), NotADirectory, path("file/x"));
}

pub(super) fn looks_at_each_kind(subject: &dyn Subject) {
    subject.write("file", b"12345");
    subject.chmod("file", 0o640);
    subject.mkdir("directory");
    subject.symlink("file", "link");
    subject.fifo("fifo");
    let root = subject.fs().stat(&RelPath::root()).unwrap();
    let stat = |text| subject.fs().stat(&path(text)).unwrap();
    let file = stat("file");
    assert_eq!((file.kind, file.size, file.mode, file.nlink), (Kind::File, 5, 0o640, 1));
    assert_eq!(file.device, root.device);
    assert_eq!((root.device, root.inode), {
        let identity = subject.fs().identity();
        (identity.device, identity.inode)
    });
    assert_eq!(stat("directory").kind, Kind::Directory);
    assert_eq!((stat("link").kind, stat("link").size), (Kind::Symlink, 4));
    assert_eq!(stat("fifo").kind, Kind::Other);
    assert_refused!(subject.fs().stat(&path("missing")), NotFound, path("missing"));
    subject.rename("file", "renamed");
    assert!(stat("renamed").same_content(&file));
    subject.write("renamed", b"123456");
    assert!(!stat("renamed").same_content(&file));
}

/// The hostile list: a symlink out with a file beneath it.
pub(super) fn nothing_is_reached_through_a_link(subject: &dyn Subject) {
    subject.mkdir("real");
    subject.write("real/file", b"1");
    subject.symlink("real", "link");
    let target = path("link/file");
    let fs = subject.fs();
    assert_refused!(fs.stat(&target), Escapes, target);
    assert_refused!(fs.open(&target), Escapes, target);
    assert_refused!(fs.read_link(&target), Escapes, target);
    assert_refused!(fs.make_directory(&path("link/new"), 0o755), Escapes, path("link/new"));
    assert_refused!(fs.remove_directory(&path("link/new")), Escapes, path("link/new"));
    let away = private(Area::Displaced, "x");
    assert_refused!(fs.rename_noreplace(&target, &away), Escapes, target);
    assert_refused!(fs.rename_noreplace(&path("real/file"), &target), Escapes, target);
    assert_refused!(fs.exchange(&path("real/file"), &target), Escapes, target);
    assert_refused!(fs.writer_absent(&target), Escapes, target);
    let seen = fs.stat(&path("real/file")).unwrap();
    assert_refused!(fs.set_attributes(&target, &seen, Some(0o600), None), Escapes, target);
    assert_eq!(subject.read("real/file"), b"1");
}

pub(super) fn reads_links(subject: &dyn Subject) {
    subject.symlink("/etc/passwd", "out");
    subject.symlink("../../up", "up");
    subject.write("file", b"");
    assert_eq!(subject.fs().read_link(&path("out")).unwrap(), b"/etc/passwd");
    assert_eq!(subject.fs().read_link(&path("up")).unwrap(), b"../../up");
    assert_refused!(subject.fs().read_link(&path("file")), WrongKind, path("file"));
    assert_refused!(subject.fs().read_link(&path("missing")), NotFound, path("missing"));
}

/// A FIFO, device or socket neither blocks nor opens.
pub(super) fn opens_regular_files_alone(subject: &dyn Subject) {
    subject.mkdir("directory");
    subject.fifo("fifo");
    subject.write("file", b"1");
    subject.symlink("file", "link");
    for text in ["directory", "fifo", "link"] {
        assert_refused!(subject.fs().open(&path(text)), WrongKind, path(text));
    }
    assert_refused!(subject.fs().open(&path("missing")), NotFound, path("missing"));
}

pub(super) fn an_open_file_stays_itself(subject: &dyn Subject) {
    subject.write("file", b"0123456789");
    let file = subject.fs().open(&path("file")).unwrap();
    let before = file.stat().unwrap();
    subject.rename("file", "other");
    subject.write("file", b"new");
    let mut buffer = [0; 4];
    assert_eq!(file.read_at(8, &mut buffer).unwrap(), 2);
    assert_eq!(&buffer[..2], b"89");
    assert_eq!(file.read_at(10, &mut buffer).unwrap(), 0);
    assert_eq!(file.read_at(99, &mut buffer).unwrap(), 0);
    assert!(file.stat().unwrap().same_content(&before));
    assert!(!subject.fs().stat(&path("file")).unwrap().same_inode(&before));
    subject.remove_all("other");
    assert_eq!(file.read_at(0, &mut buffer).unwrap(), 4, "its last name is gone, it is not");
    file.sync().unwrap();
}

/// Longer than the kernel takes in one call.
pub(super) fn long_paths_work(subject: &dyn Subject) {
    let long = name(&"x".repeat(250));
    let mut deepest = RelPath::root();
    while let Ok(next) = deepest.join(&long) {
        subject.fs().make_directory(&next, 0o755).unwrap();
        deepest = next;
    }
    assert_eq!(deepest.names().len(), 16);
    assert!(subject.fs().list(&deepest).unwrap().entries.is_empty());
    let away = private(Area::Displaced, "x");
    subject.fs().rename_noreplace(&path(&"x".repeat(250)), &away).unwrap();
    let mut moved = away;
    for _ in 1..16 {
        moved = moved.join(&long).unwrap();
    }
    assert_eq!(subject.fs().stat(&moved).unwrap().kind, Kind::Directory);
    while !moved.is_root() {
        subject.fs().remove_directory(&moved).unwrap();
        moved = moved.parent().unwrap();
    }
}
