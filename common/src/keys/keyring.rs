//! The keyring: a user's folders and their keys, kept at the server sealed under the user secret and
//! signed by a device.
//!
//! Owns its encoding, who may sign it, and that it only grows. It must not know how the server swaps
//! versions: a client writes version n + 1 over n, and pins the highest that it saw.

use super::sealed::{self, SealedError};
use super::user::check_label;
use super::{FolderKeys, KeysError, LabelError, SigningKey, UserSecrets};
use crate::ids::{DeviceId, FolderId, Head, IdLengthError, UserId};
use crate::limits::{FOLDERS_MAX, KEYRING_BYTES_MAX};
use crate::trust::{DeviceLog, Label, TrustError, Unverified, sign};
use prost::Message;
use std::collections::BTreeMap;
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

const VERSION: u32 = 1;
const PADDING_BYTES: usize = 256;

/// A keyring that cannot be sealed, opened or merged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// The envelope, its signature or its signer is not acceptable.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// It does not decode.
    #[error("the keyring does not decode: {0}")]
    Malformed(String),
    /// An id of another length.
    #[error(transparent)]
    Id(#[from] IdLengthError),
    /// It is another user's.
    #[error("the keyring is another user's")]
    WrongUser,
    /// Signed at a head that is not on the device log at hand: read the log on, then try again.
    #[error("the keyring names a head that is not on the device log")]
    UnknownHead,
    /// Sealed under a generation of the user secret that is not at hand.
    #[error("the keyring is sealed under generation {0} of the user secret, which is not known")]
    Generation(u32),
    /// Not sealed under this secret, or altered.
    #[error(transparent)]
    Sealed(#[from] SealedError),
    /// The version inside is not the one outside, which the server swaps by.
    #[error("the keyring says version {inside} inside and {outside} outside")]
    VersionMismatch {
        /// The signed and sealed one.
        inside: u64,
        /// The one that it came with.
        outside: u64,
    },
    /// The keys of a folder are not keys.
    #[error("the keys of folder {folder} are not valid: {source}")]
    Keys {
        /// Which folder.
        folder: FolderId,
        /// Why.
        source: KeysError,
    },
    /// A key has another size than 32 bytes.
    #[error("a key of folder {0} is not 32 bytes")]
    KeySize(FolderId),
    /// A folder's name is no label.
    #[error("the name of folder {folder} is not valid: {source}")]
    Name {
        /// Which folder.
        folder: FolderId,
        /// Why.
        source: LabelError,
    },
    /// Two keyrings hold different keys for one folder: one of them is forged or damaged.
    #[error("two keyrings hold different keys for folder {0}")]
    Contradiction(FolderId),
    /// More folders or bytes than the limits allow.
    #[error("the keyring has {actual} {unit}, over the limit of {limit}")]
    TooLarge {
        /// Of what.
        unit: &'static str,
        /// How many.
        actual: usize,
        /// How many there may be.
        limit: usize,
    },
}

impl KeyringError {
    /// Whether reading the device log on and trying again may succeed.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::UnknownHead | Self::Generation(_))
    }
}

/// One folder of a keyring.
#[derive(Clone)]
pub struct KeyringFolder {
    /// Its keys.
    pub keys: FolderKeys,
    /// Its name, for people; at most [`crate::limits::LABEL_BYTES_MAX`] bytes.
    pub name: String,
}

impl KeyringFolder {
    fn holds(&self, epoch: (u32, [u8; 32])) -> bool {
        self.keys.epochs().contains(&epoch)
    }
}

impl PartialEq for KeyringFolder {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.keys.constant() == other.keys.constant()
            && self.keys.epochs() == other.keys.epochs()
    }
}

impl Eq for KeyringFolder {}

impl fmt::Debug for KeyringFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyringFolder")
            .field("name", &self.name)
            .field("epochs", &self.keys.epochs().len())
            .finish_non_exhaustive()
    }
}

/// A user's folders and their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyring {
    /// Version, from 1; 0 for one that the server never had.
    pub version: u64,
    /// The folders, by id.
    pub folders: BTreeMap<FolderId, KeyringFolder>,
}

/// A keyring and who vouched for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedKeyring {
    /// The keyring.
    pub keyring: Keyring,
    /// The device that signed it. Once it is revoked, another should put the keyring anew.
    pub signer: DeviceId,
    /// The generation of the user secret that seals it. Below the log's, it should be put anew.
    pub generation: u32,
}

