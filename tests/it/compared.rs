//! What `diff` compares: what stood at a path at two moments, with real engines, and both contents of a
//! merge, with the built programs too.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use anyhow::{Context, Result, ensure};
use client::engine::handle::{DiffInfo, DiffSides, DiffTo, Listing, Moment, Which};
use client::engine::{Ask, AskError};
use client_core::past::{Change, Difference};
use common::revision::Revision;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, UNIX_EPOCH};
use tests::harness::{Device, Pair};
use tests::sim::clock::in_virtual_time;
use tests::sim::device::SimDevice;
use tests::sim::world::World;

async fn diff(
    device: &SimDevice,
    path: &str,
    from: (Revision, u32),
    to: DiffTo,
) -> Result<DiffInfo, AskError> {
    let ask = |answer| Ask::Diff(path.to_owned(), Some(from), to, answer);
    device.handle().unwrap().ask(ask).await
}

/// What differs in a directory since a revision.
async fn since(device: &SimDevice, path: &str, at: Revision, to: DiffTo) -> Vec<(String, Change)> {
    match diff(device, path, (at, 0), to).await.unwrap().sides {
        DiffSides::Directory(differences, _) => told(differences),
        sides => panic!("no directory: {sides:?}"),
    }
}

fn told(differences: Vec<Difference>) -> Vec<(String, Change)> {
    differences.into_iter().map(|it| (it.path, it.change)).collect()
}

fn expected(all: &[(&str, Change)]) -> Vec<(String, Change)> {
    all.iter().map(|(path, change)| ((*path).to_owned(), *change)).collect()
}

fn revision(device: &SimDevice) -> Revision {
    device.handle().unwrap().summary().cursor.unwrap().revision
}

/// Lines of which two devices edit the first and the last.
fn edited(first: &str, last: &str) -> String {
    format!("{first}\n2\n3\n4\n5\n6\n{last}\n")
}

#[test]
fn a_directory_that_was_made_again_is_compared_with_what_stood_there() {
    in_virtual_time(async {
        let (world, [one, _two]) = World::quiet(81).await;
        one.writer.make_directory("d");
        one.writer.write("d/kept", b"kept");
        one.writer.write("d/gone", b"gone");
        world.settled().await;
        let old = revision(&one);
        one.writer.action("rm -r", "d", |user| user.remove_all("d"));
        world.settled().await;
        one.writer.make_directory("d");
        one.writer.write("d/kept", b"kept, and longer");
        one.writer.write("d/new", b"new");
        world.settled().await;
        let made_again = revision(&one);
        let changes =
            [("d/gone", Change::Deleted), ("d/kept", Change::Edited), ("d/new", Change::Added)];
        assert_eq!(since(&one, "d", old, DiffTo::Newest).await, expected(&changes));

        // As `ls --at` and a dry run of `restore` have it.
        let what = Listing::At(Moment::Revision(old));
        let listed = |answer| Ask::List("d".to_owned(), what, answer);
        let listed = one.handle().unwrap().ask(listed).await.unwrap().entries;
        let listed: Vec<_> = listed.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(listed, ["d/gone", "d/kept"]);
        let dry = |answer| Ask::Restore("d".to_owned(), Which::Revision(old), true, answer);
        let dry = one.handle().unwrap().ask(dry).await.unwrap().differences;
        let back =
            [("d/gone", Change::Added), ("d/kept", Change::Edited), ("d/new", Change::Deleted)];
        assert_eq!(told(dry), expected(&back));

        // One that is only called otherwise now is the same all the way, and itself has moved.
        one.writer.rename("d", "e");
        one.writer.write("e/new", b"newer");
        world.settled().await;
        let changes = [("e", Change::Moved), ("e/new", Change::Edited)];
        assert_eq!(since(&one, "e", made_again, DiffTo::Newest).await, expected(&changes));
        let to = DiffTo::Revision(made_again, 0);
        let before =
            [("d/gone", Change::Deleted), ("d/kept", Change::Edited), ("d/new", Change::Added)];
        assert_eq!(since(&one, "d", old, to).await, expected(&before));

        // A file that stood there is gone, and what lies there now is new.
        one.writer.action("rm -r", "e", |user| user.remove_all("e"));
        world.settled().await;
        one.writer.write("e", b"a file");
        world.settled().await;
        let file = revision(&one);
        one.writer.delete("e");
        world.settled().await;
        one.writer.make_directory("e");
        one.writer.write("e/x", b"x");
        world.settled().await;
        let changes = [("e", Change::Deleted), ("e/x", Change::Added)];
        assert_eq!(since(&one, "e", file, DiffTo::Newest).await, expected(&changes));
    });
}

