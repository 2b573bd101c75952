//! The shapes of answers (docs/json.md): what `--json` prints is the answer as it
//! came. Fields are only ever added.
//!
//! Owns their names. It must not know where the values come from.

use super::history_answers::{DiffAnswer, InstantAnswer, PlanAnswer, RestoreAnswer, WhyAnswer};
use super::label_answers::{LabelAnswer, LabelsAnswer, PreviewAnswer, SettingsAnswer};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a command answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// To `why`; before `devices`, which it names too.
    Why(WhyAnswer),
    /// To `plan`.
    Plan(PlanAnswer),
    /// To `sync`.
    Sync(SyncAnswer),
    /// To `status`.
    Status(StatusAnswer),
    /// To `ls`.
    List(ListAnswer),
    /// To `log`.
    Log(LogAnswer),
    /// To `conflicts`.
    Conflicts(ConflictsAnswer),
    /// To a question for a merge; no command prints it.
    Merge(MergeAnswer),
    /// To `devices`.
    Devices(DevicesAnswer),
    /// To `invite`.
    Invite(InviteAnswer),
    /// To `label add`.
    Label(LabelAnswer),
    /// To `label ls`.
    Labels(LabelsAnswer),
    /// To `retention show`, `retention set` and `folder set`.
    Settings(SettingsAnswer),
    /// To `retention preview`.
    Preview(PreviewAnswer),
    /// To `folder add` and `folder link`.
    Folder(FolderAnswer),
    /// To `folder ls`.
    Folders(FoldersAnswer),
    /// To `restore` in place.
    Restored(RestoreAnswer),
    /// To `diff`.
    Diff(Box<DiffAnswer>),
    /// To `restore --to`, and to `cat` before the bytes.
    Exported(ExportedAnswer),
    /// To `resolve`.
    Resolved(ResolvedAnswer),
    /// To everything else: on what it was done.
    Done(DoneAnswer),
}

/// What a folder is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Looking at the whole disk.
    Scanning,
    /// Hashing, pushing or applying.
    Syncing,
    /// Nothing to do.
    Idle,
    /// No connection to the server.
    Offline,
    /// Paused by a person.
    Paused,
    /// Waits for a person.
    Halted,
}

/// The state of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusAnswer {
    /// The device's name.
    pub device: String,
    /// Its server.
    pub server: ServerAnswer,
    /// Its folders.
    pub folders: Vec<FolderStatusAnswer>,
}

/// The server as a device sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerAnswer {
    /// Where it is.
    pub address: String,
    /// Whether there is a connection.
    pub connected: bool,
    /// Why it does not let this device in, if so.
    pub refused: Option<String>,
}

/// The state of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderStatusAnswer {
    /// Its name.
    pub name: String,
    /// Its root.
    pub path: PathBuf,
    /// What it is doing.
    pub state: State,
    /// Live entries on this device.
    pub entries: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Entries that go up.
    pub pending_up: u64,
    /// Entries that come down.
    pub pending_down: u64,
    /// Open conflicts.
    pub conflicts: u64,
    /// Those of them that are known to merge cleanly, where the folder's policy is to ask.
    #[serde(default)]
    pub mergeable: Option<u64>,
    /// Paths that are not synced, the first hundred.
    pub issues: Vec<IssueAnswer>,
    /// How many there are in all.
    #[serde(default)]
    pub issues_total: u64,
    /// Position in the journal.
    pub cursor: Option<CursorAnswer>,
    /// Why it waits for a person.
    pub halt: Option<HaltAnswer>,
    /// The last error that made it wait.
    pub trouble: Option<String>,
    /// How far the file system's notifications can be relied on.
    pub watch: String,
}

/// A path that is not synced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssueAnswer {
    /// Relative to the folder.
    pub path: String,
    /// Why, and what helps.
    pub reason: String,
}

/// A position in a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CursorAnswer {
    /// Life of the journal.
    pub epoch: u64,
    /// Last revision taken.
    pub revision: u64,
}

/// Why a folder waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaltAnswer {
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// Whether `confirm` ends it.
    pub can_confirm: bool,
    /// Since when it waits, RFC 3339.
    pub since: Option<String>,
    /// Paths that would be deleted or emptied, the first hundred.
    #[serde(default)]
    pub entries: Vec<String>,
}

/// How a sync ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncAnswer {
    /// Whether this device holds all that the server had, and the server all that it had.
    pub in_sync: bool,
    /// Open conflicts of all folders: both sides hold them alike, and a person has to settle them.
    #[serde(default)]
    pub conflicts: u64,
    /// The folders as they are now.
    pub folders: Vec<FolderStatusAnswer>,
}

