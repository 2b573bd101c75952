//! `driftless conflicts`: what is open.

use super::asking::{ask, path_argument, unexpected};
use super::table::{printable, size, suffix, table, to_the_second};
use super::{Context, Outcome};
use crate::daemon::control::{Answer, ConflictAnswer, Failure, Request};

/// Flags of `conflicts`.
#[derive(Debug, clap::Args)]
pub(super) struct ConflictsFlags {
    /// Only those at or below this path, in a synced folder or as FOLDER:PATH
    #[arg(value_name = "PATH")]
    path: Option<String>,
    /// Show what each side made of what both started from
    #[arg(long)]
    diff: bool,
}

pub(super) fn run(flags: ConflictsFlags, context: &Context) -> Result<Outcome, Failure> {
    let path = flags.path.map(path_argument).transpose()?;
    let of_path = path.as_ref().map(|path| format!(" at {}", printable(&path.text)));
    match ask(context, &Request::Conflicts { path, diff: flags.diff })? {
        Answer::Conflicts(answer) => {
            context.output.answer(&answer, || {
                if answer.conflicts.is_empty() {
                    let others = if answer.unknown.is_empty() { "" } else { " in other folders" };
                    return format!("no open conflicts{}{others}", of_path.unwrap_or_default());
                }
                answer.conflicts.iter().map(text).collect::<Vec<_>>().join("\n")
            })?;
            for unknown in &answer.unknown {
                let (folder, reason) = (printable(&unknown.folder), printable(&unknown.reason));
                context.output.remark(&format!("{folder} could not be asked: {reason}"));
            }
            Ok(if answer.unknown.is_empty() { Outcome::Done } else { Outcome::Failed })
        }
        _ => Err(unexpected(&context.home)),
    }
}

fn text(conflict: &ConflictAnswer) -> String {
    let mut rows = Vec::new();
    for (side, path) in conflict.sides.iter().zip([&conflict.path, &conflict.copy]) {
        rows.push(vec![
            format!("  {}{}", printable(path), suffix(side.kind.as_deref().unwrap_or("file"))),
            printable(&side.device),
            format!("revision {}", side.revision),
            to_the_second(&side.time),
            side.unreadable.clone().unwrap_or_else(|| size(side.size)),
        ]);
    }
    if let Some(base) = &conflict.base {
        rows.push(vec![
            "  what both started from".to_owned(),
            base.device.as_deref().map(printable).unwrap_or_default(),
            format!("revision {}", base.revision),
            base.time.as_deref().map(to_the_second).unwrap_or_default(),
            base.size.map_or_else(|| "not in the history".to_owned(), size),
        ]);
    }
    let (folder, path) = (printable(&conflict.folder), printable(&conflict.path));
    let merge = match conflict.mergeable {
        Some(true) => "  `driftless resolve --keep merged` merges it cleanly\n",
        Some(false) => "  merging it needs an editor: `driftless resolve --keep merged`\n",
        None => "",
    };
    let diff = conflict.diff.iter().flat_map(|diff| diff.lines());
    let diff: String = diff.map(|line| format!("{}\n", printable_line(line))).collect();
    format!(
        "{folder}:{path} (opened {})\n{}{merge}{diff}",
        to_the_second(&conflict.opened),
        table(&rows)
    )
}

/// A line of a file on a terminal: its tabs are what they were.
fn printable_line(line: &str) -> String {
    line.split('\t').map(printable).collect::<Vec<_>>().join("\t")
}
