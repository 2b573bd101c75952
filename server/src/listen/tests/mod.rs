//! Tests of the listener against peers that do as they like, over loopback.
//!
//! Owns a server in memory and a peer without manners: raw QUIC streams and any TLS setting. What a
//! well-behaved device sees is tested beside the device's side.

mod connecting;
mod peer;
mod requests;

use super::{ListenLimits, Listener};
use crate::chunk_store::MemoryStore;
use crate::meta_store::{MetaDb, MetaHandle};
use crate::service::{Service, ServiceParts, SystemClock, Work};
use common::ids::FolderId;
use common::keys::{DeviceKeys, RecoveryKey, SigningKey, UserSecrets};
use common::trust::{DeviceLog, FolderGenesis, JoinCode, JoinKind, NewDevice, genesis_record};
use common::wire::meta::{CapabilityRequest, FolderCreate, InvitationRedeem, Reply, Request};
use server_core::metadata::Quota;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A server in memory, with one enrolled device and its folder.
struct Bed {
    service: Service,
    listener: Listener,
    address: SocketAddr,
    device: SigningKey,
    folder: FolderId,
}

impl Bed {
    async fn start() -> Self {
        Self::start_with(ListenLimits::default()).await
    }

    async fn start_with(limits: ListenLimits) -> Self {
        let cluster_key = SigningKey::from_seed([1; 32]);
        let service = Service::new(ServiceParts {
            meta: MetaHandle::spawn(MetaDb::open_in_memory().unwrap()).unwrap(),
            chunks: Arc::new(MemoryStore::new()),
            node_key: SigningKey::from_seed([2; 32]),
            cluster_key: cluster_key.clone(),
            capability_key: 1,
            clock: Arc::new(SystemClock),
            quota: Quota::UNLIMITED,
            work: Work::Pool,
        });
        let (device, folder) = enrol(&service).await;
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener =
            Listener::start_with(service.clone(), &cluster_key, anywhere, limits).unwrap();
        let address = listener.local_addr().unwrap();
        Self { service, listener, address, device, folder }
    }

    async fn capability(&self) -> Vec<u8> {
        let request = CapabilityRequest { folder: self.folder.to_vec() };
        let replies =
            self.service.request(self.device.device(), Request::Capability(request)).await;
        let [Reply::Capability(reply)] = replies.as_slice() else { panic!("{replies:?}") };
        reply.capability.clone()
    }
}

/// Enrols a first device and makes a folder, past the network.
async fn enrol(service: &Service) -> (SigningKey, FolderId) {
    let now_ms = service.now_ms();
    let code = JoinCode {
        kind: JoinKind::Bootstrap,
        addresses: vec!["localhost:1".into()],
        cluster: service.cluster(),
        secret: [3; 32],
    };
    service.open_bootstrap(code.lookup(), now_ms + 60_000).await.unwrap();
    let keys = DeviceKeys::from_seed([10; 32]);
    let secrets = UserSecrets::first([4; 32]);
    let new = NewDevice { keys: &keys, label: "laptop", secrets: &secrets, seed: [5; 32] };
    let record = genesis_record(&new, &RecoveryKey::from_seed([6; 32]).public(), now_ms).unwrap();
    let user = DeviceLog::genesis(&record).unwrap().user();
    let redeem = InvitationRedeem { lookup: code.lookup().to_vec(), record };
    let joined = service.join(keys.device(), Request::InvitationRedeem(redeem)).await;
    assert!(matches!(joined.as_slice(), [Reply::Done(_)]), "{joined:?}");

    let genesis = FolderGenesis { user, device: keys.device(), nonce: [7; 32], created_ms: 1 }
        .sign(&keys.signing);
    let folder = FolderGenesis::id(&genesis);
    let create = Request::FolderCreate(FolderCreate { genesis });
    let made = service.request(keys.device(), create).await;
    assert!(matches!(made.as_slice(), [Reply::Done(_)]), "{made:?}");
    (keys.signing, folder)
}

/// Fails a test that waits for something that does not come.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it did not happen")
}
