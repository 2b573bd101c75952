//! The data directory of a server: its place, its lock and its keys.
//!
//! Owns the names of what lies in it, that one process uses it at a time, and `server.key`. It must
//! not know what the metadata and the chunk store write into their parts of it.

use crate::private_file::write_private;
use common::ids::{ClusterId, NodeId};
use common::keys::SigningKey;
use data_encoding::HEXLOWER;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error("another server runs on {path}{}", pid_text(.pid))]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// The other process, if it said.
        pid: Option<u32>,
    },
    /// The key is gone although there is data: a new key would be another server to every device.
    #[error("{path} holds a server's data but not its server.key")]
    KeyMissing {
        /// The data directory.
        path: PathBuf,
    },
    /// Others than the owner may read the key.
    #[error("{path} can be read by others than its owner (mode {mode:o})")]
    KeyExposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file is not one that this version wrote.
    #[error("{path} is not a server key")]
    KeyMalformed {
        /// The key file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A restore into it was not finished.
    #[error("a restore into {path} was not finished")]
    Unfinished {
        /// The data directory.
        path: PathBuf,
    },
    /// The system gave no randomness for new keys.
    #[error("the system gives no random bytes for the server's keys")]
    NoEntropy,
}

fn pid_text(pid: &Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// The keys of a server of one node: of the cluster and of the node.
#[derive(Clone, Debug)]
pub struct ServerKeys {
    /// Signs capabilities; its public key is the cluster's id, and the TLS identity that join codes
    /// name.
    pub cluster: SigningKey,
    /// Signs receipts; its public key is the node's id.
    pub node: SigningKey,
}

impl ServerKeys {
    /// The cluster's id.
    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        ClusterId::from_bytes(self.cluster.public())
    }

    /// The node's id.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        NodeId::from_bytes(self.node.public())
    }
}

/// A data directory, locked until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

const KEY_TITLE: &str = "driftless server key 1";

