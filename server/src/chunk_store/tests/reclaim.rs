//! The trash, purging and compaction: what every store must do, and what the segment store does with
//! its files.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::super::{
    ChunkKey, ChunkStore as _, CrashKeeps, Due, MemoryStore, Reclaim, Reclaimed, SimulatedDisk,
    StoreError, TrashStamp,
};
use super::{Rig, chunk, index_directory, small_options, stored};

const NOW_MS: u64 = 1_000;

fn stamp(generation: u64) -> TrashStamp {
    TrashStamp { since_ms: NOW_MS, generation }
}

/// Everything that was put into the trash before a generation.
fn due(trashed_before: u64) -> Due {
    Due { trashed_before, since_ms_max: NOW_MS }
}

fn chunks(count: u64, length: usize) -> Vec<(ChunkKey, Bytes)> {
    (0..count).map(|number| chunk(number, length)).collect()
}

fn keys(chunks: &[(ChunkKey, Bytes)]) -> Vec<ChunkKey> {
    chunks.iter().map(|(key, _)| *key).collect()
}

async fn trashed(store: &dyn Reclaim) -> Vec<ChunkKey> {
    let surveyed = store.survey(None, usize::MAX).await.unwrap();
    surveyed.into_iter().filter(|one| one.trash.is_some()).map(|one| one.key).collect()
}

/// Runs a rule on each store.
macro_rules! on_each_store {
    ($($rule:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $rule() {
                super::$rule(&super::MemoryStore::new()).await;
            })*
        }
        mod segments {
            $(#[tokio::test] async fn $rule() {
                super::$rule(super::Rig::real().store()).await;
            })*
        }
    };
}

on_each_store!(
    n3_what_was_stamped_in_this_generation_or_the_one_before_is_no_trash,
    n4_only_what_is_in_the_trash_and_due_is_purged,
    n3_a_have_and_a_put_take_out_of_the_trash,
    what_is_in_the_trash_can_be_read_and_taken_out,
    a_survey_gives_all_chunks_in_pages,
);

async fn n3_what_was_stamped_in_this_generation_or_the_one_before_is_no_trash(store: &dyn Reclaim) {
    let one = chunks(1, 100);
    store.put(one.clone()).await.unwrap();
    for generation in [1, 2] {
        store.raise_generation(generation).await.unwrap();
        let done = store.trash(keys(&one), stamp(generation)).await.unwrap();
        assert_eq!(done, Reclaimed::default(), "generation {generation}");
    }
    store.raise_generation(3).await.unwrap();
    let done = store.trash(keys(&one), stamp(3)).await.unwrap();
    assert_eq!(done, Reclaimed { chunks: 1, bytes: 100 });
    let again = store.trash(keys(&one), stamp(4)).await.unwrap();
    assert_eq!(again, Reclaimed::default(), "it keeps its first time in the trash");
    let absent = store.trash(keys(&[chunk(9, 1)]), stamp(3)).await.unwrap();
    assert_eq!(absent, Reclaimed::default());
}

async fn n4_only_what_is_in_the_trash_and_due_is_purged(store: &dyn Reclaim) {
    let all = chunks(3, 100);
    store.put(all.clone()).await.unwrap();
    store.raise_generation(3).await.unwrap();
    assert_eq!(store.purge(keys(&all), due(9)).await.unwrap(), Reclaimed::default());
    store.trash(keys(&all[..2]), stamp(3)).await.unwrap();
    let early = Due { since_ms_max: NOW_MS - 1, ..due(4) };
    for due in [due(3), early] {
        assert_eq!(store.purge(keys(&all), due).await.unwrap(), Reclaimed::default());
    }
    let done = store.purge(keys(&all[1..]), due(4)).await.unwrap();
    assert_eq!(done, Reclaimed { chunks: 1, bytes: 100 });
    assert_eq!(store.get(all[1].0).await.unwrap(), None);
    assert_eq!(store.have(keys(&all[1..2])).await.unwrap(), [None]);
    assert!(store.get(all[0].0).await.unwrap().is_some());
    assert!(store.get(all[2].0).await.unwrap().is_some());
    let stats = store.stats().await;
    assert_eq!((stats.chunks, stats.bytes), (2, 200));
    assert_eq!(store.put(all[1..2].to_vec()).await.unwrap(), [stored(true, 100)]);
    assert!(store.get(all[1].0).await.unwrap().is_some());
}

