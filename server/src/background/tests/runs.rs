//! Single runs: what goes when, and what keeps a run from taking anything.

use crate::background::{Amount, Collector, GcParts, GcReport, Pace};
use crate::chunk_store::{ChunkKey, ChunkStore, Reclaim};
use crate::service::Work;
use crate::service::tests::world::{Became, DAY_MS, Device, World, became, keys_of, now};
use async_trait::async_trait;
use bytes::Bytes;
use common::chunk::{ChunkRef, build_manifest};
use common::ids::{ChunkId, EntryId, FolderId};
use common::record::Root;
use common::wire::meta::CommitPart;
use common::wire::store::StoreVerb;
use server_core::metadata::{Action, Command};
use std::sync::Arc;

/// Does not wait.
pub(super) struct Never;

#[async_trait]
impl Pace for Never {
    async fn breathe(&self) {}
}

pub(super) struct Rig {
    pub(super) world: World,
    device: Device,
    folder: FolderId,
    pub(super) collector: Collector,
}

impl Rig {
    pub(super) fn new() -> Self {
        let world = World::new();
        let device = world.bootstrap(1);
        let folder = device.create_folder(1);
        let collector = Collector::new(parts(&world, Work::Inline));
        Self { world, device, folder, collector }
    }

    pub(super) fn parts(&self, work: Work) -> GcParts {
        parts(&self.world, work)
    }

    fn run(&self, grace_ms: u64) -> GcReport {
        now(self.collector.run(grace_ms, &Never)).unwrap()
    }

    /// Creates a file of one chunk; gives its entry and its chunk.
    pub(super) fn file(&mut self, name: &str) -> (EntryId, ChunkId) {
        let (id, receipts) = self.device.put(&self.folder, name.as_bytes());
        let group = self.device.creation(&self.folder, name, id);
        let became = self.device.commit(&self.folder, receipts, vec![group]).remove(0);
        assert!(matches!(became, Became::Accepted(_)), "{became:?}");
        (entry(&self.device), id)
    }

    /// Creates a file of two chunks; gives its page and its chunks.
    fn file_of_two(&mut self, name: &str) -> (ChunkId, [ChunkId; 2]) {
        let parts = [format!("{name} 1"), format!("{name} 2")];
        let [one, two] = parts.map(|part| self.device.put(&self.folder, part.as_bytes()));
        let ids = [one.0, two.0];
        let refs = ids.map(|id| ChunkRef { id, plain_len: 7 });
        let manifest = build_manifest(&keys_of(&self.folder), &self.folder, &refs);
        let (page, bytes) = manifest.pages[0].clone();
        let session = self.device.open(&self.folder, StoreVerb::Put).unwrap();
        let put = now(session.put(vec![(page, Bytes::from(bytes.clone()))]));
        let group = self.device.creation_of(&self.folder, name, Root { id: page, level: 1 });
        let mut receipts = [one.1, two.1].concat();
        receipts.push(put.receipts);
        let part = CommitPart { receipts, pages: vec![bytes], groups: vec![group] };
        let commit = self.world.service.commit(self.device.id(), self.folder, vec![part]);
        let became = became(now(commit)).remove(0);
        assert!(matches!(became, Became::Accepted(_)), "{became:?}");
        (page, ids)
    }

    fn thin(&self, entry: &EntryId) {
        self.world.meta.db().thin(&self.folder, entry).unwrap();
    }

    fn holds(&self, id: ChunkId) -> bool {
        let key = ChunkKey { folder: self.folder, id };
        now(self.world.chunks.get(key)).unwrap().is_some()
    }

    fn known(&self) -> Vec<ChunkId> {
        let folder = self.folder;
        let read = self.world.meta.read(|reads| reads.objects(&folder, None, 100)).unwrap();
        read.into_iter().map(|(id, _)| id).collect()
    }
}

fn parts(world: &World, work: Work) -> GcParts {
    GcParts {
        meta: world.meta.clone(),
        chunks: Arc::clone(&world.chunks) as Arc<dyn Reclaim>,
        clock: Arc::clone(&world.clock) as Arc<_>,
        work,
    }
}

/// The entry that the device made last.
fn entry(device: &Device) -> EntryId {
    let mut entry = [0; 16];
    entry[..8].copy_from_slice(&device.counter.to_le_bytes());
    entry[8..].copy_from_slice(&device.id().as_bytes()[..8]);
    EntryId::from_bytes(entry)
}

#[test]
fn n4_a_thinned_version_is_condemned_trashed_rechecked_and_purged() {
    let mut rig = Rig::new();
    let (_, kept) = rig.file("kept");
    let (old, gone) = rig.file("gone");
    rig.thin(&old);
    let first = rig.run(DAY_MS);
    assert_eq!((first.generation, first.folders, first.marked), (2, 1, 1));
    assert_eq!((first.condemned, first.trashed.chunks), (1, 0));
    assert_eq!(first.leased.chunks, 1, "it could be part of an upload in flight");
    assert_eq!(rig.known(), [kept]);
    let second = rig.run(DAY_MS);
    assert_eq!((second.trashed.chunks, second.purged), (1, Amount::default()));
    rig.world.advance(DAY_MS - 1);
    let third = rig.run(DAY_MS);
    assert_eq!((third.waiting.chunks, third.purged), (1, Amount::default()));
    assert!(rig.holds(gone));
    rig.world.advance(1);
    let preview = now(rig.collector.preview(DAY_MS, &Never)).unwrap();
    assert!(preview.dry_run && rig.holds(gone));
    let fourth = rig.run(DAY_MS);
    assert_eq!(fourth.purged, preview.purged);
    assert_eq!(fourth.purged.chunks, 1);
    assert!(rig.holds(kept) && !rig.holds(gone));
    assert_eq!(rig.run(DAY_MS).purged, Amount::default());
}

