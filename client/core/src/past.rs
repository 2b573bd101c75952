//! A folder as it was: a tree of plain values, lists of it, and how two of them differ.
//!
//! Owns what people are told of a difference. It must not know where a tree comes from.

mod inside;

pub use inside::compare_inside;

use crate::tree::{ContentState, Kind, Position};
use common::archive::is_bundle;
use common::ids::EntryId;
use common::limits::DEPTH_MAX;
use common::name::Name;
use std::collections::{BTreeMap, BTreeSet};

/// What people are told that an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A directory.
    Directory,
    /// A file.
    File,
    /// A symlink.
    Symlink,
    /// A directory that only makes sense whole, which is synced as one file.
    Bundle,
}

impl Shown {
    /// What an entry of this kind, whose content has this mode, is shown as.
    #[must_use]
    pub fn of(kind: Kind, mode: u16) -> Self {
        match kind {
            Kind::Directory => Self::Directory,
            Kind::Symlink => Self::Symlink,
            Kind::File if is_bundle(mode) => Self::Bundle,
            Kind::File => Self::File,
        }
    }
}

/// An entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where it stands.
    pub position: Position,
    /// What it is.
    pub kind: Kind,
    /// What it holds.
    pub content: ContentState,
    /// Length in bytes.
    pub size: u64,
}

/// A folder at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    items: BTreeMap<EntryId, Item>,
    children: BTreeMap<EntryId, BTreeMap<Name, EntryId>>,
}

impl FromIterator<(EntryId, Item)> for Tree {
    /// Of two entries with one position, the last in order of entry has it.
    fn from_iter<I: IntoIterator<Item = (EntryId, Item)>>(items: I) -> Self {
        let items: BTreeMap<EntryId, Item> = items.into_iter().collect();
        let mut children: BTreeMap<EntryId, BTreeMap<Name, EntryId>> = BTreeMap::new();
        for (entry, item) in &items {
            let names = children.entry(item.position.parent).or_default();
            names.insert(item.position.name.clone(), *entry);
        }
        Self { items, children }
    }
}

impl Tree {
    /// Puts an entry in, in place of what was known of it.
    pub fn put(&mut self, entry: EntryId, item: Item) {
        self.remove(&entry);
        let names = self.children.entry(item.position.parent).or_default();
        names.insert(item.position.name.clone(), entry);
        self.items.insert(entry, item);
    }

    /// Takes an entry out.
    pub fn remove(&mut self, entry: &EntryId) {
        let Some(item) = self.items.remove(entry) else { return };
        if let Some(names) = self.children.get_mut(&item.position.parent)
            && names.get(&item.position.name) == Some(entry)
        {
            names.remove(&item.position.name);
        }
    }

    /// An entry.
    #[must_use]
    pub fn get(&self, entry: &EntryId) -> Option<&Item> {
        self.items.get(entry)
    }

    /// What a directory holds, in ascending order of name.
    pub fn children(&self, directory: &EntryId) -> impl Iterator<Item = (&Name, &EntryId)> {
        self.children.get(directory).into_iter().flatten()
    }

    /// The entry of a name in a directory.
    #[must_use]
    pub fn child(&self, directory: &EntryId, name: &Name) -> Option<EntryId> {
        self.children.get(directory)?.get(name).copied()
    }

    /// The entry at a path, its names from the top; of none, the root.
    #[must_use]
    pub fn at(&self, names: &[Name]) -> Option<EntryId> {
        names.iter().try_fold(EntryId::ROOT, |parent, name| self.child(&parent, name))
    }

    /// The path of an entry with `/`, `None` when it is not in the tree or its chain of parents is
    /// broken.
    #[must_use]
    pub fn path(&self, entry: &EntryId) -> Option<String> {
        let (mut names, mut at) = (Vec::new(), *entry);
        while at != EntryId::ROOT {
            let item = self.items.get(&at).filter(|_| names.len() <= DEPTH_MAX)?;
            names.push(item.position.name.as_str());
            at = item.position.parent;
        }
        names.reverse();
        Some(names.join("/"))
    }

    /// All directories above entries, whatever they lie in: a hostile tree's cycles end too.
    #[must_use]
    pub fn above(&self, entries: &[EntryId]) -> BTreeSet<EntryId> {
        let mut above = BTreeSet::new();
        for entry in entries {
            let mut at = *entry;
            // What is above a directory that was met has been met.
            while let Some(item) = self.items.get(&at).filter(|it| above.insert(it.position.parent))
            {
                at = item.position.parent;
            }
        }
        above
    }

