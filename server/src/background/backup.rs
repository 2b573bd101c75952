//! Copying a server while it runs.
//!
//! Owns what a backup consists of and the order in which it is written: a copy of the metadata as of
//! one moment, then every chunk that it reaches, then the keys, and last the manifest, without which
//! it is none. The chunks are a chunk store of their own, so a second backup into the same directory
//! copies only what is new, and replaces what has rotted there. Garbage collection waits meanwhile, so
//! nothing that the copy reaches goes. It must not know how a backup is put back.
//!
//! Layout: `backup.json`, `meta-TIME.sqlite`, `server.key`, `chunks/`; `incomplete` while the first one
//! is made.

use super::file_error::FileError;
use super::gc::{Collector, GcError, GcParts};
use super::mark::{Roots, Tracer};
use super::metadata::Metadata;
use super::pace::Pace;
use super::report::{Amount, Problem, Problems};
use crate::chunk_store::{
    ChunkKey, ChunkStore, OpenError, SegmentOptions, SegmentStore, StoreError,
};
use crate::meta_store::{MetaDb, MetaHandle, OpenError as MetaOpenError};
use crate::private_file::copy_private;
use crate::service::rfc3339;
use common::ids::{ChunkId, FolderId};
use serde::{Deserialize, Serialize};
use server_core::gc::Marks;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The format that this version writes and reads.
const FORMAT: u32 = 1;
const MANIFEST: &str = "backup.json";
const INCOMPLETE: &str = "incomplete";
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
    /// Its metadata cannot be opened.
    #[error(transparent)]
    Metadata(#[from] MetaOpenError),
    /// The system refused.
    #[error(transparent)]
    Io(#[from] FileError),
}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

/// What makes a directory a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the layout.
    pub format: u32,
    /// When the metadata was copied, in RFC 3339.
    pub time: String,
    /// Whose it is.
    pub cluster: String,
    /// The file with the metadata.
    pub metadata: String,
    /// BLAKE3-256 of that file, in hexadecimal.
    pub metadata_hash: String,
    /// Folders.
    pub folders: u64,
    /// Objects that their versions reach, and that were copied.
    pub objects: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Objects that are missing from it, as they were missing from the server.
    pub missing: u64,
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
    prepare(to)?;
    let options = SegmentOptions { reserve_bytes: 0, ..SegmentOptions::default() };
    let target: Arc<SegmentStore> = Arc::new(SegmentStore::open(&to.join("chunks"), options)?);
    let source = Metadata::new(parts.meta.clone(), Arc::clone(&parts.clock), parts.work);
    let now_ms = source.now_ms();
    let name = format!("meta-{now_ms}.sqlite");
    let copy = to.join(&name);
    let (db, file) = (parts.meta.db().clone(), copy.clone());
    source.run(move || db.backup(&file)).await.map_err(GcError::from)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o600))
        .map_err(FileError::of("closing", &copy))?;
    let handle = MetaHandle::inline(MetaDb::open(&copy)?);
    let meta = Metadata::new(handle.clone(), Arc::clone(&parts.clock), parts.work);
    let mut copying = Copying {
        parts,
        meta: meta.clone(),
        target: target.as_ref(),
        report: BackupReport {
            path: to.display().to_string(),
            time: rfc3339(now_ms),
            ..BackupReport::default()
        },
    };
    for folder in meta.read(|reads| reads.all_folders()).await.map_err(GcError::from)? {
        copying.folder(folder, pace).await?;
    }
    let report = copying.report;
    target.close().await;
    drop((meta, handle));
    let key = to.join("server.key");
    copy_private(&identity.key_file, &key).map_err(FileError::of("writing", &key))?;
    let missing = report.problems.problems.len() as u64 + report.problems.problems_more;
    let manifest = Manifest {
        format: FORMAT,
        time: report.time.clone(),
        cluster: identity.cluster.clone(),
        metadata_hash: hash_file(&copy).map_err(FileError::of("reading", &copy))?,
        metadata: name,
        folders: report.folders,
        objects: report.copied.chunks + report.kept.chunks,
        bytes: report.copied.bytes + report.kept.bytes,
        missing,
    };
    finish(to, &manifest).map_err(FileError::of("finishing", to))?;
    Ok(report)
}

