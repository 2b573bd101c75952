//! The rules of `INVARIANTS.md` that a simulation can check, one a file under the rule's name.
//!
//! Owns no rule itself. Each reads the world and notes what is broken in the ledger.

mod m1_commits_are_linearizable;
mod m3_one_request_one_effect;
mod m9_no_gaps;
mod s10_history_is_readable;
mod s11_a_tree_stays_a_tree;
mod s1_no_lost_update;
mod s3_no_phantom;
mod s4_convergence;
mod s5_no_resurrection;
mod s8_no_partial_file_visible;

pub use m1_commits_are_linearizable::m1_commits_are_linearizable;
pub use m3_one_request_one_effect::m3_one_request_one_effect;
pub use m9_no_gaps::m9_no_gaps;
pub use s1_no_lost_update::s1_no_lost_update;
pub use s3_no_phantom::s3_no_phantom;
pub use s4_convergence::s4_convergence;
pub use s5_no_resurrection::s5_no_resurrection;
pub use s8_no_partial_file_visible::s8_no_partial_file_visible;
pub use s10_history_is_readable::s10_history_is_readable;
pub use s11_a_tree_stays_a_tree::s11_a_tree_stays_a_tree;
