//! `driftless why`: why a path is or is not synced, and who has which version.

use super::asking::{ask, path_argument, unexpected};
use super::table::{printable, table};
use super::{Context, Outcome};
use crate::daemon::control::{Answer, Failure, Request, WhyAnswer};
use std::ffi::OsString;

/// Flags of `why`.
#[derive(Debug, clap::Args)]
pub(super) struct WhyFlags {
    /// A path in a synced folder, or FOLDER:PATH
    #[arg(value_name = "PATH")]
    path: OsString,
}

pub(super) fn run(flags: WhyFlags, context: &Context) -> Result<Outcome, Failure> {
    // Of a name that is not UTF-8 it is known how it is shown, and why it is not synced.
    let path = flags.path.to_string_lossy().into_owned();
    match ask(context, &Request::Why { path: path_argument(path)? })? {
        Answer::Why(why) => context.output.answer(&why, || text(&why)),
        _ => Err(unexpected(&context.home)),
    }
}

fn text(why: &WhyAnswer) -> String {
    let bundle = if why.kind.as_deref() == Some("bundle") { " (bundle)" } else { "" };
    let is_whole = why.path.is_empty();
    let path = if is_whole { "the whole folder".to_owned() } else { printable(&why.path) };
    let mut text = format!("{path}{bundle}: {}\n", why.state);
    for reason in &why.reasons {
        text.push_str(&format!("  {}\n", printable(reason)));
    }
    let revision = |revision: Option<u64>| {
        revision.map_or_else(|| "-".to_owned(), |revision| format!("revision {revision}"))
    };
    let mut rows = vec![
        vec!["  server".to_owned(), revision(why.revision)],
        vec!["  this disk".to_owned(), revision(why.held)],
    ];
    rows.extend(why.devices.iter().map(|holder| {
        let has = match (holder.has_it, is_whole) {
            (true, false) => "has it",
            (false, false) => "has an older one, or none",
            (true, true) => "has all of it",
            (false, true) => "has not all of it yet",
        };
        vec![format!("  {}", holder.device), format!("{has} (at revision {})", holder.revision)]
    }));
    text + &table(&rows)
}
