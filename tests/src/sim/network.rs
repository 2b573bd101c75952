//! The network of a simulation: calls of the real service, late, cut off, or answered in vain.
//!
//! Owns a device's link to the server and its [`Remote`]. A call waits a seeded time before and
//! after its effect, so that calls made together overtake each other; it may lose its request or
//! its reply; when the link is cut, all that runs over it ends. It must not know what a call says,
//! but for noting which contents the server has accepted.

use super::draw::Draw;
use super::invariants::{
    CursorsHaveNoGaps, MassDeletionsWait, m8_a_stopped_server_acknowledges_nothing,
};
use super::ledger::Ledger;
use super::planted::Commits;
use super::server::SimServer;
use super::traffic::Traffic;
use async_trait::async_trait;
use bytes::Bytes;
use client::remote::{JournalStream, Remote, RemoteError};
use common::ids::{ChunkId, DeviceId, FolderId};
use common::limits::{HAVE_IDS_MAX, RECEIPT_ITEMS_MAX};
use common::revision::Revision;
use common::wire::meta::{self, CapabilityRequest, OutcomeKind, Refusal, Reply, Request};
use common::wire::store::{StoreOpen, StoreVerb};
use server::service::{StoreSession, Subscription};
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// A server that lies to one device. Each method says what arrives instead.
pub trait Hostile: Send + Sync {
    /// Instead of a batch of the journal.
    fn batch(&self, batch: meta::JournalBatch) -> meta::JournalBatch {
        batch
    }

    /// What arrives when the server has nothing to say, if anything does.
    fn idle(&self) -> Option<meta::JournalBatch> {
        None
    }

    /// Instead of the revision that a group was accepted at.
    fn accepted(&self, revision: Revision) -> Revision {
        revision
    }

    /// Instead of the answer to a request.
    fn replies(&self, replies: Vec<Reply>) -> Vec<Reply> {
        replies
    }

    /// Instead of a stored chunk.
    fn chunk(&self, _id: &ChunkId, bytes: Bytes) -> Bytes {
        bytes
    }
}

/// A device's link to the server. Clones share it.
#[derive(Clone)]
pub struct Link {
    inner: Arc<Inner>,
}

struct Inner {
    up: AtomicBool,
    /// Whether the server has no room for chunks of this device.
    full: AtomicBool,
    /// How many calls in a thousand lose their request, and as many their reply.
    loss_per_mille: AtomicU32,
    cuts: watch::Sender<u64>,
    draw: Draw,
    delay_ms: usize,
    lost: AtomicU32,
    hostile: Mutex<Option<Arc<dyn Hostile>>>,
    traffic: Mutex<Traffic>,
}

impl Link {
    /// Whether the server refuses chunks for want of room.
    pub fn set_full(&self, full: bool) {
        self.inner.full.store(full, Ordering::Relaxed);
    }

