//! The JSON objects of the control socket. Fields are only ever added.
//!
//! Owns their names. It must not know a socket.

use crate::background::{BackupReport, CheckReport, GcReport};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What an admin command asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Request {
    /// A join code for a user's first device.
    Invite {
        /// How long the code works, in milliseconds.
        life_ms: u64,
    },
    /// How the server does.
    Status,
    /// A run of the garbage collection.
    Gc {
        /// Whether it only tells what it would do.
        dry_run: bool,
        /// How long chunks stay in the trash, in milliseconds.
        grace_ms: u64,
    },
    /// A check of everything that is stored.
    Check,
    /// A copy of everything.
    Backup {
        /// Into which directory: an absolute path.
        to: PathBuf,
    },
}

impl Request {
    /// Whether it may take as long as there is much stored.
    #[must_use]
    pub const fn is_long(&self) -> bool {
        matches!(self, Self::Gc { .. } | Self::Check | Self::Backup { .. })
    }
}

/// What the server answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The invitation that was opened.
    Invitation(Invitation),
    /// How the server does.
    Status(Status),
    /// What a run of the garbage collection did.
    Gc(Box<GcReport>),
    /// What a check found.
    Check(CheckReport),
    /// What was copied.
    Backup(BackupReport),
    /// It was not done.
    Error(Failure),
}

/// An open invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// The join code: a secret.
    pub code: String,
    /// The folder that it invites to; a first device brings its own.
    pub folder: Option<String>,
    /// When it stops working, in RFC 3339.
    pub expires: String,
}

/// How the server does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The cluster's id.
    pub cluster: String,
    /// Where it listens.
    pub address: String,
    /// The metadata service.
    pub metadata: MetadataStatus,
    /// The chunk store.
    pub storage: StorageStatus,
}

/// How the metadata service does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataStatus {
    /// `serving`, or `stopped` after a failed write.
    pub state: String,
}

/// How the chunk store does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageStatus {
    /// `open`, `full`, `stopped` or `closed`.
    pub state: String,
    /// Chunks stored.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes free on its disk.
    pub free_bytes: u64,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What scripts branch on; stable.
    pub kind: String,
    /// What failed and why.
    pub message: String,
    /// What to do next; empty when there is nothing to say.
    pub hint: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_replies_keep_their_shape() {
        let request = Request::Invite { life_ms: 5 };
        let json = serde_json::to_string(&request).unwrap();
        assert_eq!(json, r#"{"command":"invite","life_ms":5}"#);
        assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), request);
        assert_eq!(
            serde_json::from_str::<Request>(r#"{"command":"status"}"#).unwrap(),
            Request::Status
        );
        let reply =
            Reply::Error(Failure { kind: "k".into(), message: "m".into(), hint: String::new() });
        let json = serde_json::to_string(&reply).unwrap();
        assert_eq!(json, r#"{"error":{"kind":"k","message":"m","hint":""}}"#);
    }
}
