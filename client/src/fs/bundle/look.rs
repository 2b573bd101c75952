//! One look at a whole bundle.
//!
//! Owns what a bundle shows of itself as a file: its length is that of its archive, its mtime the
//! newest in it, and its inode number a digest of everything that a look can see of what is in it, so
//! that whatever is done inside shows as another inode, and a rename of the whole does not. It reads no
//! contents.

use super::git_index;
use crate::fs::error::FsError;
use crate::fs::path::RelPath;
use crate::fs::stat::{Kind, Listed, Stat};
use crate::fs::traits::Fs;
use common::archive::{ArchiveError, Index, Item, ItemKind, MODE_BUNDLE};
use common::limits::BUNDLE_ITEMS_MAX;
use common::name::Name;

/// Locks of git: a program is at work, or was and died. They are no content.
const LOCK: &str = ".lock";
/// What `git gc` leaves for as long as it runs.
const COLLECTING: &str = "gc.pid";
/// What a look saw.
pub(super) struct Seen {
    /// The bundle as a file.
    pub(super) stat: Stat,
    /// What is in it, if an archive can hold it.
    pub(super) index: Result<Index, ArchiveError>,
    /// Whether everything stood still meanwhile.
    pub(super) is_steady: bool,
    /// Whether it is a git repository.
    pub(super) is_git: bool,
    /// Locks that lie in it, by their paths in it.
    pub(super) locks: Vec<Item>,
}

/// Looks at a directory and at everything in it.
///
/// # Errors
/// Those of looking: of the directory itself, or of one below that cannot be looked into.
pub(super) fn look(fs: &dyn Fs, root: &RelPath) -> Result<Seen, FsError> {
    let directory = fs.stat(root)?;
    let mut walk = Walk {
        fs,
        items: Vec::new(),
        trouble: None,
        locks: Vec::new(),
        is_steady: true,
        newest_ns: directory.ctime_ns,
        digest: blake3::Hasher::new(),
        device: directory.device,
        is_git: false,
    };
    walk.digest.update(&directory.inode.to_le_bytes());
    walk.directory(root, "")?;
    let mtime_ns = walk.items.iter().filter(|item| item.kind != ItemKind::Directory);
    let mtime_ns = mtime_ns.map(|item| item.mtime_ns).max().unwrap_or(0);
    let index = match walk.trouble {
        None => Index::new(walk.items),
        Some(trouble) => Err(trouble),
    };
    let size =
        index.as_ref().map_or(0, |index| index.content_bytes().saturating_add(index.encoded_len()));
    let digest = walk.digest.finalize();
    let number = digest.as_bytes().first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
    let stat = Stat {
        kind: Kind::File,
        size,
        mtime_ns,
        ctime_ns: walk.newest_ns,
        inode: number,
        device: directory.device,
        mode: directory.mode | MODE_BUNDLE,
        nlink: 1,
        birth_ns: directory.birth_ns,
    };
    Ok(Seen { stat, index, is_steady: walk.is_steady, is_git: walk.is_git, locks: walk.locks })
}

struct Walk<'a> {
    fs: &'a dyn Fs,
    items: Vec<Item>,
    /// Why no archive can hold what is here.
    trouble: Option<ArchiveError>,
    locks: Vec<Item>,
    is_steady: bool,
    /// The newest time at which anything happened.
    newest_ns: i64,
    digest: blake3::Hasher,
    device: u64,
    is_git: bool,
}

