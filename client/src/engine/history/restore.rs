//! Bringing a file, a directory or the whole folder back to what it was.
//!
//! Owns what is looked at before anything is sent, and how the plan of a restore becomes groups. What
//! is restored comes to this disk as it comes to all others, with the journal: it is built from
//! chunks that lie here already, and a file that was written meanwhile is never overwritten.

use super::lookup::{names_of, relative};
use super::past::Past;
use super::{AskError, Engine, unreadable};
use crate::engine::execute::REBUILDING;
use crate::engine::handle::{Instant, Moment, RestoreInfo, Sent, Which};
use crate::pull::row_of;
use crate::push::Prepared;
use crate::scan::Target;
use crate::state::{IGNORED, RemoteRow, StateError};
use client_core::past::{Difference, Item, compare};
use client_core::planner::{Change as Planned, Step};
use client_core::restore::{self, Entries, Wanted, Wish, want};
use client_core::tree::{ContentState, Position};
use common::chunk::{Attributes, seal_attributes};
use common::ids::EntryId;
use common::name::Name;
use common::record::{Change, Content, Kind, Registers};
use common::revision::Revision;
use common::wire::meta::Version;
use std::cell::RefCell;

/// How often a restore is planned: what waits for something else to move comes with a later plan, and
/// others may change the folder meanwhile.
pub(super) const ROUNDS: usize = 20;
/// Changes that are sent together.
const CHANGES_TOGETHER: usize = 4096;
/// Mode of a directory that is made for what is restored, when it has none of its own.
const DIRECTORY_MODE: u16 = 0o755;

/// What is brought back.
pub(super) enum Source {
    /// A version of a file or a symlink.
    One { row: Box<RemoteRow>, at: Instant },
    /// A directory as it was, or the whole folder.
    Directory { past: Past, entry: EntryId, at: Instant },
    /// Something in a version of a bundle.
    Inside { row: Box<RemoteRow>, at: Instant, bundle: String, inside: String },
}

impl Source {
    fn at(&self) -> Instant {
        match self {
            Self::One { at, .. } | Self::Directory { at, .. } | Self::Inside { at, .. } => *at,
        }
    }
}

impl Engine {
    /// What the entry of a path held then: of what was there, or if nothing was, of what was deleted
    /// there at that revision, just before, or else of what is there now.
    pub(super) async fn source_of_entry(
        &self,
        path: &str,
        which: Which,
    ) -> Result<Source, AskError> {
        let root = names_of(path)?.is_empty();
        let (which, older) = match which {
            Which::Older(revision, older) => (Which::Revision(revision), older),
            which => (which, 0),
        };
        let at = match which {
            Which::Revision(revision) if !root => {
                let found = self.found_at(path).await?;
                if found.first().is_some_and(|first| first.kind != Kind::Directory) {
                    let (kind, version) =
                        self.version_among(path, &found, (revision, older)).await?;
                    if kind != Kind::Directory {
                        return self.source_of_version(version).await;
                    }
                } else if let Some(deletion) = self.source_of_deletion(path, revision).await? {
                    // Something else was made there at the same revision: that is there now.
                    return Ok(deletion);
                }
                self.instant(Moment::Revision(revision)).await?
            }
            Which::Revision(revision) | Which::Older(revision, _) => {
                self.instant(Moment::Revision(revision)).await?
            }
            Which::At(moment) => self.instant(moment).await?,
        };
        if root {
            let past = self.past(at.revision).await?;
            return Ok(Source::Directory { past, entry: EntryId::ROOT, at });
        }
        let registers = match self.entry_at_revision(path, at.revision).await? {
            Some(registers) => Some(registers),
            None => self.what_is_now_then(path, at.revision).await?,
        };
        let none = || AskError::NotThere { path: path.to_owned(), revision: at.revision };
        let registers = registers.ok_or_else(none)?;
        if registers.kind != Kind::Directory {
            return self.one(&registers, at);
        }
        let (past, entry) = (self.past(at.revision).await?, registers.entry);
        Ok(Source::Directory { past, entry, at })
    }

    pub(super) fn one(&self, registers: &Registers, at: Instant) -> Result<Source, AskError> {
        let row = row_of(&self.context, registers);
        match &row.content_issue {
            Some(issue) => Err(AskError::Unreadable(issue.clone())),
            None => Ok(Source::One { row: Box::new(row), at }),
        }
    }

