//! A tree of real source files travels to other devices unchanged, and a git repository survives.
//!
//! The files come from the sources that cargo has unpacked to build this very test, so they are as
//! mixed as real trees are. What those lack is added: spaces and non-ASCII letters, executable
//! bits, private files, links, empty files and directories, and a large file of noise.

use anyhow::{Context, Result, ensure};
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use tests::harness::{Device, Node, NodeKind, Programs, Server, Tree, size};

/// Files, and MiB of the large file; `DRIFTLESS_TREE_FILES` and `DRIFTLESS_TREE_LARGE_MIB` say
/// otherwise.
const FULL: (usize, usize) = (20_000, 1024);
/// The same where there is no room for that.
const SMALL: (usize, usize) = (2_000, 32);
/// Bytes that the full size needs, with room to spare.
const FULL_BYTES: u64 = 12_000_000_000;
/// Larger files are not copied: the large one stands for them.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Time for one sync, in seconds.
const SYNC_SECONDS: u64 = 600;

#[test]
fn a_real_tree_travels_there_and_back() {
    real_tree().unwrap_or_else(|error| panic!("{error:?}"));
}

#[test]
fn a_git_repository_survives_commits_a_rebase_and_a_gc() {
    let version = Command::new("git").arg("--version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        println!("left out: the git repository, because git is not installed");
        return;
    }
    git_repository().unwrap_or_else(|error| panic!("{error:?}"));
}

fn real_tree() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let programs = Programs::locate()?;
    let server = Server::start(&programs, directory.path())?;
    let first = Device::join(&programs, directory.path(), "first", &server.invite()?)?;
    let second = Device::join(&programs, directory.path(), "second", &first.invite()?)?;

    let (files, large_mib) = default_size(directory.path())?;
    let files = size("DRIFTLESS_TREE_FILES", files);
    build(first.root(), files)?;
    write_noise(&first.root().join(LARGE), size("DRIFTLESS_TREE_LARGE_MIB", large_mib))?;
    equal_after_sync(&[&first, &second], "the first sync")?;
    is_mixed(&Tree::read(second.root())?, files)?;

    for (round, (author, reader)) in [(&first, &second), (&second, &first)].iter().enumerate() {
        edit(author.root(), round)?;
        edit_large(author.root(), round)?;
        equal_after_sync(&[*author, *reader], &format!("edits on {}", author.name()))?;
    }

    let third = Device::join(&programs, directory.path(), "third", &second.invite()?)?;
    equal_after_sync(&[&second, &third, &first], "a third device that joined later")?;
    fs::remove_file(third.root().join(LARGE))?;
    edit(third.root(), 2)?;
    equal_after_sync(&[&third, &first, &second], "edits on the third device")?;
    for device in [&first, &second, &third] {
        let status = device.status()?;
        ensure!(status["conflicts"] == 0, "{}: {status}", device.name());
        ensure!(status["issues"] == serde_json::json!([]), "{}: {status}", device.name());
    }
    for mut device in [third, second, first] {
        device.stop()?;
    }
    Ok(())
}

fn default_size(directory: &Path) -> Result<(usize, usize)> {
    let room = rustix::fs::statvfs(directory)?;
    if room.f_bavail.saturating_mul(room.f_frsize) >= FULL_BYTES {
        return Ok(FULL);
    }
    println!("left out: the real tree at its full size, because TMPDIR has less than 12 GB free");
    Ok(SMALL)
}

/// Checks that a tree is as large as was asked for, and has of everything that trees have.
fn is_mixed(tree: &Tree, asked: usize) -> Result<()> {
    let (files, directories, links) = tree.counts();
    println!("{files} files, {directories} directories, {links} links");
    ensure!(files >= asked, "{files} files instead of {asked}");
    ensure!(directories >= asked / 10, "{directories} directories are few for {asked} files");
    let has = |what: &str, wanted: fn(&str, &Node) -> bool| {
        let found = tree.nodes().any(|(path, node)| wanted(path, node));
        ensure!(found, "the tree has no {what}");
        Ok(())
    };
    has("name with a space", |path, node| is_file(node) && last(path).contains(' '))?;
    has("name with other letters than ASCII", |path, node| {
        is_file(node) && !last(path).is_ascii()
    })?;
    has("program", |_, node| is_file(node) && node.mode & 0o111 != 0)?;
    has("private file", |_, node| is_file(node) && node.mode & 0o077 == 0)?;
    has("link", |_, node| matches!(node.kind, NodeKind::Symlink { .. }))?;
    has("empty file", |_, node| matches!(node.kind, NodeKind::File { bytes: 0, .. }))
}

