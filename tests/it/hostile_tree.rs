//! Trees that are none, which the service refuses: a lying server delivers them all the same, signed
//! by a rogue device of the user's. The folder halts, and its disk stays as it was.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use common::ids::EntryId;
use common::record::{Change, Kind};
use common::wire::meta::RejectionCode;
use tests::sim::scene::{Scene, play};

const ROOT: EntryId = EntryId::ROOT;

/// The service refuses the group with this code; past it, it is an alarm with these words.
async fn refused_then_an_alarm(
    scene: &Scene,
    changes: Vec<Change>,
    code: RejectionCode,
    reason: &str,
) {
    assert_eq!(scene.rogue.commit(changes.clone()).await, Err(code));
    scene.is_an_alarm(changes, reason).await;
}

#[test]
fn two_entries_of_one_name_raise_the_alarm() {
    play(async |scene: &Scene| {
        let changes = vec![
            scene.rogue.touch(ROOT, b"name", b"the one").await,
            scene.rogue.touch(ROOT, b"name", b"the other").await,
        ];
        refused_then_an_alarm(scene, changes, RejectionCode::NameTaken, "another has").await;
    });
}

#[test]
fn a_file_and_a_directory_of_one_name_raise_the_alarm() {
    play(async |scene: &Scene| {
        let changes = vec![
            scene.rogue.mkdir(scene.rogue.fresh(), ROOT, b"name"),
            scene.rogue.touch(ROOT, b"name", b"a file").await,
        ];
        refused_then_an_alarm(scene, changes, RejectionCode::NameTaken, "another has").await;
    });
}

#[test]
fn a_name_that_an_honest_device_has_taken_raises_the_alarm() {
    play(async |scene: &Scene| {
        let changes = vec![scene.rogue.touch(ROOT, b"before", b"instead").await];
        refused_then_an_alarm(scene, changes, RejectionCode::NameTaken, "another has").await;
    });
}

#[test]
fn a_cycle_of_parents_raises_the_alarm() {
    play(async |scene: &Scene| {
        let [one, two] = [scene.rogue.fresh(), scene.rogue.fresh()];
        let changes =
            vec![scene.rogue.mkdir(one, two, b"one"), scene.rogue.mkdir(two, one, b"two")];
        refused_then_an_alarm(scene, changes, RejectionCode::Cycle, "below the root").await;
    });
}

#[test]
fn a_directory_moved_below_itself_raises_the_alarm() {
    play(async |scene: &Scene| {
        let [one, two] = [scene.rogue.fresh(), scene.rogue.fresh()];
        let made = vec![scene.rogue.mkdir(one, ROOT, b"one"), scene.rogue.mkdir(two, one, b"two")];
        let base = scene.rogue.commit(made).await.unwrap();
        let place = scene.rogue.place(&one, two, b"one");
        let moved = vec![Change::Move { entry: one, base, place }];
        assert_eq!(scene.rogue.commit(moved.clone()).await, Err(RejectionCode::Cycle));
        scene.wait().await;
        scene.lie(scene.rogue.past_the_service(vec![moved]));
        scene.wait().await;
        scene.halts_with(&["before", "one", "one/two"], "below the root");
    });
}

#[test]
fn a_directory_inside_itself_raises_the_alarm() {
    play(async |scene: &Scene| {
        let entry = scene.rogue.fresh();
        let changes = vec![scene.rogue.mkdir(entry, entry, b"self")];
        refused_then_an_alarm(scene, changes, RejectionCode::Cycle, "below the root").await;
    });
}

#[test]
fn an_orphan_raises_the_alarm() {
    play(async |scene: &Scene| {
        let nobody = EntryId::from_bytes([9; 16]);
        let changes = vec![scene.rogue.touch(nobody, b"orphan", b"an orphan").await];
        refused_then_an_alarm(scene, changes, RejectionCode::NoParent, "below the root").await;
    });
}

#[test]
fn a_file_below_a_file_raises_the_alarm() {
    play(async |scene: &Scene| {
        let file = scene.rogue.touch(ROOT, b"file", b"a file").await;
        let Change::Create { entry, .. } = file else { unreachable!("it is a creation") };
        let below = scene.rogue.touch(entry, b"below", b"below a file").await;
        let changes = vec![file, below];
        refused_then_an_alarm(scene, changes, RejectionCode::NoParent, "below the root").await;
    });
}

/// The link leads out; whatever is created below it would be written there.
#[test]
fn a_file_below_a_link_raises_the_alarm() {
    play(async |scene: &Scene| {
        let link = scene.rogue.fresh();
        let content = scene.rogue.symlink(&link, b"/etc");
        let place = scene.rogue.place(&link, ROOT, b"link");
        let changes = vec![
            scene.rogue.create(link, Kind::Symlink, place, content),
            scene.rogue.touch(link, b"passwd", b"root::0:0").await,
        ];
        refused_then_an_alarm(scene, changes, RejectionCode::NoParent, "below the root").await;
    });
}

#[test]
fn the_root_as_an_entry_raises_the_alarm() {
    play(async |scene: &Scene| {
        let changes = vec![scene.rogue.mkdir(ROOT, ROOT, b"root")];
        refused_then_an_alarm(scene, changes, RejectionCode::IdTaken, "exists").await;
    });
}

#[test]
fn a_change_with_a_stale_base_raises_the_alarm() {
    play(async |scene: &Scene| {
        let change = scene.rogue.touch(ROOT, b"file", b"a file").await;
        let Change::Create { entry, .. } = change else { unreachable!("it is a creation") };
        let base = scene.rogue.commit(vec![change]).await.unwrap();
        let content = scene.rogue.file(&entry, b"an edit").await;
        let edit = Change::Edit { entry, base, content };
        assert!(scene.rogue.commit(vec![edit.clone()]).await.is_ok());
        assert_eq!(scene.rogue.commit(vec![edit.clone()]).await, Err(RejectionCode::StaleContent));
        scene.wait().await;
        scene.lie(scene.rogue.past_the_service(vec![vec![edit]]));
        scene.wait().await;
        scene.halts_with(&["before", "file"], "stale");
    });
}
