//! Names that say nothing, in code and in paths.

use super::{Violation, Workspace};

/// Words that no identifier and no path may be made of.
const WORDS: &[&str] =
    &["util", "utils", "utility", "utilities", "helper", "helpers", "manager", "managers", "misc"];

/// Whole identifiers that are refused.
const IDENTIFIERS: &[&str] = &["handle_data", "do_stuff", "process_data"];

/// Libraries with such a name, which is not ours to choose.
const FOREIGN: &[&str] = &["futures_util", "tokio_util", "hyper_util", "crossbeam_utils"];

pub(super) fn check(workspace: &Workspace) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, _) in workspace.texts() {
        let names = path.split(['/', '.', '-']);
        if let Some(word) = names.flat_map(words).find(|word| is_banned(word)) {
            found.push(Violation::at(path, 0, format!("`{word}` says nothing: name what it owns")));
        }
    }
    for (path, source) in workspace.rust() {
        for (line, code) in source.code() {
            for identifier in code.split(|c: char| !c.is_alphanumeric() && c != '_') {
                if !FOREIGN.contains(&identifier)
                    && (IDENTIFIERS.contains(&identifier)
                        || words(identifier).any(|word| is_banned(&word)))
                {
                    let message = format!("`{identifier}` says nothing: name what it does");
                    found.push(Violation::at(path, line, message));
                }
            }
        }
    }
    found
}

fn is_banned(word: &str) -> bool {
    WORDS.contains(&word)
}

/// The words of an identifier, in small letters: `ChunkManager` and `chunk_manager` have two.
fn words(identifier: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    let mut before = '_';
    for c in identifier.chars() {
        if c == '_' || c.is_uppercase() && before.is_lowercase() {
            words.push(String::new());
        }
        if c != '_' {
            let last = words.len() - 1;
            words[last].extend(c.to_lowercase());
        }
        before = c;
    }
    words.into_iter().filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&Workspace::of(&[(path, text)])).len()
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        for code in [
            "struct ChunkManager;",
            "fn chunk_manager() {}",
            "mod util;",
            "fn test_helpers() {}",
            "fn handle_data() {}",
            "const MISC: u8 = 1;",
        ] {
            assert_eq!(count("a.rs", code), 1, "{code}");
        }
        for path in ["a/util.rs", "a/helpers/b.rs", "a/path_utils.rs", "docs/misc.md"] {
            assert_eq!(count(path, ""), 1, "{path}");
        }
    }

    #[test]
    fn prose_longer_words_and_other_peoples_crates_are_left_alone() {
        for code in ["// a manager of things", "fn miscount() {}", "use futures_util::Stream;"] {
            assert_eq!(count("a/utilise.rs", code), 0, "{code}");
        }
    }
}
