//! An open conflict as both devices show it to scripts, field by field, until one of them settles
//! it.
//!
//! The built programs on loopback, because what is promised here is the answer of `conflicts
//! --json`: each field of it is held against the log, the files and the clock.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::Duration;
use tests::harness::{Device, Programs, Server};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How far the clock may be set back meanwhile.
const CLOCK_STEP: Duration = Duration::from_secs(1);
/// Time for one sync, in seconds.
const SYNC_SECONDS: u64 = 60;
/// What both devices start from: its second version, so that no number fits by accident.
const BASE: &str = "what both have read";
/// What the first device to come back makes of it.
const FIRST: &str = "of the first, longer than before";
/// What the other one makes of it.
const SECOND: &str = "of the second";

#[test]
fn both_devices_show_a_conflict_alike_and_one_of_them_settles_it() {
    shown_and_settled().unwrap_or_else(|error| panic!("{error:?}"));
}

fn shown_and_settled() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let programs = Programs::locate()?;
    let mut server = Server::start(&programs, directory.path())?;
    let first = Device::join(&programs, directory.path(), "first", &server.invite()?)?;
    let mut second = Device::join(&programs, directory.path(), "second", &first.invite()?)?;
    for text in ["older", BASE] {
        fs::write(first.root().join("a.txt"), text)?;
        first.sync(SYNC_SECONDS)?;
    }
    second.sync(SYNC_SECONDS)?;
    let [base, _] = log(&first, "a.txt")?.try_into().ok().context("not two versions")?;
    for device in [&first, &second] {
        ensure!(conflicts(device)? == json!([]), "a conflict before there is one");
    }

    server.stop()?;
    let before = now() - CLOCK_STEP;
    fs::write(first.root().join("a.txt"), FIRST)?;
    fs::write(second.root().join("a.txt"), SECOND)?;
    // The first comes back alone, so that its edit is the one that keeps the name.
    second.stop()?;
    server.run()?;
    first.sync(SYNC_SECONDS)?;
    second.run()?;
    ensure!(second.sync_to_conflicts(SYNC_SECONDS)? == 1, "not one conflict");
    ensure!(first.sync_to_conflicts(SYNC_SECONDS)? == 1, "not one conflict on the first");
    let after = now() + CLOCK_STEP;

    let shown = conflicts(&first)?;
    ensure!(shown == conflicts(&second)?, "the second shows another: {}", conflicts(&second)?);
    let [conflict] = shown.as_array().context("no list")?.as_slice() else {
        anyhow::bail!("not one conflict: {shown}");
    };
    let copy = copy_name(conflict)?;
    for device in [&first, &second] {
        let sides = [(&first, "a.txt", FIRST), (&second, copy.as_str(), SECOND)];
        is_as_logged(conflict, device, &base, sides).context(device.name().to_owned())?;
        ensure!(device.cat("a.txt", revision(&base)?)? == BASE.as_bytes(), "another base");
    }
    let times = [&conflict["opened"], &conflict["sides"][0]["time"], &conflict["sides"][1]["time"]];
    for time in times {
        let time = parsed(time)?;
        ensure!((before..=after).contains(&time), "{time} is not in {before}..={after}");
    }
    is_settled_on_both(&first, &second, &copy)
}

/// Checks every field of a conflict against the log and the files of one device. Each side comes
/// with who wrote it, where it is, and its text.
fn is_as_logged(
    conflict: &Value,
    device: &Device,
    base: &Value,
    sides: [(&Device, &str, &str); 2],
) -> Result<()> {
    let mut expected = Vec::new();
    for (author, path, text) in sides {
        let versions = log(device, path)?;
        let newest = versions.first().context("a side without versions")?;
        ensure!(fs::read_to_string(device.root().join(path))? == text, "{path}: another text");
        ensure!(device.cat(path, revision(newest)?)? == text.as_bytes(), "{path}: another version");
        expected.push(json!({
            "device": author.name(),
            "revision": newest["revision"],
            "time": newest["time"],
            "kind": "file",
            "size": text.len(),
            "unreadable": null,
        }));
    }
    // As one value, so that a field more or less is seen too.
    let expected = json!({
        "folder": "folder",
        "path": sides[0].1,
        "copy": sides[1].1,
        "opened": expected[1]["time"],
        "base": {
            "revision": base["revision"],
            "device": "first",
            "time": base["time"],
            "size": BASE.len(),
        },
        "sides": expected,
        // Both have written over the only line.
        "mergeable": false,
        "diff": null,
    });
    ensure!(*conflict == expected, "shown: {conflict}\nexpected: {expected}");
    Ok(())
}

