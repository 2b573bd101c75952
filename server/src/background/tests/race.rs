//! Devices that put, ask, commit and thin between any two steps of a run.
//!
//! After every step of either side, each version that is kept and each upload whose receipts would be
//! taken has all of its chunks (N3). When the devices rest, all garbage goes (N4).

use super::runs::Never;
use crate::background::{Collector, GcError, GcParts, Pace};
use crate::chunk_store::{
    ChunkKey, ChunkStore, Compacted, Dropped, Due, MemoryStore, Reclaim, Reclaimed, SegmentUse,
    StoreError, StoreStats, Stored, Surveyed, TrashStamp,
};
use crate::service::Work;
use crate::service::tests::world::{Became, Device, World, became, keys_of, now};
use async_trait::async_trait;
use bytes::Bytes;
use common::chunk::{ChunkRef, build_manifest, read_clear_page, seal_chunk};
use common::ids::{ChunkId, EntryId, FolderId};
use common::record::{Change, Content, Kind, Place, Root};
use common::trust::ReceiptBatch;
use common::wire::meta::CommitPart;
use common::wire::store::StoreVerb;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

const TEXTS: u8 = 6;
const SEEDS: u64 = 40;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// A device, what it could name, and what it remembers of proofs.
struct Actor {
    dice: Dice,
    world: World,
    device: Device,
    folder: FolderId,
    /// Objects by id: chunks, and pages over them.
    objects: BTreeMap<ChunkId, Vec<u8>>,
    roots: Vec<Root>,
    receipts: BTreeMap<ChunkId, Vec<u8>>,
    live: Vec<EntryId>,
    accepted: u32,
    refused: u32,
}

impl Actor {
    fn new(seed: u64) -> Self {
        let world = World::new();
        let device = world.bootstrap(1);
        let folder = device.create_folder(1);
        let keys = keys_of(&folder);
        let sealed = (0..TEXTS).map(|number| seal_chunk(&keys, &folder, &[number; 40]));
        let mut objects: BTreeMap<ChunkId, Vec<u8>> =
            sealed.map(|bytes| (ChunkId::of(&bytes), bytes)).collect();
        let ids: Vec<ChunkId> = objects.keys().copied().collect();
        let mut roots: Vec<Root> = ids.iter().map(|id| Root { id: *id, level: 0 }).collect();
        for pair in ids.windows(2) {
            let refs: Vec<ChunkRef> =
                pair.iter().map(|id| ChunkRef { id: *id, plain_len: 40 }).collect();
            let manifest = build_manifest(&keys, &folder, &refs);
            roots.extend(manifest.root);
            // The same page, passed off as a chunk.
            roots.extend(manifest.root.map(|root| Root { level: 0, ..root }));
            objects.extend(manifest.pages);
        }
        Self {
            dice: Dice(seed),
            world,
            device,
            folder,
            objects,
            roots,
            receipts: BTreeMap::new(),
            live: Vec::new(),
            accepted: 0,
            refused: 0,
        }
    }

    fn act(&mut self) {
        match self.dice.below(10) {
            0..3 => self.prove(),
            3..8 => self.commit(),
            _ => self.thin(),
        }
        self.check();
    }

    /// Puts an object, or asks for it.
    fn prove(&mut self) {
        let at = self.dice.below(self.objects.len() as u64) as usize;
        let Some((id, bytes)) = self.objects.iter().nth(at) else { return };
        let (id, bytes) = (*id, Bytes::copy_from_slice(bytes));
        let held = if self.dice.below(2) == 0 {
            let session = self.device.open(&self.folder, StoreVerb::Put).unwrap();
            Some(now(session.put(vec![(id, bytes)])).receipts)
        } else {
            let session = self.device.open(&self.folder, StoreVerb::Have).unwrap();
            now(session.have(vec![id])).receipts.pop()
        };
        self.receipts.extend(held.map(|receipts| (id, receipts)));
    }

