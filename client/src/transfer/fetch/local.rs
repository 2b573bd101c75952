//! Chunks that lie in other files of this disk.

use super::Fetch;
use super::build::Build;
use super::error::FetchError;
use crate::fs::{ReadFile, RelPath};
use common::ids::{ChunkId, EntryId};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Files that are open at a time to be copied from.
const SOURCES_OPEN_MAX: usize = 64;

/// Files that are copied from, or that cannot be.
type Sources = BTreeMap<EntryId, Option<Box<dyn ReadFile>>>;

impl Fetch<'_> {
    /// Copies the chunks that a build lacks and that other files are said to hold.
    pub(super) fn copy_local(&self, build: &mut Build) -> Result<(), FetchError> {
        let mut open = Sources::new();
        let mut offset = 0_u64;
        for index in 0..build.chunks.len() {
            let Some((id, length)) = build.chunks.get(index).copied() else { break };
            if build.hashes.get(index).is_some_and(Option::is_none)
                && let Some(bytes) = self.copy_from_others(&mut open, &id, length)?
            {
                let hash = self.context.keys.plain_hash(&bytes);
                build.copied();
                build.write(self.context, index, offset, &bytes, hash)?;
            }
            offset += u64::from(length);
        }
        Ok(())
    }

    fn copy_from_others(
        &self,
        open: &mut Sources,
        id: &ChunkId,
        length: u32,
    ) -> Result<Option<Vec<u8>>, FetchError> {
        for source in self.context.state.sources(id)? {
            if source.length != length {
                continue;
            }
            if open.len() > SOURCES_OPEN_MAX && !open.contains_key(&source.entry) {
                open.clear();
            }
            if let Entry::Vacant(slot) = open.entry(source.entry) {
                let names = self.context.state.local_path(&source.entry)?;
                let path = names.and_then(|names| RelPath::new(names).ok());
                slot.insert(path.and_then(|path| self.context.fs.open(&path).ok()));
            }
            if let Some(Some(file)) = open.get(&source.entry)
                && let Some(bytes) = read_exactly(file.as_ref(), source.start, length)
            {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}

fn read_exactly(file: &dyn ReadFile, offset: u64, length: u32) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length as usize];
    // A source that cannot be read is no source; the chunk is then downloaded.
    (file.read_at(offset, &mut bytes).ok()? == bytes.len()).then_some(bytes)
}
