//! The bytes of a segment file: a start header, then records of one header and one payload each.
//!
//! Owns the header's layout (pinned by a golden test; a change is a new version). It must not know
//! files or the index. All numbers are little-endian:
//!
//! ```text
//!   0  magic        4   "DLR1"
//!   4  version      2   1
//!   6  kind         2   1 = start of a segment (no payload), 2 = chunk
//!   8  length       4   bytes of payload
//!  12  reserved     4   0
//!  16  position     8   where in the file this header begins
//!  24  segment     16   random id of the segment
//!  40  folder      32
//!  72  chunk       32   BLAKE3-256 of the payload
//! 104  checksum    24   BLAKE3 (derive-key mode) of the 104 bytes before
//! ```
//!
//! Position and segment id make a header valid in one place only. The segment id never leaves the
//! node, so a device cannot upload a payload that a scan would mistake for records.

use common::ids::{ChunkId, FolderId};

use super::ChunkKey;

/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 128;
/// How every header begins.
pub(super) const MAGIC: [u8; 4] = *b"DLR1";

const VERSION: u16 = 1;
const CHECKED_BYTES: usize = 104;
const CHECKSUM_CONTEXT: &str = "driftless chunk_store segment record header v1";

/// Random name of a segment, which its records repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentId(pub(super) [u8; 16]);

/// What a header announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing: it is the first header of a segment file.
    Start,
    /// One chunk.
    Chunk { key: ChunkKey, length: u32 },
}

/// A header that is known to be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// Where in the file it begins, in bytes.
    pub(super) position: u64,
    pub(super) segment: SegmentId,
}

impl Header {
    /// The header as it is stored.
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        match self.kind {
            Kind::Start => bytes[6..8].copy_from_slice(&1_u16.to_le_bytes()),
            Kind::Chunk { key, length } => {
                bytes[6..8].copy_from_slice(&2_u16.to_le_bytes());
                bytes[8..12].copy_from_slice(&length.to_le_bytes());
                bytes[40..72].copy_from_slice(key.folder.as_bytes());
                bytes[72..104].copy_from_slice(key.id.as_bytes());
            }
        }
        bytes[16..24].copy_from_slice(&self.position.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.segment.0);
        let checksum = checksum(&bytes[..CHECKED_BYTES]);
        bytes[CHECKED_BYTES..].copy_from_slice(&checksum);
        bytes
    }

    /// Reads a header; `None` unless it is whole and of a version and kind that are known.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        if bytes[0..4] != MAGIC
            || u16::from_le_bytes(array(&bytes[4..6])?) != VERSION
            || bytes[CHECKED_BYTES..] != checksum(&bytes[..CHECKED_BYTES])
        {
            return None;
        }
        let kind = match u16::from_le_bytes(array(&bytes[6..8])?) {
            1 => Kind::Start,
            2 => Kind::Chunk {
                key: ChunkKey {
                    folder: FolderId::from_slice(&bytes[40..72]).ok()?,
                    id: ChunkId::from_slice(&bytes[72..104]).ok()?,
                },
                length: u32::from_le_bytes(array(&bytes[8..12])?),
            },
            _ => return None,
        };
        Some(Self {
            kind,
            position: u64::from_le_bytes(array(&bytes[16..24])?),
            segment: SegmentId(array(&bytes[24..40])?),
        })
    }
}

fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

fn checksum(checked: &[u8]) -> [u8; HEADER_BYTES - CHECKED_BYTES] {
    let mut checksum = [0; HEADER_BYTES - CHECKED_BYTES];
    let digest = blake3::derive_key(CHECKSUM_CONTEXT, checked);
    checksum.copy_from_slice(&digest[..HEADER_BYTES - CHECKED_BYTES]);
    checksum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk_header() -> Header {
        let key =
            ChunkKey { folder: FolderId::from_bytes([7; 32]), id: ChunkId::of(b"golden payload") };
        Header { kind: Kind::Chunk { key, length: 14 }, position: 128, segment: SegmentId([9; 16]) }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_stored_bytes_of_headers_are_pinned() {
        let start = Header { kind: Kind::Start, position: 0, segment: SegmentId([9; 16]) };
        let fields = [
            "444c5231",
            "0100",
            "0100",
            "00000000",
            "00000000",
            "0000000000000000",
            &"09".repeat(16),
            &"00".repeat(32),
            &"00".repeat(32),
            "b51f0000722752a155c1d6852786b5dd77fa49a4056300ab",
        ];
        assert_eq!(hex(&start.encode()), fields.concat());
        let fields = [
            "444c5231",
            "0100",
            "0200",
            "0e000000",
            "00000000",
            "8000000000000000",
            &"09".repeat(16),
            &"07".repeat(32),
            &ChunkId::of(b"golden payload").to_string(),
            "8b93e85f9388a51f25e4cfadd067a12e10c4b56c374d4c07",
        ];
        assert_eq!(hex(&chunk_header().encode()), fields.concat());
    }

    #[test]
    fn a_header_reads_back_and_no_flipped_bit_does() {
        let header = chunk_header();
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some(header));
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&flipped), None, "bit {bit}");
        }
    }
}
