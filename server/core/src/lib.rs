//! The server's decisions as pure functions: what a command does to the metadata.
//!
//! Owns no I/O, clock, randomness, thread or SQL: time and random bytes arrive inside commands,
//! and state is reached through traits, so that every node of a cluster and every run of the
//! simulation comes to the same state.

pub mod gc;
pub mod metadata;
pub mod retention;
