//! The user's programs in the simulation: they are not confined and ask nobody.
//!
//! Owns the second door to a root in memory. Paths are bytes separated by `/`, relative to the
//! root, and may lead into `.driftless`; no symlink is followed. Nothing here counts as an
//! operation, calls the hook or fails by injection. Programs always see the root itself, even
//! while it is [`super::RootState::Gone`] for us.

use super::MemoryFs;
use super::file::{Handle, read};
use super::nodes::{Body, Entries, Node, NodeId, ROOT, State};
use crate::fs::stat::{Kind, Stat};
use common::name::PRIVATE_DIRECTORY;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// What a program of the user can do to a root in memory.
#[derive(Clone, Debug)]
pub struct MemoryUser {
    fs: MemoryFs,
}

/// One entry as [`MemoryUser::tree`] shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserEntry {
    /// A file's content and mode.
    File(Vec<u8>, u16),
    /// A directory's mode.
    Directory(u16),
    /// A symlink's target.
    Symlink(Vec<u8>),
    /// A FIFO, device or socket.
    Other,
}

/// A file that a program holds open for writing, whatever happens to its path.
#[derive(Debug)]
pub struct UserFile {
    handle: Handle,
}

impl MemoryUser {
    pub(super) fn new(fs: MemoryFs) -> Self {
        Self { fs }
    }

    /// Writes a file as most programs do: creates it, or truncates it and writes into the same
    /// inode.
    ///
    /// # Errors
    /// As open(2) and write(2).
    pub fn write(&self, path: impl AsRef<[u8]>, bytes: &[u8]) -> io::Result<()> {
        let file = self.open_write(path)?;
        file.truncate(0)?;
        file.write_at(0, bytes)
    }

