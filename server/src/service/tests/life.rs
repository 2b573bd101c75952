//! Subscribers, snapshots and refusals over the life of a server: waiting, checkpoints, new
//! epochs, a stopped store, too much at once.

use super::world::{Became, Device, World, code_of, now, one, ready, refusal_code, revisions};
use common::ids::{FolderId, Head};
use common::limits::{FRAME_BYTES_MAX, KEYRING_BYTES_MAX};
use common::record::Registers;
use common::revision::Cursor;
use common::trust::{Checkpoint, revoke_record};
use common::wire::meta::{self, Empty, RefusalCode, Reply, ReplyFrame, Request};
use futures_util::FutureExt;
use prost::Message;
use server_core::metadata::{Action, Command, query};

/// A checkpoint of the folder as it is now, left by the device.
fn checkpoint(world: &World, device: &Device, folder: FolderId) -> Vec<u8> {
    let (cursor, digest) = world
        .meta
        .read(|reads| {
            let cursor = reads.folder(&folder)?.unwrap().cursor();
            Ok((cursor, query::register_digest(reads, &folder, cursor.revision)?))
        })
        .unwrap();
    let checkpoint =
        Checkpoint { folder, cursor, digest, device: device.id() }.sign(&device.keys.signing);
    let put = meta::CheckpointPut { checkpoint: checkpoint.clone() };
    assert_eq!(device.ask_one(Request::CheckpointPut(put)), Reply::Done(Empty {}));
    checkpoint
}

fn snapshot(device: &Device, folder: FolderId) -> Vec<meta::SnapshotPart> {
    let request = Request::Snapshot(meta::SnapshotRead { folder: folder.to_vec() });
    let part = |reply| match reply {
        Reply::Snapshot(part) => part,
        other => panic!("{other:?}"),
    };
    device.ask(request).into_iter().map(part).collect()
}

#[test]
fn a_snapshot_is_of_the_newest_checkpoint_in_frames_that_fit() {
    let world = World::new();
    let mut device = world.bootstrap(1);
    let folder = device.create_folder(1);
    let count = 300;
    for index in 0..count {
        assert_eq!(device.create(&folder, &format!("file {index}")), Became::Accepted(index + 1));
    }
    let signed = checkpoint(&world, &device, folder);
    assert_eq!(device.create(&folder, "later"), Became::Accepted(count + 1));

    let parts = snapshot(&device, folder);
    assert_eq!(parts[0].checkpoint, signed);
    let lasts: Vec<bool> = parts.iter().map(|part| part.last).collect();
    assert!(lasts.iter().rev().skip(1).all(|last| !last) && lasts.last() == Some(&true));
    let entries: Vec<Registers> = parts
        .iter()
        .flat_map(|part| part.entries.clone())
        .map(|message| Registers::try_from(message).unwrap())
        .collect();
    assert_eq!(entries.len() as u64, count);
    assert!(entries.is_sorted_by_key(|registers| registers.entry));
    for part in parts {
        let frame = ReplyFrame { reply: Some(Reply::Snapshot(part)) };
        assert!(frame.encoded_len() <= FRAME_BYTES_MAX);
    }
}

#[test]
fn the_device_log_is_read_from_any_record_on() {
    let world = World::new();
    let device = world.bootstrap(1);
    for seed in 10..30 {
        device.invite(&world, seed);
    }
    let length = device.log().len();
    assert_eq!(length, 21);
    for from in [0, 1, 20, 21, 1000] {
        let parts = device.ask(Request::DeviceLogRead(meta::DeviceLogRead { from }));
        let mut next = from;
        for part in parts {
            let Reply::DeviceLog(part) = part else { panic!() };
            assert_eq!(part.from, next);
            next += part.records.len() as u64;
        }
        assert_eq!(next, from.max(length), "from {from}");
    }
}

#[test]
fn m9_a_live_subscriber_is_told_of_a_new_epoch() {
    let world = World::new();
    let mut device = world.bootstrap(1);
    let folder = device.create_folder(1);
    device.create(&folder, "a");
    let mut subscription = device.subscribe(&folder, 0).unwrap();
    assert_eq!(revisions(&ready(&mut subscription).unwrap()), [1]);
    let command = Command { time_ms: world.service.now_ms(), action: Action::BeginEpoch };
    world.meta.apply_here(&command).unwrap();
    let batch = ready(&mut subscription).unwrap();
    assert!(batch.groups.is_empty() && batch.epoch > 1);
    assert_eq!(batch.lineage.len(), 1);
    assert_eq!((batch.lineage[0].epoch, batch.lineage[0].revision), (batch.epoch, 1));
    assert_ne!(batch.lineage[0].head, Head::ZERO.to_vec());
    assert_eq!(now(subscription.next()), None);
}