fn is_file(node: &Node) -> bool {
    matches!(node.kind, NodeKind::File { .. })
}

/// The last name of a path.
fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Syncs the devices in turn, the author first, and compares all with it.
fn equal_after_sync(devices: &[&Device], what: &str) -> Result<()> {
    for device in devices {
        device.sync(SYNC_SECONDS).with_context(|| what.to_owned())?;
    }
    let expected = Tree::read(devices[0].root())?;
    for device in &devices[1..] {
        let differences = expected.differences(&Tree::read(device.root())?);
        ensure!(
            differences.is_empty(),
            "{what}: {} differs:\n{}",
            device.name(),
            differences.join("\n")
        );
    }
    Ok(())
}

/// Fills a root with `count` real files and with what they lack.
fn build(root: &Path, count: usize) -> Result<()> {
    let sources = cargo_sources()?;
    let (mut copied, mut again) = (0, 0);
    while copied < count {
        let before = copied;
        copied += copy_sources(&sources, &root.join(format!("packages {again}")), count - copied)?;
        ensure!(copied > before, "cargo has unpacked no files in {}", sources.display());
        again += 1;
    }
    add_oddities(root)
}

/// Copies up to `count` files, and says how many there were.
fn copy_sources(sources: &Path, into: &Path, count: usize) -> Result<usize> {
    let mut copied = 0;
    let mut open = vec![sources.to_owned()];
    while let Some(directory) = open.pop() {
        let mut entries: Vec<_> = fs::read_dir(&directory)?.collect::<Result<_, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                open.push(entry.path());
            } else if metadata.is_file() && metadata.len() <= FILE_BYTES_MAX && copied < count {
                let to = into.join(entry.path().strip_prefix(sources)?);
                fs::create_dir_all(to.parent().context("a file without directory")?)?;
                fs::copy(entry.path(), &to)?;
                fs::File::open(&to)?.set_modified(metadata.modified()?)?;
                copied += 1;
            }
        }
    }
    Ok(copied)
}

/// The large file, in the root.
const LARGE: &str = "large.bin";
/// Where the first round of edits moves it; what the next one calls that directory.
const MOVED: [&str; 2] = ["odd names, moved/large.bin", "odd names/large.bin"];

fn write_noise(path: &Path, mebibytes: usize) -> Result<()> {
    let mut noise = blake3::Hasher::new().finalize_xof();
    let mut file = fs::File::create(path)?;
    let mut piece = vec![0; 1024 * 1024];
    for _ in 0..mebibytes {
        noise.fill(&mut piece);
        file.write_all(&piece)?;
    }
    Ok(())
}

/// Writes over a bit in the middle of the large file, adds to its end and moves it.
fn edit_large(root: &Path, round: usize) -> Result<()> {
    let (from, to) = match round % 2 {
        0 => (root.join(LARGE), root.join(MOVED[0])),
        _ => (root.join(MOVED[1]), root.join(LARGE)),
    };
    let file = fs::File::options().write(true).open(&from)?;
    let bytes = file.metadata()?.len();
    file.write_all_at(format!("edited in round {round}").as_bytes(), bytes / 2)?;
    file.write_all_at(b"a new end", bytes)?;
    drop(file);
    fs::rename(from, to)?;
    Ok(())
}

fn add_oddities(root: &Path) -> Result<()> {
    let odd = root.join("odd names");
    fs::create_dir_all(odd.join("no files here/and none here"))?;
    for name in
        ["a b  c.txt", "Grüße.md", "日本語.rs", "émoji 🦀", "-dash", "semi;colon&$(x)", "..."]
    {
        fs::write(odd.join(name), format!("this is {name}\n"))?;
    }
    fs::write(odd.join("empty"), "")?;
    for (name, mode) in [("script.sh", 0o755), ("private", 0o600), ("readonly", 0o444)] {
        fs::write(odd.join(name), "#!/bin/sh\n")?;
        fs::set_permissions(odd.join(name), Permissions::from_mode(mode))?;
    }
    let old = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    fs::File::open(odd.join("empty"))?.set_modified(old)?;
    symlink("a b  c.txt", odd.join("link"))?;
    symlink("../nowhere/at all", odd.join("dangling"))?;
    symlink("no files here", odd.join("link to a directory"))?;
    Ok(())
}