    /// All that lies in a directory, at any depth, in ascending order of path; `prefix` is the
    /// directory's own path. A hostile tree's cycles are not among it.
    #[must_use]
    pub fn list(&self, directory: &EntryId, prefix: &str) -> Vec<Listed> {
        let mut listed = Vec::new();
        self.walk(directory, prefix, |entry, path| {
            let item = self.items.get(entry).cloned();
            listed.extend(item.map(|item| Listed { entry: *entry, path, item }));
        });
        listed.sort_by(|one, two| one.path.cmp(&two.path));
        listed
    }

    /// Shows all that lies in a directory, as [`Tree::list`] lists it, with its path and in no
    /// order.
    pub fn walk(&self, directory: &EntryId, prefix: &str, mut show: impl FnMut(&EntryId, String)) {
        let mut queue = vec![(*directory, prefix.to_owned(), 0)];
        while let Some((inside, prefix, depth)) = queue.pop() {
            for (name, entry) in self.children(&inside) {
                // Each entry has one parent: a cycle leads back to where it was entered.
                if entry == directory {
                    continue;
                }
                let path = match prefix.as_str() {
                    "" => name.to_string(),
                    prefix => [prefix, "/", name.as_str()].concat(),
                };
                // Few entries hold others: of the rest nothing more is looked up.
                let holds = self.children.contains_key(entry)
                    && self.items.get(entry).is_some_and(|item| item.kind == Kind::Directory);
                if holds && depth < 4 * DEPTH_MAX {
                    queue.push((*entry, path.clone(), depth + 1));
                }
                show(entry, path);
            }
        }
    }
}

impl Item {
    /// What people are told that it is.
    #[must_use]
    pub fn shown(&self) -> Shown {
        Shown::of(self.kind, self.content.mode)
    }
}

/// An entry and its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which entry.
    pub entry: EntryId,
    /// With `/`.
    pub path: String,
    /// What it is.
    pub item: Item,
}

/// How an entry differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not there.
    Added,
    /// It is gone.
    Deleted,
    /// Its bytes, or a link's target, are others.
    Edited,
    /// Its place is another, its bytes are the same.
    Moved,
    /// Its mode or modification time is another, and nothing else.
    Attributes,
}

/// One difference between two moments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its path after; of what is gone, before.
    pub path: String,
    /// Its path before, if its own place was another.
    pub from: Option<String>,
    /// What it is; of what is gone, what it was.
    pub kind: Shown,
    /// How it differs.
    pub change: Change,
    /// Its length before, in bytes.
    pub bytes_before: Option<u64>,
    /// Its length after, in bytes.
    pub bytes_after: Option<u64>,
}

/// What happened between two lists, in ascending order of path. What lies in a directory that was
/// moved has not moved itself. An entry that took the path of another of its kind counts as an edit
/// of what was there.
#[must_use]
pub fn compare(before: &[Listed], after: &[Listed]) -> Vec<Difference> {
    let old: BTreeMap<EntryId, &Listed> = before.iter().map(|it| (it.entry, it)).collect();
    let new: BTreeMap<EntryId, &Listed> = after.iter().map(|it| (it.entry, it)).collect();
    let gone = before.iter().filter(|it| !new.contains_key(&it.entry));
    let mut gone: BTreeMap<(&str, u32), &Listed> =
        gone.map(|it| ((it.path.as_str(), it.item.kind.code()), it)).collect();
    let mut found = Vec::new();
    for now in after {
        let place = (now.path.as_str(), now.item.kind.code());
        let was = old.get(&now.entry).copied().or_else(|| gone.remove(&place));
        found.extend(difference(was, now));
    }
    found.extend(gone.into_values().map(|was| Difference {
        path: was.path.clone(),
        from: None,
        kind: was.item.shown(),
        change: Change::Deleted,
        bytes_before: Some(was.item.size),
        bytes_after: None,
    }));
    found.sort_by(|one, two| one.path.cmp(&two.path));
    found
}

