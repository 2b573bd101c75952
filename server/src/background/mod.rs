//! What a server does besides answering: garbage collection, checks, copies.
//!
//! Owns the order of the steps and what they tell. What is garbage is decided in `server_core::gc`.
//! It must not know who asked, nor over what. The composition root starts and stops its tasks.

mod gc;
mod mark;
mod metadata;
mod pace;
#[cfg(test)]
mod tests;

pub use gc::{Collector, GcError, GcParts, GcReport, Problem};
pub use pace::{AtOnce, Gentle, Pace};
