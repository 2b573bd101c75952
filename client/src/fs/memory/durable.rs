//! What is durable in memory, and what a power cut leaves.
//!
//! Owns the record of directory changes that are not durable yet and the choice, by seed, among
//! the states that real filesystems leave behind. An entry may be lost while a later one
//! survives, a rename is kept or lost as a whole, and nothing survives that depends on something
//! lost: so a crashed tree is still a tree, in which each inode number occurs once. The content
//! of a file that was not synced may be old, new, empty, torn or zeros.

use super::nodes::{Body, EMPTY, Entries, Node, NodeId, ROOT, State};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};

/// Nodes beyond twice the last count before unreachable ones are looked for.
const SWEEP_SLACK: usize = 64;

/// One change of directories, kept or lost as a whole.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// What must not have been lost for this to survive.
    pub(super) requires: Vec<Touch>,
    /// The same, and also what is lost with this.
    pub(super) writes: Vec<Touch>,
    /// Directory, name and what the name is to name.
    pub(super) changes: Vec<(NodeId, Vec<u8>, Option<NodeId>)>,
}

/// What a change depends on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Touch {
    /// One entry of a directory.
    Entry(NodeId, Vec<u8>),
    /// All changes inside a directory: what removes it comes after them.
    Inside(NodeId),
    /// Where a node is.
    Node(NodeId),
    /// Who has an inode number.
    Number(u64),
    /// The order among moves of directories.
    DirectoryMoves,
}

/// A node as it was when it was last synced.
#[derive(Clone, Debug)]
pub(super) struct Saved {
    content: Vec<u8>,
    mode: u16,
    mtime_ns: i64,
}

impl State {
    /// Makes a node's content and attributes durable.
    pub(super) fn save(&mut self, id: NodeId) -> Result<(), Errno> {
        let node = self.node_mut(id)?;
        if node.dirty {
            save_node(node);
        }
        Ok(())
    }

    /// What a failed sync does: the pages count as clean and their content is lost.
    pub(super) fn lose(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.dirty = false;
        }
    }

    /// Makes a directory's entries durable, with all that they depend on.
    pub(super) fn save_entries(&mut self, directory: NodeId) {
        let mut needed: BTreeSet<Touch> = BTreeSet::new();
        let mut chosen = vec![false; self.pending.len()];
        for (index, change) in self.pending.iter().enumerate().rev() {
            let here = change.changes.iter().any(|(changed, ..)| *changed == directory);
            if here || change.writes.iter().any(|touch| needed.contains(touch)) {
                chosen[index] = true;
                // `Inside` orders a removal behind what it follows; it does not tie siblings.
                let ties = |touch: &&Touch| !matches!(touch, Touch::Inside(_));
                needed.extend(change.requires.iter().cloned());
                needed.extend(change.writes.iter().filter(ties).cloned());
            }
        }
        let pending = std::mem::take(&mut self.pending);
        for (change, chosen) in pending.into_iter().zip(chosen) {
            if chosen {
                self.make_durable(&change);
            } else {
                self.pending.push(change);
            }
        }
        self.sweep();
    }

    /// Makes everything durable.
    pub(super) fn save_all(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            self.make_durable(&change);
        }
        self.nodes.values_mut().filter(|node| node.dirty).for_each(save_node);
        self.sweep();
    }

    fn make_durable(&mut self, change: &Pending) {
        for (directory, name, id) in &change.changes {
            let entries = self.durable.entry(*directory).or_default();
            match id {
                Some(id) => entries.insert(name.clone(), *id),
                None => entries.remove(name),
            };
        }
    }

    /// Forgets nodes that neither the live tree, a handle nor a power cut can bring back.
    fn sweep(&mut self) {
        if self.nodes.len() <= self.swept_nodes * 2 + SWEEP_SLACK {
            return;
        }
        let mut wanted: BTreeSet<NodeId> = BTreeSet::from([ROOT, EMPTY]);
        wanted.extend(self.durable.values().flat_map(BTreeMap::values));
        for change in &self.pending {
            wanted.extend(change.changes.iter().filter_map(|(.., id)| *id));
            wanted.extend(change.changes.iter().map(|(directory, ..)| *directory));
        }
        self.nodes.retain(|id, node| node.links > 0 || node.handles > 0 || wanted.contains(id));
        self.durable.retain(|id, _| self.nodes.contains_key(id));
        self.swept_nodes = self.nodes.len();
    }

    /// See [`super::MemoryFs::crash`].
    pub(super) fn crash(&mut self, seed: u64) {
        let mut draw = Draw(seed);
        self.lose_changes(&mut draw);
        let reached = self.reach_durable();
        self.nodes.retain(|id, _| reached.contains_key(id));
        self.durable.retain(|id, _| reached.contains_key(id));
        for (id, node) in &mut self.nodes {
            (node.handles, node.writers) = (0, 0);
            node.links = reached.get(id).copied().unwrap_or_default();
            if let Body::Directory(entries) = &mut node.body {
                *entries = self.durable.entry(*id).or_default().clone();
            }
            if node.dirty || node.saved.is_none() {
                tear(node, &mut draw);
            } else {
                restore(node);
            }
            save_node(node);
        }
        self.numbers = self.nodes.values().map(|node| node.number).collect();
        self.used_bytes = self.nodes.values().map(Node::file_bytes).sum();
        self.swept_nodes = self.nodes.len();
        self.boot += 1;
    }

    /// Keeps or drops each change of a directory that is not durable.
    fn lose_changes(&mut self, draw: &mut Draw) {
        let percent = [0, 10, 30, 60, 100][draw.below(5)];
        let mut lost: BTreeSet<Touch> = BTreeSet::new();
        for change in std::mem::take(&mut self.pending) {
            let depends = |touches: &[Touch]| {
                // Siblings are independent: only who requires `Inside` asks for it.
                touches.iter().any(|t| !matches!(t, Touch::Inside(_)) && lost.contains(t))
            };
            let orphaned =
                change.requires.iter().any(|touch| lost.contains(touch)) || depends(&change.writes);
            if orphaned || draw.below(100) < percent {
                lost.extend(change.writes);
            } else {
                self.make_durable(&change);
            }
        }
    }

    /// What can be reached through durable entries, with the number of entries naming it.
    fn reach_durable(&self) -> BTreeMap<NodeId, u64> {
        let mut reached = BTreeMap::from([(ROOT, 1), (EMPTY, 1)]);
        let mut open = vec![ROOT];
        let none = Entries::new();
        while let Some(directory) = open.pop() {
            for id in self.durable.get(&directory).unwrap_or(&none).values() {
                let links = reached.entry(*id).or_insert(0);
                *links += 1;
                let is_directory =
                    self.nodes.get(id).is_some_and(|n| matches!(n.body, Body::Directory(_)));
                if *links == 1 && is_directory {
                    open.push(*id);
                }
            }
        }
        reached
    }
}

