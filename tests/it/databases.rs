//! Databases of SQLite on two devices, with the real programs: what a device receives is whole at every
//! moment, with every transaction that was committed when it was read, while a program works on.

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tests::harness::{PATIENCE, Pair, Random, Tree, eventually_within, size};

/// Time for a sync, in seconds: what failed while a program had it open is tried again each minute.
const SYNC_SECONDS: u64 = 150;
/// What a write-ahead log is called after its database, and a rollback journal.
const WAL: &str = "-wal";
const JOURNAL: &str = "-journal";
/// Versions that the other device must have seen while the first one writes.
const VERSIONS: u32 = 12;
/// Time until a journal is taken for one that was left, and some.
const JOURNAL_PATIENCE: Duration = Duration::from_secs(150);
/// Longest pause between two transactions, in ms.
const PAUSE_MS: usize = 150;

fn open(at: &Path) -> Result<Connection> {
    let connection = Connection::open(at)?;
    connection.busy_timeout(Duration::from_secs(30))?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS entry (id INTEGER PRIMARY KEY, text TEXT, filler BLOB);
         CREATE INDEX IF NOT EXISTS by_text ON entry (text);
         CREATE TABLE IF NOT EXISTS total (entries INTEGER);",
    )?;
    Ok(connection)
}

/// One transaction: a row more, and the sum of them.
fn commit(connection: &Connection, id: u32, filler: u32) -> Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let row = (id, format!("entry {id}"), filler);
    connection.execute("INSERT INTO entry VALUES (?1, ?2, randomblob(?3))", row)?;
    connection.execute("DELETE FROM total", [])?;
    connection.execute("INSERT INTO total VALUES (?1)", [id])?;
    connection.execute_batch("COMMIT")?;
    Ok(())
}

/// The rows of a database, which must be whole: those from 1 to this number, and no others.
fn rows(connection: &Connection) -> Result<u32> {
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    ensure!(check == "ok", "{check}");
    let mut found = connection.prepare("SELECT id, text FROM entry ORDER BY id")?;
    let found: Vec<(u32, String)> =
        found.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    for (expected, (id, text)) in (1..).zip(&found) {
        ensure!(*id == expected && *text == format!("entry {id}"), "row {id}: {text}");
    }
    let count = u32::try_from(found.len())?;
    let mut total = connection.prepare("SELECT entries FROM total")?;
    let total = total.query_map([], |row| row.get(0))?.collect::<Result<Vec<u32>, _>>()?;
    ensure!(total.iter().all(|total| *total == count), "{count} rows, {total:?} told");
    Ok(count)
}

/// What a copy of a database holds. Nothing must lie beside it.
fn copied(at: &Path, scratch: &Path) -> Result<u32> {
    let (mut file, mut bytes) = (fs::File::open(at)?, Vec::new());
    file.read_to_end(&mut bytes)?;
    for suffix in ["-wal", "-shm", "-journal"] {
        let beside = at.with_file_name(format!("x.sqlite{suffix}"));
        ensure!(!beside.exists(), "{} was synced", beside.display());
    }
    let directory = tempfile::tempdir_in(scratch)?;
    let copy = directory.path().join("copy");
    fs::write(&copy, bytes)?;
    rows(&Connection::open(copy)?)
}

#[test]
fn a_received_database_is_whole_while_its_program_works_on() {
    let seed = size("DRIFTLESS_SEED", 1);
    println!("seed {seed} (DRIFTLESS_SEED sets it)");
    series(seed as u64).unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
}

