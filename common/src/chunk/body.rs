//! The plaintext of every sealed object: codec, lengths, body, padding.
//!
//! Owns compression and its bounds. It must not know about keys, nor what a body says.

use super::OpenError;
use std::io::Cursor;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::compress_bound;

/// Codec, decoded length, body length.
pub(super) const BODY_HEADER_BYTES: usize = 1 + 4 + 4;
/// zstd's level: sealing must keep up with disks, and higher levels gain a few percent only.
pub(super) const ZSTD_LEVEL: i32 = 1;

const RAW: u8 = 0;
const ZSTD: u8 = 1;

/// How much of a chunk is compressed first, to see whether the whole is worth it, in bytes.
const SAMPLE_BYTES: usize = 4096;
/// What the sample may take at most, in bytes: media and archives shrink by less, if at all.
const SAMPLE_SHRUNK_BYTES: usize = SAMPLE_BYTES - SAMPLE_BYTES / 32;

/// Appends a body as it is, padded with zeros to a multiple of `padding` bytes.
pub(super) fn append_raw(out: &mut Vec<u8>, body: &[u8], padding: usize) {
    out.extend_from_slice(&header(RAW, body.len(), body.len()));
    out.extend_from_slice(body);
    let padded = body.len().next_multiple_of(padding);
    out.resize(out.len() + (padded - body.len()), 0);
}

/// Appends a body compressed, or as it is when it does not shrink.
pub(super) fn append_compressed(
    out: &mut Vec<u8>,
    body: &[u8],
    compressor: &mut Compressor<'static>,
) {
    let start = out.len();
    out.extend_from_slice(&[0; BODY_HEADER_BYTES]);
    let head = if let Some(shrunk) = compress_after(out, body, compressor) {
        header(ZSTD, body.len(), shrunk)
    } else {
        out.extend_from_slice(body);
        header(RAW, body.len(), body.len())
    };
    out[start..start + BODY_HEADER_BYTES].copy_from_slice(&head);
}

/// Appends the compressed body and returns its length, or leaves `out` as it was.
fn compress_after(
    out: &mut Vec<u8>,
    body: &[u8],
    compressor: &mut Compressor<'static>,
) -> Option<usize> {
    if !is_worth_compressing(body, compressor) {
        return None;
    }
    let start = out.len();
    out.reserve(compress_bound(body.len()));
    let mut after = Cursor::new(&mut *out);
    after.set_position(start as u64);
    match compressor.compress_to_buffer(body, &mut after) {
        Ok(shrunk) if shrunk < body.len() => Some(shrunk),
        // Whatever zstd's reason is, the raw body is as good.
        Ok(_) | Err(_) => {
            out.truncate(start);
            None
        }
    }
}

/// Whether the front of the body shrinks; a short body is simply tried.
fn is_worth_compressing(body: &[u8], compressor: &mut Compressor<'static>) -> bool {
    if body.len() < 2 * SAMPLE_BYTES {
        return true;
    }
    let mut shrunk = [0; SAMPLE_SHRUNK_BYTES];
    compressor.compress_to_buffer(&body[..SAMPLE_BYTES], &mut shrunk[..]).is_ok()
}

fn header(codec: u8, decoded: usize, body: usize) -> [u8; BODY_HEADER_BYTES] {
    // Bodies are bounded by `SEALED_BYTES_MAX`, far below 4 GiB.
    let [d0, d1, d2, d3] = (decoded as u32).to_le_bytes();
    let [b0, b1, b2, b3] = (body as u32).to_le_bytes();
    [codec, d0, d1, d2, d3, b0, b1, b2, b3]
}

/// A body within a decrypted plaintext, its lengths checked, not yet decompressed.
pub(super) struct Body<'a> {
    codec: u8,
    decoded: usize,
    bytes: &'a [u8],
}

impl<'a> Body<'a> {
    /// Reads a plaintext whose body decodes to at most `decoded_max` bytes.
    ///
    /// # Errors
    /// [`OpenError`] when a length exceeds its bound, the codec is unknown or padding is not zero.
    pub(super) fn read(plaintext: &'a [u8], decoded_max: usize) -> Result<Self, OpenError> {
        let (head, rest) = plaintext
            .split_first_chunk::<BODY_HEADER_BYTES>()
            .ok_or(OpenError::Malformed("no room for codec and lengths"))?;
        let [codec, d0, d1, d2, d3, b0, b1, b2, b3] = *head;
        let decoded = bounded("length", u32::from_le_bytes([d0, d1, d2, d3]), decoded_max)?;
        let length = bounded("body length", u32::from_le_bytes([b0, b1, b2, b3]), rest.len())?;
        let (bytes, padding) = rest.split_at(length);
        if padding.iter().any(|byte| *byte != 0) {
            return Err(OpenError::Malformed("padding is not zero"));
        }
        match codec {
            RAW if decoded != length => Err(OpenError::Malformed("raw lengths differ")),
            RAW | ZSTD => Ok(Self { codec, decoded, bytes }),
            unknown => Err(OpenError::UnknownCodec(unknown)),
        }
    }

    /// The body of a type that is never compressed: its size would tell of what it says.
    ///
    /// # Errors
    /// [`OpenError::UnknownCodec`] when it is compressed all the same.
    pub(super) fn raw(self) -> Result<&'a [u8], OpenError> {
        if self.codec == RAW { Ok(self.bytes) } else { Err(OpenError::UnknownCodec(self.codec)) }
    }

    /// Decodes the body; memory is bounded by the length that [`Self::read`] has checked.
    ///
    /// # Errors
    /// [`OpenError::Decompress`] when it does not decode to exactly that length.
    pub(super) fn decode(
        self,
        decompressor: &mut Decompressor<'static>,
    ) -> Result<Vec<u8>, OpenError> {
        if self.codec == RAW {
            return Ok(self.bytes.to_vec());
        }
        // In one call zstd writes to this buffer only: no window that a frame could ask for.
        let mut decoded = Vec::with_capacity(self.decoded);
        decompressor
            .decompress_to_buffer(self.bytes, &mut decoded)
            .map_err(|_| OpenError::Decompress)?;
        if decoded.len() != self.decoded {
            return Err(OpenError::Decompress);
        }
        Ok(decoded)
    }
}

fn bounded(field: &'static str, actual: u32, limit: usize) -> Result<usize, OpenError> {
    match usize::try_from(actual) {
        Ok(length) if length <= limit => Ok(length),
        _ => Err(OpenError::TooLarge { field, actual: actual.into(), limit: limit as u64 }),
    }
}
