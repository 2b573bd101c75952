//! A device with more folders than a connection has request streams follows all of them.

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