impl DataDir {
    /// Creates (mode 0700) or opens the directory and locks it.
    ///
    /// # Errors
    /// [`DataDirError::InUse`] when another process has the lock, [`DataDirError::Unfinished`] when a
    /// restore was cut off; [`DataDirError::Io`].
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let opened = Self::lock(path)?;
        if opened.restoring().exists() {
            return Err(DataDirError::Unfinished { path: path.to_owned() });
        }
        Ok(opened)
    }

    /// Creates and locks a directory for a restore: until [`DataDir::end_restore`] it is no server's.
    ///
    /// # Errors
    /// As [`DataDir::open`].
    pub(super) fn begin_restore(path: &Path) -> Result<Self, DataDirError> {
        let opened = Self::lock(path)?;
        let marker = opened.restoring();
        let made = File::create(&marker).and_then(|_| File::open(path)?.sync_all());
        made.map_err(|source| DataDirError::Io { doing: "creating", path: marker, source })?;
        Ok(opened)
    }

    /// Says that a restore is complete, durably.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub(super) fn end_restore(&self) -> Result<(), DataDirError> {
        let ended = File::open(&self.path).and_then(|directory| {
            directory.sync_all()?;
            fs::remove_file(self.restoring())?;
            directory.sync_all()
        });
        let path = self.restoring();
        ended.map_err(|source| DataDirError::Io { doing: "removing", path, source })
    }

    fn restoring(&self) -> PathBuf {
        self.path.join("restoring")
    }

    fn lock(path: &Path) -> Result<Self, DataDirError> {
        let io_error =
            |doing, path: &Path, source| DataDirError::Io { doing, path: path.to_owned(), source };
        make(path).map_err(|error| io_error("creating", path, error))?;
        let lock_path = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|error| io_error("opening", &lock_path, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = read_pid(&mut lock);
                return Err(DataDirError::InUse { path: path.to_owned(), pid });
            }
            Err(TryLockError::Error(error)) => return Err(io_error("locking", &lock_path, error)),
        }
        // Only for the message of a second server: nothing depends on it, least of all a start on a
        // disk without room.
        let noted = lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id()));
        if let Err(error) = noted {
            tracing::warn!(%error, path = %lock_path.display(), "who has the lock is not noted");
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The metadata database.
    #[must_use]
    pub fn meta(&self) -> PathBuf {
        self.path.join("meta.sqlite")
    }

    /// The chunk store's directory.
    #[must_use]
    pub fn chunks(&self) -> PathBuf {
        self.path.join("chunks")
    }

    /// The file with the keys.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.path.join("server.key")
    }

    /// The number under which capabilities are signed; 1 until a restore takes another.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn capability_key(&self) -> Result<u64, DataDirError> {
        let path = self.path.join("capability");
        let read = match fs::read_to_string(&path) {
            Ok(text) => text
                .trim_end()
                .parse()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(1),
            Err(error) => Err(error),
        };
        read.map_err(|source| DataDirError::Io { doing: "reading", path, source })
    }

    /// Takes another number for capabilities; durable when this returns.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub(super) fn set_capability_key(&self, number: u64) -> Result<(), DataDirError> {
        let path = self.path.join("capability");
        let written = write_private(&path, format!("{number}\n").as_bytes());
        written.map_err(|source| DataDirError::Io { doing: "writing", path, source })
    }

    /// The keys; drawn and stored durably at the first start.
    ///
    /// # Errors
    /// All but [`DataDirError::InUse`].
    pub fn keys(&self) -> Result<ServerKeys, DataDirError> {
        let path = self.key_file();
        match OpenOptions::new().read(true).open(&path) {
            Ok(file) => read_keys(&path, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.meta().exists() {
                    return Err(DataDirError::KeyMissing { path: self.path.clone() });
                }
                let keys = ServerKeys { cluster: new_key()?, node: new_key()? };
                let written = write_private(&path, key_text(&keys).as_bytes());
                written.map_err(|source| DataDirError::Io { doing: "writing", path, source })?;
                Ok(keys)
            }
            Err(source) => Err(DataDirError::Io { doing: "opening", path, source }),
        }
    }

    /// The keys in a copy of the file, whoever may read that.
    ///
    /// # Errors
    /// [`DataDirError::KeyMalformed`], [`DataDirError::Io`].
    pub(super) fn copied_keys(path: &Path) -> Result<ServerKeys, DataDirError> {
        let opened = File::open(path);
        let file = opened.map_err(|source| {
            let path = path.to_owned();
            DataDirError::Io { doing: "opening", path, source }
        })?;
        read_key_text(path, file)
    }
}

/// Makes the directory and those above it that are not there, durably: the parent of each is synced.
/// Says which parents, the lowest first.
fn make(path: &Path) -> io::Result<Vec<PathBuf>> {
    let missing = path.ancestors().take_while(|above| !is_nameless(above) && !above.exists());
    let parents: Vec<PathBuf> = missing.map(parent).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    for parent in &parents {
        File::open(parent)?.sync_all()?;
    }
    Ok(parents)
}

fn is_nameless(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

fn parent(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !is_nameless(parent));
    parent.unwrap_or_else(|| Path::new(".")).to_owned()
}

/// The process that wrote the lock file.
fn read_pid(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn new_key() -> Result<SigningKey, DataDirError> {
    let mut seed = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(seed.as_mut_slice()).map_err(|_| DataDirError::NoEntropy)?;
    Ok(SigningKey::from_seed(*seed))
}

fn key_text(keys: &ServerKeys) -> Zeroizing<String> {
    Zeroizing::new(format!(
        "{KEY_TITLE}\ncluster {}\nnode {}\n",
        HEXLOWER.encode(keys.cluster.seed()),
        HEXLOWER.encode(keys.node.seed())
    ))
}

fn read_keys(path: &Path, file: File) -> Result<ServerKeys, DataDirError> {
    let io_error = |source| DataDirError::Io { doing: "reading", path: path.to_owned(), source };
    let mode = file.metadata().map_err(io_error)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(DataDirError::KeyExposed { path: path.to_owned(), mode });
    }
    read_key_text(path, file)
}

