//! The clocks of a host. The one of the wall may be set, so no end rests on it alone. Each platform reads them in its own way.

use std::io;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// How far the wall clock may go back without being taken for set back: corrections by NTP stay below.
const TOLERANCE: TimeDelta = TimeDelta::seconds(2);

/// What the clocks show at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reading {
    /// The wall clock.
    pub wall: DateTime<Utc>,
    /// Milliseconds since the machine started, those of its sleep included. Nobody can set it.
    pub boottime_ms: u64,
    /// Which start of the machine that counts from.
    pub boot_id: String,
}

/// Why a clock cannot be read. Whoever cannot read it gives nothing, and ends what is to end.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// What shows it cannot be read.
    #[error("reading the clock of this host from {from}: {why}")]
    Read {
        /// From where.
        from: String,
        /// Why.
        why: io::Error,
    },
    /// It does not say what it should.
    #[error("{0} does not say how long this host has been up")]
    Malformed(String),
}

/// Something that shows the time.
pub trait Clock {
    /// What the clocks show now.
    ///
    /// # Errors
    /// If one of them cannot be read.
    fn read(&self) -> Result<Reading, ClockError>;
}

/// The end of a right, by every clock: it is over when the first of them says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deadline {
    /// When it was set.
    pub set: Reading,
    /// The end by the wall clock.
    pub wall: DateTime<Utc>,
}

impl Deadline {
    /// The end of an order that is stored at `now`.
    #[must_use]
    pub fn new(now: &Reading, expires_at: DateTime<Utc>) -> Self {
        Self { set: now.clone(), wall: expires_at }
    }

    /// How long it is still good, if it is: the least that any clock says.
    #[must_use]
    pub fn rest(&self, now: &Reading, seen: &MaxSeen) -> Option<TimeDelta> {
        if seen.is_set_back(now) {
            return None;
        }
        let by_wall = self.wall - now.wall;
        let rest = if now.boot_id == self.set.boot_id {
            // A clock that was set back after the order came gives no time: this one ran on.
            let ran = now.boottime_ms.checked_sub(self.set.boottime_ms)?;
            let ran = i64::try_from(ran).ok().and_then(TimeDelta::try_milliseconds)?;
            by_wall.min(self.wall - self.set.wall - ran)
        } else {
            by_wall
        };
        (rest > TimeDelta::zero()).then_some(rest)
    }
}

/// The latest that the wall clock was seen to show, kept over restarts: after a reboot nothing else shows that it was
/// set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MaxSeen {
    /// That time.
    pub wall: DateTime<Utc>,
}

impl MaxSeen {
    /// Whether the clock shows less than it did: then nothing is given, and what is in force ends.
    #[must_use]
    pub fn is_set_back(&self, now: &Reading) -> bool {
        now.wall < self.wall - TOLERANCE
    }

    /// What has been seen when `now` has been.
    #[must_use]
    pub fn with(self, now: &Reading) -> Self {
        Self { wall: self.wall.max(now.wall) }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn reading(wall: i64, boottime: u64, boot: &str) -> Reading {
        let wall = DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(wall);
        Reading { wall, boottime_ms: boottime * 1000, boot_id: boot.into() }
    }

    /// An order of 600 s, stored 1000 s after a start.
    #[rstest]
    #[case::at_once((0, 1000, "a"), 0, Some(600))]
    #[case::just_before((599, 1599, "a"), 599, Some(1))]
    #[case::at_its_end((600, 1600, "a"), 600, None)]
    #[case::asleep_across_the_end((5000, 6000, "a"), 10, None)]
    #[case::set_forward((700, 1010, "a"), 10, None)]
    #[case::set_forward_a_little((300, 1010, "a"), 10, Some(300))]
    #[case::set_back((-3600, 1010, "a"), 10, None)]
    #[case::set_back_within_tolerance((9, 1012, "a"), 11, Some(588))]
    #[case::set_back_unseen_and_over((1, 1600, "a"), 0, None)]
    #[case::set_back_unseen_and_not_over((1, 1500, "a"), 0, Some(100))]
    #[case::rebooted((100, 5, "b"), 100, Some(500))]
    #[case::rebooted_across_the_end((600, 5, "b"), 10, None)]
    #[case::rebooted_and_set_back((-100, 5, "b"), 100, None)]
    #[case::the_monotonic_clock_went_back((10, 900, "a"), 10, None)]
    fn a_right_lasts_by_the_first_clock(
        #[case] now: (i64, u64, &str),
        #[case] seen: i64,
        #[case] rest: Option<i64>,
    ) {
        let set = reading(0, 1000, "a");
        let deadline = Deadline::new(&set, reading(600, 0, "").wall);
        let seen = MaxSeen { wall: reading(seen, 0, "").wall };
        let now = reading(now.0, now.1, now.2);
        assert_eq!(deadline.rest(&now, &seen), rest.map(TimeDelta::seconds));
    }

    #[test]
    fn what_was_seen_only_grows() {
        let seen = MaxSeen { wall: reading(10, 0, "").wall };
        assert_eq!(seen.with(&reading(5, 0, "a")), seen);
        assert_eq!(seen.with(&reading(11, 0, "a")).wall, reading(11, 0, "").wall);
    }
}
