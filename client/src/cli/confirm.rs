//! `driftless confirm`: agrees to what a halted folder waits for.

use super::asking::{ask, unexpected};
use super::table::printable;
use super::{Context, Outcome};
use crate::daemon::control::{Answer, DoneAnswer, Failure, Request};

/// Flags of `confirm`.
#[derive(Debug, clap::Args)]
pub(super) struct ConfirmFlags {
    /// Only this folder [default: all that are halted]
    #[arg(long, value_name = "NAME")]
    folder: Option<String>,
}

pub(super) fn run(flags: ConfirmFlags, context: &Context) -> Result<Outcome, Failure> {
    match ask(context, &Request::Confirm { folder: flags.folder })? {
        Answer::Done(done) => context.output.answer(&done, || text(&done)),
        _ => Err(unexpected(&context.home)),
    }
}

/// What was confirmed, as far as the daemon has said it.
fn text(done: &DoneAnswer) -> String {
    let mut text = format!("{}: confirmed", done.on.join(", "));
    for agreed in &done.agreed {
        text.push_str(&format!("\n  {}", printable(agreed)));
    }
    text
}
