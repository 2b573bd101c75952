//! A server in memory and devices that talk to its service directly.
//!
//! Owns what a device would do, without a client. Every future is ready at once but that of a
//! subscription with nothing to say.

use crate::chunk_store::MemoryStore;
use crate::meta_store::{MetaDb, MetaHandle};
use crate::service::{Clock, Service, ServiceParts, StoreSession, Subscription, Work};
use bytes::Bytes;
use common::chunk::{Attributes, seal_attributes, seal_chunk, seal_name};
use common::ids::{ChunkId, DeviceId, EntryId, FolderId, Head, RequestId};
use common::keys::{DeviceKeys, FolderKeys, RecoveryKey, SigningKey, UserSecrets};
use common::name::Name;
use common::record::{Change, Content, Group, Kind, Place, Root, SignedGroup};
use common::revision::Revision;
use common::trust::{
    DeviceLog, FolderGenesis, JoinCode, JoinKind, NewDevice, genesis_record, invitation_record,
    redeem_record,
};
use common::wire::meta::{
    self, CommitPart, Empty, GroupMessage, JournalBatch, OutcomeKind, Refusal, RefusalCode,
    RejectionCode, Reply, Request,
};
use common::wire::store::{StoreOpen, StoreVerb};
use futures_util::FutureExt;
use server_core::metadata::Quota;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A clock that moves when told.
pub(crate) struct Hand(AtomicU64);

impl Clock for Hand {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub(crate) const START_MS: u64 = 1_700_000_000_000;
pub(crate) const DAY_MS: u64 = 24 * 3600 * 1000;

pub(crate) struct World {
    pub(crate) service: Service,
    pub(crate) meta: MetaHandle,
    pub(crate) chunks: Arc<MemoryStore>,
    pub(crate) clock: Arc<Hand>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_quota(Quota::UNLIMITED)
    }

    pub(crate) fn with_quota(quota: Quota) -> Self {
        let meta = MetaHandle::inline(MetaDb::open_in_memory().unwrap());
        let chunks = Arc::new(MemoryStore::new());
        let clock = Arc::new(Hand(AtomicU64::new(START_MS)));
        let service = Service::new(ServiceParts {
            meta: meta.clone(),
            chunks: Arc::clone(&chunks) as Arc<_>,
            node_key: node_key(),
            cluster_key: SigningKey::from_seed([201; 32]),
            capability_key: 1,
            clock: Arc::clone(&clock) as Arc<_>,
            quota,
            work: Work::Inline,
        });
        Self { service, meta, chunks, clock }
    }

    pub(crate) fn advance(&self, ms: u64) {
        self.clock.0.fetch_add(ms, Ordering::Relaxed);
    }

    /// A join code of a seed.
    pub(crate) fn code(&self, kind: JoinKind, seed: u8) -> JoinCode {
        let addresses = vec!["127.0.0.1:1".to_owned()];
        JoinCode { kind, addresses, cluster: self.service.cluster(), secret: [seed; 32] }
    }

    /// The first device of a new user.
    pub(crate) fn bootstrap(&self, seed: u8) -> Device {
        let code = self.code(JoinKind::Bootstrap, seed);
        let expires_ms = self.service.now_ms() + DAY_MS;
        now(self.service.open_bootstrap(code.lookup(), expires_ms)).unwrap();
        let keys = DeviceKeys::from_seed([seed; 32]);
        let secrets = UserSecrets::first([seed; 32]);
        let new = NewDevice { keys: &keys, label: "first", secrets: &secrets, seed: [seed; 32] };
        let recovery = RecoveryKey::from_seed([seed; 32]).public();
        let record = genesis_record(&new, &recovery, self.service.now_ms()).unwrap();
        let reply = self.redeem(keys.device(), &code, record);
        assert_eq!(reply, Reply::Done(Empty {}));
        Device { service: self.service.clone(), keys, secrets, counter: 0 }
    }

    pub(crate) fn redeem(&self, peer: DeviceId, code: &JoinCode, record: Vec<u8>) -> Reply {
        let lookup = code.lookup().to_vec();
        let redeem = meta::InvitationRedeem { lookup, record };
        one(self.ask_to_join(peer, Request::InvitationRedeem(redeem)))
    }

    pub(crate) fn fetch(&self, peer: DeviceId, code: &JoinCode) -> Vec<Reply> {
        let fetch = meta::InvitationFetch { lookup: code.lookup().to_vec() };
        self.ask_to_join(peer, Request::InvitationFetch(fetch))
    }

    pub(crate) fn ask_to_join(&self, peer: DeviceId, request: Request) -> Vec<Reply> {
        now(self.service.join(peer, request))
    }

