//! The control socket of a running server: `DATA/control.sock`, for its owner only.
//!
//! Owns the protocol between a running server and the admin commands of another process: one
//! connection, one JSON object a line as request, one as reply. It must not know how a command is
//! carried out: the composition root answers as [`Admin`].

mod ask;
mod protocol;
mod socket;

pub use ask::{AskError, ask};
pub use protocol::{Failure, Invitation, MetadataStatus, Reply, Request, Status, StorageStatus};
pub use socket::{ControlError, ControlSocket};

use crate::background::{BackupReport, CheckReport, GcReport};
use async_trait::async_trait;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
#[cfg(test)]
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// Carries out what the control socket is asked.
#[async_trait]
pub trait Admin: Send + Sync {
    /// Opens an invitation for a user's first device.
    async fn invite(&self, life_ms: u64) -> Result<Invitation, Failure>;

    /// Tells how the server does.
    async fn status(&self) -> Result<Status, Failure>;

    /// Collects garbage, or tells what would be done. Takes as long as it takes.
    async fn gc(&self, dry_run: bool, grace_ms: u64) -> Result<GcReport, Failure>;

    /// Checks everything that is stored. Takes as long as it takes.
    async fn check(&self) -> Result<CheckReport, Failure>;

    /// Copies everything into a directory. Takes as long as it takes.
    async fn backup(&self, to: &Path) -> Result<BackupReport, Failure>;
}

/// Longest line of either side, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Longest path that a Unix socket's address holds, in bytes, with its closing zero.
const SOCKET_PATH_BYTES_MAX: usize = 108;

/// Where the socket of a data directory is bound and found.
///
/// A path too long for a socket address is reached through the open directory in `/proc`, whose
/// descriptor has to stay open while the path is used.
struct SocketPath {
    path: PathBuf,
    _directory: Option<File>,
}

impl SocketPath {
    fn of(data: &Path) -> io::Result<Self> {
        let path = data.join("control.sock");
        if path.as_os_str().len() < SOCKET_PATH_BYTES_MAX {
            return Ok(Self { path, _directory: None });
        }
        let directory = File::open(data)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/control.sock", directory.as_raw_fd()));
        Ok(Self { path, _directory: Some(directory) })
    }
}
