//! Databases that SQLite itself made, read as files and compared with what it makes of them.

use crate::fs::contract::{name, path, private};
use crate::fs::memory::user::MemoryUser;
use crate::fs::memory::{Fault, Operation, OperationKind};
use crate::fs::{
    Area, Bundled, DatabaseProblem, DiskFs, FsError, Look, MemoryFs, ReadFile, RelPath, Root, Stat,
    Swap,
};
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;

/// A root, and the directory that it is on.
struct Disk {
    directory: tempfile::TempDir,
    fs: Bundled,
}

impl Disk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let fs = DiskFs::open(directory.path()).unwrap();
        fs.init_root(b"marker").unwrap();
        Self { directory, fs: Bundled::new(Arc::new(fs)) }
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.directory.path().join(path)
    }

    fn names(&self) -> Vec<String> {
        let listing = self.fs.list(&path("")).unwrap();
        listing.entries.into_iter().map(|it| String::from_utf8(it.name).unwrap()).collect()
    }

    fn stat(&self, at: &str) -> Stat {
        self.fs.stat(&path(at)).unwrap()
    }

    /// What a database reads as.
    fn read(&self, at: &str) -> Vec<u8> {
        read(self.fs.open(&path(at)).unwrap().as_ref())
    }

    fn settle(&self, at: &str, expected: &Stat) -> Result<Option<Stat>, FsError> {
        self.fs.settle(&path(at), expected, &away, &name("scratch"))
    }

    /// Leaves a database as a program leaves it that dies with it open: another file of that name.
    fn abandon(&self, from: &str, to: &str) {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let [from, to] = [from, to].map(|name| self.at(&format!("{name}{suffix}")));
            if from.exists() {
                std::fs::copy(from, to).unwrap();
            }
        }
    }
}

/// A name that says how what lies there looks, in one of two ways.
fn away(looks: [&Stat; 2]) -> RelPath {
    let [one, other] = looks.map(|look| format!("{}.{}", look.size, look.mtime_ns));
    private(Area::Displaced, &format!("{one}.{other}"))
}

/// What is left in the displaced area.
fn displaced(fs: &Bundled) -> Vec<(String, Stat)> {
    let listing = match fs.list(&RelPath::area_root(Area::Displaced)) {
        Err(error) if error.is_not_found() => return Vec::new(),
        listing => listing.unwrap(),
    };
    let named = |name: Vec<u8>| String::from_utf8(name).unwrap();
    listing.entries.into_iter().map(|it| (named(it.name), it.stat)).collect()
}

/// A root in memory with a database, its log and the index of that.
fn in_memory(files: &[Vec<u8>; 3]) -> (MemoryFs, Bundled) {
    let memory = MemoryFs::new(Arc::new({
        let time = std::sync::atomic::AtomicI64::new(1_000_000_000);
        move || time.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }));
    memory.init_root(b"marker").unwrap();
    for (at, bytes) in ["y", "y-wal", "y-shm"].iter().zip(files) {
        memory.user().write(at, bytes).unwrap();
    }
    (memory.clone(), Bundled::new(Arc::new(memory)))
}

fn read(file: &dyn ReadFile) -> Vec<u8> {
    let stat = file.stat().unwrap();
    // Pieces that end nowhere near those of pages.
    let mut bytes = Vec::new();
    let mut piece = [0; 7_001];
    loop {
        match file.read_at(bytes.len() as u64, &mut piece).unwrap() {
            0 => break,
            length => bytes.extend_from_slice(&piece[..length]),
        }
    }
    assert_eq!(bytes.len() as u64, stat.size, "what a look shows is what is read");
    assert!(file.stat().unwrap().untouched(&stat));
    bytes
}

