//! `driftless pause`: stops pushing and applying until `resume`.

use super::asking::{ask, unexpected};
use super::{Context, Outcome};
use crate::daemon::control::{Answer, Failure, Request};

/// Flags of `pause`.
#[derive(Debug, clap::Args)]
pub(super) struct PauseFlags {
    /// Only this folder [default: all]
    #[arg(long, value_name = "NAME")]
    folder: Option<String>,
}

pub(super) fn run(flags: PauseFlags, context: &Context) -> Result<Outcome, Failure> {
    match ask(context, &Request::Pause { folder: flags.folder })? {
        Answer::Done(done) => {
            context.output.answer(&done, || format!("{}: paused", done.on.join(", ")))
        }
        _ => Err(unexpected(&context.home)),
    }
}
