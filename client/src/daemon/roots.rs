//! The roots of folders on disk: which directory may become one, and its marker.
//!
//! Owns the marker's content and the rule that folders never lie in each other, whoever syncs them.
//! It must not know what is inside a folder.

use crate::fs::{DiskFs, FsError, Root};
use crate::home::{Config, FolderConfig};
use common::ids::{DeviceId, FolderId};
use common::name::PRIVATE_DIRECTORY;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The marker's name in [`PRIVATE_DIRECTORY`].
const MARKER: &str = "root";

/// A directory that cannot become a folder.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// It lies in a folder, or holds one.
    #[error("{directory} is {}", relation_text(*.relation, .other))]
    Nested {
        /// What was asked for.
        directory: PathBuf,
        /// How they lie.
        relation: Relation,
        /// The root of the other folder.
        other: PathBuf,
    },
    /// It is the root of another folder, or of the same one of another device.
    #[error("{directory} is the root of another folder or of another device")]
    ForeignMarker {
        /// What was asked for.
        directory: PathBuf,
    },
    /// It lies in the home, or the home in it: the device would sync its own state.
    #[error("{directory} and the home {home} lie in each other")]
    Home {
        /// What was asked for.
        directory: PathBuf,
        /// The home.
        home: PathBuf,
    },
    /// Its path cannot be written into the configuration.
    #[error("{}: is not UTF-8, and driftless does not work with such paths", path.display())]
    NotUtf8 {
        /// The path, without symlinks.
        path: PathBuf,
    },
    /// The directory cannot be made or opened.
    #[error("{}: {source}", directory.display())]
    Io {
        /// What was asked for.
        directory: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The marker cannot be made or read.
    #[error("{}: {source}", directory.display())]
    Fs {
        /// What was asked for.
        directory: PathBuf,
        /// What failed.
        #[source]
        source: FsError,
    },
}

/// How two directories lie to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The asked one lies in the other.
    Inside,
    /// The asked one holds the other.
    Above,
    /// They are one.
    Same,
}

fn relation_text(relation: Relation, other: &Path) -> String {
    let other = other.display();
    match relation {
        Relation::Inside => format!("inside {other}, which is synced already"),
        Relation::Above => format!("above {other}, which is synced already"),
        Relation::Same => "a synced folder already".to_owned(),
    }
}

/// The content of a root's marker: which folder, on which device.
#[must_use]
pub fn marker(folder: &FolderId, device: &DeviceId) -> Vec<u8> {
    format!("driftless folder 1\nfolder {folder}\ndevice {device}\n").into_bytes()
}

/// Makes the directory if it is not there, and gives its path without symlinks.
///
/// # Errors
/// [`RootError::Io`].
pub fn make_directory(directory: &Path) -> Result<PathBuf, RootError> {
    let failed = |source| RootError::Io { directory: directory.to_owned(), source };
    fs::create_dir_all(directory).map_err(failed)?;
    let real = fs::canonicalize(directory).map_err(failed)?;
    if real.is_dir() { Ok(real) } else { Err(failed(io::ErrorKind::NotADirectory.into())) }
}

/// Makes a directory that may become the root of a folder, and gives its path without symlinks.
/// One that may not is not made either: inside another folder it would be synced.
///
/// # Errors
/// As [`check_free`].
pub fn make_free(
    directory: &Path,
    home: &Path,
    config: Option<&Config>,
    own: Option<&DeviceId>,
) -> Result<PathBuf, RootError> {
    let failed = |source| RootError::Io { directory: directory.to_owned(), source };
    let meant = without_symlinks(directory).map_err(failed)?;
    if meant.to_str().is_none() {
        return Err(RootError::NotUtf8 { path: meant });
    }
    check_free(&meant, home, config, own)?;
    let real = make_directory(directory)?;
    if real != meant {
        check_free(&real, home, config, own)?;
    }
    check_writable(&real).map_err(failed)?;
    Ok(real)
}

