//! S7: errors mean unknown: what a device cannot see is not deleted for it.

use super::super::bundles::shown;
use super::super::ledger::{Fate, Print};
use super::super::world::World;
use super::m9_the_server_has_everything::live_contents;
use client::fs::memory::user::UserEntry;

/// A file in a directory, or below a root, that its device cannot look into.
pub struct Hidden {
    /// On which device.
    pub device: usize,
    /// Where.
    pub path: String,
    /// What it held.
    pub print: Print,
}

/// Whether some device has the value at another path: there it was moved, perhaps to where its own
/// device cannot look, which is a deletion until it can.
fn is_moved(world: &World, path: &str, print: &Print) -> bool {
    world.devices.iter().any(|device| {
        shown(&device.fs.user()).into_iter().any(|(other, entry)| match entry {
            UserEntry::File(bytes, _) => {
                other != path && super::super::ledger::print(&bytes) == *print
            }
            _ => false,
        })
    })
}

/// Checks that what is hidden from a device, and lies where it lay, is still live at the server if
/// it ever was: nobody has removed it.
pub fn s7_absence_is_not_deletion(world: &World, hidden: &[Hidden]) {
    let live = live_contents(world);
    for Hidden { device, path, print } in hidden {
        let tree = shown(&world.devices[*device].fs.user());
        let Some(UserEntry::File(bytes, _)) = tree.get(path) else { continue };
        let stands = super::super::ledger::print(bytes) == *print;
        let Some(value) = world.ledger.value(print).filter(|_| stands) else { continue };
        if is_moved(world, path, print) {
            continue;
        }
        let was_live = value.fate == Fate::Alive && world.ledger.is_accepted(&value.tag);
        if was_live && !live.contains(&value.tag) {
            let number = value.number;
            world.ledger.violation(format!(
                "S7: value {number}, which device {device} has at {path} and cannot see, was deleted"
            ));
        }
    }
}
