//! `driftless log`: the versions of a path, newest first.

use super::asking::{ask, path_argument, unexpected};
use super::table::titled;
use super::{Context, Outcome};
use crate::daemon::control::{Answer, Failure, Request, VersionAnswer};

/// What the columns are called.
const TITLES: [&str; 6] = ["REVISION", "ACCEPTED", "DEVICE", "CHANGE", "BYTES", "NAME"];

/// Flags of `log`.
#[derive(Debug, clap::Args)]
pub(super) struct LogFlags {
    /// A path in a synced folder, or FOLDER:PATH
    #[arg(value_name = "PATH")]
    path: String,
}

pub(super) fn run(flags: LogFlags, context: &Context) -> Result<Outcome, Failure> {
    match ask(context, &Request::Log { path: path_argument(flags.path)? })? {
        Answer::Log(log) => {
            context.output.answer(&log, || titled(&TITLES, log.versions.iter().map(row)))
        }
        _ => Err(unexpected(&context.home)),
    }
}

fn row(version: &VersionAnswer) -> Vec<String> {
    vec![
        version.revision.to_string(),
        version.time.clone(),
        version.device.clone(),
        version.change.clone(),
        version.size.to_string(),
        version.name.clone(),
    ]
}
