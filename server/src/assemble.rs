//! The one composition root: a whole server from a data directory and an address.
//!
//! Owns what a running server consists of, the order in which it starts and stops, and its tasks of
//! its own: the control socket, the keeper of presence and the garbage collection. Both `driftless-server serve`
//! and the device's `up` start it here. It must not know what a request means.

mod addresses;
mod admin;
mod data_dir;
mod error;
mod offline;
mod reserve;
mod within;

pub use admin::{MintError, Minted};
pub use data_dir::{DataDir, DataDirError, ServerKeys};
pub use error::ServerError;
pub(crate) use error::explained;
pub use offline::{OfflineError, RestoreReport, check_stopped, restore};

use crate::background::{Collector, GcParts, Gentle, Identity};
use crate::chunk_store::{ChunkStore, Reclaim, SegmentOptions, SegmentStore};
use crate::control::ControlSocket;
use crate::listen::Listener;
use crate::meta_store::{MetaDb, MetaHandle, OpenError as MetaOpenError};
use crate::service::{Service, ServiceParts, SystemClock, Work};
use admin::Core;
use common::ids::ClusterId;
use common::keys::SigningKey;
use reserve::Reserve;
use server_core::metadata::Quota;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often is written down who is connected: devices are seen to the minute across a restart.
const PRESENCE_INTERVAL: Duration = Duration::from_secs(60);

/// When garbage is first collected after a start: not in the middle of what waited for the server.
const FIRST_GC: Duration = Duration::from_secs(3600);
/// How often garbage is collected.
const GC_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// How long chunks that nothing names stay in the trash.
const GRACE_MS: u64 = 24 * 3600 * 1000;

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The data directory; made if it is not there.
    pub data: PathBuf,
    /// Where to listen, over UDP; port 0 takes any.
    pub listen: SocketAddr,
    /// `HOST` or `HOST:PORT` that join codes name, in order, at most 8; with none they name what
    /// is listened on.
    pub advertise: Vec<String>,
    /// What each new user may occupy.
    pub quota: Quota,
}

impl ServerConfig {
    /// A server that advertises what it listens on and sets no quota.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        Self { data: data.into(), listen, advertise: Vec::new(), quota: Quota::UNLIMITED }
    }
}

/// A running server. Dropping it stops it without waiting; [`Server::shutdown`] is the clean way.
pub struct Server {
    core: Arc<Core>,
    meta: MetaHandle,
    listener: Listener,
    control: ControlSocket,
    presence: JoinHandle<()>,
    collecting: JoinHandle<()>,
    /// Let go of last: the lock says that nothing of this server runs any more.
    data: DataDir,
}

/// The parts that do their own closing.
struct Stores {
    meta: MetaHandle,
    chunks: Arc<dyn Reclaim>,
}

impl Stores {
    /// Opens both; takes as long as it takes to recover after a crash.
    async fn open(data: &DataDir) -> Result<Self, ServerError> {
        let (meta, chunks) = (data.meta(), data.chunks());
        let opening = tokio::task::spawn_blocking(move || {
            let chunks = SegmentStore::open(&chunks, SegmentOptions::default())?;
            let meta = MetaHandle::spawn(MetaDb::open(&meta)?).map_err(ServerError::Thread)?;
            Ok::<Self, ServerError>(Self { meta, chunks: Arc::new(chunks) })
        });
        let opened: Self = opening.await.map_err(ServerError::Opening)??;
        // A run may have been cut off between the two, and either may have been put back: receipts of
        // a generation that the metadata has left behind would be refused.
        let generation = opened.meta.db().read(|reads| reads.generation());
        let generation = generation.map_err(MetaOpenError::Store)?;
        let raised = opened.chunks.raise_generation(generation).await;
        raised.map_err(ServerError::Generation)?;
        Ok(opened)
    }

    /// Closes both; what is queued is carried out first.
    async fn close(&self) {
        let meta = self.meta.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || meta.close()).await {
            tracing::error!(%error, "the metadata did not close");
        }
        self.chunks.close().await;
    }
}

impl Server {
    /// Checks that a server could listen on this address, and makes nothing.
    ///
    /// # Errors
    /// [`ServerError::Listen`].
    pub fn check_listen(listen: SocketAddr) -> Result<(), ServerError> {
        Ok(Listener::check(listen)?)
    }

    /// Starts a server: it serves when this returns. To be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ServerError`] tells what is in the way; nothing runs then.
    pub async fn start(config: ServerConfig) -> Result<Self, ServerError> {
        let data = DataDir::open(&config.data)?;
        let reserve = Reserve::of(data.path());
        release(&reserve);
        let keys = data.keys()?;
        let stores = Stores::open(&data).await?;
        match Self::serve(&config, &data, &keys, &stores) {
            Ok((core, listener, control)) => {
                keep(&reserve);
                let presence = tokio::spawn(keep_house(core.service.clone(), reserve));
                let collecting =
                    tokio::spawn(collect(core.service.clone(), Arc::clone(&core.collector)));
                let meta = stores.meta;
                Ok(Self { core, meta, listener, control, presence, collecting, data })
            }
            Err(error) => {
                stores.close().await;
                Err(error)
            }
        }
    }

