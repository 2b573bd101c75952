//! What stands outside a folder: files, links, and directories made of bundles.
//!
//! Owns that nothing that exists is touched there, and that what cannot be finished is taken away
//! again. It must not know where a version comes from.

use super::{AskError, unreadable};
use crate::fs::ReadFile;
use crate::fs::bundle::Archive;
use crate::state::RemoteRow;
use common::archive::{Item, ItemKind};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Mode of a file outside the folder while a version is written into it.
const EXPORT_MODE: u32 = 0o600;
/// Mode of a directory outside the folder while it is filled.
const EXPORT_DIRECTORY_MODE: u32 = 0o700;

/// When what is written outside is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syncing {
    /// Each thing when it is whole.
    Each,
    /// All of them at the end.
    Together,
}

/// What failed at a path outside the folder.
pub(super) fn outside(to: &Path, error: &io::Error) -> AskError {
    match error.kind() {
        ErrorKind::AlreadyExists => AskError::Exists(to.display().to_string()),
        _ => AskError::Disk(format!("{}: {error}", to.display())),
    }
}

/// Makes a directory that is its owner's alone before it is whole.
pub(super) fn make_directory(to: &Path) -> Result<(), AskError> {
    let made = DirBuilder::new().mode(EXPORT_DIRECTORY_MODE).create(to);
    made.map_err(|error| outside(to, &error))
}

/// Gives a directory the mode of a version. A filesystem that knows no modes keeps its own.
pub(super) fn set_mode(path: &Path, mode: u16) -> Result<(), AskError> {
    let mode = Permissions::from_mode(u32::from(mode) & 0o777);
    fs::set_permissions(path, mode)
        .or_else(|error| if is_unknown(&error) { Ok(()) } else { Err(error) })
        .map_err(|error| outside(path, &error))
}

/// Takes away what was made at a path and cannot be finished, also where nobody may write any more.
pub(super) fn take_away(to: &Path) {
    fn remove(at: &Path) -> io::Result<()> {
        if !fs::symlink_metadata(at)?.is_dir() {
            return fs::remove_file(at);
        }
        fs::set_permissions(at, Permissions::from_mode(EXPORT_DIRECTORY_MODE))?;
        fs::read_dir(at)?.try_for_each(|inside| remove(&inside?.path()))?;
        fs::remove_dir(at)
    }
    if let Err(error) = remove(to) {
        tracing::warn!(%error, to = %to.display(), "a part of a version is left");
    }
}

/// Makes a symlink; returns the length of its target.
pub(super) fn link_out(row: &RemoteRow, to: &Path) -> Result<u64, AskError> {
    let target = row.target.as_deref().ok_or_else(|| unreadable("a link has no target"))?;
    make_link(target, row.node.content.mtime_ns, to)?;
    Ok(target.len() as u64)
}

fn make_link(target: &[u8], mtime_ns: i64, to: &Path) -> Result<(), AskError> {
    symlink(OsStr::from_bytes(target), to).map_err(|error| outside(to, &error))?;
    let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let mtime = Timespec {
        tv_sec: mtime_ns.div_euclid(1_000_000_000),
        tv_nsec: mtime_ns.rem_euclid(1_000_000_000),
    };
    let times = Timestamps { last_access: omit, last_modification: mtime };
    match utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from) {
        Err(error) if !is_unknown(&error) => {
            take_away(to);
            Err(outside(to, &error))
        }
        _ => Ok(()),
    }
}

/// Copies a staged version into a new file.
pub(super) fn copy_out(
    from: &dyn ReadFile,
    to: &Path,
    (mode, mtime_ns): (u16, i64),
    syncing: Syncing,
) -> Result<(), AskError> {
    write_out(to, (mode, mtime_ns), syncing, |out| {
        let mut buffer = vec![0; 1024 * 1024];
        let mut offset = 0;
        loop {
            let read = from.read_at(offset, &mut buffer)?;
            let bytes = buffer.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                return Ok(());
            }
            out.write_all(bytes).map_err(|error| outside(to, &error))?;
            offset += read as u64;
        }
    })
}

/// Fills a new file, which is its owner's alone before it is whole. One that cannot be finished is
/// taken away again.
fn write_out(
    to: &Path,
    (mode, mtime_ns): (u16, i64),
    syncing: Syncing,
    fill: impl FnOnce(&mut File) -> Result<(), AskError>,
) -> Result<(), AskError> {
    let disk = |error: io::Error| outside(to, &error);
    let mut out =
        OpenOptions::new().write(true).create_new(true).mode(EXPORT_MODE).open(to).map_err(disk)?;
    let written = fill(&mut out).and_then(|()| {
        dress(&out, mode, mtime_ns).map_err(disk)?;
        if syncing == Syncing::Each { out.sync_all().map_err(disk) } else { Ok(()) }
    });
    if written.is_err() {
        take_away(to);
    }
    written
}

