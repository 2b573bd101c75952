//! Moments as people write them: `2026-11-20 14:00`, `2 hours ago`, `yesterday`, a revision, a label.
//!
//! Owns the notation. Times without a zone are those of the clock on the wall; a day stands for its
//! beginning, `yesterday` for this time of that day. A time to the second stands for the end of that
//! second: what is shown as of then is there then. What reads like neither a time nor a revision is the
//! name of a label. What reads like one and is none is a mistake, for which no server is asked.

use crate::daemon::control::{Failure, Moment, NO_MOMENT};
use common::name::LabelName;
use jiff::civil::{Date, DateTime, Time};
use jiff::{Span, Timestamp, Zoned};

/// The last millisecond of a second.
const SECOND_ENDS_MS: u64 = 999;

/// What a person means, now.
pub(super) fn parse(text: &str) -> Result<Moment, Failure> {
    if let Some(moment) = parsed(text, &Zoned::now()) {
        return Ok(moment);
    }
    if is_beyond(text) {
        let message = format!("{text:?} is beyond the times and revisions that there are");
        return Err(Failure::new("usage", message, NO_MOMENT));
    }
    if is_nearly_one(text) {
        let message = format!("{text:?} reads like a time or a revision, and is none");
        return Err(Failure::new("usage", message, NO_MOMENT));
    }
    LabelName::new(text).ok().map(|label| Moment::Label(label.as_str().to_owned())).ok_or_else(
        || {
            let message = format!("{text:?} is no time, no revision and no label's name");
            Failure::new("usage", message, NO_MOMENT)
        },
    )
}

/// Whether a text stands for a time or a revision, or would be taken for a mistaken one, so that no
/// label can be asked for by it.
pub(super) fn is_like_a_moment(text: &str) -> bool {
    parsed(text, &Zoned::now()).is_some() || is_beyond(text) || is_nearly_one(text)
}

/// Whether a text that is no moment is written nearly as one is: numbers with what stands between
/// them in times, a span, or a word for a day with a time of it.
fn is_nearly_one(text: &str) -> bool {
    let text = text.trim().to_lowercase();
    if text == "tomorrow" || text.ends_with(" ago") {
        return true;
    }
    let day = ["today ", "yesterday ", "tomorrow "].iter().find_map(|day| text.strip_prefix(day));
    if day.is_some_and(|time| time.bytes().any(|byte| byte.is_ascii_digit())) {
        return true;
    }
    let unit = ["last ", "next "].iter().find_map(|which| text.strip_prefix(which));
    if unit.is_some_and(|unit| span_of(&format!("a {unit}")).is_some()) {
        return true;
    }
    let span = text.strip_prefix("in ").unwrap_or(&text);
    span_of(span).is_some() || is_of_numbers(&text)
}

/// `2026-13-45`, `+5`, `7.1`, `25:00`, `2 pm`.
fn is_of_numbers(text: &str) -> bool {
    // A zone says nothing else.
    let text = text.split_once('[').map_or(text, |(time, _)| time);
    let half = ["am", "pm"].iter().find_map(|half| text.strip_suffix(half));
    let text = half.unwrap_or(text);
    text.starts_with(|c: char| c.is_ascii_digit() || c == '+' || c == '-')
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || b" +-:./,tz".contains(&byte))
}

/// Whether a text that is no moment is written as a time or a revision is: before 1970, or too far.
fn is_beyond(text: &str) -> bool {
    let text = text.trim().to_lowercase();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return true;
    }
    if let Some(span) = text.strip_suffix(" ago") {
        // Whatever the numbers are.
        let ones: String = span.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        return span_of(&ones).is_some();
    }
    text.to_uppercase().parse::<Timestamp>().is_ok()
        || text.parse::<Zoned>().is_ok()
        || (!text.contains('[') && text.parse::<DateTime>().is_ok())
        || (!text.contains('[') && text.parse::<Date>().is_ok())
}

