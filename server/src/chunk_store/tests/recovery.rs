//! Starting again: torn tails, lost, old and damaged indexes, lost and altered segments, stamps.

use std::io::IoSlice;

use super::super::disk::write_full;
use super::super::record::{HEADER_BYTES, Header, Kind, SegmentId};
use super::super::{
    ChunkKey, ChunkStore as _, OpenError, Reclaim as _, SimulatedDisk, StoreError, index,
};
use super::{Rig, chunk, contents, key_of, payload, stored};

fn append(rig: &Rig, segment: u32, bytes: &[u8]) {
    let file = rig.disk.open(segment).unwrap();
    let end = file.length().unwrap();
    write_full(file.as_ref(), end, &mut [IoSlice::new(bytes)]).unwrap();
    file.sync().unwrap();
}

/// The generation that a chunk counts as stamped with.
async fn stamp(rig: &Rig, key: ChunkKey) -> Option<u64> {
    let all = rig.store().survey(None, 100).await.unwrap();
    all.iter().find(|chunk| chunk.key == key).map(|chunk| chunk.generation)
}

/// The bytes of headers are pinned in `record`.
#[tokio::test]
async fn a_segment_is_its_start_and_then_its_records() {
    let rig = Rig::real();
    let chunks = [chunk(1, 700), chunk(2, 900)];
    rig.put(&chunks[..1]).await;
    rig.put(&chunks[1..]).await;
    let segment = SegmentId(1_u128.to_le_bytes());
    let mut expected = Header { kind: Kind::Start, position: 0, segment }.encode().to_vec();
    for (key, bytes) in chunks {
        let kind = Kind::Chunk { key, length: bytes.len() as u32 };
        expected.extend(Header { kind, position: expected.len() as u64, segment }.encode());
        expected.extend(bytes);
    }
    assert_eq!(contents(rig.disk.as_ref(), 1).unwrap(), expected);
}

#[tokio::test]
async fn a_torn_tail_is_cut_off() {
    let disk = SimulatedDisk::new();
    let mut rig = Rig::simulated(&disk);
    let kept = vec![chunk(1, 700), chunk(2, 900)];
    rig.put(&kept).await;
    let whole = disk.length(1).unwrap();
    let (key, bytes) = chunk(3, 800);
    let kind = Kind::Chunk { key, length: 800 };
    let segment = SegmentId(contents(rig.disk.as_ref(), 1).unwrap()[24..40].try_into().unwrap());
    let header = Header { kind, position: whole, segment }.encode();
    let mut record = header.to_vec();
    record.extend(&bytes);
    let mut wrong = record.clone();
    wrong[HEADER_BYTES + 400] ^= 1;
    let tails = [&record[..1], &record[..127], &record[..128], &record[..600], &wrong, &[0; 5000]];
    for tail in tails {
        rig.kill();
        append(&rig, 1, tail);
        rig.start();
        assert_eq!(disk.length(1), Some(whole), "after a tail of {} bytes", tail.len());
        assert_eq!(rig.store().get(key).await.unwrap(), None);
        rig.assert_readable(&kept).await;
    }
    rig.kill();
    append(&rig, 1, &record);
    rig.start();
    rig.assert_readable(&[(key, bytes)]).await;
    rig.put(&[chunk(4, 50)]).await;
}

#[tokio::test]
async fn an_index_that_is_gone_is_rebuilt() {
    let mut rig = Rig::real();
    let chunks: Vec<_> = (0..40).map(|number| chunk(number, 1500)).collect();
    for some in chunks.chunks(8) {
        rig.put(some).await;
    }
    let before = rig.store().stats().await;
    assert!(before.segments > 2);
    rig.close().await;
    index::remove(&rig.index_path()).unwrap();
    rig.start();
    let after = rig.store().stats().await;
    assert_eq!((after.chunks, after.bytes), (before.chunks, before.bytes));
    assert_eq!(after.segments, before.segments);
    rig.assert_readable(&chunks).await;
    assert_eq!(rig.put(&chunks).await, vec![stored(false, 1500); 40]);
}

#[tokio::test]
async fn an_index_that_is_damaged_is_rebuilt() {
    let mut rig = Rig::real();
    let chunks: Vec<_> = (0..200).map(|number| chunk(number, 100)).collect();
    rig.put(&chunks).await;
    rig.kill();
    let whole = std::fs::read(rig.index_path()).unwrap();
    let mut holed = whole.clone();
    for page in holed.chunks_mut(4096).skip(1) {
        page.fill(0xa5);
    }
    for damaged in [b"not an index at all".to_vec(), holed, whole[..5000].to_vec()] {
        rig.kill();
        std::fs::write(rig.index_path(), damaged).unwrap();
        rig.start();
        rig.assert_readable(&chunks).await;
        assert_eq!(rig.store().stats().await.chunks, 200);
    }
}