/// A database in which commits stay in the log until someone checkpoints.
fn logged(at: &Path, page_bytes: u32) -> Connection {
    let connection = Connection::open(at).unwrap();
    connection.pragma_update(None, "page_size", page_bytes).unwrap();
    let mode = "journal_mode";
    connection.pragma_update_and_check(None, mode, "wal", |_| Ok(())).unwrap();
    connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    connection.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, b BLOB)").unwrap();
    connection
}

fn insert(connection: &Connection, count: u32, bytes: u32) {
    let text = "INSERT INTO t (b) VALUES (randomblob(?))";
    connection.execute_batch("BEGIN").unwrap();
    for _ in 0..count {
        connection.execute(text, [bytes]).unwrap();
    }
    connection.execute_batch("COMMIT").unwrap();
}

fn checkpoint(connection: &Connection, how: &str) {
    let busy: u32 = connection
        .query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |row| row.get(0))
        .unwrap();
    assert_eq!(busy, 0);
}

fn rows(connection: &Connection) -> Vec<(i64, Vec<u8>)> {
    let mut all = connection.prepare("SELECT id, b FROM t ORDER BY id").unwrap();
    let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// These bytes as a database: its integrity and its rows.
fn opened(bytes: &[u8]) -> Vec<(i64, Vec<u8>)> {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("copy");
    std::fs::write(&at, bytes).unwrap();
    let connection = Connection::open(&at).unwrap();
    let check: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    rows(&connection)
}

/// What is read is, byte for byte, what SQLite makes of the database when it merges the log.
fn check(disk: &Disk, connection: &Connection, at: &str) {
    let bytes = disk.read(at);
    assert_eq!(opened(&bytes), rows(connection));
    disk.abandon(at, "twin");
    {
        let twin = Connection::open(disk.at("twin")).unwrap();
        checkpoint(&twin, "TRUNCATE");
    }
    assert!(bytes == std::fs::read(disk.at("twin")).unwrap(), "as SQLite has it");
    std::fs::remove_file(disk.at("twin")).unwrap();
}

#[test]
fn every_committed_page_is_read_and_nothing_else() {
    for page_bytes in [512, 1024, 4096, 32_768, 65_536] {
        let disk = Disk::new();
        let connection = logged(&disk.at("x"), page_bytes);
        check(&disk, &connection, "x");
        insert(&connection, 50, 3_000);
        check(&disk, &connection, "x");
        // It shrinks within the log, and grows again.
        connection.execute_batch("DELETE FROM t WHERE id > 3; VACUUM").unwrap();
        check(&disk, &connection, "x");
        insert(&connection, 20, 5_000);
        check(&disk, &connection, "x");
        // Merged, but still in the log; then the log is begun anew, and old frames follow new ones.
        checkpoint(&connection, "FULL");
        check(&disk, &connection, "x");
        checkpoint(&connection, "RESTART");
        insert(&connection, 1, 10);
        let log = std::fs::metadata(disk.at("x-wal")).unwrap().len();
        assert!(log > 100_000, "old frames follow: {log}");
        check(&disk, &connection, "x");
        // It shrinks below what the file has.
        connection.execute_batch("DELETE FROM t; VACUUM").unwrap();
        check(&disk, &connection, "x");
        checkpoint(&connection, "TRUNCATE");
        check(&disk, &connection, "x");
        insert(&connection, 3, 100);
        check(&disk, &connection, "x");
    }
}

#[test]
fn a_transaction_that_is_not_committed_is_not_read() {
    let disk = Disk::new();
    let connection = logged(&disk.at("x"), 4096);
    insert(&connection, 10, 1_000);
    let committed = rows(&connection);
    let size = std::fs::metadata(disk.at("x-wal")).unwrap().len();
    // Too much for its memory, so that it spills into the log before it is committed.
    connection.pragma_update(None, "cache_size", 5).unwrap();
    connection.execute_batch("BEGIN").unwrap();
    for _ in 0..200 {
        connection.execute("INSERT INTO t (b) VALUES (randomblob(4000))", []).unwrap();
    }
    assert!(std::fs::metadata(disk.at("x-wal")).unwrap().len() > size, "it has spilled");
    assert_eq!(opened(&disk.read("x")), committed);
    connection.execute_batch("COMMIT").unwrap();
    check(&disk, &connection, "x");
}

#[test]
fn a_log_that_was_cut_or_damaged_is_read_as_far_as_sqlite_reads_it() {
    let disk = Disk::new();
    let connection = logged(&disk.at("x"), 1024);
    for _ in 0..6 {
        insert(&connection, 5, 700);
    }
    let log = std::fs::read(disk.at("x-wal")).unwrap();
    for at in [0, 5, 31, 32, 40, 1_080, 5_000, log.len() / 2, log.len() - 1] {
        let mut damaged = log.clone();
        damaged[at] ^= 1;
        for log in [&log[..at], &damaged] {
            disk.abandon("x", "y");
            std::fs::write(disk.at("y-wal"), log).unwrap();
            std::fs::remove_file(disk.at("y-shm")).unwrap();
            let bytes = disk.read("y");
            let sqlite = Connection::open(disk.at("y")).unwrap();
            checkpoint(&sqlite, "TRUNCATE");
            drop(sqlite);
            assert!(bytes == std::fs::read(disk.at("y")).unwrap(), "{at}");
        }
    }
}

#[test]
fn what_lies_beside_a_database_is_hidden_and_whatever_is_written_shows() {
    let disk = Disk::new();
    let connection = logged(&disk.at("x.sqlite"), 4096);
    for other in ["notes", "notes-wal", "x.sqlite-walk", "y-wal", "empty.db", "empty.db-journal"] {
        std::fs::write(disk.at(other), "").unwrap();
    }
    std::fs::create_dir(disk.at("x.sqlite-journal")).unwrap();
    let shown = [
        "empty.db",
        "notes",
        "notes-wal",
        "x.sqlite",
        "x.sqlite-journal",
        "x.sqlite-walk",
        "y-wal",
    ];
    assert_eq!(disk.names(), shown);
    for hidden in ["x.sqlite-wal", "x.sqlite-shm", "empty.db-journal"] {
        assert!(disk.at(hidden).exists());
        let hidden = path(hidden);
        assert!(disk.fs.stat(&hidden).unwrap_err().is_not_found());
        assert!(disk.fs.open(&hidden).is_err_and(|error| error.is_not_found()));
        let moved = disk.fs.rename_noreplace(&hidden, &path("else"));
        assert!(moved.is_err_and(|error| error.is_not_found()));
    }
    std::fs::write(disk.at(".driftless/staging/s"), "log").unwrap();
    let staged = disk.fs.rename_noreplace(&private(Area::Staging, "s"), &path("x.sqlite-shm"));
    assert!(matches!(staged, Err(FsError::NameRefused { .. })), "{staged:?}");
    let mut before = disk.stat("x.sqlite");
    for _ in 0..3 {
        insert(&connection, 1, 10);
        let now = disk.stat("x.sqlite");
        assert!(!now.same_content(&before));
        assert_eq!(disk.fs.list(&path("")).unwrap().entries[3].stat, now);
        before = now;
    }
    checkpoint(&connection, "TRUNCATE");
    let plain = disk.stat("x.sqlite");
    let at = std::fs::metadata(disk.at("x.sqlite")).unwrap();
    assert_eq!(plain.inode, std::os::unix::fs::MetadataExt::ino(&at), "a file like any other");
}

#[test]
fn a_rename_of_both_is_one_of_the_database() {
    let disk = Disk::new();
    let connection = logged(&disk.at("x"), 4096);
    insert(&connection, 3, 100);
    disk.abandon("x", "y");
    let before = disk.stat("y");
    std::fs::rename(disk.at("y-wal"), disk.at("z-wal")).unwrap();
    std::fs::rename(disk.at("y"), disk.at("z")).unwrap();
    assert!(disk.stat("z").same_content(&before));
}

#[test]
fn a_database_in_the_middle_of_a_transaction_is_not_read() {
    let disk = Disk::new();
    let connection = Connection::open(disk.at("x")).unwrap();
    connection.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, b BLOB)").unwrap();
    insert(&connection, 20, 1_000);
    let plain = disk.stat("x");
    connection.pragma_update(None, "cache_size", 5).unwrap();
    connection.execute_batch("BEGIN; UPDATE t SET b = randomblob(2000)").unwrap();
    assert!(disk.at("x-journal").exists());
    assert_eq!(disk.names(), ["x"]);
    assert!(!disk.stat("x").same_content(&plain));
    let refused = disk.fs.open(&path("x")).map(drop).unwrap_err();
    let unfinished = DatabaseProblem::Unfinished;
    assert!(matches!(refused, FsError::Database { reason, .. } if reason == unfinished));
    assert!(refused.is_stale_view());
    connection.execute_batch("ROLLBACK").unwrap();
    assert_eq!(opened(&disk.read("x")), rows(&connection));
    // A journal that is kept and done with says nothing.
    let mode = "journal_mode";
    connection.pragma_update_and_check(None, mode, "persist", |_| Ok(())).unwrap();
    insert(&connection, 1, 10);
    assert!(std::fs::metadata(disk.at("x-journal")).unwrap().len() > 0);
    assert_eq!(disk.names(), ["x"]);
    assert_eq!(opened(&disk.read("x")), rows(&connection));
}

