//! M9: journals have no gaps, and the chain of heads says what the groups say.

use super::super::world::World;
use common::ids::Head;

/// Checks the journal's numbering, its times and its chain.
pub fn m9_no_gaps(world: &World) {
    let folder = world.folder();
    let (mut head, mut time_ms) = (Head::ZERO, 0);
    for (index, row) in world.journal().iter().enumerate() {
        let (revision, group) = (row.entry.revision, &row.entry.group);
        if revision != index as u64 + 1 {
            world.ledger.violation(format!("M9: revision {revision} follows {index}"));
        }
        if row.entry.time_ms < time_ms {
            world.ledger.violation(format!("M9: time goes back at revision {revision}"));
        }
        time_ms = row.entry.time_ms;
        head = head.next(&folder, row.epoch, revision, &group.digest(time_ms));
    }
    let state = world.server.meta().read(|reads| reads.folder(&folder)).unwrap().unwrap();
    if state.head != head {
        world.ledger.violation("M9: the head is not that of the journal's groups".to_owned());
    }
}
