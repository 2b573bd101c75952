//! Explaining to a person: why a path is or is not synced, and what the next round would do.
//!
//! Owns the words for what the other phases know. It decides nothing of a round.

use super::handle::{AskError, PathIssue, PlanInfo, PlannedStep, WhyInfo};
use super::planning::issue_text;
use super::run::{Engine, Halted};
use crate::fs::bundle::database::database_of;
use crate::fs::{self, RelPath, Stat};
use crate::scan::{Kept, UnsyncedError, kept_for, stat_spelled};
use crate::state::{LocalRow, RemoteRow, StateError};
use client_core::past::Shown;
use client_core::planner::{self, Change, Destination, Plan, Step};
use client_core::tree::Position;
use common::ids::{DeviceId, EntryId};
use common::name::Name;
use common::revision::Revision;
use common::wire::meta::{HoldersRead, Reply, Report, Request};

/// Steps that an answer holds.
const STEPS_SHOWN: usize = 10_000;
/// Issues that are looked through.
const ISSUES_MAX: u32 = 100_000;

impl Engine {
    /// What the next round would do with what is known now; nothing is done.
    pub(super) fn planned(&mut self) -> Result<PlanInfo, AskError> {
        let dirty = self.context.state.dirty_and_read()?;
        let waits = |entry: &EntryId| {
            self.missing.contains_key(entry)
                || self.moved.contains_key(entry)
                || self.emptied.contains_key(entry)
                || self.failed.contains(entry)
        };
        let planned = dirty.iter().copied().filter(|entry| !waits(entry)).collect();
        let settled = self.missing.is_empty() && self.targets.is_empty() && self.scanned_once;
        let agreed = self.agreed.clone();
        let policy = planner::Policy { absences_settled: settled, agreed, ..self.policy() };
        let view = self.context.state.view();
        let plan = planner::plan(&view, &planned, &policy);
        view.finish()?;
        let mut info = self.plan_info(&plan)?;
        for entry in dirty.iter().filter(|entry| !planned.contains(entry)) {
            let reason = self.waits_for(entry).unwrap_or_else(|| "waits".to_owned());
            info.waiting.push(PathIssue { path: self.path_to_show(entry), reason });
        }
        info.waiting.sort_by(|one, two| one.path.cmp(&two.path));
        info.waiting.dedup();
        Ok(info)
    }

    fn plan_info(&self, plan: &Plan) -> Result<PlanInfo, AskError> {
        let mut info = PlanInfo { stopped: self.stopped(), ..PlanInfo::default() };
        for step in plan.batches.iter().flatten() {
            let steps = self.told_step(step)?;
            info.total += steps.len() as u64;
            let room = STEPS_SHOWN.saturating_sub(info.steps.len());
            info.steps.extend(steps.into_iter().take(room));
        }
        let mut wait = |entry: &EntryId, reason: &str| {
            let path = self.path_to_show(entry);
            info.waiting.push(PathIssue { path, reason: reason.to_owned() });
        };
        for issue in &plan.issues {
            wait(&issue.entry, issue_text(&issue.kind));
        }
        if let Some(halt) = &plan.halt {
            for entry in &halt.deletions {
                wait(entry, "would be deleted or emptied with many others: waits for a person");
            }
        }
        for entry in &plan.waiting {
            if plan.halt.as_ref().is_none_or(|halt| !halt.deletions.contains(entry)) {
                wait(entry, self.waits_for(entry).as_deref().unwrap_or("waits for others"));
            }
        }
        Ok(info)
    }

    /// A step in words; those that only keep books are none.
    fn told_step(&self, step: &Step) -> Result<Vec<PlannedStep>, AskError> {
        let one = |up, action, path, from| vec![PlannedStep { up, action, path, from }];
        let path = |entry: &EntryId| self.path_to_show(entry);
        Ok(match step {
            Step::Settle { .. }
            | Step::Forget { .. }
            | Step::Keep { .. }
            | Step::Adopt { .. }
            | Step::Detach { .. } => Vec::new(),
            Step::Create { at, .. } => one(false, "create", self.path_at(at)?, None),
            Step::Replace { entry, .. } => one(false, "edit", path(entry), None),
            Step::SetAttributes { entry, .. } => one(false, "attributes", path(entry), None),
            Step::Delete { entry, .. } => one(false, "delete", self.local_path_of(entry)?, None),
            Step::Move { entry, to, .. } => {
                let to = match to {
                    Destination::Position(to) => self.path_at(to)?,
                    Destination::Parked => path(entry),
                };
                one(false, "move", to, Some(self.local_path_of(entry)?))
            }
            Step::Push(group) => {
                let pushed = group.changes.iter().map(|change| self.pushed(change));
                pushed.collect::<Result<_, AskError>>()?
            }
        })
    }

