//! How often each object has gone over a device's link.
//!
//! Owns the count: what arrives at the server counts as put, and what leaves it as got, whether or
//! not an answer reaches the device.

use bytes::Bytes;
use common::ids::ChunkId;
use std::collections::BTreeMap;

/// What has gone over a link, chunks and pages alike.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// From the device to the server.
    pub put: Count,
    /// From the server to the device.
    pub got: Count,
}

/// Objects that went one way.
#[derive(Clone, Debug, Default)]
pub struct Count(BTreeMap<ChunkId, Sent>);

#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    times: u64,
    bytes: u64,
}

impl Count {
    pub(super) fn count(&mut self, id: &ChunkId, bytes: &Bytes) {
        let sent = self.0.entry(*id).or_default();
        sent.times += 1;
        sent.bytes = bytes.len() as u64;
    }

    /// Bytes of all objects, each once.
    #[must_use]
    pub fn bytes_once(&self) -> u64 {
        self.0.values().map(|sent| sent.bytes).sum()
    }

    /// Bytes that went more than once, without their first time.
    #[must_use]
    pub fn bytes_again(&self) -> u64 {
        self.0.values().map(|sent| sent.bytes * (sent.times - 1)).sum()
    }
}
