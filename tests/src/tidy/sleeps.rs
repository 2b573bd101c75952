//! Tests that sleep hope: they wait for an event instead.
//!
//! A sleep that is right (a pause between two looks at another process) says why behind `// ok:`,
//! on its line or the one above. The simulation's clock is its own: a sleep there takes no time.

use super::{Source, Violation, Workspace};

/// Where time is simulated.
const SIMULATED: &str = "tests/src/sim/";

const LIFTED: &str = "// ok: ";

pub(super) fn check(workspace: &Workspace) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, source) in workspace.rust().filter(|(path, _)| !path.starts_with(SIMULATED)) {
        for (line, code) in source.code() {
            if sleeps(code) && workspace.is_test_line(path, line) && !is_lifted(source, line) {
                found.push(Violation::at(
                    path,
                    line,
                    format!(
                        "a test must not sleep: wait for what it needs, or say why `{LIFTED}…`"
                    ),
                ));
            }
        }
    }
    found
}

/// Whether `sleep` is called here, by itself or by its path. A method `sleep` is some environment's,
/// and `Box::pin(sleep(…))` hands a clock on, as an environment does; nothing waits on that line.
fn sleeps(code: &str) -> bool {
    code.match_indices("sleep(").any(|(start, _)| {
        let before = &code[..start];
        let part_of_name = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        !before.ends_with(part_of_name)
            && !before.trim_end().ends_with("fn")
            && !before.contains("Box::pin(")
    })
}

fn is_lifted(source: &Source, line: usize) -> bool {
    [source.line(line), source.line(line - 1)]
        .iter()
        .any(|text| text.split_once(LIFTED).is_some_and(|(_, reason)| reason.trim().len() >= 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&Workspace::of(&[(path, text)])).len()
    }

    #[test]
    fn a_sleep_in_a_test_is_found_unless_it_says_why() {
        let sleep = "std::thread::sleep(ms);";
        let asynchronous = "tokio::time::sleep(ms).await;";
        for (text, expected) in [
            (sleep.to_owned(), 1),
            (asynchronous.to_owned(), 1),
            ("sleep(ms).await;".to_owned(), 1),
            ("() = sleep(ms) => {}".to_owned(), 1),
            ("use std::thread::sleep;".to_owned(), 0),
            ("fn sleep(&self) { clock.sleep(1); Box::pin(sleep(1)) }".to_owned(), 0),
            (format!("{sleep} // ok: "), 1),
            (format!("{sleep} // ok: between two looks at a process"), 0),
            (format!("// ok: between two looks at a process\n{asynchronous}"), 0),
        ] {
            assert_eq!(count("a/tests/b.rs", &text), expected, "{text}");
        }
        assert_eq!(count("a/src/b.rs", sleep), 0);
        assert_eq!(count("a/src/b.rs", &format!("#[cfg(test)]\nmod tests {{\n{sleep}\n}}")), 1);
    }
}
