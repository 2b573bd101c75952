//! Chunks over the network: many, at once, damaged, missing, refused.

use super::{Bed, ids, some_chunks, soon};
use crate::remote::{Remote, RemoteError};
use bytes::Bytes;
use common::ids::{ChunkId, FolderId};
use common::limits::SEALED_BYTES_MAX;
use common::trust::ReceiptBatch;
use common::wire::meta::RefusalCode;
use server::chunk_store::ChunkKey;

fn covered(receipts: &[Vec<u8>], folder: FolderId) -> Vec<ChunkId> {
    let batches = receipts.iter().map(|batch| ReceiptBatch::open(batch).unwrap());
    batches
        .flat_map(|batch| {
            assert_eq!(batch.folder, folder);
            batch.items.into_iter().map(|item| item.id)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_chunks_go_up_and_come_back() {
    let bed = Bed::start().await;
    let member = bed.enrol(10).await;
    let folder = member.make_folder().await;
    let chunks = some_chunks(3_000, 4_000);
    let receipts = member.remote.put(folder, chunks.clone()).await.unwrap();
    assert_eq!(covered(&receipts, folder), ids(&chunks));
    assert!(receipts.len() < chunks.len(), "each chunk was acknowledged alone");

    let found = member.remote.get(folder, ids(&chunks)).await.unwrap();
    let expected: Vec<_> = chunks.iter().map(|(_, bytes)| Some(bytes.clone())).collect();
    assert_eq!(found, expected);

    let mut asked = ids(&chunks);
    asked.extend((0..3_000).map(|number: u32| ChunkId::of(&number.to_le_bytes())));
    let receipts = member.remote.have(folder, asked).await.unwrap();
    assert_eq!(covered(&receipts, folder), ids(&chunks));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn puts_and_gets_run_at_once() {
    let bed = Bed::start().await;
    let member = bed.enrol(10).await;
    let folder = member.make_folder().await;
    let chunks = some_chunks(40 * 20, 30_000);
    let puts = chunks.chunks(20).map(|part| member.remote.put(folder, part.to_vec()));
    for (part, receipts) in chunks.chunks(20).zip(futures_util::future::join_all(puts).await) {
        assert_eq!(covered(&receipts.unwrap(), folder), ids(part));
    }
    let gets = chunks.chunks(10).map(|part| member.remote.get(folder, ids(part)));
    for (part, found) in chunks.chunks(10).zip(futures_util::future::join_all(gets).await) {
        let expected: Vec<_> = part.iter().map(|(_, bytes)| Some(bytes.clone())).collect();
        assert_eq!(found.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_chunk_that_is_not_there_is_none_and_order_is_kept() {
    let bed = Bed::start().await;
    let member = bed.enrol(10).await;
    let folder = member.make_folder().await;
    let chunks = some_chunks(2, 1_000);
    member.remote.put(folder, chunks.clone()).await.unwrap();
    let absent = ChunkId::of(b"absent");
    let asked = vec![chunks[1].0, absent, chunks[0].0, chunks[1].0];
    let found = member.remote.get(folder, asked).await.unwrap();
    let expected =
        [Some(chunks[1].1.clone()), None, Some(chunks[0].1.clone()), Some(chunks[1].1.clone())];
    assert_eq!(found, expected);
    assert!(member.remote.put(folder, Vec::new()).await.unwrap().is_empty());
    assert!(member.remote.get(folder, Vec::new()).await.unwrap().is_empty());
    assert!(member.remote.have(folder, vec![absent]).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_largest_and_the_emptiest_chunk_are_carried() {
    let bed = Bed::start().await;
    let member = bed.enrol(10).await;
    let folder = member.make_folder().await;
    let chunks: Vec<_> = [vec![5; SEALED_BYTES_MAX], Vec::new()]
        .map(|bytes| (ChunkId::of(&bytes), Bytes::from(bytes)))
        .to_vec();
    member.remote.put(folder, chunks.clone()).await.unwrap();
    let found = member.remote.get(folder, ids(&chunks)).await.unwrap();
    assert_eq!(found, [Some(chunks[0].1.clone()), Some(chunks[1].1.clone())]);

    let over = Bytes::from(vec![5; SEALED_BYTES_MAX + 1]);
    let error = member.remote.put(folder, vec![(ChunkId::of(&over), over)]).await.unwrap_err();
    assert!(matches!(error, RemoteError::TooLarge(_)), "{error}");
}

#[tokio::test]
async fn bytes_under_a_wrong_id_are_refused_and_the_rest_is_not_sent() {
    let bed = Bed::start().await;
    let member = bed.enrol(10).await;
    let folder = member.make_folder().await;
    let mut chunks = some_chunks(400, 200_000);
    chunks[0].1 = Bytes::from_static(b"something else");
    let error = soon(member.remote.put(folder, chunks.clone())).await.unwrap_err();
    assert!(matches!(error, RemoteError::Refused(_)), "{error}");
    assert!(bed.chunks.keys().len() < 300);
    // The connection goes on.
    member.remote.put(folder, chunks[1..3].to_vec()).await.unwrap();
}

#[tokio::test]
async fn n2_a_damaged_chunk_is_never_served_and_keeps_no_other_back() {
    let bed = Bed::start().await;
    let member = bed.enrol(10).await;
    let folder = member.make_folder().await;
    let chunks = some_chunks(5, 1_000);
    member.remote.put(folder, chunks.clone()).await.unwrap();
    assert!(bed.chunks.damage(&ChunkKey { folder, id: chunks[1].0 }));
    let found = member.remote.get(folder, ids(&chunks)).await.unwrap();
    let mut expected: Vec<_> = chunks.iter().map(|(_, bytes)| Some(bytes.clone())).collect();
    expected[1] = None;
    assert_eq!(found, expected);
    // Putting it again repairs it.
    member.remote.put(folder, chunks[1..2].to_vec()).await.unwrap();
    let found = member.remote.get(folder, vec![chunks[1].0]).await.unwrap();
    assert_eq!(found, [Some(chunks[1].1.clone())]);
}

#[tokio::test]
async fn n9_a_full_store_refuses_puts_and_still_reads() {
    let bed = Bed::start().await;
    let member = bed.enrol(10).await;
    let folder = member.make_folder().await;
    let chunks = some_chunks(50, 10_000);
    member.remote.put(folder, chunks[..10].to_vec()).await.unwrap();
    bed.chunks.set_bytes_max(100_000);
    let error = member.remote.put(folder, chunks[10..].to_vec()).await.unwrap_err();
    assert_eq!(error.refusal_code(), Some(RefusalCode::DiskFull), "{error}");
    assert!(error.is_retryable());
    member.remote.get(folder, ids(&chunks[..10])).await.unwrap();
}

#[tokio::test]
async fn anothers_folder_is_no_such_folder() {
    let bed = Bed::start().await;
    let folder = bed.enrol(10).await.make_folder().await;
    let other = bed.enrol(20).await;
    let chunks = some_chunks(1, 10);
    let put = other.remote.put(folder, chunks.clone()).await.unwrap_err();
    let get = other.remote.get(folder, ids(&chunks)).await.unwrap_err();
    let none = other.remote.get(FolderId::from_bytes([0; 32]), ids(&chunks)).await.unwrap_err();
    for error in [put, get, none] {
        assert_eq!(error.refusal_code(), Some(RefusalCode::NoSuchFolder), "{error}");
    }
}
