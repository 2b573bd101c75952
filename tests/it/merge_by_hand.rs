//! Conflicts that people settle by hand, with the built programs: in an editor, with a merge tool, with
//! a file; and what a program that fails, or leaves marks, does not change.
//!
//! The programs on loopback, because what is promised is what an editor gets, what a person reads and
//! how the command ends.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tests::harness::{Device, Finished, Programs, Server, on_a_terminal};

/// Time for one sync, in seconds.
const SYNC_SECONDS: u64 = 60;
/// What both start from, what each makes of it, and what is made of both.
const BASE: &str = "title\nold line\nend\n";
const FIRST: &str = "title\nline of the first\nend\n";
const SECOND: &str = "title\nline of the second\nend\n";
const BY_HAND: &str = "title\nlines of both\nend\n";

struct Scene {
    programs: Programs,
    directory: PathBuf,
    first: Device,
    second: Device,
}

impl Scene {
    fn new(directory: &Path) -> Result<(Self, Server)> {
        let programs = Programs::locate()?;
        let server = Server::start(&programs, directory)?;
        let first = Device::join(&programs, directory, "first", &server.invite()?)?;
        let second = Device::join(&programs, directory, "second", &first.invite()?)?;
        Ok((Self { programs, directory: directory.to_owned(), first, second }, server))
    }

    /// A conflict at this path, of which the second device wrote the copy.
    fn conflict(&self, path: &str, texts: [&str; 3]) -> Result<()> {
        let write = |device: &Device, text: &str| fs::write(device.root().join(path), text);
        write(&self.first, texts[0])?;
        self.first.sync(SYNC_SECONDS)?;
        self.second.sync(SYNC_SECONDS)?;
        self.second.ask(&["pause"])?.success("pause")?;
        write(&self.first, texts[1])?;
        self.first.sync(SYNC_SECONDS)?;
        write(&self.second, texts[2])?;
        self.second.ask(&["resume"])?.success("resume")?;
        ensure!(self.second.sync_to_conflicts(SYNC_SECONDS)? == 1, "not one conflict");
        ensure!(self.first.sync_to_conflicts(SYNC_SECONDS)? == 1, "not one on the first");
        Ok(())
    }

    /// A program of a few lines of shell, which is started without one.
    fn script(&self, name: &str, lines: &str) -> Result<String> {
        let path = self.directory.join(name);
        fs::write(&path, format!("#!/bin/sh\n{lines}\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        Ok(path.to_str().context("a path that is no UTF-8")?.to_owned())
    }

    /// `resolve PATH --keep merged` on a terminal of the second device, with this editor.
    fn edit(&self, path: &str, editor: &str) -> Result<Output> {
        let mut command = Command::new(self.programs.device());
        command.arg("--home").arg(self.second.home()).env_remove("VISUAL").env("EDITOR", editor);
        command.arg("resolve").arg(self.second.root().join(path)).args(["--keep", "merged"]);
        on_a_terminal(&mut command)
    }

    /// `resolve PATH` on the second device.
    fn resolve(&self, path: &str, how: [&str; 2]) -> Result<Finished> {
        let path = self.second.root().join(path);
        let path = path.to_str().context("a path that is no UTF-8")?;
        self.second.ask(&["resolve", path, how[0], how[1]])
    }

    /// Checks that a conflict is as it was on both devices.
    fn is_open(&self, path: &str, texts: [&str; 2]) -> Result<()> {
        for device in [&self.first, &self.second] {
            let conflicts = conflicts(device, &[])?;
            let [conflict] = conflicts.as_slice() else { anyhow::bail!("not one: {conflicts:?}") };
            let copy = conflict["copy"].as_str().context("no copy")?;
            let read = |path: &str| fs::read_to_string(device.root().join(path));
            ensure!([read(path)?, read(copy)?] == texts, "{}: other texts", device.name());
        }
        Ok(())
    }

    /// Checks that a conflict was settled with this text on both devices.
    fn is_settled(&self, path: &str, text: &str) -> Result<()> {
        self.second.sync(SYNC_SECONDS)?;
        self.first.sync(SYNC_SECONDS)?;
        for device in [&self.first, &self.second] {
            ensure!(conflicts(device, &[])?.is_empty(), "{}: still open", device.name());
            ensure!(fs::read_to_string(device.root().join(path))? == text, "another text");
            let left: Vec<_> = fs::read_dir(device.root())?.collect::<Result<_, _>>()?;
            let is_copy = |name: &str| name.contains("(conflict ");
            ensure!(!left.iter().any(|it| is_copy(&it.file_name().to_string_lossy())), "a copy");
        }
        Ok(())
    }
}

fn conflicts(device: &Device, arguments: &[&str]) -> Result<Vec<Value>> {
    let arguments = [&["conflicts"], arguments].concat();
    let answer = device.ask(&arguments)?.success("conflicts")?.json()?;
    Ok(answer["conflicts"].as_array().context("no list")?.clone())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Names in a home of merges that were kept.
fn kept(home: &Path) -> Result<Vec<PathBuf>> {
    let entries: Vec<_> = fs::read_dir(home)?.collect::<Result<_, _>>()?;
    let is_merge = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("merge-"))
    };
    Ok(entries.into_iter().map(|entry| entry.path()).filter(is_merge).collect())
}

#[test]
fn an_editor_that_fails_or_leaves_marks_changes_nothing_and_a_good_one_settles() {
    in_an_editor().unwrap_or_else(|error| panic!("{error:?}"));
}

fn in_an_editor() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (scene, _server) = Scene::new(directory.path())?;
    scene.conflict("a.txt", [BASE, FIRST, SECOND])?;
    let home = scene.second.home();

