//! What every chunk store must do, run on each of them.

use bytes::Bytes;

use common::limits::SEALED_BYTES_MAX;

use super::super::{ChunkKey, ChunkStore, MemoryStore, SimulatedDisk, StoreError, StoreState};
use super::{Rig, chunk, folder, key_of, payload, stored};

/// A store under test.
enum Subject {
    Memory(MemoryStore),
    Segments(Rig),
}

impl Subject {
    fn store(&self) -> &dyn ChunkStore {
        match self {
            Self::Memory(store) => store,
            Self::Segments(rig) => rig.store(),
        }
    }

    /// Damages the stored copy, behind the back of a store that has not verified it since.
    async fn damage(&mut self, bytes: &Bytes) {
        match self {
            Self::Memory(store) => assert!(store.damage(&key_of(bytes))),
            Self::Segments(rig) => {
                rig.close().await;
                rig.damage(bytes);
                rig.start();
            }
        }
    }
}

macro_rules! contract {
    ($($rule:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $rule() {
                super::$rule(super::Subject::Memory(super::MemoryStore::new())).await;
            })*
        }
        mod segments_on_a_directory {
            $(#[tokio::test] async fn $rule() {
                super::$rule(super::Subject::Segments(super::Rig::real())).await;
            })*
        }
        mod segments_on_a_disk_of_short_writes {
            $(#[tokio::test] async fn $rule() {
                let disk = super::SimulatedDisk::new();
                disk.set_write_bytes_max(Some(1000));
                super::$rule(super::Subject::Segments(super::Rig::simulated(&disk))).await;
            })*
        }
    };
}

contract!(
    what_is_put_is_read,
    nothing_put_is_nothing_done,
    a_chunk_of_another_folder_is_not_found,
    wrong_bytes_under_an_id_are_refused,
    too_many_bytes_are_refused,
    a_second_put_is_not_new,
    many_at_once_are_all_stored,
    have_tells_lengths_in_order,
    n2_a_damaged_copy_is_an_error_never_served,
    n5_a_damaged_copy_is_not_had_and_a_put_replaces_it,
    stats_count_chunks_once,
    a_closed_store_refuses,
);

async fn what_is_put_is_read(subject: Subject) {
    let store = subject.store();
    let chunks = vec![chunk(1, 1), chunk(2, 5000), chunk(3, SEALED_BYTES_MAX), chunk(4, 0)];
    let lengths: Vec<_> = chunks.iter().map(|(_, bytes)| stored(true, bytes.len())).collect();
    assert_eq!(store.put(chunks.clone()).await.unwrap(), lengths);
    for (key, bytes) in chunks {
        assert_eq!(store.get(key).await.unwrap(), Some(bytes));
    }
    assert_eq!(store.get(chunk(5, 10).0).await.unwrap(), None);
    assert_eq!(store.generation(), 1);
}

async fn nothing_put_is_nothing_done(subject: Subject) {
    let store = subject.store();
    assert_eq!(store.put(Vec::new()).await.unwrap(), Vec::new());
    assert_eq!(store.have(Vec::new()).await.unwrap(), Vec::new());
}

async fn a_chunk_of_another_folder_is_not_found(subject: Subject) {
    let store = subject.store();
    let (key, bytes) = chunk(1, 100);
    store.put(vec![(key, bytes.clone())]).await.unwrap();
    let other = ChunkKey { folder: folder(2), id: key.id };
    assert_eq!(store.get(other).await.unwrap(), None);
    assert_eq!(store.have(vec![other, key]).await.unwrap(), vec![None, Some(100)]);
    assert_eq!(store.put(vec![(other, bytes)]).await.unwrap(), vec![stored(true, 100)]);
    assert_eq!(store.have(vec![other]).await.unwrap(), vec![Some(100)]);
}

async fn wrong_bytes_under_an_id_are_refused(subject: Subject) {
    let store = subject.store();
    let (key, _) = chunk(1, 100);
    let error = store.put(vec![(key, payload(2, 100))]).await.unwrap_err();
    assert!(matches!(error, StoreError::WrongBytes { key: wrong } if wrong == key), "{error}");
    assert!(!error.is_retryable());
    assert_eq!(store.get(key).await.unwrap(), None);
    // A chunk that is stored is no way round the check either.
    let (key, bytes) = chunk(3, 100);
    store.put(vec![(key, bytes.clone())]).await.unwrap();
    let error = store.put(vec![(key, payload(4, 100))]).await.unwrap_err();
    assert!(matches!(error, StoreError::WrongBytes { .. }), "{error}");
    assert_eq!(store.get(key).await.unwrap(), Some(bytes));
}

