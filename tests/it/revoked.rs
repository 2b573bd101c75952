//! A device that was revoked, while it ran or while it was off: it is told so plainly and at once,
//! leaves the server alone, and keeps its files.
//!
//! The built programs on loopback, because what is promised is what a person and a script see.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use tests::harness::{Device, Finished, Programs, Running, Server, Tree, eventually};

/// Time for one sync, in seconds.
const SYNC_SECONDS: u64 = 60;

/// Two devices that hold the same file.
struct World {
    directory: tempfile::TempDir,
    programs: Programs,
    server: Server,
    first: Device,
    second: Device,
}

impl World {
    fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let programs = Programs::locate()?;
        let server = Server::start(&programs, directory.path())?;
        let first = Device::join(&programs, directory.path(), "first", &server.invite()?)?;
        let second = Device::join(&programs, directory.path(), "second", &first.invite()?)?;
        fs::write(first.root().join("file"), "of the first")?;
        first.sync(SYNC_SECONDS)?;
        second.sync(SYNC_SECONDS)?;
        Ok(Self { directory, programs, server, first, second })
    }

    fn revoke(&self) -> Result<Finished> {
        self.first.ask(&["device", "revoke", "second"])?.success("device revoke")
    }
}

fn checked(test: impl FnOnce() -> Result<()>) {
    test().unwrap_or_else(|error| panic!("{error:?}"));
}

/// Checks that a command ended with 4 and says that the device was revoked, when, and what to do.
fn tells(finished: &Finished) -> Result<()> {
    let error = &finished.json()?["error"];
    ensure!(finished.code == Some(4), "exit code {:?}: {error}", finished.code);
    ensure!(error["kind"] == "revoked", "{error}");
    let message = error["message"].as_str().context("no message")?;
    ensure!(message.contains("this device was revoked on 20"), "{error}");
    ensure!(error["hint"].as_str().is_some_and(|hint| hint.contains("code from another device")));
    Ok(())
}

/// Checks all that a revoked device shows, once it shows it.
fn shows(device: &Device) -> Result<()> {
    eventually("status tells of the revocation", || {
        let status = device.status()?;
        Ok((status["state"] == "halted").then_some(()))
    })?;
    let status = device.ask(&["status"])?.success("status")?.json()?;
    let refused = status["server"]["refused"].as_str().context("no refusal")?;
    ensure!(refused.contains("revoked on 20"), "{status}");
    let folder = &status["folders"][0];
    ensure!(folder["halt"]["message"] == refused && folder["halt"]["can_confirm"] == false);
    ensure!(folder["trouble"].is_null(), "it is said twice: {status}");
    // Without a timeout: it must not wait for what does not come.
    tells(&device.ask(&["sync"])?)?;
    let file = format!("{}/file", device.root().display());
    let restore = ["restore", &file, "--rev", "1"];
    for command in [&["devices"][..], &["invite"], &["log", &file], &restore, &["folder", "ls"]] {
        tells(&device.ask(command)?).with_context(|| command.join(" "))?;
    }
    device.ask(&["ls"])?.success("what is here can be listed")?;
    Ok(())
}

/// Checks that the device has knocked once for metadata and at most once for chunks, by the
/// server's log.
fn turned_away_in_peace(world: &World) -> Result<()> {
    let log = fs::read_to_string(world.directory.path().join("server.log"))?;
    let times = log.lines().filter(|line| line.contains("not admitted")).count();
    ensure!((1..=2).contains(&times), "turned away {times} times");
    Ok(())
}

#[test]
fn a_device_that_is_revoked_while_it_runs_says_so_and_keeps_its_files() {
    checked(|| {
        let mut world = World::start()?;
        let before = Tree::read(world.second.root())?;
        // One that waits already is told too.
        world.server.stop()?;
        fs::write(world.second.root().join("written here"), "and nowhere else")?;
        let mut waiting = world.second.start_sync(300)?;
        world.server.run()?;
        waiting.wait()?.success("a sync that began without a server")?;
        world.revoke()?;
        shows(&world.second)?;
        fs::write(world.second.root().join("after"), "still here")?;
        fs::write(world.first.root().join("secret"), "not for the revoked")?;
        world.first.sync(SYNC_SECONDS)?;
        tells(&world.second.ask(&["sync", "--timeout", "5"])?)?;
        ensure!(!world.second.root().join("secret").exists(), "it still receives");
        ensure!(!world.first.root().join("after").exists(), "it still sends");
        let after = Tree::read(world.second.root())?;
        let lost =
            before.differences(&after).iter().any(|line| !line.contains("only on the second"));
        ensure!(!lost && world.second.root().join("written here").exists(), "files are gone");
        // A connection for metadata and one for chunks, whatever it was asked meanwhile.
        turned_away_in_peace(&world)?;
        world.second.stop()
    });
}

