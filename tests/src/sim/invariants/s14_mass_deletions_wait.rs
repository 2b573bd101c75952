//! S14: a plan that deletes or empties more than the guard allows waits for a person.

use super::super::ledger::Ledger;
use super::super::server::SimServer;
use super::super::writer::rel_path;
use client::engine::Pins;
use client::fs::memory::user::MemoryUser;
use client::fs::memory::{Operation, OperationKind};
use client::fs::{Area, RelPath};
use client_core::bundles::BundleRules;
use common::chunk::open_name;
use common::ids::{ContentTag, EntryId, FolderId};
use common::keys::FolderKeys;
use common::name::BUNDLES_FILE;
use common::record::{Change, Place, SignedGroup};
use common::revision::Revision;
use common::wire::meta::GroupMessage;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The guard as it is promised: more than this share, in percent, and more than so many entries.
const GUARD: (usize, usize) = (50, 20);

/// Counts what one device deletes and empties in a round of its engine, which carries out one plan:
/// at the server, and on its own disk. Clones share the count.
#[derive(Clone)]
pub struct MassDeletionsWait {
    watched: Arc<Watched>,
    round: Arc<Mutex<Round>>,
}

/// The device that is watched.
pub struct Watched {
    /// Counts devices from 0.
    pub device: usize,
    /// Its disk.
    pub user: MemoryUser,
    /// How far it has heard.
    pub pins: Arc<dyn Pins>,
    /// The server.
    pub server: Arc<SimServer>,
    /// The folder.
    pub folder: FolderId,
    /// Its keys.
    pub keys: Arc<FolderKeys>,
    /// Where a broken rule is noted.
    pub ledger: Ledger,
}

#[derive(Default)]
struct Round {
    /// A person has agreed, and no trouble has begun since.
    confirmed: bool,
    /// Paths on the disk when the round began.
    shown: BTreeSet<String>,
    sent: BTreeSet<EntryId>,
    /// How far it had heard of the journal when it first sent something.
    heard: Option<Revision>,
    applied: usize,
}

impl MassDeletionsWait {
    /// For one device.
    #[must_use]
    pub fn new(watched: Watched) -> Self {
        Self { watched: Arc::new(watched), round: Arc::default() }
    }

    /// The engine plans anew.
    pub fn begin_round(&self) {
        let shown = self.watched.user.paths();
        let mut round = self.round();
        let confirmed = round.confirmed;
        *round = Round { confirmed, shown, ..Round::default() };
    }

    /// A person agrees to what waits, or whoever agreed has gone.
    pub fn set_confirmed(&self, confirmed: bool) {
        self.round().confirmed = confirmed;
    }

    /// Judges the groups of a commit that the engine sends.
    pub fn sent(&self, groups: &[GroupMessage]) {
        for message in groups {
            let signature = common::ids::Signature::from_bytes([0; 64]);
            let signed = SignedGroup { body: message.body.clone(), signature };
            let Ok(group) = signed.decode() else { continue };
            // What comes back empty was deleted where this was planned; the server refuses it by now.
            let comes_back = |entry: &EntryId| {
                let is_it = |change: &Change| matches!(change, Change::Revive { entry: it, .. } if it == entry);
                group.changes.iter().any(is_it)
            };
            let lost = group.changes.iter().filter_map(|change| self.watched.lost(change));
            let lost = lost.filter(|entry| !comes_back(entry));
            let (sent, heard) = {
                let mut round = self.round();
                round.sent.extend(lost);
                // What its first groups delete is gone from the journal for the next ones.
                let heard = *round.heard.get_or_insert(group.seen_revision);
                (round.sent.clone(), heard)
            };
            let mut count = sent.len();
            if count > GUARD.1 {
                count -= self.watched.bundled(&sent, heard);
            }
            self.judge(count, heard, "sends");
        }
    }

    /// Judges an operation that is about to be done.
    pub fn before(&self, user: &MemoryUser, operation: &Operation) {
        let Operation { kind, path, to, .. } = operation;
        let is_empty = |path: &RelPath| user.read(path.to_string()).map(|bytes| bytes.is_empty());
        let is_in = |area: Area| to.as_ref().is_some_and(|to| to.area() == area);
        let loses = match kind {
            OperationKind::Rename => !path.is_private() && is_in(Area::Displaced),
            OperationKind::Remove => !path.is_private(),
            OperationKind::Exchange if is_in(Area::Tree) => {
                let was_empty = to.as_ref().is_none_or(|to| is_empty(to).unwrap_or(true));
                !was_empty && is_empty(path).unwrap_or(false)
            }
            _ => false,
        };
        if loses {
            let applied = {
                let mut round = self.round();
                round.applied += 1;
                round.applied
            };
            let pinned = self.watched.pins.pinned(&self.watched.folder);
            self.judge(applied, pinned.map_or(0, |cursor| cursor.revision), "applies");
        }
    }