/// Whether a marker can be made here, before anything is made at the server.
fn check_writable(directory: &Path) -> io::Result<()> {
    let private = directory.join(PRIVATE_DIRECTORY);
    match fs::create_dir(&private) {
        Ok(()) => fs::remove_dir(&private),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// The path without symlinks of what may not be there yet.
fn without_symlinks(path: &Path) -> io::Result<PathBuf> {
    for above in path.ancestors() {
        match fs::canonicalize(above) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            real => {
                let below = path.strip_prefix(above).map(Path::components);
                return Ok(real?.components().chain(below.into_iter().flatten()).collect());
            }
        }
    }
    Ok(path.to_owned())
}

/// The root of a folder, of whichever device, in which a path lies that may not be there yet.
///
/// # Errors
/// [`RootError::Io`].
pub fn root_around(path: &Path) -> Result<Option<PathBuf>, RootError> {
    let failed = |source| RootError::Io { directory: path.to_owned(), source };
    let real = without_symlinks(path).map_err(failed)?;
    Ok(real.ancestors().find(|above| has_marker(above)).map(Path::to_owned))
}

/// Checks that a directory, given without symlinks, may become the root of a folder: neither it,
/// nor what is above or below it, is synced already, by this home or another. A marker of the
/// device `own` on a directory that its configuration does not name was left by a stopped command
/// (or copied), and is taken away.
///
/// Walks all directories below; blocks.
///
/// # Errors
/// [`RootError`].
pub fn check_free(
    directory: &Path,
    home: &Path,
    config: Option<&Config>,
    own: Option<&DeviceId>,
) -> Result<(), RootError> {
    check_home(directory, home)?;
    let folders = config.map_or(&[][..], |config| config.folders.as_slice());
    check_known(directory, folders)?;
    if let Some(own) = own {
        clear_leftover(directory, own)
            .map_err(|source| RootError::Io { directory: directory.to_owned(), source })?;
    }
    let nested = |relation, other: &Path| RootError::Nested {
        directory: directory.to_owned(),
        relation,
        other: other.to_owned(),
    };
    if has_marker(directory) {
        return Err(RootError::ForeignMarker { directory: directory.to_owned() });
    }
    if let Some(above) = directory.ancestors().skip(1).find(|above| has_marker(above)) {
        return Err(nested(Relation::Inside, above));
    }
    match find_below(directory)
        .map_err(|source| RootError::Io { directory: directory.to_owned(), source })?
    {
        Some(below) => Err(nested(Relation::Above, &below)),
        None => Ok(()),
    }
}

fn clear_leftover(directory: &Path, own: &DeviceId) -> io::Result<()> {
    match fs::read(directory.join(PRIVATE_DIRECTORY).join(MARKER)) {
        Ok(found) if found.ends_with(format!("\ndevice {own}\n").as_bytes()) => {
            unmark(directory, &found)
        }
        _ => Ok(()),
    }
}

fn check_home(directory: &Path, home: &Path) -> Result<(), RootError> {
    let real = without_symlinks(home).unwrap_or_else(|_| home.to_owned());
    if directory.starts_with(&real) || real.starts_with(directory) {
        return Err(RootError::Home { directory: directory.to_owned(), home: real });
    }
    Ok(())
}

fn check_known(directory: &Path, folders: &[FolderConfig]) -> Result<(), RootError> {
    for folder in folders {
        let relation = if folder.path == directory {
            Relation::Same
        } else if directory.starts_with(&folder.path) {
            Relation::Inside
        } else if folder.path.starts_with(directory) {
            Relation::Above
        } else {
            continue;
        };
        let (directory, other) = (directory.to_owned(), folder.path.clone());
        return Err(RootError::Nested { directory, relation, other });
    }
    Ok(())
}

fn has_marker(directory: &Path) -> bool {
    fs::symlink_metadata(directory.join(PRIVATE_DIRECTORY).join(MARKER))
        .is_ok_and(|found| found.is_file())
}

/// A root below a directory, on the same filesystem. Directories that cannot be read are passed
/// over: a folder of somebody else in there is not this device's to find.
fn find_below(directory: &Path) -> io::Result<Option<PathBuf>> {
    let device = match fs::symlink_metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found?.dev(),
    };
    let mut waiting = vec![directory.to_owned()];
    while let Some(at) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&at) else { continue };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let path = entry.path();
            if entry.metadata().is_ok_and(|found| found.dev() != device) {
                continue;
            }
            if has_marker(&path) {
                return Ok(Some(path));
            }
            waiting.push(path);
        }
    }
    Ok(None)
}

/// Marks a directory as the root of a folder, durably. Doing it again changes nothing.
///
/// # Errors
/// [`RootError::ForeignMarker`] when it has another marker.
pub fn mark(directory: &Path, marker: &[u8]) -> Result<(), RootError> {
    let failed = |source| RootError::Fs { directory: directory.to_owned(), source };
    let root = DiskFs::open(directory).map_err(failed)?;
    match root.init_root(marker) {
        Err(FsError::Exists { .. }) => {
            Err(RootError::ForeignMarker { directory: directory.to_owned() })
        }
        outcome => outcome.map_err(failed),
    }
}

