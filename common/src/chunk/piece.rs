//! Sealed chunks: the pieces that files are cut into.
//!
//! Owns how a chunk is sealed and opened, and the buffers that each thread reuses for it, since
//! this is the busiest path of a device. It must not know where a chunk was cut or is kept.

use super::body::{self, BODY_HEADER_BYTES, Body};
use super::envelope::{self, Binding};
use super::{ObjectType, OpenError};
use crate::ids::{ChunkId, FolderId};
use crate::keys::FolderKeys;
use crate::limits::{CHUNK_BYTES_MAX, SEALED_BYTES_MAX};
use std::cell::RefCell;
use zstd::bulk::{Compressor, Decompressor};

/// What a thread keeps between chunks: zstd's contexts, and the bytes that the IV hashes.
struct Workspace {
    hashed: Vec<u8>,
    compressor: Compressor<'static>,
    decompressor: Decompressor<'static>,
}

impl Workspace {
    /// # Panics
    /// When there is no memory for zstd's contexts.
    fn new() -> Self {
        let compressor = Compressor::new(body::ZSTD_LEVEL);
        let decompressor = Decompressor::new();
        match (compressor, decompressor) {
            (Ok(compressor), Ok(decompressor)) => {
                Self { hashed: Vec::with_capacity(SEALED_BYTES_MAX), compressor, decompressor }
            }
            (Err(error), _) | (_, Err(error)) => panic!("no memory for zstd: {error}"),
        }
    }
}

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::new(Workspace::new());
}

/// Seals one chunk under the current epoch; the same plaintext gives the same bytes on all devices.
///
/// The result has at most [`SEALED_BYTES_MAX`] bytes; its id is [`ChunkId::of`] it.
///
/// # Panics
/// When `plaintext` is empty or longer than [`CHUNK_BYTES_MAX`]: no [`super::Chunker`] cut it.
#[must_use]
pub fn seal_chunk(keys: &FolderKeys, folder: &FolderId, plaintext: &[u8]) -> Vec<u8> {
    assert!(
        (1..=CHUNK_BYTES_MAX as usize).contains(&plaintext.len()),
        "a chunk has 1 to {CHUNK_BYTES_MAX} bytes, not {}",
        plaintext.len()
    );
    let (epoch, pair) = keys.current_sealing(ObjectType::Chunk);
    let binding = Binding { object: ObjectType::Chunk, folder, epoch, bound: &[] };
    WORKSPACE.with_borrow_mut(|Workspace { hashed, compressor, .. }| {
        let plaintext_at = binding.begin(hashed);
        body::append_compressed(hashed, plaintext, compressor);
        envelope::seal(pair, &binding, &[], hashed, plaintext_at)
    })
}

/// Opens one chunk after checking that the bytes are those of the id.
///
/// The result has 1 to [`CHUNK_BYTES_MAX`] bytes; the caller compares its length with what the page
/// or the attributes say.
///
/// # Errors
/// [`OpenError`]; where [`OpenError::is_retryable`], another copy may open.
pub fn open_chunk(
    keys: &FolderKeys,
    folder: &FolderId,
    expected_id: &ChunkId,
    stored: &[u8],
) -> Result<Vec<u8>, OpenError> {
    envelope::check_id(expected_id, stored, SEALED_BYTES_MAX)?;
    let (epoch, sealed) = envelope::read_header(ObjectType::Chunk, stored, SEALED_BYTES_MAX)?;
    let binding = Binding { object: ObjectType::Chunk, folder, epoch, bound: &[] };
    WORKSPACE.with_borrow_mut(|Workspace { hashed, decompressor, .. }| {
        let plaintext_at = envelope::open(keys, &binding, sealed, hashed)?;
        let plaintext =
            Body::read(&hashed[plaintext_at..], CHUNK_BYTES_MAX as usize)?.decode(decompressor)?;
        if plaintext.is_empty() {
            Err(OpenError::Malformed("an empty chunk"))
        } else {
            Ok(plaintext)
        }
    })
}

/// The longest chunk fits the longest object, also when it does not shrink.
const _: () = assert!(
    envelope::HEADER_BYTES
        + envelope::IV_BYTES
        + BODY_HEADER_BYTES
        + CHUNK_BYTES_MAX as usize
        + envelope::TAG_BYTES
        <= SEALED_BYTES_MAX
);
