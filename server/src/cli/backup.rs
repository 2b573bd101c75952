//! `driftless-server backup`: a copy of a running server, made or renewed.

use super::{CommandFailure, answer_to, print_json, print_line, print_problems};
use crate::control::{AskError, Reply, Request};
use std::path::{Path, PathBuf};

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
    let asked = answer_to(&flags.data, &Request::Backup { to: to.clone() }, |reply| match reply {
        Reply::Backup(found) => Some(found),
        _ => None,
    });
    let report = asked.map_err(|error| failed(error, &flags.data, &to))?;
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

/// What there is of a backup whose server did not answer.
fn failed(error: AskError, data: &Path, to: &Path) -> CommandFailure {
    let AskError::Gone { .. } = error else { return CommandFailure::asking(error, data) };
    CommandFailure::new(
        "server_gone",
        &format!("{error}: the backup in {} is not complete", to.display()),
        &format!(
            "see with `driftless-server status --data {data}` whether it runs, and look at its log; if it \
             does not, start it with `driftless-server serve --data {data}`; then make the backup again, \
             which copies only what is not there yet; an older one that was complete still is",
            data = data.display()
        ),
    )
}