    /// Opens a file for writing, creating it if need be; it is not truncated.
    ///
    /// # Errors
    /// As open(2).
    pub fn open_write(&self, path: impl AsRef<[u8]>) -> io::Result<UserFile> {
        let (mut state, now) = (self.fs.state(), self.fs.now());
        let (parent, name) = parent(&state, path.as_ref())?;
        let id = match state.find(parent, name) {
            Ok((_, id)) => id,
            Err(Errno::NOENT) => state.create(parent, name, Body::File(Vec::new()), 0o644, now)?,
            Err(errno) => return Err(errno.into()),
        };
        match state.node(id)?.kind() {
            Kind::File => {}
            Kind::Directory => return Err(Errno::ISDIR.into()),
            Kind::Symlink => return Err(Errno::LOOP.into()),
            Kind::Other => return Err(Errno::NXIO.into()),
        }
        Ok(UserFile { handle: Handle::open(&self.fs, &mut state, id, true)? })
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// As open(2) and read(2).
    pub fn read(&self, path: impl AsRef<[u8]>) -> io::Result<Vec<u8>> {
        let state = self.fs.state();
        let id = locate(&state, path.as_ref())?;
        match &state.node(id)?.body {
            Body::File(bytes) => Ok(bytes.clone()),
            Body::Directory(_) => Err(Errno::ISDIR.into()),
            _ => Err(Errno::INVAL.into()),
        }
    }

    /// Looks at a path.
    ///
    /// # Errors
    /// As lstat(2).
    pub fn stat(&self, path: impl AsRef<[u8]>) -> io::Result<Stat> {
        let state = self.fs.state();
        Ok(state.stat(locate(&state, path.as_ref())?)?)
    }

    /// Whether a power cut takes nothing of a node's content.
    ///
    /// # Errors
    /// As lstat(2).
    pub fn is_durable(&self, path: impl AsRef<[u8]>) -> io::Result<bool> {
        let state = self.fs.state();
        Ok(state.node(locate(&state, path.as_ref())?)?.has_durable_content())
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// As mkdir(2).
    pub fn mkdir(&self, path: impl AsRef<[u8]>) -> io::Result<()> {
        self.create(path.as_ref(), Body::Directory(Entries::new()), 0o755)
    }

    /// Makes a symlink at `path`.
    ///
    /// # Errors
    /// As symlink(2).
    pub fn symlink(&self, target: impl AsRef<[u8]>, path: impl AsRef<[u8]>) -> io::Result<()> {
        self.create(path.as_ref(), Body::Symlink(target.as_ref().to_vec()), 0o777)
    }

    /// Makes something that is neither file, directory nor symlink.
    ///
    /// # Errors
    /// As mknod(2).
    pub fn make_other(&self, path: impl AsRef<[u8]>) -> io::Result<()> {
        self.create(path.as_ref(), Body::Other, 0o644)
    }

    /// Gives a file one more name.
    ///
    /// # Errors
    /// As link(2).
    pub fn link(&self, old: impl AsRef<[u8]>, new: impl AsRef<[u8]>) -> io::Result<()> {
        let (mut state, now) = (self.fs.state(), self.fs.now());
        let id = locate(&state, old.as_ref())?;
        if state.node(id)?.kind() == Kind::Directory {
            return Err(Errno::PERM.into());
        }
        let (parent, name) = parent(&state, new.as_ref())?;
        Ok(state.link(id, parent, name, now)?)
    }

    /// Renames, replacing what is there, as rename(2) does.
    ///
    /// # Errors
    /// As rename(2).
    pub fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> io::Result<()> {
        let (mut state, now) = (self.fs.state(), self.fs.now());
        let one = parent(&state, from.as_ref())?;
        let two = parent(&state, to.as_ref())?;
        Ok(state.rename(one, two, true, now)?)
    }

    /// Removes a file, a symlink or an empty directory.
    ///
    /// # Errors
    /// As unlink(2) and rmdir(2).
    pub fn remove(&self, path: impl AsRef<[u8]>) -> io::Result<()> {
        let (mut state, now) = (self.fs.state(), self.fs.now());
        let (parent, name) = parent(&state, path.as_ref())?;
        Ok(state.unlink(parent, name, now)?)
    }

    /// Removes a directory and all below it, or a file.
    ///
    /// # Errors
    /// As [`MemoryUser::remove`]; what was removed before stays removed.
    pub fn remove_all(&self, path: impl AsRef<[u8]>) -> io::Result<()> {
        let path = path.as_ref();
        let names: Vec<Vec<u8>> = {
            let state = self.fs.state();
            match &state.node(locate(&state, path)?)?.body {
                Body::Directory(entries) => entries.keys().cloned().collect(),
                _ => Vec::new(),
            }
        };
        for name in names {
            self.remove_all([path, b"/", &name].concat())?;
        }
        self.remove(path)
    }

    /// Sets the nine permission bits.
    ///
    /// # Errors
    /// As chmod(2).
    pub fn chmod(&self, path: impl AsRef<[u8]>, mode: u16) -> io::Result<()> {
        let (mut state, now) = (self.fs.state(), self.fs.now());
        let id = locate(&state, path.as_ref())?;
        let node = state.node_mut(id)?;
        (node.mode, node.ctime_ns, node.dirty) = (mode & 0o777, now, true);
        Ok(())
    }

    /// Sets the mtime, in ns since 1970, as `cp -p` and tar do.
    ///
    /// # Errors
    /// As utimensat(2).
    pub fn set_mtime(&self, path: impl AsRef<[u8]>, mtime_ns: i64) -> io::Result<()> {
        let (mut state, now) = (self.fs.state(), self.fs.now());
        let id = locate(&state, path.as_ref())?;
        let node = state.node_mut(id)?;
        (node.mtime_ns, node.ctime_ns, node.dirty) = (mtime_ns, now, true);
        Ok(())
    }

    /// Makes our reading of a file, or entering of a directory, fail with `Denied`, or ends that.
    ///
    /// # Errors
    /// As chmod(2).
    pub fn set_unreadable(&self, path: impl AsRef<[u8]>, unreadable: bool) -> io::Result<()> {
        let mut state = self.fs.state();
        let id = locate(&state, path.as_ref())?;
        state.node_mut(id)?.unreadable = unreadable;
        Ok(())
    }

    /// Ends every [`MemoryUser::set_unreadable`], wherever the files are by now.
    pub fn make_all_readable(&self) {
        self.fs.state().nodes.values_mut().for_each(|node| node.unreadable = false);
    }

    /// Makes a directory the root of another filesystem, or ends that.
    ///
    /// # Errors
    /// As mount(2).
    pub fn set_mounted(&self, path: impl AsRef<[u8]>, mounted: bool) -> io::Result<()> {
        let mut state = self.fs.state();
        let id = locate(&state, path.as_ref())?;
        state.entries(id)?;
        state.node_mut(id)?.mounted = mounted;
        Ok(())
    }

    /// Everything below the root but `.driftless`, by path. A path that is not UTF-8 is escaped.
    #[must_use]
    pub fn tree(&self) -> BTreeMap<String, UserEntry> {
        let mut tree = self.collect(ROOT);
        tree.retain(|path, _| path.split('/').next() != Some(PRIVATE_DIRECTORY));
        tree
    }

    /// The paths of [`MemoryUser::tree`].
    #[must_use]
    pub fn paths(&self) -> BTreeSet<String> {
        let mut paths = BTreeSet::new();
        self.visit(ROOT, |path, _| {
            paths.insert(path);
        });
        paths.retain(|path| path.split('/').next() != Some(PRIVATE_DIRECTORY));
        paths
    }

    /// Everything in `.driftless`, by path below it.
    #[must_use]
    pub fn private_tree(&self) -> BTreeMap<String, UserEntry> {
        let found = locate(&self.fs.state(), PRIVATE_DIRECTORY.as_bytes());
        found.map(|id| self.collect(id)).unwrap_or_default()
    }

    fn create(&self, path: &[u8], body: Body, mode: u16) -> io::Result<()> {
        let (mut state, now) = (self.fs.state(), self.fs.now());
        let (parent, name) = parent(&state, path)?;
        state.create(parent, name, body, mode, now)?;
        Ok(())
    }

    fn collect(&self, from: NodeId) -> BTreeMap<String, UserEntry> {
        let mut tree = BTreeMap::new();
        self.visit(from, |path, node| {
            let entry = match &node.body {
                Body::File(bytes) => UserEntry::File(bytes.clone(), node.mode),
                Body::Directory(_) => UserEntry::Directory(node.mode),
                Body::Symlink(target) => UserEntry::Symlink(target.clone()),
                Body::Other => UserEntry::Other,
            };
            tree.insert(path, entry);
        });
        tree
    }

    fn visit(&self, from: NodeId, mut see: impl FnMut(String, &Node)) {
        let state = self.fs.state();
        let mut open = vec![(String::new(), from)];
        while let Some((path, id)) = open.pop() {
            let Ok(entries) = state.entries(id) else {
                continue;
            };
            for (name, id) in entries {
                let name = match std::str::from_utf8(name) {
                    Ok(name) => name.to_owned(),
                    Err(_) => name.escape_ascii().to_string(),
                };
                let path = if path.is_empty() { name } else { format!("{path}/{name}") };
                let Ok(node) = state.node(*id) else {
                    continue;
                };
                open.push((path.clone(), *id));
                see(path, node);
            }
        }
    }
}

impl UserFile {
    /// Writes at an offset.
    ///
    /// # Errors
    /// As pwrite(2); EBADF after a power cut.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut state, now) = (self.handle.fs().state(), self.handle.fs().now());
        let id = self.handle.id(&state)?;
        Ok(state.write(id, offset, bytes, now)?)
    }

    /// Writes at the end.
    ///
    /// # Errors
    /// As [`UserFile::write_at`].
    pub fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let (mut state, now) = (self.handle.fs().state(), self.handle.fs().now());
        let id = self.handle.id(&state)?;
        let end = state.node(id)?.file_bytes();
        Ok(state.write(id, end, bytes, now)?)
    }

