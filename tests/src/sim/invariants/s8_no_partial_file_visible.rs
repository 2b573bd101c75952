//! S8: a partly downloaded file is never visible at its path.

use super::super::bundles::{is_hollow, shown, shown_private};
use super::super::ledger::{Ledger, print};
use client::fs::memory::user::{MemoryUser, UserEntry};

/// Checks, in the middle of the engine's work, that every visible content is a whole one.
pub fn s8_no_partial_file_visible(ledger: &Ledger, device: usize, user: &MemoryUser) {
    for (path, entry) in shown(user) {
        if let UserEntry::File(bytes, _) = &entry
            && !bytes.is_empty()
            && !is_hollow(bytes)
        {
            let print = print(bytes);
            ledger.shown(device, &[print]);
            let others = || {
                // What was aside may have been put beside by now.
                let mut others = shown(user);
                others.remove(&path);
                others.extend(shown_private(user));
                others
            };
            if ledger.knows_print(&print) || ledger.is_carried_over(bytes, &others()) {
                continue;
            }
            let length = bytes.len();
            ledger.violation(format!(
                "S8: device {device} shows {length} bytes at {path} that are not what anybody wrote"
            ));
        }
    }
}
