//! Nothing that stands for work not done: no `todo!`, `unimplemented!`, ignored or empty test.

use super::source::has_word;
use super::{Violation, Workspace};

const MACROS: &[&str] = &["todo!", "unimplemented!"];

pub(super) fn check(workspace: &Workspace) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, source) in workspace.rust() {
        for (line, code) in source.code() {
            for name in MACROS {
                if code.match_indices(name).any(|(start, _)| !follows_name(code, start)) {
                    found.push(Violation::at(path, line, format!("{name} is not done: do it")));
                }
            }
            let attribute = code.trim_start();
            if attribute.starts_with("#[") && has_word(attribute, "ignore") {
                found.push(Violation::at(
                    path,
                    line,
                    "a test that is ignored shows nothing: run it, or take it out",
                ));
            }
        }
    }
    found
}

fn follows_name(code: &str, start: usize) -> bool {
    code[..start].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_work_is_found() {
        for (code, count) in [
            ("fn a() { todo!() }", 1),
            ("fn a() { unimplemented!(\"later\") }", 1),
            ("#[ignore]\n#[test]", 1),
            ("#[ignore = \"slow\"]", 1),
            ("#[cfg_attr(unix, ignore)]", 1),
            (
                "#[serde(skip)]\n// todo! is refused\nlet a = \"todo!\"; my_todo!(); ignore::walk();",
                0,
            ),
        ] {
            assert_eq!(check(&Workspace::of(&[("a.rs", code)])).len(), count, "{code}");
        }
    }
}
