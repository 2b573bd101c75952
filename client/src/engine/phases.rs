//! One round: connect, scan, hash, plan, carry out.
//!
//! Owns the order of these and what each leaves for the next round.

use super::online::RoundError;
use super::rules::rules_files;
use super::run::{Engine, Halted, RACY_NS, SETTLE_MS};
use crate::context::Alarm;
use crate::fs::bundle::Bundled;
use crate::fs::{DatabaseProblem, FsError, RelPath};
use crate::pull::{PullError, SnapshotError};
use crate::push::PushError;
use crate::scan::{ScanError, Scanner, Target, remove_subtree};
use crate::state::{IssueSource, LocalRow, StateError};
use crate::transfer::{Ingest, IngestError, Ingested, Reading};
use common::ids::EntryId;
use std::collections::{BTreeMap, BTreeSet};

/// Files that one round hashes and uploads.
const INGEST_FILES: usize = 2_000;
/// Bytes of files that one round hashes and uploads, one file at least.
const INGEST_BYTES: u64 = 128 * 1024 * 1024;
/// A file that changed while it was read is read again after twice this, then four times, …, in ns.
const UNSTEADY_NS: i64 = 50_000_000;
/// How long a bundle is left alone after its last change before it is read.
const BUNDLE_REST_NS: i64 = 300_000_000;
/// How long after its last change a repository with a lock in it is still being worked on, in ns, and a
/// database in the middle of a transaction.
const LOCK_PATIENCE_NS: i64 = 60_000_000_000;
/// Files that become empty one after another rest no longer than this, in ns.
const EMPTIED_NS: i64 = 2_000_000_000;

impl Engine {
    /// Does what can be done now; returns whether all phases were gone through.
    pub(super) async fn round(&mut self) -> Result<bool, RoundError> {
        let now = self.context.environment.monotonic_ns();
        self.fresh_until_ns = self.fresh_until_ns.filter(|at| now < *at);
        self.moved.retain(|_, since| now - *since < SETTLE_MS * 1_000_000);
        self.settle_emptied(now);
        // The disk first: what is local is known whether there is a server or not.
        crate::scan::check_root(&self.context)?;
        if matches!(self.halted, Some(Halted::Root(_))) {
            self.halted = None;
            self.root_is_back();
        }
        self.note_failed_sync()?;
        self.scan()?;
        if self.housekeeping_due() {
            self.keep_house()?;
        }
        let unsettled = crate::apply::settle_placed(&self.context).await?;
        self.failed.extend(unsettled.unseen);
        if !unsettled.again.is_empty() {
            // Nothing is planned from a merge base that is too old.
            self.targets.extend(unsettled.again);
            self.busy = true;
            return Ok(false);
        }
        if !self.takes_journal() {
            self.ingest_offline().await?;
            return Ok(false);
        }
        match self.connect().await {
            Ok(true) => {}
            Ok(false) => {
                self.ingest_offline().await?;
                return Ok(false);
            }
            Err(error) => {
                self.ingest_offline().await?;
                return Err(error);
            }
        }
        if matches!(self.halted, Some(Halted::Rollback { .. })) {
            return Ok(false);
        }
        self.ask_for_syncs().await?;
        if !self.rules.are_known || self.fetch_rules().await? {
            return Ok(false);
        }
        self.ingest().await?;
        self.yield_converted()?;
        let plan = self.plan(None)?;
        self.carry_out(plan).await?;
        self.close_gone().await?;
        self.reopen().await?;
        self.pin()?;
        self.look_at_conflicts().await?;
        Ok(true)
    }

