//! What goes over the control socket: one JSON object a line. Fields are only ever added.
//!
//! Owns requests, progress and the failure that every command can print. It must not know a socket.

use super::answers::{Answer, State};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a command asks of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Request {
    /// The state of the device and its folders.
    Status,
    /// Rescan, push and pull; answered when both sides hold the same, or in time.
    Sync {
        /// How long to wait, in milliseconds; for ever when it is not said.
        timeout_ms: Option<u64>,
    },
    /// What a folder, or a directory of it, holds.
    List {
        /// Where; the whole folder when it is not said.
        path: Option<PathArgument>,
        /// Of which folder, when there is no path.
        #[serde(flatten)]
        folder: FolderArgument,
        /// What is, what was, or what is deleted.
        what: Listing,
    },
    /// Versions of a path.
    Log {
        /// Of what; the whole folder when it is not said.
        path: Option<PathArgument>,
        /// Of which folder, when there is no path.
        #[serde(flatten)]
        folder: FolderArgument,
        /// Only those before this revision; all when it is 0.
        before: u64,
        /// About so many; a page holds whole revisions.
        limit: u32,
    },
    /// A version, into a file that must not exist; of a symlink, into a symlink; of a directory or a
    /// bundle, into a directory.
    Export {
        /// Of what.
        path: PathArgument,
        /// Which version.
        which: Which,
        /// Where to; absolute.
        to: PathBuf,
        /// Whether only a file or a link is wanted, and a directory is refused.
        #[serde(default)]
        bytes_only: bool,
    },
    /// Brings a version back in its place.
    Restore {
        /// Of what.
        path: PathArgument,
        /// Which version.
        which: Which,
        /// Only tell what it would do.
        dry_run: bool,
    },
    /// What differs between two revisions of a path.
    Diff {
        /// Of what.
        path: PathArgument,
        /// The older one, and which content of it: 1 is the one before its last. The one before the
        /// newer when it is not said.
        from: Option<(u64, u32)>,
        /// The newer one in the same way; the newest when it is not said.
        to: Option<(u64, u32)>,
        /// What is on the disk instead; of bundles only.
        #[serde(default)]
        disk: bool,
    },
    /// Open conflicts.
    Conflicts {
        /// At or below which path; in all folders when it is not said.
        #[serde(default)]
        path: Option<PathArgument>,
        /// Whether to compare the sides of each.
        #[serde(default)]
        diff: bool,
    },
    /// What a conflict would be merged from, and the merge, clean or with marks.
    Merge {
        /// Either path of it.
        path: PathArgument,
    },
    /// Settles a conflict with a content that a person gives.
    ResolveWith {
        /// Either path of it.
        path: PathArgument,
        /// The file with the content; absolute.
        file: PathBuf,
        /// What `Merge` said that it was made from, if it was: nothing is done when that has changed.
        #[serde(default)]
        seen: Option<[u64; 2]>,
    },
    /// Settles a conflict.
    Resolve {
        /// Either path of it.
        path: PathArgument,
        /// How.
        keep: Keep,
    },
    /// The user's devices.
    Devices,
    /// Revokes a device.
    DeviceRevoke {
        /// Its name, or the first digits of its id.
        name: String,
    },
    /// Stops pushing and applying.
    Pause {
        /// Which folder; all when it is not said.
        folder: Option<String>,
    },
    /// Goes on.
    Resume {
        /// Which folder; all when it is not said.
        folder: Option<String>,
    },
    /// Agrees to what halted folders wait for.
    Confirm {
        /// Which folder; all halted ones when it is not said.
        folder: Option<String>,
        /// Whether a mass deletion is taken back instead.
        #[serde(default)]
        undo: bool,
    },
    /// Why a path is or is not synced.
    Why {
        /// Of what.
        path: PathArgument,
    },
    /// What the next round would do.
    Plan {
        /// Which folder; all when it is not said.
        folder: Option<String>,
    },
    /// A join code.
    Invite {
        /// The folder that it invites to.
        #[serde(flatten)]
        folder: FolderArgument,
        /// How long it works, in milliseconds.
        life_ms: u64,
    },
    /// Makes a folder of a directory.
    FolderAdd {
        /// The directory; absolute.
        directory: PathBuf,
        /// The folder's name; the directory's when it is not said.
        name: Option<String>,
    },
    /// The user's folders.
    FolderList,
    /// Syncs a folder of the user into a directory.
    FolderLink {
        /// Which.
        name: String,
        /// The directory; absolute.
        directory: PathBuf,
    },
    /// Stops syncing a folder here; its files stay.
    FolderRemove {
        /// Which.
        name: String,
    },
    /// Names a moment.
    LabelAdd {
        /// Of which folder.
        #[serde(flatten)]
        folder: FolderArgument,
        /// The label's name.
        name: String,
        /// The moment; what this device has when it is not said.
        at: Option<Moment>,
    },
    /// The labels of a folder.
    LabelList {
        /// Which.
        #[serde(flatten)]
        folder: FolderArgument,
    },
    /// Takes a label away.
    LabelRemove {
        /// Of which folder.
        #[serde(flatten)]
        folder: FolderArgument,
        /// Its name or its id.
        name: String,
    },
    /// What a folder is set to.
    SettingsShow {
        /// Which.
        #[serde(flatten)]
        folder: FolderArgument,
    },
    /// Sets what is said, and leaves the rest.
    SettingsSet {
        /// Of which folder.
        #[serde(flatten)]
        folder: FolderArgument,
        /// What.
        set: SettingsArgument,
    },
    /// What retention would release now.
    RetentionPreview {
        /// Of which folder.
        #[serde(flatten)]
        folder: FolderArgument,
        /// Under these windows; those that are not said are as they are set.
        set: SettingsArgument,
    },
}

