//! Copying a server while it runs.
//!
//! Owns what a backup consists of and the order in which it is written: a copy of the metadata as of
//! one moment, then every chunk that it reaches, then the keys, and last the manifest, without which
//! it is none. The chunks are a chunk store of their own, so a second backup into the same directory
//! copies only what is new, and replaces what has rotted there. Garbage collection waits meanwhile, so
//! nothing that the copy reaches goes. It must not know how a backup is put back.
//!
//! Layout: `backup.json`, `meta-TIME.sqlite`, `server.key`, `chunks/`; `incomplete` while the first one
//! is made, with the id of the cluster whose it is.

mod directory;

pub use directory::{Manifest, read_manifest};

use self::directory::{FORMAT, finish, hash_file, prepare, sweep};
use super::file_error::FileError;
use super::gc::{Collector, GcError, GcParts};
use super::mark::{Roots, Tracer};
use super::metadata::Metadata;
use super::pace::Pace;
use super::report::{Amount, Problem, Problems};
use crate::chunk_store::{
    ChunkKey, ChunkStore, OpenError, SegmentOptions, SegmentStore, StoreError,
};
use crate::meta_store::{MetaDb, MetaError, MetaHandle, OpenError as MetaOpenError};
use crate::private_file::copy_private;
use crate::service::{Work, rfc3339};
use common::ids::{ChunkId, FolderId};
use serde::{Deserialize, Serialize};
use server_core::gc::Marks;
use server_core::metadata::StoreError as MetaStoreError;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::task::JoinError;

