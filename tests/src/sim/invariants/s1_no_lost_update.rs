//! S1: a value that nobody who saw it replaced or removed is on every device.

use super::super::bundles::shown;
use super::super::ledger::{Fate, Ledger};
use super::super::world::World;
use super::super::writer::contents;
use super::clashing;

/// Checks that each value alive is a file's content on every device; on a disk that folds names,
/// where no name is hidden by another (S13 looks at those).
pub fn s1_no_lost_update(world: &World) {
    let ledger: &Ledger = &world.ledger;
    let plain = world.plain_devices().next();
    let clashes = plain.is_some_and(|device| !clashing(&shown(&device.fs.user())).is_empty());
    for device in world.devices.iter().filter(|device| !device.folds || !clashes) {
        let held = contents(&shown(&device.fs.user()));
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
