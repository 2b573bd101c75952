//! The device's program: a daemon that keeps folders in sync, and the commands that talk to it.
//!
//! Owns everything of a device that touches a disk, a clock, a network or a terminal. Decisions are
//! `client_core`'s; this crate gathers their input and carries them out.

pub mod apply;
pub mod cli;
pub mod context;
pub mod daemon;
pub mod engine;
pub mod fs;
pub mod home;
pub mod pull;
pub mod push;
pub mod remote;
pub mod scan;
pub mod state;
pub mod transfer;
pub mod watch;
