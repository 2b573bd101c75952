//! What the rest of the program can ask of a folder's engine.
//!
//! Owns the questions and answers. The engine runs on its own thread and answers between two steps
//! of a round; [`FolderHandle::stop`] stops it, and so does dropping every handle.

use super::labels::LabelAsk;
pub use super::told::{
    Destination, DiffInfo, DiffSides, DiffTo, FileDiff, Instant, ListInfo, Listing, LogInfo,
    Moment, PlanInfo, PlannedStep, ResolveInfo, RestoreInfo, Sent, VersionInfo, Which, WhyInfo,
};
use crate::remote::RemoteError;
use crate::state::StateError;
use client_core::past::{Difference, Shown};
use common::ids::{ConflictId, DeviceId};
use common::revision::{Cursor, Revision};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot, watch};

/// What a folder's engine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FolderStatus {
    /// Looking at the whole disk, for the first time or after events were lost.
    Scanning,
    /// Hashing, pushing or applying.
    Syncing,
    /// Nothing to do, and connected.
    Idle,
    /// No connection to the server; local changes are noted.
    Offline,
    /// Paused by a person.
    Paused,
    /// Waits for a person: see [`FolderSummary::halt`].
    Halted,
}

/// Why a folder waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaltReason {
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// Whether `confirm` ends it.
    pub can_confirm: bool,
    /// Since when it waits, in milliseconds since 1970, if that is known.
    pub since_ms: Option<u64>,
    /// Paths that would be deleted or emptied, the first hundred.
    pub entries: Vec<String>,
}

impl HaltReason {
    /// A reason that no confirmation ends.
    #[must_use]
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        let (message, hint) = (message.into(), hint.into());
        Self { message, hint, can_confirm: false, since_ms: None, entries: Vec::new() }
    }
}

impl From<StateError> for HaltReason {
    fn from(error: StateError) -> Self {
        let hint = if error.is_retryable() {
            "make room on the disk of the home; it is tried again by itself"
        } else {
            "`driftless doctor` looks for what is wrong with the home"
        };
        Self::new(format!("the folder's state cannot be read: {error}"), hint)
    }
}

/// A path that is not synced, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathIssue {
    /// Relative to the folder.
    pub path: String,
    /// Why, and what helps.
    pub reason: String,
}

/// Progress of long work, for a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Entries looked at by the scan that runs or ran last.
    pub scanned: u64,
    /// Plaintext bytes read for hashing and uploading since the engine started.
    pub bytes_up: u64,
    /// Plaintext bytes downloaded since the engine started.
    pub bytes_down: u64,
}

/// A folder as `status` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderSummary {
    /// What it is doing.
    pub status: FolderStatus,
    /// Live entries on this device.
    pub entries: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Entries that differ and go up.
    pub pending_up: u64,
    /// Entries that differ and come down.
    pub pending_down: u64,
    /// Open conflicts.
    pub conflicts: u64,
    /// How many of them a clean merge would settle, of those that were looked at by now; `None` where
    /// the folder's policy does not leave that to a person.
    pub mergeable: Option<u64>,
    /// Paths that are not synced, the first few.
    pub issues: Vec<PathIssue>,
    /// How many there are in all.
    pub issues_total: u64,
    /// Position in the journal.
    pub cursor: Option<Cursor>,
    /// Why it waits for a person, if it does.
    pub halt: Option<HaltReason>,
    /// The last error that made it wait, if it does.
    pub trouble: Option<String>,
    /// Progress of long work.
    pub progress: Progress,
}

/// An entry as `ls` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedEntry {
    /// Relative to the folder, with `/`.
    pub path: String,
    /// What it is.
    pub kind: Shown,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970; 0 for directories.
    pub mtime_ns: i64,
    /// The newest revision of a register of it; of a deleted entry, that of its end.
    pub revision: Revision,
    /// When it was deleted, in milliseconds since 1970; none while it is there.
    pub deleted_ms: Option<u64>,
}

/// One side of a conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictSide {
    /// Who wrote it.
    pub device: DeviceId,
    /// The content revision.
    pub revision: Revision,
    /// When it was accepted, in milliseconds since 1970.
    pub time_ms: u64,
    /// What it is; `None` when it does not open.
    pub kind: Option<Shown>,
    /// Bytes.
    pub size: u64,
    /// Why it does not open, if it does not: then its size is not known.
    pub unreadable: Option<String>,
}

