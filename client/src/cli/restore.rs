//! `driftless restore`: a file, a directory or a folder as it was, in its place as new versions or
//! beside.

use super::asking::{absolute, ask, path_argument, unexpected};
use super::changes::changes;
use super::table::{count, size, to_the_second};
use super::which::WhichFlags;
use super::{Context, Outcome};
use crate::daemon::control::{Answer, Failure, Request, RestoreAnswer, Which};
use std::path::PathBuf;

/// Flags of `restore`.
#[derive(Debug, clap::Args)]
pub(super) struct RestoreFlags {
    /// A path in a synced folder, or FOLDER:PATH
    #[arg(value_name = "PATH")]
    path: String,
    #[command(flatten)]
    which: WhichFlags,
    /// A file or directory that does not exist yet, to restore to instead
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
        Some(to) => Request::Export { path, which, to: absolute(to)?, bytes_only: false },
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

fn told(restored: &RestoreAnswer, path: &str, older: u32) -> String {
    let RestoreAnswer { at, .. } = restored;
    let time = to_the_second(&at.time);
    let then = match older {
        0 => format!("as it was at revision {} ({time})", at.revision),
        // Not what the revision came to: one of the contents that it was made of.
        older => format!("as revision {}.{older} has it ({time})", at.revision),
    };
    let number = count(restored.changes.len() as u64, "change", "changes");
    let list = changes(&restored.changes);
    if restored.changes.is_empty() {
        return format!("{path} is {then} already");
    }
    if !restored.done {
        return format!("{list}{path} would be {then}: {number}; nothing was done");
    }
    let rest = if restored.complete {
        ""
    } else {
        "\nnot all of it is on this disk yet: `driftless status` says why"
    };
    format!("{list}{path} is {then}: {number}{rest}")
}
