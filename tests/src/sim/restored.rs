//! What users bring back, as the book of values sees it: which groups a restore may be made of, and
//! what each of them takes away, brings and names.
//!
//! Owns the recognition of these groups. A group is a restore's when its device sends it while it is
//! asked for one. Of its changes, contents say themselves that they were brought back; a deletion is
//! the restore's only of what was not below the restored directory then: all else stays what it is
//! without a restore, and has to be explained by what users did. It must not know how a restore is
//! planned.

use super::ledger::{Fate, Print, print};
use super::world::World;
use common::chunk::{open_attributes, open_name};
use common::ids::{ContentTag, DeviceId, EntryId, FolderId};
use common::keys::FolderKeys;
use common::record::{Change, Group, Kind, Place};
use common::revision::Revision;
use std::collections::{BTreeMap, BTreeSet};

/// A restore that a device is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Which device.
    pub device: DeviceId,
    /// What it must not delete: what was below the directory then. Without a directory nothing is
    /// deleted at all.
    pub spares: Option<BTreeSet<EntryId>>,
}

impl Asked {
    /// A restore of a path to a revision, judged by the journal.
    #[must_use]
    pub fn of(world: &World, device: DeviceId, path: &str, at: Revision) -> Self {
        let tree = tree_at(world, at);
        let mut entry = Some(EntryId::ROOT);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let is_it = |there: &&There| Some(there.parent) == entry && there.name == name;
            entry = tree.iter().find(|(_, there)| is_it(there)).map(|(entry, _)| *entry);
        }
        // Where nothing was, it is what is there now, wherever that was.
        let Some(top) = entry else { return Self { device, spares: Some(BTreeSet::new()) } };
        if tree.get(&top).is_some_and(|there| there.kind != Kind::Directory) {
            return Self { device, spares: None };
        }
        let is_below = |entry: &EntryId| {
            let mut at = tree.get(entry);
            while let Some(there) = at.filter(|there| there.parent != top) {
                at = tree.get(&there.parent);
            }
            at.is_some()
        };
        Self { device, spares: Some(tree.keys().copied().filter(is_below).collect()) }
    }

    /// A restore to a moment that cannot be told beforehand: a thinned history goes back further.
    #[must_use]
    pub fn of_some_moment(device: DeviceId) -> Self {
        Self { device, spares: Some(BTreeSet::new()) }
    }

    fn may_delete(&self, entry: &EntryId) -> bool {
        self.spares.as_ref().is_some_and(|spares| !spares.contains(entry))
    }
}

struct There {
    parent: EntryId,
    name: String,
    kind: Kind,
}

/// What was live at a revision.
fn tree_at(world: &World, at: Revision) -> BTreeMap<EntryId, There> {
    let (keys, folder) = (world.keys(), world.folder());
    let mut kinds = BTreeMap::new();
    let mut tree = BTreeMap::new();
    for row in world.journal().into_iter().filter(|row| row.entry.revision <= at) {
        let Ok(group) = row.entry.group.decode() else { continue };
        for change in group.changes {
            if let Change::Create { entry, kind, .. } = &change {
                kinds.insert(*entry, *kind);
            }
            match change {
                Change::Create { entry, place, .. }
                | Change::Move { entry, place, .. }
                | Change::Revive { entry, place, .. } => {
                    let name = name_of(&keys, &folder, &entry, &place).unwrap_or_default();
                    let kind = kinds.get(&entry).copied().unwrap_or(Kind::File);
                    tree.insert(entry, There { parent: place.parent, name, kind });
                }
                Change::Delete { entry, .. } => drop(tree.remove(&entry)),
                _ => {}
            }
        }
    }
    tree
}

fn name_of(keys: &FolderKeys, folder: &FolderId, entry: &EntryId, place: &Place) -> Option<String> {
    open_name(keys, folder, entry, &place.name).ok().map(|name| name.as_str().to_owned())
}

/// What a restore's group does to values.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Taken away from where they were.
    pub(super) removed: Vec<(ContentTag, Fate)>,
    pub(super) brought: Vec<ContentTag>,
    /// What took the place of what.
    pub(super) tied: Vec<(ContentTag, ContentTag)>,
    pub(super) named: Vec<(ContentTag, String)>,
}

/// What entries hold at the server, group by group.
#[derive(Clone, Default)]
struct Held {
    contents: BTreeMap<EntryId, ContentTag>,
    names: BTreeMap<EntryId, String>,
}