impl Node {
    /// Whether its content is the one that was last synced.
    pub(super) fn has_durable_content(&self) -> bool {
        match (&self.body, &self.saved) {
            (Body::File(bytes), saved) => saved.as_ref().is_some_and(|s| s.content == *bytes),
            (_, saved) => saved.is_some(),
        }
    }
}

fn save_node(node: &mut Node) {
    let content = match &node.body {
        Body::File(bytes) => bytes.clone(),
        _ => Vec::new(),
    };
    node.saved = Some(Saved { content, mode: node.mode, mtime_ns: node.mtime_ns });
    node.dirty = false;
}

/// What a node that was synced, or whose sync failed, comes back as.
fn restore(node: &mut Node) {
    let Some(saved) = node.saved.clone() else {
        return;
    };
    if let Body::File(bytes) = &mut node.body {
        *bytes = saved.content;
    }
    if !matches!(node.body, Body::Directory(_)) {
        node.mtime_ns = saved.mtime_ns;
    }
    node.mode = saved.mode;
}

/// What a node that was not synced comes back as.
fn tear(node: &mut Node, draw: &mut Draw) {
    let saved = node.saved.clone();
    // What was written since the last sync may be lost, nothing else: a change of mode or times
    // alone tears no content.
    let is_written = |bytes: &[u8]| saved.as_ref().is_none_or(|saved| saved.content != bytes);
    if let Body::File(bytes) = &mut node.body
        && is_written(bytes)
    {
        let old = saved.as_ref().map(|saved| saved.content.clone()).unwrap_or_default();
        match draw.below(5) {
            0 => {}
            1 => *bytes = old,
            2 => bytes.clear(),
            3 => {
                let kept = draw.below(bytes.len() + 1);
                bytes.truncate(kept);
            }
            _ => {
                let kept = draw.below(bytes.len() + 1);
                bytes[kept..].fill(0);
            }
        }
    }
    if let Some(saved) = saved
        && draw.below(2) == 0
    {
        node.mode = saved.mode;
        if !matches!(node.body, Body::Directory(_)) {
            node.mtime_ns = saved.mtime_ns;
        }
    }
}

/// `SplitMix64` (Steele, Lea, Flood 2014): enough for drawing lots, and the same everywhere.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % bound.max(1) as u64).unwrap_or_default()
    }
}
