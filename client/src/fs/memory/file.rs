//! Open files in memory.
//!
//! Owns handles: they keep a node alive after its last name is gone, count as writers, and die
//! with a power cut. [`ReadFile`] and [`StagedFile`] are built on them.

use super::nodes::{Body, NodeId, State};
use super::{MemoryFs, OperationKind, lock};
use crate::fs::error::{At, FsError};
use crate::fs::path::RelPath;
use crate::fs::stat::Stat;
use crate::fs::traits::{ReadFile, StagedFile};
use rustix::io::Errno;

/// Bytes that are read in one step; between two of them others may write.
const READ_PIECE_BYTES: usize = 1024;

/// An open file; closed by dropping it.
#[derive(Debug)]
pub(super) struct Handle {
    fs: MemoryFs,
    id: NodeId,
    boot: u64,
    writes: bool,
}

impl Handle {
    /// Opens a node of a state that is locked by the caller.
    pub(super) fn open(
        fs: &MemoryFs,
        state: &mut State,
        id: NodeId,
        writes: bool,
    ) -> Result<Self, Errno> {
        let node = state.node_mut(id)?;
        node.handles += 1;
        node.writers += u64::from(writes);
        Ok(Self { fs: fs.clone(), id, boot: state.boot, writes })
    }

    /// The node, unless the power was cut since.
    pub(super) fn id(&self, state: &State) -> Result<NodeId, Errno> {
        if state.boot == self.boot { Ok(self.id) } else { Err(Errno::BADF) }
    }

    pub(super) fn fs(&self) -> &MemoryFs {
        &self.fs
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = lock(&self.fs.shared.state);
        if state.boot != self.boot {
            return;
        }
        if let Some(node) = state.nodes.get_mut(&self.id) {
            node.handles -= 1;
            node.writers -= u64::from(self.writes);
            // The node was found, so there is nothing else to fail.
            let _released = state.release(self.id);
        }
    }
}

/// Reads from a file as far as it goes.
pub(super) fn read(
    state: &State,
    id: NodeId,
    offset: u64,
    buffer: &mut [u8],
) -> Result<usize, Errno> {
    let Body::File(content) = &state.node(id)?.body else {
        return Err(Errno::INVAL);
    };
    let start = usize::try_from(offset).map_or(content.len(), |start| start.min(content.len()));
    let count = buffer.len().min(content.len() - start);
    buffer[..count].copy_from_slice(&content[start..start + count]);
    Ok(count)
}

/// A file open for our reading.
#[derive(Debug)]
pub(super) struct MemoryFile {
    handle: Handle,
    path: RelPath,
}

impl MemoryFile {
    pub(super) fn new(handle: Handle, path: RelPath) -> Self {
        Self { handle, path }
    }
}

impl ReadFile for MemoryFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FsError> {
        read_handle(&self.handle, &self.path, offset, buffer)
    }

    fn stat(&self) -> Result<Stat, FsError> {
        stat_handle(&self.handle, &self.path)
    }

    fn sync(&self) -> Result<(), FsError> {
        sync_handle(&self.handle, &self.path)
    }
}

/// A file that we are writing.
#[derive(Debug)]
pub(super) struct MemoryStaged {
    handle: Handle,
    path: RelPath,
}

impl MemoryStaged {
    pub(super) fn new(handle: Handle, path: RelPath) -> Self {
        Self { handle, path }
    }
}

impl StagedFile for MemoryStaged {
    fn path(&self) -> &RelPath {
        &self.path
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), FsError> {
        let fs = self.handle.fs();
        let mut state = fs.begin(OperationKind::Write, &self.path)?;
        let id = self.handle.id(&state).at(&self.path)?;
        state.write(id, offset, bytes, fs.now()).at(&self.path)
    }

    fn preallocate(&self, size: u64) -> Result<(), FsError> {
        let state = self.handle.fs().begin(OperationKind::Write, &self.path)?;
        let id = self.handle.id(&state).at(&self.path)?;
        let more = size.saturating_sub(state.node(id).at(&self.path)?.file_bytes());
        if state.used_bytes.saturating_add(more) > state.options.capacity_bytes {
            return Err(FsError::new(&self.path, Errno::NOSPC));
        }
        Ok(())
    }

    fn held_bytes(&self) -> Result<u64, FsError> {
        let state = self.handle.fs().begin(OperationKind::Stat, &self.path)?;
        let id = self.handle.id(&state).at(&self.path)?;
        Ok(state.node(id).at(&self.path)?.file_bytes())
    }

    fn truncate(&self, size: u64) -> Result<(), FsError> {
        let fs = self.handle.fs();
        let mut state = fs.begin(OperationKind::Write, &self.path)?;
        let id = self.handle.id(&state).at(&self.path)?;
        state.resize(id, size, fs.now()).at(&self.path)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FsError> {
        read_handle(&self.handle, &self.path, offset, buffer)
    }

    fn set_attributes(&self, mode: u16, mtime_ns: i64) -> Result<(), FsError> {
        let fs = self.handle.fs();
        let mut state = fs.begin(OperationKind::SetAttributes, &self.path)?;
        let id = self.handle.id(&state).at(&self.path)?;
        let node = state.node_mut(id).at(&self.path)?;
        (node.mode, node.mtime_ns) = (mode & 0o777, mtime_ns);
        (node.ctime_ns, node.dirty) = (fs.now(), true);
        Ok(())
    }

    fn sync(&self) -> Result<(), FsError> {
        sync_handle(&self.handle, &self.path)
    }

    fn stat(&self) -> Result<Stat, FsError> {
        stat_handle(&self.handle, &self.path)
    }
}

fn read_handle(
    handle: &Handle,
    path: &RelPath,
    offset: u64,
    buffer: &mut [u8],
) -> Result<usize, FsError> {
    let (mut kind, mut count) = (OperationKind::Read, 0);
    loop {
        let state = handle.fs().begin(kind, path)?;
        let id = handle.id(&state).at(path)?;
        let end = buffer.len().min(count + READ_PIECE_BYTES);
        let piece = buffer.get_mut(count..end).unwrap_or_default();
        let read = read(&state, id, offset + count as u64, piece).at(path)?;
        count += read;
        if read < READ_PIECE_BYTES || count == buffer.len() {
            return Ok(count);
        }
        kind = OperationKind::ReadOn;
    }
}

fn stat_handle(handle: &Handle, path: &RelPath) -> Result<Stat, FsError> {
    let state = handle.fs().begin(OperationKind::Stat, path)?;
    let id = handle.id(&state).at(path)?;
    state.stat(id).at(path)
}

fn sync_handle(handle: &Handle, path: &RelPath) -> Result<(), FsError> {
    match handle.fs().begin(OperationKind::Sync, path) {
        Ok(mut state) => {
            let id = handle.id(&state).at(path)?;
            state.save(id).at(path)
        }
        Err(error) => {
            let mut state = handle.fs().state();
            if let Ok(id) = handle.id(&state) {
                state.lose(id);
            }
            Err(error)
        }
    }
}
