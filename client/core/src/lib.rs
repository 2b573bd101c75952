//! The client's decisions, as pure functions over plain values.
//!
//! Owns the three trees' shape, the planner, conflict names, ignore rules, which
//! directories are bundles, and how a folder is
//! compared with and brought back to what it was. It performs no I/O,
//! reads no clock and draws no randomness; the `client` crate gathers its input and carries out
//! what it decides.

pub mod bundles;
pub mod conflict;
pub mod ignore;
pub mod merge;
pub mod past;
pub mod planner;
pub mod restore;
pub mod tree;
