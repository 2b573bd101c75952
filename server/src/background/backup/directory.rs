//! The directory of a backup: whose it is, and what makes it complete.
//!
//! Owns the manifest, the marker of one that is not complete yet, and that no server renews the backup
//! of another: what that one's manifest vouches for would go. It must not know how chunks are copied.

use super::BackupError;
use crate::background::file_error::FileError;
use crate::private_file::write_private;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// The format that this version writes and reads.
pub(super) const FORMAT: u32 = 1;
const MANIFEST: &str = "backup.json";
/// Holds the cluster's id and a line's end. Earlier versions left it empty.
const INCOMPLETE: &str = "incomplete";
/// What a crash leaves of it.
const INCOMPLETE_NEW: &str = "incomplete.new";

/// What makes a directory a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the layout.
    pub format: u32,
    /// When the metadata was copied, in RFC 3339.
    pub time: String,
    /// Whose it is.
    pub cluster: String,
    /// The file with the metadata.
    pub metadata: String,
    /// BLAKE3-256 of that file, in hexadecimal.
    pub metadata_hash: String,
    /// Folders.
    pub folders: u64,
    /// Objects that their versions reach, and that were copied.
    pub objects: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Objects that are missing from it, as they were missing from the server.
    pub missing: u64,
}

/// The manifest of a complete backup; `None` when there is none.
fn manifest_in(from: &Path) -> Result<Option<Manifest>, BackupError> {
    let path = from.join(MANIFEST);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FileError::of("reading", &path)(error).into()),
    };
    let unreadable = |why: String| BackupError::Unreadable { path: from.to_owned(), why };
    // Another format may have other fields.
    let format: Format =
        serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
    if format.format != FORMAT {
        return Err(unreadable(format!("its format is {}", format.format)));
    }
    let manifest = serde_json::from_slice(&text);
    Ok(Some(manifest.map_err(|error| unreadable(error.to_string()))?))
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Reads the manifest of a complete backup, and looks whether its metadata is what was written.
///
/// # Errors
/// [`BackupError`].
pub fn read_manifest(from: &Path) -> Result<Manifest, BackupError> {
    let unreadable = |why: String| BackupError::Unreadable { path: from.to_owned(), why };
    let Some(manifest) = manifest_in(from)? else {
        return Err(BackupError::Incomplete { path: from.to_owned() });
    };
    if manifest.metadata.contains('/') {
        return Err(unreadable("its metadata lies elsewhere".to_owned()));
    }
    let meta = from.join(&manifest.metadata);
    let found = hash_file(&meta).map_err(FileError::of("reading", &meta))?;
    if found != manifest.metadata_hash {
        return Err(unreadable(format!("{} was altered", manifest.metadata)));
    }
    Ok(manifest)
}

/// Makes the directory, unless a backup of this cluster, or the beginning of one, is there.
pub(super) fn prepare(to: &Path, cluster: &str) -> Result<(), BackupError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(to)
        .map_err(FileError::of("creating", to))?;
    let marker = to.join(INCOMPLETE);
    let held = match manifest_in(to)? {
        Some(manifest) => Some(manifest.cluster),
        None => begun_by(&marker).map_err(FileError::of("reading", &marker))?,
    };
    match held {
        Some(held) if held == cluster => Ok(()),
        Some(held) if !held.is_empty() => {
            Err(BackupError::OfAnother { path: to.to_owned(), cluster: held })
        }
        Some(_) => begin(&marker, cluster),
        None => {
            for entry in fs::read_dir(to).map_err(FileError::of("reading", to))? {
                let entry = entry.map_err(FileError::of("reading", to))?;
                if entry.file_name() != INCOMPLETE_NEW {
                    return Err(BackupError::NotABackup { path: to.to_owned() });
                }
            }
            begin(&marker, cluster)
        }
    }
}