#[test]
fn without_grace_a_run_purges_what_it_trashed_after_a_second_walk() {
    let mut rig = Rig::new();
    let (old, gone) = rig.file("gone");
    let user = rig.device.log().user();
    rig.thin(&old);
    rig.run(0);
    let done = rig.run(0);
    assert_eq!((done.trashed.chunks, done.purged.chunks), (1, 1));
    assert!(!rig.holds(gone));
    let usage = rig.world.meta.read(|reads| reads.user(&user)).unwrap().unwrap().usage;
    assert_eq!((usage.bytes, usage.objects), (0, 0));
}

#[test]
fn n3_an_upload_that_is_named_in_time_is_never_reclaimed() {
    let mut rig = Rig::new();
    let (id, receipts) = rig.device.put(&rig.folder, b"in flight");
    rig.run(0);
    assert!(rig.holds(id));
    let group = rig.device.creation(&rig.folder, "in flight", id);
    let became = rig.device.commit(&rig.folder, receipts, vec![group]).remove(0);
    assert!(matches!(became, Became::Accepted(_)), "{became:?}");
    (0..4).for_each(|_| assert_eq!(rig.run(0).purged, Amount::default()));
    assert!(rig.holds(id));
}

#[test]
fn n3_what_may_have_been_reclaimed_needs_proof_anew() {
    let mut rig = Rig::new();
    let (id, receipts) = rig.device.put(&rig.folder, b"late");
    (0..2).for_each(|_| drop(rig.run(0)));
    assert!(!rig.holds(id));
    let group = rig.device.creation(&rig.folder, "late", id);
    let became = rig.device.commit(&rig.folder, receipts, vec![group]).remove(0);
    assert!(matches!(became, Became::Rejected(_)), "{became:?}");
}

#[test]
fn a_folder_with_a_page_that_cannot_be_read_is_left_alone() {
    let mut rig = Rig::new();
    let (old, gone) = rig.file("gone");
    let (page, below) = rig.file_of_two("paged");
    rig.thin(&old);
    let key = ChunkKey { folder: rig.folder, id: page };
    assert!(rig.world.chunks.damage(&key));
    for _ in 0..3 {
        let report = rig.run(0);
        assert_eq!((report.folders, report.condemned, report.problems.problems.len()), (0, 0, 1));
        assert_eq!(report.problems.problems[0].object, page.to_string());
    }
    assert!(rig.holds(gone));
    // Put again, it is whole, and nothing keeps the rest any more.
    rig.world.chunks.damage(&key);
    assert_eq!(rig.run(0).purged.chunks, 1);
    assert!(!rig.holds(gone) && below.into_iter().all(|id| rig.holds(id)));
}

#[test]
fn chunks_of_a_folder_that_the_metadata_does_not_know_are_kept_and_counted() {
    let mut rig = Rig::new();
    let (_, kept) = rig.file("kept");
    let strange = FolderId::from_bytes([255; 32]);
    let bytes = Bytes::from_static(b"of a folder that was forgotten");
    let key = ChunkKey { folder: strange, id: ChunkId::of(&bytes) };
    now(rig.world.chunks.put(vec![(key, bytes)])).unwrap();
    for _ in 0..3 {
        assert_eq!(rig.run(0).unknown.chunks, 1);
    }
    assert!(rig.holds(kept) && now(rig.world.chunks.get(key)).unwrap().is_some());
}

#[test]
fn a_generation_is_logged_before_chunks_are_stamped_with_it() {
    let rig = Rig::new();
    rig.world.chunks.advance_generation(7);
    let report = rig.run(0);
    assert_eq!(report.generation, 8);
    assert_eq!(rig.world.meta.read(|reads| reads.generation()).unwrap(), 8);
    assert_eq!(rig.world.chunks.generation(), 8);
}

/// A disk without room for the chunk store's generation must not let the metadata run ahead of it:
/// two ahead, it would refuse every receipt.
#[test]
fn a_store_that_takes_no_generation_keeps_the_metadata_from_logging_more() {
    let mut rig = Rig::new();
    let generation = 5;
    let begin = Action::BeginGeneration { generation };
    rig.world.meta.apply_here(&Command { time_ms: 1, action: begin }).unwrap();
    let (id, stale) = rig.device.put(&rig.folder, b"text");
    let group = rig.device.creation(&rig.folder, "text", id);
    let became = rig.device.commit(&rig.folder, stale, vec![group]).remove(0);
    assert!(matches!(became, Became::Rejected(_)), "{became:?}");
    assert_eq!(rig.run(0).generation, 6);
    assert_eq!(rig.world.chunks.generation(), 6);
    assert!(matches!(rig.device.create(&rig.folder, "again"), Became::Accepted(_)));
}
