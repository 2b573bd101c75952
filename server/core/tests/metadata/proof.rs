//! No accepted version names an object without proof that it is stored (M4, rule 1), and quotas.

use crate::world::{
    World, content, content_at, create, delete, edit, entry, file, move_to, place, receipt,
};
use common::chunk::{ChunkRef, build_manifest};
use common::ids::{ChunkId, EntryId, FolderId, Head};
use common::keys::FolderKeys;
use common::limits::PAGE_ENTRIES_MAX;
use common::record::{Change, Kind, Root};
use common::wire::meta::RejectionCode as Code;
use server_core::metadata::memory::MemoryStore;
use server_core::metadata::{
    Action, GroupOutcome, ObjectState, Quota, Receipt, Refused, RegisterReads, TreeReads, Usage,
    UserReads,
};
use std::collections::BTreeMap;

fn world() -> World<MemoryStore> {
    World::new(MemoryStore::new())
}

fn chunk(number: u32) -> ChunkId {
    ChunkId::of(&number.to_le_bytes())
}

fn with_root(number: u8, root: Root) -> Change {
    Change::Create {
        entry: entry(number),
        kind: Kind::File,
        place: place(EntryId::ROOT, &number.to_string()),
        content: content_at(number, root),
    }
}

/// A manifest of so many chunks, as a device builds it.
struct Manifest {
    root: Root,
    pages: Vec<(ChunkId, Vec<u8>)>,
    chunks: Vec<ChunkId>,
}

impl Manifest {
    fn of(folder: &FolderId, from: u32, count: u32) -> Self {
        let keys = FolderKeys::new([1; 32], [2; 32]);
        let chunks: Vec<ChunkId> = (from..from + count).map(chunk).collect();
        let refs: Vec<ChunkRef> =
            chunks.iter().map(|id| ChunkRef { id: *id, plain_len: 1_000 }).collect();
        let built = build_manifest(&keys, folder, &refs);
        Self { root: built.root.unwrap(), pages: built.pages, chunks }
    }

    fn receipts(&self) -> BTreeMap<ChunkId, Receipt> {
        let pages = self
            .pages
            .iter()
            .map(|(id, bytes)| (*id, receipt(u32::try_from(bytes.len()).unwrap())));
        pages.chain(self.chunks.iter().map(|id| (*id, receipt(1_000)))).collect()
    }

    fn bytes(&self) -> Vec<Vec<u8>> {
        self.pages.iter().map(|(_, bytes)| bytes.clone()).collect()
    }
}

fn send(
    world: &mut World<MemoryStore>,
    change: Change,
    pages: &[Vec<u8>],
    receipts: BTreeMap<ChunkId, Receipt>,
) -> GroupOutcome {
    let group = world.group(0, vec![change]);
    let signed = world.sign(0, &group);
    world.send(0, vec![signed], pages, receipts).remove(0)
}

#[test]
fn m4_a_chunk_needs_a_receipt_until_a_version_reaches_it() {
    let mut world = world();
    let root = Root { id: chunk(1), level: 0 };
    world.reject(0, vec![with_root(1, root)], Code::MissingChunk, 0, None);
    let proof = BTreeMap::from([(chunk(1), receipt(77))]);
    assert!(send(&mut world, with_root(1, root), &[], proof).revision().is_some());
    let known = world.store.object(&world.folder, &chunk(1)).unwrap();
    assert_eq!(known, Some(ObjectState { level: 0, length: 77 }));
    // From now on the version itself keeps it.
    world.accept(0, vec![with_root(2, root)]);
    let usage = world.store.user(&world.user).unwrap().unwrap().usage;
    assert_eq!((usage.bytes, usage.objects, usage.entries), (77, 1, 2));
}

#[test]
fn m4_a_chunk_of_another_folder_is_no_proof() {
    let mut world = world();
    let root = Root { id: chunk(1), level: 0 };
    let proof = BTreeMap::from([(chunk(1), receipt(77))]);
    assert!(send(&mut world, with_root(1, root), &[], proof).revision().is_some());
    let (folder, genesis) = world.folder_genesis(0, 9);
    let device = world.device(0);
    world.done(Action::CreateFolder { device, genesis });
    world.folder = folder;
    world.reject(0, vec![with_root(1, root)], Code::MissingChunk, 0, None);
}

