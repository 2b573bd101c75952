//! The service: what a node does with a peer's requests, whatever carried them.
//!
//! Owns the way from wire messages to metadata commands and queries and to the chunk store, who may
//! ask for what, and the bounds of a request. It must not know QUIC, sockets or SQL: `listen` frames
//! it, the simulation calls it directly. It starts no task and sets no timer.

mod access;
mod admission;
mod answers;
mod budget;
mod clock;
mod commit;
mod history;
mod joining;
mod metadata;
mod positions;
mod presence;
mod refusal;
mod replies;
mod retention;
mod store_session;
mod subscription;
#[cfg(test)]
pub(crate) mod tests;
mod times;

pub use clock::{Clock, SystemClock};
pub use metadata::Work;
pub use presence::Presence;
pub use replies::Replies;
pub use retention::Thinned;
pub use store_session::StoreSession;
pub use subscription::Subscription;
pub use times::rfc3339;

use crate::chunk_store::ChunkStore;
use crate::meta_store::MetaHandle;
use admission::Admission;
use budget::Budgets;
use common::ids::{ClusterId, DeviceId, FolderId, LookupId, NodeId, UserId};
use common::keys::SigningKey;
use common::limits::LOG_RECORD_BYTES_MAX;
use common::wire::{meta, store};
use history::PastFrom;
use meta::{Empty, Refusal, Reply, Request};
use metadata::Metadata;
use positions::Positions;
use presence::PresenceRegistry;
use refusal::malformed;
use replies::Rest;
use server_core::metadata::{Action, MetaReads, Quota};
use std::sync::Arc;

/// Version of the cluster's layout: one node holds everything.
const LAYOUT: u64 = 1;
/// What a service is made of.
pub struct ServiceParts {
    /// The metadata.
    pub meta: MetaHandle,
    /// The chunks.
    pub chunks: Arc<dyn ChunkStore>,
    /// Signs receipts; its public key is the node's id.
    pub node_key: SigningKey,
    /// Signs capabilities; its public key is the cluster's id.
    pub cluster_key: SigningKey,
    /// Number under which capabilities are signed: those of another are void. A restore from a backup
    /// takes a new one.
    pub capability_key: u64,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// What a new user may occupy.
    pub quota: Quota,
    /// Where reads and costly checks run.
    pub work: Work,
}

/// Answers the requests of all peers. Cloning is cheap and shares everything.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: ClusterId,
    cluster_key: SigningKey,
    capability_key: u64,
    node: NodeId,
    node_key: SigningKey,
    meta: Metadata,
    chunks: Arc<dyn ChunkStore>,
    clock: Arc<dyn Clock>,
    quota: Quota,
    presence: Arc<PresenceRegistry>,
    positions: Positions,
    admission: Arc<Admission>,
    budgets: Arc<Budgets>,
}

impl Service {
    /// A service over these parts.
    ///
    /// # Panics
    /// When the metadata handle is another service's already.
    #[must_use]
    pub fn new(parts: ServiceParts) -> Self {
        let ServiceParts {
            meta,
            chunks,
            node_key,
            cluster_key,
            capability_key,
            clock,
            quota,
            work,
        } = parts;
        let presence = Arc::new(PresenceRegistry::new(Arc::clone(&clock)));
        let meta = Metadata::new(meta, Arc::clone(&clock), Arc::clone(&presence), work);
        Self {
            inner: Arc::new(Inner {
                cluster: ClusterId::from_bytes(cluster_key.public()),
                cluster_key,
                capability_key,
                node: NodeId::from_bytes(node_key.public()),
                node_key,
                meta,
                chunks,
                clock,
                quota,
                presence,
                positions: Positions::default(),
                admission: Arc::default(),
                budgets: Arc::default(),
            }),
        }
    }

