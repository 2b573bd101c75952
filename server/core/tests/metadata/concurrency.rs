//! The table of concurrent changes, as far as the service decides it: two devices have seen the same
//! state and both commit.
//!
//! What devices decide (merging, renaming, reviving) is done here by their groups, as they would.

use crate::world::{
    World, conflict, content, create, delete, directory, edit, entry, file, move_to, place, revive,
};
use common::ids::EntryId;
use common::record::{Change, Kind, Resolution};
use common::revision::Revision;
use common::wire::meta::RejectionCode as Code;
use server_core::metadata::memory::MemoryStore;
use server_core::metadata::{RegisterReads, VersionRow, query};

fn pair() -> World<MemoryStore> {
    World::pair(MemoryStore::new())
}

fn copy_and_conflict(base: Option<Revision>, theirs: Revision) -> Vec<Change> {
    vec![
        Change::Create {
            entry: entry(9),
            kind: Kind::File,
            place: place(EntryId::ROOT, "f (conflict)"),
            content: content(22),
        },
        Change::OpenConflict {
            conflict: conflict(1),
            entry: entry(1),
            base,
            theirs,
            copy: entry(9),
        },
    ]
}

#[test]
fn edit_against_edit_is_refused_and_becomes_a_sibling_with_a_conflict() {
    let mut world = pair();
    let base = world.accept(0, vec![file(1, "f")]);
    let theirs = world.accept(0, vec![edit(1, base, 11)]);
    world.reject(1, vec![edit(1, base, 22)], Code::StaleContent, 0, Some(entry(1)));
    let opened = world.accept(1, copy_and_conflict(Some(base), theirs));
    assert_eq!(
        world.tree(),
        vec![(1, 0, "f".to_owned(), 11), (9, 0, "f (conflict)".to_owned(), 22)]
    );
    let open = world.store.conflicts_open(&world.folder, opened, None, 10).unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!(
        (open[0].base, open[0].theirs, open[0].device),
        (Some(base), theirs, world.device(1))
    );
    assert!(world.store.conflicts_open(&world.folder, theirs, None, 10).unwrap().is_empty());
}

#[test]
fn edit_against_edit_that_merges_records_the_losers_version_too() {
    let mut world = pair();
    let base = world.accept(0, vec![file(1, "f")]);
    let theirs = world.accept(0, vec![edit(1, base, 11)]);
    // One group of the merging device: its own content, then the merged one.
    let merged = world.accept(1, vec![edit(1, theirs, 22), edit(1, theirs, 33)]);
    assert_eq!(world.tree(), vec![(1, 0, "f".to_owned(), 33)]);
    let (versions, more) =
        query::versions(&world.store, &world.folder, &entry(1), merged, 10).unwrap();
    let seen: Vec<_> = versions
        .iter()
        .map(|version| (version.revision, version.registers.content.tag.as_bytes()[0]))
        .collect();
    assert_eq!(seen, vec![(merged, 33), (merged, 22), (theirs, 11), (base, 1)]);
    assert!(!more);
}

#[test]
fn a_page_of_versions_ends_with_all_contents_of_its_last_revision() {
    let mut world = pair();
    let base = world.accept(0, vec![file(1, "f")]);
    let theirs = world.accept(0, vec![edit(1, base, 11)]);
    let merged = world.accept(1, vec![edit(1, theirs, 22), edit(1, theirs, 33)]);
    let last = world.accept(0, vec![edit(1, merged, 44)]);
    let page = |at, limit| {
        let (rows, more) =
            query::versions(&world.store, &world.folder, &entry(1), at, limit).unwrap();
        let tags = rows.iter().map(|row| row.registers.content.tag.as_bytes()[0]);
        (tags.collect::<Vec<_>>(), more)
    };
    assert_eq!(page(last, 2), (vec![44], true));
    assert_eq!(page(last - 1, 2), (vec![33, 22], true));
    assert_eq!(page(last, 3), (vec![44, 33, 22], true));
    assert_eq!(page(last, 5), (vec![44, 33, 22, 11, 1], false));
    // Who asks for one gets the one that stood.
    assert_eq!(page(last - 1, 1), (vec![33], true));
}

#[test]
fn edit_against_delete_survives() {
    let mut world = pair();
    let base = world.accept(0, vec![file(1, "f")]);
    let edited = world.accept(0, vec![edit(1, base, 11)]);
    world.reject(1, vec![delete(1, base, base)], Code::StaleContent, 0, Some(entry(1)));
    assert_eq!(world.state(1).content_revision, edited);
    assert!(!world.state(1).deleted);
}

