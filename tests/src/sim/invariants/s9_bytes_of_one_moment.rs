//! S9: a version's bytes are what the file held at one moment.

use super::super::world::World;
use super::s10_history_is_readable::history;

/// Checks that each version in the history is a content that somebody, or a power cut, has made.
pub fn s9_bytes_of_one_moment(world: &World) {
    for (entry, root, tag) in history(world) {
        if root.is_some() && !world.ledger.knows_tag(&tag) {
            world.ledger.violation(format!("S9: a version of {entry} is what no file ever held"));
        }
    }
}
