//! The writer's promises: durable when answered, news after that, and M8.

use super::world::{code, create, file, genesis, member};
use crate::assemble::ServerError;
use crate::meta_store::schema::{migrate, migrate_to};
use crate::meta_store::{FailedSync, MetaDb, MetaError, MetaHandle, OpenError, Position};
use common::ids::{DeviceId, EntryId, FolderId, Head, RequestId, UserId};
use common::record::{Change, Group, Kind, SignedGroup};
use common::trust::{DeviceLog, FolderGenesis, JoinKind};
use common::wire::meta::RejectionCode;
use rusqlite::Connection;
use server_core::metadata::{
    Action, Answer, Command, Event, GroupOutcome, MetaReads, PreparedCommit, Quota, Refused,
    StoreError, query,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

const NOW_MS: u64 = super::world::BEGAN_MS;

/// A user with one device and a folder behind a handle.
struct Site {
    handle: MetaHandle,
    user: UserId,
    device: DeviceId,
    folder: FolderId,
}

async fn done(handle: &MetaHandle, action: Action) {
    let answer = handle.apply(Command { time_ms: NOW_MS, action }).await;
    assert!(matches!(answer, Ok(Answer::Done)), "{answer:?}");
}

impl Site {
    async fn on(handle: MetaHandle) -> Self {
        let lookup = code(JoinKind::Bootstrap, 1).lookup();
        let expires_ms = NOW_MS + 1_000;
        done(&handle, Action::OpenBootstrap { lookup, expires_ms }).await;
        let keys = member(1).keys;
        let (device, quota) = (keys.device(), Quota::UNLIMITED);
        let redeem = Action::RedeemBootstrap { device, lookup, genesis: genesis(1), quota };
        done(&handle, redeem).await;
        let user = DeviceLog::genesis(&genesis(1)).unwrap().user();
        let genesis = FolderGenesis { user, device, nonce: [1; 32], created_ms: NOW_MS };
        let genesis = genesis.sign(&keys.signing);
        let folder = FolderGenesis::id(&genesis);
        done(&handle, Action::CreateFolder { device, genesis }).await;
        Self { handle, user, device, folder }
    }

    /// A commit of one group that has seen nothing.
    fn commit(&self, counter: u64, changes: Vec<Change>) -> Command {
        let log = DeviceLog::genesis(&genesis(1)).unwrap();
        let group = Group {
            folder: self.folder,
            epoch: 1,
            user: self.user,
            device: self.device,
            request: RequestId { incarnation: 1, counter },
            seen_revision: 0,
            seen_head: Head::ZERO,
            device_log_head: log.head(),
            changes,
        };
        let signed = SignedGroup::sign(&group, &member(1).keys.signing);
        let commit =
            PreparedCommit::prepare(self.device, self.folder, vec![signed], &[], BTreeMap::new());
        Command { time_ms: NOW_MS, action: Action::Commit(commit) }
    }

    async fn accept(&self, counter: u64, changes: Vec<Change>) -> u64 {
        match self.handle.apply(self.commit(counter, changes)).await.unwrap() {
            Answer::Groups(outcomes) => outcomes[0].revision().unwrap(),
            Answer::Done | Answer::Released { .. } => panic!("a commit is answered by outcomes"),
        }
    }

    fn revision(&self) -> u64 {
        let folder = self.folder;
        self.handle.read(|reads| reads.folder(&folder)).unwrap().unwrap().revision
    }
}

#[tokio::test]
async fn n_commits_at_once_are_each_answered_and_durable() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("meta.sqlite");
    let site = Site::on(MetaHandle::spawn(MetaDb::open(&path).unwrap()).unwrap()).await;
    let commits: Vec<_> = (1..=100_u8)
        .map(|number| {
            let command = site.commit(number.into(), vec![file(number, &number.to_string())]);
            let handle = site.handle.clone();
            tokio::spawn(async move { handle.apply(command).await })
        })
        .collect();
    let mut revisions = Vec::new();
    for commit in commits {
        let Ok(Answer::Groups(outcomes)) = commit.await.unwrap() else { panic!("refused") };
        revisions.push(outcomes[0].revision().unwrap());
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=100).collect::<Vec<_>>());
    site.handle.close();
    assert!(site.handle.is_stopped());
    let late = site.handle.apply(site.commit(200, vec![file(200, "late")])).await;
    assert!(matches!(late, Err(MetaError::Stopped)));
    drop(site.handle);
    let again = MetaHandle::inline(MetaDb::open(&path).unwrap());
    let folder = site.folder;
    let state = again.read(|reads| reads.folder(&folder)).unwrap().unwrap();
    assert_eq!(state.revision, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn n_commits_at_once_do_not_exceed_one_quota() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("meta.sqlite");
    let site = Site::on(MetaHandle::spawn(MetaDb::open(&path).unwrap()).unwrap()).await;
    let quota = Quota { entries_max: 10, ..Quota::UNLIMITED };
    done(&site.handle, Action::SetQuota { user: site.user, quota }).await;
    let commits: Vec<_> = (1..=60_u8)
        .map(|number| {
            let command = site.commit(number.into(), vec![file(number, &number.to_string())]);
            let handle = site.handle.clone();
            tokio::spawn(async move { handle.apply(command).await })
        })
        .collect();
    let mut accepted = 0;
    for commit in commits {
        let Ok(Answer::Groups(outcomes)) = commit.await.unwrap() else { panic!("refused") };
        match outcomes[0].rejection() {
            None => accepted += 1,
            Some(code) => assert_eq!(code, RejectionCode::Quota),
        }
    }
    assert_eq!((accepted, site.revision()), (10, 10));
}

