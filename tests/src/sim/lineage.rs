//! Which names users gave to which values: the measure of S3.
//!
//! Owns the book of names and of what became of what. A value belongs together with what it replaced
//! at a path of its device, and with whatever else stood there since the devices last agreed: each
//! may be, to an engine, an edit of the same file, which somebody else renames meanwhile. So a value
//! may bear every name that a user, or a power cut, gave to one of those. All empty files are one value
//! here: one of them may be renamed while another device fills it. A file that took the place of a
//! directory may bear any name that was given to a directory meanwhile. A new file belongs together
//! with the last that a user took away from a path of the same last name: the directory may have been
//! renamed meanwhile. What came to a path that took another spelling's place, as on a disk that folds
//! names, took the place of what stood there. It must not know how a file was written.

use super::ledger::{Print, print};
use super::writer::Tree;
use client::fs::memory::user::UserEntry;
use common::name::fold;
use std::collections::{BTreeMap, BTreeSet};

/// How marks begin that the product puts behind names.
const MARKS: [&str; 2] = [" (conflict ", " (kept "];

/// A value, or a path of a device, which ties together what stood there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Knot {
    Value(Print),
    Path(usize, String),
}

/// The book.
#[derive(Default)]
pub(super) struct Lineage {
    /// The knot that each knot hangs on; one that stands for its class is not in it.
    above: BTreeMap<Knot, Knot>,
    names: BTreeMap<Print, BTreeSet<String>>,
    /// What users of a device took away, by its last name, since the devices last agreed.
    taken_away: BTreeMap<(usize, String), Print>,
    /// What took the place of a directory since the devices last agreed.
    was_directory: BTreeSet<Print>,
    /// Names that users gave to directories since.
    directories: BTreeSet<String>,
    /// Where engines of devices moved something to that they could not look at.
    half_moved: BTreeMap<(usize, String), String>,
}

impl Lineage {
    /// Notes what a user, or a power cut, has made of a device's tree.
    pub(super) fn changed(&mut self, device: usize, before: &Tree, after: &Tree) {
        let differs = |one: &Tree, path: &String| {
            before.get(path) != after.get(path) && one.contains_key(path)
        };
        for (path, entry) in before.iter().filter(|(path, _)| differs(before, path)) {
            if let Some(print) = print_of(entry) {
                self.tie(Knot::Value(print), Knot::Path(device, path.clone()));
                if !after.contains_key(path) {
                    self.taken_away.insert((device, plain_name(path)), print);
                }
            }
        }
        let gone: BTreeMap<String, &String> = before
            .keys()
            .filter(|path| !after.contains_key(*path))
            .map(|path| (fold(path), path))
            .collect();
        for (path, entry) in after.iter().filter(|(path, _)| differs(after, path)) {
            if let Some(spelling) = gone.get(&fold(path)).filter(|_| !before.contains_key(path)) {
                let other = Knot::Path(device, (*spelling).clone());
                self.tie(Knot::Path(device, path.clone()), other);
            }
            if let Some(print) = print_of(entry) {
                self.tie(Knot::Value(print), Knot::Path(device, path.clone()));
                self.names.entry(print).or_default().insert(plain_name(path));
                if let Some(to) = self.half_moved.get(&(device, path.clone())) {
                    self.names.entry(print).or_default().insert(plain_name(to));
                }
                let was_there = self.taken_away.get(&(device, plain_name(path))).copied();
                if let Some(was_there) = was_there.filter(|_| !before.contains_key(path)) {
                    self.tie(Knot::Value(print), Knot::Value(was_there));
                }
                if let Some(UserEntry::Directory(_)) = before.get(path) {
                    self.was_directory.insert(print);
                }
            } else if let UserEntry::Directory(_) = entry {
                self.directories.insert(plain_name(path));
            }
        }
    }

    /// Notes that a device may not know what it has moved: what comes to the old path next may be an edit
    /// of that to it.
    pub(super) fn half_moved(&mut self, device: usize, from: &str, to: &str) {
        self.half_moved.insert((device, from.to_owned()), to.to_owned());
    }

    /// Notes that a device may not know what it has just moved away from a path: what comes there next is
    /// an edit of that to it, which others have where they named it.
    pub(super) fn killed(&mut self, device: usize) {
        let knots = self.above.iter().flat_map(|(one, other)| [one, other]);
        let paths: BTreeSet<Knot> =
            knots.filter(|knot| matches!(knot, Knot::Path(..))).cloned().collect();
        for knot in paths {
            if let Knot::Path(_, path) = &knot {
                self.tie(Knot::Path(device, path.clone()), knot.clone());
            }
        }
    }

    /// Notes that one value was made of another, wherever the file is.
    pub(super) fn grown(&mut self, before: &Print, after: &Print) {
        self.tie(Knot::Value(*before), Knot::Value(*after));
    }

