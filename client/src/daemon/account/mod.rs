//! What a device knows of its user: the device log, the user's secrets, the keyring.
//!
//! Owns the value and the flows that change it at the server: enrolment, folders, invitations,
//! devices. The flows speak to a [`Remote`](crate::remote::Remote) and take time and randomness
//! from the [`Environment`](crate::context::Environment); they write no file. It must not know of
//! folders' contents, sockets or terminals.

mod ask;
mod devices;
mod enrol;
mod error;
mod folder;
mod invite;
mod refresh;
#[cfg(test)]
mod tests;

pub use devices::{DeviceInfo, Revoked, devices, known_devices, revoke_device, void_expired};
pub use enrol::{Invited, prepare_bootstrap, prepare_device, redeemed, unique_name};
pub use error::AccountError;
pub use folder::{NewFolder, create_folder, linkable_folders, verify_folder};
pub use invite::{Invitation, Invite, open_invitation};
pub use refresh::refresh;

use crate::home::{Home, HomeError, StoredKeyring, StoredKeys};
use common::ids::{DeviceId, FolderId};
use common::keys::{DeviceKeys, FolderKeys, Keyring, UserSecrets};
use common::trust::{DeviceLog, TrustError};

/// A user as one of the user's devices knows them.
#[derive(Clone, Debug)]
pub struct Account {
    keys: StoredKeys,
    records: Vec<Vec<u8>>,
    log: DeviceLog,
    keyring: Keyring,
    stored: Option<StoredKeyring>,
}

impl Account {
    /// An account from its parts; the records are replayed.
    ///
    /// # Errors
    /// [`TrustError`] of the first record that does not hold.
    pub fn new(keys: StoredKeys, records: Vec<Vec<u8>>) -> Result<Self, TrustError> {
        let log = DeviceLog::replay(records.iter().map(Vec::as_slice))?;
        Ok(Self { keys, records, log, keyring: Keyring::default(), stored: None })
    }

    /// Reads an account from a home and verifies all of it.
    ///
    /// # Errors
    /// [`AccountError::Home`] when a file is missing or damaged, also when what it holds does not
    /// verify.
    pub fn load(home: &Home) -> Result<Self, AccountError> {
        let damaged = |name: &str, reason: String| HomeError::Malformed {
            path: home.path().join(name),
            reason,
        };
        let records = home.device_log()?;
        let mut account = Self::new(home.keys()?, records)
            .map_err(|error| damaged("device-log", error.to_string()))?;
        if !account.log.was_enrolled(&account.device()) {
            let reason = "it does not list this device".to_owned();
            return Err(damaged("device-log", reason).into());
        }
        if let Some(stored) = home.keyring()? {
            let (log, secrets) = (&account.log, &account.keys.secrets);
            let opened = Keyring::open(&stored.sealed, stored.version, log, secrets)
                .map_err(|error| damaged("keyring", error.to_string()))?;
            account.keyring = opened.keyring;
            account.stored = Some(stored);
        }
        Ok(account)
    }

    /// Writes the account to a home: log first, because keys and keyring lean on it.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    pub fn save(&self, home: &Home) -> Result<(), HomeError> {
        home.put_device_log(&self.records)?;
        home.put_keys(&self.keys)?;
        match &self.stored {
            Some(stored) => home.put_keyring(stored),
            None => Ok(()),
        }
    }

    /// This device.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.keys.device.device()
    }

    /// This device's keys.
    #[must_use]
    pub fn device_keys(&self) -> &DeviceKeys {
        &self.keys.device
    }

    /// The user's secrets.
    #[must_use]
    pub fn secrets(&self) -> &UserSecrets {
        &self.keys.secrets
    }

    /// The device log as far as it is known here.
    #[must_use]
    pub fn log(&self) -> &DeviceLog {
        &self.log
    }

    /// The folders' names and keys as far as they are known here.
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// The keys of one folder.
    ///
    /// # Errors
    /// [`AccountError::NoFolderKeys`].
    pub fn folder_keys(&self, folder: &FolderId) -> Result<&FolderKeys, AccountError> {
        let held = self.keyring.folders.get(folder);
        held.map(|held| &held.keys).ok_or(AccountError::NoFolderKeys(*folder))
    }

    /// Whether the log still lists this device.
    ///
    /// # Errors
    /// [`AccountError::Revoked`].
    pub fn check_enrolled(&self) -> Result<(), AccountError> {
        match self.log.device(&self.device()) {
            Some(record) if record.is_enrolled() => Ok(()),
            record => {
                Err(AccountError::Revoked { at_ms: record.and_then(|record| record.revoked_ms) })
            }
        }
    }

    /// Takes the next record of the log.
    fn take_record(&mut self, record: Vec<u8>) -> Result<(), TrustError> {
        self.log.append(&record)?;
        self.records.push(record);
        Ok(())
    }
}
