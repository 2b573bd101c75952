//! The rules of the house that no lint knows, checked over the text of the whole repository.
//!
//! Owns the rules (a file each), the text that they read ([`Workspace`]) and how a violation is
//! told. A rule is a pure function over texts, so that each is tested here against a bad sample: a
//! check that cannot fail is no check. It must not build or run anything.

mod arrows;
mod links;
mod machine;
mod names;
mod opening;
mod placeholders;
mod pure;
mod size;
mod sleeps;
mod source;
mod sources;
mod storage;
mod transport;
mod unsafe_code;
mod workspace;

pub use source::Source;
pub use workspace::{LoadError, Workspace};

use std::fmt;

/// One place that breaks one rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// File, relative to the root of the repository, with `/`.
    pub path: String,
    /// Line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl Violation {
    /// A violation at one line.
    #[must_use]
    pub fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.path, self.message),
            line => write!(formatter, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// A named check.
pub struct Rule {
    /// One word for it.
    pub name: &'static str,
    /// Finds every place that breaks it.
    pub check: fn(&Workspace) -> Vec<Violation>,
}

/// All rules.
pub const RULES: &[Rule] = &[
    Rule { name: "arrows", check: arrows::check },
    Rule { name: "links", check: links::check },
    Rule { name: "machine", check: machine::check },
    Rule { name: "names", check: names::check },
    Rule { name: "opening", check: opening::check },
    Rule { name: "placeholders", check: placeholders::check },
    Rule { name: "pure", check: pure::check },
    Rule { name: "size", check: size::check },
    Rule { name: "sleeps", check: sleeps::check },
    Rule { name: "sources", check: sources::check },
    Rule { name: "storage", check: storage::check },
    Rule { name: "transport", check: transport::check },
    Rule { name: "unsafe", check: unsafe_code::check },
];

/// Every violation of every rule, as lines `path:line: [rule] message`, in order of path.
#[must_use]
pub fn report(workspace: &Workspace) -> Vec<String> {
    let mut found: Vec<(Violation, &str)> = RULES
        .iter()
        .flat_map(|rule| (rule.check)(workspace).into_iter().map(|found| (found, rule.name)))
        .collect();
    found.sort();
    found.into_iter().map(|(violation, rule)| format!("{violation} [{rule}]")).collect()
}
