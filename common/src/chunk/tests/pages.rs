//! Manifest pages: round trips, stable boundaries, and claims that must not be believed.

use super::{folder, forge, keys, noise, other_folder, plaintext};
use crate::chunk::{
    Built, Child, ChunkRef, ClearPage, ObjectType, OpenError, PageError, build_manifest, open_page,
    read_clear_page,
};
use crate::ids::ChunkId;
use crate::limits::{
    CHUNK_BYTES_MAX, FILE_BYTES_MAX, PAGE_ENTRIES_AVG, PAGE_ENTRIES_MAX, PAGE_LEVEL_MAX,
    SEALED_BYTES_MAX,
};
use crate::record::Root;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The chunks of a made-up file.
fn chunks(seed: u64, count: usize) -> Vec<ChunkRef> {
    let bytes = noise(seed, count * ChunkId::LEN);
    (0..)
        .zip(bytes.as_chunks::<{ ChunkId::LEN }>().0)
        .map(|(n, id)| ChunkRef { id: ChunkId::from_bytes(*id), plain_len: 20_000 + n % 1000 })
        .collect()
}

fn build(chunks: &[ChunkRef]) -> Built {
    build_manifest(&keys(), &folder(), chunks)
}

/// Follows a manifest down, with and without the key, to the chunks of the file.
fn walk(built: &Built) -> Vec<ChunkRef> {
    let stored: BTreeMap<ChunkId, &[u8]> =
        built.pages.iter().map(|(id, bytes)| (*id, &bytes[..])).collect();
    let mut found = Vec::new();
    let mut open: Vec<(ChunkId, u8, Option<u64>)> =
        built.root.iter().map(|root| (root.id, root.level, None)).collect();
    while let Some((id, level, plain_bytes)) = open.pop() {
        if level == 0 {
            let plain_len = plain_bytes.unwrap().try_into().unwrap();
            found.push(ChunkRef { id, plain_len });
            continue;
        }
        let page = open_page(&keys(), &folder(), &id, level, stored[&id]).unwrap();
        assert!(plain_bytes.is_none_or(|bytes| bytes == page.plain_bytes()));
        let clear = read_clear_page(&id, stored[&id], &folder()).unwrap();
        assert_eq!(clear.level, level);
        assert_eq!(clear.ids, page.children.iter().map(|child| child.id).collect::<Vec<_>>());
        let below = page.children.iter().rev();
        open.extend(below.map(|child| (child.id, level - 1, Some(child.plain_bytes))));
    }
    found
}

/// New pages of a changed manifest, by level.
fn new_pages(before: &Built, after: &Built) -> BTreeMap<u8, usize> {
    let old: BTreeMap<ChunkId, ()> = before.pages.iter().map(|(id, _)| (*id, ())).collect();
    let mut new = BTreeMap::new();
    for (id, stored) in after.pages.iter().filter(|(id, _)| !old.contains_key(id)) {
        *new.entry(read_clear_page(id, stored, &folder()).unwrap().level).or_default() += 1;
    }
    new
}

#[test]
fn files_of_no_and_of_one_chunk_have_no_page() {
    assert_eq!(build(&[]), Built { root: None, pages: Vec::new() });
    let one = chunks(1, 1);
    let root = Some(Root { id: one[0].id, level: 0 });
    assert_eq!(build(&one), Built { root, pages: Vec::new() });
}

#[test]
fn a_large_file_has_pages_of_pages_near_the_average() {
    let chunks = chunks(2, 100_000);
    let built = build(&chunks);
    assert_eq!(walk(&built), chunks);
    assert_eq!(built.root.map(|root| root.level), Some(3));
    let bottom = new_pages(&build(&[]), &built)[&1];
    let average = chunks.len() / bottom;
    assert!((PAGE_ENTRIES_AVG * 3 / 4..PAGE_ENTRIES_AVG * 5 / 4).contains(&average), "{average}");
    for (_, stored) in &built.pages {
        assert!(stored.len() <= SEALED_BYTES_MAX);
    }
}