/// Chunks that are copied at a time.
const CHUNKS: usize = 64;

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The server's stores did not answer.
    #[error(transparent)]
    Store(#[from] GcError),
    /// The directory holds something else.
    #[error("{path} is neither empty nor a backup")]
    NotABackup {
        /// The directory.
        path: PathBuf,
    },
    /// It would lie in what it is a copy of, and be lost with it.
    #[error("{path} lies in the server's own data directory, {data}")]
    OfItself {
        /// The directory.
        path: PathBuf,
        /// The data directory.
        data: PathBuf,
    },
    /// Another server's backup is there: this one's would take it away.
    #[error("{path} holds the backup of another server, {cluster}: give a new directory")]
    OfAnother {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        cluster: String,
    },
    /// Its key is not that of the server whose data it holds.
    #[error("{path} holds the data of server {cluster} and the key of {key}")]
    Mixed {
        /// The directory.
        path: PathBuf,
        /// Whose data it is.
        cluster: String,
        /// Whose key.
        key: String,
    },
    /// It was not finished.
    #[error("{path} holds no complete backup")]
    Incomplete {
        /// The directory.
        path: PathBuf,
    },
    /// A later version wrote it, or it is not what was written.
    #[error("{path} is not a backup that this version can read: {why}")]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Its chunk store cannot be opened.
    #[error(transparent)]
    Chunks(#[from] OpenError),
    /// There is no room in it.
    #[error("the disk of {path} is full")]
    Full {
        /// What was being written.
        path: PathBuf,
    },
    /// Its chunk store did not answer.
    #[error("copying chunks to {path}: {source}")]
    Target {
        /// The directory.
        path: PathBuf,
        /// What the store said.
        #[source]
        source: StoreError,
    },
    /// The metadata could not be copied.
    #[error("copying the metadata to {path}")]
    Copy {
        /// The copy.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: MetaStoreError,
    },
    /// The copy of the metadata cannot be opened.
    #[error("opening {path}")]
    Open {
        /// The copy.
        path: PathBuf,
        /// Why.
        #[source]
        source: MetaOpenError,
    },
    /// The copy of the metadata did not answer.
    #[error("reading {path}")]
    Read {
        /// The copy.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: MetaError,
    },
    /// A task of it ended before it was done.
    #[error("the backup was interrupted")]
    Interrupted(#[source] JoinError),
    /// The system refused.
    #[error(transparent)]
    Io(#[from] FileError),
}

impl BackupError {
    fn of_target(path: &Path) -> impl FnOnce(StoreError) -> Self + use<> {
        let path = path.to_owned();
        |source| match source {
            StoreError::DiskFull { .. } => Self::Full { path },
            source => Self::Target { path, source },
        }
    }

    pub(super) fn of_copying(path: PathBuf, source: MetaStoreError) -> Self {
        match source {
            MetaStoreError::DiskFull => Self::Full { path },
            source => Self::Copy { path, source },
        }
    }

    fn of_opening(path: PathBuf, source: MetaOpenError) -> Self {
        if source.is_no_room() { Self::Full { path } } else { Self::Open { path, source } }
    }

    /// What is read beside the copy of the metadata is the server's own.
    fn of_reading(path: &Path) -> impl FnOnce(GcError) -> Self + use<> {
        let path = path.to_owned();
        |error| match error {
            GcError::Metadata(source) => Self::Read { path, source },
            error @ GcError::Chunks(_) => Self::Store(error),
        }
    }
}

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupReport {
    /// Where it is.
    pub path: String,
    /// When the metadata was copied, in RFC 3339.
    pub time: String,
    /// Folders.
    pub folders: u64,
    /// Chunks and pages that were copied now.
    pub copied: Amount,
    /// Those that an earlier backup had copied, and that are whole.
    pub kept: Amount,
    /// What could not be copied, as it is damaged.
    #[serde(flatten)]
    pub problems: Problems,
}

/// Whose backup it is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The cluster's id.
    pub cluster: String,
    /// The file with the server's keys.
    pub key_file: PathBuf,
}

/// Makes or renews the backup in `to`, an absolute path. A call that fails or is dropped leaves an older backup there as it was.
///
/// # Errors
/// [`BackupError`]. What is damaged is in the report, and what is not is copied all the same.
pub async fn back_up(
    collector: &Collector,
    parts: &GcParts,
    identity: &Identity,
    to: &Path,
    pace: &dyn Pace,
) -> Result<BackupReport, BackupError> {
    let _held = collector.hold().await;
    let (directory, cluster) = (to.to_owned(), identity.cluster.clone());
    let target = off(parts.work, move || {
        prepare(&directory, &cluster)?;
        let options = SegmentOptions { reserve_bytes: 0, ..SegmentOptions::default() };
        let target = SegmentStore::open(&directory.join("chunks"), options)?;
        sweep(&directory)?;
        Ok(target)
    });
    let target = target.await?;
    let now_ms = parts.clock.now_ms();
    let name = format!("meta-{now_ms}.sqlite");
    let copy = to.join(&name);
    let (db, file) = (parts.meta.db().clone(), copy.clone());
    off(parts.work, move || db.backup(&file).map_err(|error| BackupError::of_copying(file, error)))
        .await?;
    let mut report = BackupReport {
        path: to.display().to_string(),
        time: rfc3339(now_ms),
        ..BackupReport::default()
    };
    copy_reached(parts, &copy, (to, &target), &mut report, pace).await?;
    let (identity, to) = (identity.clone(), to.to_owned());
    // The copy is swept away by nobody while the lock of the chunk store is held.
    let concluded = off(parts.work, move || Ok((conclude(&to, &identity, name, report)?, target)));
    let (report, target) = concluded.await?;
    target.close().await;
    Ok(report)
}

/// Does what blocks, off the runtime's threads.
async fn off<T: Send + 'static>(
    work: Work,
    run: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    work.run(run).await.map_err(BackupError::Interrupted)?
}

/// Copies the keys, and vouches for what was copied.
fn conclude(
    to: &Path,
    identity: &Identity,
    metadata: String,
    report: BackupReport,
) -> Result<BackupReport, BackupError> {
    let (key, copy) = (to.join("server.key"), to.join(&metadata));
    copy_private(&identity.key_file, &key).map_err(FileError::of("writing", &key))?;
    let manifest = Manifest {
        format: FORMAT,
        time: report.time.clone(),
        cluster: identity.cluster.clone(),
        metadata_hash: hash_file(&copy).map_err(FileError::of("reading", &copy))?,
        metadata,
        folders: report.folders,
        objects: report.copied.chunks + report.kept.chunks,
        bytes: report.copied.bytes + report.kept.bytes,
        missing: report.problems.problems.len() as u64 + report.problems.problems_more,
    };
    finish(to, &manifest).map_err(FileError::of("finishing", to))?;
    Ok(report)
}

/// Copies the chunks that a copy of the metadata reaches. The copy is closed when this returns, so
/// that nothing of it is in a log beside it.
pub(super) async fn copy_reached(
    parts: &GcParts,
    copy: &Path,
    (to, target): (&Path, &SegmentStore),
    report: &mut BackupReport,
    pace: &dyn Pace,
) -> Result<(), BackupError> {
    let opening = copy.to_owned();
    let opened = off(parts.work, move || {
        fs::set_permissions(&opening, fs::Permissions::from_mode(0o600))
            .map_err(FileError::of("closing", &opening))?;
        let opened = MetaDb::open(&opening);
        let opened = opened.map_err(|error| BackupError::of_opening(opening, error))?;
        Ok(MetaHandle::inline(opened))
    });
    let meta = Metadata::new(opened.await?, Arc::clone(&parts.clock), parts.work);
    let folders = meta.read(|reads| reads.all_folders()).await;
    let folders = folders.map_err(|error| BackupError::of_reading(copy)(error.into()))?;
    let mut copying = Copying { parts, meta, copy, to, target, report };
    for folder in folders {
        copying.folder(folder, pace).await?;
    }
    Ok(())
}

struct Copying<'a> {
    parts: &'a GcParts,
    meta: Metadata,
    copy: &'a Path,
    to: &'a Path,
    target: &'a SegmentStore,
    report: &'a mut BackupReport,
}

