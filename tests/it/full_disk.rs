//! Disks that fill up: a receiving device's, the home of a sending one, the server's.
//!
//! With real filesystems, because what a full one does to SQLite, to a rename and to a file that
//! grows is what a simulated one can only guess. Each test mounts its own small disk.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tests::harness::{
    Device, Programs, Random, Server, SmallDisk, Tree, eventually, eventually_within,
    with_own_mounts,
};

const MIB: u64 = 1024 * 1024;
/// Time for one sync, in seconds.
const SYNC_SECONDS: u64 = 60;
/// What waited for room is tried again every minute, without anybody's asking.
const BY_ITSELF: Duration = Duration::from_secs(180);

/// A server and two devices, of which one has its root, its home or its data on a small disk.
struct World {
    directory: tempfile::TempDir,
    programs: Programs,
    disk: SmallDisk,
    server: Server,
    first: Device,
    second: Device,
}

impl World {
    /// `small`: what lies on the small disk, relative to the test's directory.
    fn start(mebibytes: u64, small: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let programs = Programs::locate()?;
        let disk = SmallDisk::mount(&directory.path().join("disk"), mebibytes)?;
        disk.place("small", &directory.path().join(small))?;
        let server = Server::start(&programs, directory.path())?;
        let first = Device::join(&programs, directory.path(), "first", &server.invite()?)?;
        let second = Device::join(&programs, directory.path(), "second", &first.invite()?)?;
        Ok(Self { directory, programs, disk, server, first, second })
    }

    fn third(&self) -> Result<Device> {
        Device::join(&self.programs, self.directory.path(), "third", &self.first.invite()?)
    }

    /// Waits until both devices hold the same without anybody's asking, and no issue is left.
    fn equal_by_itself(&self) -> Result<()> {
        eventually_within(BY_ITSELF, "both devices hold the same by themselves", || {
            let [ours, theirs] = [&self.first, &self.second].map(|device| tree(device.root()));
            Ok((ours? == theirs?).then_some(()))
        })?;
        for device in [&self.first, &self.second] {
            eventually_within(BY_ITSELF, "nothing is left of the trouble", || {
                let status = device.status()?;
                let over = status["issues"] == serde_json::json!([])
                    && status["trouble"].is_null()
                    && status["state"] == "idle";
                Ok(over.then_some(()))
            })?;
            device.sync(SYNC_SECONDS)?;
        }
        Ok(())
    }
}

/// A root that may change while it is read; what vanished under the look is looked at again.
fn tree(root: &Path) -> Result<Tree> {
    eventually("a tree stands still", || Ok(Tree::read(root).ok()))
}

/// A file of bytes that do not shrink.
fn write(root: &Path, name: &str, bytes: u64, seed: u64) -> Result<()> {
    let mut random = Random::new(seed);
    let words = usize::try_from(bytes / 8)?;
    let content: Vec<u8> = (0..words).flat_map(|_| random.bits().to_le_bytes()).collect();
    fs::write(root.join(name), content)?;
    Ok(())
}

/// Checks that a `sync` ends with 3: not in sync.
fn not_in_sync(device: &Device) -> Result<()> {
    let synced = device.ask(&["sync", "--timeout", "20"])?;
    ensure!(synced.code == Some(3), "sync on a full disk: {synced:?}");
    Ok(())
}

/// The reason for which a path is not synced.
fn issue(status: &Value, path: &str) -> Option<String> {
    let issues = status["issues"].as_array()?;
    let found = issues.iter().find(|issue| issue["path"] == path)?;
    found["reason"].as_str().map(str::to_owned)
}

#[test]
fn a_full_disk_of_a_receiving_device_keeps_back_only_what_does_not_fit() {
    let test = "a_full_disk_of_a_receiving_device_keeps_back_only_what_does_not_fit";
    with_own_mounts(test, || {
        let world = World::start(32, "second/folder")?;
        let (first, second) = (&world.first, &world.second);
        write(first.root(), "edited", 3 * MIB, 1)?;
        first.sync(SYNC_SECONDS)?;
        second.sync(SYNC_SECONDS)?;
        let before = fs::read(second.root().join("edited"))?;

        world.disk.fill_up_to(8 * MIB)?;
        write(first.root(), "a large one", 12 * MIB, 2)?;
        write(first.root(), "edited", 11 * MIB, 3)?;
        for number in 0..40 {
            write(first.root(), &format!("small {number}"), 40_000, 100 + number)?;
        }
        first.sync(SYNC_SECONDS)?;
        not_in_sync(second)?;
        let status = second.status()?;
        for path in ["a large one", "edited"] {
            let reason = issue(&status, path).with_context(|| format!("{path}: {status}"))?;
            ensure!(reason.contains("no space left"), "{path}: {reason}");
        }
        ensure!(status["issues"].as_array().is_some_and(|all| all.len() == 2), "{status}");
        // Everything else is there, whole; of the two there is nothing new to see.
        ensure!(fs::read(second.root().join("edited"))? == before, "the old version is gone");
        let differences = tree(first.root())?.differences(&tree(second.root())?);
        let late = differences.iter().filter(|line| {
            line.starts_with("a large one: only on the first") || line.starts_with("edited: ")
        });
        ensure!(late.count() == 2 && differences.len() == 2, "{differences:?}");
        let staging = fs::read_dir(second.root().join(".driftless/staging"))?;
        ensure!(staging.count() == 0, "what failed takes room");

        world.disk.make_room()?;
        world.equal_by_itself()
    });
}

