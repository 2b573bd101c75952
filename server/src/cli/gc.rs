//! `driftless-server gc`: a run of the garbage collection, now or as a dry run.

use super::{CommandFailure, asked, print_json, print_line, print_problems};
use crate::background::{Amount, GcReport};
use crate::control::{Reply, Request};
use common::duration::parse_grace_ms;
use std::path::PathBuf;

/// Flags of `gc`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(super) struct GcFlags {
    /// Data directory of the running server
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Only tell what a run would do
    #[arg(long, group = "what")]
    dry_run: bool,
    /// Run now, and not at the time of day at which it runs by itself
    #[arg(long, group = "what")]
    now: bool,
    /// How long what nothing names stays in the trash: 0s, 30m, 24h, 7d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_grace_ms)]
    grace: u64,
}

/// Says whether nothing kept a folder from being collected.
pub(super) fn run(flags: &GcFlags, json: bool) -> Result<bool, CommandFailure> {
    let request = Request::Gc { dry_run: flags.dry_run, grace_ms: flags.grace };
    let report = asked(&flags.data, &request, |reply| match reply {
        Reply::Gc(found) => Some(found),
        _ => None,
    })?;
    if json {
        print_json(&report)?;
    } else {
        print_report(&report)?;
        print_problems(&report.problems);
    }
    Ok(report.problems.is_empty())
}

fn print_report(report: &GcReport) -> Result<(), CommandFailure> {
    let amount = |amount: &Amount| format!("{} chunks, {} bytes", amount.chunks, amount.bytes);
    let would = if report.dry_run { " (a dry run: nothing was changed)" } else { "" };
    print_line(&format!("generation  {}{would}", report.generation))?;
    print_line(&format!("thinned     {} versions", report.thinned))?;
    if report.held > 0 {
        let held = format!("{} folders, as the server was restored lately", report.held);
        print_line(&format!("not thinned {held}"))?;
    }
    print_line(&format!("marked      {} objects in {} folders", report.marked, report.folders))?;
    print_line(&format!("condemned   {} objects", report.condemned))?;
    let rows = [
        ("trashed", &report.trashed),
        ("untrashed", &report.untrashed),
        ("purged", &report.purged),
        ("in trash", &report.waiting),
        ("in flight", &report.leased),
        ("unknown", &report.unknown),
    ];
    for (name, of) in rows.into_iter().filter(|(_, of)| of.chunks > 0) {
        print_line(&format!("{name:<12}{}", amount(of)))?;
    }
    print_line(&format!(
        "compacted   {} segments, {} bytes moved",
        report.compacted, report.moved_bytes
    ))?;
    if !report.dry_run {
        print_line(&format!(
            "freed       {} bytes, {} segments removed",
            report.freed_bytes, report.dropped
        ))?;
    }
    if report.lacked_bytes > 0 {
        eprintln!("compaction needs {} bytes of free disk to go on", report.lacked_bytes);
    }
    Ok(())
}