    /// Of what a device holds, nothing is neither on its disk nor live at the server as it last heard:
    /// the guard compares with no more than both together.
    fn judge(&self, count: usize, heard: Revision, does: &str) {
        if count <= GUARD.1 || self.round().confirmed {
            return;
        }
        let mut held = self.watched.live_paths(heard);
        held.extend(self.round().shown.iter().cloned());
        if count * 100 > held.len() * GUARD.0 {
            let (device, held) = (self.watched.device, held.len());
            self.watched.ledger.violation(format!(
                "S14: device {device} {does} {count} deletions of {held} entries, and nobody agreed"
            ));
        }
    }

    fn round(&self) -> MutexGuard<'_, Round> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// The entry that a change deletes or empties.
    fn lost(&self, change: &Change) -> Option<EntryId> {
        let empty = self.ledger.tag(&[]);
        match change {
            Change::Delete { entry, .. } => Some(*entry),
            // What is empty already, or deleted and comes back, loses nothing more.
            Change::Edit { entry, content, .. } if content.tag == empty => {
                self.newest_content(entry).is_some_and(|tag| tag != empty).then_some(*entry)
            }
            _ => None,
        }
    }

    /// The content that a live entry has at the server.
    fn newest_content(&self, entry: &EntryId) -> Option<ContentTag> {
        let (folder, meta) = (&self.folder, self.server.meta());
        meta.read(|reads| reads.entry(folder, entry)).unwrap().filter(|state| !state.deleted)?;
        let newest = meta.read(|reads| reads.contents(folder, entry, u64::MAX >> 1, 1)).unwrap();
        newest.into_iter().next().map(|version| version.content.tag)
    }

    /// How many of these entries lie on the disk as they did, in what is a bundle there by the folder's
    /// rules: they are not lost, but in the bundle's archive.
    fn bundled(&self, entries: &BTreeSet<EntryId>, up_to: Revision) -> usize {
        let text = self.user.read(BUNDLES_FILE).unwrap_or_default();
        let (rules, _) = BundleRules::parse(&text);
        let places = self.live_places(up_to);
        let is_bundled = |entry: &&EntryId| {
            let path = self.path(&places, entry);
            let names = rel_path(&path);
            names.is_some_and(|names| rules.root_of(names.names()).is_some())
                && self.user.stat(&path).is_ok()
        };
        entries.iter().filter(is_bundled).count()
    }

    /// Paths of what was live at the server after a revision.
    fn live_paths(&self, up_to: Revision) -> BTreeSet<String> {
        let places = self.live_places(up_to);
        places.keys().map(|entry| self.path(&places, entry)).collect()
    }

    fn live_places(&self, up_to: Revision) -> BTreeMap<EntryId, Place> {
        let (all, meta) = (usize::MAX >> 1, self.server.meta());
        let journal = meta.read(|reads| reads.journal(&self.folder, 0, all, all)).unwrap();
        let heard = journal.iter().filter(|row| row.entry.revision <= up_to);
        let groups = heard.filter_map(|row| row.entry.group.decode().ok());
        let mut places: BTreeMap<EntryId, Place> = BTreeMap::new();
        for change in groups.flat_map(|group| group.changes) {
            match change {
                Change::Create { entry, place, .. }
                | Change::Move { entry, place, .. }
                | Change::Revive { entry, place, .. } => drop(places.insert(entry, place)),
                Change::Delete { entry, .. } => drop(places.remove(&entry)),
                _ => {}
            }
        }
        places
    }

    fn path(&self, places: &BTreeMap<EntryId, Place>, entry: &EntryId) -> String {
        let (mut names, mut at) = (Vec::new(), *entry);
        // A cycle is for another rule to find.
        while let Some(place) = places.get(&at).filter(|_| names.len() <= places.len()) {
            let name = open_name(&self.keys, &self.folder, &at, &place.name);
            names.push(name.map_or_else(|error| error.to_string(), |name| name.as_str().into()));
            at = place.parent;
        }
        names.reverse();
        names.join("/")
    }
}
