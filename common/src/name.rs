//! Names of entries: what may be a name in any folder, and what a given platform can hold.
//!
//! Owns validation and the folding used to find clashes. It must not touch a filesystem.

use crate::limits::{LABEL_NAME_BYTES_MAX, NAME_BYTES_MAX};
use std::fmt;
use unicode_normalization::UnicodeNormalization;

/// The directory that holds the root marker, staged and displaced files; never synced.
pub const PRIVATE_DIRECTORY: &str = ".driftless";
/// The file with the folder's ignore patterns; synced.
pub const IGNORE_FILE: &str = ".driftlessignore";
/// The file at a folder's root whose patterns say which directories are bundles.
pub const BUNDLES_FILE: &str = ".driftlessbundles";

/// Why a string is no name of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing.
    #[error("the name is empty")]
    Empty,
    /// `.` or `..`.
    #[error("`.` and `..` are not names")]
    Dots,
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("the name is longer than {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// `/` or `\`.
    #[error("the name contains a path separator (`/` or `\\`)")]
    Separator,
    /// A control character, NUL included.
    #[error("the name contains a control character")]
    Control,
    /// Not valid UTF-8.
    #[error("the name is not valid UTF-8")]
    NotUtf8,
    /// [`PRIVATE_DIRECTORY`], in any case.
    #[error("`.driftless` is Driftless' own directory")]
    Private,
}

/// A name that is valid in every folder: 1 to 255 bytes of UTF-8, no separator, no control
/// character, not `.`, `..` or `.driftless`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Whether it is, at a folder's root, the name of a file of rules.
    #[must_use]
    pub fn is_rules_file(&self) -> bool {
        [IGNORE_FILE, BUNDLES_FILE].contains(&self.as_str())
    }

    /// Checks a string that came from a disk or a peer.
    ///
    /// # Errors
    /// [`NameError`] says what is wrong.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name == "." || name == ".." {
            return Err(NameError::Dots);
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        if name.contains(['/', '\\']) {
            return Err(NameError::Separator);
        }
        if name.chars().any(char::is_control) {
            return Err(NameError::Control);
        }
        // Names are checked whenever they are read: most are ASCII, and are not copied for it.
        let folds_to_private = match name.is_ascii() {
            true => name.eq_ignore_ascii_case(PRIVATE_DIRECTORY),
            false => fold(&name) == PRIVATE_DIRECTORY,
        };
        if folds_to_private {
            return Err(NameError::Private);
        }
        Ok(Self(name))
    }

    /// Checks bytes that came from a disk or a peer.
    ///
    /// # Errors
    /// [`NameError`] says what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NameError> {
        if bytes.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        Self::new(std::str::from_utf8(bytes).map_err(|_| NameError::NotUtf8)?)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a filesystem that ignores case and normalisation compares: NFC, lower case.
    #[must_use]
    pub fn folded(&self) -> String {
        fold(&self.0)
    }

    /// Why a platform cannot hold this name, if it cannot.
    #[must_use]
    pub fn problem_on(&self, platform: Platform) -> Option<PlatformProblem> {
        match platform {
            Platform::Unix => None,
            Platform::Windows => windows_problem(&self.0),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Whose rules a name must also keep on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Linux and macOS: no rules beyond [`Name`]'s own.
    Unix,
    /// Reserved device names, `<>:"|?*`, trailing dots and spaces.
    Windows,
}

/// Why one platform cannot hold a valid name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlatformProblem {
    /// `CON`, `NUL`, `COM1` and the like, with any extension.
    #[error("the name is reserved for a device on this platform")]
    ReservedDevice,
    /// A character that the platform's file names cannot contain.
    #[error("the name contains a character that this platform does not allow")]
    Character,
    /// A trailing dot or space, which the platform would silently drop.
    #[error("the name ends in a dot or a space, which this platform drops")]
    Trailing,
}

/// NFC and lower case; two names with one folding clash on some device.
#[must_use]
pub fn fold(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    name.nfc().flat_map(char::to_lowercase).nfc().collect()
}

