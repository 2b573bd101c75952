//! Small worlds for the planner's tests: nodes by short names, a policy, rounds carried out with
//! success pretended, and the oracles that hold whatever is carried out.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod model;
pub(crate) mod table;

use client_core::planner::{Change, Destination, Plan, Policy, Step, plan};
use client_core::tree::memory::{MemoryServer, MemoryView, StepRefusal};
use client_core::tree::{
    ContentState, Kind, LocalNode, PARKED, Position, RemoteNode, SyncedNode, View,
};
use common::ids::{ContentTag, DeviceId, EntryId, FolderId};
use common::name::{Name, Platform};
use std::collections::{BTreeMap, BTreeSet};

/// Rounds within which everything has to have come to rest.
pub(crate) const ROUNDS_MAX: usize = 200;

pub(crate) fn id(number: u8) -> EntryId {
    if number == 0 {
        return EntryId::ROOT;
    }
    let mut bytes = [0; 16];
    bytes[0] = number;
    EntryId::from_bytes(bytes)
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn at(parent: u8, text: &str) -> Position {
    Position { parent: id(parent), name: name(text) }
}

/// The content of a number; all directories share 0.
pub(crate) fn content(tag: u16) -> ContentState {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&tag.to_le_bytes());
    ContentState { tag: ContentTag::from_bytes(bytes), mode: 0o644, mtime_ns: 0 }
}

pub(crate) fn policy(device: u8) -> Policy {
    Policy {
        folder: FolderId::from_bytes([7; 32]),
        device: DeviceId::from_bytes([device; 32]),
        device_name: format!("device{device}"),
        date: "2026-05-04".to_owned(),
        folds_names: false,
        platform: Platform::Unix,
        empty_content: None,
        guard_percent: 50,
        guard_entries: 1_000_000,
        lately: Vec::new(),
        held_when_asked: None,
        asked: None,
        agreed: BTreeSet::new(),
        absences_settled: true,
    }
}

pub(crate) fn local(entry: u8, kind: Kind, position: Position, tag: u16) -> LocalNode {
    LocalNode { entry: id(entry), position, kind, content: Some(content(tag)) }
}

pub(crate) fn remote(entry: u8, kind: Kind, position: Position, tag: u16) -> RemoteNode {
    RemoteNode {
        entry: id(entry),
        position,
        kind,
        content: content(tag),
        place_revision: 1,
        content_revision: 1,
        deleted: false,
    }
}

pub(crate) fn synced(entry: u8, kind: Kind, position: Position, tag: u16) -> SyncedNode {
    SyncedNode {
        entry: id(entry),
        position,
        kind,
        content: content(tag),
        place_revision: 1,
        content_revision: 1,
        held: true,
    }
}

/// Everything under a path: kind and tag of each entry on the disk.
pub(crate) fn local_paths(view: &MemoryView) -> BTreeMap<String, (Kind, Option<ContentTag>)> {
    let path = |node: &LocalNode| {
        let mut path = node.position.name.to_string();
        let mut up = node.position.parent;
        while up != EntryId::ROOT && up != PARKED {
            let parent = view.local(&up).expect("no orphan on the disk");
            path = format!("{}/{path}", parent.position.name);
            up = parent.position.parent;
        }
        if up == PARKED { format!("PARKED/{path}") } else { path }
    };
    view.local_nodes().map(|n| (path(n), (n.kind, n.content.map(|c| c.tag)))).collect()
}

/// Contents of the files and symlinks on the disk.
pub(crate) fn local_tags(view: &MemoryView) -> BTreeSet<ContentTag> {
    let files = view.local_nodes().filter(|node| node.kind != Kind::Directory);
    files.filter_map(|node| node.content).map(|content| content.tag).collect()
}

/// Contents of the live files and symlinks at a server.
pub(crate) fn remote_tags<'a>(nodes: impl Iterator<Item = &'a RemoteNode>) -> BTreeSet<ContentTag> {
    let files = nodes.filter(|node| node.kind != Kind::Directory && !node.deleted);
    files.map(|node| node.content.tag).collect()
}

/// The plan for everything that differs; the same as the plan for everything.
pub(crate) fn plan_all(view: &MemoryView, policy: &Policy) -> Plan {
    let planned = plan(view, &view.differing(), policy);
    assert_eq!(planned, plan(view, &view.entries(), policy), "the dirty plan is the full plan");
    planned
}

/// Entries that a plan says something about: what stays dirty after it.
pub(crate) fn mentioned(view: &MemoryView, plan: &Plan) -> BTreeSet<EntryId> {
    let mut found: BTreeSet<EntryId> = plan.waiting.iter().copied().collect();
    for step in plan.batches.iter().flatten() {
        match step {
            Step::Adopt { local, remote } | Step::Detach { entry: local, fresh: remote } => {
                found.extend([*local, *remote]);
                found.extend(view.local_children(local));
                found.extend(view.synced_children(local));
            }
            Step::Push(group) => {
                for change in &group.changes {
                    match change {
                        Change::ConflictCopy { local, copy, entry, .. } => {
                            found.extend([*local, *copy, *entry]);
                        }
                        Change::Create { entry, .. }
                        | Change::Edit { entry, .. }
                        | Change::Move { entry, .. }
                        | Change::Delete { entry, .. }
                        | Change::Revive { entry, .. } => drop(found.insert(*entry)),
                    }
                }
            }
            Step::Settle { entry }
            | Step::Forget { entry }
            | Step::Keep { entry }
            | Step::Create { entry, .. }
            | Step::Replace { entry, .. }
            | Step::SetAttributes { entry, .. }
            | Step::Move { entry, .. }
            | Step::Delete { entry, .. } => drop(found.insert(*entry)),
        }
    }
    found
}

