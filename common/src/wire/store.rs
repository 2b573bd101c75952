//! Chunk requests (`driftless-store/1`): PUT, GET and HAVE.
//!
//! A stream begins with one [`StoreOpen`] frame that shows a capability and says what follows:
//! - PUT: any number of ([`PutHeader`] frame, `length` raw bytes), then the stream is finished; the
//!   reply is any number of [`PutReply`] frames, each acknowledging a run of the puts in order,
//!   durable when it is sent.
//! - GET: any number of [`GetRequest`] frames; for each id in order one [`GetHeader`] frame and, if
//!   found, `length` raw bytes, verified against the id by the node before they are sent.
//! - HAVE: [`HaveRequest`] frames, each answered by one [`HaveReply`].
//!
//! Owns these messages. It must not know what a chunk says.

use super::meta::Refusal;

/// What a store stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum StoreVerb {
    /// Not said.
    Unspecified = 0,
    /// Store chunks.
    Put = 1,
    /// Read chunks.
    Get = 2,
    /// Prove that chunks are stored and verified.
    Have = 3,
}

/// First frame of a store stream.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StoreOpen {
    /// An encoded and signed [`crate::trust::Capability`].
    #[prost(bytes = "vec", tag = "1")]
    pub capability: Vec<u8>,
    /// What follows.
    #[prost(enumeration = "StoreVerb", tag = "2")]
    pub verb: i32,
}

/// Announces one chunk; exactly `length` raw bytes follow.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PutHeader {
    /// BLAKE3-256 of the bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// Bytes that follow, at most [`crate::limits::SEALED_BYTES_MAX`].
    #[prost(uint32, tag = "2")]
    pub length: u32,
}

/// Acknowledges a run of puts, or refuses the first that is not acknowledged and all after it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PutReply {
    /// An encoded and signed [`crate::trust::ReceiptBatch`], empty with a refusal.
    #[prost(bytes = "vec", tag = "1")]
    pub receipts: Vec<u8>,
    /// Why the node takes no more.
    #[prost(message, optional, tag = "2")]
    pub refusal: Option<Refusal>,
}

/// Asks for chunks, at most [`crate::limits::REPLY_ITEMS_MAX`] a frame.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GetRequest {
    /// Chunk ids.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub ids: Vec<Vec<u8>>,
}

/// Announces one chunk of a reply, or says that it cannot be had.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GetHeader {
    /// Whether `length` bytes follow.
    #[prost(bool, tag = "1")]
    pub found: bool,
    /// Bytes that follow.
    #[prost(uint32, tag = "2")]
    pub length: u32,
    /// Why it cannot be had, if it is not simply absent.
    #[prost(message, optional, tag = "3")]
    pub refusal: Option<Refusal>,
}

/// Asks which chunks are stored, at most [`crate::limits::HAVE_IDS_MAX`] a frame.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HaveRequest {
    /// Chunk ids.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub ids: Vec<Vec<u8>>,
}

/// Receipts for those of the ids that are stored; the rest is not there.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HaveReply {
    /// Encoded and signed [`crate::trust::ReceiptBatch`]es.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub receipts: Vec<Vec<u8>>,
    /// Why the node does not answer.
    #[prost(message, optional, tag = "2")]
    pub refusal: Option<Refusal>,
}
