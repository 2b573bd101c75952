//! What surely changed between two texts, and what surely did not.
//!
//! Owns the lines that every shortest difference keeps as the same ones. Among lines that repeat there
//! may be several shortest differences; all that they disagree about is one change here, so that
//! nothing is ever taken for another of several lines that are alike.

use std::ops::Range;

/// Steps that a comparison may take: some tenths of a second.
const STEPS_MAX: u64 = 50_000_000;
/// Lines that may differ; what is kept for a comparison grows with their square, to 32 MB.
const DIFFERING_MAX: usize = 4000;

/// Lines of the base that a side has replaced, and by which of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) base: Range<usize>,
    pub(super) side: Range<usize>,
}

/// What turns the base into a side; `None` where finding it would take too long. Between two changes
/// lies a line at least.
pub(super) fn changes(base: &[usize], side: &[usize]) -> Option<Vec<Changed>> {
    let distances = Distances::new(base, side)?;
    let (highest, lowest) = (distances.kept(Ends::Highest), distances.kept(Ends::Lowest));
    let mut found = Vec::new();
    let (mut x, mut y) = (0, 0);
    // Every shortest path lies between the two, so that it keeps what both of them keep.
    let kept = highest.into_iter().zip(lowest).enumerate();
    let kept = kept.filter_map(|(x, (one, other))| one.filter(|_| one == other).map(|y| (x, y)));
    for (next_x, next_y) in kept.chain([(base.len(), side.len())]) {
        if (x, y) != (next_x, next_y) {
            found.push(Changed { base: x..next_x, side: y..next_y });
        }
        (x, y) = (next_x + 1, next_y + 1);
    }
    Some(found)
}

/// Which of the shortest paths is followed: none has taken in more of the side where it leaves a line of
/// the base, or none less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Highest,
    Lowest,
}

/// How far every pair of places in two texts is from their ends: so many lines are added or taken away
/// between (E. Myers, "An O(ND) Difference Algorithm and Its Variations", 1986, from the ends).
struct Distances<'a> {
    base: &'a [usize],
    side: &'a [usize],
    /// For each number of differences d and each diagonal -d, -d + 2, …, d how many lines of the base
    /// before its end the furthest path reaches.
    reached: Vec<Vec<u32>>,
}

impl<'a> Distances<'a> {
    fn new(base: &'a [usize], side: &'a [usize]) -> Option<Self> {
        let mut distances = Self { base, side, reached: Vec::new() };
        let mut steps = 0;
        while !distances.is_whole() {
            let differences = distances.reached.len();
            if differences > DIFFERING_MAX || steps > STEPS_MAX {
                return None;
            }
            let before = distances.reached.last().map_or(&[][..], Vec::as_slice);
            let mut row = Vec::with_capacity(differences + 1);
            for turn in 0..=differences {
                let added = before.get(turn).copied();
                let taken = turn.checked_sub(1).and_then(|it| before.get(it)).map(|it| it + 1);
                let from = added.max(taken).unwrap_or(0) as usize;
                let to = distances.slide(from, from + differences - 2 * turn);
                steps += (to - from) as u64 + 1;
                row.push(u32::try_from(to).ok()?);
            }
            distances.reached.push(row);
        }
        Some(distances)
    }

    /// How far equal lines reach before two places, both counted from the ends.
    fn slide(&self, x: usize, y: usize) -> usize {
        let base = self.base.iter().rev().skip(x);
        let alike = base.zip(self.side.iter().rev().skip(y));
        x + alike.take_while(|(one, other)| one == other).count()
    }

    fn is_whole(&self) -> bool {
        self.reached.len().checked_sub(1).is_some_and(|all| self.is_within(0, 0, all))
    }

    /// Whether so many differences, or two, four, … less lead from a pair of places to the ends.
    fn is_within(&self, x: usize, y: usize, differences: usize) -> bool {
        let (x, y) = (self.base.len() - x, self.side.len() - y);
        // The diagonal is x - y = 2 * turn - d.
        let turn = (differences + x).checked_sub(y).map(|twice| twice / 2);
        let reached = turn.and_then(|turn| self.reached.get(differences)?.get(turn));
        reached.is_some_and(|reached| x <= *reached as usize)
    }

