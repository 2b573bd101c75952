//! Retention: which moments of a folder's past stay whole, and what may be released of an entry.
//!
//! Owns the two decisions of thinning as pure functions. [`plan`] moves the *horizon*, from which on
//! every moment is whole, and picks the *kept* moments before it; [`release`] says which versions of
//! an entry no whole moment shows. It must not know how versions are stored, nor who asks, and it
//! reads no clock: the time comes in.

use common::record::Retention;
use common::revision::Revision;
use std::collections::BTreeSet;

const DAY_MS: u64 = 24 * 3600 * 1000;

/// The moments at which both registers of every entry are still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// From this revision on, every moment.
    pub horizon: Revision,
    /// Before it, these alone.
    pub kept: BTreeSet<Revision>,
}

impl Default for Whole {
    /// Everything, as before the first thinning.
    fn default() -> Self {
        Self { horizon: 1, kept: BTreeSet::new() }
    }
}

impl Whole {
    /// Whether the folder as of a revision is still there. Before the first there is nothing, and of
    /// that nothing is lost.
    #[must_use]
    pub fn contains(&self, at: Revision) -> bool {
        at == 0 || at >= self.horizon || self.kept.contains(&at)
    }

    /// The last moment at or before a revision that is still there; `None` when it lies before all of
    /// them.
    #[must_use]
    pub fn at_or_before(&self, at: Revision) -> Option<Revision> {
        if at >= self.horizon && at > 0 {
            return Some(at);
        }
        self.kept.range(..=at).next_back().copied()
    }

    /// Whether a whole moment or one of `also` lies in `from..until`.
    fn shows(&self, from: Revision, until: Revision, also: &BTreeSet<Revision>) -> bool {
        until > self.horizon
            || self.kept.range(from..until).next().is_some()
            || also.range(from..until).next().is_some()
    }
}

/// When a journal's revisions were accepted.
pub trait Times {
    /// What went wrong.
    type Error;
    /// The first revision that was accepted at or after a time; one more than the last when there is
    /// none.
    ///
    /// # Errors
    /// What the implementation says.
    fn first_at(&self, time_ms: u64) -> Result<Revision, Self::Error>;
    /// When a revision was accepted, in milliseconds since 1970.
    ///
    /// # Errors
    /// What the implementation says.
    fn time(&self, revision: Revision) -> Result<u64, Self::Error>;
}

/// What a plan starts from.
#[derive(Clone, Debug)]
pub struct Standing<'a> {
    /// What is whole now.
    pub whole: &'a Whole,
    /// The journal's last revision: it always stays whole.
    pub last: Revision,
    /// Moments that stay whatever the retention says: labels, the newest checkpoint.
    pub pinned: &'a BTreeSet<Revision>,
    /// The server's clock, in milliseconds since 1970.
    pub now_ms: u64,
}

/// What stays whole under all of these retentions: what one of them keeps stays. Nothing becomes
/// whole again, and planning again at the same time changes nothing.
///
/// # Errors
/// What `times` says.
pub fn plan<T: Times>(
    standing: &Standing<'_>,
    retentions: &[Retention],
    times: &T,
) -> Result<Whole, T::Error> {
    let Standing { whole, last, pinned, now_ms } = standing;
    let mut horizon = *last;
    let mut kept: BTreeSet<Revision> = (*pinned).clone();
    for retention in retentions {
        let from_ms = match retention.keeps_everything() {
            true => 0,
            false => now_ms.saturating_sub(retention.keep_all_ms),
        };
        let from = if from_ms == 0 { 1 } else { times.first_at(from_ms)? };
        horizon = horizon.min(from);
        // A retention that was shorter before has left some of what this one keeps all of.
        kept.extend(whole.kept.range(from..));
        let windows: [(u64, Start); 2] =
            [(retention.daily_ms, day_start), (retention.monthly_ms, month_start)];
        for (window_ms, start) in windows {
            let earliest_ms = match window_ms {
                Retention::FOREVER => 0,
                window_ms => now_ms.saturating_sub(window_ms),
            };
            kept.extend(ends(standing, earliest_ms, start, times)?);
        }
    }
    let horizon = horizon.max(whole.horizon);
    kept.retain(|at| *at > 0 && *at < horizon && whole.contains(*at));
    Ok(Whole { horizon, kept })
}

/// The beginning of the day or month of a time.
type Start = fn(u64) -> u64;

/// The last whole moment before each boundary after `earliest_ms`.
fn ends<T: Times>(
    standing: &Standing<'_>,
    earliest_ms: u64,
    start: Start,
    times: &T,
) -> Result<BTreeSet<Revision>, T::Error> {
    let mut found = BTreeSet::new();
    let mut boundary = start(standing.now_ms);
    while boundary > earliest_ms {
        let before = times.first_at(boundary)?.min(standing.last + 1).saturating_sub(1);
        if before == 0 {
            break;
        }
        found.extend(standing.whole.at_or_before(before));
        // Boundaries in between have the same last moment before them.
        boundary = start(times.time(before)?);
    }
    Ok(found)
}

/// The beginning of a day by UTC.
const fn day_start(time_ms: u64) -> u64 {
    time_ms - time_ms % DAY_MS
}