    // Without a terminal there is nobody to merge.
    let path = scene.second.root().join("a.txt");
    let path = path.to_str().context("a path that is no UTF-8")?;
    let refused = scene.second.ask(&["resolve", path, "--keep", "merged"])?;
    let error = refused.json()?["error"].clone();
    ensure!(refused.code == Some(4) && error["kind"] == "not_clean", "{refused:?}");
    ensure!(error["hint"].as_str().is_some_and(|hint| hint.contains("--with FILE")), "{error}");

    // A file with marks is no better than a text in an editor.
    let marked = directory.path().join("marked");
    fs::write(&marked, format!("<<<<<<< one\n{FIRST}=======\n{SECOND}>>>>>>> two\n"))?;
    let marked = marked.to_str().context("a path that is no UTF-8")?;
    let refused = scene.second.ask(&["resolve", path, "--with", marked])?;
    ensure!(refused.code == Some(1), "{refused:?}");
    ensure!(refused.json()?["error"]["kind"] == "marks_left", "{refused:?}");
    scene.is_open("a.txt", [FIRST, SECOND])?;

    let fails = scene.script("fails", "exit 3")?;
    let does_nothing = scene.script("does-nothing", "exit 0")?;
    let deletes = scene.script("deletes", "rm \"$1\"")?;
    let empties = scene.script("empties", ": > \"$1\"")?;
    for (editor, expected) in [
        (deletes.as_str(), "the file with the result is gone"),
        (&empties, "the result is empty, and no side is"),
        (&fails, "did not end well"),
        ("/nowhere/an-editor", "could not be started"),
        (&does_nothing, "still has marks"),
    ] {
        let output = scene.edit("a.txt", editor)?;
        ensure!(output.status.code() == Some(1), "{editor}: {output:?}");
        ensure!(said(&output).contains(expected), "{editor}: {}", said(&output));
        ensure!(kept(home)?.is_empty(), "{editor}: {:?}", kept(home)?);
        scene.is_open("a.txt", [FIRST, SECOND])?;
    }

    // What a person wrote and cannot be taken is kept, for nobody else to read.
    let half = scene.script("half", "sed -i 's/^line of the second/a better line/' \"$1\"")?;
    let output = scene.edit("a.txt", &half)?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    let [kept_in] = kept(home)?.try_into().ok().context("not one merge is kept")?;
    let result = kept_in.join("a.txt");
    ensure!(said(&output).contains(result.to_str().context("no UTF-8")?), "{}", said(&output));
    let text = fs::read_to_string(&result)?;
    ensure!(text.contains("a better line\n") && text.contains("<<<<<<< mine (second)"), "{text}");
    ensure!(text.contains("||||||| base\nold line\n=======\nline of the first\n"), "{text}");
    let mode = |path: &Path| fs::metadata(path).map(|it| it.permissions().mode() & 0o777);
    ensure!((mode(&kept_in)?, mode(&result)?) == (0o700, 0o600), "others may read it");
    ensure!(fs::read_dir(&kept_in)?.count() == 1, "the sides are kept too");
    scene.is_open("a.txt", [FIRST, SECOND])?;
    fs::remove_dir_all(&kept_in)?;

