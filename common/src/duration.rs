//! How long something lasts, as people write it: `90s`, `30m`, `24h`, `7d`.
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

#[cfg(test)]
mod tests {
    use super::{parse_grace_ms, parse_life_ms};

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
