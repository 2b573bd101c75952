//! What the guard against mass deletion knows from one plan to the next: what it let through lately, and
//! what a person is asked about.
//!
//! Owns how long that is remembered, across restarts too. It must not know how deletions are counted.

use crate::context::FolderContext;
use crate::state::{FolderState, LetThrough, MassDeletion, StateError};
use client_core::planner::{Halt, Loss, Plan};
use common::ids::EntryId;
use common::record::Kind;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Deletions that are less than this apart count as one mass, in seconds.
pub(super) const LATELY_S: i64 = 10;
const LATELY_NS: i64 = LATELY_S * 1_000_000_000;

/// One moment by both clocks: the one that only goes forward, and the one that outlives a run.
#[derive(Clone, Copy)]
pub(super) struct Now {
    monotonic_ns: i64,
    wall_ms: u64,
}

impl Now {
    pub(super) fn of(context: &FolderContext) -> Self {
        let environment = &context.environment;
        let wall_ms = u64::try_from(environment.now_ns() / 1_000_000).unwrap_or(0);
        Self { monotonic_ns: environment.monotonic_ns(), wall_ms }
    }
}

/// The guard's memory; what the state holds of it is the same, but after a consent that is not carried
/// out yet.
pub(super) struct Guarded {
    /// What plans let through, and when.
    lately: BTreeMap<EntryId, (bool, i64)>,
    /// What counts no longer, and is still in the state.
    expired: BTreeSet<EntryId>,
    asked: Option<Arc<MassDeletion>>,
    /// Whether the state holds a mass deletion.
    is_stored: bool,
}

/// What a plan changes in it.
pub(super) struct Noted {
    now: Now,
    let_through: Vec<LetThrough>,
    asked: Option<Arc<MassDeletion>>,
    ends: bool,
}

impl Guarded {
    /// Goes on where the run before ended. What was let through counts as long as the wall clock says,
    /// and no longer than if it had been just now.
    pub(super) fn read(context: &FolderContext) -> Result<Self, StateError> {
        let now = Now::of(context);
        let age_ns = |time_ms: u64| {
            let age_ms = i64::try_from(now.wall_ms.saturating_sub(time_ms)).unwrap_or(i64::MAX);
            age_ms.saturating_mul(1_000_000).min(LATELY_NS)
        };
        let stored = context.state.let_through()?.into_iter();
        let lately = stored
            .map(|loss| (loss.entry, (loss.from_remote, now.monotonic_ns - age_ns(loss.time_ms))));
        let lately = lately.collect();
        let asked = context.state.mass_deletion()?.map(Arc::new);
        let is_stored = asked.is_some();
        Ok(Self { lately, expired: BTreeSet::new(), asked, is_stored })
    }

    /// The mass deletion that waits for a person.
    pub(super) fn asked(&self) -> Option<&Arc<MassDeletion>> {
        self.asked.as_ref()
    }

    /// What would go of it.
    pub(super) fn halt(&self) -> Option<&Halt> {
        self.asked.as_ref().map(|asked| &asked.halt)
    }

    /// What was let through lately; while a person is asked nothing of it is forgotten.
    pub(super) fn lately(&mut self, now: Now) -> Vec<Loss> {
        if self.asked.is_none() {
            let expired =
                self.lately.extract_if(.., |_, (_, since)| now.monotonic_ns - *since >= LATELY_NS);
            self.expired.extend(expired.map(|(entry, _)| entry));
        }
        let lately = self.lately.iter();
        lately
            .map(|(entry, (from_remote, _))| Loss { entry: *entry, from_remote: *from_remote })
            .collect()
    }

    /// What was let through and counts with a mass deletion. What went the other way is no part of it.
    pub(super) fn let_through_of(&self, halt: &Halt) -> BTreeSet<EntryId> {
        let lately = self.lately.iter().filter(|(_, it)| it.0 == halt.from_remote);
        lately.map(|(entry, _)| *entry).collect()
    }

    /// A person has agreed. The state keeps all until that is carried out: after a crash they are asked
    /// again.
    pub(super) fn agreed(&mut self) {
        self.lately.clear();
        self.asked = None;
    }

