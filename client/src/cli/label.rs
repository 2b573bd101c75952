//! `driftless label`: names for moments of a folder, which are then kept.

use super::asking::{ask, folder_argument, unexpected};
use super::moment;
use super::table::{titled, to_the_second};
use super::{Context, Outcome};
use crate::daemon::control::{Answer, Failure, LabelAnswer, Request};

/// What the columns are called.
const TITLES: [&str; 5] = ["NAME", "MOMENT", "REVISION", "ADDED", "BY"];

/// Commands of `label`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum LabelCommand {
    /// Name a moment of the folder: it is kept whole for as long as it has the name
    Add {
        /// The label's name
        name: String,
        /// The moment, like `2026-11-20 14:00`, `2 hours ago`, `yesterday`, a revision, or another label
        /// [default: what this device has synced]
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
        /// The folder [default: the one around the working directory, or the only one]
        #[arg(long, value_name = "NAME")]
        folder: Option<String>,
    },
    /// List the labels
    Ls {
        /// The folder [default: the one around the working directory, or the only one]
        #[arg(long, value_name = "NAME")]
        folder: Option<String>,
    },
    /// Take a label away: its moment is kept as others are
    Rm {
        /// The label's name, or its id
        name: String,
        /// The folder [default: the one around the working directory, or the only one]
        #[arg(long, value_name = "NAME")]
        folder: Option<String>,
    },
}

pub(super) fn run(command: LabelCommand, context: &Context) -> Result<Outcome, Failure> {
    let request = match command {
        LabelCommand::Add { name, at, folder } => {
            let at = at.as_deref().map(moment::parse).transpose()?;
            let folder = folder_argument(folder);
            Request::LabelAdd { folder, name: name_of_its_own(name)?, at }
        }
        LabelCommand::Ls { folder } => Request::LabelList { folder: folder_argument(folder) },
        LabelCommand::Rm { name, folder } => {
            Request::LabelRemove { folder: folder_argument(folder), name }
        }
    };
    match ask(context, &request)? {
        Answer::Label(label) => context.output.answer(&label, || {
            let LabelAnswer { folder, name, revision, time, .. } = &label;
            format!("{folder}: {name} is revision {revision} of {}", to_the_second(time))
        }),
        Answer::Labels(labels) => {
            context.output.answer(&labels, || titled(&TITLES, labels.labels.iter().map(row)))
        }
        Answer::Done(done) => {
            let folder = done.folder.iter().map(|name| format!("{name}: ")).collect::<String>();
            let text = || format!("{folder}label {} is gone", done.on.join(", "));
            context.output.answer(&done, text)
        }
        _ => Err(unexpected(&context.home)),
    }
}

/// A name by which the label can be asked for: what reads like a time or a revision would be taken
/// as one.
fn name_of_its_own(name: String) -> Result<String, Failure> {
    if !moment::is_like_a_moment(&name) {
        return Ok(name);
    }
    let message = format!("{name}: reads like a time or a revision, as which `--at` would take it");
    let hint = "choose a name with a word in it that is about neither";
    Err(Failure::new("bad_name", message, hint))
}

/// The revision that a moment is given by.
fn row(label: &LabelAnswer) -> Vec<String> {
    let name = match &label.unreadable {
        None => label.name.clone(),
        Some(reason) => format!("{} ({reason})", label.id),
    };
    let LabelAnswer { time, revision, added, device, .. } = label;
    vec![name, to_the_second(time), revision.to_string(), to_the_second(added), device.clone()]
}