/// A conflict as `conflicts` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictInfo {
    /// Names the record.
    pub conflict: ConflictId,
    /// Path of the entry that kept the name.
    pub path: String,
    /// Path of the sibling with the other content.
    pub copy: String,
    /// When it was opened, in milliseconds since 1970.
    pub opened_ms: u64,
    /// The content revision that both sides started from.
    pub base: Option<Revision>,
    /// What is known of it; `None` when both sides were new, or when it is not in the history.
    pub base_version: Option<ConflictSide>,
    /// First the one that kept the name, then the copy.
    pub sides: Vec<ConflictSide>,
    /// Whether a merge of both, as they are now, would be clean; `None` when they are not merged line
    /// by line.
    pub mergeable: Option<bool>,
    /// Both and what they started from as they are now, where that was asked for and can be told.
    pub compared: Option<Comparison>,
}

/// How the sides of a conflict differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Of texts, the texts themselves.
    Texts {
        /// What both started from; `None` when both were new.
        base: Option<Vec<u8>>,
        /// Of the one that kept the name.
        original: Vec<u8>,
        /// Of the copy.
        copy: Vec<u8>,
    },
    /// Of bundles, what each side changed in what both started from: first the one that kept the name.
    Bundles([Vec<Difference>; 2]),
    /// Of bundles of which nothing older is known, how the copy differs from the one that kept the
    /// name.
    NewBundles(Vec<Difference>),
    /// Of texts that one listing of many has no room for.
    LeftOut,
}

/// How `resolve` settles a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The side that this device wrote.
    Mine,
    /// The other side.
    Theirs,
    /// The side that kept the name.
    Original,
    /// The side that has the conflict's name.
    Copy,
    /// Both files, each under its name.
    Both,
    /// A merge of both, if it is clean.
    Merged,
}

/// What a conflict would be merged from. Nothing is changed by asking for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeInfo {
    /// Path of the file that kept the name.
    pub path: String,
    /// What both started from; empty when both were new.
    pub base: Vec<u8>,
    /// The side that this device wrote; of two that were written elsewhere, the one that kept the
    /// name.
    pub mine: Vec<u8>,
    /// Who wrote it.
    pub mine_by: DeviceId,
    /// The other side.
    pub theirs: Vec<u8>,
    /// Who wrote it.
    pub theirs_by: DeviceId,
    /// Content revisions of both sides: [`Settlement::seen`] gives them back.
    pub seen: [Revision; 2],
}

/// A content that a person gives for both sides of a conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The content.
    pub content: NewContent,
    /// What it was made from: if that is not what both sides are by now, nothing is settled.
    pub seen: Option<[Revision; 2]>,
}

/// Where a new content comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewContent {
    /// These bytes.
    Bytes(Vec<u8>),
    /// What a regular file outside the folder holds.
    File(PathBuf),
}

