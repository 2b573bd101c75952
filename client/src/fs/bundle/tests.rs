//! Bundles over a disk and in memory: what is read of one is what is made of it again.

use super::Bundled;
use crate::fs::contract::{Disk, Memory, Subject, name, path, private};
use crate::fs::memory::user::MemoryUser;
use crate::fs::memory::{Operation, OperationKind};
use crate::fs::{Area, DiskFs, Fs, FsError, Kind, Look, MemoryFs, ReadFile, Root, Swap};
use common::archive::{Index, MODE_BUNDLE};
use std::sync::Arc;

/// A root with bundles, and the directory that it is on.
fn on_disk() -> (tempfile::TempDir, Bundled) {
    let directory = tempfile::tempdir().unwrap();
    let fs = DiskFs::open(directory.path()).unwrap();
    fs.init_root(b"marker").unwrap();
    (directory, Bundled::new(Arc::new(fs)))
}

fn in_memory() -> (MemoryFs, Bundled) {
    let fs = MemoryFs::new(Arc::new({
        let time = std::sync::atomic::AtomicI64::new(1_000_000_000);
        move || time.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }));
    fs.init_root(b"marker").unwrap();
    (fs.clone(), Bundled::new(Arc::new(fs)))
}

fn read(file: &dyn ReadFile) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.stat().unwrap().size).unwrap() + 1];
    let length = file.read_at(0, &mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

/// A staged archive with these bytes.
fn stage(fs: &dyn Fs, bytes: &[u8]) -> crate::fs::RelPath {
    let staged = fs.stage(&name("archive")).unwrap();
    staged.write_at(0, bytes).unwrap();
    staged.path().clone()
}

fn repository(root: &std::path::Path) {
    let git = root.join(".git");
    for directory in ["", "objects", "objects/ab", "refs", "empty"] {
        std::fs::create_dir(git.join(directory)).unwrap();
    }
    std::fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    std::fs::write(git.join("objects/ab/cdef"), vec![7; 300_000]).unwrap();
    std::fs::write(git.join("none"), "").unwrap();
    std::os::unix::fs::symlink("../HEAD", git.join("refs/link")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o444);
    std::fs::set_permissions(git.join("objects/ab/cdef"), mode).unwrap();
}

#[test]
fn a_bundle_is_one_file_and_what_is_in_it_cannot_be_reached() {
    let (directory, fs) = on_disk();
    repository(directory.path());
    let listing = fs.list(&path("")).unwrap();
    let [listed] = listing.entries.as_slice() else { panic!("{listing:?}") };
    assert_eq!((listed.stat.kind, listed.stat.mode), (Kind::File, 0o755 | MODE_BUNDLE));
    assert_eq!(fs.stat(&path(".git")).unwrap(), listed.stat);
    for inside in [".git/HEAD", ".git/objects/ab", ".git/new"] {
        let inside = path(inside);
        let not = |error: &FsError| matches!(error, FsError::NotADirectory { .. });
        assert!(fs.stat(&inside).is_err_and(|error| not(&error)), "{inside}");
        assert!(fs.open(&inside).is_err_and(|error| not(&error)), "{inside}");
        assert!(fs.make_directory(&inside, 0o755).is_err_and(|error| not(&error)), "{inside}");
        let away = private(Area::Displaced, "x");
        assert!(fs.rename_noreplace(&inside, &away).is_err_and(|error| not(&error)), "{inside}");
    }
    assert!(fs.list(&path(".git")).is_err() && fs.remove_directory(&path(".git")).is_err());
    assert!(matches!(fs.remove(&path(".git")), Err(FsError::Misplaced { .. })));
    assert!(directory.path().join(".git/HEAD").exists());
}

#[test]
fn what_is_read_of_a_bundle_is_made_of_it_again() {
    let (directory, fs) = on_disk();
    repository(directory.path());
    std::fs::write(directory.path().join(".git/refs/old.lock"), "left").unwrap();
    let seen = fs.stat(&path(".git")).unwrap();
    let bytes = read(fs.open(&path(".git")).unwrap().as_ref());
    assert_eq!(bytes.len() as u64, seen.size);
    let here = path(".git");
    for current in [Some((&here, &seen)), None] {
        let archive = stage(&fs, &bytes);
        let names = [name("made"), name("scratch")];
        let (made, stat) = fs.unpack(&archive, current, names, seen.mode).unwrap();
        let lock = directory.path().join(".driftless/staging/made/refs/old.lock");
        assert_eq!(lock.exists(), current.is_some(), "a lock is this disk's own");
        assert_eq!((stat.size, stat.mtime_ns, stat.mode), (seen.size, seen.mtime_ns, seen.mode));
        assert_eq!(read(fs.open(&made).unwrap().as_ref()), bytes, "what is made reads the same");
        let at = |inside: &str| directory.path().join(".driftless/staging/made").join(inside);
        assert_eq!(std::fs::read_link(at("refs/link")).unwrap().to_str(), Some("../HEAD"));
        let links =
            std::os::unix::fs::MetadataExt::nlink(&at("objects/ab/cdef").metadata().unwrap());
        assert_eq!(links, if current.is_some() { 2 } else { 1 }, "read-only files are linked");
        let links = std::os::unix::fs::MetadataExt::nlink(&at("HEAD").metadata().unwrap());
        assert_eq!(links, 1, "what may be written to is not");
        fs.exchange(&made, &path(".git")).unwrap();
        assert!(fs.stat(&path(".git")).unwrap().same_content(&stat));
        fs.remove(&made).unwrap();
        assert!(fs.stat(&made).unwrap_err().is_not_found());
        assert!(fs.stat(&archive).unwrap_err().is_not_found());
    }
}

#[test]
fn whatever_happens_in_a_bundle_shows_and_a_rename_of_it_does_not() {
    let (directory, fs) = on_disk();
    repository(directory.path());
    let git = directory.path().join(".git");
    let mut seen = vec![fs.stat(&path(".git")).unwrap()];
    let changes: [&dyn Fn(); 7] = [
        &|| std::fs::write(git.join("HEAD"), "ref: refs/heads/next\n").unwrap(),
        &|| std::fs::rename(git.join("none"), git.join("some")).unwrap(),
        &|| std::fs::create_dir(git.join("more")).unwrap(),
        &|| std::fs::remove_dir(git.join("empty")).unwrap(),
        &|| std::fs::write(git.join("index.lock"), "").unwrap(),
        &|| std::fs::remove_file(git.join("objects/ab/cdef")).unwrap(),
        &|| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(git.join("HEAD"), mode).unwrap();
        },
    ];
    for change in changes {
        change();
        let stat = fs.stat(&path(".git")).unwrap();
        assert!(seen.iter().all(|before| !before.same_content(&stat)));
        seen.push(stat);
    }
    let renamed = directory.path().join(".git (kept 1)");
    std::fs::rename(&git, &renamed).unwrap();
    let stat = fs.stat(&path(".git (kept 1)")).unwrap();
    assert!(seen.last().unwrap().same_content(&stat));
}

