//! The shapes of answers about the past, and about why things are as they are (docs/json.md). Fields
//! are only ever added.
//!
//! Owns their names. It must not know where the values come from.

use super::answers::IssueAnswer;
use serde::{Deserialize, Serialize};

/// A revision, and when it was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstantAnswer {
    /// Which revision.
    pub revision: u64,
    /// RFC 3339.
    pub time: String,
}

/// What a restore did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreAnswer {
    /// The version or moment that it brings back.
    pub at: InstantAnswer,
    /// Whether it was done: false for a dry run.
    pub done: bool,
    /// The path.
    pub on: Vec<String>,
    /// What became different, or would.
    pub changes: Vec<ChangeAnswer>,
    /// Whether all of it is on this disk too.
    pub complete: bool,
    /// What was deleted on this disk, with the deletion not synced yet, and came back, or would.
    #[serde(default)]
    pub absent: Vec<String>,
    /// Of a mass deletion that waits for a person, what comes back of it.
    #[serde(default)]
    pub of_halt: Option<OfHaltAnswer>,
}

/// What comes back of a mass deletion that waits for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfHaltAnswer {
    /// How many entries come back.
    pub back: u64,
    /// How many it is about.
    pub entries: u64,
}

/// What differs between two versions of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffAnswer {
    /// Relative to the folder.
    pub path: String,
    /// `file`, `directory` or `bundle`.
    pub kind: String,
    /// The older version; none when there is nothing older.
    pub from: Option<InstantAnswer>,
    /// The newer version; none when it is what is on the disk.
    pub to: Option<InstantAnswer>,
    /// Of a directory or a bundle: what is different in it; of a file or a symlink: what it is itself.
    pub changes: Vec<ChangeAnswer>,
    /// Of a text file: the difference in the unified format; empty when the bytes are the same.
    #[serde(default)]
    pub text: Option<String>,
    /// Of a file without `text`: why its versions are not compared.
    #[serde(default)]
    pub reason: Option<String>,
    /// Of a file: the lengths of both versions in bytes.
    #[serde(default)]
    pub sizes: Option<(u64, u64)>,
    /// Of a file: whether the newer version is its end, when nothing is there any more.
    #[serde(default)]
    pub deleted: bool,
    /// Of a file: both modes in octal digits, when they are different.
    #[serde(default)]
    pub modes: Option<(String, String)>,
    /// Of a file: both modification times, RFC 3339, when they are different.
    #[serde(default)]
    pub mtimes: Option<(String, String)>,
}

/// Why a path is or is not synced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyAnswer {
    /// Relative to the folder.
    pub path: String,
    /// `synced`, `waiting`, `ignored`, `failed`, `conflict` or `deleted`.
    pub state: String,
    /// `file`, `directory`, `symlink` or `bundle`; none when that is not known.
    #[serde(default)]
    pub kind: Option<String>,
    /// What is said about it, a sentence each.
    pub reasons: Vec<String>,
    /// What ignores it.
    pub ignored: Option<IgnoredAnswer>,
    /// The revision that the server holds.
    pub revision: Option<u64>,
    /// The revision that this disk holds.
    pub held: Option<u64>,
    /// What each other device is known to have.
    pub devices: Vec<HolderAnswer>,
}

/// What ignores a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IgnoredAnswer {
    /// The path that is matched: that one, or a directory above it.
    pub path: String,
    /// The line of `.driftlessignore`, from 1.
    pub line: u64,
    /// What stands there.
    pub pattern: String,
}

/// What a device is known to have of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderAnswer {
    /// The device's name.
    pub device: String,
    /// The last revision of the folder that it is known to hold.
    pub revision: u64,
    /// Whether it holds the server's version of the path.
    pub has_it: bool,
}

/// What the next round of each folder would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanAnswer {
    /// By folder.
    pub plans: Vec<FolderPlanAnswer>,
}

/// What the next round of a folder would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderPlanAnswer {
    /// The folder's name.
    pub name: String,
    /// The first ten thousand.
    pub steps: Vec<StepAnswer>,
    /// How many there are.
    pub steps_total: u64,
    /// Paths that wait, and for what.
    pub waiting: Vec<IssueAnswer>,
    /// Why nothing of it is done now.
    #[serde(default)]
    pub stopped: Option<String>,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepAnswer {
    /// `up` to the server, or `down` to this disk.
    pub direction: String,
    /// `create`, `edit`, `move`, `delete`, `restore`, `conflict` or `attributes`.
    pub action: String,
    /// Relative to the folder.
    pub path: String,
    /// Where it is now, of a move.
    pub from: Option<String>,
}

/// A difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeAnswer {
    /// Relative to the folder; of what is gone, where it was.
    pub path: String,
    /// Where it was, if its own place was another.
    pub from: Option<String>,
    /// `file`, `directory`, `symlink` or `bundle`.
    pub kind: String,
    /// `added`, `deleted`, `edited`, `moved` or `attributes`.
    pub change: String,
    /// Bytes before; none when it was not there.
    pub size_before: Option<u64>,
    /// Bytes after; none when it is gone.
    pub size_after: Option<u64>,
}
