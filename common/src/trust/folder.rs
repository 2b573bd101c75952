//! What devices sign about a folder as a whole: its genesis and its checkpoints.
//!
//! Owns their encoding and the derivation of a [`FolderId`]. Whether the signing device is enrolled
//! is the device log's word, and the caller's to ask.

use super::error::{TrustError, bytes32, version};
use super::signed::{Label, Unverified, sign};
use crate::ids::{DeviceId, FolderId, Head, UserId};
use crate::keys::SigningKey;
use crate::limits::FRAME_BYTES_MAX;
use crate::revision::Cursor;
use prost::Message;

const VERSION: u32 = 1;
const FOLDER_ID_CONTEXT: &str = "driftless 2026 folder id v1";

/// The record that a folder begins with; its hash is the folder's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderGenesis {
    /// The owner.
    pub user: UserId,
    /// The device that makes it, whose key signs.
    pub device: DeviceId,
    /// Random, so that no two folders have one id.
    pub nonce: [u8; 32],
    /// When, in milliseconds since 1970 by the device's clock.
    pub created_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
struct GenesisMessage {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(bytes = "vec", tag = "2")]
    user: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    device: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    nonce: Vec<u8>,
    #[prost(uint64, tag = "5")]
    created_ms: u64,
}

impl FolderGenesis {
    /// Encodes and signs. `key` is the key of `device`.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let message = GenesisMessage {
            version: VERSION,
            user: self.user.to_vec(),
            device: self.device.to_vec(),
            nonce: self.nonce.to_vec(),
            created_ms: self.created_ms,
        };
        sign(Label::FolderGenesis, &message.encode_to_vec(), &[key])
    }

    /// Checks the signature against the device that the genesis names, and derives the id.
    ///
    /// # Errors
    /// [`TrustError`] when it does not decode or is not signed by that device.
    pub fn open(bytes: &[u8]) -> Result<(FolderId, Self), TrustError> {
        let document = Unverified::parse(Label::FolderGenesis, bytes, FRAME_BYTES_MAX)?;
        let message = GenesisMessage::decode(document.body)?;
        version(message.version, VERSION)?;
        let genesis = Self {
            user: UserId::from_slice(&message.user)?,
            device: DeviceId::from_slice(&message.device)?,
            nonce: bytes32("nonce", &message.nonce)?,
            created_ms: message.created_ms,
        };
        document.verify(&[genesis.device.as_bytes()])?;
        Ok((Self::id(bytes), genesis))
    }

    /// The id of the folder that begins with these bytes, which are not checked.
    #[must_use]
    pub fn id(bytes: &[u8]) -> FolderId {
        FolderId::from_bytes(blake3::derive_key(FOLDER_ID_CONTEXT, bytes))
    }
}

/// A device's word for the state of a folder at one position of its journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which folder.
    pub folder: FolderId,
    /// Where in the journal.
    pub cursor: Cursor,
    /// [`crate::record::RegisterDigest`] over all registers at that position.
    pub digest: Head,
    /// The device that vouches, whose key signs.
    pub device: DeviceId,
}

#[derive(Clone, PartialEq, Message)]
struct CheckpointMessage {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(bytes = "vec", tag = "2")]
    folder: Vec<u8>,
    #[prost(uint64, tag = "3")]
    epoch: u64,
    #[prost(uint64, tag = "4")]
    revision: u64,
    #[prost(bytes = "vec", tag = "5")]
    head: Vec<u8>,
    #[prost(bytes = "vec", tag = "6")]
    digest: Vec<u8>,
    #[prost(bytes = "vec", tag = "7")]
    device: Vec<u8>,
}

impl Checkpoint {
    /// Encodes and signs. `key` is the key of `device`.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let message = CheckpointMessage {
            version: VERSION,
            folder: self.folder.to_vec(),
            epoch: self.cursor.epoch,
            revision: self.cursor.revision,
            head: self.cursor.head.to_vec(),
            digest: self.digest.to_vec(),
            device: self.device.to_vec(),
        };
        sign(Label::Checkpoint, &message.encode_to_vec(), &[key])
    }

    /// Checks the signature against the device that the checkpoint names.
    ///
    /// # Errors
    /// [`TrustError`] when it does not decode or is not signed by that device.
    pub fn open(bytes: &[u8]) -> Result<Self, TrustError> {
        let document = Unverified::parse(Label::Checkpoint, bytes, FRAME_BYTES_MAX)?;
        let message = CheckpointMessage::decode(document.body)?;
        version(message.version, VERSION)?;
        let checkpoint = Self {
            folder: FolderId::from_slice(&message.folder)?,
            cursor: Cursor {
                epoch: message.epoch,
                revision: message.revision,
                head: Head::from_slice(&message.head)?,
            },
            digest: Head::from_slice(&message.digest)?,
            device: DeviceId::from_slice(&message.device)?,
        };
        document.verify(&[checkpoint.device.as_bytes()])?;
        Ok(checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> SigningKey {
        SigningKey::from_seed([1; 32])
    }

    fn genesis() -> FolderGenesis {
        FolderGenesis {
            user: UserId::from_bytes([2; 32]),
            device: key().device(),
            nonce: [3; 32],
            created_ms: 4,
        }
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            folder: FolderId::from_bytes([2; 32]),
            cursor: Cursor { epoch: 1, revision: 9, head: Head::from_bytes([3; 32]) },
            digest: Head::from_bytes([4; 32]),
            device: key().device(),
        }
    }

    #[test]
    fn a_genesis_opens_and_names_its_folder() {
        let bytes = genesis().sign(&key());
        assert_eq!(FolderGenesis::open(&bytes), Ok((FolderGenesis::id(&bytes), genesis())));
        let other = FolderGenesis { nonce: [4; 32], ..genesis() }.sign(&key());
        assert_ne!(FolderGenesis::id(&bytes), FolderGenesis::id(&other));
    }

    #[test]
    fn a_checkpoint_opens() {
        assert_eq!(Checkpoint::open(&checkpoint().sign(&key())), Ok(checkpoint()));
    }

    #[test]
    fn a_document_of_another_signer_is_refused() {
        let other = SigningKey::from_seed([9; 32]);
        assert_eq!(FolderGenesis::open(&genesis().sign(&other)), Err(TrustError::Signature));
        assert_eq!(Checkpoint::open(&checkpoint().sign(&other)), Err(TrustError::Signature));
    }

    #[test]
    fn one_document_does_not_pass_as_another() {
        assert!(Checkpoint::open(&genesis().sign(&key())).is_err());
        assert!(FolderGenesis::open(&checkpoint().sign(&key())).is_err());
    }

    proptest! {
        #[test]
        fn an_altered_byte_is_refused(at in any::<proptest::sample::Index>(), bit in 0_u8..8) {
            let alter = |mut bytes: Vec<u8>| {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
                bytes
            };
            prop_assert!(FolderGenesis::open(&alter(genesis().sign(&key()))).is_err());
            prop_assert!(Checkpoint::open(&alter(checkpoint().sign(&key()))).is_err());
        }

        #[test]
        fn garbage_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(FolderGenesis::open(&body).is_err());
            prop_assert!(Checkpoint::open(&body).is_err());
            prop_assert!(FolderGenesis::open(&sign(Label::FolderGenesis, &body, &[&key()])).is_err());
            prop_assert!(Checkpoint::open(&sign(Label::Checkpoint, &body, &[&key()])).is_err());
        }
    }
}