impl Held {
    /// Takes a group, which may be one of these restores.
    fn take(
        &mut self,
        group: &Group,
        asked: &[Asked],
        (keys, folder): (&FolderKeys, &FolderId),
    ) -> Effects {
        let before = self.contents.clone();
        let mut effects = Effects::default();
        let (mut edited, mut deleted, mut placed) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
        for change in &group.changes {
            match change {
                Change::Create { entry, content, .. } | Change::Edit { entry, content, .. } => {
                    self.contents.insert(*entry, content.tag);
                    let attributes = open_attributes(keys, folder, entry, &content.attributes);
                    if attributes.is_ok_and(|attributes| attributes.restored.is_some()) {
                        edited.insert(*entry);
                    }
                }
                Change::Delete { entry, .. } => deleted.push(*entry),
                _ => {}
            }
            match change {
                Change::Create { entry, place, .. }
                | Change::Move { entry, place, .. }
                | Change::Revive { entry, place, .. } => {
                    placed.insert(*entry);
                    let name = name_of(keys, folder, entry, place);
                    self.names.extend(name.map(|name| (*entry, name)));
                    if let Change::Revive { .. } = change {
                        edited.insert(*entry);
                    }
                }
                _ => {}
            }
        }
        if asked.is_empty() {
            return Effects::default();
        }
        // What is brought back has the name of where it comes to, whatever stood there.
        placed.extend(&edited);
        for entry in edited {
            let Some(now) = self.contents.get(&entry).copied() else { continue };
            effects.brought.push(now);
            if let Some(was) = before.get(&entry).filter(|was| **was != now) {
                effects.removed.push((*was, Fate::Superseded));
                effects.tied.push((*was, now));
            }
        }
        deleted.retain(|entry| asked.iter().any(|asked| asked.may_delete(entry)));
        let gone = deleted.iter().filter_map(|entry| self.contents.get(entry));
        effects.removed.extend(gone.map(|tag| (*tag, Fate::Deleted)));
        // A swap that has come half way shows a value twice: taking one of the two away is enough.
        let brought = &effects.brought;
        effects.removed.retain(|(tag, _)| !brought.contains(tag));
        for entry in placed {
            // So has what it takes the place of: somebody may have edited that where it was.
            let Some(name) = self.names.get(&entry) else { continue };
            let tags = [before.get(&entry), self.contents.get(&entry)].into_iter().flatten();
            effects.named.extend(tags.map(|tag| (*tag, name.clone())));
        }
        effects
    }
}

/// Restores that are under way, and the groups of all that there were.
#[derive(Default)]
pub(super) struct Restores {
    asked: BTreeMap<u64, Asked>,
    count: u64,
    /// By the print of the group.
    groups: BTreeMap<Print, Vec<Asked>>,
    /// Groups whose acceptance was seen.
    seen: BTreeSet<Print>,
    held: Held,
}

impl Restores {
    /// A device is asked for a restore, until [`Restores::ends`].
    pub(super) fn begins(&mut self, asked: Asked) -> u64 {
        self.count += 1;
        self.asked.insert(self.count, asked);
        self.count
    }

    pub(super) fn ends(&mut self, number: u64) {
        self.asked.remove(&number);
    }

    /// Notes a group that a device sends.
    pub(super) fn sent(&mut self, device: DeviceId, body: &[u8]) {
        let asked = self.asked.values().filter(|asked| asked.device == device);
        let asked: Vec<Asked> = asked.cloned().collect();
        if !asked.is_empty() {
            self.groups.insert(print(body), asked);
        }
    }

    /// What a group does that was accepted just now.
    pub(super) fn accepted(
        &mut self,
        body: &[u8],
        group: &Group,
        opening: (&FolderKeys, &FolderId),
    ) -> Effects {
        let print = print(body);
        self.seen.insert(print);
        let asked = self.groups.get(&print).map_or(&[][..], Vec::as_slice);
        self.held.take(group, asked, opening)
    }

    /// Whether a deletion in a group is what a restore may do.
    pub(super) fn explains(&self, body: &[u8], entry: &EntryId) -> bool {
        let asked = self.groups.get(&print(body));
        asked.is_some_and(|asked| asked.iter().any(|asked| asked.may_delete(entry)))
    }

