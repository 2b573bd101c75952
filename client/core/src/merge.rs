//! The three-way merge of texts, and how texts are compared.
//!
//! Owns what counts as text, which changes of two sides go together, and how what does not is marked.
//! It must not know where the three texts come from, nor who may take a merge.
//!
//! The rule is that of `git merge-file`: changes of the two sides that overlap or touch are a
//! conflict, unless both come to the same lines. A library that merges changes which merely touch is
//! too lenient here, and one that takes one of several lines that are alike for another merges what
//! git asks about, so the rule is our own. A test holds the outcome equal to git's.

use diffy::DiffOptions;
use std::collections::BTreeMap;
use std::ops::Range;
use sure::{Changed, changes};

mod sure;
mod work;

/// Largest text that is merged, in bytes, of each of the three.
pub const MERGE_BYTES_MAX: u64 = 1024 * 1024;
/// The largest text in which marks are looked for, in bytes: three texts, and the marks between them.
pub const MARKED_BYTES_MAX: u64 = 4 * MERGE_BYTES_MAX;
/// Lines around a change that a comparison shows.
const CONTEXT_LINES: usize = 3;
/// The characters of a mark, so many times.
const MARK_LENGTH: usize = 7;

/// Why something is not merged line by line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmergeable {
    /// One of the three is too large.
    #[error("it is larger than {} MiB", MERGE_BYTES_MAX / (1024 * 1024))]
    TooLarge,
    /// One of the three is no text: not UTF-8, or with a NUL in it.
    #[error("it is not text")]
    NotText,
    /// One of the three cannot be had any more.
    #[error("a version that the merge needs cannot be had")]
    Gone,
    /// The sides have so little in common that finding it would take too long.
    #[error("its versions have too little in common")]
    TooDifferent,
}

/// What stands behind the marks of a merge that is not clean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// Of the first side.
    pub mine: String,
    /// Of what both started from.
    pub base: String,
    /// Of the second side.
    pub theirs: String,
}

/// A merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// All changes of both sides.
    Clean(String),
    /// Some changes exclude each other; they stand between marks.
    Marked {
        /// The text with its marks.
        text: String,
        /// How many places are marked, one at least.
        conflicts: usize,
    },
}

impl Merged {
    /// The merged text, if it is clean.
    #[must_use]
    pub fn clean(self) -> Option<String> {
        match self {
            Self::Clean(text) => Some(text),
            Self::Marked { .. } => None,
        }
    }
}

/// Some bytes as a text that can be merged and compared.
///
/// # Errors
/// [`Unmergeable`].
pub fn text(bytes: &[u8]) -> Result<&str, Unmergeable> {
    if bytes.len() as u64 > MERGE_BYTES_MAX {
        return Err(Unmergeable::TooLarge);
    }
    text_of_any_length(bytes)
}

/// Bytes as a text, of whatever length.
///
/// # Errors
/// [`Unmergeable::NotText`].
pub fn text_of_any_length(bytes: &[u8]) -> Result<&str, Unmergeable> {
    if bytes.contains(&0) {
        return Err(Unmergeable::NotText);
    }
    std::str::from_utf8(bytes).map_err(|_| Unmergeable::NotText)
}

/// Merges what `mine` and `theirs` have made of `base`.
///
/// # Errors
/// [`Unmergeable`].
pub fn merge(
    base: &[u8],
    mine: &[u8],
    theirs: &[u8],
    labels: &Labels,
) -> Result<Merged, Unmergeable> {
    let (base, mine, theirs) = (text(base)?, text(mine)?, text(theirs)?);
    let texts = Texts::new(base, mine, theirs);
    texts.merge(labels).ok_or(Unmergeable::TooDifferent)
}

