//! What the pure crates must not know: no I/O, clock, environment, randomness or hash order.
//!
//! The simulation runs a whole system from one seed only while this holds.

use super::arrows::{dependencies, line_of};
use super::source::{has_root, has_word};
use super::{Violation, Workspace};
use toml::Table;

const PURE: &[&str] = &["common/", "client/core/", "server/core/"];

/// Libraries that reach outside.
const DEPENDENCIES: &[&str] = &[
    "async-std",
    "axum",
    "getrandom",
    "libc",
    "memmap2",
    "mio",
    "notify",
    "quinn",
    "rand",
    "reqwest",
    "rusqlite",
    "rustix",
    "rustls",
    "socket2",
    "tempfile",
    "tokio",
    "walkdir",
];

/// Modules of `std` that reach outside.
const MODULES: &[&str] = &["env", "fs", "net", "os", "process", "thread"];

/// Names that read a clock, draw randomness or iterate in an order of their own.
const NAMES: &[(&str, &str)] = &[
    ("Instant", "take the time as an argument"),
    ("SystemTime", "take the time as an argument"),
    ("SystemRandom", "take random bytes as an argument"),
    ("HashMap", "its order differs from run to run: use BTreeMap"),
    ("HashSet", "its order differs from run to run: use BTreeSet"),
    ("RandomState", "its order differs from run to run"),
];

pub(super) fn check(workspace: &Workspace) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in workspace.texts() {
        if path.ends_with("Cargo.toml") && is_pure(path) {
            check_manifest(path, text, &mut found);
        }
    }
    for (path, source) in workspace.rust().filter(|(path, _)| is_pure(path)) {
        let mut std_group = false;
        for (line, code) in source.code() {
            if workspace.is_test_line(path, line) {
                continue;
            }
            for (name, instead) in NAMES {
                if has_word(code, name) {
                    found.push(Violation::at(path, line, format!("{name}: {instead}")));
                }
            }
            // `use std::{…}` may run over several lines.
            std_group |= code.contains("std::{");
            for module in MODULES {
                let grouped = std_group && (has_root(code, module) || listed(code, module));
                if has_word(code, &format!("std::{module}")) || grouped {
                    found.push(Violation::at(
                        path,
                        line,
                        format!("std::{module} reaches outside: the shell crates do that"),
                    ));
                }
            }
            std_group &= !code.contains(';');
        }
    }
    found
}

fn is_pure(path: &str) -> bool {
    PURE.iter().any(|root| path.starts_with(root))
}

/// Whether a module stands in an import list by itself, as in `{fmt, fs}`.
fn listed(code: &str, module: &str) -> bool {
    code.split(|c: char| "{},; ".contains(c)).any(|word| word == module)
}

fn check_manifest(path: &str, text: &str, found: &mut Vec<Violation>) {
    // A manifest that does not parse is the arrows' violation.
    let Ok(manifest) = text.parse::<Table>() else { return };
    for (section, name) in dependencies(&manifest) {
        if section != "dev-dependencies" && DEPENDENCIES.contains(&name.as_str()) {
            found.push(Violation::at(
                path,
                line_of(text, &name),
                format!("a pure crate must not use {name}: the shell crates do"),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Workspace::of(&[(path, text)])).into_iter().map(|found| found.line).collect()
    }

    #[test]
    fn a_library_that_reaches_outside_is_found() {
        let manifest = "[dependencies]\ncommon.workspace = true\ntokio.workspace = true\n";
        assert_eq!(lines("server/core/Cargo.toml", manifest), [3]);
        assert!(lines("server/Cargo.toml", manifest).is_empty());
    }

    #[test]
    fn a_clock_a_file_and_a_hash_order_are_found() {
        for code in [
            "let now = Instant::now();",
            "let now = std::time::SystemTime::now();",
            "use std::fs::File;",
            "use std::{fmt, fs};",
            "use std::{\n    env::var,\n};",
            "let path = std::env::var(\"HOME\");",
            "use std::collections::{BTreeMap, HashMap};",
            "let random = aws_lc_rs::rand::SystemRandom::new();",
        ] {
            assert_eq!(lines("client/core/src/a.rs", code).len(), 1, "{code}");
            assert_eq!(lines("client/src/a.rs", code).len(), 0, "{code}");
        }
    }

    #[test]
    fn prose_tests_and_other_modules_are_left_alone() {
        let text = "//! No std::fs, no HashMap.\nuse std::{fmt, io};\nlet a = \"std::env\";\nlet fs = b::fs::c;\n\
                    #[cfg(test)]\nmod tests {\n    use std::env;\n}\n";
        assert!(lines("common/src/a.rs", text).is_empty());
        assert!(lines("common/tests/a.rs", "use std::env;").is_empty());
    }
}
