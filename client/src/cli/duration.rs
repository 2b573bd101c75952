//! How long something lasts, as people write it: `90s`, `30m`, `24h`, `7d`.
//!
//! Owns the notation. It must not read a clock.

use common::limits::INVITATION_LIFE_MS_MAX;

/// The life of an invitation in milliseconds; an argument parser for clap.
pub(super) fn parse_life_ms(text: &str) -> Result<u64, String> {
    let wanted = || "a number and one of s, m, h, d, such as 24h".to_owned();
    let unit = text.chars().last().ok_or_else(wanted)?;
    let unit_ms: u64 = match unit {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return Err(wanted()),
    };
    let digits = text.strip_suffix(unit).unwrap_or_default();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wanted());
    }
    match digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit_ms)) {
        Some(0) => Err("it would be expired at once".to_owned()),
        Some(life_ms) if life_ms <= INVITATION_LIFE_MS_MAX => Ok(life_ms),
        _ => Err(format!("at most {} days", INVITATION_LIFE_MS_MAX / 86_400_000)),
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
