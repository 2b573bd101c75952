//! Two engines on real disks with a real server between them, over QUIC on loopback.
//!
//! The reason for an end-to-end test below the command line: disk, SQLite, sockets and both sides'
//! code paths meet here with nothing simulated.

#![allow(clippy::unwrap_used)] // What a test calls is test code too.

use async_trait::async_trait;
use client::context::{FolderContext, Signers};
use client::daemon::SystemEnvironment;
use client::engine::handle::Which;
use client::engine::{
    self, Ask, EngineParts, FolderHandle, FolderStatus, HaltReason, Keep, LogSource, Pins,
};
use client::fs::{Bundled, DiskFs, Fs, Root};
use client::remote::{
    JournalStream, QuicRemote, Remote, RemoteError, Server as RemoteServer, join,
};
use client::state::FolderState;
use client::watch::{Watch, WatchOptions};
use common::chunk::Chunker;
use common::ids::{ChunkId, DeviceId, FolderId, UserId};
use common::keys::{DeviceKeys, FolderKeys, RecoveryKey, UserSecrets};
use common::record::{Change, SignedGroup};
use common::revision::Cursor;
use common::trust::{
    DeviceLog, FolderGenesis, JoinCode, JoinKind, NewDevice, genesis_record, invitation_record,
    redeem_record,
};
use common::wire::meta::{
    CommitPart, FolderCreate, GroupMessage, InvitationOpen, Outcome, OutcomeKind, Outcomes,
    Rejected, RejectionCode, Reply, Request, Subscribe,
};
use server::assemble::{Server, ServerConfig};
use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(Default)]
struct MemoryPins(Mutex<BTreeMap<FolderId, Cursor>>);

impl Pins for MemoryPins {
    fn pinned(&self, folder: &FolderId) -> Option<Cursor> {
        self.0.lock().unwrap().get(folder).copied()
    }