async fn n3_a_have_and_a_put_take_out_of_the_trash(store: &dyn Reclaim) {
    let all = chunks(2, 100);
    store.put(all.clone()).await.unwrap();
    store.raise_generation(3).await.unwrap();
    store.trash(keys(&all), stamp(3)).await.unwrap();
    assert_eq!(store.have(keys(&all[..1])).await.unwrap(), [Some(100)]);
    assert_eq!(store.put(all[1..].to_vec()).await.unwrap(), [stored(false, 100)]);
    assert_eq!(trashed(store).await, []);
    assert_eq!(store.purge(keys(&all), due(9)).await.unwrap(), Reclaimed::default());
    // Their stamps are new: they are no trash in the next generation either.
    store.raise_generation(4).await.unwrap();
    assert_eq!(store.trash(keys(&all), stamp(4)).await.unwrap(), Reclaimed::default());
}

async fn what_is_in_the_trash_can_be_read_and_taken_out(store: &dyn Reclaim) {
    let all = chunks(2, 100);
    store.put(all.clone()).await.unwrap();
    store.raise_generation(3).await.unwrap();
    store.trash(keys(&all), stamp(3)).await.unwrap();
    assert_eq!(store.get(all[0].0).await.unwrap().as_ref(), Some(&all[0].1));
    let done = store.untrash(keys(&all[..1])).await.unwrap();
    assert_eq!(done, Reclaimed { chunks: 1, bytes: 100 });
    assert_eq!(store.untrash(keys(&all[..1])).await.unwrap(), Reclaimed::default());
    assert_eq!(trashed(store).await, [all[1].0]);
    // It was taken out, not vouched for.
    assert_eq!(store.trash(keys(&all[..1]), stamp(3)).await.unwrap().chunks, 1);
}

async fn a_survey_gives_all_chunks_in_pages(store: &dyn Reclaim) {
    let all = chunks(7, 10);
    store.put(all.clone()).await.unwrap();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.survey(after, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.key);
        found.extend(page.iter().map(|one| (one.key, one.length, one.generation)));
    }
    let mut expected: Vec<_> = keys(&all).into_iter().map(|key| (key, 10, 1)).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

/// A rig with full segments of which most is garbage, and what is to be kept.
async fn half_dead(mut rig: Rig) -> (Rig, Vec<(ChunkKey, Bytes)>, Vec<(ChunkKey, Bytes)>) {
    let all = chunks(40, 2000);
    for one in all.chunks(4) {
        rig.put(one).await;
    }
    rig.close().await;
    rig.start();
    let (dead, live) = all.iter().cloned().enumerate().partition(|(n, _)| n % 8 != 0 || *n < 16);
    let plain = |some: Vec<(usize, (ChunkKey, Bytes))>| some.into_iter().map(|one| one.1).collect();
    (rig, plain(dead), plain(live))
}

async fn reclaim_all(store: &dyn Reclaim, dead: &[(ChunkKey, Bytes)]) -> Result<(), StoreError> {
    store.raise_generation(3).await?;
    store.trash(keys(dead), stamp(3)).await?;
    store.purge(keys(dead), due(4)).await?;
    for segment in store.segments().await? {
        if segment.live_bytes * 2 < segment.file_bytes {
            store.compact(segment.segment).await?;
        }
    }
    store.drop_empty().await?;
    Ok(())
}