/// What is committed meanwhile comes after what is read; a checkpoint writes over it.
#[test]
fn a_database_that_is_written_to_while_it_is_read_stays_what_it_was_or_shows_it() {
    let disk = Disk::new();
    let connection = logged(&disk.at("x"), 4096);
    insert(&connection, 10, 1_000);
    let expected = rows(&connection);
    let file = disk.fs.open(&path("x")).unwrap();
    let before = file.stat().unwrap();
    for _ in 0..3 {
        insert(&connection, 5, 1_000);
        assert!(!disk.stat("x").same_content(&before), "a look shows it");
        assert!(disk.fs.holds(&path("x"), &before).unwrap(), "and all that was there is");
    }
    assert_eq!(opened(&read(file.as_ref())), expected);
    assert!(file.stat().unwrap().untouched(&before));
    let is_other = |file: &dyn ReadFile, before: &Stat| {
        matches!(file.stat(), Err(FsError::Changed { .. }))
            && !disk.fs.holds(&path("x"), before).unwrap()
    };
    checkpoint(&connection, "FULL");
    assert!(is_other(file.as_ref(), &before), "the file has been written to");
    let file = disk.fs.open(&path("x")).unwrap();
    let before = file.stat().unwrap();
    insert(&connection, 1, 10);
    assert!(is_other(file.as_ref(), &before), "the log has been begun anew");
    // Nobody remembers a look of before a restart.
    let file = disk.fs.open(&path("x")).unwrap();
    let before = file.stat().unwrap();
    let again = Bundled::new(Arc::new(DiskFs::open(disk.directory.path()).unwrap()));
    assert!(again.holds(&path("x"), &before).unwrap());
    insert(&connection, 1, 10);
    assert!(!again.holds(&path("x"), &before).unwrap());
}

