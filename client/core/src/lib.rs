//! The client's decisions, as pure functions over plain values.
//!
//! Owns the three trees' shape, the planner, conflict names and ignore rules. It performs no I/O,
//! reads no clock and draws no randomness; the `client` crate gathers its input and carries out
//! what it decides.

pub mod conflict;
pub mod ignore;
pub mod merge;
pub mod planner;
pub mod tree;