    fn pushed(&self, change: &Change) -> Result<PlannedStep, AskError> {
        let (action, path, from) = match change {
            Change::Create { at, .. } => ("create", self.path_at(at)?, None),
            Change::ConflictCopy { at, local, .. } => {
                ("conflict", self.path_at(at)?, Some(self.local_path_of(local)?))
            }
            Change::Edit { entry, .. } => ("edit", self.path_to_show(entry), None),
            Change::Move { entry, to, .. } => {
                ("move", self.path_at(to)?, Some(self.path_to_show(entry)))
            }
            Change::Delete { entry, .. } => ("delete", self.path_to_show(entry), None),
            Change::Revive { at, .. } => ("restore", self.path_at(at)?, None),
        };
        Ok(PlannedStep { up: true, action, path, from })
    }

    fn path_at(&self, at: &Position) -> Result<String, AskError> {
        let state = &self.context.state;
        let above = match state.local_path(&at.parent)? {
            Some(names) => Some(names),
            None => state.remote_path(&at.parent)?,
        };
        let names = above.unwrap_or_default().into_iter().chain([at.name.clone()]);
        let names: Vec<String> = names.map(|name| name.to_string()).collect();
        Ok(names.join("/"))
    }

    fn local_path_of(&self, entry: &EntryId) -> Result<String, AskError> {
        let names = self.context.state.local_path(entry)?.unwrap_or_default();
        let names: Vec<&str> = names.iter().map(Name::as_str).collect();
        Ok(names.join("/"))
    }

    /// What an entry is waited for, in the words of the phase that waits.
    fn waits_for(&self, entry: &EntryId) -> Option<String> {
        let is_missing = self.missing.contains_key(entry);
        let said = if is_missing || self.moved.contains_key(entry) {
            match self.stands_elsewhere(entry) {
                Some(path) => {
                    let lasts = "that is believed when it has lasted a moment";
                    return Some(format!("has just been moved to {path}; {lasts}"));
                }
                None if is_missing => {
                    "is gone from this disk; that is believed when it has lasted a moment"
                }
                None => "has just been moved; that is believed when it has lasted a moment",
            }
        } else if self.emptied.contains_key(entry) {
            "has just been emptied; that is believed when it has lasted a moment"
        } else if self.unsteady.contains_key(entry) {
            "changes while it is read; it is read again when it rests"
        } else if self.failed.contains(entry) {
            "has failed; it is tried again within a minute"
        } else {
            return None;
        };
        Some(said.to_owned())
    }

    /// Where an entry has been found again that the server has at another place.
    fn stands_elsewhere(&self, entry: &EntryId) -> Option<String> {
        let state = &self.context.state;
        let (local, remote) = (state.local_path(entry).ok()??, state.remote_path(entry).ok()?);
        let path = RelPath::new(local.clone()).ok()?;
        let is_there = stat_spelled(self.context.fs.as_ref(), &path).is_ok();
        (is_there && remote.is_some_and(|remote| remote != local)).then(|| path.to_string())
    }

    /// What a bundle waits for before it is read.
    fn bundle_waits(&self, at: &RelPath, local: Option<&LocalRow>) -> Option<String> {
        local.filter(|row| row.stat.is_bundle() && row.tag.is_none())?;
        Some(match self.context.bundles.lock_in(at) {
            Some(lock) => format!(
                "a program is at work in it ({lock}); it is read when that is gone, or a minute \
                 after its last change"
            ),
            None => "it is read when it has been left alone for a moment".to_owned(),
        })
    }