    fs::write(directory.path().join("by-hand"), BY_HAND)?;
    let good =
        scene.script("good", &format!("cp {}/by-hand \"$2\"", directory.path().display()))?;
    let output = scene.edit("a.txt", &format!("{good} 'an argument'"))?;
    ensure!(output.status.code() == Some(0), "{output:?}");
    ensure!(kept(home)?.is_empty(), "{:?}", kept(home)?);
    scene.is_settled("a.txt", BY_HAND)?;

    // It is settled: there is nothing to be done any more, on either device.
    for device in [&scene.first, &scene.second] {
        let path = device.root().join("a.txt");
        let path = path.to_str().context("a path that is no UTF-8")?;
        let again = device.ask(&["resolve", path, "--keep", "merged"])?;
        ensure!(again.code == Some(1), "{again:?}");
        ensure!(again.json()?["error"]["kind"] == "no_conflict", "{again:?}");
    }
    Ok(())
}

/// With the marks between them, three texts are larger than any that is merged.
#[test]
fn marks_are_found_in_what_is_left_of_large_texts() {
    found_in_large_texts().unwrap();
}

fn found_in_large_texts() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (scene, _server) = Scene::new(directory.path())?;
    let text = |which: &str| {
        let line = |number| format!("{which} {number} {}\n", "x".repeat(240));
        (0..1500).map(line).collect::<String>()
    };
    let [base, first, second] = ["base", "first", "second"].map(text);
    scene.conflict("a.txt", [&base, &first, &second])?;
    let does_nothing = scene.script("does-nothing", "exit 0")?;
    let output = scene.edit("a.txt", &does_nothing)?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(said(&output).contains("still has marks"), "{}", said(&output));
    let marked = directory.path().join("marked");
    fs::write(&marked, format!("<<<<<<< a\n{second}||||||| b\n{base}=======\n{first}>>>>>>> c\n"))?;
    let marked = marked.to_str().context("a path that is no UTF-8")?;
    let refused = scene.resolve("a.txt", ["--with", marked])?;
    ensure!(refused.json()?["error"]["kind"] == "marks_left", "{refused:?}");
    scene.is_open("a.txt", [&first, &second])
}

#[test]
fn what_was_written_is_kept_where_it_helps_until_it_is_taken() {
    kept_until_taken().unwrap_or_else(|error| panic!("{error:?}"));
}

fn kept_until_taken() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (scene, _server) = Scene::new(directory.path())?;
    let home = scene.second.home();
    scene.conflict("a.txt", [BASE, FIRST, SECOND])?;
    let bytes = scene.script("bytes", "printf 'a\\000b' > \"$1\"; echo swap > \"$1~\"")?;
    let output = scene.edit("a.txt", &bytes)?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(said(&output).contains("the result is no text"), "{}", said(&output));
    let [kept_in] = kept(home)?.try_into().ok().context("not one merge is kept")?;
    // What the editor left may be what was typed after the last save.
    ensure!(fs::read(kept_in.join("a.txt~"))? == b"swap\n", "another text");
    ensure!(fs::read_dir(&kept_in)?.count() == 2, "the sides are kept too");
    ensure!(said(&output).contains("--with"), "{}", said(&output));
    scene.is_open("a.txt", [FIRST, SECOND])?;
    fs::remove_dir_all(&kept_in)?;

    let fails = scene.script("fails", "echo mine > \"$1\"; exit 1")?;
    scene.edit("a.txt", &fails)?;
    let [kept_in] = kept(home)?.try_into().ok().context("not one merge is kept")?;
    let result = kept_in.join("a.txt");
    let result = result.to_str().context("a path that is no UTF-8")?;
    scene.resolve("a.txt", ["--with", result])?.success("with what was kept")?;
    ensure!(kept(home)?.is_empty(), "{:?}", kept(home)?);
    scene.is_settled("a.txt", "mine\n")?;

    // Somebody else is faster.
    scene.conflict("b.txt", [BASE, FIRST, SECOND])?;
    let (program, first) = (scene.programs.device(), &scene.first);
    let path = first.root().join("b.txt");
    let (program, there, path) = (program.display(), first.home().display(), path.display());
    let elsewhere = format!(
        "{program} --home {there} resolve {path} --keep theirs && {program} --home {} sync && \
         echo mine > \"$1\"",
        home.display()
    );
    let output = scene.edit("b.txt", &scene.script("elsewhere", &elsewhere)?)?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    let [kept_in] = kept(home)?.try_into().ok().context("not one merge is kept")?;
    let said = said(&output);
    ensure!(said.contains(&format!("{}/b.txt", kept_in.display())), "{said}");
    ensure!(said.contains("look at b.txt") && !said.contains("--with"), "{said}");
    scene.is_settled("b.txt", SECOND)
}

