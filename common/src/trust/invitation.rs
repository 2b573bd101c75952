//! The blob that an inviting device leaves at the server for a joiner, sealed under the one-time
//! secret: whom to believe, and the secrets of the user.
//!
//! Owns its encoding. It must not know how a blob travels, nor decide whether a log or checkpoint
//! that is met later is recent enough.

use super::DeviceLog;
use super::error::{TrustError, at_most, version};
use crate::ids::{FolderId, Head, UserId};
use crate::keys::{UserSecrets, check_label, open_document, seal_document};
use crate::limits::{FOLDERS_MAX, FRAME_BYTES_MAX, INVITATION_BYTES_MAX, LOG_RECORDS_MAX};
use prost::Message;
use zeroize::{Zeroize, Zeroizing};

const VERSION: u32 = 1;
const PURPOSE: &[u8] = b"driftless invitation blob v1\0";
const PADDING_BYTES: usize = 256;

/// What a joining device needs to know, and believes because the one-time secret sealed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitationBlob {
    /// The inviting user.
    pub user: UserId,
    /// Head of the device log when the code was made: the log met at the server has to go on from it.
    pub device_log_head: Head,
    /// Records of the device log up to that head.
    pub device_log_len: u64,
    /// The keyring met at the server has this version or a later one; 0 for none yet.
    pub keyring_version: u64,
    /// The generations of the user secret.
    pub user_secrets: UserSecrets,
    /// The user's folders and from where to take them.
    pub folders: Vec<InvitedFolder>,
    /// The folder that the person was invited to, if one was named.
    pub invited: Option<FolderId>,
}

/// A folder as the inviting device knew it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitedFolder {
    /// Which folder.
    pub folder: FolderId,
    /// Its name, for people.
    pub name: String,
    /// An encoded and signed [`super::Checkpoint`]; empty when there was none. A snapshot has to be
    /// as recent.
    pub checkpoint: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct BlobMessage {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(bytes = "vec", tag = "2")]
    user: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    device_log_head: Vec<u8>,
    #[prost(uint64, tag = "4")]
    device_log_len: u64,
    #[prost(uint64, tag = "5")]
    keyring_version: u64,
    #[prost(message, repeated, tag = "6")]
    user_secrets: Vec<SecretMessage>,
    #[prost(message, repeated, tag = "7")]
    folders: Vec<FolderMessage>,
    #[prost(bytes = "vec", optional, tag = "8")]
    invited: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct SecretMessage {
    #[prost(uint32, tag = "1")]
    generation: u32,
    #[prost(bytes = "vec", tag = "2")]
    secret: Vec<u8>,
}

impl Drop for SecretMessage {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

#[derive(Clone, PartialEq, Message)]
struct FolderMessage {
    #[prost(bytes = "vec", tag = "1")]
    folder: Vec<u8>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(bytes = "vec", tag = "3")]
    checkpoint: Vec<u8>,
}

impl InvitationBlob {
    /// Seals the blob under a code's [`super::JoinCode::wrap_key`]. Deterministic.
    ///
    /// # Errors
    /// [`TrustError`] when a folder's name is no label or there is more than the limits allow.
    pub fn seal(&self, wrap_key: &[u8; 32]) -> Result<Vec<u8>, TrustError> {
        at_most("folders", self.folders.len(), FOLDERS_MAX)?;
        for folder in &self.folders {
            check_label(&folder.name)?;
        }
        let plain = Zeroizing::new(self.message().encode_to_vec());
        let sealed = seal_document(wrap_key, PURPOSE, PADDING_BYTES, &plain);
        at_most("invitation bytes", sealed.len(), INVITATION_BYTES_MAX)?;
        Ok(sealed)
    }

    /// Opens what was left under the code's wrap key.
    ///
    /// # Errors
    /// [`TrustError`] when it was not sealed under this key, or breaks a limit.
    pub fn open(wrap_key: &[u8; 32], sealed: &[u8]) -> Result<Self, TrustError> {
        at_most("invitation bytes", sealed.len(), INVITATION_BYTES_MAX)?;
        let plain = open_document(wrap_key, PURPOSE, sealed)?;
        Self::from_message(BlobMessage::decode(plain.as_slice())?)
    }

    /// Whether a log met at the server is that of the inviting user and goes on from the head that
    /// the inviting device knew. No other log may be believed.
    #[must_use]
    pub fn admits(&self, log: &DeviceLog) -> bool {
        log.user() == self.user && log.head_at(self.device_log_len) == Some(self.device_log_head)
    }

    fn message(&self) -> BlobMessage {
        BlobMessage {
            version: VERSION,
            user: self.user.to_vec(),
            device_log_head: self.device_log_head.to_vec(),
            device_log_len: self.device_log_len,
            keyring_version: self.keyring_version,
            user_secrets: self
                .user_secrets
                .iter()
                .map(|(generation, secret)| SecretMessage { generation, secret: secret.to_vec() })
                .collect(),
            folders: self
                .folders
                .iter()
                .map(|folder| FolderMessage {
                    folder: folder.folder.to_vec(),
                    name: folder.name.clone(),
                    checkpoint: folder.checkpoint.clone(),
                })
                .collect(),
            invited: self.invited.map(FolderId::to_vec),
        }
    }

