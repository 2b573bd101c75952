//! Writes that leave no trace in a file's times, because the clock of its filesystem is coarse.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client::fs::memory::OperationKind;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tests::sim::clock::in_virtual_time;
use tests::sim::world::{Make, World};

/// A tick of 20 ms: what the slowest Linux kernels stamp files with.
const TICK_NS: i64 = 20_000_000;

/// Each has other delays.
const SEEDS: u64 = 30;

/// The write comes when the file has been read and is looked at for the last time; the upload that
/// follows takes longer than a tick.
#[test]
fn a_write_in_the_tick_in_which_a_file_was_read_is_noticed_after_the_upload() {
    (1..=SEEDS).for_each(write_in_the_tick);
}

fn write_in_the_tick(seed: u64) {
    in_virtual_time(async {
        let make = Make { seed, devices: 2, grain_ns: TICK_NS, ..Make::default() };
        let world = World::new(make).await;
        let [one, two] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
        world.end_faults().await;
        // So that the simulation knows the bytes.
        one.writer.write("other", b"second");
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        let (read, written) = (AtomicBool::new(false), Arc::new(AtomicBool::new(false)));
        let done = Arc::clone(&written);
        one.fs.set_hook(Some(Arc::new(move |user, operation| {
            if operation.path.to_string() == "file" {
                read.fetch_or(operation.kind == OperationKind::Read, Ordering::Relaxed);
                let last_look = operation.kind == OperationKind::Stat
                    && read.load(Ordering::Relaxed)
                    && !written.swap(true, Ordering::Relaxed);
                if last_look {
                    user.open_write("file").unwrap().write_at(0, b"second").unwrap();
                }
            }
            None
        })));
        one.writer.write("file", b"first.");
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        assert!(done.load(Ordering::Relaxed), "the write has come");
        for device in [&one, &two] {
            assert_eq!(device.fs.user().read("file").unwrap(), b"second", "seed {seed}");
        }
    });
}
