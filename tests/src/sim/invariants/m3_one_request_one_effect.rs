//! M3: one request id, one effect.

use super::super::world::World;
use std::collections::BTreeMap;

/// Checks that no request stands in the journal twice, under its id or by its changes.
pub fn m3_one_request_one_effect(world: &World) {
    let mut requests = BTreeMap::new();
    for row in world.journal() {
        let Ok(group) = row.entry.group.verify() else {
            let revision = row.entry.revision;
            world.ledger.violation(format!("M3: revision {revision} is not signed by its author"));
            continue;
        };
        let request = group.request;
        let key = (group.device, request.incarnation, request.counter);
        if let Some(earlier) = requests.insert(key, row.entry.revision) {
            let revision = row.entry.revision;
            world.ledger.violation(format!(
                "M3: revisions {earlier} and {revision} are the effect of one request"
            ));
        }
    }
}