    /// Why a path is or is not synced.
    pub(super) async fn why(&mut self, path: &str) -> Result<WhyInfo, AskError> {
        let names: Result<Vec<Name>, _> =
            path.split('/').filter(|part| !part.is_empty()).map(Name::new).collect();
        let Some(asked) = names.ok().and_then(|names| RelPath::new(names).ok()) else {
            // No name that is synced: why not is listed.
            return self.why_listed(path)?.ok_or_else(|| AskError::NoSuchPath(path.to_owned()));
        };
        let (at, part_of) = self.synced_with(&asked);
        let names = at.names().to_vec();
        let on_disk = self.context.fs.stat(&at).ok();
        let local = self.local_at_path(&names)?;
        let remote = self.remote_at_path(&names)?;
        let is_directory = match (&on_disk, &remote) {
            (Some(stat), _) => stat.shows_directory(),
            (None, Some(row)) => row.node.shows_directory(),
            (None, None) => false,
        };
        let ignored = self.ignore.ignored_by(names.iter().map(Name::as_str), is_directory);
        let entry = remote.as_ref().map(|row| row.node.entry).or(local.as_ref().map(|r| r.entry));
        let is_nowhere = entry.is_none() && on_disk.is_none() && !names.is_empty();
        if is_nowhere && let Some(why) = self.why_nowhere(path, ignored.is_some()).await? {
            return Ok(why);
        }
        let kind = match (&on_disk, &remote) {
            (_, Some(row)) => Some(Shown::of(row.node.kind, row.node.content.mode)),
            (Some(stat), None) => shown(stat),
            (None, None) => None,
        };
        let mut info = WhyInfo { ignored, kind, ..WhyInfo::unknown() };
        let lost = remote.as_ref().is_some_and(|row| self.has_lost(row.newest()));
        info.revision = remote.as_ref().filter(|_| !lost).map(RemoteRow::newest);
        let base = match entry {
            Some(entry) => self.context.state.synced_node(&entry)?.filter(|base| base.held),
            None => None,
        };
        let held = base.map(|base| base.place_revision.max(base.content_revision));
        let is_elsewhere = entry.is_some_and(|entry| self.stands_elsewhere(&entry).is_some());
        info.held = held.filter(|_| on_disk.is_some() || is_elsewhere);
        if names.is_empty() {
            // Of the whole folder it is how far its journal has come.
            info.revision = Some(self.heard()?);
            info.held = self.reported.map(|cursor| cursor.revision);
        }
        let is_on_disk = on_disk.is_some();
        let stands = Stands { at, is_on_disk, entry, local, remote, held, is_lost: lost };
        let mut said = self.said_of(&stands, &info)?;
        if said.is_empty() {
            said.extend(self.sameness());
        }
        if info.revision.is_some() {
            let own = self.context.device();
            info.devices = self.holders().await?;
            info.devices.retain(|(device, _)| *device != own);
        }
        // What is said first names the state.
        info.state = said.first().map_or(info.state, |(state, _)| state);
        info.reasons = said.into_iter().map(|(_, reason)| reason).collect();
        if let Some(whole) = part_of {
            info.reasons.insert(0, format!("it is part of {whole}, which is synced as a whole"));
        }
        Ok(info)
    }

