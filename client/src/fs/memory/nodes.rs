//! Inodes and directories in memory.
//!
//! Owns the live tree: numbers, links, times and room. Each change of a directory also leaves a
//! [`Pending`] record for [`super::durable`], which decides what of it a power cut keeps. Errors
//! are the system's own; who calls adds the path.

use super::durable::{Pending, Saved, Touch};
use super::{MemoryOptions, RootState};
use crate::fs::path::RelPath;
use crate::fs::stat::{Kind, Stat};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};

/// Names one node for good; numbers are used again, these are not.
pub(super) type NodeId = u64;
/// The entries of a directory.
pub(super) type Entries = BTreeMap<Vec<u8>, NodeId>;

/// Device of the root.
const DEVICE: u64 = 1;
/// Device of what is mounted below it.
const DEVICE_MOUNTED: u64 = 2;
/// The root.
pub(super) const ROOT: NodeId = 0;
/// The empty directory that is found while the root's disk is not mounted.
pub(super) const EMPTY: NodeId = 1;
/// Numbers of their inodes; all others come after these.
const ROOT_NUMBER: u64 = 2;
const EMPTY_NUMBER: u64 = 1;

/// What a node holds.
#[derive(Clone, Debug)]
pub(super) enum Body {
    File(Vec<u8>),
    Directory(Entries),
    Symlink(Vec<u8>),
    Other,
}

/// One inode.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) number: u64,
    pub(super) body: Body,
    pub(super) mode: u16,
    pub(super) mtime_ns: i64,
    pub(super) ctime_ns: i64,
    pub(super) birth_ns: i64,
    /// Entries that name it; a directory has at most one.
    pub(super) links: u64,
    /// Open handles of any kind, and those that can write.
    pub(super) handles: u64,
    pub(super) writers: u64,
    pub(super) unreadable: bool,
    pub(super) mounted: bool,
    /// Whether content or attributes changed since `saved`.
    pub(super) dirty: bool,
    /// What a power cut surely keeps.
    pub(super) saved: Option<Saved>,
}

impl Node {
    pub(super) fn kind(&self) -> Kind {
        match self.body {
            Body::File(_) => Kind::File,
            Body::Directory(_) => Kind::Directory,
            Body::Symlink(_) => Kind::Symlink,
            Body::Other => Kind::Other,
        }
    }

    pub(super) fn file_bytes(&self) -> u64 {
        match &self.body {
            Body::File(bytes) => bytes.len() as u64,
            _ => 0,
        }
    }
}

/// All of one root.
pub(super) struct State {
    pub(super) options: MemoryOptions,
    pub(super) root_state: RootState,
    pub(super) operations: u64,
    /// Counts power cuts; a handle of an earlier boot is dead.
    pub(super) boot: u64,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    /// Directories as a power cut surely keeps them.
    pub(super) durable: BTreeMap<NodeId, Entries>,
    pub(super) pending: Vec<Pending>,
    pub(super) numbers: BTreeSet<u64>,
    pub(super) used_bytes: u64,
    pub(super) swept_nodes: usize,
    next_id: NodeId,
}

impl State {
    pub(super) fn new(options: MemoryOptions, now: i64) -> Self {
        let mut state = Self {
            options,
            root_state: RootState::Present,
            operations: 0,
            boot: 1,
            nodes: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            numbers: BTreeSet::from([ROOT_NUMBER, EMPTY_NUMBER]),
            used_bytes: 0,
            swept_nodes: 0,
            next_id: 2,
        };
        for (id, number) in [(ROOT, ROOT_NUMBER), (EMPTY, EMPTY_NUMBER)] {
            let mut node = new_node(number, Body::Directory(Entries::new()), 0o755, now);
            node.links = 1;
            state.nodes.insert(id, node);
            state.durable.insert(id, Entries::new());
        }
        state
    }

