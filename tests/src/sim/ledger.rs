//! What was written, by whom, and what became of it: the measure of S1.
//!
//! Owns the book of values. A value is one content of one file, unique in its bytes. It is
//! superseded or deleted when the user who saw it wrote over it or removed it, excused when no
//! promise covers it (a power cut before it was synced), and has to survive otherwise. It must not
//! know how a file was written.

mod bundled;
mod second;

use super::bundles::{Parts, is_archive, is_hollow, parts, shown, shown_private};
use super::lineage::Lineage;
use super::merges::{self, Contents, Found, Merge};
use super::restored::{Asked, Effects, Restores};
use super::writer::Tree;
use client::fs::memory::user::{MemoryUser, UserEntry};
use common::archive::MODE_BUNDLE;
use common::chunk::Chunker;
use common::ids::{ContentTag, DeviceId, EntryId, FolderId};
use common::keys::FolderKeys;
use common::record::{Change, Group, SignedGroup};
use second::SecondLives;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// Lines of the event log that are kept.
const LOG_LINES: usize = 400;

/// Hash of a content.
pub type Print = [u8; 32];

/// What became of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has to be found at the end.
    Alive,
    /// A later write of somebody who saw it took its place.
    Superseded,
    /// Somebody who saw it removed it.
    Deleted,
    /// It was lost where nothing was promised yet.
    Excused(&'static str),
}

/// One content that was written.
#[derive(Clone, Debug)]
pub struct Value {
    /// Counts values from 1.
    pub number: u64,
    /// Device and path.
    pub place: String,
    /// What became of it.
    pub fate: Fate,
    /// How devices compare it.
    pub tag: ContentTag,
}

/// The book. Clones share it.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Mutex<Inner>>,
    keys: Arc<FolderKeys>,
    folder: FolderId,
    chunker: Chunker,
}

/// A merge in the book.
#[derive(Clone)]
struct Noted {
    made: Print,
    sides: [Print; 2],
    /// The sides that it put an end to.
    ended: Vec<Print>,
}

#[derive(Default)]
struct Inner {
    values: BTreeMap<Print, Value>,
    /// Contents that nobody wrote but a power cut left behind.
    torn: BTreeSet<Print>,
    /// Contents that a power cut left behind with times from before they were written.
    timeless: BTreeSet<Print>,
    /// Tags of all contents of either making.
    tags: BTreeSet<ContentTag>,
    /// Values and merges that are texts, and what a power cut left of some.
    texts: BTreeMap<ContentTag, Vec<u8>>,
    /// What files hold at the server, group by group.
    contents: Contents,
    /// Merges that are noted, each with the prints of both edits and of what came of them.
    merges: BTreeMap<Merge, Noted>,
    /// Values that are bundles.
    bundles: BTreeSet<ContentTag>,
    /// What is in those of them that hold anything.
    archives: Vec<(ContentTag, Parts)>,
    /// What became of contents before it was known that they are merges.
    early: BTreeMap<Print, Fate>,
    accepted: BTreeSet<ContentTag>,
    accepted_groups: u64,
    lineage: Lineage,
    restores: Restores,
    second: SecondLives,
    /// Which device has shown which content at some path.
    shown: BTreeSet<(usize, Print)>,
    log: VecDeque<String>,
    violations: Vec<String>,
    trace: bool,
    begun: Option<Instant>,
    /// The value that is followed, and where each device had it last.
    followed: Option<u64>,
    seen: BTreeMap<usize, Vec<String>>,
}

/// The print of a content.
#[must_use]
pub fn print(bytes: &[u8]) -> Print {
    *blake3::hash(bytes).as_bytes()
}

impl Ledger {
    /// An empty book of a folder.
    #[must_use]
    pub fn new(keys: Arc<FolderKeys>, folder: FolderId, trace: bool) -> Self {
        let chunker = Chunker::new(keys.chunker_seed());
        let inner = Inner { trace, ..Inner::default() };
        Self { inner: Arc::new(Mutex::new(inner)), keys, folder, chunker }
    }