#[test]
fn a_settled_database_is_one_plain_file_and_nothing_else_is_left_of_it() {
    let disk = Disk::new();
    let connection = logged(&disk.at("x"), 4096);
    insert(&connection, 30, 1_000);
    checkpoint(&connection, "FULL");
    insert(&connection, 30, 1_000);
    disk.abandon("x", "y");
    let (seen, bytes) = (disk.stat("y"), disk.read("y"));
    assert!(disk.fs.is_unsettled(&path("y")).unwrap());
    // Nothing is done to it before.
    let busy = |result: Result<(), FsError>| matches!(result, Err(FsError::Busy { .. }));
    assert!(busy(disk.fs.rename_noreplace(&path("y"), &path("z"))));
    std::fs::write(disk.at(".driftless/staging/new"), "new").unwrap();
    assert!(busy(disk.fs.exchange(&private(Area::Staging, "new"), &path("y"))));
    assert!(busy(disk.fs.set_attributes(&path("y"), &seen, Some(0o600), None).map(drop)));

    let settled = disk.settle("y", &seen).unwrap().unwrap();
    assert_eq!((settled.size, settled.mtime_ns), (seen.size, seen.mtime_ns));
    assert_eq!(std::fs::read(disk.at("y")).unwrap(), bytes);
    assert!(!disk.at("y-wal").exists() && !disk.at("y-shm").exists());
    assert_eq!(disk.stat("y"), settled);
    assert!(!disk.fs.is_unsettled(&path("y")).unwrap());
    assert!(disk.settle("y", &settled).unwrap().is_none());
    for area in Area::PRIVATE {
        let left = std::fs::read_dir(disk.at(".driftless").join(area.directory().unwrap()));
        assert!(left.unwrap().all(|it| it.unwrap().file_name() == "new"), "{area:?}");
    }
    assert_eq!(opened(&disk.read("x")), rows(&connection), "the other is as it was");
}

