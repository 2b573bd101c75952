//! The service against devices that ask well, badly and with bad intent.
//!
//! Owns tests of what the service itself decides; the rules of commands are tested in
//! `server_core`, frames in `listen`.

mod chunks;
mod identity;
mod journal;
mod life;
mod retention;
pub(crate) mod world;
