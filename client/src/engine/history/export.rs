//! Versions outside the folder, and staged for it: a file, a link, a whole directory as it was.
//!
//! Owns what stands outside: nothing that exists is touched, and what cannot be finished is taken
//! away again.

use super::past::Past;
use super::restore::Source;
use super::{AskError, Engine, unreadable};
use crate::engine::handle::Which;
use crate::fs::{ReadFile, RelPath};
use crate::state::RemoteRow;
use crate::transfer::{Fetch, Want};
use client_core::past::Listed;
use client_core::tree::ContentState;
use common::ids::EntryId;
use common::record::Kind;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Mode of a file outside the folder while a version is written into it.
const EXPORT_MODE: u32 = 0o600;
/// Mode of a directory outside the folder while it is filled.
const EXPORT_DIRECTORY_MODE: u32 = 0o700;
/// Files of a directory that are fetched together.
const FILES_TOGETHER: usize = 256;
/// Bytes of them, one file at least: they are staged before they are copied out.
const BYTES_TOGETHER: u64 = 256 * 1024 * 1024;

impl Engine {
    /// Writes a version into a new file, a new symlink or a new directory outside the folder;
    /// returns its bytes. What is written is synced.
    pub(in crate::engine) async fn export(
        &mut self,
        path: &str,
        which: Which,
        to: &Path,
    ) -> Result<u64, AskError> {
        match self.source(path, which).await? {
            Source::One { row, .. } => self.export_one(&row, to).await,
            Source::Directory { past, entry, .. } => {
                DirBuilder::new()
                    .mode(EXPORT_DIRECTORY_MODE)
                    .create(to)
                    .map_err(|error| outside(to, &error))?;
                let exported = self.export_directory(&past, &entry, to).await;
                if exported.is_err()
                    && let Err(error) = std::fs::remove_dir_all(to)
                {
                    tracing::warn!(%error, to = %to.display(), "a part of a directory is left");
                }
                exported
            }
        }
    }

    async fn export_one(&mut self, row: &RemoteRow, to: &Path) -> Result<u64, AskError> {
        if row.node.kind == Kind::Symlink {
            return link_out(row, to);
        }
        for (row, staged) in self.stage(vec![row.clone()]).await? {
            self.copy_staged(&row, &staged, to, Syncing::Each)?;
        }
        Ok(row.size)
    }

    async fn export_directory(
        &mut self,
        past: &Past,
        entry: &EntryId,
        to: &Path,
    ) -> Result<u64, AskError> {
        let listed = past.tree.list(entry, "");
        let row = |it: &Listed| past.rows.get(&it.entry).map(Box::as_ref);
        let (mut bytes, mut together, mut wanted) = (0, 0, Vec::new());
        for it in &listed {
            let (Some(row), at) = (row(it), to.join(&it.path)) else { continue };
            match row.node.kind {
                Kind::Directory => DirBuilder::new()
                    .mode(EXPORT_DIRECTORY_MODE)
                    .create(&at)
                    .map_err(|error| outside(&at, &error))?,
                Kind::Symlink => bytes += link_out(row, &at)?,
                Kind::File => {
                    bytes += row.size;
                    together += row.size;
                    wanted.push((row.clone(), at));
                    if wanted.len() >= FILES_TOGETHER || together >= BYTES_TOGETHER {
                        self.export_files(std::mem::take(&mut wanted)).await?;
                        together = 0;
                    }
                }
            }
        }
        self.export_files(wanted).await?;
        // Those within first: a directory that may not be written to keeps what is in it.
        let directories = listed.iter().rev().filter(|it| it.item.kind == Kind::Directory);
        for it in directories {
            let at = to.join(&it.path);
            set_mode(&at, it.item.content.mode).map_err(|error| outside(&at, &error))?;
        }
        if let Some(item) = past.tree.get(entry) {
            set_mode(to, item.content.mode).map_err(|error| outside(to, &error))?;
        }
        let directory = File::open(to).map_err(|error| outside(to, &error))?;
        rustix::fs::syncfs(&directory).map_err(|error| outside(to, &error.into()))?;
        Ok(bytes)
    }

    async fn export_files(&mut self, wanted: Vec<(RemoteRow, PathBuf)>) -> Result<(), AskError> {
        let to: BTreeMap<EntryId, PathBuf> =
            wanted.iter().map(|(row, to)| (row.node.entry, to.clone())).collect();
        let rows = wanted.into_iter().map(|(row, _)| row).collect();
        for (row, staged) in self.stage(rows).await? {
            if let Some(to) = to.get(&row.node.entry) {
                self.copy_staged(&row, &staged, to, Syncing::Together)?;
            }
        }
        Ok(())
    }

    /// Builds files in staging. Of a batch that fails nothing is left there.
    async fn stage(&mut self, rows: Vec<RemoteRow>) -> Result<Vec<(RemoteRow, RelPath)>, AskError> {
        let rows: BTreeMap<EntryId, RemoteRow> =
            rows.into_iter().map(|row| (row.node.entry, row)).collect();
        let wants = rows.values().map(want).collect();
        let progress = &mut self.progress;
        let count = |bytes| progress.bytes_down += bytes;
        let batch = Fetch::once(&self.context).build(wants, count).await;
        let (mut staged, mut failed) = (Vec::new(), batch.cut);
        for (entry, built) in batch.done {
            match (built, rows.get(&entry)) {
                (Ok(built), Some(row)) => staged.push((row.clone(), built.path)),
                (Ok(_), None) => {}
                (Err(error), _) => failed = failed.or(Some(error)),
            }
        }
        let Some(error) = failed else { return Ok(staged) };
        for (_, path) in staged {
            self.context.fs.remove(&path)?;
        }
        Err(AskError::Refused(error.to_string()))
    }

