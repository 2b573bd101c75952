//! Labels, settings and the preview of retention between two devices, as their users type them.
//!
//! The built programs on loopback: what is promised here is what the commands print, on the device
//! that sets something and on the one that hears of it.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use tests::harness::{Device, Programs, Server, eventually};

/// Time for one sync, in seconds.
const SYNC_SECONDS: u64 = 60;

#[test]
fn what_one_device_labels_and_sets_the_other_shows() {
    labelled_and_set().unwrap_or_else(|error| panic!("{error:?}"));
}

fn labelled_and_set() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let programs = Programs::locate()?;
    let mut server = Server::start(&programs, directory.path())?;
    let first = Device::join(&programs, directory.path(), "first", &server.invite()?)?;
    fs::write(first.root().join("a.txt"), "one")?;
    first.sync(SYNC_SECONDS)?;
    let one = first.versions("a.txt")?[0].revision;

    let label = told(&first, &["label", "add", "the first"])?;
    ensure!(label["name"] == "the first" && label["revision"] == one, "{label}");
    ensure!(label["device"] == "first", "{label}");
    fs::write(first.root().join("a.txt"), "two")?;
    first.sync(SYNC_SECONDS)?;
    fs::write(first.root().join("a.txt"), "three")?;
    first.sync(SYNC_SECONDS)?;
    is_refused(&first, &["label", "add", "the first"], "exists")?;
    for name in ["two\nlines", "first ", " first", " ", "a\u{202e}b"] {
        is_refused(&first, &["label", "add", name], "bad_name")?;
    }
    is_refused(&first, &["label", "add", "far", "--at", "1000"], "no_such_revision")?;
    is_refused(&first, &["label", "rm", "nothing"], "no_such_label")?;

    let default = json!({ "keep_all": "30d", "daily": "1y", "monthly": "forever" });
    let shown = told(&first, &["retention", "show"])?;
    ensure!(shown["retention"] == default && shown["merge"] == "auto", "{shown}");
    ensure!(shown["until"] == Value::Null, "{shown}");
    let set = told(&first, &["retention", "set", "--keep-all", "5d"])?;
    let windows = json!({ "keep_all": "5d", "daily": "1y", "monthly": "forever" });
    ensure!(set["retention"] == windows, "{set}");
    ensure!(set["until"]["retention"] == default, "what was kept before is kept for now: {set}");
    let merge = told(&first, &["folder", "set", "folder", "--merge", "ask"])?;
    ensure!(merge["retention"] == windows && merge["merge"] == "ask", "{merge}");

    // The other one begins with a snapshot that has settings.
    let second = Device::join(&programs, directory.path(), "second", &first.invite()?)?;
    second.sync(SYNC_SECONDS)?;
    ensure!(told(&second, &["retention", "show"])? == merge, "the second shows others");
    let labels = told(&second, &["label", "ls"])?;
    ensure!(labels == json!({ "folder": "folder", "labels": [label] }), "{labels}");

    let preview = told(&second, &["retention", "preview"])?;
    ensure!(preview["released_versions"] == 0, "{preview}");
    let nothing = ["--keep-all", "none", "--daily", "none", "--monthly", "none"];
    let preview = told(&second, &[&["retention", "preview"][..], &nothing].concat())?;
    // Of the three contents the last stays as it stands, and the first as it has a label.
    ensure!(preview["released_versions"] == 1 && preview["released_contents"] == 1, "{preview}");
    let kept = preview["kept"].as_array().context("no moments")?;
    ensure!(kept.iter().any(|moment| moment["revision"] == one), "{preview}");

    told(&second, &["label", "rm", "the first"])?;
    ensure!(
        told(&first, &["label", "ls"])? == json!({ "folder": "folder", "labels": [] }),
        "a label is left"
    );
    let all = told(&second, &["retention", "set", "--keep-everything"])?;
    ensure!(all["retention"]["keep_all"] == "forever" && all["merge"] == "ask", "{all}");
    first.sync(SYNC_SECONDS)?;
    // A server that comes back has what was set.
    server.stop()?;
    server.run()?;
    first.sync(SYNC_SECONDS)?;
    ensure!(told(&first, &["retention", "show"])? == all, "the server has forgotten");
    Ok(())
}

