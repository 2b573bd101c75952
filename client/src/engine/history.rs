//! Versions of an entry: listing them, reading one, bringing one back.
//!
//! Owns what a version is called (created, edited, moved, deleted, restored) and that bringing one
//! back is a new edit by this device: nothing is rewritten.

use super::handle::{AskError, VersionInfo};
use super::run::Engine;
use crate::fs::{Area, FsError, ReadFile, RelPath};
use crate::scan::Target;
use crate::transfer::{Fetch, Want};
use client_core::tree::Position;
use common::chunk::{Attributes, open_attributes, open_name};
use common::ids::{DeviceId, EntryId};
use common::limits::REPLY_ITEMS_MAX;
use common::name::Name;
use common::record::{Kind, Registers};
use common::revision::Revision;
use common::wire::meta::{Reply, Request, Version, VersionsRead};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// Mode of a file outside the folder while a version is written into it.
const EXPORT_MODE: u32 = 0o600;

/// A version of one entry, opened.
pub(super) struct OpenVersion {
    pub(super) registers: Registers,
    pub(super) size: u64,
    /// Of a symlink.
    target: Option<Vec<u8>>,
    want: Want,
}

impl OpenVersion {
    /// What its sealed attributes say.
    pub(super) fn attributes(&self) -> Attributes {
        let Want { size, tag, mode, mtime_ns, .. } = self.want;
        Attributes { mode, mtime_ns, size, target: self.target.clone(), tag }
    }
}

impl From<FsError> for AskError {
    fn from(error: FsError) -> Self {
        Self::Disk(error.to_string())
    }
}

impl Engine {
    /// The entry that is or was last at a path.
    pub(super) fn entry_ever_at(&self, path: &str) -> Result<EntryId, AskError> {
        let none = || AskError::NoHistory(path.to_owned());
        match self.entry_at(path)? {
            Some(entry) if entry == EntryId::ROOT => {
                return Err(AskError::IsDirectory(path.to_owned()));
            }
            Some(entry) => {
                let known = self.context.state.remote_row(&entry)?;
                return known.map(|_| entry).ok_or_else(none);
            }
            None => {}
        }
        let names: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let missing = || AskError::NoSuchPath(path.to_owned());
        let name = names.last().and_then(|name| Name::new(*name).ok()).ok_or_else(missing)?;
        let candidates = self.context.state.deleted_named(&name)?;
        for row in candidates {
            if self.shown_path(&row.node.entry)? == names.join("/") {
                return Ok(row.node.entry);
            }
        }
        match self.context.fs.stat(&relative(path)?) {
            Ok(_) => Err(none()),
            Err(_) => Err(missing()),
        }
    }

    /// The newest versions up to a revision (0 for all), so many at most, in as many pages as the
    /// server cuts them into.
    async fn versions(
        &mut self,
        entry: &EntryId,
        mut at_or_before: Revision,
        limit: u32,
    ) -> Result<Vec<Version>, AskError> {
        let bad = |what: &str| AskError::Engine(format!("the server's history {what}"));
        let limit = limit as usize;
        let mut found: Vec<Version> = Vec::new();
        loop {
            let left = limit.saturating_sub(found.len()).min(REPLY_ITEMS_MAX);
            let request = VersionsRead {
                folder: self.context.folder.to_vec(),
                entry: entry.to_vec(),
                at_or_before,
                limit: u32::try_from(left).unwrap_or(u32::MAX),
            };
            let replies = self.context.remote.request(Request::Versions(request)).await?;
            let [Reply::Versions(part)] = replies.as_slice() else {
                return Err(bad("cannot be read: it is no list of versions"));
            };
            found.extend(part.versions.iter().take(left).cloned());
            let last = part.versions.last().map_or(0, |version| version.revision);
            if !part.more || last <= 1 || found.len() >= limit {
                return Ok(found);
            }
            if at_or_before > 0 && last > at_or_before {
                return Err(bad("does not end: a page begins where the one before it did"));
            }
            at_or_before = last - 1;
        }
    }

