//! Whether two texts can be compared in a time that a person would wait.
//!
//! Owns the bound. It must not know what is done with the difference.

use std::collections::BTreeMap;

/// Steps that a comparison may take: some tenths of a second.
const STEPS_MAX: u64 = 50_000_000;

/// Counts the lines that differ, and gives up where finding them would take too many steps
/// (E. Myers, "An O(ND) Difference Algorithm and Its Variations", 1986, without the path).
pub(super) fn affordable(from: &[usize], to: &[usize]) -> Option<usize> {
    differing(from, to, STEPS_MAX)
}

fn differing(from: &[usize], to: &[usize], steps_max: u64) -> Option<usize> {
    let head = from.iter().zip(to).take_while(|(one, other)| one == other).count();
    let (from, to) = (&from[head..], &to[head..]);
    let tail = from.iter().rev().zip(to.iter().rev()).take_while(|(one, other)| one == other);
    let tail = tail.count();
    let (from, to) = (&from[..from.len() - tail], &to[..to.len() - tail]);

    // For each diagonal, how far along `from` the furthest path with so many differences reaches.
    let diagonals = from.len() + to.len() + 1;
    let mut reached = vec![0_usize; 2 * diagonals + 1];
    let middle = diagonals;
    let mut steps = 0;
    for differences in 0..diagonals {
        for turn in 0..=differences {
            // The diagonals -d, -d + 2, …, d.
            let diagonal = middle + 2 * turn - differences;
            let down =
                turn == 0 || (turn < differences && reached[diagonal - 1] < reached[diagonal + 1]);
            let mut x = if down { reached[diagonal + 1] } else { reached[diagonal - 1] + 1 };
            // y = x - (diagonal - middle); paths that have left the texts end there.
            let Some(mut y) = (x + middle).checked_sub(diagonal) else { continue };
            while x < from.len() && y < to.len() && from[x] == to[y] {
                (x, y, steps) = (x + 1, y + 1, steps + 1);
            }
            reached[diagonal] = x;
            if x >= from.len() && y >= to.len() {
                return Some(differences);
            }
            steps += 1;
        }
        if steps > steps_max {
            return None;
        }
    }
    None
}

/// A number for each line; equal lines get equal numbers.
pub(super) fn numbered<'a>(lines: &[&'a str], known: &mut BTreeMap<&'a str, usize>) -> Vec<usize> {
    let mut numbers = Vec::with_capacity(lines.len());
    for line in lines {
        let next = known.len();
        numbers.push(*known.entry(line).or_insert(next));
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_counted_and_bounded() {
        for (from, to, expected) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abcabba", "cbabac", 5),
            ("abcdef", "xbcdyf", 4),
            ("ab", "ba", 2),
        ] {
            let split = |text: &str| -> Vec<usize> { text.bytes().map(usize::from).collect() };
            assert_eq!(affordable(&split(from), &split(to)), Some(expected), "{from} {to}");
        }
    }

    #[test]
    fn texts_without_anything_in_common_are_given_up() {
        let (from, to): (Vec<usize>, Vec<usize>) = ((0..500).collect(), (500..1000).collect());
        assert_eq!(differing(&from, &to, 1_000_000), Some(1000));
        assert_eq!(differing(&from, &to, 10_000), None);
    }
}
