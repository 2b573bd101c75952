//! A plain tree that random operations change: what two people do to one folder.

use super::{content, id, name};
use client_core::tree::{ContentState, Kind, Position};
use common::ids::EntryId;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// One change of a tree, read modulo what the tree holds, so that all of them mean something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub(crate) what: u8,
    pub(crate) which: u8,
    pub(crate) whither: u8,
    pub(crate) name: u8,
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    (0..20_u8, any::<u8>(), any::<u8>(), 0..5_u8).prop_map(|(what, which, whither, name)| Op {
        what,
        which,
        whither,
        name,
    })
}

pub(crate) fn ops(most: usize) -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 0..=most)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) kind: Kind,
    pub(crate) position: Position,
    pub(crate) content: ContentState,
}

/// A plain tree that ops change. `author` keeps the ids and contents of two authors apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) items: BTreeMap<EntryId, Item>,
    pub(crate) author: u8,
    pub(crate) made: u8,
    pub(crate) written: u16,
}

impl Model {
    pub(crate) fn by(&self, author: u8) -> Self {
        Self { author, made: 0, written: 0, ..self.clone() }
    }

    pub(crate) fn perform(mut self, ops: &[Op]) -> Self {
        for op in ops {
            self.change(*op);
        }
        self
    }

    fn change(&mut self, op: Op) {
        match op.what {
            0..=4 => self.make(op),
            5..=8 => self.edit(op),
            9 => self.chmod(op),
            10..=13 => self.move_to(op),
            14 => self.swap(op),
            15 => self.save_by_rename(op),
            16..=17 => self.delete(op),
            18 => self.rename_over(op),
            _ => self.rename(op),
        }
    }

    fn pick(&self, number: u8) -> Option<EntryId> {
        let keys: Vec<_> = self.items.keys().copied().collect();
        keys.get(usize::from(number) % keys.len().max(1)).copied()
    }

    fn directory(&self, number: u8) -> EntryId {
        let mut found = vec![EntryId::ROOT, EntryId::ROOT];
        let is_directory = |item: &Item| item.kind == Kind::Directory;
        found.extend(self.items.iter().filter(|(_, item)| is_directory(item)).map(|(id, _)| *id));
        found[usize::from(number) % found.len()]
    }

    fn holder(&self, position: &Position) -> Option<EntryId> {
        self.items.iter().find(|(_, item)| item.position == *position).map(|(id, _)| *id)
    }

    fn is_below(&self, entry: EntryId, above: EntryId) -> bool {
        let mut at = Some(entry);
        while let Some(here) = at {
            if here == above {
                return true;
            }
            at = self.items.get(&here).map(|item| item.position.parent);
        }
        false
    }

    fn write(&mut self, op: Op) -> ContentState {
        self.written += 1;
        // Now and then both authors write the same.
        let shared = op.whither.is_multiple_of(7);
        let number = if shared { u16::from(op.name) + 1 } else { self.written + 100 };
        let author = if shared { 0 } else { u16::from(self.author) };
        content(author * 1000 + number)
    }

    fn make(&mut self, op: Op) {
        let position = Position {
            parent: self.directory(op.whither),
            name: name(["a", "b", "c", "d.txt", "e"][usize::from(op.name)]),
        };
        if self.holder(&position).is_some() || self.made > 9 {
            return;
        }
        self.made += 1;
        let kind = match op.which % 5 {
            0 | 1 => Kind::Directory,
            4 => Kind::Symlink,
            _ => Kind::File,
        };
        let state = if kind == Kind::Directory { content(0) } else { self.write(op) };
        self.items
            .insert(id(self.author * 50 + self.made), Item { kind, position, content: state });
    }

    fn edit(&mut self, op: Op) {
        let Some(entry) = self.pick(op.which) else { return };
        let state = self.write(op);
        let item = self.items.get_mut(&entry).unwrap();
        if item.kind != Kind::Directory {
            item.content = state;
        }
    }

    fn chmod(&mut self, op: Op) {
        let Some(entry) = self.pick(op.which) else { return };
        let item = self.items.get_mut(&entry).unwrap();
        if item.kind != Kind::Symlink {
            item.content.mode = if op.name.is_multiple_of(2) { 0o755 } else { 0o600 };
        }
        item.content.mtime_ns =
            if item.kind == Kind::Directory { 0 } else { i64::from(op.whither) };
    }

    fn put(&mut self, entry: EntryId, position: Position) {
        if self.holder(&position).is_none() && !self.is_below(position.parent, entry) {
            self.items.get_mut(&entry).unwrap().position = position;
        }
    }

    fn move_to(&mut self, op: Op) {
        let Some(entry) = self.pick(op.which) else { return };
        let parent = self.directory(op.whither);
        let name = self.items[&entry].position.name.clone();
        self.put(entry, Position { parent, name });
    }

    fn rename(&mut self, op: Op) {
        let Some(entry) = self.pick(op.which) else { return };
        let parent = self.items[&entry].position.parent;
        let text = ["a", "b", "c", "d.txt", "e"][usize::from(op.name)];
        self.put(entry, Position { parent, name: name(text) });
    }

    /// Two entries exchange their places.
    fn swap(&mut self, op: Op) {
        let (Some(one), Some(two)) = (self.pick(op.which), self.pick(op.whither)) else { return };
        if self.is_below(one, two) || self.is_below(two, one) {
            return;
        }
        let first = self.items[&one].position.clone();
        let second = self.items[&two].position.clone();
        self.items.get_mut(&one).unwrap().position = second;
        self.items.get_mut(&two).unwrap().position = first;
    }

    /// The name of an entry passes to a new one, and the old one goes or takes another name.
    fn save_by_rename(&mut self, op: Op) {
        let Some(entry) = self.pick(op.which) else { return };
        let position = self.items[&entry].position.clone();
        if op.name.is_multiple_of(2) {
            self.remove(entry);
        } else {
            self.rename(op);
        }
        if self.holder(&position).is_none() && self.is_rooted(position.parent) && self.made <= 9 {
            self.made += 1;
            let state = self.write(op);
            let new = id(self.author * 50 + self.made);
            self.items.insert(new, Item { kind: Kind::File, position, content: state });
        }
    }

    fn is_rooted(&self, parent: EntryId) -> bool {
        parent == EntryId::ROOT || self.items.contains_key(&parent)
    }

    fn rename_over(&mut self, op: Op) {
        let (Some(one), Some(two)) = (self.pick(op.which), self.pick(op.whither)) else { return };
        if self.is_below(one, two) || self.is_below(two, one) {
            return;
        }
        let position = self.items[&two].position.clone();
        self.remove(two);
        self.put(one, position);
    }

    fn delete(&mut self, op: Op) {
        if let Some(entry) = self.pick(op.which) {
            self.remove(entry);
        }
    }

    fn remove(&mut self, entry: EntryId) {
        let below: Vec<_> =
            self.items.keys().copied().filter(|other| self.is_below(*other, entry)).collect();
        for entry in below {
            self.items.remove(&entry);
        }
    }
}
