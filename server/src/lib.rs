//! The server of Driftless: one process that orders metadata and stores sealed chunks.
//!
//! Owns the shell around the pure rules of `server_core`: SQLite, segment files, QUIC, the control
//! socket and the command line. It must not know a name or a content: everything that it keeps is
//! sealed by devices.

pub mod assemble;
pub mod background;
pub mod chunk_store;
pub mod cli;
pub mod control;
pub mod listen;
pub mod meta_store;
mod private_file;
pub mod service;