#[test]
fn m4_every_page_and_chunk_below_a_root_is_proven() {
    let mut world = world();
    let manifest = Manifest::of(&world.folder, 0, 2_000);
    assert!(manifest.root.level >= 2, "pages of pages");
    let change = with_root(1, manifest.root);
    // One chunk, one page's receipt, one page's bytes missing: each is found.
    for missing in [manifest.chunks[1_234], manifest.pages[0].0] {
        let mut receipts = manifest.receipts();
        receipts.remove(&missing);
        let outcome = send(&mut world, change.clone(), &manifest.bytes(), receipts);
        assert_eq!(outcome.rejection(), Some(Code::MissingChunk));
    }
    let fewer = &manifest.bytes()[1..];
    let outcome = send(&mut world, change.clone(), fewer, manifest.receipts());
    assert_eq!(outcome.rejection(), Some(Code::MissingChunk));
    let outcome = send(&mut world, change, &manifest.bytes(), manifest.receipts());
    assert!(outcome.revision().is_some());
    for (page, _) in &manifest.pages {
        assert!(world.store.object(&world.folder, page).unwrap().unwrap().level > 0);
    }
}

#[test]
fn m4_an_edit_proves_only_what_is_new() {
    let mut world = world();
    let first = Manifest::of(&world.folder, 0, 2_000);
    let outcome = send(&mut world, with_root(1, first.root), &first.bytes(), first.receipts());
    let base = outcome.revision().unwrap();
    let longer = Manifest::of(&world.folder, 0, 2_001);
    let known = |id: &ChunkId| first.receipts().contains_key(id);
    let receipts: BTreeMap<_, _> =
        longer.receipts().into_iter().filter(|(id, _)| !known(id)).collect();
    assert!(receipts.len() < 10, "one chunk, and a page a level");
    let pages: Vec<_> =
        longer.pages.iter().filter(|(id, _)| !known(id)).map(|(_, bytes)| bytes.clone()).collect();
    let change = Change::Edit { entry: entry(1), base, content: content_at(2, longer.root) };
    assert!(send(&mut world, change, &pages, receipts).revision().is_some());
}

#[test]
fn bad_pages_are_refused() {
    let mut world = world();
    let manifest = Manifest::of(&world.folder, 0, 40);
    assert_eq!(manifest.root.level, 1);
    // Another level than the page says.
    let higher = Root { level: 2, ..manifest.root };
    let outcome = send(&mut world, with_root(1, higher), &manifest.bytes(), manifest.receipts());
    assert_eq!(outcome.rejection(), Some(Code::BadPage));
    // Bytes that are no page.
    let garbage = vec![1, 2, 3];
    let root = Root { id: ChunkId::of(&garbage), level: 1 };
    let receipts = BTreeMap::from([(root.id, receipt(3))]);
    let outcome = send(&mut world, with_root(1, root), &[garbage], receipts);
    assert_eq!(outcome.rejection(), Some(Code::BadPage));
    // A page of another folder.
    let foreign = Manifest::of(&FolderId::from_bytes([9; 32]), 0, 40);
    let outcome =
        send(&mut world, with_root(1, foreign.root), &foreign.bytes(), foreign.receipts());
    assert_eq!(outcome.rejection(), Some(Code::BadPage));
    // A known page passed off as another level, or as a chunk.
    let outcome =
        send(&mut world, with_root(1, manifest.root), &manifest.bytes(), manifest.receipts());
    assert!(outcome.revision().is_some());
    for level in [0, 2] {
        let root = Root { level, ..manifest.root };
        world.reject(0, vec![with_root(2, root)], Code::BadPage, 0, None);
    }
    assert!(manifest.chunks.len() < PAGE_ENTRIES_MAX);
}

#[test]
fn a_page_passed_off_as_a_chunk_first_is_still_walked_as_a_page() {
    let mut world = world();
    let manifest = Manifest::of(&world.folder, 0, 40);
    let as_chunk = Root { level: 0, ..manifest.root };
    let outcome = send(&mut world, with_root(1, as_chunk), &[], manifest.receipts());
    assert!(outcome.revision().is_some());
    let before = world.store.user(&world.user).unwrap().unwrap().usage;
    world.reject(0, vec![with_root(2, manifest.root)], Code::MissingChunk, 0, None);
    let outcome =
        send(&mut world, with_root(2, manifest.root), &manifest.bytes(), manifest.receipts());
    assert!(outcome.revision().is_some());
    let after = world.store.user(&world.user).unwrap().unwrap().usage;
    assert_eq!(after.objects - before.objects, 40, "the page is charged once");
}