fn parsed(text: &str, now: &Zoned) -> Option<Moment> {
    let text = text.trim().to_lowercase();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Moment::Revision);
    }
    let zone = now.time_zone();
    let at = match text.as_str() {
        "now" => now.timestamp(),
        "today" => now.start_of_day().ok()?.timestamp(),
        "yesterday" => now.checked_sub(Span::new().days(1)).ok()?.timestamp(),
        _ => {
            if let Some(span) = text.strip_suffix(" ago") {
                now.checked_sub(span_of(span)?).ok()?.timestamp()
            } else if let Ok(time) = text.to_uppercase().parse::<Timestamp>() {
                time
            } else if let Ok(time) = text.parse::<Zoned>() {
                time.timestamp()
            } else if text.contains('[') {
                // What follows would pass over a zone that is not known.
                return None;
            } else if let Ok(time) = text.parse::<DateTime>() {
                time.to_zoned(zone.clone()).ok()?.timestamp()
            } else if let Ok(day) = text.parse::<Date>() {
                day.to_zoned(zone.clone()).ok()?.timestamp()
            } else {
                // It would pass over an offset.
                let time: Time =
                    Some(&text).filter(|text| !text.contains(['+', '-']))?.parse().ok()?;
                now.date().to_datetime(time).to_zoned(zone.clone()).ok()?.timestamp()
            }
        }
    };
    let at_ms = u64::try_from(at.as_millisecond()).ok()?;
    Some(Moment::TimeMs(if is_to_the_second(&text) { at_ms + SECOND_ENDS_MS } else { at_ms }))
}

/// Whether a time has seconds, and no parts of one: as times are shown.
fn is_to_the_second(text: &str) -> bool {
    let is_it = |part: &[u8]| {
        let digits = |at: usize| part[at].is_ascii_digit() && part[at + 1].is_ascii_digit();
        digits(0) && part[2] == b':' && digits(3) && part[5] == b':' && digits(6)
    };
    let at = text.as_bytes().windows(8).position(is_it);
    at.is_some_and(|at| !text[at + 8..].starts_with(['.', ',']))
}

