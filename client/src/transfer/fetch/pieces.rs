//! What is still to be fetched, and how it is divided into requests.

use super::build::Build;
use super::error::FetchError;
use super::pen::Pen;
use common::ids::{ChunkId, PlainHash};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Plaintext bytes that one request for chunks asks for, about.
const GET_BYTES: u64 = 4 * 1024 * 1024;
/// Most chunks that one request asks for.
const GET_CHUNKS: usize = 512;

/// Large files that a request's pieces belong to, by the number of their build.
pub(super) type Files = BTreeMap<usize, Arc<Pen>>;
/// A piece, and its hash with the bytes that are still to be written.
pub(super) type Opened = (Piece, Result<(PlainHash, Option<Vec<u8>>), FetchError>);

/// Writes a piece of a file that is open; otherwise the bytes are returned.
pub(super) fn write_out(
    piece: &Piece,
    bytes: Vec<u8>,
    file: Option<&Arc<Pen>>,
) -> Result<Option<Vec<u8>>, FetchError> {
    if bytes.len() != piece.length as usize {
        return Err(FetchError::Mismatch("a chunk has another length"));
    }
    let Some(file) = file else { return Ok(Some(bytes)) };
    file.write_at(piece.offset, &bytes)?;
    Ok(None)
}

/// A chunk that is to be fetched, and where it goes.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    /// Number of the build.
    pub(super) build: usize,
    pub(super) index: usize,
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) id: ChunkId,
}

/// What the builds still lack, in order, as requests of a few MiB.
pub(super) fn plan_requests(builds: &[Build]) -> Vec<Vec<Piece>> {
    let mut requests = Vec::new();
    let (mut request, mut bytes) = (Vec::new(), 0_u64);
    for (number, build) in builds.iter().enumerate().filter(|(_, build)| build.end.is_none()) {
        let mut offset = 0;
        for (index, ((id, length), hash)) in build.chunks.iter().zip(&build.hashes).enumerate() {
            if hash.is_none() {
                let (id, length) = (*id, *length);
                request.push(Piece { build: number, index, offset, length, id });
                bytes += u64::from(length);
            }
            offset += u64::from(*length);
            if bytes >= GET_BYTES || request.len() >= GET_CHUNKS {
                requests.push(std::mem::take(&mut request));
                bytes = 0;
            }
        }
    }
    if !request.is_empty() {
        requests.push(request);
    }
    requests
}