#[test]
fn a_full_disk_of_a_receiving_device_is_left_behind_by_a_sync_once_there_is_room() {
    let test = "a_full_disk_of_a_receiving_device_is_left_behind_by_a_sync_once_there_is_room";
    // Alone, and together with the state of the device.
    with_own_mounts(test, || ["second/folder", "second"].into_iter().try_for_each(left_behind));
}

/// `small`: what of the second device lies on the small disk.
fn left_behind(small: &str) -> Result<()> {
    let world = World::start(16, small)?;
    let (first, second) = (&world.first, &world.second);
    second.sync(SYNC_SECONDS)?;
    world.disk.fill_up_to(0)?;
    write(first.root(), "file", MIB, 1)?;
    fs::create_dir(first.root().join("directory"))?;
    fs::write(first.root().join("directory/empty"), "")?;
    first.sync(SYNC_SECONDS)?;
    not_in_sync(second)?;
    let status = second.status()?;
    let told = format!("{:?} {}", issue(&status, "file"), status["trouble"]);
    ensure!(told.contains("no space left") || told.contains("full"), "{status}");
    ensure!(!second.root().join("file").exists(), "half of it is visible");
    world.disk.make_room()?;
    second.sync(SYNC_SECONDS)?;
    ensure!(tree(first.root())? == tree(second.root())?, "not the same");
    ensure!(second.status()?["issues"] == serde_json::json!([]), "{}", second.status()?);
    Ok(())
}

#[test]
fn a_full_disk_under_a_home_loses_nothing_and_syncing_goes_on_when_there_is_room() {
    let test = "a_full_disk_under_a_home_loses_nothing_and_syncing_goes_on_when_there_is_room";
    with_own_mounts(test, || {
        let mut world = World::start(16, "first/home")?;
        write(world.first.root(), "before", MIB, 1)?;
        world.first.sync(SYNC_SECONDS)?;
        world.second.sync(SYNC_SECONDS)?;

        world.disk.fill_up_to(0)?;
        // More rows than fit the pages that the database has left.
        for number in 0..300 {
            write(world.first.root(), &format!("file {number}"), 20_000, 10 + number)?;
        }
        fs::remove_file(world.first.root().join("before"))?;
        eventually("status tells of the full disk", || {
            let trouble = world.first.status()?["trouble"].clone();
            Ok(trouble.as_str().filter(|text| text.contains("full")).map(|_| ()))
        })?;
        not_in_sync(&world.first)?;
        // A crash and a start in this state leave what can be gone on with.
        world.first.kill()?;
        if let Err(error) = world.first.run() {
            let told = format!("{error:?}");
            ensure!(told.contains("full") || told.contains("space"), "an unclear error: {told}");
            world.disk.make_room()?;
            world.first.run()?;
        } else {
            world.disk.make_room()?;
        }
        world.equal_by_itself()?;
        ensure!(tree(world.second.root())?.counts() == (300, 0, 0), "files were lost");
        Ok(())
    });
}

