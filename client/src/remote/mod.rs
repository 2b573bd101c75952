//! The server as a device sees it: what can be asked of it, and the QUIC connection that asks.
//!
//! Owns the [`Remote`] trait, its errors and its implementation over QUIC. It must not know what a
//! record or chunk says, nor when to try again: each call is one attempt. The trait and its errors
//! name no type of QUIC, so that a simulated network stands in their place.

mod capability;
mod chunks;
mod contract;
mod dial;
mod error;
mod failure;
pub mod join;
mod kept;
mod quic;
mod requests;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

pub use contract::{JournalStream, Remote};
pub use error::RemoteError;
pub use kept::Traffic;
pub use quic::QuicRemote;

use common::ids::ClusterId;
use common::limits::KEEP_ALIVE_MS;
use std::time::Duration;

/// Where a server is and whom to expect there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `host:port`, tried in order.
    pub addresses: Vec<String>,
    /// The key that the server has to prove. Where one process is the whole cluster, its TLS key is
    /// the cluster's key, which is what a join code names.
    pub cluster: ClusterId,
}

/// How long a device waits for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// For an address: name, handshake and greeting.
    pub connect: Duration,
    /// For the next bytes of a metadata reply, or for room to send.
    pub answer: Duration,
    /// For the next bytes of a chunk reply, or for room to send. Receipts wait for the link and
    /// for the server's disk.
    pub transfer: Duration,
    /// Silence after which a connection is told to be alive: below the server's idle limit.
    pub keep_alive: Duration,
    /// Until a server that does not let this device in is asked again.
    pub barred: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(60),
            transfer: Duration::from_secs(120),
            keep_alive: Duration::from_millis(KEEP_ALIVE_MS),
            barred: Duration::from_secs(300),
        }
    }
}
