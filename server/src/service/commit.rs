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
use server_core::metadata::{Action, PreparedCommit, Receipt};
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
    let outcomes = service.inner.meta.apply(Action::Commit(prepared)).await?.into_groups();
    let outcomes = outcomes.iter().map(meta::Outcome::from).collect();
    Ok(Reply::Outcomes(meta::Outcomes { outcomes }))
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
/// groups that lean on it are told to prove presence anew. Signatures are checked last, and only of
/// what proves more than the batches before it: a commit costs no more of them than it has new
/// receipts.
fn add_receipts(
    receipts: &mut BTreeMap<ChunkId, Receipt>,
    folder: &FolderId,
    node: &NodeId,
    batch: &[u8],
) -> Result<(), Refusal> {
    let invalid = |error| malformed(format!("a batch of receipts is not valid: {error}"));
    let unverified = ReceiptBatch::read(batch).map_err(invalid)?;
    let batch = unverified.claims();
    if batch.folder != *folder {
        return Err(malformed("a batch of receipts is for another folder"));
    }
    if batch.node != *node || batch.layout != LAYOUT {
        tracing::debug!(node = %batch.node, layout = batch.layout, "receipts passed over");
        return Ok(());
    }
    let is_known =
        |id| receipts.get(id).is_some_and(|known: &Receipt| known.generation >= batch.generation);
    if batch.items.iter().all(|item| is_known(&item.id)) {
        return Ok(());
    }
    let batch = unverified.verify().map_err(invalid)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use common::keys::SigningKey;
    use common::trust::ReceiptItem;
    use common::wire::meta::RefusalCode;

    #[test]
    fn signatures_are_checked_of_receipts_that_prove_something() {
        let (key, folder) = (SigningKey::from_seed([1; 32]), FolderId::from_bytes([2; 32]));
        let node = NodeId::from_bytes(key.public());
        let item =
            |number| ReceiptItem { id: ChunkId::from_bytes([number; 32]), length: 1, new: true };
        let batch = |items| ReceiptBatch { folder, node, layout: LAYOUT, generation: 4, items };
        let forged = |batch: &ReceiptBatch| {
            let mut bytes = batch.sign(&key);
            bytes[2] ^= 1;
            bytes
        };
        let mut receipts = BTreeMap::new();
        let mut add =
            |bytes: &[u8]| add_receipts(&mut receipts, &folder, &node, bytes).map_err(|r| r.code);
        let malformed = Err(RefusalCode::Malformed as i32);

        let first = batch(vec![item(1), item(2)]);
        assert_eq!(add(&forged(&first)), malformed);
        assert_eq!(add(&first.sign(&key)), Ok(()));
        // Of no use, and so of no cost: the same again, another node's, another layout's.
        let other = NodeId::from_bytes([9; 32]);
        let useless = [
            first.clone(),
            ReceiptBatch { generation: 3, ..first.clone() },
            ReceiptBatch { node: other, ..batch(vec![item(3)]) },
            ReceiptBatch { layout: LAYOUT + 1, ..batch(vec![item(3)]) },
        ];
        for batch in &useless {
            assert_eq!(add(&forged(batch)), Ok(()), "{batch:?}");
        }
        // One more item, or a later generation, has to be proven.
        let useful =
            [batch(vec![item(1), item(3)]), ReceiptBatch { generation: 5, ..first.clone() }];
        for batch in &useful {
            assert_eq!(add(&forged(batch)), malformed, "{batch:?}");
        }
        for batch in &useful {
            assert_eq!(add(&batch.sign(&key)), Ok(()));
        }
        let foreign = ReceiptBatch { folder: FolderId::from_bytes([3; 32]), ..first };
        assert_eq!(add(&foreign.sign(&key)), malformed);
        assert_eq!(receipts.len(), 3);
        assert_eq!(receipts[&ChunkId::from_bytes([1; 32])].generation, 5);
        assert_eq!(receipts[&ChunkId::from_bytes([3; 32])].generation, 4);
    }
}
