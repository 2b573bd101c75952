//! Sealed chunks: round trips, determinism, and every way in which one must not open.

use super::{folder, forge, keys, noise, other_folder, plaintext, prose};
use crate::chunk::body::ZSTD_LEVEL;
use crate::chunk::envelope::{self, Binding};
use crate::chunk::{ObjectType, OpenError, PageError, open_chunk, seal_chunk};
use crate::ids::ChunkId;
use crate::keys::FolderKeys;
use crate::limits::{CHUNK_BYTES_MAX, SEALED_BYTES_MAX};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use proptest::prelude::*;

/// Opens as a server would have it opened: under the id of whatever bytes it sends.
fn open(stored: &[u8]) -> Result<Vec<u8>, OpenError> {
    open_chunk(&keys(), &folder(), &ChunkId::of(stored), stored)
}

fn forge_chunk(plaintext: &[u8]) -> Vec<u8> {
    forge(ObjectType::Chunk, &[], &[], plaintext)
}

#[test]
fn prose_shrinks_and_noise_grows_by_the_envelope_only() {
    let text = prose(64 * 1024);
    let sealed = seal_chunk(&keys(), &folder(), &text);
    assert!(sealed.len() < text.len() / 2);
    assert_eq!(open(&sealed), Ok(text));

    let noise = noise(1, CHUNK_BYTES_MAX as usize);
    let sealed = seal_chunk(&keys(), &folder(), &noise);
    assert_eq!(sealed.len(), noise.len() + 67);
    assert!(sealed.len() <= SEALED_BYTES_MAX);
    assert_eq!(open(&sealed), Ok(noise));
}

#[test]
fn a_noisy_front_costs_compression_but_not_the_chunk() {
    let mut chunk = noise(1, 8192);
    chunk.extend_from_slice(&prose(60_000));
    assert_eq!(open(&seal_chunk(&keys(), &folder(), &chunk)), Ok(chunk));
}

#[test]
fn sealing_does_not_depend_on_what_the_thread_sealed_before() {
    let chunks: Vec<Vec<u8>> = (1..40)
        .map(|n| if n % 3 == 0 { noise(n, 50_000) } else { prose(n as usize * 6000) })
        .collect();
    let in_turn: Vec<Vec<u8>> =
        chunks.iter().map(|chunk| seal_chunk(&keys(), &folder(), chunk)).collect();
    for (chunk, sealed) in chunks.into_iter().zip(in_turn).rev() {
        let alone = std::thread::spawn(move || seal_chunk(&keys(), &folder(), &chunk));
        assert_eq!(alone.join().unwrap(), sealed);
    }
}

#[test]
#[should_panic(expected = "a chunk has 1 to")]
fn sealing_nothing_is_a_mistake_of_the_caller() {
    let _ = seal_chunk(&keys(), &folder(), &[]);
}

#[test]
fn bytes_of_another_id_are_refused_and_may_be_had_elsewhere() {
    let sealed = seal_chunk(&keys(), &folder(), b"one");
    let other = ChunkId::of(&seal_chunk(&keys(), &folder(), b"two"));
    let error = open_chunk(&keys(), &folder(), &other, &sealed).unwrap_err();
    assert_eq!(error, OpenError::Clear(PageError::Hash));
    assert!(error.is_retryable());
    assert!(!OpenError::Authentication.is_retryable());
}

#[test]
fn a_chunk_of_another_folder_or_key_does_not_open() {
    let sealed = seal_chunk(&keys(), &folder(), b"text");
    let id = ChunkId::of(&sealed);
    let refused = Err(OpenError::Authentication);
    assert_eq!(open_chunk(&keys(), &other_folder(), &id, &sealed), refused);
    assert_eq!(open_chunk(&FolderKeys::new([1; 32], [9; 32]), &folder(), &id, &sealed), refused);
}

