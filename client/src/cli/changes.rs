//! Differences between two moments, a line each.
//!
//! Owns how they are written.

use super::table::{printable, size, suffix, table};
use crate::daemon::control::ChangeAnswer;

/// Lines that say what changed, aligned.
pub(super) fn changes(changes: &[ChangeAnswer]) -> String {
    table(&changes.iter().map(row).collect::<Vec<_>>())
}

fn row(change: &ChangeAnswer) -> Vec<String> {
    let suffix = suffix(&change.kind);
    let from = change.from.as_deref().map(|from| format!(" (from {})", printable(from)));
    let bytes = match (change.size_before, change.size_after) {
        _ if change.kind == "directory" => "-".to_owned(),
        (Some(before), Some(after)) if before != after => {
            format!("{} -> {}", size(before), size(after))
        }
        (before, after) => after.or(before).map_or_else(|| "-".to_owned(), size),
    };
    let path = format!("{}{suffix}{}", change.path, from.unwrap_or_default());
    vec![change.change.clone(), bytes, path]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_lines() {
        let change = |kind: &str, change: &str, from: Option<&str>, sizes: (_, _)| ChangeAnswer {
            path: "p".to_owned(),
            from: from.map(str::to_owned),
            kind: kind.to_owned(),
            change: change.to_owned(),
            size_before: sizes.0,
            size_after: sizes.1,
        };
        let all = [
            change("file", "edited", None, (Some(1), Some(2))),
            change("directory", "moved", Some("o"), (Some(0), Some(0))),
            change("file", "deleted", None, (Some(3), None)),
        ];
        let text =
            "edited   1 B -> 2 B  p\nmoved    -           p/ (from o)\ndeleted  3 B         p\n";
        assert_eq!(changes(&all), text);
    }
}
