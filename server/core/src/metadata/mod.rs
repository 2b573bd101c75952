//! The metadata service as a deterministic state machine.
//!
//! [`apply`] carries out one [`Command`] on a [`MetaStore`] and says what came of it; [`query`]
//! answers questions from a [`MetaReads`]. Neither knows who stores the state, how it is made
//! durable, or who asked over which connection: the caller names the peer inside the command and
//! makes the store's transaction durable before it tells anyone of the outcome.
//!
//! Rules kept here (M1, M3, M4, M5 and M9 of docs/architecture.md): a stale base is
//! refused and never overwritten; one request id has one effect; the tree of a folder stays a tree
//! after every group; no accepted version names an object without proof that it is stored.

mod apply;
mod command;
mod commit;
mod earlier;
pub mod memory;
mod outcome;
pub mod query;
mod reclaim;
mod state;
mod store;
pub mod thinning;

pub use apply::apply;
pub use command::{Action, Command};
pub use commit::{PreparedCommit, PreparedGroup, PreparedPage, Receipt};
pub use earlier::earlier;
pub use outcome::{Answer, Event, GroupOutcome, Outcome, Refused, Rejection};
pub use reclaim::{ObjectChange, ReclaimReads, ReclaimWrites, RootCursor};
pub use state::{
    ConflictState, ContentVersion, DeviceState, EntryState, EpochStart, FolderState,
    InvitationState, JournalMark, JournalRow, KeptOutcome, Label, ObjectState, PlaceVersion, Quota,
    RequestWindow, Usage, UserState, VersionRow,
};
pub use store::{
    FolderReads, FolderWrites, JournalReads, JournalWrites, LAST_REVISION, MetaReads, MetaStore,
    RegisterReads, RegisterWrites, RequestReads, RequestWrites, RetentionReads, RetentionWrites,
    Savepoints, StoreError, Stored, TreeReads, UserReads, UserWrites, VersionMarks,
};
