//! Commits and what subscribers, snapshots and outcomes tell of them.

use super::world::{Became, World, code_of, node_key, now, ready, revisions};
use common::ids::{ChunkId, EntryId, NodeId};
use common::keys::SigningKey;
use common::limits::{COMMIT_GROUPS_MAX, LOG_RECORD_BYTES_MAX, REPLY_ITEMS_MAX};
use common::trust::{ReceiptBatch, ReceiptItem};
use common::wire::meta::{
    self, CommitPart, OutcomeKind, RefusalCode, RejectionCode, Reply, Request,
};
use server_core::metadata::Quota;

#[test]
fn what_one_device_commits_another_hears() {
    let world = World::new();
    let mut first = world.bootstrap(1);
    let folder = first.create_folder(1);
    let second = world.join(&first, 2);
    let mut subscription = second.subscribe(&folder, 0).unwrap();
    let greeting = ready(&mut subscription).unwrap();
    assert_eq!((revisions(&greeting), greeting.last_revision), (vec![], 0));
    assert_eq!(ready(&mut subscription), None);

    assert_eq!(first.create(&folder, "a"), Became::Accepted(1));
    assert_eq!(first.create(&folder, "b"), Became::Accepted(2));
    let batch = ready(&mut subscription).unwrap();
    assert_eq!((revisions(&batch), batch.last_revision, batch.epoch), (vec![1, 2], 2, 1));
    assert_eq!(ready(&mut subscription), None);
    assert_eq!(first.create(&folder, "c"), Became::Accepted(3));
    assert_eq!(revisions(&ready(&mut subscription).unwrap()), [3]);

    let mut late = second.subscribe(&folder, 2).unwrap();
    assert_eq!(revisions(&ready(&mut late).unwrap()), [3]);
}

#[test]
fn another_folders_commits_wake_nobody() {
    let world = World::new();
    let mut device = world.bootstrap(1);
    let (folder, other) = (device.create_folder(1), device.create_folder(2));
    let mut subscription = device.subscribe(&folder, 0).unwrap();
    ready(&mut subscription).unwrap();
    assert_eq!(device.create(&other, "a"), Became::Accepted(1));
    assert_eq!(ready(&mut subscription), None);
}

#[test]
fn m9_a_subscriber_of_another_epoch_is_told_the_lineage_and_no_more() {
    let world = World::new();
    let mut device = world.bootstrap(1);
    let folder = device.create_folder(1);
    device.create(&folder, "a");
    let mut subscription = device.subscribe_in(&folder, 7, 5).unwrap();
    let batch = ready(&mut subscription).unwrap();
    assert_eq!((batch.epoch, batch.last_revision, batch.groups.len()), (1, 1, 0));
    assert_eq!(now(subscription.next()), None);
}

#[test]
fn m9_a_cursor_beyond_the_journal_is_refused() {
    let world = World::new();
    let device = world.bootstrap(1);
    let folder = device.create_folder(1);
    assert_eq!(device.subscribe(&folder, 1).unwrap_err(), RefusalCode::EpochChanged);
}

#[test]
fn m4_a_chunk_that_was_never_uploaded_is_not_committed() {
    let world = World::new();
    let mut device = world.bootstrap(1);
    let folder = device.create_folder(1);
    let group = device.creation(&folder, "a", ChunkId::of(b"never uploaded"));
    let outcome = device.commit(&folder, vec![], vec![group]);
    assert_eq!(outcome, [Became::Rejected(RejectionCode::MissingChunk)]);
}

#[test]
fn m4_another_folders_chunk_is_not_claimed() {
    let world = World::new();
    let mut device = world.bootstrap(1);
    let (theirs, ours) = (device.create_folder(1), device.create_folder(2));
    let (id, receipts) = device.put(&theirs, b"secret");
    let group = device.creation(&ours, "a", id);
    let with_theirs = device.commit(&ours, receipts, vec![group.clone()]);
    assert_eq!(with_theirs, [Became::Refused(RefusalCode::Malformed)]);
    let without = device.commit(&ours, vec![], vec![group]);
    assert_eq!(without, [Became::Rejected(RejectionCode::MissingChunk)]);
}

