//! The contract of [`crate::fs::Swap`].

use super::{Subject, assert_refused, name, path, private};
use crate::fs::{Area, Kind};

pub(super) fn stages_and_moves_in(subject: &dyn Subject) {
    let fs = subject.fs();
    let staged = fs.stage(&name("s")).unwrap();
    assert_eq!(*staged.path(), private(Area::Staging, "s"));
    assert_eq!(staged.stat().unwrap().mode, 0o600);
    assert_refused!(fs.stage(&name("s")), Exists, private(Area::Staging, "s"));
    staged.preallocate(1000).unwrap();
    staged.write_at(3, b"def").unwrap();
    staged.write_at(0, b"abc").unwrap();
    staged.write_at(6, b"gone").unwrap();
    staged.truncate(6).unwrap();
    let mut buffer = [0; 10];
    assert_eq!(staged.read_at(0, &mut buffer).unwrap(), 6);
    staged.set_attributes(0o4755, 1_234_567_890_123_456_789).unwrap();
    staged.sync().unwrap();
    let before = staged.stat().unwrap();
    assert_eq!((before.mode, before.mtime_ns), (0o755, 1_234_567_890_123_456_789));
    assert!(!subject.exists("file"), "S8: nothing is visible before the rename");
    fs.rename_noreplace(staged.path(), &path("file")).unwrap();
    assert_eq!(subject.read("file"), b"abcdef");
    let after = fs.stat(&path("file")).unwrap();
    assert!(after.same_content(&before));
    assert_eq!(after, staged.stat().unwrap(), "the handle followed the rename");
    assert!(after.ctime_ns >= before.ctime_ns);
}

pub(super) fn a_staged_file_is_gone_on_with(subject: &dyn Subject) {
    let fs = subject.fs();
    let staged = fs.stage(&name("s")).unwrap();
    staged.write_at(0, b"abc").unwrap();
    staged.set_attributes(0o400, 7).unwrap();
    let before = staged.stat().unwrap();
    drop(staged);
    assert_refused!(fs.reopen(&name("no")), NotFound, private(Area::Staging, "no"));
    let again = fs.reopen(&name("s")).unwrap();
    assert_eq!(*again.path(), private(Area::Staging, "s"));
    assert!(!fs.writer_absent(again.path()).unwrap(), "we count ourselves");
    let stat = again.stat().unwrap();
    assert!(stat.same_inode(&before));
    assert_eq!((stat.mode, stat.size), (0o600, 3), "nobody else sees it, whatever its mode was");
    again.write_at(3, &[7; 9_997]).unwrap();
    let mut buffer = [0; 4];
    assert_eq!(again.read_at(0, &mut buffer).unwrap(), 4);
    assert_eq!(&buffer, b"abc\x07");
    again.sync().unwrap();
    assert!(again.held_bytes().unwrap() >= 10_000);
    again.truncate(3).unwrap();
    fs.rename_noreplace(again.path(), &path("file")).unwrap();
    assert_eq!(subject.read("file"), b"abc");
}

pub(super) fn only_a_staged_file_of_ours_is_gone_on_with(subject: &dyn Subject) {
    let fs = subject.fs();
    subject.write("mine", b"precious");
    subject.symlink("../../mine", ".driftless/staging/link");
    subject.mkdir(".driftless/staging/directory");
    subject.fifo(".driftless/staging/fifo");
    for text in ["link", "directory", "fifo"] {
        assert_refused!(fs.reopen(&name(text)), WrongKind, private(Area::Staging, text));
    }
    subject.link("mine", ".driftless/staging/shared");
    let seen = fs.stat(&path("mine")).unwrap();
    assert_refused!(fs.reopen(&name("shared")), Changed, private(Area::Staging, "shared"));
    assert_eq!(fs.stat(&path("mine")).unwrap(), seen, "nothing was done");
    assert_eq!(subject.read("mine"), b"precious");
}

pub(super) fn staging_needs_the_private_directory(subject: &dyn Subject) {
    subject.remove_all(".driftless/staging");
    subject.fs().stage(&name("again")).unwrap();
    assert!(subject.exists(".driftless/staging/again"));
    subject.remove_all(".driftless");
    let staged = private(Area::Staging, "x");
    assert_refused!(subject.fs().stage(&name("x")), NotFound, staged);
    assert!(!subject.exists(".driftless"), "a root without its marker is not made anew");
}

pub(super) fn makes_directories_with_their_mode(subject: &dyn Subject) {
    let fs = subject.fs();
    for mode in [0o777, 0o700, 0o555] {
        let made = path(&format!("d{mode:o}"));
        fs.make_directory(&made, mode).unwrap();
        assert_eq!(fs.stat(&made).unwrap().mode, mode, "past the umask");
        assert_refused!(fs.make_directory(&made, mode), Exists, made);
    }
    subject.write("file", b"");
    assert_refused!(fs.make_directory(&path("file"), 0o755), Exists, path("file"));
    assert_refused!(fs.make_directory(&path("no/d"), 0o755), NotFound, path("no/d"));
    assert_refused!(fs.make_directory(&path(""), 0o755), Misplaced, path(""));
}

