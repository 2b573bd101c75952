//! The past of a git repository and its conflicts, as people see them: with the real programs, and
//! git itself to say whether what comes back is whole.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use tests::harness::{Device, Pair, Tree, git_ok};

/// Time for a sync, in seconds.
const SYNC_SECONDS: u64 = 60;
/// Where the repository is.
const REPOSITORY: &str = "work/repository";

fn in_folder(path: &str) -> String {
    format!("folder:{path}")
}

fn commit(at: &Path, file: &str, text: &str) -> Result<String> {
    fs::write(at.join(file), text)?;
    git_ok(at, &["add", "--all"])?;
    git_ok(at, &["commit", "--quiet", "--message", text])?;
    git_ok(at, &["rev-parse", "HEAD"])
}

fn init(at: &Path) -> Result<()> {
    fs::create_dir_all(at)?;
    git_ok(at, &["init", "--quiet", "--initial-branch=main"]).map(drop)
}

/// Whether a repository is whole; returns its head.
fn checked(git_directory: &Path) -> Result<String> {
    git_ok(git_directory, &["--git-dir=.", "fsck", "--full", "--strict", "--no-progress"])?;
    git_ok(git_directory, &["--git-dir=.", "rev-parse", "main"])
}

/// What a command that fails says to scripts.
fn refused(device: &Device, arguments: &[&str]) -> Result<String> {
    let finished = device.ask(arguments)?;
    ensure!(finished.code == Some(1), "{arguments:?}: {finished:?}");
    let kind = finished.json()?["error"]["kind"].as_str().map(str::to_owned);
    kind.with_context(|| format!("{arguments:?}: no error: {finished:?}"))
}

fn answer(device: &Device, arguments: &[&str]) -> Result<Value> {
    device.ask(arguments)?.success(&arguments.join(" "))?.json()
}

/// What a command prints for people, and its exit code.
fn printed(device: &Device, arguments: &[&str]) -> Result<(Option<i32>, Vec<u8>, String)> {
    let output = device.plain(arguments)?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.code(), output.stdout, errors))
}

/// The repository with two commits, its trees and heads after each, and the revisions of its bundle.
struct Past {
    git: String,
    trees: [Tree; 2],
    wholes: [Tree; 2],
    heads: [String; 2],
    revisions: [String; 2],
}

impl Past {
    fn of(pair: &Pair) -> Result<Self> {
        let at = pair.devices[0].root().join(REPOSITORY);
        init(&at)?;
        // What git itself does not make.
        symlink("../HEAD", at.join(".git/hooks/link"))?;
        fs::create_dir(at.join(".git/sealed"))?;
        fs::write(at.join(".git/sealed/inside"), "x")?;
        fs::set_permissions(at.join(".git/sealed"), PermissionsExt::from_mode(0o555))?;
        let git = format!("{REPOSITORY}/.git");
        let (mut trees, mut wholes, mut heads) = (Vec::new(), Vec::new(), Vec::new());
        for text in ["first", "second"] {
            heads.push(commit(&at, "file", text)?);
            pair.meet()?;
            trees.push(Tree::read_as_git(&at.join(".git"))?);
            wholes.push(Tree::read_as_git(&at)?);
        }
        let versions = pair.devices[0].versions(&git)?;
        // One commit may be seen in more than one version, the last of which is whole work.
        let newest = versions.first().context("no version")?.revision;
        let of_first = versions.iter().find(|version| {
            let head = format!("{git}/refs/heads/main");
            let is_of_first = |bytes: Vec<u8>| bytes.starts_with(heads[0].as_bytes());
            pair.devices[0].cat(&head, version.revision).is_ok_and(is_of_first)
        });
        let oldest = of_first.context("no version has the first commit")?.revision;
        let two = |what: &str| format!("not two {what}");
        Ok(Self {
            git,
            trees: trees.try_into().ok().with_context(|| two("trees"))?,
            wholes: wholes.try_into().ok().with_context(|| two("wholes"))?,
            heads: heads.try_into().ok().with_context(|| two("heads"))?,
            revisions: [oldest, newest].map(|revision| revision.to_string()),
        })
    }
}

#[test]
fn the_past_of_a_repository_is_told_and_brought_back() {
    told_and_brought_back().unwrap_or_else(|error| panic!("{error:?}"));
}

