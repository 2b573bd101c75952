//! Disks that are full, fail, or answer wrongly while a store runs.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::{ChunkStore as _, SegmentStore, SimulatedDisk, StoreError, StoreState};
use super::{Rig, chunk, index_directory, small_options, stored};

#[tokio::test]
async fn n9_a_full_disk_refuses_writes_and_reads_go_on() {
    let disk = SimulatedDisk::new();
    let mut rig = Rig::simulated(&disk);
    let kept: Vec<_> = (0..8).map(|number| chunk(number, 2000)).collect();
    rig.put(&kept).await;
    let room = disk.length(1).unwrap() + disk.length(2).unwrap_or(0);
    // Room for half a record, both of what is asked before a write and of what a write finds.
    for refusal_comes_from_the_write in [false, true] {
        disk.set_capacity(Some(room + 1000));
        disk.set_free_bytes_told(refusal_comes_from_the_write.then_some(u64::MAX));
        let late = chunk(100, 2000);
        let error = rig.store().put(vec![late.clone()]).await.unwrap_err();
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
        assert!(error.is_retryable());
        assert_eq!(rig.store().stats().await.state, StoreState::Full);
        rig.assert_readable(&kept).await;
        let keys = kept.iter().map(|(key, _)| *key).collect();
        assert_eq!(rig.store().have(keys).await.unwrap(), vec![Some(2000); 8]);
        assert_eq!(rig.put(&kept[..1]).await, vec![stored(false, 2000)]);
        assert_eq!(rig.store().get(late.0).await.unwrap(), None);
        let segments = disk.length(1).unwrap() + disk.length(2).unwrap_or(0);
        assert_eq!(segments, room, "the part that was written is taken back");
    }
    disk.set_capacity(None);
    let late = vec![chunk(100, 2000), chunk(101, 2000)];
    assert_eq!(rig.put(&late).await, vec![stored(true, 2000); 2]);
    assert_eq!(rig.store().stats().await.state, StoreState::Open);
    rig.kill();
    rig.start();
    rig.assert_readable(&kept).await;
    rig.assert_readable(&late).await;
}

#[tokio::test]
async fn a_disk_without_room_for_a_first_segment_recovers() {
    let disk = SimulatedDisk::new();
    disk.set_free_bytes_told(Some(u64::MAX));
    disk.set_capacity(Some(50));
    let mut rig = Rig::simulated(&disk);
    let chunks = vec![chunk(1, 500)];
    for _ in 0..2 {
        let error = rig.store().put(chunks.clone()).await.unwrap_err();
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
        rig.kill();
        rig.start();
    }
    disk.set_capacity(None);
    rig.put(&chunks).await;
    rig.kill();
    rig.start();
    rig.assert_readable(&chunks).await;
    assert_eq!(rig.store().stats().await.segments, 1);
}

#[tokio::test]
async fn m8_a_failed_sync_stops_the_store_and_no_later_one_makes_it_good() {
    let disk = SimulatedDisk::new();
    let mut rig = Rig::simulated(&disk);
    let kept = vec![chunk(1, 700)];
    rig.put(&kept).await;
    disk.set_syncs_fail(true);
    let lost = vec![chunk(2, 700)];
    let error = rig.store().put(lost.clone()).await.unwrap_err();
    assert!(matches!(error, StoreError::Stopped { .. }), "{error}");
    assert!(!error.is_retryable());
    disk.set_syncs_fail(false);
    for chunks in [&lost, &kept] {
        let error = rig.store().put(chunks.clone()).await.unwrap_err();
        assert!(matches!(error, StoreError::Stopped { .. }), "{error}");
    }
    let error = rig.store().have(vec![kept[0].0]).await.unwrap_err();
    assert!(matches!(error, StoreError::Stopped { .. }), "{error}");
    assert!(matches!(rig.store().stats().await.state, StoreState::Stopped { .. }));
    // Bytes that are verified as they are read can be saved from a failing disk.
    rig.assert_readable(&kept).await;
    // The system's memory still shows the lost record; the disk never had it.
    rig.close().await;
    rig.start();
    assert_eq!(rig.store().have(vec![lost[0].0, kept[0].0]).await.unwrap(), vec![None, Some(700)]);
    assert_eq!(rig.put(&lost).await, vec![stored(true, 700)]);
}

