//! `driftless log`: the versions of a path, newest first; of a directory or a folder, its timeline.

use super::asking::{ask, folder_argument, path_argument, unexpected};
use super::table::{mark, printable, suffix, titled, to_the_second};
use super::{Context, Outcome};
use crate::daemon::control::{Answer, Failure, LogAnswer, Request, VersionAnswer};

/// What the columns are called.
const TITLES: [&str; 6] = ["REVISION", "ACCEPTED", "DEVICE", "CHANGE", "BYTES", "PATH"];

/// Versions of a page.
const PAGE: u32 = 1000;

/// Flags of `log`.
#[derive(Debug, clap::Args)]
pub(super) struct LogFlags {
    /// A path in a synced folder, or FOLDER:PATH [default: the folder around the working directory,
    /// or the only one]
    #[arg(value_name = "PATH")]
    path: Option<String>,
    /// How many versions a page has, about: it holds whole revisions
    #[arg(long, value_name = "N", default_value_t = PAGE, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Only versions before this revision: the next page
    #[arg(long, value_name = "REVISION", value_parser = clap::value_parser!(u64).range(1..))]
    before: Option<u64>,
}

pub(super) fn run(flags: LogFlags, context: &Context) -> Result<Outcome, Failure> {
    let path = flags.path.map(path_argument).transpose()?;
    let folder = folder_argument(None);
    let (before, limit) = (flags.before.unwrap_or(0), flags.limit);
    match ask(context, &Request::Log { path, folder, before, limit })? {
        Answer::Log(log) => {
            if let Some(bundle) = &log.bundle {
                let (path, bundle) = (printable(&log.path), printable(bundle));
                context.output.remark(&format!(
                    "{path} lies in the bundle {bundle}, and these are the versions of all of it"
                ));
            }
            context.output.answer(&log, || shown(&log))
        }
        _ => Err(unexpected(&context.home)),
    }
}

fn shown(log: &LogAnswer) -> String {
    let mut text = titled(&TITLES, log.versions.iter().map(row));
    if let Some(last) = log.versions.last().filter(|_| log.more) {
        text.push_str(&format!("older versions: add --before {}\n", last.revision));
    }
    text
}

fn row(version: &VersionAnswer) -> Vec<String> {
    let suffix = suffix(&version.kind);
    let path = format!("{}{suffix}", version.path);
    let path = match (&version.from, version.restored) {
        (Some(from), _) => format!("{path} (from {from}{})", mark(&version.kind)),
        (None, Some(revision)) => {
            let of = version.restored_from.as_ref().map(|of| format!(" of {}", printable(of)));
            format!("{path} (of revision {revision}{})", of.unwrap_or_default())
        }
        (None, None) => path,
    };
    let (size, path) = match &version.unreadable {
        None if version.kind == "directory" => ("-".to_owned(), path),
        None => (version.size.to_string(), path),
        Some(reason) => ("?".to_owned(), format!("{path} ({reason})")),
    };
    let revision = match version.older {
        0 => version.revision.to_string(),
        older => format!("{}.{older}", version.revision),
    };
    let change = match version.attributes.as_slice() {
        [] => version.change.clone(),
        which => which.join(", "),
    };
    let time = to_the_second(&version.time);
    vec![revision, time, version.device.clone(), change, size, path]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_was_cut_says_so() {
        let version = VersionAnswer {
            revision: 7,
            older: 0,
            time: "2026-11-20T14:00:00Z".to_owned(),
            device: "laptop".to_owned(),
            size: 3,
            change: "edited".to_owned(),
            attributes: Vec::new(),
            kind: "file".to_owned(),
            name: "a.txt".to_owned(),
            path: "d/a.txt".to_owned(),
            from: None,
            restored: Some(3),
            restored_from: None,
            unreadable: None,
        };
        let cut = LogAnswer {
            path: "a.txt".to_owned(),
            versions: vec![version],
            more: true,
            bundle: None,
        };
        assert_eq!(shown(&cut).lines().count(), 3);
        assert!(shown(&cut).ends_with("d/a.txt (of revision 3)\nolder versions: add --before 7\n"));
        let mut whole = LogAnswer { more: false, ..cut };
        assert_eq!(shown(&whole).lines().count(), 2);
        whole.versions[0].restored_from = Some("e/b.txt".to_owned());
        assert!(
            shown(&whole).ends_with("d/a.txt (of revision 3 of e/b.txt)\n"),
            "{}",
            shown(&whole)
        );
        whole.versions[0].attributes = vec!["mode".to_owned(), "time".to_owned()];
        assert!(shown(&whole).contains("  mode, time  "), "{}", shown(&whole));
    }
}
