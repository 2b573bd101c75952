//! Garbage collection against devices that go on meanwhile.

mod race;
mod runs;