#[test]
fn earlier_epochs_open_and_unknown_or_other_ones_do_not() {
    let mut rotated = keys();
    rotated.add_epoch([5; 32]);
    let old = seal_chunk(&keys(), &folder(), b"text");
    let new = seal_chunk(&rotated, &folder(), b"text");
    assert_ne!(old, new);
    for sealed in [&old, &new] {
        let opened = open_chunk(&rotated, &folder(), &ChunkId::of(sealed), sealed);
        assert_eq!(opened, Ok(b"text".to_vec()));
    }
    assert_eq!(open(&new), Err(OpenError::UnknownEpoch { epoch: 2 }));

    let mut relabelled = old;
    relabelled[6] = 2;
    let opened = open_chunk(&rotated, &folder(), &ChunkId::of(&relabelled), &relabelled);
    assert_eq!(opened, Err(OpenError::Authentication));
    for epoch in [0, u32::MAX] {
        relabelled[6..10].copy_from_slice(&epoch.to_le_bytes());
        assert_eq!(open(&relabelled), Err(OpenError::UnknownEpoch { epoch }));
    }
}

#[test]
fn an_object_of_another_type_is_no_chunk() {
    let page = forge(ObjectType::Page, &[], &[], &plaintext(0, 1, 1, b"x"));
    let expected = ObjectType::Chunk;
    assert_eq!(open(&page), Err(OpenError::Clear(PageError::Type { expected, found: 2 })));
    // Relabelled: its type is bound by key and associated data, not by the header alone.
    let mut relabelled = page;
    relabelled[5] = 1;
    assert_eq!(open(&relabelled), Err(OpenError::Authentication));
}

#[test]
fn foreign_bytes_are_refused_for_what_they_are() {
    let sealed = seal_chunk(&keys(), &folder(), b"text");
    let with = |at: usize, byte: u8| {
        let mut altered = sealed.clone();
        altered[at] = byte;
        open(&altered)
    };
    assert_eq!(with(0, b'D'), Err(OpenError::Clear(PageError::Magic)));
    assert_eq!(with(4, 9), Err(OpenError::Clear(PageError::UnknownVersion(9))));
    assert!(matches!(with(5, 5), Err(OpenError::Clear(PageError::Type { found: 5, .. }))));
    let limit = SEALED_BYTES_MAX;
    let long = vec![0; limit + 1];
    let too_long = PageError::TooLong { actual: limit + 1, limit };
    assert_eq!(open(&long), Err(OpenError::Clear(too_long)));
}

#[test]
fn lengths_that_lie_are_refused_before_memory_is_taken() {
    let limit = u64::from(CHUNK_BYTES_MAX);
    let huge = forge_chunk(&plaintext(1, u32::MAX, 4, b"zstd"));
    let actual = u64::from(u32::MAX);
    let refused = Err(OpenError::TooLarge { field: "length", actual, limit });
    assert_eq!(open(&huge), refused);

    let beyond = forge_chunk(&plaintext(0, 5, 5, b"four"));
    let refused = Err(OpenError::TooLarge { field: "body length", actual: 5, limit: 4 });
    assert_eq!(open(&beyond), refused);

    for (sealed, why) in [
        (forge_chunk(&plaintext(0, 3, 4, b"four")), "raw lengths differ"),
        (forge_chunk(&plaintext(0, 3, 3, b"four")), "padding is not zero"),
        (forge_chunk(&plaintext(0, 0, 0, b"")), "an empty chunk"),
        (forge_chunk(b"12345678"), "no room for codec and lengths"),
        (forge_chunk(b""), "no room for codec and lengths"),
    ] {
        assert_eq!(open(&sealed), Err(OpenError::Malformed(why)));
    }
    assert_eq!(open(&forge_chunk(&plaintext(7, 4, 4, b"four"))), Err(OpenError::UnknownCodec(7)));
}

#[test]
fn a_padded_chunk_opens() {
    assert_eq!(open(&forge_chunk(&plaintext(0, 4, 4, b"four\0\0\0\0"))), Ok(b"four".to_vec()));
}

#[test]
fn a_decompression_bomb_is_refused() {
    // 1 GiB in 100 kB, and as many frames as fit: neither may write past the length it claims.
    let bomb = zstd::bulk::compress(&vec![0; 1 << 30], ZSTD_LEVEL).unwrap();
    assert!(bomb.len() < CHUNK_BYTES_MAX as usize);
    let many = zstd::bulk::compress(&vec![0; 1 << 20], ZSTD_LEVEL).unwrap().repeat(1000);
    for frames in [bomb, many] {
        for claim in [1, CHUNK_BYTES_MAX] {
            let length = u32::try_from(frames.len()).unwrap();
            let sealed = forge_chunk(&plaintext(1, claim, length, &frames));
            assert_eq!(open(&sealed), Err(OpenError::Decompress), "claim {claim}");
        }
    }
}

