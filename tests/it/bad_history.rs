//! What people ask of the past and cannot have, with the real programs: each a clear error with what
//! to do, the documented exit code, and nothing changed.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tests::harness::{Device, Pair, Programs, Server, Tree};

/// Time for a sync, in seconds.
const SYNC_SECONDS: u64 = 60;

/// All that a command which failed could have changed.
#[derive(Debug, PartialEq)]
struct Standing {
    tree: Tree,
    /// Versions of every path, in the order of the journal.
    timeline: Value,
    labels: Value,
    conflicts: Value,
    cursor: Value,
    beside: Option<Vec<u8>>,
}

impl Standing {
    /// What a device has once it is in sync, and what a file outside of its folder holds.
    fn of(device: &Device, beside: Option<&Path>) -> Result<Self> {
        device.sync_to_conflicts(SYNC_SECONDS)?;
        let told = |arguments: &[&str]| -> Result<Value> {
            device.ask(arguments)?.success(arguments[0])?.json()
        };
        Ok(Self {
            tree: Tree::read(device.root())?,
            timeline: told(&["log", "folder:"])?,
            labels: told(&["label", "ls"])?,
            conflicts: told(&["conflicts"])?,
            cursor: device.status()?["cursor"].clone(),
            beside: beside.map(fs::read).transpose()?,
        })
    }
}

#[test]
fn what_cannot_be_had_of_the_past_is_said_and_changes_nothing() {
    run().unwrap_or_else(|error| panic!("{error:?}"));
}

/// Paths and revisions that there are.
struct Names {
    a: String,
    b: String,
    d: String,
    of_a: String,
    of_b: String,
    /// A file outside of the folder.
    beside: PathBuf,
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
    let [a, b, d] = ["d/a.txt", "b.txt", "d"].map(|path| format!("folder:{path}"));
    let of_a = device.versions("d/a.txt")?[0].revision.to_string();
    let of_b = device.versions("b.txt")?[0].revision.to_string();
    let beside = directory.path().join("there");
    fs::write(&beside, "of a user")?;
    let names = Names { a, b, d, of_a, of_b, beside };
    let before = Standing::of(&device, Some(&names.beside))?;
    of_paths_and_versions(&device, &names)?;
    of_restores(&device, &names)?;
    of_times_and_labels(&device)?;
    cat_of_another_file(&device, &names)?;
    ensure!(Standing::of(&device, Some(&names.beside))? == before, "something was changed");
    Ok(())
}

fn of_paths_and_versions(device: &Device, names: &Names) -> Result<()> {
    let Names { a, of_a, .. } = names;
    all_refused(
        device,
        &[
            (&["log", "folder:none"], 1, "no_such_path", "driftless ls"),
            (&["diff", "folder:none"], 1, "no_such_path", "driftless ls"),
            (&["diff", a, "--rev", "999"], 1, "no_such_revision", "driftless log"),
            (
                &["diff", a, "--rev", "1", "--rev", "2", "--rev", "3"],
                2,
                "usage",
                "the older revision",
            ),
            (&["cat", a, "--rev", of_a], 2, "usage", "leave --json out"),
            (&["why", "folder:none"], 1, "no_such_path", "driftless ls"),
            (&["confirm", "--undo"], 1, "nothing_to_confirm", "driftless status"),
            (&["conflicts", "folder:none"], 1, "no_such_path", "driftless ls"),
            (&["resolve", a, "--keep", "mine"], 1, "no_conflict", "driftless conflicts"),
        ],
    )
}

fn of_restores(device: &Device, names: &Names) -> Result<()> {
    let Names { a, b, d, of_a, of_b, beside } = names;
    let to = text(beside)?;
    let inside = device.root().join("d/new");
    let inside = text(&inside)?;
    // By another name, and in a directory that is not there.
    let link = beside.with_file_name("link");
    std::os::unix::fs::symlink(device.root(), &link)?;
    let below = link.join("none/new");
    let below = text(&below)?;
    all_refused(
        device,
        &[
            (&["restore", "folder:none", "--rev", "1"], 1, "no_such_path", "driftless ls"),
            (&["restore", b, "--rev", of_a], 1, "no_such_revision", "driftless log PATH"),
            (&["restore", a, "--rev", of_b], 1, "no_such_revision", "driftless log PATH"),
            (
                &["restore", a, "--rev", &format!("{of_a}.1")],
                1,
                "no_such_revision",
                "driftless log",
            ),
            (&["restore", a, "--rev", "x"], 2, "usage", "driftless log PATH"),
            (&["restore", a], 2, "usage", "--rev"),
            (&["restore", a, "--rev", "1", "--at", "now"], 2, "usage", "cannot be used with"),
            (&["restore", d, "--at", "soon"], 2, "usage", "write a time like"),
            (&["restore", d, "--at", "10 years ago"], 1, "no_such_moment", "what is known begins"),
            (&["restore", d, "--at", "999"], 1, "no_such_moment", "driftless log"),
            (&["restore", b, "--at", "1"], 1, "no_such_path", "driftless ls --at"),
            (&["restore", a, "--rev", of_a, "--to", to], 1, "exists", "nothing is yet"),
            (&["restore", d, "--at", "now", "--to", to], 1, "exists", "nothing is yet"),
            (
                &["restore", d, "--at", "now", "--to", to, "--dry-run"],
                2,
                "usage",
                "cannot be used with",
            ),
            (
                &["restore", a, "--rev", of_a, "--to", inside],
                1,
                "in_a_folder",
                "a path outside of it",
            ),
            (&["restore", d, "--at", "now", "--to", below], 1, "in_a_folder", "leave --to out"),
            (&["restore", d, "--at", "2999-01-01"], 1, "no_such_moment", "`now` is the newest"),
        ],
    )
}