    /// The node; ids come from the tree itself and stay valid while linked or open.
    pub(super) fn node(&self, id: NodeId) -> Result<&Node, Errno> {
        self.nodes.get(&id).ok_or(Errno::STALE)
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&id).ok_or(Errno::STALE)
    }

    pub(super) fn entries(&self, id: NodeId) -> Result<&Entries, Errno> {
        match &self.node(id)?.body {
            Body::Directory(entries) => Ok(entries),
            Body::Symlink(_) => Err(Errno::LOOP),
            _ => Err(Errno::NOTDIR),
        }
    }

    /// The name as the directory holds it, and what it names.
    pub(super) fn find(&self, directory: NodeId, name: &[u8]) -> Result<(Vec<u8>, NodeId), Errno> {
        let entries = self.entries(directory)?;
        if let Some(id) = entries.get(name) {
            return Ok((name.to_vec(), *id));
        }
        if self.options.case_insensitive {
            let folded = fold(name);
            let found = entries.iter().find(|(other, _)| fold(other) == folded);
            return found.map(|(name, id)| (name.clone(), *id)).ok_or(Errno::NOENT);
        }
        Err(Errno::NOENT)
    }

    /// Enters a directory as our operations do: not through a symlink, a mount or a closed door.
    pub(super) fn enter(&self, id: NodeId) -> Result<NodeId, Errno> {
        self.entries(id)?;
        let node = self.node(id)?;
        if node.mounted {
            return Err(Errno::XDEV);
        }
        if node.unreadable {
            return Err(Errno::ACCESS);
        }
        Ok(id)
    }

    /// Walks to a directory, confined.
    pub(super) fn directory(&self, path: &RelPath) -> Result<NodeId, Errno> {
        let components: Vec<&str> = path.components().collect();
        self.walk(&components)
    }

    /// Walks to the directory that holds a path, confined; gives the last name too.
    pub(super) fn parent<'a>(&self, path: &'a RelPath) -> Result<(NodeId, &'a [u8]), Errno> {
        let mut components: Vec<&str> = path.components().collect();
        let name = components.pop().ok_or(Errno::INVAL)?;
        Ok((self.walk(&components)?, name.as_bytes()))
    }

    fn walk(&self, components: &[&str]) -> Result<NodeId, Errno> {
        let start = match self.root_state {
            RootState::Present => ROOT,
            RootState::Empty => EMPTY,
            RootState::Gone => return Err(Errno::IO),
        };
        let mut id = self.enter(start)?;
        for component in components {
            id = self.enter(self.find(id, component.as_bytes())?.1)?;
        }
        Ok(id)
    }

    /// Walks to what a path names, confined.
    pub(super) fn locate(&self, path: &RelPath) -> Result<NodeId, Errno> {
        if *path == RelPath::root() {
            return self.directory(path);
        }
        let (parent, name) = self.parent(path)?;
        Ok(self.find(parent, name)?.1)
    }

    pub(super) fn stat(&self, id: NodeId) -> Result<Stat, Errno> {
        let node = self.node(id)?;
        let directories = || match &node.body {
            Body::Directory(entries) => entries
                .values()
                .filter(|id| self.node(**id).is_ok_and(|node| node.kind() == Kind::Directory))
                .count() as u64,
            _ => 0,
        };
        Ok(Stat {
            kind: node.kind(),
            size: match &node.body {
                Body::File(bytes) | Body::Symlink(bytes) => bytes.len() as u64,
                Body::Directory(_) => 4096,
                Body::Other => 0,
            },
            mtime_ns: node.mtime_ns,
            ctime_ns: node.ctime_ns,
            inode: node.number,
            device: if node.mounted { DEVICE_MOUNTED } else { DEVICE },
            mode: node.mode,
            nlink: match node.kind() {
                Kind::Directory => 2 + directories(),
                _ => node.links,
            },
            birth_ns: self.options.birth.then_some(node.birth_ns),
        })
    }

    /// Creates a node under a free name.
    pub(super) fn create(
        &mut self,
        directory: NodeId,
        name: &[u8],
        body: Body,
        mode: u16,
        now: i64,
    ) -> Result<NodeId, Errno> {
        self.require_free(directory, name)?;
        if self.used_bytes >= self.options.capacity_bytes {
            return Err(Errno::NOSPC);
        }
        let number = (ROOT_NUMBER + 1..).find(|n| !self.numbers.contains(n)).ok_or(Errno::NOSPC)?;
        self.numbers.insert(number);
        let id = self.next_id;
        self.next_id += 1;
        self.nodes.insert(id, new_node(number, body, mode, now));
        self.put(directory, name, id, now)?;
        self.pending.push(Pending {
            requires: vec![Touch::Node(directory)],
            writes: self.touched(directory, name, id),
            changes: vec![(directory, name.to_vec(), Some(id))],
        });
        Ok(id)
    }

    /// Removes an entry; a directory must be empty.
    pub(super) fn unlink(&mut self, directory: NodeId, name: &[u8], now: i64) -> Result<(), Errno> {
        let (name, id) = self.find(directory, name)?;
        self.require_removable(id)?;
        self.pending.push(Pending {
            requires: vec![Touch::Node(directory), Touch::Inside(id)],
            writes: self.touched(directory, &name, id),
            changes: vec![(directory, name.clone(), None)],
        });
        self.take(directory, &name, now)?;
        self.release(id)
    }

    /// Adds one more name to a file.
    pub(super) fn link(
        &mut self,
        id: NodeId,
        directory: NodeId,
        name: &[u8],
        now: i64,
    ) -> Result<(), Errno> {
        self.require_free(directory, name)?;
        self.put(directory, name, id, now)?;
        self.pending.push(Pending {
            requires: vec![Touch::Node(directory)],
            writes: self.touched(directory, name, id),
            changes: vec![(directory, name.to_vec(), Some(id))],
        });
        Ok(())
    }

    /// Renames; what is at the target is replaced if `replace` and the kinds allow it.
    pub(super) fn rename(
        &mut self,
        from: (NodeId, &[u8]),
        to: (NodeId, &[u8]),
        replace: bool,
        now: i64,
    ) -> Result<(), Errno> {
        let (from_name, id) = self.find(from.0, from.1)?;
        let target = match self.find(to.0, to.1) {
            // Only the case of the name changes.
            Ok((name, _)) if to.0 == from.0 && name == from_name && to.1 != name => None,
            Ok((_, other)) if other == id && replace => return Ok(()),
            Ok(_) if !replace => return Err(Errno::EXIST),
            Ok(found) => Some(found),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(errno),
        };
        self.require_movable(id, to.0)?;
        let mut requires = vec![Touch::Node(from.0), Touch::Node(to.0)];
        let mut writes = self.touched(from.0, &from_name, id);
        let mut changes = vec![(from.0, from_name.clone(), None)];
        if let Some((name, other)) = target {
            let kinds = (self.node(id)?.kind(), self.node(other)?.kind());
            match kinds {
                (Kind::Directory, Kind::Directory) => self.require_removable(other)?,
                (Kind::Directory, _) => return Err(Errno::NOTDIR),
                (_, Kind::Directory) => return Err(Errno::ISDIR),
                _ => {}
            }
            requires.push(Touch::Inside(other));
            writes.extend(self.touched(to.0, &name, other));
            changes.push((to.0, name.clone(), None));
            self.take(to.0, &name, now)?;
            self.release(other)?;
        }
        self.order_directory_moves(&[id], &mut requires, &mut writes)?;
        writes.extend(self.touched(to.0, to.1, id));
        changes.push((to.0, to.1.to_vec(), Some(id)));
        self.take(from.0, &from_name, now)?;
        self.put(to.0, to.1, id, now)?;
        self.pending.push(Pending { requires, writes, changes });
        Ok(())
    }

    /// Exchanges what two names name.
    pub(super) fn exchange(
        &mut self,
        one: (NodeId, &[u8]),
        two: (NodeId, &[u8]),
        now: i64,
    ) -> Result<(), Errno> {
        let (one_name, one_id) = self.find(one.0, one.1)?;
        let (two_name, two_id) = self.find(two.0, two.1)?;
        if one_id == two_id {
            return Ok(());
        }
        self.require_movable(one_id, two.0)?;
        self.require_movable(two_id, one.0)?;
        let mut requires = vec![Touch::Node(one.0), Touch::Node(two.0)];
        let mut writes = self.touched(one.0, &one_name, one_id);
        writes.extend(self.touched(two.0, &two_name, two_id));
        self.order_directory_moves(&[one_id, two_id], &mut requires, &mut writes)?;
        let changes =
            vec![(one.0, one_name.clone(), Some(two_id)), (two.0, two_name.clone(), Some(one_id))];
        self.take(one.0, &one_name, now)?;
        self.take(two.0, &two_name, now)?;
        self.put(one.0, &one_name, two_id, now)?;
        self.put(two.0, &two_name, one_id, now)?;
        self.pending.push(Pending { requires, writes, changes });
        Ok(())
    }

    /// Writes into a file; a gap is filled with zeros.
    pub(super) fn write(
        &mut self,
        id: NodeId,
        offset: u64,
        bytes: &[u8],
        now: i64,
    ) -> Result<(), Errno> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(Errno::FBIG)?;
        if end > self.node(id)?.file_bytes() {
            self.resize(id, end, now)?;
        }
        let node = self.node_mut(id)?;
        if let Body::File(content) = &mut node.body {
            let start = usize::try_from(offset).map_err(|_| Errno::FBIG)?;
            content[start..start + bytes.len()].copy_from_slice(bytes);
        }
        (node.mtime_ns, node.ctime_ns, node.dirty) = (now, now, true);
        Ok(())
    }

    /// Sets a file's size.
    pub(super) fn resize(&mut self, id: NodeId, size: u64, now: i64) -> Result<(), Errno> {
        let before = self.node(id)?.file_bytes();
        let used = (self.used_bytes - before).saturating_add(size);
        if size > before && used > self.options.capacity_bytes {
            return Err(Errno::NOSPC);
        }
        let length = usize::try_from(size).map_err(|_| Errno::FBIG)?;
        let node = self.node_mut(id)?;
        match &mut node.body {
            Body::File(content) => content.resize(length, 0),
            Body::Directory(_) => return Err(Errno::ISDIR),
            _ => return Err(Errno::INVAL),
        }
        (node.mtime_ns, node.ctime_ns, node.dirty) = (now, now, true);
        self.used_bytes = used;
        Ok(())
    }

    /// Gives the number back if neither an entry nor a handle is left.
    pub(super) fn release(&mut self, id: NodeId) -> Result<(), Errno> {
        let node = self.node(id)?;
        if node.links == 0 && node.handles == 0 {
            let (number, bytes) = (node.number, node.file_bytes());
            self.numbers.remove(&number);
            self.used_bytes -= bytes;
        }
        Ok(())
    }

    fn require_free(&self, directory: NodeId, name: &[u8]) -> Result<(), Errno> {
        match self.find(directory, name) {
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno),
            Ok(_) => Err(Errno::EXIST),
        }
    }

    fn require_removable(&self, id: NodeId) -> Result<(), Errno> {
        let node = self.node(id)?;
        match &node.body {
            _ if node.mounted => Err(Errno::BUSY),
            Body::Directory(entries) if !entries.is_empty() => Err(Errno::NOTEMPTY),
            _ => Ok(()),
        }
    }

    /// Neither a mount point nor, for a directory, above its own target.
    fn require_movable(&self, id: NodeId, target: NodeId) -> Result<(), Errno> {
        if self.node(id)?.mounted {
            return Err(Errno::BUSY);
        }
        let mut below = vec![id];
        while let Some(next) = below.pop() {
            if next == target {
                return Err(Errno::INVAL);
            }
            if let Body::Directory(entries) = &self.node(next)?.body {
                below.extend(entries.values());
            }
        }
        Ok(())
    }

    /// Filesystems write moves of directories in order, lest a tree become a ring.
    fn order_directory_moves(
        &self,
        ids: &[NodeId],
        requires: &mut Vec<Touch>,
        writes: &mut Vec<Touch>,
    ) -> Result<(), Errno> {
        for id in ids {
            if self.node(*id)?.kind() == Kind::Directory {
                requires.push(Touch::DirectoryMoves);
                writes.push(Touch::DirectoryMoves);
            }
        }
        Ok(())
    }

    fn touched(&self, directory: NodeId, name: &[u8], id: NodeId) -> Vec<Touch> {
        let number = self.nodes.get(&id).map(|node| Touch::Number(node.number));
        let entry = Touch::Entry(directory, name.to_vec());
        [entry, Touch::Inside(directory), Touch::Node(id)].into_iter().chain(number).collect()
    }

    fn put(&mut self, directory: NodeId, name: &[u8], id: NodeId, now: i64) -> Result<(), Errno> {
        self.change_entries(directory, now)?.insert(name.to_vec(), id);
        let node = self.node_mut(id)?;
        node.links += 1;
        node.ctime_ns = now;
        Ok(())
    }

    fn take(&mut self, directory: NodeId, name: &[u8], now: i64) -> Result<(), Errno> {
        let id = self.change_entries(directory, now)?.remove(name).ok_or(Errno::NOENT)?;
        let node = self.node_mut(id)?;
        node.links -= 1;
        node.ctime_ns = now;
        Ok(())
    }

    fn change_entries(&mut self, directory: NodeId, now: i64) -> Result<&mut Entries, Errno> {
        let node = self.node_mut(directory)?;
        (node.mtime_ns, node.ctime_ns) = (now, now);
        match &mut node.body {
            Body::Directory(entries) => Ok(entries),
            _ => Err(Errno::NOTDIR),
        }
    }
}

fn new_node(number: u64, body: Body, mode: u16, now: i64) -> Node {
    Node {
        number,
        body,
        mode,
        mtime_ns: now,
        ctime_ns: now,
        birth_ns: now,
        links: 0,
        handles: 0,
        writers: 0,
        unreadable: false,
        mounted: false,
        dirty: true,
        saved: None,
    }
}

fn fold(name: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(name) {
        Ok(text) => common::name::fold(text).into_bytes(),
        Err(_) => name.to_vec(),
    }
}
