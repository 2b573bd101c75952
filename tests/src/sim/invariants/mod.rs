//! The invariants of docs/architecture.md that a simulation can check, one a file under the rule's name.
//!
//! Owns no rule itself. Each reads the world, or watches a device at its edges, and notes what is
//! broken in the ledger. Of S2, that an edit survives a delete is in S1's file too, which asks for
//! every value that is alive on every device.

mod m1_commits_are_linearizable;
mod m3_one_request_one_effect;
mod m8_a_stopped_server_acknowledges_nothing;
mod m9_cursors_have_no_gaps;
mod m9_no_gaps;
mod m9_the_server_has_everything;
mod s10_history_is_readable;
mod s10_whole_moments;
mod s11_a_tree_stays_a_tree;
mod s12_a_lost_database_loses_no_data;
mod s13_colliding_names;
mod s14_mass_deletions_wait;
mod s1_no_lost_update;
mod s2_deletions_are_of_what_was_seen;
mod s3_no_phantom;
mod s4_convergence;
mod s5_no_resurrection;
mod s6_only_what_is_known_is_unlinked;
mod s7_absence_is_not_deletion;
mod s8_no_partial_file_visible;
mod s9_bytes_of_one_moment;

pub use m1_commits_are_linearizable::m1_commits_are_linearizable;
pub use m3_one_request_one_effect::m3_one_request_one_effect;
pub use m8_a_stopped_server_acknowledges_nothing::m8_a_stopped_server_acknowledges_nothing;
pub use m9_cursors_have_no_gaps::{CursorsHaveNoGaps, m9_cursors_have_no_gaps};
pub use m9_no_gaps::m9_no_gaps;
pub use m9_the_server_has_everything::m9_the_server_has_everything;
pub use s1_no_lost_update::s1_no_lost_update;
pub use s2_deletions_are_of_what_was_seen::s2_deletions_are_of_what_was_seen;
pub use s3_no_phantom::s3_no_phantom;
pub use s4_convergence::s4_convergence;
pub use s5_no_resurrection::s5_no_resurrection;
pub use s6_only_what_is_known_is_unlinked::OnlyKnownIsUnlinked;
pub use s7_absence_is_not_deletion::{Hidden, s7_absence_is_not_deletion};
pub use s8_no_partial_file_visible::s8_no_partial_file_visible;
pub use s9_bytes_of_one_moment::s9_bytes_of_one_moment;
pub use s10_history_is_readable::s10_history_is_readable;
pub use s10_whole_moments::s10_whole_moments_are_whole;
pub use s11_a_tree_stays_a_tree::s11_a_tree_stays_a_tree;
pub use s12_a_lost_database_loses_no_data::{LostDatabase, s12_a_lost_database_loses_no_data};
pub use s13_colliding_names::{clashing, s13_colliding_names};
pub use s14_mass_deletions_wait::{MassDeletionsWait, Watched};
