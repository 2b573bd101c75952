//! The planner's rules for names that this disk cannot hold, or not beside others.

#![allow(clippy::unwrap_used, reason = "a test may fail by unwrapping")]

mod world;

use client_core::planner::{IssueKind, Policy};
use world::table::{listing, view};
use world::*;

#[test]
fn s13_names_that_clash_here_are_issues() {
    let folding = Policy { folds_names: true, ..policy(1) };
    let mut world =
        view(&["1 file 0/Foo:1 0/Foo:1 0/Foo:1", "2 file - - 0/foo:2", "3 file - - 0/x:3"]);
    world.folds_names = true;
    let planned = plan_all(&world, &folding);
    assert_eq!(planned.issues.len(), 1);
    assert_eq!(planned.issues[0].entry, id(2));
    assert_eq!(planned.issues[0].kind, IssueKind::NameClash { with: id(1) });
    run(&mut world, &folding);
    assert_eq!(listing(&world), ["Foo=1", "x=3"]);

    // Who cannot leave for a name that clashes keeps its place from whoever is to have it.
    let mut world =
        view(&["1 file 0/Foo:1 0/Foo:1 0/Foo:1", "2 file 0/x:2 0/x:2 0/foo:2", "3 dir - - 0/x:0"]);
    world.folds_names = true;
    let issues = plan_all(&world, &folding).issues;
    let listed: Vec<_> = issues.into_iter().map(|issue| (issue.entry, issue.kind)).collect();
    let clash = IssueKind::NameClash { with: id(1) };
    assert_eq!(listed, [(id(2), clash), (id(3), IssueKind::PlaceHeld { by: id(2) })]);
    run(&mut world, &folding);
    assert_eq!(listing(&world), ["Foo=1", "x=2"]);

    let mut world = view(&["1 file - - 0/caf\u{e9}:1", "2 file - - 0/cafe\u{301}:2"]);
    world.folds_names = true;
    run(&mut world, &folding);
    assert_eq!(listing(&world), ["caf\u{e9}=1"], "the second of two is not made");

    let mut world = view(&["1 file 0/Foo:1 0/Foo:1 0/foo:1"]);
    world.folds_names = true;
    run(&mut world, &folding);
    assert_eq!(listing(&world), ["foo=1"], "a change of case alone is a move");
}

#[test]
fn s13_who_waits_behind_a_clash_is_listed_however_it_waits() {
    let folding = Policy { folds_names: true, ..policy(1) };
    let check = |rows: &[&str], clash: u8, behind: (u8, u8)| {
        let mut world = view(&[&["1 file 0/Foo:1 0/Foo:1 0/Foo:1"], rows].concat());
        world.folds_names = true;
        let before = listing(&world);
        let issues = plan_all(&world, &folding).issues;
        let listed: Vec<_> = issues.into_iter().map(|issue| (issue.entry, issue.kind)).collect();
        let clash = (id(clash), IssueKind::NameClash { with: id(1) });
        assert_eq!(listed, [clash, (id(behind.0), IssueKind::PlaceHeld { by: id(behind.1) })]);
        run(&mut world, &folding);
        assert_eq!(listing(&world), before, "{rows:?}");
    };
    // A directory that cannot be removed for what cannot leave it.
    check(&["2 dir 0/d:0 0/d:0 x", "3 file 2/x:3 2/x:3 0/foo:3", "4 file - - 0/d:4"], 3, (4, 2));
    // A file that cannot go to a directory that cannot be made.
    check(&["2 dir - - 0/foo:0", "3 file 0/x:3 0/x:3 2/x:3", "4 file - - 0/x:4"], 2, (4, 3));
}

#[test]
fn s13_an_edit_reaches_the_server_though_its_file_cannot_take_its_new_name() {
    let folding = Policy { folds_names: true, ..policy(1) };
    let mut world = view(&["1 file 0/Foo:1 0/Foo:1 0/Foo:1", "2 file 0/x:2 0/x:3 0/foo:4"]);
    world.folds_names = true;
    run(&mut world, &folding);
    assert_eq!(listing(&world), ["Foo=1", "foo (conflict 2026-05-04 device1)=3"]);
    let issues = plan_all(&world, &folding).issues;
    let listed: Vec<_> = issues.into_iter().map(|issue| (issue.entry, issue.kind)).collect();
    assert_eq!(listed, [(id(2), IssueKind::NameClash { with: id(1) })]);
}

#[test]
fn names_and_paths_that_cannot_be_held_are_issues() {
    let windows = Policy { platform: common::name::Platform::Windows, ..policy(1) };
    let world = view(&["1 file - - 0/aux.c:1", "2 file - - 0/b:2"]);
    let planned = plan_all(&world, &windows);
    assert_eq!(planned.issues[0].kind, IssueKind::NameNotHeld);
    assert_eq!(planned.batches.concat().len(), 1);

    let long = "x".repeat(250);
    let rows: Vec<_> = (1..=20_u8).map(|n| format!("{n} dir - - {}/{long}:0", n - 1)).collect();
    let rows: Vec<_> = rows.iter().map(String::as_str).collect();
    let mut world = view(&rows);
    run(&mut world, &policy(1));
    let planned = plan_all(&world, &policy(1));
    assert_eq!(planned.issues[0].kind, IssueKind::TooDeep);
    assert_eq!(world.local_nodes().count(), 16, "4,096 bytes hold 16 names of 250");
}
