//! Every dependency comes from crates.io, and its one version is named in the root manifest.
//!
//! `Cargo.lock` is what a build really takes, so it is what is read.

use super::arrows::line_of;
use super::{Violation, Workspace};
use toml::{Table, Value};

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(super) fn check(workspace: &Workspace) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in workspace.texts() {
        if path == "Cargo.lock" {
            check_lock(path, text, &mut found);
        } else if path.ends_with("/Cargo.toml") {
            check_versions(path, text, &mut found);
        }
    }
    found
}

fn check_lock(path: &str, text: &str, found: &mut Vec<Violation>) {
    for (index, line) in text.lines().enumerate() {
        if let Some(source) = line.strip_prefix("source = ")
            && source.trim_matches('"') != CRATES_IO
        {
            found.push(Violation::at(
                path,
                index + 1,
                format!("{source} is not crates.io: take a released version from there"),
            ));
        }
    }
}

fn check_versions(path: &str, text: &str, found: &mut Vec<Violation>) {
    // A manifest that does not parse is the arrows' violation.
    let Ok(manifest) = text.parse::<Table>() else { return };
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(Value::Table(dependencies)) = manifest.get(section) else { continue };
        for (name, value) in dependencies {
            if value.get("workspace").and_then(Value::as_bool) != Some(true) {
                found.push(Violation::at(
                    path,
                    line_of(text, name),
                    format!(
                        "name the version of {name} in the root manifest: `{name}.workspace = true`"
                    ),
                ));
            }
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
    fn a_source_that_is_not_crates_io_is_found() {
        let text = format!("source = \"{CRATES_IO}\"\nsource = \"git+https://example.org/a\"\n");
        assert_eq!(lines("Cargo.lock", &text), [2]);
    }

    #[test]
    fn a_version_outside_the_root_manifest_is_found() {
        let text = "[dependencies]\ntoml.workspace = true\nlibc = \"0.2\"\n";
        assert_eq!(lines("client/Cargo.toml", text), [3]);
        assert!(lines("Cargo.toml", "[workspace.dependencies]\nlibc = \"0.2\"\n").is_empty());
    }
}
