//! `driftless status`: the state of the device and its folders.

use super::asking::{ask, unexpected};
use super::progress::state_text;
use super::table::{count, printable, size, table, to_the_second};
use super::{Context, Outcome};
use crate::daemon::control::{Answer, Failure, FolderStatusAnswer, Request, State, StatusAnswer};

/// Paths of a mass deletion that are shown.
const PATHS_SHOWN: usize = 10;

pub(super) fn run(context: &Context) -> Result<Outcome, Failure> {
    match ask(context, &Request::Status)? {
        Answer::Status(status) => context.output.answer(&status, || text(&status)),
        _ => Err(unexpected(&context.home)),
    }
}

fn text(status: &StatusAnswer) -> String {
    let connected = match &status.server.refused {
        Some(_) => "does not let this device in",
        None if status.server.connected => "connected",
        None => "not connected",
    };
    let mut text = table(&[
        vec!["device".into(), status.device.clone()],
        vec!["server".into(), format!("{} ({connected})", status.server.address)],
    ]);
    for folder in &status.folders {
        text.push('\n');
        text.push_str(&folder_text(folder));
    }
    if status.folders.is_empty() {
        text.push_str("no folders; add one with `driftless folder add DIR`\n");
    }
    text
}

/// A folder in a few lines.
pub(super) fn folder_text(folder: &FolderStatusAnswer) -> String {
    let issues = folder.issues.len() as u64;
    let mut rows = vec![
        vec![
            format!("folder {}", folder.name),
            format!("{} ({})", state_text(folder.state, issues), folder.path.display()),
        ],
        vec![
            "  holds".into(),
            format!("{}, {}", count(folder.entries, "entry", "entries"), size(folder.bytes)),
        ],
    ];
    if folder.pending_up > 0 || folder.pending_down > 0 {
        let waiting = format!("{} up, {} down", folder.pending_up, folder.pending_down);
        rows.push(vec!["  waiting".into(), waiting]);
    }
    if folder.conflicts > 0 {
        let conflicts = count(folder.conflicts, "conflict", "conflicts");
        rows.push(vec!["  open".into(), format!("{conflicts}: see `driftless conflicts`")]);
    }
    if let Some(mergeable) = folder.mergeable.filter(|mergeable| *mergeable > 0) {
        let merge = if mergeable == 1 { "merges" } else { "merge" };
        let command = "`driftless resolve PATH --keep merged`";
        rows.push(vec!["".into(), format!("{mergeable} of them {merge} cleanly: {command}")]);
    }
    if let Some(halt) = &folder.halt {
        let since = halt.since.as_ref().map(|since| format!(" (since {})", to_the_second(since)));
        rows.push(vec!["  halted".into(), halt.message.clone() + &since.unwrap_or_default()]);
        let shown = halt.entries.iter().take(PATHS_SHOWN);
        rows.extend(shown.map(|path| vec!["  would go".into(), path.clone()]));
        if halt.entries.len() > PATHS_SHOWN {
            rows.push(vec!["".into(), "and others: `driftless plan` lists all".into()]);
        }
        rows.push(vec!["  to do".into(), halt.hint.clone()]);
    }
    if folder.state == State::Paused {
        rows.push(vec!["  to do".into(), "`driftless resume` to go on".into()]);
    }
    // What halted it is said already.
    let halt = folder.halt.as_ref().map(|halt| &halt.message);
    if let Some(trouble) = folder.trouble.as_ref().filter(|trouble| Some(*trouble) != halt) {
        rows.push(vec!["  trouble".into(), trouble.clone()]);
    }
    if folder.watch.contains(' ') {
        rows.push(vec!["  watch".into(), folder.watch.clone()]);
    }
    let mut text = table(&rows);
    for issue in &folder.issues {
        let (path, reason) = (printable(&issue.path), printable(&issue.reason));
        text.push_str(&format!("  not synced: {path}: {reason}\n"));
    }
    let more = folder.issues_total.saturating_sub(issues);
    if more > 0 {
        text.push_str(&format!("  not synced: and {more} more\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::control::{IssueAnswer, ServerAnswer};

    #[test]
    fn a_status_is_read_by_people() {
        let folder = FolderStatusAnswer {
            name: "notes".into(),
            path: "/n".into(),
            state: State::Idle,
            entries: 1,
            bytes: 2048,
            pending_up: 0,
            pending_down: 0,
            conflicts: 2,
            mergeable: Some(1),
            issues: vec![IssueAnswer { path: "a".into(), reason: "r".into() }],
            issues_total: 24,
            cursor: None,
            halt: None,
            trouble: None,
            watch: "complete".into(),
        };
        let server = ServerAnswer { address: "h:1".into(), connected: false, refused: None };
        let status = StatusAnswer { device: "d".into(), server, folders: vec![folder] };
        let expected = "\
device  d
server  h:1 (not connected)

folder notes  up to date but for paths that are not synced (/n)
  holds       1 entry, 2.0 KiB
  open        2 conflicts: see `driftless conflicts`
              1 of them merges cleanly: `driftless resolve PATH --keep merged`
  not synced: a: r
  not synced: and 23 more
";
        assert_eq!(text(&status), expected);
        let paused = FolderStatusAnswer { state: State::Paused, ..status.folders[0].clone() };
        assert!(folder_text(&paused).contains("\n  to do       `driftless resume` to go on\n"));
    }
}
