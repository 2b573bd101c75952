//! The server of a simulation: the real service and the real state machine, on SQLite in memory and
//! a chunk store in memory or on a simulated disk.
//!
//! Owns what happens to the server as a machine (failed syncs, restart, backup, restore) and the
//! account that the simulated user has there. It must not know what devices do with it.

use super::clock::SimClock;
use super::disk_chunks::DiskChunks;
use super::planted::{Planted, PlantedStore};
use common::ids::{DeviceId, FolderId};
use common::keys::{DeviceKeys, FolderKeys, RecoveryKey, SigningKey, UserSecrets};
use common::trust::{
    DeviceLog, FolderGenesis, JoinCode, JoinKind, NewDevice, genesis_record, invitation_record,
    redeem_record,
};
use common::wire::meta::{self, Reply, Request};
use futures_util::FutureExt as _;
use server::background::{AtOnce, Collector, GcError, GcParts, GcReport};
use server::chunk_store::{ChunkKey, ChunkStore, MemoryStore, Reclaim};
use server::meta_store::{FailedSync, MetaDb, MetaHandle};
use server::service::{Service, ServiceParts, Work};
use server_core::metadata::{Action, Command, Quota};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;

const DAY_MS: u64 = 24 * 3600 * 1000;

/// The server as a machine.
pub struct SimServer {
    running: Mutex<(MetaHandle, Service)>,
    chunks: Chunks,
    clock: SimClock,
    planted: Option<Planted>,
    files: TempDir,
    restored: AtomicU32,
    /// How the next sync of the metadata fails, if it does.
    failing: Arc<Mutex<Option<FailedSync>>>,
}

/// Where the chunks are.
#[derive(Clone)]
enum Chunks {
    Memory(Arc<MemoryStore>),
    Disk(Arc<DiskChunks>),
}

/// A sync of the server that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerFault {
    /// The next one of the metadata.
    Metadata(FailedSync),
    /// All of the chunk store, until it is started again. None without a disk.
    Chunks,
}

/// A copy of the server's metadata, and which chunks it had then.
pub struct Backup {
    path: std::path::PathBuf,
    chunks: BTreeSet<ChunkKey>,
}

impl SimServer {
    /// An empty server; its chunks are in memory, or on a disk that can fail.
    #[must_use]
    pub fn new(clock: SimClock, planted: Option<Planted>, on_disk: bool) -> Self {
        let files = tempdir();
        let chunks = match on_disk {
            true => Chunks::Disk(Arc::new(DiskChunks::new(files.path()))),
            false => Chunks::Memory(Arc::new(MemoryStore::new())),
        };
        let failing = Arc::default();
        let meta = meta(MetaDb::open_in_memory().unwrap(), &failing);
        let service = service(&meta, &chunks, &clock, planted, 1);
        let running = Mutex::new((meta, service));
        Self { running, chunks, clock, planted, files, restored: AtomicU32::new(0), failing }
    }

    /// The service as it runs now.
    #[must_use]
    pub fn service(&self) -> Service {
        self.running().1.clone()
    }

    /// The metadata, for oracles.
    #[must_use]
    pub fn meta(&self) -> MetaHandle {
        self.running().0.clone()
    }

    /// The chunks, for oracles.
    #[must_use]
    pub fn chunks(&self) -> Arc<dyn ChunkStore> {
        self.chunks.store()
    }

    /// Makes a sync fail.
    pub fn fail(&self, fault: ServerFault) {
        match (fault, &self.chunks) {
            (ServerFault::Metadata(failed), _) => *self.failing() = Some(failed),
            (ServerFault::Chunks, Chunks::Disk(chunks)) => chunks.fail_syncs(),
            (ServerFault::Chunks, Chunks::Memory(_)) => {}
        }
    }

    /// No more syncs fail.
    pub fn mend(&self) {
        *self.failing() = None;
        if let Chunks::Disk(chunks) = &self.chunks {
            chunks.mend();
        }
    }