#[test]
fn a_lock_of_git_is_told_and_is_no_content() {
    let (directory, fs) = on_disk();
    repository(directory.path());
    let before = fs.stat(&path(".git")).unwrap();
    assert_eq!(fs.lock_in(&path(".git")), None);
    std::fs::write(directory.path().join(".git/refs/main.lock"), "x").unwrap();
    let locked = fs.stat(&path(".git")).unwrap();
    assert_eq!(fs.lock_in(&path(".git")).as_deref(), Some("refs/main.lock"));
    assert_eq!(locked.size, before.size);
    assert!(!locked.same_content(&before));
    // Elsewhere it is a name like any other.
    std::fs::create_dir(directory.path().join("X.app")).unwrap();
    std::fs::write(directory.path().join("X.app/a.lock"), "x").unwrap();
    assert_eq!(fs.lock_in(&path("X.app")), None);
}

#[test]
fn a_bundle_that_changes_while_it_is_read_is_not_read_on() {
    let (directory, fs) = on_disk();
    repository(directory.path());
    let file = fs.open(&path(".git")).unwrap();
    let before = file.stat().unwrap();
    std::fs::write(directory.path().join(".git/HEAD"), "").unwrap();
    let mut bytes = vec![0; 1_000_000];
    assert!(matches!(file.read_at(0, &mut bytes), Err(FsError::Changed { .. })));
    assert!(matches!(file.stat(), Err(FsError::Changed { .. })));
    let file = fs.open(&path(".git")).unwrap();
    assert!(!file.stat().unwrap().same_content(&before));
    // Before anybody has asked it how it looks, and without another length.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(directory.path().join(".git/HEAD"), mode).unwrap();
    assert!(matches!(file.stat(), Err(FsError::Changed { .. })));
    std::fs::rename(directory.path().join(".git"), directory.path().join("away")).unwrap();
    assert!(matches!(file.sync(), Err(FsError::Changed { .. })), "nothing was synced");
    fs.sync(&[path(".git")]).unwrap();
}

