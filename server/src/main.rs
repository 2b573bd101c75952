//! Server program.
fn main() {}
