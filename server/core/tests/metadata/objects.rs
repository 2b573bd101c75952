//! What garbage collection changes of the objects that are known: proof, and what a user occupies.

use crate::world::{World, content_at, entry, place, receipt};
use common::ids::{ChunkId, EntryId};
use common::record::{Change, Kind, Root};
use common::wire::meta::RejectionCode as Code;
use server_core::metadata::memory::MemoryStore;
use server_core::metadata::{
    Action, GroupOutcome, ObjectChange, ObjectState, Receipt, ReclaimReads, TreeReads, UserReads,
};
use std::collections::BTreeMap;

fn id(number: u8) -> ChunkId {
    ChunkId::of(&[number])
}

fn create(number: u8, object: ChunkId) -> Change {
    Change::Create {
        entry: entry(number),
        kind: Kind::File,
        place: place(EntryId::ROOT, &number.to_string()),
        content: content_at(number, Root { id: object, level: 0 }),
    }
}

fn send(
    world: &mut World<MemoryStore>,
    change: Change,
    receipts: BTreeMap<ChunkId, Receipt>,
) -> GroupOutcome {
    let group = world.group(0, vec![change]);
    let signed = world.sign(0, &group);
    world.send(0, vec![signed], &[], receipts).remove(0)
}

fn usage(world: &World<MemoryStore>) -> (u64, u64) {
    let usage = world.store.user(&world.user).unwrap().unwrap().usage;
    (usage.bytes, usage.objects)
}

#[test]
fn m4_what_is_condemned_needs_proof_again_and_costs_nothing() {
    let mut world = World::new(MemoryStore::new());
    let folder = world.folder;
    send(&mut world, create(1, id(1)), BTreeMap::from([(id(1), receipt(100))]));
    send(&mut world, create(2, id(2)), BTreeMap::from([(id(2), receipt(30))]));
    assert_eq!(usage(&world), (130, 2));
    let condemn = |number| ObjectChange::Condemn(id(number));
    let changes = vec![condemn(1), condemn(1), condemn(9)];
    world.done(Action::ChangeObjects { folder, changes });
    assert_eq!(usage(&world), (30, 1));
    let named = send(&mut world, create(3, id(1)), BTreeMap::new());
    assert_eq!(named.rejection(), Some(Code::MissingChunk));
    let proven = send(&mut world, create(4, id(1)), BTreeMap::from([(id(1), receipt(100))]));
    assert!(proven.revision().is_some());
    assert_eq!(usage(&world), (130, 2));
}

#[test]
fn what_is_reinstated_is_known_once() {
    let mut world = World::new(MemoryStore::new());
    let folder = world.folder;
    let as_chunk = ObjectState { level: 0, length: 50 };
    let as_page = ObjectState { level: 2, length: 50 };
    for (object, expected) in [(as_chunk, as_chunk), (as_page, as_page), (as_chunk, as_page)] {
        let changes = vec![ObjectChange::Reinstate(id(1), object)];
        world.done(Action::ChangeObjects { folder, changes });
        assert_eq!(world.store.object(&folder, &id(1)).unwrap(), Some(expected));
        assert_eq!(usage(&world), (50, 1));
    }
    let changes = vec![ObjectChange::Demote(id(1)), ObjectChange::Demote(id(2))];
    world.done(Action::ChangeObjects { folder, changes });
    assert_eq!(world.store.objects(&folder, None, 9).unwrap(), [(id(1), as_chunk)]);
    assert_eq!(usage(&world), (50, 1));
    assert!(send(&mut world, create(1, id(1)), BTreeMap::new()).revision().is_some());
}

#[test]
fn every_version_that_is_kept_is_a_root() {
    let mut world = World::new(MemoryStore::new());
    let folder = world.folder;
    for number in [1, 2] {
        let receipts = BTreeMap::from([(id(number), receipt(10))]);
        send(&mut world, create(number, id(number)), receipts);
    }
    let base = world.state(1).content_revision;
    let content = content_at(3, Root { id: id(3), level: 0 });
    let change = Change::Edit { entry: entry(1), base, content };
    send(&mut world, change, BTreeMap::from([(id(3), receipt(10))]));
    let (mut found, mut after) = (Vec::new(), None);
    while let Some((at, root)) = world.store.roots(&folder, after.as_ref(), 1).unwrap().pop() {
        found.push(root.id);
        after = Some(at);
    }
    found.sort_unstable();
    let mut expected = vec![id(1), id(2), id(3)];
    expected.sort_unstable();
    assert_eq!(found, expected);
}
