//! Names of conflict copies, `name (conflict DATE DEVICE).ext`, and of what was kept from being
//! replaced or deleted, `name (kept N).ext`; and the id under which a conflict is opened again.
//!
//! Owns how such a name is made from another. It must not know when one is needed, nor which
//! names are taken: the caller says.

use common::ids::ConflictId;
use common::limits::NAME_BYTES_MAX;
use common::name::Name;

const AGAIN_CONTEXT: &str = "driftless 2026 conflict opened again id v1";
/// Longest part of a device's name that goes into a conflict name, in bytes.
const DEVICE_BYTES_MAX: usize = 40;
/// Longest extension that is kept apart, in bytes, its dot included; a longer one is part of the
/// stem and is cut with it.
const EXTENSION_BYTES_MAX: usize = 32;
/// Longest date that is taken as it is, in bytes: `YYYY-MM-DD`.
const DATE_BYTES_MAX: usize = 10;

/// The first conflict name of `name` that is not `taken`.
///
/// `date` is `YYYY-MM-DD`, `device` any text; what a [`Name`] cannot hold is replaced in both.
/// Later numbers read `name (conflict DATE DEVICE 2).ext`. A name that is a conflict name of the
/// same date and device already is not wrapped again: it gets the next free number. The stem is
/// cut at a character so that the whole is at most [`NAME_BYTES_MAX`] bytes.
#[must_use]
pub fn conflict_name(
    name: &Name,
    date: &str,
    device: &str,
    mut taken: impl FnMut(&Name) -> bool,
) -> Name {
    let (stem, extension) = split_extension(name.as_str());
    let mark = format!(
        " (conflict {} {}",
        sanitised(date, DATE_BYTES_MAX, "undated"),
        device_part(device)
    );
    let stem = unmarked(stem, &mark);
    let mut number = 1_u64;
    loop {
        let suffix = if number == 1 {
            format!("{mark}){extension}")
        } else {
            format!("{mark} {number}){extension}")
        };
        let stem = cut(stem, NAME_BYTES_MAX - suffix.len());
        // Every part is free of separators and controls, and the suffix alone is no reserved
        // name, so this is a name; should it ever not be, the next number is tried.
        if let Ok(candidate) = Name::new(format!("{stem}{suffix}"))
            && !taken(&candidate)
        {
            return candidate;
        }
        number += 1;
    }
}

/// The id of a conflict that was settled on one device while its copy was edited on another: derived, so
/// that it is opened again once, whoever does so.
#[must_use]
pub fn opened_again(conflict: &ConflictId) -> ConflictId {
    let mut half = [0; ConflictId::LEN];
    let mut hasher = blake3::Hasher::new_derive_key(AGAIN_CONTEXT);
    hasher.update(conflict.as_bytes()).finalize_xof().fill(&mut half);
    ConflictId::from_bytes(half)
}

/// The name of a file that is kept beside another: `name (kept N).ext`. The stem is cut at a character
/// so that the whole is at most [`NAME_BYTES_MAX`] bytes.
#[must_use]
pub fn kept_name(name: &Name, number: u32) -> Name {
    let (stem, extension) = split_extension(name.as_str());
    let suffix = format!(" (kept {number}){extension}");
    let stem = cut(stem, NAME_BYTES_MAX - suffix.len());
    Name::new(format!("{stem}{suffix}"))
        .unwrap_or_else(|error| unreachable!("parts of a name and a mark are a name: {error}"))
}

/// The name that a conflict copy or a kept file was named after; `None` if this is none.
#[must_use]
pub fn named_after(name: &str) -> Option<String> {
    // A device's name may have a dot in it, which begins no extension then.
    let (stem, extension) = if name.ends_with(')') { (name, "") } else { split_extension(name) };
    let inside = stem.strip_suffix(')')?;
    let at = [" (conflict ", " (kept "].iter().filter_map(|mark| inside.rfind(mark)).max()?;
    (at > 0).then(|| format!("{}{extension}", &stem[..at]))
}

/// Stem and extension: the extension begins with its dot and may be empty. `.tar.*` counts as one
/// extension; the leading dot of a dotfile begins none.
fn split_extension(name: &str) -> (&str, &str) {
    let Some(dot) = name.rfind('.') else { return (name, "") };
    let (stem, extension) = name.split_at(dot);
    let plausible = extension.len() > 1
        && extension.len() <= EXTENSION_BYTES_MAX
        && !extension.contains(char::is_whitespace);
    if stem.trim_start_matches('.').is_empty() || !plausible {
        return (name, "");
    }
    match stem.strip_suffix(".tar") {
        Some(inner) if !inner.trim_start_matches('.').is_empty() => name.split_at(inner.len()),
        _ => (stem, extension),
    }
}

/// The stem without a conflict mark of the same date and device.
fn unmarked<'a>(stem: &'a str, mark: &str) -> &'a str {
    let Some(at) = stem.rfind(mark) else { return stem };
    let rest = &stem[at + mark.len()..];
    let numbered = rest
        .strip_prefix(' ')
        .and_then(|rest| rest.strip_suffix(')'))
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    if at > 0 && (rest == ")" || numbered) { &stem[..at] } else { stem }
}

