//! What a folder is set to: how long its history is kept, and what else its devices agree on.
//!
//! Owns the values of retention and their encoding (version 1). What the server has to know stands
//! in the clear, the rest is sealed. It must not know what retention does to a history.

use super::encoding::RecordError;
use crate::limits::SEALED_PREFERENCES_BYTES_MAX;
use crate::revision::Revision;
use prost::Message;

const DAY_MS: u64 = 24 * 3600 * 1000;

/// How much of a folder's past is kept whole. Each window reaches back from now, in milliseconds;
/// [`Retention::FOREVER`] has no end, and 0 is no window at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Retention {
    /// Within it every moment is kept.
    pub keep_all_ms: u64,
    /// Within it the last moment of each day is kept, by UTC.
    pub daily_ms: u64,
    /// Within it the last moment of each month is kept, by UTC.
    pub monthly_ms: u64,
}

impl Retention {
    /// A window that has no end.
    pub const FOREVER: u64 = u64::MAX;
    /// Nothing is ever released.
    pub const EVERYTHING: Self =
        Self { keep_all_ms: Self::FOREVER, daily_ms: Self::FOREVER, monthly_ms: Self::FOREVER };

    /// Whether nothing is ever released.
    #[must_use]
    pub const fn keeps_everything(&self) -> bool {
        self.keep_all_ms == Self::FOREVER
    }
}

impl Default for Retention {
    /// What a folder has before anybody sets it: all for 30 days, daily for a year, then monthly.
    fn default() -> Self {
        Self { keep_all_ms: 30 * DAY_MS, daily_ms: 365 * DAY_MS, monthly_ms: Self::FOREVER }
    }
}

/// What a folder is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How much of the past is kept: the server acts on it.
    pub retention: Retention,
    /// Sealed [`crate::chunk::Preferences`], bound to the retention.
    pub sealed: Vec<u8>,
}

/// Settings and the revision that set them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingSettings {
    /// What the next setting names as its base.
    pub revision: Revision,
    /// When the service accepted them, in milliseconds since 1970.
    pub time_ms: u64,
    /// The settings.
    pub settings: Settings,
}

/// Settings as they are sent and hashed.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SettingsMessage {
    #[prost(uint64, tag = "1")]
    keep_all_ms: u64,
    #[prost(uint64, tag = "2")]
    daily_ms: u64,
    #[prost(uint64, tag = "3")]
    monthly_ms: u64,
    #[prost(bytes = "vec", tag = "4")]
    sealed: Vec<u8>,
}

/// Settings with the revision that set them, as they are sent.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct StandingSettingsMessage {
    #[prost(uint64, tag = "1")]
    revision: u64,
    #[prost(uint64, tag = "2")]
    time_ms: u64,
    #[prost(message, optional, tag = "3")]
    settings: Option<SettingsMessage>,
}

impl From<&Settings> for SettingsMessage {
    fn from(settings: &Settings) -> Self {
        let Retention { keep_all_ms, daily_ms, monthly_ms } = settings.retention;
        Self { keep_all_ms, daily_ms, monthly_ms, sealed: settings.sealed.clone() }
    }
}

impl TryFrom<SettingsMessage> for Settings {
    type Error = RecordError;

    fn try_from(message: SettingsMessage) -> Result<Self, RecordError> {
        let SettingsMessage { keep_all_ms, daily_ms, monthly_ms, sealed } = message;
        super::encoding::at_most("sealed preferences", sealed.len(), SEALED_PREFERENCES_BYTES_MAX)?;
        Ok(Self { retention: Retention { keep_all_ms, daily_ms, monthly_ms }, sealed })
    }
}

impl From<&StandingSettings> for StandingSettingsMessage {
    fn from(standing: &StandingSettings) -> Self {
        Self {
            revision: standing.revision,
            time_ms: standing.time_ms,
            settings: Some(SettingsMessage::from(&standing.settings)),
        }
    }
}

impl TryFrom<StandingSettingsMessage> for StandingSettings {
    type Error = RecordError;

    fn try_from(message: StandingSettingsMessage) -> Result<Self, RecordError> {
        let settings = message.settings.ok_or(RecordError::Missing("settings"))?;
        Ok(Self {
            revision: message.revision,
            time_ms: message.time_ms,
            settings: settings.try_into()?,
        })
    }
}

/// The bytes of settings, as the digest hashes them and devices store them.
pub(super) fn settings_bytes(settings: &Settings) -> Vec<u8> {
    SettingsMessage::from(settings).encode_to_vec()
}

impl StandingSettings {
    /// The bytes that a device stores.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        StandingSettingsMessage::from(self).encode_to_vec()
    }

    /// What [`Self::to_bytes`] gave.
    ///
    /// # Errors
    /// [`RecordError`] when the bytes are something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        StandingSettingsMessage::decode(bytes)?.try_into()
    }
}