#[test]
fn both_contents_of_a_merge_have_its_revision() {
    in_virtual_time(async {
        let (world, [one, two]) = World::quiet(82).await;
        one.writer.write("a.txt", edited("1", "7").as_bytes());
        world.settled().await;
        two.link.set_up(false);
        one.writer.write("a.txt", edited("one", "7").as_bytes());
        tokio::time::sleep(Duration::from_secs(5)).await; // ok: virtual time
        two.writer.write("a.txt", edited("1", "seven").as_bytes());
        tokio::time::sleep(Duration::from_secs(5)).await; // ok: virtual time
        two.link.set_up(true);
        world.settled().await;
        let log = |answer| Ask::Log("a.txt".to_owned(), 0, 20, answer);
        let log = one.handle().unwrap().ask(log).await.unwrap().versions;
        let merge = log[0].revision;
        assert_eq!((log[0].change, log[1].older), ("merged", 1));
        let other = log[2].revision;
        for (from, to) in [
            ((merge, 1), DiffTo::Newest),
            ((merge, 1), DiffTo::Revision(merge, 0)),
            ((other, 0), DiffTo::Revision(merge, 1)),
        ] {
            let compared = diff(&one, "a.txt", from, to).await.unwrap();
            assert!(matches!(compared.sides, DiffSides::File(_)), "{from:?}");
            let told = [compared.from, compared.to].map(|it| it.unwrap().revision);
            assert_eq!(told, [from.0, merge]);
        }
        let none = diff(&one, "a.txt", (merge, 2), DiffTo::Newest).await.unwrap_err();
        assert_eq!(none.to_string(), format!("a.txt: has no revision {merge}.2"));
    });
}

#[test]
fn both_contents_of_a_merge_are_shown_and_compared() {
    shown_and_compared().unwrap_or_else(|error| panic!("{error:?}"));
}

/// With the built programs: contents are compared where they are shown.
fn shown_and_compared() -> Result<()> {
    let pair = Pair::begin(["first", "second"], 60)?;
    let [first, second] = &pair.devices;
    let write = |device: usize, text: String| fs::write(pair.at(device, "a.txt"), text);
    write(0, edited("1", "7"))?;
    pair.meet()?;
    second.ask(&["pause"])?.success("pause")?;
    write(0, edited("one", "7"))?;
    first.sync(60)?;
    write(1, edited("1", "seven"))?;
    second.ask(&["resume"])?.success("resume")?;
    pair.meet()?;
    let [merge, older, other, base] = first.versions("a.txt")?.try_into().unwrap();
    ensure!(merge.revision == older.revision && other.revision > base.revision, "no merge");
    let (merge, other) = (merge.revision.to_string(), other.revision.to_string());
    let older = format!("{merge}.1");
    for device in [first, second] {
        for (revision, text) in [
            (&merge, edited("one", "seven")),
            (&older, edited("1", "seven")),
            (&other, edited("one", "7")),
        ] {
            let shown = device.plain(&["cat", "folder:a.txt", "--rev", revision])?;
            ensure!(shown.stdout == text.as_bytes(), "{revision}: {shown:?}");
        }
        let to_merge = ["-1", "+one"].as_slice();
        for (revisions, expected) in [
            (vec![&older], to_merge),
            (vec![&older, &merge], to_merge),
            (vec![&other, &older], &["-one", "+1", "-7", "+seven"]),
            (vec![&merge, &older], &["-one", "+1"]),
        ] {
            let asked = revisions.iter().flat_map(|revision| ["--rev", revision.as_str()]);
            let asked: Vec<_> = ["diff", "folder:a.txt"].into_iter().chain(asked).collect();
            let diff = device.ask(&asked)?.success("diff")?.json()?;
            let text = diff["text"].as_str().context("no text")?;
            let lines = text.lines().skip(2).filter(|line| line.starts_with(['-', '+']));
            ensure!(lines.collect::<Vec<_>>() == expected, "{asked:?}: {text}");
        }
    }
    Ok(())
}

