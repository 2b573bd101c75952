//! A device with several folders: more than a connection has request streams, and one that is halted
//! beside others.

use anyhow::{Context, Result, ensure};
use std::fs;
use tests::harness::{Device, Programs, Server, eventually};

/// More than the request streams of a connection, far below the most that a device may have.
const FOLDERS: usize = 70;
/// Time for one sync, in seconds.
const SYNC_SECONDS: u64 = 120;

#[test]
fn a_device_follows_more_folders_than_a_connection_has_request_streams() {
    many_folders().unwrap_or_else(|error| panic!("{error:?}"));
}

fn many_folders() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let programs = Programs::locate()?;
    let server = Server::start(&programs, directory.path())?;
    let device = Device::join(&programs, directory.path(), "first", &server.invite()?)?;
    for number in 1..FOLDERS {
        let root = directory.path().join(format!("folder {number}"));
        fs::create_dir(&root)?;
        fs::write(root.join("file"), format!("in folder {number}"))?;
        let root = root.to_str().context("a directory that is no UTF-8")?;
        device.ask(&["folder", "add", root])?.success("folder add")?;
    }
    device.sync(SYNC_SECONDS)?;
    eventually("all folders are followed", || {
        let status = device.ask(&["status"])?.success("status")?.json()?;
        let folders = status["folders"].as_array().context("no folders")?;
        ensure!(folders.len() == FOLDERS, "{} folders", folders.len());
        let follows =
            |folder: &serde_json::Value| folder["state"] == "idle" && folder["trouble"].is_null();
        Ok(folders.iter().all(follows).then_some(()))
    })
}

#[test]
fn other_folders_go_on_beside_one_that_is_halted() {
    one_is_halted().unwrap_or_else(|error| panic!("{error:?}"));
}

fn one_is_halted() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let programs = Programs::locate()?;
    let server = Server::start(&programs, directory.path())?;
    let device = Device::join(&programs, directory.path(), "first", &server.invite()?)?;
    let other = directory.path().join("other");
    fs::create_dir(&other)?;
    let text = other.to_str().context("a directory that is no UTF-8")?;
    device.ask(&["folder", "add", text, "--name", "other"])?.success("folder add")?;
    device.sync(SYNC_SECONDS)?;

    fs::remove_dir_all(device.root().join(".driftless"))?;
    fs::write(other.join("file"), "written beside a halted folder")?;
    // A root may come back, so that a sync waits for it as long as it is told to.
    let sync = device.ask(&["sync", "--timeout", "5"])?;
    ensure!(sync.code == Some(4), "a sync with a halted folder ended with {:?}", sync.code);
    eventually("the other folder is in sync", || {
        let status = device.ask(&["status"])?.success("status")?.json()?;
        let folders = status["folders"].as_array().context("no folders")?;
        let state = |name: &str| {
            let folder = folders.iter().find(|folder| folder["name"] == name);
            folder.map(|folder| (folder["state"].clone(), folder["pending_up"].clone()))
        };
        let other = state("other").context("no other folder")?;
        let halted = folders.iter().filter(|folder| folder["state"] == "halted").count();
        Ok((halted == 1 && other == ("idle".into(), 0.into())).then_some(()))
    })?;
    let log = device.ask(&["log", "other:file"])?.success("log")?.json()?;
    ensure!(log["versions"].as_array().is_some_and(|versions| versions.len() == 1), "{log}");
    Ok(())
}
