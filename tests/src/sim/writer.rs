//! The user's programs on one simulated device.
//!
//! Owns what they do to files, in the ways that real programs do it, and the accounting of it: what
//! was visible on this device and is so no more after an action was replaced or removed by somebody
//! who saw it. It must not know what the engine makes of it; it tells the watcher.

use super::bundles::{is_archive, is_hollow, shown};
use super::draw::Draw;
use super::ledger::{Fate, Ledger, Print, print};
use super::names;
use client::fs::RelPath;
use client::fs::memory::user::{MemoryUser, UserEntry, UserFile};
use client::watch::{Hint, Hints};
use common::name::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A tree as the user sees it.
pub type Tree = BTreeMap<String, UserEntry>;

/// File handles that programs hold open.
const HANDLES_MAX: usize = 3;
/// Entries of a folder above which nothing more is made.
const ENTRIES_MAX: usize = 28;

/// Names of texts that users edit line by line.
const TEXTS: [&str; 3] = ["notes.txt", "list.txt", "plan.txt"];
/// Bundles that users work in.
const BUNDLES: [&str; 2] = ["Some.app", "Other.app"];
/// Lines of such a text at first.
const TEXT_LINES: usize = 12;

/// A file that a program holds open.
struct Held {
    file: UserFile,
    /// The user has removed it since: what is written to it then is meant to go.
    disowned: bool,
}

/// How users work.
#[derive(Clone, Copy, Debug, Default)]
pub struct Habits {
    /// The watcher is late now and then, or overflows.
    pub hints_fail: bool,
    /// Names often differ in case or normalisation alone.
    pub clashes: bool,
    /// Seeds what is drawn for texts.
    pub texts: u64,
}

/// Programs of the user on one device. Clones share everything.
#[derive(Clone)]
pub struct Writer {
    inner: Arc<Inner>,
}

struct Inner {
    device: usize,
    user: MemoryUser,
    ledger: Ledger,
    draw: Draw,
    hints: Mutex<Option<Hints>>,
    open: Mutex<Vec<Held>>,
    counter: Mutex<u64>,
    habits: Habits,
    /// What is drawn for texts, so that it changes nothing of what else is drawn.
    texts: Draw,
}

impl Writer {
    /// Programs on a device.
    #[must_use]
    pub fn new(
        device: usize,
        user: MemoryUser,
        ledger: Ledger,
        draw: Draw,
        habits: Habits,
    ) -> Self {
        let (hints, open) = (Mutex::new(None), Mutex::new(Vec::new()));
        let counter = Mutex::new(0);
        let texts = Draw::new(habits.texts ^ 0x7e87 ^ (device as u64) << 32);
        let inner = Inner { device, user, ledger, draw, hints, open, counter, habits, texts };
        Self { inner: Arc::new(inner) }
    }

    /// Who is told where something changed.
    pub fn set_hints(&self, hints: Option<Hints>) {
        *self.inner.hints.lock().unwrap_or_else(PoisonError::into_inner) = hints;
    }

    /// The user's door to the files.
    #[must_use]
    pub fn user(&self) -> &MemoryUser {
        &self.inner.user
    }

    /// Closes all files.
    pub fn close_all(&self) {
        self.handles().clear();
    }

    /// Prints of what the files hold that programs have open.
    #[must_use]
    pub fn held(&self) -> BTreeSet<Print> {
        let handles = self.handles();
        handles.iter().filter_map(|held| held.file.read().ok()).map(|bytes| print(&bytes)).collect()
    }

