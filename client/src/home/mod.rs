//! The home of a device: the directory with its configuration, keys and state.
//!
//! Owns the names of what lies in it, how each file is read and written, and that one daemon uses
//! it at a time. Every write is atomic and durable. It must not know the network, nor what a folder
//! holds.

mod config;
mod device_log;
mod durable;
mod error;
mod keyring;
mod keys;
mod lock;
mod pending;
mod pins;

pub use config::{Config, FolderConfig, ServerConfig};
pub use error::HomeError;
pub use keyring::StoredKeyring;
pub use keys::StoredKeys;
pub use lock::HomeLock;
pub use pending::{Pending, PendingKind};
pub use pins::FilePins;

use common::ids::FolderId;
use durable::Durable;
use etcetera::BaseStrategy;
use std::path::{Path, PathBuf};

/// Name of the home below the XDG data directory.
const DEFAULT_NAME: &str = "driftless";

/// A home directory. Opening one changes nothing inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    path: PathBuf,
}

impl Home {
    /// The home that was asked for, or the default one: `driftless` in the XDG data directory.
    ///
    /// # Errors
    /// [`HomeError::Unknown`] when no default can be told.
    pub fn locate(asked: Option<PathBuf>) -> Result<Self, HomeError> {
        let path = match asked {
            Some(path) => path,
            None => etcetera::choose_base_strategy()
                .map_err(|_| HomeError::Unknown)?
                .data_dir()
                .join(DEFAULT_NAME),
        };
        let absolute = std::path::absolute(&path).map_err(|source| HomeError::Io {
            doing: "finding",
            path,
            source,
        })?;
        Ok(Self { path: absolute })
    }

    /// Makes the directory (mode 0700) if it is not there.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    pub fn create(&self) -> Result<(), HomeError> {
        durable::create_private(&self.path)?;
        durable::create_private(&self.state_directory())
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a device lives here: enrolment ends with writing the configuration.
    #[must_use]
    pub fn is_enrolled(&self) -> bool {
        self.config_path().exists()
    }

    /// The configuration file.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// The file with the device's seed and the user secrets.
    #[must_use]
    pub fn keys_path(&self) -> PathBuf {
        self.path.join("keys")
    }

    /// The state databases of the folders.
    #[must_use]
    pub fn state_directory(&self) -> PathBuf {
        self.path.join("state")
    }

    /// The state database of one folder.
    #[must_use]
    pub fn state_path(&self, folder: &FolderId) -> PathBuf {
        self.state_directory().join(format!("{folder}.sqlite"))
    }

    /// The data directory of an embedded server.
    #[must_use]
    pub fn server_path(&self) -> PathBuf {
        self.path.join("server")
    }

    /// The file that is locked while a process uses the home.
    #[must_use]
    pub fn lock_path(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// The daemon's control socket.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// Locks the home for the daemon of this process.
    ///
    /// # Errors
    /// [`HomeError::InUse`] when another daemon has it.
    pub fn lock(&self) -> Result<HomeLock, HomeError> {
        HomeLock::take(&self.lock_path())
    }

    /// The process that runs a daemon on this home, if one does.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    pub fn running(&self) -> Result<Option<Option<u32>>, HomeError> {
        HomeLock::holder(&self.lock_path())
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// [`HomeError::NotEnrolled`] when there is none; [`HomeError::Malformed`].
    pub fn config(&self) -> Result<Config, HomeError> {
        let path = self.config_path();
        match durable::read(&path, config::CONFIG_BYTES_MAX)? {
            Some(bytes) => Config::parse(&path, &bytes),
            None => Err(HomeError::NotEnrolled { home: self.path.clone() }),
        }
    }

    /// Replaces the configuration.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    pub fn put_config(&self, config: &Config) -> Result<(), HomeError> {
        let path = self.config_path();
        Durable::private(&path).write(config.print(&path)?.as_bytes())
    }

    /// Reads the keys.
    ///
    /// # Errors
    /// [`HomeError::Missing`]; [`HomeError::Exposed`] when others may read them;
    /// [`HomeError::Malformed`].
    pub fn keys(&self) -> Result<StoredKeys, HomeError> {
        let path = self.keys_path();
        let bytes = durable::read_secret(&path, keys::KEYS_BYTES_MAX)?
            .ok_or_else(|| HomeError::Missing { path: path.clone() })?;
        StoredKeys::parse(&path, &bytes)
    }

    /// Replaces the keys.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    pub fn put_keys(&self, keys: &StoredKeys) -> Result<(), HomeError> {
        Durable::private(&self.keys_path()).write(&keys.print())
    }

    /// Reads the last keyring that this device saw, still sealed; `None` when it saw none.
    ///
    /// # Errors
    /// [`HomeError::Malformed`].
    pub fn keyring(&self) -> Result<Option<StoredKeyring>, HomeError> {
        let path = self.path.join("keyring");
        let bytes = durable::read(&path, keyring::FILE_BYTES_MAX)?;
        bytes.map(|bytes| StoredKeyring::parse(&path, &bytes)).transpose()
    }

    /// Replaces the keyring.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    pub fn put_keyring(&self, keyring: &StoredKeyring) -> Result<(), HomeError> {
        Durable::private(&self.path.join("keyring")).write(&keyring.print())
    }

    /// Reads the records of this device's copy of the device log, unverified.
    ///
    /// # Errors
    /// [`HomeError::Missing`]; [`HomeError::Malformed`].
    pub fn device_log(&self) -> Result<Vec<Vec<u8>>, HomeError> {
        let path = self.path.join("device-log");
        let bytes = durable::read(&path, device_log::FILE_BYTES_MAX)?
            .ok_or_else(|| HomeError::Missing { path: path.clone() })?;
        device_log::parse(&path, &bytes)
    }

    /// Replaces the copy of the device log.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    pub fn put_device_log(&self, records: &[Vec<u8>]) -> Result<(), HomeError> {
        Durable::private(&self.path.join("device-log")).write(&device_log::print(records))
    }

    /// Opens the pins.
    ///
    /// # Errors
    /// [`HomeError::Malformed`]; [`HomeError::Io`].
    pub fn pins(&self) -> Result<FilePins, HomeError> {
        FilePins::open(&self.path.join("pins"))
    }

    /// Reads what an enrolment that was cut off has left.
    ///
    /// # Errors
    /// [`HomeError::Malformed`]; [`HomeError::Exposed`].
    pub fn pending(&self) -> Result<Option<Pending>, HomeError> {
        let path = self.path.join("joining");
        let bytes = durable::read_secret(&path, pending::FILE_BYTES_MAX)?;
        bytes.map(|bytes| Pending::parse(&path, &bytes)).transpose()
    }

    /// Notes an enrolment before it is asked of the server, so that it can be repeated.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    pub fn put_pending(&self, pending: &Pending) -> Result<(), HomeError> {
        Durable::private(&self.path.join("joining")).write(&pending.print())
    }

    /// Forgets the noted enrolment.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    pub fn clear_pending(&self) -> Result<(), HomeError> {
        durable::remove(&self.path.join("joining"))
    }

    /// Removes the state database of a folder that is no longer synced here.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    pub fn remove_state(&self, folder: &FolderId) -> Result<(), HomeError> {
        let path = self.state_path(folder);
        for suffix in ["", "-wal", "-shm"] {
            let mut name = path.clone().into_os_string();
            name.push(suffix);
            durable::remove(Path::new(&name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
