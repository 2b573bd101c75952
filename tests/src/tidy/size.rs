//! How long a file may be: 600 lines, 800 with a reason, `main.rs` 50.
//!
//! The reason is a line `// tidy: long because …` in the file itself.

use super::{Source, Violation, Workspace};

const LINES_MAX: usize = 600;
const LINES_WITH_REASON_MAX: usize = 800;
const MAIN_LINES_MAX: usize = 50;
const REASON: &str = "// tidy: long because ";

pub(super) fn check(workspace: &Workspace) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, source) in workspace.rust() {
        let count = source.lines().count();
        let is_main = path.ends_with("src/main.rs");
        let advice = if is_main && count > MAIN_LINES_MAX {
            format!("{count} lines: a main.rs has {MAIN_LINES_MAX} at most, the rest is library")
        } else if count > LINES_WITH_REASON_MAX {
            format!("{count} lines: over {LINES_WITH_REASON_MAX} is split, whatever the reason")
        } else if count > LINES_MAX && !has_reason(source) {
            format!("{count} lines: split it, or say why not in a line `{REASON}…`")
        } else {
            continue;
        };
        found.push(Violation::at(path, count, advice));
    }
    found
}

fn has_reason(source: &Source) -> bool {
    source.lines().any(|(_, line)| {
        line.trim_start().strip_prefix(REASON).is_some_and(|reason| reason.len() >= 10)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, first: &str, lines: usize) -> usize {
        let text = format!("{first}\n{}", "x\n".repeat(lines - 1));
        check(&Workspace::of(&[(path, &text)])).len()
    }

    #[test]
    fn long_files_are_found_and_a_reason_lifts_the_first_bound() {
        let reason = "// tidy: long because it is one table";
        for (first, lines, expected) in [
            ("x", 600, 0),
            ("x", 601, 1),
            ("// tidy: long because", 601, 1),
            (reason, 601, 0),
            (reason, 800, 0),
            (reason, 801, 1),
        ] {
            assert_eq!(count("a/src/b.rs", first, lines), expected, "{first} {lines}");
        }
    }

    #[test]
    fn a_main_is_short() {
        assert_eq!(count("a/src/main.rs", "x", 50), 0);
        assert_eq!(count("a/src/main.rs", "// tidy: long because it is a main", 51), 1);
    }
}