/// Gives a file the mode and mtime of a version. A filesystem that knows no modes keeps its own.
fn dress(out: &File, mode: u16, mtime_ns: i64) -> io::Result<()> {
    let since = Duration::from_nanos(mtime_ns.unsigned_abs());
    let mtime = match mtime_ns < 0 {
        true => UNIX_EPOCH.checked_sub(since),
        false => UNIX_EPOCH.checked_add(since),
    };
    let mode = Permissions::from_mode(u32::from(mode) & 0o777);
    for set in [mtime.map_or(Ok(()), |mtime| out.set_modified(mtime)), out.set_permissions(mode)] {
        set.or_else(|error| if is_unknown(&error) { Ok(()) } else { Err(error) })?;
    }
    Ok(())
}

/// Whether a filesystem does not know what was to be set.
fn is_unknown(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::Unsupported | ErrorKind::InvalidInput
    )
}

/// Makes what an archive is of: with an empty `inside` the bundle's directory, with this mode, else
/// what is listed at that path with all that lies in it. Returns the bytes of its files, or `None`
/// when nothing is listed there.
pub(super) fn unpack(
    archive: &Archive,
    inside: &str,
    mode: u16,
    to: &Path,
    syncing: Syncing,
) -> Result<Option<u64>, AskError> {
    let wanted: Vec<Part<'_>> = archive
        .parts()
        .filter_map(|(item, start)| {
            let rest = rest(inside, &item.path)?;
            let at = if rest.is_empty() { to.to_owned() } else { to.join(rest) };
            Some(Part { item, start, at })
        })
        .collect();
    let is_top = |part: &&Part<'_>| part.item.path == inside;
    let mode = match wanted.iter().find(is_top).map(|part| part.item) {
        None if !inside.is_empty() => return Ok(None),
        None => mode,
        Some(Item { kind: ItemKind::Directory, mode, .. }) => *mode,
        // A file or a link alone is taken away by who cannot finish it.
        Some(_) => {
            wanted.iter().try_for_each(|part| part.make(archive, syncing))?;
            return Ok(Some(bytes(&wanted)));
        }
    };
    make_directory(to)?;
    let filled = fill(archive, &wanted, to, mode, syncing);
    if filled.is_err() {
        take_away(to);
    }
    filled.map(|()| Some(bytes(&wanted)))
}

/// What of an archive is made, and where.
struct Part<'a> {
    item: &'a Item,
    start: u64,
    at: PathBuf,
}

impl Part<'_> {
    fn make(&self, archive: &Archive, syncing: Syncing) -> Result<(), AskError> {
        let Self { item, start, at } = self;
        match &item.kind {
            ItemKind::Directory => make_directory(at),
            ItemKind::Symlink(target) => make_link(target, item.mtime_ns, at),
            ItemKind::File(size) => write_out(at, (item.mode, item.mtime_ns), syncing, |out| {
                archive.copy(*start, *size, |_, piece| {
                    out.write_all(piece).map_err(|error| outside(at, &error))
                })
            }),
        }
    }
}

fn bytes(parts: &[Part<'_>]) -> u64 {
    let bytes = parts.iter().map(|part| match &part.item.kind {
        ItemKind::Directory => 0,
        ItemKind::Symlink(target) => target.len() as u64,
        ItemKind::File(size) => *size,
    });
    bytes.sum()
}

/// What follows on a path above or at another; of an empty one, all of it.
fn rest<'a>(above: &str, path: &'a str) -> Option<&'a str> {
    if above.is_empty() || path == above {
        return Some(path.strip_prefix(above).unwrap_or_default());
    }
    path.strip_prefix(above)?.strip_prefix('/')
}

