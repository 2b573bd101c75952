//! `driftless diff`: what differs between two versions of a path.

use super::asking::{ask, path_argument, unexpected};
use super::changes::changes;
use super::exported::Exported;
use super::table::size;
use super::{Context, Outcome};
use crate::daemon::control::{Answer, DiffAnswer, Failure, InstantAnswer, Request, Which};
use diffy::DiffOptions;
use std::io;

/// Largest version that is compared line by line, in bytes.
const TEXT_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Flags of `diff`.
#[derive(Debug, clap::Args)]
pub(super) struct DiffFlags {
    /// A path in a synced folder, or FOLDER:PATH
    #[arg(value_name = "PATH")]
    path: String,
    /// The older revision, and with a second one the newer [default: what changed last]
    #[arg(long = "rev", value_name = "REVISION")]
    revisions: Vec<u64>,
    /// Compare with what is on this disk now; of bundles (a .git, an .app) only
    #[arg(long)]
    disk: bool,
}

pub(super) fn run(flags: DiffFlags, context: &Context) -> Result<Outcome, Failure> {
    let (from, to) = match flags.revisions.as_slice() {
        [] => (None, None),
        [from] => (Some(*from), None),
        [_, _] if flags.disk => {
            let message = "--disk compares with one revision, and two are given";
            return Err(Failure::new("usage", message, "leave one of them out"));
        }
        [from, to] => (Some(*from), Some(*to)),
        _ => return Err(Failure::new("usage", "--rev is given at most twice", "")),
    };
    let path = path_argument(flags.path)?;
    let request = Request::Diff { path: path.clone(), from, to, disk: flags.disk };
    let Answer::Diff(mut diff) = ask(context, &request)? else {
        return Err(unexpected(&context.home));
    };
    if diff.kind == "file"
        && let Some(to) = diff.to.clone()
    {
        let exported = |revision, name: &str| {
            Exported::of(path.clone(), Which::Revision(revision), name, context)
        };
        let old = diff.from.as_ref().map(|from| exported(from.revision, "old")).transpose()?;
        let new = exported(to.revision, "new")?;
        compare(&mut diff, old.as_ref(), &new)
            .map_err(|error| Failure::new("disk", format!("reading the versions: {error}"), ""))?;
    }
    context.output.answer(&diff, || text(&diff))
}

/// Compares two versions of a file.
fn compare(diff: &mut DiffAnswer, old: Option<&Exported>, new: &Exported) -> io::Result<()> {
    let (old_size, old) = match old {
        Some(old) => old.read(TEXT_BYTES_MAX)?,
        None => (0, Some(Vec::new())),
    };
    let (new_size, new) = new.read(TEXT_BYTES_MAX)?;
    diff.sizes = Some((old_size, new_size));
    let (Some(old), Some(new)) = (old, new) else { return Ok(()) };
    let (Ok(old), Ok(new)) = (str::from_utf8(&old), str::from_utf8(&new)) else { return Ok(()) };
    if old.contains('\0') || new.contains('\0') {
        return Ok(());
    }
    let title = |revision: Option<u64>| match revision {
        Some(revision) => format!("{} (revision {revision})", diff.path),
        None => "/dev/null".to_owned(),
    };
    let patch = match old == new {
        true => String::new(),
        false => DiffOptions::new()
            .set_original_filename(title(diff.from.as_ref().map(|from| from.revision)))
            .set_modified_filename(title(diff.to.as_ref().map(|to| to.revision)))
            .create_patch(old, new)
            .to_string(),
    };
    diff.text = Some(patch);
    Ok(())
}

fn text(diff: &DiffAnswer) -> String {
    let named = |it: &InstantAnswer| format!("revision {} ({})", it.revision, it.time);
    let from = diff.from.as_ref().map_or_else(|| "nothing".to_owned(), named);
    let to = diff.to.as_ref().map_or_else(|| "what is on this disk".to_owned(), named);
    if diff.kind != "file" {
        if diff.changes.is_empty() {
            return format!("nothing changed from {from} to {to}");
        }
        return format!("from {from} to {to}:\n{}", changes(&diff.changes));
    }
    match (&diff.text, diff.sizes) {
        (Some(text), _) if !text.is_empty() => text.clone(),
        (Some(_), _) => format!("the bytes of {from} and {to} are the same"),
        (None, Some((old, new))) => {
            format!("not text, or too long to be compared: {} -> {}", size(old), size(new))
        }
        (None, None) => String::new(),
    }
}
