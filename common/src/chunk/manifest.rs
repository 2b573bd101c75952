//! Manifests: a file's chunks as pages, and pages of pages.
//!
//! Owns where pages end: after an id that says so, as chunks end where their bytes say so, such
//! that an edit in the middle of a file rewrites about one page a level. It must not know what a
//! page looks like.

use super::page::{Child, seal_page};
use crate::ids::{ChunkId, FolderId};
use crate::keys::FolderKeys;
use crate::limits::{PAGE_ENTRIES_AVG, PAGE_ENTRIES_MAX, PAGE_ENTRIES_MIN, PAGE_LEVEL_MAX};
use crate::record::Root;
use std::collections::BTreeSet;

/// From the minimum on, one id in so many ends its page, which makes for the average.
const ONE_IN: u64 = (PAGE_ENTRIES_AVG - PAGE_ENTRIES_MIN) as u64;

/// One chunk of a file, in file order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRef {
    /// The sealed chunk.
    pub id: ChunkId,
    /// Length of its plaintext in bytes, 1 to [`crate::limits::CHUNK_BYTES_MAX`].
    pub plain_len: u32,
}

/// A manifest: its top, and the pages to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// `None` for an empty file; the chunk itself, at level 0, for a file of one chunk.
    pub root: Option<Root>,
    /// Each page once with its id, children before parents.
    pub pages: Vec<(ChunkId, Vec<u8>)>,
}

/// Builds the manifest of a file from its chunks.
///
/// Deterministic under one epoch: pages that no change touched get the ids that they had.
///
/// # Panics
/// When the chunks need more levels than [`PAGE_LEVEL_MAX`], which no file of at most
/// [`crate::limits::FILE_BYTES_MAX`] bytes does that a [`super::Chunker`] cut.
#[must_use]
pub fn build_manifest(keys: &FolderKeys, folder: &FolderId, chunks: &[ChunkRef]) -> Built {
    let mut pages = Vec::new();
    // A file of zeros repeats its pages; each is stored once.
    let mut seen = BTreeSet::new();
    let mut children: Vec<Child> = chunks
        .iter()
        .map(|chunk| Child { id: chunk.id, plain_bytes: chunk.plain_len.into() })
        .collect();
    let mut level = 0;
    while children.len() > 1 {
        level += 1;
        assert!(level <= PAGE_LEVEL_MAX, "the file has more chunks than {level} levels hold");
        let mut parents = Vec::with_capacity(children.len() / PAGE_ENTRIES_MIN + 1);
        let mut rest = &children[..];
        while !rest.is_empty() {
            let (entries, after) = rest.split_at(page_end(rest));
            let stored = seal_page(keys, folder, level, entries);
            let id = ChunkId::of(&stored);
            parents.push(Child { id, plain_bytes: entries.iter().map(|c| c.plain_bytes).sum() });
            if seen.insert(id) {
                pages.push((id, stored));
            }
            rest = after;
        }
        children = parents;
    }
    Built { root: children.first().map(|top| Root { id: top.id, level }), pages }
}

/// How many of the children make up the next page, at least one.
fn page_end(children: &[Child]) -> usize {
    let longest = children.len().min(PAGE_ENTRIES_MAX);
    children[..longest]
        .iter()
        .enumerate()
        .skip(PAGE_ENTRIES_MIN - 1)
        .find(|(_, child)| ends_page(&child.id))
        .map_or(longest, |(last, _)| last + 1)
}

/// An id is a hash, so that any eight of its bytes are as good as a random number.
fn ends_page(id: &ChunkId) -> bool {
    let [a, b, c, d, e, f, g, h, ..] = *id.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h]).is_multiple_of(ONE_IN)
}