#[test]
fn what_changed_last_is_compared_with_the_version_before() {
    compared_with_the_version_before().unwrap_or_else(|error| panic!("{error:?}"));
}

/// What `diff` tells of a path without a revision: its changes, and all of the answer.
fn last_change(device: &Device, path: &str) -> Result<(Vec<String>, Value)> {
    let diff = device.ask(&["diff", path])?.success("diff")?.json()?;
    let changes = diff["changes"].as_array().context("no changes")?;
    let told = changes.iter().map(|it| {
        let word = |field: &str| it[field].as_str().unwrap_or("?").to_owned();
        format!("{} {}", word("change"), word("path"))
    });
    Ok((told.collect(), diff))
}

/// What `log` calls all that, newest first.
fn logged(device: &Device) -> Result<()> {
    for path in ["folder:d/renamed.txt", "folder:"] {
        let log = device.ask(&["log", path])?.success("log")?.json()?;
        let versions = log["versions"].as_array().context("no versions")?.iter();
        let told = versions.map(|it| (it["change"].clone(), it["attributes"].clone()));
        let expected = [
            (json!("moved"), json!([])),
            (json!("attributes"), json!(["time"])),
            (json!("attributes"), json!(["mode"])),
            (json!("created"), json!([])),
        ];
        ensure!(told.take(4).collect::<Vec<_>>() == expected, "{log}");
    }
    Ok(())
}

/// What happened to a directory itself is told of it, not only what happened in it.
fn directories(pair: &Pair) -> Result<()> {
    let device = &pair.devices[1];
    fs::set_permissions(pair.at(0, "d"), fs::Permissions::from_mode(0o755))?;
    pair.meet()?;
    fs::set_permissions(pair.at(0, "d"), fs::Permissions::from_mode(0o700))?;
    pair.meet()?;
    let (told, diff) = last_change(device, "folder:d")?;
    ensure!(told == ["attributes d"] && diff["modes"] == json!(["0755", "0700"]), "{diff}");
    let shown = String::from_utf8(device.plain(&["diff", "folder:d"])?.stdout)?;
    ensure!(shown.ends_with("d/\nits mode 0755 -> 0700\n"), "{shown}");
    fs::rename(pair.at(0, "d"), pair.at(0, "e"))?;
    pair.meet()?;
    let (told, diff) = last_change(device, "folder:e")?;
    ensure!(told == ["moved e"] && diff["changes"][0]["from"] == "d", "{diff}");
    ensure!(diff["modes"].is_null(), "{diff}");
    let shown = String::from_utf8(device.plain(&["diff", "folder:e"])?.stdout)?;
    ensure!(shown.ends_with("e/ (from d)\n"), "{shown}");
    fs::rename(pair.at(0, "e"), pair.at(0, "d"))?;
    pair.meet()
}

