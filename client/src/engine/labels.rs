//! Labels, settings and retention of a folder, as a person asks for them.
//!
//! Owns that a label's name is unique, what the windows and preferences of settings are made of, and
//! how a refusal is told. It must not know what retention releases: that is the server's.

use super::handle::Moment as Asked;
use super::handle::{Answer, AskError};
use super::online::RoundError;
use super::run::Engine;
use crate::push::{self, Prepared, Rejection};
use common::chunk::{
    MergePolicy, Preferences, open_label_name, open_preferences, seal_label_name, seal_preferences,
};
use common::ids::{DeviceId, LabelId};
use common::name::LabelName;
use common::record::{Change, Retention, Settings, StandingSettings};
use common::revision::Revision;
use common::wire::meta::{RejectionCode, Reply, Request};
use common::wire::retention::{
    LabelState, LabelsRead, LabelsReply, Moment, RetentionPreviewRead, RetentionPreviewReply,
    RetentionWindows,
};

/// A question about labels, settings or retention.
pub enum LabelAsk {
    /// All labels, by moment.
    List(Answer<Vec<LabelInfo>>),
    /// Names a moment, that of the last revision this device has when none is given.
    Add(LabelName, Option<Asked>, Answer<LabelInfo>),
    /// Takes a label away, by its name or its id.
    Remove(String, Answer<()>),
    /// What the folder is set to.
    Settings(Answer<SettingsInfo>),
    /// Sets what is given and leaves the rest.
    Set(SettingsChange, Answer<SettingsInfo>),
    /// What retention would release now: this one, or that which is set.
    Preview(Option<Retention>, Answer<PreviewInfo>),
}

/// A label, opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelInfo {
    /// Names it.
    pub label: LabelId,
    /// Its name; empty when it does not open.
    pub name: String,
    /// The last revision of the moment that it marks.
    pub at: Revision,
    /// When that was accepted, in milliseconds since 1970.
    pub at_ms: u64,
    /// When the label was added, in milliseconds since 1970.
    pub added_ms: u64,
    /// By whom, as the server says.
    pub device: Option<DeviceId>,
    /// Why its name does not open, if it does not.
    pub unreadable: Option<String>,
}

/// What a folder is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettingsInfo {
    /// How much of the past is kept.
    pub retention: Retention,
    /// Whether two edits of one text are merged.
    pub merge: MergePolicy,
    /// While the retention is new: from when on it is obeyed alone, in milliseconds since 1970, and
    /// what is kept too until then.
    pub new: Option<(u64, Retention)>,
    /// From when on every moment is there, in milliseconds since 1970; 0 in an empty folder.
    pub whole_since_ms: u64,
}

/// What is to be set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SettingsChange {
    /// The first window of the retention, in milliseconds.
    pub keep_all_ms: Option<u64>,
    /// The second.
    pub daily_ms: Option<u64>,
    /// The third.
    pub monthly_ms: Option<u64>,
    /// The merge policy.
    pub merge: Option<MergePolicy>,
}

impl SettingsChange {
    /// A retention with what is given of its windows.
    #[must_use]
    pub fn retention(&self, before: Retention) -> Retention {
        Retention {
            keep_all_ms: self.keep_all_ms.unwrap_or(before.keep_all_ms),
            daily_ms: self.daily_ms.unwrap_or(before.daily_ms),
            monthly_ms: self.monthly_ms.unwrap_or(before.monthly_ms),
        }
    }
}

/// What retention would release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewInfo {
    /// Versions of places and contents that would go.
    pub versions: u64,
    /// Contents of files that would no longer be had.
    pub contents: u64,
    /// From when on every moment stays, in milliseconds since 1970; 0 in an empty folder.
    pub whole_since_ms: u64,
    /// Revision and time of the moments before it that stay.
    pub kept: Vec<(Revision, u64)>,
}

impl Engine {
    /// Answers a question; a receiver that is gone has given up.
    pub(super) async fn answer_label(&mut self, ask: LabelAsk) {
        match ask {
            LabelAsk::List(answer) => drop(answer.send(self.labels().await)),
            LabelAsk::Add(name, at, answer) => {
                drop(answer.send(self.add_label(&name, at).await));
            }
            LabelAsk::Remove(name, answer) => drop(answer.send(self.remove_label(&name).await)),
            LabelAsk::Settings(answer) => drop(answer.send(self.settings_info().await)),
            LabelAsk::Set(change, answer) => drop(answer.send(self.set_settings(&change).await)),
            LabelAsk::Preview(retention, answer) => {
                drop(answer.send(self.preview(retention).await));
            }
        }
    }