/// A program may have removed it since, and the copy would be nobody's.
#[test]
fn a_lock_that_came_after_the_look_is_not_made_again() {
    let (directory, fs) = on_disk();
    repository(directory.path());
    let here = path(".git");
    let seen = fs.stat(&here).unwrap();
    let bytes = read(fs.open(&here).unwrap().as_ref());
    let archive = stage(&fs, &bytes);
    std::fs::write(directory.path().join(".git/index.lock"), "").unwrap();
    let names = || [name("made"), name("scratch")];
    for elsewhere in [".git", "gone", ".git/HEAD/gone"] {
        let refused = fs.unpack(&archive, Some((&path(elsewhere), &seen)), names(), seen.mode);
        assert!(matches!(refused, Err(FsError::Changed { .. })), "{elsewhere}: {refused:?}");
    }
    let staged = fs.list(&crate::fs::RelPath::area_root(Area::Staging)).unwrap().entries;
    assert_eq!(staged.len(), 1, "the archive alone: {staged:?}");
    let seen = fs.stat(&here).unwrap();
    fs.unpack(&archive, Some((&here, &seen)), names(), seen.mode).unwrap();
    assert!(directory.path().join(".driftless/staging/made/index.lock").exists());
}

/// git writes how the files of each of its work trees look into the repository.
#[test]
fn a_look_of_git_at_another_work_tree_is_no_change() {
    let (directory, fs) = on_disk();
    let at = directory.path();
    let git = |at: &std::path::Path, arguments: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.current_dir(at).args(["-c", "user.name=A", "-c", "user.email=a@localhost"]);
        git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        let done = git.args(arguments).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {done:?}");
    };
    git(at, &["init", "--quiet"]);
    std::fs::write(at.join("a"), "a").unwrap();
    git(at, &["add", "a"]);
    git(at, &["commit", "--quiet", "--message", "first"]);
    git(at, &["worktree", "add", "--quiet", "tree"]);
    let index = at.join(".git/worktrees/tree/index");
    let (before, bytes) = (std::fs::read(&index).unwrap(), fs.open(&path(".git")).unwrap());
    let (bytes, seen) = (read(bytes.as_ref()), fs.stat(&path(".git")).unwrap());
    let file = std::fs::File::options().write(true).open(at.join("tree/a")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    git(&at.join("tree"), &["status"]);
    assert_ne!(std::fs::read(&index).unwrap(), before, "git has looked again");
    let now = fs.stat(&path(".git")).unwrap();
    assert!(read(fs.open(&path(".git")).unwrap().as_ref()) == bytes);
    assert_eq!((now.size, now.mtime_ns, now.mode), (seen.size, seen.mtime_ns, seen.mode));
}

