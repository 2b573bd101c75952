//! Merges of texts equal those of `git merge-file`, on random edits; what git asks about is asked about
//! here. Where lines repeat, git has to guess which of them was changed; there a merge may be left to a
//! person that git would make, and more of the text may stand between marks. Where each line is its own,
//! what is marked is the same, line by line.
//!
//! It needs `git`, and fails without it: a comparison that was not made has shown nothing.

#![allow(clippy::unwrap_used, reason = "what a test calls is test code too")]

use client_core::merge::{Labels, Merged, merge};
use std::path::Path;
use std::process::Command;
use tests::harness::Random;

/// Edit pairs of each kind of text.
const PAIRS: u64 = 600;

/// How the lines of a text are drawn.
#[derive(Clone, Copy, Debug)]
struct Kind {
    name: &'static str,
    /// Lines of the base, at most.
    lines: usize,
    /// How many different lines there are; 0: each is its own.
    words: usize,
    /// Edits of each side, at most.
    edits: usize,
    line_end: &'static str,
    /// Of git's clean merges, a person may be asked about so many in a hundred: lines that repeat can
    /// be matched in more than one way.
    asked_percent: u64,
}

const KINDS: [Kind; 6] = [
    Kind { name: "prose", lines: 60, words: 0, edits: 4, line_end: "\n", asked_percent: 0 },
    Kind { name: "few lines", lines: 4, words: 0, edits: 2, line_end: "\n", asked_percent: 0 },
    Kind { name: "with CRLF", lines: 30, words: 0, edits: 3, line_end: "\r\n", asked_percent: 0 },
    Kind {
        name: "lines that repeat",
        lines: 60,
        words: 40,
        edits: 4,
        line_end: "\n",
        asked_percent: 2,
    },
    Kind { name: "few words", lines: 20, words: 6, edits: 3, line_end: "\n", asked_percent: 8 },
    Kind { name: "two words", lines: 10, words: 2, edits: 3, line_end: "\n", asked_percent: 20 },
];

struct Draws {
    random: Random,
    fresh: u64,
    kind: Kind,
}

impl Draws {
    fn line(&mut self) -> String {
        let Kind { words, line_end, .. } = self.kind;
        self.fresh += 1;
        match words {
            0 => format!("line {}{line_end}", self.fresh),
            words => format!("word {}{line_end}", self.random.below(words)),
        }
    }

    fn base(&mut self) -> Vec<String> {
        let count = self.random.below(self.kind.lines + 1);
        let mut lines: Vec<String> = (0..count).map(|_| self.line()).collect();
        self.cut_end(&mut lines);
        lines
    }

    /// Now and then the last line does not end.
    fn cut_end(&mut self, lines: &mut [String]) {
        if self.random.below(6) == 0
            && let Some(last) = lines.last_mut()
        {
            *last = last.trim_end().to_owned();
        }
    }

    fn edited(&mut self, base: &[String], near: usize) -> Vec<String> {
        let mut lines = base.to_vec();
        for _ in 0..self.random.below(self.kind.edits + 1) {
            let at = match self.random.below(3) {
                0 => near.min(lines.len()),
                _ => self.random.below(lines.len() + 1),
            };
            let to = (at + self.random.below(3)).min(lines.len());
            let fresh: Vec<String> = (0..self.random.below(3)).map(|_| self.line()).collect();
            // What was the last line has to end before others come behind it.
            if let Some(last) = lines.last_mut()
                && !last.ends_with('\n')
            {
                last.push_str(self.kind.line_end);
            }
            lines.splice(at..to, fresh);
        }
        self.cut_end(&mut lines);
        lines
    }

    /// A base and two sides: now and then equal, or with the same edit among others.
    fn texts(&mut self) -> [String; 3] {
        let base = self.base();
        let near = self.random.below(base.len() + 1);
        let mine = self.edited(&base, near);
        let theirs = match self.random.below(8) {
            0 => mine.clone(),
            1 => self.edited(&mine, near),
            _ => self.edited(&base, near),
        };
        [base.concat(), mine.concat(), theirs.concat()]
    }
}

