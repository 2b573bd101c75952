//! A device with several folders: more than a connection has request streams, and one that is halted
//! beside others.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
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

#[test]
fn the_folder_around_the_working_directory_is_meant() {
    meant_by_where_one_is().unwrap_or_else(|error| panic!("{error:?}"));
}

fn meant_by_where_one_is() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let programs = Programs::locate()?;
    let server = Server::start(&programs, directory.path())?;
    let device = Device::join(&programs, directory.path(), "first", &server.invite()?)?;
    let below = directory.path().join("other/below");
    fs::create_dir_all(&below)?;
    let other = below.parent().context("a directory below nothing")?;
    fs::write(other.join("file"), "of the other one")?;
    let text = other.to_str().context("a directory that is no UTF-8")?;
    device.ask(&["folder", "add", text, "--name", "other"])?.success("folder add")?;
    device.sync(SYNC_SECONDS)?;

    let asked_in = |at: &Path, arguments: &[&str]| -> Result<(Option<i32>, Value)> {
        let mut command = Command::new(programs.device());
        command.arg("--home").arg(device.home()).arg("--json").args(arguments);
        let output = command.current_dir(at).output()?;
        Ok((output.status.code(), serde_json::from_slice(&output.stdout)?))
    };
    let commands: [&[&str]; 9] = [
        &["log", "--limit", "5"],
        &["ls", "--at", "now"],
        &["label", "add", "here"],
        &["label", "ls"],
        &["retention", "show"],
        &["retention", "preview"],
        &["retention", "set", "--keep-all", "9d"],
        &["label", "rm", "here"],
        &["invite"],
    ];
    for arguments in commands {
        let (code, answer) = asked_in(&below, arguments)?;
        ensure!(code == Some(0), "{arguments:?}: {answer}");
        let folder = &answer["folder"];
        // These two say it by what is in it.
        let named = |entries: &str| {
            let listed = answer[entries].as_array();
            listed.is_some_and(|listed| listed.iter().any(|it| it["path"] == "file"))
        };
        let is_other = match arguments[0] {
            "log" => named("versions"),
            "ls" => named("entries"),
            _ => folder == "other",
        };
        ensure!(is_other, "{arguments:?}: {answer}");
        // Of no folder in particular.
        let (code, answer) = asked_in(directory.path(), arguments)?;
        ensure!(code == Some(2) && answer["error"]["kind"] == "usage", "{arguments:?}: {answer}");
    }
    // The whole folder, as with one alone, not the directory.
    let (_, listed) = asked_in(&below, &["ls"])?;
    let has_file = |entry: &Value| entry["path"] == "file";
    ensure!(listed["entries"].as_array().is_some_and(|it| it.iter().any(has_file)), "{listed}");
    let (_, labels) = asked_in(device.root(), &["label", "ls"])?;
    ensure!(
        labels["labels"] == Value::Array(Vec::new()),
        "the wrong folder was labelled: {labels}"
    );
    let (_, settings) = asked_in(&below, &["retention", "show", "--folder", "folder"])?;
    ensure!(settings["folder"] == "folder", "a name comes first: {settings}");
    Ok(())
}
