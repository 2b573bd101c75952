//! Which version a command is about: `--rev R` or `--at TIME`.
//!
//! Owns these flags. It must not know what is done with the version.

use super::moment;
use crate::daemon::control::{Failure, Which};

/// Flags that say which version.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct WhichFlags {
    /// Which revision, from `log`
    #[arg(long = "rev", value_name = "REVISION")]
    revision: Option<u64>,
    /// As it was at a time, like `2026-11-20 14:00`, `2 hours ago`, `yesterday`, or a revision
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

impl WhichFlags {
    pub(super) fn which(&self) -> Result<Which, Failure> {
        match (self.revision, &self.at) {
            (Some(revision), _) => Ok(Which::Revision(revision)),
            (None, Some(at)) => Ok(Which::At(moment::parse(at)?)),
            // The parser asks for one of them.
            (None, None) => Err(Failure::new("usage", "no version is named", "use --rev or --at")),
        }
    }
}