fn windows_problem(name: &str) -> Option<PlatformProblem> {
    if name.ends_with(['.', ' ']) {
        return Some(PlatformProblem::Trailing);
    }
    if name.contains(['<', '>', ':', '"', '|', '?', '*']) {
        return Some(PlatformProblem::Character);
    }
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_ascii_uppercase();
    let numbered = |prefix: &str| {
        stem.strip_prefix(prefix).is_some_and(|rest| {
            matches!(rest, "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³")
        })
    };
    if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
        || numbered("COM")
        || numbered("LPT")
    {
        return Some(PlatformProblem::ReservedDevice);
    }
    None
}

/// A text that is no name of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a label's name has 1 to {LABEL_NAME_BYTES_MAX} bytes and no control characters")]
pub struct LabelNameError;

/// The name of a label: 1 to 128 bytes of UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelName(String);

impl LabelName {
    /// Checks a text that came from a person or a peer.
    ///
    /// # Errors
    /// [`LabelNameError`] when no label can be called so.
    pub fn new(text: &str) -> Result<Self, LabelNameError> {
        let fits = (1..=LABEL_NAME_BYTES_MAX).contains(&text.len());
        if !fits || text.chars().any(char::is_control) {
            return Err(LabelNameError);
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &[u8], expected: Result<(), NameError>) {
        assert_eq!(Name::from_bytes(name).map(|_| ()), expected, "{name:?}");
    }

    #[test]
    fn names_that_no_folder_holds_are_refused() {
        check(b"", Err(NameError::Empty));
        check(b".", Err(NameError::Dots));
        check(b"..", Err(NameError::Dots));
        check(b"a/b", Err(NameError::Separator));
        check(b"/etc/passwd", Err(NameError::Separator));
        check(b"..\\x", Err(NameError::Separator));
        check(b"C:\\x", Err(NameError::Separator));
        check(b"\\\\server\\share", Err(NameError::Separator));
        check(b"a\0b", Err(NameError::Control));
        check(b"a\nb", Err(NameError::Control));
        check("a\u{85}b".as_bytes(), Err(NameError::Control));
        check(&[b'x'; 256], Err(NameError::TooLong));
        check(&[0xff, 0xfe], Err(NameError::NotUtf8));
        check(b".driftless", Err(NameError::Private));
        check(b".DriftLess", Err(NameError::Private));
    }

    #[test]
    fn ordinary_and_odd_names_are_kept_as_they_are() {
        for name in
            ["a", "...", " ", "a b", "Übergröße", "C:", "CON", "x.", "日本", &"x".repeat(255)]
        {
            assert_eq!(Name::new(name).map(|n| n.as_str().to_owned()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn windows_cannot_hold_device_names_and_trailing_dots() {
        let problem = |name: &str| Name::new(name).unwrap().problem_on(Platform::Windows);
        assert_eq!(problem("con"), Some(PlatformProblem::ReservedDevice));
        assert_eq!(problem("aux.c"), Some(PlatformProblem::ReservedDevice));
        assert_eq!(problem("COM7.txt"), Some(PlatformProblem::ReservedDevice));
        assert_eq!(problem("x."), Some(PlatformProblem::Trailing));
        assert_eq!(problem("x "), Some(PlatformProblem::Trailing));
        assert_eq!(problem("a:b"), Some(PlatformProblem::Character));
        assert_eq!(problem("console"), None);
        assert_eq!(Name::new("aux.c").unwrap().problem_on(Platform::Unix), None);
    }

    #[test]
    fn case_and_normalisation_pairs_fold_to_one() {
        assert_eq!(fold("Foo"), fold("foo"));
        assert_eq!(fold("caf\u{e9}"), fold("cafe\u{301}"));
        assert_ne!(fold("foo"), fold("fo"));
    }

    #[test]
    fn a_labels_name_is_short_and_printable() {
        let longest = "é".repeat(LABEL_NAME_BYTES_MAX / 2);
        for name in ["v1.0", "before the move: 2026/11", &longest] {
            assert_eq!(LabelName::new(name).map(|name| name.0), Ok(name.to_owned()));
        }
        for name in ["", "a\nb", "\u{7f}", &format!("{longest}x")] {
            assert_eq!(LabelName::new(name), Err(LabelNameError), "{name:?}");
        }
    }
}
