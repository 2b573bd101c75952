//! Signing groups, storing them in the outbox, sending them and taking their outcomes.

use super::prepare::Prepared;
use crate::context::FolderContext;
use crate::remote::RemoteError;
use crate::scan::{DurableError, make_durable};
use crate::state::{Effect, OutboxRow, StateError};
use crate::transfer::Proofs;
use common::ids::EntryId;
use common::limits::{COMMIT_BYTES_MAX, COMMIT_GROUPS_MAX, FRAME_BYTES_MAX, GROUP_BYTES_MAX};
use common::record::{Group, Root, SignedGroup};
use common::revision::{Cursor, Revision};
use common::wire::meta::{
    CommitPart, GroupMessage, OutcomeKind, Outcomes, OutcomesRead, RejectionCode, Reply, Request,
};
use std::collections::BTreeSet;

/// Changes that are gathered into one signed group.
const GROUP_CHANGES: usize = 128;
/// Room left in a frame for what surrounds its parts.
const PART_BYTES: usize = FRAME_BYTES_MAX - 64 * 1024;
/// What a receipt batch or a page costs besides its bytes.
const ITEM_BYTES: usize = 16;
/// What a change costs, its signature and its effects not counted.
const CHANGE_BYTES: usize = 1024;
/// Bytes that a group may weigh: a commit of it alone has room for what surrounds it.
const WEIGHT_MAX: usize = COMMIT_BYTES_MAX - FRAME_BYTES_MAX;

/// A push that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The server could not be asked or refused; the outbox knows what may have been accepted.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// What was to be pushed could not be made durable here first.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The state could not be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The server broke the protocol.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
}

/// What became of what was sent.
#[derive(Debug, Default)]
pub struct Sent {
    /// Groups that were accepted.
    pub accepted: u64,
    /// The last revision among them, or the journal's when one was refused: what they did, or what
    /// was in their way, comes with the journal.
    pub up_to: Revision,
    /// Groups that were refused.
    pub rejected: Vec<Rejection>,
    /// Groups left for a later call.
    pub left: bool,
    /// Files that changed or moved since they were hashed; their groups were not sent.
    pub stale: BTreeSet<EntryId>,
    /// Files whose proofs no commit has room for: of about 45 GiB and more.
    pub too_large: BTreeSet<EntryId>,
}

/// A group that was refused.
#[derive(Debug)]
pub struct Rejection {
    /// Why, for programs.
    pub code: RejectionCode,
    /// Why, for people.
    pub message: String,
    /// The first entry that it was about; none when it changed none.
    pub entry: Option<EntryId>,
    /// The entry that was in the way, as the server says.
    pub named: Option<EntryId>,
}

/// Sends prepared groups, as many as one commit takes. With `alone` each is signed by itself, so
/// that one that is refused takes no other with it.
///
/// # Errors
/// [`PushError`].
pub async fn send(
    context: &FolderContext,
    proofs: &mut Proofs,
    mut ready: Vec<Prepared>,
    alone: bool,
) -> Result<Sent, PushError> {
    let Some(cursor) = context.state.cursor()? else { return Ok(Sent::default()) };
    let sent: BTreeSet<EntryId> = ready.iter().flat_map(|g| g.contents.iter().copied()).collect();
    let stale = make_durable(context, &sent).await?;
    ready.retain(|group| group.contents.iter().all(|entry| !stale.contains(entry)));
    let too_large = take_too_large(proofs, &mut ready);
    let (merged, left) = gather(proofs, &mut ready, alone);
    if merged.is_empty() {
        return Ok(Sent { stale, too_large, ..Sent::default() });
    }
    let rows = store(context, &cursor, &merged)?;
    let roots: Vec<Root> = merged.iter().flat_map(|group| group.roots.iter().copied()).collect();
    let parts = parts(proofs, &roots, &rows);
    let outcomes = context.remote.commit(context.folder, parts).await?;
    let mut sent = take(context, &rows, &outcomes)?;
    sent.left = left;
    sent.stale = stale;
    sent.too_large = too_large;
    if sent.rejected.is_empty() {
        proofs.forget(&roots);
    }
    Ok(sent)
}

