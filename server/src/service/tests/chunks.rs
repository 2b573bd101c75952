//! Store streams: capabilities, budgets, receipts and what a bad disk is answered with.

use super::world::{World, keys_of, now, refusal_code};
use crate::chunk_store::ChunkKey;
use crate::chunk_store::ChunkStore;
use bytes::Bytes;
use common::chunk::seal_chunk;
use common::ids::ChunkId;
use common::keys::SigningKey;
use common::limits::{CAPABILITY_LIFE_MS, HAVE_IDS_MAX, RECEIPT_ITEMS_MAX, SEALED_BYTES_MAX};
use common::trust::{Capability, ReceiptBatch};
use common::wire::meta::RefusalCode;
use common::wire::store::{StoreOpen, StoreVerb};
use server_core::metadata::Quota;

fn refused<T>(result: Result<T, common::wire::meta::Refusal>) -> RefusalCode {
    match result {
        Ok(_) => panic!("not refused"),
        Err(refusal) => refusal_code(&refusal),
    }
}

#[test]
fn a_chunk_that_was_put_is_had_and_got_in_its_folder_only() {
    let world = World::new();
    let device = world.bootstrap(1);
    let (folder, other) = (device.create_folder(1), device.create_folder(2));
    let (id, receipts) = device.put(&folder, b"text");
    let batch = ReceiptBatch::open(&receipts[0]).unwrap();
    assert!(batch.items[0].new && batch.items[0].id == id);
    let again = ReceiptBatch::open(&device.put(&folder, b"text").1[0]).unwrap();
    assert!(!again.items[0].new);

    let sealed = seal_chunk(&keys_of(&folder), &folder, b"text");
    let get = |folder| now(device.open(folder, StoreVerb::Get).unwrap().get(id)).unwrap();
    assert_eq!(get(&folder), Some(Bytes::from(sealed)));
    assert_eq!(get(&other), None);
    let have = |folder| {
        let session = device.open(folder, StoreVerb::Have).unwrap();
        now(session.have(vec![id, ChunkId::of(b"absent")])).receipts
    };
    let held = ReceiptBatch::open(&have(&folder)[0]).unwrap();
    assert_eq!(held.items.iter().map(|item| item.id).collect::<Vec<_>>(), [id]);
    assert!(have(&other).is_empty());
}

#[test]
fn a_capability_is_for_one_device_folder_cluster_and_time() {
    let world = World::new();
    let first = world.bootstrap(1);
    let folder = first.create_folder(1);
    let second = world.join(&first, 2);
    let open = |device: &super::world::Device, capability: Vec<u8>, verb: i32| {
        world.service.open_store(device.id(), &StoreOpen { capability, verb })
    };
    let put = StoreVerb::Put as i32;
    let good = first.capability(&folder).unwrap();
    let session = open(&first, good.clone(), put).unwrap();
    assert_eq!(refused(open(&second, good.clone(), put)), RefusalCode::Capability);
    assert_eq!(refused(open(&first, Vec::new(), put)), RefusalCode::Capability);
    for verb in [0, 4, -1] {
        assert_eq!(refused(open(&first, good.clone(), verb)), RefusalCode::Malformed);
    }
    let mallory = SigningKey::from_seed([66; 32]);
    let forge = |capability: Capability| capability.sign(&mallory);
    let honest = Capability::open(&good, &world.service.cluster()).unwrap();
    assert_eq!(refused(open(&first, forge(honest.clone()), put)), RefusalCode::Capability);
    let cluster = common::ids::ClusterId::from_bytes(mallory.public());
    let theirs = forge(Capability { cluster, ..honest });
    assert_eq!(refused(open(&first, theirs, put)), RefusalCode::Capability);

    world.advance(CAPABILITY_LIFE_MS);
    assert_eq!(refused(open(&first, good, put)), RefusalCode::Capability);
    let reply = now(session.put(vec![(ChunkId::of(b"x"), Bytes::from_static(b"x"))]));
    assert_eq!(refusal_code(&reply.refusal.unwrap()), RefusalCode::Capability);
    assert_eq!(refused(now(session.get(ChunkId::of(b"x")))), RefusalCode::Capability);
}