    pub(super) async fn log(
        &mut self,
        path: &str,
        limit: u32,
    ) -> Result<Vec<VersionInfo>, AskError> {
        let entry = self.entry_ever_at(path)?;
        let versions = self.versions(&entry, 0, limit.saturating_add(1)).await?;
        let mut infos = Vec::with_capacity(versions.len());
        for (index, version) in versions.iter().enumerate().take(limit as usize) {
            let older = versions.get(index + 1);
            infos.push(self.version_info(&entry, version, older));
        }
        Ok(infos)
    }

    /// A version for a person. One that does not open is a row like the others: it must not hide
    /// them.
    fn version_info(
        &self,
        entry: &EntryId,
        version: &Version,
        older: Option<&Version>,
    ) -> VersionInfo {
        let (keys, folder) = (&self.context.keys, &self.context.folder);
        let registers = version.registers.clone().and_then(|it| Registers::try_from(it).ok());
        let name = registers.map_or_else(String::new, |registers| {
            open_name(keys, folder, entry, &registers.place.name)
                .map_or_else(|error| format!("({error})"), |name| name.to_string())
        });
        let change = match older {
            _ if version.deleted => "deleted",
            // Of a thinned history the oldest version that is left need not be the first.
            None if version.place_changed && version.content_changed => "created",
            Some(older) if older.deleted && version.place_changed => "restored",
            _ if version.content_changed => "edited",
            _ => "moved",
        };
        let opened = self.open_version(entry, version);
        VersionInfo {
            revision: version.revision,
            time_ms: version.time_ms,
            device: author(version),
            size: opened.as_ref().map_or(0, |opened| opened.size),
            change,
            name,
            unreadable: opened.err().map(|error| error.to_string()),
        }
    }

    pub(super) fn open_version(
        &self,
        entry: &EntryId,
        version: &Version,
    ) -> Result<OpenVersion, AskError> {
        let bad = |error: &dyn std::fmt::Display| AskError::Unreadable(error.to_string());
        let message = version.registers.clone().ok_or_else(|| bad(&"it is empty"))?;
        if version.released {
            return Err(bad(&"its content was released, as the folder's retention says"));
        }
        let registers = Registers::try_from(message).map_err(|error| bad(&error))?;
        let sealed = &registers.content.attributes;
        let attributes = open_attributes(&self.context.keys, &self.context.folder, entry, sealed)
            .map_err(|error| bad(&error))?;
        if attributes.tag != registers.content.tag {
            return Err(bad(&"its content tag is another"));
        }
        let want = Want {
            entry: *entry,
            root: registers.content.root,
            size: attributes.size,
            tag: attributes.tag,
            mode: attributes.mode,
            mtime_ns: attributes.mtime_ns,
        };
        let (size, target) = (attributes.size, attributes.target);
        Ok(OpenVersion { registers, size, target, want })
    }

    /// The version of an entry at exactly this revision, as it is sealed.
    pub(super) async fn sealed_version(
        &mut self,
        entry: &EntryId,
        revision: Revision,
    ) -> Result<Option<Version>, AskError> {
        let versions = self.versions(entry, revision, 1).await?;
        Ok(versions.into_iter().next().filter(|version| version.revision == revision))
    }

    /// The newest version of an entry that was not its end, and its revision.
    pub(super) async fn last_version(
        &mut self,
        entry: &EntryId,
    ) -> Result<Option<(Revision, OpenVersion)>, AskError> {
        let versions = self.versions(entry, 0, 2).await?;
        let last = versions.iter().find(|version| !version.deleted);
        last.map(|last| Ok((last.revision, self.open_version(entry, last)?))).transpose()
    }