pub(super) fn makes_links_in_private_alone(subject: &dyn Subject) {
    let fs = subject.fs();
    let staged = private(Area::Staging, "l");
    fs.make_symlink(&staged, b"../../etc", 5_000_000_007).unwrap();
    assert_refused!(fs.make_symlink(&staged, b"x", 0), Exists, staged);
    fs.rename_noreplace(&staged, &path("link")).unwrap();
    let stat = fs.stat(&path("link")).unwrap();
    assert_eq!((stat.kind, stat.mtime_ns), (Kind::Symlink, 5_000_000_007));
    assert_eq!(fs.read_link(&path("link")).unwrap(), b"../../etc");
    assert_refused!(fs.make_symlink(&path("seen"), b"x", 0), Misplaced, path("seen"));
    let touched = fs.set_attributes(&path("link"), &stat, None, Some(-1)).unwrap();
    assert_eq!(touched.mtime_ns, -1, "before 1970");
}

/// Rule 5: create by `RENAME_NOREPLACE`.
pub(super) fn rename_never_replaces(subject: &dyn Subject) {
    let fs = subject.fs();
    subject.write("one", b"1");
    subject.write("two", b"2");
    subject.mkdir("empty");
    subject.symlink("missing", "dangling");
    for taken in ["two", "empty", "dangling", "one"] {
        assert_refused!(fs.rename_noreplace(&path("one"), &path(taken)), Exists, path(taken));
    }
    subject.mkdir("directory");
    let inside = path("directory/in");
    assert_refused!(fs.rename_noreplace(&path("directory"), &inside), IntoItself, inside);
    assert_eq!((subject.read("one"), subject.read("two")), (b"1".to_vec(), b"2".to_vec()));
    fs.rename_noreplace(&path("one"), &path("directory/one")).unwrap();
    fs.rename_noreplace(&path("directory"), &path("moved")).unwrap();
    assert_eq!(subject.read("moved/one"), b"1");
    assert!(!subject.exists("one") && !subject.exists("directory"));
}

pub(super) fn rename_says_what_is_missing(subject: &dyn Subject) {
    let fs = subject.fs();
    subject.write("file", b"1");
    assert_refused!(fs.rename_noreplace(&path("no"), &path("new")), NotFound, path("no"));
    assert_refused!(fs.rename_noreplace(&path("file"), &path("no/x")), NotFound, path("no/x"));
    assert_refused!(fs.rename_noreplace(&path("no/x"), &path("new")), NotFound, path("no/x"));
    let below = path("file/x");
    assert_refused!(fs.rename_noreplace(&path("file"), &below), IntoItself, below);
    assert_refused!(fs.rename_noreplace(&path(""), &path("x")), Misplaced, path(""));
    assert_eq!(subject.read("file"), b"1");
}

/// Rule 5: replace by exchange.
pub(super) fn exchange_swaps_any_kinds(subject: &dyn Subject) {
    let fs = subject.fs();
    subject.write("file", b"old");
    let staged = fs.stage(&name("s")).unwrap();
    staged.write_at(0, b"new").unwrap();
    let old = fs.stat(&path("file")).unwrap();
    fs.exchange(staged.path(), &path("file")).unwrap();
    assert_eq!(subject.read("file"), b"new");
    let displaced = fs.stat(staged.path()).unwrap();
    assert!(displaced.same_content(&old), "what was displaced is what was seen");
    subject.mkdir("directory");
    subject.write("directory/in", b"in");
    subject.symlink("x", "link");
    fs.exchange(&path("file"), &path("directory")).unwrap();
    assert_eq!((subject.read("directory"), subject.read("file/in")), (b"new".into(), b"in".into()));
    fs.exchange(&path("link"), &path("directory")).unwrap();
    assert_eq!(fs.stat(&path("directory")).unwrap().kind, Kind::Symlink);
    assert_eq!(subject.read("link"), b"new");
}

pub(super) fn exchange_needs_both(subject: &dyn Subject) {
    let fs = subject.fs();
    subject.write("file", b"1");
    subject.mkdir("d");
    subject.mkdir("d/e");
    assert_refused!(fs.exchange(&path("file"), &path("no")), NotFound, path("no"));
    assert_refused!(fs.exchange(&path("no"), &path("file")), NotFound, path("no"));
    assert_refused!(fs.exchange(&path("d"), &path("d/e")), IntoItself, path("d/e"));
    assert_refused!(fs.exchange(&path("d/e"), &path("d")), IntoItself, path("d/e"));
    assert_eq!(subject.read("file"), b"1");
}

pub(super) fn removes_only_private_files(subject: &dyn Subject) {
    let fs = subject.fs();
    subject.write("file", b"1");
    assert_refused!(fs.remove(&path("file")), Misplaced, path("file"));
    assert!(subject.exists("file"));
    let away = private(Area::Displaced, "x");
    fs.rename_noreplace(&path("file"), &away).unwrap();
    fs.remove(&away).unwrap();
    assert_refused!(fs.remove(&away), NotFound, away);
    fs.make_directory(&away, 0o700).unwrap();
    assert_refused!(fs.remove(&away), WrongKind, away);
}

pub(super) fn removes_only_empty_directories(subject: &dyn Subject) {
    let fs = subject.fs();
    subject.mkdir("d");
    subject.write("d/ignored", b"1");
    subject.symlink("d", "link");
    assert_refused!(fs.remove_directory(&path("d")), NotEmpty, path("d"));
    assert_refused!(fs.remove_directory(&path("d/ignored")), NotADirectory, path("d/ignored"));
    assert_refused!(fs.remove_directory(&path("link")), NotADirectory, path("link"));
    assert_refused!(fs.remove_directory(&path("")), Misplaced, path(""));
    subject.remove_all("d/ignored");
    fs.remove_directory(&path("d")).unwrap();
    assert_refused!(fs.remove_directory(&path("d")), NotFound, path("d"));
}
