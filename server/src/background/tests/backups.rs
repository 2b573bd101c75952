//! Backups: what may be renewed, and what a copy is when it is complete.

use super::runs::{Never, Rig};
use crate::background::backup::copy_reached;
use crate::background::{BackupError, BackupReport, Identity, back_up, read_manifest};
use crate::chunk_store::{SegmentOptions, SegmentStore};
use crate::service::Work;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

async fn backed_up(rig: &Rig, cluster: &str, to: &Path) -> Result<BackupReport, BackupError> {
    let key_file = key_file(to, cluster);
    fs::write(&key_file, cluster).unwrap();
    let identity = Identity { cluster: cluster.to_owned(), key_file };
    back_up(&rig.collector, &rig.parts(Work::Pool), &identity, to, &Never).await
}

fn key_file(to: &Path, cluster: &str) -> PathBuf {
    to.with_file_name(format!("key of {cluster}"))
}

/// What lies at the top of a directory.
fn contents(of: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let paths = fs::read_dir(of).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).ok())).collect()
}

#[tokio::test]
async fn the_backup_of_one_server_is_never_renewed_by_another() {
    let home = tempfile::tempdir().unwrap();
    let to = home.path().join("backup");
    let (mut one, other) = (Rig::new(), Rig::new());
    one.file("a file");
    assert_eq!(backed_up(&one, "0a", &to).await.unwrap().copied.chunks, 1);
    let before = contents(&to);
    let error = backed_up(&other, "0b", &to).await.unwrap_err();
    assert!(matches!(error, BackupError::OfAnother { .. }), "{error}");
    assert_eq!(contents(&to), before);
    one.world.advance(1);
    assert_eq!(backed_up(&one, "0a", &to).await.unwrap().kept.chunks, 1);
    assert_eq!(read_manifest(&to).unwrap().cluster, "0a");
}

#[tokio::test]
async fn a_copy_of_the_metadata_is_closed_when_its_chunks_are_there() {
    let home = tempfile::tempdir().unwrap();
    let (mut rig, copy) = (Rig::new(), home.path().join("copy.sqlite"));
    rig.file("a file");
    rig.world.meta.db().backup(&copy).unwrap();
    let target =
        SegmentStore::open(&home.path().join("chunks"), SegmentOptions::default()).unwrap();
    let mut report = BackupReport::default();
    let parts = rig.parts(Work::Pool);
    copy_reached(&parts, &copy, &target, &mut report, &Never).await.unwrap();
    assert_eq!(report.copied.chunks, 1);
    let log = home.path().join("copy.sqlite-wal");
    assert!(!log.exists(), "what it says is what was hashed");
}
