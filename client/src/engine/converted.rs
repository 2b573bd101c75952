//! Directories that became bundles by the folder's rules.
//!
//! Owns who sends such a bundle: the device on which the rules were changed. It may have in it what it
//! had not sent yet, while the others have what came from the server, and perhaps not all of that. Two
//! that send what they have at once would be in conflict, one of them with half a bundle that nobody
//! made. A bundle with nothing in it that the server has not yields to one that another device has sent,
//! as any old version does.

use super::run::Engine;
use crate::fs::Stat;
use crate::scan::ScanReport;
use crate::state::{LocalRow, StateError};
use client_core::tree::SyncedNode;
use common::archive::is_bundle;
use common::record::Kind;

/// How long the device on which the rules were changed has for sending the bundle, in ns. After that
/// any other does.
const OTHERS_FIRST_NS: i64 = 60_000_000_000;

/// A bundle that holds what the server has, and nothing else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Converted {
    /// How it looked then.
    stat: Stat,
    /// Until when it is left to others to send it.
    until_ns: i64,
}

impl Engine {
    /// Remembers which directories a scan found to be bundles.
    pub(super) fn note_converted(&mut self, report: &ScanReport) -> Result<(), StateError> {
        let now = self.context.environment.monotonic_ns();
        let until_ns = if self.rules.are_of_others { now + OTHERS_FIRST_NS } else { now };
        for entry in &report.converted {
            if let Some(row) = self.context.state.local_row(entry)? {
                self.converted.insert(*entry, Converted { stat: row.stat, until_ns });
            }
        }
        Ok(())
    }

    /// How long a row is still left to others to send, in ns; it is not read before.
    pub(super) fn left_to_others(
        &self,
        row: &LocalRow,
        now: i64,
    ) -> Result<Option<i64>, StateError> {
        let Some(converted) = self.converted.get(&row.entry) else { return Ok(None) };
        let rest = converted.until_ns - now;
        if rest <= 0 || !row.stat.untouched(&converted.stat) {
            return Ok(None);
        }
        let there = self.context.state.remote_row_at(&row.position)?;
        let is_sent = there.is_some_and(|there| is_bundle(there.node.content.mode));
        Ok((!is_sent).then_some(rest))
    }

    /// Makes the bundles of this disk that others have sent an older version of theirs.
    pub(super) fn yield_converted(&mut self) -> Result<(), StateError> {
        for (entry, converted) in self.converted.clone() {
            let row = self.context.state.local_row(&entry)?;
            let is_sent = self.context.state.synced_node(&entry)?.is_some();
            let is_it = |row: &LocalRow| !is_sent && row.stat.untouched(&converted.stat);
            let Some(row) = row.filter(is_it) else {
                self.converted.remove(&entry);
                continue;
            };
            let Some(content) = row.node().content else { continue };
            let there = self.context.state.remote_row_at(&row.position)?;
            let Some(there) = there.filter(|it| is_bundle(it.node.content.mode)) else { continue };
            let node = there.node;
            self.converted.remove(&entry);
            self.context.state.atomically(|state| {
                state.remove_synced(&entry)?;
                if !self.rename(&entry, &node.entry)? {
                    return Ok(());
                }
                state.mark_dirty(&node.entry)?;
                state.put_synced(&SyncedNode {
                    entry: node.entry,
                    position: row.position.clone(),
                    kind: Kind::File,
                    content,
                    place_revision: node.place_revision,
                    content_revision: node.content_revision,
                    held: true,
                })
            })?;
        }
        Ok(())
    }
}
