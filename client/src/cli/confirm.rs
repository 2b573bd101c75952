//! `driftless confirm`: agrees to what a halted folder waits for, or takes it back.

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
    /// Take back the mass deletion that waits: what is gone comes back
    #[arg(long)]
    undo: bool,
}

pub(super) fn run(flags: ConfirmFlags, context: &Context) -> Result<Outcome, Failure> {
    let ConfirmFlags { folder, undo } = flags;
    match ask(context, &Request::Confirm { folder, undo })? {
        Answer::Done(done) => context.output.answer(&done, || text(&done, undo)),
        _ => Err(unexpected(&context.home)),
    }
}

/// What was confirmed, as far as the daemon has said it.
fn text(done: &DoneAnswer, undo: bool) -> String {
    let word = if undo { "taken back" } else { "confirmed" };
    let mut text = format!("{}: {word}", done.on.join(", "));
    for agreed in &done.agreed {
        text.push_str(&format!("\n  {}", printable(agreed)));
    }
    text
}