    /// A person has taken it back, and the state has forgotten it.
    pub(super) fn taken_back(&mut self) {
        self.agreed();
        self.expired.clear();
        self.is_stored = false;
    }

    /// Whether what waits, and is to be planned, is all in a plan for `planned`: one that leaves it out
    /// does not say that it waits no longer.
    pub(super) fn is_judged(
        &self,
        context: &FolderContext,
        planned: &BTreeSet<EntryId>,
    ) -> Result<bool, StateError> {
        let Some(halt) = self.halt() else { return Ok(true) };
        for entry in halt.deletions.difference(planned) {
            if context.state.is_dirty(entry)? && is_lost(context, entry, halt.from_remote)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What a plan lets through and asks; `ends`: whether what waited before waits no longer if this
    /// does not.
    pub(super) fn noted(&self, plan: &Plan, ends: bool, now: Now) -> Noted {
        let losses = plan.losses.iter().filter(|loss| !self.lately.contains_key(&loss.entry));
        let let_through = losses.map(|loss| LetThrough {
            entry: loss.entry,
            from_remote: loss.from_remote,
            time_ms: now.wall_ms,
        });
        let asked = plan.halt.as_ref().map(|halt| {
            let since_ms = self.asked.as_ref().map_or(now.wall_ms, |asked| asked.since_ms);
            match &self.asked {
                Some(asked) if asked.halt == *halt => Arc::clone(asked),
                _ => Arc::new(MassDeletion { halt: halt.clone(), since_ms }),
            }
        });
        let ends = ends && asked.is_none();
        Noted { now, let_through: let_through.collect(), asked, ends }
    }

    /// Stores what a plan changes. In the transaction that notes the plan.
    pub(super) fn store(&self, state: &FolderState, noted: &Noted) -> Result<(), StateError> {
        let begins = noted.asked.is_some() && self.asked.is_none();
        if begins || (noted.ends && self.is_stored) {
            state.clear_let_through()?;
            state.put_let_through(&self.all(noted.now))?;
        } else {
            // What counts again is noted again below.
            state.remove_let_through(&self.expired)?;
        }
        state.put_let_through(&noted.let_through)?;
        match &noted.asked {
            Some(asked) if self.asked.as_ref() != Some(asked) => {
                state.set_mass_deletion(self.asked.as_deref(), asked)
            }
            None if noted.ends && self.is_stored => state.clear_mass_deletion(),
            _ => Ok(()),
        }
    }

    /// Takes over what has been stored.
    pub(super) fn take(&mut self, noted: Noted) {
        let Noted { now, let_through, asked, ends } = noted;
        self.expired.clear();
        let let_through = let_through.into_iter();
        self.lately
            .extend(let_through.map(|loss| (loss.entry, (loss.from_remote, now.monotonic_ns))));
        if asked.is_some() || ends {
            self.is_stored = asked.is_some();
            self.asked = asked;
        }
    }

    fn all(&self, now: Now) -> Vec<LetThrough> {
        let time_ms = |since: i64| {
            let age_ms = u64::try_from((now.monotonic_ns - since) / 1_000_000).unwrap_or(0);
            now.wall_ms.saturating_sub(age_ms)
        };
        let lately = self.lately.iter();
        lately
            .map(|(entry, (from_remote, since))| LetThrough {
                entry: *entry,
                from_remote: *from_remote,
                time_ms: time_ms(*since),
            })
            .collect()
    }
}

/// Whether an entry is deleted or emptied on one side alone: at the server, or on this disk.
pub(super) fn is_lost(
    context: &FolderContext,
    entry: &EntryId,
    from_remote: bool,
) -> Result<bool, StateError> {
    let local = context.state.local_row(entry)?;
    let remote = context.state.remote_row(entry)?.map(|row| row.node).filter(|node| !node.deleted);
    let empty = context.keys.content_tag().finish();
    Ok(match (local, remote) {
        (None, None) => false,
        (Some(_), None) => from_remote,
        (None, Some(_)) => !from_remote,
        (Some(local), Some(remote)) => {
            let is_empty = local.kind == Kind::File && local.stat.size == 0;
            is_empty != (remote.content.tag == empty) && is_empty != from_remote
        }
    })
}
