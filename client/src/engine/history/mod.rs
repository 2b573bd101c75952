//! The history of a folder: what it was, and how that is seen, compared and brought back.
//!
//! Owns how versions are asked for and opened: what a server says of the past is believed as far as
//! its seals go, as with all else that it sends. `lookup` finds what a path means, `paths` what an
//! entry was called, `log` tells versions, `past` whole trees, `diff` differences, `deletions` what
//! one took away, and `pages` bounds what is told; `restore` and `export` bring something back, in its
//! place or elsewhere, `untold` is what a restore meets that is only on this disk, and `undo` takes back
//! a mass deletion. `bundles` looks into bundles, and `outside` writes what stands elsewhere.

mod bundles;
mod deletions;
mod diff;
mod export;
mod log;
mod lookup;
mod outside;
mod pages;
mod past;
mod paths;
mod restore;
mod undo;
mod untold;

pub(super) use bundles::is_bundle_row;

use super::handle::{AskError, Instant, Moment};
use super::run::Engine;
use crate::fs::FsError;
use crate::transfer::Want;
use client_core::past::Shown;
use common::chunk::{Attributes, open_attributes};
use common::ids::{DeviceId, EntryId};
use common::limits::REPLY_ITEMS_MAX;
use common::record::Registers;
use common::revision::Revision;
use common::wire::meta::{MomentRead, Reply, Request, Version, VersionsRead};

/// A version of one entry, opened.
pub(super) struct OpenVersion {
    pub(super) registers: Registers,
    pub(super) size: u64,
    /// Of a symlink.
    target: Option<Vec<u8>>,
    /// The version that a restore took it from.
    restored: Option<Revision>,
    want: Want,
}

impl OpenVersion {
    /// What people are told that it is.
    pub(super) fn shown(&self) -> Shown {
        Shown::of(self.registers.kind, self.want.mode)
    }

    /// What its sealed attributes say.
    pub(super) fn attributes(&self) -> Attributes {
        let Want { size, tag, mode, mtime_ns, .. } = self.want;
        Attributes { mode, mtime_ns, size, target: self.target.clone(), tag, restored: None }
    }
}

/// How far the clocks of a device and its server may be apart, so that a time that has only just come
/// for one is none of the future for the other.
const CLOCKS_APART_MS_MAX: u64 = 60_000;

/// What a moment is.
struct Nearest {
    instant: Instant,
    /// Whether the folder has no later revision.
    is_last: bool,
}

impl From<FsError> for AskError {
    fn from(error: FsError) -> Self {
        Self::Disk(error.to_string())
    }
}

impl Engine {
    /// The frame that answers a request.
    async fn answer_to(&self, request: Request) -> Result<Reply, AskError> {
        let mut replies = self.context.remote.request(request).await?;
        match (replies.pop(), replies.is_empty()) {
            (Some(reply), true) => Ok(reply),
            _ => Err(unreadable("it is not one frame")),
        }
    }

    /// Which revision a moment is that a person names; one that the folder has lived.
    pub(super) async fn instant(&self, moment: Moment) -> Result<Instant, AskError> {
        let found = self.nearest(moment).await?;
        let now_ms = u64::try_from(self.context.environment.now_ns() / 1_000_000).unwrap_or(0);
        match moment {
            // A revision that came later tells that the server's clock has passed this time.
            Moment::Time(time_ms)
                if found.is_last && time_ms > now_ms.saturating_add(CLOCKS_APART_MS_MAX) =>
            {
                Err(AskError::InTheFuture { last: found.instant.revision })
            }
            _ => Ok(found.instant),
        }
    }

    /// The last revision at or before a moment.
    async fn nearest(&self, moment: Moment) -> Result<Nearest, AskError> {
        let (revision, time_ms) = match moment {
            Moment::Revision(revision) => (revision, 0),
            Moment::Time(time_ms) => (0, time_ms),
        };
        let request = MomentRead { folder: self.context.folder.to_vec(), revision, time_ms };
        let Reply::Moment(found) = self.answer_to(Request::Moment(request)).await? else {
            return Err(unreadable("it is no moment"));
        };
        if moment == Moment::Revision(0) || revision > found.last_revision {
            return Err(AskError::NoMoment { revision, last: found.last_revision });
        }
        if found.revision == 0 {
            return Err(AskError::BeforeBeginning { first_ms: found.first_ms });
        }
        let instant = Instant { revision: found.revision, time_ms: found.time_ms };
        Ok(Nearest { instant, is_last: found.revision == found.last_revision })
    }