#[test]
fn a_device_that_was_revoked_while_it_was_off_says_so_and_can_join_again() {
    checked(|| {
        let mut world = World::start()?;
        world.second.stop()?;
        fs::write(world.second.root().join("written while off"), "by the second")?;
        world.revoke()?;
        world.second.run()?;
        shows(&world.second)?;
        turned_away_in_peace(&world)?;

        // As the hint says.
        world.second.ask(&["folder", "rm", "folder"])?.success("folder rm")?;
        world.second.stop()?;
        let (root, code) = (world.second.root().to_owned(), world.first.invite()?);
        let root = root.to_str().context("a directory that is no UTF-8")?;
        let home = world.directory.path().join("new home");
        let ask = |arguments: &[&str]| {
            let mut command = std::process::Command::new(world.programs.device());
            command.arg("--home").arg(&home).arg("--json").args(arguments);
            let log = world.directory.path().join("again.log");
            Running::start("the device that joins again", &mut command, &log)
        };
        ask(&["join", &code, root, "--no-run", "--name", "second"])?.wait()?.success("join")?;
        let mut running = ask(&["run"])?;
        running.wait_ready()?;
        ask(&["sync", "--timeout", "60"])?.wait()?.success("sync after joining again")?;
        world.first.sync(SYNC_SECONDS)?;
        ensure!(Tree::read(world.first.root())? == Tree::read(world.second.root())?);
        ensure!(world.first.root().join("written while off").exists(), "it was lost");
        running.stop()
    });
}

#[test]
fn an_imposter_makes_no_device_believe_that_it_was_revoked() {
    checked(|| {
        let mut world = World::start()?;
        world.server.stop()?;
        let elsewhere = world.directory.path().join("elsewhere");
        fs::create_dir(&elsewhere)?;
        // It knows no device and says so to all.
        let mut imposter = Server::start_at(&world.programs, &elsewhere, world.server.address())?;
        let synced = world.second.ask(&["sync", "--timeout", "3"])?;
        ensure!(synced.code == Some(3), "{synced:?}");
        let status = world.second.ask(&["status"])?.success("status")?.json()?;
        ensure!(status["server"]["refused"].is_null(), "{status}");
        ensure!(status["folders"][0]["state"] != "halted", "{status}");
        imposter.stop()?;
        world.server.run()?;
        world.second.sync(SYNC_SECONDS)
    });
}

#[test]
fn a_server_that_has_forgotten_a_device_is_no_reason_to_delete_anything() {
    checked(|| {
        let mut world = World::start()?;
        // The server is put back to when it knew the first device alone.
        let data = world.directory.path().join("server");
        let kept = world.directory.path().join("kept");
        world.second.stop()?;
        world.server.stop()?;
        fs::rename(&data, &kept)?;
        world.server.run()?;
        world.server.stop()?;
        for key in fs::read_dir(&kept)? {
            let key = key?;
            if key.file_name().to_string_lossy().ends_with(".key") {
                fs::copy(key.path(), data.join(key.file_name()))?;
            }
        }
        world.server.run()?;
        world.second.run()?;
        let halted = eventually("status tells that the device is not known", || {
            let status = world.second.status()?;
            Ok((status["state"] == "halted").then_some(status))
        })?;
        ensure!(says(&halted, "is not enrolled"), "{halted}");
        let synced = world.second.ask(&["sync"])?;
        ensure!(synced.code == Some(4), "{synced:?}");
        ensure!(synced.json()?["error"]["kind"] == "unknown_device", "{synced:?}");
        ensure!(fs::read(world.second.root().join("file"))? == b"of the first");

        world.server.stop()?;
        fs::remove_dir_all(&data)?;
        fs::rename(&kept, &data)?;
        world.server.run()?;
        // A person who has put the server right does not wait until the device asks by itself.
        world.second.sync(SYNC_SECONDS)
    });
}

fn says(status: &Value, part: &str) -> bool {
    status["halt"]["message"].as_str().is_some_and(|message| message.contains(part))
}

#[test]
fn a_device_is_revoked_twice_with_the_same_outcome() {
    checked(|| {
        let world = World::start()?;
        ensure!(world.revoke()?.json()?["already"].is_null());
        let again = world.revoke()?.json()?;
        ensure!(again["done"] == true && again["already"] == true, "{again}");
        ensure!(again["on"] == serde_json::json!(["second"]), "{again}");
        let mut command = std::process::Command::new(world.programs.device());
        command.arg("--home").arg(world.first.home()).args(["device", "revoke", "second"]);
        let output = command.output()?;
        ensure!(output.status.success(), "{output:?}");
        ensure!(output.stdout == b"second was revoked already\n", "{output:?}");
        let nobody = world.first.ask(&["device", "revoke", "nobody"])?;
        ensure!(nobody.code == Some(1), "{nobody:?}");
        ensure!(nobody.json()?["error"]["kind"] == "no_such_device", "{nobody:?}");
        Ok(())
    });
}