fn difference(was: Option<&Listed>, now: &Listed) -> Option<Difference> {
    let item = &now.item;
    let is_moved = |was: &Listed| was.entry == now.entry && was.item.position != item.position;
    let change = match was {
        None => Change::Added,
        Some(was) if was.item.content.tag != item.content.tag => Change::Edited,
        Some(was) if is_moved(was) => Change::Moved,
        Some(was) if !crate::tree::same_attributes(item.kind, &was.item.content, &item.content) => {
            Change::Attributes
        }
        Some(_) => return None,
    };
    Some(Difference {
        path: now.path.clone(),
        from: was.filter(|was| is_moved(was)).map(|was| was.path.clone()),
        kind: item.shown(),
        change,
        bytes_before: was.map(|was| was.item.size),
        bytes_after: Some(item.size),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::ContentTag;

    fn id(number: u8) -> EntryId {
        EntryId::from_bytes([number; 16])
    }

    fn put(tree: &mut Tree, entry: u8, parent: EntryId, name: &str, kind: Kind, tag: u8) {
        let position = Position { parent, name: Name::new(name).unwrap() };
        let tag = ContentTag::from_bytes([tag; 32]);
        let content = ContentState { tag, mode: 0o644, mtime_ns: 0 };
        tree.put(id(entry), Item { position, kind, content, size: 1 });
    }

    fn told(differences: &[Difference]) -> Vec<String> {
        let line = |it: &Difference| format!("{:?} {} {:?}", it.change, it.path, it.from);
        differences.iter().map(line).collect()
    }

    #[test]
    fn differences_are_told_once_each() {
        let mut before = Tree::default();
        put(&mut before, 1, EntryId::ROOT, "d", Kind::Directory, 0);
        put(&mut before, 2, id(1), "in", Kind::File, 1);
        put(&mut before, 3, EntryId::ROOT, "edited", Kind::File, 1);
        put(&mut before, 4, EntryId::ROOT, "gone", Kind::File, 1);
        put(&mut before, 5, EntryId::ROOT, "again", Kind::File, 1);
        put(&mut before, 6, EntryId::ROOT, "same", Kind::File, 1);
        let mut after = before.clone();
        put(&mut after, 1, EntryId::ROOT, "e", Kind::Directory, 0);
        put(&mut after, 3, EntryId::ROOT, "edited", Kind::File, 2);
        after.remove(&id(4));
        after.remove(&id(5));
        put(&mut after, 7, EntryId::ROOT, "again", Kind::File, 2);
        put(&mut after, 8, id(1), "new", Kind::File, 2);
        let (old, new) = (before.list(&EntryId::ROOT, ""), after.list(&EntryId::ROOT, ""));
        let expected = [
            "Edited again None",
            "Moved e Some(\"d\")",
            "Added e/new None",
            "Edited edited None",
            "Deleted gone None",
        ];
        assert_eq!(told(&compare(&old, &new)), expected);
        assert!(compare(&old, &old).is_empty());
        let name = |text: &str| Name::new(text).unwrap();
        assert_eq!(after.at(&[name("e"), name("in")]), Some(id(2)));
        assert_eq!(after.path(&id(2)).as_deref(), Some("e/in"));
        assert_eq!(after.at(&[name("d")]), None);
        let items = new.into_iter().map(|it| (it.entry, it.item));
        assert_eq!(items.collect::<Tree>(), after, "at once and one by one");
    }

    #[test]
    fn a_cycle_of_directories_is_walked_once() {
        let mut tree = Tree::default();
        put(&mut tree, 1, id(2), "a", Kind::Directory, 0);
        put(&mut tree, 2, id(1), "b", Kind::Directory, 0);
        put(&mut tree, 3, id(2), "in", Kind::File, 1);
        let paths = |tree: &Tree, directory| -> Vec<String> {
            tree.list(&directory, "").into_iter().map(|it| it.path).collect()
        };
        assert_eq!(paths(&tree, id(1)), ["b", "b/in"]);
        assert_eq!(tree.above(&[id(3)]), BTreeSet::from([id(1), id(2)]));
        assert_eq!(tree.above(&[id(9)]), BTreeSet::new());
        put(&mut tree, 0, id(1), "root", Kind::Directory, 0);
        put(&mut tree, 1, EntryId::ROOT, "a", Kind::Directory, 0);
        assert_eq!(paths(&tree, EntryId::ROOT), ["a", "a/b", "a/b/in"]);
    }
}
