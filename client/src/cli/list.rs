//! `driftless ls`: what a folder, or a directory in it, holds.

use super::asking::{ask, path_argument, unexpected};
use super::table::titled;
use super::{Context, Outcome};
use crate::daemon::control::{Answer, EntryAnswer, Failure, Request};

/// What the columns are called.
const TITLES: [&str; 4] = ["REVISION", "BYTES", "MODIFIED", "PATH"];

/// Flags of `ls`.
#[derive(Debug, clap::Args)]
pub(super) struct ListFlags {
    /// A path in a synced folder, or FOLDER:PATH [default: the only folder]
    #[arg(value_name = "PATH")]
    path: Option<String>,
}

pub(super) fn run(flags: ListFlags, context: &Context) -> Result<Outcome, Failure> {
    let path = flags.path.map(path_argument).transpose()?;
    match ask(context, &Request::List { path })? {
        Answer::List(list) => {
            context.output.answer(&list, || titled(&TITLES, list.entries.iter().map(row)))
        }
        _ => Err(unexpected(&context.home)),
    }
}

fn row(entry: &EntryAnswer) -> Vec<String> {
    let suffix = match entry.kind.as_str() {
        "directory" => "/",
        "symlink" => "@",
        _ => "",
    };
    vec![
        entry.revision.to_string(),
        entry.size.to_string(),
        entry.mtime.clone().unwrap_or_else(|| "-".to_owned()),
        format!("{}{suffix}", entry.path),
    ]
}