    /// What a failed round means: offline, halted, or in trouble and tried again.
    pub(super) fn failed_round(&mut self, error: RoundError) {
        self.take_failed_sync(&error);
        if let RoundError::Scan(ScanError::RootLost { reason }) = error {
            self.missing.clear();
            self.targets.insert(Target::Subtree(RelPath::root()));
            self.halted = Some(Halted::Root(reason));
            self.forget_unreached();
            self.back_off();
            return;
        }
        let alarm = match &error {
            RoundError::Pull(PullError::Alarm(alarm))
            | RoundError::Snapshot(SnapshotError::Pull(PullError::Alarm(alarm))) => {
                Some(alarm.clone())
            }
            _ => None,
        };
        if let Some(alarm) = alarm {
            self.alarmed(&alarm);
            return;
        }
        let offline = match &error {
            RoundError::Remote(error)
            | RoundError::Ingest(IngestError::Remote(error))
            | RoundError::Push(PushError::Remote(error)) => error.is_offline(),
            RoundError::Snapshot(SnapshotError::Remote(error)) => error.is_offline(),
            _ => false,
        };
        if offline {
            self.journal = None;
        }
        // The outbox may hold what was accepted: its outcome is asked for before planning anew.
        self.outbox_known = false;
        tracing::debug!(%error, "a round failed");
        self.trouble = Some(error.to_string());
        self.unreached = offline;
        self.back_off();
    }

    fn alarmed(&mut self, alarm: &Alarm) {
        tracing::error!(%alarm, "the folder is halted");
        self.journal = None;
        self.halted = Some(Halted::Alarm(alarm.to_string()));
        self.back_off();
    }

    pub(super) fn scan(&mut self) -> Result<(), RoundError> {
        if self.targets.is_empty() && self.missing.is_empty() {
            return self.refresh_racy();
        }
        let targets = std::mem::take(&mut self.targets);
        let everything = targets.contains(&Target::Subtree(RelPath::root()));
        if everything {
            self.scanning = !self.scanned_once;
            if !self.load_rules()? {
                self.targets = targets;
                return self.refresh_racy();
            }
        }
        // What happened in a bundle happened to the bundle, which is looked at once for all of it.
        let bundles = &self.context.bundles;
        let targets: BTreeSet<Target> = targets
            .into_iter()
            .map(|target| match target {
                Target::Path(path) => Target::Path(bundles.whole(&path)),
                Target::Subtree(path) => Target::Subtree(bundles.whole(&path)),
            })
            .collect();
        let progress = &mut self.progress;
        let mut scanner = Scanner::new(&self.context, &self.ignore);
        if everything {
            scanner = scanner.trusting_no_rename();
        }
        let report = match scanner.run(&targets, |count| progress.scanned = count) {
            Ok(report) => report,
            Err(error) => {
                self.targets = targets;
                return Err(error.into());
            }
        };
        if everything {
            self.remove_orphans()?;
            self.scanned_once = true;
            self.scanning = false;
            for sync in &mut self.syncs {
                sync.scanned = true;
            }
        }
        let now = self.context.environment.monotonic_ns();
        for entry in &report.found {
            self.missing.remove(entry);
        }

        self.moved.extend(report.moved.iter().map(|entry| (*entry, now)));
        self.note_converted(&report)?;
        for entry in report.missing {
            self.missing.entry(entry).or_insert(now);
        }
        self.targets.extend(report.again);
        if report.rules_touched && !everything && !self.load_rules()? {
            self.targets.extend(rules_files().map(Target::Path));
        }
        self.settle_missing(now)?;
        self.refresh_racy()
    }

    /// After a whole scan: a row below a directory that has none was met by no scan and would be
    /// kept for ever, and so would the issues of what was there.
    fn remove_orphans(&self) -> Result<(), RoundError> {
        self.context.state.atomically(|state| {
            for entry in state.local_orphans()? {
                remove_subtree(&self.context, &entry)?;
            }
            crate::scan::forget_issues_of_gone(&self.context)
        })?;
        Ok(())
    }

