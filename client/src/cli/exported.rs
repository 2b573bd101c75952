//! A version in a file that only its owner can read, for as long as a command needs it.
//!
//! The daemon writes it into the home; from there it is read, so that a slow reader holds nothing up.

use super::Context;
use super::asking::{ask, unexpected};
use crate::daemon::control::{Answer, Failure, PathArgument, Request, Which};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// The exported file, or the symlink; dropping it removes it.
pub(super) struct Exported(PathBuf);

impl Exported {
    /// Has a version written; `name` tells apart what one command needs at a time.
    pub(super) fn of(
        path: PathArgument,
        which: Which,
        name: &str,
        context: &Context,
    ) -> Result<Self, Failure> {
        let file = format!("{name}-{}", std::process::id());
        let exported = Self(context.home.path().join(file));
        // Left by an earlier process of this id that was killed.
        exported.remove().map_err(|error| failed(&error))?;
        let request = Request::Export { path, which, to: exported.0.clone(), bytes_only: true };
        match ask(context, &request)? {
            Answer::Exported(_) => Ok(exported),
            _ => Err(unexpected(&context.home)),
        }
    }

    /// What reads its bytes, and where a link leads, which is never followed.
    pub(super) fn open(&self) -> io::Result<Bytes> {
        if self.is_link()? {
            return Ok(Bytes::Link(fs::read_link(&self.0)?.as_os_str().as_bytes().to_vec()));
        }
        // It has the version's mode, with which its owner may be kept out.
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o600))?;
        Ok(Bytes::File(File::open(&self.0)?))
    }

    fn is_link(&self) -> io::Result<bool> {
        Ok(fs::symlink_metadata(&self.0)?.is_symlink())
    }

    /// Its bytes, if there are at most so many; of a link, where it leads.
    pub(super) fn read(&self, bytes_max: u64) -> io::Result<(u64, Option<Vec<u8>>)> {
        match self.open()? {
            Bytes::Link(target) => Ok((target.len() as u64, Some(target))),
            Bytes::File(mut file) => {
                let length = file.metadata()?.len();
                if length > bytes_max {
                    return Ok((length, None));
                }
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes)?;
                Ok((length, Some(bytes)))
            }
        }
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// What was exported.
pub(super) enum Bytes {
    File(File),
    Link(Vec<u8>),
}

impl Drop for Exported {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::debug!(%error, "an exported file is left in the home");
        }
    }
}

fn failed(error: &io::Error) -> Failure {
    Failure::new("disk", format!("the home: {error}"), "look at its permissions")
}
