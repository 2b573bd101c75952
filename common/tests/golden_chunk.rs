//! Pins cut points, key derivations and sealed formats, byte by byte.
//!
//! A failure here is a format version, not a test to update: devices and servers in the field hold
//! objects in these formats. The one exception is `compressed_chunk`'s second half, which says so.

#![allow(clippy::unwrap_used, reason = "what these tests call takes no outside input")]

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use common::chunk::{
    Attributes, Child, ChunkRef, Chunker, Page, build_manifest, open_attributes, open_chunk,
    open_name, open_page, seal_attributes, seal_chunk, seal_name,
};
use common::ids::{ChunkId, ContentTag, EntryId, FolderId};
use common::keys::FolderKeys;
use common::name::Name;
use data_encoding::HEXLOWER;

const ENTRY: EntryId = EntryId::from_bytes([0x33; 16]);

fn keys() -> FolderKeys {
    FolderKeys::new([0x11; 32], [0x22; 32])
}

fn folder() -> FolderId {
    FolderId::from_bytes([0x44; 32])
}

/// Bytes of an xorshift64* generator: the test's own, so that no library decides them.
fn noise(mut state: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn name() -> Name {
    Name::new("report.txt").unwrap()
}

fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

fn unhex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn cut_all(seed: u64, data: &[u8]) -> Vec<usize> {
    let chunker = Chunker::new(seed);
    let mut lengths = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let length = chunker.cut(rest);
        lengths.push(length);
        rest = &rest[length..];
    }
    lengths
}

#[test]
fn cut_points() {
    let data = noise(1, 1 << 20);
    let unseeded = [
        112_179, 66_686, 93_529, 75_492, 67_985, 74_550, 85_684, 48_823, 87_002, 66_639, 71_459,
        70_347, 66_281, 61_920,
    ];
    assert_eq!(cut_all(0, &data), unseeded);
    let seeded = [
        88_353, 89_003, 74_352, 68_035, 96_100, 107_681, 81_138, 68_410, 77_416, 66_085, 72_654,
        60_490, 85_326, 13_533,
    ];
    assert_eq!(cut_all(keys().chunker_seed(), &data), seeded);
    // Runs of one byte: some of these chunks have no cut point within the maximum.
    let runs: Vec<u8> = noise(2, 4096).iter().flat_map(|byte| [*byte; 200]).collect();
    let lengths = [262_144, 66_856, 142_823, 262_144, 64_042, 21_191];
    assert_eq!(cut_all(keys().chunker_seed(), &runs), lengths);
}

#[test]
fn derivations() {
    let keys = keys();
    let check = |bytes: &[u8; 32], expected: &str| assert_eq!(hex(bytes), expected);
    assert_eq!(keys.chunker_seed(), 0x6429_f472_f8f1_a0ea);
    check(
        keys.name_tag(&ENTRY, &name()).as_bytes(),
        "feedef2239db5070844a133fd6f8a555188e874c3c11b20874d57bc25e926b5a",
    );
    check(
        keys.plain_hash(b"golden").as_bytes(),
        "3ca4b2289058fd87cc25ec1f62d74baeb89912ecb8fd2f6209b7ca460935b556",
    );
    check(
        keys.directory_tag().as_bytes(),
        "c3d71550114028e725fe5f19930ec6edfcb8934e1b7f1eb2702d5745eb163651",
    );
    check(
        keys.symlink_tag(b"../golden").as_bytes(),
        "9ad3f9a9be516d0d6420c34bba700601cbab6f37605418bb24f6443cf9323ea9",
    );
    check(
        keys.content_tag().finish().as_bytes(),
        "226f4e09144cc2d29fcd2df672c43d3c8413d4aacfbe3d68fb5df9ad9abb5281",
    );
    let mut tag = keys.content_tag();
    tag.chunk(&keys.plain_hash(b"golden"), 6);
    tag.chunk(&keys.plain_hash(b"tag"), 3);
    check(
        tag.finish().as_bytes(),
        "09e7682d3305a03e863912a9c23abd0fa57f193de1937825e015fc633f6c4c24",
    );
}

const RAW_CHUNK: &str = "6472667401010100000097e0b4ab46c2379d8c0ab3a3415d79086a67955dd4e54aff0d6c\
    25e46a7f194c4fc65859f7e665ac43dc8d9665eb7a8e660235a77a81b5a55b8889b1200494";

#[test]
fn raw_chunk() {
    let sealed = seal_chunk(&keys(), &folder(), b"golden");
    assert_eq!(hex(&sealed), RAW_CHUNK);
    let long = seal_chunk(&keys(), &folder(), &noise(3, 100_000));
    assert_eq!(
        ChunkId::of(&long).to_string(),
        "d55d5129461e2d6df1861a8903a6e0dfa474c5e0de5c079ef519eafcfc39bc15"
    );
}

/// Opens the chunk of `raw_chunk` from the written format alone, with nothing of `chunk`.
#[test]
fn raw_chunk_is_as_documented() {
    let stored = unhex(RAW_CHUNK);
    let (header, rest) = stored.split_at(10);
    let (iv, ciphertext) = rest.split_at(32);
    assert_eq!(header, b"drft\x01\x01\x01\0\0\0");
    let associated = [&header[..6], &[0x44; 32], &header[6..]].concat();

    let enc_key = blake3::derive_key("driftless 2026 chunk enc key v1", &[0x22; 32]);
    let key = blake3::keyed_hash(&enc_key, iv);
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_bytes()).unwrap());
    let mut text = ciphertext.to_vec();
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    let text = key.open_in_place(nonce, Aad::from(&associated), &mut text).unwrap();
    assert_eq!(text, b"\x00\x06\0\0\0\x06\0\0\0golden");

    let iv_key = blake3::derive_key("driftless 2026 chunk iv key v1", &[0x22; 32]);
    let length = (associated.len() as u64).to_le_bytes();
    let hashed = [&length[..], &associated, text].concat();
    assert_eq!(blake3::keyed_hash(&iv_key, &hashed).as_bytes(), iv);
}