    /// Believes absences that have lasted (rule 9): each path is looked at once more.
    fn settle_missing(&mut self, now: i64) -> Result<(), RoundError> {
        let settled: Vec<EntryId> = self
            .missing
            .iter()
            .filter(|(_, since)| now - **since >= SETTLE_MS * 1_000_000)
            .map(|(entry, _)| *entry)
            .collect();
        if settled.is_empty() || !self.targets.is_empty() {
            return Ok(());
        }
        let mut gone = Vec::new();
        for entry in settled {
            self.missing.remove(&entry);
            let Some(names) = self.context.state.local_path(&entry)? else { continue };
            let Ok(path) = RelPath::new(names) else { continue };
            match crate::scan::stat_spelled(self.context.fs.as_ref(), &path) {
                Ok(_) => drop(self.targets.insert(Target::Subtree(path))),
                Err(error) if error.is_not_found() => gone.push((entry, path)),
                Err(_) => drop(self.targets.insert(Target::Path(path))),
            }
        }
        // The root may have been unmounted between the looks: only now are the answers believed.
        crate::scan::check_root(&self.context)?;
        self.context.state.atomically(|state| {
            for (entry, path) in gone {
                remove_subtree(&self.context, &entry)?;
                // What was kept in it is gone with it.
                for kept in state.residues_below(&path.to_string())? {
                    state.remove_residue(&kept)?;
                }
            }
            Ok::<_, StateError>(())
        })?;
        Ok(())
    }

    /// Files that were found empty are believed together, as absences are: a mass of them is to be
    /// seen as one.
    fn settle_emptied(&mut self, now: i64) {
        if self.emptied.values().any(|since| now - since < SETTLE_MS * 1_000_000) {
            self.emptied.retain(|_, since| now - *since < EMPTIED_NS);
        } else {
            self.emptied.clear();
        }
    }

    /// Files hashed too soon after they were written are hashed again once their times can be
    /// believed.
    fn refresh_racy(&mut self) -> Result<(), RoundError> {
        let now = self.context.environment.now_ns();
        self.context.state.atomically(|state| {
            for row in state.local_racy()? {
                if !is_racy(&row.stat, now, now) {
                    state.put_local(&LocalRow { tag: None, racy: false, ..row })?;
                }
            }
            Ok::<_, StateError>(())
        })?;
        Ok(())
    }

    fn keep_house(&mut self) -> Result<(), RoundError> {
        self.failed.clear();
        self.clear_transient_issues()?;
        crate::apply::sweep_staging(&self.context)?;
        crate::apply::review_parked(&self.context)?;
        let waiting = crate::apply::review_displaced(&self.context)?;
        if waiting > 0 {
            tracing::debug!(waiting, "displaced files wait for their writers");
        }
        // Whatever could not be applied is planned again.
        self.context.state.mark_all_dirty_that_differ()?;
        Ok(())
    }

    fn files_to_read(&mut self) -> Result<Vec<(EntryId, RelPath)>, RoundError> {
        let now = self.context.environment.monotonic_ns();
        let wall = self.context.environment.now_ns();
        self.fresh_until_ns = None;
        // One that is gone, or whose content came another way, is not waited for any more, nor one
        // that cannot be read now: it has its own time.
        let (state, failed) = (&self.context.state, &self.failed);
        self.unsteady.retain(|entry, _| {
            let unread = |row: Option<LocalRow>| row.is_some_and(|row| row.tag.is_none());
            !failed.contains(entry) && state.local_row(entry).is_ok_and(unread)
        });
        let skipped = self.unsteady.len() + self.failed.len() + self.missing.len();
        let mut files = Vec::new();
        let mut bytes = 0;
        for row in self.context.state.local_unhashed(INGEST_FILES + skipped)? {
            let early = self.unsteady.get(&row.entry).is_some_and(|(_, at)| now < *at);
            let known_bad =
                self.missing.contains_key(&row.entry) || self.failed.contains(&row.entry);
            if early || known_bad {
                continue;
            }
            let names = self.context.state.local_path(&row.entry)?;
            let Some(path) = names.and_then(|names| RelPath::new(names).ok()) else { continue };
            if let Some(rest) = self.left_to_others(&row, now)? {
                let at = now + rest;
                self.fresh_until_ns = Some(self.fresh_until_ns.map_or(at, |first| first.min(at)));
                continue;
            }
            let bundles = &self.context.bundles;
            let rest = match row.stat.is_bundle() && row.stat.ctime_ns > wall {
                true => rest_since(bundles, &path, &row, now, &mut self.ahead),
                false => bundle_rest(bundles, &path, &row.stat, wall),
            };
            if let Some(rest) = rest {
                let at = now + rest;
                self.fresh_until_ns = Some(self.fresh_until_ns.map_or(at, |first| first.min(at)));
                continue;
            }
            // Read too soon after it was written, it would have to be read once more.
            if is_racy(&row.stat, wall, wall) {
                let times = [row.stat.mtime_ns, row.stat.ctime_ns];
                let rest = times.iter().map(|time| time + RACY_NS - wall).max().unwrap_or(0);
                let at = now + rest.clamp(0, 2 * RACY_NS) + 1_000_000;
                self.fresh_until_ns = Some(self.fresh_until_ns.map_or(at, |first| first.min(at)));
                continue;
            }
            files.push((row.entry, path));
            bytes += row.stat.size;
            if bytes >= INGEST_BYTES {
                break;
            }
        }
        Ok(files)
    }

