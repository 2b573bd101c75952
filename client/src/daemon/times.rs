//! Times as people and scripts read them: RFC 3339 in UTC.
//!
//! Owns the notation. It must not read a clock.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A time given in milliseconds since 1970, with three digits behind the second: one to the second
/// would stand for all of that second when it is asked for.
pub(super) fn from_ms(time_ms: u64) -> String {
    match seconds(time_ms) {
        Some(text) => format!("{}.{:03}Z", text.trim_end_matches('Z'), time_ms % 1000),
        None => beyond(time_ms),
    }
}

/// A time given in milliseconds since 1970, to the second: for messages.
pub(super) fn in_words(time_ms: u64) -> String {
    seconds(time_ms).unwrap_or_else(|| beyond(time_ms))
}

fn seconds(time_ms: u64) -> Option<String> {
    let seconds = i64::try_from(time_ms / 1000).ok()?;
    OffsetDateTime::from_unix_timestamp(seconds).ok()?.format(&Rfc3339).ok()
}

/// A time beyond the year 9999.
fn beyond(time_ms: u64) -> String {
    format!("{time_ms} ms after 1970")
}

/// A time given in nanoseconds since 1970, with as many digits as it has.
pub(super) fn from_ns(time_ns: i64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time_ns))
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        // Every i64 of nanoseconds lies between the years 1677 and 2262.
        .unwrap_or_else(|| format!("{time_ns} ns after 1970"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(from_ms(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(from_ms(1_700_000_000_999), "2023-11-14T22:13:20.999Z");
        assert_eq!(from_ms(1_700_000_000_007), "2023-11-14T22:13:20.007Z");
        assert_eq!(from_ms(u64::MAX), "18446744073709551615 ms after 1970");
        assert_eq!(in_words(1_700_000_000_999), "2023-11-14T22:13:20Z");
        assert_eq!(from_ns(1_700_000_000_000_000_001), "2023-11-14T22:13:20.000000001Z");
        assert!(from_ns(i64::MIN).starts_with("1677-"));
    }
}
