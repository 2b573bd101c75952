//! What the daemon does for `ls`, `log`, `cat`, `diff` and `restore`, and for `why` and `plan`.
//!
//! Owns the way from these requests to a folder's engine, and back to an answer. It must not know how
//! a version is read or brought back.

use super::commands::{find, handle};
use super::control::{
    Answer, DiffAnswer, ExportedAnswer, Failure, FolderArgument, FolderPlanAnswer, HolderAnswer,
    IgnoredAnswer, IssueAnswer, ListAnswer, Listing, LogAnswer, Moment, OfHaltAnswer, PathArgument,
    PlanAnswer, RestoreAnswer, StepAnswer, Which, WhyAnswer,
};
use super::shared::Shared;
use super::{label_commands, paths, summaries, times};
use crate::engine::handle::{self, Destination, DiffSides, DiffTo, FileDiff};
use crate::engine::{Ask, FolderHandle};
use common::ids::DeviceId;
use std::path::PathBuf;

/// Versions that one answer shows at most.
const VERSIONS_MAX: u32 = 10_000;

pub(super) async fn moment(
    folder: &FolderHandle,
    moment: Moment,
) -> Result<handle::Moment, Failure> {
    match moment {
        Moment::Revision(revision) => Ok(handle::Moment::Revision(revision)),
        Moment::TimeMs(time_ms) => Ok(handle::Moment::Time(time_ms)),
        Moment::Label(name) => label_commands::marked(folder, &name).await,
    }
}

async fn version(folder: &FolderHandle, which: Which) -> Result<handle::Which, Failure> {
    match which {
        Which::Revision(revision) => Ok(handle::Which::Revision(revision)),
        Which::Older(revision, older) => Ok(handle::Which::Older(revision, older)),
        Which::At(at) => moment(folder, at).await.map(handle::Which::At),
    }
}

/// A path in a folder; the whole folder when none is said.
fn meant(
    shared: &Shared,
    path: Option<PathArgument>,
    folder: &FolderArgument,
) -> Result<(String, FolderHandle), Failure> {
    match path {
        Some(argument) => {
            let (at, handle) = find(shared, &argument)?;
            Ok((at.path, handle))
        }
        None => {
            let folder = paths::folder_meant(&shared.config(), folder)?;
            Ok((String::new(), handle(shared, &folder)?))
        }
    }
}

pub(super) async fn list(
    shared: &Shared,
    path: Option<PathArgument>,
    folder: &FolderArgument,
    what: Listing,
) -> Result<Answer, Failure> {
    let (path, handle) = meant(shared, path, folder)?;
    let what = match what {
        Listing::Now => handle::Listing::Now,
        Listing::Deleted => handle::Listing::Deleted,
        Listing::At(at) => handle::Listing::At(moment(&handle, at).await?),
    };
    let listed = handle.ask(|answer| Ask::List(path, what, answer)).await?;
    let entries = listed.entries.into_iter().map(summaries::entry).collect();
    Ok(Answer::List(ListAnswer { entries, at: listed.at.map(summaries::instant) }))
}

pub(super) async fn log(
    shared: &Shared,
    path: Option<PathArgument>,
    folder: &FolderArgument,
    before: u64,
    limit: u32,
) -> Result<Answer, Failure> {
    let (path, handle) = meant(shared, path, folder)?;
    let (asked, limit) = (path.clone(), limit.clamp(1, VERSIONS_MAX));
    let log = handle.ask(|answer| Ask::Log(asked, before, limit, answer)).await?;
    let account = shared.account.lock().await;
    let versions = log.versions.into_iter().map(|version| summaries::version(&account, version));
    Ok(Answer::Log(LogAnswer {
        path,
        versions: versions.collect(),
        more: log.more,
        bundle: log.bundle,
    }))
}

pub(super) async fn export(
    shared: &Shared,
    path: &PathArgument,
    which: Which,
    to: PathBuf,
    bytes_only: bool,
) -> Result<Answer, Failure> {
    let (at, handle) = find(shared, path)?;
    let which = version(&handle, which).await?;
    let to = Destination { path: to, bytes_only };
    let exported_bytes = handle.ask(|answer| Ask::Export(at.path, which, to, answer)).await?;
    Ok(Answer::Exported(ExportedAnswer { exported_bytes }))
}