    /// Notes that a user gave a value a name again, wherever the file is. What nobody could judge stays
    /// so.
    pub(super) fn named(&mut self, print: Print, name: &str) {
        let class = self.top(Knot::Value(print));
        if self.names.keys().any(|known| self.top(Knot::Value(*known)) == class) {
            self.names.entry(print).or_default().insert(plain_name(name));
        }
    }

    /// The devices agree: what stands at one path from now on has nothing to do with what stood
    /// there before. What all show has the names that it is shown with, and no others.
    pub(super) fn agreed(&mut self, shown: &Tree) {
        self.names = self.all_names();
        self.above.clear();
        self.taken_away.clear();
        self.was_directory.clear();
        self.directories.clear();
        self.half_moved.clear();
        let mut now: BTreeMap<Print, BTreeSet<String>> = BTreeMap::new();
        for (path, entry) in shown {
            if let Some(print) = print_of(entry) {
                now.entry(print).or_default().insert(plain_name(path));
            }
        }
        // What nobody could judge stays so.
        self.names.extend(
            now.into_iter().filter(|(print, _)| self.names.contains_key(print)).collect::<Vec<_>>(),
        );
    }

    /// All names that each value may have; a value without an entry was written where nobody looked.
    pub(super) fn all_names(&self) -> BTreeMap<Print, BTreeSet<String>> {
        let mut classes: BTreeMap<Knot, BTreeSet<String>> = BTreeMap::new();
        for (print, names) in &self.names {
            classes.entry(self.top(Knot::Value(*print))).or_default().extend(names.iter().cloned());
        }
        for print in &self.was_directory {
            let names = self.directories.iter().cloned();
            classes.entry(self.top(Knot::Value(*print))).or_default().extend(names);
        }
        let tied =
            self.above.iter().flat_map(|(one, other)| [one, other]).filter_map(|knot| match knot {
                Knot::Value(print) => Some(*print),
                Knot::Path(..) => None,
            });
        let prints: BTreeSet<Print> = tied.chain(self.names.keys().copied()).collect();
        let of_class =
            |print: Print| Some((print, classes.get(&self.top(Knot::Value(print)))?.clone()));
        prints.into_iter().filter_map(of_class).collect()
    }

    fn tie(&mut self, one: Knot, other: Knot) {
        let (one, other) = (self.top(one), self.top(other));
        if one != other {
            self.above.insert(one, other);
        }
    }

    fn top(&self, knot: Knot) -> Knot {
        let mut at = &knot;
        while let Some(above) = self.above.get(at) {
            at = above;
        }
        at.clone()
    }
}

fn print_of(entry: &UserEntry) -> Option<Print> {
    match entry {
        UserEntry::File(bytes, _) => Some(print(bytes)),
        _ => None,
    }
}

