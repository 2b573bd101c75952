//! What is signed about stored chunks: receipts by nodes and capabilities by the cluster.
//!
//! Owns their encoding. Whether a node is one of the cluster's, and what a capability is good for
//! at this moment, is for the caller to decide.

use super::error::{TrustError, at_most, version};
use super::signed::{Label, Unverified, sign};
use crate::ids::{ChunkId, ClusterId, DeviceId, FolderId, NodeId};
use crate::keys::SigningKey;
use crate::limits::{FRAME_BYTES_MAX, RECEIPT_ITEMS_MAX, SEALED_BYTES_MAX};
use prost::Message;

const VERSION: u32 = 1;

/// One chunk that a node holds, verified and durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiptItem {
    /// Which chunk.
    pub id: ChunkId,
    /// Stored bytes.
    pub length: u32,
    /// Whether this put stored it: quota is charged from these.
    pub new: bool,
}

/// A node's word that it holds chunks of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptBatch {
    /// Chunks are keyed by folder.
    pub folder: FolderId,
    /// The node, whose key signs.
    pub node: NodeId,
    /// Version of the layout under which they were put.
    pub layout: u64,
    /// GC generation in which they were stamped.
    pub generation: u64,
    /// 1 to [`RECEIPT_ITEMS_MAX`] chunks.
    pub items: Vec<ReceiptItem>,
}

#[derive(Clone, PartialEq, Message)]
struct ReceiptMessage {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(bytes = "vec", tag = "2")]
    folder: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    node: Vec<u8>,
    #[prost(uint64, tag = "4")]
    layout: u64,
    #[prost(uint64, tag = "5")]
    generation: u64,
    #[prost(message, repeated, tag = "6")]
    items: Vec<ItemMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct ItemMessage {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    length: u32,
    #[prost(bool, tag = "3")]
    new: bool,
}

impl ReceiptBatch {
    /// Encodes and signs. `key` is the key of `node`.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let message = ReceiptMessage {
            version: VERSION,
            folder: self.folder.to_vec(),
            node: self.node.to_vec(),
            layout: self.layout,
            generation: self.generation,
            items: self
                .items
                .iter()
                .map(|item| ItemMessage {
                    id: item.id.to_vec(),
                    length: item.length,
                    new: item.new,
                })
                .collect(),
        };
        sign(Label::Receipts, &message.encode_to_vec(), &[key])
    }

    /// Checks the signature against the node that the batch names.
    ///
    /// # Errors
    /// [`TrustError`] when it does not decode, breaks a limit, or is not signed by that node.
    pub fn open(bytes: &[u8]) -> Result<Self, TrustError> {
        Self::read(bytes)?.verify()
    }

    /// Reads a batch without checking its signature, which costs far more.
    ///
    /// # Errors
    /// [`TrustError`] when it does not decode or breaks a limit.
    pub fn read(bytes: &[u8]) -> Result<ClaimedReceipts<'_>, TrustError> {
        let document = Unverified::parse(Label::Receipts, bytes, FRAME_BYTES_MAX)?;
        let message = ReceiptMessage::decode(document.body)?;
        version(message.version, VERSION)?;
        at_most("receipt items", message.items.len(), RECEIPT_ITEMS_MAX)?;
        if message.items.is_empty() {
            return Err(TrustError::Missing("receipt items"));
        }
        let claims = Self {
            folder: FolderId::from_slice(&message.folder)?,
            node: NodeId::from_slice(&message.node)?,
            layout: message.layout,
            generation: message.generation,
            items: message.items.iter().map(receipt_item).collect::<Result<_, _>>()?,
        };
        Ok(ClaimedReceipts { document, claims })
    }
}

/// A batch of receipts whose signature has not been checked: whoever sent it claims this.
#[derive(Debug)]
pub struct ClaimedReceipts<'a> {
    document: Unverified<'a>,
    claims: ReceiptBatch,
}

impl ClaimedReceipts<'_> {
    /// What it says. It proves nothing; it may tell that the batch is of no use.
    #[must_use]
    pub const fn claims(&self) -> &ReceiptBatch {
        &self.claims
    }

    /// Checks the signature against the node that the batch names.
    ///
    /// # Errors
    /// [`TrustError::Signature`].
    pub fn verify(self) -> Result<ReceiptBatch, TrustError> {
        self.document.verify(&[self.claims.node.as_bytes()])?;
        Ok(self.claims)
    }
}

fn receipt_item(message: &ItemMessage) -> Result<ReceiptItem, TrustError> {
    at_most("chunk bytes", message.length as usize, SEALED_BYTES_MAX)?;
    Ok(ReceiptItem {
        id: ChunkId::from_slice(&message.id)?,
        length: message.length,
        new: message.new,
    })
}

/// The cluster's permission for one device to read or write chunks of one folder for a few minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Who permits, and whose key signs.
    pub cluster: ClusterId,
    /// The device that may use it: the peer of the connection.
    pub device: DeviceId,
    /// Which folder.
    pub folder: FolderId,
    /// Whether it may read.
    pub read: bool,
    /// Whether it may write.
    pub write: bool,
    /// Bytes that it may still write.
    pub bytes_max: u64,
    /// From when on it is void, in milliseconds since 1970.
    pub expires_ms: u64,
    /// Which of the cluster's capability keys signed; one that follows voids all earlier ones.
    pub key_id: u64,
}

#[derive(Clone, PartialEq, Message)]
struct CapabilityMessage {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(bytes = "vec", tag = "2")]
    cluster: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    device: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    folder: Vec<u8>,
    #[prost(bool, tag = "5")]
    read: bool,
    #[prost(bool, tag = "6")]
    write: bool,
    #[prost(uint64, tag = "7")]
    bytes_max: u64,
    #[prost(uint64, tag = "8")]
    expires_ms: u64,
    #[prost(uint64, tag = "9")]
    key_id: u64,
}

