//! What a folder's engine tells of the past and of its own doings.
//!
//! Owns these shapes. It must not know how any of it is found out.

use super::handle::{ListedEntry, PathIssue};
use client_core::ignore::IgnoredBy;
use client_core::past::{Difference, Shown};
use common::ids::{DeviceId, EntryId};
use common::revision::Revision;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A moment of a folder's life, as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A revision.
    Revision(Revision),
    /// Milliseconds since 1970: the last revision at or before it.
    Time(u64),
}

/// A revision, and when it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant {
    /// Which revision.
    pub revision: Revision,
    /// In milliseconds since 1970.
    pub time_ms: u64,
}

/// What `ls` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// What is there.
    Now,
    /// What is deleted.
    Deleted,
    /// What was there.
    At(Moment),
}

/// What `ls` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListInfo {
    /// By path.
    pub entries: Vec<ListedEntry>,
    /// The moment that is shown, when it is not now.
    pub at: Option<Instant>,
}

/// Which version of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// A revision of the path itself; of a directory, the folder's. That of its deletion means what
    /// was there just before.
    Revision(Revision),
    /// A content that a revision of the path set before its last, as a merge does: 1 is the one
    /// before the last.
    Older(Revision, u32),
    /// As it was at a moment.
    At(Moment),
}

/// Where a version is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// A path outside the folder, at which nothing is yet.
    pub path: PathBuf,
    /// Whether only the bytes of a file or the target of a link are wanted: a directory is refused.
    pub bytes_only: bool,
}

impl From<PathBuf> for Destination {
    /// For a version of anything.
    fn from(path: PathBuf) -> Self {
        Self { path, bytes_only: false }
    }
}

/// What a version is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiffTo {
    /// The newest version.
    Newest,
    /// Another version, and how many contents that revision set after it: 0 for its last.
    Revision(Revision, u32),
    /// What is on this disk; of bundles only.
    Disk,
}

/// Versions, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogInfo {
    /// Whole revisions.
    pub versions: Vec<VersionInfo>,
    /// Whether there are older ones.
    pub more: bool,
    /// The bundle that the path lies in, if it does: these are its versions.
    pub bundle: Option<String>,
}

/// What differs between two versions of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffInfo {
    /// The older one; none when there is nothing older.
    pub from: Option<Instant>,
    /// The newer one; none when it is what is on the disk.
    pub to: Option<Instant>,
    /// What is compared.
    pub sides: DiffSides,
}

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiffSides {
    /// A file's or a symlink's contents, which can be exported by their revisions.
    File(FileDiff),
    /// A directory, at two moments of the folder, and its modes then if they differ.
    Directory(Vec<Difference>, Option<(u16, u16)>),
    /// What lies in a bundle, in two versions of it.
    Bundle(Vec<Difference>),
}

/// What differs between two versions of a file or a symlink, besides its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileDiff {
    /// What is told of it; nothing when both are the same.
    pub changes: Vec<Difference>,
    /// Whether it is the newer version's end: nothing is there then.
    pub deleted: bool,
    /// Its length in bytes, when the bytes are the same.
    pub same_bytes: Option<u64>,
    /// Both modes, when they are different.
    pub modes: Option<(u16, u16)>,
    /// Both modification times in nanoseconds since 1970, when they are different.
    pub mtimes_ns: Option<(i64, i64)>,
}

/// What a restore does, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreInfo {
    /// The version or moment that it brings back.
    pub at: Instant,
    /// What becomes different at the server.
    pub differences: Vec<Difference>,
    /// Paths that were deleted here, of which the server has not been told yet, and that come back.
    pub absent: Vec<String>,
    /// Of a mass deletion that waits for a person: how many of its entries come back, and how many it
    /// is about.
    pub of_halt: Option<(u64, u64)>,
    /// What was done for it; nothing when it was only asked what would be.
    pub sent: Sent,
}

/// What was sent for a person, who waits until it is on this disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The journal's last revision of it.
    pub up_to: Revision,
    /// What was changed.
    pub entries: BTreeSet<EntryId>,
}

/// How a conflict was settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveInfo {
    /// Where what was kept is: at the name of the conflict, unless that side was deleted by hand, and
    /// of both at two paths.
    pub kept: Vec<String>,
    /// What was done for it.
    pub sent: Sent,
}

/// A version as `log` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// Which revision.
    pub revision: Revision,
    /// Of a revision that set several contents, how many of them came after this one.
    pub older: u32,
    /// When it was accepted, in milliseconds since 1970.
    pub time_ms: u64,
    /// By which device, if the server says so.
    pub device: Option<DeviceId>,
    /// What it is.
    pub kind: Shown,
    /// Bytes.
    pub size: u64,
    /// What happened: `created`, `edited`, `attributes`, `moved`, `deleted`, `restored`, `merged`,
    /// `resolved`.
    pub change: &'static str,
    /// Of `attributes`, which: `mode`, `time`, or both.
    pub attributes: Vec<&'static str>,
    /// The name that it had from then on.
    pub name: String,
    /// The path that it had from then on.
    pub path: String,
    /// The path that it had before, if this revision gave it another.
    pub from: Option<String>,
    /// The revision that its content was brought back from.
    pub restored: Option<Revision>,
    /// Where that is now whose revision it was, if that was at the path before and is another.
    pub restored_from: Option<String>,
    /// Why it does not open, if it does not: then its size is not known.
    pub unreadable: Option<String>,
}

/// Why a path is or is not synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhyInfo {
    /// In a word: `synced`, `waiting`, `ignored`, `failed`, `conflict`, `deleted` or `unknown`.
    pub state: &'static str,
    /// What it is, if that is known.
    pub kind: Option<Shown>,
    /// What is said about it, a sentence each.
    pub reasons: Vec<String>,
    /// The line of the ignore file that ignores it.
    pub ignored: Option<IgnoredBy>,
    /// The revision that the server holds of it, as this device has heard.
    pub revision: Option<Revision>,
    /// The revision that this disk holds of it.
    pub held: Option<Revision>,
    /// The last revision that each other device is known to have on its disk.
    pub devices: Vec<(DeviceId, Revision)>,
}

/// What the next round would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanInfo {
    /// What it would do, the first ten thousand.
    pub steps: Vec<PlannedStep>,
    /// How many there are in all.
    pub total: u64,
    /// Paths that wait, and why.
    pub waiting: Vec<PathIssue>,
    /// Why nothing of it is done now, if the folder is halted, paused or offline.
    pub stopped: Option<String>,
}

/// One thing that would be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedStep {
    /// Whether it goes to the server (true) or comes to this disk (false).
    pub up: bool,
    /// `create`, `edit`, `move`, `delete`, `restore`, `conflict` or `attributes`.
    pub action: &'static str,
    /// Relative to the folder.
    pub path: String,
    /// Where it is now, of a move.
    pub from: Option<String>,
}
