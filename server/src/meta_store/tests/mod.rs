//! The SQLite store against the store in memory, and the writer's promises.

#[path = "../../../core/tests/metadata/model.rs"]
mod model;
#[allow(dead_code, reason = "the tests of the rules use the rest of it")]
#[path = "../../../core/tests/metadata/world.rs"]
mod world;

mod handle;
mod twin;
