//! What can be wrong with a home.
//!
//! Owns [`HomeError`]. What a person should do about one is told by the command line.

use std::io;
use std::path::PathBuf;

/// A home that cannot be used, or a file in it.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Neither given nor to be found in the environment.
    #[error("the home directory of this user is not known")]
    Unknown,
    /// No device lives here.
    #[error("{home} holds no device")]
    NotEnrolled {
        /// The home.
        home: PathBuf,
    },
    /// Another daemon runs on this home.
    #[error("another driftless runs on this home{}", pid_text(*.pid))]
    InUse {
        /// Its process, if it said.
        pid: Option<u32>,
    },
    /// A file that has to be there is gone.
    #[error("{path} is missing")]
    Missing {
        /// Which file.
        path: PathBuf,
    },
    /// A file is not what this program writes.
    #[error("{path} is damaged: {reason}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The configuration, which people edit, cannot be read.
    #[error("{path} cannot be read: {reason}")]
    Config {
        /// Which file.
        path: PathBuf,
        /// Where, and what is wrong there.
        reason: String,
    },
    /// Others than the owner may read a file with secrets.
    #[error("{path} can be read by others than its owner (mode {mode:o})")]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The system refused.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

fn pid_text(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}