    /// What is said of a path, each with the state that it means, what weighs most first.
    fn said_of(
        &self,
        stands: &Stands,
        info: &WhyInfo,
    ) -> Result<Vec<(&'static str, String)>, AskError> {
        let Stands { at, is_on_disk, entry, local, remote, held, is_lost } = stands;
        let mut said: Vec<(&'static str, String)> = Vec::new();
        said.extend(self.bundle_waits(at, local.as_ref()).map(|reason| ("waiting", reason)));
        if let Some(by) = &info.ignored {
            let (line, pattern) = (by.line, &by.pattern);
            said.push((
                "ignored",
                format!("{} matches line {line} of .driftlessignore: {pattern}", by.path),
            ));
        }
        said.extend(self.issues_of(&at.to_string())?);
        let waits = entry.and_then(|entry| self.waits_for(&entry));
        if let Some(entry) = entry {
            said.extend(waits.clone().map(|reason| ("waiting", format!("it {reason}"))));
            if !self.context.state.conflicts_of(entry)?.is_empty() {
                let text = "it is a side of an open conflict: `driftless conflicts`";
                said.push(("conflict", text.to_owned()));
            }
        }
        if local.is_none()
            && remote.is_none()
            && *is_on_disk
            && let Some(kept) = self.why_kept(at)?
        {
            said.push(kept);
            return Ok(said);
        }
        let has_failed = said.iter().any(|(state, _)| *state == "failed");
        let difference = match (local, remote) {
            // What stands there cannot be synced, and why has been said.
            (None, None) if has_failed => None,
            (None, None) => {
                is_on_disk.then_some("it has not been looked at yet, or cannot be synced")
            }
            (None, Some(_)) if waits.is_some() => None,
            (None, Some(row)) if row.broken.is_none() => Some(self.absence(row, *held)?),
            (None, Some(_)) => None,
            (Some(_), _) if !is_on_disk && !self.has_no_root() => {
                waits.is_none().then_some("it is gone from its place, which is looked at next")
            }
            (Some(_), Some(_)) if *is_lost => {
                Some("the server was restored from a backup that is older than this version")
            }
            (Some(local), remote) => difference(local, remote.as_ref()),
        };
        if at.names().is_empty() {
            // The folder itself: what keeps all of it back.
            said.extend(self.folder_waits_for().map(|reason| ("waiting", reason)));
        } else if let Some(difference) = difference.filter(|_| info.ignored.is_none()) {
            said.extend(self.folder_waits_for().map(|reason| ("waiting", reason)));
            let deletion = entry.and_then(|entry| self.deletion_of(&entry, *is_on_disk));
            said.push(("waiting", deletion.unwrap_or(difference).to_owned()));
        }
        Ok(said)
    }

    /// What is said of a directory that others have deleted and that stays here, if it is one.
    fn why_kept(&self, at: &RelPath) -> Result<Option<(&'static str, String)>, AskError> {
        Ok(match kept_for(&self.context, &self.ignore, at) {
            Ok(Some(Kept::Ignored)) => Some((
                "deleted",
                "it was deleted by another device, and stays here for what is ignored in it"
                    .to_owned(),
            )),
            Ok(Some(Kept::Nothing)) => Some((
                "deleted",
                "it was deleted by another device; nothing is left in it that it stayed here for: \
                 remove it, or put a file into it that is to be synced"
                    .to_owned(),
            )),
            // That is listed by whoever scans.
            Ok(Some(Kept::Unsyncable) | None) => None,
            Err(UnsyncedError::Disk(error)) => Some(("failed", format!("cannot be read: {error}"))),
            Err(UnsyncedError::State(error)) => return Err(error.into()),
        })
    }

    /// What a path is synced with, itself as a rule, and what that is called when it is another: the
    /// bundle that it lies in, or the database that it lies beside.
    fn synced_with(&self, asked: &RelPath) -> (RelPath, Option<String>) {
        let bundle = self.context.bundles.whole(asked);
        if bundle != *asked {
            let called = bundle.to_string();
            return (bundle, Some(called));
        }
        let database = asked.name().and_then(database_of).zip(asked.parent());
        let database = database.and_then(|(name, directory)| directory.join(&name).ok());
        match database.filter(|it| self.context.bundles.is_unsettled(it).is_ok_and(|it| it)) {
            Some(database) => {
                let called = format!("the database {database}");
                (database, Some(called))
            }
            None => (asked.clone(), None),
        }
    }

    /// Why something is not synced that is only known by what is listed of it; `None` if nothing is.
    fn why_listed(&self, path: &str) -> Result<Option<WhyInfo>, AskError> {
        let listed = self.issues_of(path)?.into_iter().filter(|(state, _)| *state == "failed");
        let reasons: Vec<String> = listed.map(|(_, reason)| reason).collect();
        let why = WhyInfo { state: "failed", reasons, ..WhyInfo::unknown() };
        Ok((!why.reasons.is_empty()).then_some(why))
    }

    /// Why what the server has is not at its path here; `held` is what this disk had of it.
    fn absence(
        &self,
        remote: &RemoteRow,
        held: Option<Revision>,
    ) -> Result<&'static str, StateError> {
        let is_elsewhere = self.context.state.local_row(&remote.node.entry)?.is_some();
        Ok(match held {
            _ if is_elsewhere => "this disk has it at another place",
            Some(_) => "it was deleted here, and the server has not been told yet",
            None => "it has not come to this disk yet",
        })
    }