    /// Does something at random.
    pub fn act(&self) {
        let draw = &self.inner.draw;
        let tree = shown(&self.inner.user);
        let files = paths(&tree, |entry| matches!(entry, UserEntry::File(..)));
        let dirs = paths(&tree, |entry| matches!(entry, UserEntry::Directory(_)));
        let file = draw.pick(&files).cloned();
        let dir = draw.pick(&dirs).cloned();
        let full = tree.len() >= ENTRIES_MAX;
        let fresh = self.fresh_path(&dirs);
        let is_bundle = |path: &String| matches!(tree.get(path), Some(UserEntry::File(bytes, _)) if is_archive(bytes));
        if let Some(bundle) = file.clone().filter(is_bundle) {
            // It stays one: what becomes of its files otherwise is another story.
            return match draw.below(4) {
                0 => self.rename(&bundle, &format!("{fresh}.app")),
                1 => self.delete(&bundle),
                2 => self.chmod(&bundle),
                _ => {}
            };
        }
        let files: Vec<String> = files.into_iter().filter(|path| !is_bundle(path)).collect();
        match (draw.below(100), file, dir) {
            (0..18, ..) if !full => self.write_new(&fresh),
            (18..27, Some(file), _) => self.save_atomically(&file),
            (27..33, Some(file), _) => self.overwrite(&file),
            (33..38, Some(file), _) => self.write_in_place(&file),
            (38..43, Some(file), _) => self.save_with_backup(&file),
            (43..47, Some(file), _) => self.open_and_append(&file),
            (47..52, ..) => self.append_to_held(),
            (52..58, Some(file), _) => self.rename(&file, &fresh),
            (58..62, Some(file), _) => self.replace(&file, &files),
            (62..65, Some(file), _) => self.swap(&file, &files),
            (65..72, Some(file), _) => self.delete(&file),
            (72..75, _, Some(dir)) => self.delete(&dir),
            (75..81, ..) if !full => self.make_directory(&fresh),
            (81..86, _, Some(dir)) => self.rename(&dir, &fresh),
            (86..89, _, Some(dir)) => self.move_into(&dir, &dirs),
            (89..92, Some(file), _) => self.chmod(&file),
            (92..94, ..) if !full => self.symlink(&fresh),
            (94..96, Some(file), _) => self.file_to_directory(&file),
            (96..98, _, Some(dir)) => self.directory_to_file(&dir),
            (98..100, Some(file), _) => self.touch(&file),
            _ => self.write_new(&fresh),
        }
    }

    /// Changes some lines of one of a few texts, or writes it where it is not.
    pub fn edit_text(&self) {
        let draw = &self.inner.texts;
        let path = *draw.pick(&TEXTS).unwrap_or(&TEXTS[0]);
        let fresh = || format!("line {}-{:016x}\n", self.inner.device, draw.number());
        let text = self.inner.user.read(path).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let mut lines: Vec<String> = match &text {
            Some(text) => text.split_inclusive('\n').map(str::to_owned).collect(),
            None => (0..TEXT_LINES).map(|_| fresh()).collect(),
        };
        if text.is_some() {
            for _ in 0..=draw.below(2) {
                let at = draw.below(lines.len() + 1);
                let gone = draw.below(2).min(lines.len() - at);
                let new: Vec<String> = (0..=draw.below(2)).map(|_| fresh()).collect();
                lines.splice(at..at + gone, new);
            }
        }
        let bytes = lines.concat();
        // A name of its own: what is left under it is nobody else's.
        let beside = format!("{path}.{}-{:x}", self.inner.device, draw.number());
        let is_atomic = draw.per_mille(600);
        self.action("edit", path, |user| {
            if is_atomic {
                user.write(&beside, bytes.as_bytes())?;
                user.rename(&beside, path)
            } else {
                user.write(path, bytes.as_bytes())
            }
        });
    }

    /// Changes something in a bundle, or makes one.
    pub fn change_bundle(&self) {
        let draw = &self.inner.texts;
        let root = *draw.pick(&BUNDLES).unwrap_or(&BUNDLES[0]);
        let name = |number: usize| format!("{root}/f{number}");
        let (at, other) = (name(draw.below(4)), name(draw.below(4)));
        let fresh = format!("<{}:{:016x}>", self.inner.device, draw.number());
        let bytes = fresh.repeat(1 + draw.below(400));
        let kind = draw.below(10);
        let mode = *draw.pick(&[0o444, 0o644]).unwrap_or(&0o644);
        // Nobody writes to a read-only file: another one takes its place.
        let write = |user: &MemoryUser, path: &str| {
            if user.stat(path).is_ok_and(|stat| stat.mode & 0o222 == 0) {
                user.remove(path)?;
            }
            user.write(path, bytes.as_bytes())
        };
        self.action("change a bundle", &at, |user| match kind {
            _ if user.stat(root).is_err() => {
                user.mkdir(root)?;
                write(user, &at)
            }
            0 => user.remove(&at),
            1 => user.rename(&at, &other),
            2 => {
                write(user, &at)?;
                user.chmod(&at, mode)
            }
            3 => user.mkdir(format!("{root}/d{}", bytes.len())),
            // Several files that belong together.
            4..6 => {
                write(user, &at)?;
                write(user, &other)
            }
            _ => write(user, &at),
        });
    }

