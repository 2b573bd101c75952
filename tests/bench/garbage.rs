//! How long garbage collection takes, and how much memory, where half of all chunks are dead.
//!
//! Owns what is measured and how; prints one line. Run with
//! `cargo build --release -p server && cargo bench -p tests --bench garbage`; `DRIFTLESS_CHUNKS` sets
//! how many chunks. It asserts that the right ones go, never how fast they do.

mod author;

use anyhow::{Context, Result, ensure};
use author::Author;
use bytes::Bytes;
use client::remote::Remote;
use common::chunk::{Attributes, ChunkRef, build_manifest, seal_chunk};
use common::ids::{ChunkId, EntryId};
use common::record::{Change, Kind};
use common::wire::meta::CommitPart;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use tests::harness::{Programs, Server, size};

/// Chunks of one file; as many that no version names are put among them.
const FILE_CHUNKS: usize = 500;
/// Bytes of a chunk: the work is in their number.
const CHUNK_BYTES: usize = 1000;

fn main() -> Result<()> {
    let base =
        std::env::var_os("DRIFTLESS_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = tempfile::tempdir_in(base)?;
    let chunks = size("DRIFTLESS_CHUNKS", 1_000_000);
    let begun = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(fill(directory.path(), chunks))?;
    println!("{chunks} chunks stored in {:.0?}", begun.elapsed());
    collect(directory.path(), chunks)
}

/// Puts so many chunks, every other of which belongs to a file.
async fn fill(directory: &Path, chunks: usize) -> Result<()> {
    let mut author = Author::begin(directory).await?;
    for file in 0..chunks / (2 * FILE_CHUNKS) {
        let mut put = Vec::with_capacity(2 * FILE_CHUNKS);
        for number in 0..2 * FILE_CHUNKS {
            let mut plain = [0; CHUNK_BYTES];
            let number = (file * 2 * FILE_CHUNKS + number) as u64;
            blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut plain);
            let sealed = seal_chunk(&author.keys, &author.folder, &plain);
            put.push((ChunkId::of(&sealed), Bytes::from(sealed)));
        }
        let live = put.iter().step_by(2);
        let live: Vec<ChunkRef> =
            live.map(|(id, _)| ChunkRef { id: *id, plain_len: CHUNK_BYTES as u32 }).collect();
        let manifest = build_manifest(&author.keys, &author.folder, &live);
        let pages = manifest.pages.iter().map(|(id, page)| (*id, Bytes::from(page.clone())));
        let mut receipts = author.remote.put(author.folder, put).await?;
        receipts.extend(author.remote.put(author.folder, pages.collect()).await?);
        let pages = manifest.pages.into_iter().map(|(_, page)| page).collect();
        let proof = CommitPart { receipts, pages, ..CommitPart::default() };

        let mut id = [0; 16];
        id.copy_from_slice(&blake3::hash(&file.to_le_bytes()).as_bytes()[..16]);
        let entry = EntryId::from_bytes(id);
        let attributes = Attributes {
            mode: 0o644,
            mtime_ns: 1,
            size: (FILE_CHUNKS * CHUNK_BYTES) as u64,
            target: None,
            tag: author.keys.content_tag().finish(),
            restored: None,
        };
        let place = author.place(&entry, EntryId::ROOT, &format!("file {file}"))?;
        let content = author.content(&entry, manifest.root, &attributes);
        author.group(vec![Change::Create { entry, kind: Kind::File, place, content }]).await?;
        author.commit_with(vec![proof]).await?;
    }
    author.server.shutdown().await;
    Ok(())
}

/// One run lets the leases of the dead chunks end, the next is measured, by a server that has done
/// nothing else.
fn collect(directory: &Path, chunks: usize) -> Result<()> {
    let dead = (chunks / 2) as u64;
    let programs = Programs::locate()?;
    let mut server = Server::start(&programs, directory)?;
    let first = gc(&programs, server.data())?;
    ensure!(first["trashed"]["chunks"] == 0, "trashed while in flight: {first}");
    server.stop()?;
    let before = disk(&server.data().join("chunks"))?;
    server.run()?;
    let begun = Instant::now();
    let report = gc(&programs, server.data())?;
    let taken = begun.elapsed();
    ensure!(report["purged"]["chunks"] == dead, "not all of {dead} are gone: {report}");
    let peak = peak(server.data())?;
    // Stopped, it has no write-ahead log.
    server.stop()?;
    let after = disk(&server.data().join("chunks"))?;
    println!(
        "{dead} of {chunks} chunks collected in {taken:.1?}, {} MiB at the peak, {} bytes freed and {} \
         moved; on the disk {before} bytes before and {after} after",
        peak >> 20,
        report["freed_bytes"],
        report["moved_bytes"],
    );
    Ok(())
}

/// A run without grace, however long it takes: the harness would lose patience.
fn gc(programs: &Programs, data: &Path) -> Result<Value> {
    let mut command = Command::new(programs.server());
    command.args(["gc", "--now", "--grace", "0s", "--json", "--data"]).arg(data);
    let done = command.output()?;
    ensure!(done.status.success(), "gc: {}", String::from_utf8_lossy(&done.stderr));
    Ok(serde_json::from_slice(&done.stdout)?)
}

fn disk(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { disk(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// The most memory that the server over this data has had, in bytes.
fn peak(data: &Path) -> Result<u64> {
    for entry in fs::read_dir("/proc")?.flatten() {
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        let text = String::from_utf8_lossy(&line);
        if text.contains("serve\0") && text.contains(&*data.to_string_lossy()) {
            let status = fs::read_to_string(entry.path().join("status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kilobytes = line.context("no peak")?.trim().trim_end_matches("kB").trim();
            return Ok(kilobytes.parse::<u64>()? * 1024);
        }
    }
    anyhow::bail!("the server is not running")
}