    /// What an entry of the mass deletion waits for that halts the folder.
    fn deletion_of(&self, entry: &EntryId, is_here: bool) -> Option<&'static str> {
        let halt = self.guarded.halt()?;
        halt.deletions.contains(entry).then_some(match (halt.from_remote, is_here) {
            (false, false) => {
                "it was deleted here with many others: `driftless confirm` deletes them on all \
                 devices, and `driftless confirm --undo` brings them back"
            }
            (false, true) => {
                "it was emptied here with many others: `driftless confirm` empties them on all \
                 devices, and `driftless confirm --undo` brings back what they held"
            }
            (true, _) => {
                "it was deleted or emptied elsewhere with many others: `driftless confirm` does so \
                 here too, and `driftless confirm --undo` brings them back there"
            }
        })
    }

    /// Why nothing is at a path, here or at the server; `None` when that it is ignored says it all.
    async fn why_nowhere(&self, path: &str, is_ignored: bool) -> Result<Option<WhyInfo>, AskError> {
        if is_ignored {
            return Ok(None);
        }
        if let Some(why) = self.why_listed(path)? {
            return Ok(Some(why));
        }
        // Deleted, perhaps: what was there is in the history.
        if let Err(error) = self.entry_ever_at(path).await {
            return Err(self.in_bundle_or(path, error).await?);
        }
        let reasons = vec!["it was deleted; `driftless log` tells by whom".to_owned()];
        Ok(Some(WhyInfo { state: "deleted", reasons, ..WhyInfo::unknown() }))
    }

    /// What devices have told that they hold; nothing when the server cannot be asked.
    async fn holders(&self) -> Result<Vec<(DeviceId, Revision)>, AskError> {
        let request = HoldersRead { folder: self.context.folder.to_vec() };
        let replies = match self.context.remote.request(Request::Holders(request)).await {
            Ok(replies) => replies,
            Err(error) if error.is_offline() => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let holders = replies.into_iter().filter_map(|reply| match reply {
            Reply::Holders(reply) => Some(reply.holders),
            _ => None,
        });
        let known = holders.flatten().filter_map(|holder| {
            DeviceId::from_slice(&holder.device).ok().map(|device| (device, holder.revision))
        });
        Ok(known.collect())
    }

    /// Tells the server what this disk holds, when it has come so far. It is told again after the
    /// next change if that fails: nothing depends on it.
    pub(super) async fn report(&mut self) {
        let cursor = self.context.state.cursor().ok().flatten();
        let Some(cursor) = cursor.filter(|cursor| Some(*cursor) != self.reported) else { return };
        self.reported = Some(cursor);
        let request = Report { folder: self.context.folder.to_vec(), revision: cursor.revision };
        if let Err(error) = self.context.remote.request(Request::Report(request)).await {
            tracing::debug!(%error, "what this disk holds could not be told");
        }
    }

    /// What is listed of a path, of the directories above it, and of the whole folder.
    fn issues_of(&self, text: &str) -> Result<Vec<(&'static str, String)>, AskError> {
        let mut said = Vec::new();
        for issue in self.context.state.issues(ISSUES_MAX)? {
            let is_above = text.strip_prefix(&issue.path).is_some_and(|rest| rest.starts_with('/'));
            if issue.path.is_empty() {
                said.push(("waiting", format!("the whole folder: {}", issue.reason)));
            } else if issue.path == text || is_above {
                said.push(("failed", format!("{}: {}", issue.path, issue.reason)));
            }
        }
        Ok(said)
    }

    /// What is said of a path of which nothing differs, as far as is known here.
    fn sameness(&self) -> Vec<(&'static str, String)> {
        let waits = self.folder_waits_for().map(|reason| ("synced", reason));
        let same = match (&self.halted, self.paused || self.journal.is_none()) {
            (None, false) => {
                return vec![("synced", "this disk and the server hold the same".to_owned())];
            }
            (Some(Halted::Root(_)), _) => {
                return vec![("waiting", "the folder's root is not there".to_owned())];
            }
            _ => "this disk holds what the server had when it was last followed",
        };
        std::iter::once(("synced", same.to_owned())).chain(waits).collect()
    }

    fn has_no_root(&self) -> bool {
        matches!(self.halted, Some(Halted::Root(_)))
    }

    /// Whether the server has been restored from a backup that is older than a revision.
    fn has_lost(&self, revision: Revision) -> bool {
        matches!(&self.halted, Some(Halted::Rollback { restored }) if restored.revision < revision)
    }

    /// Why nothing that is planned is done now, if so.
    fn stopped(&self) -> Option<String> {
        let unknown = "what others have changed since is not known here";
        match &self.halted {
            Some(Halted::Rollback { .. }) => {
                let message = self.shown_halt()?.message;
                let then = "`driftless confirm` sends again what the server has lost";
                Some(format!("halted: {message}; {then}"))
            }
            _ if self.waits_for_person() => Some(format!("halted: {}", self.shown_halt()?.message)),
            None if self.paused => Some(format!("paused: `driftless resume`; {unknown}")),
            None if self.journal.is_none() => {
                Some(format!("there is no connection to the server; {unknown}"))
            }
            _ => None,
        }
    }

    /// Why nothing of the folder goes on, if so.
    fn folder_waits_for(&self) -> Option<String> {
        if self.waits_for_person() {
            Some("the folder waits for a person: `driftless status`".to_owned())
        } else if self.paused {
            Some("the folder is paused: `driftless resume`".to_owned())
        } else if self.journal.is_none() {
            Some("there is no connection to the server".to_owned())
        } else {
            self.trouble.clone()
        }
    }

    fn local_at_path(&self, names: &[Name]) -> Result<Option<LocalRow>, AskError> {
        let (mut parent, mut found) = (EntryId::ROOT, None);
        for name in names {
            let position = Position { parent, name: name.clone() };
            found = self.context.state.local_row_at(&position)?;
            let Some(row) = &found else { return Ok(None) };
            parent = row.entry;
        }
        Ok(found)
    }

    fn remote_at_path(&self, names: &[Name]) -> Result<Option<RemoteRow>, AskError> {
        let mut rows = self.context.state.remote_rows_along(names)?;
        let is_whole = rows.len() == names.len();
        Ok(rows.pop().filter(|_| is_whole))
    }
}

