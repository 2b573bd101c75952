//! Which directories are bundles: they only make sense whole.
//!
//! Owns the rules, those that are built in and those of the folder's `.driftlessbundles` (gitignore
//! syntax; `!pattern` takes a built-in one back). It must not know what becomes of a bundle.

use crate::conflict::named_after;
use crate::ignore::{IgnoreProblem, IgnoreRules};
use common::name::Name;

/// Names of bundles in every folder, and endings of such names.
const BUILT_IN: (&[&str], &[&str]) = (&[".git"], &[".app"]);

/// The rules of a folder.
#[derive(Clone, Debug, Default)]
pub struct BundleRules {
    own: IgnoreRules,
}

impl BundleRules {
    /// The built-in rules and those of a text. Lines that cannot be used are skipped and reported.
    #[must_use]
    pub fn parse(text: &[u8]) -> (Self, Vec<IgnoreProblem>) {
        let (own, problems) = IgnoreRules::parse(text);
        (Self { own }, problems)
    }

    /// How many of a path's names lead to the outermost bundle in it, the path itself included;
    /// `None` if none does. What stands there is one if it is a directory. What was named after a
    /// bundle, as a conflict copy is, is one too.
    #[must_use]
    pub fn root_of(&self, names: &[Name]) -> Option<usize> {
        let mut above = String::new();
        for (index, name) in names.iter().enumerate() {
            if self.is_root(&above, name.as_str()) {
                return Some(index + 1);
            }
            above.push_str(name.as_str());
            above.push('/');
        }
        None
    }

    fn is_root(&self, above: &str, name: &str) -> bool {
        let own = if self.own.patterns() == 0 {
            None
        } else {
            self.own.verdict(&format!("{above}{name}"), true)
        };
        own.unwrap_or_else(|| {
            is_built_in(name) || named_after(name).is_some_and(|name| self.is_root(above, &name))
        })
    }
}

fn is_built_in(name: &str) -> bool {
    let (names, endings) = BUILT_IN;
    let ends = |ending: &&str| name.len() > ending.len() && name.ends_with(*ending);
    names.contains(&name) || endings.iter().any(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(text: &str, paths: &[(&str, Option<usize>)]) {
        let (rules, problems) = BundleRules::parse(text.as_bytes());
        assert_eq!(problems, []);
        for (path, expected) in paths {
            let names: Vec<Name> = path.split('/').map(|name| Name::new(name).unwrap()).collect();
            assert_eq!(rules.root_of(&names), *expected, "{path} under {text:?}");
        }
    }

    #[test]
    fn the_outermost_bundle_is_found() {
        roots(
            "",
            &[
                (".git", Some(1)),
                ("a/b/.git/objects/ab", Some(3)),
                ("X.app/Contents/.git", Some(1)),
                (".app/x", None),
                ("a/git", None),
                ("a/.gitignore", None),
                (".git (conflict 2026-11-22 my.host)/HEAD", Some(1)),
                ("X (kept 2).app", Some(1)),
                ("notes (kept 2)", None),
            ],
        );
    }

    #[test]
    fn a_folder_has_its_own_rules_and_may_take_built_in_ones_back() {
        let text = "*.photoslibrary\n!*.app\n/exact/here/\n";
        roots(
            text,
            &[
                ("P.photoslibrary/db", Some(1)),
                ("X.app", None),
                ("exact/here/x", Some(2)),
                ("a/exact/here", None),
                (".git", Some(1)),
            ],
        );
        roots("!.git\n", &[(".git", None), ("X.app", Some(1))]);
    }

    #[test]
    fn a_line_that_is_no_pattern_is_reported() {
        let (rules, problems) = BundleRules::parse(b"a{b\n*.x\n");
        assert_eq!(problems.len(), 1);
        assert_eq!(rules.root_of(&[Name::new("a.x").unwrap()]), Some(1));
    }
}
