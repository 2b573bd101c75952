//! Committing groups: who may, and in which order things are held against the state.
//!
//! Owns the way of a group from its signed bytes to its outcome. It must not know the rules of the
//! tree (`draft`), of proof (`proof`) and of request ids (`requests`), nor what is written (`write`).

use super::super::commit::{PreparedCommit, PreparedGroup};
use super::super::outcome::{Event, GroupOutcome, Refused, Rejection};
use super::super::query::head_at;
use super::super::state::{EntryState, FolderState, KeptOutcome, ObjectState, Usage};
use super::super::store::{MetaReads, MetaStore, StoreError, Stored};
use super::Stop;
use super::draft::{Draft, Fault, Stopped};
use super::folders::own_folder;
use super::proof::Proof;
use super::requests::{Known, keep, look_up};
use super::write::write;
use common::ids::{ChunkId, EntryId};
use common::limits::{COMMIT_GROUPS_MAX, COMMIT_OBJECTS_MAX};
use common::record::{Change, Content, Group, GroupError};
use common::wire::meta::RejectionCode as Code;
use std::collections::BTreeMap;

/// Judges the groups of a commit in order.
pub(super) fn commit(
    store: &mut dyn MetaStore,
    time_ms: u64,
    commit: &PreparedCommit,
    events: &mut Vec<Event>,
) -> Result<Vec<GroupOutcome>, Stop> {
    let before = own_folder(store, &commit.device, &commit.folder)?;
    if commit.groups.len() > COMMIT_GROUPS_MAX {
        let limit = COMMIT_GROUPS_MAX;
        return Err(Refused::TooMany { what: "groups in a commit", limit }.into());
    }
    let mut folder = before.clone();
    let mut visits_left = COMMIT_OBJECTS_MAX;
    let mut outcomes = Vec::with_capacity(commit.groups.len());
    for group in &commit.groups {
        let visits = &mut visits_left;
        outcomes.push(judge_and_write(store, time_ms, commit, group, &mut folder, visits)?);
    }
    if folder.revision != before.revision {
        events.push(Event::Folder {
            folder: commit.folder,
            epoch: folder.epoch,
            revision: folder.revision,
        });
    }
    Ok(outcomes)
}

fn judge_and_write(
    store: &mut dyn MetaStore,
    time_ms: u64,
    commit: &PreparedCommit,
    prepared: &PreparedGroup,
    folder: &mut FolderState,
    visits_left: &mut u64,
) -> Stored<GroupOutcome> {
    // Nothing is kept of what its author has not signed: it proves nobody's request id.
    let group = match authentic(commit, prepared, folder) {
        Ok(group) => group,
        Err(fault) => return Ok(rejected(folder, 0, fault)),
    };
    let digest = prepared.digest();
    match look_up(store, &commit.folder, &group.device, &group.request, &digest)? {
        Known::New => {}
        Known::Kept(outcome) => return Ok(outcome),
        Known::Refused(message) => {
            return Ok(rejected(folder, 0, plain_fault(Code::RequestId, message)));
        }
    }
    let judged = match judge(store, commit, group, folder, visits_left) {
        Ok(judged) => Ok(judged),
        Err((change, Stopped::Fault(fault))) => Err(rejected(folder, change, fault)),
        Err((_, Stopped::Store(error))) => return Err(error),
    };
    atomically(store, |store| {
        let (outcome, after) = match judged {
            Ok(judged) => write(store, time_ms, prepared, group, judged, folder)?,
            Err(outcome) => (outcome, folder.clone()),
        };
        let kept = KeptOutcome { digest, outcome };
        keep(store, &commit.folder, &group.device, &group.request, &kept)?;
        *folder = after;
        Ok(kept.outcome)
    })
}

/// Runs the writes of one group; when one fails, none of them stands.
fn atomically<T>(
    store: &mut dyn MetaStore,
    writes: impl FnOnce(&mut dyn MetaStore) -> Stored<T>,
) -> Stored<T> {
    store.savepoint()?;
    match writes(store) {
        Ok(value) => {
            store.release()?;
            Ok(value)
        }
        Err(error) => {
            store.rollback()?;
            Err(error)
        }
    }
}

fn plain_fault(code: Code, message: impl Into<String>) -> Fault {
    Fault { code, entry: None, message: message.into() }
}

fn rejected(folder: &FolderState, change: u32, fault: Fault) -> GroupOutcome {
    GroupOutcome::Rejected(Rejection {
        code: fault.code,
        change,
        entry: fault.entry,
        message: fault.message,
        revision: folder.revision,
    })
}