    /// Writes a new file, or over an old one of that name.
    pub fn write_new(&self, path: &str) {
        let bytes = self.fresh_bytes(None);
        self.action("write", path, |user| user.write(path, &bytes));
    }

    /// Writes a value of somebody else's making.
    pub fn write(&self, path: &str, bytes: &[u8]) {
        self.action("write", path, |user| user.write(path, bytes));
    }

    /// Writes beside and renames over.
    pub fn save_atomically(&self, path: &str) {
        let bytes = self.fresh_bytes(None);
        let beside = format!("{path}.tmp{}", self.count());
        self.action("save", path, |user| {
            user.write(&beside, &bytes)?;
            let file = user.open_write(&beside)?;
            if self.inner.draw.per_mille(500) {
                file.sync()?;
            }
            user.rename(&beside, path)
        });
    }

    fn overwrite(&self, path: &str) {
        let bytes = self.fresh_bytes(None);
        self.action("overwrite", path, |user| user.write(path, &bytes));
    }

    fn write_in_place(&self, path: &str) {
        let token = self.fresh_bytes(Some(12));
        self.action("write in place", path, |user| {
            let file = user.open_write(path)?;
            let length = file.read()?.len();
            let offset = self.inner.draw.below(length.max(1)) as u64;
            file.write_at(offset, &token)
        });
    }

    /// Writes in place to both ends of a file that somebody is reading, who has the old start and
    /// will see the new end. Says whether it could.
    pub fn meddle(&self, path: &str, draw: &Draw) -> bool {
        let Ok(stat) = self.inner.user.stat(path) else { return false };
        // Nobody writes to a read-only file, of which a bundle that was displaced may have the other link.
        if stat.mode & 0o222 == 0 {
            return false;
        }
        let length = stat.size as usize;
        let mut token = format!("<{}.{}>", self.inner.device, self.count()).into_bytes();
        token.extend(draw.number().to_le_bytes());
        let end = length.saturating_sub(token.len()) as u64;
        self.action("write while it is read", path, |user| {
            let file = user.open_write(path)?;
            file.write_at(0, &token)?;
            file.write_at(end, &token)
        });
        true
    }

    fn save_with_backup(&self, path: &str) {
        let bytes = self.fresh_bytes(None);
        let backup = format!("{path}~");
        self.action("save with backup", path, |user| {
            user.rename(path, &backup)?;
            user.write(path, &bytes)?;
            if self.inner.draw.per_mille(600) { user.remove(&backup) } else { Ok(()) }
        });
    }

    fn open_and_append(&self, path: &str) {
        let token = self.fresh_bytes(Some(16));
        if self.handles().len() >= HANDLES_MAX {
            self.handles().remove(0);
        }
        self.action("append", path, |user| {
            let file = user.open_write(path)?;
            file.append(&token)?;
            let mut open = self.handles();
            open.push(Held { file, disowned: false });
            Ok(())
        });
    }

    /// Appends through a handle that was opened earlier, wherever the file is by now.
    fn append_to_held(&self) {
        let token = self.fresh_bytes(Some(16));
        let index = self.inner.draw.below(HANDLES_MAX);
        let before = {
            let open = self.handles();
            let Some(held) = open.get(index).filter(|held| !held.disowned) else { return };
            held.file.read().ok()
        };
        self.action("append to a held file", "", |_| {
            let open = self.handles();
            open.get(index).map_or(Ok(()), |held| held.file.append(&token))
        });
        let after = self.handles().get(index).and_then(|held| held.file.read().ok());
        if let (Some(before), Some(after)) = (before, after)
            && before != after
        {
            self.inner.ledger.settle(&print(&before), Fate::Superseded);
            if !before.is_empty() {
                self.inner.ledger.grown(&print(&before), &print(&after));
            }
            self.written(&after, "held");
        }
    }

    /// Renames, onto a free or a taken name.
    pub fn rename(&self, from: &str, to: &str) {
        self.action("rename", &format!("{from} -> {to}"), |user| user.rename(from, to));
    }

    fn replace(&self, file: &str, files: &[String]) {
        let Some(other) = self.inner.draw.pick(files) else { return };
        if other != file {
            self.rename(file, other);
        }
    }

    fn swap(&self, file: &str, files: &[String]) {
        let Some(other) = self.inner.draw.pick(files).cloned() else { return };
        if other != file {
            self.exchange(file, &other);
        }
    }