#[tokio::test]
async fn m3_an_outcome_outlives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("meta.sqlite");
    let mut site = Site::on(MetaHandle::inline(MetaDb::open(&path).unwrap())).await;
    let command = site.commit(1, vec![file(1, "f")]);
    let first = site.handle.apply(command.clone()).await.unwrap();
    site.handle = MetaHandle::spawn(MetaDb::open(&path).unwrap()).unwrap();
    assert_eq!(site.handle.apply(command).await.unwrap(), first);
    assert_eq!(site.revision(), 1);
}

#[tokio::test]
async fn news_come_after_the_commit_and_say_where_the_journal_ends() {
    let site = Site::on(MetaHandle::spawn(MetaDb::open_in_memory().unwrap()).unwrap()).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    assert!(site.handle.listen(move |event| listener.lock().unwrap().push(*event)));
    assert!(!site.handle.listen(|_| {}));
    let mut folder = site.handle.watch_folder(&site.folder);
    let mut other = site.handle.watch_folder(&FolderId::from_bytes([9; 32]));
    assert_eq!(site.accept(1, vec![file(1, "f")]).await, 1);
    assert!(folder.has_changed().unwrap());
    assert_eq!(*folder.borrow_and_update(), Position { epoch: 1, revision: 1 });
    assert!(!other.has_changed().unwrap());
    let event = Event::Folder { folder: site.folder, epoch: 1, revision: 1 };
    assert_eq!(*told.lock().unwrap(), vec![event]);
    // A rejected group and a repeated one are no news.
    let rejected = site.handle.apply(site.commit(2, vec![file(1, "g")])).await.unwrap();
    assert!(matches!(rejected, Answer::Groups(outcomes) if outcomes[0].rejection().is_some()));
    assert!(!folder.has_changed().unwrap());
    // Nor is another user's first device for this folder, but for the listener.
    let lookup = code(JoinKind::Bootstrap, 2).lookup();
    done(&site.handle, Action::OpenBootstrap { lookup, expires_ms: NOW_MS + 1_000 }).await;
    let (device, quota) = (member(2).keys.device(), Quota::UNLIMITED);
    let redeem = Action::RedeemBootstrap { device, lookup, genesis: genesis(2), quota };
    done(&site.handle, redeem).await;
    let user = DeviceLog::genesis(&genesis(2)).unwrap().user();
    assert_eq!(*told.lock().unwrap(), vec![event, Event::Devices { user }]);
    assert!(!folder.has_changed().unwrap());
    drop(folder);
    drop(other.borrow_and_update());
}

