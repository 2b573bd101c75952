//! `driftless diff`: what differs between two versions of a path.

use super::asking::{ask, path_argument, unexpected};
use super::changes::changes;
use super::exported::Exported;
use super::table::{printable, size, to_the_second};
use super::which::revision;
use super::{Context, Outcome};
use crate::daemon::control::{Answer, DiffAnswer, Failure, InstantAnswer, Request, Which};
use client_core::merge::unified;
use std::io;

/// Largest version that is compared line by line, in bytes.
const TEXT_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// How a version is called where there was no file.
const NOTHING: &str = "/dev/null";

/// Flags of `diff`.
#[derive(Debug, clap::Args)]
pub(super) struct DiffFlags {
    /// A path in a synced folder, or FOLDER:PATH
    #[arg(value_name = "PATH")]
    path: String,
    /// The older revision, and with a second one the newer [default: what changed last]
    #[arg(long = "rev", value_name = "REVISION", value_parser = revision)]
    revisions: Vec<(u64, u32)>,
    /// Compare with what is on this disk now; of bundles (a .git, an .app) only
    #[arg(long)]
    disk: bool,
}

pub(super) fn run(flags: DiffFlags, context: &Context) -> Result<Outcome, Failure> {
    let (from, to_flag) = match flags.revisions.as_slice() {
        [] => (None, None),
        [from] => (Some(*from), None),
        [_, _] if flags.disk => {
            let message = "--disk compares with one revision, and two are given";
            return Err(Failure::new("usage", message, "leave one of them out"));
        }
        [from, to] => (Some(*from), Some(*to)),
        _ => {
            let hint = "the older revision, and the newer one";
            return Err(Failure::new("usage", "--rev is given at most twice", hint));
        }
    };
    let path = path_argument(flags.path)?;
    let request = Request::Diff { path: path.clone(), from, to: to_flag, disk: flags.disk };
    let Answer::Diff(mut diff) = ask(context, &request)? else {
        return Err(unexpected(&context.home));
    };
    // Of the same bytes all is told already.
    if diff.kind == "file"
        && diff.text.is_none()
        && let Some(to) = diff.to.clone()
    {
        let [old_part, new_part] = [from, to_flag].map(|asked| asked.map_or(0, |(_, part)| part));
        let exported = |revision, part, name: &str| {
            let which = match part {
                0 => Which::Revision(revision),
                part => Which::Older(revision, part),
            };
            Exported::of(path.clone(), which, name, context)
        };
        let old = diff.from.as_ref().map(|from| exported(from.revision, old_part, "old"));
        let old = old.transpose()?;
        let new = (!diff.deleted).then(|| exported(to.revision, new_part, "new")).transpose()?;
        compare(&mut diff, old.as_ref(), new.as_ref(), [old_part, new_part])
            .map_err(|error| Failure::new("disk", format!("reading the versions: {error}"), ""))?;
    }
    context.output.answer(&diff, || text(&diff))
}

/// Compares two versions of a file, or contents of them: 0 is a version's last. Where there was no
/// file there is no version.
fn compare(
    diff: &mut DiffAnswer,
    old: Option<&Exported>,
    new: Option<&Exported>,
    parts: [u32; 2],
) -> io::Result<()> {
    let read = |version: Option<&Exported>| match version {
        Some(version) => version.read(TEXT_BYTES_MAX),
        None => Ok((0, Some(Vec::new()))),
    };
    let (old_size, old) = read(old)?;
    let (new_size, new) = read(new)?;
    diff.sizes = Some((old_size, new_size));
    match (old, new) {
        (Some(old), Some(new)) => compare_bytes(diff, &old, &new, parts),
        _ => diff.reason = Some(format!("it is larger than {}", size(TEXT_BYTES_MAX))),
    }
    Ok(())
}

fn compare_bytes(diff: &mut DiffAnswer, old: &[u8], new: &[u8], parts: [u32; 2]) {
    let title = |instant: Option<&InstantAnswer>, part: u32| match (instant, part) {
        (None, _) => NOTHING.to_owned(),
        (Some(it), 0) => format!("{} (revision {})", diff.path, it.revision),
        (Some(it), part) => format!("{} (revision {}.{part})", diff.path, it.revision),
    };
    let [old_part, new_part] = parts;
    let old_title = title(diff.from.as_ref(), old_part);
    let new_title = title(diff.to.as_ref().filter(|_| !diff.deleted), new_part);
    match unified((old, &old_title), (new, &new_title)) {
        Ok(text) => diff.text = Some(text),
        Err(error) => diff.reason = Some(error.to_string()),
    }
}

