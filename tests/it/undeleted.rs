//! What the revision of a deletion means, and what is said of a restore, with the programs as people run
//! them.

use anyhow::{Context, Result, ensure};
use std::fs;
use tests::harness::{Device, Pair, Tree};

/// What `ls --deleted` shows is what is asked for.
#[test]
fn the_revision_of_a_deletion_brings_back_what_was_deleted() {
    undeleted().unwrap_or_else(|error| panic!("{error:?}"));
}

#[test]
fn what_was_moved_out_of_a_directory_first_is_no_reason_to_lose_the_rest() {
    emptied_and_deleted().unwrap_or_else(|error| panic!("{error:?}"));
}

fn emptied_and_deleted() -> Result<()> {
    let pair = Pair::begin(["first", "second"], 60)?;
    let [_, second] = &pair.devices;
    fs::create_dir_all(pair.at(0, "d/deep"))?;
    for file in ["d/a.txt", "d/deep/b.txt", "d/keep.txt"] {
        fs::write(pair.at(0, file), format!("of {file}\n"))?;
    }
    pair.meet()?;
    fs::rename(pair.at(0, "d/keep.txt"), pair.at(0, "keep.txt"))?;
    fs::remove_dir_all(pair.at(0, "d"))?;
    pair.meet()?;
    let end = end_of(second, "d")?;
    second.ask(&["restore", "folder:d", "--rev", &end])?.success("restore")?;
    pair.meet()?;
    for file in ["d/a.txt", "d/deep/b.txt"] {
        ensure!(fs::read_to_string(pair.at(0, file))? == format!("of {file}\n"), "{file}");
    }
    // It is where it was moved to, whether it had left in the midst of the deletion or before it.
    ensure!(fs::read(pair.at(0, "keep.txt"))? == b"of d/keep.txt\n");
    Ok(())
}

#[test]
fn a_file_that_a_directory_replaced_comes_back_elsewhere_and_is_read() {
    replaced_by_a_directory().unwrap_or_else(|error| panic!("{error:?}"));
}

fn replaced_by_a_directory() -> Result<()> {
    let pair = Pair::begin(["first", "second"], 60)?;
    let [_, second] = &pair.devices;
    fs::write(pair.at(0, "x"), "a file\n")?;
    pair.meet()?;
    fs::remove_file(pair.at(0, "x"))?;
    fs::create_dir(pair.at(0, "x"))?;
    fs::write(pair.at(0, "x/in"), "in it\n")?;
    pair.meet()?;
    let end = end_of(second, "x")?;
    ensure!(second.cat("x", end.parse()?)? == b"a file\n");
    let refused = second.ask(&["restore", "folder:x", "--rev", &end])?;
    ensure!(refused.json()?["error"]["kind"] == "in_the_way", "{refused:?}");
    ensure!(fs::read(pair.at(0, "x/in"))? == b"in it\n");
    let (beside, to) = pair.beside("beside")?;
    second.ask(&["restore", "folder:x", "--rev", &end, "--to", &to])?.success("--to")?;
    ensure!(fs::read(beside)? == b"a file\n");
    Ok(())
}

#[test]
fn what_was_edited_here_since_is_not_said_to_be_as_it_was() {
    edited_since().unwrap_or_else(|error| panic!("{error:?}"));
}

fn edited_since() -> Result<()> {
    let pair = Pair::begin(["first", "second"], 60)?;
    let [first, _] = &pair.devices;
    fs::write(pair.at(0, "a.txt"), "synced\n")?;
    pair.meet()?;
    let at = first.versions("a.txt")?.first().context("no version")?.revision.to_string();
    first.ask(&["restore", "folder:a.txt", "--at", &at])?.success("as it is")?;
    first.ask(&["pause"])?.success("pause")?;
    fs::write(pair.at(0, "a.txt"), "edited\n")?;
    for asked in [["restore", "folder:a.txt", "--at", &at], ["restore", "folder:", "--at", &at]] {
        let refused = first.ask(&asked)?;
        ensure!(refused.json()?["error"]["kind"] == "unsynced", "{refused:?}");
        ensure!(refused.code == Some(1), "{refused:?}");
    }
    fs::rename(pair.at(0, "a.txt"), pair.at(0, "b.txt"))?;
    let refused = first.ask(&["restore", "folder:", "--at", &at])?;
    ensure!(refused.json()?["error"]["kind"] == "unsynced", "{refused:?}");
    ensure!(fs::read(pair.at(0, "b.txt"))? == b"edited\n");
    first.ask(&["resume"])?.success("resume").map(drop)
}

