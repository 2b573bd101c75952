//! Small files that are for their owner alone.
//!
//! Owns how one is written so that a crash leaves what was there or what is new, whole. It must not
//! know what is in it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Writes a file (mode 0600) beside its name and renames it, so that a crash leaves the older one or
/// this one; durable when this returns.
///
/// # Errors
/// What the system says; what was there stays then.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = beside(path);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

/// Copies a small secret as [`write_private`] writes it.
///
/// # Errors
/// What the system says; what was there stays then.
pub(crate) fn copy_private(from: &Path, to: &Path) -> io::Result<()> {
    write_private(to, &Zeroizing::new(fs::read(from)?))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(".new");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_that_is_written_anew_is_not_cut_short_in_place() {
        let home = tempfile::tempdir().unwrap();
        let (path, older) = (home.path().join("server.key"), home.path().join("older"));
        write_private(&path, b"the first").unwrap();
        fs::hard_link(&path, &older).unwrap();
        let from = home.path().join("from");
        fs::write(&from, b"another").unwrap();
        // What a crash left.
        fs::write(beside(&path), b"an").unwrap();
        copy_private(&from, &path).unwrap();
        assert_eq!(fs::read(&older).unwrap(), b"the first");
        assert_eq!(fs::read(&path).unwrap(), b"another");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!beside(&path).exists());
    }
}