    /// What a path means now, as it was at a revision, wherever it was then.
    async fn what_is_now_then(
        &self,
        path: &str,
        at: Revision,
    ) -> Result<Option<Registers>, AskError> {
        for found in self.found_at(path).await? {
            let version = self.versions(&found.entry, at, 1).await?.pop();
            if let Some(version) = version.filter(|version| !version.deleted) {
                let registers = version.registers.map(Registers::try_from).transpose();
                return registers.map_err(|error| unreadable(&error.to_string()));
            }
        }
        Ok(None)
    }

    /// Makes a path what it was. With `dry` nothing is done, and what would be is told.
    pub(in crate::engine) async fn restore(
        &mut self,
        path: &str,
        which: Which,
        dry: bool,
    ) -> Result<RestoreInfo, AskError> {
        if self.halted.is_some() {
            return Err(AskError::Refused("the folder is halted: `driftless status`".to_owned()));
        }
        if self.context.state.rebuilding()?.is_some() {
            return Err(AskError::Refused(REBUILDING.to_owned()));
        }
        let source = self.source(path, which).await?;
        // What stands on the disk now, not what stood there when it was looked at last.
        self.targets.insert(Target::Subtree(relative(path)?));
        self.scan()?;
        let (mut first, mut sent) = (None, Sent::default());
        for _ in 0..ROUNDS {
            let restoring = self.restoring(path, &source).await?;
            let stays = restoring.stays();
            if first.is_none() {
                // Later, what has been sent is not on this disk yet.
                self.check_synced(&restoring)?;
                let told = self.told_of(&restoring, &stays, source.at())?;
                if restoring.wish.is_empty() && told.absent.is_empty() {
                    self.check_untouched(&stays)?;
                }
                first = Some(told);
            }
            if dry || restoring.wish.is_empty() {
                let Some(mut told) = first else { break };
                if !dry {
                    sent.entries.extend(self.bring_back_absent(stays)?);
                    tracing::info!(path, differences = told.differences.len(), "restored");
                    self.busy = true;
                    sent.up_to = self.heard()?;
                    told.sent = sent;
                }
                return Ok(told);
            }
            sent.entries.extend(self.bring_back_absent(stays)?);
            sent.entries.extend(restoring.wish.wanted.keys().chain(&restoring.wish.gone));
            self.agreed.extend(&restoring.wish.gone);
            self.send_wish(&restoring).await?;
        }
        let text = "the folder changes all the time; a part was restored, try again for the rest";
        Err(AskError::Refused(text.to_owned()))
    }

    /// What is to be, compared with what is.
    async fn restoring(&mut self, path: &str, source: &Source) -> Result<Restoring, AskError> {
        let names = names_of(path)?;
        let mut wish = Wish::default();
        match source {
            Source::Directory { past, entry, .. } => {
                let now = self.now()?;
                let mut past = past.clone();
                let into = match self.live_at(&names)? {
                    Some((into, Kind::Directory)) => into,
                    Some(_) => return Err(AskError::InTheWay(path.to_owned())),
                    None => self.make_path(&names, &now, &mut past, &mut wish).await?,
                };
                let mut entries = Known::new(self);
                let (from, onto) = ((&past.tree, *entry), (&now.tree, into));
                let whole = restore::directory(from, onto, &mut entries);
                entries.finish()?;
                wish.gone = whole.gone;
                wish.wanted.extend(whole.wanted);
                Ok(Restoring { now, past, wish, into })
            }
            Source::Inside { bundle, .. } => {
                Err(AskError::InBundle { path: path.to_owned(), bundle: bundle.clone() })
            }
            Source::One { row, .. } => {
                let now = self.now_along(&names)?;
                let mut past = Past::default();
                past.rows.insert(row.node.entry, row.clone());
                let entry = match self.live_at(&names)? {
                    Some((entry, kind)) if kind == row.node.kind => entry,
                    Some(_) => return Err(AskError::InTheWay(path.to_owned())),
                    None => {
                        let parent = names.split_last().map_or(&[][..], |(_, above)| above);
                        self.make_path(parent, &now, &mut past, &mut wish).await?;
                        let source = self.context.state.remote_row(&row.node.entry)?;
                        let is_deleted =
                            |known: &RemoteRow| known.node.deleted && known.issue().is_none();
                        match source.filter(is_deleted) {
                            Some(known) => known.node.entry,
                            None => self.context.fresh_entry(),
                        }
                    }
                };
                let position = self.position_of(&names, &wish)?;
                let item = item_of(row, position.clone());
                past.tree.put(row.node.entry, item);
                let (kind, content) = (row.node.kind, row.node.content);
                let source = row.node.entry;
                let wanted = Wanted { position, kind, content, source };
                want(&mut wish, &now.tree, entry, wanted);
                Ok(Restoring { now, past, wish, into: entry })
            }
        }
    }