#[tokio::test]
async fn compaction_gives_room_back_and_loses_nothing() {
    let (mut rig, dead, live) = half_dead(Rig::real()).await;
    let before = rig.disk.segments().unwrap().len();
    reclaim_all(rig.store(), &dead).await.unwrap();
    let after = rig.disk.segments().unwrap();
    assert!(after.len() <= 2, "{before} segments became {after:?}");
    assert_eq!(rig.store().stats().await.segments, after.len() as u64);
    rig.assert_readable(&live).await;
    for kill in [false, true] {
        if kill {
            rig.kill()
        } else {
            rig.close().await
        }
        rig.start();
        rig.assert_readable(&live).await;
        for (key, _) in &dead {
            assert_eq!(rig.store().get(*key).await.unwrap(), None);
        }
    }
    // Without its index, too.
    rig.kill();
    for file in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
        let _ = std::fs::remove_file(rig.directory.path().join(file));
    }
    rig.start();
    rig.assert_readable(&live).await;
}

#[tokio::test]
async fn n2_a_damaged_chunk_keeps_its_segment() {
    let (rig, dead, live) = half_dead(Rig::real()).await;
    rig.damage(&live[0].1);
    let (segment, _) = rig.places(&dead[0].1)[0];
    assert!(rig.disk.segments().unwrap().contains(&segment));
    reclaim_all(rig.store(), &dead).await.unwrap();
    let error = rig.store().get(live[0].0).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    rig.assert_readable(&live[1..]).await;
    // Put again, it is whole, and the segment can go.
    rig.put(&live[..1]).await;
    let before = rig.disk.segments().unwrap().len();
    rig.store().drop_empty().await.unwrap();
    assert!(rig.disk.segments().unwrap().len() < before);
    rig.assert_readable(&live).await;
}

#[tokio::test]
async fn reads_go_on_while_segments_move() {
    let (rig, dead, live) = half_dead(Rig::real()).await;
    let reading = async {
        for _ in 0..20 {
            rig.assert_readable(&live).await;
        }
    };
    let (done, ()) = tokio::join!(reclaim_all(rig.store(), &dead), reading);
    done.unwrap();
    assert!(rig.disk.segments().unwrap().len() <= 2);
}

#[tokio::test]
async fn n9_a_full_disk_still_purges_and_drops_what_is_empty() {
    let disk = SimulatedDisk::new();
    let (rig, dead, live) = half_dead(Rig::simulated(&disk)).await;
    disk.set_free_bytes_told(Some(0));
    rig.store().raise_generation(3).await.unwrap();
    rig.store().trash(keys(&dead), stamp(3)).await.unwrap();
    rig.store().purge(keys(&dead), due(4)).await.unwrap();
    let dropped = rig.store().drop_empty().await.unwrap();
    assert!(dropped.segments > 0, "the first segments hold nothing that is wanted");
    let partly = rig.store().segments().await.unwrap();
    let partly = partly.into_iter().find(|one| one.live_chunks > 0).unwrap();
    let error = rig.store().compact(partly.segment).await.unwrap_err();
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
    rig.assert_readable(&live).await;
    disk.set_free_bytes_told(None);
    assert!(rig.store().compact(partly.segment).await.unwrap().moved.chunks > 0);
    rig.assert_readable(&live).await;
}

#[tokio::test]
async fn m8_after_a_failed_sync_nothing_is_reclaimed() {
    let disk = SimulatedDisk::new();
    let (rig, dead, live) = half_dead(Rig::simulated(&disk)).await;
    disk.set_syncs_fail(true);
    rig.store().put(vec![chunk(100, 10)]).await.unwrap_err();
    disk.set_syncs_fail(false);
    let error = reclaim_all(rig.store(), &dead).await.unwrap_err();
    assert!(matches!(error, StoreError::Stopped { .. }), "{error}");
    rig.assert_readable(&live).await;
    rig.assert_readable(&dead).await;
}

