//! Moving contents between this disk and storage nodes.
//!
//! [`ingest`](Ingest) reads files once: cut, hash, seal what is new, upload. [`Fetch`] builds files
//! from what lies on this disk and downloads only the rest. Owns pipelining and its bounds; it must
//! not know why a file is moved.

mod cutter;
mod fetch;
mod ingest;
mod manifest;
mod proofs;

pub use cutter::content_tag;
pub use fetch::{Batch, Built, Fetch, FetchError, Want};
pub use ingest::{Ingest, IngestError, Ingested, Reading};
pub use manifest::Manifest;
pub use proofs::{Proofs, RootParts};