/// What a folder holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListAnswer {
    /// Entries, by path.
    pub entries: Vec<EntryAnswer>,
    /// The moment that is shown, when it is not now.
    pub at: Option<InstantAnswer>,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryAnswer {
    /// Relative to the folder.
    pub path: String,
    /// `file`, `directory`, `symlink` or `bundle`.
    pub kind: String,
    /// Bytes.
    pub size: u64,
    /// RFC 3339; none for directories.
    pub mtime: Option<String>,
    /// The newest revision of a register of it.
    pub revision: u64,
    /// Whether it was deleted.
    pub deleted: bool,
    /// When it was deleted, RFC 3339; none when it was not.
    pub deleted_at: Option<String>,
}

/// Versions of a path, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogAnswer {
    /// Relative to the folder.
    pub path: String,
    /// Newest first.
    pub versions: Vec<VersionAnswer>,
    /// Whether there are older ones: before the last revision that is shown.
    pub more: bool,
    /// The bundle that the path lies in, if it does: these are its versions.
    #[serde(default)]
    pub bundle: Option<String>,
}

/// A version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionAnswer {
    /// Which revision.
    pub revision: u64,
    /// Of a revision that set several contents, as a merge does, how many of them came after this
    /// one: of revision 7 it is `--rev 7.1` when there was one.
    #[serde(default)]
    pub older: u32,
    /// RFC 3339.
    pub time: String,
    /// The name of the device that wrote it.
    pub device: String,
    /// Bytes.
    pub size: u64,
    /// `created`, `edited`, `attributes`, `moved`, `deleted`, `restored`, `merged` or `resolved`.
    pub change: String,
    /// Of `attributes`, which of them: `mode`, `time`, or both.
    #[serde(default)]
    pub attributes: Vec<String>,
    /// `file`, `directory`, `symlink` or `bundle`.
    pub kind: String,
    /// The name that it had from then on.
    pub name: String,
    /// The path that it had from then on.
    pub path: String,
    /// The path that it had before, if this revision gave it another.
    pub from: Option<String>,
    /// The revision that its content was brought back from.
    pub restored: Option<u64>,
    /// Where that is now whose revision it was, if that was at the path before and is another.
    #[serde(default)]
    pub restored_from: Option<String>,
    /// Why it does not open, if it does not: then its size is not known.
    #[serde(default)]
    pub unreadable: Option<String>,
}

/// Open conflicts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictsAnswer {
    /// Those open.
    pub conflicts: Vec<ConflictAnswer>,
    /// Folders of which is not known what is open.
    #[serde(default)]
    pub unknown: Vec<UnknownAnswer>,
}

/// A folder that could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownAnswer {
    /// The folder's name.
    pub folder: String,
    /// Why not.
    pub reason: String,
}

/// A conflict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictAnswer {
    /// The folder's name.
    pub folder: String,
    /// Of the file that kept the name.
    pub path: String,
    /// Of the file with the other content.
    pub copy: String,
    /// RFC 3339.
    pub opened: String,
    /// What both sides started from.
    pub base: Option<BaseAnswer>,
    /// First the one that kept the name.
    pub sides: Vec<SideAnswer>,
    /// Whether a merge of both would be clean; `null` when they are not merged line by line, or were
    /// left out among many.
    #[serde(default)]
    pub mergeable: Option<bool>,
    /// What each side made of the base, as unified diffs; `null` when it was not asked for.
    #[serde(default)]
    pub diff: Option<String>,
}

/// What both sides of a conflict started from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseAnswer {
    /// Which revision.
    pub revision: u64,
    /// The name of the device that wrote it; `null`, as the others are, when it is not in the history.
    #[serde(default)]
    pub device: Option<String>,
    /// RFC 3339.
    #[serde(default)]
    pub time: Option<String>,
    /// Bytes.
    #[serde(default)]
    pub size: Option<u64>,
}

/// What a conflict would be merged from, and the merge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeAnswer {
    /// Of the file that kept the name.
    pub path: String,
    /// The merge; with marks where it is not clean.
    pub text: String,
    /// Places with marks; 0: the merge is clean.
    pub conflicts: usize,
    /// What both started from; empty when both were new.
    pub base: String,
    /// The side that this device wrote.
    pub mine: String,
    /// The other side.
    pub theirs: String,
    /// What stands behind the marks of each.
    pub labels: [String; 3],
    /// To be given back with what was made of it.
    pub seen: [u64; 2],
}

/// A side of a conflict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideAnswer {
    /// The name of the device that wrote it.
    pub device: String,
    /// Which revision.
    pub revision: u64,
    /// RFC 3339.
    pub time: String,
    /// `file`, `directory`, `symlink` or `bundle`; none when it does not open.
    #[serde(default)]
    pub kind: Option<String>,
    /// Bytes.
    pub size: u64,
    /// Why it does not open, if it does not: then its size is not known.
    #[serde(default)]
    pub unreadable: Option<String>,
}