/// Whose backup was begun, empty for nobody knows; `None` when none was.
fn begun_by(marker: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(marker) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn begin(marker: &Path, cluster: &str) -> Result<(), BackupError> {
    let begun = write_private(marker, format!("{cluster}\n").as_bytes());
    Ok(begun.map_err(FileError::of("creating", marker))?)
}

/// Takes away the copies of the metadata that no manifest names: those of backups that failed. Only for
/// who has the lock of the chunk store there: another's copy may be in the making.
pub(super) fn sweep(to: &Path) -> Result<(), BackupError> {
    let standing = manifest_in(to)?.map(|manifest| manifest.metadata);
    let swept = remove_copies(to, standing.as_deref());
    Ok(swept.map_err(FileError::of("removing what a backup left in", to))?)
}

/// Removes all copies of the metadata but one, with their logs.
fn remove_copies(to: &Path, but: Option<&str>) -> io::Result<()> {
    for entry in fs::read_dir(to)? {
        let name = entry?.file_name();
        let is_copy = name.to_str().is_some_and(|name| name.starts_with("meta-"));
        if is_copy && but.is_none_or(|but| name != but) {
            fs::remove_file(to.join(name))?;
        }
    }
    Ok(())
}

/// Writes the manifest, durably; after that, takes away what belongs to an older one.
pub(super) fn finish(to: &Path, manifest: &Manifest) -> io::Result<()> {
    // Everything that it vouches for has its name on the disk first.
    File::open(to)?.sync_all()?;
    let mut text = serde_json::to_vec_pretty(manifest)?;
    text.push(b'\n');
    write_private(&to.join(MANIFEST), &text)?;
    remove_copies(to, Some(&manifest.metadata))?;
    match fs::remove_file(to.join(INCOMPLETE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::open(to)?.sync_all()
}

/// BLAKE3-256 of a file, in hexadecimal.
pub(super) fn hash_file(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    let (mut file, mut buffer) = (File::open(path)?, vec![0; 256 * 1024]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().to_string()),
            read => hasher.update(&buffer[..read]),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "0a";

    fn manifest(format: u32, cluster: &str) -> Vec<u8> {
        let manifest = Manifest {
            format,
            time: String::new(),
            cluster: cluster.to_owned(),
            metadata: "meta-1.sqlite".to_owned(),
            metadata_hash: String::new(),
            folders: 0,
            objects: 0,
            bytes: 0,
            missing: 0,
        };
        serde_json::to_vec(&manifest).unwrap()
    }

    fn prepared(files: &[(&str, &[u8])]) -> Result<String, BackupError> {
        let home = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(home.path().join(name), bytes).unwrap();
        }
        let done = prepare(home.path(), OURS);
        for (name, bytes) in files.iter().filter(|_| done.is_err()) {
            assert_eq!(fs::read(home.path().join(name)).unwrap(), *bytes, "{name}");
        }
        let begun = begun_by(&home.path().join(INCOMPLETE)).unwrap();
        done.map(|()| begun.unwrap_or_default())
    }

    #[test]
    fn a_directory_is_ours_when_it_is_empty_or_holds_our_backup() {
        let ours = manifest(FORMAT, OURS);
        assert_eq!(prepared(&[]).unwrap(), OURS);
        assert_eq!(prepared(&[(INCOMPLETE_NEW, b"0")]).unwrap(), OURS);
        assert_eq!(prepared(&[(INCOMPLETE, b"0a\n"), ("chunks", b"")]).unwrap(), OURS);
        assert_eq!(prepared(&[(INCOMPLETE, b""), ("chunks", b"")]).unwrap(), OURS);
        assert_eq!(prepared(&[(MANIFEST, &ours)]).unwrap(), "");
    }

    #[test]
    fn a_backup_of_another_server_or_version_is_refused_and_stays() {
        let (another, later) = (manifest(FORMAT, "0b"), manifest(FORMAT + 1, OURS));
        let refused: [&[(&str, &[u8])]; 3] = [
            &[(MANIFEST, &another), ("server.key", b"key")],
            &[(MANIFEST, &another), (INCOMPLETE, b"0a\n")],
            &[(INCOMPLETE, b"0b\n"), ("server.key", b"key")],
        ];
        for files in refused {
            let error = prepared(files).unwrap_err();
            assert!(matches!(&error, BackupError::OfAnother { cluster, .. } if cluster == "0b"));
            assert!(error.to_string().contains("give a new directory"), "{error}");
        }
        for unreadable in [later.as_slice(), b"{\"format\": 2}", b"{\"format\": 1}", b"rotten"] {
            let error = prepared(&[(MANIFEST, unreadable)]).unwrap_err();
            assert!(matches!(error, BackupError::Unreadable { .. }), "{error}");
        }
        let error = prepared(&[("letters", b"dear")]).unwrap_err();
        assert!(matches!(error, BackupError::NotABackup { .. }), "{error}");
    }
}