    /// Commits a file with what there is of proof: all of it, some, or none.
    fn commit(&mut self) {
        let at = self.dice.below(self.roots.len() as u64) as usize;
        let root = self.roots[at];
        self.device.counter += 1;
        let counter = self.device.counter;
        let mut entry = [0; 16];
        entry[..8].copy_from_slice(&(self.dice.below(1 << 60)).to_le_bytes());
        entry[8..].copy_from_slice(&counter.to_le_bytes());
        let entry = EntryId::from_bytes(entry);
        let keys = keys_of(&self.folder);
        let name = common::name::Name::new(counter.to_string()).unwrap();
        let place = Place {
            parent: EntryId::ROOT,
            name: vec![1; 32],
            name_tag: keys.name_tag(&EntryId::ROOT, &name),
        };
        let content =
            Content { root: Some(root), tag: keys.content_tag().finish(), attributes: vec![1] };
        let change = Change::Create { entry, kind: Kind::File, place, content };
        let group = self.device.group(&self.folder, vec![change]);
        let proofs: Vec<Vec<u8>> = match self.dice.below(3) {
            0 => Vec::new(),
            _ => self.receipts.values().cloned().collect(),
        };
        let pages = self.objects.get(&root.id).filter(|_| root.level > 0).cloned();
        let part = CommitPart {
            receipts: proofs,
            pages: pages.into_iter().collect(),
            groups: vec![group],
        };
        let commit = self.world.service.commit(self.device.id(), self.folder, vec![part]);
        match became(now(commit)).remove(0) {
            Became::Accepted(_) => {
                self.accepted += 1;
                self.live.push(entry);
            }
            Became::Rejected(_) => self.refused += 1,
            other => panic!("{other:?}"),
        }
    }

    fn thin(&mut self) {
        if self.live.is_empty() {
            return;
        }
        let at = self.dice.below(self.live.len() as u64) as usize;
        let entry = self.live.swap_remove(at);
        self.world.meta.db().thin(&self.folder, &entry).unwrap();
    }

    fn stored(&self, id: ChunkId) -> Option<Bytes> {
        now(self.world.chunks.get(ChunkKey { folder: self.folder, id })).unwrap()
    }

    /// Everything that kept versions reach.
    fn reached(&self) -> BTreeSet<ChunkId> {
        let folder = self.folder;
        let roots = self.world.meta.read(|reads| reads.roots(&folder, None, 10_000)).unwrap();
        let mut reached = BTreeSet::new();
        let mut open: Vec<Root> = roots.into_iter().map(|(_, root)| root).collect();
        while let Some(Root { id, level }) = open.pop() {
            let bytes = self.stored(id);
            let bytes = bytes.unwrap_or_else(|| panic!("N3: a kept version has lost {id}"));
            reached.insert(id);
            if level > 0 {
                let page = read_clear_page(&id, &bytes, &folder).unwrap();
                open.extend(page.ids.iter().map(|id| Root { id: *id, level: level - 1 }));
            }
        }
        reached
    }

    fn check(&self) {
        self.reached();
        let generation = self.world.meta.read(|reads| reads.generation()).unwrap();
        for (id, receipts) in &self.receipts {
            let batch = ReceiptBatch::open(receipts).unwrap();
            if batch.generation + 1 >= generation {
                assert!(self.stored(*id).is_some(), "N3: an upload in flight has lost {id}");
            }
        }
    }
}

/// The store, with devices that act before each call; it may die there too.
struct Racing {
    inner: Arc<MemoryStore>,
    actor: Arc<Mutex<Actor>>,
    /// One call in so many fails, and with it the run.
    fails: u64,
}

impl Racing {
    fn race(&self) -> Result<(), StoreError> {
        let mut actor = self.actor.lock().unwrap();
        for _ in 0..actor.dice.below(3) {
            actor.act();
        }
        if self.fails > 0 && actor.dice.below(self.fails) == 0 {
            return Err(StoreError::Stopped { reason: "the power was cut".into() });
        }
        Ok(())
    }
}

#[async_trait]
impl Pace for Racing {
    async fn breathe(&self) {
        let _ = self.race();
    }
}