impl Capability {
    /// Encodes and signs. `key` is the cluster's.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let message = CapabilityMessage {
            version: VERSION,
            cluster: self.cluster.to_vec(),
            device: self.device.to_vec(),
            folder: self.folder.to_vec(),
            read: self.read,
            write: self.write,
            bytes_max: self.bytes_max,
            expires_ms: self.expires_ms,
            key_id: self.key_id,
        };
        sign(Label::Capability, &message.encode_to_vec(), &[key])
    }

    /// Checks that `cluster` signed it. The caller compares device, folder, rights, key id and time.
    ///
    /// # Errors
    /// [`TrustError`] when it does not decode, is another cluster's, or is not signed by it.
    pub fn open(bytes: &[u8], cluster: &ClusterId) -> Result<Self, TrustError> {
        let document = Unverified::parse(Label::Capability, bytes, FRAME_BYTES_MAX)?;
        let message = CapabilityMessage::decode(document.body)?;
        version(message.version, VERSION)?;
        let capability = Self {
            cluster: ClusterId::from_slice(&message.cluster)?,
            device: DeviceId::from_slice(&message.device)?,
            folder: FolderId::from_slice(&message.folder)?,
            read: message.read,
            write: message.write,
            bytes_max: message.bytes_max,
            expires_ms: message.expires_ms,
            key_id: message.key_id,
        };
        if capability.cluster != *cluster {
            return Err(TrustError::WrongCluster);
        }
        document.verify(&[cluster.as_bytes()])?;
        Ok(capability)
    }

    /// Whether it has not expired at this time. How long it lives is for the signing cluster to say.
    #[must_use]
    pub const fn is_valid_at(&self, now_ms: u64) -> bool {
        now_ms < self.expires_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> SigningKey {
        SigningKey::from_seed([1; 32])
    }

    fn batch() -> ReceiptBatch {
        ReceiptBatch {
            folder: FolderId::from_bytes([2; 32]),
            node: NodeId::from_bytes(key().public()),
            layout: 3,
            generation: 4,
            items: vec![
                ReceiptItem { id: ChunkId::from_bytes([5; 32]), length: 6, new: true },
                ReceiptItem { id: ChunkId::from_bytes([6; 32]), length: 7, new: false },
            ],
        }
    }

    fn cluster() -> ClusterId {
        ClusterId::from_bytes(key().public())
    }

    fn capability() -> Capability {
        Capability {
            cluster: cluster(),
            device: DeviceId::from_bytes([2; 32]),
            folder: FolderId::from_bytes([3; 32]),
            read: true,
            write: false,
            bytes_max: 4,
            expires_ms: 1_000_000,
            key_id: 6,
        }
    }

    #[test]
    fn receipts_and_capabilities_open() {
        assert_eq!(ReceiptBatch::open(&batch().sign(&key())), Ok(batch()));
        assert_eq!(Capability::open(&capability().sign(&key()), &cluster()), Ok(capability()));
    }

    #[test]
    fn a_document_of_another_signer_is_refused() {
        let other = SigningKey::from_seed([9; 32]);
        assert_eq!(ReceiptBatch::open(&batch().sign(&other)), Err(TrustError::Signature));
        let forged = capability().sign(&other);
        assert_eq!(Capability::open(&forged, &cluster()), Err(TrustError::Signature));
    }

    #[test]
    fn a_capability_of_another_cluster_is_refused() {
        let other = ClusterId::from_bytes([9; 32]);
        let bytes = capability().sign(&key());
        assert_eq!(Capability::open(&bytes, &other), Err(TrustError::WrongCluster));
    }

    #[test]
    fn a_capability_expires() {
        let capability = capability();
        assert!(capability.is_valid_at(999_999));
        assert!(!capability.is_valid_at(1_000_000));
    }

    #[test]
    fn a_batch_is_bounded() {
        let mut many = batch();
        many.items = vec![many.items[0]; RECEIPT_ITEMS_MAX];
        assert_eq!(ReceiptBatch::open(&many.sign(&key())), Ok(many.clone()));
        many.items.push(many.items[0]);
        let open = |batch: ReceiptBatch| ReceiptBatch::open(&batch.sign(&key()));
        assert!(matches!(open(many), Err(TrustError::TooLarge { .. })));
        let none = ReceiptBatch { items: vec![], ..batch() };
        assert_eq!(open(none), Err(TrustError::Missing("receipt items")));
        let mut huge = batch();
        huge.items[0].length = u32::MAX;
        assert!(matches!(open(huge), Err(TrustError::TooLarge { .. })));
        let vast = vec![0; FRAME_BYTES_MAX + 1];
        assert!(matches!(ReceiptBatch::open(&vast), Err(TrustError::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn an_altered_byte_is_refused(at in any::<proptest::sample::Index>(), bit in 0_u8..8) {
            let alter = |mut bytes: Vec<u8>| {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
                bytes
            };
            prop_assert!(ReceiptBatch::open(&alter(batch().sign(&key()))).is_err());
            let altered = alter(capability().sign(&key()));
            prop_assert!(Capability::open(&altered, &cluster()).is_err());
        }

        #[test]
        fn garbage_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(ReceiptBatch::open(&body).is_err());
            prop_assert!(Capability::open(&body, &cluster()).is_err());
            prop_assert!(ReceiptBatch::open(&sign(Label::Receipts, &body, &[&key()])).is_err());
            let signed = sign(Label::Capability, &body, &[&key()]);
            prop_assert!(Capability::open(&signed, &cluster()).is_err());
        }
    }
}
