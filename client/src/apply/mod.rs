//! Carrying out on disk what the planner decided.
//!
//! Owns rule 5: everything is staged, synced, swapped in so that what a user wrote in between is
//! never overwritten, synced again, and only then recorded. A step whose precondition does not hold
//! any more changes nothing and marks its path for another look. It must not decide what is done.

mod displaced;
mod parked;
mod place;
mod placed;
mod run;

pub use displaced::{review_displaced, sweep_staging};
pub use parked::review_parked;
pub use placed::{Unsettled, settle_placed};
pub use run::{Applied, ApplyError, Applying};
