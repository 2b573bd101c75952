//! Mass deletions in the simulation: what tests of the guard (S14) begin with and ask.
//!
//! Owns these. It must not know what is expected.

use super::device::SimDevice;
use super::restored::Asked;
use super::world::{Make, World};
use client::engine::{Ask, HaltReason};
use std::rc::Rc;
use std::time::Duration;

/// Long enough for several tries.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Two devices with so many files of one line each, in sync.
pub async fn with_files(seed: u64, count: usize) -> (World, [Rc<SimDevice>; 2]) {
    let world = World::new(Make { seed, devices: 2, grain_ns: 1, ..Make::default() }).await;
    let devices = [&world.devices[0], &world.devices[1]].map(Rc::clone);
    world.end_faults().await;
    for number in 0..count {
        devices[0].writer.write_new(&format!("file {number}"));
    }
    assert!(world.settle().await, "{:#?}", world.ledger.tail());
    (world, devices)
}

/// Why a device waits for a person.
#[must_use]
pub fn halt_of(device: &SimDevice) -> Option<HaltReason> {
    device.handle().unwrap().summary().halt
}

/// Takes back what waits; returns of how many entries.
pub async fn undo(device: &SimDevice) -> u64 {
    device.handle().unwrap().ask(Ask::Undo).await.unwrap()
}

/// The same where a part was let through, which is restored.
pub async fn undo_all(world: &World, device: &SimDevice) -> u64 {
    let restore = world.ledger.restore_begins(Asked::of_some_moment(device.device()));
    let count = undo(device).await;
    world.ledger.restore_ends(restore);
    count
}