    /// A version that can be had by itself: of a file or a symlink.
    async fn single_version(
        &mut self,
        path: &str,
        revision: Revision,
    ) -> Result<OpenVersion, AskError> {
        let entry = self.entry_ever_at(path)?;
        let version = self.sealed_version(&entry, revision).await?;
        let version =
            version.ok_or_else(|| AskError::NoSuchRevision { path: path.to_owned(), revision })?;
        let version = self.open_version(&entry, &version)?;
        match version.registers.kind {
            Kind::File | Kind::Symlink => Ok(version),
            Kind::Directory => Err(AskError::IsDirectory(path.to_owned())),
        }
    }

    async fn stage_version(&mut self, version: OpenVersion) -> Result<RelPath, AskError> {
        if version.registers.kind == Kind::Symlink {
            let path = RelPath::inside(Area::Staging, self.context.fresh_name());
            self.context.fs.make_symlink(&path, link_target(&version)?, version.want.mtime_ns)?;
            return Ok(path);
        }
        let progress = &mut self.progress;
        let mut batch = Fetch::once(&self.context)
            .build(vec![version.want], |bytes| progress.bytes_down += bytes)
            .await;
        match batch.done.pop().map(|(_, built)| built).or(batch.cut.map(Err)) {
            Some(Ok(built)) => Ok(built.path),
            Some(Err(error)) => Err(AskError::Refused(error.to_string())),
            None => Err(AskError::Engine("nothing was built".to_owned())),
        }
    }

    /// Writes a version into a new file, or a new symlink, outside the folder.
    pub(super) async fn export(
        &mut self,
        path: &str,
        revision: Revision,
        to: &Path,
    ) -> Result<u64, AskError> {
        let version = self.single_version(path, revision).await?;
        let size = version.size;
        if version.registers.kind == Kind::Symlink {
            let target = link_target(&version)?;
            symlink(OsStr::from_bytes(target), to).map_err(|error| outside(to, &error))?;
            return Ok(target.len() as u64);
        }
        let attributes = version.attributes();
        let staged = self.stage_version(version).await?;
        let from = self.context.fs.open(&staged);
        let from = from.map_err(AskError::from);
        let copied = from.and_then(|from| copy_out(from.as_ref(), to, &attributes));
        self.context.fs.remove(&staged)?;
        copied.map(|()| size)
    }

    /// Brings a version back at its path, as an edit of this device. An entry that was deleted is
    /// revived, and keeps its history.
    pub(super) async fn restore(&mut self, path: &str, revision: Revision) -> Result<(), AskError> {
        let restored = self.entry_ever_at(path)?;
        let version = self.single_version(path, revision).await?;
        let target = relative(path)?;
        let standing = self.context.fs.stat(&target);
        let row = match self.entry_at(path)? {
            Some(entry) => self.context.state.local_row(&entry)?,
            None => None,
        };
        match (&standing, &row) {
            (Ok(stat), Some(row)) => {
                let synced = self.context.state.synced_node(&row.entry)?;
                let same = synced.is_some_and(|node| Some(node.content) == row.content());
                if !stat.same_content(&row.stat) || !same {
                    return Err(AskError::Unsynced(path.to_owned()));
                }
            }
            (Ok(_), None) => return Err(AskError::Unsynced(path.to_owned())),
            (Err(error), _) if error.is_not_found() => {}
            (Err(error), _) => return Err(AskError::Disk(error.to_string())),
        }
        let staged = self.stage_version(version).await?;
        if let Err(error) = self.context.fs.sync(std::slice::from_ref(&staged)) {
            self.sync_has_failed(&error);
            return Err(error.into());
        }
        match (standing, row) {
            (Ok(_), Some(row)) => {
                let stat = self.context.fs.stat(&staged)?;
                if !crate::apply::replace(&self.context, &staged, &stat, &target, &row)? {
                    return Err(AskError::Unsynced(path.to_owned()));
                }
            }
            _ => {
                self.make_parents(&target)?;
                self.context.fs.rename_noreplace(&staged, &target)?;
                self.targets.insert(Target::Path(target.clone()));
                self.scan()?;
                self.take_for(&target, &restored)?;
            }
        }
        self.targets.insert(Target::Path(target));
        self.busy = true;
        Ok(())
    }