/// The group, if the peer signed it for this folder as one of its user's devices.
fn authentic<'a>(
    commit: &PreparedCommit,
    prepared: &'a PreparedGroup,
    folder: &FolderState,
) -> Result<&'a Group, Fault> {
    let group = match prepared.group() {
        Ok(group) => group,
        Err(GroupError::Signature) => {
            return Err(plain_fault(Code::BadSignature, GroupError::Signature.to_string()));
        }
        Err(error @ GroupError::Record(_)) => {
            return Err(plain_fault(Code::Malformed, error.to_string()));
        }
    };
    if group.device != commit.device || group.user != folder.user {
        return Err(plain_fault(Code::BadSignature, "the group's author is not the peer"));
    }
    if group.folder != commit.folder {
        return Err(plain_fault(Code::Malformed, "the group is for another folder"));
    }
    Ok(group)
}

/// What a group that may be accepted writes beyond its changes.
pub(super) struct Judged {
    /// The registers that its entries had.
    pub(super) before: BTreeMap<EntryId, Option<EntryState>>,
    /// Objects that it is the first to reach.
    pub(super) objects: BTreeMap<ChunkId, ObjectState>,
    /// What the user occupies after it.
    pub(super) usage: Usage,
}

fn judge(
    store: &mut dyn MetaStore,
    commit: &PreparedCommit,
    group: &Group,
    folder: &FolderState,
    visits_left: &mut u64,
) -> Result<Judged, (u32, Stopped)> {
    let reads: &dyn MetaReads = store;
    check_author_view(reads, group, folder).map_err(|stopped| (0, stopped))?;
    let draft = Draft::judge(reads, &group.folder, folder, group)?;
    let generation = reads.generation().map_err(|error| (0, error.into()))?;
    let mut proof = Proof::new(reads, group.folder, commit, generation, visits_left);
    for (number, change) in (0..).zip(&group.changes) {
        if let Some(root) = content_of(change).and_then(|content| content.root.as_ref()) {
            proof.cover(root).map_err(|stopped| (number, stopped))?;
        }
    }
    let (objects, bytes, new_objects) = proof.finish();
    let usage =
        usage_after(reads, folder, group, bytes, new_objects).map_err(|stopped| (0, stopped))?;
    Ok(Judged { before: draft.into_before(), objects, usage })
}

const fn content_of(change: &Change) -> Option<&Content> {
    match change {
        Change::Create { content, .. } | Change::Edit { content, .. } => Some(content),
        _ => None,
    }
}

/// The author wrote for this life of the journal, saw a head that lies on it, and knew a head of
/// its user's device log.
fn check_author_view(
    reads: &dyn MetaReads,
    group: &Group,
    folder: &FolderState,
) -> Result<(), Stopped> {
    if group.epoch != folder.epoch {
        let message = format!("the journal is in epoch {}", folder.epoch);
        return Err(Stopped::Fault(plain_fault(Code::WrongEpoch, message)));
    }
    let on_chain = group.seen_revision <= folder.revision
        && head_at(reads, &group.folder, group.seen_revision)? == Some(group.seen_head);
    if !on_chain {
        let message = "the head that the author saw is not on this journal";
        return Err(Stopped::Fault(plain_fault(Code::UnknownHead, message)));
    }
    if !reads.log_knows(&group.user, &group.device_log_head)? {
        let message = "the device-log head that the author saw is not on its user's log";
        return Err(Stopped::Fault(plain_fault(Code::UnknownHead, message)));
    }
    Ok(())
}

/// What the user occupies after the group. Only what grows is held against the quota, so that
/// deletes go on when it is exhausted.
fn usage_after(
    reads: &dyn MetaReads,
    folder: &FolderState,
    group: &Group,
    bytes: u64,
    objects: u64,
) -> Result<Usage, Stopped> {
    let user = reads.user(&folder.user)?.ok_or(StoreError::Corrupt { what: "folder's user" })?;
    let (mut came, mut gone, mut versions, mut grows) = (0_u64, 0_u64, 0_u64, false);
    for change in &group.changes {
        match change {
            Change::Create { .. } => (came, versions) = (came + 1, versions + 2),
            Change::Revive { .. } => (came, versions) = (came + 1, versions + 1),
            Change::Delete { .. } => (gone, versions) = (gone + 1, versions + 1),
            _ => versions += 1,
        }
        grows |= !matches!(
            change,
            Change::Delete { .. } | Change::ResolveConflict { .. } | Change::RemoveLabel { .. }
        );
    }
    let usage = Usage {
        bytes: user.usage.bytes.saturating_add(bytes),
        entries: user.usage.entries.saturating_add(came).saturating_sub(gone),
        objects: user.usage.objects.saturating_add(objects),
        versions: user.usage.versions.saturating_add(versions),
    };
    let over = [
        ("bytes", bytes > 0 && usage.bytes > user.quota.bytes_max),
        ("entries", came > gone && usage.entries > user.quota.entries_max),
        ("objects", objects > 0 && usage.objects > user.quota.objects_max),
        ("versions", grows && usage.versions > user.quota.versions_max),
    ];
    match over.into_iter().find(|(_, over)| *over) {
        Some((what, _)) => {
            let message = format!("the quota of {what} is exhausted");
            Err(Stopped::Fault(plain_fault(Code::Quota, message)))
        }
        None => Ok(usage),
    }
}
