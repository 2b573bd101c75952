//! N2 with the real programs: bytes rot on the server's disk, and one file waits for it, not all.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use tests::harness::{Device, Programs, Random, Server, Tree};

/// Time for one sync, in seconds.
const SYNC_SECONDS: u64 = 60;
/// Files, each of one chunk and of one length; an odd number, so that the middle of their segment is
/// the middle of a chunk.
const FILES: u64 = 61;

#[test]
fn n2_a_chunk_that_rots_on_the_server_keeps_back_its_own_file_until_it_is_sent_again() {
    rotten().unwrap_or_else(|error| panic!("{error:?}"));
}

fn rotten() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let programs = Programs::locate()?;
    let mut server = Server::start(&programs, directory.path())?;
    let first = Device::join(&programs, directory.path(), "first", &server.invite()?)?;
    for number in 0..FILES {
        let mut random = Random::new(number);
        let content: Vec<u8> = (0..1_000).flat_map(|_| random.bits().to_le_bytes()).collect();
        fs::write(first.root().join(format!("file {number}")), content)?;
    }
    first.sync(SYNC_SECONDS)?;
    server.stop()?;
    rot(&directory.path().join("server"))?;
    server.run()?;

    let second = Device::join(&programs, directory.path(), "second", &first.invite()?)?;
    let synced = second.ask(&["sync", "--timeout", "30"])?;
    ensure!(synced.code == Some(3), "a sync that lacks a chunk: {synced:?}");
    let status = second.status()?;
    let issues = status["issues"].as_array().context("no issues")?;
    let [issue] = issues.as_slice() else { anyhow::bail!("not one issue: {status}") };
    let reason = issue["reason"].as_str().context("no reason")?;
    ensure!(reason.contains("no whole copy of chunk"), "{reason}");
    let path = issue["path"].as_str().context("no path")?;
    let differences = Tree::read(first.root())?.differences(&Tree::read(second.root())?);
    let [difference] = differences.as_slice() else { anyhow::bail!("{differences:?}") };
    ensure!(difference.starts_with(&format!("{path}: only on the first")), "{difference}");

    // A copy under another name brings the same bytes: the server takes them in place of the bad.
    fs::copy(first.root().join(path), first.root().join("a copy"))?;
    first.sync(SYNC_SECONDS)?;
    second.sync(SYNC_SECONDS)?;
    let [ours, theirs] = [&first, &second].map(|device| Tree::read(device.root()));
    ensure!(ours? == theirs?, "not the same after the repair");
    ensure!(second.status()?["issues"] == serde_json::json!([]), "{}", second.status()?);
    Ok(())
}

/// Flips a bit in the middle of the one segment, which is inside some file's chunk.
fn rot(data: &Path) -> Result<()> {
    let mut open = vec![data.to_owned()];
    let mut largest: Option<(u64, std::path::PathBuf)> = None;
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let (path, length) = (entry.path(), entry.metadata()?.len());
            if entry.file_type()?.is_dir() {
                open.push(path);
            } else if path.components().any(|part| part.as_os_str() == "segments")
                && largest.as_ref().is_none_or(|(most, _)| length > *most)
            {
                largest = Some((length, path));
            }
        }
    }
    let (_, path) = largest.context("no segment")?;
    let mut bytes = fs::read(&path)?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("an empty segment")? ^= 1;
    Ok(fs::write(&path, bytes)?)
}
