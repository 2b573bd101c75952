//! Whether one directory lies in another, however both are written.
//!
//! Owns how a path that may not be there yet is brought to where it would be. It changes nothing.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Whether `path` is the directory `around` or lies in it, by what their symlinks lead to.
pub(super) fn is_within(path: &Path, around: &Path) -> bool {
    real(path).starts_with(real(around))
}

/// Where a path leads, as far as it is there; the rest by its names alone. A relative one begins at
/// the working directory, which may be all of it that is there.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut components: Vec<Component<'_>> = path.components().collect();
    let mut missing = Vec::new();
    loop {
        let there: PathBuf = components.iter().collect();
        if let Ok(real) = fs::canonicalize(&there) {
            return joined(real, &missing);
        }
        match components.pop() {
            Some(last) => missing.insert(0, last),
            // Not even the root can be told.
            None => return path,
        }
    }
}

fn joined(mut real: PathBuf, missing: &[Component<'_>]) -> PathBuf {
    for component in missing {
        match component {
            Component::ParentDir => drop(real.pop()),
            other => real.push(other),
        }
    }
    real
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_directory_is_found_in_another_through_links_and_what_is_not_there() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::create_dir_all(at("data/chunks")).unwrap();
        fs::create_dir(at("data-2")).unwrap();
        symlink(at("data"), at("link")).unwrap();
        symlink(at("data/chunks"), at("deep")).unwrap();
        for (path, expected) in [
            ("data", true),
            ("data/", true),
            ("data/backup", true),
            ("data/a/b/c", true),
            ("link", true),
            ("link/backup", true),
            ("deep/new/backup", true),
            ("elsewhere/../data/backup", true),
            ("data-2", false),
            ("data-2/backup", false),
            ("data/../backup", false),
            ("data/missing/../../backup", false),
            ("backup", false),
            ("", false),
        ] {
            assert_eq!(is_within(&at(path), &at("data")), expected, "{path}");
            assert_eq!(is_within(&at(path), &at("link")), expected, "{path}");
        }
    }
}