/// An index that a crash may have cut forgets its trash: that a chunk left it may be what was lost.
#[tokio::test]
async fn n3_the_trash_is_kept_over_a_clean_stop_and_emptied_by_a_crash() {
    let (mut rig, dead, _) = half_dead(Rig::real()).await;
    rig.store().raise_generation(3).await.unwrap();
    rig.store().trash(keys(&dead), stamp(3)).await.unwrap();
    rig.close().await;
    rig.start();
    assert_eq!(trashed(rig.store()).await.len(), dead.len());
    rig.kill();
    rig.start();
    assert_eq!(trashed(rig.store()).await, []);
    assert_eq!(rig.store().purge(keys(&dead), due(9)).await.unwrap(), Reclaimed::default());
    // Everything counts as stamped at that start.
    rig.store().raise_generation(4).await.unwrap();
    assert_eq!(rig.store().trash(keys(&dead), stamp(4)).await.unwrap(), Reclaimed::default());
    rig.store().raise_generation(5).await.unwrap();
    assert_eq!(rig.store().trash(keys(&dead), stamp(5)).await.unwrap().chunks, dead.len() as u64);
}

/// What becomes of the index in a power cut.
#[derive(Clone, Copy, Debug, PartialEq)]
enum IndexKeeps {
    All,
    /// It goes back to what it was before the reclamation.
    Before,
    Nothing,
}

fn copy_index(from: &Path, to: &Path) {
    for name in ["index.sqlite", "index.sqlite-wal"] {
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

async fn cut_power_at(operation: u64, keeps: CrashKeeps, index: IndexKeeps) -> bool {
    let case = format!("power cut at operation {operation}, {keeps:?}, index {index:?}");
    let disk = SimulatedDisk::new();
    let (mut rig, dead, live) = half_dead(Rig::simulated(&disk)).await;
    let before = index_directory();
    copy_index(rig.directory.path(), before.path());
    disk.crash_at(disk.operations() + operation);
    let interrupted = reclaim_all(rig.store(), &dead).await.is_err();
    rig.kill();
    let after = index_directory();
    match index {
        IndexKeeps::All => copy_index(rig.directory.path(), after.path()),
        IndexKeeps::Before => copy_index(before.path(), after.path()),
        IndexKeeps::Nothing => {}
    }
    let rig = Rig::new(Arc::new(disk.after_crash(keeps)), after, small_options());
    for (key, bytes) in &live {
        let got = rig.store().get(*key).await;
        assert_eq!(got.expect(&case).as_ref(), Some(bytes), "{case}");
    }
    for (key, bytes) in &dead {
        // Garbage may be there still, and is then what it was.
        let got = rig.store().get(*key).await.expect(&case);
        assert!(got.is_none_or(|got| got == bytes), "{case}");
    }
    // The next run goes on: two generations on, as everything counts as stamped at this start.
    let generation = rig.store().generation();
    rig.store().raise_generation(generation + 2).await.expect(&case);
    rig.store().trash(keys(&dead), stamp(generation + 2)).await.expect(&case);
    rig.store().purge(keys(&dead), due(generation + 3)).await.expect(&case);
    for segment in rig.store().segments().await.expect(&case) {
        rig.store().compact(segment.segment).await.expect(&case);
    }
    rig.store().drop_empty().await.expect(&case);
    assert!(rig.disk.segments().unwrap().len() <= 2, "{case}");
    rig.assert_readable(&live).await;
    let stats = rig.store().stats().await;
    assert_eq!(stats.chunks, live.len() as u64, "{case}");
    interrupted
}

#[tokio::test]
async fn n3_a_power_cut_at_any_step_of_a_reclamation_loses_nothing() {
    use IndexKeeps::{All, Before, Nothing};
    for (keeps, index) in [
        (CrashKeeps::Nothing, All),
        (CrashKeeps::Nothing, Before),
        (CrashKeeps::Nothing, Nothing),
        (CrashKeeps::All, All),
        (CrashKeeps::Some(1), Before),
        (CrashKeeps::Some(2), Nothing),
    ] {
        let mut operation = 0;
        while cut_power_at(operation, keeps, index).await {
            operation += 1;
        }
        assert!(operation > 6, "only {operation} operations were interrupted");
    }
}
