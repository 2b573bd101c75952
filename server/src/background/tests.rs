//! Garbage collection against devices that go on meanwhile, and backups.

mod backups;
mod race;
mod runs;
