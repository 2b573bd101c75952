//! `driftless resolve`: settles a conflict.

use super::asking::{ask, path_argument, unexpected};
use super::{Context, Outcome};
use crate::daemon::control::{Answer, Failure, Keep, Request};

/// Flags of `resolve`.
#[derive(Debug, clap::Args)]
pub(super) struct ResolveFlags {
    /// Either path of the conflict, in a synced folder or as FOLDER:PATH
    #[arg(value_name = "PATH")]
    path: String,
    /// Which side stays
    #[arg(long, value_name = "SIDE")]
    keep: Keep,
}

pub(super) fn run(flags: ResolveFlags, context: &Context) -> Result<Outcome, Failure> {
    let path = path_argument(flags.path)?;
    let text = path.text.clone();
    match ask(context, &Request::Resolve { path, keep: flags.keep })? {
        Answer::Done(done) => context.output.answer(&done, || format!("{text}: resolved")),
        _ => Err(unexpected(&context.home)),
    }
}
