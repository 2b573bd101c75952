//! Device program.
fn main() {}
