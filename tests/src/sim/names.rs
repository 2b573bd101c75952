//! Names that the simulated user gives to files and directories.
//!
//! Owns the lists; how often a name is taken from them is the writer's choice.

/// Names that are given to new files.
pub(super) const USUAL: [&str; 14] = [
    "a",
    "b",
    "c",
    "notes.txt",
    "Foo",
    "foo",
    "x",
    "y",
    "z",
    "data.bin",
    "d1",
    "d2",
    "d3",
    "caf\u{e9}",
];
/// As many, of which several are one on a disk that folds names.
pub(super) const CLASHING: [&str; 14] = [
    "a",
    "A",
    "Foo",
    "foo",
    "FOO",
    "notes.txt",
    "Notes.txt",
    "x",
    "d1",
    "D1",
    "d2",
    "caf\u{e9}",
    "cafe\u{301}",
    "CAF\u{c9}",
];