/// What the server has ever held: bytes that may go from a disk, because they are not lost.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    tags: BTreeSet<ContentTag>,
}

impl History {
    pub(crate) fn of(view: &MemoryView) -> Self {
        let known = |entry: &EntryId| view.remote(entry).is_some();
        let synced = view.synced_nodes().filter(|node| node.held && known(&node.entry));
        let tags = synced.map(|node| node.content.tag);
        Self { tags: tags.chain(view.remote_nodes().map(|node| node.content.tag)).collect() }
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        self.tags.extend(&other.tags);
    }

    /// Takes note of what a step would make known.
    pub(crate) fn learn(&mut self, step: &Step) {
        let Step::Push(group) = step else { return };
        for change in &group.changes {
            if let Change::Create { content, .. }
            | Change::Edit { content, .. }
            | Change::ConflictCopy { content, .. } = change
            {
                self.tags.insert(content.tag);
            }
        }
    }

    /// Fails when a step would destroy bytes that nobody else has, or supersede bytes that this
    /// device has not seen.
    pub(crate) fn check(&self, view: &MemoryView, step: &Step) {
        let on_disk = |entry: &EntryId| {
            let node = view.local(entry).filter(|node| node.kind != Kind::Directory)?;
            Some(node.content.expect("unhashed bytes are not touched").tag)
        };
        match step {
            Step::Replace { entry, .. } | Step::Delete { entry, .. } => {
                if let Some(tag) = on_disk(entry) {
                    assert!(self.tags.contains(&tag), "{step:?} destroys unsynced bytes");
                }
            }
            Step::SetAttributes { entry, .. } => {
                let remote = view.remote(entry).expect("attributes of a remote entry");
                let tag = view.local(entry).and_then(|node| node.content).map(|c| c.tag);
                assert_eq!(tag, Some(remote.content.tag), "{step:?} is no change of attributes");
            }
            Step::Push(group) => {
                for change in &group.changes {
                    let (Change::Edit { entry, .. } | Change::Delete { entry, .. }) = change else {
                        continue;
                    };
                    let theirs = view.remote(entry).expect("a remote entry");
                    let seen = view.synced(entry).filter(|s| s.held).map(|s| s.content.tag);
                    let same_bytes = matches!(change, Change::Edit { content, .. }
                        if content.tag == theirs.content.tag);
                    assert!(
                        theirs.deleted || same_bytes || seen == Some(theirs.content.tag),
                        "{change:?} supersedes unseen bytes"
                    );
                }
            }
            _ => {}
        }
    }
}

/// Fails unless the disk is a tree with one entry a name.
pub(crate) fn check_tree(view: &MemoryView) {
    let mut names = BTreeSet::new();
    for node in view.local_nodes() {
        assert!(names.insert(node.position.clone()), "two entries at {:?}", node.position);
        let mut up = node.position.parent;
        let mut steps = 0;
        while up != EntryId::ROOT && up != PARKED {
            let parent = view.local(&up).expect("no orphan on the disk");
            assert_eq!(parent.kind, Kind::Directory);
            up = parent.position.parent;
            steps += 1;
            assert!(steps < 1000, "a cycle on the disk");
        }
    }
}

/// Fails unless the disk is what the server has and a full plan has nothing to say.
pub(crate) fn check_at_rest(view: &MemoryView, policy: &Policy) {
    let rest = plan(view, &view.entries(), policy);
    assert_eq!(rest, Plan::default(), "a converged view plans nothing");
    let live = view.remote_nodes().filter(|node| !node.deleted).count();
    assert_eq!(view.local_nodes().count(), live, "as many entries here as there");
    for node in view.local_nodes() {
        let remote = view.remote(&node.entry).expect("on both sides");
        assert_eq!((&node.position, node.kind), (&remote.position, remote.kind));
        assert_eq!(node.content.map(|c| c.tag), Some(remote.content.tag));
    }
}

/// Where a step is carried out.
pub(crate) fn carry_out(
    view: &mut MemoryView,
    server: Option<&mut MemoryServer>,
    step: &Step,
) -> Result<(), StepRefusal> {
    match (server, step) {
        (Some(server), Step::Push(group)) => view.push(group, server),
        _ => view.apply(step),
    }
}

/// Runs rounds to rest with every step succeeding; a refusal is a failure. Returns the rounds.
pub(crate) fn run(view: &mut MemoryView, policy: &Policy) -> usize {
    let mut history = History::of(view);
    for round in 0..ROUNDS_MAX {
        let planned = plan_all(view, policy);
        if planned.batches.is_empty() {
            return round;
        }
        for step in planned.batches.iter().flatten() {
            history.check(view, step);
            history.learn(step);
            if let Err(refusal) = view.apply(step) {
                panic!("{step:?} is refused: {refusal}\nin {planned:#?}\nof {view:#?}");
            }
            check_tree(view);
        }
    }
    panic!("no rest after {ROUNDS_MAX} rounds: {view:#?}");
}

/// A destination as a position, for assertions.
pub(crate) fn destination(step: &Step) -> Option<&Position> {
    match step {
        Step::Move { to: Destination::Position(to), .. } => Some(to),
        _ => None,
    }
}
