//! S3: all bytes visible were written by somebody.

use super::super::world::World;
use client::fs::memory::user::UserEntry;

/// Checks that each visible content is one that somebody, or a power cut, has made.
pub fn s3_no_phantom(world: &World) {
    for device in &world.devices {
        for (path, entry) in device.fs.user().tree() {
            if let UserEntry::File(bytes, _) = &entry
                && !world.ledger.knows(bytes)
            {
                let (device, length) = (device.number, bytes.len());
                world.ledger.violation(format!(
                    "S3: device {device} shows {length} bytes at {path} that nobody wrote"
                ));
            }
        }
    }
}