    async fn ingest_offline(&mut self) -> Result<(), RoundError> {
        let files = self.files_to_read()?;
        if files.is_empty() {
            return Ok(());
        }
        let read = Ingest::digest(&self.context, files).await?;
        self.busy |= self.take_readings(read)?;
        Ok(())
    }

    async fn ingest(&mut self) -> Result<(), RoundError> {
        let files = self.files_to_read()?;
        self.upload(files).await
    }

    /// Hashes and uploads files, and records what they hold.
    pub(super) async fn upload(
        &mut self,
        files: Vec<(EntryId, RelPath)>,
    ) -> Result<(), RoundError> {
        if files.is_empty() {
            return Ok(());
        }
        let progress = &mut self.progress;
        let tried: Vec<EntryId> = files.iter().map(|(entry, _)| *entry).collect();
        let ingest = Ingest::new(&self.context, &mut self.proofs, self.recovering);
        let read = ingest.upload(files, |bytes| progress.bytes_up += bytes).await?;
        // What the server has no room for waits for the next round, and is no reason for one.
        let read_now: BTreeSet<EntryId> = read.iter().map(|ingested| ingested.entry).collect();
        for entry in tried.iter().filter(|entry| !read_now.contains(*entry)) {
            self.unsteady.remove(entry);
        }
        self.busy |= self.take_readings(read)?;
        Ok(())
    }

    /// Records what was read; returns whether anything was.
    fn take_readings(&mut self, readings: Vec<Ingested>) -> Result<bool, RoundError> {
        let wall = self.context.environment.now_ns();
        let now = self.context.environment.monotonic_ns();
        let mut progress = false;
        let empty = self.context.keys.content_tag().finish();
        let mut emptied = BTreeMap::new();
        let (mut again, mut failed, mut unsteady) = (Vec::new(), Vec::new(), Vec::new());
        let mut read = Vec::new();
        self.context.state.atomically(|state| {
            for Ingested { entry, reading } in readings {
                let Some(row) = state.local_row(&entry)? else { continue };
                let names = state.local_path(&entry)?;
                let path = names.and_then(|names| RelPath::new(names).ok());
                let Some(path) = path else { continue };
                match reading {
                    // It was changed after it was scanned, and has not rested since.
                    Reading::Read { stat, .. }
                        if stat.is_bundle() && !stat.same_content(&row.stat) =>
                    {
                        again.push(path);
                    }
                    Reading::Read { tag, stat, begun_ns, root, chunks } => {
                        let racy = is_racy(&stat, begun_ns.min(wall), wall);
                        let row = LocalRow { tag: Some(tag), stat, root, racy, ..row };
                        state.put_local(&row)?;
                        if root.is_some() {
                            state.put_locations(&entry, chunks)?;
                        }
                        let base = state.synced_node(&entry)?;
                        let is_emptied =
                            tag == empty && base.is_some_and(|base| base.content.tag != empty);
                        emptied.insert(entry, is_emptied);
                        read.push(entry);
                        progress = true;
                    }
                    Reading::Unsteady => {
                        unsteady.push(entry);
                        again.push(path);
                    }
                    Reading::Failed(error)
                        if error.is_stale_view() && !was_left(&error, &row.stat, wall) =>
                    {
                        unsteady.push(entry);
                        again.push(path);
                    }
                    Reading::Failed(error) => {
                        let reason = format!("cannot be read: {error}");
                        state.put_issue(&path.to_string(), IssueSource::Scan, &reason)?;
                        failed.push(entry);
                    }
                }
            }
            Ok::<_, StateError>(())
        })?;
        self.targets.extend(again.into_iter().map(Target::Path));
        for (entry, is_emptied) in emptied {
            if is_emptied {
                self.emptied.entry(entry).or_insert(now);
            } else {
                self.emptied.remove(&entry);
            }
        }
        for entry in read {
            self.unsteady.remove(&entry);
        }
        for entry in unsteady {
            let (tries, at) = self.unsteady.entry(entry).or_default();
            *tries = (*tries + 1).min(8);
            *at = now + (UNSTEADY_NS << *tries);
        }
        self.failed.extend(failed);
        Ok(progress)
    }
}

