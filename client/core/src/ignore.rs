//! The rules of `.driftlessignore`: gitignore syntax, one file at the folder's root.
//!
//! Owns parsing and matching. It must not read files, nor know what happens to an ignored path.

use ::ignore::Match;
use ::ignore::gitignore::{Gitignore, GitignoreBuilder};
use common::limits::{IGNORE_FILE_BYTES_MAX, IGNORE_LINE_BYTES_MAX};
use common::name::IGNORE_FILE;

/// Most patterns that are used; each costs memory in the compiled matcher.
pub const PATTERNS_MAX: usize = 4096;
/// Most problems that are reported; a binary file would otherwise give one a line.
const PROBLEMS_MAX: usize = 100;

/// Why a line of the ignore file is skipped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreProblem {
    /// The file is larger than [`IGNORE_FILE_BYTES_MAX`]: what lies beyond is not read.
    #[error("it is longer than {IGNORE_FILE_BYTES_MAX} bytes; the rest is not read")]
    FileTooLong,
    /// A line is longer than [`IGNORE_LINE_BYTES_MAX`].
    #[error("line {line} is longer than {IGNORE_LINE_BYTES_MAX} bytes")]
    LineTooLong {
        /// Which line, from 1.
        line: usize,
    },
    /// A line is not UTF-8.
    #[error("line {line} is not valid UTF-8")]
    NotUtf8 {
        /// Which line, from 1.
        line: usize,
    },
    /// A line is no pattern.
    #[error("line {line} is not a pattern: {reason}")]
    NotAPattern {
        /// Which line, from 1.
        line: usize,
        /// What the pattern compiler says.
        reason: String,
    },
    /// More than [`PATTERNS_MAX`] patterns: this line and those after it are not used.
    #[error("it has more than {PATTERNS_MAX} patterns; line {line} and on are not used")]
    TooManyPatterns {
        /// The first line left out, from 1.
        line: usize,
    },
    /// The patterns together are too complex: none is used.
    #[error("its patterns are too complex together, none is used: {reason}")]
    TooComplex {
        /// What the pattern compiler says.
        reason: String,
    },
}

/// Compiled ignore rules.
#[derive(Clone, Debug)]
pub struct IgnoreRules {
    matcher: Gitignore,
    /// Lines and their patterns, in order.
    lines: Vec<(usize, String)>,
}

/// What ignores a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoredBy {
    /// The path that is matched: the one asked for, or a directory above it.
    pub path: String,
    /// The line of the ignore file, from 1.
    pub line: usize,
    /// What stands there.
    pub pattern: String,
}

impl Default for IgnoreRules {
    fn default() -> Self {
        Self { matcher: Gitignore::empty(), lines: Vec::new() }
    }
}

impl IgnoreRules {
    /// Compiles the text of an ignore file. Lines that cannot be used are skipped and reported;
    /// the others hold.
    #[must_use]
    pub fn parse(text: &[u8]) -> (Self, Vec<IgnoreProblem>) {
        let mut problems = Vec::new();
        let limit = usize::try_from(IGNORE_FILE_BYTES_MAX).unwrap_or(usize::MAX);
        let text = match text.get(..limit) {
            Some(head) if text.len() > limit => {
                problems.push(IgnoreProblem::FileTooLong);
                // The last line may be cut in half: it must not become another pattern.
                &head[..head.iter().rposition(|b| *b == b'\n').unwrap_or(0)]
            }
            _ => text,
        };
        let mut builder = GitignoreBuilder::new("");
        let mut lines = Vec::new();
        for (index, bytes) in text.split(|b| *b == b'\n').enumerate() {
            let line = index + 1;
            match usable_line(bytes, line) {
                Ok(None) => {}
                Ok(Some(_)) if lines.len() == PATTERNS_MAX => {
                    problems.push(IgnoreProblem::TooManyPatterns { line });
                    break;
                }
                Ok(Some(pattern)) => match builder.add_line(None, pattern) {
                    Ok(_) => lines.push((line, pattern.to_owned())),
                    Err(error) => problems
                        .push(IgnoreProblem::NotAPattern { line, reason: error.to_string() }),
                },
                Err(problem) => problems.push(problem),
            }
        }
        problems.truncate(PROBLEMS_MAX);
        match builder.build() {
            Ok(matcher) => (Self { matcher, lines }, problems),
            Err(error) => {
                problems.push(IgnoreProblem::TooComplex { reason: error.to_string() });
                (Self::default(), problems)
            }
        }
    }

