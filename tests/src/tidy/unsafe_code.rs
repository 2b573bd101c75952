//! Unsafe code stands in named modules alone.

use super::source::has_word;
use super::{Violation, Workspace};

/// Modules that may hold unsafe code; each says in its opening why it must.
const MODULES: &[&str] = &["client/src/fs/lease.rs"];

pub(super) fn check(workspace: &Workspace) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, source) in workspace.rust().filter(|(path, _)| !MODULES.contains(path)) {
        for (line, code) in source.code() {
            // The attribute may also be spelled in a way that only forbids.
            let lifts = has_word(code, "unsafe_code")
                && (code.contains("allow") || code.contains("expect") || code.contains("warn"));
            if has_word(code, "unsafe") || lifts {
                found.push(Violation::at(
                    path,
                    line,
                    format!("unsafe code is for {MODULES:?} alone: find a safe interface"),
                ));
            }
        }
    }
    for (path, text) in workspace.texts().filter(|(path, _)| path.ends_with("Cargo.toml")) {
        for (index, line) in text.lines().enumerate() {
            let setting = line.trim_start().strip_prefix("unsafe_code");
            if setting.is_some_and(|value| !value.contains("deny") && !value.contains("forbid")) {
                found.push(Violation::at(path, index + 1, "unsafe_code is denied or forbidden"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_code_outside_its_modules_is_found() {
        let call = "let a = unsafe { b() };";
        for (path, text, count) in [
            ("client/src/fs/disk.rs", call, 1),
            ("client/src/fs/lease.rs", call, 0),
            ("server/src/a.rs", "#![allow(unsafe_code)]", 1),
            ("server/src/a.rs", "unsafe impl Send for A {}", 1),
            (
                "server/src/a.rs",
                "#![forbid(unsafe_code)]\n// unsafe\nlet not_unsafe_at_all = 1;",
                0,
            ),
            ("Cargo.toml", "[workspace.lints.rust]\nunsafe_code = \"allow\"", 1),
            ("Cargo.toml", "[workspace.lints.rust]\nunsafe_code = \"deny\"", 0),
        ] {
            assert_eq!(check(&Workspace::of(&[(path, text)])).len(), count, "{path} {text}");
        }
    }
}