    /// A link that is up and loses nothing.
    #[must_use]
    pub fn new(draw: Draw, delay_ms: usize) -> Self {
        let inner = Inner {
            up: AtomicBool::new(true),
            full: AtomicBool::new(false),
            loss_per_mille: AtomicU32::new(0),
            cuts: watch::Sender::new(0),
            draw,
            delay_ms,
            lost: AtomicU32::new(0),
            hostile: Mutex::default(),
            traffic: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Brings the link up or down; down also cuts it.
    pub fn set_up(&self, up: bool) {
        self.inner.up.store(up, Ordering::Relaxed);
        if !up {
            self.cut();
        }
    }

    /// Ends everything that runs over the link.
    pub fn cut(&self) {
        self.inner.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Sets how many calls in a thousand lose their request, and as many their reply.
    pub fn set_loss(&self, per_mille: u32) {
        self.inner.loss_per_mille.store(per_mille, Ordering::Relaxed);
    }

    /// Calls that lost their request or reply so far.
    #[must_use]
    pub fn lost(&self) -> u32 {
        self.inner.lost.load(Ordering::Relaxed)
    }

    /// Puts a liar in the server's place, or the server back.
    pub fn set_hostile(&self, hostile: Option<Arc<dyn Hostile>>) {
        *self.inner.hostile.lock().unwrap_or_else(PoisonError::into_inner) = hostile;
    }

    /// What has gone over the link so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.with_traffic(|traffic| traffic.clone())
    }

    fn with_traffic<T>(&self, with: impl FnOnce(&mut Traffic) -> T) -> T {
        with(&mut self.inner.traffic.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn hostile(&self) -> Option<Arc<dyn Hostile>> {
        self.inner.hostile.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.inner.up.load(Ordering::Relaxed)
    }

    async fn pause(&self) {
        let delay = self.inner.draw.below(self.inner.delay_ms * 1000) as u64;
        tokio::time::sleep(Duration::from_micros(delay)).await; // ok: virtual time
    }

    fn loses(&self) -> bool {
        let loses = self.inner.draw.per_mille(self.inner.loss_per_mille.load(Ordering::Relaxed));
        if loses {
            self.inner.lost.fetch_add(1, Ordering::Relaxed);
        }
        loses
    }

    /// Runs a call: late, and perhaps without its effect, or with its effect but no answer.
    async fn call<T>(
        &self,
        effect: impl Future<Output = Result<T, RemoteError>>,
    ) -> Result<T, RemoteError> {
        if !self.is_up() {
            self.pause().await;
            let (address, reason) = ("sim".to_owned(), "the network is down".to_owned());
            return Err(RemoteError::Unreachable { address, reason });
        }
        let mut cuts = self.inner.cuts.subscribe();
        let work = async {
            self.pause().await;
            if self.loses() {
                return Err(RemoteError::Closed("the request was lost".to_owned()));
            }
            let answer = effect.await;
            self.pause().await;
            if self.loses() {
                return Err(RemoteError::Timeout("the reply was lost"));
            }
            answer
        };
        tokio::select! {
            biased;
            _ = cuts.changed() => Err(RemoteError::Closed("the link was cut".to_owned())),
            answer = work => answer,
        }
    }
}

/// The server as one simulated device reaches it.
pub struct SimRemote {
    /// The device.
    pub device: DeviceId,
    /// The way to the server.
    pub link: Link,
    /// The server.
    pub server: Arc<SimServer>,
    /// Notes what the server has accepted.
    pub ledger: Ledger,
    /// What lies about commits and journals, if anything does.
    pub commits: Commits,
    /// Counts what the device deletes, if it has to keep the rule.
    pub deletions: Option<MassDeletionsWait>,
    /// Watches what the device reads of the journal.
    pub cursors: CursorsHaveNoGaps,
}

impl SimRemote {
    async fn session(
        &self,
        folder: FolderId,
        verb: StoreVerb,
    ) -> Result<StoreSession, RemoteError> {
        let service = self.server.service();
        let request = Request::Capability(CapabilityRequest { folder: folder.to_vec() });
        let replies = unrefused(service.request(self.device, request).await)?;
        let [Reply::Capability(reply)] = replies.as_slice() else {
            return Err(RemoteError::Protocol("no capability came".to_owned()));
        };
        let open = StoreOpen { capability: reply.capability.clone(), verb: verb as i32 };
        service.open_store(self.device, &open).map_err(RemoteError::Refused)
    }

    async fn committed(
        &self,
        folder: FolderId,
        parts: Vec<meta::CommitPart>,
    ) -> Result<meta::Outcomes, RemoteError> {
        let service = self.server.service();
        let parts = self.commits.before(&self.server, folder, parts);
        if let Some(outcomes) = self.commits.instead(&parts, &self.server, folder) {
            return Ok(outcomes);
        }
        let groups: Vec<meta::GroupMessage> =
            parts.iter().flat_map(|part| part.groups.clone()).collect();
        let proofs = self.commits.proofs(&parts);
        if let Some(deletions) = &self.deletions {
            deletions.sent(&groups);
        }
        groups.iter().for_each(|group| self.ledger.sent(self.device, &group.body));
        let stopped = self.server.meta().is_stopped();
        match service.commit(self.device, folder, parts).await {
            Reply::Outcomes(mut outcomes) => {
                for (group, outcome) in groups.iter().zip(&outcomes.outcomes) {
                    if let Some(OutcomeKind::Accepted(_)) = outcome.kind {
                        m8_a_stopped_server_acknowledges_nothing(&self.ledger, stopped, "commit");
                        self.ledger.accepted(&group.body);
                        let again = self.commits.again(&self.server, folder, group, &proofs);
                        if let Some(again) = again {
                            drop(service.commit(self.device, folder, vec![again]).await);
                        }
                    }
                }
                if let Some(hostile) = self.link.hostile() {
                    for outcome in &mut outcomes.outcomes {
                        if let Some(OutcomeKind::Accepted(accepted)) = &mut outcome.kind {
                            accepted.revision = hostile.accepted(accepted.revision);
                        }
                    }
                }
                Ok(outcomes)
            }
            Reply::Refused(refusal) => Err(RemoteError::Refused(refusal)),
            _ => Err(RemoteError::Protocol("not outcomes".to_owned())),
        }
    }
}

fn unrefused(replies: Vec<Reply>) -> Result<Vec<Reply>, RemoteError> {
    let refusal: Option<Refusal> = replies.iter().find_map(|reply| match reply {
        Reply::Refused(refusal) => Some(refusal.clone()),
        _ => None,
    });
    refusal.map_or(Ok(replies), |refusal| Err(RemoteError::Refused(refusal)))
}

#[async_trait]
impl Remote for SimRemote {
    async fn request(&self, request: Request) -> Result<Vec<Reply>, RemoteError> {
        let effect = async {
            let replies = self.server.service().request(self.device, request).await;
            let replies = unrefused(replies)?;
            Ok(match self.link.hostile() {
                Some(hostile) => hostile.replies(replies),
                None => replies,
            })
        };
        self.link.call(effect).await.inspect(|replies| self.cursors.replied(replies))
    }

    async fn commit(
        &self,
        folder: FolderId,
        parts: Vec<meta::CommitPart>,
    ) -> Result<meta::Outcomes, RemoteError> {
        self.link.call(self.committed(folder, parts)).await
    }

    async fn subscribe(
        &self,
        request: meta::Subscribe,
    ) -> Result<Box<dyn JournalStream>, RemoteError> {
        let cuts = self.link.inner.cuts.subscribe();
        self.cursors.stands(request.epoch, request.revision, "subscribes");
        let at = Some(request.revision);
        let effect = async {
            let service = self.server.service();
            service.subscribe(self.device, request).await.map_err(RemoteError::Refused)
        };
        let subscription = self.link.call(effect).await?;
        let (link, commits) = (self.link.clone(), self.commits.clone());
        let cursors = self.cursors.clone();
        Ok(Box::new(SimStream { subscription, cuts, link, commits, cursors, at }))
    }

    async fn put(
        &self,
        folder: FolderId,
        chunks: Vec<(ChunkId, Bytes)>,
    ) -> Result<Vec<Vec<u8>>, RemoteError> {
        let effect = async {
            let session = self.session(folder, StoreVerb::Put).await?;
            if self.link.inner.full.load(Ordering::Relaxed) {
                let refusal = meta::Refusal::new(meta::RefusalCode::DiskFull, "no room");
                return Err(RemoteError::Refused(refusal));
            }
            let mut receipts = Vec::new();
            for batch in chunks.chunks(RECEIPT_ITEMS_MAX) {
                let stopped = self.server.chunks_stopped();
                self.link.with_traffic(|traffic| {
                    batch.iter().for_each(|(id, bytes)| traffic.put.count(id, bytes));
                });
                let reply = session.put(batch.to_vec()).await;
                if let Some(refusal) = reply.refusal {
                    return Err(RemoteError::Refused(refusal));
                }
                m8_a_stopped_server_acknowledges_nothing(&self.ledger, stopped, "put");
                receipts.push(reply.receipts);
            }
            Ok(receipts)
        };
        self.link.call(effect).await
    }

    async fn get(
        &self,
        folder: FolderId,
        ids: Vec<ChunkId>,
    ) -> Result<Vec<Option<Bytes>>, RemoteError> {
        let effect = async {
            let session = self.session(folder, StoreVerb::Get).await?;
            let mut found = Vec::with_capacity(ids.len());
            for id in ids {
                let stored = session.get(id).await.map_err(RemoteError::Refused)?;
                let lie = |bytes| match self.link.hostile() {
                    Some(hostile) => hostile.chunk(&id, bytes),
                    None => bytes,
                };
                let stored = stored.map(lie);
                if let Some(bytes) = &stored {
                    self.link.with_traffic(|traffic| traffic.got.count(&id, bytes));
                }
                found.push(stored);
            }
            Ok(found)
        };
        self.link.call(effect).await
    }

    async fn have(&self, folder: FolderId, ids: Vec<ChunkId>) -> Result<Vec<Vec<u8>>, RemoteError> {
        let effect = async {
            let session = self.session(folder, StoreVerb::Have).await?;
            let mut receipts = Vec::new();
            for ids in ids.chunks(HAVE_IDS_MAX) {
                let reply = session.have(ids.to_vec()).await;
                if let Some(refusal) = reply.refusal {
                    return Err(RemoteError::Refused(refusal));
                }
                receipts.extend(reply.receipts);
            }
            Ok(receipts)
        };
        self.link.call(effect).await
    }
}

/// What a liar says by itself.
async fn invented(link: &Link) -> meta::JournalBatch {
    match link.hostile().and_then(|hostile| hostile.idle()) {
        Some(batch) => batch,
        None => std::future::pending().await,
    }
}

struct SimStream {
    subscription: Subscription,
    cuts: watch::Receiver<u64>,
    link: Link,
    commits: Commits,
    cursors: CursorsHaveNoGaps,
    /// The last revision that it has brought; `None` once a liar has said anything on it.
    at: Option<Revision>,
}

#[async_trait]
impl JournalStream for SimStream {
    async fn next(&mut self) -> Result<Option<meta::JournalBatch>, RemoteError> {
        let Self { subscription, cuts, link, commits, cursors, at } = self;
        let work = async {
            let batch = tokio::select! {
                biased;
                batch = subscription.next() => batch,
                batch = invented(link) => Some(batch),
            };
            link.pause().await;
            if link.loses() {
                return Err(RemoteError::Closed("the stream was reset".to_owned()));
            }
            let Some(batch) = batch.map(|batch| commits.batch(batch)) else { return Ok(None) };
            if let Some(hostile) = link.hostile() {
                let batch = hostile.batch(batch);
                cursors.lied_to(&batch);
                *at = None;
                return Ok(Some(batch));
            }
            match at {
                Some(at) => cursors.sent(&batch, at),
                None => cursors.lied_to(&batch),
            }
            Ok(Some(batch))
        };
        tokio::select! {
            biased;
            _ = cuts.changed() => Err(RemoteError::Closed("the link was cut".to_owned())),
            batch = work => batch,
        }
    }
}
