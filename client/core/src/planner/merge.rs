//! The merge of one entry: from its three nodes to what should happen to it.
//!
//! Owns the rules of the table of concurrent changes as far as they concern one entry alone. It
//! must not know of other entries: names, directories and cycles are judged elsewhere, and may
//! change the fate that is found here.

use super::Policy;
use super::trees::Trio;
use crate::tree::{ContentState, Kind, LocalNode, RemoteNode, SyncedNode, same_attributes};
use common::ids::EntryId;

/// What should happen to an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing: in sync, or not here at all.
    InSync,
    /// Both sides agree; the synced node lags behind.
    Settle,
    /// Gone on both sides.
    Forget,
    /// Not decidable yet: content unknown, absence not settled, or halted.
    Wait,
    /// The local node is of another kind and becomes an entry of its own.
    Detach,
    /// The local node becomes the remote entry named.
    Adopt(EntryId),
    /// A local node of another id becomes this remote entry.
    Adopted,
    /// New here: create it at the server.
    Upload,
    /// Deleted at the server but wanted: bring it back. `child` is the entry it is needed for,
    /// when it is not wanted for itself.
    Revive {
        /// The entry below that needs it.
        child: Option<EntryId>,
    },
    /// Deleted on one side, but its directory was moved on the other: it is kept.
    Keep,
    /// Deleted at the server, unchanged here.
    DeleteLocal,
    /// Deleted here, unchanged at the server.
    DeleteRemote,
    /// At the server, not here: make it.
    Download,
    /// On both sides, and not the same.
    Both {
        /// Which place holds.
        place: Placement,
        /// Which content holds.
        content: Merge,
    },
}

/// Which place of an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// Both sides agree.
    Agreed,
    /// The local one: push it.
    Local,
    /// The remote one: move the local node.
    Remote,
}

/// Which content of an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Merge {
    /// Both sides agree.
    Agreed,
    /// The local one: push it.
    Push,
    /// The remote bytes.
    Replace,
    /// The remote mode and mtime; the bytes are the same.
    Attributes,
    /// Neither: both are kept.
    Conflict,
    /// Not decidable yet.
    Wait,
}

/// The fate of an entry as its own three nodes have it.
pub(super) fn fate(trio: &Trio, policy: &Policy) -> Fate {
    let Some(local) = &trio.local else {
        return absent(trio, policy);
    };
    match (&local.content, trio.live(), trio.tombstone()) {
        (None, Some(_), _) if trio.is_parked() => {
            Fate::Both { place: Placement::Remote, content: Merge::Wait }
        }
        (None, ..) => Fate::Wait,
        (Some(_), None, None) => Fate::Upload,
        (Some(_), Some(node), _) | (Some(_), _, Some(node)) if node.kind != local.kind => {
            Fate::Detach
        }
        (Some(content), _, Some(_)) => deleted_remotely(trio, content),
        (Some(content), Some(remote), None) => both(trio, local, content, remote),
    }
}

fn absent(trio: &Trio, policy: &Policy) -> Fate {
    let Some(remote) = trio.live() else {
        return if trio.synced.is_some() { Fate::Forget } else { Fate::InSync };
    };
    let Some(base) = trio.base() else { return Fate::Download };
    if !policy.absences_settled {
        return Fate::Wait;
    }
    let unchanged = base.content.tag == remote.content.tag
        && base.position == remote.position
        && base.kind == remote.kind;
    if unchanged { Fate::DeleteRemote } else { Fate::Download }
}

fn deleted_remotely(trio: &Trio, content: &ContentState) -> Fate {
    match trio.base() {
        Some(base) if base.content.tag == content.tag && !trio.is_moved_locally() => {
            Fate::DeleteLocal
        }
        _ => Fate::Revive { child: None },
    }
}

fn both(trio: &Trio, local: &LocalNode, content: &ContentState, remote: &RemoteNode) -> Fate {
    let base = trio.base();
    let place = placement(trio, local, remote, base);
    let content = merge(local.kind, content, remote, base);
    if (place, content) != (Placement::Agreed, Merge::Agreed) {
        return Fate::Both { place, content };
    }
    let settled = base.is_some_and(|base| {
        base.kind == remote.kind
            && base.position == remote.position
            && base.content == remote.content
            && base.place_revision == remote.place_revision
            && base.content_revision == remote.content_revision
    });
    if settled { Fate::InSync } else { Fate::Settle }
}

fn placement(
    trio: &Trio,
    local: &LocalNode,
    remote: &RemoteNode,
    base: Option<&SyncedNode>,
) -> Placement {
    if local.position == remote.position {
        return Placement::Agreed;
    }
    // Who was parked was moved by the planner, not by a person: that is no move to push.
    let remote_kept_still = base.is_some_and(|base| base.position == remote.position);
    if remote_kept_still && !trio.is_parked() { Placement::Local } else { Placement::Remote }
}

fn merge(
    kind: Kind,
    local: &ContentState,
    remote: &RemoteNode,
    base: Option<&SyncedNode>,
) -> Merge {
    let remote = &remote.content;
    let base = base.map(|base| &base.content);
    if local.tag != remote.tag {
        return match base {
            Some(base) if base.tag == local.tag => Merge::Replace,
            Some(base) if base.tag == remote.tag => Merge::Push,
            _ => Merge::Conflict,
        };
    }
    if same_attributes(kind, local, remote) {
        return Merge::Agreed;
    }
    match base {
        Some(base) if same_attributes(kind, base, remote) => Merge::Push,
        _ => Merge::Attributes,
    }
}