#[test]
fn receipts_from_before_the_last_generation_but_one_are_stale() {
    let mut world = world();
    world.done(Action::BeginGeneration { generation: 5 });
    let back = world.refused(Action::BeginGeneration { generation: 4 });
    assert_eq!(back, Refused::GenerationBack { given: 4, stored: 5 });
    for (number, generation) in [(1, 3), (2, 4), (3, 5)] {
        let id = chunk(number);
        let receipts = BTreeMap::from([(id, Receipt { length: 10, generation })]);
        let number = u8::try_from(number).unwrap();
        let outcome = send(&mut world, with_root(number, Root { id, level: 0 }), &[], receipts);
        let expected = if generation == 3 { Some(Code::StaleReceipt) } else { None };
        assert_eq!(outcome.rejection(), expected, "generation {generation}");
    }
}

#[test]
fn a_quota_of_bytes_holds_over_every_commit_and_lets_deletes_through() {
    let mut world = world();
    let user = world.user;
    world.done(Action::SetQuota { user, quota: Quota { bytes_max: 100, ..Quota::UNLIMITED } });
    let mut accepted = 0;
    let mut base = 0;
    for number in 1..=5_u8 {
        let id = chunk(number.into());
        let receipts = BTreeMap::from([(id, receipt(40))]);
        let change = with_root(number, Root { id, level: 0 });
        match send(&mut world, change, &[], receipts) {
            GroupOutcome::Accepted { revision, .. } => (accepted, base) = (accepted + 1, revision),
            GroupOutcome::Rejected(rejection) => assert_eq!(rejection.code, Code::Quota),
        }
    }
    assert_eq!(accepted, 2);
    world.accept(0, vec![delete(2, base, base)]);
    // What needs no new bytes goes on too.
    world.accept(0, vec![file(9, "empty")]);
}

#[test]
fn quotas_of_entries_objects_and_versions_hold() {
    let mut world = world();
    let user = world.user;
    let unlimited = Quota::UNLIMITED;
    let base = world.accept(0, vec![file(1, "a"), file(2, "b")]);
    world.done(Action::SetQuota { user, quota: Quota { entries_max: 2, ..unlimited } });
    world.reject(0, vec![file(3, "c")], Code::Quota, 0, None);
    world.accept(0, vec![file(3, "c"), delete(1, base, base)]);
    world.done(Action::SetQuota { user, quota: Quota { versions_max: 8, ..unlimited } });
    let edited = world.accept(0, vec![edit(2, base, 5)]);
    world.reject(0, vec![edit(2, edited, 6)], Code::Quota, 0, None);
    world.accept(0, vec![delete(2, base, edited)]);
    world.done(Action::SetQuota { user, quota: Quota { objects_max: 0, ..unlimited } });
    let root = Root { id: chunk(1), level: 0 };
    let receipts = BTreeMap::from([(chunk(1), receipt(1))]);
    let outcome = send(&mut world, with_root(4, root), &[], receipts);
    assert_eq!(outcome.rejection(), Some(Code::Quota));
    let nobody = common::ids::UserId::from_bytes([7; 32]);
    let refused = world.refused(Action::SetQuota { user: nobody, quota: unlimited });
    assert_eq!(refused, Refused::NoSuchUser);
    world.accept(0, vec![create(5, Kind::File, EntryId::ROOT, "e")]);
    assert_eq!(content(5).root, None);
}

/// What a device sees of the folder, and what its user is charged for.
fn kept(world: &World<MemoryStore>) -> ((u64, Head), Usage) {
    (world.digest(), world.store.user(&world.user).unwrap().unwrap().usage)
}