    /// Gives two files each other's names.
    pub fn exchange(&self, file: &str, other: &str) {
        let aside = format!("{file}.swap{}", self.count());
        self.action("swap", &format!("{file} <-> {other}"), |user| {
            user.rename(file, &aside)?;
            user.rename(other, file)?;
            user.rename(&aside, other)
        });
    }

    /// Removes a file, or a directory with all below it.
    pub fn delete(&self, path: &str) {
        self.action("delete", path, |user| user.remove_all(path));
    }

    /// Makes a directory.
    pub fn make_directory(&self, path: &str) {
        self.action("mkdir", path, |user| user.mkdir(path));
    }

    fn move_into(&self, dir: &str, dirs: &[String]) {
        let Some(into) = self.inner.draw.pick(dirs) else { return };
        let name = dir.rsplit('/').next().unwrap_or(dir);
        let to = format!("{into}/{name}");
        if into != dir && !into.starts_with(&format!("{dir}/")) && to != dir {
            self.rename(dir, &to);
        }
    }

    fn chmod(&self, path: &str) {
        let mode = *self.inner.draw.pick(&[0o644, 0o600, 0o755, 0o640]).unwrap_or(&0o644);
        self.action("chmod", path, |user| user.chmod(path, mode));
    }

    fn touch(&self, path: &str) {
        let mtime_ns = 1_600_000_000_000_000_000 + self.inner.draw.below(1_000_000_000) as i64;
        self.action("touch", path, |user| user.set_mtime(path, mtime_ns));
    }

    fn symlink(&self, path: &str) {
        let target = format!("../elsewhere/{}", self.count());
        self.action("symlink", path, |user| user.symlink(&target, path));
    }

    fn file_to_directory(&self, path: &str) {
        let bytes = self.fresh_bytes(None);
        let inside = format!("{path}/inside");
        self.action("file to directory", path, |user| {
            user.remove(path)?;
            user.mkdir(path)?;
            user.write(&inside, &bytes)
        });
    }

    fn directory_to_file(&self, path: &str) {
        let bytes = self.fresh_bytes(None);
        self.action("directory to file", path, |user| {
            user.remove_all(path)?;
            user.write(path, &bytes)
        });
    }

    /// Does something, accounts for it and tells the watcher.
    pub fn action(
        &self,
        what: &str,
        path: &str,
        act: impl FnOnce(&MemoryUser) -> std::io::Result<()>,
    ) {
        let ledger = &self.inner.ledger;
        ledger.look(self.inner.device, &self.inner.user);
        let linked = self.linked();
        let before = shown(&self.inner.user);
        let result = act(&self.inner.user);
        let after = shown(&self.inner.user);
        let device = self.inner.device;
        ledger.log(|| {
            let result =
                result.as_ref().map_or_else(|error| format!(" ({error})"), |()| String::new());
            format!("user {device}: {what} {path}{result}")
        });
        let (was, is) = (contents(&before), contents(&after));
        ledger.shown(device, was.keys().chain(is.keys()));
        ledger.changed(device, &before, &after);
        ledger.hollow(&after);
        for (found, path) in &is {
            if !was.contains_key(found)
                && let Some(UserEntry::File(bytes, _)) = after.get(path)
            {
                self.written(bytes, path);
            }
        }
        let writes = is.keys().any(|found| !was.contains_key(found));
        // A move that has come half way shows a value twice: writing over one of the two is enough.
        let (was_count, is_count) = (counts(&before), counts(&after));
        for (found, count) in &was_count {
            if is_count.get(found).is_none_or(|left| left < count) {
                ledger.settle(found, if writes { Fate::Superseded } else { Fate::Deleted });
            }
        }
        self.disown(&linked);
        ledger.look(device, &self.inner.user);
        self.tell(&before, &after);
    }

    /// Which of the files that are held open have a name.
    fn linked(&self) -> Vec<bool> {
        self.handles().iter().map(|held| held.file.is_linked().unwrap_or_default()).collect()
    }

    /// Whoever removes a file by its name gives up what is still written to it, whatever else holds
    /// the same content.
    fn disown(&self, before: &[bool]) {
        let now = self.linked();
        for ((held, before), now) in self.handles().iter_mut().zip(before).zip(now) {
            held.disowned |= *before && !now;
        }
    }

    fn written(&self, bytes: &[u8], path: &str) {
        self.inner.ledger.shown(self.inner.device, &[print(bytes)]);
        self.inner.ledger.written(bytes, &format!("{}:{path}", self.inner.device));
    }

