//! `driftless conflicts`: what is open.

use super::asking::{ask, unexpected};
use super::table::{printable, size, table};
use super::{Context, Outcome};
use crate::daemon::control::{Answer, ConflictAnswer, Failure, Request};

pub(super) fn run(context: &Context) -> Result<Outcome, Failure> {
    match ask(context, &Request::Conflicts)? {
        Answer::Conflicts(answer) => {
            context.output.answer(&answer, || {
                if answer.conflicts.is_empty() {
                    let others = if answer.unknown.is_empty() { "" } else { " in other folders" };
                    return format!("no open conflicts{others}");
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
            format!("  {}", printable(path)),
            side.device.clone(),
            format!("revision {}", side.revision),
            side.time.clone(),
            side.unreadable.clone().unwrap_or_else(|| size(side.size)),
        ]);
    }
    let (folder, path) = (printable(&conflict.folder), printable(&conflict.path));
    let opened = &conflict.opened;
    let base = conflict.base.map(|base| format!(", base revision {}", base.revision));
    format!("{folder}:{path} (opened {opened}{})\n{}", base.unwrap_or_default(), table(&rows))
}