#[tokio::test]
async fn m8_after_a_failed_write_nothing_is_written_any_more() {
    for threaded in [false, true] {
        let db = MetaDb::open_in_memory().unwrap();
        let handle = match threaded {
            true => MetaHandle::spawn(db.clone()).unwrap(),
            false => MetaHandle::inline(db.clone()),
        };
        let site = Site::on(handle).await;
        let stopped = site.handle.watch_stopped();
        site.accept(1, vec![file(1, "f")]).await;
        db.set_pragma("query_only", 1).unwrap();
        let failed = site.handle.apply(site.commit(2, vec![file(2, "g")])).await;
        assert!(matches!(failed, Err(MetaError::Stopped)), "{failed:?}");
        assert!(*stopped.borrow());
        db.set_pragma("query_only", 0).unwrap();
        // The disk works again, and still nothing is written.
        let later = site.handle.apply(site.commit(3, vec![file(3, "h")])).await;
        assert!(matches!(later, Err(MetaError::Stopped)));
        assert_eq!(site.revision(), 1);
    }
}

#[tokio::test]
async fn m8_a_failed_sync_stops_the_store_whether_its_transaction_stands_or_not() {
    for (fault, revision) in [(FailedSync::Lost, 1), (FailedSync::Kept, 2)] {
        let db = MetaDb::open_in_memory().unwrap();
        let next = Arc::new(Mutex::new(None));
        let faults = Arc::clone(&next);
        let faults = Arc::new(move || faults.lock().unwrap().take());
        let mut site = Site::on(MetaHandle::inline_failing(db.clone(), faults)).await;
        site.accept(1, vec![file(1, "f")]).await;
        let mut folder = site.handle.watch_folder(&site.folder);
        *next.lock().unwrap() = Some(fault);
        let command = site.commit(2, vec![file(2, "g")]);
        let failed = site.handle.apply(command.clone()).await;
        assert!(matches!(failed, Err(MetaError::Stopped)), "{failed:?}");
        assert!(site.handle.is_stopped() && !folder.has_changed().unwrap(), "no news of it");
        let later = site.handle.apply(site.commit(3, vec![file(3, "h")])).await;
        assert!(matches!(later, Err(MetaError::Stopped)));
        drop(folder.borrow_and_update());
        // A start on the same database finds it or not; asked again, it has one effect (M3).
        site.handle = MetaHandle::inline(db);
        assert_eq!(site.revision(), revision);
        let Ok(Answer::Groups(outcomes)) = site.handle.apply(command).await else { panic!() };
        assert_eq!(outcomes[0].revision(), Some(2));
        assert_eq!(site.revision(), 2);
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_serves_again_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let db = MetaDb::open(&directory.path().join("meta.sqlite")).unwrap();
    let site = Site::on(MetaHandle::spawn(db.clone()).unwrap()).await;
    site.accept(1, vec![file(1, "f")]).await;
    db.set_pragma("max_page_count", 1).unwrap();
    let many = |from: u8| {
        let names = (from..from + 60).map(|number| {
            create(number, Kind::File, EntryId::ROOT, &format!("{number} {}", "x".repeat(200)))
        });
        names.collect::<Vec<_>>()
    };
    let refused = site.handle.apply(site.commit(2, many(10))).await;
    let Err(error) = refused else { panic!("{refused:?}") };
    assert!(matches!(error, MetaError::DiskFull) && error.is_retryable());
    assert_eq!(site.revision(), 1);
    assert!(!site.handle.is_stopped());
    db.set_pragma("max_page_count", 1_000_000).unwrap();
    assert_eq!(site.accept(2, many(10)).await, 2);
}

#[tokio::test]
async fn a_refused_command_of_a_batch_leaves_the_others_alone() {
    let site = Site::on(MetaHandle::spawn(MetaDb::open_in_memory().unwrap()).unwrap()).await;
    let stranger = member(50).keys.device();
    let refused = Command {
        time_ms: NOW_MS,
        action: Action::PutKeyring { device: stranger, version: 1, sealed: vec![] },
    };
    let accepted = site.commit(1, vec![file(1, "f")]);
    let (first, second) = tokio::join!(site.handle.apply(refused), site.handle.apply(accepted));
    let Err(MetaError::Refused(error)) = first else { panic!("{first:?}") };
    assert_eq!(error, Refused::NotEnrolled(stranger));
    let Ok(Answer::Groups(outcomes)) = second else { panic!("{second:?}") };
    assert!(matches!(outcomes[0], GroupOutcome::Accepted { revision: 1, .. }));
}

#[tokio::test]
async fn a_read_is_a_snapshot_while_commits_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let db = MetaDb::open(&directory.path().join("meta.sqlite")).unwrap();
    let site = Site::on(MetaHandle::inline(db)).await;
    site.accept(1, vec![file(1, "f")]).await;
    let folder = site.folder;
    let command = site.commit(2, vec![file(2, "g")]);
    site.handle
        .read(|reads| {
            let before = reads.folder(&folder)?;
            site.handle.apply_here(&command).unwrap();
            assert_eq!(reads.folder(&folder)?, before);
            Ok(())
        })
        .unwrap();
    assert_eq!(site.revision(), 2);
}

