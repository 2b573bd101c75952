//! What is to be done: the planner is asked, and what it says is noted.
//!
//! Owns what the planner is told, what a person has agreed to, and what is listed as waiting. It
//! must not carry anything out.

use super::guarded::{Now, is_lost};
use super::online::RoundError;
use super::run::Engine;
use crate::state::{IssueSource, StateError};
use client_core::planner::{self, IssueKind, Plan, Policy, Step};
use common::ids::EntryId;
use std::collections::{BTreeMap, BTreeSet};

/// The guard's share, in percent, and its least number of entries (S14).
const GUARD: (u32, u64) = (50, 20);

impl Engine {
    /// Plans for all that differs, or for one entry alone: that says nothing of the others.
    pub(super) fn plan(&mut self, only: Option<EntryId>) -> Result<Plan, RoundError> {
        // All of them at once: the guard has to see a mass deletion as a whole.
        let mut dirty = self.context.state.dirty_and_read()?;
        dirty.retain(|entry| only.is_none_or(|only| *entry == only));
        dirty.retain(|entry| {
            !self.missing.contains_key(entry)
                && !self.moved.contains_key(entry)
                && !self.emptied.contains_key(entry)
                && !self.failed.contains(entry)
        });
        if !self.guarded.is_judged(&self.context, &dirty)? {
            // Part of what a person is asked about cannot be planned: the rest of it waits for that.
            let halt = self.guarded.halt();
            dirty.retain(|entry| halt.is_none_or(|halt| !halt.deletions.contains(entry)));
        }
        let absences_settled =
            self.missing.is_empty() && self.targets.is_empty() && self.scanned_once;
        if dirty.is_empty() {
            if only.is_none() {
                self.forget_consent(absences_settled)?;
                self.note_plan(&dirty, &Plan::default(), absences_settled)?;
            }
            return Ok(Plan::default());
        }
        let mut policy = Policy { absences_settled, ..self.policy() };
        let view = self.context.state.view();
        let mut plan = planner::plan(&view, &dirty, &policy);
        let halts = plan.halt.is_some();
        if halts && !self.agreed.is_empty() {
            policy.agreed = self.agreed.clone();
            plan = planner::plan(&view, &dirty, &policy);
        }
        view.finish()?;
        if only.is_some() {
            return Ok(plan);
        }
        self.forget_consent(absences_settled)?;
        self.note_plan(&dirty, &plan, absences_settled)?;
        Ok(plan)
    }

    /// What the planner is told besides the trees.
    pub(super) fn policy(&mut self) -> Policy {
        Policy {
            folder: self.context.folder,
            device: self.context.device(),
            device_name: self.context.device_name.clone(),
            date: date_of(self.context.environment.now_ns()),
            folds_names: self.context.fs.folds_names(),
            platform: common::name::Platform::Unix,
            empty_content: Some(self.context.keys.content_tag().finish()),
            guard_percent: GUARD.0,
            guard_entries: GUARD.1,
            lately: self.guarded.lately(Now::of(&self.context)),
            held_when_asked: self.guarded.halt().map(|halt| halt.held),
            asked: self.guarded.halt().cloned(),
            agreed: BTreeSet::new(),
            absences_settled: false,
        }
    }

    /// Forgets what was agreed to and is done, whatever else waits: what comes later waits again.
    fn forget_consent(&mut self, absences_settled: bool) -> Result<(), StateError> {
        if !absences_settled {
            return Ok(());
        }
        let mut left = BTreeSet::new();
        for entry in &self.agreed {
            if is_lost(&self.context, entry, true)? || is_lost(&self.context, entry, false)? {
                left.insert(*entry);
            }
        }
        self.agreed = left;
        Ok(())
    }

    fn note_plan(
        &mut self,
        dirty: &BTreeSet<EntryId>,
        plan: &Plan,
        absences_settled: bool,
    ) -> Result<(), RoundError> {
        let mut kept: BTreeSet<EntryId> = plan.waiting.iter().copied().collect();
        kept.extend(plan.batches.iter().flatten().flat_map(entries_of));
        // What was agreed to is not over before it is done.
        let ends = plan.halt.is_none()
            && absences_settled
            && self.agreed.is_empty()
            && self.guarded.is_judged(&self.context, dirty)?;
        let noted = self.guarded.noted(plan, ends, Now::of(&self.context));
        self.context.state.atomically(|state| {
            self.note_issues(plan)?;
            self.guarded.store(state, &noted)?;
            if plan.halt.is_none() {
                for entry in dirty.difference(&kept) {
                    state.unmark_dirty(entry)?;
                }
            }
            Ok::<_, StateError>(())
        })?;
        self.guarded.take(noted);
        Ok(())
    }

    /// Lists what cannot be as things are, and nothing that could not be before and now can.
    fn note_issues(&self, plan: &Plan) -> Result<(), StateError> {
        let state = &self.context.state;
        let issues = plan.issues.iter();
        let issues: BTreeMap<String, &str> = issues
            .map(|issue| (self.path_to_show(&issue.entry), issue_text(&issue.kind)))
            .collect();
        state.replace_issues(IssueSource::Plan, &issues)
    }
}

pub(super) fn issue_text(kind: &IssueKind) -> &'static str {
    match kind {
        IssueKind::NameClash { .. } => {
            "differs from another name only in case or normalisation, which this disk ignores; \
             rename one of them"
        }
        IssueKind::NameNotHeld => "this platform cannot hold the name; rename it elsewhere",
        IssueKind::PlaceHeld { .. } => "its place is held by what cannot be moved away yet",
        IssueKind::TooDeep => "the path is too deep or too long; move it further up",
    }
}

fn entries_of(step: &Step) -> Vec<EntryId> {
    use planner::Change;
    match step {
        Step::Settle { entry }
        | Step::Forget { entry }
        | Step::Keep { entry }
        | Step::Detach { entry, .. }
        | Step::Create { entry, .. }
        | Step::Replace { entry, .. }
        | Step::SetAttributes { entry, .. }
        | Step::Move { entry, .. }
        | Step::Delete { entry, .. } => vec![*entry],
        Step::Adopt { local, remote } => vec![*local, *remote],
        Step::Push(group) => group
            .changes
            .iter()
            .flat_map(|change| match change {
                Change::Create { entry, .. }
                | Change::Edit { entry, .. }
                | Change::Move { entry, .. }
                | Change::Delete { entry, .. }
                | Change::Revive { entry, .. } => vec![*entry],
                Change::ConflictCopy { local, copy, entry, .. } => vec![*local, *copy, *entry],
            })
            .collect(),
    }
}

/// `YYYY-MM-DD` in UTC (H. Hinnant, "chrono-compatible low-level date algorithms").
fn date_of(now_ns: i64) -> String {
    let days = now_ns.div_euclid(86_400_000_000_000) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::date_of;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date_of(0), "1970-01-01");
        assert_eq!(date_of(951_782_400_000_000_000), "2000-02-29");
        assert_eq!(date_of(1_795_305_600_000_000_000), "2026-11-22");
        assert_eq!(date_of(-1), "1969-12-31");
    }
}
