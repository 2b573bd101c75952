//! The server over QUIC.
//!
//! Owns the two connections of a device to its server (metadata and chunks), how many streams each
//! kind of call may use at once, and the capabilities that chunk calls need. It must not decide
//! when to try again.

use super::capability::Capabilities;
use super::chunks::{self, Access};
use super::contract::{JournalStream, Remote};
use super::dial::Dialer;
use super::error::RemoteError;
use super::kept::{Kept, Traffic};
use super::requests;
use super::{Server, Timing};
use async_trait::async_trait;
use bytes::Bytes;
use common::ids::{ChunkId, FolderId};
use common::keys::SigningKey;
use common::limits::FOLDERS_PER_DEVICE_MAX;
use common::wire::meta::{self, CapabilityRequest, Refusal, RefusalCode, Reply, Request};
use common::wire::{ALPN_META, ALPN_STORE};
use std::sync::Arc;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

/// Puts at once; more wait. A stream pipelines by itself: several help while batches are synced.
const PUTS_AT_ONCE: usize = 8;
/// Gets and questions at once; more wait. With the puts well below
/// [`common::limits::STREAMS_MAX`].
const READS_AT_ONCE: usize = 32;
/// Requests and commits at once; more wait.
const REQUESTS_AT_ONCE: usize = 16;

/// A server reached over QUIC.
///
/// Connections are made when they are first needed and kept alive; a lost one is made anew by the
/// next call. Must be used within a tokio runtime.
pub struct QuicRemote {
    meta: Kept,
    store: Kept,
    timing: Timing,
    capabilities: Mutex<Capabilities>,
    subscriptions: Arc<Semaphore>,
    requests: Semaphore,
    puts: Semaphore,
    reads: Semaphore,
}

impl QuicRemote {
    /// The server as the device with this key sees it. Nothing is sent yet.
    #[must_use]
    pub fn new(server: Server, key: &SigningKey) -> Self {
        Self::with_timing(server, key, Timing::default())
    }

    /// As [`QuicRemote::new`], with other time limits.
    #[must_use]
    pub fn with_timing(server: Server, key: &SigningKey, timing: Timing) -> Self {
        Self {
            meta: Kept::new(Dialer::new(server.clone(), key, ALPN_META, timing), timing.barred),
            store: Kept::new(Dialer::new(server, key, ALPN_STORE, timing), timing.barred),
            timing,
            capabilities: Mutex::default(),
            subscriptions: Arc::new(Semaphore::new(FOLDERS_PER_DEVICE_MAX)),
            requests: Semaphore::new(REQUESTS_AT_ONCE),
            puts: Semaphore::new(PUTS_AT_ONCE),
            reads: Semaphore::new(READS_AT_ONCE),
        }
    }

    /// Connects for metadata unless connected already.
    ///
    /// # Errors
    /// As any call of [`Remote`].
    pub async fn connect(&self) -> Result<(), RemoteError> {
        self.meta.link().await.map(|_| ())
    }

    /// Whether the metadata connection is up, as far as is known without asking.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.meta.live().is_some()
    }

    /// The refusal of a server that does not let this device in, which said so with the pinned key
    /// when it was last reached. `None` again once a connection is made.
    #[must_use]
    pub fn barred(&self) -> Option<RemoteError> {
        self.meta.barred()
    }

    /// Asks a server again that did not know this device when it was last reached, however lately
    /// that was. To be called for a person alone.
    pub async fn knock(&self) {
        let Some(RefusalCode::NotEnrolled) = self.barred().and_then(|error| error.refusal_code())
        else {
            return;
        };
        self.meta.doubt();
        self.store.doubt();
        // Whoever asks next is told what came of it.
        drop(self.connect().await);
    }

    /// Completes when the metadata connection is lost; at once when there is none.
    pub async fn disconnected(&self) {
        if let Some(link) = self.meta.live() {
            link.connection.closed().await;
        }
    }

    /// Bytes on the network so far, over all connections.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.meta.traffic() + self.store.traffic()
    }

    /// Closes both connections in good order. A later call connects anew.
    pub async fn close(&self) {
        futures_util::future::join(self.meta.close(), self.store.close()).await;
    }

    /// The capability for a folder, fetched if need be; one fetch at a time.
    async fn capability(&self, folder: FolderId) -> Result<Vec<u8>, RemoteError> {
        let mut kept = self.capabilities.lock().await;
        if let Some(capability) = kept.get(&folder, Instant::now()) {
            return Ok(capability);
        }
        let link = self.meta.link().await?;
        let request = Request::Capability(CapabilityRequest { folder: folder.to_vec() });
        let replies = requests::ask(&link.connection, request, self.timing.answer).await?;
        let [Reply::Capability(reply)] = replies.as_slice() else {
            return Err(RemoteError::Protocol("no capability came".into()));
        };
        let (capability, expires_ms) = (reply.capability.clone(), reply.expires_ms);
        let server_now_ms = link.server_now_ms();
        kept.keep(folder, capability.clone(), expires_ms, server_now_ms, Instant::now());
        Ok(capability)
    }

    /// What a chunk call needs.
    async fn access(&self, folder: FolderId) -> Result<Access, RemoteError> {
        let capability = self.capability(folder).await?;
        let connection = self.store.link().await?.connection;
        Ok(Access { connection, folder, capability, patience: self.timing.transfer })
    }

    /// A fresh access, if the server no longer took the capability of this one: it may be used up
    /// (`Quota`), expired, or voided by a restore. `None` when the call ended in another way.
    async fn renewed(
        &self,
        access: &Access,
        refused: Option<RefusalCode>,
    ) -> Result<Option<Access>, RemoteError> {
        if !matches!(refused, Some(RefusalCode::Capability | RefusalCode::Quota)) {
            return Ok(None);
        }
        self.capabilities.lock().await.forget(&access.folder, &access.capability);
        self.access(access.folder).await.map(Some)
    }
}

