//! What the book says of values that users brought back.

use super::{Fate, Inner, Print};
use std::collections::{BTreeMap, BTreeSet};

/// Values that users brought back. One lives again only if all that was done to it before is over: it
/// was settled before the devices last agreed, and no disk held it then. Of all others it may be that
/// somebody replaces what he still sees of its first life.
#[derive(Default)]
pub(super) struct SecondLives {
    pub(super) agreements: u64,
    /// How often the devices had agreed when a value was settled.
    pub(super) settled: BTreeMap<Print, u64>,
    /// What disks held at the last agreement.
    pub(super) standing: BTreeSet<Print>,
    pub(super) lives: BTreeSet<Print>,
    /// How many there ever were.
    pub(super) count: u64,
    /// All that restores brought, in their order.
    pub(super) brought: Vec<Print>,
}

impl Inner {
    /// Notes that a restore brought a value.
    pub(super) fn lives_again(&mut self, print: &Print) {
        let second = &mut self.second;
        second.brought.push(*print);
        let is_over = second.settled.get(print).is_some_and(|at| *at < second.agreements)
            && !second.standing.contains(print);
        let Some(value) = self.values.get_mut(print).filter(|_| is_over) else { return };
        if let Fate::Superseded | Fate::Deleted = value.fate {
            value.fate = Fate::Alive;
            second.lives.insert(*print);
            second.count += 1;
            if self.trace {
                eprintln!("    value {}: brought back", value.number);
            }
        }
    }
}