impl Request {
    /// The path that it is about, if it is about one.
    #[must_use]
    pub fn path(&self) -> Option<&PathArgument> {
        match self {
            Self::List { path, .. } | Self::Log { path, .. } | Self::Conflicts { path, .. } => {
                path.as_ref()
            }
            Self::Export { path, .. }
            | Self::Restore { path, .. }
            | Self::Diff { path, .. }
            | Self::Merge { path }
            | Self::ResolveWith { path, .. }
            | Self::Resolve { path, .. }
            | Self::Why { path } => Some(path),
            _ => None,
        }
    }

    /// The folder that it is about, if it is about one and names no path.
    #[must_use]
    pub fn folder(&self) -> Option<&FolderArgument> {
        match self {
            Self::List { path: None, folder, .. }
            | Self::Log { path: None, folder, .. }
            | Self::LabelAdd { folder, .. }
            | Self::LabelList { folder }
            | Self::LabelRemove { folder, .. }
            | Self::SettingsShow { folder }
            | Self::SettingsSet { folder, .. }
            | Self::RetentionPreview { folder, .. }
            | Self::Invite { folder, .. } => Some(folder),
            _ => None,
        }
    }
}

/// Settings as they were asked for. Windows are in milliseconds; the largest number is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsArgument {
    /// Within it every moment is kept.
    pub keep_all_ms: Option<u64>,
    /// Within it the last moment of each day.
    pub daily_ms: Option<u64>,
    /// Within it the last moment of each month.
    pub monthly_ms: Option<u64>,
    /// Whether two edits of one text are merged.
    pub merge: Option<Merge>,
}

/// Whether two edits of one text are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Merge {
    /// Where nothing contradicts
    Auto,
    /// Only when a person asks for it
    Ask,
    /// Not at all
    Never,
}

/// What to write where a moment is asked for, to a person who wrote something else.
pub const NO_MOMENT: &str = "write a time like `2026-11-20 14:00`, `2 hours ago` or `yesterday`, a \
                             revision from `driftless log`, or a label from `driftless label ls`";

/// A moment of a folder's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// A revision.
    Revision(u64),
    /// The last revision at or before a time in milliseconds since 1970.
    TimeMs(u64),
    /// What a label of the folder marks, by its name.
    Label(String),
}

/// What of a folder is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listing {
    /// What is there.
    Now,
    /// What is deleted.
    Deleted,
    /// What was there.
    At(Moment),
}

/// Which version of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// A revision of it; of a directory, the folder's.
    Revision(u64),
    /// A content that a revision set before its last: 1 is the one before the last.
    Older(u64, u32),
    /// As it was at a moment.
    At(Moment),
}

/// A path as it was typed, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathArgument {
    /// A real path, or `FOLDER:relative/path`.
    pub text: String,
    /// The working directory of who typed it.
    pub directory: PathBuf,
}

/// A folder as it was named, or where nobody named one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderArgument {
    /// Its name. When it is not said, the one that the directory lies in is meant, or the only one.
    #[serde(rename = "folder")]
    pub name: Option<String>,
    /// The working directory of who asks.
    #[serde(default)]
    pub directory: Option<PathBuf>,
}

/// Which side of a conflict stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The side that this device wrote
    Mine,
    /// The other side
    Theirs,
    /// The side that kept the name, whoever wrote it
    Original,
    /// The side with the conflict's name, whoever wrote it
    Copy,
    /// Both, each under its name
    Both,
    /// A merge of both; in an editor, where it is not clean
    Merged,
}

/// A line from the daemon: any number of `progress`, then one of the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// How far long work is.
    Progress(Vec<FolderProgress>),
    /// It was done.
    Done(Answer),
    /// It was not done.
    Error(Failure),
}

/// How far a folder is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderProgress {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: State,
    /// Entries looked at by the running scan.
    pub scanned: u64,
    /// Entries that go up.
    pub pending_up: u64,
    /// Entries that come down.
    pub pending_down: u64,
    /// Paths that are not synced, as many as `status` lists.
    #[serde(default)]
    pub issues: u64,
    /// Bytes read for uploading since the daemon started.
    pub bytes_up: u64,
    /// Bytes downloaded since the daemon started.
    pub bytes_down: u64,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What scripts branch on; stable.
    pub kind: String,
    /// What failed and why.
    pub message: String,
    /// What to do next; empty when there is nothing to say.
    pub hint: String,
}

impl Failure {
    /// A failure with what to do next.
    #[must_use]
    pub fn new(kind: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), message: message.into(), hint: hint.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_keep_their_shape() {
        let path = PathArgument { text: "a:b".into(), directory: "/c".into() };
        let request = Request::Resolve { path, keep: Keep::Theirs };
        let json = serde_json::to_string(&request).unwrap();
        let expected =
            r#"{"command":"resolve","path":{"text":"a:b","directory":"/c"},"keep":"theirs"}"#;
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), request);
        let json = r#"{"command":"label_list","folder":null}"#;
        let folder = FolderArgument::default();
        assert_eq!(serde_json::from_str::<Request>(json).unwrap(), Request::LabelList { folder });
    }
}
