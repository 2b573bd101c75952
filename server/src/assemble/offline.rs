//! What is done with a data directory that no server runs on: a check, and putting a backup back.
//!
//! Owns the order of a restore. A directory in which it was cut off is no server's. It must not know
//! how it was asked.

use super::data_dir::{DataDir, DataDirError};
use super::within::is_within;
use super::{ServerError, Stores};
use crate::background::{
    AtOnce, BackupError, CheckReport, Collector, FileError, GcError, GcParts, Problem, Problems,
    check, read_manifest,
};
use crate::chunk_store::ChunkKey;
use crate::meta_store::MetaError;
use crate::private_file::copy_private;
use crate::service::{Clock, SystemClock, Work};
use common::ids::{ChunkId, FolderId};
use serde::Serialize;
use server_core::metadata::{Action, Command, ObjectChange, ObjectState};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Known objects that are looked at at a time.
const OBJECTS: usize = 512;

/// Why a directory was not checked or restored.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// No server's data is there.
    #[error("there is no server's data in {path}")]
    NoData {
        /// The data directory.
        path: PathBuf,
    },
    /// A restore makes a new directory.
    #[error("{path} is not empty")]
    NotEmpty {
        /// The data directory.
        path: PathBuf,
    },
    /// A server whose data lies in its backup would be lost with it.
    #[error("{path} lies in the backup, {from}")]
    InBackup {
        /// The data directory.
        path: PathBuf,
        /// The backup.
        from: PathBuf,
    },
    /// The directory or its stores do not open.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The backup cannot be read.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// A store did not answer.
    #[error(transparent)]
    Store(#[from] GcError),
    /// The system refused.
    #[error(transparent)]
    Io(#[from] FileError),
}

impl From<DataDirError> for OfflineError {
    fn from(error: DataDirError) -> Self {
        Self::Server(error.into())
    }
}

/// What was put back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    /// The new data directory.
    pub path: String,
    /// The server's cluster id: devices know it by this.
    pub cluster: String,
    /// When the backup was made, in RFC 3339. What was written since is not in it.
    pub time: String,
    /// Folders, each in a new epoch.
    pub folders: u64,
    /// Objects that are known and whole.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What versions name and the backup does not hold, or not whole.
    #[serde(flatten)]
    pub problems: Problems,
}

/// Checks a data directory that no server runs on, under its lock.
///
/// # Errors
/// [`OfflineError`]. What is damaged is in the report.
pub async fn check_stopped(path: &Path) -> Result<CheckReport, OfflineError> {
    // Opening would make what is not there.
    if !path.join("meta.sqlite").exists() {
        return Err(OfflineError::NoData { path: path.to_owned() });
    }
    let data = DataDir::open(path)?;
    let stores = Stores::open(&data).await?;
    let parts = parts(&stores);
    let checked = check(&Collector::new(parts.clone()), &parts, &AtOnce).await;
    drop(parts);
    stores.close().await;
    Ok(checked?)
}

fn parts(stores: &Stores) -> GcParts {
    let (meta, chunks) = (stores.meta.clone(), Arc::clone(&stores.chunks));
    GcParts { meta, chunks, clock: Arc::new(SystemClock), work: Work::Pool }
}

/// Puts the backup in `from` back into `path`, which is empty or not there: a server that devices
/// know, in a new epoch. Reads the backup and changes nothing of it.
///
/// # Errors
/// [`OfflineError`]; the directory is then not to be used. What the backup lacks is in the report.
pub async fn restore(from: &Path, path: &Path) -> Result<RestoreReport, OfflineError> {
    let manifest = read_manifest(from)?;
    let occupied = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    if occupied {
        return Err(OfflineError::NotEmpty { path: path.to_owned() });
    }
    if is_within(path, from) {
        return Err(OfflineError::InBackup { path: path.to_owned(), from: from.to_owned() });
    }
    let key_file = from.join("server.key");
    let key = DataDir::copied_keys(&key_file)?.cluster_id().to_string();
    if key != manifest.cluster {
        let (path, cluster) = (from.to_owned(), manifest.cluster);
        return Err(BackupError::Mixed { path, cluster, key }.into());
    }
    let data = DataDir::begin_restore(path)?;
    copy_segments(&from.join("chunks/segments"), &data.chunks().join("segments"))?;
    copy_private(&key_file, &data.key_file())
        .map_err(FileError::of("copying", &data.key_file()))?;
    copy_synced(&from.join(&manifest.metadata), &data.meta())?;
    let keys = data.keys()?;
    let clock = SystemClock;
    let stores = Stores::open(&data).await?;
    let mut report = RestoreReport {
        path: path.display().to_string(),
        cluster: keys.cluster_id().to_string(),
        time: manifest.time,
        ..RestoreReport::default()
    };
    let restored = begin_again(&stores, &clock, &mut report).await;
    stores.close().await;
    restored?;
    data.set_capability_key(clock.now_ms())?;
    data.end_restore()?;
    Ok(report)
}

/// Starts the new epoch, and holds what is known against what is there.
async fn begin_again(
    stores: &Stores,
    clock: &SystemClock,
    report: &mut RestoreReport,
) -> Result<(), OfflineError> {
    apply(stores, clock, Action::BeginEpoch).await?;
    let generation = read(stores, |reads| reads.generation())?;
    stores.chunks.raise_generation(generation).await.map_err(GcError::from)?;
    for folder in read(stores, |reads| reads.all_folders())? {
        report.folders += 1;
        let lost = verify(stores, folder, report).await?;
        if !lost.is_empty() {
            forget(stores, clock, folder, &lost, report).await?;
        }
    }
    Ok(())
}

