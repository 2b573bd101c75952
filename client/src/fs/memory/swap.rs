//! Staging, swapping and removing in memory.
//!
//! Owns [`Swap`] for [`MemoryFs`]; refuses what a disk refuses, with the same errors.

use super::file::{Handle, MemoryStaged};
use super::nodes::{Body, Entries, NodeId, State};
use super::{MemoryFs, OperationKind};
use crate::fs::error::{At, FsError, require_apart};
use crate::fs::path::{Area, RelPath};
use crate::fs::stat::{Kind, Stat};
use crate::fs::traits::{StagedFile, Swap};
use common::name::{Name, PRIVATE_DIRECTORY};
use rustix::io::Errno;

impl Swap for MemoryFs {
    fn stage(&self, name: &Name) -> Result<Box<dyn StagedFile>, FsError> {
        let path = RelPath::inside(Area::Staging, name.clone());
        let mut state = self.begin(OperationKind::Stage, &path)?;
        let id = self.create(&mut state, &path, Body::File(Vec::new()), 0o600)?;
        let handle = Handle::open(self, &mut state, id, true).at(&path)?;
        Ok(Box::new(MemoryStaged::new(handle, path)))
    }

    fn reopen(&self, name: &Name) -> Result<Box<dyn StagedFile>, FsError> {
        let path = RelPath::inside(Area::Staging, name.clone());
        let mut state = self.begin(OperationKind::Stage, &path)?;
        let id = state.locate(&path).at(&path)?;
        let node = state.node_mut(id).at(&path)?;
        if node.kind() != Kind::File {
            return Err(FsError::new(&path, Errno::ISDIR));
        }
        if node.links != 1 {
            return Err(FsError::Changed { path });
        }
        (node.mode, node.ctime_ns, node.dirty) = (0o600, self.now(), true);
        let handle = Handle::open(self, &mut state, id, true).at(&path)?;
        Ok(Box::new(MemoryStaged::new(handle, path)))
    }

    fn make_directory(&self, path: &RelPath, mode: u16) -> Result<(), FsError> {
        let mut state = self.begin(OperationKind::MakeDirectory, path)?;
        let body = Body::Directory(Entries::new());
        self.create(&mut state, path, body, mode & 0o777).map(|_| ())
    }

    fn make_symlink(&self, path: &RelPath, target: &[u8], mtime_ns: i64) -> Result<(), FsError> {
        let mut state = self.begin(OperationKind::MakeSymlink, path)?;
        if !path.is_private() {
            return Err(FsError::Misplaced { path: path.clone() });
        }
        let id = self.create(&mut state, path, Body::Symlink(target.to_vec()), 0o777)?;
        state.node_mut(id).at(path)?.mtime_ns = mtime_ns;
        Ok(())
    }

    fn link(&self, from: &RelPath, to: &RelPath) -> Result<(), FsError> {
        let mut state = self.begin_with(OperationKind::Link, from, Some(to))?;
        if !to.is_private() {
            return Err(FsError::Misplaced { path: to.clone() });
        }
        let id = state.locate(from).at(from)?;
        if state.node(id).at(from)?.kind() != Kind::File {
            return Err(FsError::new(from, Errno::ISDIR));
        }
        let (parent, name) = self.target_parent(&mut state, to)?;
        state.link(id, parent, name, self.now()).at(to)
    }

    fn rename_noreplace(&self, from: &RelPath, to: &RelPath) -> Result<(), FsError> {
        let mut state = self.begin_with(OperationKind::Rename, from, Some(to))?;
        require_apart(from, to)?;
        let (one, two) = self.both_parents(&mut state, from, to)?;
        state.rename(one, two, false, self.now()).map_err(|errno| match errno {
            Errno::EXIST => FsError::new(to, errno),
            errno => FsError::new(from, errno),
        })
    }

    fn exchange(&self, one: &RelPath, two: &RelPath) -> Result<(), FsError> {
        let mut state = self.begin_with(OperationKind::Exchange, one, Some(two))?;
        require_apart(one, two)?;
        require_apart(two, one)?;
        let (first, second) = self.both_parents(&mut state, one, two)?;
        if !state.options.exchange {
            return Err(FsError::new(one, Errno::OPNOTSUPP));
        }
        state.find(first.0, first.1).at(one)?;
        state.find(second.0, second.1).at(two)?;
        state.exchange(first, second, self.now()).at(one)
    }