    /// The newest versions up to a revision (0 for all), so many at most, in as many pages as the
    /// server cuts them into.
    async fn versions(
        &self,
        entry: &EntryId,
        mut at_or_before: Revision,
        limit: u32,
    ) -> Result<Vec<Version>, AskError> {
        let limit = limit as usize;
        let mut found: Vec<Version> = Vec::new();
        loop {
            let left = limit.saturating_sub(found.len()).min(REPLY_ITEMS_MAX);
            let request = VersionsRead {
                folder: self.context.folder.to_vec(),
                entry: entry.to_vec(),
                at_or_before,
                limit: u32::try_from(left).unwrap_or(u32::MAX),
            };
            let Reply::Versions(part) = self.answer_to(Request::Versions(request)).await? else {
                return Err(unreadable("it is no list of versions"));
            };
            // Seals are opened by the entry that was asked for, and by no other that is named.
            let is_other = |version: &Version| {
                version.registers.as_ref().is_some_and(|registers| !registers.is_of(entry))
            };
            if part.versions.iter().any(is_other) {
                return Err(unreadable("it tells of another entry"));
            }
            let last = part.versions.last().map_or(0, |version| version.revision);
            found.extend(part.versions.into_iter().take(left));
            if !part.more || last <= 1 || found.len() >= limit {
                return Ok(found);
            }
            if at_or_before > 0 && last > at_or_before {
                return Err(unreadable("a page begins where the one before it did"));
            }
            at_or_before = last - 1;
        }
    }

    pub(super) fn open_version(
        &self,
        entry: &EntryId,
        version: &Version,
    ) -> Result<OpenVersion, AskError> {
        let bad = |error: &dyn std::fmt::Display| AskError::Unreadable(error.to_string());
        let message = version.registers.clone().ok_or_else(|| bad(&"it is empty"))?;
        if version.released {
            return Err(bad(&"its content was released, as the folder's retention says"));
        }
        let registers = Registers::try_from(message).map_err(|error| bad(&error))?;
        let sealed = &registers.content.attributes;
        let attributes = open_attributes(&self.context.keys, &self.context.folder, entry, sealed)
            .map_err(|error| bad(&error))?;
        if attributes.tag != registers.content.tag {
            return Err(bad(&"its content tag is another"));
        }
        let want = Want {
            entry: *entry,
            root: registers.content.root,
            size: attributes.size,
            tag: attributes.tag,
            mode: attributes.mode,
            mtime_ns: attributes.mtime_ns,
        };
        let Attributes { size, target, restored, .. } = attributes;
        Ok(OpenVersion { registers, size, target, restored, want })
    }

    /// The version of an entry at exactly this revision, as it is sealed.
    pub(super) async fn sealed_version(
        &self,
        entry: &EntryId,
        revision: Revision,
    ) -> Result<Option<Version>, AskError> {
        let versions = self.versions(entry, revision, 1).await?;
        Ok(versions.into_iter().next().filter(|version| version.revision == revision))
    }

    /// The newest version of an entry that was not its end, and its revision.
    pub(super) async fn last_version(
        &self,
        entry: &EntryId,
    ) -> Result<Option<(Revision, OpenVersion)>, AskError> {
        let versions = self.versions(entry, 0, 2).await?;
        let last = versions.iter().find(|version| !version.deleted);
        last.map(|last| Ok((last.revision, self.open_version(entry, last)?))).transpose()
    }
}

/// A server's answer that cannot be.
fn unreadable(reason: &str) -> AskError {
    AskError::Engine(format!("the server's history cannot be read: {reason}"))
}

/// Who wrote a version, as the server says.
pub(super) fn author(version: &Version) -> Option<DeviceId> {
    DeviceId::from_slice(&version.device).ok()
}
