//! Why a server does not start.
//!
//! Owns the kinds that scripts branch on and what to do next. It must not know how errors are shown.

use super::data_dir::DataDirError;
use super::reserve::START_BYTES;
use crate::chunk_store::{IndexError, OpenError, StoreError};
use crate::control::ControlError;
use crate::listen::ListenError;
use crate::meta_store::OpenError as MetaOpenError;
use common::trust::JoinCodeError;
use std::error::Error;
use std::io;

/// A server that does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Data(#[from] DataDirError),
    /// The chunk store does not open.
    #[error(transparent)]
    Chunks(#[from] OpenError),
    /// The metadata does not open.
    #[error(transparent)]
    Meta(#[from] MetaOpenError),
    /// The system gave no thread for the metadata's writer.
    #[error("the system gives no thread")]
    Thread(#[source] io::Error),
    /// The task that opens a store ended before it was done.
    #[error("opening the stores was interrupted")]
    Opening(#[source] tokio::task::JoinError),
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The system does not tell where it listens.
    #[error("the system does not tell where it listens")]
    LocalAddress(#[source] io::Error),
    /// The addresses to advertise make no join code.
    #[error("the addresses cannot be advertised: {0}")]
    Advertise(#[from] JoinCodeError),
    /// The chunk store does not take the metadata's generation.
    #[error("the chunk store does not take the generation of the garbage collection: {0}")]
    Generation(#[source] StoreError),
    /// The control socket cannot be opened.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl ServerError {
    /// What scripts branch on; stable.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            _ if self.is_no_room() => "disk_full",
            Self::Data(DataDirError::InUse { .. }) | Self::Chunks(OpenError::Locked { .. }) => {
                "data_in_use"
            }
            Self::Data(_) => "data",
            Self::Chunks(_) | Self::Generation(_) => "chunk_store",
            Self::Meta(_) => "metadata",
            Self::Opening(_) | Self::Thread(_) => "system",
            Self::Listen(ListenError::PortInUse { .. }) => "port_in_use",
            Self::Listen(_) | Self::LocalAddress(_) => "listen",
            Self::Advertise(_) => "advertise",
            Self::Control(_) => "control",
        }
    }

    /// What to do next, for a person.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Meta(MetaOpenError::Upgrade { .. }) if self.is_no_room() => {
                "make room on the disk under the data directory: bringing the metadata up to \
                 date may need, this once, as much again as meta.sqlite takes"
                    .to_owned()
            }
            _ if self.is_no_room() => format!(
                "make room on the disk under the data directory: a start needs {} MiB",
                START_BYTES / (1024 * 1024)
            ),
            Self::Data(DataDirError::InUse { .. }) | Self::Chunks(OpenError::Locked { .. }) => {
                "stop the other server, or give this one a data directory of its own".to_owned()
            }
            Self::Data(DataDirError::KeyMissing { .. }) => {
                "put server.key back from a backup: every device knows this server by it".to_owned()
            }
            Self::Data(DataDirError::KeyExposed { path, .. }) => {
                format!("chmod 600 {}", path.display())
            }
            Self::Data(DataDirError::KeyMalformed { .. }) => {
                "put server.key back from a backup".to_owned()
            }
            Self::Data(DataDirError::Unfinished { .. }) => {
                "remove what is in it, and restore again".to_owned()
            }
            Self::Data(DataDirError::Io { .. } | DataDirError::NoEntropy)
            | Self::Control(_)
            | Self::LocalAddress(_)
            | Self::Opening(_)
            | Self::Thread(_) => {
                "look at the directory's owner, its permissions and its disk".to_owned()
            }
            Self::Meta(MetaOpenError::Version { .. }) => {
                "run the newer version of driftless-server that wrote this data".to_owned()
            }
            Self::Chunks(_) | Self::Meta(_) | Self::Generation(_) => {
                "look at the disk under the data directory".to_owned()
            }
            Self::Listen(ListenError::PortInUse { address }) => format!(
                "another program has UDP port {}: stop it, or choose one with --listen",
                address.port()
            ),
            Self::Listen(_) => "choose an address of this machine with --listen".to_owned(),
            Self::Advertise(_) => "give 1 to 8 addresses as HOST or HOST:PORT".to_owned(),
        }
    }

    /// Whether it is for want of room on the disk.
    #[must_use]
    pub fn is_no_room(&self) -> bool {
        let full = |error: &io::Error| error.kind() == io::ErrorKind::StorageFull;
        match self {
            Self::Data(DataDirError::Io { source, .. })
            | Self::Chunks(OpenError::Disk { source, .. }) => full(source),
            Self::Chunks(OpenError::Index { source, .. }) => matches!(source, IndexError::NoRoom),
            Self::Meta(error) => error.is_no_room(),
            Self::Control(error) => full(&error.source),
            Self::Generation(error) => matches!(error, StoreError::DiskFull { .. }),
            _ => false,
        }
    }

    /// The message with the causes that it does not tell itself.
    #[must_use]
    pub fn explain(&self) -> String {
        explained(self)
    }
}

/// The message of an error with the causes that it does not tell itself.
pub(crate) fn explained(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}