/// A question that the engine could not answer as wished.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No such path in the folder.
    #[error("{}: no such path in this folder", named(.0))]
    NoSuchPath(String),
    /// Something is at the path, which is only on this disk: ignored, or not synced yet.
    #[error("{0}: has no history yet; it is only on this disk")]
    NoHistory(String),
    /// What was asked for is done with single files, and this is a directory or the folder itself.
    #[error("{}: is a directory, and this is done with single files", named(.0))]
    IsDirectory(String),
    /// Where a version was to be written to is something already.
    #[error("{0}: exists already")]
    Exists(String),
    /// Something of another kind stands where something is to be brought back.
    #[error("{0}: something else stands there now")]
    InTheWay(String),
    /// The folder has no such revision.
    #[error("there is no revision {revision}: {}", lived(*.last))]
    NoMoment {
        /// Which revision.
        revision: Revision,
        /// The folder's last one.
        last: Revision,
    },
    /// A moment before the first that is known.
    #[error("nothing of that time is known: the folder did not exist, or retention has let it go")]
    BeforeBeginning {
        /// When the first known revision was accepted, in milliseconds since 1970.
        first_ms: u64,
    },
    /// A moment that has not come, by the clock of this device, nor by any revision.
    #[error("that is in the future: the newest revision is {last}")]
    InTheFuture {
        /// The folder's last revision.
        last: Revision,
    },
    /// This device has not heard of a revision yet.
    #[error("revision {revision} has not come to this device yet, which has heard {heard}")]
    NotHeardYet {
        /// Which revision.
        revision: Revision,
        /// The last one that has.
        heard: Revision,
    },
    /// A path at which nothing was.
    #[error("{}: was not there at revision {revision}", named(path))]
    NotThere {
        /// Which path.
        path: String,
        /// When.
        revision: Revision,
    },
    /// The entry has no such version.
    #[error("{path}: has no revision {}{}", numbered(*.revision, *.older), of_another(.elsewhere))]
    NoSuchRevision {
        /// Which path.
        path: String,
        /// Which revision.
        revision: Revision,
        /// How many contents it would have set after the one that was meant.
        older: u32,
        /// Where that is now which was at the path before, and has it.
        elsewhere: Option<String>,
    },
    /// What was asked for is done with single files, and this is a bundle.
    #[error("{0}: is a bundle: a directory that is synced whole, as one thing")]
    IsBundle(String),
    /// What was asked for is done with bundles alone.
    #[error("{0}: is no bundle, and only bundles are compared with the disk")]
    NoBundle(String),
    /// What was asked for is done with a whole bundle, and this lies in one.
    #[error("{path}: lies in the bundle {bundle}, which is one thing to Driftless")]
    InBundle {
        /// Which path.
        path: String,
        /// The bundle's.
        bundle: String,
    },
    /// A path in a bundle that was not in that version of it.
    #[error("{path}: was not in the bundle {bundle} at revision {revision}")]
    NotInBundle {
        /// Which path.
        path: String,
        /// The bundle's.
        bundle: String,
        /// Which version.
        revision: Revision,
    },
    /// A version is not sealed as it should be.
    #[error("the version cannot be read: {0}")]
    Unreadable(String),
    /// The path is not a side of an open conflict.
    #[error("{}: has no open conflict", named(.0))]
    NoConflict(String),
    /// The folder has a label of this name.
    #[error("there is a label {0} already")]
    LabelExists(String),
    /// The folder has no label of this name or id.
    #[error("there is no label {0}")]
    NoSuchLabel(String),
    /// The moment that a label would name is not there.
    #[error("there is no such moment: {0}")]
    NoSuchMoment(String),
    /// Neither side of the conflict was written by this device, so mine and theirs mean nothing.
    #[error("{path}: neither side was written on this device, so none is mine or theirs")]
    NotMine {
        /// Which path.
        path: String,
        /// Who wrote the side that kept the name.
        original_by: DeviceId,
        /// Who wrote the other.
        copy_by: DeviceId,
    },
    /// The sides of a conflict cannot be merged line by line.
    #[error("{path}: cannot be merged: {why}")]
    NotMergeable {
        /// Which path.
        path: String,
        /// Why not.
        why: String,
    },
    /// A side of the conflict is a bundle.
    #[error("{0}: is a bundle, and those are never merged")]
    NeverMerged(String),
    /// The edits of both sides exclude each other somewhere.
    #[error("{path}: the merge is not clean, in {conflicts} {}", places(*.conflicts))]
    NotClean {
        /// Which path.
        path: String,
        /// In how many places.
        conflicts: usize,
    },
    /// The file that was given as the result cannot be taken.
    #[error("{0}")]
    BadContent(String),
    /// The text that was given as the result has marks of a merge in it that no side had.
    #[error("{0}: the result still has marks in it; nothing was resolved")]
    MarksLeft(String),
    /// What was to be kept of a conflict was deleted by hand.
    #[error(
        "{}: this side of the conflict was deleted, and nothing was resolved",
        if path.is_empty() { "the other file" } else { path }
    )]
    SideGone {
        /// Where it was; empty when this device has not seen it.
        path: String,
        /// Its last version.
        revision: Option<Revision>,
    },
    /// The local file has edits that are not synced; they are never overwritten.
    #[error("{0}: has local changes that are not synced yet")]
    Unsynced(String),
    /// The server does not let this device in.
    #[error(transparent)]
    NotLetIn(RemoteError),
    /// There is no connection to the server.
    #[error("the server cannot be reached: {0}")]
    Offline(String),
    /// The server or the state of things refused; the text says which and why.
    #[error("{0}")]
    Refused(String),
    /// The disk failed.
    #[error("{0}")]
    Disk(String),
    /// Nothing waits to be confirmed.
    #[error("nothing waits for a confirmation")]
    NothingToConfirm,
    /// The engine was told to stop, also while it was asked.
    #[error("the folder is no longer synced here")]
    Stopped,
    /// The engine has ended by itself: its root or state could not be opened.
    #[error("the folder's engine does not run")]
    NotRunning,
    /// The state of this folder failed.
    #[error("the folder's engine failed: {0}")]
    Engine(String),
}

fn places(count: usize) -> &'static str {
    if count == 1 { "place" } else { "places" }
}

/// What a folder has lived.
fn lived(last: Revision) -> String {
    match last {
        0 => "nothing has been synced to this folder yet".to_owned(),
        last => format!("this folder's revisions are 1 to {last}"),
    }
}

/// A content of a revision as `log` writes it.
fn numbered(revision: Revision, older: u32) -> String {
    match older {
        0 => revision.to_string(),
        older => format!("{revision}.{older}"),
    }
}

/// What is said of a version that another path has.
fn of_another(path: &Option<String>) -> String {
    let said = |path: &String| format!(", but {path} has, which was here before");
    path.as_ref().map_or_else(String::new, said)
}

/// A path as messages say it: the folder's own is empty.
fn named(path: &str) -> &str {
    if path.is_empty() { "the folder itself" } else { path }
}

