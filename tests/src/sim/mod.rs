//! The whole system in one thread, from one seed: real engines, the real service and state machine,
//! over a filesystem, a network and a clock in memory.
//!
//! Owns the simulated machines ([`server`], [`device`]), the network between them, the user's
//! programs ([`writer`]), whoever keeps no rule ([`rogue`], in a [`scene`]) and the story of a seed
//! ([`story`]); the rules that have to hold are in [`invariants`], one a file. A seed always tells
//! the same story: there are no threads, no real time and no other source of randomness. It must
//! not change what it tests: whatever a machine of the real world does to the product comes in
//! through the product's own traits.

#![allow(
    clippy::unwrap_used,
    reason = "this is test code: what cannot happen in a simulation ends it"
)]

pub mod bundles;
pub mod clock;
pub mod device;
pub mod disk_chunks;
pub mod draw;
mod faults;
pub mod invariants;
pub mod ledger;
mod lineage;
pub mod masses;
pub mod merges;
mod names;
pub mod network;
mod pins;
pub mod planted;
pub mod report;
pub mod restored;
pub mod rogue;
pub mod scene;
pub mod server;
pub mod story;
pub mod traffic;
pub mod trouble;
pub mod world;
pub mod writer;