fn told_and_brought_back() -> Result<()> {
    let pair = Pair::begin(["first", "second"], SYNC_SECONDS)?;
    let past = Past::of(&pair)?;
    kinds(&pair.devices[1], &past)?;
    looked_at(&pair, &past)?;
    bytes(&pair.devices[1], &past)?;
    parts_are_refused(&pair.devices[1], &past)?;
    beside(&pair, &past)?;
    differences(&pair, &past)?;
    in_place(&pair, &past)
}

fn kinds(device: &Device, past: &Past) -> Result<()> {
    let git = in_folder(&past.git);
    let listed = |arguments: &[&str]| -> Result<()> {
        let list = answer(device, arguments)?;
        let entries = list["entries"].as_array().context("no entries")?;
        let of_git: Vec<_> = entries.iter().filter(|it| it["path"] == past.git.as_str()).collect();
        ensure!(of_git.len() == 1 && of_git[0]["kind"] == "bundle", "{arguments:?}: {list}");
        ensure!(entries.iter().all(|it| it["path"] != format!("{}/HEAD", past.git)), "{list}");
        Ok(())
    };
    listed(&["ls", "folder:"])?;
    listed(&["ls", &git])?;
    listed(&["ls", "folder:", "--at", &past.revisions[0]])?;
    let (_, out, _) = printed(device, &["ls", "folder:"])?;
    let out = String::from_utf8(out)?;
    ensure!(out.contains(&format!("{}/ (bundle)\n", past.git)), "{out}");
    let log = answer(device, &["log", &git])?;
    let versions = log["versions"].as_array().context("no versions")?;
    ensure!(versions.iter().all(|it| it["kind"] == "bundle"), "{log}");
    ensure!(log["bundle"].is_null(), "{log}");
    ensure!(answer(device, &["why", &git])?["kind"] == "bundle");
    let (_, out, _) = printed(device, &["why", &git])?;
    ensure!(String::from_utf8(out)?.contains(".git (bundle): synced"));
    let part = answer(device, &["why", &format!("{git}/config")])?;
    let reason = part["reasons"][0].as_str().context("no reason")?;
    ensure!(reason.contains("is part of") && part["state"] == "synced", "{part}");
    let inside = answer(device, &["log", &format!("{git}/config")])?;
    ensure!(inside["bundle"] == past.git.as_str(), "{inside}");
    ensure!(inside["versions"] == log["versions"], "{inside}");
    Ok(())
}

/// `git status` writes an index anew of which this disk alone has anything: that is no difference, be
/// it before the bundle is read again or after.
fn looked_at(pair: &Pair, past: &Past) -> Result<()> {
    let git = in_folder(&past.git);
    for device in &pair.devices {
        let at = device.root().join(REPOSITORY);
        let index = at.join(".git/index");
        let before = fs::metadata(&index)?.ino();
        // Then git has to look whether it is still the same.
        fs::File::options().write(true).open(at.join("file"))?.set_modified(UNIX_EPOCH)?;
        ensure!(git_ok(&at, &["status", "--porcelain"])?.is_empty());
        ensure!(fs::metadata(&index)?.ino() != before, "the index was not written");
        for _ in 0..20 {
            let why = answer(device, &["why", &git])?;
            ensure!(!why["reasons"].to_string().contains("different versions"), "{why}");
        }
        pair.meet()?;
        let why = answer(device, &["why", &git])?;
        ensure!(why["state"] == "synced", "{why}");
    }
    Ok(())
}

fn bytes(device: &Device, past: &Past) -> Result<()> {
    let git = in_folder(&past.git);
    let [first, second] = &past.revisions;
    let main = format!("{git}/refs/heads/main");
    for (flag, revision, head) in [
        ("--rev", first, &past.heads[0]),
        ("--rev", second, &past.heads[1]),
        ("--at", first, &past.heads[0]),
    ] {
        let (code, out, errors) = printed(device, &["cat", &main, flag, revision])?;
        ensure!(code == Some(0) && out == format!("{head}\n").as_bytes(), "{out:?} {errors}");
    }
    let link = format!("{git}/hooks/link");
    ensure!(printed(device, &["cat", &link, "--rev", first])?.1 == b"../HEAD\n");
    for (path, said) in [
        (git.clone(), "is a bundle"),
        (format!("{git}/refs"), "is a directory"),
        (format!("{git}/nothing"), "was not in the bundle"),
        (format!("{git}/refs/heads/main/x"), "was not in the bundle"),
    ] {
        let (code, out, errors) = printed(device, &["cat", &path, "--rev", first])?;
        ensure!(code == Some(1) && out.is_empty(), "{path}: {code:?}");
        ensure!(errors.contains(said), "{path}: {errors}");
    }
    let (_, _, errors) = printed(device, &["cat", &git, "--rev", first])?;
    ensure!(errors.contains("driftless restore") && errors.contains("--to DEST"), "{errors}");
    let (code, _, errors) = printed(device, &["cat", &main, "--rev", "1"])?;
    ensure!(code == Some(1) && errors.contains("has no revision 1"), "{errors}");
    Ok(())
}

