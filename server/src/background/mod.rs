//! What a server does besides answering: garbage collection, checks, copies.
//!
//! Owns the order of the steps and what they tell. What is garbage is decided in `server_core::gc`.
//! It must not know who asked, nor over what. The composition root starts and stops its tasks.

mod backup;
mod check;
mod compact;
mod file_error;
mod gc;
mod mark;
mod metadata;
mod objects;
mod pace;
mod report;
#[cfg(test)]
mod tests;

pub use backup::{BackupError, BackupReport, Identity, Manifest, back_up, read_manifest};
pub use check::{CheckReport, check};
pub use file_error::FileError;
pub use gc::{Collector, GcError, GcParts, Held};
pub use pace::{AtOnce, Gentle, Pace};
pub use report::{Amount, GcReport, Problem, Problems};
