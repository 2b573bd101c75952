//! A device that writes journals of any length, without a disk.
//!
//! Owns how its folder begins and how groups are sent. Its keys and its folder are always the same, so
//! that what one run has written another can go on with.

use anyhow::{Result, ensure};
use bytes::Bytes;
use client::remote::{QuicRemote, Remote, Server as RemoteServer, join};
use common::chunk::{Attributes, seal_attributes, seal_name};
use common::ids::{ChunkId, EntryId, FolderId, Head, RequestId, UserId};
use common::keys::{DeviceKeys, FolderKeys, RecoveryKey, UserSecrets};
use common::limits::COMMIT_GROUPS_MAX;
use common::name::Name;
use common::record::{Change, Content, Group, Place, Root, SignedGroup};
use common::revision::Revision;
use common::trust::{DeviceLog, FolderGenesis, NewDevice, genesis_record};
use common::wire::meta::{CommitPart, FolderCreate, GroupMessage, OutcomeKind, Request};
use server::assemble::{Server, ServerConfig};
use std::path::Path;
use std::sync::Arc;

/// Chunks that one request stores.
const STORED_TOGETHER: usize = 1000;

/// When the device and its folder began.
const BEGUN_MS: u64 = 1_750_000_000_000;

pub(crate) fn folder_keys() -> FolderKeys {
    FolderKeys::new([5; 32], [6; 32])
}

/// A device that writes journals, and a folder.
pub(crate) struct Author {
    pub(crate) server: Server,
    pub(crate) remote: Arc<QuicRemote>,
    pub(crate) keys: FolderKeys,
    pub(crate) device: DeviceKeys,
    pub(crate) log: DeviceLog,
    pub(crate) folder: FolderId,
    pub(crate) user: UserId,
    counter: u64,
    waiting: Vec<GroupMessage>,
    /// Sealed chunks that the groups which wait name.
    pub(crate) chunks: Vec<(ChunkId, Bytes)>,
    pub(crate) revision: Revision,
}

impl Author {
    pub(crate) async fn begin(directory: &Path) -> Result<Self> {
        let listen = "127.0.0.1:0".parse()?;
        let is_kept = directory.join("server").exists();
        let server = Server::start(ServerConfig::new(directory.join("server"), listen)).await?;
        let device = DeviceKeys::from_seed([1; 32]);
        let secrets = UserSecrets::first([9; 32]);
        let new = NewDevice { keys: &device, label: "A", secrets: &secrets, seed: [3; 32] };
        let recovery = RecoveryKey::from_seed([4; 32]).public();
        let genesis = genesis_record(&new, &recovery, BEGUN_MS)?;
        if !is_kept {
            let code = server.mint_bootstrap(60_000).await?.code;
            join::redeem(&code, &device.signing, genesis.clone()).await?;
        }
        let log = DeviceLog::genesis(&genesis)?;
        let addresses = vec![server.local_addr().to_string()];
        let at = RemoteServer { addresses, cluster: server.cluster() };
        let remote = Arc::new(QuicRemote::new(at, &device.signing));
        let user = log.user();
        let id = device.device();
        let genesis = FolderGenesis { user, device: id, nonce: [7; 32], created_ms: BEGUN_MS };
        let genesis = genesis.sign(&device.signing);
        let folder = FolderGenesis::id(&genesis);
        if !is_kept {
            remote.request(Request::FolderCreate(FolderCreate { genesis })).await?;
        }
        let (keys, waiting) = (folder_keys(), Vec::new());
        Ok(Self {
            server,
            remote,
            keys,
            device,
            log,
            folder,
            user,
            counter: 0,
            waiting,
            chunks: Vec::new(),
            revision: 0,
        })
    }

    pub(crate) fn place(&self, entry: &EntryId, parent: EntryId, name: &str) -> Result<Place> {
        let name = Name::new(name)?;
        let sealed = seal_name(&self.keys, &self.folder, entry, &name);
        Ok(Place { parent, name: sealed, name_tag: self.keys.name_tag(&parent, &name) })
    }

    pub(crate) fn content(&self, entry: &EntryId, root: Option<Root>, of: &Attributes) -> Content {
        let attributes = seal_attributes(&self.keys, &self.folder, entry, of);
        Content { root, tag: of.tag, attributes }
    }

    /// Adds a group; returns the revision that it gets.
    pub(crate) async fn group(&mut self, changes: Vec<Change>) -> Result<Revision> {
        self.counter += 1;
        let group = Group {
            folder: self.folder,
            epoch: 1,
            user: self.user,
            device: self.device.device(),
            request: RequestId { incarnation: 1, counter: self.counter },
            seen_revision: 0,
            seen_head: Head::ZERO,
            device_log_head: self.log.head(),
            changes,
        };
        let signed = SignedGroup::sign(&group, &self.device.signing);
        let signature = signed.signature.to_vec();
        self.waiting.push(GroupMessage { body: signed.body, signature });
        self.revision += 1;
        if self.waiting.len() == COMMIT_GROUPS_MAX {
            self.commit().await?;
        }
        Ok(self.revision)
    }

    /// Stores the chunks that wait, and sends the groups.
    pub(crate) async fn commit(&mut self) -> Result<()> {
        let mut parts = Vec::new();
        for chunks in std::mem::take(&mut self.chunks).chunks(STORED_TOGETHER) {
            let receipts = self.remote.put(self.folder, chunks.to_vec()).await?;
            parts.push(CommitPart { receipts, ..CommitPart::default() });
        }
        self.commit_with(parts).await
    }

    /// Sends the groups that wait, after parts that prove what they name.
    pub(crate) async fn commit_with(&mut self, mut parts: Vec<CommitPart>) -> Result<()> {
        let groups = std::mem::take(&mut self.waiting);
        for groups in groups.chunks(8) {
            parts.push(CommitPart { groups: groups.to_vec(), ..CommitPart::default() });
        }
        for outcome in self.remote.commit(self.folder, parts).await?.outcomes {
            let accepted = matches!(outcome.kind, Some(OutcomeKind::Accepted(_)));
            ensure!(accepted, "a group was refused: {outcome:?}");
        }
        Ok(())
    }
}