/// A bundle is one thing: what is done with parts of others is refused.
fn parts_are_refused(device: &Device, past: &Past) -> Result<()> {
    let before = Tree::read_as_git(device.root())?;
    let config = in_folder(&format!("{}/config", past.git));
    let file = device.root().join("work/given");
    let file = file.to_str().context("no UTF-8")?;
    for arguments in [
        &["restore", &config, "--rev", &past.revisions[0]][..],
        &["restore", &config, "--at", &past.revisions[0], "--dry-run"],
        &["resolve", &config, "--keep", "mine"],
        &["resolve", &config, "--keep", "merged"],
        &["resolve", &config, "--with", file],
        &["conflicts", &config],
        &["ls", &config],
        &["ls", &config, "--at", &past.revisions[0]],
        &["ls", &config, "--deleted"],
    ] {
        ensure!(refused(device, arguments)? == "in_bundle", "{arguments:?}");
    }
    ensure!(before == Tree::read_as_git(device.root())?);
    Ok(())
}

/// What is written beside is the same in every byte, mode, time and link.
fn beside(pair: &Pair, past: &Past) -> Result<()> {
    let device = &pair.devices[1];
    let first = &past.revisions[0];
    let git = in_folder(&past.git);
    let restored = |path: &str, which: [&str; 2], name: &str| -> Result<PathBuf> {
        let (to, text) = pair.beside(name)?;
        let restored = answer(device, &["restore", path, which[0], which[1], "--to", &text])?;
        ensure!(restored["exported_bytes"].as_u64() > Some(0), "{restored}");
        // To what is there nothing is written.
        ensure!(
            refused(device, &["restore", path, which[0], which[1], "--to", &text])? == "exists"
        );
        Ok(to)
    };
    let same = |tree: &Tree, at: &Path| -> Result<()> {
        let found = Tree::read_as_git(at)?;
        ensure!(*tree == found, "{}: {:?}", at.display(), tree.differences(&found));
        Ok(())
    };
    let bundle = restored(&git, ["--rev", first], "bundle")?;
    same(&past.trees[0], &bundle)?;
    ensure!(checked(&bundle)? == past.heads[0]);
    let directory = restored(&in_folder(REPOSITORY), ["--at", first], "directory")?;
    same(&past.wholes[0], &directory)?;
    ensure!(checked(&directory.join(".git"))? == past.heads[0]);
    let folder = restored("folder:", ["--at", first], "whole")?;
    same(&past.wholes[0], &folder.join(REPOSITORY))?;
    let sealed = restored(&format!("{git}/sealed"), ["--rev", first], "part")?;
    ensure!(fs::read(sealed.join("inside"))? == b"x");
    ensure!(fs::metadata(&sealed)?.permissions().mode() & 0o777 == 0o555);
    let main = restored(&format!("{git}/refs/heads/main"), ["--rev", first], "file")?;
    ensure!(fs::read_to_string(main)?.trim() == past.heads[0]);
    // What cannot be had leaves nothing.
    let (to, text) = pair.beside("nothing")?;
    let nothing = format!("{git}/nothing");
    let kind = refused(device, &["restore", &nothing, "--rev", first, "--to", &text])?;
    ensure!(kind == "no_such_path" && !to.exists(), "{kind}");
    Ok(())
}

