//! How long something lasts, as people write it: `90s`, `30m`, `24h`, `7d`.
//!
//! Owns the notation. It must not read a clock.

use crate::limits::INVITATION_LIFE_MS_MAX;

/// Why a text is no life of an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LifeError {
    /// Not the notation.
    #[error("a number and one of s, m, h, d, such as 24h")]
    Notation,
    /// Nothing at all.
    #[error("it would be expired at once")]
    Zero,
    /// Longer than [`INVITATION_LIFE_MS_MAX`].
    #[error("at most {} days", INVITATION_LIFE_MS_MAX / 86_400_000)]
    TooLong,
}

/// Reads the life of an invitation, in milliseconds.
///
/// # Errors
/// [`LifeError`], worded for a person.
pub fn parse_life_ms(text: &str) -> Result<u64, LifeError> {
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
        Some(0) => Err(LifeError::Zero),
        Some(life_ms) if life_ms <= INVITATION_LIFE_MS_MAX => Ok(life_ms),
        _ => Err(LifeError::TooLong),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_life_ms;

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
    }
}