#[test]
fn a_waiting_subscriber_is_woken_by_a_commit_and_by_its_revocation() {
    let world = World::new();
    let mut first = world.bootstrap(1);
    let folder = first.create_folder(1);
    let second = world.join(&first, 2);
    let mut subscription = second.subscribe(&folder, 0).unwrap();
    ready(&mut subscription).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (batch, outcome) = runtime.block_on(async {
        tokio::join!(biased; subscription.next(), async { first.create(&folder, "a") })
    });
    assert_eq!((revisions(&batch.unwrap()), outcome), (vec![1], Became::Accepted(1)));

    let signing = &first.keys.signing;
    let now_ms = world.service.now_ms();
    let record = revoke_record(&first.log(), signing, &second.id(), None, now_ms).unwrap();
    let (batch, reply) = runtime.block_on(async {
        tokio::join!(biased; subscription.next(), async { first.append(record) })
    });
    assert_eq!((batch, reply), (None, Reply::Done(Empty {})));
}

#[test]
fn m8_a_stopped_store_serves_nothing_and_ends_subscriptions() {
    let world = World::new();
    let mut device = world.bootstrap(1);
    let folder = device.create_folder(1);
    let (id, receipts) = device.put(&folder, b"a");
    let group = device.creation(&folder, "a", id);
    let mut subscription = device.subscribe(&folder, 0).unwrap();
    ready(&mut subscription).unwrap();
    assert!(subscription.next().now_or_never().is_none());
    world.meta.close();
    assert!(world.service.is_stopped());
    assert_eq!(now(subscription.next()), None);
    let stopped = Became::Refused(RefusalCode::Stopped);
    assert_eq!(device.commit(&folder, receipts, vec![group]), [stopped]);
    for request in [Request::FolderList(Empty {}), Request::KeyringGet(Empty {})] {
        assert_eq!(code_of(device.ask_one(request)), RefusalCode::Stopped);
    }
    // It is not let in, and not told that it was revoked or is not known.
    let refusal = world.service.check_enrolled(&device.id()).unwrap_err();
    assert_eq!(refusal_code(&refusal), RefusalCode::Stopped);
    assert!(!world.service.is_enrolled(&device.id()));
}

#[test]
fn too_much_at_once_is_refused_for_that_device_only() {
    let world = World::new();
    let first = world.bootstrap(1);
    let other = world.bootstrap(2);
    let list = || Request::FolderList(Empty {});
    let mut held = Vec::new();
    let refused = loop {
        let mut replies = now(world.service.replies(first.id(), list()));
        if let Some(Reply::Refused(refusal)) = now(replies.next()) {
            break Reply::Refused(refusal);
        }
        held.push(replies);
        assert!(held.len() < 1000, "nothing bounds requests at once");
    };
    assert_eq!(code_of(refused), RefusalCode::Busy);
    assert!(matches!(other.ask_one(list()), Reply::Folders(_)));
    held.clear();
    assert!(matches!(first.ask_one(list()), Reply::Folders(_)));
}

#[test]
fn requests_that_other_calls_answer_are_refused_here() {
    let world = World::new();
    let device = world.bootstrap(1);
    let requests = [
        Request::Commit(meta::CommitBegin::default()),
        Request::Subscribe(meta::Subscribe::default()),
        Request::InvitationFetch(meta::InvitationFetch::default()),
        Request::InvitationRedeem(meta::InvitationRedeem::default()),
    ];
    for request in requests {
        let reply = one(device.ask(request));
        assert_eq!(code_of(reply), RefusalCode::Malformed);
    }
}

#[test]
fn the_largest_keyring_fits_a_frame() {
    let world = World::new();
    let device = world.bootstrap(1);
    let keyring = meta::Keyring { version: 1, sealed: vec![7; KEYRING_BYTES_MAX] };
    assert_eq!(device.ask_one(Request::KeyringPut(keyring)), Reply::Done(Empty {}));
    let frame = ReplyFrame { reply: Some(device.ask_one(Request::KeyringGet(Empty {}))) };
    assert!(frame.encoded_len() <= FRAME_BYTES_MAX);
}

#[test]
fn checkpoints_lie_on_the_journal_and_are_their_authors() {
    let world = World::new();
    let mut device = world.bootstrap(1);
    let folder = device.create_folder(1);
    device.create(&folder, "a");
    let off = Cursor { epoch: 1, revision: 1, head: Head::from_bytes([6; 32]) };
    let beyond = Cursor { epoch: 1, revision: 9, ..off };
    for cursor in [off, beyond] {
        let signed = Checkpoint { folder, cursor, digest: Head::ZERO, device: device.id() };
        let checkpoint = signed.sign(&device.keys.signing);
        let put = Request::CheckpointPut(meta::CheckpointPut { checkpoint });
        assert_eq!(code_of(device.ask_one(put)), RefusalCode::RecordInvalid);
    }
    let foreign = world.bootstrap(2).create_folder(2);
    let signed = Checkpoint {
        folder: foreign,
        cursor: Cursor::START,
        digest: Head::ZERO,
        device: device.id(),
    };
    let checkpoint = signed.sign(&device.keys.signing);
    let put = Request::CheckpointPut(meta::CheckpointPut { checkpoint });
    assert_eq!(code_of(device.ask_one(put)), RefusalCode::NoSuchFolder);
}
