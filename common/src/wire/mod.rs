//! What crosses the network: frames, the greeting, metadata requests and chunk requests.
//!
//! Participants: a device, a node (metadata or storage, often both in one process).
//! Goals: every message bounded, versioned by the ALPN, and evolvable by adding fields.
//! Non-goals: secrecy of what a frame says towards the node (records are sealed before they get
//! here) and ordering between streams.
//!
//! On each connection the first bidirectional stream carries [`hello`]; every later one carries one
//! request and its reply. A control message is a frame: a length (u32, little endian) and a prost
//! message. Chunk bytes follow their header frame raw.

pub mod commit;
pub mod frame;
pub mod hello;
pub mod history;
pub mod meta;
pub mod retention;
pub mod store;

/// ALPN of metadata requests from an enrolled device.
pub const ALPN_META: &[u8] = b"driftless-meta/1";
/// ALPN of chunk requests from an enrolled device.
pub const ALPN_STORE: &[u8] = b"driftless-store/1";
/// ALPN of a peer that is not enrolled yet and redeems an invitation.
pub const ALPN_JOIN: &[u8] = b"driftless-join/1";
