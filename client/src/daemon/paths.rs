//! Path arguments: real paths inside a synced folder, or `FOLDER:relative/path`; which folder is meant.
//!
//! Owns how a typed path is brought to a folder and a path in it, and which folder is meant where none
//! is named. It follows symlinks above the last name, as the shell does, and never the last name
//! itself, which may be a synced link.

use super::control::{Failure, FolderArgument, PathArgument};
use crate::home::{Config, FolderConfig};
use std::path::{Component, Path, PathBuf};

/// A folder and a path in it, with `/` and without a leading or trailing one; `""` is the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InFolder {
    pub(super) folder: FolderConfig,
    pub(super) path: String,
}

/// Finds what an argument means.
pub(super) fn resolve(config: &Config, argument: &PathArgument) -> Result<InFolder, Failure> {
    let text = argument.text.as_str();
    let is_plainly_real = text.starts_with(['/', '.']);
    if !is_plainly_real
        && let Some((name, rest)) = text.split_once(':')
        && let Some(folder) = config.folder_named(name)
    {
        return Ok(InFolder { folder: folder.clone(), path: relative(rest)? });
    }
    let real = argument.directory.join(text);
    in_folders(config, &normal(&real))
        .or_else(|| in_folders(config, &resolved(&normal(&real))))
        .ok_or_else(|| not_synced(text))?
}

/// The folder that is named; else the one that the working directory lies in; else the only one.
pub(super) fn folder_meant(
    config: &Config,
    argument: &FolderArgument,
) -> Result<FolderConfig, Failure> {
    if let Some(name) = &argument.name {
        return config.folder_named(name).cloned().ok_or_else(|| no_such_folder(name));
    }
    let around = argument.directory.as_ref().and_then(|directory| {
        let text = ".".to_owned();
        resolve(config, &PathArgument { text, directory: directory.clone() }).ok()
    });
    match (around, &config.folders[..]) {
        (Some(around), _) => Ok(around.folder),
        (None, [only]) => Ok(only.clone()),
        (None, []) => Err(Failure::new(
            "no_such_folder",
            "no folder is synced here",
            "add one with `driftless folder add DIR`",
        )),
        (None, _) if argument.directory.is_none() => Err(Failure::new(
            "usage",
            "several folders are synced here, and the working directory cannot be told, or is not valid \
             UTF-8",
            "say which: `driftless folder ls` lists them",
        )),
        (None, _) => Err(Failure::new(
            "usage",
            "several folders are synced here, and the working directory is in none of them",
            "say which, or change to a directory in it: `driftless folder ls` lists them",
        )),
    }
}

pub(super) fn no_such_folder(name: &str) -> Failure {
    Failure::new(
        "no_such_folder",
        format!("no folder named {name} is synced here"),
        "`driftless folder ls` lists the folders",
    )
}

fn not_synced(text: &str) -> Failure {
    Failure::new(
        "no_such_path",
        format!("{text} is in no folder that is synced here"),
        "give a path inside a synced folder, or FOLDER:relative/path; `driftless folder ls` lists \
         the folders",
    )
}

/// Says of a path at which nothing is that it would be in a folder by a name that none has, if it is
/// written so.
pub(super) fn or_no_folder(config: &Config, argument: &PathArgument, failure: Failure) -> Failure {
    let text = argument.text.as_str();
    let name = text.split_once(':').map(|(name, _)| name).filter(|name| !name.contains('/'));
    match name.filter(|name| config.folder_named(name).is_none()) {
        Some(name) if failure.kind == "no_such_path" => {
            let folders = config.folders.iter().map(|folder| folder.name.as_str());
            let folders = folders.collect::<Vec<_>>().join(", ");
            let message = format!("{text}: no folder named {name} is synced here, nor such a path");
            Failure::new("no_such_path", message, format!("the folders here are: {folders}"))
        }
        _ => failure,
    }
}

/// The folder that holds a path, and the path in it.
fn in_folders(config: &Config, path: &Path) -> Option<Result<InFolder, Failure>> {
    let folder = config.folders.iter().find(|folder| path.starts_with(&folder.path))?;
    let rest = path.strip_prefix(&folder.path).ok()?;
    let rest = rest.to_str().map(|rest| InFolder { folder: folder.clone(), path: rest.to_owned() });
    Some(rest.ok_or_else(|| Failure::new("no_such_path", "the path is not valid UTF-8", "")))
}

