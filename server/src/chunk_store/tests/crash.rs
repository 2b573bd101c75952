//! Power cuts and kills at every operation.

use std::path::Path;

use bytes::Bytes;

use super::super::{ChunkKey, ChunkStore as _, CrashKeeps, SegmentStore, SimulatedDisk};
use super::{Rig, chunk, index_directory, small_options};

type Chunks = Vec<(ChunkKey, Bytes)>;

/// Puts of several sizes, alone and together, over a few segments; gives what was acknowledged and
/// what was tried. Stops at the first failure. `between` is called once, half-way.
async fn work(store: &SegmentStore, between: impl FnOnce()) -> (Chunks, Chunks) {
    let mut acknowledged = Vec::new();
    let mut tried = Vec::new();
    let mut between = Some(between);
    for round in 0..6_u64 {
        let lengths = [40, 3000, 700, 5000];
        let chunks: Chunks =
            (0..4).map(|place| chunk(round * 10 + place, lengths[place as usize])).collect();
        tried.extend(chunks.clone());
        let (alone, together) = chunks.split_at(1);
        for put in [alone, together] {
            if store.put(put.to_vec()).await.is_err() {
                return (acknowledged, tried);
            }
            acknowledged.extend(put.to_vec());
        }
        // A repeated put proves presence just as well.
        if round == 2 {
            store.put(acknowledged[..2].to_vec()).await.ok();
            between.take().into_iter().for_each(|between| between());
        }
    }
    (acknowledged, tried)
}

/// What becomes of the index in a power cut.
#[derive(Clone, Copy, Debug, PartialEq)]
enum IndexKeeps {
    All,
    /// It goes back to what it was half-way.
    Half,
    Nothing,
}

fn copy_index(from: &Path, to: &Path) {
    for suffix in ["", "-wal"] {
        let name = format!("index.sqlite{suffix}");
        if from.join(&name).exists() {
            std::fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

/// Cuts the power at one operation; says whether there was still work to interrupt.
async fn cut_power_at(operation: u64, keeps: CrashKeeps, index: IndexKeeps) -> bool {
    let case = format!("crash at operation {operation}, {keeps:?}, index {index:?}");
    let disk = SimulatedDisk::new();
    disk.crash_at(operation);
    let mut rig = match std::panic::catch_unwind(|| Rig::simulated(&disk)) {
        Ok(rig) => rig,
        Err(_) => return true, // The power went before the store was open.
    };
    let half = index_directory();
    let used = rig.directory.path().to_owned();
    let (acknowledged, tried) = work(rig.store(), || copy_index(&used, half.path())).await;
    let interrupted = acknowledged.len() < tried.len();
    rig.kill();

    let after = index_directory();
    match index {
        IndexKeeps::All => copy_index(rig.directory.path(), after.path()),
        IndexKeeps::Half => copy_index(half.path(), after.path()),
        IndexKeeps::Nothing => {}
    }
    let disk = disk.after_crash(keeps);
    let rig = Rig::new(std::sync::Arc::new(disk), after, small_options());
    for (key, bytes) in &acknowledged {
        let got = rig.store().get(*key).await;
        assert_eq!(got.expect(&case).as_ref(), Some(bytes), "{case}");
    }
    let keys: Vec<_> = acknowledged.iter().map(|(key, _)| *key).collect();
    let had = rig.store().have(keys).await.expect(&case);
    assert!(had.iter().all(Option::is_some), "{case}");
    for (key, bytes) in &tried {
        // What was not acknowledged is there or not, but never anything else.
        let got = rig.store().get(*key).await.expect(&case);
        assert!(got.is_none_or(|got| got == bytes), "{case}");
    }
    rig.store().put(tried.clone()).await.expect(&case);
    rig.assert_readable(&tried).await;
    interrupted
}

async fn cut_power_everywhere(keeps: CrashKeeps, index: IndexKeeps) {
    let mut operation = 0;
    while cut_power_at(operation, keeps, index).await {
        operation += 1;
    }
    assert!(operation > 20, "only {operation} operations were interrupted");
}

#[tokio::test]
async fn n1_acknowledged_means_durable_when_nothing_unsynced_is_kept() {
    cut_power_everywhere(CrashKeeps::Nothing, IndexKeeps::All).await;
    cut_power_everywhere(CrashKeeps::Nothing, IndexKeeps::Half).await;
    cut_power_everywhere(CrashKeeps::Nothing, IndexKeeps::Nothing).await;
}

#[tokio::test]
async fn n1_acknowledged_means_durable_when_unsynced_writes_are_torn() {
    for seed in 0..2 {
        cut_power_everywhere(CrashKeeps::Some(seed), IndexKeeps::All).await;
        cut_power_everywhere(CrashKeeps::Some(seed), IndexKeeps::Half).await;
        cut_power_everywhere(CrashKeeps::Some(seed), IndexKeeps::Nothing).await;
    }
}

#[tokio::test]
async fn n1_acknowledged_means_durable_when_all_is_kept() {
    cut_power_everywhere(CrashKeeps::All, IndexKeeps::All).await;
    cut_power_everywhere(CrashKeeps::All, IndexKeeps::Nothing).await;
}

/// The crash tests prove something only if the simulated disk loses what was not synced.
#[tokio::test]
async fn a_disk_that_lies_about_syncs_loses_acknowledged_chunks() {
    let disk = SimulatedDisk::new();
    disk.set_syncs_lie(true);
    let mut rig = Rig::simulated(&disk);
    let (acknowledged, _) = work(rig.store(), || ()).await;
    rig.kill();
    let after = disk.after_crash(CrashKeeps::Nothing);
    let rig = Rig::new(std::sync::Arc::new(after), index_directory(), small_options());
    assert!(!acknowledged.is_empty());
    assert_eq!(rig.store().get(acknowledged[0].0).await.unwrap(), None);
}

/// A record that a killed process left in the system's memory is found, vouched for, and so must
/// be made durable.
#[tokio::test]
async fn what_is_recovered_after_a_kill_outlives_a_power_cut() {
    let disk = SimulatedDisk::new();
    let mut rig = Rig::simulated(&disk);
    let early = vec![chunk(1, 900)];
    rig.put(&early).await;
    let late = vec![chunk(2, 900)];
    // The kill comes after the write and before the sync.
    disk.crash_at(disk.operations() + 1);
    rig.store().put(late.clone()).await.unwrap_err();
    rig.kill();
    disk.heal();
    rig.start();
    let had = rig.store().have(vec![late[0].0]).await.unwrap();
    rig.kill();
    let after = disk.after_crash(CrashKeeps::Nothing);
    let rig = Rig::new(std::sync::Arc::new(after), index_directory(), small_options());
    rig.assert_readable(&early).await;
    assert_eq!(had, vec![Some(900)]);
    rig.assert_readable(&late).await;
}