/// Takes the marker of a folder away, and `.driftless` with it when nothing else is in there. A
/// root that is gone, or has another marker, is left alone.
///
/// # Errors
/// What the system said.
pub fn unmark(directory: &Path, marker: &[u8]) -> io::Result<()> {
    let private = directory.join(PRIVATE_DIRECTORY);
    match fs::read(private.join(MARKER)) {
        Ok(found) if found == marker => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    fs::remove_file(private.join(MARKER))?;
    // Displaced files are a user's: a directory that still holds some stays.
    let areas = fs::read_dir(&private)?.flatten().map(|entry| entry.path());
    for path in areas.chain([private.clone()]) {
        match fs::remove_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::ServerConfig;
    use common::ids::ClusterId;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    fn config(path: &Path) -> Config {
        Config {
            device: "d".into(),
            server: ServerConfig {
                addresses: vec!["a:1".into()],
                cluster: ClusterId::from_bytes([0; 32]),
                embedded: false,
                listen: None,
            },
            folders: vec![FolderConfig {
                id: FolderId::from_bytes([1; 32]),
                name: "f".into(),
                path: path.to_owned(),
                paused: false,
            }],
            invited: Vec::new(),
            merge_tool: None,
        }
    }

    #[test]
    fn a_folder_in_or_above_a_folder_of_this_home_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(directory.path()).unwrap();
        let root = make_directory(&base.join("a/b")).unwrap();
        let home = base.join("home");
        let config = config(&root);
        for (at, relation) in
            [("a/b/c", Relation::Inside), ("a", Relation::Above), ("a/b", Relation::Same)]
        {
            let at = make_directory(&base.join(at)).unwrap();
            match check_free(&at, &home, Some(&config), None) {
                Err(RootError::Nested { relation: found, other, .. }) => {
                    assert_eq!((found, other), (relation, root.clone()));
                }
                other => panic!("{other:?}"),
            }
        }
        let beside = make_directory(&base.join("a/bb")).unwrap();
        check_free(&beside, &home, Some(&config), None).unwrap();
    }

    #[test]
    fn a_folder_of_another_home_is_met_by_its_marker() {
        let directory = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(directory.path()).unwrap();
        let home = base.join("home");
        let root = make_directory(&base.join("a/b")).unwrap();
        mark(&root, b"theirs").unwrap();
        mark(&root, b"theirs").unwrap();
        assert!(matches!(mark(&root, b"ours"), Err(RootError::ForeignMarker { .. })));
        let inside = make_directory(&root.join("c/d")).unwrap();
        let nested = |at: &Path| match check_free(at, &home, None, None) {
            Err(RootError::Nested { relation, .. }) => relation,
            other => panic!("{other:?}"),
        };
        assert_eq!(nested(&inside), Relation::Inside);
        assert_eq!(nested(&base.join("a")), Relation::Above);
        let same = check_free(&root, &home, None, None);
        assert!(matches!(same, Err(RootError::ForeignMarker { .. })), "{same:?}");
        unmark(&root, b"ours").unwrap();
        assert!(check_free(&root, &home, None, None).is_err());
        unmark(&root, b"theirs").unwrap();
        check_free(&root, &home, None, None).unwrap();
        assert!(!root.join(PRIVATE_DIRECTORY).exists());
    }

    #[test]
    fn a_directory_that_is_refused_is_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(directory.path()).unwrap();
        let root = make_directory(&base.join("a/b")).unwrap();
        let home = make_directory(&base.join("home")).unwrap();
        let config = config(&root);
        std::os::unix::fs::symlink(&root, base.join("link")).unwrap();
        for at in ["a/b/new", "a/b/new/er", "link/new", "home/new", "a/b/../b/new"] {
            let made = make_free(&base.join(at), &home, Some(&config), None);
            assert!(made.is_err(), "{at}: {made:?}");
        }
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
        assert_eq!(fs::read_dir(&home).unwrap().count(), 0);
        std::os::unix::fs::symlink(base.join("a"), base.join("beside")).unwrap();
        let made = make_free(&base.join("beside/c/d"), &home, Some(&config), None).unwrap();
        assert_eq!(made, base.join("a/c/d"));
        assert_eq!(make_free(&made, &home, Some(&config), None).unwrap(), made);
    }

    #[test]
    fn a_directory_whose_path_is_not_utf8_is_refused_and_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(directory.path()).unwrap();
        let odd = base.join(OsStr::from_bytes(b"odd \xff"));
        std::os::unix::fs::symlink(&odd, base.join("link")).unwrap();
        for (at, makes) in [(odd.join("new"), false), (base.join("link/new"), true)] {
            if makes {
                fs::create_dir(&odd).unwrap();
            }
            let made = make_free(&at, &base.join("home"), None, None);
            assert!(matches!(made, Err(RootError::NotUtf8 { .. })), "{made:?}");
            assert_eq!(odd.exists(), makes);
            assert!(!odd.join("new").exists());
        }
    }

    #[test]
    fn a_marker_that_a_stopped_command_has_left_is_not_in_the_way() {
        let directory = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(directory.path()).unwrap();
        let root = make_directory(&base.join("root")).unwrap();
        let (own, other) = (DeviceId::from_bytes([1; 32]), DeviceId::from_bytes([2; 32]));
        mark(&root, &marker(&FolderId::from_bytes([3; 32]), &own)).unwrap();
        let home = base.join("home");
        assert!(check_free(&root, &home, None, Some(&other)).is_err());
        check_free(&root, &home, None, Some(&own)).unwrap();
    }

    #[test]
    fn a_folder_never_holds_the_home_or_lies_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(directory.path()).unwrap();
        let home = make_directory(&base.join("home")).unwrap();
        for at in [base.clone(), make_directory(&home.join("x")).unwrap(), home.clone()] {
            assert!(matches!(check_free(&at, &home, None, None), Err(RootError::Home { .. })));
        }
    }
}