#[test]
fn a_database_that_is_in_use_or_has_changed_is_not_settled() {
    let disk = Disk::new();
    let connection = logged(&disk.at("x"), 4096);
    insert(&connection, 3, 1_000);
    let seen = disk.stat("x");
    let busy = |result: Result<_, FsError>| matches!(result, Err(FsError::Busy { .. }));
    assert!(busy(disk.settle("x", &seen)));
    insert(&connection, 1, 10);
    assert!(matches!(disk.settle("x", &seen), Err(FsError::Changed { .. })));
    // Nothing is in the log, and a program has it open all the same.
    checkpoint(&connection, "TRUNCATE");
    assert!(disk.at("x-wal").exists());
    assert!(busy(disk.settle("x", &disk.stat("x"))));
    check(&disk, &connection, "x");
    // Its program is gone: what lies beside goes, and the file is what it was.
    disk.abandon("x", "y");
    let seen = disk.stat("y");
    assert_eq!(disk.settle("y", &seen).unwrap(), Some(disk.stat("y")));
    assert!(disk.stat("y").same_content(&seen) && !disk.at("y-wal").exists());
    assert_eq!(displaced(&disk.fs), []);
}

#[test]
fn no_database_is_put_where_a_log_of_another_lies() {
    let disk = Disk::new();
    let connection = logged(&disk.at("x"), 4096);
    insert(&connection, 3, 1_000);
    disk.abandon("x", "y");
    std::fs::rename(disk.at("y"), disk.at(".driftless/staging/s")).unwrap();
    assert_eq!(disk.names(), ["x", "y-shm", "y-wal"], "a log alone is a file");
    let staged = private(Area::Staging, "s");
    let refused = disk.fs.rename_noreplace(&staged, &path("y"));
    let foreign = DatabaseProblem::ForeignLog;
    assert!(matches!(refused, Err(FsError::Database { reason, .. }) if reason == foreign));
    std::fs::write(disk.at("y-wal"), "").unwrap();
    disk.fs.rename_noreplace(&staged, &path("y")).unwrap();
}

/// What stands at `y` is a whole database for SQLite.
fn check_whole(memory: &MemoryFs, expected: &[(i64, Vec<u8>)], what: &str) {
    let there = tempfile::tempdir().unwrap();
    for at in ["y", "y-wal", "y-shm"] {
        if let Ok(bytes) = memory.user().read(at) {
            std::fs::write(there.path().join(at), bytes).unwrap();
        }
    }
    let found = Connection::open(there.path().join("y")).unwrap();
    found.pragma_update(None, "synchronous", "off").unwrap();
    let check: String = found.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert!(check == "ok" && rows(&found) == expected, "{what}: {check}");
}

