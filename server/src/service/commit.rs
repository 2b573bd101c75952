//! Commits: from the parts of a stream to what the state machine judges.
//!
//! Owns the bounds of a commit and the proof behind its receipts. It must not judge a group: the
//! state machine does, one group at a time.

use super::refusal::{bad_id, malformed};
use super::{LAYOUT, Service, access};
use common::ids::{ChunkId, DeviceId, FolderId, NodeId, Signature};
use common::limits::{COMMIT_BYTES_MAX, COMMIT_GROUPS_MAX, GROUP_BYTES_MAX, SEALED_BYTES_MAX};
use common::record::SignedGroup;
use common::trust::ReceiptBatch;
use common::wire::meta::{self, CommitPart, GroupMessage, Refusal, Reply};
use server_core::metadata::{Action, Answer, PreparedCommit, Receipt};
use std::collections::BTreeMap;

/// Judges the groups of a commit, in order; durable when this returns.
pub(super) async fn commit(
    service: &Service,
    peer: DeviceId,
    folder: FolderId,
    parts: Vec<CommitPart>,
) -> Result<Reply, Refusal> {
    let _admitted = service.inner.admission.request(peer)?;
    // Before the costly part: a stranger to the folder gets no signature checked.
    service.inner.meta.read_now(|reads| access::folder(reads, &peer, &folder))?;
    let node = service.inner.node;
    let prepared = service.inner.meta.work(move || prepare(peer, folder, node, parts)).await??;
    match service.inner.meta.apply(Action::Commit(prepared)).await? {
        Answer::Groups(outcomes) => Ok(Reply::Outcomes(meta::Outcomes {
            outcomes: outcomes.iter().map(meta::Outcome::from).collect(),
        })),
        // No group, nothing done: there was nothing to do.
        Answer::Done => Ok(Reply::Outcomes(meta::Outcomes::default())),
    }
}

/// Checks bounds, receipts and signatures. Costs processor time and needs no state.
fn prepare(
    peer: DeviceId,
    folder: FolderId,
    node: NodeId,
    parts: Vec<CommitPart>,
) -> Result<PreparedCommit, Refusal> {
    check_bounds(&parts)?;
    let mut receipts = BTreeMap::new();
    let mut pages = Vec::new();
    let mut groups = Vec::new();
    for part in parts {
        for batch in &part.receipts {
            add_receipts(&mut receipts, &folder, &node, batch)?;
        }
        pages.extend(part.pages);
        for group in part.groups {
            groups.push(signed_group(group)?);
        }
    }
    Ok(PreparedCommit::prepare(peer, folder, groups, &pages, receipts))
}

fn check_bounds(parts: &[CommitPart]) -> Result<(), Refusal> {
    let groups: usize = parts.iter().map(|part| part.groups.len()).sum();
    if groups == 0 || groups > COMMIT_GROUPS_MAX {
        return Err(malformed(format!("a commit has 1 to {COMMIT_GROUPS_MAX} groups")));
    }
    let mut bytes = 0_usize;
    for part in parts {
        for page in &part.pages {
            if page.len() > SEALED_BYTES_MAX {
                return Err(malformed(format!("a page of {} bytes is too large", page.len())));
            }
            bytes = bytes.saturating_add(page.len());
        }
        for group in &part.groups {
            if group.body.len() > GROUP_BYTES_MAX {
                return Err(malformed(format!(
                    "a group of {} bytes is too large",
                    group.body.len()
                )));
            }
            bytes = bytes.saturating_add(group.body.len());
        }
        for batch in &part.receipts {
            bytes = bytes.saturating_add(batch.len());
        }
    }
    if bytes > COMMIT_BYTES_MAX {
        return Err(malformed(format!("a commit has at most {COMMIT_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// Adds what a batch proves. A batch that does not verify or is for another folder is an error of
/// its sender. One of another node or layout proves nothing here: it was honest once, and the
/// groups that lean on it are told to prove presence anew.
fn add_receipts(
    receipts: &mut BTreeMap<ChunkId, Receipt>,
    folder: &FolderId,
    node: &NodeId,
    batch: &[u8],
) -> Result<(), Refusal> {
    let batch = ReceiptBatch::open(batch)
        .map_err(|error| malformed(format!("a batch of receipts is not valid: {error}")))?;
    if batch.folder != *folder {
        return Err(malformed("a batch of receipts is for another folder"));
    }
    if batch.node != *node || batch.layout != LAYOUT {
        tracing::debug!(node = %batch.node, layout = batch.layout, "receipts passed over");
        return Ok(());
    }
    for item in batch.items {
        let receipt = Receipt { length: item.length, generation: batch.generation };
        let known = receipts.entry(item.id).or_insert(receipt);
        if known.generation < receipt.generation {
            *known = receipt;
        }
    }
    Ok(())
}

fn signed_group(message: GroupMessage) -> Result<SignedGroup, Refusal> {
    let signature = Signature::from_slice(&message.signature).map_err(bad_id)?;
    Ok(SignedGroup { body: message.body, signature })
}
