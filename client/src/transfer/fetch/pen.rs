//! The right to write into a staged file, which ends when its build does.
//!
//! Owns that nothing is written into a file that has left its build: jobs of the CPU pool outlive
//! the requests that they belong to, and by then the next build may go on in the same file, or a
//! user may have it.

use crate::fs::{FsError, StagedFile};
use std::ops::Deref;
use std::sync::{PoisonError, RwLock};

/// A staged file that can be written until it is closed.
pub(super) struct Pen {
    file: Box<dyn StagedFile>,
    is_open: RwLock<bool>,
}

impl Pen {
    pub(super) fn new(file: Box<dyn StagedFile>) -> Self {
        Self { file, is_open: RwLock::new(true) }
    }

    /// Writes all bytes, unless it is closed.
    pub(super) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), FsError> {
        let is_open = self.is_open.read().unwrap_or_else(PoisonError::into_inner);
        if *is_open {
            self.file.write_at(offset, bytes)
        } else {
            Err(FsError::Changed { path: self.file.path().clone() })
        }
    }

    /// Waits for the writes under way, and refuses all others.
    pub(super) fn close(&self) {
        *self.is_open.write().unwrap_or_else(PoisonError::into_inner) = false;
    }
}

impl Deref for Pen {
    type Target = dyn StagedFile;

    fn deref(&self) -> &Self::Target {
        self.file.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{MemoryFs, Root, Swap};
    use common::name::Name;
    use std::sync::Arc;

    #[test]
    fn a_job_that_comes_late_writes_nothing_into_a_file_that_has_left_its_build() {
        let fs = MemoryFs::new(Arc::new(|| 1));
        fs.init_root(b"marker").unwrap();
        let pen = Pen::new(fs.stage(&Name::new("s").unwrap()).unwrap());
        pen.write_at(0, b"in time").unwrap();
        pen.close();
        assert!(matches!(pen.write_at(0, b"late"), Err(FsError::Changed { .. })));
        assert_eq!(fs.user().read(".driftless/staging/s").unwrap(), b"in time");
    }
}