/// Whether a text that a person made of these three (base, mine and theirs) still has marks of a merge
/// in it, with whatever labels.
#[must_use]
pub fn has_marks(text: &str, sides: [&str; 3]) -> bool {
    let [base, mine, theirs] = sides.map(marks);
    // A line that looks like a mark may be a line of a side, such as the rule below a headline: of each as
    // many as the base has, or as both have with what they added.
    marks(text).into_iter().any(|(line, count)| {
        let [base, mine, theirs] = [&base, &mine, &theirs].map(|side| side.get(line).copied());
        let [base, mine, theirs] = [base, mine, theirs].map(Option::unwrap_or_default);
        count > base.max(mine).max(theirs).max((mine + theirs).saturating_sub(base))
    })
}

/// How many there are of each line that looks like a mark.
fn marks(text: &str) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for line in text.lines().filter(|line| is_mark(line)) {
        *counts.entry(line).or_default() += 1;
    }
    counts
}

/// What turns one text into another, as a unified diff; empty when they are equal. They may be of any
/// length.
///
/// # Errors
/// [`Unmergeable::NotText`] and [`Unmergeable::TooDifferent`].
pub fn unified(
    (from, from_label): (&[u8], &str),
    (to, to_label): (&[u8], &str),
) -> Result<String, Unmergeable> {
    let (from, to) = (text_of_any_length(from)?, text_of_any_length(to)?);
    if from == to {
        return Ok(String::new());
    }
    let mut known = BTreeMap::new();
    let [one, other] = [from, to].map(|text| work::numbered(&lines(text), &mut known));
    work::affordable(&one, &other).ok_or(Unmergeable::TooDifferent)?;
    let patch = DiffOptions::new()
        .set_context_len(CONTEXT_LINES)
        .set_original_filename(from_label.to_owned())
        .set_modified_filename(to_label.to_owned())
        .create_patch(from, to)
        .to_string();
    Ok(patch)
}

/// A text as its lines, each with what ends it.
fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// The three texts as lines, and as numbers of lines: equal lines have equal numbers.
struct Texts<'a> {
    base: Vec<&'a str>,
    mine: Vec<&'a str>,
    theirs: Vec<&'a str>,
    numbers: [Vec<usize>; 3],
}

impl<'a> Texts<'a> {
    fn new(base: &'a str, mine: &'a str, theirs: &'a str) -> Self {
        let (base, mine, theirs) = (lines(base), lines(mine), lines(theirs));
        let mut known = BTreeMap::new();
        let numbers = [&base, &mine, &theirs].map(|lines| work::numbered(lines, &mut known));
        Self { base, mine, theirs, numbers }
    }

    /// `None` where finding what differs would take too long.
    fn merge(&self, labels: &Labels) -> Option<Merged> {
        let [base, mine, theirs] = &self.numbers;
        let (mine, theirs) = (changes(base, mine)?, changes(base, theirs)?);
        let mine = Side { lines: &self.mine, changes: &mine };
        let theirs = Side { lines: &self.theirs, changes: &theirs };
        let mut out = Output::new(labels, [&self.mine, &self.theirs, &self.base]);
        let mut at = 0;
        for region in regions(mine.changes, theirs.changes) {
            out.take(&self.base[at..region.base.start]);
            let ours = mine.lines_of(&region.base, &region.mine);
            let others = theirs.lines_of(&region.base, &region.theirs);
            match (region.mine.is_empty(), region.theirs.is_empty()) {
                (true, _) => out.take(others),
                (_, true) => out.take(ours),
                _ if ours == others => out.take(ours),
                _ => out.mark(ours, &self.base[region.base.clone()], others),
            }
            at = region.base.end;
        }
        out.take(&self.base[at..]);
        Some(out.finish())
    }
}

/// One side of a merge.
struct Side<'a> {
    lines: &'a [&'a str],
    changes: &'a [Changed],
}

impl<'a> Side<'a> {
    /// What this side has in a part of the base: its changed lines, and those of the base between
    /// them, which are its own as well.
    fn lines_of(&self, base: &Range<usize>, changes: &Range<usize>) -> &'a [&'a str] {
        let changes = &self.changes[changes.clone()];
        let (Some(first), Some(last)) = (changes.first(), changes.last()) else { return &[] };
        let start = first.side.start - (first.base.start - base.start);
        let end = last.side.end + (base.end - last.base.end);
        &self.lines[start..end]
    }
}