    /// Sets the size.
    ///
    /// # Errors
    /// As ftruncate(2).
    pub fn truncate(&self, size: u64) -> io::Result<()> {
        let (mut state, now) = (self.handle.fs().state(), self.handle.fs().now());
        let id = self.handle.id(&state)?;
        Ok(state.resize(id, size, now)?)
    }

    /// Reads the whole file.
    ///
    /// # Errors
    /// As pread(2).
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let state = self.handle.fs().state();
        let id = self.handle.id(&state)?;
        let length = usize::try_from(state.node(id)?.file_bytes()).map_err(|_| Errno::FBIG)?;
        let mut bytes = vec![0; length];
        read(&state, id, 0, &mut bytes)?;
        Ok(bytes)
    }

    /// Whether the file still has a name anywhere.
    ///
    /// # Errors
    /// EBADF after a power cut.
    pub fn is_linked(&self) -> io::Result<bool> {
        let state = self.handle.fs().state();
        let id = self.handle.id(&state)?;
        Ok(state.node(id)?.links > 0)
    }

    /// Makes content and attributes durable, as fsync(2) does.
    ///
    /// # Errors
    /// EBADF after a power cut.
    pub fn sync(&self) -> io::Result<()> {
        let mut state = self.handle.fs().state();
        let id = self.handle.id(&state)?;
        Ok(state.save(id)?)
    }
}

fn locate(state: &State, path: &[u8]) -> Result<NodeId, Errno> {
    let mut id = ROOT;
    for name in names(path) {
        id = state.find(id, name)?.1;
    }
    Ok(id)
}

fn parent<'a>(state: &State, path: &'a [u8]) -> Result<(NodeId, &'a [u8]), Errno> {
    let mut names: Vec<&[u8]> = names(path).collect();
    let name = names.pop().ok_or(Errno::BUSY)?;
    if name.len() > common::limits::NAME_BYTES_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    let mut id = ROOT;
    for name in names {
        id = state.find(id, name)?.1;
    }
    state.entries(id)?;
    Ok((id, name))
}

fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
}