/// Checks that a group was refused for a quota and left the world as it was.
fn refused_for_quota(
    world: &World<MemoryStore>,
    outcome: &GroupOutcome,
    of: &str,
    before: &((u64, Head), Usage),
) {
    let GroupOutcome::Rejected(rejection) = outcome else { panic!("accepted: {outcome:?}") };
    assert_eq!(rejection.code, Code::Quota);
    assert_eq!(rejection.message, format!("the quota of {of} is exhausted"));
    assert_eq!(kept(world), *before);
}

#[test]
fn millions_of_tiny_chunks_end_at_the_quota_of_objects() {
    let mut world = World::pair(MemoryStore::new());
    let user = world.user;
    world.done(Action::SetQuota { user, quota: Quota { objects_max: 4_500, ..Quota::UNLIMITED } });
    // Each group of the second device: a file of one chunk, and one of a thousand and their pages.
    let mut accepted = 0;
    for number in 1..=6 {
        let manifest = Manifest::of(&world.folder, u32::from(number) * 1_000, 1_000);
        let single = ChunkId::of(&[number]);
        let ids = manifest.receipts().into_keys().chain([single]);
        let receipts: BTreeMap<_, _> = ids.map(|id| (id, receipt(1))).collect();
        let root = Root { id: single, level: 0 };
        let changes = vec![with_root(100 + number, root), with_root(number, manifest.root)];
        let group = world.group(1, changes);
        let (signed, before) = (world.sign(1, &group), kept(&world));
        let outcome = world.send(1, vec![signed], &manifest.bytes(), receipts.clone()).remove(0);
        let known = |id: &&ChunkId| world.store.object(&world.folder, id).unwrap().is_some();
        if outcome.revision().is_some() {
            accepted += 1;
            assert_eq!(receipts.keys().filter(known).count(), receipts.len());
            continue;
        }
        refused_for_quota(&world, &outcome, "objects", &before);
        assert_eq!(receipts.keys().filter(known).count(), 0, "objects of a refused group");
        for file in [number, 100 + number] {
            assert_eq!(world.store.entry(&world.folder, &entry(file)).unwrap(), None);
        }
    }
    assert_eq!(accepted, 4);
    // The other device is refused too, for the share is their user's, but not what needs no more.
    let id = chunk(999_999);
    let many = Manifest::of(&world.folder, 900_000, 600);
    let outcome = send(&mut world, with_root(50, many.root), &many.bytes(), many.receipts());
    assert_eq!(outcome.rejection(), Some(Code::Quota));
    let receipts = BTreeMap::from([(id, receipt(1))]);
    assert!(
        send(&mut world, with_root(51, Root { id, level: 0 }), &[], receipts).revision().is_some()
    );
    let same = Manifest::of(&world.folder, 1_000, 1_000);
    world.accept(0, vec![with_root(52, same.root)]);
}

#[test]
fn millions_of_versions_end_at_the_quota_of_versions() {
    let mut world = World::pair(MemoryStore::new());
    let user = world.user;
    world.done(Action::SetQuota { user, quota: Quota { versions_max: 500, ..Quota::UNLIMITED } });
    // A new entry has two versions: its place and its content.
    let mut base = world.accept(1, vec![file(1, "a"), file(2, "b")]);
    let (made, mut edits) = (base, 0_u64);
    let versions = |world: &World<MemoryStore>| {
        let (revision, _) = world.digest();
        world.store.contents(&world.folder, &entry(1), revision, usize::MAX).unwrap().len() as u64
    };
    loop {
        let before = kept(&world);
        let number = u8::try_from(edits % 200).unwrap();
        let outcome = world.commit(1, vec![edit(1, base, number)]);
        let Some(revision) = outcome.revision() else {
            refused_for_quota(&world, &outcome, "versions", &before);
            break;
        };
        (base, edits) = (revision, edits + 1);
    }
    assert_eq!((edits, versions(&world)), (496, 497));
    let before = kept(&world);
    let moved = world.commit(0, vec![move_to(2, made, EntryId::ROOT, "c")]);
    refused_for_quota(&world, &moved, "versions", &before);
    let created = world.commit(0, vec![delete(2, made, made), file(3, "c")]);
    refused_for_quota(&world, &created, "versions", &before);
    assert_eq!(world.store.entry(&world.folder, &entry(3)).unwrap(), None);
    assert_eq!(versions(&world), 497);
    // Deletions go on, or a user with too much could not have less.
    world.accept(0, vec![delete(2, made, made)]);
}