    /// Whether a path is ignored: it or a directory above it is matched, as git decides (what
    /// lies in an ignored directory cannot be taken back in). `components` lead from the folder's
    /// root to the path; `is_dir` says what the last one is. The ignore file itself never is.
    #[must_use]
    pub fn is_ignored<'a>(
        &self,
        components: impl IntoIterator<Item = &'a str>,
        is_dir: bool,
    ) -> bool {
        self.first_match(components, is_dir).is_some()
    }

    /// Which line ignores a path, if one does.
    #[must_use]
    pub fn ignored_by<'a>(
        &self,
        components: impl IntoIterator<Item = &'a str>,
        is_dir: bool,
    ) -> Option<IgnoredBy> {
        let (path, is_dir) = self.first_match(components, is_dir)?;
        let Match::Ignore(glob) = self.matcher.matched(&path, is_dir) else { return None };
        // Of equal lines the last decides.
        let line = self.lines.iter().rev().find(|(_, pattern)| pattern == glob.original());
        let (line, pattern) = line.map_or((0, glob.original()), |(line, text)| (*line, text));
        Some(IgnoredBy { path, line, pattern: pattern.to_owned() })
    }

    /// The first of a path's directories, or the path itself, that is matched, and whether it is a
    /// directory.
    fn first_match<'a>(
        &self,
        components: impl IntoIterator<Item = &'a str>,
        is_dir: bool,
    ) -> Option<(String, bool)> {
        let mut path = String::new();
        let mut components = components.into_iter().peekable();
        while let Some(component) = components.next() {
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(component);
            let here_is_dir = is_dir || components.peek().is_some();
            if self.matches_itself(&path, here_is_dir) {
                return Some((path, here_is_dir));
            }
        }
        None
    }

    /// Whether a path is matched by itself, for callers that descend and know already that no
    /// directory above it is ignored. `path` is relative to the folder's root, with `/`.
    #[must_use]
    pub fn matches_itself(&self, path: &str, is_dir: bool) -> bool {
        path != IGNORE_FILE && matches!(self.matcher.matched(path, is_dir), Match::Ignore(_))
    }

    /// What the patterns say of a path by itself: in, explicitly out, or nothing.
    pub(crate) fn verdict(&self, path: &str, is_dir: bool) -> Option<bool> {
        match self.matcher.matched(path, is_dir) {
            Match::Ignore(_) => Some(true),
            Match::Whitelist(_) => Some(false),
            Match::None => None,
        }
    }

    /// How many patterns hold, negated ones included.
    #[must_use]
    pub fn patterns(&self) -> u64 {
        self.matcher.num_ignores() + self.matcher.num_whitelists()
    }
}

/// The pattern of a line, `None` for blank lines and comments.
fn usable_line(bytes: &[u8], line: usize) -> Result<Option<&str>, IgnoreProblem> {
    if bytes.len() > IGNORE_LINE_BYTES_MAX {
        return Err(IgnoreProblem::LineTooLong { line });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| IgnoreProblem::NotUtf8 { line })?;
    let text = text.strip_suffix('\r').unwrap_or(text);
    let text = if line == 1 { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
    Ok((!text.trim().is_empty() && !text.starts_with('#')).then_some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> IgnoreRules {
        let (rules, problems) = IgnoreRules::parse(text.as_bytes());
        assert_eq!(problems, []);
        rules
    }

    fn ignored(rules: &IgnoreRules, path: &str) -> bool {
        let is_dir = path.ends_with('/');
        rules.is_ignored(path.trim_end_matches('/').split('/'), is_dir)
    }

    fn check(text: &str, expected: &[(&str, bool)]) {
        let rules = rules(text);
        for (path, is_ignored) in expected {
            assert_eq!(ignored(&rules, path), *is_ignored, "{path} under {text:?}");
        }
    }

    #[test]
    fn gitignore_syntax_holds() {
        check("*.o\n", &[("a.o", true), ("d/a.o", true), ("a.c", false)]);
        check("/target\n", &[("target/", true), ("target/x/y", true), ("d/target/", false)]);
        check("build/\n", &[("build/", true), ("build", false), ("x/build/y", true)]);
        check("*.log\n!keep.log\n", &[("a.log", true), ("keep.log", false)]);
        check("d/\n!d/keep\n", &[("d/keep", true)]);
        check("a/**/z\n", &[("a/z", true), ("a/b/c/z", true), ("z", false)]);
        check("# note\n\n\\#x\n", &[("# note", false), ("#x", true)]);
        check("x y\r\n", &[("x y", true)]);
        check("[Dd]one\n", &[("Done", true), ("done", true), ("one", false)]);
    }

    #[test]
    fn the_ignore_file_itself_is_always_synced() {
        check(
            ".*\n",
            &[(".driftlessignore", false), (".git/", true), ("d/.driftlessignore", true)],
        );
    }

    #[test]
    fn no_rules_ignore_nothing() {
        check("", &[("a", false)]);
        assert!(!ignored(&IgnoreRules::default(), "a/b"));
    }

    #[test]
    fn bad_lines_are_reported_and_skipped() {
        let long = "x".repeat(IGNORE_LINE_BYTES_MAX + 1);
        let text = [b"a{b\n\xff\xfe\n", long.as_bytes(), b"\n*.tmp\n"].concat();
        let (rules, problems) = IgnoreRules::parse(&text);
        assert!(matches!(problems[0], IgnoreProblem::NotAPattern { line: 1, .. }), "{problems:?}");
        assert_eq!(problems[1], IgnoreProblem::NotUtf8 { line: 2 });
        assert_eq!(problems[2], IgnoreProblem::LineTooLong { line: 3 });
        assert_eq!(problems.len(), 3);
        assert!(ignored(&rules, "x.tmp"));
    }

    #[test]
    fn size_is_bounded() {
        let (rules, problems) = IgnoreRules::parse("a\n".repeat(PATTERNS_MAX + 5).as_bytes());
        assert_eq!(problems, [IgnoreProblem::TooManyPatterns { line: PATTERNS_MAX + 1 }]);
        assert_eq!(rules.patterns(), PATTERNS_MAX as u64);

        let comments = "# c\n".repeat(1 << 18);
        let (rules, problems) = IgnoreRules::parse(format!("{comments}*.late\n").as_bytes());
        assert_eq!(problems, [IgnoreProblem::FileTooLong]);
        assert!(!ignored(&rules, "x.late"));
    }

    #[test]
    fn the_line_that_ignores_is_named() {
        let rules = rules("# comment\n*.o\n/build/\n!keep.o\n*.o\n");
        let by = |path: &str| {
            let is_dir = path.ends_with('/');
            let by = rules.ignored_by(path.trim_end_matches('/').split('/'), is_dir);
            by.map(|by| (by.path, by.line, by.pattern))
        };
        assert_eq!(by("a/x.o"), Some(("a/x.o".into(), 5, "*.o".into())));
        assert_eq!(by("build/in/a"), Some(("build".into(), 3, "/build/".into())));
        assert_eq!(by("a/b"), None);
    }
}
