//! Listing, looking and opening in memory.
//!
//! Owns [`Look`] for [`MemoryFs`].

use super::file::{Handle, MemoryFile};
use super::nodes::Body;
use super::{MemoryFs, OperationKind};
use crate::fs::error::{At, FsError};
use crate::fs::path::RelPath;
use crate::fs::stat::{Kind, Listed, Listing, Stat};
use crate::fs::traits::{Look, ReadFile};
use common::limits::SYMLINK_BYTES_MAX;
use common::name::PRIVATE_DIRECTORY;
use rustix::io::Errno;

impl Look for MemoryFs {
    fn list(&self, directory: &RelPath) -> Result<Listing, FsError> {
        let state = self.begin(OperationKind::List, directory)?;
        let id = state.directory(directory).at(directory)?;
        let own = (*directory == RelPath::root()).then_some(PRIVATE_DIRECTORY.as_bytes());
        let entries = state
            .entries(id)
            .at(directory)?
            .iter()
            .filter(|(name, _)| Some(name.as_slice()) != own)
            .map(|(name, id)| Ok(Listed { name: name.clone(), stat: state.stat(*id)? }))
            .collect::<Result<Vec<_>, Errno>>()
            .at(directory)?;
        Ok(Listing { directory: state.stat(id).at(directory)?, entries, steady: true })
    }

    fn stat(&self, path: &RelPath) -> Result<Stat, FsError> {
        let state = self.begin(OperationKind::Stat, path)?;
        let id = state.locate(path).at(path)?;
        state.stat(id).at(path)
    }

    fn read_link(&self, path: &RelPath) -> Result<Vec<u8>, FsError> {
        let state = self.begin(OperationKind::ReadLink, path)?;
        let id = state.locate(path).at(path)?;
        match &state.node(id).at(path)?.body {
            Body::Symlink(target) if target.len() > SYMLINK_BYTES_MAX => {
                Err(FsError::new(path, Errno::NAMETOOLONG))
            }
            Body::Symlink(target) => Ok(target.clone()),
            _ => Err(FsError::new(path, Errno::ISDIR)),
        }
    }

    fn open(&self, path: &RelPath) -> Result<Box<dyn ReadFile>, FsError> {
        let mut state = self.begin(OperationKind::Open, path)?;
        let id = state.locate(path).at(path)?;
        let node = state.node(id).at(path)?;
        if node.kind() != Kind::File {
            return Err(FsError::new(path, Errno::ISDIR));
        }
        if node.unreadable {
            return Err(FsError::new(path, Errno::ACCESS));
        }
        let handle = Handle::open(self, &mut state, id, false).at(path)?;
        Ok(Box::new(MemoryFile::new(handle, path.clone())))
    }
}