/// `2 hours`, `1 day 3 hours`, `an hour`.
fn span_of(text: &str) -> Option<Span> {
    let mut words = text.split_whitespace().peekable();
    let mut span = Span::new();
    words.peek()?;
    while let Some(number) = words.next() {
        let (number, unit) = match number.find(|c: char| !c.is_ascii_digit()) {
            // `2h`
            Some(at) if at > 0 => number.split_at(at),
            _ => (number, words.next()?),
        };
        let number: i64 = match number {
            "a" | "an" | "one" => 1,
            number => number.parse().ok()?,
        };
        span = match unit {
            "s" | "sec" | "secs" | "second" | "seconds" => span.try_seconds(number),
            "m" | "min" | "mins" | "minute" | "minutes" => span.try_minutes(number),
            "h" | "hour" | "hours" => span.try_hours(number),
            "d" | "day" | "days" => span.try_days(number),
            "w" | "week" | "weeks" => span.try_weeks(number),
            "month" | "months" => span.try_months(number),
            "y" | "year" | "years" => span.try_years(number),
            _ => return None,
        }
        .ok()?;
    }
    Some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half past one in the afternoon, an hour after which the clocks were set back in the night
    /// before.
    fn now() -> Zoned {
        "2026-10-25T13:30:00+01:00[Europe/Berlin]".parse().unwrap()
    }

    fn utc(text: &str) -> Option<Moment> {
        let time: Timestamp = text.parse().unwrap();
        u64::try_from(time.as_millisecond()).ok().map(Moment::TimeMs)
    }

    #[test]
    fn what_reads_like_neither_a_time_nor_a_revision_is_a_label() {
        let label = |name: &str| Some(Moment::Label(name.to_owned()));
        for (text, expected) in [
            ("first-draft", label("first-draft")),
            ("Thesis handed in", label("Thesis handed in")),
            ("v2", label("v2")),
            ("t2", label("t2")),
            ("2026 budget", label("2026 budget")),
            ("3.1-final", label("3.1-final")),
            ("in print", label("in print")),
            ("last draft", label("last draft")),
            ("today we moved", label("today we moved")),
            ("2", Some(Moment::Revision(2))),
            ("", None),
            ("two\nlines", None),
        ] {
            assert_eq!(parse(text).ok(), expected, "{text}");
            let is_other = matches!(expected, Some(Moment::Revision(_)));
            assert_eq!(is_like_a_moment(text), is_other, "{text}");
        }
        for text in [
            "2026-13-45",
            "2026-13-01",
            "2026-11-20T25:00Z",
            "25:00",
            "+5",
            "-3",
            "7.1",
            "09:15+05:00",
            "2026-10-20T14:00[Nowhere/Atall]",
            "09:15[America/New_York]",
            "12/24",
            "2 pm",
            "tomorrow",
            "Tomorrow",
            "tomorrow 9:00",
            "yesterday 14:00",
            "two hours ago",
            "2 hours",
            "in 2 hours",
            "5d",
            "last week",
            "next month",
        ] {
            let failure = parse(text).unwrap_err();
            assert!(failure.message.contains("reads like a time"), "{text}: {failure:?}");
            assert!(failure.kind == "usage" && failure.hint == NO_MOMENT, "{text}: {failure:?}");
            assert!(is_like_a_moment(text), "{text}");
        }
        for text in ["1960-01-01", "99999999999999999999", "99999999999 years ago", "300000y ago"] {
            let failure = parse(text).unwrap_err();
            assert!(failure.message.contains("is beyond"), "{failure:?}");
            assert!(is_like_a_moment(text), "{text}");
        }
        assert!(is_like_a_moment("2026-11-20 14:00") && is_like_a_moment("Yesterday"));
    }

    #[test]
    fn moments_are_understood() {
        for (text, expected) in [
            ("1234", Some(Moment::Revision(1234))),
            ("now", utc("2026-10-25T12:30:00Z")),
            ("Today", utc("2026-10-24T22:00:00Z")),
            // A day of 25 hours lies between.
            ("yesterday", utc("2026-10-24T11:30:00Z")),
            ("2 hours ago", utc("2026-10-25T10:30:00Z")),
            ("an hour ago", utc("2026-10-25T11:30:00Z")),
            ("1 day 2h ago", utc("2026-10-24T09:30:00Z")),
            ("3 weeks ago", utc("2026-10-04T11:30:00Z")),
            ("2026-10-20 14:00", utc("2026-10-20T12:00:00Z")),
            ("2026-10-20 14:00:07", utc("2026-10-20T12:00:07.999Z")),
            ("2026-10-20T14:00", utc("2026-10-20T12:00:00Z")),
            ("2026-10-20T14:00:00Z", utc("2026-10-20T14:00:00.999Z")),
            ("2026-10-20T14:00:00.25Z", utc("2026-10-20T14:00:00.25Z")),
            ("2026-10-20 14:00:00+02:00", utc("2026-10-20T12:00:00.999Z")),
            ("09:15:20", utc("2026-10-25T08:15:20.999Z")),
            // Never in another zone than the one that is written.
            ("2026-10-20T14:00:07[America/New_York]", utc("2026-10-20T18:00:07.999Z")),
            ("2026-10-20T14:00:00+02:00[Europe/Berlin]", utc("2026-10-20T12:00:00.999Z")),
            ("2026-10-20T14:00[Nowhere/Atall]", None),
            ("2026-10-20[America/New_York]", utc("2026-10-20T04:00:00Z")),
            ("09:15[America/New_York]", None),
            ("09:15+05:00", None),
            ("2026-10-20", utc("2026-10-19T22:00:00Z")),
            ("09:15", utc("2026-10-25T08:15:00Z")),
            ("", None),
            ("ago", None),
            ("two hours ago", None),
            ("2 fortnights ago", None),
            ("2026-13-01", None),
            ("99999999999999999999", None),
            ("300000 years ago", None),
            ("1960-01-01", None),
        ] {
            assert_eq!(parsed(text, &now()), expected, "{text}");
        }
    }
}
