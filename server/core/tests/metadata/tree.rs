//! Group semantics (rule 10): the tree stays a tree, judged after the group.

use crate::world::{
    World, content, create, delete, directory, edit, entry, file, move_to, place, revive,
};
use common::ids::{ChunkId, EntryId};
use common::limits::{DEPTH_MAX, GROUP_CONTENTS_MAX};
use common::record::{Change, Kind, Root};
use common::wire::meta::RejectionCode as Code;
use server_core::metadata::memory::MemoryStore;
use server_core::metadata::{Action, Command, PreparedCommit, apply};
use std::collections::BTreeMap;

fn world() -> World<MemoryStore> {
    World::new(MemoryStore::new())
}

#[test]
fn two_names_swap_in_one_group() {
    let mut world = world();
    let base = world.accept(0, vec![file(1, "a"), file(2, "b")]);
    world.accept(
        0,
        vec![move_to(1, base, EntryId::ROOT, "b"), move_to(2, base, EntryId::ROOT, "a")],
    );
    assert_eq!(world.tree(), vec![(1, 0, "b".to_owned(), 1), (2, 0, "a".to_owned(), 2)]);
}

#[test]
fn parent_and_child_swap_in_one_group() {
    let mut world = world();
    let base = world.accept(0, vec![directory(1, "a"), create(2, Kind::Directory, entry(1), "b")]);
    world.accept(0, vec![move_to(1, base, entry(2), "a"), move_to(2, base, EntryId::ROOT, "b")]);
    assert_eq!(world.tree(), vec![(1, 2, "a".to_owned(), 1), (2, 0, "b".to_owned(), 2)]);
}

#[test]
fn a_move_onto_a_name_needs_the_other_gone_in_the_same_group() {
    let mut world = world();
    let base = world.accept(0, vec![file(1, "a"), file(2, "b")]);
    let onto = move_to(1, base, EntryId::ROOT, "b");
    world.reject(0, vec![onto.clone()], Code::NameTaken, 0, Some(entry(2)));
    world.accept(0, vec![onto, delete(2, base, base)]);
    assert_eq!(world.tree(), vec![(1, 0, "b".to_owned(), 1)]);
}

#[test]
fn two_entries_of_a_group_cannot_take_one_name() {
    let mut world = world();
    world.reject(0, vec![file(1, "a"), file(2, "a")], Code::NameTaken, 1, Some(entry(1)));
    let base = world.accept(0, vec![file(1, "a"), file(2, "b")]);
    let both = vec![move_to(1, base, EntryId::ROOT, "c"), move_to(2, base, EntryId::ROOT, "c")];
    world.reject(0, both, Code::NameTaken, 1, Some(entry(1)));
}

#[test]
fn one_name_in_two_directories_is_two_names() {
    let mut world = world();
    world.accept(0, vec![directory(1, "d"), create(2, Kind::File, entry(1), "d")]);
}

#[test]
fn a_deleted_name_is_free_again() {
    let mut world = world();
    let base = world.accept(0, vec![file(1, "a")]);
    let gone = world.accept(0, vec![delete(1, base, base)]);
    world.accept(0, vec![file(2, "a")]);
    let back = vec![revive(1, gone, EntryId::ROOT, "a")];
    world.reject(0, back, Code::NameTaken, 0, Some(entry(2)));
    world.accept(0, vec![revive(1, gone, EntryId::ROOT, "a (2)")]);
}

#[test]
fn a_cycle_through_a_group_is_refused() {
    let mut world = world();
    let base = world.accept(0, vec![directory(1, "a"), directory(2, "b")]);
    let both = vec![move_to(1, base, entry(2), "a"), move_to(2, base, entry(1), "b")];
    world.reject(0, both, Code::Cycle, 0, Some(entry(1)));
    world.reject(0, vec![move_to(1, base, entry(1), "self")], Code::Cycle, 0, Some(entry(1)));
    let born =
        vec![create(3, Kind::Directory, entry(4), "x"), create(4, Kind::Directory, entry(3), "y")];
    world.reject(0, born, Code::Cycle, 0, Some(entry(3)));
    // A file that hangs below a cycle is told the same.
    let below = vec![
        create(5, Kind::File, entry(1), "f"),
        move_to(1, base, entry(2), "a"),
        move_to(2, base, entry(1), "b"),
    ];
    let before = world.digest();
    let outcome = world.commit(0, below);
    assert_eq!(outcome.rejection(), Some(Code::Cycle));
    assert_eq!(world.digest(), before);
}

#[test]
fn a_parent_is_a_live_directory() {
    let mut world = world();
    let base = world.accept(0, vec![file(1, "f"), directory(2, "d")]);
    let inside = |parent| vec![create(9, Kind::File, entry(parent), "x")];
    world.reject(0, inside(1), Code::NoParent, 0, Some(entry(1)));
    world.reject(0, inside(8), Code::NoParent, 0, Some(entry(8)));
    let both = vec![create(9, Kind::File, entry(2), "x"), delete(2, base, base)];
    world.reject(0, both, Code::NoParent, 0, Some(entry(2)));
}

#[test]
fn a_directory_goes_with_its_entries_or_stays() {
    let mut world = world();
    let base = world.accept(
        0,
        vec![
            directory(1, "d"),
            create(2, Kind::File, entry(1), "f"),
            create(3, Kind::File, entry(1), "g"),
        ],
    );
    let some = vec![delete(1, base, base), delete(2, base, base)];
    world.reject(0, some, Code::NotEmpty, 0, Some(entry(3)));
    let out = move_to(3, base, EntryId::ROOT, "g");
    world.accept(0, vec![delete(1, base, base), delete(2, base, base), out]);
    assert_eq!(world.tree(), vec![(3, 0, "g".to_owned(), 3)]);
}