    /// Copies a staged file out and takes it away.
    fn copy_staged(
        &self,
        row: &RemoteRow,
        staged: &RelPath,
        to: &Path,
        syncing: Syncing,
    ) -> Result<(), AskError> {
        let from = self.context.fs.open(staged).map_err(AskError::from);
        let copied = from.and_then(|from| copy_out(from.as_ref(), to, &row.node.content, syncing));
        self.context.fs.remove(staged)?;
        copied
    }
}

/// When what is written outside is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syncing {
    /// Each file when it is whole.
    Each,
    /// All of them at the end.
    Together,
}

fn want(row: &RemoteRow) -> Want {
    let content = row.node.content;
    Want {
        entry: row.node.entry,
        root: row.root,
        size: row.size,
        tag: content.tag,
        mode: content.mode,
        mtime_ns: content.mtime_ns,
    }
}

/// Makes a symlink outside; returns the length of its target.
fn link_out(row: &RemoteRow, to: &Path) -> Result<u64, AskError> {
    let target = row.target.as_deref().ok_or_else(|| unreadable("a link has no target"))?;
    symlink(OsStr::from_bytes(target), to).map_err(|error| outside(to, &error))?;
    Ok(target.len() as u64)
}

/// A filesystem that knows no modes keeps its own.
fn set_mode(path: &Path, mode: u16) -> std::io::Result<()> {
    let mode = Permissions::from_mode(u32::from(mode) & 0o777);
    std::fs::set_permissions(path, mode)
        .or_else(|error| if is_unknown(&error) { Ok(()) } else { Err(error) })
}

/// What failed at a path outside the folder.
fn outside(to: &Path, error: &std::io::Error) -> AskError {
    match error.kind() {
        ErrorKind::AlreadyExists => AskError::Exists(to.display().to_string()),
        _ => AskError::Disk(format!("{}: {error}", to.display())),
    }
}

/// Copies a staged version into a new file, which is its owner's alone before it is whole. One that
/// cannot be finished is taken away again.
fn copy_out(
    from: &dyn ReadFile,
    to: &Path,
    content: &ContentState,
    syncing: Syncing,
) -> Result<(), AskError> {
    let disk = |error: std::io::Error| outside(to, &error);
    let mut out =
        OpenOptions::new().write(true).create_new(true).mode(EXPORT_MODE).open(to).map_err(disk)?;
    let written = copy_into(from, &mut out, disk).and_then(|()| {
        dress(&out, content).map_err(disk)?;
        if syncing == Syncing::Each { out.sync_all().map_err(disk) } else { Ok(()) }
    });
    if written.is_err()
        && let Err(error) = std::fs::remove_file(to)
    {
        tracing::warn!(%error, to = %to.display(), "a part of a version is left");
    }
    written
}

fn copy_into(
    from: &dyn ReadFile,
    out: &mut File,
    disk: impl Fn(std::io::Error) -> AskError,
) -> Result<(), AskError> {
    let mut buffer = vec![0; 1024 * 1024];
    let mut offset = 0;
    loop {
        let read = from.read_at(offset, &mut buffer)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(());
        }
        out.write_all(bytes).map_err(&disk)?;
        offset += read as u64;
    }
}

/// Gives a file the mode and mtime of a version. A filesystem that knows no modes keeps its own.
fn dress(out: &File, content: &ContentState) -> std::io::Result<()> {
    let since = Duration::from_nanos(content.mtime_ns.unsigned_abs());
    let mtime = match content.mtime_ns < 0 {
        true => UNIX_EPOCH.checked_sub(since),
        false => UNIX_EPOCH.checked_add(since),
    };
    let mode = Permissions::from_mode(u32::from(content.mode) & 0o777);
    for set in [mtime.map_or(Ok(()), |mtime| out.set_modified(mtime)), out.set_permissions(mode)] {
        set.or_else(|error| if is_unknown(&error) { Ok(()) } else { Err(error) })?;
    }
    Ok(())
}

/// Whether a filesystem does not know what was to be set.
fn is_unknown(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::Unsupported | ErrorKind::InvalidInput
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{FsError, Stat};
    use common::ids::ContentTag;

    /// Gives some bytes, and then fails.
    struct Failing;

    impl ReadFile for Failing {
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FsError> {
            if offset == 0 { Ok(buffer.len()) } else { Err(failed()) }
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
        let tag = ContentTag::from_bytes([0; 32]);
        let content = ContentState { tag, mode: 0o644, mtime_ns: 0 };
        for _ in 0..2 {
            let copied = copy_out(&Failing, &to, &content, Syncing::Each);
            assert!(matches!(copied, Err(AskError::Disk(_))), "{copied:?}");
            assert!(!to.exists());
        }
        std::fs::write(&to, "of a user").unwrap();
        let copied = copy_out(&Failing, &to, &content, Syncing::Each);
        assert!(matches!(copied, Err(AskError::Exists(_))), "{copied:?}");
        assert_eq!(std::fs::read(&to).unwrap(), b"of a user");
    }
}
