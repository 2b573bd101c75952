//! M9: a device reads the journal without a gap, or begins behind it with a snapshot.

use super::super::ledger::Ledger;
use super::super::world::World;
use common::ids::Head;
use common::revision::{Cursor, Epoch, Revision};
use common::trust::Checkpoint;
use common::wire::meta::{JournalBatch, Reply};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Watches what one device is sent of the journal, and where it says that it stands. Clones share
/// what they have seen.
#[derive(Clone)]
pub struct CursorsHaveNoGaps {
    device: usize,
    ledger: Ledger,
    /// In each epoch, how far the device was sent the journal, or a snapshot of it.
    sent: Arc<Mutex<BTreeMap<Epoch, Revision>>>,
}

impl CursorsHaveNoGaps {
    /// For one device.
    #[must_use]
    pub fn new(device: usize, ledger: Ledger) -> Self {
        Self { device, ledger, sent: Arc::default() }
    }

    /// Judges a batch that a subscription brings: its groups follow each other and those before.
    pub fn sent(&self, batch: &JournalBatch, at: &mut Revision) {
        for group in &batch.groups {
            if group.revision != *at + 1 {
                self.broken(&format!("is sent revision {} after {at}", group.revision));
            }
            *at = group.revision;
        }
        self.has(batch.epoch, *at);
    }

    /// Notes what a liar sends, who need not keep any rule.
    pub fn lied_to(&self, batch: &JournalBatch) {
        let last = batch.groups.iter().map(|group| group.revision).max();
        self.has(batch.epoch, last.unwrap_or_default());
    }

    /// Notes where the snapshots among some replies stand.
    pub fn replied(&self, replies: &[Reply]) {
        for reply in replies {
            if let Reply::Snapshot(part) = reply
                && let Ok(checkpoint) = Checkpoint::open(&part.checkpoint)
            {
                self.has(checkpoint.cursor.epoch, checkpoint.cursor.revision);
            }
        }
    }

    /// Judges where a device says that it stands: what is before that it was sent, in this epoch or
    /// in the one that this one goes on from.
    pub fn stands(&self, epoch: Epoch, revision: Revision, does: &str) {
        let sent = self.lock().range(..=epoch).map(|(_, sent)| *sent).max().unwrap_or_default();
        if revision > sent {
            self.broken(&format!("{does} at revision {revision} and was sent no more than {sent}"));
        }
    }

    fn has(&self, epoch: Epoch, revision: Revision) {
        let mut sent = self.lock();
        let sent = sent.entry(epoch).or_default();
        *sent = revision.max(*sent);
    }

    fn broken(&self, what: &str) {
        self.ledger.violation(format!("M9: device {} {what}", self.device));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Epoch, Revision>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks that each device stands at the journal's end, with the head of all that is before: it has
/// taken in every group, or a snapshot that somebody vouched for.
pub fn m9_cursors_have_no_gaps(world: &World) {
    let folder = world.folder();
    let mut at = Cursor { head: Head::ZERO, ..Cursor::START };
    for row in world.journal() {
        let (revision, digest) = (row.entry.revision, row.entry.group.digest(row.entry.time_ms));
        at = Cursor {
            epoch: row.epoch,
            revision,
            head: at.head.next(&folder, row.epoch, revision, &digest),
        };
    }
    for device in &world.devices {
        let pinned = device.pinned();
        // A restored server may have begun an epoch in which nothing was committed yet.
        let stands = pinned.map_or((0, Head::ZERO), |pin| (pin.revision, pin.head));
        if stands != (at.revision, at.head) {
            world.ledger.violation(format!(
                "M9: device {} stands at {pinned:?} and not at {at:?}",
                device.number
            ));
        }
    }
}