fn differences(pair: &Pair, past: &Past) -> Result<()> {
    let device = &pair.devices[0];
    let git = in_folder(&past.git);
    let [first, second] = &past.revisions;
    let main = format!("{}/refs/heads/main", past.git);
    let changed = |diff: &Value, path: &str| -> Result<Vec<String>> {
        ensure!(diff["kind"] == "bundle" && diff["text"].is_null(), "{diff}");
        let changes = diff["changes"].as_array().context("no changes")?;
        let of_path = changes.iter().filter(|it| it["path"] == path);
        Ok(of_path.map(|it| it["change"].as_str().unwrap_or_default().to_owned()).collect())
    };
    let between = answer(device, &["diff", &git, "--rev", first, "--rev", second])?;
    ensure!(changed(&between, &main)? == ["edited"], "{between}");
    let changes = between["changes"].as_array().context("no changes")?;
    let objects = |change: &str| {
        let is = |it: &&Value| it["change"] == change && it["kind"] == "file";
        let of = changes.iter().filter(is).filter_map(|it| it["path"].as_str());
        of.filter(|path| path.contains("/objects/")).count()
    };
    // The commit, its tree and its file.
    ensure!(objects("added") == 3 && objects("deleted") == 0, "{between}");
    let back = answer(device, &["diff", &git, "--rev", second, "--rev", first])?;
    ensure!(back["changes"].as_array().map(Vec::len) == Some(changes.len()), "{back}");
    let part = answer(device, &["diff", &in_folder(&main), "--rev", first])?;
    ensure!(part["changes"].as_array().map(Vec::len) == Some(1), "{part}");
    ensure!(changed(&part, &main)? == ["edited"], "{part}");
    let nothing = format!("{git}/nothing");
    ensure!(refused(device, &["diff", &nothing, "--rev", first])? == "no_such_path");
    let (_, out, _) = printed(device, &["diff", &git, "--rev", first])?;
    let out = String::from_utf8(out)?;
    ensure!(out.starts_with("from revision ") && out.contains(&main), "{out}");
    // Of a directory it is one thing.
    let above = answer(device, &["diff", &in_folder(REPOSITORY), "--rev", first])?;
    let bundles = above["changes"].as_array().context("no changes")?.iter();
    let bundles: Vec<_> = bundles.filter(|it| it["kind"] == "bundle").collect();
    ensure!(bundles.len() == 1 && bundles[0]["change"] == "edited", "{above}");

    let disk = answer(device, &["diff", &git, "--disk"])?;
    ensure!(disk["to"].is_null() && disk["changes"] == Value::Array(Vec::new()), "{disk}");
    answer(device, &["pause"])?;
    let at = device.root().join(REPOSITORY);
    git_ok(&at, &["tag", "only-here"])?;
    let disk = answer(device, &["diff", &git, "--disk"])?;
    ensure!(changed(&disk, &format!("{}/refs/tags/only-here", past.git))? == ["added"], "{disk}");
    git_ok(&at, &["tag", "--delete", "only-here"])?;
    let old = answer(device, &["diff", &git, "--rev", first, "--disk"])?;
    ensure!(changed(&old, &main)? == ["edited"], "{old}");
    answer(device, &["resume"])?;
    let file = in_folder(&format!("{REPOSITORY}/file"));
    ensure!(refused(device, &["diff", &file, "--disk"])? == "no_bundle");
    ensure!(refused(device, &["diff", "folder:", "--disk"])? == "no_bundle");
    pair.meet()
}

fn in_place(pair: &Pair, past: &Past) -> Result<()> {
    let git = in_folder(&past.git);
    let restored = answer(&pair.devices[1], &["restore", &git, "--rev", &past.revisions[0]])?;
    ensure!(restored["complete"] == true, "{restored}");
    ensure!(restored["changes"][0]["kind"] == "bundle", "{restored}");
    pair.meet()?;
    for device in &pair.devices {
        let at = device.root().join(REPOSITORY);
        ensure!(checked(&at.join(".git"))? == past.heads[0], "another commit");
        let found = Tree::read_as_git(&at.join(".git"))?;
        ensure!(found == past.trees[0], "{:?}", past.trees[0].differences(&found));
        ensure!(git_ok(&at, &["log", "--format=%s"])? == "first");
    }
    // One that was deleted is listed as what it was, and comes back whole.
    fs::remove_dir_all(pair.devices[0].root().join(&past.git))?;
    pair.meet()?;
    let deleted = answer(&pair.devices[1], &["ls", "--deleted", "folder:"])?;
    ensure!(deleted["entries"][0]["kind"] == "bundle", "{deleted}");
    answer(&pair.devices[1], &["restore", &git, "--rev", &past.revisions[1]])?;
    pair.meet()?;
    ensure!(checked(&pair.devices[0].root().join(&past.git))? == past.heads[1]);
    Ok(())
}

/// What each way to settle a conflict leaves: whose work has the name.
const WAYS: [(&str, &[&str]); 5] = [
    ("mine", &["second"]),
    ("theirs", &["first"]),
    ("original", &["first"]),
    ("copy", &["second"]),
    ("both", &["first", "second"]),
];

