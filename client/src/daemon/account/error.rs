//! Why something about the user's devices or folders was not done.
//!
//! Owns [`AccountError`]. It must not know how an error is shown.

use crate::daemon::times;
use crate::home::HomeError;
use crate::remote::RemoteError;
use common::ids::FolderId;
use common::keys::KeyringError;
use common::trust::{JoinKind, TrustError};

/// A flow of the account that failed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The server could not be asked, or said no.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// A record or document does not hold.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The keyring does not open or cannot be merged.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The home could not be read or written.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The server answered something else than it was asked.
    #[error("the server answered {0} with something else")]
    Answer(&'static str),
    /// The code is of a kind that does not enrol a device.
    #[error("this join code is for {}", kind_text(*.0))]
    CodeKind(JoinKind),
    /// What was left for the joiner was left by somebody else, or the server shows an older or
    /// another history.
    #[error("the server's device log is not the one that the invitation speaks of: {0}")]
    ForeignLog(&'static str),
    /// The server shows an older keyring than was seen.
    #[error("the server shows keyring version {found}, but {seen} was seen before")]
    KeyringRolledBack {
        /// What the server has.
        found: u64,
        /// The highest version seen.
        seen: u64,
    },
    /// The user's log no longer lists this device.
    #[error("this device was revoked{}", when_text(*.at_ms))]
    Revoked {
        /// When, in milliseconds since 1970, if that is known.
        at_ms: Option<u64>,
    },
    /// The keyring has no keys for a folder.
    #[error("the keys of folder {0} are not in the keyring")]
    NoFolderKeys(FolderId),
    /// The server lists no such folder.
    #[error("the server has no folder {0}")]
    NoSuchFolder(String),
    /// A folder of this name exists.
    #[error("there is a folder named {0} already")]
    FolderNameTaken(String),
    /// No device of this name.
    #[error("there is no device named {0}")]
    NoSuchDevice(String),
    /// Several devices of this name.
    #[error("there are several devices named {0}")]
    AmbiguousDevice(String),
    /// The device that asks.
    #[error("a device does not revoke itself")]
    RevokeSelf,
    /// Others kept changing the log or keyring first.
    #[error("other devices kept changing {0} at the same time")]
    Contended(&'static str),
}

impl AccountError {
    /// Whether trying again later may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Remote(error) => error.is_retryable(),
            Self::Keyring(error) => error.is_retryable(),
            Self::Contended(_) => true,
            _ => false,
        }
    }
}

fn when_text(at_ms: Option<u64>) -> String {
    at_ms.map(|at_ms| format!(" on {}", times::in_words(at_ms))).unwrap_or_default()
}

fn kind_text(kind: JoinKind) -> &'static str {
    match kind {
        JoinKind::Bootstrap => "the first device of a user",
        JoinKind::Device => "another device of a user",
        JoinKind::Share => "another user, which this version does not know yet",
        JoinKind::Node => "a storage node: use it with driftless-server",
    }
}
