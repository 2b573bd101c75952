//! Retention over what is stored: planning a thinning, finding what it releases, foreseeing it.
//!
//! Owns how marks, labels, settings and conflicts become the input of [`crate::retention`]. Every
//! function reads; [`super::Action::MoveHorizon`] and [`super::Action::Release`] write. It must not
//! know when thinning runs. Objects that released versions alone reached stay known (`objects`) until
//! the garbage collection takes them, which has to see to it that nobody names them meanwhile.

use super::query;
use super::state::Label;
use super::store::{
    FolderReads, JournalReads, LAST_REVISION, MetaReads, RegisterReads, RetentionReads, StoreError,
    Stored, TreeReads,
};
use crate::retention::{EntryMarks, Release, Standing, Times, VersionMark, Whole, plan, release};
use common::ids::{ContentTag, EntryId, FolderId};
use common::limits::REPLY_ITEMS_MAX;
use common::record::{Kind, Retention, StandingSettings};
use common::revision::{Cursor, Revision};
use std::collections::BTreeSet;

/// Versions of a register that are read at once: more than one has.
const ALL: usize = usize::MAX >> 1;

/// Versions that one [`super::Action::Release`] releases at most, so that commits are not held up:
/// one that released as many is sent again.
pub const RELEASED_TOGETHER: u64 = 2048;

/// What a folder's thinning obeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// What the folder is set to; `None` when it never was.
    pub newest: Option<StandingSettings>,
    /// The settings of before the grace, `None` for the default: they are obeyed too while the newest
    /// are new.
    pub settled: Option<StandingSettings>,
    /// Whether the newest settings are obeyed alone.
    pub is_settled: bool,
}

impl InForce {
    /// What is obeyed, all of it: what one of them keeps stays.
    #[must_use]
    pub fn retentions(&self) -> Vec<Retention> {
        let of = |standing: &Option<StandingSettings>| {
            standing.as_ref().map_or_else(Retention::default, |it| it.settings.retention)
        };
        if self.is_settled {
            return vec![of(&self.newest)];
        }
        vec![of(&self.settled), of(&self.newest)]
    }
}

/// What a folder's thinning obeys at a time: the newest settings, and until they are `grace_ms` old
/// those of before too, so that a retention that was set by mistake can be taken back.
///
/// # Errors
/// What the store says.
pub fn in_force(
    reads: &(impl RetentionReads + ?Sized),
    folder: &FolderId,
    now_ms: u64,
    grace_ms: u64,
) -> Stored<InForce> {
    let newest = reads.settings(folder, LAST_REVISION)?;
    let settled = match now_ms.checked_sub(grace_ms) {
        Some(by_ms) => reads.settings_by(folder, by_ms)?,
        None => None,
    };
    let is_settled = newest == settled;
    Ok(InForce { newest, settled, is_settled })
}

/// Until when nothing is thinned, in milliseconds since 1970, as the server was restored less than the
/// grace ago; `None` when it was not. What the folder was set to since the backup, and its labels, are
/// forgotten: whoever wanted more kept than the backup says needs time to say it again.
///
/// # Errors
/// What the store says.
pub fn held_until(
    reads: &(impl FolderReads + ?Sized),
    folder: &FolderId,
    now_ms: u64,
    grace_ms: u64,
) -> Stored<Option<u64>> {
    let Some(state) = reads.folder(folder)? else { return Ok(None) };
    // A restore begins an epoch that is not before the clock's milliseconds; a folder's first is none.
    let until_ms = state.epoch.saturating_add(grace_ms);
    Ok((state.epoch > Cursor::START.epoch && now_ms < until_ms).then_some(until_ms))
}

/// Moments that stay whole whatever the retention says: those with a label, and the newest
/// checkpoint, as new devices begin with it.
///
/// # Errors
/// What the store says.
pub fn pinned(
    reads: &(impl RetentionReads + FolderReads + ?Sized),
    folder: &FolderId,
) -> Stored<BTreeSet<Revision>> {
    let labels: Vec<Label> = reads.labels(folder)?;
    let mut pinned: BTreeSet<Revision> = labels.iter().map(|label| label.at).collect();
    pinned.extend(reads.checkpoint(folder)?.map(|(at, _)| at));
    Ok(pinned)
}

/// A thinning as it is planned: what [`super::Action::MoveHorizon`] is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Revision of the newest settings, 0 for none.
    pub settings: Revision,
    /// What stays whole.
    pub whole: Whole,
}

/// Plans the thinning of a folder under what is in force; `None` when there is no such folder, or
/// nothing of it is thinned for now: see [`held_until`].
///
/// # Errors
/// What the store says.
pub fn planned(
    reads: &(impl MetaReads + ?Sized),
    folder: &FolderId,
    now_ms: u64,
    grace_ms: u64,
) -> Stored<Option<Planned>> {
    if held_until(reads, folder, now_ms, grace_ms)?.is_some() {
        return Ok(None);
    }
    let in_force = in_force(reads, folder, now_ms, grace_ms)?;
    let settings = in_force.newest.as_ref().map_or(0, |newest| newest.revision);
    let whole = whole_under(reads, folder, now_ms, &in_force.retentions())?;
    Ok(whole.map(|whole| Planned { settings, whole }))
}

