//! The root as a whole in memory: marker, durability, room, boot id.
//!
//! Owns [`Root`] for [`MemoryFs`].

use super::nodes::{Body, Entries, NodeId, ROOT, State};
use super::{MemoryFs, OperationKind, RootState};
use crate::fs::error::{At, FsError};
use crate::fs::path::{Area, RelPath};
use crate::fs::stat::{FreeSpace, Kind, RootIdentity};
use crate::fs::traits::{MARKER_BYTES_MAX, Root, SYNC_EACH_MAX};
use common::name::PRIVATE_DIRECTORY;
use rustix::io::Errno;
use std::collections::BTreeSet;

/// The marker's name in `.driftless`.
const MARKER: &[u8] = b"root";

impl Root for MemoryFs {
    fn init_root(&self, marker: &[u8]) -> Result<(), FsError> {
        let at = RelPath::root();
        let mut state = self.begin(OperationKind::InitRoot, &at)?;
        if marker.len() > MARKER_BYTES_MAX {
            return Err(FsError::Misplaced { path: at });
        }
        self.init(&mut state, marker).at(&at)
    }

    fn read_marker(&self) -> Result<Option<Vec<u8>>, FsError> {
        let at = RelPath::root();
        let state = self.begin(OperationKind::ReadMarker, &at)?;
        if state.root_state == RootState::Gone {
            return Err(FsError::RootGone { source: None });
        }
        read_marker(&state).at(&at)
    }

    fn identity(&self) -> RootIdentity {
        RootIdentity { device: 1, inode: 2 }
    }

    fn sync(&self, paths: &[RelPath]) -> Result<(), FsError> {
        let first = paths.first().cloned().unwrap_or_else(RelPath::root);
        match self.begin(OperationKind::Sync, &first) {
            Ok(mut state) if paths.len() > SYNC_EACH_MAX => {
                state.save_all();
                Ok(())
            }
            Ok(mut state) => sync_each(&mut state, paths),
            Err(error) => {
                let mut state = self.state();
                for path in paths {
                    if let Ok(id) = state.locate(path) {
                        state.lose(id);
                    }
                }
                Err(error)
            }
        }
    }

    fn free_space(&self) -> Result<FreeSpace, FsError> {
        let state = self.begin(OperationKind::FreeSpace, &RelPath::root())?;
        let total_bytes = state.options.capacity_bytes;
        let free_bytes = total_bytes.saturating_sub(state.used_bytes);
        Ok(FreeSpace { free_bytes, total_bytes, free_inodes: None })
    }

    fn folds_names(&self) -> bool {
        self.state().options.case_insensitive
    }

    fn boot_id(&self) -> Result<String, FsError> {
        Ok(format!("boot-{}", self.state().boot))
    }
}

impl MemoryFs {
    fn init(&self, state: &mut State, marker: &[u8]) -> Result<(), Errno> {
        let now = self.now();
        let root = state.directory(&RelPath::root())?;
        let private = find_or_create(state, root, PRIVATE_DIRECTORY.as_bytes(), now)?;
        for name in Area::PRIVATE.iter().filter_map(|area| area.directory()) {
            find_or_create(state, private, name.as_bytes(), now)?;
        }
        match read_marker(state)? {
            Some(there) if there == marker => {}
            Some(_) => return Err(Errno::EXIST),
            None => {
                let id = state.create(private, MARKER, Body::File(Vec::new()), 0o600, now)?;
                state.write(id, 0, marker, now)?;
                state.save(id)?;
            }
        }
        state.save_entries(private);
        state.save_entries(root);
        Ok(())
    }
}

fn find_or_create(
    state: &mut State,
    parent: NodeId,
    name: &[u8],
    now: i64,
) -> Result<NodeId, Errno> {
    let id = match state.find(parent, name) {
        Ok((_, id)) => id,
        Err(Errno::NOENT) => {
            state.create(parent, name, Body::Directory(Entries::new()), 0o700, now)?
        }
        Err(errno) => return Err(errno),
    };
    state.enter(id)
}

fn read_marker(state: &State) -> Result<Option<Vec<u8>>, Errno> {
    let found = state
        .directory(&RelPath::root())
        .and_then(|root| state.enter(state.find(root, PRIVATE_DIRECTORY.as_bytes())?.1))
        .and_then(|private| state.find(private, MARKER));
    match found {
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
        Ok((_, id)) => match &state.node(id)?.body {
            Body::File(bytes) => Ok(Some(bytes.clone())),
            _ => Err(Errno::ISDIR),
        },
    }
}

fn sync_each(state: &mut State, paths: &[RelPath]) -> Result<(), FsError> {
    let mut directories: BTreeSet<NodeId> = BTreeSet::new();
    for path in paths {
        match state.locate(path) {
            Ok(id) => {
                state.save(id).at(path)?;
                if state.node(id).at(path)?.kind() == Kind::Directory {
                    directories.insert(id);
                }
                if let Some(parent) = path.parent() {
                    directories.extend(state.directory(&parent));
                }
            }
            Err(errno) => {
                let error = FsError::new(path, errno);
                if !error.is_stale_view() {
                    return Err(error);
                }
                directories.extend(nearest_directory(state, path));
            }
        }
    }
    for directory in directories {
        state.save_entries(directory);
    }
    Ok(())
}

/// The closest directory above a path that is there.
fn nearest_directory(state: &State, path: &RelPath) -> Option<NodeId> {
    let mut above = path.parent();
    while let Some(directory) = above {
        if let Ok(id) = state.directory(&directory) {
            return Some(id);
        }
        above = directory.parent();
    }
    (!path.is_private()).then_some(ROOT)
}