#[test]
fn rights_that_a_capability_lacks_are_not_had() {
    let world = World::new();
    let device = world.bootstrap(1);
    let folder = device.create_folder(1);
    let cluster = SigningKey::from_seed([201; 32]);
    let honest = device.capability(&folder).unwrap();
    let honest = Capability::open(&honest, &world.service.cluster()).unwrap();
    let open = |read, write, verb: StoreVerb| {
        let capability = Capability { read, write, ..honest.clone() }.sign(&cluster);
        world.service.open_store(device.id(), &StoreOpen { capability, verb: verb as i32 })
    };
    assert_eq!(refused(open(true, false, StoreVerb::Put)), RefusalCode::Capability);
    assert_eq!(refused(open(false, true, StoreVerb::Get)), RefusalCode::Capability);
    assert_eq!(refused(open(false, true, StoreVerb::Have)), RefusalCode::Capability);
    let writer = open(false, true, StoreVerb::Put).unwrap();
    assert_eq!(refused(now(writer.get(ChunkId::of(b"x")))), RefusalCode::Capability);
    let restored = Capability { key_id: honest.key_id + 1, ..honest.clone() }.sign(&cluster);
    let open = StoreOpen { capability: restored, verb: StoreVerb::Put as i32 };
    assert_eq!(refused(world.service.open_store(device.id(), &open)), RefusalCode::Capability);
}

#[test]
fn a_budget_is_what_the_quota_leaves_and_known_chunks_cost_nothing() {
    let quota = Quota { bytes_max: 450, ..Quota::UNLIMITED };
    let world = World::with_quota(quota);
    let device = world.bootstrap(1);
    let folder = device.create_folder(1);
    let session = device.open(&folder, StoreVerb::Put).unwrap();
    let chunk = |byte: u8| {
        let bytes = Bytes::from(vec![byte; 200]);
        vec![(ChunkId::of(&bytes), bytes)]
    };
    for _ in 0..5 {
        assert_eq!(now(session.put(chunk(1))).refusal, None);
    }
    assert_eq!(now(session.put(chunk(2))).refusal, None);
    let reply = now(session.put(chunk(3)));
    assert!(reply.receipts.is_empty());
    assert_eq!(refusal_code(&reply.refusal.unwrap()), RefusalCode::Quota);
}

#[test]
fn n2_damaged_chunks_are_not_served_nor_vouched_for() {
    let world = World::new();
    let device = world.bootstrap(1);
    let folder = device.create_folder(1);
    let (id, _) = device.put(&folder, b"text");
    assert!(world.chunks.damage(&ChunkKey { folder, id }));
    let session = device.open(&folder, StoreVerb::Get).unwrap();
    assert_eq!(refused(now(session.get(id))), RefusalCode::Damaged);
    assert!(now(session.have(vec![id])).receipts.is_empty());
    device.put(&folder, b"text");
    assert!(now(session.get(id)).unwrap().is_some());
}

#[test]
fn n9_a_full_disk_refuses_puts_and_goes_on_reading() {
    let world = World::new();
    let device = world.bootstrap(1);
    let folder = device.create_folder(1);
    let (id, _) = device.put(&folder, b"text");
    world.chunks.set_bytes_max(0);
    let session = device.open(&folder, StoreVerb::Put).unwrap();
    let bytes = Bytes::from_static(b"more");
    let reply = now(session.put(vec![(ChunkId::of(&bytes), bytes.clone())]));
    assert_eq!(refusal_code(&reply.refusal.unwrap()), RefusalCode::DiskFull);
    assert!(now(session.get(id)).unwrap().is_some());
    world.chunks.set_bytes_max(u64::MAX);
    assert_eq!(now(session.put(vec![(ChunkId::of(&bytes), bytes)])).refusal, None);
}

#[test]
fn a_stopping_server_says_try_again() {
    let world = World::new();
    let device = world.bootstrap(1);
    let folder = device.create_folder(1);
    let session = device.open(&folder, StoreVerb::Get).unwrap();
    now(world.chunks.close());
    assert_eq!(refused(now(session.get(ChunkId::of(b"x")))), RefusalCode::Busy);
}

#[test]
fn puts_and_haves_are_bounded_and_bytes_match_their_ids() {
    let world = World::new();
    let device = world.bootstrap(1);
    let folder = device.create_folder(1);
    let session = device.open(&folder, StoreVerb::Put).unwrap();
    let small = Bytes::from_static(b"x");
    let id = ChunkId::of(&small);
    let large = Bytes::from(vec![0; SEALED_BYTES_MAX + 1]);
    let bad_puts = [
        vec![],
        vec![(id, small.clone()); RECEIPT_ITEMS_MAX + 1],
        vec![(ChunkId::of(&large), large)],
        vec![(ChunkId::of(b"other"), small)],
    ];
    for chunks in bad_puts {
        let reply = now(session.put(chunks));
        assert!(reply.receipts.is_empty());
        assert_eq!(refusal_code(&reply.refusal.unwrap()), RefusalCode::Malformed);
    }
    let reply = now(session.have(vec![id; HAVE_IDS_MAX + 1]));
    assert_eq!(refusal_code(&reply.refusal.unwrap()), RefusalCode::Malformed);
    assert_eq!(now(session.have(vec![])).refusal, None);
    assert!(world.chunks.keys().is_empty());
}
