//! Proof that what a commit names is stored: receipts and new pages, until the commit is through.
//!
//! Owns what is remembered between an upload and its commit. Nothing of it survives the process:
//! after a restart presence is proven anew (rule 1).

use common::ids::ChunkId;
use common::record::Root;
use common::trust::{ReceiptBatch, TrustError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What hangs below a root.
#[derive(Clone, Debug, Default)]
pub struct RootParts {
    /// Chunks in order, with their plaintext lengths.
    pub chunks: Vec<(ChunkId, u32)>,
    /// Pages, as they are stored.
    pub pages: Vec<(ChunkId, Vec<u8>)>,
}

/// Receipts and pages of contents that are uploaded and not committed yet.
#[derive(Debug, Default)]
pub struct Proofs {
    receipts: BTreeMap<ChunkId, Arc<Vec<u8>>>,
    roots: BTreeMap<ChunkId, RootParts>,
}

impl Proofs {
    /// Takes an encoded receipt batch; returns the ids that it covers.
    ///
    /// # Errors
    /// [`TrustError`] when it is not one.
    pub fn add_receipts(&mut self, encoded: Vec<u8>) -> Result<Vec<ChunkId>, TrustError> {
        let batch = ReceiptBatch::open(&encoded)?;
        let encoded = Arc::new(encoded);
        let ids: Vec<ChunkId> = batch.items.iter().map(|item| item.id).collect();
        for id in &ids {
            self.receipts.insert(*id, Arc::clone(&encoded));
        }
        Ok(ids)
    }

    /// Whether there is a receipt for a chunk.
    #[must_use]
    pub fn covers(&self, id: &ChunkId) -> bool {
        self.receipts.contains_key(id)
    }

    /// Remembers what hangs below a root.
    pub fn add_root(&mut self, root: &Root, parts: RootParts) {
        self.roots.insert(root.id, parts);
    }

    /// Whether a commit can name this root: all of it is known and has receipts.
    #[must_use]
    pub fn proves(&self, root: &Root) -> bool {
        self.roots.get(&root.id).is_some_and(|parts| {
            parts.chunks.iter().all(|(id, _)| self.covers(id))
                && parts.pages.iter().all(|(id, _)| self.covers(id))
        })
    }

    /// The receipt batches and pages that a commit of these roots has to carry, each once.
    #[must_use]
    pub fn collect<'a>(
        &self,
        roots: impl IntoIterator<Item = &'a Root>,
    ) -> (Vec<Arc<Vec<u8>>>, Vec<Vec<u8>>) {
        let mut receipts: BTreeMap<*const Vec<u8>, Arc<Vec<u8>>> = BTreeMap::new();
        let (mut order, mut pages) = (Vec::new(), Vec::new());
        let mut seen = BTreeSet::new();
        for parts in roots.into_iter().filter_map(|root| self.roots.get(&root.id)) {
            let ids = parts.chunks.iter().map(|(id, _)| id);
            for id in ids.chain(parts.pages.iter().map(|(id, _)| id)) {
                let Some(batch) = self.receipts.get(id) else { continue };
                if receipts.insert(Arc::as_ptr(batch), Arc::clone(batch)).is_none() {
                    order.push(Arc::clone(batch));
                }
            }
            for (id, page) in &parts.pages {
                if seen.insert(*id) {
                    pages.push(page.clone());
                }
            }
        }
        (order, pages)
    }

    /// Forgets the proofs of these roots: they are committed.
    pub fn forget<'a>(&mut self, roots: impl IntoIterator<Item = &'a Root>) {
        for root in roots {
            let Some(parts) = self.roots.remove(&root.id) else { continue };
            for (id, _) in &parts.chunks {
                self.receipts.remove(id);
            }
            for (id, _) in &parts.pages {
                self.receipts.remove(id);
            }
        }
    }

    /// Forgets everything: the server does not take these proofs.
    pub fn clear(&mut self) {
        self.receipts.clear();
        self.roots.clear();
    }
}