    /// What has just been made at a path is an entry that was deleted.
    fn take_for(&self, path: &RelPath, deleted: &EntryId) -> Result<(), AskError> {
        let state = &self.context.state;
        let mut found = EntryId::ROOT;
        for name in path.names() {
            let position = Position { parent: found, name: name.clone() };
            let Some(row) = state.local_row_at(&position)? else { return Ok(()) };
            found = row.entry;
        }
        if state.remote_row(deleted)?.is_some_and(|row| row.node.deleted) {
            self.rename(&found, deleted)?;
        }
        Ok(())
    }

    fn make_parents(&self, path: &RelPath) -> Result<(), AskError> {
        let mut missing = Vec::new();
        let mut at = path.parent();
        while let Some(directory) = at.filter(|directory| !directory.is_root()) {
            match self.context.fs.stat(&directory) {
                Ok(_) => break,
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
            at = directory.parent();
            missing.push(directory);
        }
        for directory in missing.into_iter().rev() {
            self.context.fs.make_directory(&directory, 0o755)?;
        }
        Ok(())
    }
}

/// A path as it was asked for, as one below the root.
fn relative(path: &str) -> Result<RelPath, AskError> {
    let missing = || AskError::NoSuchPath(path.to_owned());
    let names = path.split('/').filter(|part| !part.is_empty()).map(Name::new);
    let names: Result<Vec<Name>, _> = names.collect();
    RelPath::new(names.map_err(|_| missing())?).map_err(|_| missing())
}

/// Who wrote a version, as the server says.
pub(super) fn author(version: &Version) -> Option<DeviceId> {
    DeviceId::from_slice(&version.device).ok()
}

/// Where a version's link leads.
fn link_target(version: &OpenVersion) -> Result<&[u8], AskError> {
    let none = || AskError::Engine("the server's history has a link without a target".to_owned());
    version.target.as_deref().ok_or_else(none)
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
fn copy_out(from: &dyn ReadFile, to: &Path, attributes: &Attributes) -> Result<(), AskError> {
    let disk = |error: std::io::Error| outside(to, &error);
    let mut out =
        OpenOptions::new().write(true).create_new(true).mode(EXPORT_MODE).open(to).map_err(disk)?;
    let written = copy_into(from, &mut out, disk).and_then(|()| {
        dress(&out, attributes).map_err(disk)?;
        out.sync_all().map_err(disk)
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
fn dress(out: &File, attributes: &Attributes) -> std::io::Result<()> {
    let since = Duration::from_nanos(attributes.mtime_ns.unsigned_abs());
    let mtime = match attributes.mtime_ns < 0 {
        true => UNIX_EPOCH.checked_sub(since),
        false => UNIX_EPOCH.checked_add(since),
    };
    let mode = Permissions::from_mode(u32::from(attributes.mode) & 0o777);
    let is_unknown = |error: &std::io::Error| {
        matches!(
            error.kind(),
            ErrorKind::PermissionDenied | ErrorKind::Unsupported | ErrorKind::InvalidInput
        )
    };
    for set in [mtime.map_or(Ok(()), |mtime| out.set_modified(mtime)), out.set_permissions(mode)] {
        set.or_else(|error| if is_unknown(&error) { Ok(()) } else { Err(error) })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Stat;
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
        let attributes = Attributes { mode: 0o644, mtime_ns: 0, size: 1, target: None, tag };
        for _ in 0..2 {
            let copied = copy_out(&Failing, &to, &attributes);
            assert!(matches!(copied, Err(AskError::Disk(_))), "{copied:?}");
            assert!(!to.exists());
        }
        std::fs::write(&to, "of a user").unwrap();
        let copied = copy_out(&Failing, &to, &attributes);
        assert!(matches!(copied, Err(AskError::Exists(_))), "{copied:?}");
        assert_eq!(std::fs::read(&to).unwrap(), b"of a user");
    }
}