#[tokio::test]
async fn m9_a_backup_opens_as_the_state_it_was_taken_from() {
    let directory = tempfile::tempdir().unwrap();
    for from_file in [true, false] {
        let db = match from_file {
            true => MetaDb::open(&directory.path().join("meta.sqlite")).unwrap(),
            false => MetaDb::open_in_memory().unwrap(),
        };
        let site = Site::on(MetaHandle::inline(db.clone())).await;
        site.accept(1, vec![file(1, "f")]).await;
        let copy = directory.path().join(format!("backup-{from_file}.sqlite"));
        db.backup(&copy).unwrap();
        assert!(db.backup(&copy).is_err(), "an existing file is never overwritten");
        site.accept(2, vec![file(2, "g")]).await;
        let restored = MetaHandle::inline(MetaDb::open(&copy).unwrap());
        done(&restored, Action::BeginEpoch).await;
        let folder = site.folder;
        let (state, lineage) = restored
            .read(|reads| Ok((reads.folder(&folder)?, query::lineage_after(reads, &folder, 1)?)))
            .unwrap();
        assert_eq!(state.unwrap().revision, 1);
        assert_eq!(lineage[0].revision, 1);
    }
}

#[tokio::test]
async fn the_log_is_written_back_as_it_grows() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("meta.sqlite");
    let db = MetaDb::open(&path).unwrap();
    db.set_log_bytes_soft(2_000_000).unwrap();
    let site = Site::on(MetaHandle::inline(db)).await;
    let (mut counter, mut largest) = (0, 0);
    let log = directory.path().join("meta.sqlite-wal");
    loop {
        counter += 1;
        let sealed = vec![0; 500_000];
        let put = Action::PutKeyring { device: site.device, version: counter, sealed };
        done(&site.handle, put).await;
        let length = std::fs::metadata(&log).unwrap().len();
        if length < largest {
            break;
        }
        largest = length;
        assert!(largest < 4_000_000, "the log grows without end");
    }
    let user = site.user;
    let (version, _) = site.handle.read(|reads| reads.keyring(&user)).unwrap();
    assert_eq!(version, counter);
}

/// Reads one after the other, each until the other reader has begun its next, so that there is always one
/// of the two.
fn take_turns(
    db: &MetaDb,
    tell: &mpsc::Sender<()>,
    told: &mpsc::Receiver<()>,
    goes_on: impl Fn() -> bool,
) {
    let read = |reads: &dyn MetaReads| {
        // It lasts longer than it takes from a commit to the writing back.
        (0..1_000).try_for_each(|_| reads.generation().map(|_| ()))?;
        Ok(tell.send(()).is_ok() && told.recv().is_ok())
    };
    while goes_on() && db.read(read).unwrap() {}
}

#[tokio::test]
async fn readers_that_overlap_do_not_keep_the_log_for_ever() {
    const SOFT: u64 = 500_000;
    let directory = tempfile::tempdir().unwrap();
    let db = MetaDb::open(&directory.path().join("meta.sqlite")).unwrap();
    db.set_log_bytes_soft(SOFT).unwrap();
    let site = Site::on(MetaHandle::inline(db.clone())).await;
    let log = directory.path().join("meta.sqlite-wal");
    // What the one is told comes of the other.
    let (to_one, of_other) = mpsc::channel();
    let (to_other, of_one) = mpsc::channel();
    let (stop, stopped) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let db = &db;
        scope.spawn(move || take_turns(db, &to_other, &of_other, || true));
        scope.spawn(move || {
            of_one.recv().unwrap();
            let goes_on = || stopped.try_recv() == Err(mpsc::TryRecvError::Empty);
            take_turns(db, &to_one, &of_one, goes_on);
        });
        for version in 1..=60_u8 {
            // What is written again as it was takes no room in the log.
            let sealed = vec![version; 500_000];
            let action =
                Action::PutKeyring { device: site.device, version: version.into(), sealed };
            site.handle.apply_here(&Command { time_ms: NOW_MS, action }).unwrap();
            let length = std::fs::metadata(&log).unwrap().len();
            assert!(length < 16 * SOFT, "{length} bytes after {version} commits");
        }
        drop(stop);
    });
}

