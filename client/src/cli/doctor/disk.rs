//! Looks at disks: roots and markers, what the filesystem can do, room, and limits of watches.

use super::super::table::size;
use super::Check;
use crate::daemon::roots;
use crate::fs::{Area, DiskFs, FsError, RelPath, Root, Swap};
use crate::home::FolderConfig;
use common::ids::DeviceId;
use common::name::Name;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::path::Path;

/// Room below which a disk is worth a word, and below which it is a problem, in bytes.
const FREE_BYTES: (u64, u64) = (1 << 30, 64 << 20);
/// Watches of directories below which larger folders are not watched whole.
const WATCHES_MIN: u64 = 65_536;
/// Watchers that a user should be allowed.
const INSTANCES_MIN: u64 = 64;

/// Looks at one folder.
pub(super) fn folder(folder: &FolderConfig, device: &DeviceId) -> Vec<Check> {
    let name = format!("folder {}", folder.name);
    let fs = match DiskFs::open(&folder.path) {
        Ok(fs) => fs,
        Err(error) => {
            let message = format!("{}: {error}", folder.path.display());
            return vec![Check::problem(name, message).hint("mount or restore the directory")];
        }
    };
    let mut checks = vec![marker(&name, &fs, folder, device)];
    checks.push(abilities(&name, &fs, &folder.path));
    checks.push(space(&name, &folder.path));
    checks
}

fn marker(name: &str, fs: &DiskFs, folder: &FolderConfig, device: &DeviceId) -> Check {
    match fs.read_marker() {
        Ok(Some(found)) if found == roots::marker(&folder.id, device) => {
            Check::ok(name, folder.path.display().to_string())
        }
        Ok(Some(_)) => Check::problem(name, "the root has the marker of another folder")
            .hint("put the right directory there"),
        Ok(None) => Check::problem(name, "the root has no marker: it is not what it was")
            .hint("mount or restore the directory that was there"),
        Err(error) => Check::problem(name, error.to_string()),
    }
}

/// What the filesystem can do that makes syncing safer or faster.
fn abilities(name: &str, fs: &DiskFs, root: &Path) -> Check {
    let mut lacks = Vec::new();
    match exchange_and_lease(fs) {
        Ok(found) => lacks.extend(found),
        Err(error) => return Check::problem(name, format!("its staging area: {error}")),
    }
    if !has_openat2(root) {
        lacks.push("openat2 (paths are walked name by name)");
    }
    if lacks.is_empty() {
        Check::ok(name, "the filesystem has exchange, leases and openat2")
    } else {
        Check::warning(name, format!("the filesystem or kernel lacks {}", lacks.join(", ")))
            .hint("syncing works, with other means; a local ext4, xfs or btrfs has all of them")
    }
}

fn exchange_and_lease(fs: &DiskFs) -> Result<Vec<&'static str>, FsError> {
    let mut lacks = Vec::new();
    let name = |which: &str| {
        Name::new(format!("doctor-{}-{which}", std::process::id()))
            .unwrap_or_else(|error| unreachable!("letters and digits are a name: {error}"))
    };
    let paths = ["a", "b"].map(|which| RelPath::inside(Area::Staging, name(which)));
    for which in ["a", "b"] {
        match fs.stage(&name(which)) {
            Ok(_) | Err(FsError::Exists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let [one, two] = &paths;
    let exchanged = fs.exchange(one, two);
    let absent = fs.writer_absent(one);
    for path in &paths {
        match fs.remove(path) {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    match exchanged {
        Err(error) if error.is_unsupported() => lacks.push("exchange (RENAME_EXCHANGE)"),
        outcome => outcome?,
    }
    match absent {
        Err(error) if error.is_unsupported() => lacks.push("leases (F_SETLEASE)"),
        outcome => {
            outcome?;
        }
    }
    Ok(lacks)
}

fn has_openat2(root: &Path) -> bool {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let Ok(handle) = rustix::fs::open(root, flags | OFlags::DIRECTORY, Mode::empty()) else {
        return false;
    };
    rustix::fs::openat2(&handle, ".", flags, Mode::empty(), ResolveFlags::BENEATH).is_ok()
}

/// Room on the disk under a path.
pub(super) fn space(name: &str, path: &Path) -> Check {
    let found = match rustix::fs::statvfs(path) {
        Ok(found) => found,
        Err(error) => return Check::problem(name, format!("{}: {error}", path.display())),
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let message = format!("{} free", size(free));
    if free < FREE_BYTES.1 {
        Check::problem(name, message).hint("make room: nothing can be downloaded")
    } else if free < FREE_BYTES.0 {
        Check::warning(name, message).hint("make room before it is full")
    } else {
        Check::ok(name, message)
    }
}

/// The system's limits of watches.
pub(super) fn limits() -> Vec<Check> {
    let limit = |name: &str, least: u64| {
        let path = format!("/proc/sys/fs/inotify/{name}");
        let text = std::fs::read_to_string(path).ok()?;
        let limit: u64 = text.trim().parse().ok()?;
        let message = format!("fs.inotify.{name} is {limit}");
        Some(if limit >= least {
            Check::ok("watches", message)
        } else {
            Check::warning("watches", message).hint(format!(
                "sysctl fs.inotify.{name}={least}: where watches run out, a rescan every minute \
                 finds changes instead"
            ))
        })
    };
    let limits =
        [limit("max_user_watches", WATCHES_MIN), limit("max_user_instances", INSTANCES_MIN)];
    limits.into_iter().flatten().collect()
}
