//! The greeting: the first stream of every connection.
//!
//! Owns version negotiation. It must not carry secrets: either side may be refused after it.

/// Version of the protocols that this build speaks.
pub const VERSION: u32 = 1;

/// From the peer that opened the connection.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Hello {
    /// Protocol version, 1.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Name and version of the program, for logs.
    #[prost(string, tag = "2")]
    pub software: String,
    /// Optional features that it knows.
    #[prost(string, repeated, tag = "3")]
    pub features: Vec<String>,
}

/// The node's answer.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HelloReply {
    /// Protocol version, 1.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Name and version of the program, for logs.
    #[prost(string, tag = "2")]
    pub software: String,
    /// Optional features that both know.
    #[prost(string, repeated, tag = "3")]
    pub features: Vec<String>,
    /// The cluster that the node belongs to ([`crate::ids::ClusterId`]).
    #[prost(bytes = "vec", tag = "4")]
    pub cluster: Vec<u8>,
    /// The node's clock, in milliseconds since 1970.
    #[prost(uint64, tag = "5")]
    pub time_ms: u64,
}