#[test]
fn a_label_stands_for_its_moment() {
    asked_for_by_label().unwrap_or_else(|error| panic!("{error:?}"));
}

fn asked_for_by_label() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let programs = Programs::locate()?;
    let mut server = Server::start(&programs, directory.path())?;
    let device = Device::join(&programs, directory.path(), "one", &server.invite()?)?;
    let file = device.root().join("a.txt");
    fs::write(&file, "draft")?;
    device.sync(SYNC_SECONDS)?;
    let label = told(&device, &["label", "add", "first-draft"])?;
    fs::write(&file, "final")?;
    fs::write(device.root().join("b.txt"), "later")?;
    device.sync(SYNC_SECONDS)?;

    let listed = told(&device, &["ls", "--at", "first-draft"])?;
    ensure!(listed["at"]["revision"] == label["revision"], "{listed}");
    ensure!(listed["entries"].as_array().map(Vec::len) == Some(1), "{listed}");
    let shown = device.plain(&["cat", "folder:a.txt", "--at", "first-draft"])?;
    ensure!(shown.stdout == b"draft", "{shown:?}");
    told(&device, &["restore", "folder:", "--at", "first-draft"])?;
    ensure!(fs::read(&file)? == b"draft" && !device.root().join("b.txt").exists(), "not as it was");
    // Its time is that moment too, to the millisecond, whatever else happened within the second.
    let time = label["time"].as_str().context("no time")?;
    ensure!(time.len() == "2026-11-20T14:00:00.000Z".len() && time.ends_with('Z'), "{label}");
    let listed = told(&device, &["ls", "--at", time])?;
    ensure!(listed["at"] == json!({ "revision": label["revision"], "time": time }), "{listed}");
    let same = told(&device, &["label", "add", "the same", "--at", "first-draft"])?;
    ensure!(same["revision"] == label["revision"], "{same}");

    let unknown = device.ask(&["ls", "--at", "second-draft"])?;
    let error = &unknown.json()?["error"];
    ensure!(unknown.code == Some(2) && error["kind"] == "usage", "{error}");
    let message = error["message"].as_str().unwrap_or_default();
    ensure!(message == "second-draft: is no time and no revision, and no label has this name");
    // What would be taken for a time or a revision could not be asked for.
    for name in
        ["7", "yesterday", "2026-11-20 14:00", "2 hours ago", "2026-13-45", "tomorrow", "7.1"]
    {
        is_refused(&device, &["label", "add", name], "bad_name")?;
    }
    is_refused(&device, &["label", "add", "--", "+5"], "bad_name")?;
    server.kill()?;
    // A mistake is told without a server, which could not tell more of it.
    for mistake in ["2026-13-45", "yesterday 14:00", "two hours ago", "7.1"] {
        let refused = device.ask(&["ls", "--at", mistake])?;
        let error = &refused.json()?["error"];
        ensure!(refused.code == Some(2) && error["kind"] == "usage", "{mistake}: {error}");
        let message = error["message"].as_str().unwrap_or_default();
        ensure!(message.contains("reads like a time or a revision, and is none"), "{error}");
    }
    let changes: [&[&str]; 2] =
        [&["retention", "set", "--keep-all", "9d"], &["label", "rm", "first-draft"]];
    for command in changes {
        let lost = device.ask(command)?;
        let error = &lost.json()?["error"];
        ensure!(lost.code == Some(1) && error["kind"] == "offline", "{command:?}: {error}");
        let message = error["message"].as_str().unwrap_or_default();
        ensure!(message.contains("the server cannot be reached"), "{command:?}: {error}");
        let hint = error["hint"].as_str().unwrap_or_default();
        ensure!(hint.contains("ask again"), "{command:?}: {error}");
    }
    let lost = device.ask(&["ls", "--at", "first-draft"])?.json()?["error"].clone();
    ensure!(lost["kind"] == "offline", "{lost}");
    Ok(())
}