#[test]
fn the_log_tells_when_a_conflict_was_closed_whichever_side_stays() {
    closed_in_the_log().unwrap_or_else(|error| panic!("{error:?}"));
}

fn closed_in_the_log() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let programs = Programs::locate()?;
    let server = Server::start(&programs, directory.path())?;
    let first = Device::join(&programs, directory.path(), "first", &server.invite()?)?;
    let mut second = Device::join(&programs, directory.path(), "second", &first.invite()?)?;
    for keep in ["mine", "theirs", "both", "by hand"] {
        let file = first.root().join(format!("{keep}.txt"));
        let file = file.to_str().context("a path that is no UTF-8")?;
        fs::write(file, BASE)?;
        first.sync(SYNC_SECONDS)?;
        second.sync(SYNC_SECONDS)?;
        second.stop()?;
        fs::write(file, FIRST)?;
        first.sync(SYNC_SECONDS)?;
        fs::write(second.root().join(format!("{keep}.txt")), SECOND)?;
        second.run()?;
        second.sync_to_conflicts(SYNC_SECONDS)?;
        first.sync_to_conflicts(SYNC_SECONDS)?;
        let copy = conflicts(&first)?[0]["copy"].as_str().context("no copy")?.to_owned();
        if keep == "by hand" {
            fs::remove_file(first.root().join(&copy))?;
        } else {
            first.ask(&["resolve", file, "--keep", keep])?.success("resolve")?;
        }
        first.sync(SYNC_SECONDS)?;
        let told = log(&first, &format!("{keep}.txt"))?;
        let changes: Vec<_> = told.iter().map(|version| version["change"].clone()).collect();
        ensure!(changes == ["resolved", "edited", "created"], "{keep}: {changes:?}");
        let text = if keep == "theirs" { SECOND } else { FIRST };
        let closed = revision(&told[0])?;
        let path = format!("{keep}.txt");
        ensure!(first.cat(&path, closed)? == text.as_bytes(), "{keep}: another text");
        let of_copy = if keep == "both" { "resolved" } else { "deleted" };
        ensure!(log(&first, &copy)?[0]["change"] == of_copy, "{keep}: {}", told[0]);
        // What changed last is what is compared, not that nothing did.
        let diff = first.ask(&["diff", file])?.success("diff")?.json()?;
        let changed = if keep == "theirs" { closed } else { revision(&told[1])? };
        ensure!(diff["to"]["revision"] == changed, "{keep}: {diff}");
        let timeline = first.ask(&["log"])?.success("log")?.json()?;
        let of_last = timeline["versions"].as_array().context("no timeline")?.iter();
        let mut of_last = of_last.filter(|version| version["revision"] == closed);
        ensure!(of_last.any(|it| it["path"] == json!(path)), "{keep}: {timeline}");
    }
    Ok(())
}

/// Settles the conflict on the second device, whose content takes the name.
fn is_settled_on_both(first: &Device, second: &Device, copy: &str) -> Result<()> {
    let path = second.root().join("a.txt");
    let path = path.to_str().context("a path that is no UTF-8")?;
    second.ask(&["resolve", path, "--keep", "mine"])?.success("resolve")?;
    second.sync(SYNC_SECONDS)?;
    first.sync(SYNC_SECONDS)?;
    for device in [first, second] {
        ensure!(conflicts(device)? == json!([]), "{}: still open", device.name());
        ensure!(device.status()?["conflicts"] == 0, "{}: still counted", device.name());
        ensure!(fs::read_to_string(device.root().join("a.txt"))? == SECOND, "another text");
        ensure!(!device.root().join(copy).exists(), "{}: the copy stays", device.name());
    }
    Ok(())
}

/// Files of 1 MiB, one more than those of which one listing reads both sides.
const MANY: usize = 33;

