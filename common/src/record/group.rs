//! Signed groups: the bytes of a group with its author's signature, and the journal's hash chain.
//!
//! Owns what is signed and what the chain hashes. It must not know whether an author is enrolled:
//! that is the device log's word.

use super::Group;
use super::encoding::RecordError;
use super::encoding::{decode_group, encode_group};
use crate::ids::{FolderId, Head, Signature};
use crate::keys::{SigningKey, verify_signature};
use crate::revision::{Epoch, Revision};

const SIGN_LABEL: &[u8] = b"driftless group v1\0";
const BODY_CONTEXT: &str = "driftless 2026 group digest v1";
const HEAD_CONTEXT: &str = "driftless 2026 journal head v1";

/// A group that cannot be accepted as what its author signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// The bytes are not a group.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The signature is not the author's.
    #[error("the group's signature is not that of its author")]
    Signature,
}

/// A group as sent and stored: never re-encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedGroup {
    /// The encoded [`Group`].
    pub body: Vec<u8>,
    /// The author's Ed25519 signature over a label and the body.
    pub signature: Signature,
}

impl SignedGroup {
    /// Encodes and signs. `key` is the key of `group.device`.
    #[must_use]
    pub fn sign(group: &Group, key: &SigningKey) -> Self {
        let body = encode_group(group);
        let signature = key.sign(&[SIGN_LABEL, &body].concat());
        Self { body, signature }
    }

    /// Decodes the body without looking at the signature.
    ///
    /// # Errors
    /// [`RecordError`] when the bytes are not a group within the limits.
    pub fn decode(&self) -> Result<Group, RecordError> {
        decode_group(&self.body)
    }

    /// Decodes the body and checks the signature against the author that it names.
    ///
    /// # Errors
    /// [`GroupError`]; the caller still has to check that the author was enrolled.
    pub fn verify(&self) -> Result<Group, GroupError> {
        let group = self.decode()?;
        let signed = [SIGN_LABEL, &self.body].concat();
        if !verify_signature(group.device.as_bytes(), &signed, &self.signature) {
            return Err(GroupError::Signature);
        }
        Ok(group)
    }

    /// H(body, signature, time): what the chain hashes, and what outlives a thinned body.
    #[must_use]
    pub fn digest(&self, time_ms: u64) -> Head {
        let mut hasher = blake3::Hasher::new_derive_key(BODY_CONTEXT);
        hasher.update(&(self.body.len() as u64).to_le_bytes());
        hasher.update(&self.body);
        hasher.update(self.signature.as_bytes());
        hasher.update(&time_ms.to_le_bytes());
        Head::from_bytes(*hasher.finalize().as_bytes())
    }
}

impl Head {
    /// The journal's head after `revision`, from the head before it and the group's digest.
    #[must_use]
    pub fn next(self, folder: &FolderId, epoch: Epoch, revision: Revision, digest: &Self) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(HEAD_CONTEXT);
        hasher.update(folder.as_bytes());
        hasher.update(&epoch.to_le_bytes());
        hasher.update(&revision.to_le_bytes());
        hasher.update(self.as_bytes());
        hasher.update(digest.as_bytes());
        Self::from_bytes(*hasher.finalize().as_bytes())
    }
}