#[tokio::test]
async fn a_failed_write_stops_the_store() {
    let disk = SimulatedDisk::new();
    let rig = Rig::simulated(&disk);
    rig.put(&[chunk(1, 700)]).await;
    disk.crash_at(disk.operations());
    let error = rig.store().put(vec![chunk(2, 700)]).await.unwrap_err();
    assert!(matches!(error, StoreError::Stopped { .. }), "{error}");
}

#[tokio::test]
async fn a_read_that_fails_is_damage_until_it_succeeds() {
    let disk = SimulatedDisk::new();
    let mut rig = Rig::simulated(&disk);
    let chunks = vec![chunk(1, 700)];
    rig.put(&chunks).await;
    rig.close().await;
    rig.start();
    disk.set_reads_fail(true);
    let error = rig.store().get(chunks[0].0).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert_eq!(rig.store().have(vec![chunks[0].0]).await.unwrap(), vec![None]);
    disk.set_reads_fail(false);
    rig.assert_readable(&chunks).await;
    assert_eq!(rig.store().have(vec![chunks[0].0]).await.unwrap(), vec![Some(700)]);
}

#[tokio::test]
async fn want_of_anything_but_room_for_a_new_segment_is_retryable() {
    let fails = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&fails);
    let mut options = small_options();
    options.segment_id = Arc::new(move || {
        if seen.load(Ordering::SeqCst) { Err(io::Error::other("none left")) } else { Ok([1; 16]) }
    });
    let directory = index_directory();
    let rig = Rig::new(Arc::new(SimulatedDisk::new()), directory, options);
    let error = rig.store().put(vec![chunk(1, 10)]).await.unwrap_err();
    assert!(matches!(error, StoreError::NewSegment { .. }), "{error}");
    assert!(error.is_retryable());
    fails.store(false, Ordering::SeqCst);
    assert_eq!(rig.put(&[chunk(1, 10)]).await, vec![stored(true, 10)]);
}

#[tokio::test]
async fn two_stores_never_share_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let store = SegmentStore::open(directory.path(), small_options()).unwrap();
    let Err(error) = SegmentStore::open(directory.path(), small_options()) else {
        panic!("opened twice");
    };
    assert!(matches!(error, super::OpenError::Locked { .. }), "{error}");
    store.close().await;
    let again = SegmentStore::open(directory.path(), small_options()).unwrap();
    drop(store);
    again.put(vec![chunk(1, 10)]).await.unwrap();
}

#[tokio::test]
async fn more_than_fits_in_flight_waits_and_is_stored() {
    let mut options = small_options();
    options.in_flight_bytes_max = 8 * 1024;
    options.batch_bytes_max = 4 * 1024;
    options.reads_max = 1;
    let directory = index_directory();
    let rig = Rig::new(Arc::new(SimulatedDisk::new()), directory, options);
    let chunks: Vec<_> = (0..30).map(|number| chunk(number, 6000)).collect();
    let puts = chunks.iter().map(|one| rig.store().put(vec![one.clone(), one.clone()]));
    for answer in futures_util::future::join_all(puts).await {
        assert_eq!(answer.unwrap(), vec![stored(true, 6000), stored(false, 6000)]);
    }
    let gets = chunks.iter().map(|(key, _)| rig.store().get(*key));
    for (got, (_, bytes)) in futures_util::future::join_all(gets).await.into_iter().zip(&chunks) {
        assert_eq!(got.unwrap().as_ref(), Some(bytes));
    }
}

#[tokio::test]
async fn a_verified_chunk_that_was_forgotten_is_verified_again() {
    let mut options = small_options();
    options.verified_max = 2;
    let directory = index_directory();
    let rig = Rig::new(Arc::new(SimulatedDisk::new()), directory, options);
    let chunks: Vec<_> = (0..10).map(|number| chunk(number, 800)).collect();
    rig.put(&chunks).await;
    rig.damage(&chunks[0].1);
    assert_eq!(rig.store().have(vec![chunks[0].0]).await.unwrap(), vec![None]);
    assert_eq!(rig.put(&chunks).await, vec![stored(false, 800); 10]);
    rig.assert_readable(&chunks).await;
}