#[tokio::test]
async fn an_index_that_turns_out_damaged_stops_the_store_and_is_rebuilt() {
    let mut rig = Rig::real();
    let chunks: Vec<_> = (0..200).map(|number| chunk(number, 100)).collect();
    rig.put(&chunks).await;
    rig.close().await;
    // A clean index is not searched for damage when it is opened.
    let connection = rusqlite::Connection::open(rig.index_path()).unwrap();
    let root: u32 = connection
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'chunks'", [], |row| row.get(0))
        .unwrap();
    drop(connection);
    let mut bytes = std::fs::read(rig.index_path()).unwrap();
    bytes[(root as usize - 1) * 4096..][..4096].fill(0xa5);
    std::fs::write(rig.index_path(), bytes).unwrap();
    rig.start();
    let error = rig.store().get(chunks[0].0).await.unwrap_err();
    assert!(matches!(error, StoreError::Stopped { .. }), "{error}");
    let error = rig.store().put(chunks.clone()).await.unwrap_err();
    assert!(matches!(error, StoreError::Stopped { .. }), "{error}");
    rig.close().await;
    rig.start();
    rig.assert_readable(&chunks).await;
}

#[tokio::test]
async fn an_index_of_a_later_release_is_left_alone() {
    let mut rig = Rig::real();
    rig.close().await;
    let connection = rusqlite::Connection::open(rig.index_path()).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let Err(error) = rig.open() else { panic!("opened") };
    assert!(matches!(error, OpenError::Index { .. }), "{error}");
}

#[tokio::test]
async fn an_index_from_yesterday_is_brought_up() {
    let mut rig = Rig::real();
    let early: Vec<_> = (0..10).map(|number| chunk(number, 1500)).collect();
    rig.put(&early).await;
    rig.close().await;
    let yesterday = std::fs::read(rig.index_path()).unwrap();
    rig.start();
    let late: Vec<_> = (10..40).map(|number| chunk(number, 1500)).collect();
    rig.put(&late).await;
    let stats = rig.store().stats().await;
    rig.close().await;
    std::fs::write(rig.index_path(), yesterday).unwrap();
    rig.start();
    rig.assert_readable(&early).await;
    rig.assert_readable(&late).await;
    let now = rig.store().stats().await;
    assert_eq!((now.chunks, now.bytes, now.segments), (stats.chunks, stats.bytes, stats.segments));
}

#[tokio::test]
async fn segments_from_yesterday_are_what_is_stored() {
    let mut rig = Rig::real();
    let early = vec![chunk(1, 1500), chunk(2, 1500)];
    rig.put(&early).await;
    rig.close().await;
    let path = rig.directory.path().join("segments/000001.seg");
    let yesterday = std::fs::read(&path).unwrap();
    rig.start();
    let late = vec![chunk(3, 1500)];
    rig.put(&late).await;
    rig.close().await;
    std::fs::write(&path, yesterday).unwrap();
    rig.start();
    rig.assert_readable(&early).await;
    assert_eq!(rig.store().get(late[0].0).await.unwrap(), None);
    assert_eq!(rig.store().stats().await.chunks, 2);
    assert_eq!(rig.put(&late).await, vec![stored(true, 1500)]);
}

#[tokio::test]
async fn a_segment_that_is_missing_loses_its_chunks_only() {
    let mut rig = Rig::real();
    let chunks: Vec<_> = (0..30).map(|number| chunk(number, 1500)).collect();
    for chunk in &chunks {
        rig.put(std::slice::from_ref(chunk)).await;
    }
    rig.close().await;
    let path = rig.directory.path().join("segments/000001.seg");
    let lost = contents(rig.disk.as_ref(), 1).unwrap();
    std::fs::remove_file(&path).unwrap();
    rig.start();
    assert_eq!(rig.store().get(chunks[0].0).await.unwrap(), None);
    rig.assert_readable(&chunks[20..]).await;
    // An unmounted disk comes back.
    rig.close().await;
    std::fs::write(&path, lost).unwrap();
    rig.start();
    rig.assert_readable(&chunks).await;
}

