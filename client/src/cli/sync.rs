//! `driftless sync`: rescan, push and pull until device and server hold the same.

use super::asking::{explain, unexpected};
use super::progress::Shown;
use super::status::folder_text;
use super::{Context, Outcome};
use crate::daemon::control::{self, Answer, Failure, Request, State, SyncAnswer};

/// Flags of `sync`.
#[derive(Debug, clap::Args)]
pub(super) struct SyncFlags {
    /// How long to wait, in seconds [default: as long as it takes]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

pub(super) fn run(flags: &SyncFlags, context: &Context) -> Result<Outcome, Failure> {
    let timeout_ms = flags.timeout.map(|seconds| seconds.saturating_mul(1000));
    let mut shown = Shown::new(context.output, false);
    let request = Request::Sync { timeout_ms };
    let answer = control::ask(&context.home, &request, |progress| shown.update(progress));
    shown.clear();
    let answer = answer.map_err(|error| explain(error, &context.home))?;
    let Answer::Sync(sync) = answer else { return Err(unexpected(&context.home)) };
    context.output.answer(&sync, || text(&sync))?;
    Ok(outcome(&sync))
}

fn outcome(sync: &SyncAnswer) -> Outcome {
    if sync.in_sync {
        Outcome::Done
    } else if sync.folders.iter().any(|folder| folder.state == State::Halted) {
        Outcome::NeedsUser
    } else {
        Outcome::NotInSync
    }
}

fn text(sync: &SyncAnswer) -> String {
    if sync.in_sync {
        return "in sync".to_owned();
    }
    let unfinished = sync.folders.iter().filter(|folder| folder.state != State::Idle);
    let folders: Vec<String> = unfinished.map(folder_text).collect();
    format!("not in sync\n{}", folders.join("\n"))
}
