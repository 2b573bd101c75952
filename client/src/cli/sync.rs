//! `driftless sync`: rescan, push and pull until device and server hold the same.

use super::asking::{explain, unexpected};
use super::progress::Shown;
use super::status::folder_text;
use super::table::count;
use super::{Context, Outcome};
use crate::daemon::control::{
    self, Answer, Failure, FolderStatusAnswer, Request, State, SyncAnswer,
};

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
    let halted = sync.folders.iter().any(|folder| folder.state == State::Halted);
    match sync.in_sync {
        true if sync.conflicts > 0 => Outcome::NeedsUser,
        true => Outcome::Done,
        false if halted => Outcome::NeedsUser,
        false => Outcome::NotInSync,
    }
}

fn text(sync: &SyncAnswer) -> String {
    let conflicts = match sync.conflicts {
        0 => String::new(),
        open => {
            let are = if open == 1 { "is" } else { "are" };
            let conflicts = count(open, "conflict", "conflicts");
            format!("\n{conflicts} {are} open: see `driftless conflicts`")
        }
    };
    let has_issues = |folder: &&FolderStatusAnswer| !folder.issues.is_empty();
    if sync.in_sync {
        let issues = match sync.folders.iter().find(has_issues) {
            Some(_) => "\nsome paths are not synced: see `driftless status`",
            None => "",
        };
        return format!("in sync{issues}{conflicts}");
    }
    // One at rest may wait for room, and says so among its issues.
    let is_unfinished =
        |folder: &&FolderStatusAnswer| folder.state != State::Idle || has_issues(folder);
    let unfinished = sync.folders.iter().filter(is_unfinished);
    let folders: Vec<String> = unfinished.map(folder_text).collect();
    format!("not in sync\n{}", folders.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_conflicts_need_the_user_also_when_all_is_in_sync() {
        let sync = |in_sync, conflicts| SyncAnswer { in_sync, conflicts, folders: Vec::new() };
        for (answer, expected, says) in [
            (sync(true, 0), Outcome::Done, "in sync"),
            (sync(true, 1), Outcome::NeedsUser, "1 conflict is open: see `driftless conflicts`"),
            (sync(true, 2), Outcome::NeedsUser, "2 conflicts are open"),
            (sync(false, 0), Outcome::NotInSync, "not in sync"),
            (sync(false, 2), Outcome::NotInSync, "not in sync"),
        ] {
            assert_eq!(outcome(&answer), expected, "{answer:?}");
            assert!(text(&answer).contains(says), "{answer:?}");
        }
    }
}
