//! How long history takes: a long log, a long journal, a large restore.
//!
//! Owns what is measured and how; prints one table. Run with
//! `cargo build --release -p client -p server && cargo bench -p tests --bench history`. Cells are
//! chosen by name after `--`: `journal` (`DRIFTLESS_REVISIONS`, `DRIFTLESS_ENTRIES` set its size;
//! `DRIFTLESS_JOURNAL` names a directory where it is kept, so that a long one is written once) and
//! `restore`. It asserts that results are right, never how fast they are.

mod author;

use anyhow::{Context, Result, ensure};
use author::{Author, folder_keys};
use bytes::Bytes;
use client::context::{FolderContext, Signers};
use client::daemon::SystemEnvironment;
use client::daemon::control::{self, Request};
use client::engine::handle::{Listing, Moment};
use client::engine::{self, Ask, EngineParts, FolderHandle, HaltReason, LogSource, Pins};
use client::fs::{Bundled, DiskFs, Fs, Root};
use client::home::Home;
use client::remote::Remote;
use client::state::FolderState;
use client::watch::{Watch, WatchOptions};
use common::chunk::{Attributes, ChunkRef, Chunker, build_manifest, seal_chunk};
use common::ids::{ChunkId, DeviceId, EntryId, FolderId};
use common::record::{Change, Content, Kind};
use common::revision::{Cursor, Revision};
use common::trust::DeviceLog;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests::harness::{Device, Programs, Random, Tree, size};

/// Versions of the file whose log is read.
const LONG_LOG: usize = 10_000;
/// Entries that one group of the beginning makes.
const MADE_TOGETHER: usize = 100;
/// Files of the directory that is restored.
const RESTORED: usize = 10_000;
/// How often each is measured.
const TIMES: usize = 5;