#[tokio::test]
async fn a_reader_that_needs_the_log_keeps_no_writer_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let db = MetaDb::open(&directory.path().join("meta.sqlite")).unwrap();
    let site = Site::on(MetaHandle::inline(db.clone())).await;
    let generation =
        |generation| Command { time_ms: 1, action: Action::BeginGeneration { generation } };
    site.handle.apply_here(&generation(1)).unwrap();
    let before = db.pragma("busy_timeout").unwrap();
    let took = db.read(|reads| {
        assert_eq!(reads.generation()?, 1);
        let log = directory.path().join("meta.sqlite-wal");
        db.set_log_bytes_soft(std::fs::metadata(log).unwrap().len())?;
        let began = Instant::now();
        site.handle.apply_here(&generation(2)).unwrap();
        Ok(began.elapsed())
    });
    assert!(took.unwrap() < Duration::from_secs(5), "it waited for the reader");
    assert_eq!(db.pragma("busy_timeout").unwrap(), before);
}

#[test]
fn m8_a_commit_is_synced_and_the_log_written_back_by_us_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("meta.sqlite");
    // Made, and opened again.
    for _ in 0..2 {
        let db = MetaDb::open(&path).unwrap();
        assert_eq!(db.pragma("journal_mode").unwrap(), "wal".to_owned().into());
        // FULL: each commit syncs the log.
        assert_eq!(db.pragma("synchronous").unwrap(), 2.into());
        assert_eq!(db.pragma("wal_autocheckpoint").unwrap(), 0.into());
    }
}

#[test]
fn a_database_of_a_newer_program_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("meta.sqlite");
    MetaDb::open(&path).unwrap().set_pragma("user_version", 999).unwrap();
    assert!(matches!(MetaDb::open(&path), Err(OpenError::Version { found: 999, .. })));
    std::fs::write(&path, b"this is no database, and long enough to be looked at as one").unwrap();
    assert!(MetaDb::open(&path).is_err());
    assert!(MetaDb::open(&directory.path().join("none/meta.sqlite")).is_err());
}

#[test]
fn n9_an_upgrade_without_room_says_that_it_needs_some_and_changes_nothing() {
    let mut old = Connection::open_in_memory().unwrap();
    migrate_to(&mut old, 4).unwrap();
    let limit = |of: &Connection, pages: i64| {
        of.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    };
    // Fewer than it has are as many as it has.
    limit(&old, 1);
    let error = migrate(&mut old).unwrap_err();
    assert!(matches!(error, OpenError::Upgrade { to: 5, .. }) && error.is_no_room(), "{error}");
    let hint = ServerError::Meta(error).hint();
    assert!(hint.contains("as much again as meta.sqlite takes"), "{hint}");
    let version = |of: &Connection| -> i64 {
        of.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    };
    assert_eq!(version(&old), 4);
    limit(&old, 1 << 30);
    migrate(&mut old).unwrap();
    assert!(version(&old) > 4);
}

#[test]
fn a_reader_that_cannot_be_opened_is_no_failed_store() {
    let directory = tempfile::tempdir().unwrap();
    let (path, away) = (directory.path().join("meta.sqlite"), directory.path().join("away"));
    let handle = MetaHandle::inline(MetaDb::open(&path).unwrap());
    std::fs::rename(&path, &away).unwrap();
    let error = handle.read(|reads| reads.generation()).unwrap_err();
    assert!(matches!(error, MetaError::Read(StoreError::Unopened(_))), "{error}");
    assert!(error.is_retryable() && !handle.is_stopped());
    std::fs::rename(&away, &path).unwrap();
    assert_eq!(handle.read(|reads| reads.generation()).unwrap(), 0);
}
