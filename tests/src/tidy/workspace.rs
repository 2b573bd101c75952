//! The text of the repository: every file that a rule may want to read, and which Rust is test code.
//!
//! Owns reading it from the disk. It knows no rule.

use super::Source;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Files larger than this are no text that a rule reads.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The repository could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {source}", path = .path.display())]
pub struct LoadError {
    path: PathBuf,
    source: std::io::Error,
}

/// The repository as texts, by path relative to its root, with `/`.
#[derive(Debug, Default)]
pub struct Workspace {
    texts: BTreeMap<String, String>,
    rust: BTreeMap<String, Source>,
    /// Files and directories (with a trailing `/`) that `#[cfg(test)] mod name;` names.
    test_modules: Vec<String>,
}

impl Workspace {
    /// Reads the repository at `root`: all text files but for build output, `.git` and what is no
    /// UTF-8.
    ///
    /// # Errors
    /// [`LoadError`] when a directory or file cannot be read.
    pub fn load(root: &Path) -> Result<Self, LoadError> {
        let mut texts = BTreeMap::new();
        collect(root, "", &mut texts)?;
        Ok(Self::new(texts))
    }

    /// A workspace of these files; for the tests of the rules.
    #[must_use]
    pub fn of(files: &[(&str, &str)]) -> Self {
        Self::new(files.iter().map(|(path, text)| ((*path).into(), (*text).into())).collect())
    }

    fn new(texts: BTreeMap<String, String>) -> Self {
        let rust: BTreeMap<String, Source> = texts
            .iter()
            .filter(|(path, _)| path.ends_with(".rs"))
            .map(|(path, text)| (path.clone(), Source::new(text)))
            .collect();
        let test_modules = rust
            .iter()
            .flat_map(|(path, source)| {
                let directory = module_directory(path);
                source
                    .test_modules()
                    .into_iter()
                    .flat_map(move |name| {
                        [format!("{directory}{name}.rs"), format!("{directory}{name}/")]
                    })
                    .collect::<Vec<_>>()
            })
            .collect();
        Self { texts, rust, test_modules }
    }

    /// Every text file.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Every Rust file.
    pub fn rust(&self) -> impl Iterator<Item = (&str, &Source)> {
        self.rust.iter().map(|(path, source)| (path.as_str(), source))
    }

    /// Whether a file is there.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.texts.contains_key(path)
    }

    /// Whether anything lies below this directory.
    #[must_use]
    pub fn has_directory(&self, path: &str) -> bool {
        let prefix = format!("{}/", path.trim_end_matches('/'));
        self.texts.keys().any(|file| file.starts_with(&prefix))
    }

    /// Whether the whole file is test code: below a `tests` directory, or a `#[cfg(test)]` module.
    #[must_use]
    pub fn is_test_file(&self, path: &str) -> bool {
        path.split('/').any(|part| part == "tests" || part == "tests.rs" || part == "benches")
            || self.test_modules.iter().any(|module| match module.strip_suffix('/') {
                Some(_) => path.starts_with(module.as_str()),
                None => path == module,
            })
    }

    /// Whether this line, from 1, is test code.
    #[must_use]
    pub fn is_test_line(&self, path: &str, line: usize) -> bool {
        self.is_test_file(path)
            || self.rust.get(path).is_some_and(|source| source.is_test_line(line))
    }
}

/// Where the modules that a file names lie.
fn module_directory(path: &str) -> String {
    let (directory, file) = path.rsplit_once('/').map_or(("", path), |(left, right)| (left, right));
    let own = match file {
        "mod.rs" | "lib.rs" | "main.rs" => String::new(),
        file => format!("{}/", file.trim_end_matches(".rs")),
    };
    if directory.is_empty() { own } else { format!("{directory}/{own}") }
}

fn collect(
    directory: &Path,
    prefix: &str,
    texts: &mut BTreeMap<String, String>,
) -> Result<(), LoadError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| LoadError { path, source }
    };
    for entry in fs::read_dir(directory).map_err(failed(directory))? {
        let entry = entry.map_err(failed(directory))?;
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else { continue };
        let metadata = fs::symlink_metadata(&path).map_err(failed(&path))?;
        let relative = format!("{prefix}{name}");
        // A directory, or in a second work tree a file that says where that is.
        if name == ".git" {
            continue;
        }
        if metadata.is_dir() {
            if !is_build_output(&path, &name) {
                collect(&path, &format!("{relative}/"), texts)?;
            }
        } else if metadata.is_file() && metadata.len() <= FILE_BYTES_MAX {
            let bytes = fs::read(&path).map_err(failed(&path))?;
            if let Ok(text) = String::from_utf8(bytes) {
                texts.insert(relative, text);
            }
        }
    }
    Ok(())
}

/// Cargo marks its target directories, whatever they are called.
fn is_build_output(path: &Path, name: &str) -> bool {
    name == "target" || name.starts_with("target-") || path.join("CACHEDIR.TAG").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_code_is_known_by_directory_attribute_and_module() {
        let workspace = Workspace::of(&[
            ("a/tests/it.rs", "fn x() {}"),
            ("a/src/fs/mod.rs", "#[cfg(test)]\npub(crate) mod contract;\nmod look;"),
            ("a/src/fs/contract.rs", ""),
            ("a/src/fs/contract/deep.rs", ""),
            ("a/src/fs/look.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n"),
        ]);
        assert!(workspace.is_test_file("a/tests/it.rs"));
        assert!(workspace.is_test_file("a/src/fs/contract.rs"));
        assert!(workspace.is_test_file("a/src/fs/contract/deep.rs"));
        assert!(!workspace.is_test_file("a/src/fs/look.rs"));
        assert!(!workspace.is_test_line("a/src/fs/look.rs", 1));
        assert!(workspace.is_test_line("a/src/fs/look.rs", 4));
    }
}
