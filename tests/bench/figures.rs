//! First figures: a server and two devices on loopback, release builds, every result checked.
//!
//! Owns what is measured and how; prints one table. Run with
//! `cargo build --release -p client -p server && cargo bench -p tests --bench figures`. Cells are
//! chosen by name after `--`. It asserts that results are right, never how fast they are.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tests::harness::{Device, Programs, Server};

struct Pair {
    directory: PathBuf,
    _server: Server,
    a: Device,
    b: Device,
}

impl Pair {
    fn new(programs: &Programs, base: &Path, name: &str) -> Result<Self> {
        let directory = base.join(name);
        fs::create_dir(&directory)?;
        let server = Server::start(programs, &directory)?;
        let a = Device::join(programs, &directory, "a", &server.invite()?)?;
        a.sync(60)?;
        let b = Device::join(programs, &directory, "b", &a.invite()?)?;
        b.sync(60)?;
        Ok(Self { directory, _server: server, a, b })
    }
}

/// Bytes that are not compressible, the same for one seed.
fn noise(seed: u64, bytes: &mut [u8]) {
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(bytes);
}

fn write_noise(path: &Path, seed: u64, length: u64) -> Result<()> {
    use std::io::Write;
    let mut out = fs::File::create(path)?;
    let mut stream = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    let mut buffer = vec![0; 1 << 20];
    let mut left = length;
    while left > 0 {
        stream.fill(&mut buffer);
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        out.write_all(&buffer[..take])?;
        left -= take as u64;
    }
    Ok(())
}

fn hash(path: &Path) -> Option<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut fs::File::open(path).ok()?, &mut hasher).ok()?;
    Some(hasher.finalize())
}

/// Looks until something holds; the time is what is measured. Looking takes at most a twentieth of
/// a processor, so that it does not slow down what is looked at.
fn until(limit: Duration, mut holds: impl FnMut() -> bool) -> Result<Duration> {
    let begin = Instant::now();
    loop {
        let looked = Instant::now();
        if holds() {
            return Ok(begin.elapsed());
        }
        ensure!(begin.elapsed() < limit, "not reached within {limit:?}");
        let pause = (looked.elapsed() * 20).max(Duration::from_millis(1));
        std::thread::sleep(pause); // ok: the measure's grain, in a benchmark
    }
}

fn count(root: &Path) -> usize {
    let Ok(entries) = fs::read_dir(root) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() && entry.file_name() != ".driftless" => count(&entry.path()),
            Ok(kind) if kind.is_file() => 1,
            _ => 0,
        })
        .sum()
}