fn main() -> Result<()> {
    let cells: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let wanted = |cell: &str| cells.is_empty() || cells.iter().any(|it| it == cell);
    let base =
        std::env::var_os("DRIFTLESS_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = tempfile::tempdir_in(base)?;
    if wanted("journal") {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(journal(directory.path()))?;
    }
    if wanted("restore") {
        restore(directory.path())?;
    }
    Ok(())
}

fn told(what: &str, mut times: Vec<Duration>) {
    times.sort();
    println!(
        "{what:<60} {:>9.1?}  ({:.1?} to {:.1?})",
        times[times.len() / 2],
        times[0],
        times[times.len() - 1]
    );
}

struct NoPins;

impl Pins for NoPins {
    fn pinned(&self, _: &FolderId) -> Option<Cursor> {
        None
    }

    fn pin(&self, _: &FolderId, _: &Cursor) -> std::io::Result<()> {
        Ok(())
    }
}

struct FixedLog(DeviceLog);

impl LogSource for FixedLog {
    fn refresh(&self, _: DeviceId) -> Pin<Box<dyn Future<Output = Option<DeviceLog>> + Send>> {
        let log = self.0.clone();
        Box::pin(async move { Some(log) })
    }
}

/// A file of this age, of one chunk that no other version has: what a version takes of the metadata is
/// its registers and what is known of its object. Longer files differ only in their chunks' lists.
fn file(author: &mut Author, entry: &EntryId, mtime_ns: i64) -> Content {
    let bytes = format!("{entry} as of {mtime_ns}");
    let plain_len = bytes.len() as u32;
    let sealed = seal_chunk(&author.keys, &author.folder, bytes.as_bytes());
    let id = ChunkId::of(&sealed);
    let root = build_manifest(&author.keys, &author.folder, &[ChunkRef { id, plain_len }]).root;
    author.chunks.push((id, Bytes::from(sealed)));
    let mut tag = author.keys.content_tag();
    tag.chunk(&author.keys.plain_hash(bytes.as_bytes()), plain_len);
    let (size, tag) = (plain_len.into(), tag.finish());
    let of = Attributes { mode: 0o644, mtime_ns, size, target: None, tag, restored: None };
    author.content(entry, root, &of)
}

fn folder(author: &Author, entry: &EntryId) -> Content {
    let tag = author.keys.directory_tag();
    let of = Attributes { mode: 0o755, mtime_ns: 0, size: 0, target: None, tag, restored: None };
    author.content(entry, None, &of)
}

/// The engine of a device whose disk is empty.
fn engine(author: &Author, directory: &Path) -> Result<FolderHandle> {
    let (root, state) = (directory.join("device"), directory.join("state.sqlite"));
    fs::create_dir_all(&root)?;
    let marker = author.folder.as_bytes().to_vec();
    let runtime = tokio::runtime::Handle::current();
    let remote: Arc<dyn Remote> = Arc::clone(&author.remote) as Arc<dyn Remote>;
    let (folder, user, log) = (author.folder, author.user, author.log.clone());
    let signer = author.device.signing.clone();
    let environment = Arc::new(SystemEnvironment::new(runtime.clone()));
    let watch = Watch::start(&root, WatchOptions::default())?;
    let parts = move || {
        let hints = watch.hints().clone();
        // As long as the program.
        std::mem::forget(watch);
        let cannot = |error: &dyn std::fmt::Display| HaltReason::new(error.to_string(), "");
        let disk = DiskFs::open(&root).map_err(|error| cannot(&error))?;
        disk.init_root(&marker).map_err(|error| cannot(&error))?;
        let bundles = Arc::new(Bundled::new(Arc::new(disk)));
        let keys = Arc::new(folder_keys());
        Ok::<_, HaltReason>(EngineParts {
            context: FolderContext {
                folder,
                chunker: Chunker::new(keys.chunker_seed()),
                keys,
                user,
                signer,
                device_name: "A".to_owned(),
                signers: Signers::new(log.clone()),
                marker,
                fs: Arc::clone(&bundles) as Arc<dyn Fs>,
                bundles,
                remote,
                state: FolderState::open(&state).map_err(|error| cannot(&error))?,
                environment,
            },
            hints,
            pins: Arc::new(NoPins),
            log: Arc::new(FixedLog(log)),
            invited: None,
            paused: false,
        })
    };
    Ok(engine::start("device", parts, runtime)?.0)
}

/// An entry of the journal that is written.
struct Entry {
    id: EntryId,
    parent: EntryId,
    place: Revision,
    content: Revision,
}

fn id(number: usize) -> EntryId {
    let mut bytes = [0; 16];
    let hash = blake3::hash(&number.to_le_bytes());
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    EntryId::from_bytes(bytes)
}

/// Writes a journal of so many revisions over so many entries.
async fn write(author: &mut Author, revisions: usize, entries: usize) -> Result<()> {
    let mut random = Random::new(1);
    let directories = entries / 100;
    let mut made = Vec::with_capacity(entries);
    for first in (0..entries).step_by(MADE_TOGETHER) {
        let mut changes = Vec::new();
        for number in first..entries.min(first + MADE_TOGETHER) {
            let entry = id(number);
            let is_directory = number < directories;
            let parent = if is_directory { EntryId::ROOT } else { id(number % directories) };
            let place = author.place(&entry, parent, &format!("entry {number}"))?;
            let (kind, content) = match is_directory {
                true => (Kind::Directory, folder(author, &entry)),
                false => (Kind::File, file(author, &entry, 1)),
            };
            changes.push(Change::Create { entry, kind, place, content });
        }
        let count = changes.len();
        let at = author.group(changes).await?;
        for number in first..first + count {
            let parent =
                if number < directories { EntryId::ROOT } else { id(number % directories) };
            made.push(Entry { id: id(number), parent, place: at, content: at });
        }
    }
    for turn in 0.. {
        if author.revision >= revisions as u64 {
            break;
        }
        // The last entry has a long log of its own.
        let number = match turn < LONG_LOG - 1 {
            true => entries - 1,
            false => directories + random.below(entries - directories - 1),
        };
        let entry = &mut made[number];
        if turn >= LONG_LOG && random.below(10) == 0 {
            let place = author.place(&entry.id, entry.parent, &format!("moved {turn}"))?;
            let change = Change::Move { entry: entry.id, base: entry.place, place };
            entry.place = author.group(vec![change]).await?;
        } else {
            let content = file(author, &entry.id, i64::try_from(turn)? + 2);
            let change = Change::Edit { entry: entry.id, base: entry.content, content };
            entry.content = author.group(vec![change]).await?;
        }
    }
    author.commit().await
}

async fn journal(base: &Path) -> Result<()> {
    let kept = std::env::var_os("DRIFTLESS_JOURNAL").map(PathBuf::from);
    let directory = kept.unwrap_or_else(|| base.join("journal"));
    fs::create_dir_all(&directory)?;
    let revisions = size("DRIFTLESS_REVISIONS", 1_000_000);
    let entries = size("DRIFTLESS_ENTRIES", 100_000);
    let mut author = Author::begin(&directory).await?;
    let (begun, written) = (Instant::now(), directory.join("written"));
    let wanted = format!("{revisions} revisions of {entries} entries, each file of one chunk");
    if written.exists() {
        let size = fs::read_to_string(&written)?;
        ensure!(size == wanted, "the journal kept has {size}, and not {wanted}");
        author.revision = revisions as u64;
    } else {
        write(&mut author, revisions, entries).await?;
        fs::write(&written, &wanted)?;
    }
    println!("{revisions} revisions of {entries} entries written in {:.0?}", begun.elapsed());
    let begun = Instant::now();
    let handle = engine(&author, &directory)?;
    ensure!(handle.ask(Ask::Sync).await?, "not in sync: {:?}", handle.summary());
    println!("taken and made on a disk in {:.0?}", begun.elapsed());
    let long = format!("entry {}/entry {}", (entries - 1) % (entries / 100), entries - 1);
    for limit in [100, 1000] {
        let mut times = Vec::new();
        for _ in 0..TIMES {
            let begun = Instant::now();
            let log = handle.ask(|answer| Ask::Log(long.clone(), 0, limit, answer)).await?;
            times.push(begun.elapsed());
            ensure!(log.versions.len() == limit as usize && log.more, "{}", log.versions.len());
        }
        told(&format!("log of a file of {LONG_LOG} versions, {limit} of them"), times);
    }
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let begun = Instant::now();
        let log = handle.ask(|answer| Ask::Log(String::new(), 0, 1000, answer)).await?;
        times.push(begun.elapsed());
        ensure!(log.versions.len() == 1000, "{}", log.versions.len());
    }
    told("the folder's timeline, 1000 versions", times);
    for percent in [1, 50, 90, 99] {
        let at = author.revision * percent / 100;
        let mut times = Vec::new();
        for _ in 0..TIMES {
            let begun = Instant::now();
            let what = Listing::At(Moment::Revision(at));
            let listed = handle.ask(|answer| Ask::List(String::new(), what, answer)).await?;
            times.push(begun.elapsed());
            ensure!(listed.entries.len() == entries, "{} entries", listed.entries.len());
        }
        told(&format!("ls --at revision {at} ({percent} %)"), times);
    }
    handle.stop();
    author.server.shutdown().await;
    let bytes = fs::metadata(directory.join("server/meta.sqlite"))
        .or_else(|_| find_database(&directory.join("server")))
        .context("the metadata")?
        .len();
    // The first groups made many entries each, and all others one version.
    let versions = (entries + revisions - entries.div_ceil(MADE_TOGETHER)) as u64;
    let (a_revision, a_version) = (bytes / author.revision, bytes / versions);
    println!("metadata: {bytes} bytes, {a_revision} a revision, {a_version} a version");
    Ok(())
}

