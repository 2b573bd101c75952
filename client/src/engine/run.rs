//! The loop itself: a round, then waiting for whatever comes first.

use super::converted::Converted;
use super::guarded::Guarded;
use super::handle::{Answer, Ask, FolderStatus, FolderSummary, PathIssue, Progress};
use super::mergeable::Mergeable;
use super::mistrust::Mistrust;
use super::online::Journal;
use super::rules::{Rules, known_rules};
use super::told::Sent;
use super::waiting::SyncWait;
use super::{EngineParts, LogSource, Pins};
use crate::context::FolderContext;
use crate::fs::RelPath;
use crate::scan::{RootLoss, Target};
use crate::state::{FolderState, IssueSource, StateError};
use crate::transfer::Proofs;
use crate::watch::{Hint, Hints};
use client_core::ignore::IgnoreRules;
use common::ids::EntryId;
use common::revision::Cursor;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// First and longest pause between two tries to reach the server, in milliseconds.
const BACKOFF_MS: (u64, u64) = (200, 30_000);
/// How long a path has to be gone before that counts as a deletion, in milliseconds.
pub(super) const SETTLE_MS: i64 = 150;
/// Times of files are believed when they are this much older than the look at them, in ns.
pub(super) const RACY_NS: i64 = 20_000_000;
/// How often displaced files are reviewed and failed entries tried again, in milliseconds.
const HOUSEKEEPING_MS: i64 = 60_000;
/// Issues that a summary shows.
const ISSUES_SHOWN: u32 = 100;

/// How often the numbers of a summary are counted while the engine is at work, in ns.
const COUNT_NS: i64 = 1_000_000_000;
/// The part of its time, while it is at work, that the engine may count.
const COUNT_PART: i64 = 50;

/// Numbers that cost a look at every row.
#[derive(Clone, Copy, Default)]
struct Counts {
    entries: u64,
    bytes: u64,
    up: u64,
    down: u64,
    issues: u64,
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Something to do.
    Work,
    /// Every handle is gone.
    Stop,
}

/// Why the folder waits for a person, besides a mass deletion: that waits on behind this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Halted {
    /// The root is not what it was; ends by itself when it is back.
    Root(RootLoss),
    /// The server's journal does not descend from what this device has seen.
    Rollback { restored: Cursor },
    /// What the server sent cannot be true.
    Alarm(String),
}

/// A folder's engine.
pub struct Engine {
    pub(super) context: FolderContext,
    pub(super) hints: Hints,
    pub(super) pins: Arc<dyn Pins>,
    pub(super) log: Arc<dyn LogSource>,
    pub(super) invited: Option<Cursor>,
    pub(super) asks: mpsc::Receiver<Ask>,
    summaries: watch::Sender<FolderSummary>,
    pub(super) paused: bool,
    pub(super) halted: Option<Halted>,
    /// Files found empty that were not, and since when: they rest together, as absences do.
    pub(super) emptied: BTreeMap<EntryId, i64>,
    pub(super) guarded: Guarded,
    /// What a person has agreed to delete.
    pub(super) agreed: BTreeSet<EntryId>,
    pub(super) ignore: IgnoreRules,
    pub(super) rules: Rules,
    pub(super) converted: BTreeMap<EntryId, Converted>,
    pub(super) targets: BTreeSet<Target>,
    pub(super) missing: BTreeMap<EntryId, i64>,
    /// When the first of the files that were written just now can be read.
    pub(super) fresh_until_ns: Option<i64>,
    /// Files that have moved, and when: their moves are not believed at once.
    pub(super) moved: BTreeMap<EntryId, i64>,
    pub(super) failed: BTreeSet<EntryId>,
    /// Files that changed while they were read: how often, and when to try again.
    pub(super) unsteady: BTreeMap<EntryId, (u32, i64)>,
    /// Bundles with times in the future, what they looked like, and since when they do.
    pub(super) ahead: BTreeMap<EntryId, (u64, i64)>,
    pub(super) journal: Option<Journal>,
    pub(super) outbox_known: bool,
    pub(super) proofs: Proofs,
    pub(super) recovering: bool,
    pub(super) alone: bool,
    /// Ids that nodes were given because the server had refused theirs.
    pub(super) renewed: BTreeSet<EntryId>,
    pub(super) retry_at_ns: i64,
    backoff_ms: u64,
    housekeeping_ns: i64,
    pub(super) trouble: Option<String>,
    /// Whether the trouble is that the server could not be reached.
    pub(super) unreached: bool,
    pub(super) scanning: bool,
    pub(super) scanned_once: bool,
    pub(super) busy: bool,
    /// The last round went through all its phases and left nothing to do.
    settled: bool,
    pub(super) syncs: Vec<SyncWait>,
    /// Who waits until something that was sent is on this disk.
    pub(super) waits: Vec<(Sent, Answer<bool>)>,
    pub(super) progress: Progress,
    pub(super) pinned: Option<Cursor>,
    /// What the server was last told that this disk holds.
    pub(super) reported: Option<Cursor>,
    pub(super) mistrust: Mistrust,
    pub(super) mergeable: Mergeable,
    counts: Counts,
    count_at_ns: i64,
    counted_quiet: bool,
}

