//! What only a real disk can show: links out of the root, directories swapped in mid-operation,
//! other filesystems, permissions.

use super::Resolution;
use crate::fs::contract::{assert_refused, name, path, private};
use crate::fs::{Area, DiskFs, Kind, Look, RelPath, Root, Swap};
use rustix::fs::{CWD, RenameFlags};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// A root beside a directory that must stay untouched.
struct Scene {
    directory: tempfile::TempDir,
    fs: DiskFs,
}

impl Scene {
    fn new(resolution: Resolution) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("root")).unwrap();
        std::fs::create_dir(directory.path().join("outside")).unwrap();
        std::fs::write(directory.path().join("outside/file"), b"precious").unwrap();
        let fs = DiskFs::open_with(&directory.path().join("root"), resolution).unwrap();
        fs.init_root(b"marker").unwrap();
        Self { directory, fs }
    }

    fn root(&self) -> std::path::PathBuf {
        self.directory.path().join("root")
    }

    fn assert_outside_untouched(&self) {
        let outside = self.directory.path().join("outside");
        let names: Vec<_> = std::fs::read_dir(&outside).unwrap().collect();
        assert_eq!(names.len(), 1);
        assert_eq!(std::fs::read(outside.join("file")).unwrap(), b"precious");
    }
}

fn both(check: impl Fn(&Scene)) {
    for resolution in [Resolution::Kernel, Resolution::Walk] {
        check(&Scene::new(resolution));
    }
}

#[test]
fn a_link_out_of_the_root_leads_nowhere() {
    both(|scene| {
        let outside = scene.directory.path().join("outside");
        symlink(&outside, scene.root().join("absolute")).unwrap();
        symlink("../outside", scene.root().join("relative")).unwrap();
        std::fs::write(scene.root().join("mine"), b"mine").unwrap();
        for link in ["absolute", "relative"] {
            let file = path(&format!("{link}/file"));
            assert_refused!(scene.fs.open(&file), Escapes, file);
            assert_refused!(scene.fs.list(&path(link)), Escapes, path(link));
            let away = private(Area::Displaced, "x");
            assert_refused!(scene.fs.rename_noreplace(&file, &away), Escapes, file);
            assert_refused!(scene.fs.exchange(&path("mine"), &file), Escapes, file);
            let new = path(&format!("{link}/new"));
            assert_refused!(scene.fs.rename_noreplace(&path("mine"), &new), Escapes, new);
            assert_refused!(scene.fs.make_directory(&new, 0o755), Escapes, new);
            assert_refused!(scene.fs.remove_directory(&file), Escapes, file);
        }
        scene.assert_outside_untouched();
    });
}

/// `.driftless` itself may have been replaced.
#[test]
fn a_private_directory_that_is_a_link_is_refused() {
    both(|scene| {
        let staging = scene.root().join(".driftless/staging");
        std::fs::remove_dir(&staging).unwrap();
        symlink(scene.directory.path().join("outside"), &staging).unwrap();
        let staged = private(Area::Staging, "new");
        assert_refused!(scene.fs.stage(&name("new")), Escapes, staged);
        let file = private(Area::Staging, "file");
        assert_refused!(scene.fs.reopen(&name("file")), Escapes, file);
        assert_refused!(scene.fs.remove(&file), Escapes, file);
        assert!(scene.fs.init_root(b"marker").is_err());
        scene.assert_outside_untouched();
    });
}

#[test]
fn a_directory_swapped_for_a_link_between_operations_leads_nowhere() {
    both(|scene| {
        let directory = scene.root().join("d");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("file"), b"seen").unwrap();
        let staged = scene.fs.stage(&name("s")).unwrap();
        assert_eq!(scene.fs.stat(&path("d/file")).unwrap().size, 4);
        std::fs::rename(&directory, scene.root().join("moved")).unwrap();
        symlink(scene.directory.path().join("outside"), &directory).unwrap();
        let target = path("d/file");
        assert_refused!(scene.fs.exchange(staged.path(), &target), Escapes, target);
        let new = path("d/new");
        assert_refused!(scene.fs.rename_noreplace(staged.path(), &new), Escapes, new);
        scene.assert_outside_untouched();
    });
}