fn find_database(directory: &Path) -> std::io::Result<fs::Metadata> {
    let mut largest = None;
    for entry in fs::read_dir(directory)? {
        let metadata = entry?.metadata()?;
        let bytes = |it: &fs::Metadata| it.len();
        if metadata.is_file() && largest.as_ref().map_or(0, bytes) < metadata.len() {
            largest = Some(metadata);
        }
    }
    largest.ok_or_else(|| std::io::Error::other("no file"))
}

/// Bytes that a device has downloaded since its daemon started.
fn downloaded(device: &Device) -> Result<u64> {
    let home = Home::locate(Some(device.home().to_owned()))?;
    let mut bytes = None;
    control::ask(&home, &Request::Sync { timeout_ms: None }, |folders| {
        bytes = Some(folders.iter().map(|folder| folder.bytes_down).sum());
    })?;
    bytes.context("a sync that reports nothing")
}

/// A directory that was deleted comes back from a copy that lies elsewhere on the disk: all of it, and
/// nothing is downloaded.
fn restore(base: &Path) -> Result<()> {
    let directory = base.join("restore");
    fs::create_dir(&directory)?;
    let programs = Programs::locate()?;
    let server = tests::harness::Server::start(&programs, &directory)?;
    let device = Device::join(&programs, &directory, "a", &server.invite()?)?;
    for name in ["kept", "gone"] {
        for number in 0..RESTORED {
            let at = device.root().join(format!("{name}/{}", number % 100));
            fs::create_dir_all(&at)?;
            let mut bytes = vec![0; 1024 + number % 4096];
            blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
            fs::write(at.join(number.to_string()), bytes)?;
        }
    }
    device.sync(300)?;
    let revision = |device: &Device| -> Result<u64> {
        device.status()?["cursor"]["revision"].as_u64().context("no cursor")
    };
    let at = revision(&device)?;
    let mut times = Vec::new();
    let gone = device.root().join("gone");
    let (before, bytes) = (Tree::read(&gone)?, downloaded(&device)?);
    for time in 0..TIMES {
        // Out of the folder, and not removed: ext4 gives no inode that was freed in the last seconds to a
        // new file, and looks all of them through for each.
        fs::rename(&gone, directory.join(format!("aside {time}")))?;
        // Half of the folder and no more: that does not wait for a person.
        device.sync(300)?;
        let path = gone.to_str().context("a path that is no UTF-8")?;
        let begun = Instant::now();
        let answer = device.ask(&["restore", path, "--at", &at.to_string()])?;
        times.push(begun.elapsed());
        let answer = answer.success("restore")?.json()?;
        ensure!(answer["complete"] == true, "{}", answer["complete"]);
        let differences = Tree::read(&gone)?.differences(&before);
        ensure!(differences.is_empty(), "it is not what it was: {differences:?}");
        let more = downloaded(&device)? - bytes;
        ensure!(more == 0, "{more} bytes were downloaded, and all of them were here");
    }
    told(&format!("restore of a directory of {RESTORED} files"), times);
    Ok(())
}