#[test]
fn an_edit_in_the_middle_rewrites_about_one_page_a_level() {
    let original = chunks(3, 100_000);
    let before = build(&original);
    let fresh = chunks(4, 3);
    for at in [0, 777, 50_000, 99_999] {
        let mut replaced = original.clone();
        replaced[at] = fresh[0];
        let mut inserted = original.clone();
        inserted.splice(at..at, fresh.iter().copied());
        let mut removed = original.clone();
        removed.remove(at);
        for after in [replaced, inserted, removed] {
            let new = new_pages(&before, &build(&after));
            assert_eq!(new.len(), 3, "{new:?}");
            assert!(new.values().all(|count| *count <= 4), "{new:?} at {at}");
        }
    }
}

#[test]
fn a_file_of_zeros_stores_each_page_once() {
    let zeros = vec![ChunkRef { plain_len: CHUNK_BYTES_MAX, ..chunks(5, 1)[0] }; 50_000];
    let built = build(&zeros);
    assert!(built.pages.len() <= 8, "{}", built.pages.len());
    assert_eq!(walk(&built), zeros);
}

#[test]
fn another_epoch_gives_other_pages_for_the_same_chunks() {
    let chunks = chunks(6, 300);
    let mut rotated = keys();
    rotated.add_epoch([9; 32]);
    let (old, new) = (build(&chunks), build_manifest(&rotated, &folder(), &chunks));
    assert_ne!(old.root, new.root);
    let (id, stored) = &new.pages[0];
    let opened = open_page(&keys(), &folder(), id, 1, stored);
    assert_eq!(opened, Err(OpenError::UnknownEpoch { epoch: 2 }));
}

#[test]
fn a_page_of_another_folder_level_or_id_is_refused() {
    let built = build(&chunks(7, 3));
    let (id, stored) = &built.pages[0];
    assert_eq!(read_clear_page(id, stored, &other_folder()), Err(PageError::Folder));
    let level = open_page(&keys(), &folder(), id, 2, stored);
    assert_eq!(level, Err(OpenError::Level { expected: 2, found: 1 }));
    let other = ChunkId::from_bytes([0; 32]);
    assert_eq!(read_clear_page(&other, stored, &folder()), Err(PageError::Hash));

    // Put under another folder's id in the clear, it reads there but opens nowhere.
    let mut moved = stored.clone();
    moved[10..42].copy_from_slice(other_folder().as_bytes());
    let id = ChunkId::of(&moved);
    assert!(read_clear_page(&id, &moved, &other_folder()).is_ok());
    let opened = open_page(&keys(), &other_folder(), &id, 1, &moved);
    assert_eq!(opened, Err(OpenError::Authentication));
}

/// A page with any claims, sealed by someone who holds the key.
fn forge_page(level: u8, count: u16, children: &[(ChunkId, u64)]) -> Vec<u8> {
    let mut bound = vec![level];
    bound.extend_from_slice(&count.to_le_bytes());
    children.iter().for_each(|(id, _)| bound.extend_from_slice(id.as_bytes()));
    let lengths: Vec<u8> = children.iter().flat_map(|(_, length)| length.to_le_bytes()).collect();
    let length = u32::try_from(lengths.len()).unwrap();
    let clear = [&folder().as_bytes()[..], &bound].concat();
    forge(ObjectType::Page, &clear, &bound, &plaintext(0, length, length, &lengths))
}

fn refused(level: u8, stored: &[u8]) -> OpenError {
    open_page(&keys(), &folder(), &ChunkId::of(stored), level, stored).unwrap_err()
}

#[test]
fn counts_and_levels_that_no_page_has_are_refused_by_servers_too() {
    let child = [(ChunkId::from_bytes([1; 32]), 1)];
    let read = |stored: &[u8]| read_clear_page(&ChunkId::of(stored), stored, &folder());
    assert!(read(&forge_page(1, 1, &child)).is_ok());
    assert_eq!(read(&forge_page(0, 1, &child)), Err(PageError::Level(0)));
    let above = PAGE_LEVEL_MAX + 1;
    assert_eq!(read(&forge_page(above, 1, &child)), Err(PageError::Level(above)));
    assert_eq!(read(&forge_page(1, 0, &child)), Err(PageError::Count(0)));
    assert_eq!(read(&forge_page(1, 513, &child)), Err(PageError::Count(513)));
    assert_eq!(read(&forge_page(1, u16::MAX, &child)), Err(PageError::Count(u16::MAX)));
    let short = read(&forge_page(1, 512, &child));
    assert!(matches!(short, Err(PageError::Truncated { .. })), "{short:?}");
}

