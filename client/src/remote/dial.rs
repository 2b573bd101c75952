//! Making one connection: resolve, handshake, greeting.
//!
//! Owns a single attempt to reach a server under one protocol. It must not decide when to try.

use super::error::RemoteError;
use super::failure::lost;
use super::stream::{self, Taken};
use super::tls::{TlsError, client_config, is_wrong_key};
use super::{Server, Timing, socket};
use common::ids::ClusterId;
use common::keys::SigningKey;
use common::limits::{
    CONNECTION_WINDOW_BYTES, DATAGRAM_BYTES_MAX, IDLE_MS_MAX, SEND_WINDOW_BYTES,
    STREAM_WINDOW_BYTES,
};
use common::wire::hello::{Hello, HelloReply, VERSION};
use common::wire::meta::{Refusal, RefusalCode};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, MtuDiscoveryConfig, TransportConfig, VarInt,
};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::time::{Instant, timeout};

/// What this program calls itself.
const SOFTWARE: &str = concat!("driftless/", env!("CARGO_PKG_VERSION"));
/// Addresses of one name that are tried.
const ADDRESSES_A_NAME_MAX: usize = 4;
/// Required by TLS libraries, sent to nobody: identity is the pinned key.
const SERVER_NAME: &str = "driftless";

/// A connection that has been greeted.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) connection: Connection,
    /// Lives as long as its one connection.
    pub(super) endpoint: Endpoint,
    /// The server's clock at `greeted`, in milliseconds since 1970.
    server_ms: u64,
    greeted: Instant,
}

impl Link {
    /// The server's clock now, in milliseconds since 1970, as far as the greeting tells.
    pub(super) fn server_now_ms(&self) -> u64 {
        let since = u64::try_from(self.greeted.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.server_ms.saturating_add(since)
    }
}

/// Makes connections to one server under one protocol.
pub(super) struct Dialer {
    server: Server,
    config: Result<ClientConfig, String>,
    timing: Timing,
}

impl Dialer {
    pub(super) fn new(server: Server, key: &SigningKey, alpn: &[u8], timing: Timing) -> Self {
        // A key that TLS does not take is told at the first call: there is nobody to tell here.
        let config = config(key, &server.cluster, alpn, &timing).map_err(|error| error.to_string());
        Self { server, config, timing }
    }

    /// Tries the server's addresses in order until one answers with the right key.
    ///
    /// # Errors
    /// A refusal ends the search. `WrongServerKey` is told only if no address failed otherwise:
    /// behind a local address another machine may answer on another day.
    pub(super) async fn dial(&self) -> Result<Link, RemoteError> {
        let config = self.config.as_ref().map_err(|reason| self.unreachable(reason.clone()))?;
        let mut wrong_key = None;
        let mut unreachable = None;
        for address in &self.server.addresses {
            for resolved in self.resolve(address, &mut unreachable).await {
                match self.dial_one(config, resolved).await {
                    Ok(link) => return Ok(link),
                    Err(error @ RemoteError::WrongServerKey { .. }) => wrong_key = Some(error),
                    Err(error) if error.is_offline() => unreachable = Some(error),
                    Err(error) => return Err(error),
                }
            }
        }
        Err(unreachable
            .or(wrong_key)
            .unwrap_or_else(|| self.unreachable("no address is known".into())))
    }

    fn unreachable(&self, reason: String) -> RemoteError {
        RemoteError::Unreachable { address: self.server.addresses.join(", "), reason }
    }

    async fn resolve(&self, address: &str, failed: &mut Option<RemoteError>) -> Vec<SocketAddr> {
        let fail = |reason| RemoteError::Unreachable { address: address.to_owned(), reason };
        let found: Vec<_> =
            match timeout(self.timing.connect, tokio::net::lookup_host(address)).await {
                Ok(Ok(found)) => found.take(ADDRESSES_A_NAME_MAX).collect(),
                Ok(Err(error)) => {
                    *failed = Some(fail(error.to_string()));
                    return Vec::new();
                }
                Err(_) => {
                    *failed = Some(fail("the name was not resolved in time".into()));
                    return Vec::new();
                }
            };
        if found.is_empty() {
            *failed = Some(fail("the name has no address".into()));
        }
        found
    }

    async fn dial_one(
        &self,
        config: &ClientConfig,
        address: SocketAddr,
    ) -> Result<Link, RemoteError> {
        let unreachable =
            |reason: String| RemoteError::Unreachable { address: address.to_string(), reason };
        let socket =
            socket::bind_towards(address).map_err(|error| unreachable(error.to_string()))?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let mut settings = EndpointConfig::default();
        settings
            .max_udp_payload_size(DATAGRAM_BYTES_MAX)
            .map_err(|error| unreachable(error.to_string()))?;
        let endpoint = Endpoint::new(settings, None, socket, runtime)
            .map_err(|error| unreachable(error.to_string()))?;
        let connecting = endpoint
            .connect_with(config.clone(), address, SERVER_NAME)
            .map_err(|error| unreachable(error.to_string()))?;
        let greeted = async {
            let connection = connecting.await.map_err(|error| {
                if is_wrong_key(&error) {
                    let address = address.to_string();
                    RemoteError::WrongServerKey { address, expected: self.server.cluster }
                } else {
                    unreachable(error.to_string())
                }
            })?;
            self.greet(connection, endpoint.clone()).await
        };
        timeout(self.timing.connect, greeted)
            .await
            .unwrap_or_else(|_| Err(unreachable("no answer".into())))
    }

    /// Greets on the first stream; a server that does not admit this device says so here.
    async fn greet(&self, connection: Connection, endpoint: Endpoint) -> Result<Link, RemoteError> {
        let (mut writer, mut reader) = stream::open(&connection, self.timing.connect).await?;
        let hello = Hello { version: VERSION, software: SOFTWARE.to_owned(), features: Vec::new() };
        if writer.frame(&hello).await? == Taken::Yes {
            writer.finish();
        }
        let reply = reader.frame::<HelloReply>().await;
        let Some(reply) = reply.map_err(|error| reason_of_close(&connection, error))? else {
            return Err(RemoteError::Protocol("the greeting was not answered".into()));
        };
        if reply.version != VERSION {
            let message = format!("the server speaks version {} of the protocol", reply.version);
            return Err(RemoteError::Refused(Refusal::new(RefusalCode::Version, message)));
        }
        if ClusterId::from_slice(&reply.cluster) != Ok(self.server.cluster) {
            return Err(RemoteError::WrongServerKey {
                address: connection.remote_address().to_string(),
                expected: self.server.cluster,
            });
        }
        let greeted = Instant::now();
        Ok(Link { connection, endpoint, server_ms: reply.time_ms, greeted })
    }
}

/// A stream may break before the connection says why it was closed.
fn reason_of_close(connection: &Connection, error: RemoteError) -> RemoteError {
    connection.close_reason().map_or(error, |reason| lost(&reason))
}

/// Larger datagrams are tried where the path may carry them.
fn mtu_discovery() -> MtuDiscoveryConfig {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(DATAGRAM_BYTES_MAX);
    discovery
}

fn config(
    key: &SigningKey,
    pinned: &ClusterId,
    alpn: &[u8],
    timing: &Timing,
) -> Result<ClientConfig, TlsError> {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .mtu_discovery_config(Some(mtu_discovery()))
        .keep_alive_interval(Some(timing.keep_alive))
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_MS_MAX as u32).into()));
    let mut config = ClientConfig::new(Arc::new(client_config(key, pinned.as_bytes(), alpn)?));
    config.transport_config(Arc::new(transport));
    Ok(config)
}