/// A part of the base in which changes belong together, and which of both sides' they are.
#[derive(Debug)]
struct Region {
    base: Range<usize>,
    mine: Range<usize>,
    theirs: Range<usize>,
}

/// Joins changes that overlap or touch.
fn regions(mine: &[Changed], theirs: &[Changed]) -> Vec<Region> {
    let (mut m, mut t) = (0, 0);
    let mut found: Vec<Region> = Vec::new();
    while m < mine.len() || t < theirs.len() {
        let start = |changes: &[Changed], at: usize| changes.get(at).map(|it| it.base.start);
        let is_mine = match (start(mine, m), start(theirs, t)) {
            (Some(mine), Some(theirs)) => mine <= theirs,
            (mine, _) => mine.is_some(),
        };
        let (next, mine_to, theirs_to) =
            if is_mine { (&mine[m], m + 1, t) } else { (&theirs[t], m, t + 1) };
        match found.last_mut() {
            Some(last) if next.base.start <= last.base.end => {
                last.base.end = last.base.end.max(next.base.end);
                (last.mine.end, last.theirs.end) = (mine_to, theirs_to);
            }
            _ => found.push(Region {
                base: next.base.clone(),
                mine: m..mine_to,
                theirs: t..theirs_to,
            }),
        }
        (m, t) = (mine_to, theirs_to);
    }
    found
}

struct Output<'a> {
    text: String,
    conflicts: usize,
    labels: &'a Labels,
    line_end: &'static str,
}

impl<'a> Output<'a> {
    /// Marks end as the lines of the texts do.
    fn new(labels: &'a Labels, texts: [&[&str]; 3]) -> Self {
        let firsts = texts.iter().filter_map(|lines| lines.first());
        let mut ended = firsts.filter(|line| line.ends_with('\n')).peekable();
        let is_crlf = ended.peek().is_some() && ended.all(|line| line.ends_with("\r\n"));
        let line_end = if is_crlf { "\r\n" } else { "\n" };
        Self { text: String::new(), conflicts: 0, labels, line_end }
    }

    fn finish(self) -> Merged {
        match self.conflicts {
            0 => Merged::Clean(self.text),
            conflicts => Merged::Marked { text: self.text, conflicts },
        }
    }

    fn take(&mut self, lines: &[&str]) {
        self.text.extend(lines.iter().copied());
    }

    /// What both sides begin and end with alike stands outside the marks.
    fn mark(&mut self, mine: &[&str], base: &[&str], theirs: &[&str]) {
        self.conflicts += 1;
        let alike = mine.iter().zip(theirs).take_while(|(mine, theirs)| mine == theirs).count();
        let (head, mine) = mine.split_at(alike);
        let theirs = &theirs[alike..];
        let ends = mine.iter().rev().zip(theirs.iter().rev());
        let alike = ends.take_while(|(mine, theirs)| mine == theirs).count();
        let (mine, tail) = mine.split_at(mine.len() - alike);
        let theirs = &theirs[..theirs.len() - alike];
        self.take(head);
        let labels = self.labels;
        self.put_mark('<', &labels.mine);
        self.take(mine);
        self.put_mark('|', &labels.base);
        self.take(base);
        self.put_mark('=', "");
        self.take(theirs);
        self.put_mark('>', &labels.theirs);
        self.take(tail);
    }

    /// A mark stands in a line of its own, also behind a line that does not end.
    fn put_mark(&mut self, sign: char, label: &str) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push_str(self.line_end);
        }
        self.text.push_str(&mark(sign, label));
        self.text.push_str(self.line_end);
    }
}

fn is_mark(line: &str) -> bool {
    let signs = |sign: char| line.strip_prefix(sign.to_string().repeat(MARK_LENGTH).as_str());
    let is_labelled = |rest: &str| rest.is_empty() || rest.starts_with(' ');
    ['<', '|', '>'].into_iter().filter_map(signs).any(is_labelled) || signs('=') == Some("")
}