/// Wherever settling stops, because the program ends or the power is cut, the database is whole.
#[test]
fn a_database_is_whole_wherever_settling_stops() {
    let disk = Disk::new();
    let connection = logged(&disk.at("x"), 512);
    insert(&connection, 20, 300);
    checkpoint(&connection, "FULL");
    insert(&connection, 20, 300);
    let expected = rows(&connection);
    let files = ["x", "x-wal", "x-shm"].map(|at| std::fs::read(disk.at(at)).unwrap());
    let mut stops = 0;
    for seed in [None, Some(1), Some(2)] {
        for at in 0.. {
            let (memory, fs) = in_memory(&files);
            fs.sync(&[path("y"), path("y-shm")]).unwrap();
            let seen = fs.stat(&path("y")).unwrap();
            let last = memory.operations() + at;
            let stop = move |_: &MemoryUser, it: &Operation| {
                (it.number > last).then_some(Fault::TooManyOpenFiles)
            };
            memory.set_hook(Some(Arc::new(stop)));
            let settled = fs.settle(&path("y"), &seen, &away, &name("scratch"));
            memory.set_hook(None);
            if let Some(seed) = seed {
                memory.crash(seed);
            }
            check_whole(&memory, &expected, &format!("{at} {seed:?}"));
            if memory.operations() <= last {
                settled.unwrap().unwrap();
                break;
            }
            settled.unwrap_err();
            stops += 1;
            // What is displaced looks as its name says, so that a review takes it away.
            for (name, stat) in displaced(&fs) {
                let look = format!("{}.{}", stat.size, stat.mtime_ns);
                assert!(name.starts_with(&look) || name.ends_with(&look), "{at} {name} {look}");
            }
        }
    }
    assert!(stops > 100, "{stops}");
}

/// A program that comes just before the log is taken away, and commits to it.
#[test]
fn a_log_that_somebody_writes_to_at_the_last_moment_goes_back() {
    let disk = Disk::new();
    let connection = logged(&disk.at("x"), 512);
    insert(&connection, 20, 300);
    let files = ["x", "x-wal", "x-shm"].map(|at| std::fs::read(disk.at(at)).unwrap());
    for is_held in [false, true] {
        let (memory, fs) = in_memory(&files);
        let seen = fs.stat(&path("y")).unwrap();
        let held = Arc::new(std::sync::Mutex::new(None));
        let hook = {
            let held = Arc::clone(&held);
            move |user: &MemoryUser, it: &Operation| {
                if it.kind == OperationKind::Rename && it.path == path("y-wal") {
                    let file = user.open_write("y-wal").unwrap();
                    match is_held {
                        true => *held.lock().unwrap() = Some(file),
                        false => file.append(b"a commit").unwrap(),
                    }
                }
                None
            }
        };
        memory.set_hook(Some(Arc::new(hook)));
        let settled = fs.settle(&path("y"), &seen, &away, &name("scratch"));
        memory.set_hook(None);
        assert!(matches!(settled, Err(FsError::Busy { .. })), "{settled:?}");
        let log = memory.user().read("y-wal").unwrap();
        assert!(log.starts_with(&files[1]) && log.ends_with(b"a commit") != is_held);
        // Nothing is left that the program's log could be taken for a part of, whatever it does next.
        assert_eq!(displaced(&fs), []);
        assert_eq!(memory.user().stat("y-wal").unwrap().nlink, 1);
    }
}