    fn pin(&self, folder: &FolderId, cursor: &Cursor) -> std::io::Result<()> {
        self.0.lock().unwrap().insert(*folder, *cursor);
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

struct Setup {
    server: Server,
    directory: tempfile::TempDir,
    log: DeviceLog,
    folder: FolderId,
    user: UserId,
    devices: Vec<DeviceKeys>,
}

fn folder_keys() -> FolderKeys {
    FolderKeys::new([5; 32], [6; 32])
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

impl Setup {
    async fn new(devices: u8) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let config = ServerConfig::new(directory.path().join("server"), listen);
        let server = Server::start(config).await.unwrap();
        let code = server.mint_bootstrap(60_000).await.unwrap().code;
        let first = DeviceKeys::from_seed([1; 32]);
        let secrets = UserSecrets::first([9; 32]);
        let new = NewDevice { keys: &first, label: "A", secrets: &secrets, seed: [3; 32] };
        let recovery = RecoveryKey::from_seed([4; 32]).public();
        let genesis = genesis_record(&new, &recovery, now_ms()).unwrap();
        join::redeem(&code, &first.signing, genesis.clone()).await.unwrap();
        let mut log = DeviceLog::genesis(&genesis).unwrap();
        let remote = remote(&server, &first);
        let user = log.user();
        let device = first.device();
        let genesis = FolderGenesis { user, device, nonce: [7; 32], created_ms: now_ms() };
        let genesis = genesis.sign(&first.signing);
        let folder = FolderGenesis::id(&genesis);
        remote.request(Request::FolderCreate(FolderCreate { genesis })).await.unwrap();
        let mut keys = vec![first];
        for seed in 2..=devices {
            let addresses = server.addresses().to_vec();
            let secret = [seed; 32];
            let code =
                JoinCode { kind: JoinKind::Device, addresses, cluster: server.cluster(), secret };
            let signer = &keys[0].signing;
            let record =
                invitation_record(&log, signer, &code, now_ms() + 60_000, now_ms()).unwrap();
            log.append(&record).unwrap();
            let blob = vec![1; 32];
            let open = InvitationOpen { record, blob };
            remote.request(Request::InvitationOpen(open)).await.unwrap();
            let next = DeviceKeys::from_seed([10 + seed; 32]);
            let label = format!("device {seed}");
            let new = NewDevice { keys: &next, label: &label, secrets: &secrets, seed: [3; 32] };
            let record = redeem_record(&log, &code, &new, now_ms()).unwrap();
            join::redeem(&code, &next.signing, record.clone()).await.unwrap();
            log.append(&record).unwrap();
            keys.push(next);
        }
        Self { server, directory, log, folder, user, devices: keys }
    }

    fn root(&self, device: usize) -> PathBuf {
        self.directory.path().join(format!("device-{device}"))
    }

    fn start(&self, device: usize) -> (FolderHandle, std::thread::JoinHandle<()>) {
        self.start_with(device, Arc::new(remote(&self.server, &self.devices[device])))
    }

    fn start_with(
        &self,
        device: usize,
        remote: Arc<dyn Remote>,
    ) -> (FolderHandle, std::thread::JoinHandle<()>) {
        let root = self.root(device);
        fs::create_dir_all(&root).unwrap();
        let state = self.directory.path().join(format!("state-{device}.sqlite"));
        let marker = self.folder.as_bytes().to_vec();
        let keys = &self.devices[device];
        let runtime = tokio::runtime::Handle::current();
        let (folder, user, log) = (self.folder, self.user, self.log.clone());
        let (signer, environment) =
            (keys.signing.clone(), Arc::new(SystemEnvironment::new(runtime.clone())));
        let watch = Watch::start(&root, WatchOptions::default()).unwrap();
        let parts = move || {
            let hints = watch.hints().clone();
            // The watch lives as long as the engine's parts are wanted: the test's whole life.
            std::mem::forget(watch);
            let disk = DiskFs::open(&root).map_err(cannot)?;
            disk.init_root(&marker).map_err(cannot)?;
            let bundles = Arc::new(Bundled::new(Arc::new(disk)));
            let keys = Arc::new(folder_keys());
            Ok::<_, HaltReason>(EngineParts {
                context: FolderContext {
                    folder,
                    chunker: Chunker::new(keys.chunker_seed()),
                    keys,
                    user,
                    signer,
                    device_name: format!("device {device}"),
                    signers: Signers::new(log.clone()),
                    marker,
                    fs: Arc::clone(&bundles) as Arc<dyn Fs>,
                    bundles,
                    remote,
                    state: FolderState::open(&state).map_err(cannot)?,
                    environment,
                },
                hints,
                pins: Arc::new(MemoryPins::default()),
                log: Arc::new(FixedLog(log)),
                invited: None,
                paused: false,
            })
        };
        engine::start(&device.to_string(), parts, runtime).unwrap()
    }
}

fn cannot(error: impl std::fmt::Display) -> HaltReason {
    HaltReason::new(error.to_string(), "")
}

fn remote(server: &Server, keys: &DeviceKeys) -> QuicRemote {
    let addresses = vec![server.local_addr().to_string()];
    QuicRemote::new(RemoteServer { addresses, cluster: server.cluster() }, &keys.signing)
}

async fn sync(handles: &[&FolderHandle]) {
    // Twice: what one device pushed late the others take in the second turn.
    for _ in 0..2 {
        for handle in handles {
            let ask = handle.ask(Ask::Sync);
            let reached = tokio::time::timeout(Duration::from_secs(60), ask).await;
            match reached {
                Ok(answer) => assert_eq!(answer, Ok(true), "{:?}", handle.summary()),
                Err(_) => panic!("no sync in time: {:?}", handle.summary()),
            }
        }
    }
}

/// Everything that is synced of a tree: kind, mode, mtime and content of each path.
fn tree(root: &Path) -> BTreeMap<PathBuf, (String, u32, SystemTime, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut queue = vec![root.to_owned()];
    while let Some(directory) = queue.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let relative = path.strip_prefix(root).unwrap().to_owned();
            if relative.starts_with(".driftless") {
                continue;
            }
            let stat = fs::symlink_metadata(&path).unwrap();
            let (kind, time, content) = if stat.is_dir() {
                queue.push(path.clone());
                ("directory", UNIX_EPOCH, Vec::new())
            } else if stat.is_symlink() {
                let target = fs::read_link(&path).unwrap();
                ("symlink", stat.modified().unwrap(), target.to_string_lossy().as_bytes().to_vec())
            } else {
                ("file", stat.modified().unwrap(), fs::read(&path).unwrap())
            };
            let mode = stat.permissions().mode() & 0o777;
            found.insert(relative, (kind.to_owned(), mode, time, content));
        }
    }
    found
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn fill(root: &Path) {
    fs::create_dir_all(root.join("a dir/ü/deep")).unwrap();
    fs::create_dir_all(root.join("empty directory")).unwrap();
    fs::write(root.join("hello.txt"), "hello").unwrap();
    fs::write(root.join("empty"), "").unwrap();
    fs::write(root.join("a dir/ü/deep/big.bin"), noise(1, 3_000_000)).unwrap();
    fs::write(root.join("a dir/script.sh"), "#!/bin/sh\n").unwrap();
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(root.join("a dir/script.sh"), mode).unwrap();
    symlink("hello.txt", root.join("link")).unwrap();
    symlink("/nowhere/at all", root.join("dangling")).unwrap();
    for number in 0..300 {
        fs::write(root.join(format!("a dir/file {number}")), noise(number, 100)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_reaches_the_second_device_and_changes_go_both_ways() {
    let setup = Setup::new(3).await;
    fs::create_dir_all(setup.root(0)).unwrap();
    fill(&setup.root(0));
    let (a, thread_a) = setup.start(0);
    let (b, thread_b) = setup.start(1);
    sync(&[&a, &b]).await;
    assert_eq!(tree(&setup.root(0)), tree(&setup.root(1)));
    assert_eq!(tree(&setup.root(1)).len(), 300 + 10);

    // Edits, renames and deletions on both sides.
    fs::write(setup.root(1).join("hello.txt"), "hello from b").unwrap();
    fs::rename(setup.root(0).join("a dir"), setup.root(0).join("renamed dir")).unwrap();
    fs::remove_file(setup.root(0).join("empty")).unwrap();
    fs::remove_file(setup.root(1).join("link")).unwrap();
    fs::write(setup.root(1).join("new on b"), noise(7, 500_000)).unwrap();
    sync(&[&a, &b]).await;
    sync(&[&a, &b]).await;
    let expected = tree(&setup.root(0));
    assert_eq!(expected, tree(&setup.root(1)));
    assert!(expected.contains_key(Path::new("renamed dir/ü/deep/big.bin")));
    assert!(!expected.contains_key(Path::new("empty")));
    assert!(!expected.contains_key(Path::new("link")));
    assert_eq!(expected[Path::new("hello.txt")].3, b"hello from b");
    assert_eq!(a.summary().status, FolderStatus::Idle);

    // A third device joins later and gets it all.
    let (c, thread_c) = setup.start(2);
    sync(&[&c]).await;
    assert_eq!(tree(&setup.root(2)), expected);
    drop((a, b, c));
    for thread in [thread_a, thread_b, thread_c] {
        tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
    }
    setup.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_of_one_file_on_two_devices_are_both_kept_and_a_resolution_ends_it() {
    let setup = Setup::new(2).await;
    fs::create_dir_all(setup.root(0)).unwrap();
    fs::write(setup.root(0).join("thesis.txt"), "base").unwrap();
    let (a, thread_a) = setup.start(0);
    let (b, thread_b) = setup.start(1);
    sync(&[&a, &b]).await;
    a.ask(Ask::Pause).await.unwrap();
    b.ask(Ask::Pause).await.unwrap();
    fs::write(setup.root(0).join("thesis.txt"), "from a").unwrap();
    fs::write(setup.root(1).join("thesis.txt"), "from b").unwrap();
    a.ask(Ask::Resume).await.unwrap();
    sync(&[&a]).await;
    b.ask(Ask::Resume).await.unwrap();
    sync(&[&b, &a]).await;
    let contents = tree(&setup.root(0));
    assert_eq!(contents, tree(&setup.root(1)));
    let texts: Vec<_> = contents.values().map(|(_, _, _, bytes)| bytes.as_slice()).collect();
    assert!(texts.contains(&b"from a".as_slice()) && texts.contains(&b"from b".as_slice()));
    let conflicts = a.ask(|it| Ask::ConflictsIn(String::new(), false, it)).await.unwrap();
    assert_eq!(conflicts.len(), 1);
    assert_eq!(b.ask(|it| Ask::ConflictsIn(String::new(), false, it)).await.unwrap(), conflicts);
    assert_eq!(conflicts[0].path, "thesis.txt");
    assert_eq!(conflicts[0].sides.len(), 2);

    let resolve = |answer| Ask::Resolve("thesis.txt".into(), Keep::Mine, answer);
    b.ask(resolve).await.unwrap();
    sync(&[&b, &a]).await;
    assert_eq!(a.ask(|it| Ask::ConflictsIn(String::new(), false, it)).await.unwrap(), vec![]);
    assert_eq!(fs::read(setup.root(0).join("thesis.txt")).unwrap(), b"from b");
    assert_eq!(tree(&setup.root(0)).len(), 1);
    assert_eq!(tree(&setup.root(0)), tree(&setup.root(1)));

    // Every version is in the history.
    let log = |answer| Ask::Log("thesis.txt".into(), 0, 10, answer);
    let versions = a.ask(log).await.unwrap().versions;
    assert_eq!(versions.last().unwrap().change, "created");
    assert_eq!(versions.len(), 3, "{versions:?}");
    let out = setup.directory.path().join("old version");
    let first = versions.last().unwrap().revision;
    let export = |answer| {
        Ask::Export("thesis.txt".into(), Which::Revision(first), out.clone().into(), answer)
    };
    a.ask(export).await.unwrap();
    assert_eq!(fs::read(&out).unwrap(), b"base");
    let restore = |answer| Ask::Restore("thesis.txt".into(), Which::Revision(first), false, answer);
    a.ask(restore).await.unwrap();
    sync(&[&a, &b]).await;
    assert_eq!(fs::read(setup.root(1).join("thesis.txt")).unwrap(), b"base");
    drop((a, b));
    for thread in [thread_a, thread_b] {
        tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
    }
    setup.server.shutdown().await;
}

/// A server to which every new id is one that it has already.
struct Taken {
    remote: QuicRemote,
    commits: AtomicU64,
}

fn taken(message: GroupMessage) -> Outcome {
    let signature = common::ids::Signature::from_slice(&message.signature).unwrap();
    let group = SignedGroup { body: message.body, signature }.decode().unwrap();
    let entry = group.changes.iter().find_map(|change| match change {
        Change::Create { entry, .. } => Some(entry.to_vec()),
        _ => None,
    });
    let code = RejectionCode::IdTaken as i32;
    let rejected = Rejected { code, entry: entry.unwrap(), ..Rejected::default() };
    Outcome { kind: Some(OutcomeKind::Rejected(rejected)) }
}

#[async_trait]
impl Remote for Taken {
    async fn request(&self, request: Request) -> Result<Vec<Reply>, RemoteError> {
        self.remote.request(request).await
    }

    async fn commit(&self, _: FolderId, parts: Vec<CommitPart>) -> Result<Outcomes, RemoteError> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        let groups = parts.into_iter().flat_map(|part| part.groups);
        Ok(Outcomes { outcomes: groups.map(taken).collect() })
    }

    async fn subscribe(&self, from: Subscribe) -> Result<Box<dyn JournalStream>, RemoteError> {
        self.remote.subscribe(from).await
    }

    async fn put(
        &self,
        folder: FolderId,
        chunks: Vec<(ChunkId, bytes::Bytes)>,
    ) -> Result<Vec<Vec<u8>>, RemoteError> {
        self.remote.put(folder, chunks).await
    }

    async fn get(
        &self,
        folder: FolderId,
        ids: Vec<ChunkId>,
    ) -> Result<Vec<Option<bytes::Bytes>>, RemoteError> {
        self.remote.get(folder, ids).await
    }

    async fn have(&self, folder: FolderId, ids: Vec<ChunkId>) -> Result<Vec<Vec<u8>>, RemoteError> {
        self.remote.have(folder, ids).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_new_id_is_an_issue_and_no_endless_work() {
    let setup = Setup::new(1).await;
    fs::create_dir_all(setup.root(0)).unwrap();
    fs::write(setup.root(0).join("hello.txt"), "hello").unwrap();
    let commits = AtomicU64::new(0);
    let server = Arc::new(Taken { remote: remote(&setup.server, &setup.devices[0]), commits });
    let (handle, thread) = setup.start_with(0, Arc::clone(&server) as Arc<dyn Remote>);
    let ask = handle.ask(Ask::Sync);
    let reached = tokio::time::timeout(Duration::from_secs(20), ask).await;
    assert_eq!(reached, Ok(Ok(false)), "{} commits", server.commits.load(Ordering::Relaxed));
    assert!(server.commits.load(Ordering::Relaxed) < 10);
    let issues = handle.summary().issues;
    let refused =
        |issue: &client::engine::PathIssue| issue.reason.contains("the server refuses it");
    assert!(issues.iter().any(refused), "{issues:?}");
    drop(handle);
    tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
    setup.server.shutdown().await;
}
