//! How two versions of a bundle differ inside.
//!
//! Owns what two indexes say of that, without a look at any content: a file of the same length, mode
//! and time counts as the same. It must not know where an index comes from.

use super::{Change, Difference, Shown};
use common::archive::{Index, Item, ItemKind};
use std::collections::BTreeMap;

/// What differs between two versions of what lies in a bundle, in ascending order of path; `path` is
/// the bundle's own. What became a thing of another kind is gone and new.
#[must_use]
pub fn compare_inside(path: &str, before: &Index, after: &Index) -> Vec<Difference> {
    let gone = |was: &Item| told(path, Change::Deleted, was, [Some(bytes(was)), None]);
    let old = before.items().iter().map(|item| (item.path.as_str(), item));
    let mut old: BTreeMap<&str, &Item> = old.collect();
    let mut found = Vec::new();
    for now in after.items() {
        match old.remove(now.path.as_str()) {
            Some(was) if shown(was) == shown(now) => {
                let lengths = [was, now].map(|item| Some(bytes(item)));
                found.extend(change(was, now).map(|change| told(path, change, now, lengths)));
            }
            was => {
                found.extend(was.map(gone));
                found.push(told(path, Change::Added, now, [None, Some(bytes(now))]));
            }
        }
    }
    found.extend(old.into_values().map(gone));
    found.sort_by(|one, two| one.path.cmp(&two.path));
    found
}

/// How one thing differs from what it was.
fn change(was: &Item, now: &Item) -> Option<Change> {
    let is_edited = match (&was.kind, &now.kind) {
        (ItemKind::File(_), ItemKind::File(_)) => {
            was.kind != now.kind || was.mtime_ns != now.mtime_ns
        }
        _ => was.kind != now.kind,
    };
    let is_same = was.mode == now.mode && was.mtime_ns == now.mtime_ns;
    if is_edited { Some(Change::Edited) } else { (!is_same).then_some(Change::Attributes) }
}

fn shown(item: &Item) -> Shown {
    match item.kind {
        ItemKind::Directory => Shown::Directory,
        ItemKind::Symlink(_) => Shown::Symlink,
        ItemKind::File(_) => Shown::File,
    }
}

fn bytes(item: &Item) -> u64 {
    match &item.kind {
        ItemKind::Directory => 0,
        ItemKind::Symlink(target) => target.len() as u64,
        ItemKind::File(bytes) => *bytes,
    }
}

fn told(bundle: &str, change: Change, item: &Item, lengths: [Option<u64>; 2]) -> Difference {
    let [bytes_before, bytes_after] = lengths;
    let (path, kind) = (format!("{bundle}/{}", item.path), shown(item));
    Difference { path, from: None, kind, change, bytes_before, bytes_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(path: &str, kind: ItemKind, mode: u16, mtime_ns: i64) -> Item {
        Item { path: path.into(), kind, mode, mtime_ns }
    }

    fn file(path: &str, bytes: u64, mode: u16, mtime_ns: i64) -> Item {
        item(path, ItemKind::File(bytes), mode, mtime_ns)
    }

    #[test]
    fn what_differs_inside_is_told_once_each() {
        let directory = |path, mode| item(path, ItemKind::Directory, mode, 0);
        let link = |path, to: &[u8], mtime| item(path, ItemKind::Symlink(to.to_vec()), 0, mtime);
        let before = Index::new(vec![
            directory("d", 0o755),
            directory("e", 0o755),
            directory("was", 0o755),
            file("d/same", 3, 0o444, 5),
            file("d/longer", 3, 0o644, 5),
            file("d/later", 3, 0o644, 5),
            file("d/mode", 3, 0o644, 5),
            file("d/gone", 3, 0o644, 5),
            link("l", b"a", 5),
            link("touched", b"a", 5),
        ]);
        let after = Index::new(vec![
            directory("d", 0o755),
            directory("e", 0o700),
            file("was", 3, 0o644, 5),
            file("d/same", 3, 0o444, 5),
            file("d/longer", 4, 0o644, 5),
            file("d/later", 3, 0o644, 6),
            file("d/mode", 3, 0o755, 5),
            file("d/new", 1, 0o644, 5),
            link("l", b"bc", 5),
            link("touched", b"a", 6),
        ]);
        let (before, after) = (before.unwrap(), after.unwrap());
        let line = |it: Difference| {
            let Difference { path, change, kind, bytes_before, bytes_after, .. } = it;
            let bytes = [bytes_before, bytes_after].map(|it| it.map_or(-1, u64::cast_signed));
            format!("{change:?} {kind:?} {path} {bytes:?}")
        };
        let told: Vec<String> =
            compare_inside("r/.git", &before, &after).into_iter().map(line).collect();
        let expected = [
            "Deleted File r/.git/d/gone [3, -1]",
            "Edited File r/.git/d/later [3, 3]",
            "Edited File r/.git/d/longer [3, 4]",
            "Attributes File r/.git/d/mode [3, 3]",
            "Added File r/.git/d/new [-1, 1]",
            "Attributes Directory r/.git/e [0, 0]",
            "Edited Symlink r/.git/l [1, 2]",
            "Attributes Symlink r/.git/touched [1, 1]",
            "Deleted Directory r/.git/was [0, -1]",
            "Added File r/.git/was [-1, 3]",
        ];
        assert_eq!(told, expected);
        assert!(compare_inside("", &before, &before).is_empty());
    }
}