fn series(seed: u64) -> Result<()> {
    let pair = Pair::begin(["one", "two"], SYNC_SECONDS)?;
    let [here, there] = [pair.at(0, "x.sqlite"), pair.at(1, "x.sqlite")];
    let scratch = pair.directory();
    let (is_over, committed, versions) =
        (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    let checked = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(&here, seed, &is_over, &committed));
        let reader = scope.spawn(|| watch(&there, scratch, &is_over, [&committed, &versions]));
        let is_done = || writer.is_finished() || reader.is_finished();
        let is_enough = || is_done() || versions.load(Ordering::Relaxed) >= VERSIONS;
        let enough = || Ok(is_enough().then_some(()));
        let seen = eventually_within(PATIENCE, "versions on the other device", enough);
        let seen = seen.or_else(|error| {
            let [one, two] = [pair.devices[0].status()?, pair.devices[1].status()?];
            Err(error.context(format!("one: {one}, two: {two}")))
        });
        is_over.store(true, Ordering::Relaxed);
        let joined = [writer.join(), reader.join()];
        let [wrote, read] =
            joined.map(|it| it.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        wrote.and(read).and(seen)
    });
    println!("{committed:?} transactions, {versions:?} versions");
    checked?;
    pair.meet()?;
    let last = committed.load(Ordering::Relaxed);
    for at in [&here, &there] {
        ensure!(rows(&Connection::open(at)?)? == last, "{} is not up to date", at.display());
    }
    Ok(())
}

/// Commits for as long as the test goes on, in one connection that checkpoints often.
fn write(at: &Path, seed: u64, is_over: &AtomicBool, committed: &AtomicU32) -> Result<()> {
    let mut random = Random::new(seed);
    let connection = open(at)?;
    connection.pragma_update(None, "wal_autocheckpoint", 40)?;
    for id in 1.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        // Told before: what is read may have it already.
        committed.store(id, Ordering::Relaxed);
        commit(&connection, id, u32::try_from(random.below(20_000))?)?;
        let pause = Duration::from_millis(random.below(PAUSE_MS) as u64);
        std::thread::sleep(pause); // ok: the pace of a program that works with its database
    }
    connection.close().map_err(|(_, error)| error).context("closing")
}

/// Opens copies of what has been received; what is in them only grows.
fn watch(
    at: &Path,
    scratch: &Path,
    is_over: &AtomicBool,
    [committed, versions]: [&AtomicU32; 2],
) -> Result<()> {
    let mut last = 0;
    while !is_over.load(Ordering::Relaxed) {
        if !at.exists() {
            ensure!(last == 0, "the database was there and is gone");
            std::thread::yield_now();
            continue;
        }
        let count = match copied(at, scratch) {
            // Read before its first transaction.
            Err(error) if last == 0 && error.to_string().contains("no such table") => 0,
            counted => counted?,
        };
        ensure!(count >= last, "{count} rows after {last}");
        ensure!(count <= committed.load(Ordering::Relaxed), "{count} rows are more than there are");
        versions.fetch_add(u32::from(count > last), Ordering::Relaxed);
        last = count;
    }
    Ok(())
}

/// Puts a database with this many rows where a program died that had it open: most are in its log.
fn leave(at: &Path, rows: u32) -> Result<()> {
    let elsewhere = tempfile::tempdir()?;
    let kept = elsewhere.path().join("x");
    let connection = open(&kept)?;
    (1..=rows).try_for_each(|id| commit(&connection, id, 3_000))?;
    copy_with(&kept, at, WAL)
}

/// Copies a database and a file beside it, which comes first: the database is never there without it.
fn copy_with(from: &Path, to: &Path, beside: &str) -> Result<()> {
    for suffix in [beside, ""] {
        fs::copy(with(from, suffix), with(to, suffix))?;
    }
    Ok(())
}

