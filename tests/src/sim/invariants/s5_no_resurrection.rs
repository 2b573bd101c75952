//! S5: a delete that all devices have seen stays deleted.

use super::super::bundles::shown;
use super::super::ledger::Print;
use super::super::world::World;
use super::super::writer::contents;
use std::collections::BTreeSet;

/// Checks that no value that was gone from all devices when they last agreed is back.
pub fn s5_no_resurrection(world: &World, gone: &BTreeSet<Print>) {
    for device in &world.devices {
        let held = contents(&shown(&device.fs.user()));
        for (print, path) in held.iter().filter(|(print, _)| gone.contains(*print)) {
            let number = world.ledger.value(print).map_or(0, |value| value.number);
            world.ledger.violation(format!(
                "S5: device {} shows value {number} at {path}, which all devices had seen deleted",
                device.number
            ));
        }
    }
}
