//! Properties of cut points.

use super::{keys, noise};
use crate::chunk::{ChunkRef, Chunker, build_manifest, seal_chunk};
use crate::ids::ChunkId;
use crate::limits::{CHUNK_BYTES_AVG, CHUNK_BYTES_MAX, CHUNK_BYTES_MIN};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn cut_all<'a>(chunker: &Chunker, mut data: &'a [u8]) -> Vec<&'a [u8]> {
    let mut chunks = Vec::new();
    while !data.is_empty() {
        let (chunk, rest) = data.split_at(chunker.cut(data));
        chunks.push(chunk);
        data = rest;
    }
    chunks
}

#[test]
fn no_data_is_no_chunk() {
    assert_eq!(Chunker::new(1).cut(&[]), 0);
}

#[test]
fn data_without_a_cut_point_is_cut_at_the_maximum() {
    let chunker = Chunker::new(keys().chunker_seed());
    let zeros = vec![0; 1 << 20];
    let lengths: Vec<usize> = cut_all(&chunker, &zeros).iter().map(|chunk| chunk.len()).collect();
    assert_eq!(lengths, [CHUNK_BYTES_MAX as usize; 4]);
}

#[test]
fn a_cut_needs_no_more_than_the_maximum_ahead() {
    let chunker = Chunker::new(keys().chunker_seed());
    let data = noise(1, 4 << 20);
    let mut at = 0;
    while at < data.len() {
        let window = data.len().min(at + CHUNK_BYTES_MAX as usize);
        let length = chunker.cut(&data[at..window]);
        assert_eq!(length, chunker.cut(&data[at..]), "at {at}");
        at += length;
    }
}

#[test]
fn chunks_keep_their_bounds_and_come_near_the_average() {
    let chunker = Chunker::new(keys().chunker_seed());
    let data = noise(2, 32 << 20);
    let chunks = cut_all(&chunker, &data);
    let (last, all_but_last) = chunks.split_last().unwrap();
    for chunk in all_but_last {
        assert!((CHUNK_BYTES_MIN as usize..=CHUNK_BYTES_MAX as usize).contains(&chunk.len()));
    }
    assert!((1..=CHUNK_BYTES_MAX as usize).contains(&last.len()));
    let average = data.len() / chunks.len();
    let aim = CHUNK_BYTES_AVG as usize;
    assert!((aim * 3 / 4..=aim * 5 / 4).contains(&average), "average {average}");
}

#[test]
fn another_seed_cuts_elsewhere() {
    let data = noise(3, 4 << 20);
    let ends = |seed| -> BTreeSet<usize> {
        cut_all(&Chunker::new(seed), &data)
            .iter()
            .scan(0, |at, chunk| {
                *at += chunk.len();
                Some(*at)
            })
            .collect()
    };
    let (a, b) = (ends(11), ends(12));
    assert!(a.intersection(&b).count() <= a.len() / 4, "{a:?} {b:?}");
}

#[test]
fn an_insertion_in_32_mib_changes_few_chunks_and_pages() {
    let keys = keys();
    let folder = super::folder();
    let chunker = Chunker::new(keys.chunker_seed());
    let objects = |data: &[u8]| -> (BTreeSet<ChunkId>, BTreeSet<ChunkId>) {
        let chunks: Vec<ChunkRef> = cut_all(&chunker, data)
            .iter()
            .map(|chunk| ChunkRef {
                id: ChunkId::of(&seal_chunk(&keys, &folder, chunk)),
                plain_len: u32::try_from(chunk.len()).unwrap(),
            })
            .collect();
        let pages = build_manifest(&keys, &folder, &chunks).pages;
        (chunks.iter().map(|chunk| chunk.id).collect(), pages.iter().map(|(id, _)| *id).collect())
    };
    let mut data = noise(4, 32 << 20);
    let (chunks, pages) = objects(&data);
    assert!(chunks.len() > 300 && pages.len() >= 3, "{} {}", chunks.len(), pages.len());
    for at in [0, 1 << 20, 17 << 20, (32 << 20) - 1] {
        data.insert(at, 0x5a);
        let (chunks_after, pages_after) = objects(&data);
        let new_chunks = chunks_after.difference(&chunks).count();
        let new_pages = pages_after.difference(&pages).count();
        assert!((1..=4).contains(&new_chunks), "{new_chunks} new chunks at {at}");
        // The page that lists the chunk, the root above it, and a neighbour if a boundary moved.
        assert!((2..=3).contains(&new_pages), "{new_pages} new pages at {at}");
        data.remove(at);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn chunks_put_together_are_the_file(seed: u64, len in 0usize..(1 << 20), stretch in 1usize..64) {
        // Stretched noise has long runs, where the last cut point may not come at all.
        let mut data = noise(seed, len / stretch + 1);
        data = data.into_iter().flat_map(|byte| std::iter::repeat_n(byte, stretch)).collect();
        let chunks = cut_all(&Chunker::new(seed), &data);
        prop_assert_eq!(chunks.concat(), data.as_slice());
        for chunk in &chunks[..chunks.len() - 1] {
            prop_assert!(chunk.len() >= CHUNK_BYTES_MIN as usize);
            prop_assert!(chunk.len() <= CHUNK_BYTES_MAX as usize);
        }
    }
}