    fn serve(
        config: &ServerConfig,
        data: &DataDir,
        keys: &ServerKeys,
        stores: &Stores,
    ) -> Result<(Arc<Core>, Listener, ControlSocket), ServerError> {
        let service = Service::new(ServiceParts {
            meta: stores.meta.clone(),
            chunks: Arc::clone(&stores.chunks) as Arc<dyn ChunkStore>,
            node_key: keys.node.clone(),
            cluster_key: keys.cluster.clone(),
            capability_key: data.capability_key()?,
            clock: Arc::new(SystemClock),
            quota: config.quota,
            work: Work::Pool,
        });
        let listener = Listener::start(service.clone(), tls_key(keys), config.listen)?;
        let local_addr = listener.local_addr().map_err(ServerError::LocalAddress)?;
        let addresses = addresses::advertised(&config.advertise, local_addr);
        let gc = GcParts {
            meta: stores.meta.clone(),
            chunks: Arc::clone(&stores.chunks),
            clock: Arc::new(SystemClock),
            work: Work::Pool,
        };
        let cluster = keys.cluster_id().to_string();
        let identity = Identity { cluster, key_file: data.key_file() };
        let core =
            Arc::new(Core::new(service, gc, (data.path(), identity), local_addr, addresses)?);
        let control = ControlSocket::bind(data.path(), Arc::clone(&core) as Arc<_>)?;
        tracing::info!(%local_addr, cluster = %keys.cluster_id(), "serving");
        Ok((core, listener, control))
    }

    /// Where it listens; tells the port when 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.core.local_addr
    }

    /// The addresses that join codes name, 1 to 8 of `HOST:PORT`, in the order to be tried.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.core.addresses
    }

    /// The cluster that devices pin.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.core.service.cluster()
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &std::path::Path {
        self.data.path()
    }

    /// What answers requests; for whoever lives in the same process.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.core.service
    }

    /// Makes the join code of a user's first device. It works once, for `life_ms` milliseconds
    /// from now, at most [`common::limits::INVITATION_LIFE_MS_MAX`].
    ///
    /// # Errors
    /// [`MintError`].
    pub async fn mint_bootstrap(&self, life_ms: u64) -> Result<Minted, MintError> {
        self.core.mint_bootstrap(life_ms).await
    }

    /// Stops: no new connections, requests under way end, everything acknowledged is on the disk
    /// (it was before), and the data directory can be opened again when this returns.
    pub async fn shutdown(self) {
        let Self { core, meta, listener, control, presence, collecting, data } = self;
        control.close().await;
        listener.shutdown().await;
        presence.abort();
        // Between two of its steps: what it has done stands, and the next run goes on from there.
        collecting.abort();
        if let Err(refusal) = core.service.record_presence().await {
            tracing::warn!(reason = refusal.message, "who was connected is not written down");
        }
        Stores { meta, chunks: Arc::clone(&core.gc.chunks) }.close().await;
        if let Err(error) = Reserve::of(data.path()).keep_for_next_start() {
            tracing::warn!(%error, "no room is kept for the next start");
        }
        drop(data);
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("data", &self.data.path())
            .field("local_addr", &self.core.local_addr)
            .finish_non_exhaustive()
    }
}

/// One process is the whole cluster, so peers pin the key that join codes name.
fn tls_key(keys: &ServerKeys) -> &SigningKey {
    &keys.cluster
}

/// Makes room for a start, if there is none. What goes wrong here is told by what needs the room.
fn release(reserve: &Reserve) {
    match reserve.release_if_needed() {
        Ok(true) => tracing::warn!("the disk is full; the room kept for a start is used"),
        Ok(false) => {}
        Err(error) => tracing::warn!(%error, "the room kept for a start is not given up"),
    }
}

fn keep(reserve: &Reserve) {
    if let Err(error) = reserve.keep() {
        tracing::warn!(%error, "no room is kept for the next start");
    }
}

/// Writes down who is connected and keeps room for the next start, until it is aborted at shutdown.
async fn keep_house(service: Service, reserve: Reserve) {
    loop {
        tokio::time::sleep(PRESENCE_INTERVAL).await;
        keep(&reserve);
        if let Err(refusal) = service.record_presence().await {
            tracing::warn!(reason = refusal.message, "who is connected is not written down");
        }
    }
}

/// Thins histories and collects garbage once a day, gently, until it is aborted at shutdown.
async fn collect(service: Service, collector: Arc<Collector>) {
    tokio::time::sleep(FIRST_GC).await;
    loop {
        match service.thin_all().await {
            Ok(thinned) => tracing::info!(?thinned, "histories were thinned"),
            Err(refusal) => {
                tracing::error!(reason = refusal.message, "histories were not thinned");
            }
        }
        match collector.run(GRACE_MS, &Gentle::default()).await {
            Ok(report) => tracing::info!(?report, "garbage was collected"),
            Err(error) => {
                tracing::error!(error = explained(&error), "garbage was not collected");
            }
        }
        tokio::time::sleep(GC_INTERVAL).await;
    }
}
