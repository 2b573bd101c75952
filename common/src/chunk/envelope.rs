//! The envelope of every sealed object: header, IV, ciphertext, tag.
//!
//! Owns the associated data, the synthetic IV and the one use of AES-GCM. It must not know what a
//! plaintext says.

use super::{ObjectType, OpenError, PageError};
use crate::ids::{ChunkId, FolderId};
use crate::keys::{FolderKeys, SealingPair};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

const MAGIC: [u8; 4] = *b"drft";
const VERSION: u8 = 1;
/// Magic, version, type, epoch.
pub(super) const HEADER_BYTES: usize = 10;
/// The synthetic IV.
pub(super) const IV_BYTES: usize = 32;
/// The tag of AES-GCM.
pub(super) const TAG_BYTES: usize = 16;
/// The length of the associated data, ahead of it in what is hashed.
const LENGTH_BYTES: usize = 8;

/// What an object is sealed as, beyond its plaintext: all that its associated data says.
pub(super) struct Binding<'a> {
    /// What it is.
    pub(super) object: ObjectType,
    /// The folder that it belongs to.
    pub(super) folder: &'a FolderId,
    /// The sealing epoch.
    pub(super) epoch: u32,
    /// What its type binds: a page's clear bytes, an entry's id.
    pub(super) bound: &'a [u8],
}

impl Binding<'_> {
    /// Replaces `hashed` by len(AD) ‖ AD, after which the plaintext belongs, and returns where
    /// that begins. What the IV hashes then lies in one run of memory.
    pub(super) fn begin(&self, hashed: &mut Vec<u8>) -> usize {
        let associated = 4 + 1 + 1 + FolderId::LEN + 4 + self.bound.len();
        hashed.clear();
        hashed.extend_from_slice(&(associated as u64).to_le_bytes());
        hashed.extend_from_slice(&MAGIC);
        hashed.extend_from_slice(&[VERSION, self.object.code()]);
        hashed.extend_from_slice(self.folder.as_bytes());
        hashed.extend_from_slice(&self.epoch.to_le_bytes());
        hashed.extend_from_slice(self.bound);
        hashed.len()
    }

    /// The first bytes of the stored object.
    fn header(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(&MAGIC);
        header[4] = VERSION;
        header[5] = self.object.code();
        header[6..].copy_from_slice(&self.epoch.to_le_bytes());
        header
    }
}

/// Seals `hashed`, which [`Binding::begin`] began and the plaintext from `plaintext_at` ends, into
/// the bytes to store. `clear` follows the header and is part of what the binding says.
pub(super) fn seal(
    pair: &SealingPair,
    binding: &Binding<'_>,
    clear: &[u8],
    hashed: &[u8],
    plaintext_at: usize,
) -> Vec<u8> {
    let iv = blake3::keyed_hash(&pair.iv, hashed);
    let plaintext = &hashed[plaintext_at..];
    let sealed_at = HEADER_BYTES + clear.len() + IV_BYTES;
    let mut stored = Vec::with_capacity(sealed_at + plaintext.len() + TAG_BYTES);
    stored.extend_from_slice(&binding.header());
    stored.extend_from_slice(clear);
    stored.extend_from_slice(iv.as_bytes());
    stored.extend_from_slice(plaintext);
    let associated = Aad::from(&hashed[LENGTH_BYTES..plaintext_at]);
    let tag = object_key(pair, iv.as_bytes())
        .seal_in_place_separate_tag(zero_nonce(), associated, &mut stored[sealed_at..])
        .unwrap_or_else(|_| unreachable!("objects are far below the bound of AES-GCM"));
    stored.extend_from_slice(tag.as_ref());
    stored
}

/// Opens `sealed` (IV ‖ ciphertext ‖ tag) as what `binding` says and leaves len(AD) ‖ AD ‖
/// plaintext in `hashed`; returns where the plaintext begins.
///
/// # Errors
/// [`OpenError::UnknownEpoch`], [`OpenError::Authentication`], [`OpenError::Commitment`], or
/// [`PageError::Truncated`]; what is in `hashed` then means nothing.
pub(super) fn open(
    keys: &FolderKeys,
    binding: &Binding<'_>,
    sealed: &[u8],
    hashed: &mut Vec<u8>,
) -> Result<usize, OpenError> {
    let epoch = binding.epoch;
    let pair = keys.sealing(epoch, binding.object).ok_or(OpenError::UnknownEpoch { epoch })?;
    let needed = IV_BYTES + TAG_BYTES;
    let truncated = PageError::Truncated { actual: sealed.len(), needed };
    let (iv, rest) = sealed.split_first_chunk::<IV_BYTES>().ok_or(truncated.clone())?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(truncated)?;

    let plaintext_at = binding.begin(hashed);
    hashed.extend_from_slice(ciphertext);
    let (before, text) = hashed.split_at_mut(plaintext_at);
    object_key(pair, iv)
        .open_in_place_separate_tag(zero_nonce(), Aad::from(&before[LENGTH_BYTES..]), tag, text)
        .map_err(|_| OpenError::Authentication)?;
    // AES-GCM commits to no key. Only one plaintext has this IV, so only it may come out.
    if blake3::keyed_hash(&pair.iv, hashed) != *iv {
        return Err(OpenError::Commitment);
    }
    Ok(plaintext_at)
}

/// Checks length and id of a stored object.
///
/// # Errors
/// [`PageError::TooLong`] before anything is hashed, [`PageError::Hash`].
pub(super) fn check_id(expected: &ChunkId, stored: &[u8], limit: usize) -> Result<(), PageError> {
    if stored.len() > limit {
        return Err(PageError::TooLong { actual: stored.len(), limit });
    }
    if ChunkId::of(stored) != *expected {
        return Err(PageError::Hash);
    }
    Ok(())
}

/// Reads the header of an object of this type: its epoch and what follows.
///
/// # Errors
/// [`PageError`] when it is too long, cut short, or the header of something else.
pub(super) fn read_header(
    object: ObjectType,
    stored: &[u8],
    limit: usize,
) -> Result<(u32, &[u8]), PageError> {
    if stored.len() > limit {
        return Err(PageError::TooLong { actual: stored.len(), limit });
    }
    let (header, rest) = stored
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(PageError::Truncated { actual: stored.len(), needed: HEADER_BYTES })?;
    let [m0, m1, m2, m3, version, code, e0, e1, e2, e3] = *header;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(PageError::Magic);
    }
    if version != VERSION {
        return Err(PageError::UnknownVersion(version));
    }
    if code != object.code() {
        return Err(PageError::Type { expected: object, found: code });
    }
    Ok((u32::from_le_bytes([e0, e1, e2, e3]), rest))
}

/// The key of the one object that has this IV.
fn object_key(pair: &SealingPair, iv: &[u8; IV_BYTES]) -> LessSafeKey {
    let key = blake3::keyed_hash(&pair.enc, iv);
    let key = UnboundKey::new(&AES_256_GCM, key.as_bytes())
        .unwrap_or_else(|_| unreachable!("AES-256 takes every 32 bytes as a key"));
    LessSafeKey::new(key)
}

/// Every object has a key of its own, so that one nonce does for all.
fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}
