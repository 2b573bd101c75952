//! Every Rust file opens with `//!` and a sentence: what it owns and what it must not know.

use super::{Violation, Workspace};

/// Shorter than this, an opening says nothing.
const OPENING_BYTES_MIN: usize = 15;

pub(super) fn check(workspace: &Workspace) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, source) in workspace.rust() {
        let opening: String = source
            .lines()
            .map_while(|(_, line)| line.strip_prefix("//!"))
            .collect::<Vec<_>>()
            .join(" ");
        if opening.trim().len() < OPENING_BYTES_MIN {
            found.push(Violation::at(
                path,
                1,
                "open the file with `//!`: what it owns and what it must not know",
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_does_not_say_what_it_owns_is_found() {
        for (text, count) in [
            ("use std::fmt;\n", 1),
            ("", 1),
            ("//! Room.\nfn a() {}\n", 1),
            ("// Not a doc comment, however long it may be.\n", 1),
            ("//! Names of entries.\n//!\n//! Owns how they are checked.\n", 0),
        ] {
            assert_eq!(check(&Workspace::of(&[("a.rs", text)])).len(), count, "{text}");
        }
    }
}
