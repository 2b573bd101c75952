//! S3: all bytes visible were written by somebody, under the name that they have.

use super::super::bundles::{is_hollow, shown};
use super::super::ledger::print;
use super::super::lineage::plain_name;
use super::super::world::World;
use client::fs::memory::user::UserEntry;

/// Checks that each visible content is one that somebody, or a power cut, has made, and that its name
/// is one that a user gave to it, or to what it took the place of; a conflict copy, or
/// what was kept from a deletion, has the name of what it was. In which directory it is, is not judged.
pub fn s3_no_phantom(world: &World) {
    let names = world.ledger.names();
    for device in &world.devices {
        for (path, entry) in shown(&device.fs.user()) {
            let UserEntry::File(bytes, _) = &entry else { continue };
            if bytes.is_empty() || is_hollow(bytes) {
                continue;
            }
            let device = device.number;
            if !world.ledger.knows(bytes) {
                let length = bytes.len();
                world.ledger.violation(format!(
                    "S3: device {device} shows {length} bytes at {path} that nobody wrote"
                ));
            }
            // What a power cut has left may be the same in any two files.
            let value = world.ledger.value(&print(bytes));
            if let Some(names) = names.get(&print(bytes))
                && let Some(number) = value.map(|value| value.number)
                && !names.contains(&plain_name(&path))
            {
                world.ledger.violation(format!(
                    "S3: device {device} shows value {number} at {path}, and users named it {names:?}"
                ));
            }
        }
    }
}