fn read_key_text(path: &Path, file: File) -> Result<ServerKeys, DataDirError> {
    let io_error = |source| DataDirError::Io { doing: "reading", path: path.to_owned(), source };
    let mut text = Zeroizing::new(String::new());
    file.take(1024).read_to_string(&mut text).map_err(io_error)?;
    parse_keys(&text).ok_or_else(|| DataDirError::KeyMalformed { path: path.to_owned() })
}

fn parse_keys(text: &str) -> Option<ServerKeys> {
    let mut lines = text.lines();
    if lines.next()? != KEY_TITLE {
        return None;
    }
    let cluster = parse_seed(lines.next()?.strip_prefix("cluster ")?)?;
    let node = parse_seed(lines.next()?.strip_prefix("node ")?)?;
    lines.next().is_none().then_some(ServerKeys { cluster, node })
}

fn parse_seed(hex: &str) -> Option<SigningKey> {
    let bytes = Zeroizing::new(HEXLOWER.decode(hex.as_bytes()).ok()?);
    <[u8; 32]>::try_from(bytes.as_slice()).ok().map(SigningKey::from_seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_data_directory_stay() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("data");
        let first = DataDir::open(&path).unwrap();
        let keys = first.keys().unwrap();
        assert_ne!(keys.cluster.seed(), keys.node.seed());
        let mode = fs::metadata(path.join("server.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(first);
        let again = DataDir::open(&path).unwrap().keys().unwrap();
        assert_eq!(again.cluster_id(), keys.cluster_id());
        assert_eq!(again.node_id(), keys.node_id());
    }

    #[test]
    fn the_number_of_capabilities_is_the_last_that_was_taken() {
        let home = tempfile::tempdir().unwrap();
        let data = DataDir::open(home.path()).unwrap();
        assert_eq!(data.capability_key().unwrap(), 1);
        for number in [12_345, 6] {
            data.set_capability_key(number).unwrap();
            assert_eq!(data.capability_key().unwrap(), number);
        }
    }

    #[test]
    fn the_parents_of_new_directories_are_synced() {
        let home = tempfile::tempdir().unwrap();
        let (above, path) = (home.path().join("above"), home.path().join("above/data"));
        assert_eq!(make(&path).unwrap(), [above.clone(), home.path().to_owned()]);
        assert!(make(&path).unwrap().is_empty());
        assert_eq!(make(&above.join("other")).unwrap(), [above]);
        assert_eq!(parent(Path::new("data")), Path::new("."));
        assert!(make(Path::new(".")).unwrap().is_empty());
    }

    #[test]
    fn a_second_server_on_one_data_directory_is_told_of_the_first() {
        let home = tempfile::tempdir().unwrap();
        let _first = DataDir::open(home.path()).unwrap();
        let error = DataDir::open(home.path()).unwrap_err();
        let own = std::process::id();
        assert!(matches!(error, DataDirError::InUse { pid: Some(pid), .. } if pid == own));
        assert!(error.to_string().contains(&format!("(process {own})")), "{error}");
    }

    #[test]
    fn a_key_is_never_made_for_data_that_had_one() {
        let home = tempfile::tempdir().unwrap();
        let data = DataDir::open(home.path()).unwrap();
        fs::write(data.meta(), b"").unwrap();
        assert!(matches!(data.keys(), Err(DataDirError::KeyMissing { .. })));
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_damaged_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let data = DataDir::open(home.path()).unwrap();
        data.keys().unwrap();
        let path = home.path().join("server.key");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(data.keys(), Err(DataDirError::KeyExposed { mode: 0o640, .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, b"driftless server key 1\ncluster 00\nnode 00\n").unwrap();
        assert!(matches!(data.keys(), Err(DataDirError::KeyMalformed { .. })));
    }
}