    /// Whether a part of it has stopped after a failed sync.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.meta().is_stopped() || self.chunks_stopped()
    }

    /// Whether the chunk store has stopped after a failed sync.
    #[must_use]
    pub fn chunks_stopped(&self) -> bool {
        matches!(&self.chunks, Chunks::Disk(chunks) if chunks.is_stopped())
    }

    /// Starts the server again on what is durable, after a power cut with what the seed keeps of
    /// the rest. Whoever held a connection has to be cut off.
    pub fn restart(&self, power_cut: Option<u64>) {
        *self.failing() = None;
        if let Chunks::Disk(chunks) = &self.chunks {
            chunks.restart(power_cut);
        }
        let db = self.meta().db().clone();
        self.begin(meta(db, &self.failing));
    }

    /// Copies the metadata and notes which chunks there are.
    #[must_use]
    pub fn back_up(&self) -> Backup {
        let path = self.files.path().join(format!("backup-{}", self.restored()));
        if path.exists() {
            std::fs::remove_file(&path).unwrap();
        }
        self.meta().db().backup(&path).unwrap();
        let chunks = match &self.chunks {
            Chunks::Memory(chunks) => chunks.keys().into_iter().collect(),
            Chunks::Disk(_) => BTreeSet::new(),
        };
        Backup { path, chunks }
    }

    /// One run of the garbage collection; devices go on between its steps.
    ///
    /// # Errors
    /// What stopped it: a part of the server that has stopped.
    pub async fn collect(&self, grace_ms: u64) -> Result<GcReport, GcError> {
        let collector = Collector::new(GcParts {
            meta: self.meta(),
            chunks: self.chunks.reclaim(),
            clock: Arc::new(self.clock.clone()),
            work: Work::Inline,
        });
        let report = collector.run(grace_ms, &AtOnce).await;
        if let (Some(Planted::PurgesWhatIsUsed), Chunks::Memory(chunks)) =
            (self.planted, &self.chunks)
        {
            let some = chunks.keys().into_iter().filter(|key| key.id.as_bytes()[0] < 24);
            some.for_each(|key| assert!(chunks.lose(&key)));
        }
        report
    }

    /// Goes back to a backup, in a new epoch; what was stored since is lost, but for chunks on a
    /// disk. No garbage may have been collected since the backup was made.
    pub fn restore(&self, backup: Backup) {
        self.restored.fetch_add(1, Ordering::Relaxed);
        *self.failing() = None;
        match &self.chunks {
            Chunks::Memory(chunks) => {
                let lost = chunks.keys().into_iter().filter(|key| !backup.chunks.contains(key));
                lost.for_each(|key| assert!(chunks.lose(&key)));
            }
            Chunks::Disk(chunks) => chunks.restart(None),
        }
        let meta = meta(MetaDb::open(&backup.path).unwrap(), &self.failing);
        let time_ms = server::service::Clock::now_ms(&self.clock);
        meta.apply_here(&Command { time_ms, action: Action::BeginEpoch }).unwrap();
        self.begin(meta);
    }

    /// How often it was restored.
    #[must_use]
    pub fn restored(&self) -> u32 {
        self.restored.load(Ordering::Relaxed)
    }

    fn begin(&self, meta: MetaHandle) {
        let generation = meta.read(|reads| reads.generation()).unwrap();
        // Nothing waits in memory, and on a disk the caller does.
        let raised = self.chunks.reclaim().raise_generation(generation).now_or_never();
        raised.unwrap().unwrap();
        let capability_key = 1 + u64::from(self.restored());
        let service = service(&meta, &self.chunks, &self.clock, self.planted, capability_key);
        *self.running() = (meta, service);
    }

    fn failing(&self) -> MutexGuard<'_, Option<FailedSync>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, (MetaHandle, Service)> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chunks {
    fn reclaim(&self) -> Arc<dyn Reclaim> {
        match self {
            Self::Memory(chunks) => Arc::clone(chunks) as Arc<dyn Reclaim>,
            Self::Disk(chunks) => Arc::clone(chunks) as Arc<dyn Reclaim>,
        }
    }

    fn store(&self) -> Arc<dyn ChunkStore> {
        match self {
            Self::Memory(chunks) => Arc::clone(chunks) as Arc<dyn ChunkStore>,
            Self::Disk(chunks) => Arc::clone(chunks) as Arc<dyn ChunkStore>,
        }
    }
}

fn meta(db: MetaDb, failing: &Arc<Mutex<Option<FailedSync>>>) -> MetaHandle {
    let failing = Arc::clone(failing);
    let take = move || failing.lock().unwrap_or_else(PoisonError::into_inner).take();
    MetaHandle::inline_failing(db, Arc::new(take))
}

/// Memory where there is such a place: a simulation does not test the machine's disk.
fn tempdir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn service(
    meta: &MetaHandle,
    chunks: &Chunks,
    clock: &SimClock,
    planted: Option<Planted>,
    capability_key: u64,
) -> Service {
    let chunks: Arc<dyn ChunkStore> = match (planted, chunks) {
        (Some(Planted::AcknowledgeWithoutStoring), Chunks::Memory(chunks)) => {
            Arc::new(PlantedStore::new(Arc::clone(chunks)))
        }
        _ => chunks.store(),
    };
    Service::new(ServiceParts {
        meta: meta.clone(),
        chunks,
        node_key: SigningKey::from_seed([202; 32]),
        cluster_key: SigningKey::from_seed([201; 32]),
        capability_key,
        clock: Arc::new(clock.clone()),
        quota: Quota::UNLIMITED,
        work: Work::Inline,
    })
}

