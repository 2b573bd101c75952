//! Keys: signing, the folder's key hierarchy, and how secrets travel between a user's devices.
//!
//! Owns every `derive_key` context. It must not draw randomness: seeds come from the caller.

mod signing;

pub use signing::{SigningKey, verify_signature};
