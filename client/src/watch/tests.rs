//! The watch on a real directory, and with a registrar that runs out of watches.
//!
//! Each test makes a change and takes hints until the expected one comes, a bounded time.

use super::directories::Registrar;
use super::{Hint, Watch, WatchOptions, WatchState};
use crate::fs::contract::{name, path};
use crate::fs::{DiskFs, Look, RelPath, Root, Swap};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Long enough for a loaded machine; a test that works does not wait for it.
const PATIENCE: Duration = Duration::from_secs(20);

struct Scene {
    directory: tempfile::TempDir,
    watch: Watch,
}

impl Scene {
    /// A watch that has given its first hint.
    fn new(prepare: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path());
        let watch = Watch::start(directory.path(), WatchOptions::default()).unwrap();
        let scene = Self { directory, watch };
        scene.expect(&[Hint::Everything]);
        scene
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// Takes hints until all of these have come; returns all that came.
    fn expect(&self, expected: &[Hint]) -> BTreeSet<Hint> {
        expect(&self.watch, expected)
    }
}

fn expect(watch: &Watch, expected: &[Hint]) -> BTreeSet<Hint> {
    let until = Instant::now() + PATIENCE;
    let mut came = BTreeSet::new();
    while !expected.iter().all(|hint| is_covered(hint, &came)) {
        let left = until.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "{expected:?} did not come, but {came:?}");
        came.extend(watch.hints().wait(left));
    }
    came
}

/// Whether who follows the hints looks at this: a file in a directory too new to be watched comes
/// with its directory.
fn is_covered(hint: &Hint, came: &BTreeSet<Hint>) -> bool {
    came.iter().any(|other| match (hint, other) {
        (Hint::Path(path), Hint::Subtree(top)) => path.starts_with(top) && path != top,
        _ => hint == other,
    })
}

fn at(text: &str) -> Hint {
    Hint::Path(path(text))
}

fn below(text: &str) -> Hint {
    Hint::Subtree(path(text))
}

#[test]
fn changes_of_files_are_hinted() {
    let scene = Scene::new(|root| {
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/old"), b"1").unwrap();
    });
    assert_eq!(scene.watch.state(), WatchState::Complete { directories: 3 });
    std::fs::write(scene.at("a/b/new"), b"1").unwrap();
    scene.expect(&[at("a/b/new")]);
    std::fs::rename(scene.at("a/b/new"), scene.at("a/moved")).unwrap();
    scene.expect(&[at("a/b/new"), at("a/moved")]);
    std::fs::remove_file(scene.at("a/b/old")).unwrap();
    scene.expect(&[at("a/b/old")]);
    std::os::unix::fs::symlink("x", scene.at("link")).unwrap();
    scene.expect(&[at("link")]);
    let mut permissions = scene.at("a/moved").metadata().unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(scene.at("a/moved"), permissions).unwrap();
    scene.expect(&[at("a/moved")]);
}

/// A new directory has content before it has a watch.
#[test]
fn new_directories_are_watched_and_hinted_whole() {
    let scene = Scene::new(|_| {});
    std::fs::create_dir_all(scene.at("a/b/c")).unwrap();
    std::fs::write(scene.at("a/b/c/early"), b"1").unwrap();
    scene.expect(&[below("a")]);
    std::fs::write(scene.at("a/b/c/late"), b"1").unwrap();
    scene.expect(&[at("a/b/c/late")]);
}

#[test]
fn a_directory_moved_in_or_renamed_is_watched_under_its_new_name() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(outside.path().join("d/e")).unwrap();
    let scene = Scene::new(|_| {});
    std::fs::rename(outside.path().join("d"), scene.at("d")).unwrap();
    scene.expect(&[below("d")]);
    std::fs::write(scene.at("d/e/one"), b"1").unwrap();
    scene.expect(&[at("d/e/one")]);
    std::fs::rename(scene.at("d"), scene.at("f")).unwrap();
    scene.expect(&[at("d"), below("f")]);
    std::fs::write(scene.at("f/e/two"), b"2").unwrap();
    scene.expect(&[at("f/e/two")]);
}

#[test]
fn a_directory_removed_and_made_again_is_watched_again() {
    let scene = Scene::new(|root| std::fs::create_dir(root.join("d")).unwrap());
    for round in 0..20 {
        std::fs::remove_dir_all(scene.at("d")).unwrap();
        std::fs::create_dir(scene.at("d")).unwrap();
        scene.expect(&[below("d")]);
        let file = format!("d/file{round}");
        std::fs::write(scene.at(&file), b"1").unwrap();
        scene.expect(&[at(&file)]);
    }
}