#[tokio::test]
async fn a_rebuild_goes_on_after_a_damaged_header() {
    for (place, name) in [(0, "start"), (1, "first"), (2, "middle"), (3, "last")] {
        let mut rig = Rig::real();
        let chunks: Vec<_> = (1..=3).map(|number| chunk(number, 1500)).collect();
        rig.put(&chunks).await;
        rig.close().await;
        let header = if place == 0 { 0 } else { 128 + (place - 1) * (128 + 1500) };
        rig.flip(1, header + 50);
        index::remove(&rig.index_path()).unwrap();
        rig.start();
        for (number, (key, bytes)) in (1..).zip(&chunks) {
            let expected = (number != place).then_some(bytes);
            assert_eq!(rig.store().get(*key).await.unwrap().as_ref(), expected, "{name}");
        }
        rig.put(&chunks).await;
        rig.kill();
        rig.start();
        rig.assert_readable(&chunks).await;
    }
}

/// A device chooses its payloads; it must not be able to make a scan see records in them.
#[tokio::test]
async fn a_payload_that_looks_like_records_is_none() {
    let mut rig = Rig::real();
    let victim = payload(7, 100);
    let mut forged = Vec::new();
    for position in [256, 128, 0] {
        let kind = Kind::Chunk { key: key_of(&victim), length: 100 };
        let segment = SegmentId([0xee; 16]);
        forged.extend(Header { kind, position, segment }.encode());
        forged.extend(&victim);
    }
    let forged = bytes::Bytes::from(forged);
    rig.put(&[(key_of(&forged), forged.clone()), chunk(1, 300)]).await;
    rig.close().await;
    // The record around it is lost, so that the scan meets the payload.
    rig.flip(1, 128);
    index::remove(&rig.index_path()).unwrap();
    rig.start();
    assert_eq!(rig.store().get(key_of(&victim)).await.unwrap(), None);
    rig.assert_readable(&[chunk(1, 300)]).await;
}

#[tokio::test]
async fn a_rebuild_prefers_the_copy_that_is_whole() {
    for damage_first in [true, false] {
        let mut rig = Rig::real();
        let twice = chunk(1, 1000);
        rig.put(std::slice::from_ref(&twice)).await;
        // A damaged copy is written again; it lies in an older segment by the end.
        rig.close().await;
        let (segment, offset) = rig.places(&twice.1)[0];
        rig.flip(segment, offset);
        rig.start();
        rig.put(std::slice::from_ref(&twice)).await;
        for number in 10..40 {
            rig.put(&[chunk(number, 1500)]).await;
        }
        rig.close().await;
        if !damage_first {
            let (second, second_offset) = rig.places(&twice.1)[0];
            rig.flip(segment, offset);
            rig.flip(second, second_offset);
        }
        index::remove(&rig.index_path()).unwrap();
        rig.start();
        rig.assert_readable(std::slice::from_ref(&twice)).await;
        assert_eq!(rig.store().stats().await.chunks, 31);
    }
}

#[tokio::test]
async fn the_generation_is_kept_and_stamps_follow_it() {
    let mut rig = Rig::real();
    let chunks: Vec<_> = (0..3).map(|number| chunk(number, 100)).collect();
    rig.put(&chunks).await;
    rig.store().raise_generation(3).await.unwrap();
    rig.store().raise_generation(2).await.unwrap();
    assert_eq!(rig.store().generation(), 3);
    // One put again, one asked for, one left alone.
    rig.put(&chunks[..1]).await;
    rig.store().have(vec![chunks[1].0]).await.unwrap();
    rig.close().await;
    rig.start();
    assert_eq!(rig.store().generation(), 3);
    for ((key, _), expected) in chunks.iter().zip([3, 3, 1]) {
        assert_eq!(stamp(&rig, *key).await, Some(expected));
    }
    assert_eq!(stamp(&rig, chunk(9, 9).0).await, None);
}

/// The index is not synced with each stamp, so after a crash none is known to be old.
#[tokio::test]
async fn after_a_crash_every_stamp_counts_as_new() {
    for index_is_lost in [false, true] {
        let mut rig = Rig::real();
        rig.put(&[chunk(1, 100)]).await;
        rig.store().raise_generation(5).await.unwrap();
        rig.kill();
        if index_is_lost {
            index::remove(&rig.index_path()).unwrap();
        }
        rig.start();
        assert_eq!(stamp(&rig, chunk(1, 100).0).await, Some(5));
        rig.close().await;
        rig.start();
        assert_eq!(stamp(&rig, chunk(1, 100).0).await, Some(5));
    }
}