#[test]
fn lengths_that_no_file_has_are_refused() {
    let id = ChunkId::from_bytes([1; 32]);
    let one = |level, length| refused(level, &forge_page(level, 1, &[(id, length)]));
    let too_large = |limit| {
        move |error: OpenError| {
            assert!(
                matches!(error, OpenError::TooLarge { limit: l, .. } if l == limit),
                "{error:?}"
            );
        }
    };
    too_large(CHUNK_BYTES_MAX.into())(one(1, u64::from(CHUNK_BYTES_MAX) + 1));
    too_large(CHUNK_BYTES_MAX.into())(one(1, u64::MAX));
    let page_max = PAGE_ENTRIES_MAX as u64 * u64::from(CHUNK_BYTES_MAX);
    too_large(page_max)(one(2, page_max + 1));
    for level in 4..=PAGE_LEVEL_MAX {
        too_large(FILE_BYTES_MAX)(one(level, u64::MAX));
        too_large(FILE_BYTES_MAX)(one(level, FILE_BYTES_MAX + 1));
    }
    too_large(FILE_BYTES_MAX)(refused(6, &forge_page(6, 512, &[(id, FILE_BYTES_MAX); 512])));
    assert_eq!(one(1, 0), OpenError::Malformed("an entry of no bytes"));

    let whole = forge_page(6, 2, &[(id, FILE_BYTES_MAX - 1), (id, 1)]);
    let page = open_page(&keys(), &folder(), &ChunkId::of(&whole), 6, &whole).unwrap();
    assert_eq!(page.plain_bytes(), FILE_BYTES_MAX);
}

#[test]
fn a_page_needs_one_length_an_entry() {
    let id = ChunkId::from_bytes([1; 32]);
    let mut bound = vec![1, 2, 0];
    bound.extend_from_slice(&[id.as_bytes(), id.as_bytes()].map(|id| &id[..]).concat());
    let clear = [&folder().as_bytes()[..], &bound].concat();
    for lengths in [8, 15, 17, 24] {
        // Padding makes the page long enough for what its clear part says.
        let body = plaintext(0, lengths, lengths, &[1; 24][..lengths as usize]);
        let body = [&body[..], &[0; 16]].concat();
        let page = forge(ObjectType::Page, &clear, &bound, &body);
        assert_eq!(refused(1, &page), OpenError::Malformed("not one length an entry"));
    }
    let compressed = forge(ObjectType::Page, &clear, &bound, &plaintext(1, 16, 16, &[1; 16]));
    assert_eq!(refused(1, &compressed), OpenError::UnknownCodec(1));
}

#[test]
fn every_flipped_bit_and_every_cut_of_a_page_is_refused() {
    let built = build(&chunks(8, 2));
    let (_, stored) = &built.pages[0];
    for bit in 0..stored.len() * 8 {
        let mut altered = stored.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        refused(1, &altered);
    }
    for keep in 0..stored.len() {
        refused(1, &stored[..keep]);
        let cut = &stored[..keep];
        assert!(read_clear_page(&ChunkId::of(cut), cut, &folder()).is_err(), "{keep}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_manifest_lists_the_chunks_that_it_was_built_from(seed: u64, count in 0usize..3000) {
        let chunks = chunks(seed, count);
        let built = build(&chunks);
        if count > 1 {
            prop_assert_eq!(walk(&built), chunks);
        }
        prop_assert_eq!(build(&self::chunks(seed, count)), built);
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let head = [&b"drft\x01\x02\x01\0\0\0"[..], folder().as_bytes()].concat();
        for stored in [bytes.clone(), [&head[..], &bytes].concat()] {
            let id = ChunkId::of(&stored);
            prop_assert!(open_page(&keys(), &folder(), &id, 1, &stored).is_err());
            let clear: Result<ClearPage, PageError> = read_clear_page(&id, &stored, &folder());
            prop_assert!(clear.is_err() || stored.len() > head.len());
        }
    }
}

#[test]
fn a_page_made_by_hand_does_not_wrap() {
    let child = Child { id: ChunkId::from_bytes([0; 32]), plain_bytes: u64::MAX };
    let page = crate::chunk::Page { level: 1, children: vec![child; 2] };
    assert_eq!(page.plain_bytes(), u64::MAX);
}
