//! A Rust file split into what is code, what is text in quotes and what is a comment.
//!
//! Owns a small scanner of Rust's lexical grammar (the reference, chapters "Comments" and
//! "Tokens"): just enough to blank out comments and literals, so that a rule never trips over a
//! word in prose. It knows no rule.

use std::ops::RangeInclusive;

/// One Rust file, line by line, in three views of equal shape.
#[derive(Debug)]
pub struct Source {
    lines: Vec<String>,
    code: Vec<String>,
    quoted: Vec<String>,
    test_lines: Vec<RangeInclusive<usize>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Code,
    Quoted,
    Comment,
}

impl Source {
    /// Scans a file.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let parts = classify(text);
        let view = |keep: &[Part]| -> Vec<String> {
            let kept: String = text
                .chars()
                .zip(&parts)
                .map(|(c, part)| if c == '\n' || keep.contains(part) { c } else { ' ' })
                .collect();
            kept.lines().map(str::to_owned).collect()
        };
        let code = view(&[Part::Code]);
        let test_lines = test_ranges(&code);
        Self {
            lines: text.lines().map(str::to_owned).collect(),
            quoted: view(&[Part::Quoted]),
            code,
            test_lines,
        }
    }

    /// Lines as written, numbered from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        numbered(&self.lines)
    }

    /// Lines with comments and literals blanked out, numbered from 1.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        numbered(&self.code)
    }

    /// Lines with all but the insides of string literals blanked out, numbered from 1.
    pub fn quoted(&self) -> impl Iterator<Item = (usize, &str)> {
        numbered(&self.quoted)
    }

    /// One line as written; empty past the end.
    #[must_use]
    pub fn line(&self, line: usize) -> &str {
        line.checked_sub(1).and_then(|index| self.lines.get(index)).map_or("", String::as_str)
    }

    /// Whether a line, from 1, lies in a `#[cfg(test)]` item.
    #[must_use]
    pub fn is_test_line(&self, line: usize) -> bool {
        self.test_lines.iter().any(|range| range.contains(&line))
    }

    /// Modules in files of their own that `#[cfg(test)]` stands before.
    #[must_use]
    pub fn test_modules(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut armed = false;
        for (_, line) in self.code() {
            let line = line.trim();
            if line.starts_with("#[cfg(test)]") {
                armed = true;
            } else if armed && !line.is_empty() && !line.starts_with("#[") {
                armed = false;
                let name = line.strip_suffix(';').and_then(|line| line.split_once("mod "));
                names.extend(name.map(|(_, name)| name.trim().to_owned()));
            }
        }
        names
    }
}

fn numbered(lines: &[String]) -> impl Iterator<Item = (usize, &str)> {
    lines.iter().enumerate().map(|(index, line)| (index + 1, line.as_str()))
}

/// Whether `code` holds `word` as a whole identifier or path, not as a part of a longer one.
#[must_use]
pub(super) fn has_word(code: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(start, found)| {
        let before = code[..start].chars().next_back();
        let after = code[start + found.len()..].chars().next();
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
    })
}

/// Whether `code` holds a path that begins with `name`, as in `name::other`.
#[must_use]
pub(super) fn has_root(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(start, found)| {
        let before = code[..start].chars().next_back();
        let inside = before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
        !inside && code[start + found.len()..].starts_with("::")
    })
}

/// What each character of a file is part of. Quotes count as code, what they enclose does not.
fn classify(text: &str) -> Vec<Part> {
    let chars: Vec<char> = text.chars().collect();
    let mut parts = Vec::with_capacity(chars.len());
    while parts.len() < chars.len() {
        let at = parts.len();
        let rest = &chars[at..];
        let before = at.checked_sub(1).map(|index| chars[index]);
        match rest {
            ['/', '/', ..] => fill(&mut parts, Part::Comment, line_end(rest)),
            ['/', '*', ..] => fill(&mut parts, Part::Comment, block_end(rest)),
            ['"', ..] => quote(&mut parts, 1, string_end(&rest[1..]), 1),
            ['r', '"' | '#', ..]
                if !before
                    .is_some_and(|c| c.is_alphanumeric() && c != 'b' && c != 'c' || c == '_') =>
            {
                match raw_string(rest) {
                    Some((open, inside, close)) => quote(&mut parts, open, inside, close),
                    None => parts.push(Part::Code),
                }
            }
            ['\'', '\\', _, ..] => {
                let inside = 2 + rest[3..].iter().position(|c| *c == '\'').unwrap_or(0);
                quote(&mut parts, 1, inside, 1);
            }
            ['\'', _, '\'', ..] => quote(&mut parts, 1, 1, 1),
            _ => parts.push(Part::Code),
        }
        parts.truncate(chars.len());
    }
    parts
}

