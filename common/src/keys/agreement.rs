//! X25519 agreement keys (RFC 7748) and sealing a secret to the holder of one.
//!
//! Owns the key type and the envelope of a sealed box. It must not know whose key it is, nor draw
//! randomness: the seed of the ephemeral key comes from the caller.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

const EPHEMERAL_CONTEXT: &str = "driftless 2026 box ephemeral v1";
const KEY_CONTEXT: &str = "driftless 2026 box key v1";
const PUBLIC_BYTES: usize = 32;
const TAG_BYTES: usize = 16;

/// Bytes that a box adds to what it holds: the ephemeral public key and the tag.
pub const BOX_OVERHEAD_BYTES: usize = PUBLIC_BYTES + TAG_BYTES;

/// A box that cannot be made or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AgreementError {
    /// The other public key is a point on which nothing secret can be agreed.
    #[error("the public key is of low order")]
    WeakKey,
    /// Shorter than any box.
    #[error("a sealed box has at least {BOX_OVERHEAD_BYTES} bytes, not {0}")]
    Truncated(usize),
    /// For another key or purpose, or altered.
    #[error("the sealed box is not for this key and purpose, or was altered")]
    Open,
}

/// A private X25519 key, made from a 32-byte seed.
pub struct AgreementKey {
    seed: Zeroizing<[u8; 32]>,
    key: PrivateKey,
    public: [u8; 32],
}

impl AgreementKey {
    /// The key of this seed. Every 32 bytes are a valid seed.
    #[must_use]
    pub fn from_seed(mut seed: [u8; 32]) -> Self {
        let key = PrivateKey::from_private_key(&X25519, &seed)
            .unwrap_or_else(|_| unreachable!("32 bytes are always an X25519 key"));
        let mut public = [0; 32];
        match key.compute_public_key() {
            Ok(bytes) => public.copy_from_slice(bytes.as_ref()),
            Err(_) => unreachable!("an X25519 key always has its public key"),
        }
        let kept = Zeroizing::new(seed);
        seed.zeroize();
        Self { seed: kept, key, public }
    }

    /// The public key.
    #[must_use]
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// Opens a box that was sealed to this key for `purpose`.
    ///
    /// # Errors
    /// [`AgreementError`] when it is no box, or not one for this key and purpose.
    pub fn open(
        &self,
        purpose: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, AgreementError> {
        if sealed.len() < BOX_OVERHEAD_BYTES {
            return Err(AgreementError::Truncated(sealed.len()));
        }
        let (ephemeral, ciphertext) = sealed.split_at(PUBLIC_BYTES);
        let key = self.shared(ephemeral, ephemeral, &self.public, purpose)?;
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        let opened = cipher(&key)
            .open_in_place(zero_nonce(), Aad::from(purpose), &mut buffer)
            .map_err(|_| AgreementError::Open)?
            .len();
        buffer.truncate(opened);
        Ok(buffer)
    }

    /// The key of a box, from the agreed secret, both public keys and the purpose.
    fn shared(
        &self,
        peer: &[u8],
        ephemeral: &[u8],
        recipient: &[u8],
        purpose: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, AgreementError> {
        let peer = UnparsedPublicKey::new(&X25519, peer);
        agree(&self.key, peer, AgreementError::WeakKey, |secret| {
            let mut hasher = blake3::Hasher::new_derive_key(KEY_CONTEXT);
            hasher.update(secret);
            hasher.update(ephemeral);
            hasher.update(recipient);
            hasher.update(&(purpose.len() as u64).to_le_bytes());
            hasher.update(purpose);
            Ok(Zeroizing::new(*hasher.finalize().as_bytes()))
        })
    }
}

impl Clone for AgreementKey {
    fn clone(&self) -> Self {
        Self::from_seed(*self.seed)
    }
}

impl fmt::Debug for AgreementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "AgreementKey({:02x}{:02x}{:02x}…)",
            self.public[0], self.public[1], self.public[2]
        )
    }
}

