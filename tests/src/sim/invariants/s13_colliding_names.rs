//! S13: names that collide by case or normalisation never overwrite each other.

use super::super::bundles::shown;
use super::super::world::World;
use super::super::writer::Tree;
use client::fs::memory::user::UserEntry;
use std::collections::{BTreeMap, BTreeSet};

/// Checks what a disk that folds names shows: all that does not collide, and of what does, whatever
/// it shows is what others have, there or where it cannot go; all the rest is listed as issues. That
/// no value is lost is S1, and that all is there once the names are told apart is S4.
pub fn s13_colliding_names(world: &World) {
    let Some(plain) = world.plain_devices().next() else { return };
    let all = shown(&plain.fs.user());
    for device in world.devices.iter().filter(|device| device.folds) {
        let shown = shown(&device.fs.user());
        let issues = device.handle().map(|handle| handle.summary().issues).unwrap_or_default();
        let listed = issues.into_iter().map(|issue| issue.path).collect();
        for text in broken(&all, &shown, &listed) {
            world.ledger.violation(format!("S13: device {}: {text}", device.number));
        }
    }
}

/// What is wrong with what a disk that folds names shows, against `all` that others have.
fn broken(all: &Tree, shown: &Tree, listed: &BTreeSet<String>) -> Vec<String> {
    let hidden = hidden(all, shown, listed);
    let missing = missing(all, shown, &hidden, listed);
    let other = other(all, shown, &hidden);
    missing.into_iter().chain(other).chain(stale(all, shown, listed)).collect()
}

/// Complaints about what is not shown.
fn missing(
    all: &Tree,
    shown: &Tree,
    hidden: &BTreeSet<String>,
    listed: &BTreeSet<String>,
) -> Vec<String> {
    let complaint = |path: &String| {
        if !hidden.contains(path) {
            Some(format!("{path} is missing and collides with nothing"))
        } else if is_top(all, shown, listed, path) && !listed.contains(path) {
            Some(format!("{path} is missing and not listed as an issue"))
        } else {
            None
        }
    };
    all.keys().filter(|path| !shown.contains_key(*path)).filter_map(complaint).collect()
}

/// Complaints about what is shown and is not what others have there.
fn other(all: &Tree, shown: &Tree, hidden: &BTreeSet<String>) -> Vec<String> {
    let absent: Vec<&String> =
        all.keys().filter(|path| shown.get(*path) != all.get(*path)).collect();
    let differs = |(path, entry): &(&String, &UserEntry)| all.get(*path) != Some(*entry);
    let others: Tree =
        shown.iter().filter(differs).map(|(path, it)| (path.clone(), it.clone())).collect();
    let complaint = |path: &String| {
        // It waits where it was, because its new name is taken; or it is there for what waits in it.
        let mut held = below(&others, &BTreeSet::from([path.clone()])).into_iter();
        let waits = held.any(|it| absent.iter().any(|path| is_same(all, path, &others[&it])));
        match all.contains_key(path) {
            true if waits && hidden.contains(path) => None,
            true => Some(format!("{path} differs")),
            false if waits => None,
            false => Some(format!("{path} is on no other device")),
        }
    };
    others.keys().filter_map(complaint).collect()
}

/// Complaints about what is listed and has no reason to be.
fn stale(all: &Tree, shown: &Tree, listed: &BTreeSet<String>) -> Vec<String> {
    let complaint = |path: &String| match all.get(path) {
        None => Some(format!("{path} is listed as an issue and nobody has it")),
        // A directory may be there and be another one.
        Some(UserEntry::Directory(_)) => None,
        there if shown.get(path) != there => None,
        // So may a file whose like waits there for a place of its own.
        Some(entry) if all.iter().any(|(at, it)| it == entry && shown.get(at) != Some(it)) => None,
        Some(_) => Some(format!("{path} is there and listed as an issue")),
    };
    // An issue without a path is the whole folder's.
    listed.iter().filter(|path| !path.is_empty()).filter_map(complaint).collect()
}

/// What a disk that folds names need not show: what collides with a sibling, or with something that
/// stands where it was because it cannot go to its own place. That may be a directory that looks like
/// the one that belongs there: it holds what waits, and the other is listed.
fn hidden(all: &Tree, shown: &Tree, listed: &BTreeSet<String>) -> BTreeSet<String> {
    let mut hidden = below(all, &clashing(all));
    loop {
        // A directory that waits may be empty: then it is only listed.
        let is_empty_one = |path: &String, it: &String| {
            listed.contains(path)
                && !shown.contains_key(it)
                && below(all, &[it.clone()].into()).len() == 1
        };
        let stands_in_for_hidden = |path: &String, entry: &UserEntry| {
            let is_directory = matches!(entry, UserEntry::Directory(_));
            let is_other = all.get(path) != Some(entry);
            let mut like_it = hidden.iter().filter(|it| is_same(all, it, entry));
            like_it.any(|it| is_other || (is_directory && is_empty_one(path, it)))
        };
        let held = shown.iter().filter(|(path, entry)| stands_in_for_hidden(path, entry));
        let held: BTreeSet<&str> = held.flat_map(|(path, _)| self_and_above(path)).collect();
        let is_another = |path: &str| all.get(path) != shown.get(path) || listed.contains(path);
        let held = held.into_iter().filter(|path| is_another(path));
        let held: BTreeSet<String> = held.map(common::name::fold).collect();
        let barred = all.keys().filter(|path| held.contains(&common::name::fold(path)));
        let barred = barred.cloned().collect();
        let before = hidden.len();
        hidden.extend(below(all, &barred));
        if hidden.len() == before {
            return hidden;
        }
    }
}