/// Where cargo has unpacked what this workspace is built from.
fn cargo_sources() -> Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let sources = home.context("neither CARGO_HOME nor HOME is set")?.join("registry/src");
    ensure!(sources.is_dir(), "{} is no directory", sources.display());
    Ok(sources)
}

/// Edits, renames, deletes and creates a bit of everything.
fn edit(root: &Path, round: usize) -> Result<()> {
    let packages = root.join("packages 0");
    let mut files: Vec<PathBuf> = Vec::new();
    let mut open = vec![packages];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => open.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    files.sort();
    for (index, file) in files.iter().enumerate() {
        match index % 40 {
            0 => fs::write(file, format!("edited in round {round}\n"))?,
            10 => fs::rename(file, file.with_extension(format!("moved {round}")))?,
            20 => fs::remove_file(file)?,
            30 => {
                let mut text = fs::read(file)?;
                text.splice(0..0, *b"// a line before the rest\n");
                fs::write(file, text)?;
            }
            35 => fs::set_permissions(file, Permissions::from_mode(0o700))?,
            _ => {}
        }
    }
    let (from, to) = match round % 2 {
        0 => ("odd names", "odd names, moved"),
        _ => ("odd names, moved", "odd names"),
    };
    fs::rename(root.join(from), root.join(to))?;
    fs::write(root.join(to).join(format!("new in round {round}")), "new\n")?;
    fs::remove_file(root.join(to).join("dangling"))?;
    symlink(format!("another target {round}"), root.join(to).join("dangling"))?;
    Ok(())
}

fn git_repository() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let programs = Programs::locate()?;
    let server = Server::start(&programs, directory.path())?;
    let first = Device::join(&programs, directory.path(), "first", &server.invite()?)?;
    let second = Device::join(&programs, directory.path(), "second", &first.invite()?)?;
    let (here, there) = (first.root().join("project"), second.root().join("project"));

    // Nothing but the repository: its gc deletes most entries of the folder.
    fs::create_dir(&here)?;
    git(&here, &["init", "--quiet", "--initial-branch=main"])?;
    for number in 0..20 {
        commit(&here, &format!("file {number}"), "first\n")?;
    }
    // While the sync of the first commits goes on: a branch, commits on both sides, a rebase.
    let mut running = first.start_sync(SYNC_SECONDS)?;
    git(&here, &["checkout", "--quiet", "-b", "topic", "HEAD~5"])?;
    for number in 0..5 {
        commit(&here, &format!("topic {number}"), "topic\n")?;
    }
    git(&here, &["rebase", "--quiet", "main"])?;
    running.wait()?.success("a sync during a rebase")?;
    same_repository(&first, &second, &here, &there, "commits and a rebase")?;

    let mut running = first.start_sync(SYNC_SECONDS)?;
    git(&here, &["gc", "--quiet", "--aggressive", "--prune=now"])?;
    running.wait()?.success("a sync during a gc")?;
    same_repository(&first, &second, &here, &there, "a gc")?;

    commit(&there, "file 3", "from the other side\n")?;
    same_repository(&second, &first, &there, &here, "a commit on the other device")
}

fn same_repository(
    author: &Device,
    reader: &Device,
    here: &Path,
    there: &Path,
    what: &str,
) -> Result<()> {
    author.sync(SYNC_SECONDS)?;
    reader.sync(SYNC_SECONDS)?;
    git(there, &["fsck", "--full", "--strict"]).with_context(|| what.to_owned())?;
    let status = git(there, &["status", "--porcelain"])?;
    ensure!(status.is_empty(), "after {what}: not clean:\n{status}");
    let heads = [here, there].map(|repository| git(repository, &["rev-parse", "HEAD"]));
    let [ours, theirs] = heads;
    ensure!(ours? == theirs?, "after {what}: another HEAD");
    let conflicts = reader.status()?["conflicts"].clone();
    ensure!(conflicts == 0, "after {what}: {conflicts} conflicts");
    Ok(())
}

fn commit(repository: &Path, file: &str, text: &str) -> Result<()> {
    let path = repository.join(file);
    let before = fs::read_to_string(&path).unwrap_or_default();
    fs::write(&path, before + text)?;
    git(repository, &["add", "--all"])?;
    git(repository, &["commit", "--quiet", "--message", file])?;
    Ok(())
}

/// Runs git with no settings but these, and gives what it printed.
fn git(repository: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(repository)
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.org"])
        .args(["-c", "commit.gpgsign=false", "-c", "gc.autoDetach=false"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .context("starting git")?;
    ensure!(
        output.status.success(),
        "git {arguments:?} in {}: {}{}",
        repository.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