/// A thread exchanges a directory with a link out of the root as fast as it can, while files are
/// created, replaced and removed beneath: no operation may land outside.
#[test]
fn a_directory_swapped_during_operations_leads_nowhere() {
    both(|scene| {
        std::fs::create_dir(scene.root().join("d")).unwrap();
        symlink(scene.directory.path().join("outside"), scene.root().join("link")).unwrap();
        let stop = AtomicBool::new(false);
        let (one, two) = (scene.root().join("d"), scene.root().join("link"));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    rustix::fs::renameat_with(CWD, &one, CWD, &two, RenameFlags::EXCHANGE).unwrap();
                }
            });
            for round in 0..2000 {
                let staged = scene.fs.stage(&name(&format!("s{round}"))).unwrap();
                staged.write_at(0, b"ours").unwrap();
                let target = path("d/file");
                // Each may fail, as the directory is a link half of the time.
                let _created = scene.fs.rename_noreplace(staged.path(), &target);
                let _replaced = scene.fs.exchange(staged.path(), &target);
                let _made = scene.fs.make_directory(&path("d/sub"), 0o755);
                let _removed = scene.fs.remove_directory(&path("d/sub"));
                let away = private(Area::Displaced, &format!("x{round}"));
                let _deleted = scene.fs.rename_noreplace(&target, &away);
                if let Ok(file) = scene.fs.open(&target) {
                    let mut buffer = [0; 16];
                    let count = file.read_at(0, &mut buffer).unwrap();
                    assert_ne!(&buffer[..count], b"precious");
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        scene.assert_outside_untouched();
    });
}

/// Rule 8: another `st_dev` below the root is reported, not entered.
#[test]
fn another_filesystem_is_reported_and_not_entered() {
    for resolution in [Resolution::Kernel, Resolution::Walk] {
        let fs = DiskFs::open_with(Path::new("/"), resolution).unwrap();
        let mounted = fs.stat(&path("proc")).unwrap();
        assert_eq!(mounted.kind, Kind::Directory);
        assert_ne!(mounted.device, fs.identity().device);
        assert_refused!(fs.list(&path("proc")), CrossDevice, path("proc"));
        assert_refused!(fs.stat(&path("proc/self")), CrossDevice, path("proc/self"));
        assert_refused!(fs.open(&path("proc/version")), CrossDevice, path("proc/version"));
    }
}

/// S7: an unreadable directory is unknown. The superuser reads it all the same.
#[test]
fn an_unreadable_directory_is_an_error() {
    both(|scene| {
        let directory = scene.root().join("d");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("file"), b"1").unwrap();
        std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o000)).unwrap();
        let listed = scene.fs.list(&path("d"));
        if rustix::process::geteuid().is_root() {
            assert_eq!(listed.unwrap().entries.len(), 1);
        } else {
            assert_refused!(listed, Denied, path("d"));
            assert_refused!(scene.fs.stat(&path("d/file")), Denied, path("d/file"));
        }
        let seen = scene.fs.stat(&path("d")).unwrap();
        scene.fs.set_attributes(&path("d"), &seen, Some(0o755), None).unwrap();
        assert_eq!(scene.fs.list(&path("d")).unwrap().entries.len(), 1);
    });
}

/// Runs as somebody whom permissions bind, also when the tests run as the superuser.
fn as_plain_user(act: impl FnOnce() + Send) {
    use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
    std::thread::scope(|scope| {
        let plain = scope.spawn(|| {
            // Capabilities belong to a thread: this one gives up those that overrule permissions.
            let overruling = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
            let now = capabilities(None).unwrap();
            let sets = CapabilitySets { effective: now.effective - overruling, ..now };
            set_capabilities(None, sets).unwrap();
            act();
        });
        plain.join().unwrap();
    });
}