    /// The cluster that this node belongs to.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.inner.cluster
    }

    /// This node's clock, in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.inner.clock.now_ms()
    }

    /// Whether `peer` is a device of some user and not revoked; false when that cannot be read.
    /// Every request checks again by itself.
    #[must_use]
    pub fn is_enrolled(&self, peer: &DeviceId) -> bool {
        self.check_enrolled(peer).is_ok()
    }

    /// As [`Service::is_enrolled`], with what to tell a peer that is not let in.
    ///
    /// # Errors
    /// `Revoked` and `NotEnrolled` are what the metadata says for sure: a device halts on them. When
    /// it cannot be read, the code is another.
    pub fn check_enrolled(&self, peer: &DeviceId) -> Result<(), Refusal> {
        let peer = *peer;
        self.inner.meta.read_now(move |reads| access::device(reads, &peer)).map(|_| ())
    }

    /// Answers a request other than a commit, a subscription and those of a joiner, with all its
    /// frames at once. Prefer [`Service::replies`] where frames can be sent as they come: a
    /// snapshot may be large.
    pub async fn request(&self, peer: DeviceId, request: Request) -> Vec<Reply> {
        self.replies(peer, request).await.collect().await
    }

    /// Answers a request other than a commit, a subscription and those of a joiner, frame by frame.
    /// Each frame is within [`common::limits::FRAME_BYTES_MAX`]. What changes something is durable
    /// when this returns; it may be cancelled, and is then done or not.
    pub async fn replies(&self, peer: DeviceId, request: Request) -> Replies {
        match self.answer(peer, request).await {
            Ok(replies) => replies,
            Err(refusal) => Replies::refused(self, refusal),
        }
    }

    async fn answer(&self, peer: DeviceId, request: Request) -> Result<Replies, Refusal> {
        let admitted = self.inner.admission.request(peer)?;
        let (first, rest) = match request {
            Request::DeviceLogRead(meta::DeviceLogRead { from }) => {
                let user = self.user_of(peer).await?;
                (Vec::new(), Some(Rest::DeviceLog { user, from, begun: false }))
            }
            Request::FolderList(Empty {}) => {
                let user = self.user_of(peer).await?;
                (Vec::new(), Some(Rest::Folders { user, after: None, begun: false }))
            }
            Request::Snapshot(request) => {
                let read = move |reads: &dyn MetaReads| replies::snapshot(reads, &peer, &request);
                let (first, rest) = self.inner.meta.read(read).await?;
                (vec![first], rest)
            }
            Request::Past(request) => {
                let from = PastFrom::asked(&request)?;
                let read = move |reads: &dyn MetaReads| history::past(reads, &peer, from);
                let (first, rest) = self.inner.meta.read(read).await?;
                (first, rest.map(|from| Rest::Past { peer, from }))
            }
            request => (vec![self.answer_in_one(peer, request).await?], None),
        };
        Ok(Replies::new(self, Some(peer), admitted, first, rest))
    }

    /// Requests that one frame answers.
    async fn answer_in_one(&self, peer: DeviceId, request: Request) -> Result<Reply, Refusal> {
        let device = peer;
        let action = match request {
            Request::KeyringGet(Empty {}) => return answers::keyring(self, peer).await,
            Request::Outcomes(request) => return answers::outcomes(self, peer, request).await,
            Request::Versions(request) => return history::versions(self, peer, request).await,
            Request::Timeline(request) => return history::timeline(self, peer, request).await,
            Request::Deleted(request) => return history::deleted(self, peer, request).await,
            Request::Moment(request) => return history::moment(self, peer, request).await,
            Request::Named(request) => return history::named(self, peer, request).await,
            Request::Report(request) => return positions::report(self, peer, request).await,
            Request::Holders(request) => return positions::holders(self, peer, request).await,
            Request::Labels(request) => return retention::labels(self, peer, request).await,
            Request::RetentionPreview(request) => {
                return retention::preview(self, peer, request).await;
            }
            Request::Capability(request) => return answers::capability(self, peer, request).await,
            Request::Presence(Empty {}) => return answers::presence(self, peer).await,
            Request::DeviceLogAppend(meta::DeviceLogAppend { record }) => {
                Action::AppendLog { device, record }
            }
            Request::KeyringPut(meta::Keyring { version, sealed }) => {
                Action::PutKeyring { device, version, sealed }
            }
            Request::FolderCreate(meta::FolderCreate { genesis }) => {
                check_record(&genesis)?;
                Action::CreateFolder { device, genesis }
            }
            Request::InvitationOpen(meta::InvitationOpen { record, blob }) => {
                Action::OpenInvitation { device, record, blob }
            }
            Request::CheckpointPut(meta::CheckpointPut { checkpoint }) => {
                check_record(&checkpoint)?;
                Action::PutCheckpoint { device, checkpoint }
            }
            Request::DeviceLogRead(_)
            | Request::FolderList(_)
            | Request::Snapshot(_)
            | Request::Past(_)
            | Request::Commit(_)
            | Request::Subscribe(_)
            | Request::InvitationFetch(_)
            | Request::InvitationRedeem(_) => {
                return Err(malformed("this request is not answered by one frame here"));
            }
        };
        self.inner.meta.apply(action).await?;
        Ok(Reply::Done(Empty {}))
    }

    async fn user_of(&self, peer: DeviceId) -> Result<UserId, Refusal> {
        let read = move |reads: &dyn MetaReads| Ok(access::device(reads, &peer)?.user);
        self.inner.meta.read(read).await
    }

    /// Judges the groups of a commit, in order; durable when it returns. The caller bounds the
    /// parts to [`common::limits::COMMIT_BYTES_MAX`] in all before it collects them. May be
    /// cancelled: the commit is then done or not, and its outcomes tell.
    pub async fn commit(
        &self,
        peer: DeviceId,
        folder: FolderId,
        parts: Vec<meta::CommitPart>,
    ) -> Reply {
        commit::commit(self, peer, folder, parts).await.unwrap_or_else(Reply::Refused)
    }

    /// Starts a subscription to a folder's journal.
    ///
    /// # Errors
    /// The refusal to send instead.
    pub async fn subscribe(
        &self,
        peer: DeviceId,
        request: meta::Subscribe,
    ) -> Result<Subscription, Refusal> {
        Subscription::start(self, peer, &request).await
    }

    /// Answers a joiner ([`Request::InvitationFetch`], [`Request::InvitationRedeem`]) with all its
    /// frames at once. Prefer [`Service::join_replies`] where frames can be sent as they come: a
    /// device log may be large.
    pub async fn join(&self, peer: DeviceId, request: Request) -> Vec<Reply> {
        self.join_replies(peer, request).await.collect().await
    }

    /// Answers a joiner, frame by frame.
    pub async fn join_replies(&self, peer: DeviceId, request: Request) -> Replies {
        joining::join(self, peer, request)
            .await
            .unwrap_or_else(|refusal| Replies::refused(self, refusal))
    }

    /// Opens a store stream: checks the capability that it shows.
    ///
    /// # Errors
    /// The refusal to send instead.
    pub fn open_store(
        &self,
        peer: DeviceId,
        open: &store::StoreOpen,
    ) -> Result<StoreSession, Refusal> {
        StoreSession::open(self, peer, open)
    }

    /// Counts a live connection of `peer` until the guard is dropped. Take it first and check
    /// [`Service::is_enrolled`] after, so that no revocation falls in between.
    #[must_use]
    pub fn connected(&self, peer: DeviceId) -> Presence {
        self.inner.presence.connect(peer, self.is_enrolled(&peer))
    }

    /// Whether the metadata has stopped after a failed write: everything is refused until the
    /// server is started again.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.inner.meta.is_stopped()
    }

    /// Opens a bootstrap invitation, on the administrator's word.
    ///
    /// # Errors
    /// The refusal, with the reason for a person.
    pub async fn open_bootstrap(&self, lookup: LookupId, expires_ms: u64) -> Result<(), Refusal> {
        self.inner.meta.apply(Action::OpenBootstrap { lookup, expires_ms }).await?;
        Ok(())
    }

    /// Writes down when devices that are or were connected since the last call were seen, and what
    /// they have told of their disks. The composition root calls it every minute and when it stops.
    ///
    /// # Errors
    /// The refusal, with the reason for a person.
    pub async fn record_presence(&self) -> Result<(), Refusal> {
        positions::record(self).await?;
        let seen = self.inner.presence.take_unrecorded();
        if seen.is_empty() {
            return Ok(());
        }
        let done = self.inner.meta.apply(Action::SeeDevices { seen: seen.clone() }).await;
        if done.is_err() {
            self.inner.presence.put_back_unrecorded(&seen);
        }
        done.map(|_| ())
    }
}

/// Signed documents are kept as they come, unknown fields included, and have to fit a reply.
fn check_record(record: &[u8]) -> Result<(), Refusal> {
    if record.len() > LOG_RECORD_BYTES_MAX {
        return Err(malformed(format!(
            "a signed document has at most {LOG_RECORD_BYTES_MAX} bytes"
        )));
    }
    Ok(())
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("cluster", &self.inner.cluster).finish_non_exhaustive()
    }
}
