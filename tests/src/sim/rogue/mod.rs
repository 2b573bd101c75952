//! A device of the user's that keeps no rule: it is enrolled, has the folder's keys, and seals and
//! signs whatever it likes.
//!
//! Owns the raw changes and their way to the journal: through the honest service, which takes what
//! it cannot see through, or past it, through a lying server that delivers any signed group. It has
//! no engine and no disk.

mod forge;
mod past;

pub use forge::{Forge, RAW, ZSTD};
pub use past::Past;

use super::draw::Draw;
use super::invariants::CursorsHaveNoGaps;
use super::ledger::Ledger;
use super::network::{Link, SimRemote};
use super::planted::Commits;
use super::server::SimServer;
use bytes::Bytes;
use client::remote::Remote;
use common::chunk::{Attributes, seal_attributes, seal_chunk};
use common::ids::{ChunkId, ContentTag, EntryId, FolderId, Head, RequestId, UserId};
use common::keys::{FolderKeys, SigningKey};
use common::limits::CHUNK_BYTES_MAX;
use common::record::{Change, Content, Group, Kind, Place, Root, SignedGroup};
use common::trust::DeviceLog;
use common::wire::meta::{CommitPart, GroupMessage, OutcomeKind, RejectionCode};
use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// The rogue.
pub struct Rogue {
    remote: SimRemote,
    folder: FolderId,
    keys: Arc<FolderKeys>,
    signer: SigningKey,
    user: UserId,
    log_head: Head,
    counter: Cell<u64>,
    entries: Cell<u64>,
    receipts: RefCell<Vec<Vec<u8>>>,
    pages: RefCell<Vec<Vec<u8>>>,
}

impl Rogue {
    /// A rogue with the key of an enrolled device.
    #[must_use]
    pub fn new(
        server: Arc<SimServer>,
        ledger: Ledger,
        (folder, keys): (FolderId, Arc<FolderKeys>),
        signer: SigningKey,
        log: &DeviceLog,
    ) -> Self {
        let commits = Commits::new(None, signer.clone());
        let link = Link::new(Draw::new(0), 0);
        let device = signer.device();
        let cursors = CursorsHaveNoGaps::new(usize::MAX, ledger.clone());
        let remote = SimRemote { device, link, server, ledger, commits, deletions: None, cursors };
        Self {
            remote,
            folder,
            keys,
            signer,
            user: log.user(),
            log_head: log.head(),
            counter: Cell::new(0),
            entries: Cell::new(0),
            receipts: RefCell::default(),
            pages: RefCell::default(),
        }
    }

    /// The key that it signs with.
    #[must_use]
    pub fn signer(&self) -> SigningKey {
        self.signer.clone()
    }

