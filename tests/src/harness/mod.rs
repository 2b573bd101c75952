//! Real devices and servers for tests: the built programs as processes, on loopback.
//!
//! Owns finding the programs, starting, killing and asking them, and what a synced tree looks like
//! on a disk. A test kills only processes that it started, and none outlives its test. It must not
//! know how the programs work: it uses their command line alone.

mod device;
mod git;
mod pair;
mod process;
mod programs;
mod random;
mod server;
mod small_disk;
mod terminal;
mod tree;
mod wait;

pub use device::{Device, Version};
pub use git::{git, git_ok};
pub use pair::Pair;
pub use process::{Finished, Running};
pub use programs::Programs;
pub use random::Random;
pub use server::Server;
pub use small_disk::{SmallDisk, with_own_mounts};
pub use terminal::on_a_terminal;
pub use tree::{Node, NodeKind, Tree};
pub use wait::{eventually, eventually_within};

use std::time::Duration;

/// Longest time for a program to become ready or to end; far more than it ever needs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A number from the environment, or its default: how large a test is.
///
/// # Panics
/// If the variable is set and no number.
#[must_use]
pub fn size(variable: &str, default: usize) -> usize {
    match std::env::var(variable) {
        Err(_) => default,
        Ok(text) => match text.parse() {
            Ok(size) => size,
            Err(_) => panic!("{variable}={text} is no number"),
        },
    }
}