#[test]
fn m4_receipts_are_this_clusters_nodes_word_only() {
    let world = World::new();
    let mut device = world.bootstrap(1);
    let folder = device.create_folder(1);
    let id = ChunkId::of(b"never uploaded");
    let batch = |key: &SigningKey, layout| {
        let item = ReceiptItem { id, length: 5, new: true };
        let node = NodeId::from_bytes(key.public());
        ReceiptBatch { folder, node, layout, generation: 1, items: vec![item] }
    };
    let mallory = SigningKey::from_seed([66; 32]);
    let own_word = batch(&mallory, 1).sign(&mallory);
    let forged = batch(&node_key(), 1).sign(&mallory);
    let other_layout = batch(&node_key(), 2).sign(&node_key());
    let mut torn = batch(&node_key(), 1).sign(&node_key());
    torn.pop();
    let missing = Became::Rejected(RejectionCode::MissingChunk);
    let malformed = Became::Refused(RefusalCode::Malformed);
    for (receipts, expected) in [
        (own_word, &missing),
        (other_layout, &missing),
        (forged, &malformed),
        (torn, &malformed),
        (Vec::new(), &malformed),
    ] {
        let group = device.creation(&folder, "a", id);
        assert_eq!(&device.commit(&folder, vec![receipts], vec![group])[0], expected);
    }
    let honest = batch(&node_key(), 1).sign(&node_key());
    let group = device.creation(&folder, "a", id);
    assert_eq!(device.commit(&folder, vec![honest], vec![group]), [Became::Accepted(1)]);
}

#[test]
fn m3_a_commit_sent_again_has_its_first_outcome() {
    let world = World::new();
    let mut device = world.bootstrap(1);
    let folder = device.create_folder(1);
    let (id, receipts) = device.put(&folder, b"a");
    let group = device.creation(&folder, "a", id);
    for _ in 0..3 {
        let outcome = device.commit(&folder, receipts.clone(), vec![group.clone()]);
        assert_eq!(outcome, [Became::Accepted(1)]);
    }
    let counters = vec![device.counter, 99];
    let request = meta::OutcomesRead { folder: folder.to_vec(), incarnation: 1, counters };
    let Reply::Outcomes(outcomes) = device.ask_one(Request::Outcomes(request)) else { panic!() };
    assert!(matches!(
        &outcomes.outcomes[0].kind,
        Some(OutcomeKind::Accepted(accepted)) if accepted.revision == 1
    ));
    assert_eq!(outcomes.outcomes[1].kind, None);
}

#[test]
fn a_group_of_another_author_is_not_taken_from_a_peer() {
    let world = World::new();
    let mut first = world.bootstrap(1);
    let folder = first.create_folder(1);
    let second = world.join(&first, 2);
    let (id, receipts) = first.put(&folder, b"a");
    let group = first.creation(&folder, "a", id);
    let outcome = second.commit(&folder, receipts, vec![group]);
    assert_eq!(outcome, [Became::Rejected(RejectionCode::BadSignature)]);
}

#[test]
fn many_commits_against_one_quota_do_not_exceed_it() {
    let quota = Quota { entries_max: 5, ..Quota::UNLIMITED };
    let world = World::with_quota(quota);
    let mut devices = vec![world.bootstrap(1)];
    let folder = devices[0].create_folder(1);
    devices.push(world.join(&devices[0], 2));
    let mut accepted = 0;
    for round in 0..5 {
        for device in &mut devices {
            let name = format!("{round} {}", device.id());
            match device.create(&folder, &name) {
                Became::Accepted(_) => accepted += 1,
                outcome => assert_eq!(outcome, Became::Rejected(RejectionCode::Quota)),
            }
        }
    }
    assert_eq!(accepted, 5);
}

#[test]
fn commits_are_bounded() {
    let world = World::new();
    let mut device = world.bootstrap(1);
    let folder = device.create_folder(1);
    let refused = [Became::Refused(RefusalCode::Malformed)];
    assert_eq!(device.commit(&folder, vec![], vec![]), refused);
    let group = device.creation(&folder, "a", ChunkId::of(b"a"));
    let many = vec![group.clone(); COMMIT_GROUPS_MAX + 1];
    assert_eq!(device.commit(&folder, vec![], many), refused);
    let large = meta::GroupMessage {
        body: vec![0; common::limits::GROUP_BYTES_MAX + 1],
        signature: vec![0; 64],
    };
    assert_eq!(device.commit(&folder, vec![], vec![large]), refused);
    let unsigned = meta::GroupMessage { signature: Vec::new(), ..group.clone() };
    assert_eq!(device.commit(&folder, vec![], vec![unsigned]), refused);
    let page = vec![0; common::limits::SEALED_BYTES_MAX + 1];
    let part = CommitPart { receipts: vec![], pages: vec![page], groups: vec![group] };
    let reply = now(world.service.commit(device.id(), folder, vec![part]));
    assert_eq!(code_of(reply), RefusalCode::Malformed);
}