/// A relative path with its `.` and empty parts taken out.
fn relative(text: &str) -> Result<String, Failure> {
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                let message = format!("{text}: a path in a folder has no `..`");
                let hint = "after FOLDER: name it from the folder's top, as `driftless ls` does";
                return Err(Failure::new("usage", message, hint));
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// Takes `.` and `..` out by their names alone.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

/// Follows symlinks in what exists above the last name.
fn resolved(path: &Path) -> PathBuf {
    let mut missing: Vec<&std::ffi::OsStr> = path.file_name().into_iter().collect();
    let mut above = path.parent();
    while let Some(at) = above {
        if let Ok(real) = std::fs::canonicalize(at) {
            return missing.iter().rev().fold(real, |real, name| real.join(name));
        }
        missing.extend(at.file_name());
        above = at.parent();
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::ServerConfig;
    use common::ids::{ClusterId, FolderId};

    fn folder(path: &Path, id: u8, name: &str) -> FolderConfig {
        let id = FolderId::from_bytes([id; 32]);
        FolderConfig { id, name: name.into(), path: path.to_owned(), paused: false }
    }

    fn config(path: &Path) -> Config {
        Config {
            device: "d".into(),
            server: ServerConfig {
                addresses: vec!["a:1".into()],
                cluster: ClusterId::from_bytes([0; 32]),
                embedded: false,
                listen: None,
            },
            folders: vec![folder(path, 0xab, "notes")],
            invited: Vec::new(),
            merge_tool: None,
        }
    }

    fn path_of(config: &Config, directory: &Path, text: &str) -> Result<String, String> {
        let argument = PathArgument { text: text.into(), directory: directory.to_owned() };
        resolve(config, &argument).map(|found| found.path).map_err(|failure| failure.kind)
    }

    #[test]
    fn paths_are_found_however_they_are_typed() {
        let directory = tempfile::tempdir().unwrap();
        let base = std::fs::canonicalize(directory.path()).unwrap();
        let root = base.join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::os::unix::fs::symlink(&root, base.join("link")).unwrap();
        std::os::unix::fs::symlink("/etc", root.join("a/etc")).unwrap();
        let config = config(&root);
        let real = root.to_str().unwrap().to_owned();
        let linked = base.join("link/a/etc").to_str().unwrap().to_owned();
        for (at, text, path) in [
            (&base, "notes:a/./b//c", "a/b/c"),
            (&base, "notes:", ""),
            (&base, "abababab:x", "x"),
            (&base, "root/a", "a"),
            (&root, "a/b", "a/b"),
            (&root.join("a"), "../gone/file", "gone/file"),
            (&root, ".", ""),
            (&base, real.as_str(), ""),
            (&base, linked.as_str(), "a/etc"),
            (&root, "./notes:x", "notes:x"),
            (&root, "other:x", "other:x"),
        ] {
            assert_eq!(path_of(&config, at, text).as_deref(), Ok(path), "{text}");
        }
        assert_eq!(path_of(&config, &base, "elsewhere"), Err("no_such_path".into()));
        assert_eq!(path_of(&config, &base, "notes:../x"), Err("usage".into()));
    }

    #[test]
    fn a_folder_that_is_not_named_is_the_one_around_or_the_only_one() {
        let directory = tempfile::tempdir().unwrap();
        let base = std::fs::canonicalize(directory.path()).unwrap();
        let root = base.join("root");
        let photos = base.join("photos");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::create_dir_all(&photos).unwrap();
        std::os::unix::fs::symlink(&root, base.join("link")).unwrap();
        let mut config = config(&root);
        let meant = |config: &Config, name: Option<&str>, directory: Option<&Path>| {
            let name = name.map(str::to_owned);
            let argument = FolderArgument { name, directory: directory.map(Path::to_owned) };
            folder_meant(config, &argument).map(|it| it.name).map_err(|failure| failure.kind)
        };
        for directory in [None, Some(base.as_path()), Some(&root)] {
            assert_eq!(meant(&config, None, directory).as_deref(), Ok("notes"));
        }
        config.folders.push(folder(&photos, 0xcd, "photos"));
        let untold = FolderArgument { name: None, directory: None };
        let failure = folder_meant(&config, &untold).unwrap_err();
        assert!(failure.message.contains("cannot be told"), "{failure:?}");
        for (name, directory, expected) in [
            (None, Some(root.join("a/b")), Ok("notes")),
            (None, Some(root.clone()), Ok("notes")),
            (None, Some(base.join("link/a")), Ok("notes")),
            (None, Some(photos.clone()), Ok("photos")),
            (Some("notes"), Some(photos.clone()), Ok("notes")),
            (Some("none"), Some(photos.clone()), Err("no_such_folder")),
            (None, Some(base.clone()), Err("usage")),
            (None, None, Err("usage")),
        ] {
            let found = meant(&config, name, directory.as_deref());
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{directory:?}");
        }
    }
}