/// A path and those of the directories above it.
fn self_and_above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(parent, _)| parent))
}

fn is_same(all: &Tree, path: &str, entry: &UserEntry) -> bool {
    match (all.get(path), entry) {
        // What is in a directory is looked at by itself.
        (Some(UserEntry::Directory(_)), UserEntry::Directory(_)) => true,
        (there, entry) => there == Some(entry),
    }
}

/// Whether the directory that something belongs in is there.
fn is_top(all: &Tree, shown: &Tree, listed: &BTreeSet<String>, path: &str) -> bool {
    let is_there = |parent| shown.get(parent) == all.get(parent) && !listed.contains(parent);
    path.rsplit_once('/').is_none_or(|(parent, _)| is_there(parent))
}

/// Paths whose name collides with that of a sibling.
#[must_use]
pub fn clashing(tree: &Tree) -> BTreeSet<String> {
    let mut names: BTreeMap<(&str, String), Vec<&String>> = BTreeMap::new();
    for path in tree.keys() {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        names.entry((parent, common::name::fold(name))).or_default().push(path);
    }
    let groups = names.into_values().filter(|paths| paths.len() > 1);
    groups.flatten().cloned().collect()
}

/// These paths and all below them.
fn below(tree: &Tree, tops: &BTreeSet<String>) -> BTreeSet<String> {
    let is_below = |path: &str, top: &String| {
        path.strip_prefix(top.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    tree.keys().filter(|path| tops.iter().any(|top| is_below(path, top))).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: &[&str]) -> Tree {
        let entry = |path: &str| match path.split_once('=') {
            Some((path, bytes)) => (path.to_owned(), UserEntry::File(bytes.into(), 0o644)),
            None => (path.to_owned(), UserEntry::Directory(0o755)),
        };
        paths.iter().map(|path| entry(path)).collect()
    }

    fn check(all: &[&str], shown: &[&str], listed: &[&str], expected: &[&str]) {
        let listed = listed.iter().map(|path| (*path).to_owned()).collect();
        assert_eq!(broken(&tree(all), &tree(shown), &listed), expected, "{all:?} {shown:?}");
    }

    #[test]
    fn siblings_collide_and_nobody_else() {
        let all = tree(&["Foo", "foo", "foo/x", "bar", "d/Bar", "caf\u{e9}", "cafe\u{301}"]);
        let found = clashing(&all);
        assert_eq!(found, ["Foo", "foo", "caf\u{e9}", "cafe\u{301}"].map(str::to_owned).into());
        let hidden = below(&all, &found);
        assert!(hidden.contains("foo/x") && !hidden.contains("d/Bar") && hidden.len() == 5);
    }

    #[test]
    fn one_of_two_is_shown_and_the_other_listed() {
        let all = ["Foo=1", "foo=2", "x=3"];
        check(&all, &["Foo=1", "x=3"], &["foo"], &[]);
        check(&all, &["Foo=1", "x=3"], &[], &["foo is missing and not listed as an issue"]);
        check(&all, &["Foo=1"], &["foo", "x"], &["x is missing and collides with nothing"]);
        check(&all, &["Foo=9", "x=3"], &["foo"], &["Foo differs"]);
        check(&all, &["Foo=1", "x=3", "y=4"], &["foo"], &["y is on no other device"]);
        let listed = ["foo", "x", "y"];
        let stale =
            ["x is there and listed as an issue", "y is listed as an issue and nobody has it"];
        check(&all, &["Foo=1", "x=3"], &listed, &stale);
    }

    #[test]
    fn what_cannot_go_to_its_place_waits_where_it_was() {
        let all = ["Foo=1", "foo=2", "x=3"];
        let x = ["x differs"];
        check(&all, &["Foo=1", "x=2"], &["foo", "x"], &[]);
        check(&all, &["Foo=1", "x=4"], &["foo", "x"], &x);
        // What stands at x may be the one that waits for its place at foo.
        check(&["Foo=1", "foo=2", "x=2"], &["Foo=1", "x=2"], &["foo", "x"], &[]);
        let all = ["d", "d/Foo=1", "d/foo", "FOO=2"];
        check(&all, &["d", "d/Foo=1", "foo"], &["d/foo", "FOO"], &[]);
        let all = ["Foo=1", "foo=2", "d=3"];
        check(&all, &["Foo=1", "d", "d/x=2"], &["foo", "d"], &[]);
        // `d` went into what collides, and is in the way of another of its name.
        let all = ["Foo=1", "d", "d/in=2", "foo", "foo/d", "foo/d/x=3"];
        check(&all, &["Foo=1", "d", "d/x=3"], &["foo", "d"], &[]);
        // An empty directory waits at `d` for its place at `foo`, which is taken.
        let all_there = ["Foo=1", "d", "d/in=2", "foo"];
        let inside = ["d/in is missing and collides with nothing"];
        check(&all_there, &["Foo=1", "d"], &["foo", "d"], &[]);
        check(&all_there, &["Foo=1", "d"], &["foo"], &inside);
        check(&["d", "d/in=2"], &["d"], &["d"], &inside);
        check(&all, &["Foo=1", "d", "d/x=3"], &["foo"], &inside);
        check(&all, &["Foo=1", "d"], &["foo", "d"], &inside);
        let all = ["Foo=1", "foo=2", "d=3"];
        let alone = ["e is on no other device"];
        check(&all, &["Foo=1", "d", "d/x=2", "e"], &["foo", "d"], &alone);
    }
}
