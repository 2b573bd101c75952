//! Tests of the remote against a real listener over loopback.
//!
//! Owns the bed they stand on: a server in memory, enrolled devices, a folder. Each test has its
//! own server on its own port.

mod access;
mod chunks;
mod journal;
mod stranger;
mod throughput;

use super::{QuicRemote, Remote, Server, Timing, join};
use bytes::Bytes;
use common::ids::{ChunkId, ClusterId, FolderId, UserId};
use common::keys::{DeviceKeys, RecoveryKey, SigningKey, UserSecrets};
use common::trust::{
    DeviceLog, FolderGenesis, JoinCode, JoinKind, NewDevice, genesis_record, invitation_record,
    redeem_record,
};
use common::wire::meta::{FolderCreate, InvitationOpen, Reply, Request};
use server::chunk_store::MemoryStore;
use server::listen::{ListenLimits, Listener};
use server::meta_store::{MetaDb, MetaHandle};
use server::service::{Service, ServiceParts, SystemClock, Work};
use server_core::metadata::Quota;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A server in memory.
struct Bed {
    service: Service,
    cluster_key: SigningKey,
    chunks: Arc<MemoryStore>,
    limits: ListenLimits,
    listener: Option<Listener>,
    address: SocketAddr,
}

impl Bed {
    async fn start() -> Self {
        Self::start_with(ListenLimits::default()).await
    }

    async fn start_with(limits: ListenLimits) -> Self {
        let cluster_key = SigningKey::from_seed([1; 32]);
        let chunks = Arc::new(MemoryStore::new());
        let service = Service::new(ServiceParts {
            meta: MetaHandle::spawn(MetaDb::open_in_memory().unwrap()).unwrap(),
            chunks: Arc::clone(&chunks) as _,
            node_key: SigningKey::from_seed([2; 32]),
            cluster_key: cluster_key.clone(),
            capability_key: 1,
            clock: Arc::new(SystemClock),
            quota: Quota::UNLIMITED,
            work: Work::Pool,
        });
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener =
            Listener::start_with(service.clone(), &cluster_key, anywhere, limits.clone()).unwrap();
        let address = listener.local_addr().unwrap();
        Self { service, cluster_key, chunks, limits, listener: Some(listener), address }
    }

    fn server(&self) -> Server {
        Server {
            addresses: vec![self.address.to_string()],
            cluster: ClusterId::from_bytes(self.cluster_key.public()),
        }
    }

    fn remote(&self, key: &SigningKey) -> QuicRemote {
        QuicRemote::new(self.server(), key)
    }

    async fn stop(&mut self) {
        self.listener.take().unwrap().shutdown().await;
    }

    fn start_again(&mut self) {
        let limits = self.limits.clone();
        let service = self.service.clone();
        let listener =
            Listener::start_with(service, &self.cluster_key, self.address, limits).unwrap();
        self.listener = Some(listener);
    }

    fn code(&self, kind: JoinKind, secret: u8) -> JoinCode {
        let Server { addresses, cluster } = self.server();
        JoinCode { kind, addresses, cluster, secret: [secret; 32] }
    }

    /// A first device of a new user, enrolled by a bootstrap code over the network.
    async fn enrol(&self, seed: u8) -> Member {
        let code = self.code(JoinKind::Bootstrap, seed);
        let expires_ms = self.service.now_ms() + 60_000;
        self.service.open_bootstrap(code.lookup(), expires_ms).await.unwrap();
        let keys = DeviceKeys::from_seed([seed; 32]);
        let secrets = UserSecrets::first([seed; 32]);
        let new = NewDevice { keys: &keys, label: "laptop", secrets: &secrets, seed: [seed; 32] };
        let recovery = RecoveryKey::from_seed([seed; 32]).public();
        let record = genesis_record(&new, &recovery, self.service.now_ms()).unwrap();
        assert!(join::fetch(&code, &keys.signing).await.unwrap().device_log.is_empty());
        join::redeem(&code, &keys.signing, record.clone()).await.unwrap();
        let log = DeviceLog::genesis(&record).unwrap();
        let remote = self.remote(&keys.signing);
        Member { user: log.user(), keys, secrets, log, remote }
    }

    /// Another device of `member`'s user, enrolled by a device code over the network.
    async fn enrol_second(&self, member: &mut Member, seed: u8) -> DeviceKeys {
        let now_ms = self.service.now_ms();
        let code = self.code(JoinKind::Device, seed);
        let signer = &member.keys.signing;
        let record =
            invitation_record(&member.log, signer, &code, now_ms + 60_000, now_ms).unwrap();
        member.log.append(&record).unwrap();
        let open = InvitationOpen { record, blob: vec![7; 100] };
        member.remote.request(Request::InvitationOpen(open)).await.unwrap();

        let keys = DeviceKeys::from_seed([seed; 32]);
        let left = join::fetch(&code, &keys.signing).await.unwrap();
        assert_eq!(left.blob, vec![7; 100]);
        let log = DeviceLog::replay(left.device_log.iter().map(Vec::as_slice)).unwrap();
        let new =
            NewDevice { keys: &keys, label: "desk", secrets: &member.secrets, seed: [seed; 32] };
        let record = redeem_record(&log, &code, &new, now_ms).unwrap();
        join::redeem(&code, &keys.signing, record.clone()).await.unwrap();
        member.log.append(&record).unwrap();
        keys
    }
}

/// An enrolled device.
struct Member {
    user: UserId,
    keys: DeviceKeys,
    secrets: UserSecrets,
    log: DeviceLog,
    remote: QuicRemote,
}

impl Member {
    async fn make_folder(&self) -> FolderId {
        let genesis = FolderGenesis {
            user: self.user,
            device: self.keys.device(),
            nonce: [9; 32],
            created_ms: 1,
        }
        .sign(&self.keys.signing);
        let folder = FolderGenesis::id(&genesis);
        let replies = self.remote.request(Request::FolderCreate(FolderCreate { genesis })).await;
        assert!(matches!(replies.unwrap().as_slice(), [Reply::Done(_)]));
        folder
    }
}

/// Chunks that differ, of various lengths.
fn some_chunks(count: usize, bytes: usize) -> Vec<(ChunkId, Bytes)> {
    (0..count)
        .map(|number| {
            let length = bytes + number % 97;
            let mut chunk = vec![0; length];
            blake3::Hasher::new()
                .update(&(number as u64).to_le_bytes())
                .finalize_xof()
                .fill(&mut chunk);
            (ChunkId::of(&chunk), Bytes::from(chunk))
        })
        .collect()
}

fn ids(chunks: &[(ChunkId, Bytes)]) -> Vec<ChunkId> {
    chunks.iter().map(|(id, _)| *id).collect()
}

/// Fails a test that waits for something that does not come.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it did not happen")
}

/// For servers that are not there.
const HASTY: Timing = Timing {
    connect: Duration::from_millis(300),
    answer: Duration::from_secs(5),
    transfer: Duration::from_secs(5),
    keep_alive: Duration::from_millis(200),
    barred: Duration::from_millis(50),
};
