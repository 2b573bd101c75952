//! Sending what the planner decided to the server.
//!
//! Owns the way of a group: contents proven and synced to disk, ids drawn, signed, stored in the
//! outbox, sent, its outcome taken. What acceptance means for the trees happens when the journal
//! brings the group back (`pull`). It must not decide what is sent.

mod prepare;
mod send;

pub use prepare::{Preparation, Prepared, prepare};
pub use send::{PushError, Rejection, Sent, resolve_outbox, send};
