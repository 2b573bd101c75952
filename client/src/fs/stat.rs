//! What is known about an entry on disk without reading it.
//!
//! Owns plain values; nothing here performs I/O.

/// What kind of thing a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symlink, never followed.
    Symlink,
    /// A FIFO, device or socket: never opened, never synced.
    Other,
}

/// One look at one entry, without following a symlink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Bytes of content; of a symlink, of its target; without meaning for directories.
    pub size: u64,
    /// Time of the last change of content, ns since 1970.
    pub mtime_ns: i64,
    /// Time of the last change of anything, renames and modes included, ns since 1970.
    pub ctime_ns: i64,
    /// Number of the inode; filesystems use a freed one again at once.
    pub inode: u64,
    /// The filesystem (`st_dev`).
    pub device: u64,
    /// The nine permission bits; setuid, setgid and sticky are masked out. A bundle has
    /// [`common::archive::MODE_BUNDLE`] too.
    pub mode: u16,
    /// Number of hard links.
    pub nlink: u64,
    /// Time of birth, ns since 1970, where the filesystem records it.
    pub birth_ns: Option<i64>,
}

impl Stat {
    /// Whether it is a bundle: a directory that is shown as the file that its archive is.
    #[must_use]
    pub fn is_bundle(&self) -> bool {
        self.kind == Kind::File && common::archive::is_bundle(self.mode)
    }

    /// Whether a user sees a directory there.
    #[must_use]
    pub fn shows_directory(&self) -> bool {
        self.kind == Kind::Directory || self.is_bundle()
    }

    /// Whether both looks saw the same inode of the same kind with the same content, as far as a
    /// look can tell: device, inode, kind, size, mtime and, where known, birth time. Mode, links
    /// and ctime may differ, since a rename or chmod of our own changes those.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        self.same_inode(other) && self.size == other.size && self.mtime_ns == other.mtime_ns
    }

    /// Whether both looks saw the same inode of the same kind; birth times tell a reused number
    /// from the old one where they are known.
    #[must_use]
    pub fn same_inode(&self, other: &Self) -> bool {
        let births = self.birth_ns.zip(other.birth_ns);
        self.device == other.device
            && self.inode == other.inode
            && self.kind == other.kind
            && births.is_none_or(|(one, two)| one == two)
    }

    /// Whether nothing at all happened to the inode between both looks: content, mode and
    /// ctime agree.
    #[must_use]
    pub fn untouched(&self, other: &Self) -> bool {
        let same = self.mode == other.mode && self.ctime_ns == other.ctime_ns;
        match self.kind {
            Kind::Directory => self.same_inode(other) && same,
            _ => self.same_content(other) && same,
        }
    }
}

/// One entry of a listed directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name as the disk holds it; any bytes but `/` and NUL.
    pub name: Vec<u8>,
    /// The entry, looked at through the handle of the listed directory.
    pub stat: Stat,
}

/// A directory as it was listed without any error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The directory itself, looked at through the handle that was listed.
    pub directory: Stat,
    /// All entries but `.`, `..` and, in the root, `.driftless`; sorted by name.
    pub entries: Vec<Listed>,
    /// Whether the directory stood still meanwhile. If not, what is listed was there, but what
    /// is missing may have been there too: absence must not be concluded from it.
    pub steady: bool,
}

/// Room on the filesystem of the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeSpace {
    /// Bytes that this user may still write.
    pub free_bytes: u64,
    /// Size of the filesystem in bytes.
    pub total_bytes: u64,
    /// Inodes that may still be made; `None` where they are not limited.
    pub free_inodes: Option<u64>,
}

/// Which directory a root is, for as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RootIdentity {
    /// The filesystem (`st_dev`); may change when it is mounted again.
    pub device: u64,
    /// Number of the root's inode.
    pub inode: u64,
}
