//! Times as people and scripts read them: RFC 3339 in UTC.
//!
//! Owns the notation. It must not read a clock.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A time given in milliseconds since 1970, to the second.
#[must_use]
pub fn rfc3339(time_ms: u64) -> String {
    i64::try_from(time_ms / 1000)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|time| time.format(&Rfc3339).ok())
        // Beyond the year 9999.
        .unwrap_or_else(|| format!("{time_ms} ms after 1970"))
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_700_000_000_999), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(u64::MAX), "18446744073709551615 ms after 1970");
    }
}