    fn from_message(message: BlobMessage) -> Result<Self, TrustError> {
        version(message.version, VERSION)?;
        at_most("user secrets", message.user_secrets.len(), LOG_RECORDS_MAX)?;
        at_most("folders", message.folders.len(), FOLDERS_MAX)?;
        Ok(Self {
            user: UserId::from_slice(&message.user)?,
            device_log_head: Head::from_slice(&message.device_log_head)?,
            device_log_len: message.device_log_len,
            keyring_version: message.keyring_version,
            user_secrets: secrets(&message.user_secrets)?,
            folders: message.folders.into_iter().map(invited_folder).collect::<Result<_, _>>()?,
            invited: message.invited.as_deref().map(FolderId::from_slice).transpose()?,
        })
    }
}

fn secrets(messages: &[SecretMessage]) -> Result<UserSecrets, TrustError> {
    let mut parts = Zeroizing::new(Vec::with_capacity(messages.len()));
    for message in messages {
        parts.push((message.generation, super::error::bytes32("user secret", &message.secret)?));
    }
    UserSecrets::from_parts(parts.iter().copied()).ok_or(TrustError::Missing("user secret"))
}

fn invited_folder(message: FolderMessage) -> Result<InvitedFolder, TrustError> {
    check_label(&message.name)?;
    at_most("checkpoint bytes", message.checkpoint.len(), FRAME_BYTES_MAX)?;
    Ok(InvitedFolder {
        folder: FolderId::from_slice(&message.folder)?,
        name: message.name,
        checkpoint: message.checkpoint,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{LabelError, SealedError};
    use proptest::prelude::*;

    fn blob() -> InvitationBlob {
        InvitationBlob {
            user: UserId::from_bytes([1; 32]),
            device_log_head: Head::from_bytes([2; 32]),
            device_log_len: 3,
            keyring_version: 4,
            user_secrets: UserSecrets::first([0xab; 32]),
            folders: vec![InvitedFolder {
                folder: FolderId::from_bytes([6; 32]),
                name: "Photos".into(),
                checkpoint: vec![7; 20],
            }],
            invited: Some(FolderId::from_bytes([6; 32])),
        }
    }

    #[test]
    fn a_blob_opens_under_its_wrap_key_only() {
        let sealed = blob().seal(&[9; 32]).unwrap();
        assert_eq!(InvitationBlob::open(&[9; 32], &sealed), Ok(blob()));
        let open = TrustError::Sealed(SealedError::Open);
        assert_eq!(InvitationBlob::open(&[8; 32], &sealed), Err(open));
    }

    #[test]
    fn a_blob_of_another_version_is_refused() {
        let message = BlobMessage { version: 2, ..blob().message() };
        let error = TrustError::Unknown { field: "version", value: 2 };
        assert_eq!(InvitationBlob::from_message(message), Err(error));
    }

    #[test]
    fn a_blob_without_a_secret_is_refused() {
        let message = BlobMessage { user_secrets: vec![], ..blob().message() };
        let error = TrustError::Missing("user secret");
        assert_eq!(InvitationBlob::from_message(message), Err(error));
    }

    #[test]
    fn a_blob_over_the_limits_is_not_sealed() {
        let mut many = blob();
        many.folders = vec![many.folders[0].clone(); FOLDERS_MAX + 1];
        assert!(matches!(many.seal(&[9; 32]), Err(TrustError::TooLarge { .. })));
        let mut large = blob();
        large.folders[0].checkpoint = vec![0; INVITATION_BYTES_MAX];
        assert!(matches!(large.seal(&[9; 32]), Err(TrustError::TooLarge { .. })));
        let mut unnamed = blob();
        unnamed.folders[0].name = String::new();
        assert_eq!(unnamed.seal(&[9; 32]), Err(TrustError::Label(LabelError::Empty)));
        let vast = vec![0; INVITATION_BYTES_MAX + 1];
        assert!(matches!(InvitationBlob::open(&[9; 32], &vast), Err(TrustError::TooLarge { .. })));
    }

    #[test]
    fn the_secrets_stay_out_of_debug_output() {
        let printed = format!("{:?}", blob());
        assert!(!printed.contains("171") && !printed.contains("abab"), "{printed}");
    }

    proptest! {
        #[test]
        fn an_altered_byte_is_refused(at in any::<proptest::sample::Index>(), bit in 0_u8..8) {
            let mut sealed = blob().seal(&[9; 32]).unwrap();
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(InvitationBlob::open(&[9; 32], &sealed).is_err());
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(InvitationBlob::open(&[9; 32], &bytes).is_err());
            if let Ok(message) = BlobMessage::decode(bytes.as_slice()) {
                let _ = InvitationBlob::from_message(message);
            }
        }
    }
}
