//! The guard against mass deletion (S14): what is held back, and what is none.

#![allow(clippy::unwrap_used, reason = "a test may fail by unwrapping")]

mod world;

use client_core::planner::{Halt, Loss, Policy, Step, plan};
use world::table::view;
use world::*;

fn many(local: &str) -> Vec<String> {
    (1..=30).map(|n| format!("{n} file 0/f{n}:1 {}", local.replace('#', &n.to_string()))).collect()
}

#[test]
fn s14_mass_deletions_wait() {
    let guarded = Policy { guard_entries: 20, ..policy(1) };
    for (columns, from_remote) in [("- 0/f#:1", false), ("0/f#:1 x", true)] {
        let rows = many(columns);
        let rows: Vec<_> = rows.iter().map(String::as_str).chain(["99 file - 0/new:5 -"]).collect();
        let world = view(&rows);
        let planned = plan(&world, &world.differing(), &guarded);
        let halt = planned.halt.clone().unwrap();
        assert_eq!((halt.deletions.len(), halt.held, halt.from_remote), (30, 30, from_remote));
        assert_eq!(planned.batches.concat().len(), 1, "the rest goes on");
        assert_eq!(planned.waiting.len(), 30);
        let confirmed = Policy { agreed: halt.deletions, ..guarded.clone() };
        assert_eq!(plan(&world, &world.differing(), &confirmed).halt, None);
    }
    let rows = many("- 0/f#:1");
    let rows: Vec<_> = rows.iter().take(15).map(String::as_str).collect();
    let world = view(&rows);
    assert_eq!(plan(&world, &world.differing(), &guarded).halt, None, "few are no mass");
}

/// A person has seen a number: what is deleted after that is none of it.
#[test]
fn s14_consent_to_some_deletions_is_none_to_others() {
    let guarded = Policy { guard_entries: 20, ..policy(1) };
    for columns in ["- 0/f#:1", "0/f#:1 x"] {
        let rows = many(columns);
        let (seen, later) = rows.split_at(8);
        let seen: Vec<_> = seen.iter().map(String::as_str).collect();
        let agreed = view(&seen).differing();
        let all: Vec<_> = seen.into_iter().chain(later.iter().map(String::as_str)).collect();
        let world = view(&all);
        let planned = plan(&world, &world.differing(), &Policy { agreed, ..guarded.clone() });
        assert_eq!(planned.halt.unwrap().deletions.len(), 22);
        assert_eq!(planned.batches.concat().len(), 8, "what was agreed to goes");
    }
}

/// Another device deletes half of them while these wait: the rest is still all that there is.
#[test]
fn s14_what_is_gone_on_both_sides_makes_no_mass_smaller() {
    let mut rows = many("- 0/f#:1");
    rows.extend((31..=70).map(|n| format!("{n} file 0/f{n}:1 - x")));
    let halt = halt_of(&rows).expect("they wait");
    assert_eq!((halt.deletions.len(), halt.held), (30, 30));
}

/// A deletion that was carried out here and brought back by another device before it was settled.
#[test]
fn s14_what_comes_back_makes_no_mass_smaller() {
    let mut rows: Vec<_> = (1..=30).map(|n| format!("{n} file 0/f{n}:1 0/f{n}:1 x")).collect();
    rows.extend((31..=60).map(|n| format!("{n} file 0/f{n}:1 - 0/f{n}:2")));
    let halt = halt_of(&rows).expect("they wait");
    assert_eq!((halt.deletions.len(), halt.held, halt.from_remote), (30, 30, true));
}

/// What waits for a person does not go by itself because other files have come.
#[test]
fn s14_what_came_since_a_person_was_asked_makes_no_mass_smaller() {
    let mut rows = many("- 0/f#:1");
    rows.extend((31..=70).map(|n| format!("{n} file 0/f{n}:1 0/f{n}:1 0/f{n}:1")));
    let rows: Vec<_> = rows.iter().map(String::as_str).collect();
    let world = view(&rows);
    let guarded = Policy { guard_entries: 20, ..policy(1) };
    assert_eq!(plan(&world, &world.differing(), &guarded).halt, None);
    let asked = Policy { held_when_asked: Some(30), ..guarded };
    let halt = plan(&world, &world.differing(), &asked).halt.expect("they wait");
    assert_eq!((halt.deletions.len(), halt.held), (30, 30));
}

#[test]
fn s14_slices_of_a_mass_count_together() {
    let rows = many("- 0/f#:1");
    let (first, second) = rows.split_at(12);
    let kept: Vec<_> = (1..=30).map(|n| format!("{n} file 0/f{n}:1 0/f{n}:1 0/f{n}:1")).collect();
    let of = |gone: &[String], kept: &[String], lately: &[Loss]| {
        let rows: Vec<_> = gone.iter().chain(kept).map(String::as_str).collect();
        let world = view(&rows);
        let guarded = Policy { guard_entries: 20, lately: lately.to_vec(), ..policy(1) };
        plan(&world, &world.differing(), &guarded)
    };
    let sliced = of(first, &kept[12..], &[]);
    assert_eq!((sliced.halt, sliced.losses.len()), (None, 12));
    let halt = of(second, &[], &sliced.losses).halt.expect("they wait");
    assert_eq!((halt.deletions.len(), halt.held), (18, 18));
    assert_eq!(of(second, &[], &[]).halt, None, "eighteen alone are no mass");
    let others: Vec<_> = sliced.losses.iter().map(|l| Loss { from_remote: true, ..*l }).collect();
    assert_eq!(of(second, &[], &others).halt, None, "each direction counts for itself");
    let again = of(first, &kept[12..], &sliced.losses);
    assert_eq!((again.halt, again.losses.len()), (None, 12), "nothing counts twice");
}