/// Fills a directory that was just made, and gives it its mode.
fn fill(
    archive: &Archive,
    wanted: &[Part<'_>],
    to: &Path,
    mode: u16,
    syncing: Syncing,
) -> Result<(), AskError> {
    let disk = |error: io::Error| outside(to, &error);
    // Open before its mode may keep its owner out.
    let directory = File::open(to).map_err(disk)?;
    for part in wanted.iter().filter(|part| part.at != to) {
        part.make(archive, Syncing::Together)?;
    }
    // Those within first: a directory that may not be written to keeps what is in it.
    let directories = wanted.iter().rev().filter(|part| part.item.kind == ItemKind::Directory);
    for part in directories.filter(|part| part.at != to) {
        set_mode(&part.at, part.item.mode)?;
    }
    set_mode(to, mode)?;
    match syncing {
        Syncing::Each => rustix::fs::syncfs(&directory).map_err(|error| disk(error.into())),
        Syncing::Together => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{Area, DiskFs, FsError, RelPath, Root, Stat, Swap};
    use common::archive::Index;
    use common::name::Name;

    /// Gives some bytes, and then fails.
    struct Failing;

    impl ReadFile for Failing {
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FsError> {
            if offset == 0 && buffer.len() > 3 { Ok(buffer.len()) } else { Err(failed()) }
        }

        fn stat(&self) -> Result<Stat, FsError> {
            Err(failed())
        }

        fn sync(&self) -> Result<(), FsError> {
            Err(failed())
        }
    }

    fn failed() -> FsError {
        FsError::Io { path: RelPath::root(), source: std::io::Error::other("it failed") }
    }

    #[test]
    fn an_export_that_is_cut_leaves_nothing_at_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let to = directory.path().join("to");
        for _ in 0..2 {
            let copied = copy_out(&Failing, &to, (0o644, 0), Syncing::Each);
            assert!(matches!(copied, Err(AskError::Disk(_))), "{copied:?}");
            assert!(!to.exists());
        }
        std::fs::write(&to, "of a user").unwrap();
        let copied = copy_out(&Failing, &to, (0o644, 0), Syncing::Each);
        assert!(matches!(copied, Err(AskError::Exists(_))), "{copied:?}");
        assert_eq!(std::fs::read(&to).unwrap(), b"of a user");
    }

    /// An archive with these contents on a disk, which may be too few.
    fn archive(directory: &Path, contents: &[u8]) -> Archive {
        let fs = DiskFs::open(directory).unwrap();
        fs.init_root(b"marker").unwrap();
        let item = |path: &str, kind, mode| Item { path: path.into(), kind, mode, mtime_ns: 0 };
        let mut items = vec![
            item("d", ItemKind::Directory, 0o555),
            item("d/e", ItemKind::Directory, 0o755),
            item("d/l", ItemKind::Symlink(b"../f".to_vec()), 0),
        ];
        items.push(Item { mtime_ns: -5, ..item("d/e/f", ItemKind::File(3), 0o444) });
        items.push(Item { mtime_ns: 7, ..item("g", ItemKind::File(2), 0o600) });
        let index = Index::new(items).unwrap().encode();
        let staged = fs.stage(&Name::new("archive").unwrap()).unwrap();
        staged.write_at(0, contents).unwrap();
        staged.write_at(contents.len() as u64, &index).unwrap();
        let path = RelPath::inside(Area::Staging, Name::new("archive").unwrap());
        Archive::open(&fs, &path).unwrap()
    }

    #[test]
    fn what_an_archive_lists_is_made_whole_or_in_part() {
        let directory = tempfile::tempdir().unwrap();
        let to = |name: &str| directory.path().join(name);
        fs::create_dir(to("root")).unwrap();
        let archive = archive(&to("root"), b"abcde");
        let unpack =
            |inside: &str, name: &str| unpack(&archive, inside, 0o750, &to(name), Syncing::Each);
        let mode = |path: &str| fs::metadata(to(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(unpack("", "all"), Ok(Some(9)));
        assert_eq!([mode("all"), mode("all/d"), mode("all/d/e")], [0o750, 0o555, 0o755]);
        assert_eq!([mode("all/d/e/f"), mode("all/g")], [0o444, 0o600]);
        assert_eq!(fs::read(to("all/d/e/f")).unwrap(), b"abc");
        let before = UNIX_EPOCH - Duration::from_nanos(5);
        assert_eq!(fs::metadata(to("all/d/e/f")).unwrap().modified().unwrap(), before);
        assert_eq!(fs::read_link(to("all/d/l")).unwrap(), Path::new("../f"));
        let link = fs::symlink_metadata(to("all/d/l")).unwrap();
        assert_eq!(link.modified().unwrap(), UNIX_EPOCH);
        assert_eq!(unpack("d/e", "part"), Ok(Some(3)));
        assert_eq!(fs::read(to("part/f")).unwrap(), b"abc");
        assert_eq!(unpack("g", "file"), Ok(Some(2)));
        assert_eq!(fs::read(to("file")).unwrap(), b"de");
        assert_eq!(unpack("d/l", "link"), Ok(Some(4)));
        for nothing in ["x", "d/", "d/e/f/x", "dd"] {
            assert_eq!(unpack(nothing, "nothing"), Ok(None), "{nothing}");
        }
        assert!(!to("nothing").exists());
        // To what is there nothing is written, and it stays.
        for inside in ["", "d", "g", "d/l"] {
            assert!(matches!(unpack(inside, "file"), Err(AskError::Exists(_))), "{inside}");
        }
        assert_eq!(fs::read(to("file")).unwrap(), b"de");
        take_away(&to("all"));
        assert!(!to("all").exists(), "also where nobody may write");
    }

    #[test]
    fn a_bundle_that_cannot_be_read_to_its_end_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let to = directory.path().join("to");
        let whole = archive(directory.path(), b"abcde");
        let cut = Archive::of(Box::new(Failing), whole.index().clone());
        for inside in ["", "d", "g"] {
            let unpacked = unpack(&cut, inside, 0o755, &to, Syncing::Together);
            assert!(matches!(unpacked, Err(AskError::Disk(_))), "{inside}: {unpacked:?}");
            assert!(fs::symlink_metadata(&to).is_err(), "{inside}");
        }
    }
}
