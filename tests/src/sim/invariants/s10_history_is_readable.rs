//! S10: superseded and deleted values stay in the history, readable to the byte.

use super::super::ledger::Fate;
use super::super::world::World;
use common::chunk::{open_chunk, open_page};
use common::ids::{ChunkId, ContentTag, EntryId};
use common::record::{Kind, Root};
use futures_util::FutureExt;
use server::chunk_store::ChunkKey;
use std::collections::BTreeSet;

/// Checks that each version of each file's content opens to what it was, and that each accepted
/// value is among them; of a thinned history each that is alive.
pub fn s10_history_is_readable(world: &World, thinned: bool) {
    let mut readable: BTreeSet<ContentTag> = BTreeSet::new();
    for (entry, root, tag) in history(world) {
        if !readable.contains(&tag) {
            match root.map_or(Some(Vec::new()), |root| read(world, &root)) {
                Some(bytes) if world.ledger.tag(&bytes) == tag => drop(readable.insert(tag)),
                Some(_) => broken(world, &entry, "does not hold what its tag says"),
                None => broken(world, &entry, "cannot be read"),
            }
        }
    }
    for (_, value) in world.ledger.all() {
        // What a thinned history has to have is for its whole moments to say.
        let settled = match value.fate {
            Fate::Superseded | Fate::Deleted => !thinned,
            Fate::Alive => true,
            Fate::Excused(_) => false,
        };
        if settled && world.ledger.is_accepted(&value.tag) && !readable.contains(&value.tag) {
            let number = value.number;
            world.ledger.violation(format!("S10: accepted value {number} is not in the history"));
        }
    }
}

/// Each version of each file that the server ever accepted.
pub(super) fn history(world: &World) -> Vec<(EntryId, Option<Root>, ContentTag)> {
    let (folder, meta) = (world.folder(), world.server.meta());
    let entries = meta.read(|reads| reads.entries(&folder, None, usize::MAX >> 1)).unwrap();
    let files = entries.into_iter().filter(|(_, kind)| *kind == Kind::File);
    let of_entry = |(entry, _)| {
        let versions = versions(world, &entry).into_iter();
        versions.map(move |(root, tag)| (entry, root, tag))
    };
    files.flat_map(of_entry).collect()
}

fn broken(world: &World, entry: &EntryId, what: &str) {
    world.ledger.violation(format!("S10: a version of {entry} {what}"));
}

fn versions(world: &World, entry: &EntryId) -> Vec<(Option<Root>, ContentTag)> {
    let folder = world.folder();
    let at = u64::MAX >> 1;
    let meta = world.server.meta();
    let versions = meta.read(|reads| reads.contents(&folder, entry, at, usize::MAX >> 1)).unwrap();
    let kept = versions.into_iter().filter(|version| !version.released);
    kept.map(|version| (version.content.root, version.content.tag)).collect()
}

pub(super) fn read(world: &World, root: &Root) -> Option<Vec<u8>> {
    let folder = world.folder();
    let keys = world.keys();
    let mut bytes = Vec::new();
    let mut open: Vec<(ChunkId, u8)> = vec![(root.id, root.level)];
    while let Some((id, level)) = open.pop() {
        let key = ChunkKey { folder, id };
        let stored = world.server.chunks().get(key).now_or_never()?.ok()??;
        if level == 0 {
            bytes.extend(open_chunk(&keys, &folder, &id, &stored).ok()?);
        } else {
            let page = open_page(&keys, &folder, &id, level, &stored).ok()?;
            open.extend(page.children.iter().rev().map(|child| (child.id, level - 1)));
        }
    }
    Some(bytes)
}