/// What others keep in a read-only directory can be made, moved and removed here by a plain user,
/// and the directory is as read-only as before.
#[test]
fn a_read_only_directory_is_filled_and_emptied_by_its_owner() {
    both(|scene| {
        as_plain_user(|| {
            let fs = &scene.fs;
            let mode = |text: &str| fs.stat(&path(text)).unwrap().mode;
            fs.make_directory(&path("d"), 0o555).unwrap();
            assert!(
                std::fs::write(scene.root().join("d/denied"), b"1").is_err(),
                "it is read-only"
            );
            fs.make_directory(&path("d/inner"), 0o555).unwrap();
            drop(fs.stage(&name("staged")).unwrap());
            let staged = private(Area::Staging, "staged");
            fs.rename_noreplace(&staged, &path("d/inner/file")).unwrap();
            assert_eq!((mode("d"), mode("d/inner")), (0o555, 0o555));
            fs.rename_noreplace(&path("d/inner"), &path("moved")).unwrap();
            assert_eq!((mode("d"), mode("moved")), (0o555, 0o555));
            fs.rename_noreplace(&path("moved/file"), &staged).unwrap();
            fs.remove_directory(&path("moved")).unwrap();
            fs.remove_directory(&path("d")).unwrap();
        });
    });
}

/// A file that we may not read can still be given its mode and be synced.
#[test]
fn an_unreadable_file_can_be_given_attributes_and_synced() {
    both(|scene| {
        std::fs::write(scene.root().join("file"), b"1").unwrap();
        std::fs::set_permissions(scene.root().join("file"), PermissionsExt::from_mode(0o200))
            .unwrap();
        let seen = scene.fs.stat(&path("file")).unwrap();
        scene.fs.sync(&[path("file")]).unwrap();
        let set = scene.fs.set_attributes(&path("file"), &seen, Some(0o000), Some(5)).unwrap();
        assert_eq!((set.mode, set.mtime_ns), (0, 5));
    });
}

#[test]
fn setuid_is_neither_seen_nor_kept_and_a_directory_keeps_setgid() {
    both(|scene| {
        let mode_of = |text: &str| {
            scene.root().join(text).symlink_metadata().unwrap().permissions().mode() & 0o7777
        };
        std::fs::write(scene.root().join("file"), b"1").unwrap();
        std::fs::create_dir(scene.root().join("d")).unwrap();
        for (text, mode) in [("file", 0o4755), ("d", 0o2755)] {
            let permissions = PermissionsExt::from_mode(mode);
            std::fs::set_permissions(scene.root().join(text), permissions).unwrap();
            let seen = scene.fs.stat(&path(text)).unwrap();
            assert_eq!(seen.mode, 0o755);
            scene.fs.set_attributes(&path(text), &seen, Some(0o700), None).unwrap();
        }
        assert_eq!((mode_of("file"), mode_of("d")), (0o700, 0o2700));
    });
}

#[test]
fn a_root_that_was_removed_or_replaced_is_gone() {
    both(|scene| {
        std::fs::rename(scene.root(), scene.directory.path().join("away")).unwrap();
        let gone = scene.fs.read_marker().unwrap_err();
        assert!(matches!(gone, crate::fs::FsError::RootGone { source: Some(_) }), "{gone}");
        std::fs::create_dir(scene.root()).unwrap();
        let replaced = scene.fs.read_marker().unwrap_err();
        assert!(matches!(replaced, crate::fs::FsError::RootGone { source: None }), "{replaced}");
        std::fs::remove_dir(scene.root()).unwrap();
        std::fs::rename(scene.directory.path().join("away"), scene.root()).unwrap();
        assert!(scene.fs.read_marker().unwrap().is_some());
    });
}

#[test]
fn a_root_that_is_missing_or_a_file_is_not_opened() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), b"").unwrap();
    let open = |text| DiskFs::open(&directory.path().join(text));
    assert_refused!(open("missing"), NotFound, RelPath::root());
    assert_refused!(open("file"), NotADirectory, RelPath::root());
}

/// What stays is listed at any time, and a root at rest is steady.
#[test]
fn what_stays_is_listed_while_others_come_and_go() {
    both(|scene| {
        for number in 0..200 {
            std::fs::write(scene.root().join(format!("stays{number}")), b"").unwrap();
        }
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::fs::write(scene.root().join("comes"), b"").unwrap();
                    std::fs::remove_file(scene.root().join("comes")).unwrap();
                }
            });
            for _ in 0..50 {
                let listing = scene.fs.list(&RelPath::root()).unwrap();
                let stays = listing.entries.iter().filter(|entry| entry.name.starts_with(b"stays"));
                assert_eq!(stays.count(), 200);
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(scene.fs.list(&RelPath::root()).unwrap().steady);
    });
}