/// What git makes of it: the bytes, and whether they are clean.
fn git(directory: &Path, [base, mine, theirs]: &[String; 3], flags: &[&str]) -> (String, bool) {
    for (name, text) in [("base", base), ("mine", mine), ("theirs", theirs)] {
        std::fs::write(directory.join(name), text).unwrap();
    }
    let output = Command::new("git")
        .args(["merge-file", "-p", "-q", "--zdiff3", "-L", "mine", "-L", "base", "-L", "theirs"])
        .args(flags)
        .args(["mine", "base", "theirs"])
        .current_dir(directory)
        .output()
        .unwrap_or_else(|error| panic!("git is needed for this test: {error}"));
    let code = output.status.code().unwrap_or(255);
    assert!(code < 128, "git failed: {}", String::from_utf8_lossy(&output.stderr));
    (String::from_utf8(output.stdout).unwrap(), code == 0)
}

fn ours([base, mine, theirs]: &[String; 3]) -> Merged {
    let labels = Labels { mine: "mine".into(), base: "base".into(), theirs: "theirs".into() };
    merge(base.as_bytes(), mine.as_bytes(), theirs.as_bytes(), &labels).unwrap()
}

#[test]
fn merges_equal_those_of_git_on_thousands_of_edit_pairs() {
    let directory = tempfile::tempdir().unwrap();
    for (number, kind) in KINDS.into_iter().enumerate() {
        let (mut cleanly, mut asked) = (0, 0);
        for seed in 0..PAIRS {
            let random = Random::new(seed << 8 | number as u64);
            let texts = Draws { random, fresh: 0, kind }.texts();
            let (text, is_clean) = git(directory.path(), &texts, &[]);
            cleanly += u64::from(is_clean);
            match (ours(&texts), is_clean) {
                (Merged::Clean(merged), true) => assert_eq!(merged, text, "{texts:?}"),
                (Merged::Clean(merged), false) => {
                    panic!(
                        "{}, seed {seed}: git asks about {texts:?}, not so {merged:?}",
                        kind.name
                    )
                }
                (Merged::Marked { .. }, true) => asked += 1,
                (Merged::Marked { text: marked, .. }, false) if kind.words == 0 => {
                    // Git ends marks as an empty base would end its lines; here as the sides do.
                    let [marked, text] = [marked, text].map(|it| it.replace("\r\n", "\n"));
                    assert_eq!(marked, text, "{}, seed {seed}: {texts:?}", kind.name);
                }
                (Merged::Marked { .. }, false) => {}
            }
        }
        println!("{}: {cleanly} of {PAIRS} clean, {asked} of them asked about", kind.name);
        // Both ends of the comparison were seen.
        assert!(cleanly > PAIRS / 4 && cleanly < PAIRS * 9 / 10, "{cleanly}");
        assert!(asked * 100 <= cleanly * kind.asked_percent, "{}: {asked}", kind.name);
    }
}

/// What both sides changed alike is one change, whatever else they changed. Git matches each side with
/// the base for itself, and may find the same change in one place for one side and in another for the
/// other; then it asks about what is no conflict, as it does not when told to match lines otherwise.
#[test]
fn what_both_sides_changed_alike_is_no_conflict_where_git_finds_it_in_two_places() {
    let text = |words: &str| words.split(' ').map(|it| format!("{it}\n")).collect::<String>();
    let base = text("a b c d e a a f b d d f d f d e b");
    let mine = text("a b c d e a f f b e b d d f d f d e b");
    let (base, mine, theirs) = (base.trim_end().to_owned(), mine.trim_end().to_owned(), mine);
    let texts = [base, mine, theirs.clone()];
    let directory = tempfile::tempdir().unwrap();
    assert!(!git(directory.path(), &texts, &[]).1);
    let other = git(directory.path(), &texts, &["--diff-algorithm=histogram"]);
    assert_eq!(other, (theirs.clone(), true));
    assert_eq!(ours(&texts), Merged::Clean(theirs));
}