/// Bytes that crossed loopback so far, both directions of all connections.
fn loopback_bytes() -> u64 {
    let text = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let line = text.lines().find_map(|line| line.trim().strip_prefix("lo:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Resident memory of the daemon with this home, in bytes.
fn resident(home: &Path) -> Option<u64> {
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        let text = String::from_utf8_lossy(&line);
        if text.contains(&*home.to_string_lossy()) && text.ends_with("run\0") {
            let status = fs::read_to_string(entry.path().join("status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            return line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024);
        }
    }
    None
}

/// Moves what was made into a device's folder. It is on the disk before the clock runs: else its own
/// write-back would be measured, which every sync of the programs would have to wait for.
fn hand_over(source: &Path, target: &Path) -> Result<()> {
    rustix::fs::sync();
    Ok(fs::rename(source, target)?)
}

fn row(name: &str, value: &str, aim: &str) {
    println!("| {name} | {value} | {aim} |");
}

fn small_files(root: &Path, files: usize) -> Result<u64> {
    let mut total = 0;
    let mut bytes = vec![0; 16 * 1024];
    for number in 0..files {
        let directory = root.join(format!("d{:03}", number % 200));
        if number < 200 {
            fs::create_dir_all(&directory)?;
        }
        let length = 1024 + (number * 7919) % (15 * 1024);
        noise(number as u64, &mut bytes[..length]);
        fs::write(directory.join(format!("f{number}")), &bytes[..length])?;
        total += length as u64;
    }
    Ok(total)
}

fn big_file(programs: &Programs, base: &Path) -> Result<()> {
    let mut pair = Pair::new(programs, base, "big")?;
    let source = pair.directory.join("big.bin");
    write_noise(&source, 1, 1 << 30)?;
    let expected = hash(&source);
    let target = pair.b.root().join("big.bin");
    hand_over(&source, &pair.a.root().join("big.bin"))?;
    let time = until(Duration::from_secs(300), || target.exists())?;
    ensure!(hash(&target) == expected, "the 1 GiB file differs");
    row("1 GiB incompressible file, A→B", &format!("{:.2} s", time.as_secs_f64()), "≤ 10 s");
    pair.a.stop()?;
    pair.b.stop()
}

fn many_files(programs: &Programs, base: &Path) -> Result<()> {
    const FILES: usize = 20_000;
    let mut pair = Pair::new(programs, base, "many")?;
    let source = pair.directory.join("many");
    let total = small_files(&source, FILES)?;
    hand_over(&source, &pair.a.root().join("many"))?;
    let target = pair.b.root().join("many");
    let time = until(Duration::from_secs(300), || count(&target) >= FILES)?;
    pair.b.sync(120)?;
    for number in (0..FILES).step_by(97) {
        let path = format!("d{:03}/f{number}", number % 200);
        ensure!(hash(&target.join(&path)) == hash(&pair.a.root().join("many").join(&path)));
    }
    let text = format!("{:.2} s ({} MiB)", time.as_secs_f64(), total >> 20);
    row("20,000 files of 1–16 KiB", &text, "≤ 8 s");
    pair.a.sync(120)?;
    std::thread::sleep(Duration::from_secs(5)); // ok: memory at rest is what is measured
    for (name, device) in [("A (sender)", &pair.a), ("B (receiver)", &pair.b)] {
        let home = device.root().parent().context("no parent")?.join("home");
        let bytes = resident(&home).context("no resident memory")?;
        let text = format!("{} MiB", bytes >> 20);
        row(&format!("idle memory with 20,000 files, {name}"), &text, "≤ 60 MB");
    }
    pair.b.stop()?;
    let begin = Instant::now();
    pair.b.run()?;
    pair.b.sync(60)?;
    let text = format!("{:.2} s", begin.elapsed().as_secs_f64());
    row("restart, nothing changed, until in sync, 20,000 files", &text, "≤ 2 s");
    pair.a.stop()?;
    pair.b.stop()
}

fn latency(programs: &Programs, base: &Path) -> Result<()> {
    let mut pair = Pair::new(programs, base, "latency")?;
    let mut times = Vec::new();
    let mut bytes = [0; 1024];
    for number in 0..60_u64 {
        noise(number, &mut bytes);
        let name = format!("small {number}");
        fs::write(pair.a.root().join(&name), bytes)?;
        let target = pair.b.root().join(&name);
        times.push(until(Duration::from_secs(30), || {
            fs::read(&target).is_ok_and(|found| found == bytes)
        })?);
        std::thread::sleep(Duration::from_millis(150)); // ok: single changes are measured
    }
    times.sort();
    let text = format!(
        "median {} ms, p95 {} ms",
        times[times.len() / 2].as_millis(),
        times[times.len() * 95 / 100].as_millis()
    );
    row("1 KiB file, created on A until readable on B", &text, "median ≤ 150 ms");
    pair.a.stop()?;
    pair.b.stop()
}

fn rename(programs: &Programs, base: &Path) -> Result<()> {
    const FILES: usize = 5_000;
    let mut pair = Pair::new(programs, base, "rename")?;
    let source = pair.directory.join("tree");
    small_files(&source, FILES)?;
    fs::rename(&source, pair.a.root().join("before"))?;
    until(Duration::from_secs(120), || count(&pair.b.root().join("before")) >= FILES)?;
    pair.a.sync(120)?;
    pair.b.sync(120)?;
    let sent = loopback_bytes();
    fs::rename(pair.a.root().join("before"), pair.a.root().join("after"))?;
    let target = pair.b.root().join("after");
    let time = until(Duration::from_secs(60), || target.exists())?;
    ensure!(count(&target) == FILES, "files are missing after the rename");
    let bytes = loopback_bytes() - sent;
    let text = format!("{} ms, {} KB on loopback in all", time.as_millis(), bytes.div_ceil(1000));
    row("rename of a directory of 5,000 files", &text, "≤ 1 s, ≤ 100 KB sent");
    pair.a.stop()?;
    pair.b.stop()
}

type Cell = fn(&Programs, &Path) -> Result<()>;

fn main() -> Result<()> {
    let programs = Programs::locate()?;
    let chosen: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let base = std::env::var_os("DRIFTLESS_BENCH_DIR");
    let base = base.map_or_else(std::env::temp_dir, PathBuf::from);
    // Removed after all cells: a large deletion slows the creation of files down for minutes.
    let base = tempfile::Builder::new().prefix("driftless-bench-").tempdir_in(base)?;
    println!("| what | measured | aim |\n|---|---|---|");
    let cells: [(&str, Cell); 4] =
        [("latency", latency), ("rename", rename), ("many", many_files), ("big", big_file)];
    for (name, cell) in cells {
        if chosen.is_empty() || chosen.iter().any(|wanted| wanted == name) {
            cell(&programs, base.path()).with_context(|| format!("cell `{name}`"))?;
        }
    }
    Ok(())
}
