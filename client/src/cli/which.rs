//! Which version a command is about: `--rev R` or `--at TIME`.
//!
//! Owns these flags. It must not know what is done with the version.

use super::moment;
use crate::daemon::control::{Failure, Which};

/// Flags that say which version.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct WhichFlags {
    /// Which revision, from `log`; of a deletion, from `ls --deleted` too, what was there just before
    #[arg(long = "rev", value_name = "REVISION", value_parser = revision)]
    revision: Option<(u64, u32)>,
    /// As it was at a time, like `2026-11-20 14:00`, `2 hours ago`, `yesterday`, at a revision, or at
    /// a label
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

impl WhichFlags {
    pub(super) fn which(&self) -> Result<Which, Failure> {
        match (self.revision, &self.at) {
            (Some((revision, 0)), _) => Ok(Which::Revision(revision)),
            (Some((revision, older)), _) => Ok(Which::Older(revision, older)),
            (None, Some(at)) => Ok(Which::At(moment::parse(at)?)),
            // The parser asks for one of them.
            (None, None) => Err(Failure::new("usage", "no version is named", "use --rev or --at")),
        }
    }
}

/// `7`, or `7.1` for the content that revision 7 set before its last.
pub(super) fn revision(text: &str) -> Result<(u64, u32), String> {
    let (revision, older) = text.split_once('.').unwrap_or((text, "0"));
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = revision.parse().ok().zip(older.parse().ok());
    parsed
        .filter(|_| number(revision) && number(older))
        .ok_or_else(|| "it is no revision: `driftless log PATH` lists them".to_owned())
}

#[cfg(test)]
mod tests {
    use super::revision;

    #[test]
    fn revisions_may_have_parts() {
        assert_eq!(revision("7"), Ok((7, 0)));
        assert_eq!(revision("7.12"), Ok((7, 12)));
        for text in ["", ".", "7.", ".1", "-1", "+1", "7.1.1", "x"] {
            assert!(revision(text).is_err(), "{text}");
        }
    }
}
