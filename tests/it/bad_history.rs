//! What people ask of the past and cannot have, with the real programs: each a clear error with what
//! to do, the documented exit code, and nothing changed.

use anyhow::{Context, Result, ensure};
use std::fs;
use tests::harness::{Device, Programs, Server, Tree};

/// Time for a sync, in seconds.
const SYNC_SECONDS: u64 = 60;

#[test]
fn what_cannot_be_had_of_the_past_is_said_and_changes_nothing() {
    run().unwrap_or_else(|error| panic!("{error:?}"));
}

fn run() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let programs = Programs::locate()?;
    let server = Server::start(&programs, directory.path())?;
    let device = Device::join(&programs, directory.path(), "one", &server.invite()?)?;
    let root = device.root().to_owned();
    fs::create_dir(root.join("d"))?;
    fs::write(root.join("d/a.txt"), "first\n")?;
    device.sync(SYNC_SECONDS)?;
    fs::write(root.join("b.txt"), "b\n")?;
    device.sync(SYNC_SECONDS)?;
    fs::write(root.join("d/a.txt"), "second\n")?;
    device.sync(SYNC_SECONDS)?;
    device.ask(&["label", "add", "there"])?.success("label add")?;
    let before = Tree::read(&root)?;
    let of_a = device.versions("d/a.txt")?[0].revision.to_string();
    let of_b = device.versions("b.txt")?[0].revision.to_string();
    let [a, b, d] = ["d/a.txt", "b.txt", "d"].map(|path| format!("folder:{path}"));
    let to = directory.path().join("there");
    fs::write(&to, "of a user")?;
    let to = to.to_str().context("a path that is no UTF-8")?;
    let cases: &[(&[&str], i32, &str)] = &[
        (&["log", "folder:none"], 1, "no_such_path"),
        (&["diff", "folder:none"], 1, "no_such_path"),
        (&["diff", &a, "--rev", "999"], 1, "no_such_revision"),
        (&["diff", &a, "--rev", "1", "--rev", "2", "--rev", "3"], 2, "usage"),
        (&["restore", "folder:none", "--rev", "1"], 1, "no_such_path"),
        (&["restore", &b, "--rev", &of_a], 1, "no_such_revision"),
        (&["restore", &a, "--rev", &of_b], 1, "no_such_revision"),
        (&["restore", &a, "--rev", &format!("{of_a}.1")], 1, "no_such_revision"),
        (&["restore", &a, "--rev", "x"], 2, "usage"),
        (&["restore", &a], 2, "usage"),
        (&["restore", &a, "--rev", "1", "--at", "now"], 2, "usage"),
        (&["restore", &d, "--at", "soon"], 2, "usage"),
        (&["restore", &d, "--at", "10 years ago"], 1, "no_such_moment"),
        (&["restore", &d, "--at", "999"], 1, "no_such_moment"),
        (&["restore", &b, "--at", "1"], 1, "no_such_path"),
        (&["restore", &a, "--rev", &of_a, "--to", to], 1, "exists"),
        (&["restore", &d, "--at", "now", "--to", to], 1, "exists"),
        (&["restore", &d, "--at", "now", "--to", to, "--dry-run"], 2, "usage"),
        (&["ls", "--at", "10 years ago"], 1, "no_such_moment"),
        (&["ls", "--at", "2026-13-01"], 2, "usage"),
        (&["ls", "--at", "now", "--deleted"], 2, "usage"),
        (&["ls", "folder:none", "--at", "now"], 1, "no_such_path"),
        (&["ls", "folder:none", "--deleted"], 1, "no_such_path"),
        (&["cat", &a, "--rev", &of_b], 2, "usage"),
        (&["label", "add", "there"], 1, "exists"),
        (&["label", "add", "early", "--at", "10 years ago"], 1, "no_such_moment"),
        (&["label", "rm", "none"], 1, "no_such_label"),
        (&["why", "folder:none"], 1, "no_such_path"),
        (&["confirm", "--undo"], 1, "nothing_to_confirm"),
        (&["conflicts", "folder:none"], 1, "no_such_path"),
        (&["resolve", &a, "--keep", "mine"], 1, "no_conflict"),
    ];
    for (command, code, kind) in cases {
        let finished = device.ask(command)?;
        let error = finished.json()?["error"].clone();
        ensure!(finished.code == Some(*code), "{command:?}: {:?}, {error}", finished.code);
        ensure!(error["kind"] == *kind, "{command:?}: {error}");
        ensure!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{command:?}");
        // A flag's own mistake is told by the parser, which has said all in its message.
        let hint = error["hint"].as_str().unwrap_or_default();
        ensure!(*code == 2 || !hint.is_empty(), "{command:?} says not what to do: {error}");
    }
    device.sync(SYNC_SECONDS)?;
    let after = Tree::read(&root)?;
    ensure!(after == before, "{:?}", after.differences(&before));
    ensure!(device.versions("d/a.txt")?.len() == 2, "something was written");
    Ok(())
}