    /// Which line of the side each line of the base is on one of the shortest paths.
    fn kept(&self, ends: Ends) -> Vec<Option<usize>> {
        let (base, side) = (self.base, self.side);
        let mut kept = vec![None; base.len()];
        let (mut x, mut y, mut left) = (0, 0, self.reached.len() - 1);
        while x < base.len() || y < side.len() {
            let is_alike = base.get(x).is_some_and(|line| side.get(y) == Some(line));
            let nearer = |x: usize, y: usize| {
                let is_there = x <= base.len() && y <= side.len();
                is_there && left > 0 && self.is_within(x, y, left - 1)
            };
            let adds = match ends {
                Ends::Highest => nearer(x, y + 1),
                Ends::Lowest => !nearer(x + 1, y) && !is_alike,
            };
            let takes = !adds && (ends == Ends::Lowest && nearer(x + 1, y) || !is_alike);
            match (adds, takes) {
                (true, _) => (y, left) = (y + 1, left - 1),
                (_, true) => (x, left) = (x + 1, left - 1),
                _ => {
                    kept[x] = Some(y);
                    (x, y) = (x + 1, y + 1);
                }
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths of what two texts have in common from each pair of places on, by the book.
    fn common(base: &[usize], side: &[usize]) -> Vec<Vec<usize>> {
        let mut lengths = vec![vec![0; side.len() + 1]; base.len() + 1];
        for x in (0..base.len()).rev() {
            for y in (0..side.len()).rev() {
                lengths[x][y] = match base[x] == side[y] {
                    true => lengths[x + 1][y + 1] + 1,
                    false => lengths[x + 1][y].max(lengths[x][y + 1]),
                };
            }
        }
        lengths
    }

    /// Pairs of lines that are in all of the longest common subsequences, found one by one.
    fn always_kept(base: &[usize], side: &[usize]) -> Vec<(usize, usize)> {
        let after = common(base, side);
        let turned = |text: &[usize]| text.iter().rev().copied().collect::<Vec<_>>();
        let before = common(&turned(base), &turned(side));
        let (n, m) = (base.len(), side.len());
        let mut by_place = vec![Vec::new(); after[0][0]];
        for x in 0..n {
            for y in (0..m).filter(|y| base[x] == side[*y]) {
                let place = before[n - x][m - y];
                if place + 1 + after[x + 1][y + 1] == after[0][0] {
                    by_place[place].push((x, y));
                }
            }
        }
        by_place.into_iter().filter(|it| it.len() == 1).flatten().collect()
    }

    #[test]
    fn what_every_longest_common_part_keeps_is_kept_and_nothing_else() {
        let mut bits = 1_u64;
        let mut draw = |below: usize| {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (bits >> 33) as usize % below
        };
        for words in [1, 2, 3, 6, 50] {
            for _ in 0..2000 {
                let [base, side] = [(); 2].map(|()| {
                    let lines = draw(10);
                    (0..lines).map(|_| draw(words)).collect::<Vec<usize>>()
                });
                let (mut x, mut y, mut kept) = (0, 0, Vec::new());
                let end = Changed { base: base.len()..base.len(), side: side.len()..side.len() };
                for change in changes(&base, &side).unwrap().into_iter().chain([end]) {
                    kept.extend((x..change.base.start).zip(y..change.side.start));
                    (x, y) = (change.base.end, change.side.end);
                }
                assert_eq!(kept, always_kept(&base, &side), "{base:?} {side:?}");
            }
        }
    }

    #[test]
    fn texts_without_anything_in_common_are_given_up() {
        let lines = |from: usize, count: usize| (from..from + count).collect::<Vec<_>>();
        let half = DIFFERING_MAX / 2;
        assert_eq!(changes(&lines(0, half), &lines(half, half)).map(|it| it.len()), Some(1));
        assert_eq!(changes(&lines(0, half), &lines(half, half + 1)), None);
    }
}