async fn too_many_bytes_are_refused(subject: Subject) {
    let store = subject.store();
    let (key, bytes) = chunk(1, SEALED_BYTES_MAX + 1);
    let error = store.put(vec![(key, bytes)]).await.unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
    assert_eq!(store.get(key).await.unwrap(), None);
}

async fn a_second_put_is_not_new(subject: Subject) {
    let store = subject.store();
    let one = chunk(1, 100);
    let two = chunk(2, 200);
    let twice = vec![one.clone(), two.clone(), one.clone()];
    let expected = vec![stored(true, 100), stored(true, 200), stored(false, 100)];
    assert_eq!(store.put(twice).await.unwrap(), expected);
    let expected = vec![stored(false, 200), stored(false, 100)];
    assert_eq!(store.put(vec![two, one]).await.unwrap(), expected);
}

async fn many_at_once_are_all_stored(subject: Subject) {
    let store = subject.store();
    // Each chunk by two callers, so that they meet in one batch or in two.
    let puts = (0..64).map(|number| store.put(vec![chunk(number / 2, 3000), chunk(99, 10)]));
    let answers = futures_util::future::join_all(puts).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|stored| stored[0].new).count(), 32);
    assert_eq!(answers.iter().filter(|stored| stored[1].new).count(), 1);
    for number in 0..32 {
        let (key, bytes) = chunk(number, 3000);
        assert_eq!(store.get(key).await.unwrap(), Some(bytes));
    }
}

async fn have_tells_lengths_in_order(subject: Subject) {
    let store = subject.store();
    let chunks: Vec<_> = (0..1500).map(|number| chunk(number, 10 + number as usize % 7)).collect();
    store.put(chunks.iter().step_by(2).cloned().collect()).await.unwrap();
    let had = store.have(chunks.iter().map(|(key, _)| *key).collect()).await.unwrap();
    let expected: Vec<_> = chunks
        .iter()
        .enumerate()
        .map(|(place, (_, bytes))| (place % 2 == 0).then_some(bytes.len() as u32))
        .collect();
    assert_eq!(had, expected);
}

async fn n2_a_damaged_copy_is_an_error_never_served(mut subject: Subject) {
    let (key, bytes) = chunk(1, 300);
    let other = chunk(2, 300);
    subject.store().put(vec![(key, bytes.clone()), other.clone()]).await.unwrap();
    subject.damage(&bytes).await;
    let error = subject.store().get(key).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { key: damaged } if damaged == key), "{error}");
    assert_eq!(subject.store().get(other.0).await.unwrap(), Some(other.1));
}

async fn n5_a_damaged_copy_is_not_had_and_a_put_replaces_it(mut subject: Subject) {
    let (key, bytes) = chunk(1, 300);
    let other = chunk(2, 400);
    subject.store().put(vec![(key, bytes.clone()), other.clone()]).await.unwrap();
    subject.damage(&bytes).await;
    let store = subject.store();
    assert_eq!(store.have(vec![key, other.0]).await.unwrap(), vec![None, Some(400)]);
    // It was there before, so a quota has counted it already.
    let again = store.put(vec![(key, bytes.clone())]).await.unwrap();
    assert_eq!(again, vec![stored(false, 300)]);
    assert_eq!(store.get(key).await.unwrap(), Some(bytes));
    assert_eq!(store.have(vec![key]).await.unwrap(), vec![Some(300)]);
    let stats = store.stats().await;
    assert_eq!((stats.chunks, stats.bytes), (2, 700));
}

async fn stats_count_chunks_once(subject: Subject) {
    let store = subject.store();
    assert_eq!(store.stats().await.chunks, 0);
    store.put(vec![chunk(1, 100), chunk(2, 50)]).await.unwrap();
    store.put(vec![chunk(1, 100), chunk(3, 7)]).await.unwrap();
    let stats = store.stats().await;
    assert_eq!((stats.chunks, stats.bytes, stats.state), (3, 157, StoreState::Open));
    assert!(stats.free_bytes > 0);
}

async fn a_closed_store_refuses(subject: Subject) {
    let store = subject.store();
    let (key, bytes) = chunk(1, 100);
    store.put(vec![(key, bytes.clone())]).await.unwrap();
    store.close().await;
    store.close().await;
    assert!(matches!(store.get(key).await, Err(StoreError::Closed)));
    assert!(matches!(store.put(vec![(key, bytes)]).await, Err(StoreError::Closed)));
    assert!(matches!(store.have(vec![key]).await, Err(StoreError::Closed)));
    assert_eq!(store.stats().await.state, StoreState::Closed);
}