/// What would stay whole under these retentions; `None` when there is no such folder.
///
/// # Errors
/// What the store says.
pub fn whole_under(
    reads: &(impl MetaReads + ?Sized),
    folder: &FolderId,
    now_ms: u64,
    retentions: &[Retention],
) -> Stored<Option<Whole>> {
    let Some(state) = reads.folder(folder)? else { return Ok(None) };
    let (whole, pinned) = (reads.whole(folder)?, pinned(reads, folder)?);
    let standing = Standing { whole: &whole, last: state.revision, pinned: &pinned, now_ms };
    let times = Journal { reads, folder, last: state.revision };
    plan(&standing, retentions, &times).map(Some)
}

/// A journal's times.
struct Journal<'a, R: ?Sized> {
    reads: &'a R,
    folder: &'a FolderId,
    last: Revision,
}

impl<R: JournalReads + ?Sized> Times for Journal<'_, R> {
    type Error = StoreError;

    fn first_at(&self, time_ms: u64) -> Stored<Revision> {
        query::first_at(self.reads, self.folder, self.last, time_ms)
    }

    fn time(&self, revision: Revision) -> Stored<u64> {
        let mark = self.reads.mark(self.folder, revision)?;
        Ok(mark.ok_or(StoreError::Corrupt { what: "journal mark" })?.time_ms)
    }
}

/// What may be released of an entry when only these moments stay whole.
///
/// # Errors
/// What the store says.
pub fn releasable(
    reads: &(impl TreeReads + RetentionReads + ?Sized),
    folder: &FolderId,
    entry: &EntryId,
    whole: &Whole,
) -> Stored<Release> {
    let Some(state) = reads.entry(folder, entry)? else { return Ok(Release::default()) };
    let is_file = state.kind == Kind::File;
    let (places, contents) = reads.version_marks(folder, entry)?;
    let (places, contents) = (ascending(places), ascending(contents));
    let held = held(reads, folder, entry)?;
    Ok(release(&EntryMarks { places: &places, contents: &contents, is_file }, whole, &held))
}

/// Marks that come newest first, the other way round, and one for a revision: the last of a group's
/// contents stands for all.
fn ascending(mut marks: Vec<VersionMark>) -> Vec<VersionMark> {
    marks.dedup_by_key(|mark| mark.revision);
    marks.reverse();
    marks
}

/// The moments that open conflicts hold of an entry: when it was opened, and of the one that kept the
/// name also what both sides started from and what the opener found.
fn held(
    reads: &(impl RetentionReads + ?Sized),
    folder: &FolderId,
    entry: &EntryId,
) -> Stored<BTreeSet<Revision>> {
    let mut held = BTreeSet::new();
    for conflict in reads.conflicts_naming(folder, entry)? {
        held.insert(conflict.opened);
        if conflict.entry == *entry {
            held.extend([Some(conflict.theirs), conflict.base].into_iter().flatten());
        }
    }
    Ok(held)
}

/// Entries, and what may be released of each.
pub type Releases = Vec<(EntryId, Release)>;

/// Entries of which something may be released when only these moments stay whole, what that is, and
/// where to go on: about `limit` are looked at.
///
/// # Errors
/// What the store says.
pub fn entries_to_release(
    reads: &(impl TreeReads + RegisterReads + RetentionReads + ?Sized),
    folder: &FolderId,
    whole: &Whole,
    after: Option<&EntryId>,
    limit: usize,
) -> Stored<(Releases, Option<EntryId>)> {
    let candidates = reads.entries_with_history(folder, after, limit)?;
    let next = candidates.last().copied().filter(|_| candidates.len() >= limit);
    let mut found = Vec::new();
    for entry in candidates {
        let release = releasable(reads, folder, &entry, whole)?;
        if !release.is_empty() {
            found.push((entry, release));
        }
    }
    Ok((found, next))
}

/// What a thinning would release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Foreseen {
    /// Versions of places and contents.
    pub versions: u64,
    /// Contents of files that no version of their entry would have any more.
    pub contents: u64,
}

/// What would be released if only these moments stayed whole. Costs a pass over all that has a
/// history.
///
/// # Errors
/// What the store says.
pub fn foreseen(
    reads: &(impl TreeReads + RegisterReads + RetentionReads + ?Sized),
    folder: &FolderId,
    whole: &Whole,
) -> Stored<Foreseen> {
    let mut foreseen = Foreseen::default();
    let mut after: Option<EntryId> = None;
    loop {
        let (entries, next) =
            entries_to_release(reads, folder, whole, after.as_ref(), REPLY_ITEMS_MAX)?;
        for (entry, release) in entries {
            let gone = &release.contents.gone;
            let (mut lost, mut stays) = (BTreeSet::new(), BTreeSet::<ContentTag>::new());
            for content in reads.contents(folder, &entry, LAST_REVISION, ALL)? {
                let is_gone = gone.contains(&content.revision);
                foreseen.versions += u64::from(is_gone);
                if content.content.root.is_none() {
                    continue;
                }
                let goes = is_gone || release.hollow == Some(content.revision);
                let side = if goes { &mut lost } else { &mut stays };
                side.insert(content.content.tag);
            }
            foreseen.versions += release.places.gone.len() as u64;
            foreseen.contents += lost.difference(&stays).count() as u64;
        }
        after = next;
        if after.is_none() {
            return Ok(foreseen);
        }
    }
}