#[test]
fn delete_against_later_edit_is_revived_with_its_directory_in_one_group() {
    let mut world = pair();
    let base = world.accept(0, vec![directory(2, "d"), create(1, Kind::File, entry(2), "f")]);
    let gone = world.accept(0, vec![delete(1, base, base), delete(2, base, base)]);
    world.reject(1, vec![edit(1, base, 11)], Code::NoSuchEntry, 0, Some(entry(1)));
    world.accept(
        1,
        vec![
            edit(1, base, 11),
            revive(1, gone, entry(2), "f"),
            revive(2, gone, EntryId::ROOT, "d"),
        ],
    );
    assert_eq!(world.tree(), vec![(1, 2, "f".to_owned(), 11), (2, 0, "d".to_owned(), 2)]);
}

#[test]
fn move_and_edit_both_land() {
    let mut world = pair();
    let base = world.accept(0, vec![file(1, "f")]);
    world.accept(0, vec![move_to(1, base, EntryId::ROOT, "g")]);
    world.accept(1, vec![edit(1, base, 11)]);
    assert_eq!(world.tree(), vec![(1, 0, "g".to_owned(), 11)]);
}

#[test]
fn move_against_move_first_wins() {
    let mut world = pair();
    let base = world.accept(0, vec![file(1, "f")]);
    world.accept(0, vec![move_to(1, base, EntryId::ROOT, "g")]);
    let second = vec![move_to(1, base, EntryId::ROOT, "h")];
    world.reject(1, second, Code::StalePlace, 0, Some(entry(1)));
    assert_eq!(world.tree(), vec![(1, 0, "g".to_owned(), 1)]);
}

#[test]
fn moves_that_would_close_a_cycle_are_refused() {
    let mut world = pair();
    let base = world.accept(0, vec![directory(1, "a"), directory(2, "b")]);
    world.accept(0, vec![move_to(1, base, entry(2), "a")]);
    world.reject(1, vec![move_to(2, base, entry(1), "b")], Code::Cycle, 0, Some(entry(2)));
}

#[test]
fn create_against_create_of_one_name_is_refused_then_joined_or_renamed() {
    let mut world = pair();
    let theirs = world.accept(0, vec![file(1, "f")]);
    world.reject(1, vec![file(9, "f")], Code::NameTaken, 0, Some(entry(1)));
    world.accept(1, copy_and_conflict(None, theirs));
    assert_eq!(world.tree().len(), 2);
}

#[test]
fn create_against_create_of_directories_lets_children_move_over() {
    let mut world = pair();
    world.accept(0, vec![directory(1, "d")]);
    let mine = vec![directory(2, "d"), create(3, Kind::File, entry(2), "inside")];
    world.reject(1, mine, Code::NameTaken, 0, Some(entry(1)));
    world.accept(1, vec![create(3, Kind::File, entry(1), "inside")]);
}

#[test]
fn delete_of_a_directory_against_create_inside_keeps_both() {
    let mut world = pair();
    let base = world.accept(0, vec![directory(1, "d")]);
    world.accept(0, vec![create(2, Kind::File, entry(1), "new")]);
    world.reject(1, vec![delete(1, base, base)], Code::NotEmpty, 0, Some(entry(2)));
    assert_eq!(world.tree().len(), 2);
}

#[test]
fn create_inside_a_deleted_directory_is_refused_then_revives_it() {
    let mut world = pair();
    let base = world.accept(0, vec![directory(1, "d")]);
    let gone = world.accept(0, vec![delete(1, base, base)]);
    let inside = create(2, Kind::File, entry(1), "new");
    world.reject(1, vec![inside.clone()], Code::NoParent, 0, Some(entry(1)));
    world.accept(1, vec![inside, revive(1, gone, EntryId::ROOT, "d")]);
    assert_eq!(world.tree().len(), 2);
}

#[test]
fn move_against_delete_survives_either_way() {
    let mut world = pair();
    let base = world.accept(0, vec![file(1, "f"), file(2, "g")]);
    world.accept(0, vec![move_to(1, base, EntryId::ROOT, "moved")]);
    world.reject(1, vec![delete(1, base, base)], Code::StalePlace, 0, Some(entry(1)));
    let gone = world.accept(0, vec![delete(2, base, base)]);
    let late = vec![move_to(2, base, EntryId::ROOT, "late")];
    world.reject(1, late, Code::NoSuchEntry, 0, Some(entry(2)));
    world.accept(1, vec![revive(2, gone, EntryId::ROOT, "late")]);
    assert_eq!(world.tree().len(), 2);
}

