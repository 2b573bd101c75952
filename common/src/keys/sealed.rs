//! Deterministic sealing of the small secret documents that are no content of a folder: device
//! labels, keyrings, invitation blobs, earlier user secrets.
//!
//! Owns this envelope, which is that of folder objects without compression: a synthetic IV, a key
//! of its own for each plaintext, a commitment check. It must not know what is inside.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const IV_CONTEXT: &str = "driftless 2026 sealed document iv v1";
const KEY_CONTEXT: &str = "driftless 2026 sealed document key v1";
const IV_BYTES: usize = 32;
const LENGTH_BYTES: usize = 4;
const TAG_BYTES: usize = 16;

/// A sealed document that does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealedError {
    /// Shorter than any sealed document.
    #[error("a sealed document of {0} bytes is cut short")]
    Truncated(usize),
    /// Sealed with another key or for another purpose, or altered.
    #[error("the document was not sealed with this key for this purpose, or was altered")]
    Open,
}

/// The size of what [`seal`] returns for a plaintext of this length.
pub(crate) const fn sealed_bytes(plain_bytes: usize, padding_bytes: usize) -> usize {
    IV_BYTES + (LENGTH_BYTES + plain_bytes).next_multiple_of(padding_bytes) + TAG_BYTES
}

/// Seals a document. The same input gives the same bytes; `purpose` is bound, not stored.
///
/// The length is hidden up to the next multiple of `padding_bytes` (at least 1).
pub(crate) fn seal(
    key: &[u8; 32],
    purpose: &[u8],
    padding_bytes: usize,
    plaintext: &[u8],
) -> Vec<u8> {
    let padded = (LENGTH_BYTES + plaintext.len()).next_multiple_of(padding_bytes);
    let mut buffer = Zeroizing::new(Vec::with_capacity(padded));
    let length = u32::try_from(plaintext.len())
        .unwrap_or_else(|_| unreachable!("documents are bounded far below 4 GiB"));
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(plaintext);
    buffer.resize(padded, 0);
    let iv = synthetic_iv(key, purpose, &buffer);
    let tag = cipher(key, &iv)
        .seal_in_place_separate_tag(zero_nonce(), Aad::from(purpose), &mut buffer)
        .unwrap_or_else(|_| unreachable!("documents are bounded far below the cipher's limit"));
    let mut sealed = Vec::with_capacity(IV_BYTES + padded + TAG_BYTES);
    sealed.extend_from_slice(&iv);
    sealed.extend_from_slice(&buffer);
    sealed.extend_from_slice(tag.as_ref());
    sealed
}

/// Opens a document sealed with `key` for `purpose`. Callers bound the size of `sealed` before.
///
/// # Errors
/// [`SealedError`].
pub(crate) fn open(
    key: &[u8; 32],
    purpose: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealedError> {
    if sealed.len() < IV_BYTES + LENGTH_BYTES + TAG_BYTES {
        return Err(SealedError::Truncated(sealed.len()));
    }
    let (stored_iv, ciphertext) = sealed.split_at(IV_BYTES);
    let mut iv = [0; IV_BYTES];
    iv.copy_from_slice(stored_iv);
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    let padded = cipher(key, &iv)
        .open_in_place(zero_nonce(), Aad::from(purpose), &mut buffer)
        .map_err(|_| SealedError::Open)?
        .len();
    buffer.truncate(padded);
    // AES-GCM alone does not commit to its key; the IV, recomputed, does.
    if !bool::from(synthetic_iv(key, purpose, &buffer).ct_eq(&iv)) {
        return Err(SealedError::Open);
    }
    let (prefix, rest) = buffer.split_at_checked(LENGTH_BYTES).ok_or(SealedError::Open)?;
    let length = prefix.iter().rev().fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
    rest.get(..length).map(|plain| Zeroizing::new(plain.to_vec())).ok_or(SealedError::Open)
}

fn synthetic_iv(key: &[u8; 32], purpose: &[u8], padded: &[u8]) -> [u8; IV_BYTES] {
    let iv_key = Zeroizing::new(blake3::derive_key(IV_CONTEXT, key));
    let mut hasher = blake3::Hasher::new_keyed(&iv_key);
    hasher.update(&(purpose.len() as u64).to_le_bytes());
    hasher.update(purpose);
    hasher.update(padded);
    *hasher.finalize().as_bytes()
}

fn cipher(key: &[u8; 32], iv: &[u8; IV_BYTES]) -> LessSafeKey {
    let base = Zeroizing::new(blake3::derive_key(KEY_CONTEXT, key));
    let key = Zeroizing::new(*blake3::keyed_hash(&base, iv).as_bytes());
    let key = UnboundKey::new(&AES_256_GCM, &*key)
        .unwrap_or_else(|_| unreachable!("32 bytes are always an AES-256 key"));
    LessSafeKey::new(key)
}

/// Every plaintext has a key of its own, so the nonce carries nothing.
fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_are_hidden_up_to_the_padding() {
        let short = seal(&[1; 32], b"p", 32, b"a");
        let long = seal(&[1; 32], b"p", 32, &[b'a'; 28]);
        assert_eq!(short.len(), long.len());
        assert_eq!(short.len(), sealed_bytes(1, 32));
        assert_eq!(&**open(&[1; 32], b"p", &short).unwrap(), b"a");
    }

    #[test]
    fn another_key_or_purpose_does_not_open() {
        let sealed = seal(&[1; 32], b"p", 1, b"a");
        assert_eq!(open(&[2; 32], b"p", &sealed), Err(SealedError::Open));
        assert_eq!(open(&[1; 32], b"q", &sealed), Err(SealedError::Open));
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens(plain in proptest::collection::vec(any::<u8>(), 0..200)) {
            let sealed = seal(&[1; 32], b"p", 32, &plain);
            prop_assert_eq!(&**open(&[1; 32], b"p", &sealed).unwrap(), &plain[..]);
        }

        #[test]
        fn an_altered_or_cut_document_is_refused(at in 0_usize..84, bit in 0_u8..8) {
            let sealed = seal(&[1; 32], b"p", 4, &[7; 32]);
            prop_assert_eq!(sealed.len(), 84);
            prop_assert!(open(&[1; 32], b"p", &sealed[..at]).is_err());
            let mut altered = sealed;
            altered[at] ^= 1 << bit;
            prop_assert!(open(&[1; 32], b"p", &altered).is_err());
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(open(&[1; 32], b"p", &bytes).is_err());
        }
    }
}
