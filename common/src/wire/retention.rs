//! Messages about labels, settings and retention (`driftless-meta/1`).
//!
//! Owns their fields and numbers; the requests and replies that carry them are in [`super::meta`]. It
//! must not know what retention releases.

use crate::record::StandingSettingsMessage;
use prost::Message;

/// Asks for the labels and settings of a folder.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct LabelsRead {
    /// Which folder.
    #[prost(bytes = "vec", tag = "1")]
    pub folder: Vec<u8>,
}

/// The labels of a folder and what it is set to.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct LabelsReply {
    /// By the moment that they name.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<LabelState>,
    /// What the folder is set to; none when it never was.
    #[prost(message, optional, tag = "2")]
    pub settings: Option<StandingSettingsMessage>,
    /// The settings that thinning obeys too while the newest are new; none when it is the default,
    /// or when the newest are no longer new. Everything is kept, under revision 0, for a while after
    /// the server was restored.
    #[prost(message, optional, tag = "3")]
    pub settled: Option<StandingSettingsMessage>,
    /// Until when it obeys those too, in milliseconds since 1970; 0 when it obeys the newest alone.
    #[prost(uint64, tag = "4")]
    pub alone_from_ms: u64,
    /// From this revision on every moment is whole.
    #[prost(uint64, tag = "5")]
    pub horizon: u64,
    /// When it was accepted, in milliseconds since 1970; 0 when there is no such revision.
    #[prost(uint64, tag = "6")]
    pub horizon_ms: u64,
}

/// A label.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct LabelState {
    /// Names it.
    #[prost(bytes = "vec", tag = "1")]
    pub label: Vec<u8>,
    /// The last revision of the moment that it marks.
    #[prost(uint64, tag = "2")]
    pub at: u64,
    /// When that was accepted, in milliseconds since 1970.
    #[prost(uint64, tag = "3")]
    pub at_ms: u64,
    /// When the label was added, in milliseconds since 1970.
    #[prost(uint64, tag = "4")]
    pub added_ms: u64,
    /// By which device.
    #[prost(bytes = "vec", tag = "5")]
    pub device: Vec<u8>,
    /// Its sealed name.
    #[prost(bytes = "vec", tag = "6")]
    pub name: Vec<u8>,
}

/// How much of the past is kept.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct RetentionWindows {
    /// Every moment within it, in milliseconds.
    #[prost(uint64, tag = "1")]
    pub keep_all_ms: u64,
    /// The last moment of each day within it.
    #[prost(uint64, tag = "2")]
    pub daily_ms: u64,
    /// The last moment of each month within it.
    #[prost(uint64, tag = "3")]
    pub monthly_ms: u64,
}

/// Asks what retention would release if the folder were thinned now, without any grace.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RetentionPreviewRead {
    /// Which folder.
    #[prost(bytes = "vec", tag = "1")]
    pub folder: Vec<u8>,
    /// Under which retention; that of the newest settings when it is not said.
    #[prost(message, optional, tag = "2")]
    pub retention: Option<RetentionWindows>,
}

/// What retention would release.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RetentionPreviewReply {
    /// Versions of places and contents that would go.
    #[prost(uint64, tag = "1")]
    pub versions: u64,
    /// Contents of files that no version of their entry would have any more.
    #[prost(uint64, tag = "2")]
    pub contents: u64,
    /// From this revision on every moment stays.
    #[prost(uint64, tag = "3")]
    pub horizon: u64,
    /// When it was accepted, in milliseconds since 1970; 0 when there is no such revision.
    #[prost(uint64, tag = "4")]
    pub horizon_ms: u64,
    /// The moments before it that stay, in ascending order.
    #[prost(message, repeated, tag = "5")]
    pub kept: Vec<Moment>,
}

/// A moment of a folder.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Moment {
    /// Its last revision.
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    /// When that was accepted, in milliseconds since 1970.
    #[prost(uint64, tag = "2")]
    pub time_ms: u64,
}
