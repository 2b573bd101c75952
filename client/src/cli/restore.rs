//! `driftless restore`: a version back in its place as a new version, or beside.

use super::asking::{absolute, ask, path_argument, unexpected};
use super::table::size;
use super::{Context, Outcome};
use crate::daemon::control::{Answer, Failure, Request};
use std::path::PathBuf;

/// Flags of `restore`.
#[derive(Debug, clap::Args)]
pub(super) struct RestoreFlags {
    /// A path in a synced folder, or FOLDER:PATH
    #[arg(value_name = "PATH")]
    path: String,
    /// Which revision, from `log`
    #[arg(long = "rev", value_name = "REVISION")]
    revision: u64,
    /// A file that does not exist yet, to restore to instead
    #[arg(long, value_name = "DEST")]
    to: Option<PathBuf>,
}

pub(super) fn run(flags: RestoreFlags, context: &Context) -> Result<Outcome, Failure> {
    let RestoreFlags { path, revision, to } = flags;
    let path = path_argument(path)?;
    let text = path.text.clone();
    let request = match &to {
        Some(to) => Request::Export { path, revision, to: absolute(to)? },
        None => Request::Restore { path, revision },
    };
    match (ask(context, &request)?, to) {
        (Answer::Done(done), None) => {
            context.output.answer(&done, || format!("{text} is as it was at revision {revision}"))
        }
        (Answer::Exported(exported), Some(to)) => context.output.answer(&exported, || {
            format!("{} written to {}", size(exported.exported_bytes), to.display())
        }),
        _ => Err(unexpected(&context.home)),
    }
}