    /// Wishes for the directories of a path that are not there; returns the last. One that was
    /// deleted is revived.
    async fn make_path(
        &self,
        names: &[Name],
        now: &Past,
        past: &mut Past,
        wish: &mut Wish,
    ) -> Result<EntryId, AskError> {
        let mut at = EntryId::ROOT;
        for name in names {
            if let Some(entry) = now.tree.child(&at, name) {
                let is_directory =
                    now.tree.get(&entry).is_some_and(|item| item.kind == Kind::Directory);
                if !is_directory {
                    return Err(AskError::InTheWay(name.to_string()));
                }
                at = entry;
                continue;
            }
            let mut entry = self.context.fresh_entry();
            let tag = self.context.keys.directory_tag();
            let mut content = ContentState { tag, mode: DIRECTORY_MODE, mtime_ns: 0 };
            for found in self.named(&at, name).await? {
                let row = self.context.state.remote_row(&found.entry)?;
                let is_it = |row: &RemoteRow| {
                    row.node.deleted && row.node.kind == Kind::Directory && row.issue().is_none()
                };
                if let Some(row) = row.filter(is_it) {
                    (entry, content) = (found.entry, row.node.content);
                    break;
                }
            }
            let position = Position { parent: at, name: name.clone() };
            let kind = Kind::Directory;
            let item = Item { position: position.clone(), kind, content, size: 0 };
            if past.tree.get(&entry).is_none() {
                past.tree.put(entry, item);
            }
            wish.wanted.insert(entry, Wanted { position, kind, content, source: entry });
            at = entry;
        }
        Ok(at)
    }

    /// Where a path is, or will be when a wish has come true.
    fn position_of(&self, names: &[Name], wish: &Wish) -> Result<Position, AskError> {
        let Some((name, above)) = names.split_last() else {
            return Err(AskError::IsDirectory(String::new()));
        };
        let mut parent = EntryId::ROOT;
        for name in above {
            let position = Position { parent, name: name.clone() };
            let wanted = wish.wanted.iter().find(|(_, it)| it.position == position);
            let live = self.context.state.remote_entry_at(&position)?;
            let found = wanted.map(|(entry, _)| *entry).or(live);
            parent = found.ok_or_else(|| AskError::NoSuchPath(name.to_string()))?;
        }
        Ok(Position { parent, name: name.clone() })
    }