/// The simulated user: a device log, a folder and its keys.
pub struct Account {
    secrets: UserSecrets,
    /// The folder that is synced.
    pub folder: FolderId,
    /// Its keys.
    pub keys: Arc<FolderKeys>,
    devices: Vec<DeviceKeys>,
}

impl Account {
    /// Enrols the first device and makes the folder.
    pub async fn open(server: &SimServer, seed: u64) -> Self {
        let service = server.service();
        let code = join_code(&service, JoinKind::Bootstrap, 0, seed);
        let now_ms = service.now_ms();
        service.open_bootstrap(code.lookup(), now_ms + DAY_MS).await.unwrap();
        let keys = device_keys(0, seed);
        let secrets = UserSecrets::first(seed_bytes(b"secret", seed));
        let new = NewDevice { keys: &keys, label: "device 0", secrets: &secrets, seed: [7; 32] };
        let recovery = RecoveryKey::from_seed(seed_bytes(b"recovery", seed)).public();
        let record = genesis_record(&new, &recovery, now_ms).unwrap();
        redeem(&service, &keys, &code, record.clone()).await;
        let user = DeviceLog::genesis(&record).unwrap().user();
        let nonce = seed_bytes(b"nonce", seed);
        let genesis = FolderGenesis { user, device: keys.device(), nonce, created_ms: now_ms }
            .sign(&keys.signing);
        let folder = FolderGenesis::id(&genesis);
        let request = Request::FolderCreate(meta::FolderCreate { genesis });
        done(&service.request(keys.device(), request).await);
        let folder_keys =
            FolderKeys::new(seed_bytes(b"constant", seed), seed_bytes(b"epoch", seed));
        Self { secrets, folder, keys: Arc::new(folder_keys), devices: vec![keys] }
    }

    /// Enrols another device, invited by the first; returns its number.
    pub async fn enrol(&mut self, server: &SimServer, seed: u64) -> usize {
        let number = self.devices.len();
        let service = server.service();
        let code = join_code(&service, JoinKind::Device, number, seed);
        let inviter = &self.devices[0];
        let now_ms = service.now_ms();
        let log = read_log(&service, inviter.device()).await.unwrap();
        let record =
            invitation_record(&log, &inviter.signing, &code, now_ms + DAY_MS, now_ms).unwrap();
        let open = meta::InvitationOpen { record, blob: b"sealed".to_vec() };
        done(&service.request(inviter.device(), Request::InvitationOpen(open)).await);
        let keys = device_keys(number, seed);
        let log = read_log(&service, inviter.device()).await.unwrap();
        let label = format!("device {number}");
        let secrets = &self.secrets;
        let new = NewDevice { keys: &keys, label: &label, secrets, seed: [number as u8; 32] };
        let record = redeem_record(&log, &code, &new, now_ms).unwrap();
        redeem(&service, &keys, &code, record).await;
        self.devices.push(keys);
        number
    }

    /// The key that a device signs with.
    #[must_use]
    pub fn signer(&self, device: usize) -> SigningKey {
        SigningKey::from_seed(*self.devices[device].signing.seed())
    }

    /// Every device's key, to sign as anyone.
    #[must_use]
    pub fn signers(&self) -> Vec<SigningKey> {
        (0..self.devices.len()).map(|device| self.signer(device)).collect()
    }
}

/// Reads and replays the device log that a device sees; `None` when the server does not give it.
pub async fn read_log(service: &Service, device: DeviceId) -> Option<DeviceLog> {
    let request = Request::DeviceLogRead(meta::DeviceLogRead { from: 0 });
    let mut records = Vec::new();
    for reply in service.request(device, request).await {
        let Reply::DeviceLog(part) = reply else { return None };
        records.extend(part.records);
    }
    DeviceLog::replay(records.iter().map(Vec::as_slice)).ok()
}

async fn redeem(service: &Service, keys: &DeviceKeys, code: &JoinCode, record: Vec<u8>) {
    let redeem = meta::InvitationRedeem { lookup: code.lookup().to_vec(), record };
    done(&service.join(keys.device(), Request::InvitationRedeem(redeem)).await);
}

fn done(replies: &[Reply]) {
    assert!(matches!(replies, [Reply::Done(_)]), "the server did not do it: {replies:?}");
}

fn join_code(service: &Service, kind: JoinKind, number: usize, seed: u64) -> JoinCode {
    let addresses = vec!["127.0.0.1:1".to_owned()];
    let secret = seed_bytes(format!("code {number}").as_bytes(), seed);
    JoinCode { kind, addresses, cluster: service.cluster(), secret }
}

fn device_keys(number: usize, seed: u64) -> DeviceKeys {
    DeviceKeys::from_seed(seed_bytes(format!("device {number}").as_bytes(), seed))
}

fn seed_bytes(label: &[u8], seed: u64) -> [u8; 32] {
    *blake3::hash(&[label, &seed.to_le_bytes()].concat()).as_bytes()
}
