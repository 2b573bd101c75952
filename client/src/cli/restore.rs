//! `driftless restore`: a file, a directory or a folder as it was, in its place as new versions or
//! beside.

use super::asking::{absolute, ask, path_argument, unexpected};
use super::changes::changes;
use super::table::{count, size, to_the_second};
use super::which::WhichFlags;
use super::{Context, Outcome};
use crate::daemon::control::{Answer, Failure, OfHaltAnswer, Request, RestoreAnswer, Which};
use crate::daemon::roots::root_around;
use std::path::{Path, PathBuf};

/// Flags of `restore`.
#[derive(Debug, clap::Args)]
pub(super) struct RestoreFlags {
    /// A path in a synced folder, or FOLDER:PATH
    #[arg(value_name = "PATH")]
    path: String,
    #[command(flatten)]
    which: WhichFlags,
    /// A file or directory outside of synced folders that does not exist yet, to restore to instead
    #[arg(long, value_name = "DEST", conflicts_with = "dry_run")]
    to: Option<PathBuf>,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(flags: RestoreFlags, context: &Context) -> Result<Outcome, Failure> {
    let RestoreFlags { path, which, to, dry_run } = flags;
    let path = path_argument(path)?;
    let (text, which) = (path.text.clone(), which.which()?);
    let older = if let Which::Older(_, older) = which { older } else { 0 };
    let request = match &to {
        Some(to) => Request::Export { path, which, to: outside(to)?, bytes_only: false },
        None => Request::Restore { path, which, dry_run },
    };
    match (ask(context, &request)?, to) {
        (Answer::Restored(restored), None) => {
            let outcome = context.output.answer(&restored, || told(&restored, &text, older))?;
            // It is in the folder, and something keeps it from this disk.
            let waits = restored.done && !restored.complete;
            Ok(if waits { Outcome::NotInSync } else { outcome })
        }
        (Answer::Exported(exported), Some(to)) => context.output.answer(&exported, || {
            format!("{} written to {}", size(exported.exported_bytes), to.display())
        }),
        _ => Err(unexpected(&context.home)),
    }
}

/// Where to restore to, which no folder may be around: there it would be synced as new files. What is
/// there already is refused as that.
fn outside(to: &Path) -> Result<PathBuf, Failure> {
    let to = absolute(to)?;
    let is_there = std::fs::symlink_metadata(&to).is_ok();
    match root_around(&to)? {
        Some(root) if !is_there => Err(Failure::new(
            "in_a_folder",
            format!("{} lies in {}, which is synced", to.display(), root.display()),
            "give a path outside of it, or leave --to out to restore in place",
        )),
        _ => Ok(to),
    }
}

fn told(restored: &RestoreAnswer, path: &str, older: u32) -> String {
    let RestoreAnswer { at, .. } = restored;
    let time = to_the_second(&at.time);
    let then = match older {
        0 => format!("as it was at revision {} ({time})", at.revision),
        // Not what the revision came to: one of the contents that it was made of.
        older => format!("as revision {}.{older} has it ({time})", at.revision),
    };
    let is_done = restored.done;
    let back = absent(restored);
    let list = changes(&restored.changes);
    if restored.changes.is_empty() && back.is_empty() {
        return format!("{path} is {then} already");
    }
    let number = match restored.changes.len() as u64 {
        0 => String::new(),
        number => format!(": {}", count(number, "change", "changes")),
    };
    let is = if is_done { "is" } else { "would be" };
    let rest = match (is_done, restored.complete) {
        (false, _) => "\nnothing was done",
        (true, true) => "",
        (true, false) => "\nnot all of it is on this disk yet: `driftless status` says why",
    };
    format!("{list}{path} {is} {then}{number}{back}{rest}")
}

/// What is said of what was deleted here, and of a halt that waits for it, a line each.
fn absent(restored: &RestoreAnswer) -> String {
    let verb = |done: &'static str, would: &'static str| if restored.done { done } else { would };
    let mut text = String::new();
    if let number @ 1.. = restored.absent.len() as u64 {
        let entries = count(number, "entry", "entries");
        let (came, was) =
            (verb("brought back", "would bring back"), if number == 1 { "was" } else { "were" });
        text.push_str(&format!("\n{came} {entries} that {was} deleted here and not synced yet"));
    }
    if let Some(OfHaltAnswer { back, entries }) = restored.of_halt {
        let came = verb("came back", "would come back");
        text.push_str(&format!(
            "\n{back} of the {entries} entries that waited for `driftless confirm` {came}"
        ));
        if back < entries {
            text.push_str("; `driftless status` says what becomes of the rest");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::control::InstantAnswer;

    #[test]
    fn what_comes_back_without_a_change_at_the_server_is_said() {
        let nothing = RestoreAnswer {
            at: InstantAnswer { revision: 7, time: "t".into() },
            done: false,
            on: vec!["d".into()],
            changes: Vec::new(),
            complete: false,
            absent: Vec::new(),
            of_halt: None,
        };
        assert_eq!(told(&nothing, "d", 0), "d is as it was at revision 7 (t) already");
        let absent = RestoreAnswer { absent: vec!["d/a".into()], ..nothing };
        let expected = "d would be as it was at revision 7 (t)\nwould bring back 1 entry that was \
                        deleted here and not synced yet\nnothing was done";
        assert_eq!(told(&absent, "d", 0), expected);
        let of_halt = Some(OfHaltAnswer { back: 1, entries: 30 });
        let done = RestoreAnswer { done: true, complete: true, of_halt, ..absent };
        let expected = "d is as it was at revision 7 (t)\nbrought back 1 entry that was deleted here \
                        and not synced yet\n1 of the 30 entries that waited for `driftless confirm` \
                        came back; `driftless status` says what becomes of the rest";
        assert_eq!(told(&done, "d", 0), expected);
    }
}