impl Copying<'_> {
    async fn folder(&mut self, folder: FolderId, pace: &dyn Pace) -> Result<(), BackupError> {
        self.report.folders += 1;
        let meta = self.meta.clone();
        let tracer = Tracer { meta: &meta, chunks: &self.parts.chunks, folder };
        let (mut marks, mut roots) = (Marks::new(), Roots::new());
        loop {
            let page = roots.next(&tracer).await.map_err(BackupError::of_reading(self.copy))?;
            if page.is_empty() {
                return Ok(());
            }
            for root in page {
                let (mut found, mut problems) = (Vec::new(), Vec::new());
                let mut note = |id, _| found.push(id);
                // A page that cannot be read is told when it is copied.
                let reached = tracer.reach(&root, &mut marks, &mut note, &mut problems).await;
                reached.map_err(BackupError::of_reading(self.copy))?;
                for ids in found.chunks(CHUNKS) {
                    self.copy(folder, ids).await?;
                    pace.breathe().await;
                }
            }
        }
    }

    async fn copy(&mut self, folder: FolderId, ids: &[ChunkId]) -> Result<(), BackupError> {
        let keys: Vec<ChunkKey> = ids.iter().map(|id| ChunkKey { folder, id: *id }).collect();
        let had = self.target.have(keys.clone()).await;
        let had = had.map_err(BackupError::of_target(self.to))?;
        let mut new = Vec::new();
        for (key, had) in keys.into_iter().zip(had) {
            if let Some(length) = had {
                self.report.kept.add_one(length);
                continue;
            }
            let what = match self.parts.chunks.get(key).await {
                Ok(Some(bytes)) => {
                    self.report.copied.add_one(bytes.len() as u32);
                    new.push((key, bytes));
                    continue;
                }
                Ok(None) => "a version names it, and it is missing",
                Err(StoreError::Damaged { .. }) => "a version names it, and it is damaged",
                Err(error) => return Err(GcError::from(error).into()),
            };
            self.report.problems.push(Problem::new(Some(&folder), Some(&key.id), what));
        }
        if !new.is_empty() {
            self.target.put(new).await.map_err(BackupError::of_target(self.to))?;
        }
        Ok(())
    }
}