/// Nothing can keep a program out of a whole directory: what it wrote is found by looking.
#[test]
fn a_write_while_a_mode_is_set_is_told() {
    for during in [OperationKind::SetAttributes, OperationKind::List] {
        let (memory, fs) = in_memory();
        memory.user().mkdir(".git").unwrap();
        memory.user().write(".git/HEAD", b"one").unwrap();
        let seen = fs.stat(&path(".git")).unwrap();
        let count = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let hook = move |user: &MemoryUser, it: &Operation| {
            let is_it = it.kind == during;
            let before = count.fetch_add(u64::from(is_it), std::sync::atomic::Ordering::Relaxed);
            // The second look lists anew: that is after the mode has been set.
            let at = u64::from(during == OperationKind::List);
            if is_it && before == at {
                user.write(".git/HEAD", b"two").unwrap();
            }
            None
        };
        memory.set_hook(Some(Arc::new(hook)));
        let set = fs.set_attributes(&path(".git"), &seen, Some(0o700), None);
        assert!(matches!(set, Err(FsError::Changed { .. })), "{during:?}: {set:?}");
    }
}

/// Whoever writes to it may have put there what no archive can hold.
#[test]
fn a_displaced_directory_that_no_archive_can_hold_has_writers_or_none() {
    let (directory, fs) = on_disk();
    let at = directory.path().join(".driftless/displaced/b");
    std::fs::create_dir_all(&at).unwrap();
    let odd = std::os::unix::ffi::OsStrExt::from_bytes(&b"\xff"[..]);
    std::fs::write(at.join::<&std::ffi::OsStr>(odd), "x").unwrap();
    let aside = private(Area::Displaced, "b");
    assert!(fs.writer_absent(&aside).unwrap());
    let writer = std::fs::File::create(at.join("file")).unwrap();
    assert!(!fs.writer_absent(&aside).unwrap());
    drop(writer);
    assert!(fs.writer_absent(&aside).unwrap());
}

/// A commit that was begun in one directory and wrote its objects while the other stood there.
#[test]
fn what_was_added_while_two_bundles_changed_places_is_carried_over() {
    let (directory, fs) = on_disk();
    repository(directory.path());
    let git = directory.path().join(".git");
    std::fs::write(git.join("index.lock"), "").unwrap();
    let (here, names) = (path(".git"), [name("m"), name("s")]);
    let bytes = read(fs.open(&here).unwrap().as_ref());
    let (archive, seen) = (stage(&fs, &bytes), fs.stat(&here).unwrap());
    let (made, built) = fs.unpack(&archive, Some((&here, &seen)), names, 0o755).unwrap();
    let contents = fs.contents(&made).unwrap();
    // What the user takes away meanwhile has a second name in the new one, and shows that there.
    std::fs::remove_file(git.join("objects/ab/cdef")).unwrap();
    std::fs::rename(git.join("none"), git.join("some")).unwrap();
    fs.exchange(&made, &path(".git")).unwrap();
    std::fs::write(git.join("none"), "changed").unwrap();
    std::fs::write(git.join("objects/ab/new"), "object").unwrap();
    std::fs::create_dir(git.join("objects/cd")).unwrap();
    std::fs::write(git.join("objects/cd/new"), "object").unwrap();
    let mut writer = std::fs::File::create(git.join("objects/half")).unwrap();
    std::io::Write::write_all(&mut writer, b"half of").unwrap();
    fs.exchange(&made, &path(".git")).unwrap();
    assert!(!git.join("objects/ab/new").exists());
    assert!(!fs.stat(&made).unwrap().same_content(&built));
    let before = fs.stat(&made).unwrap();
    fs.carry_over(&made, &path(".git"), &contents, &name("s")).unwrap();
    for gone in ["objects/ab/cdef", "none"] {
        assert!(!git.join(gone).exists(), "{gone}: nobody has added that");
    }
    for object in ["objects/ab/new", "objects/cd/new"] {
        assert_eq!(std::fs::read(git.join(object)).unwrap(), b"object");
    }
    assert!(!git.join("objects/half").exists(), "what is still being written stays where it is");
    assert!(fs.stat(&made).unwrap().untouched(&before), "and what it was is kept whole");
    // What stands in both is left where it is.
    std::fs::write(directory.path().join(".driftless/staging/m/HEAD"), "theirs").unwrap();
    fs.carry_over(&made, &path(".git"), &contents, &name("s")).unwrap();
    assert_ne!(std::fs::read(git.join("HEAD")).unwrap(), b"theirs");
}

