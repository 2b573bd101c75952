//! Restores of random folders to random moments, judged by a server in memory.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client_core::past::{Item, Tree};
use client_core::planner::{Change, Policy, PushGroup, Step};
use client_core::restore::{self, Entries, Wish};
use client_core::tree::memory::MemoryServer;
use client_core::tree::{ContentState, Kind, LocalNode, Position, RemoteNode, SyncedNode, View};
use common::ids::{ContentTag, DeviceId, EntryId, FolderId};
use common::name::{Name, Platform};
use proptest::prelude::*;
use std::collections::BTreeSet;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn id(number: u64) -> EntryId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    EntryId::from_bytes(bytes)
}

/// What a person does next; numbers choose among what there is.
#[derive(Clone, Debug)]
enum Doing {
    Make { parent: usize, name: usize, is_directory: bool },
    Edit { entry: usize },
    Move { entry: usize, parent: usize, name: usize },
    Delete { entry: usize },
}

fn doing() -> impl Strategy<Value = Doing> {
    let (n, name) = (0..64_usize, 0..NAMES.len());
    prop_oneof![
        3 => (n.clone(), name.clone(), any::<bool>())
            .prop_map(|(parent, name, is_directory)| Doing::Make { parent, name, is_directory }),
        2 => n.clone().prop_map(|entry| Doing::Edit { entry }),
        3 => (n.clone(), n.clone(), name)
            .prop_map(|(entry, parent, name)| Doing::Move { entry, parent, name }),
        1 => n.prop_map(|entry| Doing::Delete { entry }),
    ]
}

/// A folder at a server, and what it was after each thing that was done.
#[derive(Default)]
struct World {
    server: MemoryServer,
    made: u64,
    moments: Vec<Tree>,
}

impl World {
    fn live(&self) -> Vec<RemoteNode> {
        self.server.nodes().filter(|node| !node.deleted).cloned().collect()
    }

    fn tree(&self) -> Tree {
        let mut tree = Tree::default();
        for node in self.live() {
            let RemoteNode { entry, position, kind, content, .. } = node;
            tree.put(entry, Item { position, kind, content, size: 0 });
        }
        tree
    }

    fn content(&mut self, kind: Kind) -> ContentState {
        self.made += 1;
        let byte = if kind == Kind::Directory { 0 } else { u8::try_from(self.made % 251).unwrap() };
        let tag = ContentTag::from_bytes([byte; 32]);
        ContentState { tag, mode: 0o755, mtime_ns: i64::from(byte) }
    }

    fn directory(&self, choice: usize) -> EntryId {
        let live = self.live();
        let all: Vec<EntryId> = live
            .iter()
            .filter(|node| node.kind == Kind::Directory)
            .map(|node| node.entry)
            .chain([EntryId::ROOT])
            .collect();
        all[choice % all.len()]
    }

    /// What the server refuses has no effect.
    fn does(&mut self, doing: &Doing) {
        let live = self.live();
        let chosen = |choice: usize| (!live.is_empty()).then(|| live[choice % live.len()].clone());
        let place = |world: &Self, parent, name: usize| Position {
            parent: world.directory(parent),
            name: Name::new(NAMES[name]).unwrap(),
        };
        let (change, kind) = match doing {
            Doing::Make { parent, name, is_directory } => {
                let kind = if *is_directory { Kind::Directory } else { Kind::File };
                let content = self.content(kind);
                let (entry, at) = (id(1000 + self.made), place(self, *parent, *name));
                (Change::Create { entry, at, content }, kind)
            }
            Doing::Edit { entry } => {
                let Some(node) = chosen(*entry).filter(|node| node.kind == Kind::File) else {
                    return;
                };
                let (entry, base) = (node.entry, node.content_revision);
                let content = self.content(Kind::File);
                (Change::Edit { entry, content, base }, Kind::File)
            }
            Doing::Move { entry, parent, name } => {
                let Some(node) = chosen(*entry) else { return };
                let (entry, base) = (node.entry, node.place_revision);
                let to = place(self, *parent, *name);
                (Change::Move { entry, to, base }, node.kind)
            }
            Doing::Delete { entry } => {
                let Some(node) = chosen(*entry) else { return };
                let (place_base, content_base) = (node.place_revision, node.content_revision);
                let entry = node.entry;
                (Change::Delete { entry, place_base, content_base }, node.kind)
            }
        };
        if self.server.judge(&PushGroup { changes: vec![change] }, |_| Some(kind)).is_ok() {
            self.moments.push(self.tree());
        }
    }

    /// Restores as the engine does: wishes, plans and pushes until nothing is left to wish for.
    fn restores(&mut self, past: &Tree, from: EntryId, into: EntryId) {
        for _ in 0..20 {
            let now = self.tree();
            let wish = restore::directory((past, from), (&now, into), &mut self.entries());
            if wish.is_empty() {
                return;
            }
            self.carries_out(&wish);
        }
        panic!("there is always something left");
    }

    /// One plan, and all of its pushes.
    fn carries_out(&mut self, wish: &Wish) {
        let policy = Policy {
            folder: FolderId::from_bytes([1; 32]),
            device: DeviceId::from_bytes([2; 32]),
            device_name: "laptop".into(),
            date: "2026-11-23".into(),
            folds_names: true,
            platform: Platform::Unix,
            empty_content: None,
            guard_percent: 50,
            guard_entries: 20,
            lately: Vec::new(),
            held_when_asked: None,
            asked: None,
            agreed: BTreeSet::new(),
            absences_settled: false,
        };
        let plan = restore::plan(&Remote(&self.server), wish, &policy);
        assert!(plan.halt.is_none() && plan.issues.is_empty(), "{plan:?}");
        for step in plan.batches.into_iter().flatten() {
            let Step::Push(group) = step else { panic!("{step:?} is no push") };
            let kind = |entry: &EntryId| wish.wanted.get(entry).map(|wanted| wanted.kind);
            self.server.judge(&group, kind).unwrap_or_else(|error| panic!("{error}: {group:?}"));
        }
    }