    /// Reads the journal anew: groups may have been accepted without anybody to see it, and a server
    /// that was restored has forgotten some. Returns what restores have taken away and nothing brought
    /// since, and what else the groups did that nobody saw.
    pub(super) fn learn(
        &mut self,
        journal: &[(Vec<u8>, Group)],
        opening: (&FolderKeys, &FolderId),
    ) -> Effects {
        let (mut held, mut unseen) = (Held::default(), Effects::default());
        let mut gone: BTreeMap<ContentTag, Fate> = BTreeMap::new();
        for (body, group) in journal {
            let print = print(body);
            let asked = self.groups.get(&print).map_or(&[][..], Vec::as_slice);
            let effects = held.take(group, asked, opening);
            gone.extend(effects.removed);
            gone.retain(|tag, _| !effects.brought.contains(tag));
            if self.seen.insert(print) {
                unseen.tied.extend(effects.tied);
                unseen.named.extend(effects.named);
            }
        }
        self.held = held;
        Effects { removed: gone.into_iter().collect(), ..unseen }
    }

    /// The server has gone back: a revision of what is under way may mean another moment.
    pub(super) fn forget_moments(&mut self) {
        for asked in self.asked.values_mut().filter(|asked| asked.spares.is_some()) {
            asked.spares = Some(BTreeSet::new());
        }
    }
}