    /// Notes a value that somebody wrote.
    pub fn written(&self, bytes: &[u8], place: &str) {
        if bytes.is_empty() {
            return;
        }
        let tag = self.tag(bytes);
        let mut inner = self.lock();
        let number = inner.values.len() as u64 + 1;
        if inner.trace {
            eprintln!("    value {number} at {place}, {} bytes", bytes.len());
        }
        inner.tags.insert(tag);
        inner.keep_text(tag, bytes);
        if is_archive(bytes) {
            inner.bundles.insert(tag);
            inner.archives.extend(parts(bytes).map(|parts| (tag, parts)));
        }
        // Who writes what a power cut had left, and was synced so, may have changed nothing.
        let is_torn = inner.torn.contains(&print(bytes));
        let fate = if is_torn { Fate::Excused("left by a power cut before") } else { Fate::Alive };
        let value = Value { number, place: place.to_owned(), fate, tag };
        inner.values.entry(print(bytes)).or_insert(value);
    }

    /// Notes what became of a value; what is settled stays so.
    pub fn settle(&self, print: &Print, fate: Fate) {
        let mut inner = self.lock();
        inner.merges.values_mut().for_each(|noted| noted.ended.retain(|side| side != print));
        inner.settle(print, fate);
    }

    /// Notes what a power cut left behind.
    pub fn torn(&self, bytes: &[u8]) {
        let tag = self.tag(bytes);
        let mut inner = self.lock();
        inner.torn.insert(print(bytes));
        if is_archive(bytes) && !is_hollow(bytes) {
            inner.archives.extend(parts(bytes).map(|parts| (tag, parts)));
        }
        inner.tags.insert(tag);
        inner.keep_text(tag, bytes);
    }

    /// Whether somebody, or a power cut, has made a content with this tag.
    #[must_use]
    pub fn knows_tag(&self, tag: &ContentTag) -> bool {
        self.lock().tags.contains(tag)
    }

    /// Whether somebody, or a power cut, has made this content.
    #[must_use]
    pub fn knows(&self, bytes: &[u8]) -> bool {
        bytes.is_empty() || self.knows_print(&print(bytes))
    }

    /// As [`Ledger::knows`], of a content that is not empty.
    #[must_use]
    pub fn knows_print(&self, print: &Print) -> bool {
        let inner = self.lock();
        inner.values.contains_key(print) || inner.torn.contains(print)
    }

