//! Settling a conflict with a content that is neither side's: a merge of both, or what a person gives.
//! And the end of conflicts whose copy went away by hand.
//!
//! Owns the group that this is: both sides' contents stay in the history of the file that kept the
//! name. It must not know how lines are merged, nor how a person is asked.

use super::handle::{AskError, MergeInfo, NewContent, ResolveInfo, Settlement};
use super::history::{author, is_bundle_row};
use super::merging::{Stored, merged_mode, plain_labels};
use super::online::RoundError;
use super::run::Engine;
use crate::apply::ApplyError;
use crate::fs::{Area, RelPath};
use crate::pull::is_edited;
use crate::push::Prepared;
use crate::state::{RemoteRow, StateError};
use client_core::merge::{
    MARKED_BYTES_MAX, MERGE_BYTES_MAX, Merged, Unmergeable, has_marks, text_of_any_length,
};
use common::ids::DeviceId;
use common::limits::FILE_BYTES_MAX;
use common::record::{Change, ConflictRecord, Kind, Resolution};
use common::revision::Revision;
use std::fs::{File, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Bytes of a given file that are read at a time.
const READ_BYTES: usize = 1024 * 1024;

/// An open conflict of two files that are both there.
pub(super) struct Sides {
    pub(super) record: ConflictRecord,
    pub(super) original: RemoteRow,
    pub(super) copy: RemoteRow,
}

/// The three texts of a conflict.
pub(super) struct Texts {
    /// Empty when the sides have nothing in common.
    pub(super) base: Vec<u8>,
    /// The mode of the base, if there is one.
    base_mode: Option<u16>,
    pub(super) original: Vec<u8>,
    pub(super) copy: Vec<u8>,
}

/// What a revision set on the file of a conflict that started from it: twice, if it merged.
struct Bases {
    newest: Stored,
    oldest: Stored,
    /// Whether the newest is known to be what both sides have seen.
    is_sure: bool,
}

impl Bases {
    fn of(
        record: &ConflictRecord,
        revision: Revision,
        contents: &[(Stored, Option<DeviceId>)],
    ) -> Option<Self> {
        let ((newest, author), (oldest, _)) = (contents.first()?, contents.last()?);
        let by_its_author = author.is_none_or(|author| author == record.device);
        let is_sure = contents.len() == 1 || (!by_its_author && record.theirs != revision);
        Some(Self { newest: *newest, oldest: *oldest, is_sure })
    }
}

impl Engine {
    /// The conflict at a path, if both its sides are files that are there, and no bundles.
    async fn sides(&self, path: &str) -> Result<Sides, AskError> {
        let record = self.record_at(path).await?;
        let gone = |entry| -> Result<AskError, AskError> {
            Ok(AskError::SideGone { path: self.shown_path(entry)?, revision: None })
        };
        let Some(original) = self.live(&record.entry)? else { return Err(gone(&record.entry)?) };
        let Some(copy) = self.live(&record.copy)? else { return Err(gone(&record.copy)?) };
        if [&original, &copy].iter().any(|row| row.node.kind != Kind::File) {
            let why = "its sides are not both files".to_owned();
            return Err(AskError::NotMergeable { path: path.to_owned(), why });
        }
        if is_bundle_row(&original) || is_bundle_row(&copy) {
            return Err(AskError::NeverMerged(path.to_owned()));
        }
        Ok(Sides { record, original, copy })
    }

    /// The three texts of a conflict, as they are at the server now.
    pub(super) async fn texts(
        &mut self,
        sides: &Sides,
    ) -> Result<Result<Texts, Unmergeable>, RoundError> {
        let Sides { record, original, copy } = sides;
        if original.size.max(copy.size) > MERGE_BYTES_MAX {
            return Ok(Err(Unmergeable::TooLarge));
        }
        let original = self.small_bytes(&record.entry, &Stored::from(original)).await?;
        let copy = self.small_bytes(&record.copy, &Stored::from(copy)).await?;
        let (Some(original), Some(copy)) = (original, copy) else {
            return Ok(Err(Unmergeable::Gone));
        };
        let base = match record.base {
            Some(revision) => self.base_text(record, revision, &copy).await?,
            None => Ok((Vec::new(), None)),
        };
        let (base, base_mode) = match base {
            Ok(base) => base,
            Err(error) => return Ok(Err(error)),
        };
        let texts = [&base, &original, &copy];
        if let Some(error) = texts.iter().find_map(|it| client_core::merge::text(it).err()) {
            return Ok(Err(error));
        }
        Ok(Ok(Texts { base, base_mode, original, copy }))
    }

    /// What both sides of a conflict have seen of the revision that they started from. A merge sets
    /// two contents: what it came to is what a device has that took it from the journal, and with it
    /// all that was built on it. Only whoever merged may have opened the conflict before its own merge
    /// came back; then the older content is what both know, unless the copy has all of the merge.
    /// With the mode that goes with it.
    async fn base_text(
        &mut self,
        record: &ConflictRecord,
        revision: Revision,
        copy: &[u8],
    ) -> Result<Result<(Vec<u8>, Option<u16>), Unmergeable>, RoundError> {
        let contents = self.contents_at(&record.entry, revision).await?;
        let Some(Bases { newest, oldest, is_sure }) = Bases::of(record, revision, &contents) else {
            return Ok(Err(Unmergeable::Gone));
        };
        if newest.size.max(oldest.size) > MERGE_BYTES_MAX {
            return Ok(Err(Unmergeable::TooLarge));
        }
        let merged = self.small_bytes(&record.entry, &newest).await?;
        let Some(merged) = merged else { return Ok(Err(Unmergeable::Gone)) };
        if is_sure {
            return Ok(Ok((merged, Some(newest.mode))));
        }
        let own = self.small_bytes(&record.entry, &oldest).await?;
        let Some(own) = own else { return Ok(Err(Unmergeable::Gone)) };
        let (texts, labels) = ((own.clone(), merged.clone(), copy.to_vec()), plain_labels());
        let both = self.merge_texts(texts.0, texts.1, texts.2, labels).await?;
        let has_all = both.is_ok_and(|it| it.clean().is_some_and(|it| it.as_bytes() == copy));
        let (base, mode) = if has_all { (merged, newest.mode) } else { (own, oldest.mode) };
        Ok(Ok((base, Some(mode))))
    }

    /// The mode of what both sides of a conflict have seen, where their texts do not tell.
    async fn base_mode(&self, record: &ConflictRecord) -> Result<Option<u16>, RoundError> {
        let Some(revision) = record.base else { return Ok(None) };
        let contents = self.contents_at(&record.entry, revision).await?;
        let bases = Bases::of(record, revision, &contents);
        Ok(bases.map(|it| if it.is_sure { it.newest.mode } else { it.oldest.mode }))
    }

    async fn mergeable_texts(&mut self, path: &str, sides: &Sides) -> Result<Texts, AskError> {
        self.texts(sides).await?.map_err(|error| not_mergeable(path, error))
    }

    /// What a conflict would be merged from.
    pub(super) async fn merge_info(&mut self, path: &str) -> Result<MergeInfo, AskError> {
        let sides = self.sides(path).await?;
        let texts = self.mergeable_texts(path, &sides).await?;
        let record = &sides.record;
        let by = self.sealed_version(&record.entry, record.theirs).await?;
        let by = by.as_ref().and_then(author).unwrap_or(record.device);
        // Of two that were written elsewhere, the one that kept the name stands first.
        let copy_is_mine = record.device == self.context.device();
        let original = (texts.original, by);
        let copy = (texts.copy, record.device);
        let (mine, theirs) = if copy_is_mine { (copy, original) } else { (original, copy) };
        Ok(MergeInfo {
            path: self.shown_path(&record.entry)?,
            base: texts.base,
            mine: mine.0,
            mine_by: mine.1,
            theirs: theirs.0,
            theirs_by: theirs.1,
            seen: seen(&sides),
        })
    }

    /// Whether a conflict could be merged cleanly; `None` when it is not merged line by line at all.
    pub(super) async fn merges_cleanly(&self, texts: &Texts) -> Result<Option<bool>, RoundError> {
        let Texts { base, original, copy, .. } = texts;
        let (base, original, copy) = (base.clone(), original.clone(), copy.clone());
        let merged = self.merge_texts(base, original, copy, plain_labels()).await?;
        Ok(merged.ok().map(|merged| merged.clean().is_some()))
    }

    /// Both sides of a conflict, for who lists it: their texts only when they are texts.
    pub(super) async fn listed_texts(
        &mut self,
        record: &ConflictRecord,
    ) -> Result<Option<Texts>, AskError> {
        let Some(sides) = self.file_sides(record)? else { return Ok(None) };
        Ok(self.texts(&sides).await?.ok())
    }

    /// Both sides of a conflict, if they are files that are there.
    pub(super) fn file_sides(&self, record: &ConflictRecord) -> Result<Option<Sides>, StateError> {
        let sides = (self.live(&record.entry)?, self.live(&record.copy)?);
        let (Some(original), Some(copy)) = sides else { return Ok(None) };
        let is_plain = |row: &RemoteRow| row.node.kind == Kind::File && !is_bundle_row(row);
        let are_plain = is_plain(&original) && is_plain(&copy);
        Ok(are_plain.then(|| Sides { record: record.clone(), original, copy }))
    }

    /// Settles a conflict with the clean merge of both sides.
    pub(super) async fn keep_merged(&mut self, path: &str) -> Result<ResolveInfo, AskError> {
        let sides = self.sides(path).await?;
        let texts = self.mergeable_texts(path, &sides).await?;
        let Texts { base, base_mode, original, copy } = texts;
        let merged = self.merge_texts(base, original, copy, plain_labels()).await?;
        match merged.map_err(|error| not_mergeable(path, error))? {
            Merged::Clean(text) => {
                let content = NewContent::Bytes(text.into_bytes());
                let mode = settled_mode(&sides, base_mode);
                self.settle_with(path, sides, (content, mode), None).await
            }
            Merged::Marked { conflicts, .. } => {
                Err(AskError::NotClean { path: path.to_owned(), conflicts })
            }
        }
    }

    /// Settles a conflict with a content that a person gives.
    pub(super) async fn resolve_with(
        &mut self,
        path: &str,
        settlement: Settlement,
    ) -> Result<ResolveInfo, AskError> {
        let sides = self.sides(path).await?;
        self.check_sides(&sides.record)?;
        if settlement.seen.is_some_and(|merged_from| merged_from != seen(&sides)) {
            return Err(changed());
        }
        let texts = self.texts(&sides).await?.ok();
        let base_mode = match &texts {
            Some(texts) => texts.base_mode,
            None => self.base_mode(&sides.record).await?,
        };
        let mode = settled_mode(&sides, base_mode);
        self.settle_with(path, sides, (settlement.content, mode), texts).await
    }

    /// Settles a conflict with a content and its mode. What a person made of these texts must have no marks left.
    async fn settle_with(
        &mut self,
        path: &str,
        sides: Sides,
        (content, mode): (NewContent, u16),
        texts: Option<Texts>,
    ) -> Result<ResolveInfo, AskError> {
        let Sides { record, original, copy } = sides;
        let entry = record.entry;
        let base = original.node.content_revision;
        let stored = match content {
            NewContent::Bytes(bytes) => {
                check_marks(path, &bytes, texts.as_ref())?;
                let (one, other) = (original.node.content.mtime_ns, copy.node.content.mtime_ns);
                self.store(&entry, &bytes, mode, one.max(other)).await?
            }
            NewContent::File(from) => {
                let (staged, size) = self.stage_outside(&from)?;
                let now = self.context.environment.now_ns();
                let stored = match self.check_staged(path, &staged, size, texts.as_ref()) {
                    Ok(()) => {
                        let stored = self.store_staged(&entry, &staged, mode, now).await;
                        stored.map_err(AskError::from)
                    }
                    Err(error) => Err(error),
                };
                self.context.fs.remove(&staged)?;
                stored?
            }
        };
        let no_room = || AskError::Refused(format!("{path}: the server has no room for it"));
        let stored = stored.ok_or_else(no_room)?;
        let written = Stored::from(&copy);
        let mut changes = vec![self.edit_to(&entry, base, &written)];
        let mut roots = Vec::new();
        if !stored.is_same(&written) {
            changes.push(self.edit_to(&entry, base, &stored));
            roots.extend(stored.root);
        }
        changes.push(Change::Delete {
            entry: record.copy,
            place_base: copy.node.place_revision,
            content_base: copy.node.content_revision,
        });
        let resolution = Resolution::Merged;
        changes.push(Change::ResolveConflict { conflict: record.conflict, resolution });
        let prepared = Prepared { changes, roots, ..Prepared::default() };
        if self.send(vec![prepared]).await? {
            return self.resolved(&record);
        }
        Err(changed())
    }

    /// Looks for marks in a staged file that is small enough for what a merge leaves to a person.
    fn check_staged(
        &self,
        path: &str,
        staged: &RelPath,
        size: u64,
        texts: Option<&Texts>,
    ) -> Result<(), AskError> {
        if texts.is_none() || size > MARKED_BYTES_MAX {
            return Ok(());
        }
        let bytes = self.read_staged(staged, size).map_err(|error| {
            let error = ApplyError::from(error);
            AskError::from(RoundError::from(error))
        })?;
        check_marks(path, &bytes, texts)
    }

    /// Copies a file from outside the folder into the staging area, whole and as it was at one moment;
    /// returns its size too.
    fn stage_outside(&self, from: &Path) -> Result<(RelPath, u64), AskError> {
        let bad = |why: String| AskError::BadContent(format!("{}: {why}", from.display()));
        let failed = |error: std::io::Error| bad(error.to_string());
        // Whatever waits at the path, opening it does not wait.
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(from)
            .map_err(failed)?;
        let before = file.metadata().map_err(failed)?;
        if !before.is_file() {
            return Err(bad("is no regular file".to_owned()));
        }
        if before.len() > FILE_BYTES_MAX {
            return Err(bad("is larger than files are synced".to_owned()));
        }
        let name = self.context.fresh_name();
        let path = RelPath::inside(Area::Staging, name.clone());
        let staged = self.context.fs.stage(&name)?;
        let copied = copy_in(&mut file, staged.as_ref(), failed);
        drop(staged);
        let copied = copied.and_then(|bytes| {
            let after = file.metadata().map_err(failed)?;
            let steady = bytes == before.len() && is_same(&before, &after);
            if steady { Ok(()) } else { Err(bad("changed while it was read".to_owned())) }
        });
        if copied.is_err() {
            self.context.fs.remove(&path)?;
        }
        copied.map(|()| (path, before.len()))
    }

    /// Ends conflicts whose copy was deleted by hand: who did that has chosen, and what the copy held
    /// is in the history. Every device that sees it says so; the first is heard. Where the copy was
    /// edited it is about to come back.
    pub(super) async fn close_gone(&mut self) -> Result<(), RoundError> {
        let mut changes = Vec::new();
        for record in self.context.state.conflicts()? {
            let copy = self.context.state.remote_row(&record.copy)?;
            if copy.is_some_and(|row| row.node.deleted)
                && !is_edited(&self.context.state, &record.copy)?
            {
                let (conflict, resolution) = (record.conflict, Resolution::Gone);
                changes.push(Change::ResolveConflict { conflict, resolution });
            }
        }
        let groups: Vec<Prepared> = changes
            .into_iter()
            .map(|change| Prepared { changes: vec![change], ..Prepared::default() })
            .collect();
        if !groups.is_empty() {
            self.send(groups).await?;
        }
        Ok(())
    }
}

/// The mode that a conflict is settled with: what a merge at once would have taken; where nothing is
/// known of what it was before, that of the file that kept the name.
fn settled_mode(sides: &Sides, base: Option<u16>) -> u16 {
    let [original, copy] = [&sides.original, &sides.copy].map(|row| row.node.content.mode);
    base.map_or(original, |base| merged_mode(base, copy, original))
}

/// Refuses what a person made of three texts if it has marks left in it. What is no text has none.
fn check_marks(path: &str, bytes: &[u8], texts: Option<&Texts>) -> Result<(), AskError> {
    let (Some(texts), Ok(text)) = (texts, text_of_any_length(bytes)) else { return Ok(()) };
    let sides = [&texts.base, &texts.original, &texts.copy].map(|side| str::from_utf8(side));
    match sides {
        [Ok(base), Ok(original), Ok(copy)] if has_marks(text, [base, original, copy]) => {
            Err(AskError::MarksLeft(path.to_owned()))
        }
        _ => Ok(()),
    }
}

fn copy_in(
    from: &mut File,
    staged: &dyn crate::fs::StagedFile,
    failed: impl Fn(std::io::Error) -> AskError,
) -> Result<u64, AskError> {
    let mut buffer = vec![0; READ_BYTES];
    let mut offset = 0;
    loop {
        let read = from.read(&mut buffer).map_err(&failed)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if bytes.is_empty() || offset > FILE_BYTES_MAX {
            return Ok(offset);
        }
        staged.write_at(offset, bytes)?;
        offset += read as u64;
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    let look = |it: &Metadata| (it.len(), it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec());
    look(one) == look(other)
}

/// The contents of both sides, as revisions: a merge is of these alone.
pub(super) fn seen(sides: &Sides) -> [Revision; 2] {
    [sides.original.node.content_revision, sides.copy.node.content_revision]
}

fn not_mergeable(path: &str, error: Unmergeable) -> AskError {
    AskError::NotMergeable { path: path.to_owned(), why: error.to_string() }
}

/// Somebody else was faster.
pub(super) fn changed() -> AskError {
    let text = "the conflict has changed or was settled meanwhile: `driftless conflicts` lists what is \
                open";
    AskError::Refused(text.to_owned())
}