/// Notes what restores have done that the journal has and the book does not know yet.
pub fn learn_restores(world: &World) {
    let rows = world.journal().into_iter();
    let groups = rows.filter_map(|row| {
        let group = row.entry.group.decode().ok()?;
        Some((row.entry.group.body, group))
    });
    world.ledger.learn_restores(&groups.collect::<Vec<_>>());
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Ledger;
    use super::super::writer::Tree;
    use super::*;
    use client::fs::memory::user::UserEntry;
    use common::chunk::{Attributes, seal_attributes, seal_name};
    use common::ids::{Head, RequestId, UserId};
    use common::keys::SigningKey;
    use common::name::Name;
    use common::record::{Content, SignedGroup};
    use std::sync::Arc;

    const DEVICE: DeviceId = DeviceId::from_bytes([1; 32]);
    const FOLDER: FolderId = FolderId::from_bytes([2; 32]);
    const FILE: EntryId = EntryId::from_bytes([3; 16]);
    const OTHER: EntryId = EntryId::from_bytes([4; 16]);

    struct Book {
        keys: Arc<FolderKeys>,
        ledger: Ledger,
        sent: u64,
    }

    impl Book {
        fn new() -> Self {
            let keys = Arc::new(FolderKeys::new([5; 32], [6; 32]));
            let ledger = Ledger::new(Arc::clone(&keys), FOLDER, false);
            for bytes in [b"first", b"later"] {
                ledger.written(bytes, "file");
            }
            Self { keys, ledger, sent: 0 }
        }

        fn content(&self, entry: &EntryId, bytes: &[u8], restored: Option<Revision>) -> Content {
            let (tag, size) = (self.ledger.tag(bytes), bytes.len() as u64);
            let attributes =
                Attributes { mode: 0o644, mtime_ns: 0, size, target: None, tag, restored };
            let attributes = seal_attributes(&self.keys, &FOLDER, entry, &attributes);
            Content { root: None, tag, attributes }
        }

        fn create(&self, entry: EntryId, bytes: &[u8]) -> Change {
            let name = Name::new("file").unwrap();
            let parent = EntryId::ROOT;
            let name_tag = self.keys.name_tag(&parent, &name);
            let name = seal_name(&self.keys, &FOLDER, &entry, &name);
            let place = Place { parent, name, name_tag };
            let content = self.content(&entry, bytes, None);
            Change::Create { entry, kind: Kind::File, place, content }
        }

        fn edit(&self, bytes: &[u8], restored: Option<Revision>) -> Change {
            Change::Edit { entry: FILE, base: 1, content: self.content(&FILE, bytes, restored) }
        }

        /// The device sends a group, which is accepted; returns its bytes.
        fn commit(&mut self, change: Change) -> Vec<u8> {
            self.sent += 1;
            let group = Group {
                folder: FOLDER,
                epoch: 1,
                user: UserId::from_bytes([7; 32]),
                device: DEVICE,
                request: RequestId { incarnation: 1, counter: self.sent },
                seen_revision: 0,
                seen_head: Head::from_bytes([0; 32]),
                device_log_head: Head::from_bytes([0; 32]),
                changes: vec![change],
            };
            let key = SigningKey::from_seed([8; 32]);
            let body = SignedGroup::sign(&group, &key).body;
            self.ledger.sent(DEVICE, &body);
            self.ledger.accepted(&body);
            body
        }

        fn fate(&self, bytes: &[u8]) -> Fate {
            self.ledger.value(&print(bytes)).unwrap().fate
        }
    }

    fn asked(spares: Option<&[EntryId]>) -> Asked {
        let spares = spares.map(|entries| entries.iter().copied().collect());
        Asked { device: DEVICE, spares }
    }

    #[test]
    fn what_is_brought_back_has_to_stay_only_when_its_first_life_is_over() {
        for agreed in [false, true] {
            let mut book = Book::new();
            book.commit(book.create(FILE, b"first"));
            book.commit(book.edit(b"later", None));
            book.ledger.settle(&print(b"first"), Fate::Superseded);
            if agreed {
                book.ledger.agreed(&Tree::new(), BTreeSet::from([print(b"later")]));
            }
            let under_way = book.ledger.restore_begins(asked(None));
            book.commit(book.edit(b"first", Some(1)));
            book.ledger.restore_ends(under_way);
            let expected = if agreed { Fate::Alive } else { Fate::Superseded };
            assert_eq!([book.fate(b"first"), book.fate(b"later")], [expected, Fate::Superseded]);
            assert_eq!(book.ledger.brought_after(0), BTreeSet::from([print(b"first")]));
        }
    }

    #[test]
    fn what_no_restore_brought_or_may_take_away_is_nobodys_restore() {
        let delete = |entry| Change::Delete { entry, place_base: 1, content_base: 1 };
        for (asked, is_explained) in [
            (None, false),
            (Some(asked(None)), false),
            (Some(asked(Some(&[OTHER]))), true),
            (Some(asked(Some(&[FILE, OTHER]))), false),
        ] {
            let mut book = Book::new();
            book.commit(book.create(FILE, b"first"));
            let under_way = asked.map(|asked| book.ledger.restore_begins(asked));
            // An edit that says of itself that it is a user's own.
            book.commit(book.edit(b"later", None));
            assert_eq!(book.fate(b"first"), Fate::Alive);
            let body = book.commit(delete(FILE));
            assert_eq!(book.ledger.is_of_restore(&body, &FILE), is_explained);
            let expected = if is_explained { Fate::Deleted } else { Fate::Alive };
            assert_eq!(book.fate(b"later"), expected);
            under_way.into_iter().for_each(|number| book.ledger.restore_ends(number));
        }
    }

    /// Seed 4430: a power cut tears a file, and a restore brings its place back first and then what
    /// it held, in a group that names nothing.
    #[test]
    fn what_is_brought_back_has_the_name_of_where_it_comes_to() {
        let mut book = Book::new();
        book.ledger.written(b"moved", "other");
        let file = UserEntry::File(b"moved".to_vec(), 0o644);
        book.ledger.changed(0, &Tree::new(), &Tree::from([("other".to_owned(), file)]));
        book.commit(book.create(FILE, b"torn, which nobody wrote"));
        let under_way = book.ledger.restore_begins(asked(None));
        book.commit(book.edit(b"moved", Some(1)));
        book.ledger.restore_ends(under_way);
        let names = book.ledger.names().remove(&print(b"moved")).unwrap_or_default();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["file", "other"]);
    }

    /// Seed 3101: what a restore replaces with something that nobody wrote stands beside it as the side of
    /// a conflict.
    #[test]
    fn what_is_replaced_by_what_is_brought_back_may_have_its_name() {
        let mut book = Book::new();
        book.ledger.written(b"edited", "other");
        let file = UserEntry::File(b"edited".to_vec(), 0o644);
        book.ledger.changed(0, &Tree::new(), &Tree::from([("other".to_owned(), file)]));
        book.commit(book.create(FILE, b"first"));
        book.commit(book.edit(b"edited", None));
        let under_way = book.ledger.restore_begins(asked(None));
        book.commit(book.edit(b"torn, which nobody wrote", Some(1)));
        book.ledger.restore_ends(under_way);
        let names = book.ledger.names().remove(&print(b"edited")).unwrap_or_default();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["file", "other"]);
    }

    /// Seed 236: a user swaps two files, and only half of that has come to the server when somebody else
    /// restores the folder. The other half comes, and the value is nowhere: both have replaced it.
    #[test]
    fn a_value_that_is_shown_twice_is_taken_away_once() {
        let mut book = Book::new();
        book.commit(book.create(OTHER, b"first"));
        book.commit(book.create(FILE, b"first"));
        let under_way = book.ledger.restore_begins(asked(None));
        book.commit(book.edit(b"later", Some(1)));
        book.ledger.restore_ends(under_way);
        assert_eq!(book.fate(b"first"), Fate::Superseded);
    }
}
