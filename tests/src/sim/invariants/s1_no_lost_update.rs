//! S1 and S2: a value that nobody who saw it replaced or removed is on every device.

use super::super::ledger::{Fate, Ledger};
use super::super::world::World;
use super::super::writer::contents;

/// Checks that each value alive is a file's content on every device.
pub fn s1_no_lost_update(world: &World) {
    let ledger: &Ledger = &world.ledger;
    for device in &world.devices {
        let held = contents(&device.fs.user().tree());
        for (print, value) in ledger.values(Fate::Alive) {
            if !held.contains_key(&print) {
                let (number, place) = (value.number, &value.place);
                let accepted = ledger.is_accepted(&value.tag);
                ledger.violation(format!(
                    "S1: device {} does not hold value {number}, written at {place} (accepted by \
                     the server: {accepted})",
                    device.number
                ));
            }
        }
    }
}
