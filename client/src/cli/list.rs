//! `driftless ls`: what a folder, or a directory in it, holds, held, or has lost.

use super::asking::{ask, folder_argument, path_argument, unexpected};
use super::moment;
use super::table::{suffix, titled, to_the_second};
use super::{Context, Outcome};
use crate::daemon::control::{Answer, EntryAnswer, Failure, Listing, Request};

/// What the columns are called.
const TITLES: [&str; 4] = ["REVISION", "BYTES", "MODIFIED", "PATH"];
/// Those of what was deleted.
const DELETED_TITLES: [&str; 4] = ["REVISION", "BYTES", "DELETED", "PATH"];

/// Flags of `ls`.
#[derive(Debug, clap::Args)]
pub(super) struct ListFlags {
    /// A path in a synced folder, or FOLDER:PATH [default: the folder around the working directory,
    /// or the only one]
    #[arg(value_name = "PATH")]
    path: Option<String>,
    /// What was deleted, and can be brought back
    #[arg(long, conflicts_with = "at")]
    deleted: bool,
    /// What was there at a time, like `2026-11-20 14:00`, `2 hours ago`, `yesterday`, at a revision,
    /// or at a label
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

pub(super) fn run(flags: ListFlags, context: &Context) -> Result<Outcome, Failure> {
    let path = flags.path.map(path_argument).transpose()?;
    let folder = folder_argument(None);
    let what = match (flags.deleted, &flags.at) {
        (true, _) => Listing::Deleted,
        (false, Some(at)) => Listing::At(moment::parse(at)?),
        (false, None) => Listing::Now,
    };
    match ask(context, &Request::List { path, folder, what })? {
        Answer::List(list) if flags.deleted => {
            let rows = list.entries.iter().map(deleted_row);
            context.output.answer(&list, || titled(&DELETED_TITLES, rows))
        }
        Answer::List(list) => {
            let at = list.at.as_ref();
            let at = at
                .map(|at| format!("as of revision {} ({})", at.revision, to_the_second(&at.time)));
            if let Some(at) = at {
                context.output.remark(&at);
            }
            context.output.answer(&list, || titled(&TITLES, list.entries.iter().map(row)))
        }
        _ => Err(unexpected(&context.home)),
    }
}

fn row(entry: &EntryAnswer) -> Vec<String> {
    line(entry, entry.mtime.clone())
}

fn deleted_row(entry: &EntryAnswer) -> Vec<String> {
    line(entry, entry.deleted_at.as_deref().map(to_the_second))
}

fn line(entry: &EntryAnswer, time: Option<String>) -> Vec<String> {
    vec![
        entry.revision.to_string(),
        entry.size.to_string(),
        time.unwrap_or_else(|| "-".to_owned()),
        format!("{}{}", entry.path, suffix(&entry.kind)),
    ]
}
