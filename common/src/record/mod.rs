//! The records that make up a folder's journal, as values and as signed bytes.
//!
//! Owns what a change, a group, a register and a conflict are, their encoding (version 1), the
//! journal's hash chain and the digest of all registers. It must not know who applies them, nor
//! what a sealed name or attribute says: those are opaque bytes here.

mod digest;
mod earlier;
mod encoding;
mod group;
mod settings;

pub use digest::RegisterDigest;
pub use earlier::{Earlier, EarlierMessage, Was};
pub use encoding::{ConflictMessage, RecordError, RegistersMessage};
pub use group::{GroupError, SignedGroup};
pub use settings::{
    Retention, Settings, SettingsMessage, StandingSettings, StandingSettingsMessage,
};

use crate::ids::{
    ChunkId, ConflictId, ContentTag, DeviceId, EntryId, FolderId, Head, LabelId, NameTag,
    RequestId, UserId,
};
use crate::revision::{Cursor, Epoch, Revision};

/// What an entry is; fixed when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Holds other entries.
    Directory,
    /// Bytes.
    File,
    /// A link, kept as a link and never followed.
    Symlink,
}

impl Kind {
    /// The number that stands for this kind in stored and sent records.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Directory => 1,
            Self::File => 2,
            Self::Symlink => 3,
        }
    }

    /// The kind with this number.
    #[must_use]
    pub const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Directory),
            2 => Some(Self::File),
            3 => Some(Self::Symlink),
            _ => None,
        }
    }
}

/// Where the bytes of a file version hang: a chunk (level 0) or a manifest page (level 1 and up).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Root {
    /// The object at the top.
    pub id: ChunkId,
    /// 0 for a chunk, else the page's level.
    pub level: u8,
}

/// The content register of an entry, as the servers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Top of the file's bytes; `None` for an empty file, a directory and a symlink.
    pub root: Option<Root>,
    /// Equality of contents, decided by devices.
    pub tag: ContentTag,
    /// Sealed [`crate::chunk::Attributes`], bound to the entry.
    pub attributes: Vec<u8>,
}

/// The place register of a live entry, as the servers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory that holds it; [`EntryId::ROOT`] for the top.
    pub parent: EntryId,
    /// Sealed name, bound to the entry.
    pub name: Vec<u8>,
    /// Keyed hash of (parent, name).
    pub name_tag: NameTag,
}

/// How a person settled a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The content that kept the name stays, the copy goes.
    KeepOriginal,
    /// The copy's content takes the name.
    KeepCopy,
    /// Both files stay.
    KeepBoth,
    /// The copy or the original went away by hand.
    Gone,
    /// The name has a content that was made of both; the copy goes.
    Merged,
}

/// One change of a group. A base is the revision of the register that the author had read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new entry.
    Create {
        /// Its new random id.
        entry: EntryId,
        /// What it is.
        kind: Kind,
        /// Where it is put.
        place: Place,
        /// Its first content.
        content: Content,
    },
    /// A new content of a live entry.
    Edit {
        /// Which entry.
        entry: EntryId,
        /// Content revision that the author had read.
        base: Revision,
        /// What it becomes.
        content: Content,
    },
    /// A new place of a live entry.
    Move {
        /// Which entry.
        entry: EntryId,
        /// Place revision that the author had read.
        base: Revision,
        /// Where it goes.
        place: Place,
    },
    /// The end of a live entry; a directory must be empty after the group.
    Delete {
        /// Which entry.
        entry: EntryId,
        /// Place revision that the author had read.
        place_base: Revision,
        /// Content revision that the author had read.
        content_base: Revision,
    },
    /// Brings a deleted entry back, with the content that it had.
    Revive {
        /// Which entry.
        entry: EntryId,
        /// Place revision of its deletion.
        base: Revision,
        /// Where it comes back.
        place: Place,
    },
    /// Records that two contents claim one name.
    OpenConflict {
        /// New random id of the record.
        conflict: ConflictId,
        /// The entry that keeps the name.
        entry: EntryId,
        /// The content revision of `entry` that both sides started from; `None` when there was none.
        base: Option<Revision>,
        /// The content revision of `entry` that the author found instead.
        theirs: Revision,
        /// The sibling that holds the author's content.
        copy: EntryId,
    },
    /// Closes a conflict record.
    ResolveConflict {
        /// Which record.
        conflict: ConflictId,
        /// How.
        resolution: Resolution,
    },
    /// After a server was restored from a backup: a person on the author's device agrees to go on
    /// from `restored` although `highest` had been seen (rule 4).
    ConfirmEpoch {
        /// Where the new epoch branched off.
        restored: Cursor,
        /// The furthest position of the earlier epoch that the author had pinned.
        highest: Cursor,
    },
    /// Names a moment of the past, which is then kept whole.
    AddLabel {
        /// New random id of the label.
        label: LabelId,
        /// The last revision of that moment; not after what the author had seen.
        at: Revision,
        /// Sealed name, bound to the label and the moment.
        name: Vec<u8>,
    },
    /// Takes a label away.
    RemoveLabel {
        /// Which.
        label: LabelId,
    },
    /// Sets what the folder is set to, all of it.
    SetSettings {
        /// The revision that set what the author had read; 0 when nothing had been set.
        base: Revision,
        /// What it becomes.
        settings: Settings,
    },
}

/// What a device signs: an atomic set of changes and what its author knew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The folder that it changes.
    pub folder: FolderId,
    /// Life of the journal that it was written for.
    pub epoch: Epoch,
    /// The author's user.
    pub user: UserId,
    /// The author's device, whose key signs.
    pub device: DeviceId,
    /// One id, one effect.
    pub request: RequestId,
    /// Highest revision that the author had seen.
    pub seen_revision: Revision,
    /// The journal's head at `seen_revision`.
    pub seen_head: Head,
    /// Head of the author's user's device log when it signed.
    pub device_log_head: Head,
    /// At least one, at most [`crate::limits::GROUP_CHANGES_MAX`].
    pub changes: Vec<Change>,
}

/// A live entry as a snapshot carries it: both registers and the revisions that set them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registers {
    /// Which entry.
    pub entry: EntryId,
    /// What it is.
    pub kind: Kind,
    /// Revision that set the place.
    pub place_revision: Revision,
    /// Where it is.
    pub place: Place,
    /// Revision that set the content.
    pub content_revision: Revision,
    /// What it holds.
    pub content: Content,
}

/// An open conflict as a snapshot carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictRecord {
    /// Names the record.
    pub conflict: ConflictId,
    /// The entry that kept the name.
    pub entry: EntryId,
    /// The content revision that both sides started from.
    pub base: Option<Revision>,
    /// The content revision of `entry` that the opener found.
    pub theirs: Revision,
    /// The sibling with the other content.
    pub copy: EntryId,
    /// Revision that opened it.
    pub opened: Revision,
    /// When the service accepted it, in milliseconds since 1970.
    pub time_ms: u64,
    /// The device that opened it.
    pub device: DeviceId,
}

/// An accepted group as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// Position, from 1, without gaps within an epoch's lineage.
    pub revision: Revision,
    /// When the service accepted it, in milliseconds since 1970; never goes back.
    pub time_ms: u64,
    /// The author's bytes and signature, as sent.
    pub group: SignedGroup,
}
