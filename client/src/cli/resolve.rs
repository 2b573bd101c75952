//! `driftless resolve`: settles a conflict.

use super::asking::{absolute, ask, path_argument, unexpected};
use super::merging;
use super::table::printable;
use super::{Context, Outcome};
use crate::daemon::control::{Answer, Failure, Keep, PathArgument, Request, ResolvedAnswer};
use std::path::PathBuf;

/// Flags of `resolve`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("how").required(true).args(["keep", "with"]))]
pub(super) struct ResolveFlags {
    /// Either path of the conflict, in a synced folder or as FOLDER:PATH
    #[arg(value_name = "PATH")]
    path: String,
    /// Which side stays
    #[arg(long, value_name = "SIDE")]
    keep: Option<Keep>,
    /// A file with what both sides become
    #[arg(long, value_name = "FILE")]
    with: Option<PathBuf>,
}

pub(super) fn run(flags: ResolveFlags, context: &Context) -> Result<Outcome, Failure> {
    let path = path_argument(flags.path)?;
    let text = path.text.clone();
    let answer = match (flags.keep, flags.with) {
        (_, Some(file)) => {
            let file = absolute(&file)?;
            let request = Request::ResolveWith { path, file: file.clone(), seen: None };
            let answer = ask(context, &request)?;
            merging::taken(context.home.path(), &file);
            answer
        }
        (Some(Keep::Merged), None) => merged(context, path)?,
        (Some(keep), None) => ask(context, &Request::Resolve { path, keep })?,
        (None, None) => unreachable!("clap takes neither for a usage error"),
    };
    match answer {
        Answer::Resolved(resolved) => {
            let outcome = context.output.answer(&resolved, || told(&resolved, &text))?;
            // It is in the folder, and something keeps it from this disk.
            Ok(if resolved.complete { outcome } else { Outcome::NotInSync })
        }
        _ => Err(unexpected(&context.home)),
    }
}

fn told(resolved: &ResolvedAnswer, path: &str) -> String {
    let kept: Vec<_> = resolved.kept.iter().map(|path| printable(path)).collect();
    let kept = match resolved.kept == resolved.on || kept.is_empty() {
        true => String::new(),
        false => format!("; kept as {}", kept.join(" and ")),
    };
    let rest = match resolved.complete {
        true => "",
        false => "\nit is not on this disk yet: `driftless status` says why",
    };
    format!("{path}: resolved{kept}{rest}")
}

/// Merges, in an editor where the merge is not clean and there is one.
fn merged(context: &Context, path: PathArgument) -> Result<Answer, Failure> {
    let clean = ask(context, &Request::Resolve { path: path.clone(), keep: Keep::Merged });
    let refused = match clean {
        Err(failure) if failure.kind == "not_clean" => failure,
        other => return other,
    };
    let Some(program) = merging::program(context)? else { return Err(refused) };
    let Answer::Merge(merge) = ask(context, &Request::Merge { path: path.clone() })? else {
        return Err(unexpected(&context.home));
    };
    let kept = merging::edit(context, &program, &merge, &path.text)?;
    let request = Request::ResolveWith { path, file: kept.merged(), seen: Some(merge.seen) };
    match ask(context, &request) {
        Ok(answer) => {
            kept.discard();
            Ok(answer)
        }
        Err(failure) => Err(kept.failed(failure)),
    }
}
