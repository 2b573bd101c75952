//! `driftless cat`: the bytes of a version on standard output.
//!
//! The daemon writes them to a file that only its owner can read; from there they are copied, so
//! that a slow reader holds nothing up.

use super::asking::{ask, path_argument, unexpected};
use super::{Context, Outcome};
use crate::daemon::control::{Answer, Failure, Request};
use std::fs::{self, File};
use std::io;
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
    let mut file = File::open(&to.0).map_err(|error| failed(&error))?;
    match io::copy(&mut file, &mut io::stdout().lock()) {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Outcome::Done),
        Err(error) => Err(failed(&error)),
        Ok(_) => {
            io::Write::flush(&mut io::stdout()).map_err(|error| failed(&error))?;
            Ok(Outcome::Done)
        }
    }
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
