//! From sealed registers to rows of the remote tree.
//!
//! Owns what makes an entry unusable: a seal that does not open, a name tag that is not the name's,
//! attributes that cannot be. Such an entry is kept, marked and never shown to the planner, so that
//! the rest of the folder goes on.

use crate::context::FolderContext;
use crate::state::{FolderState, IssueSource, RemoteRow, StateError};
use client_core::tree::{ContentState, Position, RemoteNode};
use common::archive::MODE_BUNDLE;
use common::chunk::{Attributes, open_attributes, open_name};
use common::ids::EntryId;
use common::limits::{FILE_BYTES_MAX, SYMLINK_BYTES_MAX};
use common::name::Name;
use common::record::{Content, Kind, Place, RegisterDigest, Registers};
use common::revision::Revision;

/// Why an entry of the server's cannot be materialised anywhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteIssue {
    /// The sealed name does not open, or is no name.
    #[error("its name cannot be read: {0}")]
    Name(String),
    /// The name tag is that of another name or directory.
    #[error("its name tag is not that of its name")]
    NameTag,
    /// The sealed attributes do not open.
    #[error("its attributes cannot be read: {0}")]
    Attributes(String),
    /// The attributes contradict the register or the limits.
    #[error("its attributes cannot be: {0}")]
    Impossible(&'static str),
}

struct Opened {
    content: ContentState,
    size: u64,
    target: Option<Vec<u8>>,
}

/// The name that stands in for one that cannot be read; never shown to the planner.
fn placeholder(entry: &EntryId) -> Name {
    Name::new(format!("unreadable-{entry}"))
        .unwrap_or_else(|error| unreachable!("letters and hex digits are a name: {error}"))
}

fn open_place(
    context: &FolderContext,
    entry: &EntryId,
    place: &Place,
) -> Result<Name, RemoteIssue> {
    let name = open_name(&context.keys, &context.folder, entry, &place.name)
        .map_err(|error| RemoteIssue::Name(error.to_string()))?;
    if context.keys.name_tag(&place.parent, &name) != place.name_tag {
        return Err(RemoteIssue::NameTag);
    }
    Ok(name)
}

fn open_content(
    context: &FolderContext,
    entry: &EntryId,
    kind: Kind,
    content: &Content,
) -> Result<Opened, RemoteIssue> {
    let attributes = open_attributes(&context.keys, &context.folder, entry, &content.attributes)
        .map_err(|error| RemoteIssue::Attributes(error.to_string()))?;
    let Attributes { mode, mtime_ns, size, target, tag, .. } = attributes;
    let impossible = |reason| Err(RemoteIssue::Impossible(reason));
    if tag != content.tag {
        return impossible("the content tag is another");
    }
    let allowed = if kind == Kind::File { 0o777 | MODE_BUNDLE } else { 0o777 };
    if mode & !allowed != 0 {
        return impossible("the mode has bits that do not travel");
    }
    if size > FILE_BYTES_MAX {
        return impossible("the size is over the limit");
    }
    let root = content.root.is_some();
    match kind {
        Kind::File if root != (size > 0) => return impossible("size and root disagree"),
        Kind::Directory | Kind::Symlink if root => return impossible("only files have bytes"),
        Kind::Symlink => {
            let bytes = target.as_ref().map_or(0, Vec::len);
            if bytes == 0 || bytes > SYMLINK_BYTES_MAX {
                return impossible("a symlink needs a target within the limit");
            }
            if target.as_ref().is_some_and(|target| target.contains(&0)) {
                return impossible("a symlink's target contains NUL");
            }
            if target.as_deref().map(|target| context.keys.symlink_tag(target)) != Some(tag) {
                return impossible("the target is not that of the content tag");
            }
        }
        Kind::Directory if tag != context.keys.directory_tag() => {
            return impossible("a directory has another content tag");
        }
        Kind::File | Kind::Directory => {}
    }
    let mode = if kind == Kind::Symlink { 0o777 } else { mode };
    let mtime_ns = if kind == Kind::Directory { 0 } else { mtime_ns };
    Ok(Opened { content: ContentState { tag, mode, mtime_ns }, size, target })
}

/// Sets the place register of a row.
pub(crate) fn set_place(
    context: &FolderContext,
    row: &mut RemoteRow,
    revision: Revision,
    place: &Place,
) {
    let entry = row.node.entry;
    let name = open_place(context, &entry, place);
    let issue = name.as_ref().err().map(RemoteIssue::to_string);
    note(row, |row| row.place_issue = issue);
    row.node.position =
        Position { parent: place.parent, name: name.unwrap_or_else(|_| placeholder(&entry)) };
    row.node.place_revision = revision;
    row.node.deleted = false;
    row.place_hash = RegisterDigest::place(&entry, row.node.kind, revision, place);
}

/// Sets the content register of a row.
pub(crate) fn set_content(
    context: &FolderContext,
    row: &mut RemoteRow,
    revision: Revision,
    content: &Content,
) {
    let entry = row.node.entry;
    let opened = open_content(context, &entry, row.node.kind, content);
    let issue = opened.as_ref().err().map(RemoteIssue::to_string);
    note(row, |row| row.content_issue = issue);
    if let Ok(opened) = opened {
        row.node.content = opened.content;
        row.size = opened.size;
        row.target = opened.target;
    }
    row.root = content.root;
    row.node.content_revision = revision;
    row.content_hash = RegisterDigest::content(&entry, revision, content);
}

/// Sets or takes away the issue of a register, and with it what hides the entry. A register that can
/// be read mends one that could not; an ignore rule goes on hiding.
fn note(row: &mut RemoteRow, set: impl FnOnce(&mut RemoteRow)) {
    let had_issue = row.issue().is_some();
    set(row);
    if had_issue || row.issue().is_some() {
        row.broken = row.issue().cloned();
    }
}

/// Lists a live entry that cannot be materialised.
///
/// # Errors
/// [`StateError`].
pub(super) fn list_issue(state: &FolderState, row: &RemoteRow) -> Result<(), StateError> {
    match row.issue().filter(|_| !row.node.deleted) {
        Some(reason) => state.put_issue(&issue_path(row), IssueSource::Remote, reason),
        None => Ok(()),
    }
}

/// What stands for the path of such an entry: its directory may be as unreadable as its name.
pub(super) fn issue_path(row: &RemoteRow) -> String {
    format!("{} ({})", row.node.position.name, row.node.entry)
}

/// A row of the remote tree from both registers, as the server sent them.
pub fn row(context: &FolderContext, registers: &Registers) -> RemoteRow {
    let Registers { entry, kind, place_revision, place, content_revision, content } = registers;
    let zero = common::ids::Head::ZERO;
    let mut row = RemoteRow {
        node: RemoteNode {
            entry: *entry,
            position: Position { parent: place.parent, name: placeholder(entry) },
            kind: *kind,
            content: ContentState { tag: content.tag, mode: 0, mtime_ns: 0 },
            place_revision: *place_revision,
            content_revision: *content_revision,
            deleted: false,
        },
        size: 0,
        root: None,
        target: None,
        place_hash: zero,
        content_hash: zero,
        place_issue: None,
        content_issue: None,
        broken: None,
    };
    set_place(context, &mut row, *place_revision, place);
    set_content(context, &mut row, *content_revision, content);
    row
}
