//! Labels, settings and retention as devices ask for them, and thinning all folders.
//!
//! Owns their wire shapes and the order of a thinning: the moments that stay are durable before a
//! version goes. It must not decide what stays, nor when thinning runs: whoever owns the server's
//! clock calls [`Service::thin_all`].

use super::Service;
use super::access;
use super::refusal::{bad_id, no_such_folder};
use common::ids::{DeviceId, EntryId, FolderId};
use common::limits::RETENTION_GRACE_DAYS;
use common::record::{Retention, Settings, StandingSettings, StandingSettingsMessage};
use common::revision::Revision;
use common::wire::meta::{Refusal, RefusalCode, Reply};
use common::wire::retention::{
    LabelState, LabelsRead, LabelsReply, Moment, RetentionPreviewRead, RetentionPreviewReply,
    RetentionWindows,
};
use server_core::metadata::{Action, Answer, Label, MetaReads, Stored, thinning};
use server_core::retention::Whole;

/// How long thinning obeys the settings of before too, and does nothing after a restore.
const GRACE_MS: u64 = RETENTION_GRACE_DAYS * 24 * 3600 * 1000;
/// Entries that are looked at in one read.
const ENTRIES_TOGETHER: usize = 256;

/// What a thinning did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thinned {
    /// Folders that were looked at.
    pub folders: u64,
    /// Folders that were left as they are, as the server was restored lately.
    pub held: u64,
    /// Versions of places and contents that were released.
    pub versions: u64,
    /// Folders that were not, or not to the end, with the reason for a person.
    pub failed: Vec<(FolderId, Refusal)>,
}

pub(super) async fn labels(
    service: &Service,
    peer: DeviceId,
    request: LabelsRead,
) -> Result<Reply, Refusal> {
    let folder = FolderId::from_slice(&request.folder).map_err(bad_id)?;
    let now_ms = service.now_ms();
    let read = move |reads: &dyn MetaReads| {
        let last = access::folder(reads, &peer, &folder)?.revision;
        let labels = reads.labels(&folder)?;
        let labels = labels.iter().map(|it| label(reads, &folder, it)).collect::<Stored<_>>()?;
        let in_force = thinning::in_force(reads, &folder, now_ms, GRACE_MS)?;
        let horizon = reads.whole(&folder)?.horizon;
        let held = thinning::held_until(reads, &folder, now_ms, GRACE_MS)?;
        let settled = in_force.settled.filter(|_| !in_force.is_settled);
        let newest = in_force.newest.as_ref();
        let new = newest.filter(|_| !in_force.is_settled);
        let alone_from_ms = new.map_or(0, |it| it.time_ms.saturating_add(GRACE_MS));
        Ok(LabelsReply {
            labels,
            settings: newest.map(StandingSettingsMessage::from),
            settled: held.map(|_| everything()).or(settled).as_ref().map(Into::into),
            alone_from_ms: held.unwrap_or(alone_from_ms),
            horizon,
            horizon_ms: time_of(reads, &folder, horizon.min(last))?,
        })
    };
    Ok(Reply::Labels(service.inner.meta.read(read).await?))
}

/// What is obeyed while nothing is thinned. Nobody set it.
fn everything() -> StandingSettings {
    let settings = Settings { retention: Retention::EVERYTHING, sealed: Vec::new() };
    StandingSettings { revision: 0, time_ms: 0, settings }
}

fn label(reads: &dyn MetaReads, folder: &FolderId, label: &Label) -> Stored<LabelState> {
    let added = reads.mark(folder, label.added)?;
    Ok(LabelState {
        label: label.label.to_vec(),
        at: label.at,
        at_ms: time_of(reads, folder, label.at)?,
        added_ms: added.map_or(0, |mark| mark.time_ms),
        device: added.map_or_else(Vec::new, |mark| mark.device.to_vec()),
        name: label.name.clone(),
    })
}

/// When a revision was accepted; 0 when there is none.
fn time_of(reads: &dyn MetaReads, folder: &FolderId, at: Revision) -> Stored<u64> {
    Ok(reads.mark(folder, at)?.map_or(0, |mark| mark.time_ms))
}

