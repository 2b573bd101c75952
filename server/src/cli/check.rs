//! `driftless-server check`: whether everything that is stored is whole, of a running server or of a
//! data directory that none runs on.

use super::{CommandFailure, answer_to, print_json, print_line, print_problems, runtime};
use crate::assemble::{OfflineError, check_stopped, explained};
use crate::background::{BackupError, CheckReport};
use crate::control::{AskError, Reply, Request};
use std::path::PathBuf;

/// Flags of `check`.
#[derive(Debug, clap::Args)]
pub(super) struct CheckFlags {
    /// Data directory, of a running server or of a stopped one
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// Says whether everything is whole.
pub(super) fn run(flags: &CheckFlags, json: bool) -> Result<bool, CommandFailure> {
    let running = answer_to(&flags.data, &Request::Check, |reply| match reply {
        Reply::Check(found) => Some(found),
        _ => None,
    });
    let report = match running {
        Ok(report) => report,
        Err(AskError::NotRunning { .. }) => {
            let checked = runtime()?.block_on(check_stopped(&flags.data));
            checked.map_err(|error| offline(&error))?
        }
        Err(error) => return Err(CommandFailure::asking(error, &flags.data)),
    };
    if json {
        print_json(&report)?;
    } else {
        print_report(&report)?;
        print_problems(&report.problems);
    }
    Ok(report.ok)
}

fn print_report(report: &CheckReport) -> Result<(), CommandFailure> {
    print_line(&format!("folders    {}", report.folders))?;
    print_line(&format!("revisions  {}", report.revisions))?;
    print_line(&format!("objects    {}", report.objects))?;
    let verified = &report.verified;
    print_line(&format!("verified   {} chunks, {} bytes", verified.chunks, verified.bytes))?;
    let found = report.problems.problems.len() as u64 + report.problems.problems_more;
    print_line(&match found {
        0 => "everything is whole".to_owned(),
        found => format!("problems   {found}"),
    })
}

/// Why something with a stopped data directory was not done.
pub(super) fn offline(error: &OfflineError) -> CommandFailure {
    let (kind, hint) = match error {
        OfflineError::Server(error) => {
            return CommandFailure::new(error.kind(), &error.explain(), &error.hint());
        }
        OfflineError::NoData { .. } => ("no_data", "give the directory that `serve` was given"),
        OfflineError::InBackup { .. } => ("in_backup", "give a directory elsewhere"),
        OfflineError::NotEmpty { .. } => ("not_empty", "give a directory that is not there yet"),
        OfflineError::Backup(BackupError::Mixed { .. }) => {
            ("backup", "put back the server.key that was in it, or take another backup")
        }
        OfflineError::Backup(_) => ("backup", "give the directory of a backup that was completed"),
        OfflineError::Store(_) | OfflineError::Io(_) => {
            ("io", "look at the directory's owner, its permissions and its disk")
        }
    };
    CommandFailure::new(kind, &explained(error), hint)
}
