//! The planner: from three trees to the next steps.
//!
//! Owns every decision of a sync round. It must not know how a step is carried out, and keeps no
//! state: observations are stored and each round is planned anew.
//!
//! A round goes through passes. Each entry's own three nodes give it a fate (`merge`). Cycles of
//! moves of both sides are broken (`moves`), directories that something lives in kept
//! (`directories`), local nodes that the server has under another id found (`names`), too many
//! deletions held back (`guard`). What is left is written as steps (`units`), those that belong
//! together joined (`groups`), and all put in an order in which each is possible (`schedule`).
//!
//! After S. Mutschler et al., "Rewriting the heart of our sync engine" (Dropbox), and Mutagen's
//! reconciler; differing from both in that entries have ids on all three sides.

mod directories;
mod groups;
mod guard;
mod merge;
mod moves;
mod names;
mod overlay;
mod repack;
mod round;
mod schedule;
mod steps;
mod trees;
mod units;

pub use steps::{Change, Destination, Halt, Issue, IssueKind, Loss, Plan, Policy, PushGroup, Step};

use self::merge::Fate;
use self::overlay::{Overlay, Side};
use self::round::Round;
use self::schedule::{Obstacle, Output, Schedule};
use self::trees::Trees;
use self::units::Wishes;
use crate::tree::View;
use common::ids::EntryId;
use std::collections::BTreeSet;

/// Plans the next steps for the entries that are `dirty`.
///
/// Pure: equal trees give equal plans. Reads the dirty entries and their neighbourhood only: the
/// directories above them, who holds the names that they want, and the children of directories
/// that are to go. When every entry that differs between the trees is dirty, the plan is the same
/// as when every entry is. What cannot be planned yet is in [`Plan::waiting`] and has to stay
/// dirty; so has every entry that a step names, until a later plan has nothing to say about it.
///
/// The plan is safe whatever the trees say and whatever happened meanwhile: steps name what was
/// compared, and what is not possible yet is left for a later round.
#[must_use]
pub fn plan(view: &dyn View, dirty: &BTreeSet<EntryId>, policy: &Policy) -> Plan {
    let mut round = Round::new(Trees::new(view), dirty, policy);
    moves::break_cycles(&mut round);
    directories::keep_what_was_moved(&mut round);
    directories::keep_what_is_needed(&mut round);
    let adoptions = names::adopt(&mut round);
    detach(&mut round);
    let (losses, halt) = guard::hold_back(&mut round);
    let wishes = units::wishes(&mut round, &adoptions);
    let mut plan = arrange(&mut round, wishes);
    plan.losses = losses;
    plan.halt = halt;
    plan.waiting = round.waiting.into_iter().collect();
    plan
}

/// What is in a directory that gets an id of its own waits, as with adoption.
fn detach(round: &mut Round<'_>) {
    let detached = round.fates.iter().filter(|(_, fate)| **fate == Fate::Detach);
    let detached: Vec<EntryId> = detached.map(|(entry, _)| *entry).collect();
    round.renumbered.extend(detached);
}

/// Puts everything in batches. The waves of both sides run side by side: one side's steps do not
/// depend on the other's within a round.
fn arrange(round: &mut Round<'_>, wishes: Wishes) -> Plan {
    let mut plan = Plan { issues: wishes.issues, ..Plan::default() };
    let remote = groups::joined(wishes.remote, &wishes.together);
    let remote = schedule::schedule(Overlay::new(&round.trees, Side::Remote, false), remote);
    let folds = round.policy.folds_names;
    let local = groups::single(wishes.local);
    let local = schedule::schedule(Overlay::new(&round.trees, Side::Local, folds), local);
    report_blocked(round, &remote, &mut plan.issues);
    report_blocked(round, &local, &mut plan.issues);

    for (batch, steps) in wishes.books {
        put(&mut plan.batches, batch, steps);
    }
    let mut placed = BTreeSet::new();
    for schedule in [remote, local] {
        for (batch, wave) in schedule.waves.into_iter().enumerate() {
            for unit in wave {
                placed.extend(unit.members.iter().map(|member| member.subject));
                let pushes = matches!(unit.members.first(), Some(m) if is_push(&m.output));
                let steps = if pushes {
                    vec![Step::Push(groups::group(round, unit))]
                } else {
                    unit.members.into_iter().filter_map(|m| local_step(m.output)).collect()
                };
                put(&mut plan.batches, batch, steps);
            }
        }
    }
    // A batch names an entry once, so the content of one that is moved comes after all moves.
    let (last, first) =
        wishes.contents.into_iter().partition::<Vec<_>, _>(|(entry, _)| placed.contains(entry));
    put(&mut plan.batches, 0, first.into_iter().map(|(_, step)| step).collect());
    let end = plan.batches.len();
    put(&mut plan.batches, end, last.into_iter().map(|(_, step)| step).collect());
    plan.batches.insert(0, wishes.kept);
    plan.batches.retain(|batch| !batch.is_empty());
    plan.issues.sort_by_key(|issue| issue.entry);
    plan
}

fn put(batches: &mut Vec<Vec<Step>>, batch: usize, steps: Vec<Step>) {
    if batches.len() <= batch {
        batches.resize_with(batch + 1, Vec::new);
    }
    batches[batch].extend(steps);
}

fn is_push(output: &Output) -> bool {
    matches!(output, Output::Push(_))
}

fn local_step(output: Output) -> Option<Step> {
    match output {
        Output::Local(step) => Some(step),
        Output::Push(_) => None,
    }
}

/// Keeps what could not be scheduled, and what it waits for, dirty, and says what never will be
/// possible as things are.
fn report_blocked(round: &mut Round<'_>, schedule: &Schedule, issues: &mut Vec<Issue>) {
    for (unit, block) in &schedule.blocked {
        for member in &unit.members {
            round.waiting.insert(member.subject);
        }
        if !matches!(round.fate(&block.by), Fate::InSync | Fate::Adopted) {
            round.waiting.insert(block.by);
        }
        let kind = match block.obstacle {
            Obstacle::FoldedName => IssueKind::NameClash { with: block.by },
            Obstacle::TooDeep => IssueKind::TooDeep,
            Obstacle::Name | Obstacle::Parent | Obstacle::Child => continue,
        };
        let subjects = unit.members.iter().map(|member| member.subject);
        issues.extend(subjects.map(|entry| Issue { entry, kind: kind.clone() }));
    }
    report_behind(schedule, issues);
}

/// What waits for a place whose holder cannot leave it waits for as long. A holder may itself wait:
/// for its own place, for a directory that it goes to, or to be emptied before it is removed.
fn report_behind(schedule: &Schedule, issues: &mut Vec<Issue>) {
    let mut stuck: BTreeSet<EntryId> = issues.iter().map(|issue| issue.entry).collect();
    loop {
        let before = stuck.len();
        for (unit, block) in &schedule.blocked {
            if !stuck.contains(&block.by) {
                continue;
            }
            for entry in unit.members.iter().map(|member| member.subject) {
                if stuck.insert(entry) && block.obstacle == Obstacle::Name {
                    issues.push(Issue { entry, kind: IssueKind::PlaceHeld { by: block.by } });
                }
            }
        }
        if stuck.len() == before {
            return;
        }
    }
}