pub(super) async fn preview(
    service: &Service,
    peer: DeviceId,
    request: RetentionPreviewRead,
) -> Result<Reply, Refusal> {
    let folder = FolderId::from_slice(&request.folder).map_err(bad_id)?;
    let asked = request.retention.map(|windows| {
        let RetentionWindows { keep_all_ms, daily_ms, monthly_ms } = windows;
        Retention { keep_all_ms, daily_ms, monthly_ms }
    });
    let now_ms = service.now_ms();
    let read = move |reads: &dyn MetaReads| {
        let state = access::folder(reads, &peer, &folder)?;
        let standing = reads.settings(&folder, state.revision)?;
        let standing = standing.map_or_else(Retention::default, |it| it.settings.retention);
        let whole = thinning::whole_under(reads, &folder, now_ms, &[asked.unwrap_or(standing)])?;
        let whole = whole.ok_or_else(no_such_folder)?;
        let foreseen = thinning::foreseen(reads, &folder, &whole)?;
        let Whole { horizon, kept } = whole;
        let moment = |revision: &Revision| {
            Ok(Moment { revision: *revision, time_ms: time_of(reads, &folder, *revision)? })
        };
        Ok(RetentionPreviewReply {
            versions: foreseen.versions,
            contents: foreseen.contents,
            horizon,
            horizon_ms: time_of(reads, &folder, horizon.min(state.revision))?,
            kept: kept.iter().map(moment).collect::<Stored<_>>()?,
        })
    };
    Ok(Reply::RetentionPreview(service.inner.meta.read(read).await?))
}

impl Service {
    /// Thins the history of every folder by its retention, as of the service's clock: what it
    /// releases is for the garbage collection to reclaim. Safe to cancel and to run again: what is
    /// left of one run is the next one's.
    ///
    /// # Errors
    /// The refusal when there is no list of folders, with the reason for a person. One folder's
    /// failure is in what is told, and keeps no other from being thinned.
    pub async fn thin_all(&self) -> Result<Thinned, Refusal> {
        self.thin_all_after(GRACE_MS).await
    }

    /// The same with another time for which new settings are not obeyed alone, in milliseconds.
    ///
    /// # Errors
    /// As [`Service::thin_all`].
    pub async fn thin_all_after(&self, grace_ms: u64) -> Result<Thinned, Refusal> {
        let folders = self.inner.meta.read(|reads| Ok(reads.all_folders()?)).await?;
        let mut thinned = Thinned::default();
        for folder in folders {
            match self.thin(folder, grace_ms, &mut thinned).await {
                Ok(()) => {}
                // New settings came just now: the next run knows them.
                Err(refusal) if refusal.code() == RefusalCode::Conflict => {}
                Err(refusal) => {
                    let reason = &refusal.message;
                    tracing::error!(%folder, reason, "a history was not thinned");
                    thinned.failed.push((folder, refusal));
                }
            }
            thinned.folders += 1;
        }
        Ok(thinned)
    }

    /// Adds what it did, also when it then fails: what was released stays released.
    async fn thin(
        &self,
        folder: FolderId,
        grace_ms: u64,
        thinned: &mut Thinned,
    ) -> Result<(), Refusal> {
        let now_ms = self.now_ms();
        let read = move |reads: &dyn MetaReads| {
            let held = thinning::held_until(reads, &folder, now_ms, grace_ms)?;
            let planned = thinning::planned(reads, &folder, now_ms, grace_ms)?;
            Ok((held.is_some(), planned, reads.whole(&folder)?))
        };
        let (is_held, planned, stands) = self.inner.meta.read(read).await?;
        thinned.held += u64::from(is_held);
        let Some(planned) = planned else { return Ok(()) };
        if planned.whole != stands {
            let (settings, whole) = (planned.settings, planned.whole);
            self.inner.meta.apply(Action::MoveHorizon { folder, settings, whole }).await?;
        }
        let mut after = None;
        loop {
            let read = move |reads: &dyn MetaReads| {
                let whole = reads.whole(&folder)?;
                let after = after.as_ref();
                Ok(thinning::entries_to_release(reads, &folder, &whole, after, ENTRIES_TOGETHER)?)
            };
            let (entries, next) = self.inner.meta.read(read).await?;
            let entries: Vec<EntryId> = entries.into_iter().map(|(entry, _)| entry).collect();
            self.release(folder, &entries, &mut thinned.versions).await?;
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn release(
        &self,
        folder: FolderId,
        entries: &[EntryId],
        released: &mut u64,
    ) -> Result<(), Refusal> {
        while !entries.is_empty() {
            let action = Action::Release { folder, entries: entries.to_vec() };
            let Answer::Released { versions } = self.inner.meta.apply(action).await? else { break };
            *released += versions;
            if versions < thinning::RELEASED_TOGETHER {
                break;
            }
        }
        Ok(())
    }
}