/// The revision that `ls --deleted` shows of a path.
fn end_of(device: &Device, path: &str) -> Result<String> {
    let list = device.ask(&["ls", "folder:", "--deleted"])?.success("ls --deleted")?.json()?;
    let mut entries = list["entries"].as_array().context("no entries")?.iter();
    let entry = entries.find(|entry| entry["path"] == path);
    let entry = entry.with_context(|| format!("{path} is not in {list}"))?;
    Ok(entry["revision"].as_u64().context("no revision")?.to_string())
}

fn undeleted() -> Result<()> {
    let pair = Pair::begin(["first", "second"], 60)?;
    let [first, second] = &pair.devices;
    fs::create_dir_all(pair.at(0, "d/deep/deeper"))?;
    fs::create_dir(pair.at(0, "d/empty"))?;
    for file in ["d/a.txt", "d/deep/b.txt", "d/deep/deeper/c.txt", "stays.txt"] {
        fs::write(pair.at(0, file), format!("of {file}\n"))?;
    }
    pair.meet()?;
    // Another change in it between parts two deletions.
    fs::write(pair.at(0, "d/before.txt"), "deleted before\n")?;
    pair.meet()?;
    fs::remove_file(pair.at(0, "d/before.txt"))?;
    pair.meet()?;
    fs::write(pair.at(0, "d/a.txt"), "edited\n")?;
    pair.meet()?;
    let then = Tree::read(first.root())?;
    fs::remove_dir_all(pair.at(0, "d"))?;
    pair.meet()?;
    let [end, of_deep, of_file] = ["d", "d/deep", "d/deep/b.txt"].map(|it| end_of(second, it));
    let (end, of_deep, of_file) = (end?, of_deep?, of_file?);
    // A moment, also one that a label marks, is what was there then: nothing.
    let nothing = second.ask(&["ls", "folder:d", "--at", &end])?.json()?;
    ensure!(nothing["error"]["kind"] == "no_such_path", "{nothing}");
    ensure!(nothing["error"]["hint"].as_str().is_some_and(|it| it.contains("--rev")), "{nothing}");
    second.ask(&["label", "add", "clean", "--at", &end])?.success("label add")?;
    let nothing = second.ask(&["restore", "folder:d", "--at", "clean"])?.json()?;
    ensure!(nothing["error"]["kind"] == "no_such_path", "{nothing}");

    let (beside, to) = pair.beside("beside")?;
    let asked = ["restore", "folder:d/deep", "--rev", &of_deep, "--to", &to];
    second.ask(&asked)?.success("restore --to")?;
    ensure!(fs::read(beside.join("deeper/c.txt"))? == b"of d/deep/deeper/c.txt\n");
    let bytes = second.cat("d/deep/b.txt", of_file.parse()?)?;
    ensure!(bytes == b"of d/deep/b.txt\n", "{bytes:?}");

    let dry = ["restore", "folder:d", "--rev", &end, "--dry-run"];
    let dry = second.ask(&dry)?.success("a dry run")?.json()?;
    ensure!(dry["changes"].as_array().is_some_and(|it| it.len() == 7), "{dry}");
    second.ask(&["restore", "folder:d", "--rev", &end])?.success("restore")?;
    pair.meet()?;
    let now = Tree::read(first.root())?;
    ensure!(now == then, "{:?}", then.differences(&now));

    fs::remove_file(pair.at(0, "d/a.txt"))?;
    pair.meet()?;
    let end = end_of(second, "d/a.txt")?;
    ensure!(second.cat("d/a.txt", end.parse()?)? == b"edited\n");
    second.ask(&["restore", "folder:d/a.txt", "--rev", &end])?.success("restore of a file")?;
    pair.meet()?;
    let now = Tree::read(first.root())?;
    ensure!(now == then, "{:?}", then.differences(&now));
    Ok(())
}