/// Takes out groups that no commit has room for; returns whose content they carry.
fn take_too_large(proofs: &Proofs, ready: &mut Vec<Prepared>) -> BTreeSet<EntryId> {
    let mut too_large = BTreeSet::new();
    ready.retain(|group| {
        let (receipts, pages) = proofs.collect(&group.roots);
        let proof: usize = receipts.iter().map(|batch| batch.len() + ITEM_BYTES).sum::<usize>()
            + pages.iter().map(|page| page.len() + ITEM_BYTES).sum::<usize>();
        let fits = proof + group.changes.len() * CHANGE_BYTES <= WEIGHT_MAX;
        if !fits {
            too_large.extend(group.contents.iter().copied());
        }
        fits
    });
    too_large
}

/// Merges independent groups into larger ones until a commit is full.
fn gather(proofs: &Proofs, ready: &mut Vec<Prepared>, alone: bool) -> (Vec<Prepared>, bool) {
    let mut merged: Vec<Prepared> = Vec::new();
    let mut bytes = 0_usize;
    let mut taken = 0;
    for group in ready.iter() {
        let (receipts, pages) = proofs.collect(&group.roots);
        // Several groups share receipts: a quarter of each is what they come to together.
        let size = receipts.iter().map(|batch| batch.len()).sum::<usize>() / 4
            + pages.iter().map(Vec::len).sum::<usize>()
            + group.changes.len() * CHANGE_BYTES;
        let fits = merged.last().is_some_and(|last| {
            !alone && last.changes.len() + group.changes.len() <= GROUP_CHANGES
        });
        let is_full = !fits && merged.len() >= COMMIT_GROUPS_MAX;
        if taken > 0 && (is_full || bytes + size > COMMIT_BYTES_MAX / 2) {
            break;
        }
        bytes += size;
        taken += 1;
        if !fits {
            merged.push(Prepared::default());
        }
        if let Some(last) = merged.last_mut() {
            last.changes.extend(group.changes.iter().cloned());
            last.effects.extend(group.effects.iter().cloned());
            last.roots.extend(group.roots.iter().copied());
            last.contents.extend(group.contents.iter().copied());
        }
    }
    let left = taken < ready.len();
    ready.clear();
    (merged, left)
}

fn store(
    context: &FolderContext,
    cursor: &Cursor,
    groups: &[Prepared],
) -> Result<Vec<OutboxRow>, PushError> {
    context.state.atomically(|state| {
        let mut rows = Vec::with_capacity(groups.len());
        for prepared in groups {
            let request = state.next_request()?;
            let group = Group {
                folder: context.folder,
                epoch: cursor.epoch,
                user: context.user,
                device: context.device(),
                request,
                seen_revision: cursor.revision,
                seen_head: cursor.head,
                device_log_head: context.signers.with(|log| log.head()),
                changes: prepared.changes.clone(),
            };
            let signed = SignedGroup::sign(&group, &context.signer);
            debug_assert!(
                signed.body.len() <= GROUP_BYTES_MAX,
                "a group is bounded by its changes"
            );
            let effects = prepared.effects.clone();
            let row = OutboxRow { counter: request.counter, group: signed, effects };
            state.put_outbox(&row)?;
            rows.push(row);
        }
        Ok(rows)
    })
}

fn parts(proofs: &Proofs, roots: &[Root], rows: &[OutboxRow]) -> Vec<CommitPart> {
    let (receipts, pages) = proofs.collect(roots);
    let mut parts = vec![CommitPart::default()];
    let mut bytes = 0;
    let mut room = |parts: &mut Vec<CommitPart>, length: usize| {
        if bytes + length > PART_BYTES {
            parts.push(CommitPart::default());
            bytes = 0;
        }
        bytes += length + ITEM_BYTES;
    };
    for receipt in receipts {
        room(&mut parts, receipt.len());
        if let Some(part) = parts.last_mut() {
            part.receipts.push(receipt.as_ref().clone());
        }
    }
    for page in pages {
        room(&mut parts, page.len());
        if let Some(part) = parts.last_mut() {
            part.pages.push(page);
        }
    }
    for row in rows {
        room(&mut parts, row.group.body.len() + 128);
        if let Some(part) = parts.last_mut() {
            part.groups.push(GroupMessage {
                body: row.group.body.clone(),
                signature: row.group.signature.to_vec(),
            });
        }
    }
    parts
}

