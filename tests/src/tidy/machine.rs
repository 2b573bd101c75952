//! Nothing of the machine or the company that the code was written on: paths, hosts, tools.

use super::source::has_word;
use super::{Violation, Workspace};

/// Beginnings of paths that exist on one machine only. In two parts, so that this file has none.
const PATHS: &[(&str, &str)] =
    &[("/wo", "rk/"), ("/ro", "ot/"), ("/home/", "user/"), ("/Us", "ers/")];

/// Words that belong to how the code was made, or that say nothing; the rules must name some.
const WORDS: &[(&str, &str)] = &[("hel", "per"), ("hel", "pers"), ("artif", "actory")];

pub(super) fn check(workspace: &Workspace) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in workspace.texts() {
        for (index, line) in text.lines().enumerate() {
            for (start, rest) in PATHS {
                if names_path(line, &format!("{start}{rest}")) {
                    let message = format!("{start}{rest} is a path of one machine");
                    found.push(Violation::at(path, index + 1, message));
                }
            }
            if path.starts_with("tests/src/tidy/") {
                continue;
            }
            let lower = line.to_lowercase();
            for (start, rest) in WORDS {
                if has_word(&lower, &format!("{start}{rest}")) {
                    let message = format!("`{start}{rest}` has no place here: say what it is");
                    found.push(Violation::at(path, index + 1, message));
                }
            }
        }
    }
    found
}

/// Whether the path begins here, not in the middle of another (`homework/`, `a/work/b`).
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(start, _)| {
        !line[..start]
            .chars()
            .next_back()
            .is_some_and(|c| c.is_alphanumeric() || "_-.*/})".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        check(&Workspace::of(&[("docs/a.md", text)])).len()
    }

    #[test]
    fn traces_of_one_machine_are_found() {
        assert_eq!(count(concat!("see /wo", "rk/notes")), 1);
        assert_eq!(count(concat!("`/ro", "ot/.cargo`")), 1);
        assert_eq!(count(concat!("a Hel", "per of mine")), 1);
        assert_eq!(count(concat!("https://x.artif", "actory.example")), 1);
    }

    #[test]
    fn what_only_looks_like_it_is_left_alone() {
        assert_eq!(count(concat!("coursework/a target/wo", "rk/ helpful")), 0);
    }
}
