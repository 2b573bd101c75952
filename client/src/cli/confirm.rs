//! `driftless confirm`: agrees to what a halted folder waits for.

use super::asking::{ask, unexpected};
use super::{Context, Outcome};
use crate::daemon::control::{Answer, Failure, Request};

/// Flags of `confirm`.
#[derive(Debug, clap::Args)]
pub(super) struct ConfirmFlags {
    /// Only this folder [default: all that are halted]
    #[arg(long, value_name = "NAME")]
    folder: Option<String>,
}

pub(super) fn run(flags: ConfirmFlags, context: &Context) -> Result<Outcome, Failure> {
    match ask(context, &Request::Confirm { folder: flags.folder })? {
        Answer::Done(done) => {
            context.output.answer(&done, || format!("{}: confirmed", done.on.join(", ")))
        }
        _ => Err(unexpected(&context.home)),
    }
}