async fn apply(stores: &Stores, clock: &SystemClock, action: Action) -> Result<(), GcError> {
    stores.meta.apply(Command { time_ms: clock.now_ms(), action }).await?;
    Ok(())
}

fn read<T>(
    stores: &Stores,
    read: impl FnOnce(&dyn server_core::metadata::MetaReads) -> server_core::metadata::Stored<T>,
) -> Result<T, GcError> {
    Ok(stores.meta.read(read)?)
}

/// Reads every object of a folder that is known; gives those that are not there or not whole.
async fn verify(
    stores: &Stores,
    folder: FolderId,
    report: &mut RestoreReport,
) -> Result<BTreeSet<ChunkId>, OfflineError> {
    let (mut lost, mut after) = (BTreeSet::new(), None);
    loop {
        let objects = objects(stores, &folder, after.as_ref())?;
        let Some((last, _)) = objects.last() else { return Ok(lost) };
        after = Some(*last);
        let keys = objects.iter().map(|(id, _)| ChunkKey { folder, id: *id }).collect();
        let lengths = stores.chunks.have(keys).await.map_err(GcError::from)?;
        for ((id, _), length) in objects.iter().zip(lengths) {
            match length {
                Some(length) => {
                    report.objects += 1;
                    report.bytes += u64::from(length);
                }
                None => drop(lost.insert(*id)),
            }
        }
    }
}

fn objects(
    stores: &Stores,
    folder: &FolderId,
    after: Option<&ChunkId>,
) -> Result<Vec<(ChunkId, ObjectState)>, MetaError> {
    stores.meta.read(|reads| reads.objects(folder, after, OBJECTS))
}

/// Has what is lost forgotten, so that whoever names it puts it again; and of every page that it is a
/// page, as what is lost may be beneath it. Says which of it a version names.
async fn forget(
    stores: &Stores,
    clock: &SystemClock,
    folder: FolderId,
    lost: &BTreeSet<ChunkId>,
    report: &mut RestoreReport,
) -> Result<(), OfflineError> {
    let mut after = None;
    loop {
        let objects = objects(stores, &folder, after.as_ref()).map_err(GcError::from)?;
        let Some((last, _)) = objects.last() else { break };
        after = Some(*last);
        let changes = objects.iter().filter_map(|(id, state)| match state.level {
            _ if lost.contains(id) => Some(ObjectChange::Condemn(*id)),
            0 => None,
            _ => Some(ObjectChange::Demote(*id)),
        });
        let changes: Vec<ObjectChange> = changes.collect();
        apply(stores, clock, Action::ChangeObjects { folder, changes }).await?;
    }
    let parts = parts(stores);
    let named = Collector::new(parts).named_of(folder, lost).await?;
    for id in named {
        let what = "a version names it, and the backup does not hold it whole";
        report.problems.push(Problem::new(Some(&folder), Some(&id), what));
    }
    Ok(())
}

impl From<MetaError> for OfflineError {
    fn from(error: MetaError) -> Self {
        Self::Store(error.into())
    }
}

fn copy_segments(from: &Path, to: &Path) -> Result<(), OfflineError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(to)
        .map_err(FileError::of("creating", to))?;
    for entry in fs::read_dir(from).map_err(FileError::of("reading", from))? {
        let entry = entry.map_err(FileError::of("reading", from))?;
        copy_synced(&entry.path(), &to.join(entry.file_name()))?;
    }
    for directory in [to, to.parent().unwrap_or(to)] {
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(FileError::of("syncing", directory))?;
    }
    Ok(())
}

fn copy_synced(from: &Path, to: &Path) -> Result<(), OfflineError> {
    let copied = fs::copy(from, to).and_then(|_| {
        fs::set_permissions(to, fs::Permissions::from_mode(0o600))?;
        File::open(to)?.sync_all()
    });
    Ok(copied.map_err(FileError::of("copying", from))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::background::{Identity, back_up};

    #[tokio::test]
    async fn a_backup_with_the_key_of_another_server_is_not_put_back() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let data = DataDir::open(&at("data")).unwrap();
        let cluster = data.keys().unwrap().cluster_id().to_string();
        let stores = Stores::open(&data).await.unwrap();
        let parts = parts(&stores);
        let identity = Identity { cluster: cluster.clone(), key_file: data.key_file() };
        let (collector, backup) = (Collector::new(parts.clone()), at("backup"));
        back_up(&collector, &parts, &identity, &backup, &AtOnce).await.unwrap();
        drop((collector, parts));
        stores.close().await;
        assert_eq!(restore(&backup, &at("restored")).await.unwrap().cluster, cluster);

        let other = DataDir::open(&at("other")).unwrap();
        let key = other.keys().unwrap().cluster_id().to_string();
        copy_private(&other.key_file(), &backup.join("server.key")).unwrap();
        let error = restore(&backup, &at("mixed")).await.unwrap_err();
        let OfflineError::Backup(BackupError::Mixed { key: found, .. }) = &error else {
            panic!("{error}");
        };
        assert!(*found == key && !at("mixed").exists());
    }
}