/// Answer channel of a question.
pub type Answer<T> = oneshot::Sender<Result<T, AskError>>;

/// A question.
pub enum Ask {
    /// Rescan, push and pull until this device holds all that the server had and the server all that
    /// this device had; answered with whether that was reached (a halt or pause is `false`).
    Sync(Answer<bool>),
    /// Stop pushing and applying.
    Pause(Answer<()>),
    /// Go on.
    Resume(Answer<()>),
    /// What waits for a person; where nothing is known to, the server is looked at first: that it was
    /// restored may not have been noticed yet.
    Halt(Answer<Option<HaltReason>>),
    /// A person agrees to what the halt names.
    Confirm(Answer<()>),
    /// A person takes back the mass deletion that the halt names: what is gone comes back.
    Undo(Answer<u64>),
    /// Why a path is or is not synced.
    Why(String, Answer<WhyInfo>),
    /// What the next round would do.
    Plan(Answer<PlanInfo>),
    /// The entries at a path (`""`: the whole folder), recursively.
    List(String, Listing, Answer<ListInfo>),
    /// The versions of a path before a revision (0: all), newest first, about so many; of a
    /// directory those of all that was in it.
    Log(String, Revision, u32, Answer<LogInfo>),
    /// A version, into a file that must not exist; of a symlink, into a symlink; of a directory or a
    /// bundle, into a directory.
    Export(String, Which, Destination, Answer<u64>),
    /// Brings a version back as a new version; if told so, only says what that would do.
    Restore(String, Which, bool, Answer<RestoreInfo>),
    /// What differs between a revision of a path (if none is named, that of what changed last) and
    /// another; with how many contents that revision set after the one that is meant.
    Diff(String, Option<(Revision, u32)>, DiffTo, Answer<DiffInfo>),
    /// Answered when this disk holds what was sent (true), or something keeps it from that. What else
    /// there is to do is not waited for.
    Settled(Sent, Answer<bool>),
    /// The open conflicts with a side at or below a path (`""`: the whole folder); with how their
    /// sides differ if that is said.
    ConflictsIn(String, bool, Answer<Vec<ConflictInfo>>),
    /// Settles a conflict at either of its paths.
    Resolve(String, Keep, Answer<ResolveInfo>),
    /// What the conflict at either of its paths would be merged from.
    Merge(String, Answer<MergeInfo>),
    /// Settles a conflict at either of its paths with a new content.
    ResolveWith(String, Settlement, Answer<ResolveInfo>),
    /// A signed checkpoint of the folder as this device holds it, for an invitation.
    Checkpoint(Answer<Option<Vec<u8>>>),
    /// About labels, settings and retention.
    Labels(LabelAsk),
    /// Push and apply nothing more; who waits is told. See [`FolderHandle::stop`].
    Stop,
}

/// A handle of a folder's engine.
#[derive(Clone)]
pub struct FolderHandle {
    /// Shared by all handles; empty once the engine was told to stop.
    asks: Arc<Mutex<Option<mpsc::Sender<Ask>>>>,
    summary: watch::Receiver<FolderSummary>,
}

impl FolderHandle {
    /// For the engine's owner.
    #[must_use]
    pub fn new(asks: mpsc::Sender<Ask>, summary: watch::Receiver<FolderSummary>) -> Self {
        Self { asks: Arc::new(Mutex::new(Some(asks))), summary }
    }

    /// The folder as it was after the engine's last step.
    #[must_use]
    pub fn summary(&self) -> FolderSummary {
        self.summary.borrow().clone()
    }

    /// Follows the summary.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<FolderSummary> {
        self.summary.clone()
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// [`AskError`], also when the engine has ended or ends meanwhile.
    pub async fn ask<T>(&self, ask: impl FnOnce(Answer<T>) -> Ask) -> Result<T, AskError> {
        let asks = self.asks().clone().ok_or(AskError::Stopped)?;
        let (answer, reply) = oneshot::channel();
        let sent = asks.send(ask(answer)).await;
        // Whoever waits for an answer does not keep the engine running.
        drop(asks);
        sent.map_err(|_| self.gone())?;
        reply.await.map_err(|_| self.gone())?
    }

    /// Stops the engine at the end of its step, however many handles there are.
    pub fn stop(&self) {
        let asks = self.asks().take();
        if let Some(asks) = asks {
            // One that has no room for it is stopped by the end of the questions alone.
            drop(asks.try_send(Ask::Stop));
        }
    }

    /// Whether the engine was told to stop.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.asks().is_none()
    }

    fn gone(&self) -> AskError {
        if self.is_stopped() { AskError::Stopped } else { AskError::NotRunning }
    }

    fn asks(&self) -> MutexGuard<'_, Option<mpsc::Sender<Ask>>> {
        // Nothing panics while it holds this lock.
        self.asks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
