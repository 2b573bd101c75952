//! Bounds of the listener that are the server's own affair, beside those of [`common::limits`].
//!
//! Owns [`ListenLimits`], so that a test can cut a peer off in milliseconds. It must not hold a
//! bound that the other side has to know.

use common::limits;
use std::time::Duration;

/// Open handshakes above which a peer must first prove its address (RFC 9000, section 8.1.2).
const RETRY_ABOVE_HANDSHAKES: usize = 64;
/// Open handshakes at most; more are refused.
const HANDSHAKES_MAX: usize = 1024;
/// Connections of peers that are not enrolled, from one address (of IPv6: one /64).
const STRANGERS_PER_ADDRESS_MAX: usize = 32;
/// Connections of one enrolled device: two in use, and those that died unnoticed. The oldest gives
/// way to one more.
const CONNECTIONS_PER_DEVICE_MAX: usize = 8;
/// Streams of a connection until it is admitted as an enrolled device's.
const STRANGER_STREAMS_MAX: u32 = 4;
/// Receive and send window of a connection until it is admitted as an enrolled device's, in bytes.
const STRANGER_WINDOW_BYTES: u32 = 1024 * 1024;
/// Life of a joiner's connection, in milliseconds.
const JOIN_LIFE_MS: u64 = 60_000;
/// Time within which a frame or chunk must arrive as a whole, in milliseconds. At a full chunk this
/// asks for about two kilobytes a second of each stream.
const ITEM_MS_MAX: u64 = 120_000;

/// Most chunks that are stored as one batch with one receipt batch.
pub(super) const PUT_BATCH_CHUNKS: usize = 64;
/// Bytes of a batch of puts at which it is stored.
pub(super) const PUT_BATCH_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of chunks that a connection's puts hold in memory, in all.
pub(super) const PUT_BUFFER_BYTES: usize = 16 * 1024 * 1024;
/// Chunks of a GET that are read from the store before the first of them is sent.
pub(super) const GET_AHEAD_CHUNKS: usize = 4;
/// Commits of one connection that are read and judged at a time.
pub(super) const COMMITS_AT_ONCE: usize = 2;
/// What an item of a commit costs beside its bytes once it is decoded, in bytes.
pub(super) const COMMIT_ITEM_COST_BYTES: usize = 64;

/// What a listener grants its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenLimits {
    /// Connections at once, those in a handshake included.
    pub connections_max: usize,
    /// Connections in a handshake at once.
    pub handshakes_max: usize,
    /// Open handshakes above which an address must be validated first.
    pub retry_above_handshakes: usize,
    /// Connections of peers that are not enrolled, for one address.
    pub strangers_per_address_max: usize,
    /// Connections of one enrolled device.
    pub connections_per_device_max: usize,
    /// Streams of an enrolled device's connection, beside subscriptions.
    pub streams_max: u32,
    /// Streams more on its connection for metadata, so that it can follow all its folders.
    pub subscriptions_max: u32,
    /// Streams of a joiner's connection.
    pub stranger_streams_max: u32,
    /// Time for a handshake, and again for the greeting after it.
    pub handshake: Duration,
    /// Silence after which a connection is closed.
    pub idle: Duration,
    /// Time within which the next bytes of a request must come, and of a reply be taken.
    pub read: Duration,
    /// Time within which a frame or chunk must be there as a whole.
    pub item: Duration,
    /// Life of a joiner's connection.
    pub join_life: Duration,
    /// Receive and send window of a connection that is not admitted as a device's, in bytes.
    pub stranger_window_bytes: u32,
}

impl Default for ListenLimits {
    fn default() -> Self {
        Self {
            connections_max: limits::CONNECTIONS_MAX,
            handshakes_max: HANDSHAKES_MAX,
            retry_above_handshakes: RETRY_ABOVE_HANDSHAKES,
            strangers_per_address_max: STRANGERS_PER_ADDRESS_MAX,
            connections_per_device_max: CONNECTIONS_PER_DEVICE_MAX,
            streams_max: limits::STREAMS_MAX,
            subscriptions_max: limits::FOLDERS_PER_DEVICE_MAX as u32,
            stranger_streams_max: STRANGER_STREAMS_MAX,
            handshake: Duration::from_millis(limits::HANDSHAKE_MS_MAX),
            idle: Duration::from_millis(limits::IDLE_MS_MAX),
            read: Duration::from_millis(limits::READ_MS_MAX),
            item: Duration::from_millis(ITEM_MS_MAX),
            join_life: Duration::from_millis(JOIN_LIFE_MS),
            stranger_window_bytes: STRANGER_WINDOW_BYTES,
        }
    }
}
