//! Backups: what may be renewed, and what a copy is when it is complete.

use super::runs::{Never, Rig};
use crate::background::backup::copy_reached;
use crate::background::{BackupError, BackupReport, Identity, back_up, read_manifest};
use crate::chunk_store::{ChunkStore, OpenError, SegmentOptions, SegmentStore};
use crate::service::Work;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use server_core::metadata::StoreError;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

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

/// The copies of the metadata in a directory, with their logs.
fn copies(of: &Path) -> Vec<String> {
    let names = fs::read_dir(of).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    names.filter(|name| name.starts_with("meta-")).collect()
}

#[tokio::test]
async fn backups_that_fail_again_and_again_do_not_fill_the_disk() {
    let home = tempfile::tempdir().unwrap();
    let to = home.path().join("backup");
    let rig = Rig::new();
    backed_up(&rig, "0a", &to).await.unwrap();
    let [standing] = copies(&to).try_into().unwrap();
    let key_file = home.path().join("no key");
    let identity = Identity { cluster: "0a".to_owned(), key_file };
    for _ in 0..3 {
        rig.world.advance(1);
        let parts = rig.parts(Work::Pool);
        back_up(&rig.collector, &parts, &identity, &to, &Never).await.unwrap_err();
        fs::write(to.join("meta-0.sqlite-wal"), "of one that was cut off").unwrap();
        let found = copies(&to);
        assert!(found.len() <= 3 && found.contains(&standing), "{found:?}");
        assert_eq!(read_manifest(&to).unwrap().metadata, standing);
    }
    rig.world.advance(1);
    backed_up(&rig, "0a", &to).await.unwrap();
    assert_eq!(copies(&to), [read_manifest(&to).unwrap().metadata]);
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
    let to = (home.path(), &target);
    copy_reached(&parts, &copy, to, &mut report, &Never).await.unwrap();
    assert_eq!(report.copied.chunks, 1);
    let log = home.path().join("copy.sqlite-wal");
    assert!(!log.exists(), "what it says is what was hashed");
}

/// The key is read from a pipe, which blocks until somebody has written to it. Until then nobody else may
/// sweep away what the backup has copied.
#[tokio::test]
async fn a_backup_keeps_its_directory_and_no_thread_of_others_while_the_disk_is_slow() {
    let home = tempfile::tempdir().unwrap();
    let (rig, to) = (Rig::new(), home.path().join("backup"));
    let key_file = home.path().join("server.key");
    mknodat(CWD, &key_file, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let (is_read, reading) = tokio::sync::oneshot::channel();
    let (tell, others) = std::sync::mpsc::channel();
    let pipe = key_file.clone();
    let writer = std::thread::spawn(move || {
        let mut pipe = fs::OpenOptions::new().write(true).open(pipe).unwrap();
        is_read.send(()).unwrap();
        let told = others.recv_timeout(Duration::from_secs(10));
        pipe.write_all(b"key").unwrap();
        told
    });
    let identity = Identity { cluster: "0a".to_owned(), key_file };
    let parts = rig.parts(Work::Pool);
    let backup = back_up(&rig.collector, &parts, &identity, &to, &Never);
    let others = async {
        reading.await.unwrap();
        let error = backed_up(&Rig::new(), "0a", &to).await.unwrap_err();
        tell.send(()).unwrap();
        error
    };
    let (done, error) = tokio::join!(backup, others);
    done.unwrap();
    assert!(matches!(error, BackupError::Chunks(OpenError::Locked { .. })), "{error}");
    assert_eq!(writer.join().unwrap(), Ok(()));
    assert_eq!(fs::read(to.join("server.key")).unwrap(), b"key");
}

#[tokio::test]
async fn what_is_wrong_with_the_disk_of_a_backup_is_not_said_of_the_servers() {
    let home = tempfile::tempdir().unwrap();
    let (mut rig, copy) = (Rig::new(), home.path().join("copy.sqlite"));
    rig.file("a file");
    rig.world.meta.db().backup(&copy).unwrap();
    let target =
        SegmentStore::open(&home.path().join("chunks"), SegmentOptions::default()).unwrap();
    target.close().await;
    let (parts, mut report) = (rig.parts(Work::Pool), BackupReport::default());
    let to = (home.path(), &target);
    let error = copy_reached(&parts, &copy, to, &mut report, &Never).await.unwrap_err();
    let said = format!("copying chunks to {}: the chunk store is closed", home.path().display());
    assert_eq!(error.to_string(), said);
    let error = BackupError::of_copying(copy.clone(), StoreError::DiskFull);
    assert_eq!(error.to_string(), format!("the disk of {} is full", copy.display()));
}
