//! Files that are there whole or not at all, whatever happens.
//!
//! Owns the way of writing (beside, fsync, rename, fsync of the directory) and of reading with a
//! bound. It must not know what a file says.

use super::HomeError;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

fn failed<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> HomeError + 'a {
    move |source| HomeError::Io { doing, path: path.to_owned(), source }
}

/// Makes a directory and those above it, for its owner only, unless it is there.
pub(super) fn create_private(path: &Path) -> Result<(), HomeError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("creating", path))
}

/// A file about to be replaced.
pub(super) struct Durable<'a> {
    path: &'a Path,
}

impl<'a> Durable<'a> {
    /// A file that only its owner may read.
    pub(super) fn private(path: &'a Path) -> Self {
        Self { path }
    }

    /// Replaces the file; durable when it returns. After a failure the old file is still there.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), HomeError> {
        self.replace(bytes).map_err(failed("writing", self.path))
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let beside = self.beside();
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, self.path)?;
        File::open(directory)?.sync_all()
    }

    fn beside(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".new");
        PathBuf::from(name)
    }
}

/// Reads a file of at most `bytes_max`; `None` when there is none.
pub(super) fn read(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, HomeError> {
    match File::open(path) {
        Ok(file) => read_open(path, file, bytes_max).map(|bytes| Some(bytes.to_vec())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("opening", path)(error)),
    }
}

/// As [`read`], of a file with secrets: refused when others than its owner may read it.
pub(super) fn read_secret(
    path: &Path,
    bytes_max: u64,
) -> Result<Option<Zeroizing<Vec<u8>>>, HomeError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("opening", path)(error)),
    };
    let mode = file.metadata().map_err(failed("reading", path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(HomeError::Exposed { path: path.to_owned(), mode });
    }
    read_open(path, file, bytes_max).map(Some)
}

fn read_open(path: &Path, file: File, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, HomeError> {
    let size = file.metadata().map_err(failed("reading", path))?.len();
    let too_large =
        || HomeError::Malformed { path: path.to_owned(), reason: "it is too large".to_owned() };
    if size > bytes_max {
        return Err(too_large());
    }
    // Room for all of it at once: a buffer that grows leaves secrets behind.
    let room = usize::try_from(size).map_err(|_| too_large())? + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed("reading", path))?;
    if bytes.len() as u64 > bytes_max {
        return Err(too_large());
    }
    Ok(bytes)
}

/// Removes a file, durably; one that is not there is no error.
pub(super) fn remove(path: &Path) -> Result<(), HomeError> {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("removing", path)(error)),
    }
    let directory = path.parent().unwrap_or(Path::new("."));
    File::open(directory).and_then(|open| open.sync_all()).map_err(failed("syncing", directory))
}
