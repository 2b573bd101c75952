//! `driftless why`: why a path is or is not synced, and who has which version.

use super::asking::{ask, path_argument, unexpected};
use super::table::{printable, table};
use super::{Context, Outcome};
use crate::daemon::control::{Answer, Failure, Request, WhyAnswer};

/// Flags of `why`.
#[derive(Debug, clap::Args)]
pub(super) struct WhyFlags {
    /// A path in a synced folder, or FOLDER:PATH
    #[arg(value_name = "PATH")]
    path: String,
}

pub(super) fn run(flags: WhyFlags, context: &Context) -> Result<Outcome, Failure> {
    match ask(context, &Request::Why { path: path_argument(flags.path)? })? {
        Answer::Why(why) => context.output.answer(&why, || text(&why)),
        _ => Err(unexpected(&context.home)),
    }
}

fn text(why: &WhyAnswer) -> String {
    let bundle = if why.kind.as_deref() == Some("bundle") { " (bundle)" } else { "" };
    let mut text = format!("{}{bundle}: {}\n", printable(&why.path), why.state);
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
        let has = if holder.has_it { "has it" } else { "has an older one, or none" };
        vec![format!("  {}", holder.device), format!("{has} (at revision {})", holder.revision)]
    }));
    text + &table(&rows)
}