/// The last name of a path, without what marks a conflict copy or what was kept from a deletion.
pub(super) fn plain_name(path: &str) -> String {
    let mut name = path.rsplit('/').next().unwrap_or(path).to_owned();
    for mark in MARKS {
        while let Some(start) = name.find(mark) {
            let Some(length) = name[start..].find(')') else { break };
            name.replace_range(start..=start + length, "");
        }
    }
    // A long name is cut, perhaps within a mark.
    if let Some(start) = name.find(" (") {
        let end = name[start..].find('.').map_or(name.len(), |dot| start + dot);
        name.replace_range(start..end, "");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let file = |bytes: &str| UserEntry::File(bytes.as_bytes().to_vec(), 0o644);
        files.iter().map(|(path, bytes)| ((*path).to_owned(), file(bytes))).collect()
    }

    fn names(lineage: &Lineage, bytes: &str) -> Vec<String> {
        let all = lineage.all_names();
        all.get(&print(bytes.as_bytes())).into_iter().flatten().cloned().collect()
    }

    #[test]
    fn a_value_has_the_names_of_what_it_replaced() {
        let mut lineage = Lineage::default();
        lineage.changed(0, &tree(&[]), &tree(&[("d/a", "1"), ("b", "2")]));
        lineage.changed(1, &tree(&[("d/a", "1")]), &tree(&[("c", "1")]));
        assert_eq!(names(&lineage, "1"), ["a", "c"]);
        lineage.changed(0, &tree(&[("d/a", "1")]), &tree(&[("d/a", "3")]));
        assert_eq!(names(&lineage, "3"), ["a", "c"]);
        assert_eq!(names(&lineage, "2"), ["b"]);
        lineage.grown(&print(b"2"), &print(b"4"));
        assert_eq!(names(&lineage, "4"), ["b"]);
    }

    #[test]
    fn what_comes_where_a_killed_device_had_something_has_the_name_that_it_is_given_elsewhere() {
        for is_killed in [false, true] {
            let mut lineage = Lineage::default();
            lineage.changed(1, &tree(&[("a", "1")]), &tree(&[("b", "1")]));
            if is_killed {
                lineage.killed(0);
            }
            lineage.changed(0, &tree(&[]), &tree(&[("a", "2")]));
            let expected: &[&str] = if is_killed { &["a", "b"] } else { &["a"] };
            assert_eq!(names(&lineage, "2"), expected);
        }
    }

    #[test]
    fn what_comes_where_something_was_half_moved_away_may_have_its_new_name() {
        let mut lineage = Lineage::default();
        lineage.half_moved(0, "d/a", "d/b");
        for device in [0, 1] {
            lineage.changed(device, &tree(&[]), &tree(&[("d/a", &device.to_string())]));
        }
        assert_eq!(names(&lineage, "0"), ["a", "b"]);
        assert_eq!(names(&lineage, "1"), ["a"]);
    }

    #[test]
    fn what_fills_an_empty_file_has_the_name_that_it_is_given_elsewhere() {
        let mut lineage = Lineage::default();
        lineage.changed(0, &tree(&[]), &tree(&[("a", "")]));
        lineage.agreed(&tree(&[("a", "")]));
        lineage.changed(0, &tree(&[("a", "")]), &tree(&[("b", "")]));
        lineage.changed(1, &tree(&[("a", "")]), &tree(&[("a", "1")]));
        assert_eq!(names(&lineage, "1"), ["a", "b"]);
    }

    #[test]
    fn what_takes_the_place_of_a_directory_has_the_name_that_it_is_given_elsewhere() {
        let mut lineage = Lineage::default();
        let directory = |name: &str| Tree::from([(name.to_owned(), UserEntry::Directory(0o755))]);
        lineage.changed(0, &directory("a"), &tree(&[("a", "1"), ("b", "2")]));
        lineage.changed(1, &directory("a"), &directory("c"));
        assert_eq!(names(&lineage, "1"), ["a", "c"]);
        assert_eq!(names(&lineage, "2"), ["b"]);
    }

    #[test]
    fn what_comes_to_a_name_again_is_what_was_there_wherever_its_directory_is() {
        let mut lineage = Lineage::default();
        lineage.changed(0, &tree(&[("d/a", "1")]), &tree(&[]));
        lineage.changed(1, &tree(&[("d/a", "1")]), &tree(&[("d/b", "1")]));
        lineage.changed(0, &tree(&[]), &tree(&[("e/a", "2"), ("e/c", "3")]));
        assert_eq!(names(&lineage, "2"), ["a", "b"]);
        assert_eq!(names(&lineage, "3"), ["c"]);
    }

    #[test]
    fn what_replaces_another_spelling_has_its_names() {
        let mut lineage = Lineage::default();
        lineage.changed(0, &tree(&[]), &tree(&[("d1", "1"), ("x", "2"), ("y", "3"), ("z", "4")]));
        let before = tree(&[("d1", "1"), ("x", "2"), ("y", "3")]);
        lineage.changed(0, &before, &tree(&[("D1", "2"), ("y", "3")]));
        assert_eq!(names(&lineage, "2"), ["D1", "d1", "x"]);
        // Both spellings beside each other are two files.
        lineage.changed(0, &tree(&[("y", "3"), ("z", "4")]), &tree(&[("y", "3"), ("Y", "4")]));
        assert_eq!(names(&lineage, "3"), ["y"]);
        assert_eq!(names(&lineage, "4"), ["Y", "z"]);
    }

    #[test]
    fn an_agreement_cuts_what_stood_at_one_path() {
        let mut lineage = Lineage::default();
        lineage.changed(0, &tree(&[]), &tree(&[("a", "1")]));
        lineage.changed(0, &tree(&[("a", "1")]), &tree(&[("b", "1")]));
        lineage.agreed(&tree(&[("b", "1"), ("c", "5")]));
        lineage.changed(0, &tree(&[]), &tree(&[("a", "2")]));
        assert_eq!(names(&lineage, "1"), ["b"]);
        assert_eq!(names(&lineage, "2"), ["a"]);
        assert!(names(&lineage, "5").is_empty());
    }

    #[test]
    fn a_copy_has_its_originals_name() {
        assert_eq!(plain_name("d/a (conflict 2026-01-01 device1 2).txt"), "a.txt");
        assert_eq!(plain_name("x (conflict 1 a)~ (conflict 2 b)"), "x~");
        assert_eq!(plain_name("x (conflict 1 a) (kept 1).txt"), "x.txt");
        assert_eq!(plain_name("x (confli (kept 1).txt"), "x.txt");
        assert_eq!(plain_name("x (conflict"), "x");
    }
}