#[test]
fn reads_are_bounded_and_ids_checked() {
    let world = World::new();
    let mut device = world.bootstrap(1);
    let folder = device.create_folder(1);
    device.create(&folder, "a");
    let short = vec![1; 31];
    let long = vec![0; LOG_RECORD_BYTES_MAX + 1];
    let requests = [
        Request::FolderCreate(meta::FolderCreate { genesis: long.clone() }),
        Request::CheckpointPut(meta::CheckpointPut { checkpoint: long }),
        Request::Capability(meta::CapabilityRequest { folder: short.clone() }),
        Request::Snapshot(meta::SnapshotRead { folder: short.clone() }),
        Request::Outcomes(meta::OutcomesRead {
            folder: folder.to_vec(),
            incarnation: 1,
            counters: vec![1; REPLY_ITEMS_MAX + 1],
        }),
        Request::Versions(meta::VersionsRead {
            folder: folder.to_vec(),
            entry: short,
            ..Default::default()
        }),
    ];
    for request in requests {
        assert_eq!(code_of(device.ask_one(request.clone())), RefusalCode::Malformed, "{request:?}");
    }
    let entry = EntryId::from_bytes([9; 16]).to_vec();
    let versions = |entry, at_or_before| {
        let folder = folder.to_vec();
        device.ask_one(Request::Versions(meta::VersionsRead {
            folder,
            entry,
            at_or_before,
            limit: u32::MAX,
        }))
    };
    assert_eq!(code_of(versions(entry, 0)), RefusalCode::NotFound);
    let mut known = [0; 16];
    known[..8].copy_from_slice(&1_u64.to_le_bytes());
    known[8..].copy_from_slice(&device.id().as_bytes()[..8]);
    for at in [0, 1, u64::MAX] {
        let Reply::Versions(part) = versions(known.to_vec(), at) else { panic!() };
        assert_eq!((part.versions.len(), part.more), (1, false), "at {at}");
    }
}

#[test]
fn an_answer_holds_so_many_versions_and_says_that_there_are_more() {
    const EDITS: u64 = REPLY_ITEMS_MAX as u64 + 20;
    let world = World::new();
    let mut device = world.bootstrap(1);
    let folder = device.create_folder(1);
    device.create(&folder, "a");
    let mut entry = [0; 16];
    entry[..8].copy_from_slice(&1_u64.to_le_bytes());
    entry[8..].copy_from_slice(&device.id().as_bytes()[..8]);
    let entry = EntryId::from_bytes(entry);
    let bases: Vec<u64> = (1..=EDITS).collect();
    for bases in bases.chunks(COMMIT_GROUPS_MAX) {
        let groups = bases.iter().map(|base| device.edit(&folder, entry, *base)).collect();
        let outcome = device.commit(&folder, vec![], groups);
        let accepted = bases.iter().map(|base| Became::Accepted(base + 1)).collect::<Vec<_>>();
        assert_eq!(outcome, accepted);
    }
    let (mut found, mut at_or_before) = (Vec::new(), 0);
    loop {
        let (folder, entry) = (folder.to_vec(), entry.to_vec());
        let read = meta::VersionsRead { folder, entry, at_or_before, limit: u32::MAX };
        let Reply::Versions(part) = device.ask_one(Request::Versions(read)) else { panic!() };
        assert!(part.versions.len() <= REPLY_ITEMS_MAX, "{}", part.versions.len());
        found.extend(part.versions.iter().map(|version| version.revision));
        if !part.more {
            break;
        }
        at_or_before = found.last().unwrap() - 1;
    }
    assert_eq!(found, (1..=EDITS + 1).rev().collect::<Vec<_>>());
}

#[test]
fn a_snapshot_without_a_checkpoint_says_so() {
    let world = World::new();
    let mut device = world.bootstrap(1);
    let folder = device.create_folder(1);
    device.create(&folder, "a");
    let request = meta::SnapshotRead { folder: folder.to_vec() };
    let Reply::Snapshot(part) = device.ask_one(Request::Snapshot(request)) else { panic!() };
    assert!(part.last && part.checkpoint.is_empty() && part.entries.is_empty());
}
