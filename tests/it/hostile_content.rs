//! Contents that are not what they should be, against a real engine: from a server that lies about
//! chunks, and from a rogue device of the user's that seals what no device would. The file is never
//! shown, it is listed with the reason, and the rest of the folder goes on.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use bytes::Bytes;
use client::fs::memory::{Fault, OperationKind};
use common::chunk::seal_chunk;
use common::ids::{ChunkId, ContentTag, EntryId};
use common::limits::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, FILE_BYTES_MAX};
use common::record::{Change, Content, Kind, Root};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tests::sim::network::Hostile;
use tests::sim::rogue::{RAW, ZSTD};
use tests::sim::scene::{BEFORE, Scene, play};

const ROOT: EntryId = EntryId::ROOT;

/// A file of the rogue's with this content, and one that is as it should be.
async fn never_shown(scene: &Scene, entry: EntryId, content: Content, reason: &str) {
    let changes = vec![file(scene, entry, content), good(scene).await];
    scene.is_an_issue(changes, reason, &[BEFORE, "good"]).await;
}

fn file(scene: &Scene, entry: EntryId, content: Content) -> Change {
    scene.rogue.create(entry, Kind::File, scene.rogue.place(&entry, ROOT, b"bad"), content)
}

async fn good(scene: &Scene) -> Change {
    scene.rogue.touch(ROOT, b"good", b"as it should be").await
}

/// A file with one page of chunks, each at the length that is claimed for it.
async fn paged(
    scene: &Scene,
    entry: &EntryId,
    parts: &[(ChunkId, u64)],
    tag: ContentTag,
) -> Content {
    let id = scene.rogue.put_page(scene.rogue.forge().page(1, parts)).await;
    let size = parts.iter().map(|(_, length)| length).sum();
    scene.rogue.content(entry, Some(Root { id, level: 1 }), tag, size, None)
}

/// Gives the chunk that it saw first for every other one.
#[derive(Default)]
struct OneForAll(Mutex<Option<Bytes>>);

impl Hostile for OneForAll {
    fn chunk(&self, _: &ChunkId, bytes: Bytes) -> Bytes {
        let mut first = self.0.lock().unwrap();
        first.get_or_insert(bytes).clone()
    }
}

#[test]
fn a_right_chunk_in_the_place_of_another_is_never_shown() {
    play(async |scene: &Scene| {
        scene.lie(OneForAll::default());
        scene.honest.writer.write("a first", b"the chunk that comes for all");
        scene.wait().await;
        scene.honest.writer.write("b second", b"the chunk that never comes");
        scene.wait().await;
        scene.shows(&["a first", BEFORE]);
        let listed = scene.summary().issues;
        assert!(listed.iter().any(|issue| issue.path == "b second"), "{listed:?}");
        scene.victim.link.set_hostile(None);
        scene.goes_on().await;
        assert_eq!(scene.summary().issues, [], "an honest copy ends it");
        scene.shows(&["a first", "b second", BEFORE, "zz down", "zz up"]);
    });
}

#[test]
fn a_chunk_of_another_folder_is_never_shown() {
    play(async |scene: &Scene| {
        let entry = scene.rogue.fresh();
        let bytes = b"sealed for another folder";
        let keys = scene.world.keys();
        let other = common::ids::FolderId::from_bytes([8; 32]);
        let id = scene.rogue.put(seal_chunk(&keys, &other, bytes)).await;
        let (root, tag) = (Some(Root { id, level: 0 }), scene.rogue.tag_of([&bytes[..]]));
        let content = scene.rogue.content(&entry, root, tag, bytes.len() as u64, None);
        never_shown(scene, entry, content, "cannot be opened").await;
    });
}

#[test]
fn chunks_in_another_order_are_never_shown() {
    play(async |scene: &Scene| {
        let (keys, folder) = (scene.world.keys(), scene.world.folder());
        let [one, two] = [1, 2].map(|byte| vec![byte; CHUNK_BYTES_MIN as usize]);
        let mut parts = Vec::new();
        for part in [&two, &one] {
            let id = scene.rogue.put(seal_chunk(&keys, &folder, part)).await;
            parts.push((id, part.len() as u64));
        }
        let entry = scene.rogue.fresh();
        let tag = scene.rogue.tag_of([&one[..], &two[..]]);
        let content = paged(scene, &entry, &parts, tag).await;
        never_shown(scene, entry, content, "the content tag is another").await;
    });
}