fn device_part(device: &str) -> String {
    sanitised(device, DEVICE_BYTES_MAX, "device")
}

/// `text` with what no name can hold, or what some platform cannot, replaced by `-`.
fn sanitised(text: &str, bytes_max: usize, otherwise: &str) -> String {
    let clean: String = text
        .trim()
        .chars()
        .map(|c| if c.is_control() || "/\\:<>\"|?*()".contains(c) { '-' } else { c })
        .collect();
    let clean = cut(&clean, bytes_max).trim_end();
    if clean.is_empty() { otherwise.to_owned() } else { clean.to_owned() }
}

/// The longest beginning of whole characters within `bytes_max`.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_copy_was_named_after_is_told() {
        for (name, device) in [("a.txt", "x"), (".git", "my.host"), ("b", "y"), ("X.app", "z")] {
            let name = Name::new(name).unwrap();
            let copy = conflict_name(&name, "2026-11-22", device, |_| false);
            assert_eq!(named_after(copy.as_str()).as_deref(), Some(name.as_str()), "{copy}");
            let kept = kept_name(&name, 3);
            assert_eq!(named_after(kept.as_str()).as_deref(), Some(name.as_str()), "{kept}");
        }
        for name in ["a.txt", "a (b).txt", " (kept 1)", "a (kept 1"] {
            assert_eq!(named_after(name), None, "{name}");
        }
    }

    fn check(name: &str, taken: &[&str], expected: &str) {
        let name = Name::new(name).unwrap();
        let made = conflict_name(&name, "2026-05-04", "laptop", |n| taken.contains(&n.as_str()));
        assert_eq!(made.as_str(), expected);
    }

    #[test]
    fn extensions_stay_at_the_end() {
        check("a.txt", &[], "a (conflict 2026-05-04 laptop).txt");
        check("a", &[], "a (conflict 2026-05-04 laptop)");
        check("a.tar.gz", &[], "a (conflict 2026-05-04 laptop).tar.gz");
        check(".tar.gz", &[], ".tar (conflict 2026-05-04 laptop).gz");
        check(".bashrc", &[], ".bashrc (conflict 2026-05-04 laptop)");
        check(".config.toml", &[], ".config (conflict 2026-05-04 laptop).toml");
        check("end.", &[], "end. (conflict 2026-05-04 laptop)");
        check("v1.2 final notes", &[], "v1.2 final notes (conflict 2026-05-04 laptop)");
        check("...", &[], "... (conflict 2026-05-04 laptop)");
    }

    #[test]
    fn kept_names_are_names_however_long_they_are() {
        for (name, kept) in [
            ("a.txt".to_owned(), "a (kept 2).txt".to_owned()),
            (".bashrc".to_owned(), ".bashrc (kept 2)".to_owned()),
            (format!("1. {}", "x".repeat(252)), format!("1. {} (kept 2)", "x".repeat(243))),
            ("é".repeat(127), format!("{} (kept 2)", "é".repeat(123))),
        ] {
            assert_eq!(kept_name(&Name::new(name).unwrap(), 2).as_str(), kept);
        }
    }

    #[test]
    fn taken_names_are_numbered() {
        check(
            "a.txt",
            &["a (conflict 2026-05-04 laptop).txt", "a (conflict 2026-05-04 laptop 2).txt"],
            "a (conflict 2026-05-04 laptop 3).txt",
        );
    }

    #[test]
    fn a_conflict_name_is_not_wrapped_in_another() {
        check(
            "a (conflict 2026-05-04 laptop).txt",
            &["a (conflict 2026-05-04 laptop).txt"],
            "a (conflict 2026-05-04 laptop 2).txt",
        );
        check(
            "a (conflict 2026-05-04 laptop 7).txt",
            &["a (conflict 2026-05-04 laptop).txt"],
            "a (conflict 2026-05-04 laptop 2).txt",
        );
        check(
            "a (conflict 2026-01-01 desk).txt",
            &[],
            "a (conflict 2026-01-01 desk) (conflict 2026-05-04 laptop).txt",
        );
    }

    #[test]
    fn long_names_are_cut_at_a_character() {
        for name in ["ü".repeat(127), format!("{}.txt", "日".repeat(80)), "x".repeat(255)] {
            let name = Name::new(name).unwrap();
            let made = conflict_name(&name, "2026-05-04", &"設備".repeat(60), |_| false);
            assert!(made.as_str().len() <= NAME_BYTES_MAX, "{made}");
            assert!(made.as_str().len() > NAME_BYTES_MAX - 4, "{made}");
        }
    }

    #[test]
    fn a_device_name_cannot_leave_the_directory() {
        let name = Name::new("a.txt").unwrap();
        let made = conflict_name(&name, "2026-05-04", "../../etc\n", |_| false);
        assert_eq!(made.as_str(), "a (conflict 2026-05-04 ..-..-etc).txt");
        let made = conflict_name(&name, "", " ", |_| false);
        assert_eq!(made.as_str(), "a (conflict undated device).txt");
    }
}