/// What stands at a path: on the disk, as it was looked at, and at the server.
struct Stands {
    at: RelPath,
    is_on_disk: bool,
    entry: Option<EntryId>,
    local: Option<LocalRow>,
    remote: Option<RemoteRow>,
    /// The revision that this disk had of it when it was last synced.
    held: Option<Revision>,
    /// Whether the server has lost the version that is known of it.
    is_lost: bool,
}

impl WhyInfo {
    fn unknown() -> Self {
        Self {
            state: "unknown",
            kind: None,
            reasons: Vec::new(),
            ignored: None,
            revision: None,
            held: None,
            devices: Vec::new(),
        }
    }
}

/// What something on the disk is, if it is of a kind that is synced.
fn shown(stat: &Stat) -> Option<Shown> {
    match stat.kind {
        fs::Kind::File => Some(if stat.is_bundle() { Shown::Bundle } else { Shown::File }),
        fs::Kind::Directory => Some(Shown::Directory),
        fs::Kind::Symlink => Some(Shown::Symlink),
        fs::Kind::Other => None,
    }
}

/// How what is here differs from what the server has, if it does.
fn difference(local: &LocalRow, remote: Option<&RemoteRow>) -> Option<&'static str> {
    let Some(remote) = remote else { return Some("the server does not have it yet") };
    let is_in_place = local.position == remote.node.position;
    match local.content() {
        None if is_in_place => Some(
            "something has happened to it on this disk: whether it is another version than the \
             server's is known when it has been read",
        ),
        content => (!is_in_place || content != Some(remote.node.content))
            .then_some("this disk and the server hold different versions"),
    }
}
