//! `driftless cat`: the bytes of a version on standard output; of a symlink, where it leads.
//!
//! The daemon writes them to a file that only its owner can read; from there they are copied, so
//! that a slow reader holds nothing up.

use super::asking::{ask, path_argument, unexpected};
use super::{Context, Outcome};
use crate::daemon::control::{Answer, Failure, Request};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Flags of `cat`.
#[derive(Debug, clap::Args)]
pub(super) struct CatFlags {
    /// A path in a synced folder, or FOLDER:PATH
    #[arg(value_name = "PATH")]
    path: String,
    /// Which revision, from `log`
    #[arg(long = "rev", value_name = "REVISION")]
    revision: u64,
}

pub(super) fn run(flags: CatFlags, context: &Context) -> Result<Outcome, Failure> {
    if context.output.is_json() {
        return Err(Failure::new(
            "usage",
            "cat prints bytes, which --json cannot",
            "leave --json out, or use `driftless restore PATH --rev R --to FILE --json`",
        ));
    }
    let path = path_argument(flags.path)?;
    let to = Exported(context.home.path().join(format!("cat-{}", std::process::id())));
    // Left by an earlier process of this id that was killed.
    remove(&to.0).map_err(|error| failed(&error))?;
    let request = Request::Export { path, revision: flags.revision, to: to.0.clone() };
    let Answer::Exported(_) = ask(context, &request)? else {
        return Err(unexpected(&context.home));
    };
    match print(&to.0) {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Outcome::Done),
        Err(error) => Err(failed(&error)),
        Ok(()) => Ok(Outcome::Done),
    }
}

/// The bytes of a file, or a line with the target of a link, which is never followed.
fn print(from: &Path) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if fs::symlink_metadata(from)?.is_symlink() {
        out.write_all(fs::read_link(from)?.as_os_str().as_bytes())?;
        out.write_all(b"\n")?;
    } else {
        // It has the version's mode, with which its owner may be kept out.
        fs::set_permissions(from, fs::Permissions::from_mode(0o600))?;
        io::copy(&mut File::open(from)?, &mut out)?;
    }
    out.flush()
}

fn failed(error: &io::Error) -> Failure {
    Failure::new("output", format!("copying the version to standard output: {error}"), "")
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The exported file; dropping it removes it.
struct Exported(PathBuf);

impl Drop for Exported {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.0) {
            tracing::debug!(%error, "an exported file is left in the home");
        }
    }
}