fn of_times_and_labels(device: &Device) -> Result<()> {
    all_refused(
        device,
        &[
            (&["ls", "--at", "2999-01-01 14:00"], 1, "no_such_moment", "`now` is the newest"),
            (
                &["label", "add", "late", "--at", "2999-01-01"],
                1,
                "no_such_moment",
                "`now` is the newest",
            ),
            (&["label", "add", "2026-13-45"], 1, "bad_name", "a word in it"),
            (&["retention", "set", "--keep-all", "1001y"], 2, "usage", "at most 1000y, or forever"),
            (&["ls", "--at", "10 years ago"], 1, "no_such_moment", "what is known begins"),
            (&["ls", "--at", "2026-13-01"], 2, "usage", "write a time like"),
            (&["ls", "--at", "now", "--deleted"], 2, "usage", "cannot be used with"),
            (&["ls", "folder:none", "--at", "now"], 1, "no_such_path", "driftless ls"),
            (&["ls", "folder:none", "--deleted"], 1, "no_such_path", "driftless ls"),
            (&["label", "add", "there"], 1, "exists", "choose another name"),
            (&["label", "add", "early", "--at", "10 years ago"], 1, "no_such_moment", "begins"),
            (&["label", "rm", "none"], 1, "no_such_label", "driftless label ls"),
        ],
    )
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no UTF-8")
}

/// A command, its exit code, the kind of its error, and a word of what it says to do.
type Case<'a> = (&'a [&'a str], i32, &'a str, &'a str);

fn all_refused(device: &Device, cases: &[Case<'_>]) -> Result<()> {
    let mut cases = cases.iter();
    cases.try_for_each(|(command, code, kind, says)| is_refused(device, command, *code, kind, says))
}

/// Checks how a command fails, and that it says what to do. A flag's own mistake is told by the
/// parser, which says all of it in its message.
fn is_refused(device: &Device, command: &[&str], code: i32, kind: &str, says: &str) -> Result<()> {
    let finished = device.ask(command)?;
    let error = finished.json()?["error"].clone();
    ensure!(finished.code == Some(code), "{command:?}: {:?}, {error}", finished.code);
    ensure!(error["kind"] == kind, "{command:?}: {error}");
    let text = |field: &str| error[field].as_str().unwrap_or_default().to_owned();
    let (message, hint) = (text("message"), text("hint"));
    ensure!(!message.is_empty(), "{command:?}: {error}");
    let is_of_the_parser = hint == "see `driftless --help`";
    let told = if is_of_the_parser { message } else { hint };
    ensure!(told.contains(says), "{command:?} says not what to do, {says}: {error}");
    Ok(())
}

/// `cat` prints bytes and knows no `--json`, so it is asked without.
fn cat_of_another_file(device: &Device, names: &Names) -> Result<()> {
    let (path, revision) = (&names.a, &names.of_b);
    let cat = device.plain(&["cat", path, "--rev", revision])?;
    let said = String::from_utf8_lossy(&cat.stderr);
    ensure!(cat.status.code() == Some(1) && cat.stdout.is_empty(), "{cat:?}");
    let message = format!("error: d/a.txt: has no revision {revision}");
    for says in [&message, "hint: `driftless log PATH` lists the versions"] {
        ensure!(said.contains(says), "cat says not {says}: {said}");
    }
    Ok(())
}

#[test]
fn a_conflict_that_is_resolved_already_is_said_and_changes_nothing() {
    resolved_already().unwrap_or_else(|error| panic!("{error:?}"));
}

fn resolved_already() -> Result<()> {
    let pair = Pair::begin(["first", "second"], SYNC_SECONDS)?;
    let [first, second] = &pair.devices;
    fs::write(pair.at(0, "a.txt"), "base\n")?;
    pair.sync()?;
    second.ask(&["pause"])?.success("pause")?;
    fs::write(pair.at(0, "a.txt"), "of the first\n")?;
    first.sync(SYNC_SECONDS)?;
    fs::write(pair.at(1, "a.txt"), "of the second\n")?;
    second.ask(&["resume"])?.success("resume")?;
    ensure!(second.sync_to_conflicts(SYNC_SECONDS)? == 1, "not one conflict");
    ensure!(first.sync_to_conflicts(SYNC_SECONDS)? == 1, "not one on the first");
    let resolve = ["resolve", "folder:a.txt", "--keep", "mine"];
    first.ask(&resolve)?.success("resolve")?;
    pair.meet()?;
    let before = [Standing::of(first, None)?, Standing::of(second, None)?];
    let (with, text) = pair.beside("answer")?;
    fs::write(with, "another answer\n")?;
    for device in &pair.devices {
        for how in [["--keep", "mine"], ["--keep", "both"], ["--keep", "merged"], ["--with", &text]]
        {
            let command = [&resolve[..2], &how].concat();
            is_refused(device, &command, 1, "no_conflict", "driftless conflicts")?;
        }
    }
    let after = [Standing::of(first, None)?, Standing::of(second, None)?];
    ensure!(after == before, "something was changed: {after:?}, and before {before:?}");
    Ok(())
}