    fn remove(&self, path: &RelPath) -> Result<(), FsError> {
        let mut state = self.begin(OperationKind::Remove, path)?;
        if !path.is_private() {
            return Err(FsError::Misplaced { path: path.clone() });
        }
        let (parent, name) = state.parent(path).at(path)?;
        let id = state.find(parent, name).at(path)?.1;
        if state.node(id).at(path)?.kind() == Kind::Directory {
            return Err(FsError::new(path, Errno::ISDIR));
        }
        state.unlink(parent, name, self.now()).at(path)
    }

    fn remove_directory(&self, path: &RelPath) -> Result<(), FsError> {
        let mut state = self.begin(OperationKind::Remove, path)?;
        if path.is_root() {
            return Err(FsError::Misplaced { path: path.clone() });
        }
        let (parent, name) = state.parent(path).at(path)?;
        let id = state.find(parent, name).at(path)?.1;
        if state.node(id).at(path)?.kind() != Kind::Directory {
            return Err(FsError::new(path, Errno::NOTDIR));
        }
        state.unlink(parent, name, self.now()).at(path)
    }

    fn set_attributes(
        &self,
        path: &RelPath,
        expected: &Stat,
        mode: Option<u16>,
        mtime_ns: Option<i64>,
    ) -> Result<Stat, FsError> {
        let mut state = self.begin(OperationKind::SetAttributes, path)?;
        if mode.is_some() && expected.kind == Kind::Symlink {
            return Err(FsError::Misplaced { path: path.clone() });
        }
        let id = state.locate(path).at(path)?;
        let leases = state.options.leases;
        let is_untouched = state.stat(id).at(path)?.untouched(expected);
        let node = state.node_mut(id).at(path)?;
        if leases && mtime_ns.is_some() && node.kind() == Kind::File && node.writers > 0 {
            return Err(FsError::Busy { path: path.clone() });
        }
        if !is_untouched {
            return Err(FsError::Changed { path: path.clone() });
        }
        node.mode = mode.map_or(node.mode, |mode| mode & 0o777);
        node.mtime_ns = mtime_ns.unwrap_or(node.mtime_ns);
        (node.ctime_ns, node.dirty) = (self.now(), true);
        state.stat(id).at(path)
    }

    fn writer_absent(&self, displaced: &RelPath) -> Result<bool, FsError> {
        let state = self.begin(OperationKind::WriterAbsent, displaced)?;
        let id = state.locate(displaced).at(displaced)?;
        let node = state.node(id).at(displaced)?;
        match node.kind() {
            Kind::Directory | Kind::Symlink => Ok(true),
            Kind::Other => Err(FsError::new(displaced, Errno::ISDIR)),
            Kind::File if !state.options.leases => Err(FsError::new(displaced, Errno::OPNOTSUPP)),
            Kind::File => Ok(node.writers == 0),
        }
    }
}

/// Two directories, each with a name in it.
type Parents<'a> = ((NodeId, &'a [u8]), (NodeId, &'a [u8]));

impl MemoryFs {
    fn create(
        &self,
        state: &mut State,
        path: &RelPath,
        body: Body,
        mode: u16,
    ) -> Result<NodeId, FsError> {
        let (parent, name) = self.target_parent(state, path)?;
        state.create(parent, name, body, mode, self.now()).at(path)
    }

    /// As `parent`, but makes an area again that was removed, so long as `.driftless` is there.
    fn target_parent<'a>(
        &self,
        state: &mut State,
        path: &'a RelPath,
    ) -> Result<(NodeId, &'a [u8]), FsError> {
        if path.is_root() {
            return Err(FsError::Misplaced { path: path.clone() });
        }
        match (state.parent(path), path.area().directory()) {
            (Err(Errno::NOENT), Some(area)) if path.names().len() == 1 => {
                let root = state.directory(&RelPath::root()).at(path)?;
                let private = state.find(root, PRIVATE_DIRECTORY.as_bytes()).at(path)?.1;
                let body = Body::Directory(Entries::new());
                let private = state.enter(private).at(path)?;
                state.create(private, area.as_bytes(), body, 0o700, self.now()).at(path)?;
                state.parent(path).at(path)
            }
            (result, _) => result.at(path),
        }
    }

    fn both_parents<'a>(
        &self,
        state: &mut State,
        from: &'a RelPath,
        to: &'a RelPath,
    ) -> Result<Parents<'a>, FsError> {
        let one = state.parent(from).at(from)?;
        Ok((one, self.target_parent(state, to)?))
    }
}
