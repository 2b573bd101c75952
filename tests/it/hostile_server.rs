//! A server that lies, against a real engine: an alarm or an issue, nothing half done, and the rest
//! of the folder goes on.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use bytes::Bytes;
use client::engine::handle::Listing;
use client::engine::{Ask, FolderStatus, FolderSummary};
use common::ids::ChunkId;
use common::revision::Revision;
use common::wire::meta::JournalBatch;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tests::sim::clock::in_virtual_time;
use tests::sim::device::SimDevice;
use tests::sim::invariants;
use tests::sim::network::Hostile;
use tests::sim::world::{Make, World};

/// Long enough for several tries.
const PATIENCE: Duration = Duration::from_secs(40);
/// Files longer than this are the ones that are lied about.
const LONG_BYTES: usize = 1_000;

/// An honest device writes; one that is lied to reads. What the latter came to.
struct Seen {
    summary: FolderSummary,
    paths: Vec<String>,
}

fn lied_to(hostile: impl Hostile + 'static, writes: fn(&SimDevice)) -> Seen {
    in_virtual_time(async {
        let world = World::new(Make { seed: 7, devices: 2, grain_ns: 1, ..Make::default() }).await;
        let [writer, reader] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
        world.end_faults().await;
        writer.writer.write("before", b"written before the lie");
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        reader.link.set_hostile(Some(Arc::new(hostile)));
        reader.link.cut();
        writes(&writer);
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        let summary = reader.handle().unwrap().summary();
        invariants::s3_no_phantom(&world);
        assert_eq!(world.ledger.violations(), Vec::<String>::new());
        let paths = reader.fs.user().tree().into_keys().collect();
        Seen { summary, paths }
    })
}

fn long_and_short(device: &SimDevice) {
    device.writer.write("long", &vec![7; 5_000]);
    device.writer.write("short", b"short");
}

fn two_groups(device: &SimDevice) {
    device.writer.write("one", b"one");
    device.writer.rename("before", "after");
}

fn assert_alarm(seen: &Seen) {
    assert_eq!(seen.summary.status, FolderStatus::Halted, "{:?}", seen.summary);
    assert!(seen.summary.halt.as_ref().is_some_and(|halt| !halt.can_confirm));
    assert_eq!(seen.paths, ["before"], "an alarm changes nothing");
}

fn assert_rest_goes_on(seen: &Seen) {
    assert!(seen.paths.contains(&"short".to_owned()), "{:?} {:?}", seen.paths, seen.summary);
    assert!(!seen.paths.contains(&"long".to_owned()));
    let listed = seen.summary.issues.iter().any(|issue| issue.path == "long");
    assert!(listed, "{:?}", seen.summary);
}

struct Chunks(fn(&Bytes) -> Bytes);

impl Hostile for Chunks {
    fn chunk(&self, _: &ChunkId, bytes: Bytes) -> Bytes {
        (self.0)(&bytes)
    }
}

struct Groups(fn(&mut JournalBatch));

impl Hostile for Groups {
    fn batch(&self, mut batch: JournalBatch) -> JournalBatch {
        (self.0)(&mut batch);
        batch
    }
}

/// Chunks are compressed: what is told apart here is incompressible.
fn long_random_and_short(device: &SimDevice) {
    let bytes = device.writer.fresh_bytes(Some(5_000));
    device.writer.write("long", &bytes);
    device.writer.write("short", b"short");
}

fn damaged(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    if bytes.len() > LONG_BYTES {
        bytes[LONG_BYTES] ^= 1;
    }
    Bytes::from(bytes)
}

fn truncated(bytes: &Bytes) -> Bytes {
    bytes.slice(..bytes.len().min(LONG_BYTES))
}

#[test]
fn a_chunk_with_another_hash_is_never_shown() {
    assert_rest_goes_on(&lied_to(Chunks(damaged), long_random_and_short));
}

#[test]
fn a_truncated_chunk_is_never_shown() {
    assert_rest_goes_on(&lied_to(Chunks(truncated), long_random_and_short));
}

#[test]
fn a_forged_signature_raises_the_alarm() {
    assert_alarm(&lied_to(
        Groups(|batch| batch.groups.iter_mut().for_each(|group| group.signature[3] ^= 1)),
        long_and_short,
    ));
}

#[test]
fn an_altered_group_raises_the_alarm() {
    let alter = |batch: &mut JournalBatch| {
        for group in &mut batch.groups {
            let middle = group.body.len() / 2;
            group.body[middle] ^= 1;
        }
    };
    let seen = lied_to(Groups(alter), long_and_short);
    assert_eq!(seen.paths, ["before"], "{:?}", seen.summary);
    assert!(seen.summary.halt.is_some() || seen.summary.trouble.is_some(), "{:?}", seen.summary);
}

#[test]
fn a_journal_with_a_gap_is_not_taken() {
    let skip = |batch: &mut JournalBatch| {
        if !batch.groups.is_empty() {
            batch.groups.remove(0);
        }
    };
    let seen = lied_to(Groups(skip), two_groups);
    assert_eq!(seen.paths, ["before"], "{:?}", seen.summary);
}

#[test]
fn an_older_group_under_a_new_number_is_not_taken() {
    let renumber = |batch: &mut JournalBatch| {
        for group in &mut batch.groups {
            group.revision += 1;
        }
    };
    let seen = lied_to(Groups(renumber), two_groups);
    assert_eq!(seen.paths, ["before"], "{:?}", seen.summary);
}

struct Promises;

impl Hostile for Promises {
    fn accepted(&self, revision: Revision) -> Revision {
        revision + 1_000_000
    }
}

#[test]
fn a_revision_that_never_comes_keeps_no_device_from_its_disk_and_its_questions() {
    in_virtual_time(async {
        let world = World::new(Make { seed: 7, devices: 1, grain_ns: 1, ..Make::default() }).await;
        let device = Rc::clone(&world.devices[0]);
        world.end_faults().await;
        device.link.set_hostile(Some(Arc::new(Promises)));
        device.writer.write("one", b"one");
        tokio::time::sleep(PATIENCE).await; // ok: virtual time
        device.writer.write("two", b"two");
        let listing = device.handle().unwrap();
        let listed = listing.ask(|answer| Ask::List(String::new(), Listing::Now, answer));
        let listed = tokio::time::timeout(2 * PATIENCE, listed).await; // ok: virtual time
        assert_eq!(listed.expect("no answer").unwrap().entries.len(), 1);
        device.link.set_hostile(None);
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        assert_eq!(device.fs.user().tree().len(), 2);
    });
}