    /// What the devices of this folder have agreed on, as far as this one has heard. Preferences that
    /// do not open were written by a later version or with a key that is still to come: until then
    /// nothing is done without asking.
    ///
    /// # Errors
    /// What the state says.
    pub fn preferences(&self) -> Result<Preferences, crate::state::StateError> {
        let Some(standing) = self.context.state.settings()? else {
            return Ok(Preferences::default());
        };
        Ok(self.open_preferences(&standing.settings))
    }

    fn open_preferences(&self, settings: &Settings) -> Preferences {
        let Settings { retention, sealed } = settings;
        let (keys, folder) = (&self.context.keys, &self.context.folder);
        open_preferences(keys, folder, retention, sealed).unwrap_or_else(|error| {
            tracing::warn!(%error, "the folder's preferences cannot be read");
            Preferences { merge: MergePolicy::Ask }
        })
    }

    async fn labels_reply(&self) -> Result<LabelsReply, AskError> {
        let request = LabelsRead { folder: self.context.folder.to_vec() };
        let mut replies = self.context.remote.request(Request::Labels(request)).await?;
        match replies.pop() {
            Some(Reply::Labels(reply)) if replies.is_empty() => Ok(reply),
            _ => Err(AskError::Engine("the server's labels cannot be read".to_owned())),
        }
    }

    async fn labels(&self) -> Result<Vec<LabelInfo>, AskError> {
        let reply = self.labels_reply().await?;
        reply.labels.iter().map(|label| self.label_info(label)).collect()
    }

    /// A label for a person. One whose name does not open is listed like the others: it holds a
    /// moment, and can be taken away.
    fn label_info(&self, state: &LabelState) -> Result<LabelInfo, AskError> {
        let bad = |error: common::ids::IdLengthError| AskError::Engine(error.to_string());
        let label = LabelId::from_slice(&state.label).map_err(bad)?;
        let (keys, folder) = (&self.context.keys, &self.context.folder);
        let name = open_label_name(keys, folder, &label, state.at, &state.name);
        Ok(LabelInfo {
            label,
            name: name.as_ref().map_or_else(|_| String::new(), |name| name.as_str().to_owned()),
            at: state.at,
            at_ms: state.at_ms,
            added_ms: state.added_ms,
            device: DeviceId::from_slice(&state.device).ok(),
            unreadable: name.err().map(|error| error.to_string()),
        })
    }

    async fn add_label(
        &mut self,
        name: &LabelName,
        at: Option<Asked>,
    ) -> Result<LabelInfo, AskError> {
        let labels = self.labels().await?;
        if labels.iter().any(|label| label.name == name.as_str()) {
            return Err(AskError::LabelExists(name.as_str().to_owned()));
        }
        let seen = self.context.state.cursor()?.map_or(0, |cursor| cursor.revision);
        let at = match at {
            None => seen,
            // What a person names by its number is not rounded.
            Some(Asked::Revision(revision)) => revision,
            Some(time) => self.instant(time).await?.revision,
        };
        if at == 0 || at > seen {
            return Err(AskError::NoSuchMoment(format!("this device has revisions 1 to {seen}")));
        }
        let mut bytes = [0; LabelId::LEN];
        self.context.environment.random(&mut bytes);
        let label = LabelId::from_bytes(bytes);
        let (keys, folder) = (&self.context.keys, &self.context.folder);
        let sealed = seal_label_name(keys, folder, &label, at, name);
        let refused = self.send_told(Change::AddLabel { label, at, name: sealed }).await?;
        match refused {
            None => {}
            Some(Rejection { code: RejectionCode::NotWhole, message, .. }) => {
                return Err(AskError::NoSuchMoment(message));
            }
            Some(other) => return Err(AskError::Refused(other.message)),
        }
        let found = self.labels().await?.into_iter().find(|known| known.label == label);
        found.ok_or_else(|| AskError::Engine("the label is not there any more".to_owned()))
    }