/// Copies the chunks that a copy of the metadata reaches.
struct Copying<'a> {
    parts: &'a GcParts,
    meta: Metadata,
    target: &'a SegmentStore,
    report: BackupReport,
}

impl Copying<'_> {
    async fn folder(&mut self, folder: FolderId, pace: &dyn Pace) -> Result<(), BackupError> {
        self.report.folders += 1;
        let meta = self.meta.clone();
        let tracer = Tracer { meta: &meta, chunks: &self.parts.chunks, folder };
        let (mut marks, mut roots) = (Marks::new(), Roots::new());
        loop {
            let page = roots.next(&tracer).await?;
            if page.is_empty() {
                return Ok(());
            }
            for root in page {
                let (mut found, mut problems) = (Vec::new(), Vec::new());
                let mut note = |id, _| found.push(id);
                // A page that cannot be read is told when it is copied.
                tracer.reach(&root, &mut marks, &mut note, &mut problems).await?;
                for ids in found.chunks(CHUNKS) {
                    self.copy(folder, ids).await?;
                    pace.breathe().await;
                }
            }
        }
    }

    async fn copy(&mut self, folder: FolderId, ids: &[ChunkId]) -> Result<(), BackupError> {
        let keys: Vec<ChunkKey> = ids.iter().map(|id| ChunkKey { folder, id: *id }).collect();
        let had = self.target.have(keys.clone()).await?;
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
                Err(error) => return Err(error.into()),
            };
            self.report.problems.push(Problem::new(&folder, Some(&key.id), what));
        }
        if !new.is_empty() {
            self.target.put(new).await?;
        }
        Ok(())
    }
}

/// Reads the manifest of a complete backup, and looks whether its metadata is what was written.
///
/// # Errors
/// [`BackupError`].
pub fn read_manifest(from: &Path) -> Result<Manifest, BackupError> {
    let path = from.join(MANIFEST);
    let unreadable = |why: String| BackupError::Unreadable { path: from.to_owned(), why };
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(BackupError::Incomplete { path: from.to_owned() });
        }
        Err(error) => return Err(FileError::of("reading", &path)(error).into()),
    };
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
    if manifest.format != FORMAT {
        return Err(unreadable(format!("its format is {}", manifest.format)));
    }
    if manifest.metadata.contains('/') {
        return Err(unreadable("its metadata lies elsewhere".to_owned()));
    }
    let meta = from.join(&manifest.metadata);
    let found = hash_file(&meta).map_err(FileError::of("reading", &meta))?;
    if found != manifest.metadata_hash {
        return Err(unreadable(format!("{} was altered", manifest.metadata)));
    }
    Ok(manifest)
}

/// Makes the directory, unless a backup, or the beginning of one, is there.
fn prepare(to: &Path) -> Result<(), BackupError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(to)
        .map_err(FileError::of("creating", to))?;
    let known = [MANIFEST, INCOMPLETE].iter().any(|name| to.join(name).exists());
    if known {
        return Ok(());
    }
    if fs::read_dir(to).map_err(FileError::of("reading", to))?.next().is_some() {
        return Err(BackupError::NotABackup { path: to.to_owned() });
    }
    let marker = to.join(INCOMPLETE);
    File::create(&marker).map_err(FileError::of("creating", &marker))?;
    let synced = File::open(to).and_then(|directory| directory.sync_all());
    Ok(synced.map_err(FileError::of("syncing", to))?)
}

/// Writes the manifest, durably; after that, takes away what belongs to an older one.
fn finish(to: &Path, manifest: &Manifest) -> io::Result<()> {
    let directory = File::open(to)?;
    // Everything that it vouches for has its name on the disk first.
    directory.sync_all()?;
    let new = to.join("backup.json.new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    serde_json::to_writer_pretty(&mut file, manifest)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&new, to.join(MANIFEST))?;
    directory.sync_all()?;
    for entry in fs::read_dir(to)? {
        let name = entry?.file_name();
        let is_old = name.to_str().is_some_and(|name| {
            name == INCOMPLETE || (name.starts_with("meta-") && name != manifest.metadata)
        });
        if is_old {
            fs::remove_file(to.join(name))?;
        }
    }
    directory.sync_all()
}

fn hash_file(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    let (mut file, mut buffer) = (File::open(path)?, vec![0; 256 * 1024]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().to_string()),
            read => hasher.update(&buffer[..read]),
        };
    }
}
