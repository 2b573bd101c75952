//! What is deleted because something else holds it now: loose objects that git has packed, and what lies
//! in a directory that has become a bundle.
//!
//! Owns the shape of git's object store, as far as the guard has to know it: `objects/xx/` holds
//! loose objects, `objects/pack/` the packs that `git gc` moves them to (gitrepository-layout(5)).
//! It must not decide what is held back.

use super::round::Round;
use crate::tree::{Kind, Position};
use common::archive::is_bundle;
use common::ids::EntryId;
use common::limits::DEPTH_MAX;
use common::name::Name;
use std::collections::BTreeMap;

/// Where the pack or bundle is that holds what is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packed {
    /// There is none.
    No,
    /// At the server, and not on this disk yet; or on this disk, and not read yet.
    Coming,
    /// On this disk.
    Here,
}

/// Tells which deletions leave packed objects behind, and remembers what it has looked up.
pub(super) struct Repacks {
    /// By the id of an object store's `objects` directory.
    packed: BTreeMap<EntryId, Packed>,
    /// By entry: what of it and of the directories above it is known.
    bundled: BTreeMap<EntryId, Packed>,
    from_remote: bool,
}

impl Repacks {
    /// For deletions that come from the server, or for those found on this disk.
    pub(super) fn new(from_remote: bool) -> Self {
        Self { packed: BTreeMap::new(), bundled: BTreeMap::new(), from_remote }
    }

    /// Whether an entry, or a directory above it, stood where a bundle stands now.
    fn bundled_in(&mut self, round: &Round<'_>, entry: &EntryId) -> Packed {
        let (mut at, mut above) = (*entry, Vec::new());
        let found = loop {
            if let Some(known) = self.bundled.get(&at) {
                break *known;
            }
            let Some(position) = base(round, &at) else { break Packed::No };
            above.push(at);
            match taken_by_bundle(round, &at, &position) {
                Packed::No if above.len() <= DEPTH_MAX => at = position.parent,
                found => break found,
            }
        };
        self.bundled.extend(above.into_iter().map(|entry| (entry, found)));
        found
    }

    /// Whether an entry that is to go is a loose object of git, or a directory of such, and the side
    /// that deleted it has a whole pack beside; or a bundle of this disk has taken the place of a
    /// directory that it lay in.
    pub(super) fn of(&mut self, round: &Round<'_>, entry: &EntryId) -> Packed {
        if !self.from_remote {
            let bundled = self.bundled_in(round, entry);
            if bundled != Packed::No {
                return bundled;
            }
        }
        let Some(objects) = loose_in(round, entry) else { return Packed::No };
        let from_remote = self.from_remote;
        *self.packed.entry(objects).or_insert_with(|| match has_pack(round, objects, false) {
            _ if from_remote && !has_pack(round, objects, true) => Packed::No,
            true => Packed::Here,
            false if from_remote => Packed::Coming,
            false => Packed::No,
        })
    }
}

/// Whether a bundle stands where a directory stood.
fn taken_by_bundle(round: &Round<'_>, directory: &EntryId, position: &Position) -> Packed {
    let Some(standing) = round.trees.view().local_at(position) else { return Packed::No };
    let Some(node) = round.trees.get(&standing).local.clone() else { return Packed::No };
    if standing == *directory || node.kind != Kind::File {
        return Packed::No;
    }
    match node.content {
        Some(content) if is_bundle(content.mode) => Packed::Here,
        Some(_) => Packed::No,
        None => Packed::Coming,
    }
}

/// The `objects` directory that an entry was a loose object of, or a directory of such.
fn loose_in(round: &Round<'_>, entry: &EntryId) -> Option<EntryId> {
    let fan_out = match base(round, entry)? {
        object if is_hexadecimal(&object.name, &[38, 62]) => base(round, &object.parent)?,
        directory => directory,
    };
    let objects = fan_out.parent;
    let is_store = base(round, &objects)?.name.as_str() == "objects";
    (is_store && is_hexadecimal(&fan_out.name, &[2])).then_some(objects)
}

fn base(round: &Round<'_>, entry: &EntryId) -> Option<Position> {
    round.trees.get(entry).base().map(|node| node.position.clone())
}

fn is_hexadecimal(name: &Name, lengths: &[usize]) -> bool {
    let name = name.as_str();
    lengths.contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a pack stands there with its index: git writes the index last, and drops loose objects
/// after that.
fn has_pack(round: &Round<'_>, objects: EntryId, from_remote: bool) -> bool {
    let view = round.trees.view();
    let at = |parent, name: &str| {
        let position = Position { parent, name: Name::new(name).ok()? };
        if from_remote { view.remote_at(&position) } else { view.local_at(&position) }
    };
    let Some(packs) = at(objects, "pack") else { return false };
    let inside =
        if from_remote { view.remote_children(&packs) } else { view.local_children(&packs) };
    inside.iter().any(|child| {
        let trio = round.trees.get(child);
        let name = match from_remote {
            true => trio.live().map(|node| &node.position.name),
            false => trio.local.as_ref().map(|node| &node.position.name),
        };
        let index = name.and_then(|name| name.as_str().strip_suffix(".idx"));
        index.is_some_and(|stem| at(packs, &format!("{stem}.pack")).is_some())
    })
}
