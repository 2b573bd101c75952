//! The three trees that a device keeps: what a node of each looks like and how one is looked up.
//!
//! - *local*: on disk as last observed,
//! - *remote*: at the server as last heard,
//! - *synced*: the merge base of the two.
//!
//! Owns shapes only. It must not know where trees are stored.

use common::archive::is_bundle;
use common::ids::{ContentTag, EntryId};
use common::name::Name;
pub use common::record::Kind;
use common::revision::Revision;

pub mod memory;

/// The parent of an entry that the device itself has moved aside to break a cycle of moves. Only
/// local nodes ever stand there, under a name made from their id.
pub const PARKED: EntryId = EntryId::from_bytes([0xff; 16]);

/// Where an entry stands while it is moved aside.
#[must_use]
pub fn parked_position(entry: &EntryId) -> Position {
    // Hexadecimal digits are a name in every folder.
    let name = Name::new(entry.to_string()).unwrap_or_else(|_| unreachable!("an id is a name"));
    Position { parent: PARKED, name }
}

/// Where an entry stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The directory that holds it; [`EntryId::ROOT`] at the top, [`PARKED`] when moved aside.
    pub parent: EntryId,
    /// Its name there.
    pub name: Name,
}

/// What an entry holds, as far as devices compare it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentState {
    /// Equal tags are equal bytes (of a symlink: equal targets; all directories share one).
    pub tag: ContentTag,
    /// The nine permission bits, and [`common::archive::MODE_BUNDLE`] for a bundle.
    pub mode: u16,
    /// Modification time in nanoseconds since 1970; 0 for directories.
    pub mtime_ns: i64,
}

/// Whether mode and mtime agree, as far as an entry of this kind has them.
#[must_use]
pub fn same_attributes(kind: Kind, a: &ContentState, b: &ContentState) -> bool {
    match kind {
        Kind::File => a.mode == b.mode && a.mtime_ns == b.mtime_ns,
        Kind::Directory => a.mode == b.mode,
        Kind::Symlink => a.mtime_ns == b.mtime_ns,
    }
}

/// An entry on disk as last observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNode {
    /// Which entry this is taken to be.
    pub entry: EntryId,
    /// Where it is.
    pub position: Position,
    /// What it is.
    pub kind: Kind,
    /// What it holds; `None` while it has not been hashed since it last changed, or cannot be
    /// read: such a node is neither pushed nor overwritten.
    pub content: Option<ContentState>,
}

/// An entry at the server as last heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteNode {
    /// Which entry.
    pub entry: EntryId,
    /// Where it is, or was when it was deleted.
    pub position: Position,
    /// What it is.
    pub kind: Kind,
    /// What it holds, or held.
    pub content: ContentState,
    /// Revision that set its place; of a deleted entry, the revision of the deletion.
    pub place_revision: Revision,
    /// Revision that set its content.
    pub content_revision: Revision,
    /// Whether it is deleted. A device keeps tombstones: a deleted path's history is found by
    /// them.
    pub deleted: bool,
}

impl RemoteNode {
    /// Whether a user sees a directory: it is one, or a bundle.
    #[must_use]
    pub fn shows_directory(&self) -> bool {
        self.kind == Kind::Directory || (self.kind == Kind::File && is_bundle(self.content.mode))
    }
}

/// The merge base of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncedNode {
    /// Which entry.
    pub entry: EntryId,
    /// Where both sides last agreed that it is.
    pub position: Position,
    /// What it is.
    pub kind: Kind,
    /// What both sides last agreed that it holds.
    pub content: ContentState,
    /// The place revision that this was.
    pub place_revision: Revision,
    /// The content revision that this was.
    pub content_revision: Revision,
    /// Whether it was really materialised here; only then can its absence be a deletion.
    pub held: bool,
}

/// Reads of the three trees. Each tree is indexed by entry and by (parent, name), so that a round
/// costs what is dirty, not what exists.
pub trait View {
    /// The local node of an entry.
    fn local(&self, entry: &EntryId) -> Option<LocalNode>;
    /// The remote node of an entry, tombstones included.
    fn remote(&self, entry: &EntryId) -> Option<RemoteNode>;
    /// The synced node of an entry.
    fn synced(&self, entry: &EntryId) -> Option<SyncedNode>;
    /// The local entry at a position.
    fn local_at(&self, position: &Position) -> Option<EntryId>;
    /// The live remote entry at a position.
    fn remote_at(&self, position: &Position) -> Option<EntryId>;
    /// Local entries in a directory, in ascending order of name.
    fn local_children(&self, parent: &EntryId) -> Vec<EntryId>;
    /// Live remote entries in a directory, in ascending order of name.
    fn remote_children(&self, parent: &EntryId) -> Vec<EntryId>;
    /// Synced entries in a directory, in ascending order of name. Two may share a position for a
    /// while: the synced tree moves entry by entry.
    fn synced_children(&self, parent: &EntryId) -> Vec<EntryId>;
    /// How many synced entries are held in all: what the mass-deletion guard compares with.
    fn held_count(&self) -> u64;
}
