//! `driftless resume`: goes on after `pause`.

use super::asking::{ask, unexpected};
use super::{Context, Outcome};
use crate::daemon::control::{Answer, Failure, Request};

/// Flags of `resume`.
#[derive(Debug, clap::Args)]
pub(super) struct ResumeFlags {
    /// Only this folder [default: all]
    #[arg(long, value_name = "NAME")]
    folder: Option<String>,
}

pub(super) fn run(flags: ResumeFlags, context: &Context) -> Result<Outcome, Failure> {
    match ask(context, &Request::Resume { folder: flags.folder })? {
        Answer::Done(done) => {
            context.output.answer(&done, || format!("{}: syncing goes on", done.on.join(", ")))
        }
        _ => Err(unexpected(&context.home)),
    }
}