    /// Notes that a device shows these contents: its user has seen them.
    pub fn shown<'a>(&self, device: usize, prints: impl IntoIterator<Item = &'a Print>) {
        self.lock().shown.extend(prints.into_iter().map(|print| (device, *print)));
    }

    /// Whether a device has ever shown a content.
    #[must_use]
    pub fn has_shown(&self, device: usize, print: &Print) -> bool {
        self.lock().shown.contains(&(device, *print))
    }

    /// Notes what a user, or a power cut, has made of a device's tree.
    pub fn changed(&self, device: usize, before: &Tree, after: &Tree) {
        self.lock().lineage.changed(device, before, after);
    }

    /// Notes that a device's engine has moved something and could not look whether it had.
    pub fn half_moved(&self, device: usize, from: &str, to: &str) {
        self.lock().lineage.half_moved(device, from, to);
    }

    /// Notes that a device's engine was stopped in the middle of something.
    pub fn killed(&self, device: usize) {
        self.lock().lineage.killed(device);
    }

    /// Notes that a content was made of another through a handle, wherever the file is.
    pub fn grown(&self, before: &Print, after: &Print) {
        self.lock().lineage.grown(before, after);
    }

    /// Notes that a power cut kept a content that was never synced, and took back its times: nobody
    /// can tell without reading it that it is another.
    pub fn lost_its_time(&self, print: Print) {
        self.lock().timeless.insert(print);
    }

    /// Whether a content was left behind by a power cut with times of what it replaced.
    #[must_use]
    pub fn has_lost_its_time(&self, print: &Print) -> bool {
        self.lock().timeless.contains(print)
    }

    /// The devices agree on this tree, and their disks hold these contents, hidden ones too.
    pub fn agreed(&self, shown: &Tree, held: BTreeSet<Print>) {
        let mut inner = self.lock();
        inner.lineage.agreed(shown);
        inner.second.agreements += 1;
        inner.second.standing = held;
    }

    /// A device is asked for a restore, until [`Ledger::restore_ends`].
    #[must_use]
    pub fn restore_begins(&self, asked: Asked) -> u64 {
        self.lock().restores.begins(asked)
    }

    /// A restore is over.
    pub fn restore_ends(&self, number: u64) {
        self.lock().restores.ends(number);
    }

    /// Notes that a device sends a group.
    pub fn sent(&self, device: DeviceId, body: &[u8]) {
        self.lock().restores.sent(device, body);
    }

    /// Whether a deletion in a group is what a restore may do.
    #[must_use]
    pub fn is_of_restore(&self, body: &[u8], entry: &EntryId) -> bool {
        self.lock().restores.explains(body, entry)
    }

    /// Notes what restores have done, as the journal has it.
    pub fn learn_restores(&self, journal: &[(Vec<u8>, Group)]) {
        let mut inner = self.lock();
        let effects = inner.restores.learn(journal, (&self.keys, &self.folder));
        inner.take_effects(&effects, self.tag(&[]));
    }

    /// How many contents restores have brought back.
    #[must_use]
    pub fn brought_count(&self) -> usize {
        self.lock().second.brought.len()
    }

    /// What restores have brought back after so many others.
    #[must_use]
    pub fn brought_after(&self, count: usize) -> BTreeSet<Print> {
        self.lock().second.brought.iter().skip(count).copied().collect()
    }

    /// How many values lived again when they were brought back.
    #[must_use]
    pub fn second_life_count(&self) -> u64 {
        self.lock().second.count
    }

    /// Values that live again since they were brought back.
    #[must_use]
    pub fn second_lives(&self) -> BTreeSet<Print> {
        self.lock().second.lives.clone()
    }

    /// The names that each content may have; nothing of those that were written where nobody looked.
    #[must_use]
    pub fn names(&self) -> BTreeMap<Print, BTreeSet<String>> {
        self.lock().lineage.all_names()
    }

    /// The value with this print.
    #[must_use]
    pub fn value(&self, print: &Print) -> Option<Value> {
        self.lock().values.get(print).cloned()
    }

    /// All values with a fate.
    #[must_use]
    pub fn values(&self, fate: Fate) -> Vec<(Print, Value)> {
        let inner = self.lock();
        let found = inner.values.iter().filter(|(_, value)| value.fate == fate);
        found.map(|(print, value)| (*print, value.clone())).collect()
    }

    /// All values.
    #[must_use]
    pub fn all(&self) -> Vec<(Print, Value)> {
        self.lock().values.iter().map(|(print, value)| (*print, value.clone())).collect()
    }

    /// Notes that the server has accepted a group.
    pub fn accepted(&self, body: &[u8]) {
        let signature = common::ids::Signature::from_bytes([0; 64]);
        let group = SignedGroup { body: body.to_vec(), signature }.decode();
        let mut merges = Vec::new();
        {
            let mut inner = self.lock();
            inner.accepted_groups += 1;
            for change in group.iter().flat_map(|group| &group.changes) {
                if let Change::Create { content, .. } | Change::Edit { content, .. } = change {
                    inner.accepted.insert(content.tag);
                }
            }
            merges.extend(group.iter().flat_map(|group| inner.contents.merges(group)));
            if let Ok(group) = &group {
                let effects = inner.restores.accepted(body, group, (&self.keys, &self.folder));
                inner.take_effects(&effects, self.tag(&[]));
            }
        }
        for merge in &merges {
            // Of a file whose group was not seen here nothing is known yet: the journal tells.
            self.merged(merge);
        }
    }

    /// Notes a merge, which takes the place of both edits; says whether it is one that comes of them.
    pub fn merged(&self, merge: &Merge) -> bool {
        let texts = {
            let inner = self.lock();
            if inner.merges.contains_key(merge) {
                return true;
            }
            inner.texts.clone()
        };
        let Some(found) = merges::found(self, &texts, merge) else { return false };
        let Found { base, theirs, merged } = found;
        let mine = &texts[&merge.mine];
        if let Some(line) = merges::wrong_line(&base, mine, &theirs, &merged) {
            self.violation(format!("S1: a merge does not do right by the line {line:?}"));
        }
        let prints = [print(mine), print(&theirs), print(&merged)];
        let [mine, theirs, made] = &prints;
        let mut inner = self.lock();
        let number = inner.values.len() as u64 + 1;
        let fate = inner.early.remove(made).unwrap_or(Fate::Alive);
        let value = Value { number, place: "a merge".to_owned(), fate, tag: merge.merged };
        inner.values.entry(*made).or_insert(value);
        inner.tags.insert(merge.merged);
        inner.texts.insert(merge.merged, merged);
        let mut ended = Vec::new();
        for side in [mine, theirs] {
            inner.lineage.grown(side, made);
            if side != made {
                let is_alive = |value: &Value| value.fate == Fate::Alive;
                ended.extend(inner.values.get(side).filter(|value| is_alive(value)).map(|_| *side));
                inner.settle(side, Fate::Superseded);
            }
        }
        inner.merges.insert(*merge, Noted { made: *made, sides: [*mine, *theirs], ended });
        true
    }

    /// Merges that were noted.
    #[must_use]
    pub fn merge_count(&self) -> u64 {
        self.lock().merges.len() as u64
    }

    /// Groups that the server has accepted.
    #[must_use]
    pub fn accepted_groups(&self) -> u64 {
        self.lock().accepted_groups
    }

    /// Whether the server has accepted a content.
    #[must_use]
    pub fn is_accepted(&self, tag: &ContentTag) -> bool {
        self.lock().accepted.contains(tag)
    }

    /// All contents that the server has accepted and not forgotten.
    #[must_use]
    pub fn accepted_tags(&self) -> BTreeSet<ContentTag> {
        self.lock().accepted.clone()
    }

    /// The server was restored: it knows these contents alone.
    pub fn forget_accepted(&self, kept: BTreeSet<ContentTag>) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        inner.restores.forget_moments();
        let forgotten = inner.forgotten_merges(&kept);
        inner.merges.retain(|merge, _| !forgotten.contains_key(merge));
        for Noted { made, ended, .. } in forgotten.into_values() {
            // Nobody has seen it, so nobody can bring it back; those who have the edits will.
            inner.settle(&made, Fate::Excused("a merge that nobody saw and the server forgot"));
            for side in ended {
                let stays = inner.merges.values().any(|merge| merge.sides.contains(&side));
                let value = inner.values.get_mut(&side);
                if let Some(value) = value.filter(|it| !stays && it.fate == Fate::Superseded) {
                    value.fate = Fate::Alive;
                }
            }
        }
        inner.accepted = kept;
    }

    /// The content tag of some bytes.
    #[must_use]
    pub fn tag(&self, bytes: &[u8]) -> ContentTag {
        let mode = if is_archive(bytes) { MODE_BUNDLE } else { 0 };
        let mut tag = self.keys.content_tag_of(mode);
        let mut rest = bytes;
        while !rest.is_empty() {
            let (chunk, left) = rest.split_at(self.chunker.cut(rest));
            tag.chunk(&self.keys.plain_hash(chunk), chunk.len() as u32);
            rest = left;
        }
        tag.finish()
    }

    /// Follows a value through all devices, for a person who looks for a bug.
    pub fn follow(&self, value: Option<u64>) {
        self.lock().followed = value;
    }

    /// Notes where a device has the followed value, if it has moved.
    pub fn look(&self, device: usize, user: &MemoryUser) {
        let Some(followed) = self.lock().followed else { return };
        let find = |tree: Tree, prefix: &str| -> Vec<String> {
            let print_of = |entry: &UserEntry| match entry {
                UserEntry::File(bytes, _) => Some(print(bytes)),
                _ => None,
            };
            let is_it = |entry: &UserEntry| {
                let value = print_of(entry).and_then(|print| self.value(&print));
                value.is_some_and(|value| value.number == followed)
            };
            let found = tree.iter().filter(|(_, entry)| is_it(entry));
            found.map(|(path, _)| format!("{prefix}{path}")).collect()
        };
        let mut places = find(shown(user), "");
        places.extend(find(shown_private(user), ".driftless/"));
        let mut inner = self.lock();
        if inner.seen.get(&device).is_none_or(|seen| *seen != places) {
            eprintln!("  * device {device} has value {followed} at {places:?}");
            inner.seen.insert(device, places);
        }
    }

    /// Whether events are printed.
    #[must_use]
    pub fn is_tracing(&self) -> bool {
        self.lock().trace
    }

    /// Adds a line to the event log.
    pub fn log(&self, line: impl FnOnce() -> String) {
        let mut inner = self.lock();
        let at = inner.begun.get_or_insert_with(Instant::now).elapsed().as_millis(); // ok: virtual time
        let line = format!("{at:>7} {}", line());
        if inner.trace {
            eprintln!("{line}");
        }
        if inner.log.len() >= LOG_LINES {
            inner.log.pop_front();
        }
        inner.log.push_back(line);
    }

    /// The event log's tail.
    #[must_use]
    pub fn tail(&self) -> Vec<String> {
        self.lock().log.iter().cloned().collect()
    }

    /// Notes a broken rule.
    pub fn violation(&self, text: String) {
        self.log(|| format!("VIOLATION {text}"));
        self.lock().violations.push(text);
    }

    /// The broken rules so far.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn keep_text(&mut self, tag: ContentTag, bytes: &[u8]) {
        if client_core::merge::text(bytes).is_ok() {
            self.texts.insert(tag, bytes.to_vec());
        }
    }

    fn settle(&mut self, print: &Print, fate: Fate) {
        match self.values.get_mut(print) {
            None => drop(self.early.insert(*print, fate)),
            Some(value) if value.fate == Fate::Alive => {
                value.fate = fate;
                self.second.settled.insert(*print, self.second.agreements);
                self.second.lives.remove(print);
                if self.trace {
                    eprintln!("    value {}: {fate:?}", value.number);
                }
            }
            Some(_) => {}
        }
    }

    /// The merges that are in none of the contents that the server keeps or a user has seen, nor in
    /// what those were merged to.
    fn forgotten_merges(&self, kept: &BTreeSet<ContentTag>) -> BTreeMap<Merge, Noted> {
        let shown: BTreeSet<&Print> = self.shown.iter().map(|(_, shown)| shown).collect();
        let mut left: Vec<(&Merge, &Noted)> = self.merges.iter().collect();
        let mut used: BTreeSet<&Print> = BTreeSet::new();
        loop {
            let is_used = |(merge, it): &(&Merge, &Noted)| {
                kept.contains(&merge.merged) || shown.contains(&it.made) || used.contains(&it.made)
            };
            let (stay, go): (Vec<_>, Vec<_>) = left.into_iter().partition(is_used);
            left = go;
            if stay.is_empty() {
                return left.into_iter().map(|(merge, it)| (*merge, it.clone())).collect();
            }
            used.extend(stay.iter().flat_map(|(_, it)| &it.sides));
        }
    }

    /// Takes what restores have done. What had been emptied has this tag: it is no value, and has a name.
    fn take_effects(&mut self, effects: &Effects, empty: ContentTag) {
        let by_tag = self.values.iter().map(|(print, value)| (value.tag, *print));
        let by_tag: BTreeMap<ContentTag, Print> = by_tag.chain([(empty, print(&[]))]).collect();
        for (was, now) in &effects.tied {
            if let (Some(was), Some(now)) = (by_tag.get(was), by_tag.get(now)) {
                self.lineage.grown(was, now);
            }
        }
        for (tag, name) in &effects.named {
            if let Some(print) = by_tag.get(tag) {
                self.lineage.named(*print, name);
            }
        }
        for (tag, fate) in &effects.removed {
            if let Some(print) = by_tag.get(tag) {
                self.settle(print, *fate);
            }
        }
        for print in effects.brought.iter().filter_map(|tag| by_tag.get(tag)) {
            self.lives_again(print);
        }
    }
}