#[test]
fn n9_a_full_server_refuses_writes_while_reads_and_deletions_go_on() {
    with_own_mounts("n9_a_full_server_refuses_writes_while_reads_and_deletions_go_on", || {
        let world = World::start(160, "server")?;
        let (first, second) = (&world.first, &world.second);
        write(first.root(), "kept", 2 * MIB, 1)?;
        write(first.root(), "gone", MIB, 2)?;
        first.sync(SYNC_SECONDS)?;
        second.sync(SYNC_SECONDS)?;

        // Less than the store keeps free, and enough for metadata.
        world.disk.fill_up_to(48 * MIB)?;
        write(first.root(), "waits", 3 * MIB, 3)?;
        not_in_sync(first)?;
        let status = first.status()?;
        let reason = issue(&status, "waits").with_context(|| format!("no issue: {status}"))?;
        ensure!(reason.contains("the server's disk is full (the last 64 MiB"), "{reason}");
        let server = world.server.status()?;
        ensure!(server["storage"]["state"] == "full", "{server}");
        // Deletions pass, also to and from the device that waits for room.
        fs::remove_file(second.root().join("gone"))?;
        second.sync(SYNC_SECONDS)?;
        eventually("a deletion reaches the device that waits", || {
            Ok((!first.root().join("gone").exists()).then_some(()))
        })?;
        fs::rename(first.root().join("kept"), first.root().join("moved"))?;
        eventually("a move passes from the device that waits", || {
            Ok(second.root().join("moved").exists().then_some(()))
        })?;
        // And so do reads.
        let third = world.third()?;
        third.sync(SYNC_SECONDS)?;
        ensure!(fs::read(third.root().join("moved"))? == fs::read(first.root().join("moved"))?);

        world.disk.make_room()?;
        world.equal_by_itself()?;
        ensure!(world.server.status()?["storage"]["state"] == "open", "it still counts as full");
        third.sync(SYNC_SECONDS)?;
        ensure!(tree(third.root())? == tree(first.root())?, "not the same");
        Ok(())
    });
}

#[test]
fn n9_a_server_without_any_room_reads_on_and_serves_again_without_a_restart() {
    with_own_mounts(
        "n9_a_server_without_any_room_reads_on_and_serves_again_without_a_restart",
        || {
            let mut world = World::start(160, "server")?;
            let (first, second) = (&world.first, &world.second);
            write(first.root(), "kept", 2 * MIB, 1)?;
            first.sync(SYNC_SECONDS)?;
            second.sync(SYNC_SECONDS)?;

            world.disk.fill_up_to(0)?;
            // Changes of metadata alone, until what SQLite has left of its files is used up.
            for number in 0..400 {
                fs::create_dir(first.root().join(format!("directory {number}")))?;
            }
            eventually("the device is told", || {
                let trouble = first.status()?["trouble"].clone();
                let told = trouble.as_str().is_some_and(|text| text.contains("disk is full"));
                Ok(told.then_some(()))
            })?;
            let server = world.server.status()?;
            ensure!(server["metadata"]["state"] == "serving", "{server}");
            let version = second.versions("kept")?;
            let newest = version.first().context("no version")?.revision;
            ensure!(second.cat("kept", newest)? == fs::read(first.root().join("kept"))?);

            world.disk.make_room()?;
            world.equal_by_itself()?;
            ensure!(tree(second.root())?.counts() == (1, 400, 0), "directories were lost");

            // Stopped and started without room: it runs, reads on and refuses.
            world.disk.fill_up_to(0)?;
            world.server.stop()?;
            world.disk.fill_the_rest()?;
            world.server.run()?;
            let (first, second) = (&world.first, &world.second);
            eventually("what is stored is read without room", || {
                let read = second.cat("kept", newest).ok();
                Ok(read.filter(|read| {
                    fs::read(first.root().join("kept")).is_ok_and(|kept| kept == *read)
                }))
            })?;
            write(first.root(), "late", MIB, 2)?;
            not_in_sync(first)?;
            // Also after a crash, which leaves what the databases had open.
            world.server.kill()?;
            world.disk.fill_the_rest()?;
            world.server.run()?;
            world.disk.make_room()?;
            world.equal_by_itself()
        },
    );
}

#[test]
fn a_server_that_cannot_start_for_want_of_room_says_how_much_it_needs() {
    let test = "a_server_that_cannot_start_for_want_of_room_says_how_much_it_needs";
    with_own_mounts(test, || {
        let mut world = World::start(160, "server")?;
        write(world.first.root(), "kept", MIB, 1)?;
        world.first.sync(SYNC_SECONDS)?;
        world.server.stop()?;
        // As if it had never had the room to keep some for this.
        fs::remove_file(world.directory.path().join("server/reserve"))?;
        world.disk.fill_up_to(0)?;
        let told = format!("{:?}", world.server.run().err().context("it started")?);
        ensure!(told.contains("disk_full") && told.contains("a start needs 4 MiB"), "{told}");
        world.disk.make_room()?;
        world.server.run()?;
        world.second.sync(SYNC_SECONDS)?;
        ensure!(tree(world.first.root())? == tree(world.second.root())?, "not the same");
        Ok(())
    });
}