/// The beginning of a month by UTC. Source: Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`: there a year begins in March, so that a day of the year alone
/// gives the month.
const fn month_start(time_ms: u64) -> u64 {
    let days = time_ms / DAY_MS;
    // Days since 1 March of year 0, in eras of 400 years.
    let day_of_era = (days + 719_468) % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5;
    days.saturating_sub(day_of_month) * DAY_MS
}

/// A version of a register, as releasing it sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionMark {
    /// The revision that set it.
    pub revision: Revision,
    /// The revision that replaced it, where that version has been released.
    pub until: Option<Revision>,
    /// Of a place: the entry was deleted. Of a content: it has been released, but for what it was.
    pub gone: bool,
}

/// All versions of an entry that are still there, each register's in ascending order, one mark for a
/// revision.
#[derive(Clone, Copy, Debug)]
pub struct EntryMarks<'a> {
    /// Of its place; at least one.
    pub places: &'a [VersionMark],
    /// Of its content; at least one.
    pub contents: &'a [VersionMark],
    /// Whether it is a file: of others the contents take no room.
    pub is_file: bool,
}

/// What may be released of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// Of its place.
    pub places: RegisterRelease,
    /// Of its content.
    pub contents: RegisterRelease,
    /// The content revision that goes too but for what it was: the entry is deleted at every whole
    /// moment, so that nothing shows it.
    pub hollow: Option<Revision>,
}

impl Release {
    /// Whether nothing may be released.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.gone.is_empty() && self.contents.gone.is_empty() && self.hollow.is_none()
    }

    /// Leaves at most so many versions to be released now; those that are left are found again.
    /// Places go first, and what a deleted entry last held goes last.
    pub fn bound(&mut self, versions: usize) {
        let left = self.places.bound(versions);
        let all = self.contents.gone.len();
        self.contents.bound(left);
        if self.contents.gone.len() < all {
            self.hollow = None;
        }
    }
}

/// What may be released of a register.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegisterRelease {
    /// Revisions whose versions go, in ascending order.
    pub gone: Vec<Revision>,
    /// Versions that stay without the one that replaced them: their revision, and that one's.
    pub until: Vec<(Revision, Revision)>,
}

impl RegisterRelease {
    /// Keeps the first so many; returns how many more there could be.
    fn bound(&mut self, versions: usize) -> usize {
        self.gone.truncate(versions);
        let last = self.gone.last().copied().unwrap_or(0);
        self.until.retain(|(_, until)| *until <= last);
        versions - self.gone.len()
    }
}

/// What may be released of an entry when only these moments stay whole. `held` are the moments that
/// open conflicts name: its versions of those stay too; it was alive then. The newest version of each
/// register stays, also of a deleted entry. Releasing and asking again gives nothing.
#[must_use]
pub fn release(entry: &EntryMarks<'_>, whole: &Whole, held: &BTreeSet<Revision>) -> Release {
    let places = release_register(entry.places, whole, held);
    let mut contents = release_register(entry.contents, whole, held);
    let mut hollow = None;
    let (newest_place, newest_content) = (entry.places.last(), entry.contents.last());
    if let (Some(place), Some(content)) = (newest_place, newest_content)
        && entry.is_file
        && place.gone
        && place.revision <= whole.horizon
        && entry.places.iter().all(|mark| mark.gone || places.gone.contains(&mark.revision))
    {
        let older = entry.contents.iter().rev().skip(1).rev();
        contents =
            RegisterRelease { gone: older.map(|mark| mark.revision).collect(), until: Vec::new() };
        hollow = (!content.gone).then_some(content.revision);
    }
    Release { places, contents, hollow }
}

fn release_register(
    versions: &[VersionMark],
    whole: &Whole,
    also: &BTreeSet<Revision>,
) -> RegisterRelease {
    let mut release = RegisterRelease::default();
    let mut stays: Option<VersionMark> = None;
    for (number, version) in versions.iter().enumerate() {
        let next = version.until.or(versions.get(number + 1).map(|next| next.revision));
        match next {
            Some(next) if !whole.shows(version.revision, next, also) => {
                release.gone.push(version.revision);
                if let Some(before) = stays.take_if(|before| before.until.is_none()) {
                    release.until.push((before.revision, version.revision));
                }
            }
            _ => stays = Some(*version),
        }
    }
    release
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_and_days_begin_where_the_calendar_says() {
        // Seconds since 1970, as `date -u +%s` gives them.
        for (time, month, day) in [
            (0, 0, 0),
            (2_678_399, 0, 2_592_000),               // 1970-01-31 23:59:59
            (2_678_400, 2_678_400, 2_678_400),       // 1970-02-01
            (951_827_696, 949_363_200, 951_782_400), // 2000-02-29
            (951_868_800, 951_868_800, 951_868_800), // 2000-03-01
            (1_735_689_599, 1_733_011_200, 1_735_603_200), // 2024-12-31 23:59:59
            (1_735_689_600, 1_735_689_600, 1_735_689_600), // 2025-01-01
            (4_107_542_399, 4_105_123_200, 4_107_456_000), // 2100-02-28 23:59:59
            (4_107_542_400, 4_107_542_400, 4_107_542_400), // 2100-03-01: no leap year
        ] {
            assert_eq!(month_start(time * 1000), month * 1000, "{time}");
            assert_eq!(day_start(time * 1000), day * 1000, "{time}");
        }
    }
}
