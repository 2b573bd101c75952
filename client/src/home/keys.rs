//! `keys`: the device's seed and the user secrets, for the owner's eyes only.
//!
//! Owns the file's format: a title, a checksum over what follows, a prost message.

use super::HomeError;
use super::device_log::{sealed_file, unsealed_file};
use common::keys::{DeviceKeys, UserSecrets};
use prost::Message;
use std::path::Path;
use zeroize::{Zeroize, Zeroizing};

/// Largest file that is read, in bytes: more generations than a log can hold.
pub(super) const KEYS_BYTES_MAX: u64 = 1024 * 1024;
const TITLE: &str = "driftless device keys 1\n";

/// The secrets of a device.
#[derive(Clone, Debug)]
pub struct StoredKeys {
    /// Its own keys.
    pub device: DeviceKeys,
    /// Those that it shares with the user's other devices.
    pub secrets: UserSecrets,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct KeysMessage {
    #[prost(bytes = "vec", tag = "1")]
    seed: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    secrets: Vec<SecretMessage>,
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

impl Drop for KeysMessage {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

impl StoredKeys {
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, HomeError> {
        let malformed = |reason: &str| HomeError::Malformed {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let body = unsealed_file(TITLE, bytes).ok_or_else(|| malformed("its checksum is wrong"))?;
        let message = KeysMessage::decode(body).map_err(|error| malformed(&error.to_string()))?;
        Self::from_message(&message).ok_or_else(|| malformed("a key has another size"))
    }

    pub(super) fn print(&self) -> Zeroizing<Vec<u8>> {
        let body = Zeroizing::new(self.message().encode_to_vec());
        Zeroizing::new(sealed_file(TITLE, &body))
    }

    pub(super) fn message(&self) -> KeysMessage {
        let secrets = self.secrets.iter();
        KeysMessage {
            seed: self.device.seed().to_vec(),
            secrets: secrets
                .map(|(generation, secret)| SecretMessage { generation, secret: secret.to_vec() })
                .collect(),
        }
    }

    pub(super) fn from_message(message: &KeysMessage) -> Option<Self> {
        let seed = Zeroizing::new(<[u8; 32]>::try_from(message.seed.as_slice()).ok()?);
        let mut parts = Vec::with_capacity(message.secrets.len());
        for part in &message.secrets {
            parts.push((part.generation, <[u8; 32]>::try_from(part.secret.as_slice()).ok()?));
        }
        let secrets = UserSecrets::from_parts(parts)?;
        Some(Self { device: DeviceKeys::from_seed(*seed), secrets })
    }
}