fn refused<T>(outcome: &Result<T, RemoteError>) -> Option<RefusalCode> {
    outcome.as_ref().err().and_then(RemoteError::refusal_code)
}

#[async_trait]
impl Remote for QuicRemote {
    async fn request(&self, request: Request) -> Result<Vec<Reply>, RemoteError> {
        if matches!(request, Request::Commit(_) | Request::Subscribe(_)) {
            return Err(RemoteError::Protocol("not a request that has one answer".into()));
        }
        // Err: the semaphore is never closed; the turn is only a bound.
        let _turn = self.requests.acquire().await;
        let link = self.meta.link().await?;
        requests::ask(&link.connection, request, self.timing.answer).await
    }

    async fn commit(
        &self,
        folder: FolderId,
        parts: Vec<meta::CommitPart>,
    ) -> Result<meta::Outcomes, RemoteError> {
        let _turn = self.requests.acquire().await;
        let link = self.meta.link().await?;
        requests::commit(&link.connection, folder, parts, self.timing.answer).await
    }

    async fn subscribe(
        &self,
        request: meta::Subscribe,
    ) -> Result<Box<dyn JournalStream>, RemoteError> {
        let turn = Arc::clone(&self.subscriptions).try_acquire_owned().map_err(|_| {
            let message = "this device follows as many folders as one connection carries";
            RemoteError::Refused(Refusal::new(RefusalCode::Busy, message))
        })?;
        let link = self.meta.link().await?;
        let subscription =
            requests::subscribe(&link.connection, request, turn, self.timing.answer).await?;
        Ok(Box::new(subscription))
    }

    async fn put(
        &self,
        folder: FolderId,
        chunks: Vec<(ChunkId, Bytes)>,
    ) -> Result<Vec<Vec<u8>>, RemoteError> {
        if chunks.is_empty() {
            return Ok(Vec::new());
        }
        let _turn = self.puts.acquire().await;
        let access = self.access(folder).await?;
        let outcome = chunks::put(&access, &chunks).await;
        match self.renewed(&access, refused(&outcome)).await? {
            Some(access) => chunks::put(&access, &chunks).await,
            None => outcome,
        }
    }

    async fn get(
        &self,
        folder: FolderId,
        ids: Vec<ChunkId>,
    ) -> Result<Vec<Option<Bytes>>, RemoteError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let _turn = self.reads.acquire().await;
        let access = self.access(folder).await?;
        let outcome = chunks::get(&access, &ids).await;
        match self.renewed(&access, refused(&outcome)).await? {
            Some(access) => chunks::get(&access, &ids).await,
            None => outcome,
        }
    }

    async fn have(&self, folder: FolderId, ids: Vec<ChunkId>) -> Result<Vec<Vec<u8>>, RemoteError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let _turn = self.reads.acquire().await;
        let access = self.access(folder).await?;
        let outcome = chunks::have(&access, &ids).await;
        match self.renewed(&access, refused(&outcome)).await? {
            Some(access) => chunks::have(&access, &ids).await,
            None => outcome,
        }
    }
}
