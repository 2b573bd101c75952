//! The QUIC endpoint of a server: who may connect, and how requests get to the service.
//!
//! Owns the socket, TLS, admission, the bounds on connections and streams, and the framing of
//! requests. It must not know what a request means: it hands messages to [`Service`]. The accept
//! task runs from [`Listener::start`] to [`Listener::shutdown`], or until the listener is dropped.

mod commit;
mod connection;
mod gate;
mod hello;
mod limits;
mod put;
mod request;
mod reset;
mod socket;
mod store;
mod stream;
mod subscribe;
#[cfg(test)]
mod tests;
mod tls;

pub use gate::Counters;
pub use limits::ListenLimits;

use crate::service::Service;
use common::keys::SigningKey;
use common::limits::{DATAGRAM_BYTES_MAX, STREAM_WINDOW_BYTES};
use connection::Context;
use gate::{Gate, Verdict};
use quinn::{
    AsyncUdpSocket, Endpoint, Incoming, MtuDiscoveryConfig, Runtime, ServerConfig, TransportConfig,
    VarInt,
};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// Connection attempts that wait for the accept task; more are refused by the endpoint itself.
const INCOMING_MAX: usize = 1024;
/// Bytes buffered for an attempt that waits.
const INCOMING_BUFFER_BYTES: u64 = 64 * 1024;
/// Bytes buffered for all attempts that wait.
const INCOMING_BUFFER_TOTAL_BYTES: u64 = 16 * 1024 * 1024;
/// Time for connections to close in good order at shutdown.
const SHUTDOWN: Duration = Duration::from_secs(12);

/// A listener that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another socket has the port.
    #[error("the UDP port of {address} is in use")]
    PortInUse {
        /// What was asked for.
        address: SocketAddr,
    },
    /// The address cannot be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The socket was bound but cannot be used.
    #[error("cannot use the socket")]
    Socket(#[source] io::Error),
    /// The key does not work for TLS.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The crypto provider lacks the cipher suite that QUIC begins with.
    #[error("the crypto provider lacks TLS13_AES_128_GCM_SHA256")]
    InitialCipherSuite,
    /// A duration of the limits is longer than QUIC can say.
    #[error("the idle limit is too long")]
    IdleLimit,
}

/// A running QUIC server.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    /// Dead once the endpoint has let go of the port.
    socket: Weak<dyn AsyncUdpSocket>,
    gate: Arc<Gate>,
    stop: watch::Sender<bool>,
    accepting: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens on `listen` and serves `service`, with the limits of [`common::limits`].
    ///
    /// `tls_key` is what peers pin: the cluster's key where one process is the whole cluster, as
    /// that is the key which a join code names; the node's key otherwise. To be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`ListenError::PortInUse`] above all.
    pub fn start(
        service: Service,
        tls_key: &SigningKey,
        listen: SocketAddr,
    ) -> Result<Self, ListenError> {
        Self::start_with(service, tls_key, listen, ListenLimits::default())
    }

    /// Checks that this address can be listened on now, and lets go of it again.
    ///
    /// # Errors
    /// [`ListenError::PortInUse`] above all.
    pub fn check(listen: SocketAddr) -> Result<(), ListenError> {
        socket::bind(listen).map(drop)
    }

    /// As [`Listener::start`], with other limits.
    ///
    /// # Errors
    /// As [`Listener::start`].
    pub fn start_with(
        service: Service,
        tls_key: &SigningKey,
        listen: SocketAddr,
        limits: ListenLimits,
    ) -> Result<Self, ListenError> {
        let config = server_config(tls_key, &limits)?;
        let socket = socket::bind(listen)?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let socket = runtime.wrap_udp_socket(socket).map_err(ListenError::Socket)?;
        let port = Arc::downgrade(&socket);
        let settings = reset::endpoint_config(tls_key);
        let endpoint = Endpoint::new_with_abstract_socket(settings, Some(config), socket, runtime)
            .map_err(ListenError::Socket)?;
        let gate = Arc::new(Gate::new(limits.clone()));
        let context = Arc::new(Context { service, limits, gate: Arc::clone(&gate) });
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(accept(context, endpoint.clone(), stopped));
        Ok(Self { endpoint, socket: port, gate, stop, accepting: Some(accepting) })
    }

    /// Where it listens; tells the port when 0 was asked for.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// What happened at the door so far, and who is inside.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.gate.counters()
    }

    /// Closes all connections, waits for running requests to end, and gives the port back.
    ///
    /// Requests that are being judged are still judged; their peers ask for the outcome later.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        self.endpoint.close(VarInt::from_u32(0), b"the server is shutting down");
        if let Some(mut accepting) = self.accepting.take()
            && timeout(SHUTDOWN, &mut accepting).await.is_err()
        {
            tracing::warn!("connections did not end in time and are aborted");
            accepting.abort();
        }
        if timeout(SHUTDOWN, self.endpoint.wait_idle()).await.is_err() {
            tracing::warn!("the endpoint did not fall idle in time");
        }
        tracing::info!(counters = ?self.counters(), "stopped listening");
        let port = Weak::clone(&self.socket);
        drop(self);
        // The endpoint's own task drops the socket as soon as it runs again.
        let let_go = async {
            while port.strong_count() > 0 {
                tokio::task::yield_now().await;
            }
        };
        if timeout(SHUTDOWN, let_go).await.is_err() {
            tracing::warn!("the port is still held");
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.endpoint.close(VarInt::from_u32(0), b"the server is shutting down");
    }
}

fn server_config(key: &SigningKey, limits: &ListenLimits) -> Result<ServerConfig, ListenError> {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(DATAGRAM_BYTES_MAX);
    let mut transport = TransportConfig::default();
    // Everybody begins as a stranger; admission grants an enrolled device more.
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(limits.stranger_streams_max))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(limits.stranger_window_bytes))
        .send_window(u64::from(limits.stranger_window_bytes))
        .mtu_discovery_config(Some(discovery))
        .max_idle_timeout(Some(limits.idle.try_into().map_err(|_| ListenError::IdleLimit)?));
    let mut config = ServerConfig::with_crypto(Arc::new(tls::server_config(key)?));
    config
        .transport_config(Arc::new(transport))
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BUFFER_BYTES)
        .incoming_buffer_size_total(INCOMING_BUFFER_TOTAL_BYTES);
    Ok(config)
}

/// Judges attempts and starts a task a connection, until told to stop.
async fn accept(context: Arc<Context>, endpoint: Endpoint, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // Err: the listener is gone, which means the same.
            _ = stop.wait_for(|stop| *stop) => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                log_panic(ended);
            }
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => begin(&context, incoming, &mut connections),
                None => break,
            },
        }
    }
    while let Some(ended) = connections.join_next().await {
        log_panic(ended);
    }
}

fn begin(context: &Arc<Context>, incoming: Incoming, connections: &mut JoinSet<()>) {
    let address = incoming.remote_address().ip();
    match context.gate.judge(address, incoming.remote_address_validated()) {
        Verdict::Accept(permit) => match incoming.accept() {
            Ok(connecting) => {
                connections.spawn(connection::run(Arc::clone(context), connecting, permit));
            }
            Err(error) => {
                context.gate.handshake_failed();
                tracing::debug!(%error, %address, "a first packet was not one");
            }
        },
        Verdict::Retry => {
            // Err: it bears a token already, so it would have counted as validated.
            if let Err(error) = incoming.retry() {
                error.into_incoming().refuse();
            }
        }
        Verdict::Refuse => incoming.refuse(),
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection failed in the server");
    }
}