/// A program that comes when the copy is in place, commits, merges the log and takes it away.
#[test]
fn a_transaction_that_was_merged_at_the_last_moment_is_not_taken_for_what_was_seen() {
    let disk = Disk::new();
    let connection = logged(&disk.at("x"), 512);
    insert(&connection, 20, 300);
    let logged = ["x", "x-wal", "x-shm"].map(|at| std::fs::read(disk.at(at)).unwrap());
    checkpoint(&connection, "TRUNCATE");
    let merged = ["x", "x-wal", "x-shm"].map(|at| std::fs::read(disk.at(at)).unwrap());
    // Whichever of the files is next when it comes.
    for (files, at) in [(&logged, "y-wal"), (&logged, "y-shm"), (&merged, "y-wal")] {
        let (memory, fs) = in_memory(files);
        let seen = fs.stat(&path("y")).unwrap();
        let hook = move |user: &MemoryUser, it: &Operation| {
            if it.kind == OperationKind::Rename && it.path == path(at) {
                user.open_write("y").unwrap().write_at(100, b"a commit").unwrap();
                for side in ["y-wal", "y-shm"] {
                    let _ = user.remove(side);
                }
            }
            None
        };
        memory.set_hook(Some(Arc::new(hook)));
        let settled = fs.settle(&path("y"), &seen, &away, &name("scratch"));
        memory.set_hook(None);
        assert!(matches!(settled, Err(FsError::Changed { .. })), "{settled:?}");
        assert_eq!(&memory.user().read("y").unwrap()[100..108], b"a commit");
        assert_eq!(displaced(&fs), []);
    }
}

/// One that has opened the database before it was exchanged goes on in it, and what another has put into
/// the copy meanwhile is kept.
#[test]
fn a_program_that_came_before_the_exchange_keeps_its_database() {
    let disk = Disk::new();
    let connection = logged(&disk.at("x"), 512);
    insert(&connection, 20, 300);
    let files = ["x", "x-wal", "x-shm"].map(|at| std::fs::read(disk.at(at)).unwrap());
    for comes_another in [false, true] {
        let (memory, fs) = in_memory(&files);
        let seen = fs.stat(&path("y")).unwrap();
        let inode = memory.user().stat("y").unwrap().inode;
        let held = std::sync::Mutex::new(None);
        let hook = move |user: &MemoryUser, it: &Operation| {
            let mut held = held.lock().unwrap();
            match it.kind {
                OperationKind::Exchange if held.is_none() => {
                    *held = Some(user.open_write("y").unwrap());
                }
                OperationKind::WriterAbsent if held.is_some() && comes_another => {
                    user.open_write("y").unwrap().write_at(100, b"theirs").unwrap();
                }
                _ => {}
            }
            None
        };
        memory.set_hook(Some(Arc::new(hook)));
        let settled = fs.settle(&path("y"), &seen, &away, &name("scratch"));
        memory.set_hook(None);
        assert!(matches!(settled, Err(FsError::Changed { .. })), "{settled:?}");
        assert_eq!(memory.user().stat("y").unwrap().inode, inode);
        assert_eq!(memory.user().read("y-wal").unwrap(), files[1]);
        let left = displaced(&fs);
        assert_eq!(left.len(), usize::from(comes_another), "{left:?}");
        for (name, _) in left {
            let copy = read(fs.open(&private(Area::Displaced, &name)).unwrap().as_ref());
            assert_eq!(&copy[100..106], b"theirs");
        }
    }
}

/// The others in its directory are looked at all the same.
#[test]
fn a_database_that_cannot_be_opened_is_one_by_its_name() {
    let (memory, fs) = in_memory(&[vec![1; 512], b"log".to_vec(), Vec::new()]);
    let fault = |_: &MemoryUser, it: &Operation| {
        (it.kind == OperationKind::Open && it.path == path("y")).then_some(Fault::Io)
    };
    memory.set_hook(Some(Arc::new(fault)));
    let names: Vec<_> = fs.list(&path("")).unwrap().entries.into_iter().map(|it| it.name).collect();
    assert_eq!(names, [&b"y"[..], b"y-shm", b"y-wal"]);
}