    /// Another device of the same user.
    pub(crate) fn join(&self, inviter: &Device, seed: u8) -> Device {
        let code = inviter.invite(self, seed);
        let keys = DeviceKeys::from_seed([seed; 32]);
        let secrets = UserSecrets::first(*inviter.secrets.get(1).unwrap());
        let log = inviter.log();
        let new = NewDevice { keys: &keys, label: "next", secrets: &secrets, seed: [seed; 32] };
        let record = redeem_record(&log, &code, &new, self.service.now_ms()).unwrap();
        assert_eq!(self.redeem(keys.device(), &code, record), Reply::Done(Empty {}));
        Device { service: self.service.clone(), keys, secrets, counter: 0 }
    }
}

pub(crate) fn node_key() -> SigningKey {
    SigningKey::from_seed([202; 32])
}

/// The value of a future that never has to wait.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing waits in a server in memory")
}

pub(crate) fn one(mut replies: Vec<Reply>) -> Reply {
    assert_eq!(replies.len(), 1, "{replies:?}");
    replies.remove(0)
}

pub(crate) fn code_of(reply: Reply) -> RefusalCode {
    match reply {
        Reply::Refused(refusal) => refusal_code(&refusal),
        other => panic!("not refused: {other:?}"),
    }
}

pub(crate) fn refusal_code(refusal: &Refusal) -> RefusalCode {
    RefusalCode::try_from(refusal.code).unwrap()
}

pub(crate) fn keys_of(folder: &FolderId) -> FolderKeys {
    FolderKeys::new(*folder.as_bytes(), [9; 32])
}

/// What became of a commit of one group.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Became {
    Accepted(Revision),
    Rejected(RejectionCode),
    Refused(RefusalCode),
}

