//! An engine's words in those of the control socket.
//!
//! Owns the mapping of states, entries, versions and conflicts to answers. It decides nothing.

use super::account::Account;
use super::control::{
    BaseAnswer, ChangeAnswer, ConflictAnswer, CursorAnswer, EntryAnswer, FolderProgress,
    FolderStatusAnswer, HaltAnswer, InstantAnswer, IssueAnswer, SideAnswer, State, VersionAnswer,
};
use super::times;
use crate::engine::handle::Instant;
use crate::engine::{
    ConflictInfo, FolderStatus, FolderSummary, HaltReason, ListedEntry, VersionInfo, first_summary,
};
use crate::home::FolderConfig;
use crate::watch::WatchState;
use client_core::past::{Change, Difference, Shown};

pub(super) fn state(status: FolderStatus) -> State {
    match status {
        FolderStatus::Scanning => State::Scanning,
        FolderStatus::Syncing => State::Syncing,
        FolderStatus::Idle => State::Idle,
        FolderStatus::Offline => State::Offline,
        FolderStatus::Paused => State::Paused,
        FolderStatus::Halted => State::Halted,
    }
}

pub(super) fn folder(
    config: &FolderConfig,
    summary: FolderSummary,
    watch: WatchState,
) -> FolderStatusAnswer {
    let issues = summary.issues.into_iter();
    FolderStatusAnswer {
        name: config.name.clone(),
        path: config.path.clone(),
        state: state(summary.status),
        entries: summary.entries,
        bytes: summary.bytes,
        pending_up: summary.pending_up,
        pending_down: summary.pending_down,
        conflicts: summary.conflicts,
        mergeable: summary.mergeable,
        issues: issues
            .map(|issue| IssueAnswer { path: issue.path, reason: issue.reason })
            .collect(),
        issues_total: summary.issues_total,
        cursor: summary
            .cursor
            .map(|cursor| CursorAnswer { epoch: cursor.epoch, revision: cursor.revision }),
        halt: summary.halt.map(|halt| HaltAnswer {
            message: halt.message,
            hint: halt.hint,
            can_confirm: halt.can_confirm,
            since: halt.since_ms.map(times::from_ms),
            entries: halt.entries,
        }),
        trouble: summary.trouble,
        watch: watch_text(watch),
    }
}

/// A folder of the configuration that has no engine: the reason, if it did not start.
pub(super) fn unstarted(config: &FolderConfig, reason: Option<String>) -> FolderStatusAnswer {
    let status = if reason.is_some() { FolderStatus::Halted } else { FolderStatus::Scanning };
    let hint =
        "it is tried again by itself; `driftless doctor` looks for what is wrong with the home";
    let halt =
        reason.map(|reason| HaltReason::new(format!("the folder does not start: {reason}"), hint));
    folder(config, FolderSummary { status, halt, ..first_summary() }, WatchState::Starting)
}

fn watch_text(watch: WatchState) -> String {
    match watch {
        WatchState::Starting => "starting".to_owned(),
        WatchState::Complete { .. } => "complete".to_owned(),
        WatchState::LimitReached { directories } => format!(
            "the system allows watches of {directories} directories only; changes elsewhere are \
             found by a rescan (raise fs.inotify.max_user_watches)"
        ),
        WatchState::Unavailable => "the system gives no watcher; changes are found by a rescan \
             (raise fs.inotify.max_user_instances)"
            .to_owned(),
        WatchState::NoRoot => "the folder's root cannot be read; it is tried again".to_owned(),
    }
}

pub(super) fn progress(config: &FolderConfig, summary: &FolderSummary) -> FolderProgress {
    FolderProgress {
        name: config.name.clone(),
        state: state(summary.status),
        scanned: summary.progress.scanned,
        pending_up: summary.pending_up,
        pending_down: summary.pending_down,
        issues: summary.issues.len() as u64,
        bytes_up: summary.progress.bytes_up,
        bytes_down: summary.progress.bytes_down,
    }
}

pub(super) fn entry(listed: ListedEntry) -> EntryAnswer {
    let is_directory = listed.kind == Shown::Directory;
    EntryAnswer {
        path: listed.path,
        kind: kind_text(listed.kind).to_owned(),
        size: listed.size,
        mtime: (!is_directory).then(|| times::from_ns(listed.mtime_ns)),
        revision: listed.revision,
        deleted: listed.deleted_ms.is_some(),
        deleted_at: listed.deleted_ms.map(times::from_ms),
    }
}

pub(super) fn instant(instant: Instant) -> InstantAnswer {
    InstantAnswer { revision: instant.revision, time: times::from_ms(instant.time_ms) }
}

pub(super) fn change_text(change: Change) -> &'static str {
    match change {
        Change::Added => "added",
        Change::Deleted => "deleted",
        Change::Edited => "edited",
        Change::Moved => "moved",
        Change::Attributes => "attributes",
    }
}

pub(super) fn change(difference: Difference) -> ChangeAnswer {
    ChangeAnswer {
        path: difference.path,
        from: difference.from,
        kind: kind_text(difference.kind).to_owned(),
        change: change_text(difference.change).to_owned(),
        size_before: difference.bytes_before,
        size_after: difference.bytes_after,
    }
}

pub(super) fn kind_text(kind: Shown) -> &'static str {
    match kind {
        Shown::Directory => "directory",
        Shown::File => "file",
        Shown::Symlink => "symlink",
        Shown::Bundle => "bundle",
    }
}

pub(super) fn version(account: &Account, version: VersionInfo) -> VersionAnswer {
    VersionAnswer {
        revision: version.revision,
        older: version.older,
        time: times::from_ms(version.time_ms),
        device: version.device.map_or_else(String::new, |device| account.device_name(&device)),
        size: version.size,
        change: version.change.to_owned(),
        attributes: version.attributes.into_iter().map(str::to_owned).collect(),
        kind: kind_text(version.kind).to_owned(),
        name: version.name,
        path: version.path,
        from: version.from,
        restored: version.restored,
        restored_from: version.restored_from,
        unreadable: version.unreadable,
    }
}

/// A conflict; with what a comparison of its sides shows, if it was asked for.
pub(super) fn conflict(
    account: &Account,
    folder: &str,
    conflict: ConflictInfo,
    diff: Option<String>,
) -> ConflictAnswer {
    let known = conflict.base_version.as_ref();
    let base = conflict.base.map(|revision| BaseAnswer {
        revision,
        device: known.map(|base| account.device_name(&base.device)),
        time: known.map(|base| times::from_ms(base.time_ms)),
        size: known.map(|base| base.size),
    });
    let sides = conflict.sides.into_iter().map(|side| SideAnswer {
        device: account.device_name(&side.device),
        revision: side.revision,
        time: times::from_ms(side.time_ms),
        kind: side.kind.map(|kind| kind_text(kind).to_owned()),
        size: side.size,
        unreadable: side.unreadable,
    });
    ConflictAnswer {
        folder: folder.to_owned(),
        path: conflict.path,
        copy: conflict.copy,
        opened: times::from_ms(conflict.opened_ms),
        base,
        sides: sides.collect(),
        mergeable: conflict.mergeable,
        diff,
    }
}
