//! A file that moves over another and then on, while another device gives both each other's names:
//! what it holds stays in the tree (S1).

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use std::rc::Rc;
use std::time::Duration;
use tests::sim::clock::in_virtual_time;
use tests::sim::invariants;
use tests::sim::world::{Make, World};

/// Until a device has sent that the file stands at its second path, and before it believes that it
/// has left the first: two paths, one inode.
const PAUSES_MS: [u64; 4] = [40, 60, 90, 120];

#[test]
fn s1_a_file_that_was_seen_at_two_paths_moves_on_as_what_it_was_last() {
    for (seed, pause_ms) in (1..=6).flat_map(|seed| PAUSES_MS.map(|pause_ms| (seed, pause_ms))) {
        in_virtual_time(async {
            let make = Make { seed, devices: 2, grain_ns: 1, ..Make::default() };
            let world = World::new(make).await;
            let [one, two] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
            world.end_faults().await;
            one.writer.write("moves", b"the file that moves");
            one.writer.write("taken", b"the file that it moves over");
            one.writer.make_directory("on");
            assert!(world.settle().await, "{:#?}", world.ledger.tail());

            two.link.set_up(false);
            two.writer.exchange("moves", "taken");
            one.writer.rename("moves", "taken");
            tokio::time::sleep(Duration::from_millis(pause_ms)).await; // ok: virtual time
            two.link.set_up(true);
            one.writer.rename("taken", "on/moves");
            assert!(world.settle().await, "{:#?}", world.ledger.tail());
            invariants::s1_no_lost_update(&world);
            let broken = world.ledger.violations();
            assert_eq!(broken, Vec::<String>::new(), "seed {seed}, {pause_ms} ms");
        });
    }
}
