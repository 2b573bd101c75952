//! S6: what is replaced or unlinked is what the local tree says; else the engine stops and scans.

use super::super::ledger::{Ledger, Print, print};
use client::fs::memory::user::MemoryUser;
use client::fs::memory::{Operation, OperationKind};
use client::fs::{Area, RelPath};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Watches one device's disk. Whatever the engine replaces or deletes goes aside before it is
/// unlinked: at that moment, its content has to be one that the engine has read, or put there. What
/// was never synced and lost its times in a power cut cannot be told from what it replaced.
pub struct OnlyKnownIsUnlinked {
    device: usize,
    ledger: Ledger,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Contents that the engine has read or put in place.
    known: BTreeSet<Print>,
    /// Files that it has opened and not read from.
    opened: BTreeSet<RelPath>,
    /// Its own files that it has not put in place; a power cut may bring removed ones back.
    staged: BTreeSet<RelPath>,
}

impl OnlyKnownIsUnlinked {
    /// For one device.
    #[must_use]
    pub fn new(device: usize, ledger: Ledger) -> Self {
        Self { device, ledger, seen: Mutex::default() }
    }

    /// Judges an operation that is about to be done.
    pub fn before(&self, user: &MemoryUser, operation: &Operation) {
        let Operation { kind, path, .. } = operation;
        let content = || user.read(path.to_string()).ok().map(|bytes| print(&bytes));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match kind {
            OperationKind::Open => {
                seen.opened.insert(path.clone());
                seen.known.extend(content());
            }
            // What it held when reading began: what is written later makes it unsteady.
            OperationKind::Read if seen.opened.remove(path) => seen.known.extend(content()),
            OperationKind::Stage => drop(seen.staged.insert(path.clone())),
            OperationKind::Rename if path.area() == Area::Staging => {
                seen.known.extend(content());
                seen.staged.remove(path);
            }
            // No file is ever unlinked in the tree itself.
            OperationKind::Remove if path.is_private() && !seen.staged.contains(path) => {
                let is_unknown = |print: &Print| {
                    !seen.known.contains(print) && !self.ledger.has_lost_its_time(print)
                };
                let Some(print) = content().filter(is_unknown) else {
                    return;
                };
                if let Some(value) = self.ledger.value(&print) {
                    let (device, number) = (self.device, value.number);
                    self.ledger.violation(format!(
                        "S6: device {device} unlinks value {number}, which it has not looked at, as \
                         {path}"
                    ));
                }
            }
            _ => {}
        }
    }
}
