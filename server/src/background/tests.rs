//! Garbage collection against devices that go on meanwhile.

#[allow(dead_code, reason = "the tests of the service use the rest of it")]
#[path = "../service/tests/world.rs"]
mod world;

mod race;
mod runs;