#[async_trait]
impl ChunkStore for Racing {
    async fn put(&self, chunks: Vec<(ChunkKey, Bytes)>) -> Result<Vec<Stored>, StoreError> {
        self.inner.put(chunks).await
    }
    async fn get(&self, key: ChunkKey) -> Result<Option<Bytes>, StoreError> {
        self.race()?;
        self.inner.get(key).await
    }
    async fn have(&self, keys: Vec<ChunkKey>) -> Result<Vec<Option<u32>>, StoreError> {
        self.race()?;
        self.inner.have(keys).await
    }
    async fn stats(&self) -> StoreStats {
        self.inner.stats().await
    }
    fn generation(&self) -> u64 {
        self.inner.generation()
    }
    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl Reclaim for Racing {
    async fn raise_generation(&self, generation: u64) -> Result<(), StoreError> {
        self.race()?;
        self.inner.raise_generation(generation).await
    }
    async fn survey(
        &self,
        after: Option<ChunkKey>,
        _limit: usize,
    ) -> Result<Vec<Surveyed>, StoreError> {
        self.race()?;
        // Small steps, so that there is something in between.
        self.inner.survey(after, 3).await
    }
    async fn trash(&self, keys: Vec<ChunkKey>, at: TrashStamp) -> Result<Reclaimed, StoreError> {
        self.race()?;
        self.inner.trash(keys, at).await
    }
    async fn untrash(&self, keys: Vec<ChunkKey>) -> Result<Reclaimed, StoreError> {
        self.race()?;
        self.inner.untrash(keys).await
    }
    async fn purge(&self, keys: Vec<ChunkKey>, due: Due) -> Result<Reclaimed, StoreError> {
        self.race()?;
        self.inner.purge(keys, due).await
    }
    async fn segments(&self) -> Result<Vec<SegmentUse>, StoreError> {
        self.inner.segments().await
    }
    async fn compact(&self, segment: u32) -> Result<Compacted, StoreError> {
        self.inner.compact(segment).await
    }
    async fn drop_empty(&self) -> Result<Dropped, StoreError> {
        self.inner.drop_empty().await
    }
}

/// What the seeds came to, so that the test tells when it tests nothing.
#[derive(Debug, Default)]
struct Tally {
    accepted: u32,
    refused: u32,
    purged: u64,
    reinstated: u64,
    interrupted: u32,
}

fn race(seed: u64, tally: &mut Tally) {
    let actor = Actor::new(seed);
    let (meta, inner, clock) =
        (actor.world.meta.clone(), Arc::clone(&actor.world.chunks), Arc::clone(&actor.world.clock));
    let actor = Arc::new(Mutex::new(actor));
    let fails = [0, 30][(seed % 2) as usize];
    let racing = Arc::new(Racing { inner: Arc::clone(&inner), actor: Arc::clone(&actor), fails });
    let parts = |chunks: Arc<dyn Reclaim>| GcParts {
        meta: meta.clone(),
        chunks,
        clock: Arc::clone(&clock) as Arc<_>,
        work: Work::Inline,
    };
    let collector = Collector::new(parts(Arc::clone(&racing) as Arc<_>));
    for _ in 0..12 {
        let grace_ms = actor.lock().unwrap().dice.below(3) * 500;
        match now(collector.run(grace_ms, racing.as_ref())) {
            Ok(report) => {
                tally.purged += report.purged.chunks;
                tally.reinstated += report.reinstated;
            }
            Err(GcError::Chunks(_)) => tally.interrupted += 1,
            Err(error) => panic!("{error}"),
        }
        let mut actor = actor.lock().unwrap();
        actor.check();
        let rest_ms = actor.dice.below(700);
        actor.world.advance(rest_ms);
        (0..actor.dice.below(6)).for_each(|_| actor.act());
    }
    let quiet = Collector::new(parts(Arc::clone(&inner) as Arc<_>));
    (0..3).for_each(|_| drop(now(quiet.run(0, &Never)).unwrap()));
    let actor = actor.lock().unwrap();
    tally.accepted += actor.accepted;
    tally.refused += actor.refused;
    check_rest(&actor);
}

/// After runs without devices there is what is reached, known and paid for, and nothing else.
fn check_rest(actor: &Actor) {
    let reached = actor.reached();
    let stored: BTreeSet<ChunkId> = actor.world.chunks.keys().iter().map(|key| key.id).collect();
    assert_eq!(stored, reached, "N4: all garbage goes");
    let (folder, user) = (actor.folder, actor.device.log().user());
    let (objects, user) = actor
        .world
        .meta
        .read(|reads| Ok((reads.objects(&folder, None, 10_000)?, reads.user(&user)?)))
        .unwrap();
    let known: BTreeSet<ChunkId> = objects.iter().map(|(id, _)| *id).collect();
    assert_eq!(known, reached);
    let bytes: u64 = objects.iter().map(|(_, object)| u64::from(object.length)).sum();
    let usage = user.unwrap().usage;
    assert_eq!((usage.bytes, usage.objects), (bytes, objects.len() as u64));
}

#[test]
fn n3_nothing_named_is_reclaimed_whatever_devices_do_between_its_steps() {
    let mut tally = Tally::default();
    for seed in 0..SEEDS {
        let ran = std::panic::AssertUnwindSafe(|| race(seed, &mut tally));
        if let Err(panic) = std::panic::catch_unwind(ran) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
    println!("{tally:?}");
    let Tally { accepted, refused, purged, reinstated, interrupted } = tally;
    assert!(accepted > 100 && refused > 100 && purged > 50);
    assert!(reinstated > 3 && interrupted > 10, "races and power cuts are what this is about");
}