/// Seals `secret` to the holder of `recipient` for `purpose`: ephemeral public key, ciphertext,
/// tag. ECDH with an ephemeral key, a key derived from the agreed secret, both public keys and the
/// purpose, AES-256-GCM (the shape of RFC 9180 base mode).
///
/// `seed` is fresh random bytes; one seed may serve many boxes, because the ephemeral key also
/// depends on recipient, purpose and secret.
///
/// # Errors
/// [`AgreementError::WeakKey`] when `recipient` is a point of low order.
pub fn seal_to(
    recipient: &[u8; 32],
    seed: &[u8; 32],
    purpose: &[u8],
    secret: &[u8],
) -> Result<Vec<u8>, AgreementError> {
    let mut hasher = blake3::Hasher::new_derive_key(EPHEMERAL_CONTEXT);
    hasher.update(seed);
    hasher.update(recipient);
    hasher.update(&(purpose.len() as u64).to_le_bytes());
    hasher.update(purpose);
    hasher.update(secret);
    let ephemeral = AgreementKey::from_seed(*hasher.finalize().as_bytes());
    let key = ephemeral.shared(recipient, &ephemeral.public, recipient, purpose)?;
    let mut sealed = Vec::with_capacity(secret.len() + BOX_OVERHEAD_BYTES);
    sealed.extend_from_slice(&ephemeral.public);
    let mut buffer = Zeroizing::new(secret.to_vec());
    let tag = cipher(&key)
        .seal_in_place_separate_tag(zero_nonce(), Aad::from(purpose), &mut buffer)
        .unwrap_or_else(|_| unreachable!("a secret is far below the cipher's limit"));
    sealed.extend_from_slice(&buffer);
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

/// Whether a public key is a point on which nothing secret can be agreed. Such a key must not be
/// listed: nothing could ever be sealed to its holder.
#[must_use]
pub fn is_weak_public(public: &[u8; 32]) -> bool {
    AgreementKey::from_seed([1; 32]).shared(public, public, public, b"").is_err()
}

fn cipher(key: &[u8; 32]) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM, key)
        .unwrap_or_else(|_| unreachable!("32 bytes are always an AES-256 key"));
    LessSafeKey::new(key)
}

/// Every box has a key of its own, so the nonce carries nothing.
fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_public_key_is_that_of_rfc_7748_section_6_1() {
        let bytes = |hex: &str| -> [u8; 32] {
            data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap()
        };
        let private = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
        let public = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
        assert_eq!(*AgreementKey::from_seed(bytes(private)).public(), bytes(public));
    }

    #[test]
    fn a_box_opens_for_its_key_and_purpose_only() {
        let key = AgreementKey::from_seed([1; 32]);
        let sealed = seal_to(key.public(), &[2; 32], b"purpose", b"secret").unwrap();
        assert_eq!(&**key.open(b"purpose", &sealed).unwrap(), b"secret");
        assert_eq!(key.open(b"other", &sealed), Err(AgreementError::Open));
        let other = AgreementKey::from_seed([3; 32]);
        assert_eq!(other.open(b"purpose", &sealed), Err(AgreementError::Open));
    }

    #[test]
    fn a_public_key_of_low_order_is_refused_on_both_sides() {
        assert!(is_weak_public(&[0; 32]));
        assert!(!is_weak_public(AgreementKey::from_seed([1; 32]).public()));
        assert_eq!(seal_to(&[0; 32], &[2; 32], b"p", b"s"), Err(AgreementError::WeakKey));
        let key = AgreementKey::from_seed([1; 32]);
        assert_eq!(key.open(b"p", &[0; BOX_OVERHEAD_BYTES]), Err(AgreementError::WeakKey));
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let key = AgreementKey::from_seed([0xab; 32]);
        assert!(!format!("{key:?}").contains("abab"));
    }

    proptest! {
        #[test]
        fn an_altered_or_cut_box_is_refused(at in 0_usize..80, bit in 0_u8..8, cut in 0_usize..80) {
            let key = AgreementKey::from_seed([1; 32]);
            let sealed = seal_to(key.public(), &[2; 32], b"purpose", &[9; 32]).unwrap();
            prop_assert_eq!(sealed.len(), 80);
            prop_assert!(key.open(b"purpose", &sealed[..cut]).is_err());
            let mut altered = sealed;
            altered[at] ^= 1 << bit;
            // X25519 ignores the top bit of a point, but the key is derived from the bytes as sent.
            prop_assert!(key.open(b"purpose", &altered).is_err());
        }
    }
}
