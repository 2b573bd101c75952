//! What only a real disk can show, with a real engine on it and a rogue device that writes what it
//! likes: links out of the root, directories that become links at the worst moment, and things that
//! are no files. Beside the root lies a directory that must stay as it is.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use bytes::Bytes;
use client::watch::Hint;
use common::ids::{ChunkId, EntryId};
use common::record::{Change, Kind};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;
use tests::sim::network::Hostile;
use tests::sim::scene::{BEFORE, Scene, play_with};

const ROOT: EntryId = EntryId::ROOT;

/// A root, and beside it what must not be touched.
struct Disk {
    directory: TempDir,
}

impl Disk {
    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    fn outside(&self) -> PathBuf {
        self.directory.path().join("outside")
    }

    /// The user writes a file.
    fn write(&self, scene: &Scene, path: &str, bytes: &[u8]) {
        scene.world.ledger.written(bytes, path);
        fs::write(self.at(path), bytes).unwrap();
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.at(path)).ok()
    }

    /// Only what was there is beside the root, and as it was.
    fn assert_outside_untouched(&self) {
        assert_eq!(names(self.directory.path()), ["outside", "root"]);
        assert_eq!(names(&self.outside()), ["file"]);
        assert_eq!(fs::read(self.outside().join("file")).unwrap(), b"precious");
        let mode = fs::metadata(self.outside().join("file")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

/// Plays with the attacked device on a real disk; whatever happens, nothing outside is touched and
/// the folder goes on.
fn on_disk(act: impl AsyncFnOnce(&Scene, &Arc<Disk>)) {
    let disk = Arc::new(Disk { directory: tempfile::tempdir().unwrap() });
    fs::create_dir(disk.root()).unwrap();
    fs::create_dir(disk.outside()).unwrap();
    fs::write(disk.outside().join("file"), b"precious").unwrap();
    let private = PermissionsExt::from_mode(0o600);
    fs::set_permissions(disk.outside().join("file"), private).unwrap();
    play_with(
        |victim| victim.put_on_disk(&disk.root()),
        async |scene: &Scene| {
            assert_eq!(disk.read(BEFORE).unwrap(), b"written before");
            act(scene, &disk).await;
            scene.victim.link.set_hostile(None);
            disk.assert_outside_untouched();
            goes_on(scene, &disk).await;
            disk.assert_outside_untouched();
        },
    );
}

async fn goes_on(scene: &Scene, disk: &Disk) {
    let summary = scene.summary();
    assert!(summary.halt.is_none() && summary.trouble.is_none(), "{summary:?}");
    scene.honest.writer.write("zz down", b"written after, there");
    disk.write(scene, "zz up", b"written after, here");
    scene.victim.hint(Hint::Everything);
    scene.wait().await;
    assert_eq!(disk.read("zz down").unwrap(), b"written after, there", "{:?}", scene.summary());
    assert_eq!(scene.honest.fs.user().read("zz up").unwrap(), b"written after, here");
    scene.rests().await;
}

/// A directory of the rogue's with one file, which arrives.
async fn directory_and_file(scene: &Scene, disk: &Disk) -> [(EntryId, u64); 2] {
    let directory = scene.rogue.fresh();
    let mut changes = vec![scene.rogue.mkdir(directory, ROOT, b"d")];
    changes.push(scene.rogue.touch(directory, b"file", b"a file in a directory").await);
    let Change::Create { entry: file, .. } = changes[1] else { unreachable!("it is a creation") };
    let base = scene.rogue.commit(changes).await.unwrap();
    scene.wait().await;
    assert_eq!(disk.read("d/file").unwrap(), b"a file in a directory");
    [(directory, base), (file, base)]
}

/// What stood at a path goes out of the way, and a link out of the root takes its place.
fn become_a_link(disk: &Disk, path: &str, away: &str) {
    fs::rename(disk.at(path), disk.at(away)).unwrap();
    symlink(disk.outside(), disk.at(path)).unwrap();
}

#[test]
fn names_that_lead_out_write_nothing_outside() {
    on_disk(async |scene: &Scene, disk| {
        let outside = disk.outside().join("planted");
        let names: [&[u8]; 7] = [
            b"..",
            b"../outside/planted",
            b"../../outside",
            outside.as_os_str().as_encoded_bytes(),
            b".driftless",
            b"a\0b",
            b"",
        ];
        let mut changes = Vec::new();
        for name in names {
            let directory = scene.rogue.fresh();
            changes.push(scene.rogue.mkdir(directory, ROOT, name));
            changes.push(scene.rogue.touch(directory, b"outside", b"below what cannot be").await);
            changes.push(scene.rogue.touch(directory, b"file", b"instead of what is dear").await);
        }
        assert!(scene.rogue.commit(changes).await.is_ok());
        scene.wait().await;
        assert_eq!(scene.summary().issues.len(), names.len());
        assert_eq!(self::names(&disk.root()), [".driftless", BEFORE]);
    });
}

/// A link out is made as a link; then a directory with a file takes its name.
#[test]
fn a_link_out_with_a_file_beneath_it_writes_nothing_outside() {
    on_disk(async |scene: &Scene, disk| {
        let link = scene.rogue.fresh();
        let content = scene.rogue.symlink(&link, disk.outside().as_os_str().as_encoded_bytes());
        let place = scene.rogue.place(&link, ROOT, b"x");
        let base = scene
            .rogue
            .commit(vec![scene.rogue.create(link, Kind::Symlink, place, content)])
            .await
            .unwrap();
        scene.wait().await;
        assert_eq!(fs::read_link(disk.at("x")).unwrap(), disk.outside());
        let directory = scene.rogue.fresh();
        let changes = vec![
            Change::Delete { entry: link, place_base: base, content_base: base },
            scene.rogue.mkdir(directory, ROOT, b"x"),
            scene.rogue.touch(directory, b"file", b"instead of what is dear").await,
        ];
        assert!(scene.rogue.commit(changes).await.is_ok());
        scene.wait().await;
        assert!(fs::symlink_metadata(disk.at("x")).unwrap().is_dir());
        assert_eq!(disk.read("x/file").unwrap(), b"instead of what is dear");
    });
}

/// Makes a directory a link once the first chunk arrives: in the middle of a download.
struct Swaps {
    disk: Arc<Disk>,
    done: AtomicBool,
}

impl Hostile for Swaps {
    fn chunk(&self, _: &ChunkId, bytes: Bytes) -> Bytes {
        if !self.done.swap(true, Ordering::Relaxed) {
            become_a_link(&self.disk, "d", "moved");
        }
        bytes
    }
}

#[test]
fn a_directory_swapped_for_a_link_in_mid_download_writes_nothing_outside() {
    on_disk(async |scene: &Scene, disk| {
        let [(directory, _), (file, base)] = directory_and_file(scene, disk).await;
        let swaps = Swaps { disk: Arc::clone(disk), done: AtomicBool::new(false) };
        scene.victim.link.set_hostile(Some(Arc::new(swaps)));
        let content = scene.rogue.file(&file, b"another version").await;
        let changes = vec![
            Change::Edit { entry: file, base, content },
            scene.rogue.touch(directory, b"new", b"a new file").await,
        ];
        assert!(scene.rogue.commit(changes).await.is_ok());
        scene.wait().await;
        // What others have at that name is an entry of its own: the link makes room for it.
        let names = fs::read_dir(disk.at("")).unwrap().map(|entry| entry.unwrap());
        let links = names.filter(|entry| entry.file_type().unwrap().is_symlink());
        let kept: Vec<_> = links.map(|entry| entry.file_name()).collect();
        assert_eq!(kept.len(), 1, "what the user made: {kept:?}");
        disk.assert_outside_untouched();
    });
}

#[test]
fn a_delete_through_a_linked_parent_removes_nothing_outside() {
    on_disk(async |scene: &Scene, disk| {
        let [(directory, base), (file, _)] = directory_and_file(scene, disk).await;
        // Nobody tells the engine: it deletes what it believes to be there.
        become_a_link(disk, "d", "moved");
        let delete = |entry| Change::Delete { entry, place_base: base, content_base: base };
        assert!(scene.rogue.commit(vec![delete(file), delete(directory)]).await.is_ok());
        scene.wait().await;
        disk.assert_outside_untouched();
        assert_eq!(disk.read("moved/file").unwrap(), b"a file in a directory");
    });
}

/// An edit, a mode and a move go through a directory that has become a link.
#[test]
fn a_change_through_a_linked_parent_changes_nothing_outside() {
    on_disk(async |scene: &Scene, disk| {
        let [(directory, _), (file, base)] = directory_and_file(scene, disk).await;
        become_a_link(disk, "d", "moved");
        let content = scene.rogue.file(&file, b"another version").await;
        let place = scene.rogue.place(&file, directory, b"file renamed");
        let changes = vec![
            Change::Edit { entry: file, base, content },
            Change::Move { entry: file, base, place },
        ];
        assert!(scene.rogue.commit(changes).await.is_ok());
        scene.wait().await;
        disk.assert_outside_untouched();
    });
}

#[test]
fn a_fifo_a_socket_and_a_device_are_issues_and_nothing_else_stops() {
    on_disk(async |scene: &Scene, disk| {
        let mode = Mode::from_raw_mode(0o600);
        mknodat(CWD, disk.at("fifo"), FileType::Fifo, mode, 0).unwrap();
        mknodat(CWD, disk.at("socket"), FileType::Socket, mode, 0).unwrap();
        let mut special = vec!["fifo", "socket"];
        // Only the superuser makes one: 1, 3 is /dev/null.
        let null = rustix::fs::makedev(1, 3);
        if mknodat(CWD, disk.at("device"), FileType::CharacterDevice, mode, null).is_ok() {
            special.push("device");
        } else {
            println!("left out: a device among special files, because only root can make one");
        }
        scene.victim.hint(Hint::Everything);
        scene.wait().await;
        let summary = scene.summary();
        for path in &special {
            assert!(summary.issues.iter().any(|issue| issue.path == *path), "{path}: {summary:?}");
        }
        // Bytes for a name at which one stands are not written into it.
        let mut changes = Vec::new();
        for path in &special {
            changes.push(scene.rogue.touch(ROOT, path.as_bytes(), path.as_bytes()).await);
        }
        assert!(scene.rogue.commit(changes).await.is_ok());
        scene.wait().await;
        assert!(fs::symlink_metadata(disk.at("fifo")).unwrap().file_type().is_fifo());
        assert!(fs::symlink_metadata(disk.at("socket")).unwrap().file_type().is_socket());
        assert!(!fs::symlink_metadata(disk.at(special[special.len() - 1])).unwrap().is_file());
        scene.lists("stands in its place");
        // Once it is out of the way the file comes.
        fs::remove_file(disk.at("fifo")).unwrap();
        scene.victim.hint(Hint::Everything);
        scene.wait().await;
        assert_eq!(disk.read("fifo").unwrap(), b"fifo");
    });
}

#[test]
fn setuid_is_neither_sent_nor_kept_by_an_edit() {
    on_disk(async |scene: &Scene, disk| {
        disk.write(scene, "tool", b"#!/bin/sh");
        fs::set_permissions(disk.at("tool"), PermissionsExt::from_mode(0o6755)).unwrap();
        scene.victim.hint(Hint::Everything);
        scene.wait().await;
        assert_eq!(scene.honest.fs.user().stat("tool").unwrap().mode, 0o755);
        scene.honest.writer.write("tool", b"#!/bin/sh -e");
        scene.wait().await;
        assert_eq!(disk.read("tool").unwrap(), b"#!/bin/sh -e");
        let mode = fs::metadata(disk.at("tool")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7000, 0, "nobody's new bytes run as the owner");
    });
}
