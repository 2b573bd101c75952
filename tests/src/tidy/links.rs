//! Links between the documents lead somewhere.
//!
//! Only links to files of the repository are looked at; other pages are not ours to check.

use super::{Violation, Workspace};

pub(super) fn check(workspace: &Workspace) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in workspace.texts().filter(|(path, _)| path.ends_with(".md")) {
        for (index, line) in text.lines().enumerate() {
            for target in targets(line) {
                let file = target.split('#').next().unwrap_or_default();
                let resolved = resolve(path, file);
                let known = workspace.has(&resolved) || workspace.has_directory(&resolved);
                if !file.is_empty() && !file.contains(':') && !known {
                    let message = format!("the link to {target} leads nowhere");
                    found.push(Violation::at(path, index + 1, message));
                }
            }
        }
    }
    found
}

/// What stands in the parentheses of `[text](target)`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// A path relative to a file, made relative to the root.
fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        for (text, count) in [
            ("[a](b.md)", 0),
            ("[a](b.md#part) and [c](../README.md), [d](decisions/)", 0),
            ("[a](https://example.org) [b](#here)", 0),
            ("[a](c.md)", 1),
            ("[a](b.md) [b](../b.md)", 1),
        ] {
            let workspace = Workspace::of(&[
                ("docs/a.md", text),
                ("docs/b.md", ""),
                ("README.md", ""),
                ("docs/decisions/001.md", ""),
            ]);
            assert_eq!(check(&workspace).len(), count, "{text}");
        }
    }
}
