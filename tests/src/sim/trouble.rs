//! What happens in the middle of an engine's work on its disk.
//!
//! Owns the dials of a device's misbehaviour and the hook before each of its disk operations: the
//! user acts, the disk fails, the process ends. How often is the story's choice. What was added
//! later draws from a generator of its own, so that it does not change what older seeds tell.

use super::device::{CrashNow, Stop};
use super::draw::Draw;
use super::faults::fault_of;
use super::invariants::{self, MassDeletionsWait, OnlyKnownIsUnlinked};
use super::ledger::Ledger;
use super::writer::Writer;
use client::fs::RelPath;
use client::fs::memory::user::MemoryUser;
use client::fs::memory::{Fault, Operation, OperationKind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What makes a device's disk misbehave and its process end, read by the hook.
#[derive(Clone, Default)]
pub struct Trouble {
    /// Of a thousand operations, so many fail.
    pub faults_per_mille: Arc<AtomicU32>,
    /// Of a thousand syncs, so many fail.
    pub failed_syncs_per_mille: Arc<AtomicU32>,
    /// Of ten thousand operations, so many are preceded by an action of the user.
    pub acts_per_myriad: Arc<AtomicU32>,
    /// Of ten thousand operations, so many are preceded by a change in a bundle; of exchanges many more.
    pub bundle_changes_per_myriad: Arc<AtomicU32>,
    /// Of a thousand pieces of a read but the first, before so many the user writes to that file.
    pub meddles_per_mille: Arc<AtomicU32>,
    /// Of a hundred thousand operations, so many end the process.
    pub crashes_per_lakh: Arc<AtomicU32>,
    /// Whether a process may end by a power cut.
    pub power: Arc<AtomicBool>,
    /// Whether a process may end by a kill.
    pub kills: Arc<AtomicBool>,
    /// How often the user may still act in the middle of operations: each act makes more of them.
    pub acts_left: Arc<AtomicU32>,
    /// The same for writes in the middle of a read.
    pub meddles_left: Arc<AtomicU32>,
    /// Operations that failed.
    pub faults: Arc<AtomicU32>,
    /// Syncs that failed.
    pub failed_syncs: Arc<AtomicU32>,
    /// Writes in the middle of a read.
    pub meddles: Arc<AtomicU32>,
    /// Whether the user may act now.
    pub acting: Arc<AtomicBool>,
}

fn read(dial: &AtomicU32) -> u32 {
    dial.load(Ordering::Relaxed)
}

/// The hook of one device's disk.
pub(super) struct Hook {
    number: usize,
    writer: Writer,
    draw: Draw,
    more: Draw,
    trouble: Trouble,
    ledger: Ledger,
    swapped: AtomicBool,
    /// What was moved last, from where to where.
    moved: Mutex<Option<(RelPath, RelPath)>>,
    unlinks: OnlyKnownIsUnlinked,
    deletions: MassDeletionsWait,
}

impl Hook {
    pub(super) fn new(
        number: usize,
        writer: Writer,
        draw: Draw,
        more: Draw,
        trouble: Trouble,
        deletions: MassDeletionsWait,
        ledger: &Ledger,
    ) -> Self {
        let (ledger, swapped, moved) = (ledger.clone(), AtomicBool::new(false), Mutex::default());
        let unlinks = OnlyKnownIsUnlinked::new(number, ledger.clone());
        Self { number, writer, draw, more, trouble, ledger, swapped, moved, unlinks, deletions }
    }

    /// Before every operation of the engine: something happens, and what it is about to do then is
    /// judged.
    pub(super) fn before(&self, user: &MemoryUser, operation: &Operation) -> Option<Fault> {
        let fault = self.disturb(user, operation);
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*moved, &operation.to) {
            (Some((from, to)), _) if fault.is_some() && *to == operation.path => {
                self.ledger.half_moved(self.number, &from.to_string(), &to.to_string());
            }
            (_, Some(to)) if operation.kind == OperationKind::Rename && fault.is_none() => {
                *moved = Some((operation.path.clone(), to.clone()));
            }
            _ => {}
        }
        drop(moved);
        if fault.is_none() {
            self.unlinks.before(user, operation);
            self.deletions.before(user, operation);
        }
        fault
    }

    /// The user acts, the disk fails, the process ends.
    fn disturb(&self, user: &MemoryUser, operation: &Operation) -> Option<Fault> {
        if operation.kind == OperationKind::ReadOn {
            self.meddle(operation);
            return None;
        }
        self.look(user, operation);
        if !self.trouble.acting.load(Ordering::Relaxed) {
            return None;
        }
        let share = |dial: &AtomicU32, of: usize| self.draw.below(of) < read(dial) as usize;
        let trouble = &self.trouble;
        let left = read(&trouble.acts_left);
        if left > 0 && share(&trouble.acts_per_myriad, 10_000) {
            trouble.acts_left.store(left - 1, Ordering::Relaxed);
            self.ledger.log(|| format!("device {}: during {operation:?}", self.number));
            self.writer.act();
        }
        let swaps = operation.kind == OperationKind::Exchange;
        let often = read(&trouble.bundle_changes_per_myriad) * if swaps { 40 } else { 1 };
        let left = read(&trouble.acts_left);
        if left > 0 && often > 0 && self.more.below(10_000) < often as usize {
            trouble.acts_left.store(left - 1, Ordering::Relaxed);
            self.ledger.log(|| format!("device {}: during {operation:?}", self.number));
            self.writer.change_bundle();
        }
        if share(&trouble.crashes_per_lakh, 100_000) {
            self.crash(operation);
        }
        let fault = match share(&trouble.faults_per_mille, 1000) {
            true => fault_of(operation, &self.draw).inspect(|_| count(&trouble.faults)),
            false => None,
        };
        let fault = fault.or_else(|| self.failed_sync(operation));
        fault.inspect(|fault| {
            self.ledger.log(|| format!("device {}: {fault:?} for {operation:?}", self.number));
        })
    }

    fn look(&self, user: &MemoryUser, operation: &Operation) {
        if self.ledger.is_tracing() {
            self.ledger.look(self.number, user);
            trace(&self.ledger, self.number, operation);
        }
        let swaps = matches!(operation.kind, OperationKind::Rename | OperationKind::Exchange);
        if self.swapped.swap(swaps, Ordering::Relaxed) {
            invariants::s8_no_partial_file_visible(&self.ledger, self.number, user);
        }
    }

    fn crash(&self, operation: &Operation) {
        let power = self.trouble.power.load(Ordering::Relaxed);
        let kills = self.trouble.kills.load(Ordering::Relaxed);
        let cuts = power && (!kills || self.draw.per_mille(500));
        let how = if cuts { Stop::PowerCut } else { Stop::Kill };
        self.ledger.log(|| format!("device {}: {how:?} during {operation:?}", self.number));
        std::panic::panic_any(CrashNow(how));
    }

    fn failed_sync(&self, operation: &Operation) -> Option<Fault> {
        let share = read(&self.trouble.failed_syncs_per_mille);
        let fails = operation.kind == OperationKind::Sync && share > 0;
        (fails && self.more.per_mille(share)).then(|| {
            count(&self.trouble.failed_syncs);
            Fault::Io
        })
    }

    /// The user writes to the file that is just being read.
    fn meddle(&self, operation: &Operation) {
        let (left, share) =
            (read(&self.trouble.meddles_left), read(&self.trouble.meddles_per_mille));
        let acting = self.trouble.acting.load(Ordering::Relaxed) && !operation.path.is_private();
        if acting && left > 0 && share > 0 && self.more.per_mille(share) {
            self.trouble.meddles_left.store(left - 1, Ordering::Relaxed);
            self.ledger.log(|| format!("device {}: during {operation:?}", self.number));
            if self.writer.meddle(&operation.path.to_string(), &self.more) {
                count(&self.trouble.meddles);
            }
        }
    }
}

fn count(counter: &AtomicU32) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn trace(ledger: &Ledger, number: usize, operation: &Operation) {
    let shown = matches!(
        operation.kind,
        OperationKind::Rename
            | OperationKind::Exchange
            | OperationKind::Remove
            | OperationKind::MakeDirectory
            | OperationKind::SetAttributes
    );
    if shown && ledger.is_tracing() {
        ledger.log(|| format!("    engine {number}: {:?} {}", operation.kind, operation.path));
    }
}