#[test]
fn a_conflict_is_resolved_once() {
    let mut world = pair();
    let base = world.accept(0, vec![file(1, "f")]);
    world.accept(1, copy_and_conflict(Some(base), base));
    let resolve =
        Change::ResolveConflict { conflict: conflict(1), resolution: Resolution::KeepOriginal };
    let copy = world.state(9);
    world.accept(0, vec![delete(9, copy.place_revision, copy.content_revision), resolve.clone()]);
    world.reject(1, vec![resolve.clone()], Code::NoSuchConflict, 0, None);
    let unknown = Change::ResolveConflict { conflict: conflict(7), resolution: Resolution::Gone };
    world.reject(1, vec![unknown], Code::NoSuchConflict, 0, None);
    let (revision, _) = world.digest();
    assert!(world.store.conflicts_open(&world.folder, revision, None, 10).unwrap().is_empty());
    // The record itself is history: as of before, it is open.
    let earlier = world.store.conflicts_open(&world.folder, revision - 1, None, 10).unwrap();
    assert_eq!(earlier.len(), 1);
    let again = copy_and_conflict(Some(base), base).remove(1);
    world.reject(1, vec![again], Code::IdTaken, 0, Some(entry(1)));
}

#[test]
fn a_conflict_over_a_state_that_has_moved_on_is_refused() {
    let mut world = pair();
    let base = world.accept(0, vec![file(1, "f")]);
    world.accept(0, vec![edit(1, base, 11)]);
    world.reject(1, copy_and_conflict(Some(base), base), Code::StaleContent, 1, Some(entry(1)));
}

#[test]
fn the_revision_that_closes_a_conflict_is_a_version_of_each_side_that_is_there() {
    let mut world = pair();
    let base = world.accept(0, vec![file(1, "f")]);
    let theirs = world.accept(0, vec![edit(1, base, 11)]);
    let opened = world.accept(1, copy_and_conflict(Some(base), theirs));
    let both = Change::ResolveConflict { conflict: conflict(1), resolution: Resolution::KeepBoth };
    let closed = world.accept(0, vec![both]);
    let gone = world.accept(0, vec![delete(9, opened, opened)]);
    let told = |number: u8| {
        let (rows, _) =
            query::versions(&world.store, &world.folder, &entry(number), u64::MAX, 10).unwrap();
        let told = |row: &VersionRow| {
            let set = row.place_changed || row.content_changed;
            (row.revision, set, row.settled, row.registers.content.tag.as_bytes()[0])
        };
        rows.iter().map(told).collect::<Vec<_>>()
    };
    let expected = [(closed, false, true, 11), (theirs, true, false, 11), (base, true, false, 1)];
    assert_eq!(told(1), expected);
    let expected = [(gone, true, false, 22), (closed, false, true, 22), (opened, true, false, 22)];
    assert_eq!(told(9), expected);
    let (rows, _) =
        query::timeline_page(&world.store, &world.folder, (u64::MAX, None), None, 10).unwrap();
    let told: Vec<_> = rows.iter().map(|row| (row.revision, row.registers.entry)).collect();
    let sides = [(closed, entry(1)), (closed, entry(9))];
    assert_eq!(told[..4], [[(gone, entry(9))].as_slice(), &sides, &[(opened, entry(9))]].concat());
}

#[test]
fn a_copy_that_had_gone_before_its_conflict_was_closed_is_not_told_again() {
    let mut world = pair();
    let base = world.accept(0, vec![file(1, "f")]);
    let theirs = world.accept(0, vec![edit(1, base, 11)]);
    let opened = world.accept(1, copy_and_conflict(Some(base), theirs));
    let gone = world.accept(0, vec![delete(9, opened, opened)]);
    let mine =
        Change::ResolveConflict { conflict: conflict(1), resolution: Resolution::KeepOriginal };
    let closed = world.accept(0, vec![mine]);
    let newest = |number: u8| {
        let (rows, _) =
            query::versions(&world.store, &world.folder, &entry(number), u64::MAX, 1).unwrap();
        (rows[0].revision, rows[0].deleted)
    };
    assert_eq!(newest(9), (gone, true));
    assert_eq!(newest(1), (closed, false));
    let (rows, next) = query::deleted_page(&world.store, &world.folder, None, 10).unwrap();
    assert_eq!((rows.len(), rows[0].revision, next), (1, gone, None));
}
