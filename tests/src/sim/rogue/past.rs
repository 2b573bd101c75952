//! A lying server that adds groups to a journal which no service would take.
//!
//! Owns where they are put: after the last honest group at the time of the first lie, and there for
//! whoever asks again. It must not know what they say.

use super::super::network::Hostile;
use common::record::SignedGroup;
use common::wire::meta::{JournalBatch, JournalGroup};
use std::sync::OnceLock;

/// The lying server.
pub struct Past {
    groups: Vec<SignedGroup>,
    /// The revision that the first of them got.
    first: OnceLock<u64>,
}

impl Past {
    /// Delivers these groups.
    #[must_use]
    pub const fn new(groups: Vec<SignedGroup>) -> Self {
        Self { groups, first: OnceLock::new() }
    }
}

impl Hostile for Past {
    fn batch(&self, mut batch: JournalBatch) -> JournalBatch {
        // Everything honest comes first; the rest is made to look like what came in since.
        let honest = batch.groups.last().map_or(batch.last_revision, |group| group.revision);
        if honest < batch.last_revision || *self.first.get_or_init(|| honest + 1) != honest + 1 {
            return batch;
        }
        let time_ms = batch.groups.last().map_or(0, |group| group.time_ms);
        for (revision, group) in (honest + 1..).zip(&self.groups) {
            batch.groups.push(JournalGroup {
                revision,
                epoch: batch.epoch,
                time_ms,
                body: group.body.clone(),
                signature: group.signature.to_vec(),
            });
            batch.last_revision = revision;
        }
        batch
    }
}