/// Records what the server said of each group. Accepted ones stay in the outbox until the journal
/// brings them back.
fn take(
    context: &FolderContext,
    rows: &[OutboxRow],
    outcomes: &Outcomes,
) -> Result<Sent, PushError> {
    if outcomes.outcomes.len() != rows.len() {
        let text = format!("{} outcomes for {} groups", outcomes.outcomes.len(), rows.len());
        return Err(PushError::Protocol(text));
    }
    let mut sent = Sent::default();
    context.state.atomically(|state| {
        for (row, outcome) in rows.iter().zip(&outcomes.outcomes) {
            match &outcome.kind {
                Some(OutcomeKind::Accepted(accepted)) => {
                    sent.accepted += 1;
                    sent.up_to = sent.up_to.max(accepted.revision);
                }
                Some(OutcomeKind::Rejected(rejected)) => {
                    state.remove_outbox(row.counter)?;
                    // What was in the way is in the journal up to there.
                    sent.up_to = sent.up_to.max(rejected.revision);
                    sent.rejected.push(Rejection {
                        code: rejected.code(),
                        message: rejected.message.clone(),
                        entry: row.effects.first().map(Effect::entry),
                        named: EntryId::from_slice(&rejected.entry).ok(),
                    });
                }
                None => state.remove_outbox(row.counter)?,
            }
        }
        Ok::<_, StateError>(())
    })?;
    Ok(sent)
}

/// Asks what became of groups whose outcome this device did not hear; those that the service does
/// not know had no effect and are dropped. Returns the last revision that was accepted.
///
/// # Errors
/// [`PushError`].
pub async fn resolve_outbox(context: &FolderContext) -> Result<Revision, PushError> {
    let rows = context.state.outbox()?;
    if rows.is_empty() {
        return Ok(0);
    }
    let request = OutcomesRead {
        folder: context.folder.to_vec(),
        incarnation: context.state.incarnation()?,
        counters: rows.iter().map(|row| row.counter).collect(),
    };
    let replies = context.remote.request(Request::Outcomes(request)).await?;
    match replies.as_slice() {
        [Reply::Outcomes(outcomes)] => Ok(take(context, &rows, outcomes)?.up_to),
        _ => Err(PushError::Protocol("no outcomes".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::RootParts;
    use common::ids::ChunkId;
    use common::record::Root;

    #[test]
    fn what_no_commit_has_room_for_stops_nothing_else() {
        let mut proofs = Proofs::default();
        let mut ready = Vec::new();
        for (number, pages) in [(1, 3), (2, COMMIT_BYTES_MAX / FRAME_BYTES_MAX), (3, 0)] {
            let id = |page: u8| ChunkId::from_bytes([number ^ page.rotate_left(2); 32]);
            let root = Root { id: id(u8::MAX), level: 1 };
            let page = |n| (id(u8::try_from(n).unwrap()), vec![number; FRAME_BYTES_MAX]);
            let parts = RootParts { chunks: Vec::new(), pages: (0..pages).map(page).collect() };
            proofs.add_root(&root, parts);
            let contents = vec![EntryId::from_bytes([number; 16])];
            ready.push(Prepared { roots: vec![root], contents, ..Prepared::default() });
        }
        let too_large = take_too_large(&proofs, &mut ready);
        assert_eq!(too_large, BTreeSet::from([EntryId::from_bytes([2; 16])]));
        assert_eq!(ready.len(), 2);
    }
}