#[test]
fn commits_apart_are_one_conflict_that_every_way_settles_on_both_devices() {
    settled_in_every_way().unwrap_or_else(|error| panic!("{error:?}"));
}

fn settled_in_every_way() -> Result<()> {
    let mut pair = Pair::begin(["first", "second"], SYNC_SECONDS)?;
    for (keep, stays) in WAYS {
        settled(&mut pair, keep, stays).with_context(|| format!("--keep {keep}"))?;
    }
    Ok(())
}

fn settled(pair: &mut Pair, keep: &str, stays: &[&str]) -> Result<()> {
    let [here, there] = [0, 1].map(|device| pair.at(device, keep));
    init(&here)?;
    commit(&here, "both", "base")?;
    pair.meet()?;
    pair.devices[1].stop()?;
    let heads = [commit(&here, "one", "first")?, commit(&there, "two", "second")?];
    pair.devices[0].sync(SYNC_SECONDS)?;
    pair.devices[1].run()?;
    for device in pair.devices.iter().rev() {
        ensure!(device.sync_to_conflicts(SYNC_SECONDS)? == 1, "not one conflict");
    }
    let git = format!("{keep}/.git");
    let copy = shown(&pair.devices[0], &git)?;
    ensure!(copy == shown(&pair.devices[1], &git)?);
    for device in &pair.devices {
        ensure!(checked(&device.root().join(&git))? == heads[0], "{}", device.name());
        ensure!(checked(&device.root().join(&copy))? == heads[1], "{}", device.name());
    }
    never_merged(pair, &git)?;
    answer(&pair.devices[1], &["resolve", &in_folder(&git), "--keep", keep])?;
    pair.meet()?;
    for device in &pair.devices {
        let head = |who: &str| if who == "first" { &heads[0] } else { &heads[1] };
        ensure!(checked(&device.root().join(&git))? == *head(stays[0]), "{}", device.name());
        match stays.get(1) {
            Some(second) => ensure!(checked(&device.root().join(&copy))? == *head(second)),
            None => ensure!(!device.root().join(&copy).exists(), "the copy is left"),
        }
        let log = git_ok(&device.root().join(keep), &["log", "--format=%s"])?;
        ensure!(log.lines().collect::<Vec<_>>() == [stays[0], "base"], "{log}");
        let open = answer(device, &["conflicts"])?;
        ensure!(open["conflicts"] == Value::Array(Vec::new()), "{open}");
    }
    Ok(())
}

/// The conflict as one device shows it; returns the path of the copy.
fn shown(device: &Device, git: &str) -> Result<String> {
    let shown = answer(device, &["conflicts", "--diff"])?;
    let [conflict] = shown["conflicts"].as_array().context("no list")?.as_slice() else {
        anyhow::bail!("not one conflict: {shown}");
    };
    ensure!(conflict["path"] == git && conflict["mergeable"].is_null(), "{conflict}");
    let sides = conflict["sides"].as_array().context("no sides")?;
    ensure!(sides.iter().all(|side| side["kind"] == "bundle"), "{conflict}");
    let diff = conflict["diff"].as_str().context("no diff")?;
    // What each made of the base, in words alone.
    for head in [format!("+++ {git} (first)\n"), format!("--- {git} (base)\n")] {
        ensure!(diff.contains(&head), "{diff}");
    }
    let main = format!("{git}/refs/heads/main");
    let edited = diff.lines().filter(|line| line.ends_with(&main)).count();
    ensure!(edited == 2 && diff.lines().all(|line| line.is_ascii()), "{diff}");
    let (_, out, _) = printed(device, &["conflicts"])?;
    ensure!(String::from_utf8(out)?.contains("(bundle)"));
    Ok(conflict["copy"].as_str().context("no copy")?.to_owned())
}

/// Neither a merge nor a file takes the place of a repository.
fn never_merged(pair: &Pair, git: &str) -> Result<()> {
    let (file, text) = pair.beside("given")?;
    fs::write(file, "no repository")?;
    for device in &pair.devices {
        let git = in_folder(git);
        for how in [["--keep", "merged"], ["--with", &text]] {
            let kind = refused(device, &["resolve", &git, how[0], how[1]])?;
            ensure!(kind == "not_mergeable", "{how:?}: {kind}");
        }
    }
    Ok(())
}
