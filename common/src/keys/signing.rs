//! Ed25519 signing keys of devices, nodes, clusters and invitations (RFC 8032).
//!
//! Owns the key type and verification. It must not know what is signed.

use crate::ids::{DeviceId, Signature};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use std::fmt;
use zeroize::Zeroizing;

/// A private Ed25519 key, made from a 32-byte seed.
pub struct SigningKey {
    seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// The key of this seed. Every 32 bytes are a valid seed.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
            .unwrap_or_else(|_| unreachable!("32 bytes are always an Ed25519 seed"));
        Self { seed: Zeroizing::new(seed), pair }
    }

    /// The seed, to be stored where only its owner reads it.
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        bytes
    }

    /// The public key as a device's id.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        DeviceId::from_bytes(self.public())
    }

    /// Signs a message. The caller puts a label in front, one for each kind of message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(self.pair.sign(message).as_ref());
        Signature::from_bytes(bytes)
    }
}

impl Clone for SigningKey {
    fn clone(&self) -> Self {
        Self::from_seed(*self.seed)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.device())
    }
}

/// Whether `signature` over `message` is that of the key `public`.
#[must_use]
pub fn verify_signature(public: &[u8; 32], message: &[u8], signature: &Signature) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_message_and_key_only() {
        let key = SigningKey::from_seed([7; 32]);
        let signature = key.sign(b"message");
        assert!(verify_signature(&key.public(), b"message", &signature));
        assert!(!verify_signature(&key.public(), b"massage", &signature));
        assert!(!verify_signature(
            &SigningKey::from_seed([8; 32]).public(),
            b"message",
            &signature
        ));
    }
}