    fn tell(&self, before: &Tree, after: &Tree) {
        let hints = self.inner.hints.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(hints) = hints else { return };
        let changed = before.iter().filter(|(path, entry)| after.get(*path) != Some(*entry));
        let appeared = after.iter().filter(|(path, entry)| before.get(*path) != Some(*entry));
        let changed: BTreeSet<&String> = changed.chain(appeared).map(|(path, _)| path).collect();
        for path in changed {
            let Some(relative) = rel_path(path) else { continue };
            let is_new_dir = matches!(after.get(path), Some(UserEntry::Directory(_)));
            let hint = if is_new_dir { Hint::Subtree(relative) } else { Hint::Path(relative) };
            self.hint(&hints, hint);
        }
        if before == after {
            // A touch or an equal rewrite shows in times alone.
            self.hint(&hints, Hint::Everything);
        }
    }

    fn hint(&self, hints: &Hints, hint: Hint) {
        if !self.inner.habits.hints_fail {
            hints.push(hint);
            return;
        }
        let draw = &self.inner.draw;
        let (hint, late_ms) = match draw.below(100) {
            0..65 => return hints.push(hint),
            65..90 => (hint, draw.below(400) as u64),
            _ => (Hint::Everything, draw.below(3_000) as u64),
        };
        let hints = hints.clone();
        drop(tokio::task::spawn(async move {
            tokio::time::sleep(Duration::from_millis(late_ms)).await; // ok: virtual time
            hints.push(hint);
        }));
    }

    fn fresh_path(&self, dirs: &[String]) -> String {
        let names = if self.inner.habits.clashes { &names::CLASHING } else { &names::USUAL };
        let draw = &self.inner.draw;
        let name = if draw.per_mille(650) {
            (*draw.pick(names).unwrap_or(&"a")).to_owned()
        } else {
            format!("n{}-{}", self.inner.device, self.count())
        };
        match draw.pick(dirs) {
            Some(dir) if draw.per_mille(500) && dir.matches('/').count() < 4 => {
                format!("{dir}/{name}")
            }
            _ => name,
        }
    }

    /// Bytes that nobody has written before.
    pub fn fresh_bytes(&self, length: Option<usize>) -> Vec<u8> {
        let draw = &self.inner.draw;
        let length = length.unwrap_or_else(|| match draw.below(100) {
            0..80 => 24 + draw.below(200),
            80..97 => 24 + draw.below(6_000),
            _ => 40_000 + draw.below(160_000),
        });
        let mut bytes = format!("<{}.{}>", self.inner.device, self.count()).into_bytes();
        let start = bytes.len();
        bytes.resize(length.max(start), b'.');
        draw.fill(&mut bytes[start..]);
        bytes
    }

    fn count(&self) -> u64 {
        let mut counter = self.inner.counter.lock().unwrap_or_else(PoisonError::into_inner);
        *counter += 1;
        *counter
    }

    fn handles(&self) -> std::sync::MutexGuard<'_, Vec<Held>> {
        self.inner.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A path of the simulation as the product's type; `None` for one that the product does not hold.
#[must_use]
pub fn rel_path(path: &str) -> Option<RelPath> {
    let names: Option<Vec<Name>> = path.split('/').map(|name| Name::new(name).ok()).collect();
    RelPath::new(names?).ok()
}

/// Prints of all files' contents, each with one of its paths; without empty ones.
#[must_use]
pub fn contents(tree: &Tree) -> BTreeMap<Print, String> {
    let mut prints = BTreeMap::new();
    for (path, entry) in tree {
        if let UserEntry::File(bytes, _) = entry
            && !bytes.is_empty()
            && !is_hollow(bytes)
        {
            prints.insert(print(bytes), path.clone());
        }
    }
    prints
}

/// How often each content occurs.
fn counts(tree: &Tree) -> BTreeMap<Print, usize> {
    let mut counts = BTreeMap::new();
    for entry in tree.values() {
        if let UserEntry::File(bytes, _) = entry {
            *counts.entry(print(bytes)).or_insert(0) += 1;
        }
    }
    counts
}

fn paths(tree: &Tree, which: impl Fn(&UserEntry) -> bool) -> Vec<String> {
    tree.iter().filter(|(_, entry)| which(entry)).map(|(path, _)| path.clone()).collect()
}