/// Whether a write since reading began might show in no time of the file: they are too close to the
/// time since then. Times far in the future are no such case: whoever writes then sets the present.
pub(super) fn is_racy(stat: &crate::fs::Stat, begun_ns: i64, now_ns: i64) -> bool {
    let close = begun_ns.saturating_sub(RACY_NS)..=now_ns.saturating_add(RACY_NS);
    [stat.mtime_ns, stat.ctime_ns].iter().any(|time| close.contains(time))
}

/// How long a bundle still has to be left alone of which something is newer than the present, in ns: it
/// was changed elsewhere, by a clock that is ahead of this one, or this one was set back. When it was last
/// changed here its times do not tell, so it is seen how long it looks the same.
fn rest_since(
    bundles: &Bundled,
    path: &RelPath,
    row: &LocalRow,
    now: i64,
    ahead: &mut BTreeMap<EntryId, (u64, i64)>,
) -> Option<i64> {
    let seen = ahead.entry(row.entry).or_insert((row.stat.inode, now));
    if seen.0 != row.stat.inode {
        *seen = (row.stat.inode, now);
    }
    let rest_of = |whole: i64| Some(seen.1 + whole - now).filter(|rest| *rest > 0);
    let locked = || rest_of(LOCK_PATIENCE_NS).filter(|_| bundles.lock_in(path).is_some());
    let rest = rest_of(BUNDLE_REST_NS).or_else(locked);
    if rest.is_none() {
        ahead.remove(&row.entry);
    }
    rest
}

/// Whether a database is in the middle of a transaction that no program will end: nothing has happened to
/// it for as long as a lock of git is believed. Times far in the future are believed by nobody.
fn was_left(error: &FsError, stat: &crate::fs::Stat, now_ns: i64) -> bool {
    let is_unfinished =
        matches!(error, FsError::Database { reason: DatabaseProblem::Unfinished, .. });
    is_unfinished && now_ns.saturating_sub(stat.ctime_ns).saturating_abs() >= LOCK_PATIENCE_NS
}

/// How long a bundle still has to be left alone before it is read, in ns: programs that work on one do
/// many things in a row, and only between two of them is it worth having. With a lock of git in it one
/// is at work, or died. Times far in the future are believed by nobody.
fn bundle_rest(
    bundles: &Bundled,
    path: &RelPath,
    stat: &crate::fs::Stat,
    now_ns: i64,
) -> Option<i64> {
    let rest_of = |whole: i64| {
        let rest = stat.ctime_ns.saturating_add(whole).saturating_sub(now_ns);
        (stat.is_bundle() && rest > 0 && rest <= whole).then_some(rest)
    };
    let locked = || rest_of(LOCK_PATIENCE_NS).filter(|_| bundles.lock_in(path).is_some());
    rest_of(BUNDLE_REST_NS).or_else(locked)
}