    async fn remove_label(&mut self, name: &str) -> Result<(), AskError> {
        let labels = self.labels().await?;
        let by_name = labels.iter().find(|label| label.name == name && !name.is_empty());
        let found = by_name.or_else(|| labels.iter().find(|it| it.label.to_string() == name));
        let missing = || AskError::NoSuchLabel(name.to_owned());
        let label = found.ok_or_else(missing)?.label;
        match self.send_told(Change::RemoveLabel { label }).await? {
            None => Ok(()),
            Some(Rejection { code: RejectionCode::NoSuchLabel, .. }) => Err(missing()),
            Some(other) => Err(AskError::Refused(other.message)),
        }
    }

    async fn settings_info(&self) -> Result<SettingsInfo, AskError> {
        let reply = self.labels_reply().await?;
        let bad = |error: common::record::RecordError| AskError::Engine(error.to_string());
        let read = |message: Option<_>| message.map(StandingSettings::try_from).transpose();
        let newest = read(reply.settings).map_err(bad)?;
        let settled = read(reply.settled).map_err(bad)?.map(|it| it.settings.retention);
        let is_new = reply.alone_from_ms > 0;
        Ok(SettingsInfo {
            retention: newest.as_ref().map_or_else(Retention::default, |it| it.settings.retention),
            merge: newest
                .as_ref()
                .map_or_else(Preferences::default, |it| self.open_preferences(&it.settings))
                .merge,
            new: is_new.then(|| (reply.alone_from_ms, settled.unwrap_or_default())),
            whole_since_ms: reply.horizon_ms,
        })
    }

    async fn set_settings(&mut self, change: &SettingsChange) -> Result<SettingsInfo, AskError> {
        let standing = self.context.state.settings()?;
        let before = standing.as_ref().map_or_else(Retention::default, |it| it.settings.retention);
        let retention = change.retention(before);
        let mut preferences = self.preferences()?;
        preferences.merge = change.merge.unwrap_or(preferences.merge);
        let (keys, folder) = (&self.context.keys, &self.context.folder);
        let sealed = seal_preferences(keys, folder, &retention, &preferences);
        let base = standing.map_or(0, |standing| standing.revision);
        let settings = Settings { retention, sealed };
        match self.send_told(Change::SetSettings { base, settings }).await? {
            None => self.settings_info().await,
            Some(Rejection { code: RejectionCode::StaleSettings, .. }) => Err(AskError::Refused(
                "the settings were changed meanwhile; look at them again".to_owned(),
            )),
            Some(other) => Err(AskError::Refused(other.message)),
        }
    }

    async fn preview(&self, retention: Option<Retention>) -> Result<PreviewInfo, AskError> {
        let windows = retention.map(|retention| {
            let Retention { keep_all_ms, daily_ms, monthly_ms } = retention;
            RetentionWindows { keep_all_ms, daily_ms, monthly_ms }
        });
        let folder = self.context.folder.to_vec();
        let request = RetentionPreviewRead { folder, retention: windows };
        let mut replies = self.context.remote.request(Request::RetentionPreview(request)).await?;
        let Some(Reply::RetentionPreview(reply)) = replies.pop() else {
            return Err(AskError::Engine("the server's preview cannot be read".to_owned()));
        };
        let RetentionPreviewReply { versions, contents, horizon_ms, kept, .. } = reply;
        let kept = kept.iter().map(|Moment { revision, time_ms }| (*revision, *time_ms));
        Ok(PreviewInfo { versions, contents, whole_since_ms: horizon_ms, kept: kept.collect() })
    }

    /// Sends one change that a person asked for; gives the refusal, if it was refused.
    async fn send_told(&mut self, change: Change) -> Result<Option<Rejection>, AskError> {
        if self.context.state.cursor()?.is_none() || self.waits_for_person() {
            let text = "the folder waits: `driftless status` says for what";
            return Err(AskError::Refused(text.to_owned()));
        }
        let prepared = Prepared { changes: vec![change], ..Prepared::default() };
        let sent = push::send(&self.context, &mut self.proofs, vec![prepared], true).await;
        let sent = match sent {
            Ok(sent) => sent,
            Err(error) => {
                self.outbox_known = false;
                return Err(RoundError::from(error).into());
            }
        };
        self.busy = true;
        self.pull_up_to(sent.up_to).await?;
        let refused = sent.rejected.into_iter().next();
        if let Some(refused) = &refused {
            self.rejected(refused)?;
        }
        Ok(refused)
    }
}
