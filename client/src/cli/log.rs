//! `driftless log`: the versions of a path, newest first.

use super::asking::{ask, path_argument, unexpected};
use super::table::titled;
use super::{Context, Outcome};
use crate::daemon::control::{Answer, Failure, LogAnswer, Request, VersionAnswer};

/// What the columns are called.
const TITLES: [&str; 6] = ["REVISION", "ACCEPTED", "DEVICE", "CHANGE", "BYTES", "NAME"];

/// Flags of `log`.
#[derive(Debug, clap::Args)]
pub(super) struct LogFlags {
    /// A path in a synced folder, or FOLDER:PATH
    #[arg(value_name = "PATH")]
    path: String,
}

pub(super) fn run(flags: LogFlags, context: &Context) -> Result<Outcome, Failure> {
    match ask(context, &Request::Log { path: path_argument(flags.path)? })? {
        Answer::Log(log) => context.output.answer(&log, || shown(&log)),
        _ => Err(unexpected(&context.home)),
    }
}

fn shown(log: &LogAnswer) -> String {
    let mut text = titled(&TITLES, log.versions.iter().map(row));
    if log.more {
        text.push_str("older versions are not shown\n");
    }
    text
}

fn row(version: &VersionAnswer) -> Vec<String> {
    let (size, name) = match &version.unreadable {
        None => (version.size.to_string(), version.name.clone()),
        Some(reason) => ("?".to_owned(), format!("{} ({reason})", version.name)),
    };
    vec![
        version.revision.to_string(),
        version.time.clone(),
        version.device.clone(),
        version.change.clone(),
        size,
        name,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_was_cut_says_so() {
        let version = VersionAnswer {
            revision: 7,
            time: "2026-11-20T14:00:00Z".to_owned(),
            device: "laptop".to_owned(),
            size: 3,
            change: "edited".to_owned(),
            name: "a.txt".to_owned(),
            unreadable: None,
        };
        let cut = LogAnswer { path: "a.txt".to_owned(), versions: vec![version], more: true };
        assert_eq!(shown(&cut).lines().count(), 3);
        assert!(shown(&cut).ends_with("older versions are not shown\n"));
        assert_eq!(shown(&LogAnswer { more: false, ..cut }).lines().count(), 2);
    }
}
