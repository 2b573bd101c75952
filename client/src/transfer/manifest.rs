//! The chunk list of a version, read from its pages.
//!
//! Owns the check that what the pages claim can be: lengths add up to the size that the sealed
//! attributes name, and no part is shorter than any device cuts, so that a list is as long as its
//! file allows. It must not know where the file is built.

use super::fetch::FetchError;
use crate::context::FolderContext;
use common::chunk::open_page;
use common::ids::ChunkId;
use common::limits::{CHUNK_BYTES_MIN, FILE_BYTES_MAX, PAGE_ENTRIES_MIN};
use common::record::Root;

/// The chunks of a version in order, with their plaintext lengths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Ids and lengths.
    pub chunks: Vec<(ChunkId, u32)>,
}

impl Manifest {
    /// Reads the chunk list of a version.
    ///
    /// # Errors
    /// [`FetchError`]; a list that is longer than `size` allows is not read to its end.
    pub async fn read(
        context: &FolderContext,
        root: Option<&Root>,
        size: u64,
    ) -> Result<Self, FetchError> {
        let Some(root) = root else {
            return if size == 0 {
                Ok(Self::default())
            } else {
                Err(FetchError::Mismatch("a file with bytes has no root"))
            };
        };
        if size > FILE_BYTES_MAX {
            return Err(FetchError::Mismatch("the file is larger than any may be"));
        }
        let mut level = root.level;
        let mut nodes = vec![(root.id, size)];
        while level > 0 {
            let (mut below, mut checked) = (Vec::new(), 0);
            for part in nodes.chunks(64) {
                let ids: Vec<ChunkId> = part.iter().map(|(id, _)| *id).collect();
                let pages = context.remote.get(context.folder, ids).await?;
                for ((id, bytes), page) in part.iter().zip(pages) {
                    let stored = page.ok_or(FetchError::Absent(*id))?;
                    let (keys, folder) = (&context.keys, &context.folder);
                    let page = open_page(keys, folder, id, level, &stored)
                        .map_err(|source| FetchError::Object { id: *id, source })?;
                    if page.plain_bytes() != *bytes {
                        return Err(FetchError::Mismatch("a page's lengths do not add up"));
                    }
                    below.extend(page.children.iter().map(|c| (c.id, c.plain_bytes)));
                }
                check_lengths(&below[checked..], level - 1)?;
                // The last one so far may have others after it.
                checked = below.len().saturating_sub(1);
            }
            nodes = below;
            level -= 1;
        }
        let chunks = nodes.into_iter().map(|(id, bytes)| {
            let length = u32::try_from(bytes).ok();
            let length = length.filter(|length| *length <= common::limits::CHUNK_BYTES_MAX);
            Ok((id, length.ok_or(FetchError::Mismatch("a chunk is too long"))?))
        });
        Ok(Self { chunks: chunks.collect::<Result<_, FetchError>>()? })
    }
}

/// No device cuts a chunk, or ends a page, that is shorter than this but for the last of a level:
/// otherwise a small object could stand for a chunk list that no memory holds.
fn check_lengths(nodes: &[(ChunkId, u64)], level: u8) -> Result<(), FetchError> {
    let least = (PAGE_ENTRIES_MIN as u64)
        .saturating_pow(level.into())
        .saturating_mul(CHUNK_BYTES_MIN.into());
    if nodes.iter().rev().skip(1).any(|(_, bytes)| *bytes < least) {
        return Err(FetchError::Mismatch("a part of the file is shorter than any device cuts"));
    }
    Ok(())
}
