//! What both sides of Driftless must agree on: identifiers, names, limits, the sealed object
//! formats, the trust records and the wire messages.
//!
//! Owns formats and the pure functions over them. It performs no I/O, reads no clock and draws
//! no randomness of its own: a caller passes time and random bytes in, so that a whole system of
//! devices and servers can run from one seed.

pub mod archive;
pub mod chunk;
pub mod duration;
pub mod ids;
pub mod keys;
pub mod limits;
pub mod name;
pub mod record;
pub mod revision;
pub mod trust;
pub mod wire;