#[test]
fn a_merge_tool_or_a_file_settles_what_a_merge_does_not() {
    with_tools_and_files().unwrap_or_else(|error| panic!("{error:?}"));
}

fn with_tools_and_files() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (scene, _server) = Scene::new(directory.path())?;
    scene.conflict("a.txt", [BASE, FIRST, SECOND])?;
    let second = &scene.second;
    let path = |name: &str| -> Result<String> {
        Ok(second.root().join(name).to_str().context("a path that is no UTF-8")?.to_owned())
    };
    let config = second.home().join("config.toml");
    let before = fs::read_to_string(&config)?;
    let set_tool = |tool: &str| fs::write(&config, format!("merge_tool = '''{tool}'''\n{before}"));

    let shown = conflicts(second, &[&path("a.txt")?, "--diff"])?;
    let diff = shown[0]["diff"].as_str().context("no diff")?;
    for line in ["-old line", "+line of the first", "+line of the second", "+++ a.txt (first)"] {
        ensure!(diff.lines().any(|it| it == line), "{line}: {diff}");
    }
    ensure!(shown[0]["mergeable"] == false, "{shown:?}");
    fs::create_dir(second.root().join("d"))?;
    second.sync_to_conflicts(SYNC_SECONDS)?;
    ensure!(conflicts(second, &[&path("d")?])?.is_empty(), "none is below d");

    set_tool("meld {mine} {theirs}")?;
    let refused = second.ask(&["resolve", &path("a.txt")?, "--keep", "merged"])?;
    ensure!(refused.json()?["error"]["kind"] == "merge_tool", "{refused:?}");
    scene.is_open("a.txt", [FIRST, SECOND])?;

    let tool = scene.script("tool", "cat \"$1\" \"$2\" \"$3\" > \"$4\"")?;
    set_tool(&format!("{tool} {{mine}} {{base}} {{theirs}} {{merged}}"))?;
    second.ask(&["resolve", &path("a.txt")?, "--keep", "merged"])?.success("with a tool")?;
    scene.is_settled("a.txt", &format!("{SECOND}{BASE}{FIRST}"))?;
    // What the daemon writes there itself leaves it as it is.
    second.ask(&["pause"])?.success("pause")?;
    ensure!(fs::read_to_string(&config)?.contains("merge_tool"), "the tool is forgotten");
    second.ask(&["resume"])?.success("resume")?;
    a_mistaken_configuration_stays(second, &config)?;

    scene.conflict("b.bin", ["base\0", "one\0", "two\0"])?;
    let refused = second.ask(&["resolve", &path("b.bin")?, "--keep", "merged"])?;
    ensure!(refused.json()?["error"]["kind"] == "not_mergeable", "{refused:?}");
    let both = second.ask(&["resolve", &path("b.bin")?, "--keep", "mine", "--with", "x"])?;
    ensure!(both.code == Some(2), "{both:?}");
    let given = directory.path().join("given");
    let given = given.to_str().context("a path that is no UTF-8")?;
    let missing = second.ask(&["resolve", &path("b.bin")?, "--with", given])?;
    ensure!(missing.json()?["error"]["kind"] == "bad_content", "{missing:?}");
    fs::write(given, "given\0")?;
    second.ask(&["resolve", &path("b.bin")?, "--with", given])?.success("with a file")?;
    scene.is_settled("b.bin", "given\0")
}