/// Answers when what was restored is on this disk too, or waits for a person.
pub(super) async fn restore(
    shared: &Shared,
    path: &PathArgument,
    which: Which,
    dry_run: bool,
) -> Result<Answer, Failure> {
    let (at, handle) = find(shared, path)?;
    let (on, which) = (at.path.clone(), version(&handle, which).await?);
    let restored = handle.ask(|answer| Ask::Restore(at.path, which, dry_run, answer)).await?;
    let complete = match dry_run {
        true => false,
        false => handle.ask(|answer| Ask::Settled(restored.sent, answer)).await?,
    };
    let changes = restored.differences.into_iter().map(summaries::change).collect();
    let at = summaries::instant(restored.at);
    Ok(Answer::Restored(RestoreAnswer {
        at,
        done: !dry_run,
        on: vec![on],
        changes,
        complete,
        absent: restored.absent,
        of_halt: restored.of_halt.map(|(back, entries)| OfHaltAnswer { back, entries }),
    }))
}

pub(super) async fn diff(
    shared: &Shared,
    path: &PathArgument,
    from: Option<(u64, u32)>,
    to: Option<(u64, u32)>,
    disk: bool,
) -> Result<Answer, Failure> {
    let (at, handle) = find(shared, path)?;
    let path = at.path.clone();
    let to = match to {
        _ if disk => DiffTo::Disk,
        Some((to, older)) => DiffTo::Revision(to, older),
        None => DiffTo::Newest,
    };
    let diff = handle.ask(|answer| Ask::Diff(at.path, from, to, answer)).await?;
    let (kind, changes, file) = match diff.sides {
        DiffSides::File(mut file) => ("file", std::mem::take(&mut file.changes), file),
        DiffSides::Directory(changes, modes) => {
            ("directory", changes, FileDiff { modes, ..FileDiff::default() })
        }
        DiffSides::Bundle(changes) => ("bundle", changes, FileDiff::default()),
    };
    let mode = |mode: u16| format!("{mode:04o}");
    Ok(Answer::Diff(Box::new(DiffAnswer {
        path,
        kind: kind.to_owned(),
        from: diff.from.map(summaries::instant),
        to: diff.to.map(summaries::instant),
        changes: changes.into_iter().map(summaries::change).collect(),
        text: file.same_bytes.map(|_| String::new()),
        reason: None,
        sizes: file.same_bytes.map(|bytes| (bytes, bytes)),
        deleted: file.deleted,
        modes: file.modes.map(|(old, new)| (mode(old), mode(new))),
        mtimes: file.mtimes_ns.map(|(old, new)| (times::from_ns(old), times::from_ns(new))),
    })))
}

pub(super) async fn why(shared: &Shared, path: &PathArgument) -> Result<Answer, Failure> {
    let (at, handle) = find(shared, path)?;
    let path = at.path.clone();
    let why = handle.ask(|answer| Ask::Why(at.path, answer)).await?;
    let is_known =
        |(device, _): &(DeviceId, u64)| shared.signers.with(|log| log.device(device).is_some());
    if !why.devices.iter().all(is_known)
        && let Err(error) = shared.refresh().await
    {
        // A device that has just joined is then named by its id.
        tracing::debug!(%error, "the device log could not be read again");
    }
    let account = shared.account.lock().await;
    let devices = why.devices.iter().map(|(device, revision)| HolderAnswer {
        device: account.device_name(device),
        revision: *revision,
        has_it: why.revision.is_some_and(|of_path| *revision >= of_path),
    });
    Ok(Answer::Why(WhyAnswer {
        path,
        state: why.state.to_owned(),
        kind: why.kind.map(|kind| summaries::kind_text(kind).to_owned()),
        reasons: why.reasons,
        ignored: why.ignored.map(|by| IgnoredAnswer {
            path: by.path,
            line: by.line as u64,
            pattern: by.pattern,
        }),
        revision: why.revision,
        held: why.held,
        devices: devices.collect(),
    }))
}

pub(super) async fn plan(shared: &Shared, name: Option<&str>) -> Result<Answer, Failure> {
    let mut plans = Vec::new();
    for folder in shared.meant(name)? {
        let plan = handle(shared, &folder)?.ask(Ask::Plan).await?;
        let steps = plan.steps.into_iter().map(|step| StepAnswer {
            direction: if step.up { "up" } else { "down" }.to_owned(),
            action: step.action.to_owned(),
            path: step.path,
            from: step.from,
        });
        let waiting = plan.waiting.into_iter();
        let waiting = waiting.map(|issue| IssueAnswer { path: issue.path, reason: issue.reason });
        plans.push(FolderPlanAnswer {
            name: folder.name,
            steps: steps.collect(),
            steps_total: plan.total,
            waiting: waiting.collect(),
            stopped: plan.stopped,
        });
    }
    Ok(Answer::Plan(PlanAnswer { plans }))
}
