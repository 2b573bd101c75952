//! How long something lasts, as people write it: `90s`, `30m`, `24h`, `7d`; windows of retention:
//! `30d`, `1y`, `forever`.
//!
//! Owns the notation. It must not read a clock.

use crate::limits::INVITATION_LIFE_MS_MAX;

/// Longest grace of the garbage collection, in milliseconds: ten years.
const GRACE_MS_MAX: u64 = 3_650 * 86_400_000;

/// Why a text is no life of an invitation, or no grace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LifeError {
    /// Not the notation.
    #[error("a number and one of s, m, h, d, such as 24h")]
    Notation,
    /// Nothing at all.
    #[error("it would be expired at once")]
    Zero,
    /// Longer than it may be.
    #[error("at most {days} days")]
    TooLong {
        /// How long it may be.
        days: u64,
    },
}

/// Reads the life of an invitation, in milliseconds.
///
/// # Errors
/// [`LifeError`], worded for a person.
pub fn parse_life_ms(text: &str) -> Result<u64, LifeError> {
    match parse_ms(text, INVITATION_LIFE_MS_MAX)? {
        0 => Err(LifeError::Zero),
        life_ms => Ok(life_ms),
    }
}

/// Reads how long something is kept for good measure, in milliseconds; it may be no time at all.
///
/// # Errors
/// [`LifeError`], worded for a person.
pub fn parse_grace_ms(text: &str) -> Result<u64, LifeError> {
    parse_ms(text, GRACE_MS_MAX)
}

fn parse_ms(text: &str, most_ms: u64) -> Result<u64, LifeError> {
    let unit = text.chars().last().ok_or(LifeError::Notation)?;
    let unit_ms: u64 = match unit {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return Err(LifeError::Notation),
    };
    let digits = text.strip_suffix(unit).unwrap_or_default();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(LifeError::Notation);
    }
    match digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit_ms)) {
        Some(ms) if ms <= most_ms => Ok(ms),
        _ => Err(LifeError::TooLong { days: most_ms / 86_400_000 }),
    }
}

/// Units of a window of retention, from the longest; a year has 365 days.
const WINDOW_UNITS: [(char, u64); 5] = [
    ('y', 365 * 86_400_000),
    ('w', 7 * 86_400_000),
    ('d', 86_400_000),
    ('h', 3_600_000),
    ('s', 1_000),
];

/// Longest window of retention but `forever`, in milliseconds: a thousand years. Whoever writes a longer
/// one has mistaken the unit or means for ever.
const WINDOW_MS_MAX: u64 = 1_000 * 365 * 86_400_000;

/// A text that is no window of retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Not the notation.
    #[error("forever, none, or a number and one of h, d, w, y, such as 30d or 1y")]
    Notation,
    /// Longer than can be meant.
    #[error("at most 1000y, or forever")]
    TooLong,
}

/// Reads a window of retention, in milliseconds: `forever` is the largest number, `none` is 0.
///
/// # Errors
/// [`WindowError`], worded for a person.
pub fn parse_window_ms(text: &str) -> Result<u64, WindowError> {
    match text {
        "forever" => return Ok(u64::MAX),
        "none" => return Ok(0),
        _ => {}
    }
    let unit = text.chars().last().ok_or(WindowError::Notation)?;
    let (_, unit_ms) =
        WINDOW_UNITS.iter().find(|(name, _)| *name == unit).ok_or(WindowError::Notation)?;
    let digits = text.strip_suffix(unit).unwrap_or_default();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(WindowError::Notation);
    }
    // Digits alone fail to be a number by being too many.
    match digits.parse::<u64>().ok().and_then(|count| count.checked_mul(*unit_ms)) {
        Some(0) => Err(WindowError::Notation),
        Some(window_ms) if window_ms <= WINDOW_MS_MAX => Ok(window_ms),
        _ => Err(WindowError::TooLong),
    }
}

/// A window of retention as [`parse_window_ms`] reads it: in years or days where it is whole ones,
/// and to the second.
#[must_use]
pub fn window_text(window_ms: u64) -> String {
    match window_ms {
        u64::MAX => return "forever".to_owned(),
        0 => return "none".to_owned(),
        _ => {}
    }
    let mut units = WINDOW_UNITS.iter().filter(|(name, _)| *name != 'w');
    let (name, unit_ms) =
        units.find(|(_, unit_ms)| window_ms.is_multiple_of(*unit_ms)).unwrap_or(&('s', 1_000));
    format!("{}{name}", window_ms.div_ceil(*unit_ms))
}

#[cfg(test)]
mod tests {
    use super::{WindowError, parse_grace_ms, parse_life_ms, parse_window_ms, window_text};

    #[test]
    fn windows_are_read_and_written_as_people_write_them() {
        const DAY_MS: u64 = 86_400_000;
        for (text, window_ms, shown) in [
            ("30d", 30 * DAY_MS, "30d"),
            ("2w", 14 * DAY_MS, "14d"),
            ("365d", 365 * DAY_MS, "1y"),
            ("10y", 3_650 * DAY_MS, "10y"),
            ("1000y", 365_000 * DAY_MS, "1000y"),
            ("36h", 36 * 3_600_000, "36h"),
            ("5s", 5_000, "5s"),
            ("forever", u64::MAX, "forever"),
            ("none", 0, "none"),
        ] {
            assert_eq!(parse_window_ms(text), Ok(window_ms), "{text}");
            assert_eq!(window_text(window_ms), shown);
            assert_eq!(parse_window_ms(shown), Ok(window_ms));
        }
        for text in ["", "d", "30", "0d", "1m", "-1d", "1.5d", "Forever"] {
            assert_eq!(parse_window_ms(text), Err(WindowError::Notation), "{text}");
        }
        for text in ["1001y", "365001d", "99999999999999y", "99999999999999999999999h"] {
            assert_eq!(parse_window_ms(text), Err(WindowError::TooLong), "{text}");
        }
        assert_eq!(window_text(1), "1s");
    }

    #[test]
    fn lives_are_read_as_people_write_them() {
        for (text, life_ms) in
            [("90s", 90_000), ("30m", 1_800_000), ("24h", 86_400_000), ("30d", 2_592_000_000)]
        {
            assert_eq!(parse_life_ms(text), Ok(life_ms), "{text}");
        }
        for text in
            ["", "h", "24", "-1h", "+1h", "1.5h", "0h", "31d", "99999999999999999999d", "1é"]
        {
            assert!(parse_life_ms(text).is_err(), "{text}");
        }
        assert_eq!(parse_grace_ms("0s"), Ok(0));
        assert_eq!(parse_grace_ms("400d"), Ok(34_560_000_000));
        assert!(parse_grace_ms("4000d").is_err());
    }
}