fn text(diff: &DiffAnswer) -> String {
    let named =
        |it: &InstantAnswer| format!("revision {} ({})", it.revision, to_the_second(&it.time));
    let from = diff.from.as_ref().map_or_else(|| "nothing".to_owned(), named);
    let to = diff.to.as_ref().map_or_else(|| "what is on this disk".to_owned(), named);
    if diff.kind != "file" {
        if diff.changes.is_empty() {
            return format!("nothing changed from {from} to {to}");
        }
        let listed = format!("from {from} to {to}:\n{}", changes(&diff.changes));
        // Of a directory its own mode; where it stands is told with the rest.
        let mode = both("its mode", diff.modes.as_ref());
        let listed = listed.trim_end_matches('\n').to_owned();
        return std::iter::once(listed).chain(mode).collect::<Vec<_>>().join("\n");
    }
    let contents = match (&diff.text, &diff.reason, diff.sizes) {
        (Some(text), ..) if !text.is_empty() => text.trim_end_matches('\n').to_owned(),
        (Some(_), ..) if diff.deleted => format!("an empty file was deleted at {to}"),
        (Some(_), ..) if diff.from.is_none() => format!("an empty file was made at {to}"),
        (Some(_), ..) => format!("the bytes of {from} and {to} are the same"),
        (None, Some(reason), Some((old, _))) if diff.deleted => {
            format!(
                "a file of {} was deleted at {to}; its bytes are not shown, {reason}",
                size(old)
            )
        }
        (None, Some(reason), Some((old, new))) => {
            format!("not compared, {reason}: {} -> {}", size(old), size(new))
        }
        _ => return String::new(),
    };
    std::iter::once(contents).chain(besides(diff)).collect::<Vec<_>>().join("\n")
}

/// What is different of a file besides its bytes, a line each.
fn besides(diff: &DiffAnswer) -> Vec<String> {
    let moved = diff.changes.iter().filter_map(|it| it.from.as_ref().map(|from| (from, &it.path)));
    let moved =
        moved.map(|(from, to)| format!("moved from {} to {}", printable(from), printable(to)));
    let besides = [both("mode", diff.modes.as_ref()), both("modified", diff.mtimes.as_ref())];
    moved.chain(besides.into_iter().flatten()).collect()
}

fn both(what: &str, both: Option<&(String, String)>) -> Option<String> {
    both.map(|(old, new)| format!("{what} {old} -> {new}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(old: &str, new: &str) -> DiffAnswer {
        let instant = |revision| Some(InstantAnswer { revision, time: "t".into() });
        let mut diff = DiffAnswer {
            path: "p".into(),
            kind: "file".into(),
            from: instant(1),
            to: instant(2),
            changes: Vec::new(),
            text: None,
            reason: None,
            sizes: Some((1, 2)),
            deleted: false,
            modes: None,
            mtimes: None,
        };
        compare_bytes(&mut diff, old.as_bytes(), new.as_bytes(), [1, 0]);
        diff
    }

    #[test]
    fn versions_are_compared_as_far_as_that_takes_no_minutes() {
        let diff = compared("a\n", "b\n");
        assert!(text(&diff).starts_with("--- p (revision 1.1)\n+++ p (revision 2)\n"), "{diff:?}");
        assert!(text(&compared("a\n", "a\n")).ends_with("are the same"));
        assert_eq!(text(&compared("a\n", "\0")), "not compared, it is not text: 1 B -> 2 B");
        let mode = ("0644".into(), "0755".into());
        let diff = DiffAnswer { modes: Some(mode), ..compared("a\n", "a\n") };
        assert!(text(&diff).ends_with("are the same\nmode 0644 -> 0755"), "{}", text(&diff));
        let mode = ("0644".into(), "0755".into());
        let diff = DiffAnswer { modes: Some(mode.clone()), ..compared("a\n", "b\n") };
        assert!(text(&diff).ends_with("-a\n+b\nmode 0644 -> 0755"), "{}", text(&diff));
        let diff = DiffAnswer { modes: Some(mode), ..compared("a\n", "\0") };
        assert!(text(&diff).ends_with("1 B -> 2 B\nmode 0644 -> 0755"), "{}", text(&diff));
        let deleted = DiffAnswer { deleted: true, ..compared("a\0", "") };
        assert_eq!(
            text(&deleted),
            "a file of 1 B was deleted at revision 2 (t); its bytes are not shown, it is not text"
        );
        let lines = |from: usize| -> String {
            (from..from + 100_000).map(|number| format!("{number}\n")).collect()
        };
        let diff = compared(&lines(0), &lines(1_000_000));
        assert_eq!(diff.text, None);
        assert!(text(&diff).contains("too little in common"), "{}", text(&diff));
    }
}
