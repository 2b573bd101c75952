//! S4: once faults stop, all devices hold identical trees within a bounded number of rounds.

use super::super::bundles::shown;
use super::super::world::World;
use super::super::writer::Tree;
use super::clashing;
use client::fs::memory::user::UserEntry;

/// Rounds that each engine may take from the end of all faults to the last agreement.
const ROUNDS_MAX: u64 = 200;

/// Checks that all trees are identical, and that getting there was bounded. What disks that fold
/// names cannot hold is S13's.
pub fn s4_convergence(world: &World) {
    let Some(plain) = world.plain_devices().next() else { return };
    let (first, reference) = (plain.number, shown(&plain.fs.user()));
    let clashes = !clashing(&reference).is_empty();
    let devices = world.devices.iter().filter(|device| !device.folds || !clashes);
    let trees = devices.map(|device| (device.number, shown(&device.fs.user())));
    for (number, tree) in trees {
        for line in differences(&reference, &tree) {
            world.ledger.violation(format!("S4: device {first} against device {number}: {line}"));
        }
    }
    for device in &world.devices {
        let rounds = device.steps.get();
        if rounds > ROUNDS_MAX {
            world.ledger.violation(format!(
                "S4: device {} needed {rounds} rounds, more than {ROUNDS_MAX}",
                device.number
            ));
        }
    }
}

/// Lines that say where two trees differ.
#[must_use]
fn differences(one: &Tree, two: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, entry) in one {
        match two.get(path) {
            None => lines.push(format!("{path} ({}) is missing on the second", kind(entry))),
            Some(other) if other != entry => {
                lines.push(format!("{path} is {} against {}", kind(entry), kind(other)));
            }
            Some(_) => {}
        }
    }
    for (path, entry) in two.iter().filter(|(path, _)| !one.contains_key(*path)) {
        lines.push(format!("{path} ({}) is missing on the first", kind(entry)));
    }
    lines
}

fn kind(entry: &UserEntry) -> String {
    match entry {
        UserEntry::File(bytes, mode) => {
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(8)]).into_owned();
            format!("file {start:?} of {} bytes, mode {mode:o}", bytes.len())
        }
        UserEntry::Directory(mode) => format!("directory, mode {mode:o}"),
        UserEntry::Symlink(_) => "symlink".to_owned(),
        UserEntry::Other => "other".to_owned(),
    }
}