#[test]
fn a_listing_of_many_large_conflicts_leaves_out_texts_and_says_how_to_see_them() {
    many_large().unwrap_or_else(|error| panic!("{error:?}"));
}

fn many_large() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let programs = Programs::locate()?;
    let server = Server::start(&programs, directory.path())?;
    let first = Device::join(&programs, directory.path(), "first", &server.invite()?)?;
    let mut second = Device::join(&programs, directory.path(), "second", &first.invite()?)?;
    second.stop()?;
    for device in [&first, &second] {
        for file in 0..MANY {
            let first_line = format!("{:>15}\n", device.name());
            let text = first_line + &"of both sides..\n".repeat((1 << 16) - 1);
            fs::write(device.root().join(format!("{file:02}.txt")), text)?;
        }
        // What turns out to be no text is read too, and what is too large to be merged is not.
        let binary = format!("\0{}", "of both sides..\n".repeat((1 << 16) - 1)) + device.name();
        fs::write(device.root().join("00.txt"), binary)?;
        fs::write(device.root().join("large"), device.name().repeat(1 << 20))?;
    }
    first.sync(SYNC_SECONDS)?;
    second.run()?;
    ensure!(second.sync_to_conflicts(SYNC_SECONDS)? == MANY as u64 + 1, "not all conflicts");

    let shown = second.ask(&["conflicts", "--diff"])?.success("conflicts")?.json()?;
    let shown = shown["conflicts"].as_array().context("no list")?;
    let diff = |conflict: &Value| conflict["diff"].as_str().unwrap_or_default().to_owned();
    let hint = "`driftless conflicts --diff PATH`";
    let (left, known): (Vec<_>, Vec<_>) = shown.iter().partition(|it| diff(it).contains(hint));
    ensure!(known.len() == MANY && left.len() == 1, "{} are left out", left.len());
    for conflict in known {
        let is_text = !["00.txt", "large"].map(Value::from).contains(&conflict["path"]);
        let shown = if is_text { "--- " } else { "not compared line by line" };
        ensure!(diff(conflict).contains(shown), "{}: {}", conflict["path"], diff(conflict));
    }
    ensure!(left[0]["path"] != "large", "left out, although it is not read");

    let path = second.root().join(left[0]["path"].as_str().context("no path")?);
    let path = path.to_str().context("odd path")?;
    let alone = second.ask(&["conflicts", "--diff", path])?.success("conflicts")?.json()?;
    ensure!(!diff(&alone["conflicts"][0]).contains(hint), "not shown by its path: {alone}");
    Ok(())
}

/// The open conflicts that a device lists.
fn conflicts(device: &Device) -> Result<Value> {
    Ok(device.ask(&["conflicts"])?.success("conflicts")?.json()?["conflicts"].clone())
}

/// The versions of a path, newest first.
fn log(device: &Device, path: &str) -> Result<Vec<Value>> {
    let path = device.root().join(path);
    let path = path.to_str().context("a path that is no UTF-8")?;
    let log = device.ask(&["log", path])?.success("log")?.json()?;
    Ok(log["versions"].as_array().context("a log without versions")?.clone())
}

fn revision(version: &Value) -> Result<u64> {
    version["revision"].as_u64().context("no revision")
}

/// The copy's name, which says when and on which device the other content was written.
fn copy_name(conflict: &Value) -> Result<String> {
    let name = conflict["copy"].as_str().context("no copy")?;
    let inside =
        name.strip_prefix("a (conflict ").and_then(|rest| rest.strip_suffix(" second).txt"));
    let date = inside.with_context(|| format!("not the name of a copy: {name}"))?;
    parsed(&json!(format!("{date}T00:00:00Z")))?;
    ensure!(Path::new(name).components().count() == 1, "not beside the original: {name}");
    Ok(name.to_owned())
}

fn parsed(time: &Value) -> Result<OffsetDateTime> {
    let text = time.as_str().with_context(|| format!("no time: {time}"))?;
    OffsetDateTime::parse(text, &Rfc3339).with_context(|| format!("not RFC 3339: {text}"))
}

/// The clock that the server reads too.
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc() // ok: held against what the programs say
}