/// What we do ourselves in `.driftless`, and our own reading, makes no hint.
#[test]
fn our_own_work_is_not_hinted() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), b"1").unwrap();
    let fs = DiskFs::open(directory.path()).unwrap();
    fs.init_root(b"marker").unwrap();
    let watch = Watch::start(directory.path(), WatchOptions::default()).unwrap();
    expect(&watch, &[Hint::Everything]);
    assert_eq!(watch.state(), WatchState::Complete { directories: 1 });
    let mut buffer = [0; 8];
    fs.open(&path("file")).unwrap().read_at(0, &mut buffer).unwrap();
    fs.list(&RelPath::root()).unwrap();
    let staged = fs.stage(&name("s")).unwrap();
    staged.write_at(0, b"new").unwrap();
    staged.sync().unwrap();
    fs.sync(&[path("file")]).unwrap();
    fs.rename_noreplace(staged.path(), &path("moved in")).unwrap();
    // Events come in order, so nothing for "file" is still to come after this one.
    assert_eq!(expect(&watch, &[at("moved in")]), BTreeSet::from([at("moved in")]));
}

#[test]
fn a_link_to_a_directory_is_not_watched() {
    let outside = tempfile::tempdir().unwrap();
    let scene = Scene::new(|root| {
        std::os::unix::fs::symlink(outside.path(), root.join("link")).unwrap();
    });
    assert_eq!(scene.watch.state(), WatchState::Complete { directories: 1 });
    std::os::unix::fs::symlink(outside.path(), scene.at("later")).unwrap();
    scene.expect(&[at("later")]);
    std::fs::write(outside.path().join("file"), b"1").unwrap();
    std::fs::write(scene.at("last"), b"1").unwrap();
    let came = scene.expect(&[at("last")]);
    assert_eq!(came, BTreeSet::from([at("last")]));
}

#[test]
fn a_root_that_goes_makes_everything_doubtful() {
    let scene = Scene::new(|root| std::fs::create_dir(root.join("d")).unwrap());
    std::fs::remove_dir_all(scene.directory.path()).unwrap();
    scene.expect(&[Hint::Everything]);
    let until = Instant::now() + PATIENCE;
    while scene.watch.state() != WatchState::NoRoot {
        assert!(Instant::now() < until);
        let _more = scene.watch.hints().wait(Duration::from_millis(10));
    }
}

/// Gives so many watches and no more.
struct Limited {
    left: Arc<AtomicUsize>,
    watched: Arc<Mutex<Vec<PathBuf>>>,
}

impl Registrar for Limited {
    fn watch(&mut self, directory: &Path) -> notify::Result<()> {
        let taken =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if taken.is_err() {
            return Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch));
        }
        self.watched.lock().unwrap().push(directory.to_path_buf());
        Ok(())
    }
}

#[test]
fn at_the_limit_everything_is_rescanned_until_there_is_room_again() {
    let directory = tempfile::tempdir().unwrap();
    for text in ["a", "b", "c", ".driftless"] {
        std::fs::create_dir(directory.path().join(text)).unwrap();
    }
    let (left, watched) = (Arc::new(AtomicUsize::new(2)), Arc::new(Mutex::new(Vec::new())));
    let options =
        WatchOptions { rescan_every: Duration::from_millis(5), ..WatchOptions::default() };
    let limited = (Arc::clone(&left), Arc::clone(&watched));
    let watch = Watch::start_with(directory.path(), options, move |_, _, _, _| {
        let (left, watched) = (Arc::clone(&limited.0), Arc::clone(&limited.1));
        Ok(Box::new(Limited { left, watched }))
    })
    .unwrap();
    expect(&watch, &[Hint::Everything]);
    assert!(matches!(watch.state(), WatchState::LimitReached { directories: 0..=2 }));
    expect(&watch, &[Hint::Everything]);
    left.store(1000, Ordering::SeqCst);
    let until = Instant::now() + PATIENCE;
    while watch.state() != (WatchState::Complete { directories: 4 }) {
        assert!(Instant::now() < until);
        let _more = watch.hints().wait(Duration::from_millis(10));
    }
    let watched = watched.lock().unwrap();
    assert!(watched.iter().all(|path| !path.ends_with(".driftless")));
}

#[test]
fn without_a_watcher_there_is_the_rescan() {
    let directory = tempfile::tempdir().unwrap();
    let options =
        WatchOptions { rescan_every: Duration::from_millis(5), ..WatchOptions::default() };
    let watch = Watch::start_with(directory.path(), options, |_, _, _, _| {
        Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch))
    })
    .unwrap();
    for _ in 0..3 {
        expect(&watch, &[Hint::Everything]);
    }
    assert_eq!(watch.state(), WatchState::Unavailable);
}
