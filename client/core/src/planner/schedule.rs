//! The order of steps: waves, in each of which the steps are independent of one another.
//!
//! Owns what a step needs of its side's tree, and the ways out when steps wait for each other in
//! a circle: at the server they become one atomic group, on the disk one is moved aside. It must
//! not know why a step is wanted.
//!
//! A unit is accepted into a wave only if it is possible both before and after the rest of that
//! wave, so any order of a wave will do. Cycles of directories are looked for among the old and
//! the new parents of a wave together, which covers every order at once.

use super::overlay::{Overlay, Side};
use super::steps::{Change, Destination, Step};
use super::trees::is_fixed;
use crate::tree::{PARKED, Position, parked_position};
use common::ids::EntryId;
use common::limits::{DEPTH_MAX, GROUP_CHANGES_MAX, PATH_BYTES_MAX};
use common::revision::Revision;
use std::collections::{BTreeMap, BTreeSet};

/// What a member of a unit does to its side's tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Puts the entry there, whether it was elsewhere or nowhere.
    Place(Position),
    /// Takes the entry away.
    Remove,
}

/// What a member of a unit is when it is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// A step on the disk.
    Local(Step),
    /// Changes for the server.
    Push(Vec<Change>),
}

/// One entry's part of a unit.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// The entry as this side's tree names it.
    pub(super) entry: EntryId,
    /// The entry that was planned: another one for a conflict copy.
    pub(super) subject: EntryId,
    /// Lower ones are looked at first, so that a name goes to who had it first.
    pub(super) rank: Revision,
    pub(super) effect: Effect,
    pub(super) output: Output,
}

/// Members that take effect together.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) members: Vec<Member>,
}

/// Why a unit is not possible now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// The name is held.
    Name,
    /// A name is held that this disk cannot tell from it.
    FoldedName,
    /// The parent is not there, or would end up below the entry.
    Parent,
    /// The directory is not empty.
    Child,
    /// The path would be beyond the limits.
    TooDeep,
}

/// What a unit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) by: EntryId,
    pub(super) obstacle: Obstacle,
}

/// The outcome.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    pub(super) waves: Vec<Vec<Unit>>,
    pub(super) blocked: Vec<(Unit, Block)>,
}

/// Orders units on one side.
pub(super) fn schedule(overlay: Overlay<'_>, units: Vec<Unit>) -> Schedule {
    let mut scheduler = Scheduler {
        overlay,
        candidates: (0..units.len()).collect(),
        pending: units.into_iter().map(Some).collect(),
        owner: BTreeMap::new(),
        blocks: BTreeMap::new(),
        waiters: BTreeMap::new(),
        unmergeable: BTreeSet::new(),
        schedule: Schedule::default(),
    };
    scheduler.index();
    scheduler.run();
    scheduler.finish()
}

struct Scheduler<'a> {
    overlay: Overlay<'a>,
    pending: Vec<Option<Unit>>,
    candidates: Vec<usize>,
    /// Which pending unit an entry belongs to.
    owner: BTreeMap<EntryId, usize>,
    /// What each pending unit that was looked at waits for.
    blocks: BTreeMap<usize, Block>,
    /// The pending units that wait for an entry.
    waiters: BTreeMap<EntryId, Vec<usize>>,
    /// Units that would be too large in one group with what they wait for.
    unmergeable: BTreeSet<usize>,
    schedule: Schedule,
}