/// What a handle shows before the engine has taken its first step.
pub(crate) fn first_summary() -> FolderSummary {
    FolderSummary {
        status: FolderStatus::Scanning,
        entries: 0,
        bytes: 0,
        pending_up: 0,
        pending_down: 0,
        conflicts: 0,
        mergeable: None,
        issues: Vec::new(),
        issues_total: 0,
        cursor: None,
        halt: None,
        trouble: None,
        progress: Progress::default(),
    }
}

impl Engine {
    /// Makes an engine; begins a new incarnation when the state is new.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn new(
        parts: EngineParts,
        asks: mpsc::Receiver<Ask>,
        summaries: watch::Sender<FolderSummary>,
    ) -> Result<Self, StateError> {
        let EngineParts { context, hints, pins, log, invited, paused } = parts;
        let is_new = context.state.incarnation()? == 0;
        if is_new {
            begin_incarnation(&context)?;
        }
        let guarded = Guarded::read(&context)?;
        let pinned = pins.pinned(&context.folder);
        let mut targets = BTreeSet::new();
        targets.insert(Target::Subtree(RelPath::root()));
        Ok(Self {
            hints,
            pins,
            log,
            invited,
            asks,
            summaries,
            paused,
            halted: None,
            emptied: BTreeMap::new(),
            guarded,
            agreed: BTreeSet::new(),
            ignore: known_rules(&context)?,
            rules: Rules::default(),
            converted: BTreeMap::new(),
            targets,
            missing: BTreeMap::new(),
            fresh_until_ns: None,
            moved: BTreeMap::new(),
            failed: BTreeSet::new(),
            unsteady: BTreeMap::new(),
            ahead: BTreeMap::new(),
            journal: None,
            outbox_known: false,
            proofs: Proofs::default(),
            // A new database beside a history that was seen before has lost its index.
            recovering: is_new,
            alone: false,
            renewed: BTreeSet::new(),
            retry_at_ns: 0,
            backoff_ms: BACKOFF_MS.0,
            housekeeping_ns: 0,
            trouble: None,
            unreached: false,
            scanning: true,
            scanned_once: false,
            busy: false,
            settled: false,
            syncs: Vec::new(),
            waits: Vec::new(),
            progress: Progress::default(),
            pinned,
            reported: None,
            mistrust: Mistrust::default(),
            mergeable: Mergeable::default(),
            counts: Counts::default(),
            count_at_ns: i64::MIN,
            counted_quiet: false,
            context,
        })
    }

    /// Runs until every handle is gone.
    pub async fn run(mut self) {
        loop {
            self.step().await;
            if self.wait().await == Wake::Stop {
                return;
            }
        }
    }

    /// One round, and what it means for those who wait. Errors become the folder's trouble or halt.
    pub async fn step(&mut self) {
        self.settled = false;
        self.serve().await;
        self.busy = false;
        match self.round().await {
            Ok(completed) => {
                self.settled = completed && !self.busy;
                if completed {
                    self.backoff_ms = BACKOFF_MS.0;
                    self.trouble = None;
                    self.unreached = false;
                }
            }
            Err(error) => {
                self.busy = false;
                self.failed_round(error);
            }
        }
        self.publish();
        self.answer_syncs();
        self.answer_waits();
        if self.journal.is_some() && self.is_quiet() && self.is_in_sync() {
            self.report().await;
        }
    }

    /// Takes hints and answers questions, between two steps; returns whether there were any that may
    /// have changed something.
    pub(super) async fn serve(&mut self) -> bool {
        let hints = self.hints.take();
        self.take(hints);
        let mut asked = false;
        while let Ok(ask) = self.asks.try_recv() {
            // Who only waits changes nothing that a plan was made from.
            asked |= !matches!(ask, Ask::Settled(..));
            self.answer(ask).await;
        }
        self.answer_waits();
        self.publish();
        asked
    }

    /// Waits for a hint, a question, the journal or a timer.
    pub async fn wait(&mut self) -> Wake {
        if self.busy {
            // Something is left to do, but others get their turn.
            tokio::task::yield_now().await;
            let is_left = self.asks.is_closed() && self.asks.is_empty();
            return if is_left { Wake::Stop } else { Wake::Work };
        }
        let pause = self.pause_ms();
        let environment = Arc::clone(&self.context.environment);
        let timer = environment.sleep(pause);
        // What has arrived stays there while it is not taken: it must not end every wait at once.
        let takes = self.takes_journal();
        let Self { asks, hints, journal, .. } = self;
        let arrived = async {
            match journal {
                Some(journal) if takes => journal.arrived().await,
                _ => std::future::pending().await,
            }
        };
        let (ask, new) = tokio::select! {
            biased;
            ask = asks.recv() => (Some(ask), Vec::new()),
            new = hints.next() => (None, new),
            () = arrived => (None, Vec::new()),
            () = timer => (None, Vec::new()),
        };
        self.take(new);
        match ask {
            Some(Some(ask)) => self.answer(ask).await,
            Some(None) => return Wake::Stop,
            None => {}
        }
        Wake::Work
    }

    /// Whether a round would go online, and so take what the journal has brought.
    pub(super) fn takes_journal(&self) -> bool {
        let waits =
            self.trouble.is_some() && self.context.environment.monotonic_ns() < self.retry_at_ns;
        !self.paused && !waits && !matches!(self.halted, Some(Halted::Alarm(_) | Halted::Root(_)))
    }

    /// Ends the engine as a crash does, and gives back what it had remembered durably. For the
    /// simulation: a step's future may be dropped, or unwound by a panic, at any point before.
    #[must_use]
    pub fn into_state(self) -> FolderState {
        self.context.state.abandon();
        self.context.state
    }

    fn take(&mut self, hints: Vec<Hint>) {
        for hint in hints {
            match hint {
                Hint::Path(path) => self.targets.insert(Target::Path(path)),
                Hint::Subtree(path) => self.targets.insert(Target::Subtree(path)),
                Hint::Everything => self.targets.insert(Target::Subtree(RelPath::root())),
            };
        }
    }

    /// Milliseconds until the next thing that happens by itself.
    fn pause_ms(&self) -> u64 {
        let now = self.context.environment.monotonic_ns();
        if matches!(self.halted, Some(Halted::Root(_))) {
            // Nothing else is done before the root is back.
            return pause_until(self.retry_at_ns, now);
        }
        let mut until = self.housekeeping_ns;
        let stays_offline = self.paused || matches!(self.halted, Some(Halted::Alarm(_)));
        if !stays_offline && (self.journal.is_none() || self.trouble.is_some()) {
            until = until.min(self.retry_at_ns);
        }
        if let Some(at) = self.unsteady.values().map(|(_, at)| at).min() {
            until = until.min(*at);
        }
        if let Some(at) = self.fresh_until_ns {
            until = until.min(at);
        }
        if let Some(since) = self.moved.values().min() {
            until = until.min(since + SETTLE_MS * 1_000_000);
        }
        if let Some(since) = self.emptied.values().max() {
            until = until.min(since + SETTLE_MS * 1_000_000);
        }
        if let Some(since) = self.missing.values().min() {
            until = until.min(since + SETTLE_MS * 1_000_000);
        }
        if self.halted.is_none() && !self.targets.is_empty() {
            until = until.min(now + SETTLE_MS * 1_000_000);
        }
        if self.context.state.local_racy().is_ok_and(|rows| !rows.is_empty()) {
            until = until.min(now + 2 * RACY_NS);
        }
        pause_until(until, now)
    }

    /// The server is there, or is not looked for: that it was not says nothing of now.
    pub(super) fn forget_unreached(&mut self) {
        if std::mem::take(&mut self.unreached) {
            self.trouble = None;
        }
    }

    /// Whether housekeeping is due; sets the next time.
    pub(super) fn housekeeping_due(&mut self) -> bool {
        let now = self.context.environment.monotonic_ns();
        let due = now >= self.housekeeping_ns;
        if due {
            self.housekeeping_ns = now + HOUSEKEEPING_MS * 1_000_000;
        }
        due
    }

    /// Backs off with jitter after a failure.
    pub(super) fn back_off(&mut self) {
        let mut random = [0; 8];
        self.context.environment.random(&mut random);
        let jitter = u64::from_le_bytes(random) % (self.backoff_ms / 2 + 1);
        let pause = self.backoff_ms / 2 + jitter;
        self.backoff_ms = (self.backoff_ms * 2).min(BACKOFF_MS.1);
        let now = self.context.environment.monotonic_ns();
        self.retry_at_ns = now + i64::try_from(pause).unwrap_or(0) * 1_000_000;
    }

    /// Shows the folder as it is. Counting costs a look at every row, so while the engine is at
    /// work the numbers are those of a moment ago.
    fn publish(&mut self) {
        let now = self.context.environment.monotonic_ns();
        let quiet = !self.busy && self.is_quiet();
        let settled = quiet && !self.counted_quiet;
        if settled {
            self.context.state.forget_rows();
        }
        if settled || (!quiet && now >= self.count_at_ns) {
            self.counts = self.count();
            let taken = self.context.environment.monotonic_ns() - now;
            self.count_at_ns = now + COUNT_NS.max(taken.saturating_mul(COUNT_PART));
        }
        self.counted_quiet = quiet;
        let summary = self.summary();
        self.summaries.send_if_modified(|shown| {
            let changed = *shown != summary;
            *shown = summary;
            changed
        });
    }

    fn summary(&self) -> FolderSummary {
        let state = &self.context.state;
        let counts = self.counts;
        let issues = self.shown_issues();
        FolderSummary {
            status: self.status(),
            entries: counts.entries,
            bytes: counts.bytes,
            pending_up: counts.up,
            pending_down: counts.down,
            conflicts: state.conflicts().map_or(0, |conflicts| conflicts.len() as u64),
            mergeable: self.mergeable.count(),
            // Counted a moment ago: of few, those that are shown are all.
            issues_total: match issues.len() < ISSUES_SHOWN as usize {
                true => issues.len() as u64,
                false => counts.issues.max(u64::from(ISSUES_SHOWN)),
            },
            issues,
            cursor: state.cursor().ok().flatten(),
            halt: self.shown_halt(),
            trouble: self.trouble.clone(),
            progress: self.progress,
        }
    }

    fn count(&self) -> Counts {
        let state = &self.context.state;
        let shown = |result: Result<u64, StateError>| result.unwrap_or(0);
        let (up, down) = self.pending();
        Counts {
            entries: shown(state.local_count()),
            bytes: shown(state.local_bytes()),
            up,
            down,
            issues: shown(state.issues(u32::MAX).map(|issues| issues.len() as u64)),
        }
    }

    fn shown_issues(&self) -> Vec<PathIssue> {
        let issues = self.context.state.issues(ISSUES_SHOWN).unwrap_or_default();
        issues
            .into_iter()
            .map(|issue| PathIssue { path: issue.path, reason: issue.reason })
            .collect()
    }

    /// Entries that differ: those that the server lacks news of, and those that this disk does.
    fn pending(&self) -> (u64, u64) {
        let state = &self.context.state;
        let Ok(dirty) = state.dirty(usize::MAX) else { return (0, 0) };
        let mut pending = (0, 0);
        for entry in dirty {
            let (Ok(local), Ok(remote), Ok(synced)) =
                (state.local_row(&entry), state.remote_row(&entry), state.synced_node(&entry))
            else {
                continue;
            };
            let remote = remote.map(|row| row.node).filter(|node| !node.deleted);
            let base = synced.as_ref().map(|node| (node.position.clone(), Some(node.content)));
            let here = local.map(|row| (row.position.clone(), row.content()));
            let there = remote.map(|node| (node.position, Some(node.content)));
            if here != base && here != there {
                pending.0 += 1;
            }
            if there != base && here != there {
                pending.1 += 1;
            }
        }
        pending
    }

    fn status(&self) -> FolderStatus {
        if self.waits_for_person() {
            FolderStatus::Halted
        } else if self.paused {
            FolderStatus::Paused
        } else if self.scanning {
            FolderStatus::Scanning
        } else if self.journal.is_none() {
            FolderStatus::Offline
        } else if self.busy || !self.is_quiet() {
            FolderStatus::Syncing
        } else {
            FolderStatus::Idle
        }
    }

    /// Whether nothing is left to do with what is known. What failed waits to be tried again and
    /// is listed as an issue.
    pub(super) fn is_quiet(&self) -> bool {
        let state = &self.context.state;
        self.settled
            && self.targets.is_empty()
            && self.missing.is_empty()
            && self.moved.is_empty()
            && self.emptied.is_empty()
            && self.unsteady.is_empty()
            && self.fresh_until_ns.is_none()
            && state.outbox().is_ok_and(|rows| rows.is_empty())
            && state.local_racy().is_ok_and(|rows| rows.is_empty())
    }

    /// Whether the folder waits for a person, or for its root.
    pub(super) fn waits_for_person(&self) -> bool {
        self.halted.is_some() || self.guarded.asked().is_some()
    }

    /// Whether this disk and the server hold the same.
    pub(super) fn is_in_sync(&self) -> bool {
        let dirty = self.context.state.dirty_count();
        !self.waits_for_person()
            && !self.paused
            && self.failed.is_empty()
            && dirty.is_ok_and(|count| count == 0)
    }

    pub(super) fn clear_transient_issues(&self) -> Result<(), StateError> {
        self.context.state.clear_issues(None, IssueSource::Apply)
    }
}

/// Draws a new life of request ids.
pub(super) fn begin_incarnation(context: &FolderContext) -> Result<(), StateError> {
    let mut bytes = [0; 8];
    context.environment.random(&mut bytes);
    context.state.begin_incarnation(u64::from_le_bytes(bytes) >> 1 | 1)
}

/// Milliseconds from `now` until a moment, one at least and a minute at most.
fn pause_until(until_ns: i64, now_ns: i64) -> u64 {
    u64::try_from((until_ns - now_ns) / 1_000_000 + 1).unwrap_or(1).clamp(1, 60_000)
}
