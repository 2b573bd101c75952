//! History that outlives a deletion.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client::engine::{Ask, FolderHandle};
use common::revision::Revision;
use std::rc::Rc;
use tests::sim::world::{Make, World};

async fn revisions(handle: &FolderHandle, path: &str) -> Vec<Revision> {
    let versions = handle.ask(|answer| Ask::Log(path.to_owned(), 100, answer)).await.unwrap();
    versions.into_iter().map(|version| version.revision).collect()
}

#[test]
fn a_deleted_file_that_is_restored_keeps_its_history() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let world = World::new(Make { seed: 2, devices: 2, grain_ns: 1, ..Make::default() }).await;
        let [one, two] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
        world.end_faults().await;
        one.writer.make_directory("d");
        one.writer.write("d/file", b"first");
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        one.writer.write("d/file", b"second, longer");
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        one.writer.action("rm -r", "d", |user| user.remove_all("d"));
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        let handle = two.handle().unwrap();
        let before = revisions(&handle, "d/file").await;
        assert!(before.len() >= 3, "created, edited, deleted: {before:?}");

        let first = *before.last().unwrap();
        handle.ask(|answer| Ask::Restore("d/file".to_owned(), first, answer)).await.unwrap();
        assert!(world.settle().await, "{:#?}", world.ledger.tail());
        for device in [&one, &two] {
            assert_eq!(device.fs.user().read("d/file").unwrap(), b"first");
            let after = revisions(&device.handle().unwrap(), "d/file").await;
            assert!(after.len() > before.len() && after.ends_with(&before), "{after:?}");
        }
    });
}
