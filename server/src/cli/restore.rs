//! `driftless-server restore`: a data directory from a backup.

use super::check::offline;
use super::{CommandFailure, print_json, print_line, print_problems, runtime};
use crate::assemble::restore;
use std::path::PathBuf;

/// Flags of `restore`.
#[derive(Debug, clap::Args)]
pub(super) struct RestoreFlags {
    /// The backup
    #[arg(value_name = "DIR")]
    from: PathBuf,
    /// The new data directory: empty, or not there
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// Says whether everything that versions name was there.
pub(super) fn run(flags: &RestoreFlags, json: bool) -> Result<bool, CommandFailure> {
    let restored = runtime()?.block_on(restore(&flags.from, &flags.data));
    let report = restored.map_err(|error| offline(&error))?;
    if json {
        print_json(&report)?;
        return Ok(report.problems.is_empty());
    }
    print_line(&format!("restored  {} as of {}", report.path, report.time))?;
    print_line(&format!("cluster   {}", report.cluster))?;
    print_line(&format!("folders   {}, each in a new epoch", report.folders))?;
    print_line(&format!("verified  {} objects, {} bytes", report.objects, report.bytes))?;
    print_problems(&report.problems);
    // Not part of the answer.
    eprintln!("Start it with: driftless-server serve --data {}", report.path);
    eprintln!("Give it the --listen it had, if any: devices look for it where it was.");
    eprintln!("Each device halts until `driftless confirm` is given on one of them.");
    eprintln!("{}", not_sent_again(&report.time));
    Ok(report.problems.is_empty())
}

/// What devices do not send again, and a person alone can bring back.
fn not_sent_again(time: &str) -> String {
    format!(
        "Labels, retention and merge settings that were set after {time} are lost: look at \
         `driftless label ls` and\n`driftless retention show` for each folder within 7 days, in which \
         nothing is thinned."
    )
}
