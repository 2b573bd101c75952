//! Planted bugs: a suite that never fails proves nothing.
//!
//! Owns the switches and the adapters that lie at the simulation's edges (filesystem, transport,
//! chunk store). The product has no part in it. Each has to be caught by some oracle.

mod commits;
mod fs;
mod store;

pub use commits::Commits;
pub use fs::PlantedFs;
pub use store::PlantedStore;

/// A bug to plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Planted {
    /// Syncs report success and make nothing durable.
    SyncWithoutSyncing,
    /// After an exchange, what was displaced is taken for what the plan saw.
    ExchangeWithoutComparing,
    /// An error of a listing or a look counts as absence.
    ErrorsAsAbsence,
    /// Nobody is ever believed to hold a displaced file open.
    WritersIgnored,
    /// A rename that must not replace does.
    RenameReplaces,
    /// What is about to be pushed is not synced first. The promise behind it is that a power cut
    /// never empties a file whose content the server has; no boot id is compared for that.
    PushWithoutSyncing,
    /// Only the first part of a large write is written.
    ShortWrites,
    /// A file that changes while it is read looks as if it stood still.
    SteadyReads,
    /// Chunks are acknowledged and now and then not stored.
    AcknowledgeWithoutStoring,
    /// A commit is answered with yes and dropped.
    CommitDroppedAfterYes,
    /// The journal is delivered a second time, older groups under newer numbers.
    JournalReplayed,
    /// Edits, moves and deletes with a stale base are accepted: the last writer wins.
    StaleBasesAccepted,
    /// A disk that folds names is taken for one that tells them apart.
    FoldingUnnoticed,
    /// The same, and a rename that must not replace does where a name is spelled otherwise.
    SpellingReplaces,
    /// Deletes with a stale base are accepted.
    StaleDeletesAccepted,
    /// What was moved aside to be deleted is taken for what the plan saw.
    DeleteWithoutComparing,
    /// A device that has lost its database empties its root and begins anew.
    RootOfLostDatabaseEmptied,
    /// Whatever waits for a person is confirmed at once.
    ConfirmedByNobody,
    /// Every fourth file that is put in place changes places with the one before it.
    FilesMixedUp,
    /// Edits and moves that were accepted are committed again, under another request id.
    CommittedTwice,
    /// The journal is delivered with a group left out.
    GroupsLeftOut,
    /// A deleted file comes back later.
    DeletedComesBack,
    /// Of a directory that takes the place of another only some files do.
    BundlesInParts,
    /// With the garbage some chunks go that a kept version is made of.
    PurgesWhatIsUsed,
}

impl Planted {
    /// All of them: each has to be caught.
    pub const ALL: [Self; 24] = [
        Self::SyncWithoutSyncing,
        Self::ExchangeWithoutComparing,
        Self::ErrorsAsAbsence,
        Self::WritersIgnored,
        Self::RenameReplaces,
        Self::PushWithoutSyncing,
        Self::ShortWrites,
        Self::SteadyReads,
        Self::AcknowledgeWithoutStoring,
        Self::CommitDroppedAfterYes,
        Self::JournalReplayed,
        Self::StaleBasesAccepted,
        Self::FoldingUnnoticed,
        Self::SpellingReplaces,
        Self::StaleDeletesAccepted,
        Self::DeleteWithoutComparing,
        Self::RootOfLostDatabaseEmptied,
        Self::ConfirmedByNobody,
        Self::FilesMixedUp,
        Self::CommittedTwice,
        Self::GroupsLeftOut,
        Self::DeletedComesBack,
        Self::BundlesInParts,
        Self::PurgesWhatIsUsed,
    ];

    /// Whether a broken rule is one that this bug was planted for: that of its own oracle where
    /// there is one, and any for the others.
    #[must_use]
    pub fn is_caught_by(self, violation: &str) -> bool {
        let rule = match self {
            Self::StaleDeletesAccepted => Some("S2"),
            Self::FilesMixedUp => Some("S3"),
            Self::StaleBasesAccepted => Some("M1"),
            Self::CommittedTwice => Some("M3"),
            Self::GroupsLeftOut => Some("M9"),
            Self::DeletedComesBack => Some("S5"),
            Self::ErrorsAsAbsence => Some("S7"),
            Self::ShortWrites | Self::BundlesInParts => Some("S8"),
            Self::SteadyReads => Some("S9"),
            Self::FoldingUnnoticed | Self::SpellingReplaces => Some("S13"),
            Self::ExchangeWithoutComparing | Self::DeleteWithoutComparing => Some("S6"),
            Self::RootOfLostDatabaseEmptied => Some("S12"),
            Self::ConfirmedByNobody => Some("S14"),
            Self::PurgesWhatIsUsed => Some("S10"),
            _ => None,
        };
        rule.is_none_or(|rule| violation.split(':').next() == Some(rule))
    }
}