#[test]
fn a_chunk_shorter_than_its_page_says_is_never_shown() {
    play(async |scene: &Scene| {
        let (keys, folder) = (scene.world.keys(), scene.world.folder());
        let id = scene.rogue.put(seal_chunk(&keys, &folder, b"three")).await;
        let entry = scene.rogue.fresh();
        let tag = scene.rogue.tag_of([&b"three"[..]]);
        let content = paged(scene, &entry, &[(id, 6)], tag).await;
        never_shown(scene, entry, content, "a chunk has another length").await;
    });
}

/// Six small pages that name each other stand for 2^40 chunks, and all their lengths add up.
#[test]
fn a_manifest_of_2_to_the_40_entries_is_not_read() {
    play(async |scene: &Scene| {
        let (keys, folder) = (scene.world.keys(), scene.world.folder());
        let mut id = scene.rogue.put(seal_chunk(&keys, &folder, b"x")).await;
        let mut length = 1;
        for level in 1..=5 {
            let page = scene.rogue.forge().page(level, &[(id, length); 256]);
            id = scene.rogue.put_page(page).await;
            length *= 256;
        }
        let entry = scene.rogue.fresh();
        let (root, tag) = (Some(Root { id, level: 5 }), ContentTag::from_bytes([7; 32]));
        let content = scene.rogue.content(&entry, root, tag, length, None);
        let gets = Arc::new(Counted::default());
        scene.victim.link.set_hostile(Some(Arc::clone(&gets) as Arc<dyn Hostile>));
        never_shown(scene, entry, content, "shorter than any device cuts").await;
        let asked = gets.0.load(Ordering::Relaxed);
        assert!(asked < 100, "{asked} objects were fetched for it");
    });
}

/// Counts chunks and pages that arrive.
#[derive(Default)]
struct Counted(AtomicU64);

impl Hostile for Counted {
    fn chunk(&self, _: &ChunkId, bytes: Bytes) -> Bytes {
        self.0.fetch_add(1, Ordering::Relaxed);
        bytes
    }
}

#[test]
fn a_size_of_u64_max_is_an_issue() {
    sized(u64::MAX, "its attributes cannot be read");
}

#[test]
fn a_size_over_that_of_any_file_is_an_issue() {
    sized(FILE_BYTES_MAX + 1, "its attributes cannot be read");
}

fn sized(size: u64, reason: &str) {
    play(async |scene: &Scene| {
        let (entry, bytes) = (scene.rogue.fresh(), b"a few bytes");
        let Content { root, tag, .. } = scene.rogue.file(&entry, bytes).await;
        let content = scene.rogue.content(&entry, root, tag, size, None);
        never_shown(scene, entry, content, reason).await;
    });
}

#[test]
fn lengths_of_u64_max_in_a_page_are_an_issue() {
    play(async |scene: &Scene| {
        let (keys, folder) = (scene.world.keys(), scene.world.folder());
        let id = scene.rogue.put(seal_chunk(&keys, &folder, b"x")).await;
        let page = scene.rogue.forge().page(1, &[(id, u64::MAX), (id, u64::MAX), (id, 3)]);
        let id = scene.rogue.put_page(page).await;
        let entry = scene.rogue.fresh();
        let (root, tag) = (Some(Root { id, level: 1 }), ContentTag::from_bytes([7; 32]));
        // What the lengths come to when they wrap.
        let content = scene.rogue.content(&entry, root, tag, 1, None);
        never_shown(scene, entry, content, "cannot be opened").await;
    });
}

#[test]
fn a_decompression_bomb_is_an_issue() {
    let zeros = zstd::bulk::compress(&vec![0; 64 * 1024 * 1024], 19).unwrap();
    for claimed in [CHUNK_BYTES_MAX, u32::MAX] {
        play(async |scene: &Scene| {
            let id = scene.rogue.put(scene.rogue.forge().chunk(ZSTD, claimed, &zeros)).await;
            one_chunk(scene, id, u64::from(CHUNK_BYTES_MAX), "cannot be opened").await;
        });
    }
}

#[test]
fn a_chunk_that_claims_more_than_it_has_is_an_issue() {
    play(async |scene: &Scene| {
        let id = scene.rogue.put(scene.rogue.forge().chunk(RAW, u32::MAX, b"short")).await;
        one_chunk(scene, id, 5, "cannot be opened").await;
    });
}

async fn one_chunk(scene: &Scene, id: ChunkId, size: u64, reason: &str) {
    let entry = scene.rogue.fresh();
    let (root, tag) = (Some(Root { id, level: 0 }), ContentTag::from_bytes([7; 32]));
    let content = scene.rogue.content(&entry, root, tag, size, None);
    never_shown(scene, entry, content, reason).await;
}