    /// Its way of sealing.
    #[must_use]
    pub fn forge(&self) -> Forge<'_> {
        Forge { keys: &self.keys, folder: self.folder }
    }

    /// An entry id that nobody has.
    pub fn fresh(&self) -> EntryId {
        self.entries.set(self.entries.get() + 1);
        let mut id = [0xbd; 16];
        id[8..].copy_from_slice(&self.entries.get().to_be_bytes());
        EntryId::from_bytes(id)
    }

    /// Any bytes as a name in a directory.
    #[must_use]
    pub fn place(&self, entry: &EntryId, parent: EntryId, name: &[u8]) -> Place {
        let forge = self.forge();
        let name_tag = forge.name_tag(&parent, name);
        Place { parent, name: forge.name(entry, name), name_tag }
    }

    /// The content of a directory.
    #[must_use]
    pub fn directory(&self, entry: &EntryId) -> Content {
        self.content(entry, None, self.keys.directory_tag(), 0, None)
    }

    /// The content of a link.
    #[must_use]
    pub fn symlink(&self, entry: &EntryId, target: &[u8]) -> Content {
        self.content(entry, None, self.keys.symlink_tag(target), 0, Some(target.to_vec()))
    }

    /// The content of a file with these bytes, 1 to 256 KiB of them, stored at the server as they
    /// should be.
    pub async fn file(&self, entry: &EntryId, bytes: &[u8]) -> Content {
        let id = self.put(seal_chunk(&self.keys, &self.folder, bytes)).await;
        self.remote.ledger.written(bytes, "rogue");
        let root = Some(Root { id, level: 0 });
        self.content(entry, root, self.tag_of([bytes]), bytes.len() as u64, None)
    }

    /// The content tag of a file of these chunks.
    #[must_use]
    pub fn tag_of<'a>(&self, chunks: impl IntoIterator<Item = &'a [u8]>) -> ContentTag {
        let mut tag = self.keys.content_tag();
        for chunk in chunks {
            assert!(chunk.len() <= CHUNK_BYTES_MAX as usize);
            tag.chunk(&self.keys.plain_hash(chunk), chunk.len() as u32);
        }
        tag.finish()
    }

    /// Any content whose attributes agree with its tag.
    #[must_use]
    pub fn content(
        &self,
        entry: &EntryId,
        root: Option<Root>,
        tag: ContentTag,
        size: u64,
        target: Option<Vec<u8>>,
    ) -> Content {
        let mode = if target.is_some() { 0 } else { 0o755 };
        let attributes = Attributes { mode, mtime_ns: 0, size, target, tag, restored: None };
        let attributes = seal_attributes(&self.keys, &self.folder, entry, &attributes);
        Content { root, tag, attributes }
    }

    /// A new entry.
    #[must_use]
    pub fn create(&self, entry: EntryId, kind: Kind, place: Place, content: Content) -> Change {
        Change::Create { entry, kind, place, content }
    }

    /// A new directory with any bytes as its name.
    #[must_use]
    pub fn mkdir(&self, entry: EntryId, parent: EntryId, name: &[u8]) -> Change {
        let (place, content) = (self.place(&entry, parent, name), self.directory(&entry));
        self.create(entry, Kind::Directory, place, content)
    }

    /// A new file with any bytes as its name.
    pub async fn touch(&self, parent: EntryId, name: &[u8], bytes: &[u8]) -> Change {
        let entry = self.fresh();
        let content = self.file(&entry, bytes).await;
        self.create(entry, Kind::File, self.place(&entry, parent, name), content)
    }

    /// Stores an object and keeps its receipt for the next commit.
    pub async fn put(&self, stored: Vec<u8>) -> ChunkId {
        let id = ChunkId::of(&stored);
        let receipts = self.remote.put(self.folder, vec![(id, Bytes::from(stored))]).await;
        self.receipts.borrow_mut().extend(receipts.unwrap());
        id
    }

    /// Stores a page and carries it in the next commit.
    pub async fn put_page(&self, stored: Vec<u8>) -> ChunkId {
        self.pages.borrow_mut().push(stored.clone());
        self.put(stored).await
    }

    /// Signs a group of changes whose author has seen nothing.
    #[must_use]
    pub fn sign(&self, changes: Vec<Change>) -> SignedGroup {
        self.counter.set(self.counter.get() + 1);
        let request = RequestId { incarnation: 1, counter: self.counter.get() };
        let group = Group {
            folder: self.folder,
            epoch: 1,
            user: self.user,
            device: self.signer.device(),
            request,
            seen_revision: 0,
            seen_head: Head::ZERO,
            device_log_head: self.log_head,
            changes,
        };
        SignedGroup::sign(&group, &self.signer)
    }

    /// Has the honest service judge a group of changes.
    ///
    /// # Errors
    /// Why it refuses.
    pub async fn commit(&self, changes: Vec<Change>) -> Result<u64, RejectionCode> {
        let signed = self.sign(changes);
        let group = GroupMessage { body: signed.body, signature: signed.signature.to_vec() };
        let part = CommitPart {
            receipts: self.receipts.take(),
            pages: self.pages.take(),
            groups: vec![group],
        };
        let outcomes = self.remote.commit(self.folder, vec![part]).await.unwrap();
        match &outcomes.outcomes.first().unwrap().kind {
            Some(OutcomeKind::Accepted(accepted)) => Ok(accepted.revision),
            Some(OutcomeKind::Rejected(rejected)) => Err(rejected.code()),
            None => panic!("the service says nothing of a group"),
        }
    }

    /// Groups that no service takes, to be delivered by a lying server as the journal's next.
    #[must_use]
    pub fn past_the_service(&self, groups: Vec<Vec<Change>>) -> Past {
        Past::new(groups.into_iter().map(|changes| self.sign(changes)).collect())
    }
}