    /// Sends what makes a wish true as far as one plan goes, or until others have changed the folder
    /// meanwhile: the next plan goes on from there.
    pub(super) async fn send_wish(&mut self, restoring: &Restoring) -> Result<(), AskError> {
        let policy = self.policy();
        let view = self.context.state.view();
        let plan = restore::plan(&view, &restoring.wish, &policy);
        view.finish()?;
        if let Some(issue) = plan.issues.first() {
            let path = self.shown_path(&issue.entry)?;
            return Err(AskError::Refused(format!("{path}: cannot be brought back as things are")));
        }
        for batch in plan.batches {
            let groups: Vec<Prepared> = batch
                .into_iter()
                .filter_map(|step| match step {
                    Step::Push(group) => Some(group),
                    _ => None,
                })
                .map(|group| {
                    let changes = group.changes.iter().filter_map(|it| self.record(it, restoring));
                    Prepared { changes: changes.collect(), ..Prepared::default() }
                })
                .collect();
            for together in groups.chunks(CHANGES_TOGETHER) {
                if !self.send(together.to_vec()).await? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The last revision that has come to this device.
    pub(in crate::engine) fn heard(&self) -> Result<Revision, StateError> {
        Ok(self.context.state.cursor()?.map_or(0, |cursor| cursor.revision))
    }

    fn record(&self, planned: &Planned, restoring: &Restoring) -> Option<Change> {
        let place = |entry: &EntryId, at: &Position| self.context.place(entry, at);
        Some(match planned {
            Planned::Create { entry, at, .. } => {
                let kind = restoring.wish.wanted.get(entry)?.kind;
                let content = self.content(entry, restoring)?;
                Change::Create { entry: *entry, kind, place: place(entry, at), content }
            }
            Planned::Edit { entry, base, .. } => {
                let content = self.content(entry, restoring)?;
                Change::Edit { entry: *entry, base: *base, content }
            }
            Planned::Move { entry, to, base } => {
                Change::Move { entry: *entry, base: *base, place: place(entry, to) }
            }
            Planned::Revive { entry, at, base } => {
                Change::Revive { entry: *entry, base: *base, place: place(entry, at) }
            }
            Planned::Delete { entry, place_base, content_base } => Change::Delete {
                entry: *entry,
                place_base: *place_base,
                content_base: *content_base,
            },
            // A folder that is as the server has it is in no conflict.
            Planned::ConflictCopy { .. } => return None,
        })
    }

    /// The content that an entry is to get, sealed for it.
    fn content(&self, entry: &EntryId, restoring: &Restoring) -> Option<Content> {
        let wanted = restoring.wish.wanted.get(entry)?;
        let row = restoring.past.rows.get(&wanted.source);
        let row = row.filter(|_| wanted.kind != Kind::Directory);
        let attributes = Attributes {
            mode: if wanted.kind == Kind::Symlink { 0 } else { wanted.content.mode },
            mtime_ns: wanted.content.mtime_ns,
            size: row.map_or(0, |row| row.size),
            target: row.and_then(|row| row.target.clone()),
            tag: wanted.content.tag,
            restored: row.map(|row| row.node.content_revision),
        };
        let (keys, folder) = (&self.context.keys, &self.context.folder);
        let sealed = seal_attributes(keys, folder, entry, &attributes);
        let root = row.and_then(|row| row.root);
        Some(Content { root, tag: wanted.content.tag, attributes: sealed })
    }
}

/// What a version says of its entry, unless its content is gone.
pub(super) fn registers_of(version: Version) -> Result<Registers, AskError> {
    if version.released {
        let reason = "its content was released, as the folder's retention says";
        return Err(AskError::Unreadable(reason.to_owned()));
    }
    let registers = version.registers.map(Registers::try_from).transpose();
    let registers = registers.map_err(|error| unreadable(&error.to_string()))?;
    registers.ok_or_else(|| unreadable("a version is empty"))
}

/// A restore that was thought through.
pub(super) struct Restoring {
    pub(super) now: Past,
    pub(super) past: Past,
    pub(super) wish: Wish,
    /// What becomes what it was.
    into: EntryId,
}

impl Restoring {
    /// Wishes for the whole folder, with what their entries held.
    pub(super) fn of_folder(past: Past, wish: Wish) -> Self {
        Self { now: Past::default(), past, wish, into: EntryId::ROOT }
    }

    /// What is to be there, and the directories above it.
    pub(super) fn stays(&self) -> Vec<EntryId> {
        let after = self.wish.applied_to(&self.now.tree, &self.past.tree);
        let listed = after.list(&self.into, "").into_iter().map(|it| it.entry);
        let mut stays: Vec<EntryId> = listed.chain([self.into]).collect();
        stays.extend(after.above(&stays));
        stays.sort_unstable();
        stays.dedup();
        stays
    }

    /// What becomes different.
    pub(super) fn differences(&self) -> Vec<Difference> {
        let root = EntryId::ROOT;
        let before = self.now.tree.list(&root, "");
        let after = self.wish.applied_to(&self.now.tree, &self.past.tree).list(&root, "");
        compare(&before, &after)
    }
}

fn item_of(row: &RemoteRow, position: Position) -> Item {
    let node = &row.node;
    Item { position, kind: node.kind, content: node.content, size: row.size }
}

/// What this device knows of entries. Its look-ups cannot fail, those of the state can: the first
/// failure is kept, and what was planned with it is void.
struct Known<'a> {
    engine: &'a Engine,
    failure: RefCell<Option<StateError>>,
}

impl<'a> Known<'a> {
    fn new(engine: &'a Engine) -> Self {
        Self { engine, failure: RefCell::new(None) }
    }

    fn row(&self, entry: &EntryId) -> Option<RemoteRow> {
        self.engine.context.state.remote_row(entry).unwrap_or_else(|error| {
            self.failure.borrow_mut().get_or_insert(error);
            None
        })
    }

    fn finish(self) -> Result<(), StateError> {
        self.failure.into_inner().map_or(Ok(()), Err)
    }
}

impl Entries for Known<'_> {
    fn is_deleted(&self, entry: &EntryId) -> bool {
        self.row(entry).is_some_and(|row| row.node.deleted && row.issue().is_none())
    }

    fn is_left_alone(&self, entry: &EntryId) -> bool {
        let row = self.row(entry).filter(|row| !row.node.deleted);
        row.is_some_and(|row| row.broken.as_deref() == Some(IGNORED) || row.issue().is_some())
    }

    fn fresh(&mut self) -> EntryId {
        self.engine.context.fresh_entry()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_retention_released_is_not_brought_back() {
        let version = Version { released: true, ..Version::default() };
        let error = registers_of(version).unwrap_err();
        let reason = "its content was released, as the folder's retention says".to_owned();
        assert_eq!(error, AskError::Unreadable(reason), "another version can be chosen");
        let error = registers_of(Version::default()).unwrap_err();
        assert!(error.to_string().contains("empty"), "{error}");
    }
}
