//! The planner's rules as named tables: the table of concurrent changes, orders of moves, names
//! that are taken. Rows are those of `world/table.rs`.

#![allow(clippy::unwrap_used, reason = "a test may fail by unwrapping")]

mod world;

use client_core::planner::{Change, Destination, Plan, Policy, PushGroup, Step, plan};
use client_core::tree::memory::MemoryView;
use client_core::tree::{Kind, LocalNode, RemoteNode, SyncedNode};
use common::ids::EntryId;
use world::table::{listing, view};
use world::*;

/// Runs to rest and compares what is then on the disk, and so at the server.
fn check(rule: &str, rows: &[&str], expected: &[&str]) -> MemoryView {
    let mut view = view(rows);
    run(&mut view, &policy(1));
    check_at_rest(&view, &policy(1));
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(listing(&view), expected, "{rule}");
    view
}

fn first_plan(rows: &[&str]) -> Plan {
    plan_all(&view(rows), &policy(1))
}

fn groups(plan: &Plan) -> Vec<&PushGroup> {
    let steps = plan.batches.iter().flatten();
    steps.filter_map(|step| if let Step::Push(group) = step { Some(group) } else { None }).collect()
}

const COPY: &str = "a (conflict 2026-05-04 device1)";

#[test]
fn one_side_alone() {
    check("new here", &["1 file - 0/a:1 -"], &["a=1"]);
    check("new there", &["1 file - - 0/a:1"], &["a=1"]);
    check("edited here", &["1 file 0/a:1 0/a:2 0/a:1"], &["a=2"]);
    check("edited there", &["1 file 0/a:1 0/a:1 0/a:2"], &["a=2"]);
    check("moved here", &["1 file 0/a:1 0/b:1 0/a:1"], &["b=1"]);
    check("moved there", &["1 file 0/a:1 0/a:1 0/b:1"], &["b=1"]);
    check("deleted here", &["1 file 0/a:1 - 0/a:1"], &[]);
    check("deleted there", &["1 file 0/a:1 0/a:1 x"], &[]);
    check("gone on both", &["1 file 0/a:1 - x", "2 file 0/b:1 - -"], &[]);
    check("nothing", &["1 file 0/a:1 0/a:1 0/a:1"], &["a=1"]);
}

#[test]
fn the_table_of_concurrent_changes() {
    check("edit / edit, same bytes", &["1 file 0/a:1 0/a:2 0/a:2"], &["a=2"]);
    check("edit / edit otherwise", &["1 file 0/a:1 0/a:2 0/a:3"], &[&format!("{COPY}=2"), "a=3"]);
    check(
        "edit / move and edit",
        &["1 file 0/a:1 0/a:2 0/b:3"],
        &["b (conflict 2026-05-04 device1)=2", "b=3"],
    );
    check("edit / delete", &["1 file 0/a:1 0/a:2 x"], &["a=2"]);
    check("delete / edit", &["1 file 0/a:1 - 0/a:2"], &["a=2"]);
    check("move / edit", &["1 file 0/a:1 0/b:1 0/a:2"], &["b=2"]);
    check("edit / move", &["1 file 0/a:1 0/a:2 0/b:1"], &["b=2"]);
    check("move / move", &["1 file 0/a:1 0/b:1 0/c:1"], &["c=1"]);
    check("create / create, equal", &["1 file - 0/a:1 -", "2 file - - 0/a:1"], &["a=1"]);
    check(
        "create / create, directories",
        &["1 dir - 0/d:0 -", "2 dir - - 0/d:0", "3 file - 1/x:1 -", "4 file - - 2/y:2"],
        &["d/", "d/x=1", "d/y=2"],
    );
    check(
        "create / create otherwise",
        &["1 file - 0/a:1 -", "2 file - - 0/a:2"],
        &[&format!("{COPY}=1"), "a=2"],
    );
    check(
        "delete directory / create inside",
        &["1 dir 0/d:0 - 0/d:0", "2 file 1/o:1 - 1/o:1", "3 file - - 1/n:2"],
        &["d/", "d/n=2"],
    );
    check(
        "create inside / delete directory",
        &["1 dir 0/d:0 0/d:0 x", "2 file 1/o:1 1/o:1 x", "3 file - 1/n:2 -"],
        &["d/", "d/n=2"],
    );
    check("move / delete", &["1 file 0/a:1 0/b:1 x"], &["b=1"]);
    check("delete / move", &["1 file 0/a:1 - 0/b:1"], &["b=1"]);
}