#[test]
fn compressed_bytes_of_another_length_or_none_are_refused() {
    let frame = zstd::bulk::compress(b"some text", ZSTD_LEVEL).unwrap();
    let length = u32::try_from(frame.len()).unwrap();
    assert_eq!(open(&forge_chunk(&plaintext(1, 9, length, &frame))), Ok(b"some text".to_vec()));
    for claim in [8, 10] {
        let sealed = forge_chunk(&plaintext(1, claim, length, &frame));
        assert_eq!(open(&sealed), Err(OpenError::Decompress));
    }
    let cut = &frame[..frame.len() - 1];
    assert_eq!(open(&forge_chunk(&plaintext(1, 9, length - 1, cut))), Err(OpenError::Decompress));
    assert_eq!(open(&forge_chunk(&plaintext(1, 4, 4, b"none"))), Err(OpenError::Decompress));
}

#[test]
fn an_object_that_does_not_commit_to_its_content_is_refused() {
    // Encrypted rightly under the key of an IV that is not the plaintext's: it authenticates.
    let (keys, folder) = (keys(), folder());
    let (epoch, pair) = keys.current_sealing(ObjectType::Chunk);
    let binding = Binding { object: ObjectType::Chunk, folder: &folder, epoch, bound: &[] };
    let mut hashed = Vec::new();
    let plaintext_at = binding.begin(&mut hashed);
    let honest = {
        let mut hashed = hashed.clone();
        hashed.extend_from_slice(&plaintext(0, 1, 1, b"a"));
        envelope::seal(pair, &binding, &[], &hashed, plaintext_at)
    };
    let (clear, iv) = (&honest[..envelope::HEADER_BYTES], &honest[10..42]);
    let key = blake3::keyed_hash(&pair.enc, iv);
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_bytes()).unwrap());
    let mut other = plaintext(0, 1, 1, b"b");
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    key.seal_in_place_append_tag(nonce, Aad::from(&hashed[8..plaintext_at]), &mut other).unwrap();
    assert_eq!(open(&[clear, iv, &other].concat()), Err(OpenError::Commitment));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_chunk_opens_to_what_was_sealed(seed: u64, len in 1usize..=CHUNK_BYTES_MAX as usize, noisy: bool) {
        let chunk = if noisy { noise(seed, len) } else { prose(len) };
        let sealed = seal_chunk(&keys(), &folder(), &chunk);
        prop_assert!(sealed.len() <= SEALED_BYTES_MAX);
        prop_assert_eq!(&sealed, &seal_chunk(&keys(), &folder(), &chunk));
        prop_assert_eq!(open(&sealed), Ok(chunk));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_refused(len in 1usize..5000, noisy: bool, bit: prop::sample::Index) {
        let chunk = if noisy { noise(7, len) } else { prose(len) };
        let mut sealed = seal_chunk(&keys(), &folder(), &chunk);
        let bit = bit.index(sealed.len() * 8);
        sealed[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(open(&sealed).is_err());
    }

    #[test]
    fn a_cut_or_longer_chunk_is_refused(len in 1usize..5000, keep: prop::sample::Index) {
        let sealed = seal_chunk(&keys(), &folder(), &prose(len));
        prop_assert!(open(&sealed[..keep.index(sealed.len())]).is_err());
        prop_assert!(open(&[&sealed[..], &[0]].concat()).is_err());
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(open(&bytes).is_err());
        prop_assert!(open(&[&b"drft\x01\x01\x01\0\0\0"[..], &bytes].concat()).is_err());
    }

    #[test]
    fn any_forged_plaintext_is_handled_without_a_panic(
        codec in 0u8..3,
        decoded in 0u32..600_000,
        length in 0u32..300,
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = open(&forge_chunk(&plaintext(codec, decoded, length, &rest)));
        let _ = open(&forge_chunk(&rest));
    }
}

#[test]
fn every_flipped_bit_of_a_small_chunk_is_refused() {
    let sealed = seal_chunk(&keys(), &folder(), b"a small chunk");
    for bit in 0..sealed.len() * 8 {
        let mut altered = sealed.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&altered).is_err(), "bit {bit}");
    }
    for length in 0..sealed.len() {
        assert!(open(&sealed[..length]).is_err(), "length {length}");
    }
}
