//! A folder whose history is thinned while devices are away: what they bring back, and how they catch
//! up.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client::engine::Ask;
use client::engine::labels::{LabelAsk, SettingsChange};
use common::name::LabelName;
use common::record::Change;
use common::trust::Checkpoint;
use common::wire::meta::{CheckpointPut, Reply, Request};
use std::rc::Rc;
use std::time::Duration;
use tests::sim::clock::in_virtual_time;
use tests::sim::device::{SimDevice, Stop};
use tests::sim::invariants;
use tests::sim::world::{Make, World};

/// Long enough for several tries of everything.
const PATIENCE: Duration = Duration::from_secs(150);

fn play(act: impl AsyncFnOnce(&mut World, Rc<SimDevice>, Rc<SimDevice>)) {
    in_virtual_time(async {
        let make = Make { seed: 5, devices: 2, grain_ns: 1, ..Make::default() };
        let mut world = World::new(make).await;
        let [one, two] = [&world.devices[0], &world.devices[1]].map(Rc::clone);
        world.end_faults().await;
        one.writer.write("gone", b"what is deleted meanwhile");
        one.writer.write("stays", b"what stays");
        settle(&world).await;
        act(&mut world, one, two).await;
        settle(&world).await;
        invariants::s1_no_lost_update(&world);
        invariants::s4_convergence(&world);
        invariants::s10_history_is_readable(&world, true);
        invariants::s10_whole_moments_are_whole(&world);
        assert_eq!(world.ledger.violations(), Vec::<String>::new());
    });
}

async fn settle(world: &World) {
    assert!(world.settle().await, "{:#?}", world.ledger.tail());
}

async fn wait() {
    tokio::time::sleep(PATIENCE).await; // ok: virtual time
}

/// Lets nothing stay but what must, and thins; returns how many versions went.
async fn thin(world: &World, device: &SimDevice) -> u64 {
    let change = SettingsChange {
        keep_all_ms: Some(0),
        daily_ms: Some(0),
        monthly_ms: Some(0),
        merge: None,
    };
    let set = |answer| Ask::Labels(LabelAsk::Set(change, answer));
    device.handle().unwrap().ask(set).await.unwrap();
    world.server.service().thin_all_after(0).await.unwrap().versions
}

async fn checkpoint(world: &World, device: &SimDevice) -> Checkpoint {
    let bytes = device.handle().unwrap().ask(Ask::Checkpoint).await.unwrap().unwrap();
    let checkpoint = Checkpoint::open(&bytes).unwrap();
    let request = Request::CheckpointPut(CheckpointPut { checkpoint: bytes });
    let replies = world.server.service().request(checkpoint.device, request).await;
    assert!(matches!(replies.as_slice(), [Reply::Done(_)]), "{replies:?}");
    checkpoint
}

fn read(device: &SimDevice, path: &str) -> Option<Vec<u8>> {
    device.fs.user().read(path).ok()
}

/// How many changes of the journal are so.
fn changes(world: &World, is_so: impl Fn(&Change) -> bool) -> usize {
    let groups = world.journal().into_iter().map(|row| row.entry.group.decode().unwrap());
    groups.flat_map(|group| group.changes).filter(|change| is_so(change)).count()
}

#[test]
fn s2_a_move_brings_back_a_file_whose_content_was_released() {
    play(async |world, one, two| {
        two.link.set_up(false);
        one.writer.delete("gone");
        wait().await;
        assert!(thin(world, &one).await > 0);
        two.writer.rename("gone", "moved");
        wait().await;
        two.link.set_up(true);
        settle(world).await;
        assert_eq!(read(&one, "moved").unwrap(), b"what is deleted meanwhile");
        assert_eq!(changes(world, |change| matches!(change, Change::Revive { .. })), 1);
        assert_eq!(changes(world, |change| matches!(change, Change::Edit { .. })), 1);
    });
}

/// The name that it was given is another's by then, so that it becomes a conflict's copy.
#[test]
fn s2_a_move_that_collides_brings_back_a_file_whose_content_was_released() {
    play(async |world, one, two| {
        two.link.set_up(false);
        one.writer.delete("gone");
        wait().await;
        assert!(thin(world, &one).await > 0);
        world.server.collect(0).await.unwrap();
        one.writer.write("moved", b"another of this name");
        two.writer.rename("gone", "moved");
        wait().await;
        two.link.set_up(true);
        settle(world).await;
        for device in [&one, &two] {
            assert_eq!(read(device, "moved").unwrap(), b"another of this name");
            let copy =
                device.fs.user().paths().into_iter().find(|path| path.contains("(conflict "));
            assert_eq!(read(device, &copy.unwrap()).unwrap(), b"what is deleted meanwhile");
        }
    });
}

#[test]
fn s4_a_device_that_was_away_for_longer_than_the_history_begins_anew() {
    play(async |world, one, two| {
        two.link.set_up(false);
        one.writer.delete("gone");
        wait().await;
        // It begins after the deletion, and never hears of the file.
        let invited = checkpoint(world, &one).await.cursor;
        let three = world.add_device(true, Some(invited)).await;
        three.start().await;
        wait().await;
        assert_eq!(read(&three, "stays").unwrap(), b"what stays");
        three.stop(Stop::Kill).await;
        two.writer.write("gone", b"what survives the deletion");
        wait().await;
        two.link.set_up(true);
        wait().await;
        assert_eq!(read(&one, "gone").unwrap(), b"what survives the deletion");
        // Nothing shows any more that the file was ever gone.
        checkpoint(world, &one).await;
        assert!(thin(world, &one).await > 0);
        three.start().await;
        settle(world).await;
        assert_eq!(read(&three, "gone").unwrap(), b"what survives the deletion");
    });
}

#[test]
fn s10_a_labelled_moment_stays_whole() {
    play(async |world, one, two| {
        let name = LabelName::new("before").unwrap();
        let add = |answer| Ask::Labels(LabelAsk::Add(name, None, answer));
        let label = two.handle().unwrap().ask(add).await.unwrap();
        one.writer.write("stays", b"what stays, changed");
        one.writer.delete("gone");
        wait().await;
        one.writer.write("stays", b"what stays, changed again");
        wait().await;
        assert_eq!(thin(world, &one).await, 1);
        let (folder, meta) = (world.folder(), world.server.meta());
        let whole = meta.read(|reads| reads.whole(&folder)).unwrap();
        assert!(whole.kept.contains(&label.at), "{whole:?}");
        // Only without its label it goes.
        let remove = |answer| Ask::Labels(LabelAsk::Remove("before".to_owned(), answer));
        two.handle().unwrap().ask(remove).await.unwrap();
        assert!(thin(world, &one).await > 1);
        let whole = meta.read(|reads| reads.whole(&folder)).unwrap();
        assert!(!whole.contains(label.at), "{whole:?}");
    });
}
