//! The rules of the metadata service, on the store in memory.
//!
//! Owns named tests for the rules, and a property that holds random groups against a naive model.
#![allow(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

mod concurrency;
mod epochs;
mod history;
mod labels;
mod model;
mod objects;
mod proof;
mod properties;
mod requests;
mod thinning;
mod tree;
mod users;
mod world;