#[test]
fn an_entry_id_is_used_once() {
    let mut world = world();
    let base = world.accept(0, vec![file(1, "f")]);
    world.reject(0, vec![file(1, "g")], Code::IdTaken, 0, Some(entry(1)));
    world.accept(0, vec![delete(1, base, base)]);
    world.reject(0, vec![file(1, "f")], Code::IdTaken, 0, Some(entry(1)));
    let root = Change::Create {
        entry: EntryId::ROOT,
        kind: Kind::Directory,
        place: place(EntryId::ROOT, "r"),
        content: content(1),
    };
    world.reject(0, vec![root], Code::IdTaken, 0, Some(EntryId::ROOT));
}

#[test]
fn what_is_not_there_cannot_change() {
    let mut world = world();
    let changes = [
        edit(7, 1, 1),
        move_to(7, 1, EntryId::ROOT, "x"),
        delete(7, 1, 1),
        revive(7, 1, EntryId::ROOT, "x"),
    ];
    for change in changes {
        world.reject(0, vec![change], Code::NoSuchEntry, 0, Some(entry(7)));
    }
    let base = world.accept(0, vec![file(1, "f")]);
    let alive = vec![revive(1, base, EntryId::ROOT, "x")];
    world.reject(0, alive, Code::NoSuchEntry, 0, Some(entry(1)));
    let edited_and_deleted = vec![edit(1, base, 5), delete(1, base, base)];
    world.reject(0, edited_and_deleted, Code::NoSuchEntry, 0, Some(entry(1)));
}

#[test]
fn malformed_changes_are_refused() {
    let mut world = world();
    let base = world.accept(0, vec![file(1, "f"), directory(2, "d")]);
    let twice = vec![move_to(1, base, EntryId::ROOT, "x"), move_to(1, base, EntryId::ROOT, "y")];
    world.reject(0, twice, Code::Malformed, 1, Some(entry(1)));
    let mut rooted = content(5);
    rooted.root = Some(Root { id: ChunkId::from_bytes([1; 32]), level: 0 });
    let directory_with_chunks = Change::Edit { entry: entry(2), base, content: rooted };
    world.reject(0, vec![directory_with_chunks], Code::Malformed, 0, Some(entry(2)));
}

#[test]
fn a_tree_is_bounded_in_depth() {
    let mut world = world();
    let numbered = |number: usize| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
        EntryId::from_bytes(bytes)
    };
    let nested = |number: usize| Change::Create {
        entry: numbered(number),
        kind: Kind::Directory,
        place: place(numbered(number - 1), "d"),
        content: content(1),
    };
    let all: Vec<Change> = (1..=DEPTH_MAX).map(nested).collect();
    world.accept(0, all);
    let deeper = nested(DEPTH_MAX + 1);
    world.reject(0, vec![deeper], Code::Malformed, 0, Some(numbered(DEPTH_MAX + 1)));
    // What lies in a moved directory comes along uncounted, but nothing is placed among it.
    let beside = |number: usize, parent: EntryId| Change::Create {
        entry: numbered(number),
        kind: Kind::Directory,
        place: place(parent, "e"),
        content: content(1),
    };
    let (other, deep) = (DEPTH_MAX + 2, DEPTH_MAX + 3);
    world.accept(0, vec![beside(other, EntryId::ROOT)]);
    let moved = |base, parent| Change::Move { entry: numbered(1), base, place: place(parent, "m") };
    let base = world.accept(0, vec![moved(1, numbered(other))]);
    let among = beside(deep, numbered(DEPTH_MAX));
    world.reject(0, vec![among], Code::Malformed, 0, Some(numbered(deep)));
    world.accept(0, vec![moved(base, EntryId::ROOT)]);
}

#[test]
fn a_failed_write_in_the_middle_of_a_group_leaves_no_trace() {
    let mut world = world();
    let base = world.accept(0, vec![file(1, "a"), directory(2, "d")]);
    let before = world.store.clone();
    let changes = vec![
        move_to(1, base, entry(2), "a"),
        edit(1, base, 9),
        create(3, Kind::File, entry(2), "n"),
    ];
    let group = world.group(0, changes);
    let signed = world.sign(0, &group);
    let commit =
        PreparedCommit::prepare(world.device(0), world.folder, vec![signed], &[], BTreeMap::new());
    let command = Command { time_ms: world.now_ms, action: Action::Commit(commit) };
    let mut writes = 0;
    loop {
        world.store.fail_after(Some(writes));
        if apply(&mut world.store, &command).is_ok() {
            break;
        }
        assert!(world.store == before, "after {writes} writes");
        writes += 1;
    }
    assert!(writes > 8, "the group has written more than {writes} rows");
    world.store.fail_after(None);
    assert_eq!(world.send_one(0, &group).revision(), Some(base + 1));
}

#[test]
fn a_group_sets_few_contents_of_one_entry() {
    let mut world = world();
    let base = world.accept(0, vec![file(1, "f"), file(2, "g")]);
    let edits = |count: usize| (0..count).map(|to| edit(1, base, to as u8)).collect::<Vec<_>>();
    let mut many = edits(GROUP_CONTENTS_MAX + 1);
    world.reject(0, many.clone(), Code::Malformed, GROUP_CONTENTS_MAX as u32, Some(entry(1)));
    // Each entry is counted for itself.
    many[0] = edit(2, base, 1);
    world.accept(0, many);
}
