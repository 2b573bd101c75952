//! `driftless-server backup`: a copy of a running server, made or renewed.

use super::{CommandFailure, asked, print_json, print_line, print_problems};
use crate::control::{Reply, Request};
use std::path::PathBuf;

/// Flags of `backup`.
#[derive(Debug, clap::Args)]
pub(super) struct BackupFlags {
    /// Where the backup goes: a new directory, or that of an earlier backup
    #[arg(value_name = "DIR")]
    to: PathBuf,
    /// Data directory of the running server
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// Says whether everything could be copied.
pub(super) fn run(flags: &BackupFlags, json: bool) -> Result<bool, CommandFailure> {
    // The server has a working directory of its own.
    let to = std::path::absolute(&flags.to)
        .map_err(|error| CommandFailure::new("usage", &error.to_string(), "give a directory"))?;
    let report = asked(&flags.data, &Request::Backup { to }, |reply| match reply {
        Reply::Backup(found) => Some(found),
        _ => None,
    })?;
    if json {
        print_json(&report)?;
        return Ok(report.problems.is_empty());
    }
    print_line(&format!("backup   {} as of {}", report.path, report.time))?;
    print_line(&format!("folders  {}", report.folders))?;
    let (copied, kept) = (&report.copied, &report.kept);
    print_line(&format!("copied   {} chunks, {} bytes", copied.chunks, copied.bytes))?;
    print_line(&format!("kept     {} chunks, {} bytes", kept.chunks, kept.bytes))?;
    print_problems(&report.problems);
    Ok(report.problems.is_empty())
}