fn fill(parts: &mut Vec<Part>, part: Part, count: usize) {
    parts.resize(parts.len() + count, part);
}

fn quote(parts: &mut Vec<Part>, open: usize, inside: usize, close: usize) {
    fill(parts, Part::Code, open);
    fill(parts, Part::Quoted, inside);
    fill(parts, Part::Code, close);
}

fn line_end(chars: &[char]) -> usize {
    chars.iter().position(|c| *c == '\n').unwrap_or(chars.len())
}

/// Block comments nest.
fn block_end(chars: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < chars.len() {
        match chars[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string_end(chars: &[char]) -> usize {
    let mut at = 0;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at.min(chars.len())
}

/// Lengths of the opening, inside and closing of `r##"…"##`; `None` for a raw identifier.
fn raw_string(chars: &[char]) -> Option<(usize, usize, usize)> {
    let hashes = chars[1..].iter().take_while(|c| **c == '#').count();
    if chars.get(1 + hashes) != Some(&'"') {
        return None;
    }
    let open = hashes + 2;
    let closing: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let inside = chars[open..].windows(closing.len()).position(|window| *window == closing[..])?;
    Some((open, inside, closing.len()))
}

/// Lines of `#[cfg(test)] mod name { … }` and of other items in braces after that attribute.
fn test_ranges(code: &[String]) -> Vec<RangeInclusive<usize>> {
    let mut ranges = Vec::new();
    let mut index = 0;
    while index < code.len() {
        if code[index].trim().starts_with("#[cfg(test)]") {
            let end = item_end(code, index);
            ranges.push(index + 1..=end + 1);
            index = end;
        }
        index += 1;
    }
    ranges
}

/// The line on which the item that begins here closes its braces, or ends without any.
fn item_end(code: &[String], start: usize) -> usize {
    let mut depth = 0_usize;
    for (index, line) in code.iter().enumerate().skip(start) {
        for c in line.chars() {
            match c {
                '{' => depth += 1,
                '}' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return index;
                    }
                }
                ';' if depth == 0 => return index,
                _ => {}
            }
        }
    }
    code.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(text: &str) -> String {
        Source::new(text)
            .code()
            .map(|(_, line)| line.trim().to_owned())
            .collect::<Vec<_>>()
            .join("|")
    }

    #[test]
    fn comments_and_literals_are_blanked_and_code_stays() {
        for (text, code) in [
            ("a(); // b()", "a();"),
            ("a(); /* b /* c */ d */ e();", "a();                   e();"),
            ("x(\"SELECT // 1\"); y()", "x(\"           \"); y()"),
            ("x(\"a\\\"b\"); y()", "x(\"    \"); y()"),
            ("x(r#\"a\"b\"#); y()", "x(r#\"   \"#); y()"),
            ("let c = '\"'; y()", "let c = ' '; y()"),
            ("let c = '\\''; y()", "let c = '  '; y()"),
            ("fn f<'a>(x: &'a str) { y('a') }", "fn f<'a>(x: &'a str) { y(' ') }"),
            ("let r#type = br\"x\";", "let r#type = br\" \";"),
        ] {
            assert_eq!(code_of(text), code, "{text}");
        }
    }

    #[test]
    fn quoted_text_is_kept_on_its_line() {
        let source = Source::new("a(\n  \"SELECT 1\n   FROM x\"\n)");
        let quoted: Vec<&str> = source.quoted().map(|(_, line)| line.trim()).collect();
        assert_eq!(quoted, ["", "SELECT 1", "FROM x", ""]);
    }

    #[test]
    fn a_test_item_reaches_to_its_closing_brace() {
        let source = Source::new("a\n#[cfg(test)]\nmod tests {\n fn b() {}\n}\nc");
        let lines: Vec<bool> = (1..=6).map(|line| source.is_test_line(line)).collect();
        assert_eq!(lines, [false, true, true, true, true, false]);
    }

    #[test]
    fn a_word_is_found_whole() {
        assert!(has_word("use quinn::Endpoint;", "quinn"));
        assert!(!has_word("use quinn_proto::Endpoint;", "quinn"));
        assert!(!has_word("let sequinned = 1;", "quinn"));
    }

    #[test]
    fn a_path_is_known_by_its_root() {
        assert!(has_root("let a = server::b();", "server"));
        assert!(has_root("use server::{a, b};", "server"));
        for code in ["crate::server::a", "let server = 1;", "server_core::a", "my_server::a"] {
            assert!(!has_root(code, "server"), "{code}");
        }
    }
}