fn compared_with_the_version_before() -> Result<()> {
    let pair = Pair::begin(["first", "second"], 60)?;
    let device = &pair.devices[1];
    fs::create_dir_all(pair.at(0, "d/sub"))?;
    for file in ["a.txt", "d/b.txt", "d/sub/c.txt"] {
        fs::write(pair.at(0, file), "one\n")?;
    }
    let at = pair.at(0, "a.txt");
    fs::set_permissions(&at, fs::Permissions::from_mode(0o644))?;
    pair.meet()?;
    let (told, diff) = last_change(device, "folder:a.txt")?;
    ensure!(told == ["added a.txt"] && diff["from"].is_null(), "{diff}");

    let first = diff["to"].clone();
    fs::set_permissions(&at, fs::Permissions::from_mode(0o600))?;
    pair.meet()?;
    let (told, diff) = last_change(device, "folder:a.txt")?;
    ensure!(told == ["attributes a.txt"] && diff["from"] == first, "{diff}");
    ensure!(diff["modes"] == json!(["0644", "0600"]) && diff["mtimes"].is_null(), "{diff}");
    ensure!(diff["text"] == "" && diff["sizes"] == json!([4, 4]), "{diff}");
    let shown = device.plain(&["diff", "folder:a.txt"])?.stdout;
    let shown = String::from_utf8(shown)?;
    ensure!(shown.ends_with("are the same\nmode 0644 -> 0600\n"), "{shown}");

    let chmod = diff["to"].clone();
    fs::File::options().write(true).open(&at)?.set_modified(UNIX_EPOCH)?;
    pair.meet()?;
    let (told, diff) = last_change(device, "folder:a.txt")?;
    ensure!(told == ["attributes a.txt"] && diff["from"] == chmod, "{diff}");
    ensure!(diff["mtimes"][1] == "1970-01-01T00:00:00Z" && diff["modes"].is_null(), "{diff}");

    fs::rename(&at, pair.at(0, "d/renamed.txt"))?;
    pair.meet()?;
    let (told, diff) = last_change(device, "folder:d/renamed.txt")?;
    ensure!(told == ["moved d/renamed.txt"] && diff["changes"][0]["from"] == "a.txt", "{diff}");
    let last = diff["to"].clone();
    logged(device)?;

    fs::remove_file(pair.at(0, "d/renamed.txt"))?;
    pair.meet()?;
    let (told, diff) = last_change(device, "folder:d/renamed.txt")?;
    ensure!(told == ["deleted d/renamed.txt"] && diff["from"] == last, "{diff}");
    ensure!(diff["deleted"] == true && diff["sizes"] == json!([4, 0]), "{diff}");
    ensure!(diff["text"].as_str().is_some_and(|text| text.ends_with("-one\n")), "{diff}");
    let end = diff["to"]["revision"].to_string();
    let named = ["diff", "folder:d/renamed.txt", "--rev", &end];
    ensure!(device.ask(&named)?.success("diff")?.json()? == diff);

    fs::write(pair.at(0, "d/b.bin"), "two\0")?;
    pair.meet()?;
    fs::remove_file(pair.at(0, "d/b.bin"))?;
    pair.meet()?;
    let (told, diff) = last_change(device, "folder:d/b.bin")?;
    ensure!(told == ["deleted d/b.bin"] && diff["reason"] == "it is not text", "{diff}");
    let shown = String::from_utf8(device.plain(&["diff", "folder:d/b.bin"])?.stdout)?;
    ensure!(shown.starts_with("a file of 4 B was deleted at revision "), "{shown}");
    directories(&pair)?;
    fs::write(pair.at(0, "d/b.txt"), "two\n")?;
    pair.meet()?;
    fs::remove_dir_all(pair.at(0, "d"))?;
    pair.meet()?;
    let (told, diff) = last_change(device, "folder:d")?;
    let went = ["deleted d", "deleted d/b.txt", "deleted d/sub", "deleted d/sub/c.txt"];
    ensure!(told == went, "{diff}");
    let end = device.ask(&["ls", "folder:d", "--deleted"])?.success("ls")?.json()?;
    let end = end["entries"][0]["revision"].to_string();
    let named = device.ask(&["diff", "folder:d", "--rev", &end])?.success("diff")?.json()?;
    ensure!(named == diff, "{named}");
    Ok(())
}
