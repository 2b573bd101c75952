//! `driftless cat`: the bytes of a version on standard output; of a symlink, where it leads.

use super::asking::path_argument;
use super::exported::{Bytes, Exported};
use super::which::WhichFlags;
use super::{Context, Outcome};
use crate::daemon::control::Failure;
use std::io::{self, Write};

/// Flags of `cat`.
#[derive(Debug, clap::Args)]
pub(super) struct CatFlags {
    /// A path in a synced folder, or FOLDER:PATH
    #[arg(value_name = "PATH")]
    path: String,
    #[command(flatten)]
    which: WhichFlags,
}

pub(super) fn run(flags: CatFlags, context: &Context) -> Result<Outcome, Failure> {
    if context.output.is_json() {
        return Err(Failure::new(
            "usage",
            "cat prints bytes, which --json cannot",
            "leave --json out, or use `driftless restore PATH --rev R --to FILE --json`",
        ));
    }
    let which = flags.which.which()?;
    let exported = Exported::of(path_argument(flags.path)?, which, "cat", context)?;
    match print(&exported) {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Outcome::Done),
        Err(error) => Err(failed(&error)),
        Ok(()) => Ok(Outcome::Done),
    }
}

/// The bytes of a file, or a line with the target of a link.
fn print(exported: &Exported) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match exported.open()? {
        Bytes::Link(target) => {
            out.write_all(&target)?;
            out.write_all(b"\n")?;
        }
        Bytes::File(mut file) => drop(io::copy(&mut file, &mut out)?),
    }
    out.flush()
}

fn failed(error: &io::Error) -> Failure {
    Failure::new("output", format!("copying the version to standard output: {error}"), "")
}