/// Also one that an honest device wrote: a small disk goes on with what it can hold.
#[test]
fn a_file_larger_than_the_disk_is_an_issue_and_nothing_else_stops() {
    play(async |scene: &Scene| {
        scene.victim.fs.set_capacity(50_000);
        let large = scene.honest.writer.fresh_bytes(Some(100_000));
        scene.honest.writer.write("large", &large);
        scene.honest.writer.write("small", b"fits");
        scene.wait().await;
        scene.shows(&[BEFORE, "small"]);
        scene.lists("no space left for it");
        scene.goes_on().await;
        scene.victim.fs.set_capacity(u64::MAX);
        scene.wait().await;
        scene.shows(&[BEFORE, "large", "small", "zz down", "zz up"]);
        assert_eq!(scene.summary().issues, [], "room ends it");
    });
}

#[test]
fn a_mode_with_setuid_is_an_issue_and_nothing_else_stops() {
    play(async |scene: &Scene| {
        let entry = scene.rogue.fresh();
        let Content { root, tag, .. } = scene.rogue.file(&entry, b"#!/bin/sh").await;
        // Field 1, the mode: 0o4755. Field 3, the size. Field 5, the tag.
        let mut message = vec![0x08, 0xed, 0x13, 0x18, 9, 0x2a, 32];
        message.extend_from_slice(tag.as_bytes());
        let attributes = scene.rogue.forge().attributes(&entry, &message);
        let content = Content { root, tag, attributes };
        never_shown(scene, entry, content, "its attributes cannot be read").await;
    });
}

/// There is no kind for a FIFO or a device, and a link with bytes is none.
#[test]
fn a_link_with_bytes_is_refused_and_an_issue_past_the_service() {
    use common::wire::meta::RejectionCode::Malformed;
    play(async |scene: &Scene| {
        let entry = scene.rogue.fresh();
        let Content { root, .. } = scene.rogue.file(&entry, b"bytes of a link").await;
        let content = Content { root, ..scene.rogue.symlink(&entry, b"target") };
        let place = scene.rogue.place(&entry, ROOT, b"link");
        let change = scene.rogue.create(entry, Kind::Symlink, place, content);
        assert_eq!(scene.rogue.commit(vec![change.clone()]).await, Err(Malformed));
        scene.lie(scene.rogue.past_the_service(vec![vec![change]]));
        scene.wait().await;
        scene.lists("only files have bytes");
        scene.shows(&[BEFORE]);
    });
}

#[test]
fn a_link_whose_target_is_none_is_an_issue_and_nothing_else_stops() {
    for target in [&b""[..], b"a\0b", &[b'x'; 4096]] {
        play(async |scene: &Scene| {
            let entry = scene.rogue.fresh();
            let content = scene.rogue.symlink(&entry, target);
            let place = scene.rogue.place(&entry, ROOT, b"link");
            let change = scene.rogue.create(entry, Kind::Symlink, place, content);
            scene.is_an_issue(vec![change], "its attributes cannot be", &[BEFORE]).await;
        });
    }
}

/// As on a filesystem that has no links, or none as long.
#[test]
fn a_link_that_the_disk_refuses_is_an_issue_and_nothing_else_stops() {
    play(async |scene: &Scene| {
        scene.victim.fs.set_hook(Some(Arc::new(|_, operation| {
            (operation.kind == OperationKind::MakeSymlink).then_some(Fault::Denied)
        })));
        let entry = scene.rogue.fresh();
        let content = scene.rogue.symlink(&entry, b"target");
        let place = scene.rogue.place(&entry, ROOT, b"link");
        let changes =
            vec![scene.rogue.create(entry, Kind::Symlink, place, content), good(scene).await];
        scene.is_an_issue(changes, "permission denied", &[BEFORE, "good"]).await;
    });
}

#[test]
fn a_chunk_passed_off_as_a_page_is_refused_by_the_service() {
    use common::wire::meta::RejectionCode::BadPage;
    play(async |scene: &Scene| {
        let id = scene.rogue.put_page(scene.rogue.forge().chunk(RAW, 4, b"page")).await;
        let entry = scene.rogue.fresh();
        let (root, tag) = (Some(Root { id, level: 1 }), ContentTag::from_bytes([7; 32]));
        let content = scene.rogue.content(&entry, root, tag, 4, None);
        assert_eq!(scene.rogue.commit(vec![file(scene, entry, content)]).await, Err(BadPage));
        scene.goes_on().await;
    });
}