/// What is signed: who, when in the log, and the sealed part.
#[derive(Clone, PartialEq, Message)]
struct KeyringMessage {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(bytes = "vec", tag = "2")]
    user: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    signer: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    device_log_head: Vec<u8>,
    #[prost(uint32, tag = "5")]
    generation: u32,
    #[prost(bytes = "vec", tag = "6")]
    sealed: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct SecretMessage {
    #[prost(uint64, tag = "1")]
    version: u64,
    #[prost(message, repeated, tag = "2")]
    folders: Vec<FolderMessage>,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct FolderMessage {
    #[prost(bytes = "vec", tag = "1")]
    folder: Vec<u8>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(bytes = "vec", tag = "3")]
    constant: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    epochs: Vec<EpochMessage>,
}

impl Drop for FolderMessage {
    fn drop(&mut self) {
        self.constant.zeroize();
    }
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct EpochMessage {
    #[prost(uint32, tag = "1")]
    epoch: u32,
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
}

impl Drop for EpochMessage {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Keyring {
    /// Seals the keyring under the newest generation of the user secret and signs it for the log's
    /// present head. Deterministic.
    ///
    /// # Errors
    /// [`KeyringError`] when the signer is not enrolled, the newest secret is not at hand, or a
    /// limit is broken.
    pub fn seal(
        &self,
        log: &DeviceLog,
        secrets: &UserSecrets,
        signer: &SigningKey,
    ) -> Result<Vec<u8>, KeyringError> {
        let device = signer.device();
        if !log.is_enrolled(&device) {
            return Err(TrustError::NotEnrolled(device).into());
        }
        at_most("folders", self.folders.len(), FOLDERS_MAX)?;
        for (folder, held) in &self.folders {
            check_name(folder, &held.name)?;
        }
        let generation = log.generation();
        let key = secrets.keyring_key(generation).ok_or(KeyringError::Generation(generation))?;
        let plain = Zeroizing::new(self.message().encode_to_vec());
        let purpose = purpose(&log.user(), generation);
        let message = KeyringMessage {
            version: VERSION,
            user: log.user().to_vec(),
            signer: device.to_vec(),
            device_log_head: log.head().to_vec(),
            generation,
            sealed: sealed::seal(&key, &purpose, PADDING_BYTES, &plain),
        };
        let bytes = sign(Label::Keyring, &message.encode_to_vec(), &[signer]);
        at_most("bytes", bytes.len(), KEYRING_BYTES_MAX)?;
        Ok(bytes)
    }

    /// Opens a keyring that the server keeps as `version`: signed by a device that the log listed at
    /// the head that the keyring names, sealed under a secret at hand.
    ///
    /// A device revoked since may have signed it: what it added while it was listed is not lost.
    /// It can add no more than it could then, because [`Keyring::merge`] only grows.
    ///
    /// # Errors
    /// [`KeyringError`]; after [`KeyringError::UnknownHead`] and [`KeyringError::Generation`] the
    /// device log has to be read on.
    pub fn open(
        bytes: &[u8],
        version: u64,
        log: &DeviceLog,
        secrets: &UserSecrets,
    ) -> Result<OpenedKeyring, KeyringError> {
        let document = Unverified::parse(Label::Keyring, bytes, KEYRING_BYTES_MAX)?;
        let message = KeyringMessage::decode(document.body)?;
        if message.version != VERSION {
            let value = u64::from(message.version);
            return Err(TrustError::Unknown { field: "version", value }.into());
        }
        if UserId::from_slice(&message.user)? != log.user() {
            return Err(KeyringError::WrongUser);
        }
        let signer = DeviceId::from_slice(&message.signer)?;
        let head = Head::from_slice(&message.device_log_head)?;
        log.len_at(&head).ok_or(KeyringError::UnknownHead)?;
        if !log.was_enrolled_at(&signer, &head) {
            return Err(TrustError::NotEnrolled(signer).into());
        }
        document.verify(&[signer.as_bytes()])?;
        let generation = message.generation;
        let key = secrets.keyring_key(generation).ok_or(KeyringError::Generation(generation))?;
        let plain = sealed::open(&key, &purpose(&log.user(), generation), &message.sealed)?;
        let keyring = Self::from_message(&SecretMessage::decode(plain.as_slice())?)?;
        if keyring.version != version {
            let inside = keyring.version;
            return Err(KeyringError::VersionMismatch { inside, outside: version });
        }
        Ok(OpenedKeyring { keyring, signer, generation })
    }