#[test]
fn edit_against_delete_is_one_group_with_its_parents() {
    let planned =
        first_plan(&["1 dir 0/d:0 0/d:0 x", "2 dir 1/e:0 1/e:0 x", "3 file 2/f:1 2/f:2 x"]);
    let groups = groups(&planned);
    assert_eq!(groups.len(), 1);
    let kinds: Vec<_> = groups[0]
        .changes
        .iter()
        .map(|change| match change {
            Change::Revive { entry, .. } => ("revive", *entry),
            Change::Edit { entry, .. } => ("edit", *entry),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, [("revive", id(1)), ("revive", id(2)), ("revive", id(3)), ("edit", id(3))]);
}

#[test]
fn mode_and_mtime_alone_never_conflict() {
    let touched = |here: i64, there: i64| {
        let mut view = view(&["1 file 0/a:1 0/a:1 0/a:1"]);
        let state = |mtime_ns| client_core::tree::ContentState { mtime_ns, ..content(1) };
        view.insert_local(LocalNode {
            content: Some(state(here)),
            ..local(1, Kind::File, at(0, "a"), 1)
        });
        let node = remote(1, Kind::File, at(0, "a"), 1);
        view.server().insert(RemoteNode { content: state(there), content_revision: 2, ..node });
        run(&mut view, &policy(1));
        check_at_rest(&view, &policy(1));
        let node = view.local_nodes().next().unwrap().clone();
        node.content.unwrap().mtime_ns
    };
    assert_eq!(touched(5, 0), 5);
    assert_eq!(touched(0, 6), 6);
    assert_eq!(touched(5, 6), 6);
}

#[test]
fn a_conflict_copy_is_reproducible_and_names_the_base() {
    let rows = ["1 file 0/a:1 0/a:2 0/a:3"];
    let planned = first_plan(&rows);
    assert_eq!(planned, first_plan(&rows));
    let Change::ConflictCopy { local, entry, base, theirs, .. } = &groups(&planned)[0].changes[0]
    else {
        panic!("{planned:?}")
    };
    assert_eq!((*local, *entry, *base, *theirs), (id(1), id(1), Some(1), 2));
    let planned = first_plan(&["1 file - 0/a:1 -", "2 file - - 0/a:2"]);
    let Change::ConflictCopy { base, .. } = &groups(&planned)[0].changes[0] else { panic!() };
    assert_eq!(*base, None);
}

#[test]
fn a_base_that_is_gone_never_overwrites() {
    check("forgotten by the server", &["1 file 0/a:1 0/a:1 -"], &["a=1"]);
    check("no base, differs", &["1 file - 0/a:1 0/a:2"], &[&format!("{COPY}=1"), "a=2"]);
    let mut world = view(&["1 file 0/a:1 - 0/a:1"]);
    let node = world.remove_synced(&id(1)).unwrap();
    world.insert_synced(SyncedNode { held: false, ..node });
    run(&mut world, &policy(1));
    assert_eq!(listing(&world), ["a=1"], "what was never held is made, not deleted");
}

#[test]
fn swaps_and_cycles_of_names() {
    let here = ["1 file 0/a:1 0/b:1 0/a:1", "2 file 0/b:2 0/a:2 0/b:2"];
    check("swap here", &here, &["a=2", "b=1"]);
    assert_eq!(groups(&first_plan(&here)).len(), 1);
    check("swap there", &["1 file 0/a:1 0/a:1 0/b:1", "2 file 0/b:2 0/b:2 0/a:2"], &["a=2", "b=1"]);
    let three =
        ["1 file 0/a:1 0/b:1 0/a:1", "2 file 0/b:2 0/c:2 0/b:2", "3 file 0/c:3 0/a:3 0/c:3"];
    check("three here", &three, &["a=3", "b=1", "c=2"]);
    assert_eq!(groups(&first_plan(&three)).len(), 1);
    let three =
        ["1 file 0/a:1 0/a:1 0/b:1", "2 file 0/b:2 0/b:2 0/c:2", "3 file 0/c:3 0/c:3 0/a:3"];
    check("three there", &three, &["a=3", "b=1", "c=2"]);
    let parked = first_plan(&three).batches.concat();
    let parked = parked.iter().filter(|s| matches!(s, Step::Move { to: Destination::Parked, .. }));
    assert_eq!(parked.count(), 1, "one of a circle is moved aside");
    check(
        "parent and child swapped there",
        &["1 dir 0/a:0 0/a:0 2/a:0", "2 dir 1/a:0 1/a:0 0/a:0", "3 file 1/f:1 1/f:1 1/f:1"],
        &["a/", "a/a/", "a/a/f=1"],
    );
    check(
        "parent and child swapped here",
        &["1 dir 0/a:0 2/a:0 0/a:0", "2 dir 1/a:0 0/a:0 1/a:0", "3 file 1/f:1 1/f:1 1/f:1"],
        &["a/", "a/a/", "a/a/f=1"],
    );
}

#[test]
fn chains_of_renames() {
    check(
        "log rotation here",
        &[
            "1 file 0/a:1 0/b:1 0/a:1",
            "2 file 0/b:2 0/c:2 0/b:2",
            "3 file 0/c:3 - 0/c:3",
            "4 file - 0/a:4 -",
        ],
        &["a=4", "b=1", "c=2"],
    );
    check(
        "log rotation there",
        &[
            "1 file 0/a:1 0/a:1 0/b:1",
            "2 file 0/b:2 0/b:2 0/c:2",
            "3 file 0/c:3 0/c:3 x",
            "4 file - - 0/a:4",
        ],
        &["a=4", "b=1", "c=2"],
    );
    let saved = ["1 file 0/a:1 - 0/a:1", "2 file - 0/a:2 -"];
    check("save by rename under another id", &saved, &["a=2"]);
    assert_eq!(groups(&first_plan(&saved)).len(), 1, "no moment without the file");
    check(
        "save by rename against an edit",
        &["1 file 0/a:1 - 0/a:3", "2 file - 0/a:2 -"],
        &[&format!("{COPY}=2"), "a=3"],
    );
    check("backup and new", &["1 file 0/a:1 0/a~:1 0/a:1", "2 file - 0/a:2 -"], &["a=2", "a~=1"]);
}

#[test]
fn moves_of_directories_into_each_other() {
    check(
        "into its own child of the other side",
        &["1 dir 0/a:0 0/a:0 2/a:0", "2 dir 0/b:0 1/b:0 0/b:0"],
        &["b/", "b/a/"],
    );
    check(
        "a longer way round",
        &["1 dir 0/a:0 0/a:0 3/a:0", "2 dir 0/b:0 1/b:0 0/b:0", "3 dir 2/c:0 2/c:0 2/c:0"],
        &["b/", "b/c/", "b/c/a/"],
    );
    check(
        "a child pulled out first",
        &["1 dir 0/a:0 0/a:0 2/a:0", "2 dir 1/b:0 1/b:0 0/b:0"],
        &["b/", "b/a/"],
    );
}

#[test]
fn deletions_of_directories() {
    check("against a move out of it", &["1 dir 0/d:0 0/d:0 x", "2 file 1/f:1 0/f:1 x"], &["f=1"]);
    check(
        "with a move out of it there",
        &["1 dir 0/d:0 - 0/d:0", "2 file 1/f:1 - 0/f:1"],
        &["f=1"],
    );
    check(
        "against a creation deep inside",
        &[
            "1 dir 0/d:0 - 0/d:0",
            "2 dir 1/e:0 - 1/e:0",
            "3 dir 2/f:0 - 2/f:0",
            "4 file - - 3/n:1",
            "5 file 2/o:2 - 2/o:2",
        ],
        &["d/", "d/e/", "d/e/f/", "d/e/f/n=1"],
    );
    let nested = ["1 dir 0/d:0 - 0/d:0", "2 dir 1/e:0 - 1/e:0", "3 file 2/f:1 - 2/f:1"];
    check("nested", &nested, &[]);
    assert_eq!(first_plan(&nested).batches.len(), 3, "children before parents");
    check(
        "nested there",
        &["1 dir 0/d:0 0/d:0 x", "2 dir 1/e:0 1/e:0 x", "3 file 2/f:1 2/f:1 x"],
        &[],
    );
    check(
        "against a move of the directory: all of it survives",
        &["1 dir 0/d:0 0/m:0 x", "2 file 1/f:1 1/f:1 x"],
        &["m/", "m/f=1"],
    );
    check(
        "against a move of the directory there",
        &["1 dir 0/d:0 - 0/m:0", "2 file 1/f:1 - 1/f:1"],
        &["m/", "m/f=1"],
    );
    check(
        "against another directory of that name",
        &["1 dir 0/d:0 0/d:0 x", "2 file 1/n:1 1/n:2 x", "3 dir - - 0/d:0", "4 file - - 3/m:3"],
        &["d/", "d/m=3", "d/n=2"],
    );
}

#[test]
fn names_that_are_taken() {
    check(
        "moved onto a name that is taken",
        &["1 file 0/b:1 0/a:1 0/b:1", "2 file - - 0/a:2"],
        &[&format!("{COPY}=1"), "a=2"],
    );
    check(
        "a directory that loses is moved whole",
        &["1 dir - 0/a:0 -", "2 file - 1/x:1 -", "3 file - - 0/a:2"],
        &[&format!("{COPY}/"), &format!("{COPY}/x=1"), "a=2"],
    );
    check(
        "a file against a directory",
        &["1 file - 0/a:1 -", "2 dir - - 0/a:0", "3 file - - 2/x:2"],
        &[&format!("{COPY}=1"), "a/", "a/x=2"],
    );
    let mut world = view(&["1 file 0/a:1 0/a:2 0/a:3"]);
    world.server().insert(remote(2, Kind::File, at(0, COPY), 4));
    run(&mut world, &policy(1));
    let second = "a (conflict 2026-05-04 device1 2)=2".to_owned();
    assert_eq!(listing(&world), [second, format!("{COPY}=4"), "a=3".to_owned()]);
}

#[test]
fn another_kind_under_one_name() {
    check(
        "a file becomes a directory, under its id",
        &["1 file 0/a:1 0/a:0 0/a:1", "2 file - 1/x:2 -"],
        &["a/", "a/x=2"],
    );
    check(
        "a file becomes a directory, under a new id",
        &["1 file 0/a:1 - 0/a:1", "2 dir - 0/a:0 -", "3 file - 2/x:2 -"],
        &["a/", "a/x=2"],
    );
    check(
        "and was edited there",
        &["1 file 0/a:1 - 0/a:3", "2 dir - 0/a:0 -", "3 file - 2/x:2 -"],
        &[&format!("{COPY}/"), &format!("{COPY}/x=2"), "a=3"],
    );
    check(
        "a directory becomes a file there",
        &["1 dir 0/a:0 0/a:0 x", "2 file 1/x:1 1/x:1 x", "3 file - - 0/a:2"],
        &["a=2"],
    );
}

#[test]
fn parked_leftovers_find_their_way() {
    check("to the remote place", &["1 file 0/a:1 P/1:1 0/a:1"], &["a=1"]);
    check(
        "and never as a move",
        &["1 file 0/a:1 P/1:1 0/b:1", "2 file - - 0/a:2"],
        &["a=2", "b=1"],
    );
    check("edited, deleted there", &["1 file 0/a:1 P/1:2 x"], &["a=2"]);
    check("unchanged, deleted there", &["1 file 0/a:1 P/1:1 x"], &[]);
    check(
        "its place taken for good",
        &["1 file 0/a:1 P/1:1 0/a:1", "2 file - 0/a:2 -"],
        &[&format!("{COPY}=2"), "a=1"],
    );
    check(
        "forgotten by the server",
        &["1 dir 0/d:0 P/1:0 -", "2 file 1/x:1 1/x:1 -"],
        &["d/", "d/x=1"],
    );
}

#[test]
fn unhashed_bytes_are_left_alone() {
    for rows in [
        &["1 file - 0/a:? -"][..],
        &["1 file 0/a:1 0/a:? 0/a:2"],
        &["1 file 0/a:1 0/a:? x"],
        &["1 file 0/a:1 0/b:? 0/a:1"],
        &["1 dir 0/d:0 0/d:0 x", "2 file - 1/a:? -"],
    ] {
        let planned = first_plan(rows);
        assert_eq!(planned.batches, Vec::<Vec<Step>>::new(), "{rows:?}");
        assert!(!planned.waiting.is_empty());
    }
    let planned = first_plan(&["1 file - 0/a:? -", "2 file - - 0/a:2"]);
    assert_eq!(planned.batches, Vec::<Vec<Step>>::new());
    assert_eq!(planned.waiting, [id(1), id(2)]);
}

#[test]
fn an_absence_that_is_not_settled_deletes_nothing() {
    let unsettled = Policy { absences_settled: false, ..policy(1) };
    let world = view(&["1 file 0/a:1 - 0/a:1", "2 file 0/b:1 - 0/b:2", "3 file - - 0/c:1"]);
    let planned = plan(&world, &world.differing(), &unsettled);
    assert_eq!(planned.waiting, [id(1), id(2)]);
    assert_eq!(planned.batches.concat().len(), 1, "what was never here is made");
}

#[test]
fn a_hostile_tree_is_left_alone() {
    let rows = [
        "1 dir - - 2/a:0",
        "2 dir - - 1/b:0",
        "3 dir - - 3/self:0",
        "4 file - - 99/orphan:1",
        "5 file - - 0/f:2",
        "6 file - - 5/in-a-file:3",
        "7 file - - P/parked:4",
    ];
    let mut world = view(&rows);
    run(&mut world, &policy(1));
    assert_eq!(listing(&world), ["f=2"]);
}

#[test]
fn independent_changes_are_independent_groups() {
    let planned = first_plan(&[
        "1 dir - 0/d:0 -",
        "2 file - 1/a:1 -",
        "3 file - 1/b:2 -",
        "4 file - 0/c:3 -",
    ]);
    assert_eq!(groups(&planned).len(), 4);
    assert_eq!(planned.batches.len(), 2, "what is in a new directory comes after it");
}

#[test]
fn many_new_files_in_a_deleted_directory_fit_groups() {
    let mut world = view(&["1 dir 0/d:0 0/d:0 x"]);
    for number in 0..600_u16 {
        let mut bytes = [1; 16];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        let position = at(1, &format!("f{number}"));
        world.insert_local(LocalNode {
            entry: EntryId::from_bytes(bytes),
            position,
            kind: Kind::File,
            content: Some(content(number)),
        });
    }
    let planned = plan_all(&world, &policy(1));
    assert!(groups(&planned).iter().all(|group| group.changes.len() <= 512));
    run(&mut world, &policy(1));
    assert_eq!(world.local_nodes().count(), 601);
}