fn mark(sign: char, label: &str) -> String {
    let signs = sign.to_string().repeat(MARK_LENGTH);
    if label.is_empty() { signs } else { format!("{signs} {label}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Labels {
        Labels { mine: "mine (a)".into(), base: "base".into(), theirs: "theirs (b)".into() }
    }

    fn merged(base: &str, mine: &str, theirs: &str) -> Merged {
        merge(base.as_bytes(), mine.as_bytes(), theirs.as_bytes(), &labels()).unwrap()
    }

    #[test]
    fn changes_that_do_not_touch_are_merged() {
        for (base, mine, theirs, expected) in [
            ("a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\n", "A\nb\nC\n"),
            ("a\nb\nc\n", "a\nb\nc\n", "a\nb\nC\n", "a\nb\nC\n"),
            ("a\nb\nc\n", "x\na\nb\nc\n", "a\nb\n", "x\na\nb\n"),
            ("a\nb\nc\n", "B\n", "B\n", "B\n"),
            ("a\n", "", "", ""),
            ("", "a", "a", "a"),
            ("", "", "a\n", "a\n"),
            ("a\nb\nc", "A\nb\nc", "a\nb\nC", "A\nb\nC"),
            ("a\r\nb\r\nc\r\n", "A\r\nb\r\nc\r\n", "a\r\nb\r\nC\r\n", "A\r\nb\r\nC\r\n"),
            ("1\n2\n3\n4\n5\n", "1\n2\n3\n5\n", "1\n2\n2a\n3\n4\n5\n", "1\n2\n2a\n3\n5\n"),
        ] {
            let what = format!("{base:?} {mine:?} {theirs:?}");
            assert_eq!(merged(base, mine, theirs), Merged::Clean(expected.into()), "{what}");
            assert_eq!(merged(base, theirs, mine), Merged::Clean(expected.into()), "{what}");
        }
    }

    #[test]
    fn changes_that_touch_are_marked() {
        for (base, mine, theirs) in [
            ("a\nb\nc\n", "A\nb\nc\n", "a\nB\nc\n"),
            ("a\nb\nc\n", "A\nb\nc\n", "x\na\nb\nc\n"),
            ("a\nb\n", "a\nx\nb\n", "a\ny\nb\n"),
            ("a\n", "b\n", ""),
            ("", "a\n", "b\n"),
            ("a\n", "a", "a\nb\n"),
        ] {
            for (mine, theirs) in [(mine, theirs), (theirs, mine)] {
                let merged = merged(base, mine, theirs);
                let Merged::Marked { text, conflicts } = &merged else { panic!("{merged:?}") };
                assert_eq!(*conflicts, 1, "{text}");
                assert!(has_marks(text, [base, mine, theirs]), "{text}");
            }
        }
    }

    #[test]
    fn marks_hold_what_differs_and_their_labels() {
        let base = "1\n2\n3\n4\n5\n";
        let Merged::Marked { text, conflicts } =
            merged(base, "1\nx\nmine\n4\n5\n", "1\nx\ntheirs\n4\nV\n")
        else {
            panic!("clean");
        };
        assert_eq!(conflicts, 1);
        let expected = "1\nx\n<<<<<<< mine (a)\nmine\n||||||| base\n2\n3\n=======\ntheirs\n\
                        >>>>>>> theirs (b)\n4\nV\n";
        assert_eq!(text, expected);
        let Merged::Marked { text, .. } = merged("a", "b", "c") else { panic!("clean") };
        let expected = "<<<<<<< mine (a)\nb\n||||||| base\na\n=======\nc\n>>>>>>> theirs (b)\n";
        assert_eq!(text, expected);
        let Merged::Marked { text, .. } = merged("", "b\r\n", "c\r\n") else { panic!("clean") };
        assert!(text.lines().count() == 6 && text.matches("\r\n").count() == 6, "{text:?}");
    }

    #[test]
    fn lines_that_look_like_marks_are_no_marks_where_they_were_before() {
        let headline = "Title\n=======\n";
        for sides in [[headline, "", ""], ["", headline, ""], ["", "", headline]] {
            assert!(!has_marks(headline, sides));
            assert!(has_marks(&headline.repeat(2), sides));
        }
        // What all three have counts once, and what each has added counts.
        assert!(has_marks(&headline.repeat(2), [headline; 3]));
        let [two, three] = [headline.repeat(2), headline.repeat(3)];
        assert!(!has_marks(&three, [headline, &two, &two]));
        assert!(has_marks(&headline.repeat(4), [headline, &two, &two]));
        for text in ["=======", "<<<<<<< HEAD", "|||||||", ">>>>>>> theirs (b)\r\n"] {
            assert!(has_marks(&format!("a\n{text}"), ["", "a\n", "b\n"]), "{text}");
        }
        for text in ["========", "<<<<<<<a", "======= b", "> > >", " >>>>>>> a", ">>>>>> a"] {
            assert!(!has_marks(text, ["", "a\n", "b\n"]), "{text}");
        }
    }

    #[test]
    fn what_can_be_matched_in_two_ways_is_nobodys_merge() {
        let text = |words: &str| words.split(' ').map(|it| format!("{it}\n")).collect::<String>();
        for (base, mine, theirs) in [
            // Any two of the lines may be those that are gone.
            ("a a a a a a", "a a a a", "a a a a a a b"),
            // What was added may be the first of the two, or the line between was moved.
            ("a b c", "a b C", "a c b C"),
            // Two of the lines went, and which is open.
            ("a b a a", "b a a a a", "a b a b a"),
            (
                "d f e b f e e a c e d e b a",
                "d f e b f e e a c e d e b A",
                "d f f e e a c e e a b A",
            ),
        ] {
            for (mine, theirs) in [(mine, theirs), (theirs, mine)] {
                let merged = merged(&text(base), &text(mine), &text(theirs));
                assert!(matches!(merged, Merged::Marked { .. }), "{merged:?}");
            }
        }
        // What is certain is merged, whatever repeats elsewhere.
        let merged = merged(&text("a a b c a a"), &text("a b c a a"), &text("a a b C a a"));
        assert_eq!(merged, Merged::Clean(text("a b C a a")));
    }

    #[test]
    fn what_is_no_text_is_not_merged() {
        let large = vec![b'a'; 1024 * 1024 + 1];
        for (bytes, why) in [
            (&b"a\0b"[..], Unmergeable::NotText),
            (b"\xff\xfe", Unmergeable::NotText),
            (&large, Unmergeable::TooLarge),
        ] {
            for [base, mine, theirs] in [[bytes, b"", b""], [b"", bytes, b""], [b"", b"", bytes]] {
                assert_eq!(merge(base, mine, theirs, &labels()), Err(why));
            }
        }
        let most = vec![b'a'; 1024 * 1024];
        assert!(matches!(merge(&most, &most, &most, &labels()), Ok(Merged::Clean(_))));
    }

    #[test]
    fn what_differs_in_every_short_line_is_given_up_before_it_takes_long() {
        let many = |first: usize| -> String {
            (0..20_000).map(|number| format!("{}\n", first + number * 2)).collect()
        };
        let merged = merge(many(0).as_bytes(), many(1).as_bytes(), many(0).as_bytes(), &labels());
        assert_eq!(merged, Err(Unmergeable::TooDifferent));
    }

    #[test]
    fn a_comparison_is_a_unified_diff() {
        let shown = unified((b"a\nb\n", "a.txt (desk)"), (b"a\nc\n", "a.txt (laptop)")).unwrap();
        assert!(shown.starts_with("--- a.txt (desk)\n+++ a.txt (laptop)\n"), "{shown}");
        assert!(shown.ends_with("@@ -1,2 +1,2 @@\n a\n-b\n+c\n"), "{shown}");
        assert_eq!(unified((b"a", "x"), (b"a", "y")), Ok(String::new()));
        assert_eq!(unified((b"\0", "x"), (b"a", "y")), Err(Unmergeable::NotText));
        let long = "a\n".repeat(1024 * 1024);
        let shown = unified((long.as_bytes(), "x"), (&long.as_bytes()[2..], "y")).unwrap();
        assert_eq!(shown.lines().filter(|line| line.starts_with('-')).count(), 2);
    }
}