    fn entries(&mut self) -> Known<'_> {
        Known { server: &self.server, made: &mut self.made }
    }
}

struct Known<'a> {
    server: &'a MemoryServer,
    made: &'a mut u64,
}

impl Entries for Known<'_> {
    fn is_deleted(&self, entry: &EntryId) -> bool {
        self.server.node(entry).is_some_and(|node| node.deleted)
    }

    fn is_left_alone(&self, _: &EntryId) -> bool {
        false
    }

    fn fresh(&mut self) -> EntryId {
        *self.made += 1;
        id(5000 + *self.made)
    }
}

struct Remote<'a>(&'a MemoryServer);

impl View for Remote<'_> {
    fn local(&self, _: &EntryId) -> Option<LocalNode> {
        None
    }
    fn remote(&self, entry: &EntryId) -> Option<RemoteNode> {
        self.0.node(entry).cloned()
    }
    fn synced(&self, _: &EntryId) -> Option<SyncedNode> {
        None
    }
    fn local_at(&self, _: &Position) -> Option<EntryId> {
        None
    }
    fn remote_at(&self, position: &Position) -> Option<EntryId> {
        self.0.holder(position)
    }
    fn local_children(&self, _: &EntryId) -> Vec<EntryId> {
        Vec::new()
    }
    fn remote_children(&self, parent: &EntryId) -> Vec<EntryId> {
        self.0.children(parent)
    }
    fn synced_children(&self, _: &EntryId) -> Vec<EntryId> {
        Vec::new()
    }
    fn held_count(&self) -> u64 {
        1
    }
}

/// Paths, kinds and contents, whatever the ids.
fn shown(tree: &Tree, directory: &EntryId) -> Vec<(String, Kind, ContentState)> {
    let listed = tree.list(directory, "").into_iter();
    listed.map(|it| (it.path, it.item.kind, it.item.content)).collect()
}

fn world(doings: &[Doing]) -> World {
    let mut world = World::default();
    doings.iter().for_each(|doing| world.does(doing));
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_folder_is_again_what_it_was(
        doings in proptest::collection::vec(doing(), 1..60),
        moment in any::<prop::sample::Index>(),
    ) {
        let mut world = world(&doings);
        prop_assume!(!world.moments.is_empty());
        let past = moment.get(&world.moments).clone();
        let now = world.tree();
        let root = EntryId::ROOT;
        let wish = restore::directory((&past, root), (&now, root), &mut world.entries());
        prop_assert_eq!(shown(&wish.applied_to(&now, &past), &root), shown(&past, &root));
        world.restores(&past, root, root);
        prop_assert_eq!(shown(&world.tree(), &root), shown(&past, &root));
        // Ids too: nothing was copied that could be brought back.
        prop_assert_eq!(world.tree(), past);
    }

    #[test]
    fn a_directory_is_again_what_it_was_and_all_else_stays(
        doings in proptest::collection::vec(doing(), 1..60),
        moment in any::<prop::sample::Index>(),
        of in any::<prop::sample::Index>(),
        onto in any::<prop::sample::Index>(),
    ) {
        let mut world = world(&doings);
        prop_assume!(!world.moments.is_empty());
        let past = moment.get(&world.moments).clone();
        let now = world.tree();
        let directories = |tree: &Tree| -> Vec<EntryId> {
            let all = tree.list(&EntryId::ROOT, "").into_iter();
            all.filter(|it| it.item.kind == Kind::Directory).map(|it| it.entry).collect()
        };
        let (from, into) = (directories(&past), directories(&now));
        prop_assume!(!from.is_empty() && !into.is_empty());
        let (from, into) = (*of.get(&from), *onto.get(&into));
        world.restores(&past, from, into);
        let then = world.tree();
        prop_assert_eq!(shown(&then, &into), shown(&past, &from));
        let outside = |tree: &Tree| {
            let inside: BTreeSet<EntryId> =
                tree.list(&into, "").into_iter().map(|it| it.entry).collect();
            let all = tree.list(&EntryId::ROOT, "").into_iter();
            all.filter(|it| it.entry != into && !inside.contains(&it.entry)).collect::<Vec<_>>()
        };
        prop_assert_eq!(outside(&then), outside(&now));
    }
}

/// A directory inside one that lies in it, as a hostile server may put revisions together.
#[test]
fn a_past_with_a_cycle_is_restored_once_around() {
    let (outer, inner, file) = (id(1), id(2), id(3));
    let item = |parent, name, kind| {
        let content =
            ContentState { tag: ContentTag::from_bytes([1; 32]), mode: 0o644, mtime_ns: 1 };
        Item {
            position: Position { parent, name: Name::new(name).unwrap() },
            kind,
            content,
            size: 1,
        }
    };
    let past: Tree = [
        (outer, item(inner, "outer", Kind::Directory)),
        (inner, item(outer, "inner", Kind::Directory)),
        (file, item(inner, "file", Kind::File)),
    ]
    .into_iter()
    .collect();
    let mut now = Tree::default();
    now.put(id(4), item(EntryId::ROOT, "again", Kind::Directory));
    let mut world = World::default();
    let wish = restore::directory((&past, outer), (&now, id(4)), &mut world.entries());
    assert_eq!(wish.wanted.len(), 2, "{wish:?}");
    let paths: Vec<String> =
        wish.applied_to(&now, &past).list(&id(4), "").into_iter().map(|it| it.path).collect();
    assert_eq!(paths, ["inner", "inner/file"]);
}