/// The file of this suffix beside a database.
fn with(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A program died with its database open on one device; on the other one somebody goes on with it.
#[test]
fn a_log_that_a_program_left_is_never_seen_beside_another_database() -> Result<()> {
    let pair = Pair::begin(["one", "two"], SYNC_SECONDS)?;
    let [here, there] = [pair.at(0, "x.sqlite"), pair.at(1, "x.sqlite")];
    leave(&here, 20)?;
    pair.sync()?;
    pair.sync()?;
    ensure!(copied(&there, pair.directory())? == 20);
    let log = with(&here, WAL);
    ensure!(log.exists(), "reading changes nothing");
    {
        let connection = open(&there)?;
        (21..=40).try_for_each(|id| commit(&connection, id, 100))?;
    }
    pair.meet()?;
    ensure!(!log.exists(), "the old log is gone");
    ensure!(rows(&Connection::open(&here)?)? == 40);
    Ok(())
}

/// What a program has open is not replaced under it, and is when it has ended.
#[test]
fn a_database_that_is_open_is_replaced_when_it_is_closed() -> Result<()> {
    let pair = Pair::begin(["one", "two"], SYNC_SECONDS)?;
    let [here, there] = [pair.at(0, "x.sqlite"), pair.at(1, "x.sqlite")];
    let connection = open(&here)?;
    (1..=5).try_for_each(|id| commit(&connection, id, 3_000))?;
    pair.sync()?;
    pair.sync()?;
    {
        let connection = open(&there)?;
        commit(&connection, 6, 100)?;
    }
    pair.devices[1].sync(SYNC_SECONDS)?;
    eventually_within(PATIENCE, "an issue of the open database", || {
        let status = pair.devices[0].status()?;
        let is_told = status["issues"].to_string().contains("somebody is writing to it");
        Ok(is_told.then_some(()))
    })?;
    ensure!(rows(&connection)? == 5, "it is as its program knows it");
    connection.close().map_err(|(_, error)| error)?;
    pair.meet()?;
    ensure!(rows(&Connection::open(&here)?)? == 6);
    Ok(())
}

/// Moved and deleted elsewhere, a database takes the log that a program left along.
#[test]
fn a_database_with_a_log_that_was_left_is_moved_and_deleted_whole() -> Result<()> {
    let pair = Pair::begin(["one", "two"], SYNC_SECONDS)?;
    leave(&pair.at(0, "moved.sqlite"), 20)?;
    leave(&pair.at(0, "deleted.sqlite"), 20)?;
    pair.sync()?;
    pair.sync()?;
    let moved = pair.at(1, "directory/moved.sqlite");
    fs::create_dir(pair.at(1, "directory"))?;
    fs::rename(pair.at(1, "moved.sqlite"), &moved)?;
    fs::remove_file(pair.at(1, "deleted.sqlite"))?;
    pair.sync()?;
    pair.meet()?;
    let tree = Tree::read(pair.devices[0].root())?;
    let paths: Vec<&str> = tree.nodes().map(|(path, _)| path).collect();
    ensure!(paths == ["directory", "directory/moved.sqlite"], "{paths:?}");
    ensure!(rows(&Connection::open(moved)?)? == 20);
    Ok(())
}

/// A program died in the middle of a transaction: what it left is told, never sent, and comes to the
/// other device when it has been opened once.
#[test]
fn a_journal_that_a_program_left_is_told_and_half_a_transaction_is_never_sent() -> Result<()> {
    let pair = Pair::begin(["one", "two"], SYNC_SECONDS)?;
    let [here, there] = [pair.at(0, "x.sqlite"), pair.at(1, "x.sqlite")];
    let elsewhere = tempfile::tempdir()?;
    let kept = elsewhere.path().join("x");
    let connection = open(&kept)?;
    (1..=5).try_for_each(|id| commit(&connection, id, 3_000))?;
    connection.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))?;
    // Pages go to the file before the end of the transaction.
    connection.pragma_update(None, "cache_size", 4)?;
    connection.execute_batch(
        "BEGIN IMMEDIATE; UPDATE entry SET text = 'half', filler = zeroblob(9000)",
    )?;
    copy_with(&kept, &here, JOURNAL)?;
    ensure!(fs::read(with(&here, JOURNAL))?.first().is_some_and(|first| *first != 0));
    let told = "in the middle of a transaction";
    eventually_within(JOURNAL_PATIENCE, "an issue of the journal", || {
        let status = pair.devices[0].status()?;
        Ok(status["issues"].to_string().contains(told).then_some(()))
    })?;
    let why = pair.devices[0].ask(&["why", "folder:x.sqlite"])?.success("why")?;
    ensure!(why.json()?.to_string().contains(told), "{why:?}");
    ensure!(!there.exists() && with(&here, JOURNAL).exists());
    ensure!(rows(&Connection::open(&here)?)? == 5, "as SQLite brings it back");
    pair.meet()?;
    ensure!(rows(&Connection::open(&there)?)? == 5);
    Ok(())
}
