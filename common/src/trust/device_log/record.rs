//! Version 1 of the device log's records: prost messages and their checked conversion to values.
//!
//! Owns field numbers and the checks that need no state. Fields are only ever added. It must not
//! know what came before a record.

use crate::ids::{DeviceId, FolderId, Head, LookupId};
use crate::keys::AgreementError;
use crate::keys::{
    PREVIOUS_SECRET_BYTES, RecoveryPublic, SEALED_LABEL_BYTES_MAX, SECRET_BOX_BYTES, is_weak_public,
};
use crate::limits::{DEVICES_MAX, FOLDERS_MAX};
use crate::trust::JoinKind;
use crate::trust::error::{TrustError, at_most, bytes32, version};
use prost::{Message, Oneof};
use std::collections::BTreeMap;

const VERSION: u32 = 1;

#[derive(Clone, PartialEq, Message)]
pub(super) struct RecordMessage {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint64, tag = "2")]
    index: u64,
    #[prost(bytes = "vec", tag = "3")]
    prev: Vec<u8>,
    #[prost(uint64, tag = "4")]
    time_ms: u64,
    #[prost(bytes = "vec", tag = "5")]
    signer: Vec<u8>,
    #[prost(oneof = "WhatMessage", tags = "10,11,12,13,14,15")]
    what: Option<WhatMessage>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum WhatMessage {
    #[prost(message, tag = "10")]
    Genesis(GenesisMessage),
    #[prost(message, tag = "11")]
    InvitationOpened(InvitationOpenedMessage),
    #[prost(message, tag = "12")]
    DeviceAdded(DeviceAddedMessage),
    #[prost(message, tag = "13")]
    InvitationVoided(InvitationVoidedMessage),
    #[prost(message, tag = "14")]
    DeviceRevoked(DeviceRevokedMessage),
    #[prost(message, tag = "15")]
    SecretGeneration(GenerationMessage),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeviceMessage {
    #[prost(bytes = "vec", tag = "1")]
    signing: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    agreement: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    label: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GenesisMessage {
    #[prost(message, optional, tag = "1")]
    device: Option<DeviceMessage>,
    #[prost(bytes = "vec", tag = "2")]
    recovery_agreement: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    recovery_signing: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    nonce: Vec<u8>,
    #[prost(message, optional, tag = "5")]
    secret: Option<GenerationMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct InvitationOpenedMessage {
    #[prost(bytes = "vec", tag = "1")]
    lookup: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
    #[prost(uint32, tag = "3")]
    kind: u32,
    #[prost(uint64, tag = "4")]
    expires_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeviceAddedMessage {
    #[prost(bytes = "vec", tag = "1")]
    lookup: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    device: Option<DeviceMessage>,
    #[prost(uint32, tag = "3")]
    generation: u32,
    #[prost(bytes = "vec", tag = "4")]
    secret: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct InvitationVoidedMessage {
    #[prost(bytes = "vec", tag = "1")]
    lookup: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeviceRevokedMessage {
    #[prost(bytes = "vec", tag = "1")]
    device: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    secret: Option<GenerationMessage>,
    #[prost(message, repeated, tag = "3")]
    epochs: Vec<EpochMessage>,
}

/// From here on a folder's content is sealed under this epoch.
#[derive(Clone, PartialEq, Message)]
pub(super) struct EpochMessage {
    #[prost(bytes = "vec", tag = "1")]
    folder: Vec<u8>,
    #[prost(uint32, tag = "2")]
    epoch: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GenerationMessage {
    #[prost(uint32, tag = "1")]
    generation: u32,
    #[prost(message, repeated, tag = "2")]
    boxes: Vec<BoxMessage>,
    #[prost(bytes = "vec", tag = "3")]
    previous: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BoxMessage {
    #[prost(bytes = "vec", tag = "1")]
    recipient: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    sealed: Vec<u8>,
}

/// A record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Its number, from 0.
    pub(super) index: u64,
    /// The head that it follows; zero for a genesis.
    pub(super) prev: Head,
    /// When, in milliseconds since 1970 by its author's clock.
    pub(super) time_ms: u64,
    pub(super) what: What,
}

/// What a record says. A `signer` is the enrolled device whose key signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Genesis(Genesis),
    InvitationOpened {
        signer: DeviceId,
        lookup: LookupId,
        key: [u8; 32],
        kind: JoinKind,
        expires_ms: u64,
    },
    DeviceAdded {
        lookup: LookupId,
        device: ListedDevice,
        generation: u32,
        secret: Vec<u8>,
    },
    InvitationVoided {
        signer: DeviceId,
        lookup: LookupId,
    },
    DeviceRevoked {
        signer: DeviceId,
        device: DeviceId,
        /// The next user secret; `None` when it stays.
        secret: Option<Generation>,
        /// Sealing epochs that begin with this record.
        epochs: BTreeMap<FolderId, u32>,
    },
    SecretGeneration {
        signer: DeviceId,
        secret: Generation,
    },
}

/// The first record's content; the listed device signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Genesis {
    pub(super) device: ListedDevice,
    pub(super) recovery: RecoveryPublic,
    pub(super) nonce: [u8; 32],
    pub(super) secret: Generation,
}

/// A device as a record lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListedDevice {
    pub(super) id: DeviceId,
    pub(super) agreement: [u8; 32],
    pub(super) sealed_label: Vec<u8>,
}

/// A generation of the user secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Generation {
    /// From 1.
    pub(super) number: u32,
    /// The secret, sealed to each recipient's agreement key.
    pub(super) boxes: BTreeMap<[u8; 32], Vec<u8>>,
    /// The secret of the generation before, sealed under this one; empty in the first.
    pub(super) previous: Vec<u8>,
}

impl Record {
    /// The body that is signed.
    pub(super) fn encode(&self) -> Vec<u8> {
        RecordMessage {
            version: VERSION,
            index: self.index,
            prev: self.prev.to_vec(),
            time_ms: self.time_ms,
            signer: self.what.signer().map(|signer| signer.to_vec()).unwrap_or_default(),
            what: Some(self.what.message()),
        }
        .encode_to_vec()
    }

    /// Reads a body that came from outside.
    pub(super) fn decode(body: &[u8]) -> Result<Self, TrustError> {
        let message = RecordMessage::decode(body)?;
        version(message.version, VERSION)?;
        // An unknown kind leaves the oneof empty. It is refused, never skipped: a log half
        // understood might list a device that is revoked.
        let what = message.what.ok_or(TrustError::Missing("known kind"))?;
        Ok(Self {
            index: message.index,
            prev: Head::from_slice(&message.prev)?,
            time_ms: message.time_ms,
            what: What::from_message(what, &message.signer)?,
        })
    }
}

impl What {
    const fn signer(&self) -> Option<&DeviceId> {
        match self {
            Self::Genesis(_) | Self::DeviceAdded { .. } => None,
            Self::InvitationOpened { signer, .. }
            | Self::InvitationVoided { signer, .. }
            | Self::DeviceRevoked { signer, .. }
            | Self::SecretGeneration { signer, .. } => Some(signer),
        }
    }

    fn message(&self) -> WhatMessage {
        match self {
            Self::Genesis(genesis) => WhatMessage::Genesis(genesis.message()),
            Self::InvitationOpened { lookup, key, kind, expires_ms, .. } => {
                WhatMessage::InvitationOpened(InvitationOpenedMessage {
                    lookup: lookup.to_vec(),
                    key: key.to_vec(),
                    kind: kind.code(),
                    expires_ms: *expires_ms,
                })
            }
            Self::DeviceAdded { lookup, device, generation, secret } => {
                WhatMessage::DeviceAdded(DeviceAddedMessage {
                    lookup: lookup.to_vec(),
                    device: Some(device.message()),
                    generation: *generation,
                    secret: secret.clone(),
                })
            }
            Self::InvitationVoided { lookup, .. } => {
                WhatMessage::InvitationVoided(InvitationVoidedMessage { lookup: lookup.to_vec() })
            }
            Self::DeviceRevoked { device, secret, epochs, .. } => {
                WhatMessage::DeviceRevoked(DeviceRevokedMessage {
                    device: device.to_vec(),
                    secret: secret.as_ref().map(Generation::message),
                    epochs: epochs
                        .iter()
                        .map(|(folder, epoch)| EpochMessage {
                            folder: folder.to_vec(),
                            epoch: *epoch,
                        })
                        .collect(),
                })
            }
            Self::SecretGeneration { secret, .. } => {
                WhatMessage::SecretGeneration(secret.message())
            }
        }
    }

    fn from_message(message: WhatMessage, signer: &[u8]) -> Result<Self, TrustError> {
        let signer = DeviceId::from_slice(signer);
        match message {
            WhatMessage::Genesis(message) => Genesis::from_message(message).map(Self::Genesis),
            WhatMessage::InvitationOpened(message) => Ok(Self::InvitationOpened {
                signer: signer?,
                lookup: LookupId::from_slice(&message.lookup)?,
                key: bytes32("invitation key", &message.key)?,
                kind: invitation_kind(message.kind)?,
                expires_ms: message.expires_ms,
            }),
            WhatMessage::DeviceAdded(message) => Ok(Self::DeviceAdded {
                lookup: LookupId::from_slice(&message.lookup)?,
                device: ListedDevice::from_message(message.device)?,
                generation: message.generation,
                secret: sized("secret box", message.secret, SECRET_BOX_BYTES)?,
            }),
            WhatMessage::InvitationVoided(message) => Ok(Self::InvitationVoided {
                signer: signer?,
                lookup: LookupId::from_slice(&message.lookup)?,
            }),
            WhatMessage::DeviceRevoked(message) => Ok(Self::DeviceRevoked {
                signer: signer?,
                device: DeviceId::from_slice(&message.device)?,
                secret: message.secret.map(Generation::from_message).transpose()?,
                epochs: epochs(&message.epochs)?,
            }),
            WhatMessage::SecretGeneration(message) => Ok(Self::SecretGeneration {
                signer: signer?,
                secret: Generation::from_message(message)?,
            }),
        }
    }
}

impl Genesis {
    fn message(&self) -> GenesisMessage {
        GenesisMessage {
            device: Some(self.device.message()),
            recovery_agreement: self.recovery.agreement.to_vec(),
            recovery_signing: self.recovery.signing.to_vec(),
            nonce: self.nonce.to_vec(),
            secret: Some(self.secret.message()),
        }
    }

    fn from_message(message: GenesisMessage) -> Result<Self, TrustError> {
        let secret = message.secret.ok_or(TrustError::Missing("user secret"))?;
        Ok(Self {
            device: ListedDevice::from_message(message.device)?,
            recovery: RecoveryPublic {
                agreement: agreement_key("recovery key", &message.recovery_agreement)?,
                signing: bytes32("recovery key", &message.recovery_signing)?,
            },
            nonce: bytes32("nonce", &message.nonce)?,
            secret: Generation::from_message(secret)?,
        })
    }
}

impl ListedDevice {
    fn message(&self) -> DeviceMessage {
        DeviceMessage {
            signing: self.id.to_vec(),
            agreement: self.agreement.to_vec(),
            label: self.sealed_label.clone(),
        }
    }

    fn from_message(message: Option<DeviceMessage>) -> Result<Self, TrustError> {
        let message = message.ok_or(TrustError::Missing("device"))?;
        at_most("sealed label bytes", message.label.len(), SEALED_LABEL_BYTES_MAX)?;
        Ok(Self {
            id: DeviceId::from_slice(&message.signing)?,
            agreement: agreement_key("agreement key", &message.agreement)?,
            sealed_label: message.label,
        })
    }
}

impl Generation {
    fn message(&self) -> GenerationMessage {
        GenerationMessage {
            generation: self.number,
            boxes: self
                .boxes
                .iter()
                .map(|(recipient, sealed)| BoxMessage {
                    recipient: recipient.to_vec(),
                    sealed: sealed.clone(),
                })
                .collect(),
            previous: self.previous.clone(),
        }
    }

    fn from_message(message: GenerationMessage) -> Result<Self, TrustError> {
        at_most("recipients", message.boxes.len(), DEVICES_MAX + 1)?;
        let mut boxes = BTreeMap::new();
        for message in message.boxes {
            let recipient = bytes32("recipient", &message.recipient)?;
            let ascends = boxes.last_key_value().is_none_or(|(last, _)| *last < recipient);
            if !ascends {
                return Err(TrustError::Recipients);
            }
            boxes.insert(recipient, sized("secret box", message.sealed, SECRET_BOX_BYTES)?);
        }
        let previous_bytes = if message.generation <= 1 { 0 } else { PREVIOUS_SECRET_BYTES };
        Ok(Self {
            number: message.generation,
            boxes,
            previous: sized("previous user secret", message.previous, previous_bytes)?,
        })
    }
}

/// Kinds of invitations that a user's log holds: the other codes are the servers' own.
fn invitation_kind(code: u32) -> Result<JoinKind, TrustError> {
    match JoinKind::from_code(code) {
        Some(kind @ (JoinKind::Device | JoinKind::Share)) => Ok(kind),
        _ => Err(TrustError::Unknown { field: "invitation kind", value: u64::from(code) }),
    }
}

fn epochs(messages: &[EpochMessage]) -> Result<BTreeMap<FolderId, u32>, TrustError> {
    at_most("sealing epochs", messages.len(), FOLDERS_MAX)?;
    messages
        .iter()
        .map(|message| Ok((FolderId::from_slice(&message.folder)?, message.epoch)))
        .collect()
}

fn agreement_key(field: &'static str, bytes: &[u8]) -> Result<[u8; 32], TrustError> {
    let key = bytes32(field, bytes)?;
    if is_weak_public(&key) {
        return Err(AgreementError::WeakKey.into());
    }
    Ok(key)
}

fn sized(field: &'static str, bytes: Vec<u8>, expected: usize) -> Result<Vec<u8>, TrustError> {
    if bytes.len() != expected {
        return Err(TrustError::Size { field, expected, actual: bytes.len() });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_unknown_kind_is_refused() {
        // Field 16, an empty message, where a kind should be.
        let mut body =
            RecordMessage { version: 1, prev: vec![0; 32], ..Default::default() }.encode_to_vec();
        body.extend([0x82, 0x01, 0x00]);
        assert_eq!(Record::decode(&body), Err(TrustError::Missing("known kind")));
    }

    #[test]
    fn another_version_is_refused() {
        let body = RecordMessage { version: 2, ..Default::default() }.encode_to_vec();
        let error = TrustError::Unknown { field: "version", value: 2 };
        assert_eq!(Record::decode(&body), Err(error));
    }

    #[test]
    fn an_invitation_of_a_node_or_a_first_device_is_not_in_a_log() {
        for kind in [JoinKind::Bootstrap, JoinKind::Node] {
            assert!(invitation_kind(kind.code()).is_err());
        }
        assert_eq!(invitation_kind(JoinKind::Share.code()), Ok(JoinKind::Share));
        assert!(invitation_kind(0).is_err());
    }

    #[test]
    fn recipients_come_once_and_in_order() {
        let boxed = |byte| BoxMessage { recipient: vec![byte; 32], sealed: vec![0; 80] };
        for boxes in [vec![boxed(1), boxed(1)], vec![boxed(2), boxed(1)]] {
            let message = GenerationMessage { generation: 1, boxes, previous: vec![] };
            assert_eq!(Generation::from_message(message), Err(TrustError::Recipients));
        }
    }

    #[test]
    fn lists_are_bounded() {
        let boxes = vec![BoxMessage::default(); DEVICES_MAX + 2];
        let message = GenerationMessage { generation: 1, boxes, previous: vec![] };
        assert!(matches!(Generation::from_message(message), Err(TrustError::TooLarge { .. })));
        let many = vec![EpochMessage::default(); FOLDERS_MAX + 1];
        assert!(matches!(epochs(&many), Err(TrustError::TooLarge { .. })));
        let device = DeviceMessage {
            signing: vec![1; 32],
            agreement: vec![9; 32],
            label: vec![0; SEALED_LABEL_BYTES_MAX + 1],
        };
        let error = ListedDevice::from_message(Some(device));
        assert!(matches!(error, Err(TrustError::TooLarge { .. })));
    }

    #[test]
    fn a_weak_agreement_key_is_refused() {
        let device = DeviceMessage { signing: vec![1; 32], agreement: vec![0; 32], label: vec![] };
        let error = TrustError::Agreement(AgreementError::WeakKey);
        assert_eq!(ListedDevice::from_message(Some(device)), Err(error));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Record::decode(&body);
        }

        #[test]
        fn a_kind_of_garbage_never_panics(
            tag in 10_u32..16,
            inner in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut body = RecordMessage {
                version: 1,
                prev: vec![0; 32],
                signer: vec![1; 32],
                ..Default::default()
            }
            .encode_to_vec();
            prost::encoding::bytes::encode(tag, &inner, &mut body);
            let _ = Record::decode(&body);
        }
    }
}