pub(crate) fn became(reply: Reply) -> Vec<Became> {
    match reply {
        Reply::Refused(refusal) => vec![Became::Refused(refusal_code(&refusal))],
        Reply::Outcomes(outcomes) => outcomes
            .outcomes
            .into_iter()
            .map(|outcome| match outcome.kind.unwrap() {
                OutcomeKind::Accepted(accepted) => Became::Accepted(accepted.revision),
                OutcomeKind::Rejected(rejected) => {
                    Became::Rejected(RejectionCode::try_from(rejected.code).unwrap())
                }
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

pub(crate) struct Device {
    pub(crate) service: Service,
    pub(crate) keys: DeviceKeys,
    pub(crate) secrets: UserSecrets,
    pub(crate) counter: u64,
}

impl Device {
    pub(crate) fn id(&self) -> DeviceId {
        self.keys.device()
    }

    pub(crate) fn ask(&self, request: Request) -> Vec<Reply> {
        now(self.service.request(self.id(), request))
    }

    pub(crate) fn ask_one(&self, request: Request) -> Reply {
        one(self.ask(request))
    }

    pub(crate) fn log(&self) -> DeviceLog {
        let parts = self.ask(Request::DeviceLogRead(meta::DeviceLogRead { from: 0 }));
        let records: Vec<Vec<u8>> = parts
            .into_iter()
            .flat_map(|part| match part {
                Reply::DeviceLog(part) => part.records,
                other => panic!("{other:?}"),
            })
            .collect();
        DeviceLog::replay(records.iter().map(Vec::as_slice)).unwrap()
    }

    pub(crate) fn append(&self, record: Vec<u8>) -> Reply {
        self.ask_one(Request::DeviceLogAppend(meta::DeviceLogAppend { record }))
    }

    pub(crate) fn invite(&self, world: &World, seed: u8) -> JoinCode {
        let code = world.code(JoinKind::Device, seed);
        let now_ms = world.service.now_ms();
        let signing = &self.keys.signing;
        let record =
            invitation_record(&self.log(), signing, &code, now_ms + DAY_MS, now_ms).unwrap();
        let open = meta::InvitationOpen { record, blob: b"sealed".to_vec() };
        assert_eq!(self.ask_one(Request::InvitationOpen(open)), Reply::Done(Empty {}));
        code
    }

    pub(crate) fn create_folder(&self, seed: u8) -> FolderId {
        let user = self.log().user();
        let genesis =
            FolderGenesis { user, device: self.id(), nonce: [seed; 32], created_ms: START_MS }
                .sign(&self.keys.signing);
        let create = meta::FolderCreate { genesis: genesis.clone() };
        assert_eq!(self.ask_one(Request::FolderCreate(create)), Reply::Done(Empty {}));
        FolderGenesis::id(&genesis)
    }

    pub(crate) fn capability(&self, folder: &FolderId) -> Result<Vec<u8>, RefusalCode> {
        let request = meta::CapabilityRequest { folder: folder.to_vec() };
        match self.ask_one(Request::Capability(request)) {
            Reply::Capability(reply) => Ok(reply.capability),
            refused => Err(code_of(refused)),
        }
    }

    pub(crate) fn open(
        &self,
        folder: &FolderId,
        verb: StoreVerb,
    ) -> Result<StoreSession, RefusalCode> {
        let capability = self.capability(folder)?;
        let open = StoreOpen { capability, verb: verb as i32 };
        self.service.open_store(self.id(), &open).map_err(|refusal| refusal_code(&refusal))
    }

    /// Stores one chunk; its id and the receipts for it.
    pub(crate) fn put(&self, folder: &FolderId, text: &[u8]) -> (ChunkId, Vec<Vec<u8>>) {
        let sealed = seal_chunk(&keys_of(folder), folder, text);
        let id = ChunkId::of(&sealed);
        let session = self.open(folder, StoreVerb::Put).unwrap();
        let reply = now(session.put(vec![(id, Bytes::from(sealed))]));
        assert_eq!(reply.refusal, None);
        (id, vec![reply.receipts])
    }

    /// A signed group that creates a file of one chunk.
    pub(crate) fn creation(
        &mut self,
        folder: &FolderId,
        name: &str,
        root: ChunkId,
    ) -> GroupMessage {
        self.creation_of(folder, name, Root { id: root, level: 0 })
    }

    /// A signed group that creates a file.
    pub(crate) fn creation_of(
        &mut self,
        folder: &FolderId,
        name: &str,
        root: Root,
    ) -> GroupMessage {
        self.counter += 1;
        let keys = keys_of(folder);
        let mut entry = [0; 16];
        entry[..8].copy_from_slice(&self.counter.to_le_bytes());
        entry[8..].copy_from_slice(&self.id().as_bytes()[..8]);
        let entry = EntryId::from_bytes(entry);
        let named = Name::new(name).unwrap();
        let tag = keys.content_tag().finish();
        let attributes =
            Attributes { mode: 0o644, mtime_ns: 1, size: 1, target: None, tag, restored: None };
        let attributes = seal_attributes(&keys, folder, &entry, &attributes);
        let change = Change::Create {
            entry,
            kind: Kind::File,
            place: Place {
                parent: EntryId::ROOT,
                name: seal_name(&keys, folder, &entry, &named),
                name_tag: keys.name_tag(&EntryId::ROOT, &named),
            },
            content: Content { root: Some(root), tag, attributes },
        };
        self.group(folder, vec![change])
    }

    /// A signed group that edits a file, which becomes empty.
    pub(crate) fn edit(
        &mut self,
        folder: &FolderId,
        entry: EntryId,
        base: Revision,
    ) -> GroupMessage {
        self.counter += 1;
        let keys = keys_of(folder);
        let tag = keys.content_tag().finish();
        let attributes =
            Attributes { mode: 0o644, mtime_ns: 1, size: 0, target: None, tag, restored: None };
        let attributes = seal_attributes(&keys, folder, &entry, &attributes);
        let content = Content { root: None, tag, attributes };
        self.group(folder, vec![Change::Edit { entry, base, content }])
    }

    pub(crate) fn group(&self, folder: &FolderId, changes: Vec<Change>) -> GroupMessage {
        let log = self.log();
        let group = Group {
            folder: *folder,
            epoch: 1,
            user: log.user(),
            device: self.id(),
            request: RequestId { incarnation: 1, counter: self.counter },
            seen_revision: 0,
            seen_head: Head::ZERO,
            device_log_head: log.head(),
            changes,
        };
        let signed = SignedGroup::sign(&group, &self.keys.signing);
        GroupMessage { body: signed.body, signature: signed.signature.to_vec() }
    }

    pub(crate) fn commit(
        &self,
        folder: &FolderId,
        receipts: Vec<Vec<u8>>,
        groups: Vec<GroupMessage>,
    ) -> Vec<Became> {
        let part = CommitPart { receipts, pages: Vec::new(), groups };
        became(now(self.service.commit(self.id(), *folder, vec![part])))
    }

    /// Creates a file of one chunk, all the way.
    pub(crate) fn create(&mut self, folder: &FolderId, name: &str) -> Became {
        let (id, receipts) = self.put(folder, name.as_bytes());
        let group = self.creation(folder, name, id);
        self.commit(folder, receipts, vec![group]).remove(0)
    }

    pub(crate) fn subscribe(
        &self,
        folder: &FolderId,
        revision: Revision,
    ) -> Result<Subscription, RefusalCode> {
        self.subscribe_in(folder, 1, revision)
    }

    pub(crate) fn subscribe_in(
        &self,
        folder: &FolderId,
        epoch: u64,
        revision: Revision,
    ) -> Result<Subscription, RefusalCode> {
        let request = meta::Subscribe { folder: folder.to_vec(), epoch, revision };
        now(self.service.subscribe(self.id(), request)).map_err(|refusal| refusal_code(&refusal))
    }
}

/// The next batch that is there without waiting.
pub(crate) fn ready(subscription: &mut Subscription) -> Option<JournalBatch> {
    subscription.next().now_or_never().flatten()
}

pub(crate) fn revisions(batch: &JournalBatch) -> Vec<Revision> {
    batch.groups.iter().map(|group| group.revision).collect()
}