/// A line below the tables, where it cannot be read, is not lost with the next command either.
fn a_mistaken_configuration_stays(device: &Device, config: &Path) -> Result<()> {
    let right = fs::read_to_string(config)?;
    let mistaken = format!("{right}merge_tool = \"meld\"\n");
    fs::write(config, &mistaken)?;
    let refused = device.ask(&["pause"])?;
    ensure!(refused.code != Some(0), "{refused:?}");
    ensure!(fs::read_to_string(config)? == mistaken, "the configuration was written over");
    fs::write(config, right)?;
    device.ask(&["pause"])?.success("pause")?;
    device.ask(&["resume"])?.success("resume").map(drop)
}

#[test]
fn edits_of_other_lines_are_merged_on_both_devices() {
    merged_by_themselves().unwrap_or_else(|error| panic!("{error:?}"));
}

fn merged_by_themselves() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (scene, _server) = Scene::new(directory.path())?;
    let base = "1\n2\n3\n4\n5\n";
    fs::write(scene.first.root().join("a.txt"), base)?;
    scene.first.sync(SYNC_SECONDS)?;
    scene.second.sync(SYNC_SECONDS)?;
    scene.second.ask(&["pause"])?.success("pause")?;
    let (one, two) = ("one\n2\n3\n4\n5\n", "1\n2\n3\n4\nfive\n");
    fs::write(scene.first.root().join("a.txt"), one)?;
    scene.first.sync(SYNC_SECONDS)?;
    fs::write(scene.second.root().join("a.txt"), two)?;
    scene.second.ask(&["resume"])?.success("resume")?;
    scene.is_settled("a.txt", "one\n2\n3\n4\nfive\n")?;
    let sizes: Vec<u64> = scene.first.versions("a.txt")?.iter().map(|it| it.size).collect();
    ensure!(sizes == [15, 13, 12, 10], "not all are in the history: {sizes:?}");
    Ok(())
}

#[test]
fn a_conflict_that_is_said_to_be_resolved_is_so_on_this_disk() {
    resolved_here().unwrap_or_else(|error| panic!("{error:?}"));
}

fn resolved_here() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (scene, _server) = Scene::new(directory.path())?;
    let given = directory.path().join("given");
    fs::write(&given, BY_HAND)?;
    let given = given.to_str().context("a path that is no UTF-8")?;
    let (one, two) = ("one\n2\n3\n4\n5\n", "1\n2\n3\n4\nfive\n");
    scene.second.sync(SYNC_SECONDS)?;
    scene.second.ask(&["folder", "set", "folder", "--merge", "ask"])?.success("merge ask")?;
    scene.first.sync(SYNC_SECONDS)?;
    let cases = [
        (["--keep", "mine"], SECOND),
        (["--keep", "theirs"], FIRST),
        (["--with", given], BY_HAND),
        (["--keep", "copy"], SECOND),
        (["--with", given], BY_HAND),
    ];
    for (number, (how, text)) in cases.into_iter().enumerate() {
        let name = format!("{number}.txt");
        scene.conflict(&name, [BASE, FIRST, SECOND])?;
        let answer = scene.resolve(&name, how)?.success("resolve")?.json()?;
        ensure!(fs::read_to_string(scene.second.root().join(&name))? == text, "{how:?}: it is old");
        ensure!(answer["complete"] == true && answer["kept"][0] == name, "{answer}");
        scene.is_settled(&name, text)?;
    }
    scene.conflict("merged.txt", ["1\n2\n3\n4\n5\n", one, two])?;
    scene.resolve("merged.txt", ["--keep", "merged"])?.success("resolve")?;
    let merged = "one\n2\n3\n4\nfive\n";
    ensure!(fs::read_to_string(scene.second.root().join("merged.txt"))? == merged, "it is old");
    scene.is_settled("merged.txt", merged)?;

    // Nothing comes to this disk as long as it is paused, and that is said.
    scene.conflict("paused.txt", [BASE, FIRST, SECOND])?;
    scene.second.ask(&["pause"])?.success("pause")?;
    let waits = scene.resolve("paused.txt", ["--keep", "mine"])?;
    ensure!(waits.code == Some(3) && waits.json()?["complete"] == false, "{waits:?}");
    scene.second.ask(&["resume"])?.success("resume")?;
    scene.is_settled("paused.txt", SECOND)
}
