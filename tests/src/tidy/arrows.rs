//! Arrows between the packages: which may depend on which, and what `client` may know of `server`.
//!
//! Reads the manifests, so that the arrows hold before anything is compiled.

use super::source::has_root;
use super::{Violation, Workspace};
use toml::{Table, Value};

/// A package, the members it may use, and those that only its own tests may use as well.
struct Package {
    manifest: &'static str,
    name: &'static str,
    uses: &'static [&'static str],
    tests_use: &'static [&'static str],
}

/// `common` ← `client_core` ← `client`; `common` ← `server_core` ← `server`; `tests` → all; and
/// `client` uses `server` for `up` alone.
const PACKAGES: &[Package] = &[
    Package { manifest: "common/Cargo.toml", name: "common", uses: &[], tests_use: &[] },
    Package {
        manifest: "client/core/Cargo.toml",
        name: "client_core",
        uses: &["common"],
        tests_use: &[],
    },
    Package {
        manifest: "client/Cargo.toml",
        name: "client",
        uses: &["common", "client_core", "server"],
        tests_use: &["server_core"],
    },
    Package {
        manifest: "server/core/Cargo.toml",
        name: "server_core",
        uses: &["common"],
        tests_use: &[],
    },
    Package {
        manifest: "server/Cargo.toml",
        name: "server",
        uses: &["common", "server_core"],
        tests_use: &[],
    },
    Package {
        manifest: "tests/Cargo.toml",
        name: "tests",
        uses: &["common", "client_core", "client", "server_core", "server"],
        tests_use: &[],
    },
];

/// The one room of `client` that may name the `server` crate outside of tests.
const EMBEDDED_SERVER: &str = "client/src/daemon/embedded.rs";

pub(super) fn check(workspace: &Workspace) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in workspace.texts() {
        if path.ends_with("Cargo.toml") && path != "Cargo.toml" {
            check_manifest(path, text, &mut found);
        }
    }
    for (path, source) in workspace.rust() {
        // A module of its own may bear the same name.
        let shadowed = source.code().any(|(_, code)| code.trim() == "mod server;");
        let watched = path.starts_with("client/src/") && path != EMBEDDED_SERVER && !shadowed;
        for (line, code) in source.code() {
            let names_server = has_root(code, "server");
            if watched && names_server && !workspace.is_test_line(path, line) {
                found.push(Violation::at(
                    path,
                    line,
                    format!("only {EMBEDDED_SERVER} may use the server crate: go through it"),
                ));
            }
        }
    }
    found
}

fn check_manifest(path: &str, text: &str, found: &mut Vec<Violation>) {
    let Some(package) = PACKAGES.iter().find(|package| package.manifest == path) else {
        found.push(Violation::at(
            path,
            0,
            "no arrows are known for this package: add it to the rule",
        ));
        return;
    };
    let manifest: Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(error) => {
            found.push(Violation::at(path, 0, format!("not a manifest: {error}")));
            return;
        }
    };
    for (section, name) in dependencies(&manifest) {
        let member = PACKAGES.iter().any(|package| package.name == name);
        let allowed = package.uses.contains(&name.as_str())
            || section == "dev-dependencies" && package.tests_use.contains(&name.as_str());
        if member && !allowed {
            found.push(Violation::at(
                path,
                line_of(text, &name),
                format!(
                    "{} must not use {name}: it may use {:?}; move what it needs down an arrow",
                    package.name, package.uses
                ),
            ));
        }
    }
}

/// Sections and names of all dependencies, those of single platforms included.
pub(super) fn dependencies(manifest: &Table) -> Vec<(String, String)> {
    let mut tables: Vec<&Table> = vec![manifest];
    if let Some(Value::Table(targets)) = manifest.get("target") {
        tables.extend(targets.values().filter_map(Value::as_table));
    }
    let mut found = Vec::new();
    for table in tables {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            if let Some(Value::Table(dependencies)) = table.get(section) {
                for (key, value) in dependencies {
                    let renamed = value.get("package").and_then(Value::as_str);
                    found.push((section.to_owned(), renamed.unwrap_or(key).to_owned()));
                }
            }
        }
    }
    found
}

/// The line on which a manifest names a dependency; 0 if it is written in some other way.
pub(super) fn line_of(text: &str, name: &str) -> usize {
    text.lines().position(|line| line.trim_start().starts_with(name)).map_or(0, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<(String, usize)> {
        check(&Workspace::of(files)).into_iter().map(|one| (one.path, one.line)).collect()
    }

    #[test]
    fn an_arrow_against_the_grain_is_found() {
        let manifest = "[dependencies]\ncommon.workspace = true\nserver.workspace = true\n";
        let path = "client/core/Cargo.toml";
        assert_eq!(found(&[(path, manifest)]), [(path.to_owned(), 3)]);
        assert!(found(&[("client/Cargo.toml", manifest)]).is_empty());
    }

    #[test]
    fn an_arrow_of_tests_platforms_and_renamed_packages_is_found() {
        for manifest in [
            "[dev-dependencies]\nclient.workspace = true\n",
            "[target.'cfg(unix)'.dependencies]\nclient.workspace = true\n",
            "[dependencies]\nother = { package = \"client\", path = \"../client\" }\n",
        ] {
            assert_eq!(found(&[("common/Cargo.toml", manifest)]).len(), 1, "{manifest}");
        }
    }

    #[test]
    fn a_package_without_arrows_is_found() {
        assert_eq!(found(&[("extra/Cargo.toml", "[package]")]).len(), 1);
    }

    #[test]
    fn the_server_crate_is_named_in_one_room_of_the_client() {
        let text = "let a = server::assemble::start();\n#[cfg(test)]\nmod tests {\n    use server::a;\n}\n";
        let path = "client/src/daemon/run.rs";
        assert_eq!(found(&[(path, text)]), [(path.to_owned(), 1)]);
        assert!(found(&[(EMBEDDED_SERVER, text)]).is_empty());
    }
}
