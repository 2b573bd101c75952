//! `driftless retention`: how much of a folder's past is kept.

use super::asking::{ask, folder_argument, unexpected};
use super::table::{count, table, to_the_second};
use super::{Context, Outcome};
use crate::daemon::control::{
    Answer, Failure, Merge, PreviewAnswer, Request, RetentionAnswer, SettingsAnswer,
    SettingsArgument,
};
use common::duration::parse_window_ms;
use common::record::Retention;
use std::fmt::Write;

/// Moments that a preview lists on a terminal; `--json` has all.
const MOMENTS_SHOWN: usize = 20;

/// Commands of `retention`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum RetentionCommand {
    /// Show how much is kept
    Show {
        /// The folder [default: the one around the working directory, or the only one]
        #[arg(long, value_name = "NAME")]
        folder: Option<String>,
    },
    /// Set how much is kept; what is not given stays as it is
    Set(SetFlags),
    /// Tell what would be released now, under what is set or what is given
    Preview(PreviewFlags),
}

/// Windows of retention.
#[derive(Debug, clap::Args)]
struct Windows {
    /// Keep every moment for so long, such as 30d, or forever
    #[arg(long, value_name = "WINDOW", value_parser = parse_window_ms)]
    keep_all: Option<u64>,
    /// Keep the last moment of each day for so long, such as 1y, or none
    #[arg(long, value_name = "WINDOW", value_parser = parse_window_ms)]
    daily: Option<u64>,
    /// Keep the last moment of each month for so long
    #[arg(long, value_name = "WINDOW", value_parser = parse_window_ms)]
    monthly: Option<u64>,
    /// Keep everything for ever
    #[arg(long, conflicts_with_all = ["keep_all", "daily", "monthly"])]
    keep_everything: bool,
}

/// Flags of `retention set`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true)
    .args(["keep_all", "daily", "monthly", "keep_everything"]))]
pub(super) struct SetFlags {
    #[command(flatten)]
    windows: Windows,
    /// The folder [default: the one around the working directory, or the only one]
    #[arg(long, value_name = "NAME")]
    folder: Option<String>,
}

/// Flags of `retention preview`.
#[derive(Debug, clap::Args)]
pub(super) struct PreviewFlags {
    #[command(flatten)]
    windows: Windows,
    /// The folder [default: the one around the working directory, or the only one]
    #[arg(long, value_name = "NAME")]
    folder: Option<String>,
}

impl Windows {
    fn argument(&self) -> SettingsArgument {
        let Retention { keep_all_ms, daily_ms, monthly_ms } = Retention::EVERYTHING;
        let all = |window| self.keep_everything.then_some(window);
        SettingsArgument {
            keep_all_ms: self.keep_all.or(all(keep_all_ms)),
            daily_ms: self.daily.or(all(daily_ms)),
            monthly_ms: self.monthly.or(all(monthly_ms)),
            merge: None,
        }
    }
}

pub(super) fn run(command: RetentionCommand, context: &Context) -> Result<Outcome, Failure> {
    let request = match command {
        RetentionCommand::Show { folder } => {
            Request::SettingsShow { folder: folder_argument(folder) }
        }
        RetentionCommand::Set(SetFlags { windows, folder }) => {
            Request::SettingsSet { folder: folder_argument(folder), set: windows.argument() }
        }
        RetentionCommand::Preview(PreviewFlags { windows, folder }) => {
            Request::RetentionPreview { folder: folder_argument(folder), set: windows.argument() }
        }
    };
    match ask(context, &request)? {
        Answer::Settings(settings) => context.output.answer(&settings, || settings_text(&settings)),
        Answer::Preview(preview) => context.output.answer(&preview, || preview_text(&preview)),
        _ => Err(unexpected(&context.home)),
    }
}

fn windows_text(retention: &RetentionAnswer) -> String {
    if retention.keep_all == "forever" {
        return "everything for ever".to_owned();
    }
    let RetentionAnswer { keep_all, daily, monthly } = retention;
    format!("every moment: {keep_all}, daily: {daily}, monthly: {monthly}")
}

/// What a folder is set to, for a person.
pub(super) fn settings_text(settings: &SettingsAnswer) -> String {
    let merge = match settings.merge {
        Merge::Auto => "auto",
        Merge::Ask => "ask",
        Merge::Never => "never",
    };
    let mut rows = vec![
        vec!["folder".to_owned(), settings.folder.clone()],
        vec!["kept".to_owned(), windows_text(&settings.retention)],
    ];
    if let Some(until) = &settings.until {
        let before = windows_text(&until.retention);
        rows.push(vec![
            "until".to_owned(),
            format!("{}: also what was kept before", to_the_second(&until.time)),
        ]);
        rows.push(vec!["before".to_owned(), before]);
    }
    if let Some(since) = &settings.whole_since {
        rows.push(vec!["whole since".to_owned(), to_the_second(since)]);
    }
    rows.push(vec!["merge".to_owned(), merge.to_owned()]);
    table(&rows)
}

fn preview_text(preview: &PreviewAnswer) -> String {
    let versions = count(preview.released_versions, "version", "versions");
    let contents = count(preview.released_contents, "content", "contents");
    let mut text = format!(
        "{}: {}\nreleased would be {versions}, and with them {contents} of files\n",
        preview.folder,
        windows_text(&preview.retention)
    );
    if let Some(since) = &preview.whole_since {
        let before = if preview.kept.is_empty() { "" } else { ", and before it:" };
        let since = to_the_second(since);
        let _ = writeln!(text, "every moment stays since {since}{before}");
    }
    let rows = preview.kept.iter().rev().take(MOMENTS_SHOWN);
    let rows: Vec<Vec<String>> = rows
        .map(|moment| {
            vec![
                format!("  {}", to_the_second(&moment.time)),
                format!("revision {}", moment.revision),
            ]
        })
        .collect();
    text.push_str(&table(&rows));
    match preview.kept.len().saturating_sub(MOMENTS_SHOWN) {
        0 => text,
        more => format!("{text}  and {more} older ones\n"),
    }
}
