//! S13: names that collide by case or normalisation never overwrite each other.

use super::super::device::SimDevice;
use super::super::world::World;
use super::super::writer::Tree;
use client::fs::memory::user::UserEntry;
use std::collections::{BTreeMap, BTreeSet};

/// Checks what a disk that folds names shows: all that does not collide, and of what does, whatever
/// it shows under a name of its own; the rest is listed as issues. That no value is lost is S1, and
/// that all is there once the names are told apart is S4.
pub fn s13_colliding_names(world: &World) {
    let Some(plain) = world.plain_devices().next() else { return };
    let all = plain.fs.user().tree();
    for device in world.devices.iter().filter(|device| device.folds) {
        let shown = device.fs.user().tree();
        let hidden = hidden(&all, &shown);
        let missing: Vec<&String> = all.keys().filter(|path| !shown.contains_key(*path)).collect();
        for path in &missing {
            if !hidden.contains(*path) {
                violation(world, device, &format!("{path} is missing and collides with nothing"));
            }
        }
        for (path, entry) in shown.iter().filter(|(path, _)| !hidden.contains(*path)) {
            match all.get(path) {
                Some(there) if there == entry => {}
                Some(_) => violation(world, device, &format!("{path} differs")),
                // It waits where it was, because its new name is taken.
                None if missing.iter().any(|path| is_same(&all, path, entry)) => {}
                None => violation(world, device, &format!("{path} is on no other device")),
            }
        }
        let clashes = missing.iter().any(|path| is_top(&shown, path));
        let issues = device.handle().map(|handle| handle.summary().issues).unwrap_or_default();
        if clashes && issues.is_empty() {
            violation(world, device, &format!("of {missing:?} nothing is listed as an issue"));
        }
    }
}

/// What a disk that folds names need not show: what collides, and whatever has its place where
/// something stands that cannot go to its own.
fn hidden(all: &Tree, shown: &Tree) -> BTreeSet<String> {
    let mut hidden = below(all, &clashing(all));
    loop {
        let stands_in_for_hidden = |path: &str, entry: &UserEntry| {
            all.get(path) != Some(entry) && hidden.iter().any(|it| is_same(all, it, entry))
        };
        let held = shown.iter().filter(|(path, entry)| stands_in_for_hidden(path, entry));
        let held: BTreeSet<String> = held.map(|(path, _)| path.clone()).collect();
        let before = hidden.len();
        hidden.extend(below(all, &held));
        if hidden.len() == before {
            return hidden;
        }
    }
}

fn violation(world: &World, device: &SimDevice, text: &str) {
    world.ledger.violation(format!("S13: device {}: {text}", device.number));
}

fn is_same(all: &Tree, path: &str, entry: &UserEntry) -> bool {
    match (all.get(path), entry) {
        // What is in a directory is looked at by itself.
        (Some(UserEntry::Directory(_)), UserEntry::Directory(_)) => true,
        (there, entry) => there == Some(entry),
    }
}

fn is_top(shown: &Tree, path: &str) -> bool {
    path.rsplit_once('/').is_none_or(|(parent, _)| shown.contains_key(parent))
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

    #[test]
    fn siblings_collide_and_nobody_else() {
        let paths = ["Foo", "foo", "foo/x", "bar", "d/Bar", "caf\u{e9}", "cafe\u{301}"];
        let entry = |path: &&str| ((*path).to_owned(), UserEntry::Directory(0o755));
        let tree: Tree = paths.iter().map(entry).collect();
        let found = clashing(&tree);
        assert_eq!(found, ["Foo", "foo", "caf\u{e9}", "cafe\u{301}"].map(str::to_owned).into());
        let hidden = below(&tree, &found);
        assert!(hidden.contains("foo/x") && !hidden.contains("d/Bar") && hidden.len() == 5);
    }
}