    /// Takes over every folder and epoch of `other` that is not here yet, the names of the higher
    /// version, and the higher version. Nothing goes away. After an error nothing has changed.
    ///
    /// # Errors
    /// [`KeyringError::Contradiction`] when both have a key and they differ;
    /// [`KeyringError::TooLarge`] when there would be too many folders.
    pub fn merge(&mut self, other: &Self) -> Result<(), KeyringError> {
        let mut merged = self.folders.clone();
        for (folder, theirs) in &other.folders {
            match merged.get_mut(folder) {
                None => {
                    merged.insert(*folder, theirs.clone());
                }
                Some(ours) => {
                    let newer = other.version > self.version
                        || (other.version == self.version && theirs.name > ours.name);
                    if newer {
                        ours.name.clone_from(&theirs.name);
                    }
                    ours.keys = merge_keys(folder, &ours.keys, &theirs.keys)?;
                }
            }
        }
        at_most("folders", merged.len(), FOLDERS_MAX)?;
        self.folders = merged;
        self.version = self.version.max(other.version);
        Ok(())
    }

    /// Whether everything that `other` holds is here too, names included: if the server's keyring
    /// covers a device's, there is nothing to put.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.folders.iter().all(|(folder, theirs)| {
            self.folders.get(folder).is_some_and(|ours| {
                ours.name == theirs.name
                    && ours.keys.constant() == theirs.keys.constant()
                    && theirs.keys.epochs().iter().all(|epoch| ours.holds(*epoch))
            })
        })
    }

    fn message(&self) -> SecretMessage {
        SecretMessage {
            version: self.version,
            folders: self
                .folders
                .iter()
                .map(|(folder, held)| FolderMessage {
                    folder: folder.to_vec(),
                    name: held.name.clone(),
                    constant: held.keys.constant().to_vec(),
                    epochs: held
                        .keys
                        .epochs()
                        .iter()
                        .map(|(epoch, key)| EpochMessage { epoch: *epoch, key: key.to_vec() })
                        .collect(),
                })
                .collect(),
        }
    }

    fn from_message(message: &SecretMessage) -> Result<Self, KeyringError> {
        at_most("folders", message.folders.len(), FOLDERS_MAX)?;
        let mut folders = BTreeMap::new();
        for message in &message.folders {
            let folder = FolderId::from_slice(&message.folder)?;
            check_name(&folder, &message.name)?;
            let constant = Zeroizing::new(key32(&folder, &message.constant)?);
            let mut epochs = Zeroizing::new(Vec::with_capacity(message.epochs.len()));
            for message in &message.epochs {
                epochs.push((message.epoch, key32(&folder, &message.key)?));
            }
            let keys = FolderKeys::from_parts(*constant, epochs.to_vec())
                .map_err(|source| KeyringError::Keys { folder, source })?;
            folders.insert(folder, KeyringFolder { keys, name: message.name.clone() });
        }
        Ok(Self { version: message.version, folders })
    }
}

impl From<prost::DecodeError> for KeyringError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// The union of two sets of keys of one folder, which agree where they overlap.
fn merge_keys(
    folder: &FolderId,
    ours: &FolderKeys,
    theirs: &FolderKeys,
) -> Result<FolderKeys, KeyringError> {
    if ours.constant() != theirs.constant() {
        return Err(KeyringError::Contradiction(*folder));
    }
    let mut epochs: BTreeMap<u32, [u8; 32]> = ours.epochs().iter().copied().collect();
    for (epoch, key) in theirs.epochs() {
        if epochs.insert(*epoch, *key).is_some_and(|known| known != *key) {
            return Err(KeyringError::Contradiction(*folder));
        }
    }
    FolderKeys::from_parts(*ours.constant(), epochs.into_iter().collect())
        .map_err(|source| KeyringError::Keys { folder: *folder, source })
}

fn purpose(user: &UserId, generation: u32) -> Vec<u8> {
    [b"driftless keyring v1\0", &user.as_bytes()[..], &generation.to_le_bytes()].concat()
}

fn key32(folder: &FolderId, bytes: &[u8]) -> Result<[u8; 32], KeyringError> {
    bytes.try_into().map_err(|_| KeyringError::KeySize(*folder))
}

fn check_name(folder: &FolderId, name: &str) -> Result<(), KeyringError> {
    check_label(name).map_err(|source| KeyringError::Name { folder: *folder, source })
}

fn at_most(unit: &'static str, actual: usize, limit: usize) -> Result<(), KeyringError> {
    if actual > limit {
        return Err(KeyringError::TooLarge { unit, actual, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