/// The user's devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevicesAnswer {
    /// Those enrolled first.
    pub devices: Vec<DeviceAnswer>,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceAnswer {
    /// Its name.
    pub name: String,
    /// Its key, in hex.
    pub id: String,
    /// Whether it is this one.
    #[serde(rename = "self")]
    pub is_self: bool,
    /// Whether it is connected; none when the server could not be asked.
    pub online: Option<bool>,
    /// RFC 3339.
    pub last_seen: Option<String>,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// An open invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteAnswer {
    /// The join code: a secret.
    pub code: String,
    /// The folder's name.
    pub folder: Option<String>,
    /// RFC 3339.
    pub expires: String,
}

/// A folder that is synced here now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderAnswer {
    /// Its name.
    pub name: String,
    /// Its id, in hex.
    pub id: String,
    /// Its root here; none when it is not synced here.
    pub path: Option<PathBuf>,
}

/// The user's folders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoldersAnswer {
    /// By name.
    #[serde(rename = "folders")]
    pub list: Vec<FolderAnswer>,
}

/// A version was written to a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedAnswer {
    /// Bytes of it.
    pub exported_bytes: u64,
}

/// A conflict was settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedAnswer {
    /// Always true.
    pub done: bool,
    /// The path.
    pub on: Vec<String>,
    /// Where what was kept is.
    pub kept: Vec<String>,
    /// Whether it is on this disk too.
    pub complete: bool,
}

/// Something was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoneAnswer {
    /// Always true.
    pub done: bool,
    /// To what: paths, names of folders or devices.
    pub on: Vec<String>,
    /// Whether it had been done before, and nothing was left to do.
    #[serde(default, skip_serializing_if = "is_false")]
    pub already: bool,
    /// To `confirm`: what was agreed to, a line for each folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agreed: Vec<String>,
    /// To `label rm`: the folder's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let answers = [
            Answer::Sync(SyncAnswer { in_sync: true, conflicts: 0, folders: vec![] }),
            Answer::List(ListAnswer { entries: vec![], at: None }),
            Answer::Restored(RestoreAnswer {
                at: InstantAnswer { revision: 1, time: "t".into() },
                done: true,
                on: vec![],
                changes: vec![],
                complete: true,
                absent: vec!["p".into()],
                of_halt: None,
            }),
            Answer::Diff(Box::new(DiffAnswer {
                path: "p".into(),
                kind: "file".into(),
                from: None,
                to: Some(InstantAnswer { revision: 1, time: "t".into() }),
                changes: vec![],
                text: Some(String::new()),
                reason: None,
                sizes: Some((1, 2)),
                deleted: false,
                modes: None,
                mtimes: Some(("t".into(), "u".into())),
            })),
            Answer::Why(WhyAnswer {
                path: "p".into(),
                state: "synced".into(),
                kind: None,
                reasons: vec![],
                ignored: None,
                revision: Some(1),
                held: Some(1),
                devices: vec![],
            }),
            Answer::Plan(PlanAnswer { plans: vec![] }),
            Answer::Folders(FoldersAnswer { list: vec![] }),
            Answer::Exported(ExportedAnswer { exported_bytes: 3 }),
            Answer::Done(DoneAnswer { done: true, ..DoneAnswer::default() }),
            Answer::Done(DoneAnswer {
                done: true,
                on: vec!["d".into()],
                already: true,
                agreed: vec!["a".into()],
                folder: Some("f".into()),
            }),
            Answer::Resolved(ResolvedAnswer {
                done: true,
                on: vec!["p".into()],
                kept: vec!["p".into()],
                complete: false,
            }),
            Answer::Conflicts(ConflictsAnswer { conflicts: vec![], unknown: vec![] }),
            Answer::Folder(FolderAnswer { name: "n".into(), id: "i".into(), path: None }),
            Answer::Invite(InviteAnswer {
                code: "c".into(),
                folder: Some("f".into()),
                expires: "e".into(),
            }),
        ];
        for answer in answers {
            let line = serde_json::to_string(&answer).unwrap();
            assert_eq!(serde_json::from_str::<Answer>(&line).unwrap(), answer, "{line}");
        }
    }

    #[test]
    fn a_device_is_printed_as_designed() {
        let device = DeviceAnswer {
            name: "a".into(),
            id: "ff".into(),
            is_self: true,
            online: Some(true),
            last_seen: None,
            revoked: false,
        };
        let expected =
            r#"{"name":"a","id":"ff","self":true,"online":true,"last_seen":null,"revoked":false}"#;
        assert_eq!(serde_json::to_string(&device).unwrap(), expected);
    }
}