fn told(device: &Device, arguments: &[&str]) -> Result<Value> {
    device.ask(arguments)?.success(&arguments.join(" "))?.json()
}

fn is_refused(device: &Device, arguments: &[&str], kind: &str) -> Result<()> {
    let finished = device.ask(arguments)?;
    let error = &finished.json()?["error"];
    ensure!(finished.code == Some(1) && error["kind"] == kind, "{arguments:?}: {error}");
    Ok(())
}

#[test]
fn times_are_asked_for_as_people_write_them() {
    asked_for_by_time().unwrap_or_else(|error| panic!("{error:?}"));
}

/// A zone half an hour off from most, that needs no database of zones.
const ZONE: &str = "IST-5:30";

fn asked_for_by_time() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let programs = Programs::locate()?;
    let server = Server::start(&programs, directory.path())?;
    let device = Device::join(&programs, directory.path(), "one", &server.invite()?)?;
    let file = device.root().join("a.txt");
    fs::write(&file, "first")?;
    device.sync(SYNC_SECONDS)?;
    let first = told(&device, &["log", "folder:a.txt"])?["versions"][0].clone();
    let ask = |at: &str| -> Result<(Option<i32>, Value)> {
        let mut command = Command::new(programs.device());
        command.arg("--home").arg(device.home()).args(["--json", "ls", "--at", at]);
        let output = command.env("TZ", ZONE).output()?;
        Ok((output.status.code(), serde_json::from_slice(&output.stdout)?))
    };
    for at in ["2 hours ago", "yesterday"] {
        let (code, answer) = ask(at)?;
        let error = &answer["error"];
        ensure!(code == Some(1) && error["kind"] == "no_such_moment", "{at}: {answer}");
        let hint = error["hint"].as_str().unwrap_or_default();
        ensure!(hint.contains("what is known begins"), "{at}: {answer}");
    }
    let shows = |at: &str, size: u64, revision: &Value| -> Result<()> {
        let (code, answer) = ask(at)?;
        ensure!(code == Some(0) && answer["at"]["revision"] == *revision, "{at}: {answer}");
        ensure!(answer["entries"][0]["size"] == size, "{at}: {answer}");
        Ok(())
    };
    eventually("it was there a second ago", || {
        Ok((ask("1 second ago")?.0 == Some(0)).then_some(()))
    })?;
    shows("1 second ago", 5, &first["revision"])?;

    // A second later, so that the second of the first is told apart.
    let second_of = |time: &Value| local(time.as_str().context("no time")?, "%Y-%m-%d %H:%M:%S");
    let then = second_of(&first["time"])?;
    fs::write(&file, "second")?;
    device.sync(SYNC_SECONDS)?;
    let second = told(&device, &["log", "folder:a.txt"])?["versions"][0].clone();
    let later = second_of(&second["time"])?;
    ensure!(then != later, "both at {then}");
    shows(&then, 5, &first["revision"])?;
    shows(&later, 6, &second["revision"])?;
    // The minute that is about to begin has not come by much, and the clocks may differ: the present.
    shows(&local("1 minute", "%Y-%m-%d %H:%M")?, 6, &second["revision"])?;
    let (code, answer) = ask(&local("3 minutes", "%Y-%m-%d %H:%M")?)?;
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    ensure!(code == Some(1) && message.contains("in the future"), "{answer}");
    Ok(())
}

/// A time as the clock on the wall shows it.
fn local(time: &str, format: &str) -> Result<String> {
    let mut command = Command::new("date");
    let output = command.args(["-d", time]).arg(format!("+{format}")).env("TZ", ZONE).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
