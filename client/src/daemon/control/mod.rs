//! The control socket of a running daemon: `HOME/control.sock`, for its owner only.
//!
//! Owns the protocol between the daemon and the commands of another process: one connection a
//! command, one JSON object a line as request, any number of progress lines and one answer. It must
//! not know how a command is carried out: the daemon answers as [`Commands`].

mod answers;
mod ask;
mod history_answers;
mod label_answers;
mod protocol;
mod socket;
#[cfg(test)]
mod tests;

pub use answers::*;
pub use ask::{AskFailure, ask};
pub use history_answers::*;
pub use label_answers::*;
pub use protocol::{
    Failure, FolderArgument, FolderProgress, Keep, Line, Listing, Merge, Moment, NO_MOMENT,
    PathArgument, Request, SettingsArgument, Which,
};
pub use socket::ControlSocket;

use async_trait::async_trait;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Where a command's progress is sent; what finds no room is dropped.
pub type ProgressSender = mpsc::Sender<Vec<FolderProgress>>;

/// Carries out what the control socket is asked.
#[async_trait]
pub trait Commands: Send + Sync {
    /// Carries out one request. Dropped when whoever asked has gone.
    async fn carry_out(
        &self,
        request: Request,
        progress: ProgressSender,
    ) -> Result<Answer, Failure>;
}

/// Longest request line, in bytes.
const REQUEST_BYTES_MAX: u64 = 64 * 1024;
/// Longest line of an answer, in bytes: a list of a folder with a million entries.
const ANSWER_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Longest path that a Unix socket's address holds, in bytes, with its closing zero.
const SOCKET_PATH_BYTES_MAX: usize = 108;

/// Where the socket of a home is bound and found.
///
/// A path too long for a socket address is reached through the open directory in `/proc`, whose
/// descriptor has to stay open while the path is used.
struct SocketPath {
    path: PathBuf,
    _directory: Option<File>,
}

impl SocketPath {
    fn of(socket: &Path) -> io::Result<Self> {
        if socket.as_os_str().len() < SOCKET_PATH_BYTES_MAX {
            return Ok(Self { path: socket.to_owned(), _directory: None });
        }
        let directory = File::open(socket.parent().unwrap_or(Path::new("/")))?;
        let name = socket.file_name().unwrap_or_default();
        let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
        Ok(Self { path, _directory: Some(directory) })
    }
}