#[test]
fn an_archive_that_is_none_makes_nothing() {
    let (directory, fs) = on_disk();
    repository(directory.path());
    let bytes = read(fs.open(&path(".git")).unwrap().as_ref());
    let cut = bytes[..bytes.len() - 1].to_vec();
    let short = bytes[300_000..].to_vec();
    let escape = [&[][..], &Index::default().encode()[..8], b"DLBUNDL\x02"].concat();
    for bytes in [cut, short, escape, Vec::new()] {
        let archive = stage(&fs, &bytes);
        let names = [name("made"), name("scratch")];
        let refused = fs.unpack(&archive, None, names, 0o755);
        assert!(matches!(refused, Err(FsError::Unfit { .. })), "{refused:?}");
        fs.remove(&archive).unwrap();
        assert_eq!(fs.list(&crate::fs::RelPath::area_root(Area::Staging)).unwrap().entries, []);
    }
}

#[test]
fn a_directory_that_no_archive_can_hold_is_shown_and_not_read() {
    let (directory, fs) = on_disk();
    let bundle = directory.path().join("X.app");
    std::fs::create_dir(&bundle).unwrap();
    let odd = std::os::unix::ffi::OsStrExt::from_bytes(&b"\xff"[..]);
    std::fs::write(bundle.join::<&std::ffi::OsStr>(odd), "x").unwrap();
    assert!(fs.stat(&path("X.app")).unwrap().is_bundle());
    assert!(matches!(fs.open(&path("X.app")), Err(FsError::Unfit { .. })));
    fs.sync(&[path("X.app")]).unwrap();
}

#[test]
fn a_bundle_in_memory_is_one_on_disk() {
    let (memory, fs) = in_memory();
    let user = memory.user();
    for directory in [".git", ".git/objects"] {
        user.mkdir(directory).unwrap();
    }
    user.write(".git/objects/a", b"one").unwrap();
    user.write(".git/HEAD", b"two").unwrap();
    let bytes = read(fs.open(&path(".git")).unwrap().as_ref());
    assert_eq!(&bytes[..6], b"onetwo");
    let (directory, disk) = on_disk();
    let archive = stage(&disk, &bytes);
    let (made, _) = disk.unpack(&archive, None, [name("m"), name("s")], 0o755).unwrap();
    disk.rename_noreplace(&made, &path(".git")).unwrap();
    assert_eq!(std::fs::read(directory.path().join(".git/objects/a")).unwrap(), b"one");
    assert_eq!(read(disk.open(&path(".git")).unwrap().as_ref()), bytes);
}

/// What is no bundle is as it is without them.
#[test]
fn everything_else_is_let_through() {
    for subject in [Box::new(Disk::kernel()) as Box<dyn Subject>, Box::new(Memory::new())] {
        subject.mkdir("d");
        subject.write("d/.git", b"gitdir: ../x");
        assert_eq!(subject.fs().stat(&path("d/.git")).unwrap().kind, Kind::File);
    }
    let (directory, fs) = on_disk();
    std::fs::create_dir(directory.path().join("d")).unwrap();
    std::fs::write(directory.path().join("d/.git"), "gitdir: ../x").unwrap();
    assert_eq!(read(fs.open(&path("d/.git")).unwrap().as_ref()), b"gitdir: ../x");
    assert!(!fs.stat(&path("d/.git")).unwrap().is_bundle());
    assert_eq!(fs.stat(&path("d")).unwrap().kind, Kind::Directory);
    assert!(fs.make_directory(&path("d/new"), 0o755).is_ok());
    assert!(matches!(fs.make_directory(&path("X.app"), 0o755), Err(FsError::NameRefused { .. })));
}
