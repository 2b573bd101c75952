//! S12: losing a device's database loses no data: a rescan converges, at worst with conflicts.

use super::super::bundles::{shown, shown_private};
use super::super::device::SimDevice;
use super::super::ledger::{Fate, Print};
use super::super::world::World;
use super::super::writer::contents;
use super::m9_the_server_has_everything::live_contents;
use std::collections::BTreeSet;

/// What lay on a device's disk when its database was lost.
pub struct LostDatabase {
    device: usize,
    held: BTreeSet<Print>,
}

impl LostDatabase {
    /// Notes what is on the device's disk now, where programs of the user see it and aside.
    #[must_use]
    pub fn of(device: &SimDevice) -> Self {
        let user = device.fs.user();
        let mut held: BTreeSet<Print> = contents(&shown(&user)).into_keys().collect();
        held.extend(contents(&shown_private(&user)).into_keys());
        Self { device: device.number, held }
    }
}

/// Checks that all of it that nobody has replaced or removed is on that device and at the server.
/// That the devices agree again is S4.
pub fn s12_a_lost_database_loses_no_data(world: &World, lost: &[LostDatabase]) {
    if lost.is_empty() {
        return;
    }
    let live = live_contents(world);
    for LostDatabase { device, held } in lost {
        let device = &world.devices[*device];
        let here = contents(&shown(&device.fs.user()));
        let alive = held.iter().filter_map(|print| Some((print, world.ledger.value(print)?)));
        for (print, value) in alive.filter(|(_, value)| value.fate == Fate::Alive) {
            let number = value.number;
            let complain = |at: &str| {
                world.ledger.violation(format!(
                    "S12: value {number}, on device {} when its database was lost, is not {at}",
                    device.number
                ));
            };
            if !live.contains(&value.tag) {
                complain("at the server");
            }
            if !device.folds && !here.contains_key(print) {
                complain("there any more");
            }
        }
    }
}