impl Scheduler<'_> {
    fn index(&mut self) {
        for (number, unit) in self.pending.iter().enumerate() {
            for member in unit.iter().flat_map(|unit| &unit.members) {
                self.owner.insert(member.entry, number);
            }
        }
    }

    fn run(&mut self) {
        loop {
            if !self.fill_wave() && !self.break_circle() {
                return;
            }
        }
    }

    /// Accepts what is possible among the candidates; those that wait for it are next.
    fn fill_wave(&mut self) -> bool {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.retain(|number| self.pending[*number].is_some());
        candidates.sort_by_key(|number| self.rank(*number));
        candidates.dedup();
        let mut wave = Vec::new();
        let mut accepted = Vec::new();
        for number in candidates {
            let Some(unit) = &self.pending[number] else { continue };
            if let Err(block) = self.check(unit) {
                self.blocks.insert(number, block);
                self.waiters.entry(block.by).or_default().push(number);
                continue;
            }
            if let Some(unit) = self.accept(number) {
                accepted.extend(unit.members.iter().map(|member| member.entry));
                wave.push(unit);
            }
        }
        self.overlay.end_wave();
        for entry in accepted {
            self.candidates.extend(self.waiters.remove(&entry).unwrap_or_default());
        }
        let progress = !wave.is_empty();
        if progress {
            self.schedule.waves.push(wave);
        }
        progress
    }

    fn rank(&self, number: usize) -> (Revision, EntryId) {
        let first = self.pending[number]
            .as_ref()
            .and_then(|unit| unit.members.iter().map(|member| (member.rank, member.entry)).min());
        first.unwrap_or((Revision::MAX, EntryId::ROOT))
    }

    fn accept(&mut self, number: usize) -> Option<Unit> {
        let unit = self.pending[number].take()?;
        self.blocks.remove(&number);
        for member in &unit.members {
            self.owner.remove(&member.entry);
            let position = match &member.effect {
                Effect::Place(position) => Some(position.clone()),
                Effect::Remove => None,
            };
            self.overlay.set(member.entry, position);
        }
        Some(unit)
    }

    /// Whether a unit is possible before and after the rest of this wave.
    fn check(&self, unit: &Unit) -> Result<(), Block> {
        let after: BTreeMap<EntryId, Option<&Position>> = unit
            .members
            .iter()
            .map(|member| match &member.effect {
                Effect::Place(position) => (member.entry, Some(position)),
                Effect::Remove => (member.entry, None),
            })
            .collect();
        let mut targets = BTreeMap::new();
        for (entry, position) in &after {
            let Some(position) = position else {
                self.check_empty(entry, &after)?;
                continue;
            };
            if let Some(other) = targets.insert(*position, *entry) {
                return Err(Block { by: other, obstacle: Obstacle::Name });
            }
            self.check_parent(entry, position, &after)?;
            self.check_name(entry, position, &after)?;
            self.check_path(entry, position, &after)?;
        }
        Ok(())
    }

    fn check_empty(
        &self,
        entry: &EntryId,
        after: &BTreeMap<EntryId, Option<&Position>>,
    ) -> Result<(), Block> {
        let left =
            self.overlay.children(entry).into_iter().find(|child| !after.contains_key(child));
        left.map_or(Ok(()), |by| Err(Block { by, obstacle: Obstacle::Child }))
    }

    fn check_parent(
        &self,
        entry: &EntryId,
        position: &Position,
        after: &BTreeMap<EntryId, Option<&Position>>,
    ) -> Result<(), Block> {
        let parent = position.parent;
        let stands = match after.get(&parent) {
            Some(place) => place.is_some(),
            None => self.overlay.stands(&parent),
        };
        if !stands {
            return Err(Block { by: parent, obstacle: Obstacle::Parent });
        }
        self.check_no_cycle(entry, &parent, after)
    }

    /// Looks for `entry` above `parent`, along the old and the new parents of this wave.
    fn check_no_cycle(
        &self,
        entry: &EntryId,
        parent: &EntryId,
        after: &BTreeMap<EntryId, Option<&Position>>,
    ) -> Result<(), Block> {
        let mut seen = BTreeSet::new();
        let mut open = vec![*parent];
        let mut cyclic = false;
        while let Some(at) = open.pop() {
            if at == *entry {
                cyclic = true;
                continue;
            }
            if is_fixed(&at) || !seen.insert(at) {
                continue;
            }
            match after.get(&at) {
                Some(position) => open.extend(position.map(|position| position.parent)),
                None => open.extend(
                    [self.overlay.before(&at), self.overlay.now(&at)]
                        .into_iter()
                        .flatten()
                        .map(|position| position.parent),
                ),
            }
        }
        if !cyclic {
            return Ok(());
        }
        let by = seen.into_iter().find(|at| self.owner.contains_key(at) && !after.contains_key(at));
        Err(Block { by: by.unwrap_or(*parent), obstacle: Obstacle::Parent })
    }

    fn check_name(
        &self,
        entry: &EntryId,
        position: &Position,
        after: &BTreeMap<EntryId, Option<&Position>>,
    ) -> Result<(), Block> {
        for by in self.overlay.occupants(position) {
            if by == *entry || after.contains_key(&by) {
                continue;
            }
            let same = [self.overlay.before(&by), self.overlay.now(&by)]
                .into_iter()
                .flatten()
                .any(|held| held == *position);
            let obstacle = if same { Obstacle::Name } else { Obstacle::FoldedName };
            return Err(Block { by, obstacle });
        }
        Ok(())
    }

    fn check_path(
        &self,
        entry: &EntryId,
        position: &Position,
        after: &BTreeMap<EntryId, Option<&Position>>,
    ) -> Result<(), Block> {
        let mut bytes = position.name.as_str().len();
        let mut at = position.parent;
        for _ in 0..DEPTH_MAX {
            if is_fixed(&at) {
                return if bytes <= PATH_BYTES_MAX { Ok(()) } else { Err(too_deep(entry)) };
            }
            let place = match after.get(&at) {
                Some(place) => place.cloned(),
                None => self.overlay.now(&at),
            };
            let Some(place) = place else { break };
            bytes += place.name.as_str().len() + 1;
            at = place.parent;
        }
        Err(too_deep(entry))
    }

    /// Finds units that wait for each other in a circle and lets them go on. False when there is
    /// none, so that what still waits waits for something else.
    fn break_circle(&mut self) -> bool {
        let mut done = BTreeSet::new();
        for start in 0..self.pending.len() {
            let mut path = Vec::new();
            let mut at = Some(start);
            while let Some(number) = at {
                if self.pending[number].is_none() || done.contains(&number) {
                    break;
                }
                if let Some(from) = path.iter().position(|other| *other == number) {
                    if self.resolve(&path[from..]) {
                        return true;
                    }
                    break;
                }
                path.push(number);
                let block = self.blocks.get(&number);
                at = block.and_then(|block| self.owner.get(&block.by)).copied();
            }
            done.extend(path);
        }
        false
    }

    fn resolve(&mut self, circle: &[usize]) -> bool {
        match self.overlay.side() {
            Side::Local => self.park_one(circle),
            Side::Remote => self.merge(circle),
        }
    }

    /// Moves one of a circle aside on the disk; its way to its place is a later round's.
    fn park_one(&mut self, circle: &[usize]) -> bool {
        let movable = circle.iter().copied().filter_map(|number| {
            let member = self.pending[number].as_ref()?.members.first()?;
            let Output::Local(Step::Move { entry, from, .. }) = &member.output else { return None };
            (from.parent != PARKED).then(|| (*entry, number, from.clone()))
        });
        let Some((entry, number, from)) = movable.min_by_key(|(entry, ..)| *entry) else {
            return false;
        };
        let Some(mut unit) = self.pending[number].take() else { return false };
        self.blocks.remove(&number);
        self.owner.remove(&entry);
        self.overlay.set(entry, Some(parked_position(&entry)));
        self.overlay.end_wave();
        for member in &mut unit.members {
            let step = Step::Move { entry, from: from.clone(), to: Destination::Parked };
            member.output = Output::Local(step);
        }
        self.schedule.waves.push(vec![unit]);
        self.candidates.extend(self.waiters.remove(&entry).unwrap_or_default());
        true
    }

    /// Makes one group of a circle.
    fn merge(&mut self, circle: &[usize]) -> bool {
        let Some((first, rest)) = circle.split_first() else { return false };
        let size: usize = circle.iter().map(|number| self.size(*number)).sum();
        if rest.is_empty() || size > GROUP_CHANGES_MAX || self.unmergeable.contains(first) {
            self.unmergeable.extend(circle);
            return false;
        }
        for number in rest {
            let Some(unit) = self.pending[*number].take() else { continue };
            self.blocks.remove(number);
            for member in &unit.members {
                self.owner.insert(member.entry, *first);
            }
            if let Some(into) = &mut self.pending[*first] {
                into.members.extend(unit.members);
            }
        }
        self.candidates.push(*first);
        true
    }

    fn size(&self, number: usize) -> usize {
        self.pending[number].as_ref().map_or(0, Unit::changes)
    }

    fn finish(mut self) -> Schedule {
        for (number, unit) in self.pending.into_iter().enumerate() {
            if let (Some(unit), Some(block)) = (unit, self.blocks.get(&number)) {
                self.schedule.blocked.push((unit, *block));
            }
        }
        self.schedule
    }
}

impl Unit {
    /// How many changes of a group it makes; a conflict copy is two.
    pub(super) fn changes(&self) -> usize {
        let changes = self.members.iter().flat_map(|member| match &member.output {
            Output::Push(changes) => changes.as_slice(),
            Output::Local(_) => &[],
        });
        changes.map(|c| if matches!(c, Change::ConflictCopy { .. }) { 2 } else { 1 }).sum()
    }
}

fn too_deep(entry: &EntryId) -> Block {
    Block { by: *entry, obstacle: Obstacle::TooDeep }
}
