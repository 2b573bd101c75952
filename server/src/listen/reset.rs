//! What lets a server that started again tell devices that it no longer knows their connections.
//!
//! Owns the key of stateless resets (RFC 9000, section 10.3), made from the key that the server
//! keeps, and connection ids that outlive a start. With those of one process only, which are
//! quinn's defaults, a device would notice a killed server by its silence, after the idle time.

use aws_lc_rs::{hmac, rand};
use common::keys::SigningKey;
use common::limits::DATAGRAM_BYTES_MAX;
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use std::sync::Arc;
use std::time::Duration;

const CONTEXT: &str = "driftless 2026 stateless reset key v1";
const ID_BYTES: usize = 8;

/// The endpoint's settings for a server with this key.
pub(super) fn endpoint_config(key: &SigningKey) -> EndpointConfig {
    let reset = blake3::derive_key(CONTEXT, key.seed());
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &reset)));
    config.cid_generator(|| Box::new(RandomIds));
    if let Err(error) = config.max_udp_payload_size(DATAGRAM_BYTES_MAX) {
        unreachable!("a size that the protocol allows: {error}");
    }
    config
}

/// Random ids. Quinn's own default marks its ids with a key of the process, and a server that
/// started again stays silent to those of before; what it answers is bounded by quinn (one reset
/// in 20 ms, each smaller than the packet that asks for it).
struct RandomIds;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; ID_BYTES];
        if rand::fill(&mut bytes).is_err() {
            // Without randomness there is no TLS either.
            unreachable!("the system gives no random bytes");
        }
        ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