/// A repository whose loose objects were deleted, by this device or by another, and what of its
/// pack the deleting side has. Ids: 1 and 2 directories of loose objects, 3 to 42 objects, from 50
/// on the rest.
fn repacked(from_remote: bool, pack: &[&str]) -> Vec<String> {
    let gone = |base: &str| match from_remote {
        true => format!("{base} {base} x"),
        false => format!("{base} - {base}"),
    };
    let kept = |base: &str| format!("{base} {base} {base}");
    let mut rows = vec![
        format!("50 dir {}", kept("0/.git:0")),
        format!("51 dir {}", kept("50/objects:0")),
        format!("52 dir {}", kept("51/pack:0")),
        format!("1 dir {}", gone("51/ab:0")),
        format!("2 dir {}", gone("51/9f:0")),
    ];
    for n in 3..=42 {
        rows.push(format!("{n} file {}", gone(&format!("{}/{n:038x}:7", 1 + n % 2))));
    }
    for (n, name) in (60..).zip(pack) {
        let columns = if from_remote { "- -" } else { "-" };
        let rest = if from_remote { "" } else { " -" };
        rows.push(format!("{n} file {columns} 52/{name}:8{rest}"));
    }
    rows
}

fn halt_of(rows: &[String]) -> Option<Halt> {
    let guarded = Policy { guard_entries: 20, ..policy(1) };
    let rows: Vec<_> = rows.iter().map(String::as_str).collect();
    let world = view(&rows);
    plan(&world, &world.differing(), &guarded).halt
}

#[test]
fn s14_a_git_gc_is_no_mass_deletion() {
    for from_remote in [false, true] {
        let packed = repacked(from_remote, &["pack-1.pack", "pack-1.idx"]);
        assert_eq!(halt_of(&packed), None, "from the server: {from_remote}");
    }
}

/// A disk without room for the pack keeps what it has.
#[test]
fn s14_packed_objects_go_only_when_their_pack_is_here() {
    let guarded = Policy { guard_entries: 20, ..policy(1) };
    let rows = repacked(true, &["pack-1.pack", "pack-1.idx"]);
    let deletions = |rows: &[String]| {
        let rows: Vec<_> = rows.iter().map(String::as_str).collect();
        let world = view(&rows);
        let planned = plan(&world, &world.differing(), &guarded);
        assert_eq!(planned.halt, None);
        let steps = planned.batches.iter().flatten();
        steps.filter(|step| matches!(step, Step::Delete { .. })).count()
    };
    assert_eq!(deletions(&rows), 0, "the pack is still at the server");
    let arrived: Vec<_> = rows.iter().map(|row| row.replace("file - - 52", "file - 52")).collect();
    let arrived: Vec<_> = arrived
        .iter()
        .map(|row| match row.split_once("file - 52/") {
            Some((number, place)) => format!("{number}file - 52/{place} 52/{place}"),
            None => row.clone(),
        })
        .collect();
    assert_eq!(deletions(&arrived), 42);
}

/// Few or many: if the bundle can never be read, nobody else has lost anything.
#[test]
fn what_a_bundle_takes_over_is_not_deleted_elsewhere_before_it_is_read() {
    let mut rows = vec!["1 dir 0/p:0 - 0/p:0".to_owned()];
    for n in 2..5 {
        rows.push(format!("{n} file 1/f{n}:7 - 1/f{n}:7"));
    }
    rows.push("9 file - 0/p:? -".to_owned());
    let rows: Vec<_> = rows.iter().map(String::as_str).collect();
    let world = view(&rows);
    let guarded = Policy { guard_entries: 20, ..policy(1) };
    let planned = plan(&world, &world.differing(), &guarded);
    assert_eq!((planned.halt, planned.batches.concat()), (None, Vec::new()));
}

#[test]
fn s14_loose_objects_that_no_pack_holds_count() {
    for from_remote in [false, true] {
        for pack in [&[][..], &["pack-1.idx"], &["pack-1.pack"], &["pack-1.pack", "pack-2.idx"]] {
            let halt = halt_of(&repacked(from_remote, pack)).expect("they wait");
            assert_eq!((halt.deletions.len(), halt.from_remote), (42, from_remote), "{pack:?}");
        }
    }
}

#[test]
fn s14_what_goes_besides_packed_objects_counts_by_itself() {
    let mut rows = repacked(false, &["pack-1.pack", "pack-1.idx"]);
    rows.extend((100..=130).map(|n| format!("{n} file 0/f{n}:1 - 0/f{n}:1")));
    let halt = halt_of(&rows).expect("they wait");
    assert_eq!(
        (halt.deletions.len(), halt.held),
        (31, 34),
        "the packed ones count on neither side"
    );
}

#[test]
fn s14_files_that_become_empty_count() {
    let guarded = Policy { guard_entries: 20, empty_content: Some(content(9).tag), ..policy(1) };
    for columns in ["0/f#:9 0/f#:1", "0/f#:1 0/f#:9"] {
        let rows = many(columns);
        let rows: Vec<_> = rows.iter().map(String::as_str).collect();
        let world = view(&rows);
        let planned = plan(&world, &world.differing(), &guarded);
        assert_eq!(planned.halt.unwrap().deletions.len(), 30);
        assert!(planned.batches.is_empty());
    }
}
