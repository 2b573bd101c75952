//! `driftless folder`: the folders of this device and its user.

use super::asking::{absolute, ask, folder_argument, unexpected};
use super::table::table;
use super::{Context, Outcome, retention};
use crate::daemon::control::{Answer, Failure, FolderAnswer, Merge, Request, SettingsArgument};
use std::path::PathBuf;

/// Commands of `folder`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum FolderCommand {
    /// Make a folder of a directory
    Add {
        /// The directory; made if it is not there
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// The folder's name [default: the directory's]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// List the folders
    Ls,
    /// Sync a folder of this user into a directory
    Link {
        /// The folder
        name: String,
        /// The directory; made if it is not there
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Stop syncing a folder on this device; its files stay
    Rm {
        /// The folder
        name: String,
    },
    /// Set what all devices do with a folder
    Set {
        /// The folder
        name: String,
        /// Whether two edits of one text are merged
        #[arg(long, value_name = "POLICY")]
        merge: Merge,
    },
}

pub(super) fn run(command: FolderCommand, context: &Context) -> Result<Outcome, Failure> {
    let request = match command {
        FolderCommand::Add { directory, name } => {
            Request::FolderAdd { directory: absolute(&directory)?, name }
        }
        FolderCommand::Ls => Request::FolderList,
        FolderCommand::Link { name, directory } => {
            Request::FolderLink { name, directory: absolute(&directory)? }
        }
        FolderCommand::Rm { name } => Request::FolderRemove { name },
        FolderCommand::Set { name, merge } => {
            let set = SettingsArgument { merge: Some(merge), ..SettingsArgument::default() };
            Request::SettingsSet { folder: folder_argument(Some(name)), set }
        }
    };
    match ask(context, &request)? {
        Answer::Settings(settings) => {
            context.output.answer(&settings, || retention::settings_text(&settings))
        }
        Answer::Folder(folder) => context.output.answer(&folder, || row(&folder).join(": ")),
        Answer::Folders(folders) => context
            .output
            .answer(&folders, || table(&folders.list.iter().map(row).collect::<Vec<_>>())),
        Answer::Done(done) => context.output.answer(&done, || {
            format!("{} is no longer synced here; its files stay", done.on.join(", "))
        }),
        _ => Err(unexpected(&context.home)),
    }
}

fn row(folder: &FolderAnswer) -> Vec<String> {
    let path = folder.path.as_ref().map(|path| path.display().to_string());
    vec![folder.name.clone(), path.unwrap_or_else(|| "not synced here".to_owned())]
}