impl Walk<'_> {
    fn directory(&mut self, path: &RelPath, inside: &str) -> Result<(), FsError> {
        let listing = match self.fs.list(path) {
            Ok(listing) => listing,
            // It went while the one above was listed.
            Err(error) if error.is_stale_view() && !inside.is_empty() => {
                self.is_steady = false;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.is_steady &= listing.steady;
        let times = [listing.directory.mtime_ns, listing.directory.ctime_ns];
        self.newest_ns = times.into_iter().fold(self.newest_ns, i64::max);
        if inside.is_empty() {
            let has = |name: &[u8]| listing.entries.iter().any(|listed| listed.name == name);
            self.is_git = has(b"HEAD") && has(b"objects") && has(b"refs");
        }
        for listed in &listing.entries {
            self.one(path, inside, listed)?;
        }
        Ok(())
    }

    fn one(&mut self, above: &RelPath, inside: &str, listed: &Listed) -> Result<(), FsError> {
        let stat = &listed.stat;
        self.digest(inside, listed);
        let text = String::from_utf8_lossy(&listed.name);
        let inside = if inside.is_empty() { text.into_owned() } else { format!("{inside}/{text}") };
        if stat.kind != Kind::Directory {
            let times = [stat.mtime_ns, stat.ctime_ns];
            self.newest_ns = times.into_iter().fold(self.newest_ns, i64::max);
        }
        let (Ok(name), true) = (Name::from_bytes(&listed.name), stat.device == self.device) else {
            self.trouble.get_or_insert(ArchiveError::Path(inside));
            return Ok(());
        };
        let Ok(path) = above.join(&name) else {
            self.trouble.get_or_insert(ArchiveError::Path(inside));
            return Ok(());
        };
        let (kind, mode, mtime_ns) = match stat.kind {
            Kind::Directory => (ItemKind::Directory, stat.mode, 0),
            Kind::File if self.is_lock(&inside) => {
                let kind = ItemKind::File(stat.size);
                let (mode, mtime_ns) = (stat.mode, stat.mtime_ns);
                self.locks.push(Item { path: inside, kind, mode, mtime_ns });
                return Ok(());
            }
            // When it was last written says no more than that git has looked at this disk.
            Kind::File if self.is_git && git_index::is_path(&inside) => {
                (ItemKind::File(stat.size), stat.mode, 0)
            }
            Kind::File => (ItemKind::File(stat.size), stat.mode, stat.mtime_ns),
            Kind::Symlink => match self.fs.read_link(&path) {
                Ok(target) => (ItemKind::Symlink(target), 0, stat.mtime_ns),
                Err(error) if error.is_stale_view() => {
                    self.is_steady = false;
                    return Ok(());
                }
                Err(error) => return Err(error),
            },
            // A FIFO, device or socket belongs to a running program, and to this machine.
            Kind::Other => return Ok(()),
        };
        let is_directory = kind == ItemKind::Directory;
        if self.items.len() < BUNDLE_ITEMS_MAX {
            self.items.push(Item { path: inside.clone(), kind, mode, mtime_ns });
        } else {
            self.trouble.get_or_insert(ArchiveError::TooLarge);
        }
        if is_directory { self.directory(&path, &inside) } else { Ok(()) }
    }

    fn is_lock(&self, inside: &str) -> bool {
        self.is_git && (inside.ends_with(LOCK) || inside == COLLECTING)
    }

    /// Adds what a look sees of one thing. Of directories mtime and size are left out, which change
    /// with what is in them.
    fn digest(&mut self, inside: &str, listed: &Listed) {
        let Listed { name, stat } = listed;
        let (kind, size, mtime_ns) = match stat.kind {
            Kind::File => (1_u8, stat.size, stat.mtime_ns),
            Kind::Directory => (2, 0, 0),
            Kind::Symlink => (3, stat.size, stat.mtime_ns),
            Kind::Other => (4, 0, 0),
        };
        for text in [inside.as_bytes(), name] {
            self.digest.update(&(text.len() as u64).to_le_bytes());
            self.digest.update(text);
        }
        self.digest.update(&[kind]);
        self.digest.update(&size.to_le_bytes());
        self.digest.update(&mtime_ns.to_le_bytes());
        self.digest.update(&stat.inode.to_le_bytes());
        self.digest.update(&stat.mode.to_le_bytes());
    }
}