#[test]
fn compressed_chunk() {
    let stored = "64726674010101000000c44b174692fd47579aa802c3b3ff19a61f407b1d96bda1eed8a6d0eca743\
        bcd71e5dd384a08ed90a6cd48c5ab9764f54cc20e042d5ce6287ef2cb5a45b179cc603887906b8f15f3c418520\
        ef8d4a69eac8bb";
    let text = b"golden ".repeat(1000);
    let sealed = unhex(stored);
    assert_eq!(open_chunk(&keys(), &folder(), &ChunkId::of(&sealed), &sealed), Ok(text.clone()));
    // Another zstd may compress to other bytes. That breaks no reader, but it costs dedup against
    // what is stored already: update this half alone, and say so in the change.
    assert_eq!(hex(&seal_chunk(&keys(), &folder(), &text)), stored);
}

#[test]
fn sealed_name() {
    let stored = "64726674010301000000196182ad85f30bfc4b17d23b75da446b2eaebd2efc9e7484cbccb3ddb7df\
        0dbcc33ca5e2054af1df403fb3288ddf42f1877d661cb25e2cd2eedc4a0e607866ef73c4ac6aa2c2fd187d429f\
        af8f0293019aa457fe240b760fe5";
    assert_eq!(hex(&seal_name(&keys(), &folder(), &ENTRY, &name())), stored);
    assert_eq!(open_name(&keys(), &folder(), &ENTRY, &unhex(stored)), Ok(name()));
}

#[test]
fn sealed_attributes() {
    let check = |attributes: &Attributes, stored: &str| {
        assert_eq!(hex(&seal_attributes(&keys(), &folder(), &ENTRY, attributes)), stored);
        let opened = open_attributes(&keys(), &folder(), &ENTRY, &unhex(stored));
        assert_eq!(opened.as_ref(), Ok(attributes));
    };
    let file = Attributes {
        mode: 0o644,
        mtime_ns: 1_700_000_000_123_456_789,
        size: 6,
        target: None,
        tag: ContentTag::from_bytes([0x55; 32]),
        restored: None,
    };
    check(
        &file,
        "64726674010401000000d0e6c8a08f558d85cfbfb2cb42cd690fcadd3a16ab51341dabbb8a81a136ff69854d26\
        7144825acd2744f15f85871a3c60ac27ce84d419bf948e374faa2bd3f10e8b6cdedb00bd71c8bcdf0325820e9f\
        320f3e4af32b1d8891caf1bbe62cb5fbd664d2d3d08836939499a59c5830670701ea12765266fc4d79",
    );
    let link = Attributes {
        mode: 0,
        mtime_ns: -1,
        size: 0,
        target: Some(b"../golden".to_vec()),
        tag: ContentTag::from_bytes([0x66; 32]),
        restored: None,
    };
    check(
        &link,
        "647266740104010000003490e22e89c4a16d9cdd03118745e4b13bdaa74f1a32c9ed6fc4a2e25cea9eed1780ea\
        91e84f19e364c45a119da0f20dead34dd954dfc2a9c99f8a8cbe9f161aef6cff62fcf2bd7f204ac9b2b37391b8\
        9bbf90d388b280e26866550211f780313137c71dca89b930080853732a699df9fdff59707e9feaf1ee",
    );
}

#[test]
fn manifest_page() {
    let stored = "6472667401020100000044444444444444444444444444444444444444444444444444444444444444\
        440102000101010101010101010101010101010101010101010101010101010101010101020202020202020202\
        020202020202020202020202020202020202020202020238e2e4ddea4ecc98ecbab0e7562639f59446bc0d0ec5\
        15ba0219d8c84d27d54f27cac93f573d92b0b9d250409c2e9edc8c816a220c2bf6bcc634b75f8e9cbe86c69323\
        981d01fa16ba";
    let ids = [1, 2].map(|byte| ChunkId::from_bytes([byte; 32]));
    let chunks = [(ids[0], 1000), (ids[1], 2000)].map(|(id, plain_len)| ChunkRef { id, plain_len });
    let built = build_manifest(&keys(), &folder(), &chunks);
    let (id, page) = &built.pages[0];
    assert_eq!(hex(page), stored);
    let children =
        vec![Child { id: ids[0], plain_bytes: 1000 }, Child { id: ids[1], plain_bytes: 2000 }];
    let opened = open_page(&keys(), &folder(), id, 1, &unhex(stored));
    assert_eq!(opened, Ok(Page { level: 1, children }));
}

/// Page boundaries of every level go into the root's id.
#[test]
fn manifest_of_ten_thousand_chunks() {
    let ids = noise(4, 10_000 * ChunkId::LEN);
    let (ids, _) = ids.as_chunks::<{ ChunkId::LEN }>();
    let chunks: Vec<ChunkRef> =
        ids.iter().map(|id| ChunkRef { id: ChunkId::from_bytes(*id), plain_len: 65_536 }).collect();
    let built = build_manifest(&keys(), &folder(), &chunks);
    let root = built.root.unwrap();
    assert_eq!((root.level, built.pages.len()), (3, 77));
    assert_eq!(
        root.id.to_string(),
        "3087691fda42616a5dae4c3f3181dbbea147692b4a3efa01d5b95c5a598806a1"
    );
}
